"""Every answer that a local stack gives in a test fits openapi.yaml: `-p tests.judged`, or a conftest that registers it.

Each stack that is started notes its verdicts in one file of this process (scripts/dev/api_gateway/judging.py). A test whose
answers do not fit fails, whatever it says itself; answers to a fixture belong to the test that it is made for. Stacks with
a spec of their own are judged as well, and their tests say by themselves what they expect of it.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from scripts.dev.api_gateway.judging import VERDICTS
from scripts.project.template import ROOT

SPEC = ROOT / "openapi.yaml"
PATIENCE = 2.0  # seconds for an answer that is under way when its test ends
JUDGED = "answers judged"


class Verdicts:
    """What the stacks have noted since the last look."""

    def __init__(self, path: Path):
        self._file = path.open("rb")
        self._rest = b""
        self._under_way: dict[str, int] = {}  # the process of each answer that was begun
        self._unfit: list[str] = []
        self.judged: Counter[int] = Counter()  # answers to operations, by the process that serves the API

    def take(self) -> list[str]:
        """The faults of every answer that has ended, waited for while its process lives, though not for long."""
        end = time.monotonic() + PATIENCE
        self._read()
        while any(map(_lives, set(self._under_way.values()))) and time.monotonic() < end:
            time.sleep(0.01)
            self._read()
        self._under_way.clear()  # later verdicts still count, and nobody waits for them
        unfit, self._unfit = self._unfit, []
        return unfit

    def _read(self) -> None:
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        for line in lines:
            noted: dict[str, Any] = json.loads(line)
            if Path(noted["spec"]) != SPEC.resolve():
                continue
            if "faults" not in noted:
                self._under_way[noted["request_id"]] = noted["pid"]
                continue
            self._under_way.pop(noted["request_id"], None)
            self.judged[noted["pid"]] += noted["route"] is not None
            where = f"{noted['route']} {noted['status']} of {noted['request_id']}"
            self._unfit += [f"{where}: {fault}" for fault in noted["faults"]]


def _lives(pid: int) -> bool:
    with suppress(OSError):
        os.kill(pid, 0)
        return True
    return False


class Judged:
    """The hooks of one process, and of those that pytest-xdist runs for it."""

    def __init__(self) -> None:
        descriptor, name = tempfile.mkstemp(prefix="verdicts-", suffix=".jsonl")
        os.close(descriptor)
        os.environ[VERDICTS] = name  # for each stack that is started from here, by whatever program
        self._path = Path(name)
        self.verdicts = Verdicts(self._path)
        self._elsewhere = 0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        try:
            result = yield
        finally:
            unfit = self.verdicts.take()  # also of a test that failed: they are not the next one's
        if unfit:
            pytest.fail("answers do not fit openapi.yaml:\n" + "\n".join(unfit), pytrace=False)
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Answers to what ran after the last test have no test to fail, and fail the run."""
        unfit = self.verdicts.take()
        self._path.unlink(missing_ok=True)
        if unfit:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            print("after the last test:", *unfit, sep="\n")
        if (output := getattr(session.config, "workeroutput", None)) is not None:
            output[JUDGED] = self.verdicts.judged.total()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._elsewhere += getattr(node, "workeroutput", {}).get(JUDGED, 0)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if judged := self._elsewhere + self.verdicts.judged.total():
            terminalreporter.section("answers and the spec")
            terminalreporter.line(f"{judged} answers of local stacks were judged by openapi.yaml")


judged = Judged()


def pytest_configure(config: pytest.Config) -> None:
    """As a plugin, or from a conftest: several may ask for it."""
    if not config.pluginmanager.is_registered(judged):
        config.pluginmanager.register(judged, "judged")

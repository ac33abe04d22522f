"""langchain-tests' standard suites through langchain-aws and langchain-openai, in the environment of the SDKs.

What cannot pass stands, test by test and with its reason, in the table above its suite.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.dev.stack import LocalStack
from scripts.environments import set_up

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv-sdks"
SUITES = ROOT / "tests/sdks"
# As the suites want to be run: their tests await without a mark, and what they measure is not what is of interest.
OPTIONS = ("--asyncio-mode=auto", "--benchmark-disable", "-p", "no:cacheprovider")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    set_up(ENVIRONMENT, SUITES / "requirements.lock")
    with LocalStack(tmp_path_factory.mktemp("langchain")) as running:
        yield running


@pytest.mark.parametrize(("suite", "passing", "failing"), [("bedrock", 60, 6), ("openai", 110, 5)])
def test_langchains_standard_suites_hold_but_for_what_is_listed(
    stack: LocalStack, suite: str, passing: int, failing: int
) -> None:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "PYTHON", "PYTEST"))}
    told = {
        "GATEWAY_URL": stack.url,
        "GATEWAY_TLS_URL": stack.tls_url,
        "GATEWAY_CA": str(stack.ca),
        "GATEWAY_KEY": stack.tenants[0]["key"],
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    file = SUITES / f"test_langchain_{suite}.py"
    run = subprocess.run(
        [str(ENVIRONMENT / "bin/python"), "-m", "pytest", *OPTIONS, str(file)],
        env=kept | told,
        cwd=stack.data,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    said = run.stdout + run.stderr
    assert run.returncode == 0, said
    last = next(line for line in reversed(run.stdout.splitlines()) if " passed" in line)
    counted = {kind: int(number) for number, kind in re.findall(r"(\d+) (passed|xfailed|skipped|deselected)", last)}
    assert counted == {"passed": passing, "xfailed": failing}, said


def test_what_langchain_was_answered_fits_the_spec(stack: LocalStack) -> None:
    assert (stack.data / "logs/access.log").stat().st_size
    assert (stack.data / "logs/contract.log").read_text() == ""

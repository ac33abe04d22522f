"""`make test`: every test in one ring, the fast ones first, and one final line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.check import rings
from tests.conftest import collect_ignore

TESTS = rings.ROOT / "tests"
RUN_BY_OTHERS = {TESTS / name for name in collect_ignore}  # in environments of their own, each by a test of e2e


def test_each_folder_of_tests_is_in_exactly_one_ring() -> None:
    folders = {path.parent for path in TESTS.rglob("test_*.py")} - RUN_BY_OTHERS
    rung = {folder: [ring.name for ring in rings.RINGS if any(folder.is_relative_to(rings.ROOT / each) for each in ring.folders)] for folder in folders}  # fmt: skip
    assert {folder: names for folder, names in rung.items() if len(names) != 1} == {}
    assert all((rings.ROOT / folder).is_dir() for ring in rings.RINGS for folder in ring.folders)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two rings of tests: one test fails, one is skipped, and one cannot be imported."""
    tests = {
        "quick/test_a.py": "import pytest\ndef test_one(): pass\ndef test_two(): pass\n"
        "@pytest.mark.skip\ndef test_three(): pass\n",
        "slow/test_b.py": "def test_four(): assert 0\ndef test_five(): pass\n",
    }
    for name, text in tests.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(rings, "ROOT", tmp_path)
    monkeypatch.setattr(rings, "RINGS", (rings.Ring("quick", ("quick",)), rings.Ring("slow", ("slow",))))
    monkeypatch.setattr(rings, "WORKERS", ("-p", "no:cacheprovider", "-p", "no:xdist"))
    return tmp_path


def lines(capfd: pytest.CaptureFixture[str]) -> list[str]:
    return [re.sub(r"[\d.]+s$", "Xs", line) for line in capfd.readouterr().out.splitlines() if line.strip()]


def test_each_ring_says_what_passed_and_the_last_line_says_all(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert rings.main([]) == 1
    said = lines(capfd)
    assert [line for line in said if line.startswith("--")] == [
        "-- quick: 2 passed, 1 skipped in Xs",
        "-- slow: 1 passed, 1 failed in Xs",
    ]
    assert said[-1] == "3 passed, 1 failed, 1 skipped in Xs"


def test_a_ring_that_fails_does_not_stop_the_next(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "quick/test_broken.py").write_text("import nothing_of_this_name\n")
    assert rings.main([]) != 0
    assert "-- slow: 1 passed, 1 failed in Xs" in lines(capfd)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-k", "one or five"], 0, "2 passed in Xs"),
        (["-k", "five"], 0, "1 passed in Xs"),
        (["quick"], 0, "2 passed, 1 skipped in Xs"),
        (["."], 1, "3 passed, 1 failed, 1 skipped in Xs"),
        (["slow/test_b.py::test_five"], 0, "1 passed in Xs"),
        (["-k", "nothing"], rings.NOTHING_COLLECTED, "no tests ran in Xs"),
    ],
)
def test_pytests_own_arguments_go_through(
    project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, said: str
) -> None:  # fmt: skip
    monkeypatch.chdir(project)
    assert rings.main(arguments) == code
    assert lines(capfd)[-1] == said


def test_make_test_runs_the_rings() -> None:
    command = ["make", "--dry-run", "--always-make", "test", "ARGS=-k ledger", f"PYTHON={sys.executable}"]
    said = subprocess.run(command, cwd=rings.ROOT, capture_output=True, text=True, check=True).stdout
    assert "python -m scripts.check.rings -k ledger" in said

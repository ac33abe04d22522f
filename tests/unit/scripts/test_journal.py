"""The local stack's journals survive a full disk and broken lines: a call without its row would be free."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.dev.fake_models.ledger import Ledger, Served
from scripts.dev.moto_aws.journal import Journal

ROOT = Path(__file__).parents[3]


def read(path: Path) -> dict[str, Any]:
    """A journal's content, as the stack's start reads it."""
    found: dict[str, Any] = {}

    def restore(key: str, value: Any) -> bool:
        found[key] = value
        return True

    Journal(path).open(restore)
    return found


def opened(path: Path) -> Journal:
    journal = Journal(path)
    journal.open(lambda *_: True)
    return journal


class FullDisk:
    """Simulates a full disk by a limit on the file size of this process."""

    def __init__(self, size: int):
        self._size = size
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def __enter__(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._size, self._before[1]))

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


# -------------------------------------------------------------------------------------------------------- the journal
def test_what_was_written_is_read_and_the_newest_counts(path: Path) -> None:
    journal = opened(path)
    journal.write([("a", 1), ("b", {"raw": b"\x00\xff"})])
    journal.write([("a", 2)])
    journal.write([("c", "é")])
    journal.write([("c", None)])
    for _ in range(2):  # the second time from a compact file
        assert read(path) == {"a": 2, "b": {"raw": b"\x00\xff"}}


@pytest.mark.parametrize("room", range(0, 60, 7))
def test_a_write_that_fails_leaves_nothing_and_spoils_nothing_behind_it(path: Path, room: int) -> None:
    journal = opened(path)
    journal.write([("before", 1)])
    with FullDisk(path.stat().st_size + room), pytest.raises(OSError, match="too large"):
        journal.write([("lost", "x" * 50), ("lost too", "y" * 50)])
    journal.write([("after", 2)])
    assert read(path) == {"before": 1, "after": 2}
    assert not path.with_suffix(".unread").exists()


def test_half_a_line_that_cannot_be_taken_away_is_ended(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError

    journal = opened(path)
    monkeypatch.setattr("os.ftruncate", refuse)
    with FullDisk(path.stat().st_size + 20), pytest.raises(OSError, match="too large"):
        journal.write([("lost", "x" * 50)])
    journal.write([("after", 2)])
    journal.write([("and after", 3)])
    assert read(path) == {"after": 2, "and after": 3}


def test_what_counts_together_is_lost_together(path: Path) -> None:
    journal = opened(path)
    journal.write([("row", "settled"), ("answer", "kept")])
    content = path.read_bytes()
    for end in range(len(content) - 1):
        path.write_bytes(content[:end])
        assert read(path) == {}


@given(data=st.data())
def test_a_broken_line_costs_what_it_says_and_nothing_else(data: st.DataObject, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("broken") / "journal.jsonl"
    journal = opened(path)
    for number in range(10):
        journal.write([(f"key {number}", {"n": {"N": str(number)}})])
    lines = path.read_bytes().splitlines(keepends=True)
    broken = data.draw(st.sets(st.integers(0, 9)))
    for number in broken:
        kind = data.draw(st.sampled_from(["cut", "noise", "other json", "deep"]))
        lines[number] = {
            "cut": lines[number][: data.draw(st.integers(0, len(lines[number]) - 2))],
            "noise": bytes(data.draw(st.binary(min_size=1, max_size=9))).replace(b"\n", b"?") + lines[number][9:-1],
            "other json": data.draw(st.sampled_from([b"3", b"null", b'{"a": 1}', b"[1, 2, 3]", b'["x"]', b"[[1, 2]]"])),
            "deep": b"[" * 100_000,
        }[kind] + b"\n"
    path.write_bytes(b"".join(lines))
    for _ in range(2):
        found = read(path)
        assert {number for number in range(10) if found.get(f"key {number}") == {"n": {"N": str(number)}}} >= (
            set(range(10)) - broken
        )


def test_it_is_said_once_that_lines_cannot_be_read_and_they_are_kept(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(b'["a", 1]\n["b", \n["c", 3]\n')
    assert read(path) == {"a": 1, "c": 3}
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: 1 lines cannot be read. The stack lacks their changes; the lines are saved in journal.unread"
    ]
    assert path.with_suffix(".unread").read_bytes() == b'["b", \n'
    caplog.clear()
    assert read(path) == {"a": 1, "c": 3}
    assert not caplog.records


def test_a_stack_starts_on_a_full_disk(path: Path) -> None:
    journal = opened(path)
    for number in range(20):
        journal.write([(f"key {number}", "x" * 100)])
    with FullDisk(1000):
        assert len(read(path)) == 20
    assert len(read(path)) == 20


# ------------------------------------------------------------------------------------------------------ the stand-in
def served(number: int) -> Served:
    return Served(f"request {number}", "Converse", "a-model")


def requests_of(ledger: Ledger) -> list[str]:
    return [record["request_id"] for record in ledger.after()]


def test_a_call_that_the_stand_in_cannot_write_down_is_not_in_its_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "served.jsonl")
    ledger.append(served(1))
    with FullDisk((tmp_path / "served.jsonl").stat().st_size + 30), pytest.raises(OSError, match="too large"):
        ledger.append(served(2))
    ledger.append(served(3))
    assert requests_of(ledger) == requests_of(Ledger(tmp_path / "served.jsonl")) == ["request 1", "request 3"]


def test_broken_lines_cost_the_stand_in_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "served.jsonl"
    ledger = Ledger(path)
    for number in range(30):
        ledger.append(served(number))
    lines = path.read_bytes().splitlines()
    for number in (broken := set(random.Random(5).sample(range(30), 7))):
        lines[number] = lines[number][: number * 3]
    path.write_bytes(b"\n".join(lines) + b'\n{"seq": 31, "half')
    again = Ledger(path)
    assert f"{path}: " in capsys.readouterr().err
    again.append(served(30))
    assert requests_of(again) == requests_of(Ledger(path)) == [
        f"request {number}" for number in range(31) if number not in broken
    ]  # fmt: skip
    assert again.after(30) == again.after()[-1:]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a file that is always full")
def test_where_nothing_can_be_written_nothing_is_said_to_be(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from scripts.dev.moto_aws.journal import Journal\n"
        "journal = Journal(Path('nowhere')); journal._file = open('/dev/full', 'ab', buffering=0)\n"
        "try: journal.write([('a', 1)])\n"
        "except OSError as error: print(error.strerror)"
    )
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert json.dumps(said.strip()) == '"No space left on device"'

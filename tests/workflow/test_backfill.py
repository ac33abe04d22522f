"""`make backfill`, against the state machine in this process."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import boto3
import pytest

from gateway.aggregation import MAX_HOURS
from scripts import backfill
from scripts.backfill import WindowFailed, backfill_range, windows
from tests.workflow.machine import MIDNIGHT, Workflow, row

AS_OF = MIDNIGHT + timedelta(days=1, hours=2.2)


@pytest.fixture
def fill(workflow: Workflow) -> Callable[[date, date], int]:
    states = boto3.client("stepfunctions")
    (machine,) = states.list_state_machines()["stateMachines"]
    return lambda first, last: backfill_range(states, machine["stateMachineArn"], first, last, AS_OF, seconds=0.02)


def test_a_range_goes_in_windows_of_whole_days_up_to_the_last_hour_that_has_ended() -> None:
    found = list(windows(date(2026, 11, 10), date(2026, 11, 25), AS_OF))
    assert [(hours[0], hours[-1], len(hours)) for hours in found] == [
        ("2026-11-10T00", "2026-11-16T23", MAX_HOURS),
        ("2026-11-17T00", "2026-11-23T23", MAX_HOURS),
        ("2026-11-24T00", "2026-11-25T01", 26),
    ]
    assert [len(hours) for hours in windows(date(2026, 11, 10), date(2026, 11, 11), AS_OF, 20)] == [20, 20, 8]
    assert list(windows(date(2026, 12, 1), date(2026, 12, 2), AS_OF)) == []
    assert len(list(windows(date(2026, 11, 10), date(2026, 11, 10), AS_OF))) == 1


def test_a_backfill_is_as_if_it_had_been_aggregated_in_time(
    workflow: Workflow, fill: Callable[[date, date], int], capsys: pytest.CaptureFixture[str]
) -> None:
    workflow.keep(row("a", 3), input_tokens=1000)
    workflow.keep(row("b", 20), input_tokens=10)
    assert fill(date(2026, 11, 24), date(2026, 11, 24)) == 24
    (line,) = workflow.read("costs/")
    assert (line["input_tokens"], line["line_kind"]) == (1010, "original")
    assert "2026-11-24T00 to 2026-11-24T23: done" in capsys.readouterr().out


def test_a_window_that_is_done_is_not_done_again_and_one_that_failed_is(
    workflow: Workflow, fill: Callable[[date, date], int]
) -> None:
    workflow.keep(row("a", 3), input_tokens=1000)
    verify = workflow.handlers["VerifyCosts"]

    def broken(event: Any, context: object) -> Any:
        raise ValueError("no such thing")

    workflow.handlers["VerifyCosts"] = broken
    with pytest.raises(WindowFailed, match="usage of hour 2026-11-24T.. part 0 is not proven"):
        fill(date(2026, 11, 24), date(2026, 11, 24))
    workflow.handlers["VerifyCosts"] = verify
    fill(date(2026, 11, 24), date(2026, 11, 24))
    done = len(workflow.calls)
    fill(date(2026, 11, 24), date(2026, 11, 24))
    assert len(workflow.calls) == done


def test_a_moment_without_a_zone_is_one_of_utc() -> None:
    assert (
        backfill._moment("2026-11-24T01:00")
        == datetime(2026, 11, 24, 1, tzinfo=UTC)
        == backfill._moment("2026-11-24T01:00Z")
    )

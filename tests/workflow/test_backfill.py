"""`gateway backfill`, against both state machines in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from gateway.costs.periods import MAX_HOURS
from scripts.dev.moto_aws.moto_patches import mend_nested_executions
from scripts.operate import backfill as command
from scripts.operate.backfill import DAYS, BackfillFailed, backfill, windows
from scripts.operate.cli.commands import Moment
from tests.workflow.machine import MIDNIGHT, Workflow, make_state_machine, row

AS_OF = MIDNIGHT + timedelta(days=1, hours=2.2)
FIRST, LAST = date(2026, 11, 22), date(2026, 11, 24)

Fill = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def fill(workflow: Workflow) -> Fill:
    """Backfills the three days, one per window."""
    mend_nested_executions()
    states = boto3.client("stepfunctions")
    machine = make_state_machine("backfill_costs", {"AggregateCosts": workflow.arn})
    return lambda: backfill(states, machine, FIRST, LAST, AS_OF, days=1, seconds=0.02)


def break_day(workflow: Workflow, day: str, monkeypatch: pytest.MonkeyPatch) -> None:
    close = workflow.handlers["CloseDay"]

    def broken(event: Any, context: object) -> Any:
        if event["day"] == day:
            raise ValueError("no such thing")
        return close(event, context)

    monkeypatch.setitem(workflow.handlers, "CloseDay", broken)


def test_a_range_goes_in_windows_of_whole_days_up_to_the_last_hour_that_has_ended() -> None:
    assert list(windows(date(2026, 11, 10), date(2026, 11, 25), AS_OF)) == [
        {"first": "2026-11-10T00", "last": "2026-11-16T23"},
        {"first": "2026-11-17T00", "last": "2026-11-23T23"},
        {"first": "2026-11-24T00", "last": "2026-11-25T01"},
    ]
    assert DAYS * 24 <= MAX_HOURS
    assert [w["first"] for w in windows(date(2026, 11, 10), date(2026, 11, 11), AS_OF, 1)] == [
        "2026-11-10T00",
        "2026-11-11T00",
    ]
    assert list(windows(date(2026, 12, 1), date(2026, 12, 2), AS_OF)) == []
    assert len(list(windows(date(2026, 11, 10), date(2026, 11, 10), AS_OF))) == 1


def test_a_backfill_is_as_if_it_had_been_aggregated_in_time(workflow: Workflow, fill: Fill) -> None:
    workflow.keep(row("a", 3), input_tokens=1000)
    workflow.keep(row("b", 20), input_tokens=10)
    workflow.keep(row("c", -30), input_tokens=7)
    workflow.keep(row("d", 5), None)
    done = fill()
    assert [(window["first"], window["last"]) for window in done] == [
        (f"2026-11-{day}T00", f"2026-11-{day}T23") for day in (22, 23, 24)
    ]
    assert [(window["found"]["hours"], window["found"]["openHours"]) for window in done] == [(24, 0), (24, 0), (24, 1)]
    assert sorted((line["input_tokens"], line["line_kind"]) for line in workflow.read("costs/")) == [
        (7, "original"),
        (1010, "original"),
    ]


def test_whoever_waits_is_told_how_far_it_is(workflow: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    mend_nested_executions()
    monkeypatch.setattr(command, "POLLS", 1)
    machine = make_state_machine("backfill_costs", {"AggregateCosts": workflow.arn})
    told: list[str] = []
    steps: list[tuple[int, int]] = []
    states = boto3.client("stepfunctions")
    backfill(
        states, machine, FIRST, LAST, AS_OF, days=1, seconds=0.02, tell=told.append,
        progress=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    assert told == ["2026-11-22 to 2026-11-24: 3 windows to aggregate"]
    assert steps
    assert set(steps) <= {(done, 3) for done in (1, 2, 3)}


def test_every_window_comes_to_its_end_and_only_what_failed_is_done_again(
    workflow: Workflow, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow.keep(row("a", 3), input_tokens=1000)
    workflow.keep(row("c", -30), input_tokens=7)
    with monkeypatch.context() as context:
        break_day(workflow, "2026-11-22", context)
        for _ in range(2):
            with pytest.raises(
                BackfillFailed, match="2026-11-22T00 to 2026-11-22T23.*day 2026-11-22 is not closed"
            ) as e:
                fill()
            assert "2026-11-24" not in str(e.value)
    assert workflow.files("costs/") == ["costs/dt=2026-11-23/part-0.parquet", "costs/dt=2026-11-24/part-0.parquet"]
    workflow.calls.clear()
    assert [window["first"] for window in fill()] == ["2026-11-22T00"]
    assert {event["day"] for name, event in workflow.calls if name == "CloseDay"} == {"2026-11-22"}
    workflow.calls.clear()
    assert (fill(), workflow.calls) == ([], [])


def test_a_run_that_broke_off_goes_on_with_the_windows_that_had_not_ended(workflow: Workflow, fill: Fill) -> None:
    """Somebody stopped it: what it had begun has ended, what it had not begun is not there."""
    workflow.keep(row("a", 3), input_tokens=1000)
    states = boto3.client("stepfunctions")
    name = f"backfill-{FIRST}-{LAST}-as-of-2026-11-25T0212-1"
    machines = {
        machine["name"]: machine["stateMachineArn"] for machine in states.list_state_machines()["stateMachines"]
    }
    stopped = {"name": name, "scheduledTime": "2026-11-25T02:12:00Z", "windows": "not a list"}
    states.start_execution(stateMachineArn=machines["backfill_costs"], name=name, input=json.dumps(stopped))
    workflow.run_with({"scheduledTime": stopped["scheduledTime"], "hours": ["2026-11-22T00"]}, f"{name}-2026-11-22T00")
    assert [window["first"] for window in fill()] == ["2026-11-23T00", "2026-11-24T00"]


def test_the_state_of_ten_years_fits_into_an_execution() -> None:
    window = next(iter(windows(date(2026, 11, 10), date(2026, 11, 16), AS_OF)))
    found = dict.fromkeys([*command.NOTES, "hours"], 10**6)
    done = {**window, "failed": False, "found": found}
    assert len(json.dumps([done] * (3650 // DAYS))) < 262_144


def test_the_names_of_its_executions_are_short_enough() -> None:
    longest = f"backfill-{FIRST}-{LAST}-as-of-{AS_OF:%Y-%m-%dT%H%M}-{command.TRIES}-2026-11-22T00"
    assert len(longest) <= 80
    assert "States.Format('{}-{}', $.name, $.first)" in (
        Path(__file__).parents[2] / "functions/backfill_costs/statemachine.asl.yaml"
    ).read_text(encoding="utf-8")


def test_a_moment_without_a_zone_is_one_of_utc() -> None:
    assert (
        Moment().convert("2026-11-24T01:00", None, None)
        == datetime(2026, 11, 24, 1, tzinfo=UTC)
        == Moment().convert("2026-11-24T01:00Z", None, None)
    )

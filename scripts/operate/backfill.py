"""Aggregates the costs of a range of days again, from the ledger: `gateway backfill`.

BackfillCosts divides the range into windows of whole days, and runs AggregateCosts for several at a time; each window
is proven and recorded like any other run. A failed window does not stop the others. The same command with the printed
`--as-of` retries the failed windows only. Closed days are restated line by line, never rewritten.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

from gateway.costs.periods import GRACE, HOUR, hours_between
from scripts.project.command import WrongUse
from scripts.project.words import counted

TRIES = 20  # attempts for one range, over all commands with the same --as-of
DAYS = 7  # of one run
POLLS = 5  # seconds of the whole before each window is polled: AWS limits Describe calls

Window = dict[str, str]


class BackfillFailed(Exception):
    """Some windows did not succeed."""


def windows(first: date, last: date, as_of: datetime, days: int = DAYS) -> Iterator[Window]:
    """The hours of a range that ended before a moment, in windows of so many days."""
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC)
    end = datetime(last.year, last.month, last.day, 23, tzinfo=UTC)
    hours = hours_between(begin, min(end, as_of - GRACE - HOUR))
    for start in range(0, len(hours), days * 24):
        some = hours[start : start + days * 24]
        yield {"first": some[0], "last": some[-1]}


def backfill(
    states: Any,
    machine: str,
    first: date,
    last: date,
    as_of: datetime,
    days: int = DAYS,
    seconds: float = 2,
    tell: Callable[[str], None] = lambda _line: None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[dict[str, Any]]:
    """Run the windows of a range that no earlier command completed, and return the findings of each window.

    `tell` gets a line about the range; `progress` gets the numbers of finished and of all windows.
    """
    left = list(windows(first, last, as_of, days))
    for attempt in range(1, TRIES + 1):
        if not left:
            return []
        name = f"backfill-{first}-{last}-as-of-{as_of:%Y-%m-%dT%H%M}-{attempt}"
        arn = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
        try:
            found = states.describe_execution(executionArn=arn)
        except states.exceptions.ExecutionDoesNotExist:
            run = {"name": name, "scheduledTime": as_of.strftime("%Y-%m-%dT%H:%M:%SZ"), "windows": left}
            arn = states.start_execution(stateMachineArn=machine, name=name, input=json.dumps(run))["executionArn"]
            begun_here = True
        else:
            begun_here = found["status"] == "RUNNING"
        tell(f"{left[0]['first'][:10]} to {left[-1]['last'][:10]}: {len(left)} windows to aggregate")
        succeeded, polls = 0, 0
        while (found := states.describe_execution(executionArn=arn))["status"] == "RUNNING":
            polls += 1
            if polls % POLLS == 0 and (now := len(left) - len(_failed(states, machine, name, left))) > succeeded:
                succeeded = now
                progress(succeeded, len(left))
            time.sleep(seconds)
        if found["status"] == "SUCCEEDED":
            done: list[dict[str, Any]] = json.loads(found["output"])["windows"] if begun_here else []
            return done
        failed = _failed(states, machine, name, left)
        if begun_here:
            raise BackfillFailed("\n".join(failed.values()) or f"{found['status']}: {found.get('cause', '')}")
        left = [window for window in left if window["first"] in failed]
    raise BackfillFailed(f"{first} to {last} has failed {TRIES} times")


def _failed(states: Any, machine: str, name: str, left: Sequence[Window]) -> dict[str, str]:
    """The failed windows by their first hour, with the reason from their AggregateCosts executions."""
    definition = json.loads(states.describe_state_machine(stateMachineArn=machine)["definition"])
    window_of = definition["States"]["AggregateEveryWindow"]["ItemProcessor"]["States"]["AggregateWindow"]
    aggregate = window_of["Parameters"]["StateMachineArn"]
    failed = {}
    for window in left:
        arn = f"{aggregate.replace(':stateMachine:', ':execution:')}:{name}-{window['first']}"
        try:
            run = states.describe_execution(executionArn=arn)
        except states.exceptions.ExecutionDoesNotExist:
            run = {"status": "was not started"}
        if run["status"] != "SUCCEEDED":
            failed[window["first"]] = f"{window['first']} to {window['last']}: {run.get('cause') or run['status']}"
    return failed


NOTES = {
    "openHours": ("hour with open rows", "hours with open rows"),
    "unpricedHours": ("hour with rows that have no price", "hours with rows that have no price"),
    "quarantinedRows": ("row in quarantine", "rows in quarantine"),
    "mendedFiles": ("file rebuilt", "files rebuilt"),
    "lostFiles": ("file lost", "files lost"),
}


def line_of(window: dict[str, Any]) -> str:
    """A window's findings as text."""
    found = window["found"]
    notes = [f"; {counted(found[name], *texts)}" for name, texts in NOTES.items() if found[name]]
    return f"{window['first']} to {window['last']}: done{''.join(notes)}"


def region_of(machine: str) -> str:
    """The region of a state machine's ARN. Raises WrongUse."""
    if not (arn := re.fullmatch(r"arn:[\w-]+:states:([\w-]+):\d+:stateMachine:[^:]+", machine)):
        raise WrongUse(f"{machine} is not a state machine's ARN: use the stack's output BackfillCostsArn")
    return arn[1]

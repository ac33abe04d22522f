"""`make backfill`: aggregates the costs of any range of days again, from the ledger.

    make backfill ARGS="2026-10-01 2026-10-31"                                        the local stack
    make backfill ARGS="2026-10-01 2026-10-31 --state-machine arn:…:AggregateCosts"   a stack in AWS

The range goes through the state machine in windows of a week, one after the other; each is a run of its own, proven
and noted like any other. A window that succeeded is not done twice: where it broke off, the same command with the
`--as-of` that it tells goes on from there. Days that were closed are restated line by line, never rewritten.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from gateway.aggregation import GRACE, HOUR, MAX_HOURS, hours_between

DATA = Path(os.environ.get("GATEWAY_DEV_DIR", ".dev"))
TRIES = 20  # of one window, over all commands with the same --as-of


class WindowFailed(Exception):
    """A run did not succeed."""


def windows(first: date, last: date, as_of: datetime, at_once: int = MAX_HOURS) -> Iterator[list[str]]:
    """The hours of a range that have ended by a moment, as many at a time as one run takes."""
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC)
    end = datetime(last.year, last.month, last.day, 23, tzinfo=UTC)
    hours = hours_between(begin, min(end, as_of - GRACE - HOUR))
    return (hours[start : start + at_once] for start in range(0, len(hours), at_once))


def backfill(states: Any, machine: str, hours: Sequence[str], as_of: datetime, seconds: float = 2) -> dict[str, Any]:
    """Run one window to its end and return its output; what succeeded before under the same name is not done again."""
    run = {"scheduledTime": as_of.strftime("%Y-%m-%dT%H:%M:%SZ"), "hours": list(hours)}
    for attempt in range(1, TRIES + 1):
        name = f"backfill-{hours[0]}-{hours[-1]}-as-of-{as_of:%Y-%m-%dT%H%M}-{attempt}"
        arn = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
        try:
            found = states.describe_execution(executionArn=arn)
        except states.exceptions.ExecutionDoesNotExist:
            arn = states.start_execution(stateMachineArn=machine, name=name, input=json.dumps(run))["executionArn"]
            begun_here = True
        else:
            begun_here = found["status"] == "RUNNING"
        while (found := states.describe_execution(executionArn=arn))["status"] == "RUNNING":
            time.sleep(seconds)
        if found["status"] == "SUCCEEDED":
            output: dict[str, Any] = json.loads(found["output"])
            return output
        if begun_here:
            raise WindowFailed(f"{found['status']}: {found.get('error')} {found.get('cause')}")
    raise WindowFailed(f"{hours[0]} to {hours[-1]} has failed {TRIES} times")


def backfill_range(
    states: Any, machine: str, first: date, last: date, as_of: datetime, at_once: int = MAX_HOURS, seconds: float = 2
) -> int:
    """All windows of a range; returns how many hours they were."""
    done = 0
    for hours in windows(first, last, as_of, at_once):
        out = backfill(states, machine, hours, as_of, seconds)
        done += len(hours)
        notes = [f"{len(out[name])} hours {text}" for name, text in NOTES.items() if out.get(name)]
        if out.get("quarantinedRows"):
            notes.append(f"{out['quarantinedRows']} rows in quarantine")
        notes += [f"{what} {key}" for what in ("mended", "lost") for key in out.get(f"{what}Files", ())]
        print(f"{hours[0]} to {hours[-1]}: done{''.join(f'; {note}' for note in notes)}", flush=True)
    return done


NOTES = {"openHours": "with open rows", "unpricedHours": "with rows that have no price"}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=date.fromisoformat, help="the first day")
    parser.add_argument("last", type=date.fromisoformat, help="the last day")
    parser.add_argument("--state-machine", help="the ARN of AggregateCosts; without it, that of the local stack")
    parser.add_argument("--as-of", type=_moment, default=datetime.now(UTC).replace(second=0, microsecond=0))
    # A day of 100 million rows takes longer to prove than one function may run: three hours of it do not.
    parser.add_argument(
        "--hours", type=int, default=MAX_HOURS, choices=range(1, MAX_HOURS + 1), metavar="HOURS", help="of one run"
    )
    asked = parser.parse_args(arguments)
    if asked.last < asked.first:
        parser.error("the last day is before the first")
    try:
        if asked.state_machine:
            import boto3

            region = asked.state_machine.split(":")[3]
            states = boto3.client("stepfunctions", region_name=region)
            backfill_range(states, asked.state_machine, asked.first, asked.last, asked.as_of, asked.hours)
        else:
            from scripts.dev.stack import attach_or_start

            with attach_or_start(DATA) as stack:
                states = stack.client("stepfunctions")
                machine = stack.info["state_machines"]["AggregateCosts"]
                backfill_range(states, machine, asked.first, asked.last, asked.as_of, asked.hours)
    except WindowFailed as failed:
        sys.exit(f"{failed}\nTo go on from here: the same command with --as-of {asked.as_of:%Y-%m-%dT%H:%MZ}")


def _moment(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


if __name__ == "__main__":
    main()

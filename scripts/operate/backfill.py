"""`make backfill`: aggregates the costs of any range of days again, from the ledger.

    make backfill ARGS="2026-10-01 2026-10-31"                                       the local stack
    make backfill ARGS="2026-10-01 2026-10-31 --state-machine arn:…-backfill-costs"  a stack in AWS (BackfillCostsArn)

BackfillCosts divides the range into windows of whole days, and runs AggregateCosts for some of them at a time; each is
proven and noted like any other run. All windows come to their end. The same command with the `--as-of` that it tells
does again those that failed, and only these. Days that were closed are restated line by line, never rewritten.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from gateway.costs.periods import GRACE, HOUR, MAX_HOURS, hours_between
from scripts.project.command import WrongUse, run

DATA = Path(os.environ.get("GATEWAY_DEV_DIR", ".dev"))
TRIES = 20  # of one range, over all commands with the same --as-of
DAYS = 7  # of one run
POLLS = 5  # of the whole, before each window is asked for: AWS counts what is described

Window = dict[str, str]


class BackfillFailed(Exception):
    """Some windows did not succeed."""


def windows(first: date, last: date, as_of: datetime, days: int = DAYS) -> Iterator[Window]:
    """The hours of a range that have ended by a moment, so many days at a time."""
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
    tell: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Run what of a range has not succeeded by earlier commands, and return what was found in each window of it.

    `tell` hears how far it is.
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
                tell(f"{succeeded} of {len(left)} windows are done")
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
    """The windows that did not succeed, by their first hour, and why: each has an execution of AggregateCosts."""
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
    "openHours": "hours with open rows",
    "unpricedHours": "hours with rows that have no price",
    "quarantinedRows": "rows in quarantine",
    "mendedFiles": "files made again",
    "lostFiles": "files lost",
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=date.fromisoformat, help="the first day")
    parser.add_argument("last", type=date.fromisoformat, help="the last day")
    parser.add_argument("--state-machine", help="the ARN of BackfillCosts; without it, that of the local stack")
    parser.add_argument("--as-of", type=_moment, default=datetime.now(UTC).replace(second=0, microsecond=0))
    parser.add_argument("--days", type=int, default=DAYS, choices=range(1, MAX_HOURS // 24 + 1), help="of one run")
    asked = parser.parse_args(arguments)
    if asked.last < asked.first:
        parser.error("the last day is before the first")
    try:
        if asked.state_machine:
            import boto3

            if not (arn := re.fullmatch(r"arn:[\w-]+:states:([\w-]+):\d+:stateMachine:[^:]+", asked.state_machine)):
                raise WrongUse(f"{asked.state_machine} is no state machine's ARN: take the output BackfillCostsArn")
            states = boto3.client("stepfunctions", region_name=arn[1])
            done = backfill(states, asked.state_machine, asked.first, asked.last, asked.as_of, asked.days, tell=_tell)
        else:
            done = _in_local_stack(asked)
    except BackfillFailed as failed:
        again = f"the same command with --as-of {asked.as_of:%Y-%m-%dT%H:%MZ}"
        sys.exit(f"{failed}\nTo do again what failed, and only this: {again}")
    for window in done:
        notes = [f"; {number} {text}" for name, text in NOTES.items() if (number := window["found"][name])]
        print(f"{window['first']} to {window['last']}: done{''.join(notes)}", flush=True)
    if not done:
        print("nothing is left to do")


def _in_local_stack(asked: argparse.Namespace) -> list[dict[str, Any]]:
    from scripts.dev.stack import StackError, attach_or_start

    try:
        with attach_or_start(DATA) as stack:
            machine = stack.info["state_machines"]["BackfillCosts"]
            states = stack.client("stepfunctions")
            return backfill(states, machine, asked.first, asked.last, asked.as_of, asked.days, tell=_tell)
    except StackError as error:
        raise WrongUse(f"The local stack: {error}") from error


def _tell(line: str) -> None:
    """Beside what is found, which is for programs as well."""
    print(line, file=sys.stderr, flush=True)


def _moment(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


if __name__ == "__main__":
    sys.exit(run(main))

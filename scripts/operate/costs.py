"""Aggregates everything that the local stack has metered so far: `gateway costs`.

It runs the deployed state machine, the hour that runs included, then reads the Parquet files that it wrote. It uses the
stack that runs, or starts one over the data that the last one left. In that case no caller is alive any more, so rows
that are still open can never settle: they are swept at once, without waiting for their leases to end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from gateway.costs.periods import MAX_HOURS
from scripts.operate.statements import Days, day_tables, days_as_json
from scripts.operate.tables import Page
from scripts.project.words import counted

AFTER_ALL_LEASES = "9999-01-01T00:00:00+00:00"


NOTES = {
    "quarantinedRows": (
        "row cannot be read, or makes no sense: it is in no sum; quarantine/ has it, and why",
        "rows cannot be read, or make no sense: they are in no sum; quarantine/ has each, and why",
    ),
    "mendedFiles": (
        "file was lost, altered or unreadable: it was made again from the ledger",
        "files were lost, altered or unreadable: they were made again from the ledger",
    ),
    "lostFiles": (
        "file was lost or altered, and the ledger has dropped its rows: put back an earlier version",
        "files were lost or altered, and the ledger has dropped their rows: put back an earlier version",
    ),
    "leftHours": ("hour has still to be done: run it again", "hours have still to be done: run it again"),
}


class LocalStack(Protocol):
    """What this needs of `scripts.dev.stack`."""

    info: dict[str, Any]

    def client(self, service: str) -> Any:
        """A boto3 client."""

    def run_state_machine(self, name: str, payload: Any) -> Any:
        """Run it to its end and return its output; raises, with the cause, where it fails."""


def aggregate(
    stack: LocalStack, now: datetime, *, alone: bool, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> list[str]:
    """Aggregate every hour that has a row, and only these; return what has to be told. `alone`: no caller is alive.

    `progress` gets how many hours are done, and of how many.
    """
    run: dict[str, Any] = {"scheduledTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"), "includeCurrentHour": True}
    if alone:
        run["asOf"] = AFTER_ALL_LEASES
    hours = metered_hours(stack)
    outputs = []
    for first in range(0, len(hours), MAX_HOURS):
        progress(first, len(hours))
        outputs.append(stack.run_state_machine("AggregateCosts", run | {"hours": hours[first : first + MAX_HOURS]}))
    return list(told(outputs))


def told(outputs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What runs have found that is not as it should be."""
    for name, texts in NOTES.items():
        found = [output[name] for output in outputs]
        if number := sum(some if isinstance(some, int) else len(some) for some in found):
            yield counted(number, *texts)


def metered_hours(stack: LocalStack) -> list[str]:
    """The hours in which the ledger has rows, those that cannot be read as well. A scan: fit for a ledger on a
    developer's machine, and for no other."""
    pages = (
        stack.client("dynamodb")
        .get_paginator("scan")
        .paginate(
            TableName=stack.info["tables"]["UsageTable"],
            ProjectionExpression="pk",
        )
    )
    keys = {row["pk"]["S"] for page in pages for row in page["Items"]}
    return sorted({key[:13] for key in keys if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d#\d\d", key)})


def page(days: Days, notes: Sequence[str], lake: Path) -> Page:
    """The report, what is not as it should be, and where the files are."""
    wrong = ["\n  ".join(["Not as it should be:", *notes])] if notes else []
    place = f"The lake: usage/ has a row per attempt, costs/ a row per day, tenant, cost centre and model:\n  {lake}"
    return [*day_tables(days), *wrong, place]


def as_json(days: Days, notes: Sequence[str], lake: Path) -> dict[str, Any]:
    return {"days": days_as_json(days), "notes": list(notes), "lake": str(lake)}

"""Aggregates all usage that the local stack has metered so far: `gateway costs`.

It runs the deployed state machine, including the current hour, then reads the Parquet files that it wrote. It uses the
running stack, or starts one over the data of the last one. In that case no caller is alive, so open rows can never
settle: it sweeps them at once, without waiting for their leases to expire.
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
        "row is unreadable or implausible: it is in no sum; quarantine/ has it with its reason",
        "rows are unreadable or implausible: they are in no sum; quarantine/ has each with its reason",
    ),
    "mendedFiles": (
        "file was lost, altered or unreadable: it was rebuilt from the ledger",
        "files were lost, altered or unreadable: they were rebuilt from the ledger",
    ),
    "lostFiles": (
        "file was lost or altered after the ledger dropped its rows: restore an earlier version",
        "files were lost or altered after the ledger dropped their rows: restore an earlier version",
    ),
    "leftHours": ("hour is left: run it again", "hours are left: run it again"),
}


class LocalStack(Protocol):
    """The part of `scripts.dev.stack` that this module needs."""

    info: dict[str, Any]

    def client(self, service: str) -> Any:
        """A boto3 client."""

    def run_state_machine(self, name: str, payload: Any) -> Any:
        """Run it to its end and return its output; raises with the cause if it fails."""


def aggregate(
    stack: LocalStack, now: datetime, *, alone: bool, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> list[str]:
    """Aggregate the hours that have rows; return the notices for the user. `alone`: no caller is alive.

    `progress` gets the numbers of finished and of all hours.
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
    """The problems that runs have found."""
    for name, texts in NOTES.items():
        found = [output[name] for output in outputs]
        if number := sum(some if isinstance(some, int) else len(some) for some in found):
            yield counted(number, *texts)


def metered_hours(stack: LocalStack) -> list[str]:
    """The hours in which the ledger has rows, including unreadable ones.

    It scans the table, so it suits only a ledger on a developer's machine."""
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
    """The report, the problems, and the location of the files."""
    wrong = ["\n  ".join(["Problems:", *notes])] if notes else []
    place = f"The lake: usage/ has a row per attempt, costs/ a row per day, tenant, cost centre and model:\n  {lake}"
    return [*day_tables(days), *wrong, place]


def as_json(days: Days, notes: Sequence[str], lake: Path) -> dict[str, Any]:
    return {"days": days_as_json(days), "notes": list(notes), "lake": str(lake)}

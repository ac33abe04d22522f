"""PlanPeriods: which hours this run covers, from the moment it was scheduled for, and which files they lie in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from gateway.aggregation import hours_between, plan, start_of, usage_files
from gateway.aws.objects import S3Objects
from gateway.aws.periods import DynamoPeriods
from gateway.aws.price_overlay import current_book
from gateway.settings import settings

periods = DynamoPeriods(settings().usage_table, settings().usage_retention_days)
lake = S3Objects(settings().lake_bucket)


def hours_of(event: dict[str, Any]) -> Sequence[str]:
    """The hours that a run is asked for: these, or a range, of which both ends count."""
    if "first" in event:
        return hours_between(start_of(event["first"]), start_of(event["last"]))
    return tuple(event.get("hours", ()))


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    planned = plan(
        periods,
        datetime.fromisoformat(event["scheduledTime"]),
        include_current_hour=event.get("includeCurrentHour", False),
        hours=hours_of(event),
        retention=timedelta(days=settings().usage_retention_days),
        book_version=current_book(max_age=0).version,
    )
    files = usage_files(planned.hours, periods, lambda day: lake.sizes(f"usage/dt={day}/"))
    return {
        "plan": asdict(planned),
        "files": [asdict(file) for file in files],
        "days": [{"day": day, "complete": planned.completes(day)} for day in planned.days()],
    }

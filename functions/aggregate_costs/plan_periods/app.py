"""PlanPeriods: which hours this run covers, from the moment it was scheduled for, and which files they lie in."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from gateway.aggregation import plan, usage_files
from gateway.aws.objects import S3Objects
from gateway.aws.periods import DynamoPeriods
from gateway.aws.price_overlay import current_book
from gateway.settings import settings

periods = DynamoPeriods(settings().usage_table, settings().usage_retention_days)
lake = S3Objects(settings().lake_bucket)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    planned = plan(
        periods,
        datetime.fromisoformat(event["scheduledTime"]),
        include_current_hour=event.get("includeCurrentHour", False),
        hours=event.get("hours", ()),
        retention=timedelta(days=settings().usage_retention_days),
        book_version=current_book(max_age=0).version,
    )
    files = usage_files(planned.hours, periods, lambda day: lake.sizes(f"usage/dt={day}/"))
    return {
        "plan": asdict(planned),
        "files": [asdict(file) for file in files],
        "days": [{"day": day, "complete": planned.completes(day)} for day in planned.days()],
    }

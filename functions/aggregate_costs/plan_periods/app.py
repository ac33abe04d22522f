"""PlanPeriods: which hours this run covers, from the moment it was scheduled for."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from gateway.aggregation import plan
from gateway.aws.periods import DynamoPeriods
from gateway.aws.price_overlay import current_book
from gateway.settings import settings

periods = DynamoPeriods(settings().usage_table)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    planned = plan(
        periods,
        datetime.fromisoformat(event["scheduledTime"]),
        include_current_hour=event.get("includeCurrentHour", False),
        hours=event.get("hours", ()),
        retention=timedelta(days=settings().usage_retention_days),
        book_version=current_book(max_age=0).version,
    )
    return {
        "plan": asdict(planned),
        "partitions": [asdict(partition) for partition in planned.partitions()],
        "days": [
            {"day": day, "hours": hours, "complete": planned.completes(day)} for day, hours in planned.days().items()
        ],
    }

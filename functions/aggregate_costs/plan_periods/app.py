"""PlanPeriods: plan the hours of a run from its scheduled time, and the usage files of these hours.

Every run compares the files of the whole lake with their proofs; lost or altered files are done again.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from gateway.aws.dynamodb.periods import DynamoPeriods
from gateway.aws.dynamodb.proofs import DynamoProofs
from gateway.aws.s3.objects import S3Objects
from gateway.aws.s3.price_overlay import current_book
from gateway.core.settings import settings
from gateway.costs.periods import plan, requested_hours
from gateway.costs.proofs import Listing, look
from gateway.costs.usage_files import usage_files

periods = DynamoPeriods(settings().usage_table, settings().usage_retention_days)
proofs = DynamoProofs(settings().usage_table)
lake = S3Objects(settings().lake_bucket)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    scheduled, retention = datetime.fromisoformat(event["scheduledTime"]), timedelta(settings().usage_retention_days)
    begin, there = proofs.begin(), Listing.of(lake.list("usage/"), lake.list("costs/"))
    planned = plan(
        periods,
        scheduled,
        include_current_hour=event.get("includeCurrentHour", False),
        hours=requested_hours(event),
        retention=retention,
        book_version=current_book(max_age=0).version,
        begin=begin,
        found=look(proofs.days(), begin, periods.watermark(), there, scheduled, retention),
    )
    files = usage_files(planned.hours, periods, lambda day: lake.sizes(f"usage/dt={day}/"))
    return {
        "plan": asdict(planned),
        "files": [asdict(file) for file in files],
        "days": [
            {"day": day, "hours": hours, "complete": planned.completes(day), "rebuild": day in planned.rebuilt}
            for day, hours in planned.days().items()
        ],
    }

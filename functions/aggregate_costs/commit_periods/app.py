"""CommitPeriods: note which hours are done, and which again: while rows are open, or when a book has new prices."""

from __future__ import annotations

from typing import Any

from gateway.aggregation import Plan, commit
from gateway.aws.lake import S3Objects
from gateway.aws.periods import DynamoPeriods
from gateway.aws.price_overlay import current_book
from gateway.aws.prices_table import write_prices
from gateway.settings import settings
from gateway.telemetry import UNPRICED_USAGE, count

periods = DynamoPeriods(settings().usage_table, settings().usage_retention_days)
lake = S3Objects(settings().lake_bucket)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    done = Plan(**event["plan"])
    open_hours = [hour for verified in event["verified"] for hour in verified["openHours"]]
    unpriced = {hour: verified["bookVersion"] for verified in event["verified"] for hour in verified["unpricedHours"]}
    write_prices(lake, current_book(max_age=0))
    watermark = commit(done, open_hours, periods, unpriced)
    if unpriced:
        count(UNPRICED_USAGE)
    return {
        "hours": len(done.hours),
        "days": list(done.days()),
        "openHours": open_hours,
        "unpricedHours": list(unpriced),
        "watermark": watermark,
    }

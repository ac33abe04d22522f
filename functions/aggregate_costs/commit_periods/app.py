"""CommitPeriods: note which hours are done, and which again: while rows are open, or when a book has new prices.

And tell what the run has found: rows and files that could not be read, and how far the costs are behind the clock.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway.aggregation import Plan, commit, lag
from gateway.aws.objects import S3Objects
from gateway.aws.periods import DynamoPeriods
from gateway.aws.price_overlay import current_book
from gateway.aws.prices_table import write_prices
from gateway.settings import settings
from gateway.telemetry import AGGREGATION_LAG, QUARANTINED_ROWS, UNPRICED_USAGE, count, measure

periods = DynamoPeriods(settings().usage_table, settings().usage_retention_days)
lake = S3Objects(settings().lake_bucket)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    done = Plan(**event["plan"])
    open_hours = sorted({verified["hour"] for verified in event["verified"] if verified["open"]})
    unpriced = sorted({verified["hour"] for verified in event["verified"] if verified["unpriced"]})
    quarantined = sum(verified["quarantined"] for verified in event["verified"])
    mended = [key for closed in event["closed"] for key in closed["mended"]]
    lost = [key for closed in event["closed"] for key in closed["lost"]]
    write_prices(lake, current_book(max_age=0))
    watermark = commit(done, open_hours, periods, unpriced)
    if unpriced:
        count(UNPRICED_USAGE)
    if quarantined or lost:
        count(QUARANTINED_ROWS, quarantined + len(lost))
    if watermark:
        measure(AGGREGATION_LAG, lag(watermark, datetime.now(UTC)))
    return {
        "hours": len(done.hours),
        "days": list(done.days()),
        "openHours": open_hours,
        "unpricedHours": unpriced,
        "quarantinedRows": quarantined,
        "mendedFiles": mended,
        "lostFiles": lost,
        "watermark": watermark,
    }

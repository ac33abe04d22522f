"""FindDays: find the days to check before a run is planned.

These are days that an earlier release has aggregated, and days that another price book has priced; usually there are
none. It reads little: the proof of each day and the version of the price book.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.aws.dynamodb.periods import DynamoPeriods
from gateway.aws.dynamodb.proofs import DynamoProofs
from gateway.aws.s3.objects import S3Objects
from gateway.aws.s3.price_overlay import current_book
from gateway.core.settings import settings
from gateway.costs.periods import requested_hours
from gateway.costs.proofs import Listing, find_days

ledger = DynamoLedger(settings().usage_table)
periods = DynamoPeriods(settings().usage_table, settings().usage_retention_days)
proofs = DynamoProofs(settings().usage_table)
lake = S3Objects(settings().lake_bucket)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    return find_days(
        proofs,
        periods,
        ledger,
        lambda: Listing.of(lake.list("usage/"), lake.list("costs/")),
        datetime.fromisoformat(event["scheduledTime"]),
        timedelta(days=settings().usage_retention_days),
        current_book(max_age=0).version,
        requested_hours(event),
    )._asdict()

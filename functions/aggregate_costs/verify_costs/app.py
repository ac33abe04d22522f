"""VerifyCosts: prove that ledger, usage and costs of a day say the same; else the run fails with CostsDoNotMatch."""

from __future__ import annotations

from typing import Any

from gateway.aggregation import latest_start, verify_day
from gateway.aws.dynamodb import DynamoLedger
from gateway.aws.lake import ParquetLake, S3Objects
from gateway.aws.price_overlay import current_book
from gateway.settings import settings

ledger = DynamoLedger(settings().usage_table)
lake = ParquetLake(S3Objects(settings().lake_bucket))


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    book = current_book(max_age=0)
    not_after = latest_start(event["scheduledTime"])
    verified = verify_day(event["day"], event["hours"], event["closedUntil"], ledger, lake, book, not_after)
    return {
        "openHours": verified.open_hours,
        "unpricedHours": verified.unpriced_hours,
        "quarantinedRows": verified.quarantined,
        "bookVersion": book.version,
    }

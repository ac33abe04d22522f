"""VerifyCosts: prove that ledger, usage and costs of a day say the same; else the run fails with CostsDoNotMatch.

And tell what the day costs, which is known with it.
"""

from __future__ import annotations

from typing import Any

from gateway.aggregation import latest_start, verify_day
from gateway.aws.dynamodb import DynamoLedger
from gateway.aws.lake import ParquetLake, S3Objects
from gateway.aws.price_overlay import current_book
from gateway.settings import settings
from gateway.spending import tell_cost

ledger = DynamoLedger(settings().usage_table)
lake = ParquetLake(S3Objects(settings().lake_bucket))


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    book = current_book(max_age=0)
    not_after = latest_start(event["scheduledTime"])
    verified = verify_day(event["day"], event["hours"], event["closedUntil"], ledger, lake, book, not_after)
    tell_cost(event["day"], lake.costs_of_day(event["day"]))
    return {
        "openHours": verified.open_hours,
        "unpricedHours": verified.unpriced_hours,
        "quarantinedRows": verified.quarantined,
        "bookVersion": book.version,
    }

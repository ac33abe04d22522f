"""CheckDay: check a day that an earlier release has aggregated, or that another price book has priced.

It records the proofs of unchanged files, and marks hours whose costs would change to be done again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.aws.dynamodb.periods import DynamoPeriods
from gateway.aws.dynamodb.proofs import DynamoProofs
from gateway.aws.lake.usage_and_costs import ParquetLake
from gateway.aws.s3.objects import S3Objects
from gateway.aws.s3.price_overlay import current_book
from gateway.core.settings import settings
from gateway.costs.proofs import check_day

ledger = DynamoLedger(settings().usage_table)
periods = DynamoPeriods(settings().usage_table, settings().usage_retention_days)
proofs = DynamoProofs(settings().usage_table)
lake = ParquetLake(S3Objects(settings().lake_bucket))


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    scheduled, retention = datetime.fromisoformat(event["scheduledTime"]), timedelta(settings().usage_retention_days)
    book = current_book(max_age=0)
    return {"stale": check_day(event["day"], scheduled, retention, proofs, periods, ledger, lake, book)}

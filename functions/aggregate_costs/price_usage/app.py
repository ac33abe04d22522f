"""PriceUsage: price every row of one hour of the ledger, or of some of its shards, and write one file."""

from __future__ import annotations

from typing import Any

from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.aws.lake.usage_and_costs import ParquetLake
from gateway.aws.s3.objects import S3Objects
from gateway.aws.s3.price_overlay import current_book
from gateway.core.settings import settings
from gateway.costs.periods import latest_start
from gateway.costs.price_usage import price_usage
from gateway.costs.usage_files import UsageFile

ledger = DynamoLedger(settings().usage_table)
lake = ParquetLake(S3Objects(settings().lake_bucket))


def handler(event: dict[str, Any], _context: object) -> dict[str, int]:
    file, not_after = UsageFile(event["hour"], event["part"], event["parts"]), latest_start(event["scheduledTime"])
    return price_usage(file, ledger, lake, current_book(max_age=0), not_after)._asdict()

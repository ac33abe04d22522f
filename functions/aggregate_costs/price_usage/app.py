"""PriceUsage: price every row of one hour and shard of the ledger, and write them as one file."""

from __future__ import annotations

from typing import Any

from gateway.aggregation import latest_start, price_usage
from gateway.aws.dynamodb import DynamoLedger
from gateway.aws.lake import ParquetLake, S3Objects
from gateway.aws.price_overlay import current_book
from gateway.ledger import Partition
from gateway.settings import settings

ledger = DynamoLedger(settings().usage_table)
lake = ParquetLake(S3Objects(settings().lake_bucket))


def handler(event: dict[str, Any], _context: object) -> dict[str, int]:
    partition, not_after = Partition(event["hour"], event["shard"]), latest_start(event["scheduledTime"])
    return price_usage(partition, ledger, lake, current_book(max_age=0), not_after)._asdict()

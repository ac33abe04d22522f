"""PriceUsage: price every row of one hour and shard of the ledger, and write them as one file."""

from __future__ import annotations

from typing import Any

from gateway.aggregation import price_usage
from gateway.aws.dynamodb import DynamoLedger
from gateway.aws.lake import ParquetLake, S3Objects
from gateway.aws.price_overlay import current_book
from gateway.ledger import Partition
from gateway.settings import settings

ledger = DynamoLedger(settings().usage_table)
lake = ParquetLake(S3Objects(settings().lake_bucket))


def handler(event: dict[str, Any], _context: object) -> dict[str, int]:
    return {"rows": price_usage(Partition(event["hour"], event["shard"]), ledger, lake, current_book(max_age=0))}

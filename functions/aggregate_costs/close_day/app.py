"""CloseDay: sum the priced usage of a day into its costs by tenant, cost centre and model."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from gateway.aggregation import close_day, latest_start
from gateway.aws.dynamodb import DynamoLedger
from gateway.aws.lake import ParquetLake
from gateway.aws.objects import S3Objects
from gateway.aws.price_overlay import current_book
from gateway.settings import settings

ledger = DynamoLedger(settings().usage_table)
lake = ParquetLake(S3Objects(settings().lake_bucket))


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    return close_day(
        event["day"],
        event["complete"],
        datetime.fromisoformat(event["scheduledTime"]),
        ledger,
        lake,
        current_book(max_age=0),
        latest_start(event["scheduledTime"]),
        timedelta(days=settings().usage_retention_days),
    )._asdict()

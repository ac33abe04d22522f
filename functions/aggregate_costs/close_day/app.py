"""CloseDay: sum the priced usage of a day into its costs by tenant, cost centre and model.

It fails if an hour of the day that this run has not priced differs from its proof.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.aws.dynamodb.proofs import DynamoProofs
from gateway.aws.lake.usage_and_costs import ParquetLake
from gateway.aws.s3.objects import S3Objects
from gateway.aws.s3.price_overlay import current_book
from gateway.core.settings import settings
from gateway.costs.close_day import close_day
from gateway.costs.periods import latest_start
from gateway.costs.proofs import check_rest

ledger = DynamoLedger(settings().usage_table)
proofs = DynamoProofs(settings().usage_table)
lake = ParquetLake(S3Objects(settings().lake_bucket))


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    if "hours" in event:  # absent in a run that an earlier release started
        check_rest(event["day"], event["hours"], proofs, lake)
    return close_day(
        event["day"],
        event["complete"],
        datetime.fromisoformat(event["scheduledTime"]),
        ledger,
        lake,
        current_book(max_age=0),
        latest_start(event["scheduledTime"]),
        timedelta(days=settings().usage_retention_days),
        rebuild=event.get("rebuild", False),
    )._asdict()

"""VerifyCosts: prove that a usage file matches the ledger, or that the costs of a day match its usage files.

Otherwise the run fails with CostsDoNotMatch. The result identifies the proven version of each file.
"""

from __future__ import annotations

from typing import Any

from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.aws.dynamodb.proofs import DynamoProofs
from gateway.aws.lake.usage_and_costs import ParquetLake
from gateway.aws.s3.objects import S3Objects
from gateway.aws.s3.price_overlay import current_book
from gateway.core.settings import settings
from gateway.costs.cost_metrics import tell_cost
from gateway.costs.periods import latest_start
from gateway.costs.proofs import check_rest
from gateway.costs.usage_files import UsageFile, digest_of
from gateway.costs.verify import verify_day, verify_usage

ledger = DynamoLedger(settings().usage_table)
proofs = DynamoProofs(settings().usage_table)
lake = ParquetLake(S3Objects(settings().lake_bucket))


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    if "hour" not in event:
        day = event["day"]
        costs = digest_of(lake.costs_files(day))  # before they are read
        tell_cost(day, verify_day(day, lake))
        if "hours" in event:  # absent in a run that an earlier release started
            check_rest(day, event["hours"], proofs, lake)
        return {"day": day, "costs": costs}
    file = UsageFile(event["hour"], event["part"], event["parts"])
    book, not_after = current_book(max_age=0), latest_start(event["scheduledTime"])
    return verify_usage(file, event["closedUntil"], ledger, lake, book, not_after)._asdict() | {"hour": file.hour}

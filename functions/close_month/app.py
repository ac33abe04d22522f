"""CloseMonth: write the statements of every month past its closing time, once, chained to the month before.

It runs daily and mostly finds nothing due. An incomplete month fails the run, so that the operators notice; the next
run tries again. With `month` it closes only that month, or proves it if it is closed. It refuses a month before the
first closed one; the next statement includes that month's usage.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from gateway.aws.dynamodb.periods import DynamoPeriods
from gateway.aws.dynamodb.proofs import DynamoProofs
from gateway.aws.dynamodb.tenants import TenantTable
from gateway.aws.lake.statements import CostFiles, StatementFiles
from gateway.aws.s3.objects import S3Objects
from gateway.core.settings import settings
from gateway.costs.proofs import Listing, holes
from gateway.statements.close_month import close_month, months_due
from gateway.usage.records import TenantId

periods, proofs = DynamoPeriods(settings().usage_table), DynamoProofs(settings().usage_table)
objects = S3Objects(settings().lake_bucket)
tenants = TenantTable(settings().tenants_table)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    at = datetime.fromisoformat(event["scheduledTime"])
    costs, files, delay = CostFiles(objects), StatementFiles(objects), settings().statement_delay_days
    months = [event["month"]] if event.get("month") else months_due(at, costs, files, delay)
    retention = timedelta(days=settings().usage_retention_days)
    closed = [
        close_month(month, at, periods, unproven, costs, files, delay, retention=retention, name_of=name_of)
        for month in months
    ]
    return {"months": closed}


def name_of(tenant_id: str) -> str:
    tenant = tenants.tenant(TenantId(tenant_id))
    return tenant.name if tenant else ""


def unproven(days: Sequence[str]) -> list[str]:
    """The hours of a month's days that are not proven to be in the lake."""
    month = days[0][:7]
    return holes(days, proofs, Listing.of(objects.list(f"usage/dt={month}-"), objects.list(f"costs/dt={month}-")))

"""JudgeSpending: flag days far outside a tenant's own past, forecast each month's spending, and send notices."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from gateway.aws.dynamodb.accounts import AccountTable
from gateway.aws.dynamodb.tenants import TenantTable
from gateway.aws.events import announce
from gateway.aws.lake.findings import FindingsLake
from gateway.aws.s3.objects import S3Objects
from gateway.budgets.thresholds import notify_once
from gateway.core.settings import settings
from gateway.costs.judge_spending import judge
from gateway.costs.spending_history import history_of

lake = FindingsLake(S3Objects(settings().lake_bucket))
accounts = AccountTable(settings().budgets_table)
tenants = TenantTable(settings().tenants_table)


def handler(event: dict[str, Any], _context: object) -> dict[str, int]:
    day, now = date.fromisoformat(event["day"]), datetime.now(UTC)
    judged = judge(day, lake.costs(history_of(day)), tenants.tenant)
    lake.replace_anomalies(day, judged.anomalies)
    lake.replace_forecasts(day, judged.forecasts)
    told = sum(notify_once(accounts, notice.account, notice.mark, notice, announce, now) for notice in judged.notices())
    return {"anomalies": len(judged.anomalies), "forecasts": len(judged.forecasts), "told": told}

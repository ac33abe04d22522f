"""GET /usage: what the caller has used and what it cost, straight from the ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.event_handler import Response

from gateway.aws.dynamodb import DynamoLedger
from gateway.http.resolver import answer, api, caller, query
from gateway.http.schemas import ReportUsageParametersQuery
from gateway.pricing import price_book
from gateway.reporting import Totals, add_up, money, span
from gateway.settings import settings

app = api()
ledger = DynamoLedger(settings().usage_table)


@app.get("/usage")
def report_usage() -> Response[str]:
    asked = query(app, ReportUsageParametersQuery)
    group_by = str(asked.group_by or "model")
    start, end = span(asked.start, asked.end, datetime.now(UTC))
    tenant_id = caller(app).tenant_id
    total, lines = add_up(ledger.of_tenant(tenant_id, start, end), group_by, price_book())
    report = {
        "tenant_id": tenant_id,
        "start": f"{start:%Y-%m-%dT%H:%M:%SZ}",
        "end": f"{end:%Y-%m-%dT%H:%M:%SZ}",
        "group_by": group_by,
        "totals": as_json(total),
        "lines": [{"key": key, "totals": as_json(totals)} for key, totals in lines.items()],
    }
    return answer(app, report)


def as_json(totals: Totals) -> dict[str, Any]:
    costs = {name: money(getattr(totals, name)) for name in ("input_cost", "output_cost", "cost")}
    return vars(totals) | costs


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return app.resolve(event, context)

"""The caller (GET /me), its usage (GET /usage), remaining budget (GET /budget), and quotes for calls (POST /quote)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.event_handler import Response

from gateway.aws.dynamodb.accounts import AccountTable
from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.aws.s3.model_registry import StoredRegistry
from gateway.aws.s3.price_overlay import current_book
from gateway.budgets.status import BudgetState, states
from gateway.calls.policy import authorized_models, by_id
from gateway.calls.quotes import Quote, quoted
from gateway.core.settings import settings
from gateway.core.times import month_of, next_month
from gateway.costs.usage_report import Totals, add_up, span
from gateway.formats.legacy.requests import LegacyRequest, flag, operation_of, translations
from gateway.pricing.price_book import money
from gateway.tenancy.caller import Caller
from gateway.tenancy.rights import RIGHTS
from gateway.usage.records import UserSource
from gateway.web.generated.schemas import InvokeModelRequest, QuoteInvocationParametersQuery, ReportUsageParametersQuery
from gateway.web.resolver import answer, api, body, caller, header, query

app = api()
registry = StoredRegistry(settings().model_routes, settings().sagemaker_endpoints, settings().model_routes_uri)
ledger = DynamoLedger(settings().usage_table)
accounts = AccountTable(settings().budgets_table)


@app.get("/usage")
def report_usage() -> Response[str]:
    asked = query(app, ReportUsageParametersQuery, known_only=True)
    group_by = str(asked.group_by or "model")
    start, end = span(asked.start, asked.end, datetime.now(UTC))
    tenant_id = caller(app).tenant_id
    found = add_up(ledger.inspect_tenant(tenant_id, start, end), group_by, current_book())
    report = {
        "tenant_id": tenant_id,
        "start": f"{start:%Y-%m-%dT%H:%M:%SZ}",
        "end": f"{end:%Y-%m-%dT%H:%M:%SZ}",
        "group_by": group_by,
        "totals": as_json(found.total),
        "lines": [{"key": key, "totals": as_json(totals)} for key, totals in found.lines.items()],
        "unreadable_rows": found.unreadable_rows,
    }
    return answer(app, report)


@app.get("/budget")
def report_budget() -> Response[str]:
    return answer(app, budgets_of(caller(app)))


@app.get("/me", operation_id="getMe")
def get_me() -> Response[str]:
    who = caller(app)
    return answer(app, caller_as_json(who) | {"budget": budgets_of(who)})


@app.post("/quote")
def quote_invocation() -> Response[str]:
    asked, sent = query(app, QuoteInvocationParametersQuery), body(app, InvokeModelRequest)
    operation = operation_of(header(app, "type"))
    request = LegacyRequest(sent, asked.model_id, asked.model_arn, operation, flag(header(app, "messages_api")))
    who, names = caller(app), registry()
    route = names.routes.find(asked.model_id or "")
    tenant, by_default = who.tenant, settings().allow_unlisted_models
    find = by_id(names.catalog, route, asked.model_arn)
    translation, *_ = translations(request, authorized_models(route, tenant, operation, find, by_default=by_default))
    cost_centre, now = who.cost_centre(header(app, "team_id")), datetime.now(UTC)
    quote = quoted(translation.calls, tenant, cost_centre, settings().region, current_book(), accounts, now)
    return answer(app, quote_as_json(asked.model_id or "", quote))


def budgets_of(who: Caller) -> dict[str, Any]:
    """The budgets that hold for the caller."""
    now, tenant = datetime.now(UTC), who.tenant
    lines = [budget_line(state, now) for state in states(tenant, accounts, now)]
    resets_at = f"{next_month(now):%Y-%m-%dT%H:%M:%SZ}"
    return {"tenant_id": tenant.tenant_id, "month": month_of(now), "resets_at": resets_at, "budgets": lines}


def caller_as_json(who: Caller) -> dict[str, Any]:
    """Who calls, and what it may use; unset limits are left out."""
    tenant = who.tenant
    values: dict[str, Any] = {
        "tenant_id": tenant.tenant_id,
        "tenant_name": tenant.name,
        "key_id": who.key_id if who.user_source is not UserSource.TOKEN else None,
        "user_id": who.user_id or None,
        "user_source": who.user_source.value or None,
        "role": who.role.value,
        "cost_centres": list(who.cost_centres or tenant.cost_centres or (tenant.tenant_id,)),
        "allowed_models": None if tenant.allowed_models is None else list(tenant.allowed_models),
        "allowed_operations": None if tenant.allowed_operations is None else list(tenant.allowed_operations),
        "max_output_tokens": tenant.max_output_tokens,
        "tokens_per_minute": tenant.tokens_per_minute,
        "concurrent_invocations": tenant.concurrent_invocations,
        "may": sorted(operation for operation, roles in RIGHTS.items() if who.role in roles),
    }
    return {name: value for name, value in values.items() if value is not None}


def budget_line(state: BudgetState, now: datetime) -> dict[str, Any]:
    whose = {"scope": "cost_centre", "cost_centre": state.cost_centre} if state.cost_centre else {"scope": "tenant"}
    runs_out_on = state.runs_out_on(now)
    limit = state.budget.monthly_usd
    amounts = {
        "monthly_usd": limit,
        "spent": state.spent,
        "held": state.held,
        "available": limit - state.spent - state.held,
    }
    line = whose | {"hard": state.budget.hard} | {name: money(amount) for name, amount in amounts.items()}
    return line | ({"runs_out_on": runs_out_on.isoformat()} if runs_out_on else {})


def quote_as_json(model_id: str, quote: Quote) -> dict[str, Any]:
    used = {"input_tokens": quote.input_tokens, "output_tokens": quote.output_tokens, "images": quote.images}
    cost = {} if quote.most_usd is None else {"most_usd": money(quote.most_usd)}
    why = {"code": quote.refusal.code, "message": quote.refusal.message} if quote.refusal else {}
    return {"model_id": model_id, "fits": quote.refusal is None} | cost | why | used


def as_json(totals: Totals) -> dict[str, Any]:
    costs = {name: money(getattr(totals, name)) for name in ("input_cost", "output_cost", "cost")}
    return vars(totals) | costs | {"partial": totals.partial}


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return app.resolve(event, context)

"""The caller (GET /me), its usage (GET /usage), remaining budget (GET /budget), and quotes for calls (POST /quote)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.event_handler import Response

from gateway.aws.dynamodb.accounts import AccountTable
from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.aws.s3.model_registry import StoredRegistry
from gateway.aws.s3.price_overlay import current_book
from gateway.budgets.report import budget_report
from gateway.budgets.status import states
from gateway.calls.policy import authorized_models, by_id
from gateway.calls.quotes import Quote, quoted
from gateway.core.settings import settings
from gateway.costs.usage_report import Group, Totals, add_up, grouping, own_rows, span
from gateway.formats.legacy.requests import LegacyRequest, flag, operation_of, translations
from gateway.pricing.price_book import money
from gateway.tenancy.caller import Caller
from gateway.tenancy.rights import RIGHTS
from gateway.tenancy.tenant import Kept
from gateway.usage.records import UserSource
from gateway.web.generated.schemas import InvokeModelRequest, QuoteInvocationParametersQuery, ReportUsageParametersQuery
from gateway.web.resolver import answer, api, body, caller, header, query

if TYPE_CHECKING:
    from gateway.calls.attribution import Attributor

app = api()
registry = StoredRegistry(settings().model_routes, settings().sagemaker_endpoints, settings().model_routes_uri)
ledger = DynamoLedger(settings().usage_table)
accounts = AccountTable(settings().budgets_table)


@app.get("/usage")
def report_usage() -> Response[str]:
    # Before the schema, whose message would be its pattern.
    grouping((app.current_event.query_string_parameters or {}).get("group_by") or "model")
    asked = query(app, ReportUsageParametersQuery, known_only=True)
    group_by = asked.group_by or "model"
    start, end = span(asked.start, asked.end, datetime.now(UTC))
    who = caller(app)
    rows = ledger.inspect_tenant(who.tenant_id, start, end)
    found = add_up(rows if who.sees_tenant else own_rows(rows, as_kept(who).user_id), group_by, current_book())
    names = names_of(who, [group.key for group in found.lines]) if group_by == "user" else {}
    report = {
        "tenant_id": who.tenant_id,
        "start": f"{start:%Y-%m-%dT%H:%M:%SZ}",
        "end": f"{end:%Y-%m-%dT%H:%M:%SZ}",
        "group_by": group_by,
        "totals": as_json(found.total),
        "lines": [line_as_json(group, totals, names) for group, totals in found.lines.items()],
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
    quote = quoted(translation.calls, as_kept(who), cost_centre, settings().region, current_book(), accounts, now)
    return answer(app, quote_as_json(asked.model_id or "", quote))


def budgets_of(who: Caller) -> dict[str, Any]:
    """The budgets that hold for the caller."""
    now = datetime.now(UTC)
    return budget_report(who.tenant, states(who.tenant, accounts, now, as_kept(who)), now)


def as_kept(who: Caller) -> Caller:
    """The caller with its user as the rows and budgets of its tenant have it: in clear, as a hash, or not at all."""
    return who if who.tenant.attribution.users is Kept.CLEAR or not who.user_id else attributor().kept(who)


def names_of(who: Caller, users: list[str]) -> dict[str, str]:
    """The names behind hashed users, as far as the tenant keeps them."""
    if not who.tenant.attribution.names_kept_days:
        return {}
    return attributor().known_names(who.tenant_id, users, datetime.now(UTC))


@cache
def attributor() -> Attributor:
    """Only for tenants that keep hashes."""
    from gateway.aws.dynamodb.attribution import ClaimTable, HashSecret  # noqa: PLC0415
    from gateway.calls.attribution import Attributor  # noqa: PLC0415

    claims = ClaimTable(settings().idempotency_table)
    return Attributor(claims, claims, HashSecret(settings().tenants_table))


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
        "may": sorted(
            operation
            for operation, roles in RIGHTS.items()
            if who.role in roles and (who.user_id or not operation.endswith(("OwnKey", "OwnKeys")))
        ),
    }
    return {name: value for name, value in values.items() if value is not None}


def quote_as_json(model_id: str, quote: Quote) -> dict[str, Any]:
    used = {"input_tokens": quote.input_tokens, "output_tokens": quote.output_tokens, "images": quote.images}
    cost = {} if quote.most_usd is None else {"most_usd": money(quote.most_usd)}
    why = {"code": quote.refusal.code, "message": quote.refusal.message} if quote.refusal else {}
    return {"model_id": model_id, "fits": quote.refusal is None} | cost | why | used


def line_as_json(group: Group, totals: Totals, names: Mapping[str, str]) -> dict[str, Any]:
    source = {"user_source": group.user_source.value} if group.user_source else {}
    name = {"name": names[group.key]} if group.key in names else {}
    return {"key": group.key} | name | source | {"totals": as_json(totals)}


def as_json(totals: Totals) -> dict[str, Any]:
    costs = {name: money(getattr(totals, name)) for name in ("input_cost", "output_cost", "cost")}
    return vars(totals) | costs | {"partial": totals.partial}


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return app.resolve(event, context)

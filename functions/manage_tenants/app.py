"""/admin/*: operators change tenants, their keys and the issuers of tokens, and read the audit records.

The same function is the custom resource of templates/tenant.yaml, so any stack can contain a tenant.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

from aws_lambda_powertools.event_handler import Response

from gateway.aws.dynamodb.issuer_register import IssuerRegister
from gateway.aws.dynamodb.tenant_register import TenantRegister
from gateway.budgets.changes import lend, reset
from gateway.core.settings import settings
from gateway.tenancy.administration import Administration, VersionConflict, key_to_json
from gateway.tenancy.budgets import Scope, Window, loan_from_json
from gateway.tenancy.caller import Role
from gateway.tenancy.issuers import IssuerAdministration, IssuerId, issuer_from_json, issuer_to_json
from gateway.tenancy.keys import Key
from gateway.tenancy.tenant import Tenant, tenant_from_json, tenant_to_json
from gateway.usage.records import KeyId, TenantId
from gateway.web.custom_resource import answer_stack, is_from_stack
from gateway.web.generated.schemas import (
    BudgetLoan,
    BudgetReset,
    DecoyRequest,
    IssuerSettings,
    KeyRequest,
    ListAuditParametersQuery,
    ListIssuersParametersQuery,
    ListTenantsParametersQuery,
    RotationRequest,
    TenantSettings,
)
from gateway.web.resolver import answer, api, header, no_content, principal, query, strict_body
from gateway.web.tenant_resource import tenant_of_stack

DAY = 86400

app = api()
register = TenantRegister(settings().tenants_table)
administration = Administration(register)
issuer_register = IssuerRegister(register)
issuers = IssuerAdministration(issuer_register, loopback=settings().loopback_issuers)


# ---------------------------------------------------------------------------------------------------- tenants
@app.get("/admin/tenants")
def list_tenants() -> Response[str]:
    asked = query(app, ListTenantsParametersQuery)
    page = register.tenants(asked.limit or 50, asked.next)
    return answer(app, {"tenants": [tenant_to_json(tenant) for tenant in page.items]} | following(page.next))


@app.get("/admin/tenants/<tenant_id>")
def get_tenant(tenant_id: str) -> Response[str]:
    return answer(app, tenant_to_json(administration.tenant(named(tenant_id))))


@app.put("/admin/tenants/<tenant_id>")
def put_tenant(tenant_id: str) -> Response[str]:
    sent = strict_body(app, TenantSettings).model_dump(mode="json", exclude_unset=True)
    wanted = tenant_from_json(sent | {"tenant_id": named(tenant_id)})
    tenant, is_new = administration.put_tenant(wanted, principal(app), expected_version())
    return answer(app, tenant_to_json(tenant), 201 if is_new else 200)


@app.delete("/admin/tenants/<tenant_id>")
def delete_tenant(tenant_id: str) -> Response[str]:
    administration.delete_tenant(named(tenant_id), principal(app))
    return no_content(app)


# ---------------------------------------------------------------------------------------------------- budgets
@app.post("/admin/tenants/<tenant_id>/budgets/loans")
def lend_budget(tenant_id: str) -> Response[str]:
    loan = loan_from_json(sent(BudgetLoan))
    now = datetime.now(UTC)
    return changed(tenant_id, "lend_budget", lambda tenant: lend(tenant, loan, now))


@app.post("/admin/tenants/<tenant_id>/budgets/resets")
def reset_budget(tenant_id: str) -> Response[str]:
    said = sent(BudgetReset)
    scope, window, now = Scope(**said["scope"]), Window(said["window"]), datetime.now(UTC)
    return changed(tenant_id, "reset_budget", lambda tenant: reset(tenant, scope, window, now))


def sent(schema: type[BudgetLoan] | type[BudgetReset]) -> dict[str, Any]:
    return {"scope": {}} | strict_body(app, schema).model_dump(mode="json", exclude_none=True)


def changed(tenant_id: str, action: str, change: Callable[[Tenant], Tenant]) -> Response[str]:
    return answer(app, tenant_to_json(administration.change_tenant(named(tenant_id), principal(app), action, change)))


# ---------------------------------------------------------------------------------------------------- keys
@app.get("/admin/tenants/<tenant_id>/keys")
def list_keys(tenant_id: str) -> Response[str]:
    return answer(app, {"keys": [key_to_json(key) for key in administration.keys(named(tenant_id))]})


@app.post("/admin/tenants/<tenant_id>/keys")
def make_key(tenant_id: str) -> Response[str]:
    sent = strict_body(app, KeyRequest)
    key, text = administration.make_key(
        named(tenant_id),
        principal(app),
        sent.label or "",
        sent.expires_at,
        sent.user_id or "",
        Role(sent.role or "member"),
    )
    return shown_once(key, text)


@app.delete("/admin/tenants/<tenant_id>/keys/<key_id>")
def revoke_key(tenant_id: str, key_id: str) -> Response[str]:
    administration.revoke_key(named(tenant_id), KeyId(key_id), principal(app))
    return no_content(app)


@app.post("/admin/tenants/<tenant_id>/keys/<key_id>/rotate")
def rotate_key(tenant_id: str, key_id: str) -> Response[str]:
    seconds = strict_body(app, RotationRequest).overlap_seconds
    overlap = timedelta(seconds=DAY if seconds is None else seconds)
    return shown_once(*administration.rotate_key(named(tenant_id), KeyId(key_id), overlap, principal(app)))


@app.post("/admin/decoys")
def make_decoy() -> Response[str]:
    label = strict_body(app, DecoyRequest).label or ""
    return shown_once(*administration.make_decoy(principal(app), label))


# ---------------------------------------------------------------------------------------------------- issuers
@app.get("/admin/issuers")
def list_issuers() -> Response[str]:
    asked = query(app, ListIssuersParametersQuery)
    page = issuer_register.issuers(asked.limit or 50, asked.next)
    return answer(app, {"issuers": [issuer_to_json(issuer) for issuer in page.items]} | following(page.next))


@app.get("/admin/issuers/<issuer_id>")
def get_issuer(issuer_id: str) -> Response[str]:
    return answer(app, issuer_to_json(issuers.issuer(IssuerId(issuer_id))))


@app.put("/admin/issuers/<issuer_id>")
def put_issuer(issuer_id: str) -> Response[str]:
    sent = strict_body(app, IssuerSettings).model_dump(mode="json", exclude_unset=True, exclude_none=True)
    wanted = issuer_from_json(sent | {"issuer_id": issuer_id})
    issuer, is_new = issuers.put(wanted, principal(app), expected_version())
    return answer(app, issuer_to_json(issuer), 201 if is_new else 200)


@app.delete("/admin/issuers/<issuer_id>")
def delete_issuer(issuer_id: str) -> Response[str]:
    issuers.delete(IssuerId(issuer_id), principal(app))
    return no_content(app)


# ---------------------------------------------------------------------------------------------------- audit
@app.get("/admin/audit")
def list_audit() -> Response[str]:
    asked = query(app, ListAuditParametersQuery)
    tenant_id = TenantId(asked.tenant_id) if asked.tenant_id else None
    page = register.audit(tenant_id, asked.limit or 50, asked.next, datetime.now(UTC))
    return answer(app, {"records": [record.to_json() for record in page.items]} | following(page.next))


def named(tenant_id: str) -> TenantId:
    return TenantId(unquote(tenant_id))


def following(word: str | None) -> dict[str, str]:
    return {"next": word} if word else {}


def shown_once(key: Key, text: str) -> Response[str]:
    shown = {name: value for name, value in key_to_json(key).items() if name not in ("revoked", "last_used", "decoy")}
    return answer(app, shown | {"key": text}, 201)


def expected_version() -> int | None:
    """The version in If-Match; None for `*` or no header, which match any version."""
    sent = (header(app, "If-Match") or "*").strip().strip('"')
    if sent == "*":
        return None
    if not sent.isdecimal():
        raise VersionConflict("If-Match must be the version number of the record.")
    return int(sent)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    if is_from_stack(event):
        return answer_stack(event, lambda asked: tenant_of_stack(asked, administration))
    return app.resolve(event, context)

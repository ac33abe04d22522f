"""/admin/*: operators create, change and delete tenants, create and revoke keys, and read the audit records.

/delegated/admin/* are the same operations for callers with a key or a token, as far as their role allows
(`gateway.tenancy.rights`). The function is also the custom resource of templates/tenant.yaml, so any stack can contain a
tenant.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response

from gateway.aws.dynamodb.tenant_register import TenantRegister
from gateway.core.settings import settings
from gateway.tenancy.administration import Administration, VersionConflict, key_to_json
from gateway.tenancy.caller import Role
from gateway.tenancy.keys import Key
from gateway.tenancy.rights import RIGHTS
from gateway.tenancy.tenant import tenant_from_json, tenant_to_json
from gateway.usage.records import KeyId, TenantId
from gateway.web.custom_resource import answer_stack, is_from_stack
from gateway.web.failures import route_not_found
from gateway.web.generated.schemas import (
    DecoyRequest,
    KeyRequest,
    ListAuditParametersQuery,
    ListTenantsParametersQuery,
    RotationRequest,
    TenantSettings,
)
from gateway.web.resolver import answer, api, header, no_content, principal, query, rights, strict_body
from gateway.web.tenant_resource import tenant_of_stack

DAY = 86400

app = api([re.compile("^/delegated(?=/admin/)")])
register = TenantRegister(settings().tenants_table)
administration = Administration(register)


def judged(app: APIGatewayRestResolver, handle: Any) -> Any:
    """Before each operation: the caller's role must allow it, on this tenant. What is no operation is in no table."""
    tenant_id, who = app.context["_route_args"].get("tenant_id"), rights(app)
    if (operation := app.context["_route"].operation_id) in RIGHTS:
        who.must_allow(operation, None if tenant_id is None else named(tenant_id))
    elif not who.is_operator:
        raise route_not_found()
    return handle(app)


app.use([judged])


# ---------------------------------------------------------------------------------------------------- tenants
@app.get("/admin/tenants", operation_id="listTenants")
def list_tenants() -> Response[str]:
    asked = query(app, ListTenantsParametersQuery)
    if own := rights(app).own_tenant:
        found = register.tenant(own)
        return answer(app, {"tenants": [tenant_to_json(found)] if found else []})
    page = register.tenants(asked.limit or 50, asked.next)
    return answer(app, {"tenants": [tenant_to_json(tenant) for tenant in page.items]} | following(page.next))


@app.get("/admin/tenants/<tenant_id>", operation_id="getTenant")
def get_tenant(tenant_id: str) -> Response[str]:
    return answer(app, tenant_to_json(administration.tenant(named(tenant_id))))


@app.put("/admin/tenants/<tenant_id>", operation_id="putTenant")
def put_tenant(tenant_id: str) -> Response[str]:
    sent = strict_body(app, TenantSettings).model_dump(mode="json", exclude_unset=True)
    wanted = tenant_from_json(sent | {"tenant_id": named(tenant_id)})
    tenant, is_new = administration.put_tenant(wanted, principal(app), expected_version(), rights(app))
    return answer(app, tenant_to_json(tenant), 201 if is_new else 200)


@app.delete("/admin/tenants/<tenant_id>", operation_id="deleteTenant")
def delete_tenant(tenant_id: str) -> Response[str]:
    administration.delete_tenant(named(tenant_id), principal(app))
    return no_content(app)


# ---------------------------------------------------------------------------------------------------- keys
@app.get("/admin/tenants/<tenant_id>/keys", operation_id="listKeys")
def list_keys(tenant_id: str) -> Response[str]:
    return answer(app, {"keys": [key_to_json(key) for key in administration.keys(named(tenant_id))]})


@app.post("/admin/tenants/<tenant_id>/keys", operation_id="makeKey")
def make_key(tenant_id: str) -> Response[str]:
    sent = strict_body(app, KeyRequest)
    return shown_once(*made_key(named(tenant_id), sent, sent.user_id or "", Role(sent.role or "member")))


@app.delete("/admin/tenants/<tenant_id>/keys/<key_id>", operation_id="revokeKey")
def revoke_key(tenant_id: str, key_id: str) -> Response[str]:
    rights(app).must_manage(administration.key(named(tenant_id), KeyId(key_id)))
    administration.revoke_key(named(tenant_id), KeyId(key_id), principal(app))
    return no_content(app)


@app.post("/admin/tenants/<tenant_id>/keys/<key_id>/rotate", operation_id="rotateKey")
def rotate_key(tenant_id: str, key_id: str) -> Response[str]:
    overlap = wanted_overlap()
    rights(app).must_manage(administration.key(named(tenant_id), KeyId(key_id)))
    return shown_once(*administration.rotate_key(named(tenant_id), KeyId(key_id), overlap, principal(app)))


@app.post("/admin/decoys", operation_id="makeDecoy")
def make_decoy() -> Response[str]:
    label = strict_body(app, DecoyRequest).label or ""
    return shown_once(*administration.make_decoy(principal(app), label))


# ---------------------------------------------------------------------------------------------------- audit
@app.get("/admin/audit", operation_id="listAudit")
def list_audit() -> Response[str]:
    asked = query(app, ListAuditParametersQuery)
    who, tenant_id = rights(app), TenantId(asked.tenant_id) if asked.tenant_id else None
    who.must_know(tenant_id)
    tenant_id = tenant_id or who.own_tenant
    page = register.audit(tenant_id, asked.limit or 50, asked.next, datetime.now(UTC))
    return answer(app, {"records": [record.to_json() for record in page.items]} | following(page.next))


def made_key(tenant_id: TenantId, sent: KeyRequest, user_id: str, role: Role) -> tuple[Key, str]:
    """A new key, and its text. It can do no more than its maker: without `cost_centres` it has the maker's."""
    who = rights(app)
    centres = tuple(centre.root for centre in sent.cost_centres or ()) or who.cost_centres
    who.must_give(role, centres)
    return administration.make_key(tenant_id, principal(app), sent.label or "", sent.expires_at, user_id, role, centres)


def wanted_overlap() -> timedelta:
    seconds = strict_body(app, RotationRequest).overlap_seconds
    return timedelta(seconds=DAY if seconds is None else seconds)


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
        raise VersionConflict("If-Match must be the version number of the tenant.")
    return int(sent)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    if is_from_stack(event):
        return answer_stack(event, lambda asked: tenant_of_stack(asked, administration))
    return app.resolve(event, context)

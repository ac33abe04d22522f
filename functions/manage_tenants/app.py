"""/admin/*: operators change tenants, their keys and the issuers of tokens, and read the audit records.

/delegated/admin/* are the same operations for callers with a key or a token, as far as their role allows
(`gateway.tenancy.rights`). The function is also the custom resource of templates/tenant.yaml: any stack can contain a
tenant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response

from gateway.aws.dynamodb.issuer_register import IssuerRegister
from gateway.aws.dynamodb.tenant_register import TenantRegister
from gateway.budgets.changes import lend, reset
from gateway.core.errors import BadRequestError, ForbiddenError, GatewayError
from gateway.core.settings import settings
from gateway.formats import scim
from gateway.tenancy.administration import Administration, Conflict, VersionConflict, key_to_json
from gateway.tenancy.budgets import Scope, Window, loan_from_json
from gateway.tenancy.caller import Caller, Role
from gateway.tenancy.issuers import IssuerAdministration, IssuerId, issuer_from_json, issuer_to_json
from gateway.tenancy.keys import Key
from gateway.tenancy.rights import RIGHTS
from gateway.tenancy.tenant import Tenant, tenant_from_json, tenant_to_json
from gateway.tenancy.users import User, name_of, user_to_json
from gateway.usage.records import KeyId, TenantId
from gateway.web.custom_resource import answer_stack, is_from_stack
from gateway.web.failures import route_not_found
from gateway.web.generated.schemas import (
    BudgetLoan,
    BudgetReset,
    DecoyRequest,
    IssuerSettings,
    KeyRequest,
    ListAuditParametersQuery,
    ListIssuersParametersQuery,
    ListScimUsersParametersQuery,
    ListTenantsParametersQuery,
    ListUsersParametersQuery,
    OwnKeyRequest,
    RotationRequest,
    TenantSettings,
    UserSettings,
)
from gateway.web.problems import problem
from gateway.web.reading import read_json
from gateway.web.resolver import answer, api, header, no_content, principal, query, rights, sent_body, strict_body
from gateway.web.tenant_resource import tenant_of_stack

DAY = 86400

MOST_OWN_KEYS = 20  # active keys that a user makes for itself


def told(error: GatewayError, request_id: str, details: list[dict[str, str]] | None = None) -> Response[str]:
    """An error in the words of the client: SCIM's for a directory."""
    if not app.current_event.path.startswith("/scim/"):
        return problem(error, request_id, details)
    said = json.dumps(scim.error_of(error, request_id, details or ()), separators=(",", ":"))
    return Response(error.status, scim.MEDIA_TYPE, said, headers={"x-request-id": request_id})


app = api([re.compile("^/delegated(?=/admin/)")], told)
register = TenantRegister(settings().tenants_table)
administration = Administration(register)
issuer_register = IssuerRegister(register)
issuers = IssuerAdministration(issuer_register, loopback=settings().loopback_issuers)


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


# ---------------------------------------------------------------------------------------------------- budgets
@app.post("/admin/tenants/<tenant_id>/budgets/loans", operation_id="lendBudget")
def lend_budget(tenant_id: str) -> Response[str]:
    loan = loan_from_json(sent(BudgetLoan))
    now = datetime.now(UTC)
    return changed(tenant_id, "lend_budget", lambda tenant: lend(tenant, loan, now))


@app.post("/admin/tenants/<tenant_id>/budgets/resets", operation_id="resetBudget")
def reset_budget(tenant_id: str) -> Response[str]:
    said = sent(BudgetReset)
    scope, window, now = Scope(**said["scope"]), Window(said["window"]), datetime.now(UTC)
    return changed(tenant_id, "reset_budget", lambda tenant: reset(tenant, scope, window, now))


def sent(schema: type[BudgetLoan] | type[BudgetReset]) -> dict[str, Any]:
    return {"scope": {}} | strict_body(app, schema).model_dump(mode="json", exclude_none=True)


def changed(tenant_id: str, action: str, change: Callable[[Tenant], Tenant]) -> Response[str]:
    made = administration.change_tenant(named(tenant_id), principal(app), action, change, rights(app))
    return answer(app, tenant_to_json(made))


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
    return shown_once(*rotated_key(administration.key(named(tenant_id), KeyId(key_id)), overlap))


# ---------------------------------------------------------------------------------------------------- users
@app.get("/admin/tenants/<tenant_id>/users", operation_id="listUsers")
def list_users(tenant_id: str) -> Response[str]:
    asked = query(app, ListUsersParametersQuery)
    page = administration.users(named(tenant_id), asked.limit or 50, asked.next)
    return answer(app, {"users": [user_to_json(user) for user in page.items]} | following(page.next))


@app.get("/admin/tenants/<tenant_id>/users/<user_id>", operation_id="getUser")
def get_user(tenant_id: str, user_id: str) -> Response[str]:
    return answer(app, user_to_json(administration.user(named(tenant_id), unquote(user_id))))


@app.put("/admin/tenants/<tenant_id>/users/<user_id>", operation_id="putUser")
def put_user(tenant_id: str, user_id: str) -> Response[str]:
    sent = strict_body(app, UserSettings).model_dump(mode="json", exclude_unset=True, exclude_none=True)
    known = register.user_named(named(tenant_id), unquote(user_id))  # one that is switched off stays so, unless told
    sent = {"active": known.active if known else True} | sent
    user, is_new = administration.put_user(described(named(tenant_id), unquote(user_id), sent), principal(app))
    return answer(app, user_to_json(user), 201 if is_new else 200)


@app.delete("/admin/tenants/<tenant_id>/users/<user_id>", operation_id="deleteUser")
def delete_user(tenant_id: str, user_id: str) -> Response[str]:
    administration.delete_user(named(tenant_id), unquote(user_id), principal(app))
    return no_content(app)


# ---------------------------------------------------------------------------------------------------- the caller's keys
@app.get("/me/keys", operation_id="listOwnKeys")
def list_own_keys() -> Response[str]:
    return answer(app, {"keys": [key_to_json(key) for key in own_keys()]})


@app.post("/me/keys", operation_id="makeOwnKey")
def make_own_key() -> Response[str]:
    sent = strict_body(app, OwnKeyRequest)
    if sum(key.works(datetime.now(UTC)) for key in own_keys()) >= MOST_OWN_KEYS:
        raise Conflict(f"You have {MOST_OWN_KEYS} active keys. Revoke one of them.", code="too_many_keys")
    who = owner()
    must_have_no_key_limits(who)
    wanted = KeyRequest.model_validate(sent.model_dump())
    return shown_once(*made_key(who.tenant_id, wanted, who.user_id, Role.MEMBER))


@app.delete("/me/keys/<key_id>", operation_id="revokeOwnKey")
def revoke_own_key(key_id: str) -> Response[str]:
    own_key(key_id)
    administration.revoke_key(owner().tenant_id, KeyId(key_id), principal(app))
    return no_content(app)


@app.post("/me/keys/<key_id>/rotate", operation_id="rotateOwnKey")
def rotate_own_key(key_id: str) -> Response[str]:
    overlap = wanted_overlap()
    must_have_no_key_limits(owner())
    return shown_once(*rotated_key(own_key(key_id), overlap))


# ---------------------------------------------------------------------------------------------------- SCIM
@app.get("/scim/v2/Users", operation_id="listScimUsers")
def list_scim_users() -> Response[str]:
    asked = query(app, ListScimUsersParametersQuery)
    found = scim_found(asked.filter) if asked.filter is not None else scim_users()
    start, count = (1 if asked.startIndex is None else asked.startIndex), asked.count
    resources = [scim_resource(user) for user in found]
    return scim_answer(scim.listed(resources, start, scim.MOST_RESULTS if count is None else count))


@app.post("/scim/v2/Users", operation_id="createScimUser")
def create_scim_user() -> Response[str]:
    sent = scim.user_of(scim_body())
    wanted = described(directory(), sent["user_name"], sent)
    user, _ = administration.put_user(wanted, principal(app), new=True)
    return scim_answer(scim_resource(user), 201)


@app.get("/scim/v2/Users/<user_id>", operation_id="getScimUser")
def get_scim_user(user_id: str) -> Response[str]:
    return scim_answer(scim_resource(administration.user(directory(), unquote(user_id))))


@app.put("/scim/v2/Users/<user_id>", operation_id="putScimUser")
def put_scim_user(user_id: str) -> Response[str]:
    sent = scim.user_of(scim_body())
    return scim_changed(user_id, lambda fields: {"active": fields["active"]} | sent)


@app.patch("/scim/v2/Users/<user_id>", operation_id="patchScimUser")
def patch_scim_user(user_id: str) -> Response[str]:
    operations = scim_body().get("Operations")
    if not isinstance(operations, list):
        raise BadRequestError("Operations: send a list.", code="invalid_patch")
    return scim_changed(user_id, lambda fields: scim.patched(fields, operations))


@app.delete("/scim/v2/Users/<user_id>", operation_id="deleteScimUser")
def delete_scim_user(user_id: str) -> Response[str]:
    administration.delete_user(directory(), unquote(user_id), principal(app))
    return no_content(app)


@app.get("/scim/v2/ServiceProviderConfig", operation_id="getScimServiceProviderConfig")
def get_scim_service_provider_config() -> Response[str]:
    return scim_answer(scim.provider())


@app.get("/scim/v2/ResourceTypes", operation_id="listScimResourceTypes")
def list_scim_resource_types() -> Response[str]:
    return scim_answer(scim.listed(scim.resource_types()))


@app.get("/scim/v2/Schemas", operation_id="listScimSchemas")
def list_scim_schemas() -> Response[str]:
    return scim_answer(scim.listed(scim.schemas()))


# ---------------------------------------------------------------------------------------------------- decoys, audit
@app.post("/admin/decoys", operation_id="makeDecoy")
def make_decoy() -> Response[str]:
    label = strict_body(app, DecoyRequest).label or ""
    return shown_once(*administration.make_decoy(principal(app), label))


# ---------------------------------------------------------------------------------------------------- issuers
@app.get("/admin/issuers", operation_id="listIssuers")
def list_issuers() -> Response[str]:
    asked = query(app, ListIssuersParametersQuery)
    page = issuer_register.issuers(asked.limit or 50, asked.next)
    return answer(app, {"issuers": [issuer_to_json(issuer) for issuer in page.items]} | following(page.next))


@app.get("/admin/issuers/<issuer_id>", operation_id="getIssuer")
def get_issuer(issuer_id: str) -> Response[str]:
    return answer(app, issuer_to_json(issuers.issuer(IssuerId(issuer_id))))


@app.put("/admin/issuers/<issuer_id>", operation_id="putIssuer")
def put_issuer(issuer_id: str) -> Response[str]:
    sent = strict_body(app, IssuerSettings).model_dump(mode="json", exclude_unset=True, exclude_none=True)
    wanted = issuer_from_json(sent | {"issuer_id": issuer_id})
    issuer, is_new = issuers.put(wanted, principal(app), expected_version())
    return answer(app, issuer_to_json(issuer), 201 if is_new else 200)


@app.delete("/admin/issuers/<issuer_id>", operation_id="deleteIssuer")
def delete_issuer(issuer_id: str) -> Response[str]:
    issuers.delete(IssuerId(issuer_id), principal(app))
    return no_content(app)


# ---------------------------------------------------------------------------------------------------- audit
@app.get("/admin/audit", operation_id="listAudit")
def list_audit() -> Response[str]:
    asked = query(app, ListAuditParametersQuery)
    who, tenant_id = rights(app), TenantId(asked.tenant_id) if asked.tenant_id else None
    who.must_know(tenant_id)
    tenant_id = tenant_id or who.own_tenant
    page = register.audit(tenant_id, asked.limit or 50, asked.next, datetime.now(UTC))
    records = [as_seen(record.to_json(), who.own_tenant) for record in page.items]
    return answer(app, {"records": records} | following(page.next))


def as_seen(record: dict[str, Any], own: TenantId | None) -> dict[str, Any]:
    """An audit record for a caller of one tenant: others' names, accounts and addresses are not for its eyes."""
    by_own = own is None or record["actor"]["arn"].startswith((f"key:{own}/", f"user:{own}/"))
    return record if by_own else record | {"actor": {"arn": "operator"}}


def made_key(tenant_id: TenantId, sent: KeyRequest, user_id: str, role: Role) -> tuple[Key, str]:
    """A new key, and its text. It can do no more than its maker, whose cost centres and end it has by default."""
    who = rights(app)
    centres = tuple(centre.root for centre in sent.cost_centres or ()) or who.cost_centres
    who.must_give(role, centres)
    until = end_of_caller()
    if until and sent.expires_at and sent.expires_at > until:
        raise BadRequestError("expires_at must not be after that of your own key.", code="invalid_expiry")
    expires_at = sent.expires_at or until
    return administration.make_key(tenant_id, principal(app), sent.label or "", expires_at, user_id, role, centres)


def rotated_key(key: Key, overlap: timedelta) -> tuple[Key, str]:
    """The successor of a key, and its text. Only an operator makes one that outlives the old key, or the maker's."""
    rights(app).must_manage(key)
    ends = [] if rights(app).is_operator else [at for at in (key.expires_at, end_of_caller()) if at]
    return administration.rotate_key(key.tenant_id, key.key_id, overlap, principal(app), min(ends, default=None))


def end_of_caller() -> datetime | None:
    """The end of the caller's own key; None for a key without one, for a token, and for operators."""
    who = rights(app)
    if who.is_operator or who.caller is None or not who.caller.key_id:
        return None
    key = register.key_of(who.caller.tenant_id, who.caller.key_id)
    return key.expires_at if key else None


def owner() -> Caller:
    """The caller, which must be a user: a key without an owner owns no keys."""
    who = rights(app).caller
    if who is None or not who.user_id:
        raise ForbiddenError(
            "This key has no owner, so it has no keys of its own. Ask an administrator of your tenant.",
            code="role_not_allowed",
        )
    return who


def must_have_no_key_limits(who: Caller) -> None:
    """A new key begins with all of a key's budgets and limits, so its user must not make one. Raises ForbiddenError."""
    if administration.tenant(who.tenant_id).limits_keys:
        raise ForbiddenError(
            "Your tenant has budgets or limits of keys. Ask an administrator of your tenant for a key.",
            code="role_not_allowed",
        )


def own_keys() -> list[Key]:
    who = owner()
    return [key for key in register.keys_of(who.tenant_id) if key.user_id == who.user_id]


def own_key(key_id: str) -> Key:
    """Raises NotFoundError for a key of somebody else, and ForbiddenError for an own one beyond the caller's role."""
    found = register.key_of(owner().tenant_id, KeyId(key_id))
    rights(app).must_own(found)
    assert found is not None  # noqa: S101  (must_own has looked)
    rights(app).must_manage(found)
    return found


def described(tenant_id: TenantId, user_id: str, fields: Mapping[str, Any]) -> User:
    now = datetime.now(UTC)
    return User(tenant_id, user_id, now, now, **fields)


def directory() -> TenantId:
    """The tenant whose users a directory manages: that of its key."""
    who = rights(app).caller
    if who is None:
        raise ForbiddenError("Send a key of the tenant whose users these are.", code="role_not_allowed")
    return who.tenant_id


def scim_body() -> dict[str, Any]:
    sent = read_json(sent_body(app) or b"{}")
    if not isinstance(sent, dict):
        raise BadRequestError("The body must be an object.", code="invalid_body")
    return sent


def scim_users() -> list[User]:
    found: list[User] = []
    start: str | None = None
    while True:
        page = administration.users(directory(), 1000, start)
        found += page.items
        if (start := page.next) is None:
            return found


def scim_found(wanted: str) -> list[User]:
    """The user that a filter names, if there is one. Names differ without regard to case."""
    attribute, name = scim.named_in(wanted)
    user = administration.user_named(directory(), name) if name else None
    if user is None:
        return []
    values = {"id": user.user_id, "username": user.user_name, "externalid": user.external_id}
    return [user] if name_of(values[attribute]) == name_of(name) else []


def scim_changed(user_id: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Response[str]:
    def wanted(user: User) -> User:
        fields = {name: value for name in scim.FIELDS if (value := getattr(user, name)) != ""}
        return described(user.tenant_id, user.user_id, change(fields))

    return scim_answer(scim_resource(administration.change_user(directory(), unquote(user_id), principal(app), wanted)))


def scim_resource(user: User) -> dict[str, Any]:
    shown, said = user_to_json(user), app.current_event.request_context
    address = f"https://{said.domain_name}/{said.stage}/scim/v2/Users/{quote(user.user_id, safe='')}"
    return scim.resource_of(shown, user.user_id, shown["created_at"], shown["changed_at"], address)


def scim_answer(content: dict[str, Any], status: int = 200) -> Response[str]:
    return answer(app, content, status, scim.MEDIA_TYPE)


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
        raise VersionConflict("If-Match must be the version number of the record.")
    return int(sent)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    if is_from_stack(event):
        return answer_stack(event, lambda asked: tenant_of_stack(asked, administration))
    return app.resolve(event, context)

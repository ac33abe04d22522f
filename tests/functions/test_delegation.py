"""Rights by role: each operation, asked by each role for its own tenant and for others, by key, token and signature."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import boto3
import pytest

from gateway.aws.dynamodb.tenants import TenantTable
from gateway.tenancy.budgets import Budget, Scope, ScopedBudget, Window
from gateway.tenancy.caller import Caller, Role, caller_to_context
from gateway.tenancy.rights import RIGHTS, Rights
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import KeyId, TenantId, UserSource
from tests.contract.contract import OPERATIONS

from .conftest import ROOT, context

Load = Callable[[str], Any]
ACME = Tenant(
    TenantId("acme"), "Acme", ("research", "ops"), max_output_tokens=4096, budget=Budget(Decimal(100), hard=True),
    budgets=(ScopedBudget(Scope(user="*"), Window.DAY, Decimal(5)),),
)  # fmt: skip
GLOBEX = Tenant(TenantId("globex"), "Globex", ("secret-project",), budgets=ACME.budgets)
WAYS = ("key", "token")
ANN = "arn:aws:iam::111122223333:user/ann"
EVERY_ROLE = tuple(Role)
NEW_KEY = {"user_id": "bob", "label": "new"}


def caller(role: Role, way: str = "key", tenant: Tenant = ACME, user_id: str = "alice", **more: Any) -> Caller:
    source = UserSource.TOKEN if way == "token" else UserSource.KEY
    return Caller(
        tenant,
        KeyId("" if way == "token" else "key_alice"),
        user_id,
        source if user_id else UserSource.NONE,
        role,
        **more,
    )


@dataclass
class Gateway:
    """The function, called through /delegated by a caller, or through /admin by a principal with a signature."""

    app: Any

    def __call__(
        self, who: Caller | None, method: str, path: str, body: Any = None, *,
        query: dict[str, str] | None = None, resource: str | None = None,
        raw: str | None = None, headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:  # fmt: skip
        sent: dict[str, Any] = json.loads((ROOT / "events/manage_tenants/put_tenant.json").read_text())
        below = path.startswith("/admin/")
        sent |= {
            "path": raw or (f"/delegated{path}" if who and below else path),
            "httpMethod": method,
            "queryStringParameters": query,
            "body": body if isinstance(body, str) or body is None else json.dumps(body),
        }
        sent["headers"] |= headers or {}
        said = sent["requestContext"]
        said |= {"httpMethod": method, "requestId": str(uuid.uuid4())}
        if who:
            said["resourcePath"] = "/delegated/{proxy+}" if below else path
            said["identity"] |= dict.fromkeys(("accessKey", "accountId", "caller", "user", "userArn"))
            said["authorizer"] = caller_to_context(who) | {"principalId": who.tenant_id}
        said["resourcePath"] = resource or said["resourcePath"]
        answer = self.app.handler(sent, context())
        return answer["statusCode"], json.loads(answer["body"]) if answer.get("body") else None


@pytest.fixture
def gateway(load: Load) -> Gateway:
    for tenant in (ACME, GLOBEX):
        TenantTable("tenants").put_tenant(replace(tenant, version=1))
    return Gateway(load("manage_tenants"))


def key_of(gateway: Gateway, tenant_id: str, **wanted: Any) -> str:
    """The id of a new key, made by an operator, in a tenant with the user bob."""
    gateway(None, "PUT", f"/admin/tenants/{tenant_id}/users/bob", {})
    gateway(None, "PUT", "/admin/issuers/idp", ISSUER)
    status, made = gateway(None, "POST", f"/admin/tenants/{tenant_id}/keys", wanted)
    assert status == 201, made
    return str(made["key_id"])


# ---------------------------------------------------------------------------------------------------------- the matrix
OF_BOB = {"scope": {"user": "bob"}, "window": "day"}
ISSUER = {
    "issuer": "https://idp.example.com", "audiences": ["gateway"], "algorithms": ["RS256"], "tenants": ["acme"],
}  # fmt: skip


def asked(operation: str, tenant_id: str, key_id: str) -> tuple[str, str, Any]:
    """A good request of an operation of a tenant."""
    tenant = f"/admin/tenants/{tenant_id}"
    record = {"name": tenant_id.title(), "cost_centres": ["research", "ops", "new"], "max_output_tokens": 4096,
              "budget": {"monthly_usd": "100", "hard": True}}  # fmt: skip
    return {
        "listTenants": ("GET", "/admin/tenants", None),
        "getTenant": ("GET", tenant, None),
        "putTenant": ("PUT", tenant, record),
        "deleteTenant": ("DELETE", tenant, None),
        "listKeys": ("GET", f"{tenant}/keys", None),
        "makeKey": ("POST", f"{tenant}/keys", NEW_KEY),
        "revokeKey": ("DELETE", f"{tenant}/keys/{key_id}", None),
        "rotateKey": ("POST", f"{tenant}/keys/{key_id}/rotate", {}),
        "listUsers": ("GET", f"{tenant}/users", None),
        "getUser": ("GET", f"{tenant}/users/bob", None),
        "putUser": ("PUT", f"{tenant}/users/bob", {"display_name": "Bob"}),
        "deleteUser": ("DELETE", f"{tenant}/users/bob", None),
        "lendBudget": ("POST", f"{tenant}/budgets/loans", OF_BOB | {"usd": "5", "until": "2099-01-01T00:00:00Z"}),
        "resetBudget": ("POST", f"{tenant}/budgets/resets", OF_BOB),
        "listIssuers": ("GET", "/admin/issuers", None),
        "getIssuer": ("GET", "/admin/issuers/idp", None),
        "putIssuer": ("PUT", "/admin/issuers/idp", ISSUER | {"claims": {"user": "email"}}),
        "deleteIssuer": ("DELETE", "/admin/issuers/idp", None),
        "makeDecoy": ("POST", "/admin/decoys", {}),
        "listAudit": ("GET", f"/admin/audit?tenant_id={tenant_id}", None),
    }[operation]


READS = {"listTenants", "getTenant", "listKeys", "listAudit", "listUsers", "getUser"}
CHANGES = {"putTenant", "makeKey", "revokeKey", "rotateKey", "putUser", "deleteUser", "lendBudget", "resetBudget"}
ISSUERS = {"listIssuers", "getIssuer", "putIssuer", "deleteIssuer"}
ALL = READS | CHANGES | ISSUERS | {"deleteTenant", "makeDecoy"}
OF_ADMIN = {operation.said["operationId"] for operation in OPERATIONS if "/admin/" in operation.path}
# The promise, written down a second time: what each role may do within its tenant.
MAY = {Role.MEMBER: set[str](), Role.AUDITOR: READS, Role.TENANT_ADMIN: READS | CHANGES, Role.OPERATOR: ALL}
GOOD = {200, 201, 204}


def send(gateway: Gateway, who: Caller | None, operation: str, tenant_id: str, key_id: str) -> tuple[int, Any]:
    method, path, body = asked(operation, tenant_id, key_id)
    path, _, named = path.partition("?tenant_id=")
    return gateway(who, method, path, body, query={"tenant_id": named} if named else None)


def test_the_matrix_has_each_operation_of_operators() -> None:
    assert ALL == OF_ADMIN
    assert set(RIGHTS) >= OF_ADMIN


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("role", EVERY_ROLE)
@pytest.mark.parametrize("operation", sorted(ALL))
def test_a_role_does_within_its_tenant_what_the_table_says(
    gateway: Gateway, operation: str, role: Role, way: str
) -> None:
    status, said = send(gateway, caller(role, way), operation, "acme", key_of(gateway, "acme"))
    if operation in MAY[role]:
        assert status in GOOD, said
    else:
        assert (status, said["code"]) == (403, "role_not_allowed")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("role", [Role.MEMBER, Role.AUDITOR, Role.TENANT_ADMIN])
@pytest.mark.parametrize("operation", sorted(ALL - ISSUERS - {"listTenants", "makeDecoy"}))
def test_another_tenant_answers_as_one_that_does_not_exist(
    gateway: Gateway, operation: str, role: Role, way: str
) -> None:
    key_id = key_of(gateway, "globex")
    before = everything()
    there = send(gateway, caller(role, way), operation, "globex", key_id)
    nowhere = send(gateway, caller(role, way), operation, "nowhere", key_id)
    for _, said in (there, nowhere):
        said.pop("request_id")
    assert there == nowhere
    if (operation, role) != ("listAudit", Role.MEMBER):  # who may read no audit is told nothing about the tenant
        assert there == (404, {"code": "tenant_not_found", "message": "Tenant not found."})
    assert everything() == before


@pytest.mark.parametrize("tenant_id", ["acme", "globex"])
@pytest.mark.parametrize("operation", sorted(ALL))
def test_an_operator_does_everything_for_every_tenant_by_key_token_and_signature(
    gateway: Gateway, operation: str, tenant_id: str
) -> None:
    answers = []
    for who in (None, caller(Role.OPERATOR), caller(Role.OPERATOR, "token")):
        TenantTable("tenants").put_tenant(replace(ACME if tenant_id == "acme" else GLOBEX, version=1))
        answers.append(send(gateway, who, operation, tenant_id, key_of(gateway, tenant_id))[0])
    assert set(answers) <= GOOD
    assert len(set(answers)) == 1


def everything() -> list[str]:
    return sorted(
        json.dumps(item, sort_keys=True) for item in boto3.client("dynamodb").scan(TableName="tenants")["Items"]
    )


# ------------------------------------------------------------------------------------------------- which way it came
PATHS = ("/admin/tenants", "/admin/audit", "/admin/tenants/globex", "/admin/tenants/globex/keys")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "raw",
    ["/delegated{}", "{}", "/delegated/delegated{}", "/delegated/delegated/delegated{}", "//delegated{}", "/delegated/{}",
     "/delegated%2F{}", "/DELEGATED{}"],
)  # fmt: skip
def test_a_path_makes_no_operator_of_a_caller(gateway: Gateway, path: str, raw: str) -> None:
    """However it is written: API Gateway's authorizer said who calls."""
    for role in (Role.MEMBER, Role.TENANT_ADMIN):
        status, said = gateway(caller(role), "GET", path, raw=raw.format(path))
        assert status in (200, 403, 404)
        assert "globex" not in json.dumps(said).lower()
        assert "secret-project" not in json.dumps(said)


@pytest.mark.parametrize("sent", ["acme%2F..%2Fglobex", "acme/../globex", "globex%00", "%67lobex", "acme%252F"])
def test_an_encoded_name_is_no_way_to_another_tenant(gateway: Gateway, sent: str) -> None:
    status, said = gateway(caller(Role.TENANT_ADMIN), "GET", f"/admin/tenants/{sent}")
    assert (status, said["code"]) in {(404, "tenant_not_found"), (404, "route_not_found")}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "resource", ["/admin/tenants", "/delegated/{proxy+}", "/", "/administration", "/usage", "/scim/v2/Users"]
)
def test_a_request_with_neither_signature_nor_caller_is_nobodys(gateway: Gateway, path: str, resource: str) -> None:
    event = json.loads((ROOT / "events/manage_tenants/put_tenant.json").read_text())
    event |= {"path": path, "httpMethod": "GET", "body": None}
    event["requestContext"] |= {"resourcePath": resource, "identity": {"sourceIp": "203.0.113.7", "userArn": None}}
    answer = gateway.app.handler(event, context())
    assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (401, "unauthorized")


def test_a_signature_on_another_resource_makes_no_operator(gateway: Gateway) -> None:
    """Were a method of /delegated ever open to AWS principals, it would still not be a way to be an operator."""
    assert gateway(None, "GET", "/admin/tenants", resource="/delegated/{proxy+}")[0] == 401


def test_a_caller_on_a_signed_resource_keeps_its_role(gateway: Gateway) -> None:
    status, said = gateway(caller(Role.MEMBER), "GET", "/admin/tenants", resource="/admin/tenants")
    assert (status, said["code"]) == (403, "role_not_allowed")


# ------------------------------------------------------------------------------------------------------------- giving
@pytest.mark.parametrize(("role", "given"), itertools.product(EVERY_ROLE, EVERY_ROLE))
def test_nobody_gives_a_role_that_is_more_than_its_own(gateway: Gateway, role: Role, given: Role) -> None:
    may = role is Role.OPERATOR or (role is Role.TENANT_ADMIN and given is not Role.OPERATOR)
    status, said = gateway(caller(role), "POST", "/admin/tenants/acme/keys", {"role": given.value})
    assert (status == 201) == may
    assert may or (status, said["code"]) == (403, "role_not_allowed")


@pytest.mark.parametrize("way", ["rotate", "revoke"])
def test_an_operators_key_is_not_in_a_tenant_admins_hands(gateway: Gateway, way: str) -> None:
    """Its successor would be an operator's key."""
    key_id = key_of(gateway, "acme", role="operator")
    path = f"/admin/tenants/acme/keys/{key_id}"
    request: tuple[str, str, Any] = ("POST", f"{path}/rotate", {}) if way == "rotate" else ("DELETE", path, None)
    status, said = gateway(caller(Role.TENANT_ADMIN), *request)
    assert (status, said["code"]) == (403, "role_not_allowed")
    assert gateway(caller(Role.OPERATOR), *request)[0] in GOOD


def test_a_key_charges_no_cost_centre_that_its_maker_may_not(gateway: Gateway) -> None:
    limited = caller(Role.TENANT_ADMIN, "token", cost_centres=("ops",))
    status, made = gateway(limited, "POST", "/admin/tenants/acme/keys", {"user_id": "bob"})
    assert (status, made["cost_centres"]) == (201, ["ops"])
    for centres in (["research"], ["ops", "research"]):
        status, said = gateway(limited, "POST", "/admin/tenants/acme/keys", {"cost_centres": centres})
        assert (status, said["code"]) == (403, "cost_centre_not_owned")
    free = key_of(gateway, "acme")
    status, said = gateway(limited, "POST", f"/admin/tenants/acme/keys/{free}/rotate", {})
    assert (status, said["code"]) == (403, "cost_centre_not_owned")
    _, rotated = gateway(limited, "POST", f"/admin/tenants/acme/keys/{made['key_id']}/rotate", {})
    assert rotated["cost_centres"] == ["ops"]


def test_a_key_is_limited_to_cost_centres_of_its_tenant_alone(gateway: Gateway) -> None:
    status, made = gateway(None, "POST", "/admin/tenants/acme/keys", {"cost_centres": ["ops", "acme"]})
    assert (status, made["cost_centres"]) == (201, ["ops", "acme"])
    status, said = gateway(None, "POST", "/admin/tenants/acme/keys", {"cost_centres": ["secret-project"]})
    assert (status, said["code"]) == (400, "invalid_key")
    key = TenantTable("tenants").key_of(TenantId("acme"), KeyId(made["key_id"]))
    assert key is not None
    assert key.cost_centres == ("ops", "acme")


# --------------------------------------------------------------------------------------------------- the tenant's record
SOFT = {"monthly_usd": "20", "hard": False, "thresholds": [50, 80, 100]}
HARD = SOFT | {"hard": True}


def record_of(gateway: Gateway) -> dict[str, Any]:
    _, tenant = gateway(None, "GET", "/admin/tenants/acme")
    return {name: value for name, value in tenant.items() if name not in ("tenant_id", "version")}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "Other"), ("suspended", True), ("allowed_models", ["*"]), ("allowed_model_arns", ["arn:*"]),
        ("allowed_operations", ["text"]), ("max_output_tokens", 8192), ("max_output_tokens", None),
        ("max_output_tokens", 1), ("tokens_per_minute", 10), ("concurrent_invocations", 5),
        ("budget", {"monthly_usd": "101", "hard": True}), ("budget", {"monthly_usd": "100", "hard": False}),
        ("budget", None), ("budget_shards", 4), ("unpriced", "allow"), ("idempotency_seconds", 60),
        ("guardrail", {"id": "gr1", "version": "1"}), ("s3_buckets", ["bucket"]), ("usage_plan_key", "a" * 20),
        ("cost_centres", ["research"]), ("cost_centres", ["ops", "research"]), ("cost_centres", ["new", "research", "ops"]),
    ],
)  # fmt: skip
def test_a_tenant_admin_changes_no_field_that_is_the_operators(gateway: Gateway, field: str, value: Any) -> None:
    wanted = record_of(gateway) | {field: value}
    sent = {name: value for name, value in wanted.items() if value is not None}
    status, said = gateway(caller(Role.TENANT_ADMIN), "PUT", "/admin/tenants/acme", sent)
    assert (status, said["code"]) == (403, "field_not_allowed")
    assert said["message"].startswith(f"{field}: ")
    assert gateway(None, "GET", "/admin/tenants/acme")[1]["version"] == 1
    assert gateway(caller(Role.OPERATOR), "PUT", "/admin/tenants/acme", sent)[0] == 200


def test_a_tenant_admin_adds_cost_centres_and_sets_their_budgets_below_a_hard_one(gateway: Gateway) -> None:
    admin, wanted = caller(Role.TENANT_ADMIN), record_of(gateway)
    wanted |= {"cost_centres": ["research", "ops", "new"]}
    # In sum more than the tenant's own budget, which still refuses.
    for budgets in ({"ops": HARD, "new": SOFT | {"monthly_usd": "100"}}, {"ops": SOFT | {"monthly_usd": "90"}}, {}):
        sent = wanted | {"cost_centre_budgets": budgets}
        status, tenant = gateway(admin, "PUT", "/admin/tenants/acme", sent)
        assert (status, tenant.get("cost_centre_budgets", {})) == (200, budgets)
    _, page = gateway(admin, "GET", "/admin/audit", query={"limit": "1"})
    assert page["records"][0]["actor"]["arn"] == "key:acme/key_alice"


@pytest.mark.parametrize("parent", [None, Budget(Decimal(100))])
def test_without_a_hard_budget_of_the_tenant_those_of_cost_centres_are_only_tightened(
    gateway: Gateway, parent: Budget | None
) -> None:
    """They may be the operators' only limits."""
    TenantTable("tenants").put_tenant(
        replace(ACME, budget=parent, budgets=(), cost_centre_budgets={"ops": Budget(Decimal(20), hard=True)})
    )
    admin, wanted = caller(Role.TENANT_ADMIN), record_of(gateway)
    for budgets in ({}, {"ops": SOFT}, {"ops": HARD | {"monthly_usd": "20.01"}}, {"research": HARD}):
        status, said = gateway(admin, "PUT", "/admin/tenants/acme", wanted | {"cost_centre_budgets": budgets})
        assert (status, said["code"]) == (403, "field_not_allowed")
        assert said["message"].startswith("cost_centre_budgets: ops: ")
    good = {"ops": HARD | {"monthly_usd": "10", "thresholds": [10, 50, 80, 100]}, "research": SOFT}
    assert gateway(admin, "PUT", "/admin/tenants/acme", wanted | {"cost_centre_budgets": good})[0] == 200


def test_a_tenant_admin_lends_below_the_tenants_own_budget_whatever_operators_lent(gateway: Gateway) -> None:
    whole = {"scope": {}, "window": "month", "usd": "5", "until": "2099-01-01T00:00:00Z"}
    assert gateway(None, "POST", "/admin/tenants/acme/budgets/loans", whole)[0] == 200
    admin = caller(Role.TENANT_ADMIN)
    status, said = gateway(admin, "POST", "/admin/tenants/acme/budgets/loans", whole | {"usd": "9"})
    assert (status, said["code"]) == (403, "field_not_allowed")
    assert gateway(admin, "POST", "/admin/tenants/acme/budgets/loans", whole | OF_BOB)[0] == 200


def test_the_successor_of_a_key_with_limits_is_not_made_without_them(gateway: Gateway) -> None:
    key_id = key_of(gateway, "acme")
    limited = replace(
        ACME, version=1, budgets=(ScopedBudget(Scope(key=key_id), Window.TOTAL, Decimal(250), hard=True),)
    )
    TenantTable("tenants").put_tenant(limited)
    assert gateway(None, "POST", f"/admin/tenants/acme/keys/{key_id}/rotate", {})[0] == 409


def test_no_cost_centre_is_added_where_their_hard_budgets_are_the_only_limits(gateway: Gateway) -> None:
    """A new one would have none."""
    hard = dict.fromkeys(("acme", "research", "ops"), Budget(Decimal(20), hard=True))
    TenantTable("tenants").put_tenant(replace(ACME, budget=None, cost_centre_budgets=hard))
    wanted = record_of(gateway) | {"cost_centres": ["research", "ops", "new"]}
    status, said = gateway(caller(Role.TENANT_ADMIN), "PUT", "/admin/tenants/acme", wanted)
    assert (status, said["code"]) == (403, "field_not_allowed")
    open_one = {centre: budget for centre, budget in hard.items() if centre != "acme"}
    TenantTable("tenants").put_tenant(replace(ACME, budget=None, cost_centre_budgets=open_one))
    wanted = record_of(gateway) | {"cost_centres": ["research", "ops", "new"]}
    assert gateway(caller(Role.TENANT_ADMIN), "PUT", "/admin/tenants/acme", wanted)[0] == 200


def test_a_rule_of_budgets_by_scope_keeps_those_of_the_whole_tenant() -> None:
    from gateway.tenancy.rights import _judge_budgets

    whole: dict[str, Any] = {"scope": {}, "limit_usd": "1"}
    by_model = {"scope": {"model": "*opus*"}, "limit_usd": "1"}
    users = {"scope": {"user": "*"}, "limit_usd": "1"}
    assert _judge_budgets([whole, users], [whole], True) == ""
    assert _judge_budgets([whole], [whole, users, {"scope": {"cost_centre": "ops", "model": "*"}}], False) == ""
    assert _judge_budgets([whole], [users], True)
    assert _judge_budgets([by_model], [by_model | {"limit_usd": "2"}], True)
    assert _judge_budgets([], [whole], True)
    assert _judge_budgets([users], [users | {"limit_usd": "2"}], False)


# -------------------------------------------------------------------------------------------------------------- the audit
@pytest.mark.parametrize(("way", "arn"), [("key", "key:acme/key_alice"), ("token", "user:acme/alice")])
def test_the_audit_names_the_caller_and_its_role(gateway: Gateway, way: str, arn: str) -> None:
    gateway(caller(Role.TENANT_ADMIN, way), "POST", "/admin/tenants/acme/keys", NEW_KEY)
    _, page = gateway(None, "GET", "/admin/audit", query={"limit": "1"})
    assert page["records"][0]["actor"] == {
        "arn": arn, "source_ip": "203.0.113.7", "user_id": "alice", "role": "tenant-admin",
    }  # fmt: skip


def test_a_tenant_reads_who_changed_it_and_no_name_from_outside(gateway: Gateway) -> None:
    """Operators' records have an account, an access key and an address; a key of the role operator has its tenant."""
    outside = caller(Role.OPERATOR, tenant=GLOBEX)
    for who in (None, outside, caller(Role.TENANT_ADMIN)):
        assert gateway(who, "POST", "/admin/tenants/acme/keys", NEW_KEY)[0] == 201
    _, page = gateway(caller(Role.AUDITOR), "GET", "/admin/audit")
    actors = [record["actor"] for record in page["records"]]
    assert [actor["arn"] for actor in actors] == ["key:acme/key_alice", "operator", "operator"]
    assert [sorted(actor) for actor in actors[1:]] == [["arn"], ["arn"]]
    for secret in ("111122223333", "AKIAEXAMPLE", "globex"):
        assert secret not in json.dumps(page)
    _, page = gateway(outside, "GET", "/admin/audit", query={"tenant_id": "acme"})
    assert [record["actor"]["arn"] for record in page["records"]][1:] == ["key:globex/key_alice", ANN]


def test_an_audit_record_is_one_that_earlier_releases_read(gateway: Gateway) -> None:
    """They make an actor of exactly these fields."""
    gateway(caller(Role.TENANT_ADMIN), "POST", "/admin/tenants/acme/keys", NEW_KEY)
    items = boto3.client("dynamodb").scan(TableName="tenants")["Items"]
    actors = [
        json.loads(item["record"]["S"])["actor"] for item in items if "audit" in item["pk"]["S"] + item["sk"]["S"]
    ]
    assert actors
    assert all(actor.keys() <= {"arn", "access_key_id", "source_ip"} for actor in actors)


def test_a_list_shows_one_tenant_to_all_but_operators(gateway: Gateway) -> None:
    gateway(None, "PUT", "/admin/tenants/third", {})
    gateway(None, "POST", "/admin/tenants/acme/keys", NEW_KEY)
    for role in (Role.AUDITOR, Role.TENANT_ADMIN):
        _, page = gateway(caller(role), "GET", "/admin/tenants")
        assert [tenant["tenant_id"] for tenant in page["tenants"]] == ["acme"]
        _, audit = gateway(caller(role), "GET", "/admin/audit")
        assert {record["tenant_id"] for record in audit["records"]} == {"acme"}
    _, page = gateway(caller(Role.OPERATOR), "GET", "/admin/tenants")
    assert [tenant["tenant_id"] for tenant in page["tenants"]] == ["acme", "globex", "third"]


def test_an_operation_that_the_table_lacks_is_the_operators() -> None:
    for role in EVERY_ROLE[:-1]:
        with pytest.raises(Exception, match="does not allow"):
            Rights(caller(role)).must_allow("anythingNew", TenantId("acme"))
    Rights(caller(Role.OPERATOR)).must_allow("anythingNew", TenantId("acme"))

"""SCIM 2.0 as Microsoft Entra ID and Okta speak it, and the caller's own keys."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from gateway.aws.dynamodb.tenants import TenantTable
from gateway.tenancy.budgets import Scope, ScopedBudget, Window
from gateway.tenancy.caller import Caller, Role
from gateway.tenancy.keys import Key
from gateway.usage.records import KeyId, TenantId, UserSource

from .test_delegation import ACME, GLOBEX, Gateway, caller, gateway, key_of

__all__ = ["gateway"]
USERS = "/scim/v2/Users"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
DIRECTORY = caller(Role.TENANT_ADMIN, user_id="")
ANN: dict[str, Any] = {
    "schemas": [USER, "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"], "externalId": "0a1b", "userName": "Ann@acme.example",
    "active": True, "displayName": "Ann", "emails": [{"primary": True, "type": "work", "value": "ann@acme.example"}],
    "meta": {"resourceType": "User"}, "name": {"formatted": "Ann", "familyName": "A", "givenName": "Ann"}, "title": "Engineer",
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "Sales"},
}  # fmt: skip


@pytest.fixture
def ann(gateway: Gateway) -> str:
    status, made = gateway(DIRECTORY, "POST", USERS, ANN)
    assert status == 201
    return f"{USERS}/{made['id']}"


def changed(gateway: Gateway, path: str, *operations: Any) -> tuple[int, Any]:
    return gateway(DIRECTORY, "PATCH", path, {"schemas": [PATCH], "Operations": list(operations)})


def active(gateway: Gateway, name: str = "ann@acme.example") -> bool:
    return TenantTable("tenants").is_active(ACME.tenant_id, name)


# ------------------------------------------------------------------------------------------------------------- whole users
def test_a_user_is_made_found_replaced_and_deleted(gateway: Gateway, ann: str) -> None:
    status, user = gateway(DIRECTORY, "GET", ann)
    assert (status, user["id"], user["userName"], user["active"]) == (200, "Ann@acme.example", "Ann@acme.example", True)
    assert user["emails"] == [{"value": "ann@acme.example", "primary": True}]
    assert user["meta"]["location"].endswith("/scim/v2/Users/Ann%40acme.example")
    assert "title" not in user
    for wanted in ('userName eq "ANN@acme.example"', 'externalId EQ "0a1b"', 'id eq "Ann@acme.example"'):
        _, found = gateway(DIRECTORY, "GET", USERS, query={"filter": wanted})
        assert ([each["id"] for each in found["Resources"]], found["totalResults"]) == ([user["id"]], 1)
    for nobody in ('userName eq "0a1b"', 'externalId eq "Ann@acme.example"', 'userName eq ""', 'id eq "bob"'):
        assert gateway(DIRECTORY, "GET", USERS, query={"filter": nobody})[1]["totalResults"] == 0
    status, user = gateway(DIRECTORY, "PUT", ann, {"userName": "ann.b@acme.example", "externalId": "0a1b"})
    assert (status, user["id"], user["userName"], "emails" in user) == (
        200,
        "Ann@acme.example",
        "ann.b@acme.example",
        False,
    )
    assert gateway(DIRECTORY, "DELETE", ann)[0] == 204
    status, said = gateway(DIRECTORY, "GET", ann)
    assert (status, said["schemas"], said["status"]) == (404, ["urn:ietf:params:scim:api:messages:2.0:Error"], "404")
    assert gateway(DIRECTORY, "DELETE", ann)[0] == 404
    assert [active(gateway, name) for name in ("ann@acme.example", "ann.b@acme.example", "0A1B")] == [False] * 3
    assert gateway(DIRECTORY, "POST", USERS, ANN)[0] == 201
    assert active(gateway)


def test_a_second_user_of_one_name_is_a_conflict(gateway: Gateway, ann: str) -> None:
    for wanted in (ANN, {"userName": "0a1b"}, {"userName": "bob", "externalId": "0A1B"}):
        status, said = gateway(DIRECTORY, "POST", USERS, wanted)
        assert (status, said["scimType"], said["code"]) == (409, "uniqueness", "user_exists")


def test_users_are_listed_in_pages_counted_from_one(gateway: Gateway) -> None:
    for number in range(5):
        gateway(DIRECTORY, "POST", USERS, {"userName": f"u{number}"})
    for start, count, wanted in ((1, 2, ["u0", "u1"]), (5, 2, ["u4"]), (0, 1, ["u0"]), (6, 2, []), (1, 0, [])):
        _, page = gateway(DIRECTORY, "GET", USERS, query={"startIndex": str(start), "count": str(count)})
        assert ([each["id"] for each in page["Resources"]], page["totalResults"]) == (wanted, 5)
        assert page["itemsPerPage"] == len(wanted)


# ---------------------------------------------------------------------------------------------------------------- PATCH
OFF = [
    {"op": "Replace", "path": "active", "value": "False"},  # Entra ID
    {"op": "replace", "path": "active", "value": False},
    {"op": "Replace", "path": "active", "value": [{"$ref": None, "value": "False"}]},  # Entra ID's older form
    {"op": "Replace", "value": {"active": "False"}},
    {"op": "replace", "value": {"active": False}},  # Okta
    {"op": "Add", "path": f"{USER}:active", "value": False},
    {"op": "replace", "value": {f"{USER}:active": "false"}},
    {"OP": "replace", "PATH": "Active", "VALUE": False},
]


@pytest.mark.parametrize("operation", OFF, ids=json.dumps)
def test_a_directory_switches_a_user_off_and_on(gateway: Gateway, ann: str, operation: dict[str, Any]) -> None:
    status, user = changed(gateway, ann, operation)
    assert (status, user["active"], active(gateway)) == (200, False, False)
    assert (active(gateway, "0a1b"), active(gateway, "bob")) == (False, True)
    assert changed(gateway, ann, {"op": "replace", "path": "active", "value": "True"})[1]["active"] is True
    assert active(gateway)


def test_a_patch_adds_replaces_and_removes(gateway: Gateway, ann: str) -> None:
    status, user = changed(
        gateway,
        ann,
        {"op": "Add", "path": "externalId", "value": "9z"},
        {"op": "replace", "path": 'emails[type eq "work"].value', "value": "a@acme.example"},
        {"op": "Replace", "value": {"displayName": "Ann B", "name.givenName": "Ann", "title": "CTO"}},
        {
            "op": "replace",
            "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
            "value": "x",
        },
        {"op": "remove", "path": "name.familyName"},
    )
    assert status == 200
    assert (user["externalId"], user["emails"][0]["value"], user["displayName"]) == ("9z", "a@acme.example", "Ann B")
    _, user = changed(gateway, ann, {"op": "remove", "path": "emails"}, {"op": "remove", "path": "externalId"})
    assert not {"emails", "externalId"} & user.keys()


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ({"op": "replace", "path": "actve", "value": False}, "invalid_patch"),
        ({"op": "replace", "value": {"actve": False}}, "invalid_patch"),
        ({"op": "replace", "path": "active", "value": "no"}, "invalid_user"),
        ({"op": "replace", "path": "active", "value": 0}, "invalid_user"),
        ({"op": "replace", "path": "active"}, "invalid_user"),
        ({"op": "move", "path": "active", "value": False}, "invalid_patch"),
        ({"op": "remove", "path": "active"}, "invalid_patch"),
        ({"op": "remove", "path": "userName"}, "invalid_patch"),
        ({"op": "remove"}, "invalid_patch"),
        ({"op": "replace", "path": "userName", "value": ""}, "invalid_user"),
        ({"op": "replace", "path": "userName", "value": "a b"}, "invalid_user"),
        ({"op": "replace", "path": ["active"], "value": False}, "invalid_patch"),
        ({"op": "replace", "value": False}, "invalid_user"),
        ({"op": "replace", "path": "emails", "value": [7]}, "invalid_user"),
        ("replace", "invalid_patch"),
    ],
)
def test_a_wrong_operation_changes_nothing(gateway: Gateway, ann: str, operation: Any, code: str) -> None:
    before = gateway(DIRECTORY, "GET", ann)
    status, said = changed(gateway, ann, {"op": "replace", "path": "displayName", "value": "X"}, operation)
    assert (status, said["status"], said["code"]) == (400, "400", code)
    assert said["detail"] == said["message"]
    assert gateway(DIRECTORY, "GET", ann) == before


@pytest.mark.parametrize(
    ("body", "code"),
    [("{", "invalid_body"), ("[]", "invalid_body"), ({"userName": 7}, "invalid_user"), ({}, "invalid_user"),
     ({"userName": "a#b"}, "invalid_user"), ({"userName": "ann", "displayName": "x" * 257}, "invalid_user")],
)  # fmt: skip
def test_a_wrong_user_is_refused(gateway: Gateway, body: Any, code: str) -> None:
    status, said = gateway(DIRECTORY, "POST", USERS, body)
    assert (status, said["code"]) == (400, code)


@pytest.mark.parametrize(
    "wanted",
    [
        'userName sw "a"',
        'userName eq "a" or active eq true',
        "userName",
        'title eq "x"',
        'userName eq "a',
        "userName eq a",
    ],
)
def test_a_filter_that_is_not_supported_is_refused_never_ignored(gateway: Gateway, wanted: str) -> None:
    status, said = gateway(DIRECTORY, "GET", USERS, query={"filter": wanted})
    assert (status, said["scimType"]) == (400, "invalidFilter")


def test_what_the_server_can_do_is_told(gateway: Gateway) -> None:
    assert gateway(DIRECTORY, "GET", "/scim/v2/ServiceProviderConfig")[1]["patch"] == {"supported": True}
    _, types = gateway(DIRECTORY, "GET", "/scim/v2/ResourceTypes")
    assert [kind["endpoint"] for kind in types["Resources"]] == ["/Users"]
    _, schemas = gateway(DIRECTORY, "GET", "/scim/v2/Schemas")
    names = {attribute["name"] for attribute in schemas["Resources"][0]["attributes"]}
    assert names == {"userName", "externalId", "displayName", "active", "emails"}


# --------------------------------------------------------------------------------------------------------------- rights
WRITES: list[tuple[str, str, Any]] = [
    ("POST", USERS, {"userName": "new"}),
    ("PUT", "{}", ANN),
    ("PATCH", "{}", {"Operations": [OFF[0]]}),
    ("DELETE", "{}", None),
]
READS: list[tuple[str, str, Any]] = [("GET", USERS, None), ("GET", "{}", None), ("GET", "/scim/v2/Schemas", None)]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("method", "path", "body"), WRITES + READS)
def test_a_directory_needs_a_role(gateway: Gateway, ann: str, role: Role, method: str, path: str, body: Any) -> None:
    may = role in (Role.TENANT_ADMIN, Role.OPERATOR) or (role is Role.AUDITOR and method == "GET")
    status, said = gateway(caller(role), method, path.format(ann), body)
    assert (status < 300) == may
    assert may or (status, said["code"]) == (403, "role_not_allowed")


def test_a_directory_sees_and_changes_its_own_tenants_users_alone(gateway: Gateway, ann: str) -> None:
    """An operator's key too: its tenant is the directory's."""
    for role in (Role.TENANT_ADMIN, Role.OPERATOR):
        other = caller(role, tenant=GLOBEX)
        assert gateway(other, "GET", USERS)[1]["totalResults"] == 0
        for method, _, body in WRITES[1:]:
            assert gateway(other, method, ann, body)[0] == 404
        assert gateway(other, "GET", USERS, query={"filter": 'externalId eq "0a1b"'})[1]["totalResults"] == 0
    assert active(gateway)


def test_users_are_the_same_in_the_admin_api(gateway: Gateway, ann: str) -> None:
    admin, path = caller(Role.TENANT_ADMIN), "/admin/tenants/acme/users"
    status, user = gateway(admin, "GET", f"{path}/ann@acme.example")
    assert (status, user["user_id"], user["external_id"]) == (200, "Ann@acme.example", "0a1b")
    assert gateway(admin, "PUT", f"{path}/ann%40acme.example", {"active": False})[1]["active"] is False
    assert not active(gateway)
    assert gateway(admin, "PUT", f"{path}/bob", {"display_name": "Bob"})[0] == 201
    assert gateway(admin, "PUT", f"{path}/bob", {"user_name": "ann@acme.example"})[1]["code"] == "user_exists"
    assert gateway(admin, "PUT", f"{path}/bob", {"actve": False})[1]["code"] == "invalid_body"
    _, page = gateway(admin, "GET", path, query={"limit": "1"})
    assert [user["user_id"] for user in page["users"]] == ["Ann@acme.example"]
    _, page = gateway(admin, "GET", path, query={"next": page["next"]})
    assert [user["user_id"] for user in page["users"]] == ["bob"]
    assert gateway(admin, "DELETE", f"{path}/bob") == (204, None)
    assert gateway(admin, "GET", f"{path}/bob")[1]["code"] == "user_not_found"
    _, audit = gateway(admin, "GET", "/admin/audit", query={"limit": "2"})
    assert [record["action"] for record in audit["records"]] == ["delete_user", "create_user"]


# --------------------------------------------------------------------------------------------------------- the own keys
def test_a_member_makes_lists_rotates_and_revokes_its_own_keys(gateway: Gateway) -> None:
    member = caller(Role.MEMBER)
    other = key_of(gateway, "acme", user_id="bob")
    status, made = gateway(member, "POST", "/me/keys", {"label": "laptop"})
    assert (status, made["user_id"], made.get("role")) == (201, "alice", None)
    status, rotated = gateway(member, "POST", f"/me/keys/{made['key_id']}/rotate", {"overlap_seconds": 0})
    assert (status, rotated["user_id"]) == (201, "alice")
    _, listed = gateway(member, "GET", "/me/keys")
    assert [key["key_id"] for key in listed["keys"]] == [made["key_id"], rotated["key_id"]]
    assert gateway(member, "DELETE", f"/me/keys/{rotated['key_id']}") == (204, None)
    for method, path in (
        ("DELETE", f"/me/keys/{other}"),
        ("POST", f"/me/keys/{other}/rotate"),
        ("DELETE", "/me/keys/none"),
    ):
        status, said = gateway(member, method, path)
        assert (status, said["code"], said["message"]) == (404, "key_not_found", "Key not found.")


def test_a_member_makes_no_more_than_a_members_key(gateway: Gateway) -> None:
    for wrong in ({"role": "tenant-admin"}, {"user_id": "bob"}):
        assert gateway(caller(Role.MEMBER), "POST", "/me/keys", wrong)[1]["code"] == "invalid_body"
    assert "role" not in gateway(caller(Role.TENANT_ADMIN), "POST", "/me/keys", {})[1]
    key_id = key_of(gateway, "acme", user_id="alice", role="tenant-admin")
    status, said = gateway(caller(Role.MEMBER), "POST", f"/me/keys/{key_id}/rotate", {})
    assert (status, said["code"]) == (403, "role_not_allowed")


def test_an_auditor_and_a_key_without_an_owner_make_no_keys(gateway: Gateway) -> None:
    for who in (caller(Role.AUDITOR), caller(Role.MEMBER, user_id="")):
        status, said = gateway(who, "POST", "/me/keys", {})
        assert (status, said["code"]) == (403, "role_not_allowed")
    assert gateway(caller(Role.AUDITOR), "GET", "/me/keys") == (200, {"keys": []})


def test_a_key_does_not_outlive_the_key_that_makes_it(gateway: Gateway) -> None:
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=7)
    TenantTable("tenants").put_key(
        Key(KeyId("key_alice"), ACME.tenant_id, "digest", "", end - timedelta(days=9), end, user_id="alice")
    )
    for role, path in ((Role.MEMBER, "/me/keys"), (Role.TENANT_ADMIN, "/admin/tenants/acme/keys")):
        who = caller(role)
        _, made = gateway(who, "POST", path, {})
        assert datetime.fromisoformat(made["expires_at"]) == end
        later = (end + timedelta(seconds=1)).isoformat()
        assert gateway(who, "POST", path, {"expires_at": later})[1]["code"] == "invalid_expiry"
        assert (
            datetime.fromisoformat(gateway(who, "POST", f"{path}/{made['key_id']}/rotate", {})[1]["expires_at"]) == end
        )
    by_token = caller(Role.MEMBER, "token")
    assert "expires_at" not in gateway(by_token, "POST", "/me/keys", {})[1]
    assert "expires_at" not in gateway(None, "POST", "/admin/tenants/acme/keys", {})[1]


def test_a_user_makes_so_many_keys_and_no_more(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.app, "MOST_OWN_KEYS", 2)
    answers = [gateway(caller(Role.MEMBER), "POST", "/me/keys", {})[0] for _ in range(3)]
    assert answers == [201, 201, 409]


def test_a_caller_with_cost_centres_gives_its_keys_no_others(gateway: Gateway) -> None:
    limited = replace(caller(Role.MEMBER, "token"), cost_centres=("ops",))
    assert gateway(limited, "POST", "/me/keys", {})[1]["cost_centres"] == ["ops"]
    assert gateway(limited, "POST", "/me/keys", {"cost_centres": ["research"]})[1]["code"] == "cost_centre_not_owned"


@pytest.mark.parametrize(
    ("before", "change"),
    [
        ({"externalId": "ext-1"}, ("PUT", {"userName": "ann@example.com", "active": False})),
        ({"externalId": "ext-1"}, ("PATCH", {"Operations": [{"op": "remove", "path": "externalId"}]})),
        (
            {"externalId": "ext-1"},
            ("PATCH", {"Operations": [{"op": "replace", "path": "externalId", "value": "ext-2"}]}),
        ),
    ],
)
def test_who_is_switched_off_stays_so_under_every_name_that_it_had(
    gateway: Gateway, before: Any, change: tuple[str, Any]
) -> None:
    admin = caller(Role.TENANT_ADMIN)
    gateway(admin, "POST", USERS, {"userName": "ann@example.com", "active": False} | before)
    method, body = change
    assert gateway(admin, method, f"{USERS}/ann@example.com", body)[0] == 200
    for name in ("ann@example.com", "ANN@example.com", "ext-1"):
        assert not TenantTable("tenants").is_active(TenantId("acme"), name)


def test_a_change_of_a_user_does_not_undo_another(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = caller(Role.TENANT_ADMIN)
    gateway(admin, "POST", USERS, {"userName": "ann", "active": True})
    patched, once = gateway.app.scim.patched, list[int]()

    def meanwhile(fields: Any, operations: Any) -> Any:
        if not once:  # the directory switches her off while another request changes her name
            once.append(1)
            gateway(admin, "PATCH", f"{USERS}/ann", {"Operations": [{"op": "replace", "value": {"active": False}}]})
        return patched(fields, operations)

    monkeypatch.setattr(gateway.app.scim, "patched", meanwhile)
    gateway(admin, "PATCH", f"{USERS}/ann", {"Operations": [{"op": "replace", "path": "displayName", "value": "A"}]})
    assert not TenantTable("tenants").is_active(TenantId("acme"), "ann")


def test_a_user_makes_no_key_where_keys_have_limits_of_their_own(gateway: Gateway) -> None:
    """Each new key would begin with all of them."""
    limited = replace(ACME, budgets=(ScopedBudget(Scope(key="*"), Window.DAY, Decimal(1), hard=True),))
    TenantTable("tenants").put_tenant(limited)
    assert gateway(caller(Role.MEMBER), "POST", "/me/keys", {})[1]["code"] == "role_not_allowed"


def test_a_caller_is_told_who_it_is(load: Any) -> None:
    who = Caller(ACME, KeyId("key_1"), "alice", UserSource.KEY, Role.AUDITOR, ("ops",))
    status, me = Gateway(load("report_usage"))(who, "GET", "/me")
    assert (status, me["tenant_id"], me["user_id"], me["role"], me["cost_centres"]) == (
        200,
        "acme",
        "alice",
        "auditor",
        ["ops"],
    )
    assert "listAudit" in me["may"]
    assert "makeKey" not in me["may"]
    assert [(line["scope"], line["available"]) for line in me["budget"]["budgets"]] == [
        ("tenant", "100"),
        ({"user": "alice"}, "5"),
    ]

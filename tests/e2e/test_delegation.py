"""A tenant administers itself through the whole gateway: by keys with a role, and by its directory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import requests
from botocore.credentials import Credentials

from scripts.dev.stack import LocalStack
from scripts.operate.admin_api import AdminApi

CACHE = 2  # seconds that a user who is switched off may still work
HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
SCIM = "application/scim+json"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    environment = {"GATEWAY_PARAM_KeyCacheSeconds": str(CACHE)}
    with LocalStack(tmp_path_factory.mktemp("delegation"), environment=environment) as running:
        yield running


@pytest.fixture(scope="module")
def operator(stack: LocalStack) -> AdminApi:
    said: dict[str, Any] = json.loads((stack.data / "tenants.json").read_text())
    admin = said["admin"]
    api = AdminApi(stack.url, said["region"], Credentials(admin["access_key_id"], admin["secret_access_key"]))
    for tenant_id in ("acme", "globex"):
        api.call(
            "PUT",
            f"/admin/tenants/{tenant_id}",
            {"cost_centres": ["research"], "budget": {"monthly_usd": "10", "hard": True}},
        )
    return api


def key_of(operator: AdminApi, tenant_id: str, **wanted: str) -> str:
    return str(operator.call("POST", f"/admin/tenants/{tenant_id}/keys", wanted)["key"])


@pytest.fixture
def ask(stack: LocalStack) -> Callable[..., requests.Response]:
    def ask(
        key: str | None, method: str, path: str, body: Any = None, media: str = "application/json"
    ) -> requests.Response:
        headers = {"content-type": media} | ({"authorization": f"Bearer {key}"} if key else {})
        data = None if body is None else json.dumps(body)
        return requests.request(method, stack.url + path, data=data, headers=headers, timeout=60)

    return ask


def until(status: int, ask: Callable[[], requests.Response], seconds: float) -> requests.Response:
    end = time.monotonic() + seconds
    while (answer := ask()).status_code != status:
        assert time.monotonic() < end, f"still {answer.status_code} after {seconds} seconds"
        time.sleep(0.1)
    return answer


def test_a_person_joins_by_a_tenant_admin_and_leaves_by_the_directory(operator: AdminApi, ask: Any) -> None:
    admin = key_of(operator, "acme", user_id="ann", role="tenant-admin")
    made = ask(admin, "POST", "/delegated/admin/tenants/acme/keys", {"label": "bob", "user_id": "bob@acme.example"})
    assert made.status_code == 201
    bob = made.json()["key"]
    me = ask(bob, "GET", "/me").json()
    assert (me["tenant_id"], me["user_id"], me["role"]) == ("acme", "bob@acme.example", "member")
    own = ask(bob, "POST", "/me/keys", {"label": "laptop"}).json()["key"]
    body = {"inputs": "hi", "parameters": {"max_tokens": 8}}
    for key in (bob, own):
        assert ask(key, "POST", f"/invoke_model?model_id={HAIKU}", body).status_code == 200

    directory = {"userName": "bob@acme.example", "externalId": "object-7"}
    user = ask(admin, "POST", "/scim/v2/Users", directory, SCIM)
    assert (user.status_code, user.headers["content-type"]) == (201, SCIM)
    off = {"Operations": [{"op": "Replace", "path": "active", "value": "False"}]}
    path = f"/scim/v2/Users/{user.json()['id']}"
    assert ask(admin, "PATCH", path, off, SCIM).json()["active"] is False
    for key in (bob, own):
        refused = until(403, partial(ask, key, "GET", "/usage"), CACHE + 2)
        assert refused.json()["code"] == "access_denied"
        assert "switched off" in refused.json()["message"]
        assert ask(key, "POST", "/v1/chat/completions", {"model": HAIKU, "messages": []}).status_code == 403
        assert ask(key, "POST", "/me/keys", {}).status_code == 403
    assert ask(admin, "GET", "/usage").status_code == 200
    assert ask(admin, "DELETE", path).status_code == 204
    time.sleep(CACHE)
    assert ask(bob, "GET", "/usage").status_code == 403

    records = ask(admin, "GET", "/delegated/admin/audit?limit=10").json()["records"]
    seen = [(record["action"], record["actor"]["arn"].partition("/")[0]) for record in records]
    assert seen[:3] == [("delete_user", "key:acme"), ("switch_off_user", "key:acme"), ("create_user", "key:acme")]


def test_a_tenant_sees_nothing_of_another(operator: AdminApi, ask: Any) -> None:
    admin = key_of(operator, "globex", role="tenant-admin")
    for path in ("", "/keys", "/users"):
        there, nowhere = (ask(admin, "GET", f"/delegated/admin/tenants/{name}{path}") for name in ("acme", "nowhere"))
        assert there.status_code == nowhere.status_code == 404
        assert there.json()["message"] == nowhere.json()["message"] == "Tenant not found."
    assert [each["tenant_id"] for each in ask(admin, "GET", "/delegated/admin/tenants").json()["tenants"]] == ["globex"]


def test_a_key_is_no_signature_and_no_key_is_nobody(operator: AdminApi, ask: Any) -> None:
    """The answer says where callers with a key find the same operations."""
    key = key_of(operator, "acme", role="operator")
    refused = ask(None, "GET", "/admin/tenants")
    assert refused.status_code == 403
    assert "/delegated/admin" in refused.json()["message"]
    assert ask(key, "GET", "/admin/tenants").status_code == 403
    assert ask(None, "GET", "/delegated/admin/tenants").status_code == 401
    assert ask(key, "GET", "/delegated/admin/tenants").status_code == 200
    for path in ("/delegated/delegated/admin/tenants", "/delegated/me", "/delegated/admin%2Ftenants", "/delegated/"):
        assert ask(key, "GET", path).status_code in (403, 404), path


def test_a_field_of_the_operators_is_named(operator: AdminApi, ask: Any) -> None:
    admin = key_of(operator, "acme", role="tenant-admin")
    record = ask(admin, "GET", "/delegated/admin/tenants/acme").json()
    sent = {name: value for name, value in record.items() if name not in ("tenant_id", "version")}
    wanted = sent | {"cost_centres": ["research", "ops"], "cost_centre_budgets": {"ops": {"monthly_usd": "5"}}}
    assert ask(admin, "PUT", "/delegated/admin/tenants/acme", wanted).status_code == 200
    refused = ask(admin, "PUT", "/delegated/admin/tenants/acme", wanted | {"budget": {"monthly_usd": "1000"}})
    assert (refused.status_code, refused.json()["code"]) == (403, "field_not_allowed")
    assert refused.json()["message"].startswith("budget: ")

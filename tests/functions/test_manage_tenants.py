"""/admin/*, and the custom resource that the same function implements."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import boto3
import pytest

from gateway.tenancy.keys import looks_like_key
from gateway.web.generated.schemas import AuditPage, KeyList, NewKey, Problem, Tenant, TenantPage

from .conftest import ROOT, context

Load = Callable[[str], Any]
ANN = "arn:aws:iam::111122223333:user/ann"


class Admin:
    """The function, called by a principal with a signature."""

    def __init__(self, app: Any):
        self._app = app

    def __call__(
        self, method: str, path: str, body: Any = None, *, query: dict[str, str] | None = None, if_match: str = "*"
    ) -> tuple[int, Any]:
        sent: dict[str, Any] = json.loads((ROOT / "events/manage_tenants/put_tenant.json").read_text())
        sent |= {
            "path": path,
            "httpMethod": method,
            "queryStringParameters": query,
            "body": body if isinstance(body, str) or body is None else json.dumps(body),
        }
        sent["headers"]["If-Match"] = if_match
        sent["requestContext"] |= {"httpMethod": method, "requestId": str(uuid.uuid4())}
        answer = self._app.handler(sent, context())
        assert answer["multiValueHeaders"]["x-request-id"] == [sent["requestContext"]["requestId"]]
        return answer["statusCode"], json.loads(answer["body"]) if answer.get("body") else None


@pytest.fixture
def admin(load: Load) -> Admin:
    return Admin(load("manage_tenants"))


@pytest.mark.parametrize("sent", ["team%3A1%40x", "team:1@x"])
def test_a_name_in_a_path_may_come_encoded_or_decoded(admin: Admin, sent: str) -> None:
    """API Gateway hands a path on as it was sent; its notes say that parameters are decoded."""
    assert admin("PUT", f"/admin/tenants/{sent}", {})[1]["tenant_id"] == "team:1@x"
    assert admin("GET", f"/admin/tenants/{sent}")[0] == 200


def test_a_tenant_is_created_read_changed_and_deleted(admin: Admin) -> None:
    sent = {"name": "My team", "cost_centres": ["research"], "budget": {"monthly_usd": "0.12", "hard": True}}
    status, made = admin("PUT", "/admin/tenants/my-team", sent)
    assert (status, made["version"], made["budget"]["monthly_usd"]) == (201, 1, "0.12")
    assert admin("PUT", "/admin/tenants/my-team", sent) == (200, made)
    assert admin("GET", "/admin/tenants/my-team") == (200, made)
    status, changed = admin("PUT", "/admin/tenants/my-team", {"suspended": True}, if_match='"1"')
    assert (status, changed["version"], changed["suspended"], changed["name"]) == (200, 2, True, "my-team")
    assert "budget" not in changed  # what a PUT leaves out is unset
    assert admin("PUT", "/admin/tenants/my-team", sent, if_match="1")[0] == 412
    assert admin("PUT", "/admin/tenants/new-team", {}, if_match="1")[0] == 412
    assert admin("DELETE", "/admin/tenants/my-team") == (204, None)
    status, problem = admin("GET", "/admin/tenants/my-team")
    assert (status, Problem.model_validate(problem).code) == (404, "tenant_not_found")
    Tenant.model_validate(made)


def test_a_tenant_chooses_what_is_kept_of_names(admin: Admin) -> None:
    sent = {"attribution": {"users": "hash", "names_kept_days": 30}}
    status, made = admin("PUT", "/admin/tenants/my-team", sent)
    assert (status, made["attribution"]) == (201, {"users": "hash", "tags": "clear", "names_kept_days": 30})
    assert admin("GET", "/admin/tenants/my-team") == (200, made)
    assert "attribution" not in admin("PUT", "/admin/tenants/my-team", {})[1]


@pytest.mark.parametrize(
    ("sent", "code", "where"),
    [
        ({"attribution": {"users": "plain"}}, "invalid_body", ["body.attribution.users"]),
        ({"attribution": {"names_kept_days": 731}}, "invalid_body", ["body.attribution.names_kept_days"]),
        ({"attribution": {"people": "hash"}}, "invalid_body", ["body.attribution.people"]),
        ({"nmae": "x", "budgets": {}}, "invalid_body", ["body.nmae", "body.budgets"]),
        ({"budget": {"monthly_usd": "1", "soft": True}}, "invalid_body", ["body.budget.soft"]),
        ({"budget": {"monthly_usd": "-1"}}, "invalid_body", ["body.budget.monthly_usd"]),
        ({"budget": {"monthly_usd": "1e9"}}, "invalid_body", ["body.budget.monthly_usd"]),
        ({"budget": {"monthly_usd": 1.5}}, "invalid_body", ["body.budget.monthly_usd"]),
        ({"budget": {"monthly_usd": "9999999999"}}, "invalid_body", ["body.budget.monthly_usd"]),
        ({"suspended": "no"}, "invalid_body", ["body.suspended"]),
        ({"unpriced": "free"}, "invalid_body", ["body.unpriced"]),
        ({"cost_centres": ["../etc"]}, "invalid_tenant", None),
        ({"cost_centre_budgets": {"sales": {"monthly_usd": "1"}}}, "invalid_tenant", None),
        ("{not json", "invalid_body", None),
        ("[]", "invalid_body", ["body"]),
    ],
)
def test_what_is_wrong_is_named(admin: Admin, sent: Any, code: str, where: list[str] | None) -> None:
    status, problem = admin("PUT", "/admin/tenants/my-team", sent)
    assert (status, problem["code"]) == (400, code)
    assert where is None or [detail["location"] for detail in problem["details"]] == where
    assert admin("GET", "/admin/tenants/my-team")[0] == 404
    assert admin("PUT", "/admin/tenants/a#b", {})[0] in (400, 404)


def test_keys_are_made_listed_rotated_and_revoked(admin: Admin) -> None:
    admin("PUT", "/admin/tenants/my team", {})
    status, made = admin("POST", "/admin/tenants/my team/keys", {"label": "ci", "expires_at": "2099-01-01T00:00:00Z"})
    assert status == 201
    assert looks_like_key(NewKey.model_validate(made).key)
    way = f"/admin/tenants/my team/keys/{made['key_id']}"
    status, rotated = admin("POST", f"{way}/rotate", {"overlap_seconds": 60})
    assert (status, rotated["label"]) == (201, "ci")
    for _ in range(2):
        assert admin("DELETE", way) == (204, None)
    assert admin("POST", f"{way}/rotate")[1]["code"] == "key_not_active"
    status, listed = admin("GET", "/admin/tenants/my team/keys")
    assert [key["revoked"] for key in KeyList.model_validate(listed).model_dump()["keys"]] == [True, False]
    assert made["key"] not in json.dumps(listed)
    for wrong in ({"lable": "x"}, {"expires_at": "2020-01-01T00:00:00Z"}, {"expires_at": "soon"}, {"label": 7}):
        assert admin("POST", "/admin/tenants/my team/keys", wrong)[0] == 400
    assert admin("POST", "/admin/tenants/nobody/keys", {})[1]["code"] == "tenant_not_found"
    assert admin("DELETE", "/admin/tenants/nobody/keys/x")[1]["code"] == "key_not_found"


def test_lists_are_paged(admin: Admin) -> None:
    for number in range(5):
        admin("PUT", f"/admin/tenants/team-{number}", {})
    query, seen = {"limit": "2"}, []
    while True:
        _, page = admin("GET", "/admin/tenants", query=query)
        seen += [tenant.tenant_id for tenant in TenantPage.model_validate(page).tenants]
        if "next" not in page:
            break
        query["next"] = page["next"]
    assert seen == [f"team-{number}" for number in range(5)]
    for wrong in ({"limit": "0"}, {"limit": "101"}, {"limit": "many"}, {"next": "?"}):
        assert admin("GET", "/admin/tenants", query=wrong)[0] == 400


def test_the_audit_names_the_principal_and_no_secret(admin: Admin) -> None:
    admin("PUT", "/admin/tenants/my-team", {})
    text = admin("POST", "/admin/tenants/my-team/keys", {"label": "ci"})[1]["key"]
    decoy = admin("POST", "/admin/decoys", {"label": "wiki"})[1]["key"]
    _, everything = admin("GET", "/admin/audit")
    assert [record["action"] for record in everything["records"]] == ["make_decoy", "make_key", "create_tenant"]
    actor = AuditPage.model_validate(everything).records[0].actor
    assert (actor.arn, actor.access_key_id, actor.source_ip) == (ANN, "AKIAEXAMPLE", "203.0.113.7")
    _, ours = admin("GET", "/admin/audit", query={"tenant_id": "my-team"})
    assert len(ours["records"]) == 2
    kept = json.dumps([everything, boto3.client("dynamodb").scan(TableName="tenants")["Items"]])
    assert text not in kept
    assert decoy not in kept


# ------------------------------------------------------------------------------------------------- the custom resource
class Stack:
    """CloudFormation: sends an event, and waits at its ResponseURL."""

    def __init__(self, app: Any):
        self._app = app
        self.told: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                outer.told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __call__(self, kind: str, physical_id: str | None = None, stack: str = "one", **properties: Any) -> Any:
        sent: dict[str, Any] = json.loads((ROOT / "events/manage_tenants/custom_resource.json").read_text())
        sent |= {
            "RequestType": kind,
            "ResponseURL": f"http://127.0.0.1:{self.server.server_address[1]}/answer?signed=1",
            "StackId": f"arn:aws:cloudformation:us-east-1:111122223333:stack/{stack}/1",
            "RequestId": str(uuid.uuid4()),
            "ResourceProperties": {"ServiceToken": "arn:of:the:function", **properties},
        }
        self._app.handler(sent | ({"PhysicalResourceId": physical_id} if physical_id else {}), context())
        told = self.told.pop()
        assert {told[name] for name in ("StackId", "RequestId", "LogicalResourceId")} == {
            sent["StackId"],
            sent["RequestId"],
            "Tenant",
        }
        return told


@pytest.fixture
def stack(load: Load) -> Iterator[Stack]:
    stack = Stack(load("manage_tenants"))
    yield stack
    stack.server.shutdown()
    stack.server.server_close()


def test_a_stack_makes_changes_and_deletes_a_tenant(stack: Stack) -> None:
    admin = Admin(stack._app)
    sent = json.loads((ROOT / "events/manage_tenants/custom_resource.json").read_text())
    wanted: dict[str, Any] = sent["ResourceProperties"]
    for _ in range(2):  # CloudFormation may send an event twice
        made = stack("Create", **wanted)
        assert (made["Status"], made["PhysicalResourceId"]) == ("SUCCESS", "my-team")
    _, tenant = admin("GET", "/admin/tenants/my-team")
    assert (tenant["version"], tenant["concurrent_invocations"], tenant["suspended"]) == (1, 20, False)
    assert tenant["budget"] == {"monthly_usd": "100", "hard": True, "thresholds": [50, 100]}
    assert stack("Update", "my-team", **wanted | {"cost_centres": ["ops"]})["Status"] == "SUCCESS"
    assert admin("GET", "/admin/tenants/my-team")[1]["cost_centres"] == ["ops"]
    _, audit = admin("GET", "/admin/audit")
    assert audit["records"][0]["actor"]["arn"].startswith("cloudformation:arn:aws:cloudformation:")
    for _ in range(2):
        assert stack("Delete", "my-team", **wanted)["Status"] == "SUCCESS"
    assert admin("GET", "/admin/tenants/my-team")[0] == 404


def test_a_stack_is_told_what_is_wrong_without_a_trace(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    told = stack("Create", tenant_id="my-team", cost_centers=["research"])
    assert (told["Status"], told["PhysicalResourceId"]) == ("FAILED", "not-made")
    assert told["Reason"].startswith("invalid_tenant: Properties.cost_centers")
    assert stack("Delete", "not-made")["Status"] == "SUCCESS"
    assert stack("Create")["Status"] == "FAILED"

    def broken(*_: Any) -> None:
        raise KeyError("a secret")

    monkeypatch.setattr(stack._app.register, "tenant", broken)
    told = stack("Update", "my-team", tenant_id="my-team")
    assert (told["Status"], told["PhysicalResourceId"]) == ("FAILED", "my-team")
    assert "secret" not in told["Reason"]


def test_a_stack_gets_its_own_tenant_back_and_nobody_else_does(stack: Stack) -> None:
    """After its end, and after a replacement that was taken back; the tenant is the same one, and so is its usage."""
    admin = Admin(stack._app)
    assert stack("Create", tenant_id="my-team")["Status"] == "SUCCESS"
    assert admin("POST", "/admin/tenants/my-team/keys", {})[0] == 201
    assert stack("Update", "my-team", tenant_id="renamed")["PhysicalResourceId"] == "renamed"
    assert stack("Delete", "my-team")["Status"] == "SUCCESS"  # the end of the replaced one
    assert stack("Update", "renamed", tenant_id="my-team")["Status"] == "SUCCESS"  # and back
    assert stack("Delete", "my-team")["Status"] == "SUCCESS"
    told = stack("Create", stack="two", tenant_id="my-team")
    assert (told["Status"], told["PhysicalResourceId"]) == ("FAILED", "not-made")
    assert told["Reason"].startswith("tenant_id_used: The tenant my-team was deleted")
    status, problem = admin("PUT", "/admin/tenants/my-team", {})
    assert (status, Problem.model_validate(problem).code) == (409, "tenant_id_used")
    assert stack("Create", tenant_id="my-team")["Status"] == "SUCCESS"


def test_a_stack_takes_over_no_tenant_that_is_there(stack: Stack) -> None:
    admin = Admin(stack._app)
    admin("PUT", "/admin/tenants/my-team", {})
    told = stack("Create", tenant_id="my-team")
    assert (told["Status"], told["PhysicalResourceId"]) == ("FAILED", "not-made")
    assert stack("Create", stack="one", tenant_id="other")["Status"] == "SUCCESS"
    assert stack("Create", stack="two", tenant_id="other")["Status"] == "FAILED"
    assert stack("Update", "other", tenant_id="my-team")["Status"] == "FAILED"
    assert admin("GET", "/admin/tenants/my-team")[0] == 200

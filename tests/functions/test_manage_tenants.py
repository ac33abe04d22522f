"""/admin/*, and the custom resource that the same function implements."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import boto3
import pytest

from gateway.tenancy.keys import looks_like_key
from gateway.web.generated.schemas import AuditPage, Issuer, IssuerPage, KeyList, NewKey, Problem, Tenant, TenantPage

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


def test_a_budget_is_lent_to_and_reset_and_a_new_record_keeps_both(admin: Admin) -> None:
    sent = {"budgets": [{"scope": {"user": "*"}, "window": "day", "limit_usd": "1", "hard": True}]}
    admin("PUT", "/admin/tenants/my-team", sent)
    of_alice = {"scope": {"user": "alice"}, "window": "day"}
    loan = of_alice | {"usd": "50", "until": "2099-12-04T18:00:00Z"}
    status, lent = admin("POST", "/admin/tenants/my-team/budgets/loans", loan)
    assert (status, lent["loans"], lent["version"]) == (200, [loan], 2)
    for times in (1, 2):
        status, made = admin("POST", "/admin/tenants/my-team/budgets/resets", of_alice)
        assert (status, [each["times"] for each in made["resets"]]) == (200, [times])
    Tenant.model_validate(made)
    status, changed = admin("PUT", "/admin/tenants/my-team", sent | {"name": "Mine"}, if_match="4")
    assert (changed["loans"], changed["resets"]) == (lent["loans"], made["resets"])
    records = admin("GET", "/admin/audit", query={"tenant_id": "my-team"})[1]["records"]
    assert [each["action"] for each in records][:4] == ["change_tenant", "reset_budget", "reset_budget", "lend_budget"]
    assert admin("POST", "/admin/tenants/my-team/budgets/loans", loan | {"usd": "0"})[1].get("loans") is None


def test_a_new_number_of_shards_holds_from_the_next_month_on(admin: Admin) -> None:
    sent = {"budget": {"monthly_usd": "100", "hard": True}}
    admin("PUT", "/admin/tenants/my-team", sent)
    changed = admin("PUT", "/admin/tenants/my-team", sent | {"budget_shards": 4})[1]
    assert (changed["budget_shards"], changed["shards_before"]) == (4, 1)
    assert changed["shards_since"] > f"{datetime.now(UTC):%Y-%m}"
    again = admin("PUT", "/admin/tenants/my-team", sent | {"budget_shards": 2})[1]
    assert (again["shards_before"], again["shards_since"]) == (1, changed["shards_since"])
    Tenant.model_validate(again)


@pytest.mark.parametrize(
    ("action", "body", "status", "code"),
    [
        ("resets", {"scope": {"user": "alice"}, "window": "week"}, 400, "budget_not_found"),
        ("resets", {"scope": {"user": "*"}, "window": "day"}, 400, "invalid_tenant"),
        ("resets", {"scope": {"team": "x"}, "window": "day"}, 400, "invalid_body"),
        ("loans", {"window": "day", "usd": "-1", "until": "2099-01-01T00:00:00Z"}, 400, "invalid_body"),
        ("loans", {"scope": {"user": "a"}, "window": "day", "usd": "1", "until": "2020-01-01T00:00:00Z"}, 400, "invalid_expiry"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_loan_or_a_reset_is_said(
    admin: Admin, action: str, body: Any, status: int, code: str
) -> None:
    admin("PUT", "/admin/tenants/my-team", {"budgets": [{"scope": {"user": "*"}, "window": "day", "limit_usd": "1"}]})
    got, problem = admin("POST", f"/admin/tenants/my-team/budgets/{action}", body)
    assert (got, problem["code"]) == (status, code)
    assert admin("POST", f"/admin/tenants/nobody/budgets/{action}", {})[0] in (400, 404)


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


# ------------------------------------------------------------------------------------------------------------- issuers
IDP: dict[str, Any] = {
    "issuer": "https://idp.example.com",
    "audiences": ["model-gateway"],
    "algorithms": ["RS256"],
    "tenants": ["my-team"],
}


def test_an_issuer_is_created_listed_changed_and_deleted(admin: Admin) -> None:
    status, made = admin("PUT", "/admin/issuers/our-idp", IDP)
    assert (status, made["version"], made["claims"]) == (201, 1, {"user": "sub"})
    Issuer.model_validate(made)
    assert admin("PUT", "/admin/issuers/our-idp", IDP) == (200, made)
    whole = IDP | {
        "claims": {"tenant": "tid", "cost_centre": "dep", "user": "oid", "role": "groups"},
        "roles": {"finance": "auditor"},
        "jwks_uri": "https://idp.example.com/keys",
        "tenants": ["*"],
    }
    status, changed = admin("PUT", "/admin/issuers/our-idp", whole, if_match="1")
    assert (status, changed) == (200, whole | {"issuer_id": "our-idp", "version": 2})
    assert admin("PUT", "/admin/issuers/our-idp", IDP, if_match="1")[1]["code"] == "version_conflict"
    assert admin("GET", "/admin/issuers/our-idp") == (200, changed)
    status, listed = admin("GET", "/admin/issuers")
    assert (status, IssuerPage.model_validate(listed).model_dump(exclude_none=True)["issuers"][0]["version"]) == (
        200,
        2,
    )
    assert admin("PUT", "/admin/issuers/again", IDP)[1]["code"] == "issuer_used"
    assert admin("DELETE", "/admin/issuers/our-idp") == (204, None)
    assert admin("DELETE", "/admin/issuers/our-idp")[1]["code"] == "issuer_not_found"
    status, problem = admin("GET", "/admin/issuers/our-idp")
    assert (status, Problem.model_validate(problem).code) == (404, "issuer_not_found")
    _, audit = admin("GET", "/admin/audit")
    assert [one["action"] for one in AuditPage.model_validate(audit).model_dump()["records"]] == [
        "delete_issuer",
        "change_issuer",
        "create_issuer",
    ]
    assert audit["records"][0]["actor"]["arn"] == ANN


def test_the_id_of_a_deleted_tenant_that_tokens_could_name_is_not_given_again(admin: Admin) -> None:
    """Its usage stays under the id, so a new owner would see it. A tenant without keys may have used tokens."""
    everything = {"claims": {"tenant": "tid"}, "tenants": ["*"], "issuer": "https://all.example.com"}
    for name in ("my-team", "free"):
        assert admin("PUT", f"/admin/tenants/{name}", {})[0] == 201
    admin("PUT", "/admin/issuers/our-idp", IDP)
    for name in ("my-team", "free"):
        admin("DELETE", f"/admin/tenants/{name}")
    admin("DELETE", "/admin/issuers/our-idp")
    assert admin("PUT", "/admin/tenants/my-team", {})[1]["code"] == "tenant_id_used"
    assert admin("PUT", "/admin/tenants/free", {})[0] == 201
    assert admin("PUT", "/admin/issuers/all", IDP | everything)[0] == 201
    admin("DELETE", "/admin/tenants/free")
    assert admin("PUT", "/admin/tenants/free", {})[1]["code"] == "tenant_id_used"
    assert admin("PUT", "/admin/tenants/never-there", {})[0] == 201
    _, audit = admin("GET", "/admin/audit", query={"tenant_id": "my-team"})
    allowed = [record for record in audit["records"] if record["action"] == "allow_issuer"]
    assert [record["after"] for record in allowed] == [{"issuer_id": "our-idp", "issuer": IDP["issuer"]}]


def test_an_issuer_has_as_many_tenants_as_a_transaction_has_room_for(admin: Admin) -> None:
    many = IDP | {"claims": {"tenant": "tid"}, "tenants": [f"team-{number}" for number in range(90)]}
    others = many | {"tenants": [f"other-{number}" for number in range(90)], "issuer": "https://moved.example.com"}
    assert [admin("PUT", "/admin/issuers/our-idp", said)[0] for said in (many, others)] == [201, 200]
    assert admin("PUT", "/admin/issuers/our-idp", many | {"tenants": [*many["tenants"], "x"]})[0] == 400


def test_issuers_are_paged(admin: Admin) -> None:
    for number in range(3):
        admin("PUT", f"/admin/issuers/idp-{number}", IDP | {"issuer": f"https://{number}.example.com"})
    _, first = admin("GET", "/admin/issuers", query={"limit": "2"})
    _, second = admin("GET", "/admin/issuers", query={"limit": "2", "next": first["next"]})
    assert [one["issuer_id"] for one in first["issuers"] + second["issuers"]] == ["idp-0", "idp-1", "idp-2"]
    assert admin("GET", "/admin/issuers", query={"next": "?"})[1]["code"] == "invalid_page"


PAGE = (ROOT / "docs/run/identity.md").read_text()


@pytest.mark.parametrize("shown", re.findall(r"^```json\n(.*?)^```$", PAGE, re.M | re.S))
def test_the_page_shows_records_that_are_accepted(admin: Admin, shown: str) -> None:
    assert admin("PUT", "/admin/issuers/our-idp", json.loads(shown))[0] == 201


@pytest.mark.parametrize(
    ("changed", "code", "where"),
    [
        ({"algorithms": ["HS256"]}, "invalid_body", "body.algorithms.0"),
        ({"algorithms": ["none"]}, "invalid_body", "body.algorithms.0"),
        ({"audiences": []}, "invalid_body", "body.audiences"),
        ({"claims": {"tennant": "tid"}}, "invalid_body", "body.claims.tennant"),
        ({"roles": {"finance": "king"}}, "invalid_body", "body.roles.finance"),
        ({"tenant": "acme"}, "invalid_body", "body.tenant"),
        ({"tenants": ["a", "b"]}, "invalid_issuer", None),
        ({"issuer": "http://127.0.0.1:9000"}, "invalid_issuer", None),
        ({"jwks_uri": "http://169.254.169.254/latest"}, "invalid_issuer", None),
        ({"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}}, "invalid_issuer", None),
    ],
)
def test_a_wrong_issuer_is_refused_by_name(admin: Admin, changed: Any, code: str, where: str | None) -> None:
    status, problem = admin("PUT", "/admin/issuers/our-idp", IDP | changed)
    assert (status, problem["code"]) == (400, code)
    assert where is None or where in [detail["location"] for detail in problem["details"]]
    assert admin("GET", "/admin/issuers")[1]["issuers"] == []


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

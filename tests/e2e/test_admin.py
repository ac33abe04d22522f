"""Operators and tenants through the whole gateway: their permissions, and that no key is ever stored."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from scripts.dev.stack import LocalStack
from scripts.operate.admin_api import AdminApi
from tests.contract.contract import OPERATIONS, Operation, resolve

ROOT = Path(__file__).parents[2]
CACHE = 2  # seconds that a revoked key may still work
HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
SEEN: list[str] = []  # every key that was made here


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    environment = {"GATEWAY_PARAM_KeyCacheSeconds": str(CACHE)}
    with LocalStack(tmp_path_factory.mktemp("admin"), environment=environment) as running:
        yield running


@pytest.fixture(scope="module")
def operator(stack: LocalStack) -> dict[str, str]:
    said: dict[str, Any] = json.loads((stack.data / "tenants.json").read_text())
    return {"region": said["region"], **said["admin"]}


@pytest.fixture(scope="module")
def admin(stack: LocalStack, operator: dict[str, str]) -> AdminApi:
    known = Credentials(operator["access_key_id"], operator["secret_access_key"])
    return AdminApi(stack.url, operator["region"], known)


def make_key(admin: AdminApi, tenant_id: str, **wanted: Any) -> tuple[str, str]:
    made = admin.call("POST", f"/admin/tenants/{tenant_id}/keys", wanted)
    SEEN.append(made["key"])
    return made["key_id"], made["key"]


def usage(stack: LocalStack, key: str) -> requests.Response:
    return requests.get(f"{stack.url}/usage", headers={"x-api-key": key}, timeout=60)


def until(status: int, ask: Callable[[], requests.Response], seconds: float) -> requests.Response:
    end = time.monotonic() + seconds
    while (answer := ask()).status_code != status:
        assert time.monotonic() < end, f"still {answer.status_code} after {seconds} seconds"
        time.sleep(0.05)
    return answer


# -------------------------------------------------------------------------------------------------------- signatures
def test_a_tenant_made_by_a_signed_request_calls_with_its_key(stack: LocalStack, admin: AdminApi) -> None:
    path = "/admin/tenants/signed%20team%3A1%40x"  # what a signature encodes twice
    sent = {"name": "Signed", "cost_centres": ["a b"], "budget": {"monthly_usd": "0.12", "hard": True}}
    made = admin.send("PUT", path, sent)
    assert (made.status_code, made.json()["tenant_id"]) == (201, "signed team:1@x")
    _, key = make_key(admin, "signed%20team%3A1%40x", label="first")
    assert usage(stack, key).json()["tenant_id"] == "signed team:1@x"
    lines = requests.get(f"{stack.url}/budget", headers={"Authorization": f"Bearer {key}"}, timeout=60).json()[
        "budgets"
    ]
    assert [(line["monthly_usd"], line["hard"]) for line in lines] == [("0.12", True)]
    assert admin.send("GET", "/admin/audit?tenant_id=signed%20team%3A1%40x&limit=2").json()["records"][0]["actor"] == {
        "arn": "arn:aws:iam::123456789012:user/local-operator",
        "access_key_id": admin.credentials.access_key,
        "source_ip": "127.0.0.1",
    }
    assert admin.send("DELETE", path).status_code == 204
    assert until(401, lambda: usage(stack, key), CACHE + 1).json()["code"] == "unauthorized"


def signed(operator: dict[str, str], url: str, *, service: str = "execute-api", **other: str) -> dict[str, str]:
    said = operator | other
    request = AWSRequest("PUT", url, data=b"{}", headers={"content-type": "application/json"})
    known = Credentials(said["access_key_id"], said["secret_access_key"])
    SigV4Auth(known, service, said["region"]).add_auth(request)
    return dict(request.headers.items())


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({}, None),
        ({"secret_access_key": "guessed"}, "invalid_signature"),
        ({"access_key_id": "AKIASOMEBODYELSE0000"}, "invalid_signature"),
        ({"region": "eu-central-1"}, "invalid_signature"),
        ({"service": "s3"}, "invalid_signature"),
    ],
)
def test_a_signature_has_to_fit(stack: LocalStack, operator: dict[str, str], wrong: Any, code: str | None) -> None:
    url = f"{stack.url}/admin/tenants/forged"
    answer = requests.put(url, data=b"{}", headers=signed(operator, url, **wrong), timeout=60)
    assert answer.status_code == (403 if code else 201)
    assert answer.json().get("code") == code


def test_what_was_signed_is_what_is_done(stack: LocalStack, operator: dict[str, str], admin: AdminApi) -> None:
    url = f"{stack.url}/admin/tenants/changed"
    headers = signed(operator, url)
    late = headers | {"X-Amz-Date": f"{datetime.now(UTC) - timedelta(minutes=6):%Y%m%dT%H%M%SZ}"}
    tampered = [
        requests.put(url, data=b'{"name": "x"}', headers=headers, timeout=60),
        requests.put(f"{url}2", data=b"{}", headers=headers, timeout=60),
        requests.put(f"{url}?x=1", data=b"{}", headers=headers, timeout=60),
        requests.put(url, data=b"{}", headers=late, timeout=60),
        requests.put(url, data=b"{}", headers={"Authorization": "Bearer x"}, timeout=60),
    ]
    unsigned = requests.put(url, data=b"{}", timeout=60)
    assert [(a.status_code, a.json()["code"]) for a in tampered] == [(403, "invalid_signature")] * 5
    assert (unsigned.status_code, unsigned.json()["code"]) == (403, "missing_signature")
    assert all(answer.headers["x-request-id"] == answer.json()["request_id"] for answer in (*tampered, unsigned))
    assert admin.send("GET", "/admin/tenants/changed").status_code == 404


# --------------------------------------------------------------------------------------------------------------- keys
def test_a_revoked_key_stops_within_the_bound(stack: LocalStack, admin: AdminApi) -> None:
    admin.call("PUT", "/admin/tenants/revoking", {})
    key_id, key = make_key(admin, "revoking")
    assert usage(stack, key).status_code == 200
    admin.call("DELETE", f"/admin/tenants/revoking/keys/{key_id}")
    answer = until(401, lambda: usage(stack, key), CACHE + 1)
    assert answer.json()["code"] == "unauthorized"


def test_a_rotated_key_works_for_the_overlap(stack: LocalStack, admin: AdminApi) -> None:
    admin.call("PUT", "/admin/tenants/rotating", {})
    key_id, old = make_key(admin, "rotating", label="ci")
    made = admin.call("POST", f"/admin/tenants/rotating/keys/{key_id}/rotate", {"overlap_seconds": 2})
    SEEN.append(made["key"])
    assert [usage(stack, key).status_code for key in (old, made["key"])] == [200, 200]
    until(401, lambda: usage(stack, old), 2 + CACHE + 1)
    assert usage(stack, made["key"]).status_code == 200
    uses = {key["key_id"]: key.get("last_used") for key in admin.keys("rotating")}
    assert set(uses.values()) == {datetime.now(UTC).date().isoformat()}


def test_a_suspended_tenant_is_told_so_and_can_come_back(stack: LocalStack, admin: AdminApi) -> None:
    admin.call("PUT", "/admin/tenants/pausing", {})
    _, key = make_key(admin, "pausing")
    assert usage(stack, key).status_code == 200
    admin.call("PUT", "/admin/tenants/pausing", {"suspended": True})
    problem = until(403, lambda: usage(stack, key), CACHE + 1).json()
    assert problem["code"] == "access_denied"
    assert "suspended" in problem["message"]
    admin.call("PUT", "/admin/tenants/pausing", {"suspended": False})
    until(200, lambda: usage(stack, key), CACHE + 1)


def test_a_decoy_is_answered_like_any_wrong_key_and_raises_the_alarm(stack: LocalStack, admin: AdminApi) -> None:
    decoy = admin.call("POST", "/admin/decoys", {"label": "wiki"})
    SEEN.append(decoy["key"])
    answer, other = usage(stack, decoy["key"]), usage(stack, "mgw_nothing")
    assert answer.status_code == other.status_code == 401
    assert answer.json() | {"request_id": ""} == other.json() | {"request_id": ""}
    log = (stack.data / "logs/AuthorizeTenantFunction.log").read_text()
    said = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert [line["key_id"] for line in said if line.get("message") == "decoy_key_used"] == [decoy["key_id"]]
    assert [line["DecoyKeyUsed"] for line in said if "DecoyKeyUsed" in line] == [[1.0]]


# ------------------------------------------------------------------------------------------------------- the matrix
# A request of each operation that a tenant may call: query and body.
CALL = {"inputs": "What is a ledger?", "parameters": {"max_tokens": 5}}
MESSAGE = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
REQUESTS: dict[str, tuple[dict[str, str], Any]] = {
    "listFoundationModels": ({}, None),
    "invokeModel": ({"model_id": HAIKU}, CALL),
    "reportUsage": ({}, None),
    "reportBudget": ({}, None),
    "quoteInvocation": ({"model_id": HAIKU}, CALL),
    "streamModel": ({"model_id": HAIKU}, CALL),
    "createChatCompletion": ({}, {"model": HAIKU, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}),
    "createResponse": ({}, {"model": HAIKU, "input": "hi", "max_output_tokens": 20}),
    "createEmbeddings": ({}, {"model": "amazon.titan-embed-text-v2:0", "input": "hi"}),
    "listModels": ({}, None),
    "getModel": ({}, None),
    "createMessage": ({}, MESSAGE | {"model": HAIKU}),
    "countMessageTokens": ({}, {"model": HAIKU, "messages": MESSAGE["messages"]}),
    "converse": ({}, CONVERSE),
    "converseStream": ({}, CONVERSE),
    "invokeBedrockModel": ({}, MESSAGE | {"anthropic_version": "bedrock-2023-05-31"}),
    "invokeBedrockModelWithResponseStream": ({}, MESSAGE | {"anthropic_version": "bedrock-2023-05-31"}),
    "countTokens": ({}, {"input": {"converse": CONVERSE}}),
    "listBedrockModels": ({}, None),
    "listInferenceProfiles": ({}, None),
}
# What a key without an owner and a role may call, and the rest: its own keys, and the directory.
OF_ANY_KEY = REQUESTS.keys() | {"getMe"}
DIRECTORY = {"userName": "ann", "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"]}
REQUESTS |= {
    "getMe": ({}, None),
    "listOwnKeys": ({}, None),
    "makeOwnKey": ({}, {"label": "mine"}),
    "revokeOwnKey": ({}, None),
    "rotateOwnKey": ({}, {}),
    "listScimUsers": ({}, None),
    "createScimUser": ({}, DIRECTORY),
    "getScimUser": ({}, None),
    "putScimUser": ({}, DIRECTORY),
    "patchScimUser": ({}, {"Operations": [{"op": "replace", "value": {"active": False}}]}),
    "deleteScimUser": ({}, None),
    "getScimServiceProviderConfig": ({}, None),
    "listScimResourceTypes": ({}, None),
    "listScimSchemas": ({}, None),
}
UNAUTHORIZED, SUSPENDED = (401, "unauthorized"), (403, "access_denied")
FOR_TENANTS = [operation for operation in OPERATIONS if operation.made.authorization == "CUSTOM"]
FOR_OPERATORS = [operation for operation in OPERATIONS if operation.made.authorization == "AWS_IAM"]
STRANGERS = {
    "no key": UNAUTHORIZED,
    "unknown": UNAUTHORIZED,
    "expired": UNAUTHORIZED,
    "revoked": UNAUTHORIZED,
    "decoy": UNAUTHORIZED,
    "suspended tenant": SUSPENDED,
}
NAMES_A_COST_CENTRE = {
    operation.said["operationId"]
    for operation in FOR_TENANTS
    if "team_id" in [resolve(parameter)["name"] for parameter in operation.said.get("parameters", ())]
}


@pytest.fixture(scope="module")
def keys(stack: LocalStack, admin: AdminApi) -> dict[str, str]:
    """A key of each kind; `good` belongs to a tenant, and a second tenant has a call that can be polled."""
    for tenant_id, centre in (("good", "mine"), ("victim", "victims-centre"), ("on-hold", "mine")):
        admin.call("PUT", f"/admin/tenants/{tenant_id}", {"cost_centres": [centre]})
    soon = datetime.now(UTC) + timedelta(seconds=1)
    made = {
        "no key": "",
        "unknown": "mgw_" + "0" * 46,
        "good": make_key(admin, "good")[1],
        "expired": make_key(admin, "good", expires_at=f"{soon:%Y-%m-%dT%H:%M:%S.%fZ}")[1],
        "suspended tenant": make_key(admin, "on-hold")[1],
        "victim": make_key(admin, "victim")[1],
        "decoy": admin.call("POST", "/admin/decoys", {})["key"],
    }
    key_id, made["revoked"] = make_key(admin, "good")
    admin.call("DELETE", f"/admin/tenants/good/keys/{key_id}")
    admin.call("PUT", "/admin/tenants/on-hold", {"suspended": True})
    submitted = requests.post(
        f"{stack.url}/invoke_model",
        params={"model_id": HAIKU},
        headers={"x-api-key": made["victim"], "streaming": "true"},
        json=CALL,
        timeout=60,
    ).json()
    made["victim's request"] = submitted[0]["request_id"]
    SEEN.append(made["decoy"])
    time.sleep(CACHE + 1)
    return made


def ask(stack: LocalStack, operation: Operation, key: str, **headers: str) -> requests.Response:
    query, body = REQUESTS[operation.said["operationId"]]
    sent = {"x-api-key": key} if key else {}
    named = {"modelId": quote(HAIKU, safe=""), "model": quote(HAIKU, safe=""), "key_id": "key_1", "user_id": "ann"}
    path = operation.path.format(**named)
    return requests.request(
        operation.method, stack.url + path, params=query, json=body, headers=sent | headers, timeout=60
    )


def assert_is_problem(answer: requests.Response, expected: tuple[int, str]) -> None:
    assert (answer.status_code, answer.json()["code"]) == expected
    assert {"code", "message", "request_id"} <= set(answer.json()) <= {"code", "message", "request_id", "type", "error"}
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert not re.search("victim|on-hold|key_|arn:", answer.text)


def test_the_matrix_knows_every_operation() -> None:
    assert {operation.said["operationId"] for operation in FOR_TENANTS} == REQUESTS.keys()


@pytest.mark.parametrize("kind", STRANGERS)
@pytest.mark.parametrize("operation", FOR_TENANTS, ids=str)
def test_who_may_not_call_learns_nothing(
    stack: LocalStack, keys: dict[str, str], operation: Operation, kind: str
) -> None:
    assert_is_problem(ask(stack, operation, keys[kind]), STRANGERS[kind])


@pytest.mark.parametrize("operation", FOR_TENANTS, ids=str)
def test_a_good_key_is_answered_about_its_own(stack: LocalStack, keys: dict[str, str], operation: Operation) -> None:
    answer = ask(stack, operation, keys["good"])
    assert answer.status_code == (200 if operation.said["operationId"] in OF_ANY_KEY else 403)
    assert "victim" not in answer.text


@pytest.mark.parametrize("operation", FOR_TENANTS, ids=str)
def test_nobody_charges_anothers_cost_centre(stack: LocalStack, keys: dict[str, str], operation: Operation) -> None:
    answer = ask(stack, operation, keys["good"], team_id="victims-centre")
    if operation.said["operationId"] in NAMES_A_COST_CENTRE:
        assert_is_problem(answer, (403, "cost_centre_not_owned"))
    else:  # the header means nothing here
        assert answer.status_code == (200 if operation.said["operationId"] in OF_ANY_KEY else 403)
        assert "victim" not in answer.text


def test_nobody_polls_anothers_call(stack: LocalStack, keys: dict[str, str]) -> None:
    def poll(key: str, request_id: str) -> requests.Response:
        asked, headers = {"requestId": request_id}, {"x-api-key": key}
        return requests.post(f"{stack.url}/invoke_model", params=asked, headers=headers, json={}, timeout=60)

    assert poll(keys["victim"], keys["victim's request"]).status_code == 200
    theirs, none = (
        poll(keys["good"], keys["victim's request"]),
        poll(keys["good"], "6f2c9a6e-0e5b-4a57-9d51-1b8f0c2d7f10"),
    )
    assert_is_problem(theirs, (404, "request_not_found"))
    assert theirs.json()["message"] == none.json()["message"]  # nor learns that there is one


@pytest.mark.parametrize("kind", [*STRANGERS, "good"])
@pytest.mark.parametrize("operation", FOR_OPERATORS, ids=str)
def test_no_key_opens_the_admin_api(stack: LocalStack, keys: dict[str, str], operation: Operation, kind: str) -> None:
    url = stack.url + operation.path.format(tenant_id="victim", key_id="key_1", user_id="ann", issuer_id="idp")
    key = keys[kind]
    by_header = requests.request(operation.method, url, headers={"x-api-key": key} if key else {}, timeout=60)
    by_bearer = requests.request(operation.method, url, headers={"Authorization": f"Bearer {key}"}, timeout=60)
    assert_is_problem(by_header, (403, "missing_signature"))
    assert_is_problem(by_bearer, (403, "invalid_signature"))


# --------------------------------------------------------------------------------------------------- a thousand tenants
def test_a_thousand_tenants_by_the_command_line(stack: LocalStack, tmp_path: Path, admin: AdminApi) -> None:
    path, out = tmp_path / "tenants.yaml", tmp_path / "keys.jsonl"
    line = '- {tenant_id: team-%04d, cost_centres: [a, b], budget: {monthly_usd: "%d.5"}, keys: [{label: first}]}\n'
    path.write_text("".join(line % (number, number) for number in range(1000)))

    def run(command: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "scripts.operate.cli", "tenants", command, "-f", str(path), "--local", str(stack.data), *options],
            cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": "layers/gateway:."},
        )  # fmt: skip

    first = run("apply", "--keys-out", str(out))
    assert (first.returncode, first.stdout) == (0, "")
    assert first.stderr.endswith(
        "Tenants: 1000 to create, 0 to change, 0 to suspend, 0 to delete. Keys: 1000 to create, 0 to revoke.\n"
    )
    assert out.stat().st_mode & 0o777 == 0o600
    made = {line["tenant_id"]: line["key"] for line in map(json.loads, out.read_text().splitlines())}
    SEEN.extend(made.values())
    assert len(made) == 1000
    assert usage(stack, made["team-0500"]).json()["tenant_id"] == "team-0500"

    second = run("apply")
    assert (second.returncode, second.stdout) == (0, "")
    assert second.stderr == "No changes: the gateway matches the file.\n"

    path.write_text(path.read_text().replace('"7.5"', '"8.5"').replace("team-0999", "team-1000"))
    third = run("apply")
    assert third.returncode == 0
    assert third.stderr.splitlines()[:3] == [
        '~ team-0007: budget.monthly_usd "7.5" -> "8.5"',
        "+ team-1000",
        "+ team-1000: key 'first'",
    ]
    SEEN.append(json.loads(third.stdout)["key"])
    assert admin.send("GET", "/admin/tenants/team-0999").status_code == 200  # without --prune nothing goes

    path.write_text("- tenant_id: team-0001\n  cost_centres: [a]\n  budgets: {}\n")
    wrong = run("apply")
    assert (wrong.returncode, wrong.stderr) == (2, f"{path}:3: budgets: Input should be a valid array\n")


# ------------------------------------------------------------------------------------------------------------ at the end
def test_no_key_is_in_anything_that_the_stack_wrote(stack: LocalStack, operator: dict[str, str]) -> None:
    secrets = [key.encode() for key in [*SEEN, *(tenant["key"] for tenant in stack.tenants)]]
    secrets.append(operator["secret_access_key"].encode())
    pattern = re.compile(b"|".join(map(re.escape, secrets)))
    read = 0
    for path in stack.data.rglob("*"):
        if path.is_file() and path.name != "tenants.json":
            content = path.read_bytes()
            read += len(content)
            assert not pattern.search(content), f"{path} has a key"
    assert len(secrets) > 5
    assert read > 10_000
    items = stack.client("dynamodb").get_paginator("scan").paginate(TableName=stack.info["tables"]["TenantsTable"])
    assert not any(pattern.search(json.dumps(page["Items"]).encode()) for page in items)

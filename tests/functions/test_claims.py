"""The attribution that each operation reads, from its request to the row of the call."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.calls import attribution
from gateway.tenancy.caller import Caller
from gateway.tenancy.tenant import tenant_from_json
from gateway.usage.records import NOBODY, Attribution, KeyId, UsageRecord, UserSource
from scripts.dev.fake_models import FakeModels

from .conftest import context, event, register
from .test_invoke_model import rows, work_off
from .test_stream_model import CALLS, HAIKU, KEEPS, NOVA, ask

Load = Callable[[str], Any]
CONVERSE, INVOKE = f"/model/{HAIKU}/converse", f"/model/{HAIKU}/invoke"
STREAMS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CALLS["/v1/chat/completions"] | {"stream": True},
    "/v1/responses": CALLS["/v1/responses"] | {"stream": True},
    "/v1/messages": CALLS["/v1/messages"] | {"stream": True},
    f"/model/{HAIKU}/converse-stream": CALLS[CONVERSE],
    f"/model/{HAIKU}/invoke-with-response-stream": CALLS[INVOKE],
    "/stream_model": {"inputs": "hi"},
}
SURFACES = [*CALLS.items(), *STREAMS.items()]
TAGS = (("project", "apollo"), ("stage", "test"))
HEADERS = {"x_gateway_user": "bob", "x_gateway_tags": "project=apollo,stage=test"}
BOB = Attribution("bob", UserSource.CLAIMED, TAGS)
RESERVED: list[Attribution] = []
LABELS = {"project": "apollo", "stage": "test"}
# What each format has of its own: the path, what is added to its body and headers.
BODIES: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("/v1/chat/completions", {"user": "bob", "metadata": LABELS}, {}),
    ("/v1/chat/completions", {"safety_identifier": "bob", "metadata": LABELS}, {}),
    ("/v1/chat/completions", {"metadata": LABELS | {"user_id": "bob"}}, {}),
    ("/v1/responses", {"user": "bob", "metadata": LABELS}, {}),
    ("/v1/responses", {"safety_identifier": "bob", "metadata": LABELS}, {}),
    ("/v1/embeddings", {"user": "bob", "metadata": LABELS}, {}),
    ("/v1/embeddings", {"safety_identifier": "bob", "metadata": LABELS}, {}),
    ("/v1/messages", {"metadata": {"user_id": "bob"}}, {"x_gateway_tags": "project=apollo,stage=test"}),
    ("/v1/messages", {"metadata": {"user_id": "bob"}, "model": NOVA}, {"x_gateway_tags": "project=apollo,stage=test"}),
    (CONVERSE, {"requestMetadata": LABELS | {"user_id": "bob"}}, {}),
    (INVOKE, {}, {"x_amzn_bedrock_request_metadata": json.dumps(LABELS | {"user_id": "bob"})}),
    (INVOKE, {"metadata": {"user_id": "bob"}}, {"x_gateway_tags": "project=apollo,stage=test"}),
]


@pytest.fixture
def app(streaming: Any) -> Any:
    return streaming


@pytest.fixture(autouse=True)
def reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Note the attributions of the rows that the ledger is given."""
    real = DynamoLedger.reserve
    RESERVED.clear()

    def reserve(self: DynamoLedger, record: UsageRecord) -> None:
        RESERVED.append(record.attribution)
        real(self, record)

    monkeypatch.setattr(DynamoLedger, "reserve", reserve)


def told(path: str, app: Any, body: dict[str, Any], record: Any = None, **sent: Any) -> tuple[Attribution, str]:
    """The attribution of the call's row, and the warning of its answer."""
    query = f"model_id={HAIKU}" if path == "/stream_model" else ""
    status, content, headers = ask(app, path, body, record, query=query, **sent)
    assert status == 200, content
    (made,) = RESERVED
    return made, headers.get("x-gateway-warning", "")


@pytest.mark.parametrize(("path", "body"), SURFACES)
def test_every_operation_takes_the_headers(app: Any, path: str, body: dict[str, Any]) -> None:
    assert told(path, app, body, **HEADERS) == (BOB, "")


@pytest.mark.parametrize(("path", "more", "headers"), BODIES)
def test_every_format_has_claims_of_its_own(app: Any, path: str, more: dict[str, Any], headers: dict[str, str]) -> None:
    assert told(path, app, CALLS[path] | more, **headers)[0] == BOB


@pytest.mark.parametrize("source", ["token", "key"])
@pytest.mark.parametrize(("path", "more", "headers"), [*BODIES, *((path, {}, HEADERS) for path in CALLS)])
def test_a_forged_user_never_changes_the_row_of_a_token_or_of_an_owned_key(
    app: Any, source: str, path: str, more: dict[str, Any], headers: dict[str, str]
) -> None:
    known = {"user_id": "alice", "user_source": source}
    made, warning = told(path, app, CALLS[path] | more, known=known, **headers)
    assert made == Attribution("alice", UserSource(source), TAGS)
    assert "the claimed user was left out" in warning


@pytest.mark.parametrize(("path", "body"), SURFACES)
def test_what_does_not_fit_is_left_out_with_a_warning_and_the_call_goes_on(
    app: Any, path: str, body: dict[str, Any]
) -> None:
    sent = {"x_gateway_user": "no spaces", "x_gateway_tags": "project,tenant_id=rich,aws:x=1,stage=test"}
    made, warning = told(path, app, body, **sent)
    assert made == Attribution(tags=(("stage", "test"),))
    for name in ("x-gateway-user", "the tag project", "the tag tenant_id", "the tag aws:x"):
        assert name in warning


@pytest.mark.parametrize(("path", "body"), SURFACES)
def test_a_call_that_claims_nothing_is_nobodys(app: Any, path: str, body: dict[str, Any]) -> None:
    assert told(path, app, body) == (NOBODY, "")


@pytest.mark.parametrize("text", ["[1]", "{", "null", '{"project": {"a": 1}}', "[" * 9999, "\x80"])
def test_metadata_that_cannot_be_read_claims_nothing(app: Any, text: str) -> None:
    assert told(INVOKE, app, CALLS[INVOKE], x_amzn_bedrock_request_metadata=text)[0] == NOBODY


def test_the_session_of_a_coding_agent_is_no_part_of_its_user(app: Any) -> None:
    sent = json.dumps({"device_id": "a1b2", "account_uuid": "", "session_id": "d2e70091"})
    made, _ = told("/v1/messages", app, CALLS["/v1/messages"] | {"metadata": {"user_id": sent}})
    assert made == Attribution("a1b2", UserSource.CLAIMED)


# ------------------------------------------------------------------------------------------------------------ privacy
HASHES = {"attribution": {"users": "hash", "tags": "hash", "names_kept_days": 30}}


@pytest.mark.parametrize(("path", "more", "headers"), BODIES)
def test_a_tenant_that_keeps_hashes_has_no_clear_name_in_a_row_or_at_the_service(
    app: Any, models: FakeModels, path: str, more: dict[str, Any], headers: dict[str, str]
) -> None:
    made, _ = told(path, app, CALLS[path] | more, HASHES, **headers)
    assert made.user_source is UserSource.CLAIMED
    assert made.user_id.startswith("h_")
    assert all(value.startswith("h_") for _, value in made.tags)
    stored = str(boto3.client("dynamodb").scan(TableName="usage")["Items"])
    for said in (stored, json.dumps([served["request_metadata"] for served in models.ledger.after()])):
        assert "bob" not in said
        assert "apollo" not in said


def test_the_names_behind_hashes_are_kept_where_the_tenant_says_so(app: Any) -> None:
    made, _ = told(CONVERSE, app, CALLS[CONVERSE], HASHES, **HEADERS)
    items = boto3.client("dynamodb").scan(TableName="idempotency")["Items"]
    kept = {item["id"]["S"]: item["name"]["S"] for item in items if "name" in item}
    hashes = [made.user_id, *dict(made.tags).values()]
    assert kept == {f"name#acme#{one}": name for one, name in zip(hashes, ["bob", "apollo", "test"], strict=True)}


def test_a_tenant_that_keeps_nothing_has_nothing(app: Any, models: FakeModels) -> None:
    nothing = {"attribution": {"users": "none", "tags": "none"}}
    body = CALLS[CONVERSE] | {"requestMetadata": LABELS}
    assert told(CONVERSE, app, body, nothing, **HEADERS)[0] == NOBODY
    assert "apollo" not in str(models.ledger.after()[0]["request_metadata"])


def test_no_client_names_a_user_to_the_service(app: Any, models: FakeModels) -> None:
    told(CONVERSE, app, CALLS[CONVERSE] | {"requestMetadata": {"User_Id": "bob", "stage": "test"}})
    assert models.ledger.after()[0]["request_metadata"].get("User_Id") is None
    assert models.ledger.after()[0]["request_metadata"]["stage"] == "test"


# --------------------------------------------------------------------------------------------- bounds and idempotency
def test_users_beyond_the_limit_are_other_and_the_answer_says_so(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attribution, "MOST_DISTINCT", 2)
    warnings = [
        ask(app, CONVERSE, CALLS[CONVERSE], x_gateway_user=f"u{n}")[2].get("x-gateway-warning") for n in range(4)
    ]
    assert sorted(made.user_id for made in RESERVED) == ["other", "other", "u0", "u1"]
    assert [bool(warning) for warning in warnings] == [False, False, True, True]


def test_a_repeat_with_other_headers_is_the_same_request_and_is_charged_to_the_first(app: Any) -> None:
    first = ask(app, CONVERSE, CALLS[CONVERSE], KEEPS, idempotency_key="k", **HEADERS)
    again = ask(app, CONVERSE, CALLS[CONVERSE], KEEPS, idempotency_key="k", x_gateway_tags="project")
    assert (first[0], again[0], again[2]["idempotent-replayed"]) == (200, 200, "true")
    assert first[1] == again[1]
    assert "x-gateway-warning" not in first[2]
    assert "the tag project" in again[2]["x-gateway-warning"]
    assert RESERVED == [BOB]


# ------------------------------------------------------------------------------------------------------ /invoke_model
def invoke(app: Any, body: Any, **more: Any) -> dict[str, Any]:
    user = more.pop("verified", None)
    sent = event("/invoke_model", body, query={"model_id": HAIKU}, **more)
    sent["headers"] = {name.replace("_", "-"): text for name, text in sent["headers"].items()}
    known = sent["requestContext"]["authorizer"]
    if user:
        known |= {"user_id": "alice", "user_source": user}
    register(Caller(tenant_from_json(json.loads(known["tenant"])), KeyId(known["key_id"])))
    answer: dict[str, Any] = app.handler(sent, context(60))
    return answer


def test_a_synchronous_call_takes_the_headers(load: Load) -> None:
    assert invoke(load("invoke_model"), {"inputs": "hi"}, **HEADERS)["statusCode"] == 200
    assert RESERVED == [BOB]


@pytest.mark.parametrize("record", [{}, HASHES])
def test_the_attribution_of_a_submitted_call_goes_through_the_queue(load: Load, record: dict[str, Any]) -> None:
    answer = invoke(load("invoke_model"), {"inputs": "hi"}, streaming="true", record=record, **HEADERS)
    assert answer["statusCode"] == 200
    assert rows() == []
    work_off(load("complete_invocation"))
    (made,) = RESERVED
    assert made.user_source is UserSource.CLAIMED
    assert made == BOB or (record and made.user_id.startswith("h_") and dict(made.tags).keys() == LABELS.keys())


def test_a_submitted_call_of_an_owned_key_keeps_its_owner(load: Load) -> None:
    answer = invoke(load("invoke_model"), {"inputs": "hi"}, streaming="true", verified="key", **HEADERS)
    assert "the claimed user was left out" in answer["multiValueHeaders"]["x-gateway-warning"][0]
    work_off(load("complete_invocation"))
    assert [Attribution("alice", UserSource.KEY, TAGS)] == RESERVED


def test_a_call_with_an_idempotency_key_keeps_its_attribution(load: Load) -> None:
    app = load("invoke_model")
    for _ in range(2):
        answer = invoke(app, {"inputs": "hi"}, record=KEEPS, idempotency_key="k", **HEADERS)
        assert answer["statusCode"] == 200
    assert RESERVED == [BOB]


def test_a_message_of_an_earlier_release_is_its_callers(load: Load) -> None:
    invoke(load("invoke_model"), {"inputs": "hi"}, streaming="true", verified="key")
    worker, sqs = load("complete_invocation"), boto3.client("sqs")
    url = worker.settings().jobs_queue_url
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    old = {name: value for name, value in json.loads(message["Body"]).items() if name != "attribution"}
    worker.handler({"Records": [{"messageId": "1", "body": json.dumps(old)}]}, context(60))
    assert [Attribution("alice", UserSource.KEY)] == RESERVED


# ----------------------------------------------------------------------------------------------------------- projects
PROJECT = "arn:aws:bedrock:us-east-1:111122223333:project/x"
COUNTS = {
    f"/model/{HAIKU}/count-tokens": {"input": {"converse": CALLS[CONVERSE]}},
    "/v1/messages/count_tokens": {"model": HAIKU, "messages": [{"role": "user", "content": "hi"}]},
}


@pytest.mark.parametrize(("path", "body"), [*SURFACES, *COUNTS.items()])
@pytest.mark.parametrize("by_header", [True, False])
def test_no_client_names_a_project(
    app: Any, models: FakeModels, path: str, body: dict[str, Any], by_header: bool
) -> None:
    more = {} if by_header else {"projectIdentifier": PROJECT}
    headers: dict[str, Any] = {"x_amzn_bedrock_projectidentifier": PROJECT} if by_header else {}
    query = f"model_id={HAIKU}" if path == "/stream_model" else ""
    status, content, _ = ask(app, path, body | more, query=query, **headers)
    said = json.loads(content)
    assert (status, said["code"]) == (403, "reference_not_allowed")
    assert "Project" in said["message"] or "projectIdentifier" in said["message"]
    assert rows() == []
    assert models.ledger.after() == []


@pytest.mark.parametrize("streaming", ["true", "false"])
@pytest.mark.parametrize("by_header", [True, False])
def test_no_client_of_invoke_model_names_a_project(load: Load, streaming: str, by_header: bool) -> None:
    body = {"inputs": "hi"} | ({} if by_header else {"projectIdentifier": PROJECT})
    headers = {"X-Amzn-Bedrock-ProjectIdentifier": PROJECT} if by_header else {}
    answer = invoke(load("invoke_model"), body, streaming=streaming, **headers)
    assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (403, "reference_not_allowed")
    assert rows() == []

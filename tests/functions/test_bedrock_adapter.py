"""Bedrock over the wire: signed, tagged with the call's owner, streamed, and refused with Bedrock's own errors."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from gateway.aws import clients
from gateway.aws.dynamodb.circuits import Circuits
from gateway.aws.models.bedrock import BedrockCatalog, BedrockRuntime
from gateway.aws.models.credentials import Sessions
from gateway.aws.models.upstream_errors import broke
from gateway.calls.attempts import CircuitOpenError
from gateway.calls.call import ModelCall
from gateway.calls.catalog import Catalog
from gateway.calls.eventstream import encode, frames
from gateway.calls.model_routes import Circuit
from gateway.core.errors import GatewayError, RetryableError, UpstreamError
from gateway.formats.bedrock import EventStream, event_stream_error
from gateway.pricing.model_names import profile_id
from scripts.dev.fake_models import FakeModels

HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
TAGS = {"tenant_id": "acme", "cost_centre": "research", "request_id": "r1"}


def converse(text: str = "hi", api: str = "Converse", **more: Any) -> ModelCall:
    body = {"messages": [{"role": "user", "content": [{"text": text}]}]}
    return ModelCall(Catalog({}).find(HAIKU), "text", api, body, tags=TAGS, **more)


def test_a_call_is_signed_and_tagged(aws: None, models: FakeModels) -> None:
    answer = BedrockRuntime(60).call(converse())
    (served,) = models.ledger.after()
    assert (served["region"], served["request_metadata"]) == ("us-east-1", TAGS)
    assert json.loads(answer.content) == answer.body
    assert answer.usage.output_tokens == served["output_tokens"] > 0


def test_an_invoke_model_is_tagged_in_a_header(aws: None, models: FakeModels) -> None:
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    BedrockRuntime(60).call(ModelCall(Catalog({}).find(HAIKU), "text", "InvokeModel", body, tags=TAGS))
    assert models.ledger.after()[0]["request_metadata"] == TAGS


def test_a_clients_own_tags_stay_and_cannot_take_the_place_of_ours(aws: None, models: FakeModels) -> None:
    call = converse()
    call.body["requestMetadata"] = {"tenant_id": "somebody else", "project": "x"}
    BedrockRuntime(60).call(call)
    assert models.ledger.after()[0]["request_metadata"] == {"project": "x", **TAGS}


@pytest.mark.parametrize("api", ["Converse", "InvokeModel"])
def test_a_call_names_its_user_in_the_characters_that_bedrock_takes(aws: None, models: FakeModels, api: str) -> None:
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    call = replace(
        converse() if api == "Converse" else ModelCall(Catalog({}).find(HAIKU), "text", api, body),
        tags={**TAGS, "user_id": "auth0|äbc" + "x" * 300, "user_source": "claimed"},
    )
    BedrockRuntime(60).call(call)
    said = models.ledger.after()[0]["request_metadata"]
    assert said == {**TAGS, "user_id": ("auth0__bc" + "x" * 300)[:256], "user_source": "claimed"}


def test_a_client_cannot_say_that_its_user_is_verified(aws: None, models: FakeModels) -> None:
    call = converse()
    call.body["requestMetadata"] = {"user_id": "alice", "user_source": "token"}
    BedrockRuntime(60).call(call)
    assert models.ledger.after()[0]["request_metadata"] == {"user_id": "alice", **TAGS}


def test_an_arn_is_one_part_of_the_path(aws: None, models: FakeModels) -> None:
    arn = f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}"
    call = converse()
    named = Catalog({}).named(arn, lambda _: None)
    BedrockRuntime(60).call(ModelCall(named, "text", "Converse", call.body))
    assert models.ledger.after()[0]["model_id"] == arn


@pytest.mark.parametrize(
    ("directive", "status", "code", "kind"),
    [
        ("[[throttle]]", 429, "model_throttled", RetryableError),
        ("[[internal]]", 503, "model_unavailable", RetryableError),
        ("[[denied]]", 403, "model_access_denied", UpstreamError),
        ("[[notenabled]]", 403, "model_not_enabled", UpstreamError),
        ("[[noform]]", 403, "model_not_enabled", UpstreamError),
        ("[[notfound]]", 404, "model_not_found", UpstreamError),
        ("[[invalid]]", 400, "model_rejected_request", UpstreamError),
    ],
)
@pytest.mark.parametrize("api", ["Converse", "ConverseStream"])
def test_a_refusal_is_told_by_its_kind(
    aws: None, models: FakeModels, api: str, directive: str, status: int, code: str, kind: type[UpstreamError]
) -> None:
    runtime = BedrockRuntime(60)
    with pytest.raises(UpstreamError) as refused:
        runtime.open(converse(directive, api)) if api == "ConverseStream" else runtime.call(converse(directive, api))
    assert (refused.value.status, refused.value.code, refused.value.ran) == (status, code, False)
    assert type(refused.value) is kind


def test_frames_pass_as_they_came(aws: None, models: FakeModels) -> None:
    frames = list(BedrockRuntime(60).open(converse("[[chunks=3]]", "ConverseStream")).frames)
    kinds = [frame.kind for frame in frames]
    assert kinds == ["messageStart", *["contentBlockDelta"] * 3, "contentBlockStop", "messageStop", "metadata"]
    assert frames[-1].json["usage"]["outputTokens"] == models.ledger.after()[0]["output_tokens"]


def test_an_error_in_a_stream_keeps_its_frame(aws: None, models: FakeModels) -> None:
    frames = BedrockRuntime(60).open(converse("[[streamthrottle=2]]", "ConverseStream")).frames
    assert [next(frames).kind, next(frames).kind] == ["messageStart", "contentBlockDelta"]
    with pytest.raises(UpstreamError) as broke:
        next(frames)
    assert (broke.value.code, broke.value.ran) == ("model_throttled", True)
    assert b"throttlingException" in broke.value.raw


def test_a_cut_stream_is_told_from_one_that_ended(aws: None, models: FakeModels) -> None:
    frames = BedrockRuntime(60).open(converse("[[cut=2]]", "ConverseStream")).frames
    with pytest.raises(UpstreamError) as cut:
        list(frames)
    assert (cut.value.code, cut.value.ran) == ("model_error", True)


@contextmanager
def server(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """One connection, answered by hand."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            answer(connection)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    thread.join(5)
    listener.close()


def test_a_stream_can_be_ended_from_another_thread(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = threading.Event()

    def answer(connection: socket.socket) -> None:
        event = encode({":event-type": "messageStart", ":message-type": "event"}, b"{}")
        head = (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        connection.sendall(head + b"%x\r\n%b\r\n" % (len(event), event))
        waiting.wait(5)

    with server(answer) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", url)
        opened = BedrockRuntime(60).open(converse(api="ConverseStream"))
        assert next(opened.frames).kind == "messageStart"
        threading.Timer(0.05, opened.abort).start()
        with pytest.raises(UpstreamError) as cut:
            next(opened.frames)
        waiting.set()
    assert cut.value.ran


def test_a_service_that_is_not_there_ran_nothing(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://127.0.0.1:9")
    with pytest.raises(RetryableError) as gone:
        BedrockRuntime(60).call(converse())
    assert (gone.value.code, gone.value.ran) == ("model_unavailable", False)


def test_an_answer_that_never_comes_may_have_run(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    with server(lambda _: bool(done.wait(5))) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", url)
        with pytest.raises(RetryableError) as late:
            BedrockRuntime(11).call(converse())  # ten seconds of which are for settling
        done.set()
    assert (late.value.code, late.value.ran) == ("model_timeout", True)


# ------------------------------------------------------------------------------------------------------------ sessions
def test_each_tenant_and_cost_centre_has_a_session_of_its_own(aws: None) -> None:
    asked: list[dict[str, Any]] = []
    clients.client("sts").meta.events.register(
        "provide-client-params.sts.AssumeRole", lambda params, **_: asked.append(params)
    )
    sessions = Sessions("arn:aws:iam::123456789012:role/tenants")
    first = sessions.credentials(TAGS)
    assert sessions.credentials({**TAGS, "request_id": "r2"}) is first
    assert sessions.credentials({**TAGS, "cost_centre": "ops"}).access_key != first.access_key
    assert [request["Tags"] for request in asked] == [
        [{"Key": "tenant_id", "Value": "acme"}, {"Key": "cost_centre", "Value": centre}]
        for centre in ("research", "ops")
    ]
    assert first.token


@pytest.fixture
def asked() -> list[dict[str, Any]]:
    """The requests for sessions."""
    found: list[dict[str, Any]] = []
    clients.client("sts").meta.events.register(
        "provide-client-params.sts.AssumeRole", lambda params, **_: found.append(params), unique_id="asked"
    )
    return found


def test_a_verified_user_has_a_session_of_its_own_and_claimed_users_share_one(
    aws: None, asked: list[dict[str, Any]]
) -> None:
    """Else a client could make the gateway open a session for each call."""
    sessions = Sessions("arn:aws:iam::123456789012:role/tenants")
    for source in ("token", "key"):
        sessions.credentials({**TAGS, "user_id": "auth0|alice, B.", "user_source": source})
    users = [{tag["Key"]: tag["Value"] for tag in request["Tags"]}.get("user_id") for request in asked]
    assert users == ["auth0_alice_ B."]
    shared = {sessions.credentials({**TAGS, "user_id": f"u{n}", "user_source": "claimed"}) for n in range(50)}
    assert shared == {sessions.credentials(TAGS)}
    assert len(asked) == 2


def test_the_cached_sessions_are_bounded_and_the_oldest_gives_way(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.aws.models.credentials._MOST", 3)
    sessions = Sessions("arn:aws:iam::123456789012:role/tenants")
    for n in range(9):
        sessions.credentials({**TAGS, "user_id": f"u{n}", "user_source": "token"})
    assert [key[-1] for key in sessions._kept] == ["u6", "u7", "u8"]


def test_a_role_that_allows_only_the_tags_of_earlier_releases_is_assumed_without_the_user(
    aws: None, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = ClientError({"Error": {"Code": "AccessDenied", "Message": "sts:TagSession"}}, "AssumeRole")
    assume = clients.client("sts").assume_role

    def refusing(**request: Any) -> Any:
        if "user_id" in {tag["Key"] for tag in request["Tags"]}:
            raise refusal
        return assume(**request)

    monkeypatch.setattr(clients.client("sts"), "assume_role", refusing)
    sessions = Sessions("arn:aws:iam::123456789012:role/tenants")
    for name in ("alice", "bob", "carol"):
        assert sessions.credentials({**TAGS, "user_id": name, "user_source": "token"}).token
    assert len(asked) == 2  # that of the first call, and the one that all later calls share


def test_a_session_is_renewed_before_it_ends(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions("arn:aws:iam::123456789012:role/tenants")
    first = sessions.credentials(TAGS)
    (key,) = sessions._kept
    sessions._kept[key] = (datetime.now(UTC) + timedelta(minutes=4), first)
    assert sessions.credentials(TAGS).access_key != first.access_key


def test_without_a_role_for_tenants_the_functions_own_credentials_are_used(aws: None) -> None:
    assert Sessions().credentials(TAGS).access_key == boto3.Session().get_credentials().access_key


# ------------------------------------------------------------------------------------------------------------ circuits
def test_a_model_that_fails_again_and_again_is_left_alone_by_every_environment(aws: None) -> None:
    throttled = RetryableError("wait", code="model_throttled", status=429, error_type="ThrottlingException")
    circuit = Circuit(3, 60)
    for _ in range(3):
        with pytest.raises(RetryableError), Circuits("idempotency").guard("m1", circuit):
            raise throttled
    entered = Circuits("idempotency").guard("m1", circuit)  # another environment: nothing but the table is shared
    with pytest.raises(CircuitOpenError) as left_alone:
        entered.__enter__()
    assert (left_alone.value.status, left_alone.value.retry_after) == (503, 60)


def test_a_model_that_answers_again_is_called_by_every_environment_again(aws: None) -> None:
    throttled = RetryableError("wait", code="model_throttled", status=429, error_type="ThrottlingException")
    circuit = Circuit(1, 2)  # whole seconds: it stays open for more than one
    with pytest.raises(RetryableError), Circuits("idempotency").guard("m3", circuit):
        raise throttled
    with pytest.raises(CircuitOpenError), Circuits("idempotency").guard("m3", circuit):
        pass
    time.sleep(2.1)
    with pytest.raises(RetryableError), Circuits("idempotency").guard("m3", circuit):  # the one that tries
        raise throttled
    with pytest.raises(CircuitOpenError), Circuits("idempotency").guard("m3", circuit):
        pass
    time.sleep(2.1)
    for _ in range(2):
        with Circuits("idempotency").guard("m3", circuit):
            pass


def test_a_requests_own_fault_opens_no_circuit(aws: None) -> None:
    refused = UpstreamError("no", code="model_rejected_request", status=400, error_type="ValidationException")
    for _ in range(5):
        with pytest.raises(UpstreamError, match="no"), Circuits("idempotency").guard("m2", Circuit(2, 60)):
            raise refused


# ------------------------------------------------------------------------------------------------------------- catalog
def test_what_a_profile_leads_to_is_asked_once(aws: None, models: FakeModels) -> None:
    catalog, asked = BedrockCatalog(), []
    clients.client("bedrock").meta.events.register(
        "before-call.bedrock.GetInferenceProfile", lambda **_: asked.append(1)
    )
    profile = next(p for p in catalog.profiles() if p["inferenceProfileId"].startswith("us.anthropic."))
    for _ in range(2):
        assert catalog.behind(profile["inferenceProfileArn"]) == profile["inferenceProfileId"]
    assert len(asked) == 1
    assert catalog.behind("us.nobody.knows-it-v1:0") is None


@pytest.mark.parametrize(
    ("arns", "region", "expected"),
    [
        (["arn:aws:bedrock:us-east-1::foundation-model/a.b"], "us-east-1", "a.b"),
        (["arn:aws:bedrock:us-east-1::foundation-model/a.b", "arn:aws:bedrock:us-west-2::foundation-model/a.b"], "us-east-1", "us.a.b"),
        (["arn:aws:bedrock:eu-west-1::foundation-model/a.b", "arn:aws:bedrock:eu-west-3::foundation-model/a.b"], "eu-west-1", "eu.a.b"),
        (["arn:aws:bedrock:::foundation-model/a.b", "arn:aws:bedrock:us-west-2::foundation-model/a.b"], "us-east-1", "global.a.b"),
        (["arn:aws:bedrock:ap-northeast-1::foundation-model/a.b", "arn:aws:bedrock:ap-northeast-3::foundation-model/a.b"], "ap-northeast-1", None),
        ([], "us-east-1", None),
    ],
)  # fmt: skip
def test_a_profile_is_priced_by_the_geography_it_covers(arns: list[str], region: str, expected: str | None) -> None:
    assert profile_id(arns, region) == expected


@pytest.mark.parametrize(
    ("name", "model_id", "own"),
    [
        (HAIKU, HAIKU, False),
        (f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}", HAIKU, False),
        (f"arn:aws:bedrock:us-east-1:111122223333:inference-profile/us.{HAIKU}", f"us.{HAIKU}", False),
        ("arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/abc", f"us.{HAIKU}", True),
        ("arn:aws:bedrock:us-east-1:111122223333:provisioned-model/abc", "arn:aws:bedrock:us-east-1:111122223333:provisioned-model/abc", True),
    ],
)  # fmt: skip
def test_every_name_that_bedrock_takes_leads_to_a_price(name: str, model_id: str, own: bool) -> None:
    model = Catalog({}).named(name, lambda _: f"us.{HAIKU}")
    assert (model.id, model.target, model.own_arn) == (model_id, name, own)


@pytest.mark.parametrize("told", ["arn:aws:bedrock:us-east-1:123456789012:provisioned-model/x", "account 123456789012"])
def test_an_error_frame_that_names_an_account_does_not_go_on_as_it_came(told: str) -> None:
    headers = {":exception-type": "throttlingException", ":message-type": "exception"}
    raw = encode(headers, json.dumps({"message": f"Too many requests for {told}"}).encode())
    (frame,) = frames([raw])
    assert b"123456789012" not in event_stream_error(broke(frame, begun=True))


@pytest.mark.parametrize(
    ("api", "members"), [("ConverseStream", "ConverseStreamOutput"), ("Invoke…", "ResponseStream")]
)
def test_an_error_event_is_one_that_the_operation_has(aws: None, api: str, members: str) -> None:
    """boto3 raises any other without its name and without its words."""
    known = boto3.client("bedrock-runtime").meta.service_model.shape_for(members).members
    for status in (400, 401, 403, 404, 408, 409, 413, 415, 424, 429, 500, 502, 503):
        writer = EventStream(converses=api == "ConverseStream")
        (frame,) = frames([writer.error(GatewayError("no", code="bad_request", status=status))])
        assert frame.kind in known, status


def test_a_sign_of_life_of_an_event_stream_is_an_event_that_no_operation_has(aws: None) -> None:
    """Else clients would read it."""
    model = boto3.client("bedrock-runtime").meta.service_model
    (frame,) = frames([EventStream().ping])
    assert not frame.is_error
    for members in ("ConverseStreamOutput", "ResponseStream"):
        assert frame.kind not in model.shape_for(members).members


def test_a_profile_that_cannot_be_asked_for_now_is_no_model_without_a_price(
    aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = BedrockCatalog()

    def throttled(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "ThrottlingException"}, "ResponseMetadata": {"HTTPStatusCode": 429}}, "x")

    monkeypatch.setattr(catalog._bedrock, "get_inference_profile", throttled)
    with pytest.raises(RetryableError):
        catalog.behind("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc")


def test_a_late_try_is_given_up_while_its_row_can_be_settled(aws: None, models: FakeModels) -> None:
    """A retry begins late, and the function ends when it would have ended anyway."""
    call = replace(converse("[[delay=4]]"), until=datetime.now(UTC) + timedelta(seconds=11))
    with pytest.raises(UpstreamError) as refused:
        BedrockRuntime(900).call(call)
    assert (refused.value.code, refused.value.ran) == ("model_timeout", True)

"""boto3: bedrock-runtime with a bearer token over TLS, and with any signature plus a key over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config
from under_test import (
    ALIAS,
    CLAUDE,
    CLAUDE_ARN,
    COHERE_EMBED,
    LLAMA,
    NOVA,
    PNG,
    SCHEMA,
    TITAN_EMBED,
    Gateway,
)

WEATHER: Any = {"toolSpec": {"name": "weather", "description": "Of a city.", "inputSchema": {"json": SCHEMA}}}
NOVA_ARN = f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA}"
WAYS = ("bearer", "signed")


SESSION = boto3.session.Session()
MADE: dict[Any, Any] = {}  # by the way to authenticate, the tenant's key, the retries and the service


@dataclass
class Clients:
    """Clients of every kind, each made once; those with a bearer token read the environment at every call."""

    gateway: Gateway
    environment: pytest.MonkeyPatch

    def make(self, way: str = "signed", key: str = "", retries: int = 0, service: str = "bedrock-runtime") -> Any:
        asked = way, key or self.gateway.key, retries, service
        if way == "bearer":
            self.environment.setenv("AWS_BEARER_TOKEN_BEDROCK", asked[1])
            self.environment.setenv("AWS_CA_BUNDLE", self.gateway.ca)
            self.environment.setenv(f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}", self.gateway.tls_url)
        if asked not in MADE:
            MADE[asked] = (self._bearer if way == "bearer" else self._signed)(*asked[1:])
        return MADE[asked]

    def _bearer(self, _: str, retries: int, service: str) -> Any:
        return SESSION.client(service, region_name="us-east-1", config=retrying(retries))

    def _signed(self, key: str, retries: int, service: str) -> Any:
        client = SESSION.client(
            service,
            endpoint_url=self.gateway.url,
            region_name="us-east-1",
            aws_access_key_id="AKIAANYBODY000000000",
            aws_secret_access_key="any",
            config=retrying(retries),
        )

        def add_key(request: Any, **_: Any) -> None:
            del request.headers["x-api-key"]  # of the try before
            request.headers["x-api-key"] = key

        client.meta.events.register("before-sign", add_key)
        return client


def retrying(times: int) -> Config:
    return Config(retries={"total_max_attempts": times + 1, "mode": "standard"})


@pytest.fixture
def clients(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Clients:
    return Clients(gateway, monkeypatch)


@pytest.fixture(params=WAYS)
def client(clients: Clients, request: pytest.FixtureRequest) -> Any:
    return clients.make(request.param)


@pytest.fixture
def signed(clients: Clients) -> Any:
    return clients.make("signed")


def saying(text: str) -> Any:
    return [{"role": "user", "content": [{"text": text}]}]


def text_of(answer: Any) -> str:
    return "".join(block.get("text", "") for block in answer["output"]["message"]["content"])


def deltas(events: list[Any]) -> Iterator[Any]:
    return (event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event)


# ----------------------------------------------------------------------------------------------------------- Converse
@pytest.mark.parametrize("model", [CLAUDE, NOVA, LLAMA, ALIAS, CLAUDE_ARN, NOVA_ARN])
def test_converse_answers_and_streams_the_same(client: Any, gateway: Gateway, model: str) -> None:
    asked: Any = {"modelId": model, "messages": saying("[[chunks=6]] one"), "inferenceConfig": {"maxTokens": 100}}
    with gateway.asked():
        whole = client.converse(**asked)
    assert (whole["stopReason"], whole["ResponseMetadata"]["HTTPStatusCode"]) == ("end_turn", 200)
    assert whole["ResponseMetadata"]["RequestId"]
    with gateway.asked():
        events = list(client.converse_stream(**asked)["stream"])
    assert "".join(delta["text"] for delta in deltas(events)) == text_of(whole)
    assert next(iter(events[0])) == "messageStart"
    assert events[-1]["metadata"]["usage"] == whole["usage"]
    assert gateway.served()[-1]["request_metadata"].keys() == {"tenant_id", "cost_centre", "request_id"}


def test_converse_calls_tools(signed: Any) -> None:
    tools = {"tools": [WEATHER], "toolChoice": {"tool": {"name": "weather"}}}
    called = signed.converse(modelId=NOVA, messages=saying("weather?"), toolConfig=tools)
    use = called["output"]["message"]["content"][-1]["toolUse"]
    assert (called["stopReason"], use["name"], use["input"].keys()) == ("tool_use", "weather", {"city", "days"})
    result = {"toolResult": {"toolUseId": use["toolUseId"], "content": [{"json": {"sky": "clear"}}]}}
    talk = [*saying("weather?"), called["output"]["message"], {"role": "user", "content": [result]}]
    assert text_of(signed.converse(modelId=NOVA, messages=talk, toolConfig={"tools": [WEATHER]}))
    events = list(signed.converse_stream(modelId=CLAUDE, messages=saying("weather?"), toolConfig=tools)["stream"])
    said = "".join(delta["toolUse"]["input"] for delta in deltas(events) if "toolUse" in delta)
    assert json.loads(said).keys() == {"city", "days"}


def test_converse_takes_images_documents_and_caches(client: Any, gateway: Gateway) -> None:
    content = [
        {"text": f"boto3 {id(client)} stable " * 100},
        {"cachePoint": {"type": "default", "ttl": "1h"}},
        {"image": {"format": "png", "source": {"bytes": PNG}}},
        {"document": {"format": "txt", "name": "notes", "source": {"bytes": b"once " * 50}}},
        {"text": "What is this?"},
    ]
    asked: Any = {"modelId": CLAUDE, "messages": [{"role": "user", "content": content}]}
    written, read = client.converse(**asked)["usage"], client.converse(**asked)["usage"]
    assert written["cacheDetails"][0]["ttl"] == "1h"
    assert written["cacheWriteInputTokens"] == read["cacheReadInputTokens"] > 300
    assert written["inputTokens"] == read["inputTokens"] > 258
    assert gateway.served()[-1]["input_images"] == 1


def test_converse_thinks(signed: Any) -> None:
    asked: Any = {"modelId": CLAUDE, "messages": saying("[[reasoning=20]]")}
    thought = signed.converse(**asked)["output"]["message"]["content"][0]["reasoningContent"]["reasoningText"]
    events = list(signed.converse_stream(**asked)["stream"])
    told = [delta["reasoningContent"] for delta in deltas(events) if "reasoningContent" in delta]
    assert "".join(part.get("text", "") for part in told) == thought["text"]
    assert "".join(part.get("signature", "") for part in told) == thought["signature"]


def test_a_service_tier_is_echoed(signed: Any, gateway: Gateway) -> None:
    answer = signed.converse(modelId=NOVA, messages=saying("hello"), serviceTier={"type": "flex"})
    assert answer["serviceTier"] == {"type": "flex"}
    assert gateway.served()[-1]["service_tier"] == "flex"


# -------------------------------------------------------------------------------------------------------- InvokeModel
CLAUDES = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100}
BODIES: Any = [
    (CLAUDE, {**CLAUDES, "messages": [{"role": "user", "content": "[[chunks=4]]"}]}),
    (CLAUDE_ARN, {**CLAUDES, "messages": [{"role": "user", "content": "[[chunks=4]]"}]}),
    (ALIAS, {**CLAUDES, "messages": [{"role": "user", "content": "[[chunks=4]]"}]}),
    (NOVA, {"messages": saying("[[chunks=4]]"), "inferenceConfig": {"maxTokens": 100}}),
    (LLAMA, {"prompt": "[[chunks=4]]", "max_gen_len": 100}),
    ("mistral.mistral-7b-instruct-v0:2", {"prompt": "[[chunks=4]]", "max_tokens": 100}),
    ("amazon.titan-text-express-v1", {"inputText": "[[chunks=4]]", "textGenerationConfig": {"maxTokenCount": 100}}),
    ("cohere.command-text-v14", {"prompt": "[[chunks=4]]", "max_tokens": 100}),
]


@pytest.mark.parametrize(("model", "body"), BODIES)
def test_invoke_model_answers_and_streams(client: Any, gateway: Gateway, model: str, body: Any) -> None:
    with gateway.asked():
        answer = client.invoke_model(modelId=model, body=json.dumps(body))
    assert answer["contentType"] == "application/json"
    assert json.loads(answer["body"].read())
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    served = gateway.served()[-1]
    assert int(headers["x-amzn-bedrock-input-token-count"]) == served["input_tokens"] > 0
    assert int(headers["x-amzn-bedrock-output-token-count"]) == served["output_tokens"] > 0
    with gateway.asked():
        streamed = client.invoke_model_with_response_stream(modelId=model, body=json.dumps(body))
        chunks = [json.loads(event["chunk"]["bytes"]) for event in streamed["body"]]
    assert streamed["contentType"] == "application/json"
    assert len(chunks) >= 4
    assert chunks[-1]["amazon-bedrock-invocationMetrics"]["outputTokenCount"] == served["output_tokens"]


def test_invoke_model_embeds_and_paints(signed: Any, gateway: Gateway) -> None:
    made = json.loads(signed.invoke_model(modelId=TITAN_EMBED, body=json.dumps({"inputText": "one"}))["body"].read())
    assert len(made["embedding"]) == 1024
    body: Any = {"texts": ["one", "two"], "input_type": "search_document"}
    made = json.loads(signed.invoke_model(modelId=COHERE_EMBED, body=json.dumps(body))["body"].read())
    assert len(made["embeddings"]) == 2
    body = {
        "taskType": "TEXT_IMAGE", "textToImageParams": {"text": "a cat"},
        "imageGenerationConfig": {"numberOfImages": 2, "width": 512, "height": 512},
    }  # fmt: skip
    painted = signed.invoke_model(modelId="amazon.nova-canvas-v1:0", body=json.dumps(body))
    assert len(json.loads(painted["body"].read())["images"]) == gateway.served()[-1]["images"] == 2


@pytest.mark.parametrize("model", [CLAUDE, NOVA, CLAUDE_ARN])
def test_counting_tokens_is_free_and_right(client: Any, gateway: Gateway, model: str) -> None:
    asked: Any = {"messages": saying("hello"), "system": [{"text": "Be brief."}]}
    with gateway.asked(models=0):
        counted = client.count_tokens(modelId=model, input={"converse": asked})["inputTokens"]
    assert counted == client.converse(modelId=model, **asked)["usage"]["inputTokens"]
    body = {"messages": saying("hello"), "inferenceConfig": {"maxTokens": 10}}
    if model != NOVA:
        body = {**CLAUDES, "messages": [{"role": "user", "content": "hello"}]}
    with gateway.asked(models=0):
        counted = client.count_tokens(modelId=model, input={"invokeModel": {"body": json.dumps(body)}})["inputTokens"]
    assert counted == 2


# ------------------------------------------------------------------------------------------------------ the bedrock API
@pytest.mark.parametrize("way", WAYS)
def test_models_and_profiles_are_those_that_the_tenant_may_use(clients: Clients, gateway: Gateway, way: str) -> None:
    everyone = clients.make(way, service="bedrock")
    assert {CLAUDE.removeprefix("us."), NOVA} <= names(everyone.list_foundation_models())
    profiles = everyone.list_inference_profiles()["inferenceProfileSummaries"]
    assert CLAUDE in {profile["inferenceProfileId"] for profile in profiles}
    assert all(isinstance(profile["createdAt"], datetime) for profile in profiles)
    narrow = clients.make(way, gateway.narrow_key, service="bedrock")
    assert names(narrow.list_foundation_models()) == {NOVA}
    assert narrow.list_inference_profiles()["inferenceProfileSummaries"] == []


def names(answer: Any) -> set[str]:
    return {model["modelId"] for model in answer["modelSummaries"]}


# ------------------------------------------------------------------------------------------------------------- errors
def refused(gateway: Gateway, client: Any, kind: str, text: str = "hello", models: int = 0, **more: Any) -> Any:
    """The response of the typed exception that each operation raises, after one request with so many calls to models."""
    converse: Any = {"modelId": CLAUDE, "messages": saying(text)} | more
    claude = {**CLAUDES, "messages": [{"role": "user", "content": text}]}
    invoke: Any = {"modelId": CLAUDE, "body": json.dumps(claude)}
    for operation, asked in (
        (client.converse, converse),
        (client.converse_stream, converse),
        (client.invoke_model, invoke),
        (client.invoke_model_with_response_stream, invoke),
    ):
        with gateway.asked(models=models), pytest.raises(getattr(client.exceptions, kind)) as raised:
            operation(**asked)
        response: Any = raised.value.response
        assert response["Error"]["Code"] == kind
        assert response["Error"]["Message"]
    return response


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [
        ("invalid", "ValidationException", 400),
        ("denied", "AccessDeniedException", 403),
        ("notenabled", "AccessDeniedException", 403),
        ("noform", "AccessDeniedException", 403),
        ("notfound", "ResourceNotFoundException", 404),
        ("timeout", "ModelTimeoutException", 408),
        ("modelerror", "ModelErrorException", 424),
        ("throttle", "ThrottlingException", 429),
        ("notready", "ModelNotReadyException", 429),
        ("quota", "ServiceQuotaExceededException", 400),
        ("internal", "InternalServerException", 500),
        ("unavailable", "ServiceUnavailableException", 503),
    ],
)
def test_a_models_refusal_is_raised_as_bedrock_would(
    clients: Clients, gateway: Gateway, way: str, fault: str, kind: str, status: int
) -> None:
    response = refused(gateway, clients.make(way), kind, f"[[{fault}]]", 1)
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status
    if fault == "throttle":
        assert int(response["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) >= 1


@pytest.mark.parametrize("way", WAYS)
def test_401_for_a_wrong_key(clients: Clients, gateway: Gateway, way: str) -> None:
    response = refused(gateway, clients.make(way, "mgw_wrong"), "AccessDeniedException")
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 401


@pytest.mark.parametrize("way", WAYS)
def test_403_for_a_model_that_is_not_allowed(clients: Clients, gateway: Gateway, way: str) -> None:
    narrow = clients.make(way, gateway.narrow_key)
    assert narrow.converse(modelId=NOVA, messages=saying("hello"))
    response = refused(gateway, narrow, "AccessDeniedException")
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 403


@pytest.mark.parametrize("way", WAYS)
def test_429_for_a_spent_budget(clients: Clients, gateway: Gateway, way: str) -> None:
    """No header keeps AWS's SDKs from trying a 429 again, as one does those of others. It reaches no model."""
    response = refused(gateway, clients.make(way, gateway.poor_key), "ThrottlingException")
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert "budget" in response["Error"]["Message"].lower()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("streamerror=4", "modelStreamErrorException"), ("streamthrottle=4", "throttlingException"), ("cut=4", "modelStreamErrorException")],
)  # fmt: skip
def test_a_stream_that_breaks_raises(client: Any, gateway: Gateway, fault: str, kind: str) -> None:
    text = f"[[chunks=9]] [[{fault}]]"
    claude = {**CLAUDES, "messages": [{"role": "user", "content": text}]}
    streams: Any = (
        lambda: client.converse_stream(modelId=NOVA, messages=saying(text))["stream"],
        lambda: client.invoke_model_with_response_stream(modelId=CLAUDE, body=json.dumps(claude))["body"],
    )
    for open_stream in streams:
        said: list[Any] = []
        with gateway.asked(), pytest.raises(botocore.exceptions.EventStreamError) as raised:
            said.extend(open_stream())
        assert len(said) == 4
        assert raised.value.response["Error"]["Code"] == kind


@pytest.mark.parametrize("way", WAYS)
def test_the_sdks_own_retry_gets_through_a_throttle(clients: Clients, gateway: Gateway, way: str) -> None:
    with gateway.asked(requests=2, models=2):
        answer = clients.make(way, retries=2).converse(modelId=NOVA, messages=saying(f"[[throttle_times=1:{uuid4()}]]"))
    assert text_of(answer)
    assert answer["ResponseMetadata"]["RetryAttempts"] == 1


def test_a_client_that_leaves_is_billed_for_the_whole_answer(signed: Any, gateway: Gateway) -> None:
    with gateway.asked():
        stream = signed.converse_stream(modelId=NOVA, messages=saying("[[chunks=20]] [[chunk_delay=0.01]]"))["stream"]
        next(iter(stream))
        stream.close()
    assert gateway.served()[-1]["completed"]

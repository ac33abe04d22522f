"""The function that serves every SDK's format, called as its server calls it."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from scripts.dev.fake_models import FakeModels

from .test_invoke_model import rows

FOLDER = Path(__file__).parents[2] / "functions/stream_model"
HAIKU, NOVA = "anthropic.claude-3-haiku-20240307-v1:0", "amazon.nova-lite-v1:0"
TRACE = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1"
SAID = [{"role": "user", "content": "hi"}]
CALLS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": HAIKU, "messages": SAID},
    "/v1/responses": {"model": HAIKU, "input": "hi"},
    "/v1/embeddings": {"model": "amazon.titan-embed-text-v2:0", "input": "hi"},
    "/v1/messages": {"model": HAIKU, "messages": SAID, "max_tokens": 9},
    f"/model/{HAIKU}/converse": {"messages": [{"role": "user", "content": [{"text": "hi"}]}]},
    f"/model/{HAIKU}/invoke": {"anthropic_version": "bedrock-2023-05-31", "messages": SAID, "max_tokens": 9},
}


@pytest.fixture
def app(streaming: Any) -> Any:
    return streaming


def ask(
    app: Any, path: str, body: Any, record: dict[str, Any] | None = None, *, method: str = "POST", query: str = "",
    known: Any = None, **headers: Any,
) -> tuple[int, bytes, dict[str, str]]:  # fmt: skip
    """Status, body and headers of one request of the tenant acme; `record` adds to its record. Bytes go as they are.

    `known` is what the authorizer knows of the caller besides.
    """
    tenant = {"tenant_id": "acme", "cost_centres": ["research"], **(record or {})}
    context = {
        "requestId": str(uuid.uuid4()),
        "authorizer": {"tenant_id": "acme", "key_id": "key_1", "tenant": json.dumps(tenant), **(known or {})},
    }
    said = {
        "x-amzn-request-context": json.dumps(context),
        "x-amzn-lambda-context": json.dumps({"deadline": (time.time() + 60) * 1000, "xray_trace_id": TRACE}),
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
        "headers": [(name.encode(), text.encode()) for name, text in said.items()],
    }  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body if isinstance(body, bytes) else json.dumps(body).encode()}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    start, *parts = sent
    return (
        start["status"],
        b"".join(part.get("body", b"") for part in parts),
        {name.decode(): text.decode() for name, text in start["headers"]},
    )


KEEPS = {"idempotency_seconds": 600}


@pytest.mark.parametrize("path", CALLS)
def test_a_repeat_is_answered_the_same_and_charged_once(app: Any, models: FakeModels, path: str) -> None:
    key = str(uuid.uuid4())
    first = ask(app, path, CALLS[path], KEEPS, idempotency_key=key)
    again = ask(app, path, CALLS[path], KEEPS, idempotency_key=key)
    assert first[0] == again[0] == 200
    assert first[1] == again[1]
    assert "idempotent-replayed" not in first[2]
    assert again[2]["idempotent-replayed"] == "true"
    assert len(models.ledger.after()) == len(rows()) == 1


def test_a_repeat_of_an_answer_that_took_long_is_the_answer_alone(app: Any, models: FakeModels) -> None:
    app._patience = 0.05
    key, said = str(uuid.uuid4()), [{"role": "user", "content": "[[delay=0.3]] hi"}]
    first, again = (
        ask(app, "/v1/chat/completions", {"model": HAIKU, "messages": said}, KEEPS, idempotency_key=key)
        for _ in range(2)
    )
    assert first[0] == again[0] == 200
    assert first[1].startswith(b"  ")
    assert again[1] == first[1].lstrip(b" ")
    assert (again[2]["idempotent-replayed"], again[2]["content-length"]) == ("true", str(len(again[1])))
    assert len(models.ledger.after()) == 1


@pytest.mark.parametrize("path", CALLS)
def test_a_key_belongs_to_one_request(app: Any, models: FakeModels, path: str) -> None:
    key = str(uuid.uuid4())
    ask(app, path, CALLS[path], KEEPS, idempotency_key=key)
    system = [{"text": "x"}] if path.endswith("/converse") else "x"
    status, body, _ = ask(app, path, CALLS[path] | {"model": HAIKU, "system": system}, KEEPS, idempotency_key=key)
    if path in ("/v1/messages", f"/model/{HAIKU}/converse", f"/model/{HAIKU}/invoke"):
        assert (status, json.loads(body)["code"]) == (409, "idempotency_key_reused")
    else:  # the body is refused before its key is looked at
        assert status == 400
    assert len(models.ledger.after()) == 1


def test_a_failed_call_gives_its_key_back(app: Any, models: FakeModels) -> None:
    key = str(uuid.uuid4())
    body = {"model": HAIKU, "messages": [{"role": "user", "content": f"[[throttle_times=1:{key}]] hi"}]}
    assert ask(app, "/v1/chat/completions", body, KEEPS, idempotency_key=key)[0] == 429
    assert ask(app, "/v1/chat/completions", body, KEEPS, idempotency_key=key)[0] == 200


@pytest.mark.parametrize("record", [{}, KEEPS])
def test_a_key_is_never_ignored(app: Any, models: FakeModels, record: dict[str, Any]) -> None:
    """A client that sends a key relies on safe retries."""
    stream = CALLS["/v1/chat/completions"] | {"stream": True}
    status, body, _ = ask(app, "/v1/chat/completions", stream, record, idempotency_key="k")
    assert (status, json.loads(body)["code"]) == (400, "idempotency_not_for_streams")
    if not record:
        status, body, _ = ask(app, "/v1/chat/completions", CALLS["/v1/chat/completions"], record, idempotency_key="k")
        assert (status, json.loads(body)["code"]) == (400, "idempotency_not_enabled")
    assert models.ledger.after() == []


def test_counting_tokens_never_runs_an_endpoint(app: Any, models: FakeModels) -> None:
    """Counting is free and has no row: what would run a model is no counting."""
    status, body, _ = ask(app, "/v1/messages/count_tokens", {"model": "our-llama", "messages": SAID})
    assert (status, json.loads(body)["code"]) == (400, "invalid_model_id")
    assert models.ledger.after() == []


@pytest.mark.parametrize("name", ["tool_config", "toolConfig"])
def test_the_old_stream_calls_no_tools_and_says_where_they_are_called(app: Any, models: FakeModels, name: str) -> None:
    body = {"inputs": "hi", name: {"tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": {"type": "object"}}}}]}}
    status, sent, _ = ask(app, "/stream_model", body, query=f"model_id={NOVA}")
    assert (status, json.loads(sent)["code"]) == (400, "unsupported_field")
    assert models.ledger.after() == []


NOT_OURS = [{"document": {"format": "pdf", "name": "d", "source": {"s3Location": {"uri": "s3://others/a.pdf"}}}}]


@pytest.mark.parametrize("operation", ["converse", "converse-stream", "invoke", "count-tokens"])
def test_a_bucket_that_is_not_the_tenants_is_read_by_no_call(app: Any, models: FakeModels, operation: str) -> None:
    """The gateway's own role would read it. Neither a row nor a hold is left behind."""
    body: Any = {"messages": [{"role": "user", "content": [{"text": "read"}, *NOT_OURS]}]}
    body = {"input": {"converse": body}} if operation == "count-tokens" else body
    status, sent, _ = ask(app, f"/model/{NOVA}/{operation}", body)
    assert (status, json.loads(sent)["code"]) == (403, "s3_location_not_allowed")
    assert (models.ledger.after(), rows()) == ([], [])


@pytest.mark.parametrize(
    ("path", "header"),
    [
        ("/v1/messages", {"anthropic_beta": "output-128k-2025-02-19"}),
        (f"/model/{HAIKU}/invoke", {"x_amzn_bedrock_trace": "ENABLED"}),
        (f"/model/{HAIKU}/invoke", {"x_amzn_bedrock_guardrailidentifier": "gr1"}),
    ],
)
def test_a_header_that_changes_the_answer_makes_another_request(
    app: Any, models: FakeModels, path: str, header: dict[str, Any]
) -> None:
    key = str(uuid.uuid4())
    assert ask(app, path, CALLS[path], KEEPS, idempotency_key=key)[0] == 200
    status, body, _ = ask(app, path, CALLS[path], KEEPS, idempotency_key=key, **header)
    assert (status, json.loads(body)["code"]) == (409, "idempotency_key_reused")


def test_a_repeat_of_many_embeddings_is_charged_once(app: Any, models: FakeModels) -> None:
    body, key = CALLS["/v1/embeddings"] | {"input": ["one", "two", "three"]}, str(uuid.uuid4())
    first = ask(app, "/v1/embeddings", body, KEEPS, idempotency_key=key)
    again = ask(app, "/v1/embeddings", body, KEEPS, idempotency_key=key)
    assert (first[0], again[0], again[2].get("idempotent-replayed")) == (200, 200, "true")
    assert first[1] == again[1]
    assert len(models.ledger.after()) == len(rows()) == 3


def test_tags_that_are_no_object_are_refused_before_anything_is_reserved(app: Any, models: FakeModels) -> None:
    path = f"/model/{HAIKU}/converse"
    status, body, _ = ask(app, path, CALLS[path] | {"requestMetadata": ["tenant_id"]})
    assert (status, json.loads(body)["code"]) == (400, "invalid_body")
    assert rows() == []


@pytest.mark.parametrize(
    ("model", "body", "operation"),
    [
        ("amazon.titan-embed-text-v2:0", {"inputText": "hi"}, "embeddings"),
        ("amazon.titan-image-generator-v2:0", {"taskType": "TEXT_IMAGE", "textToImageParams": {"text": "a"}}, "image"),
    ],
)
def test_whoever_may_make_only_these_calls_may_make_them_by_invoke(
    app: Any, models: FakeModels, model: str, body: Any, operation: str
) -> None:
    path = f"/model/{model}/invoke"
    assert ask(app, path, body, {"allowed_operations": [operation]})[0] == 200
    assert ask(app, path, body, {"allowed_operations": ["text"]})[0] == 403


def test_an_answer_that_could_not_be_metered_is_not_asked_for(app: Any, models: FakeModels) -> None:
    path = f"/model/{HAIKU}/invoke"
    status, body, _ = ask(app, path, CALLS[path], accept="image/png")
    assert (status, json.loads(body)["code"]) == (400, "invalid_accept")
    assert models.ledger.after() == []
    assert ask(app, path, CALLS[path], accept="*/*")[0] == 200

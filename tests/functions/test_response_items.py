"""Earlier /v1/responses items can be referenced by their own tenant, for a time, and only if they may be stored."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from gateway.aws.s3 import payloads
from scripts.dev.fake_models import FakeModels

from .test_stream_model import HAIKU, KEEPS, ask

FIRST = {"model": HAIKU, "input": "hi"}


@pytest.fixture
def app(streaming: Any) -> Any:
    return streaming


def answered(app: Any, body: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The response to a request, which may be a stream."""
    status, sent, _ = ask(app, "/v1/responses", body, **more)
    assert status == 200
    if not body.get("stream"):
        response: dict[str, Any] = json.loads(sent)
        return response
    events = [json.loads(part.partition("data: ")[2]) for part in sent.decode().split("\n\n") if "data: " in part]
    last: dict[str, Any] = events[-1]["response"]
    return last


def referring(app: Any, item: str, record: dict[str, Any] | None = None) -> tuple[int, Any]:
    items = [
        {"role": "user", "content": "hi"},
        {"type": "item_reference", "id": item},
        {"role": "user", "content": "?"},
    ]
    status, sent, _ = ask(app, "/v1/responses", {"model": HAIKU, "input": items}, record)
    return status, json.loads(sent)


@pytest.mark.parametrize("stream", [False, True])
def test_the_next_request_may_refer_to_an_answer(app: Any, models: FakeModels, stream: bool) -> None:
    first = answered(app, {**FIRST, "stream": stream})
    assert first["store"] is True
    (message,) = first["output"]
    assert referring(app, message["id"])[0] == 200
    said = [{"role": "user", "content": "hi"}, message, {"role": "user", "content": "?"}]
    assert ask(app, "/v1/responses", {"model": HAIKU, "input": said})[0] == 200
    by_reference, whole = models.ledger.after()[-2:]
    assert by_reference["input_tokens"] == whole["input_tokens"]


def test_an_answer_that_is_sent_again_may_be_referred_to(app: Any) -> None:
    ids = [answered(app, FIRST, record=KEEPS, idempotency_key="k")["output"][0]["id"] for _ in range(2)]
    assert ids[0] == ids[1]
    assert referring(app, ids[0])[0] == 200


def test_no_other_tenant_finds_it(app: Any) -> None:
    item = answered(app, FIRST)["output"][0]["id"]
    status, body = referring(app, item, {"tenant_id": "mallory"})
    assert (status, body["error"]["code"], body["error"]["param"]) == (404, "item_not_found", "input")
    assert item in body["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_is_kept_where_store_is_false(app: Any, stream: bool) -> None:
    first = answered(app, {**FIRST, "store": False, "stream": stream})
    assert first["store"] is False
    assert boto3.client("dynamodb").scan(TableName="idempotency")["Items"] == []
    assert referring(app, first["output"][0]["id"])[0] == 404


THINKS = "us.anthropic.claude-haiku-4-5-20251001-v1:0"


@pytest.mark.parametrize("stream", [False, True])
def test_a_gateway_that_keeps_no_items_says_so_and_answers_them_whole(
    load: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setenv("RESPONSE_ITEM_SECONDS", "0")
    app = load("stream_model").app
    asked = {"role": "user", "content": "[[reasoning]] hi"}
    body = {"model": THINKS, "input": [asked], "reasoning": {"effort": "low"}, "store": True, "stream": stream}
    first = answered(app, body)
    assert first["store"] is False
    assert boto3.client("dynamodb").scan(TableName="idempotency")["Items"] == []
    thought, message = first["output"]
    assert referring(app, message["id"])[0] == 404
    assert thought["encrypted_content"].startswith("signature:")
    assert answered(app, {**body, "input": [asked, thought, message, {"role": "user", "content": "?"}]})["output"]


def test_what_was_asked_is_not_kept(app: Any) -> None:
    answered(app, {**FIRST, "instructions": "secret instructions", "input": "[[reply=fine]] a secret question"})
    (kept,) = boto3.client("dynamodb").scan(TableName="idempotency")["Items"]
    assert "secret" not in json.dumps(kept)
    assert "acme" not in json.dumps(kept)


def test_it_is_forgotten_in_time(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    item = answered(app, FIRST)["output"][0]["id"]
    (kept,) = boto3.client("dynamodb").scan(TableName="idempotency")["Items"]
    assert 86_000 < int(kept["expires_at"]["N"]) - time.time() <= 86_400
    later = time.time() + 86_401
    monkeypatch.setattr("gateway.aws.dynamodb.response_items.time.time", lambda: later)
    assert referring(app, item)[0] == 404


def test_a_large_answer_is_kept_too(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "INLINE_BYTES", 10)
    item = answered(app, FIRST)["output"][0]["id"]
    assert len(boto3.client("s3").list_objects_v2(Bucket="payloads")["Contents"]) == 1
    assert referring(app, item)[0] == 200


def test_an_answer_that_cannot_be_kept_is_sent_all_the_same(app: Any) -> None:
    boto3.client("dynamodb").delete_table(TableName="idempotency")
    assert answered(app, FIRST)["output"]


def test_several_answers_may_be_referred_to(app: Any) -> None:
    named = [answered(app, FIRST)["output"][0]["id"] for _ in range(3)]
    items = [
        part for name in named for part in ({"role": "user", "content": "hi"}, {"type": "item_reference", "id": name})
    ]
    assert ask(app, "/v1/responses", {"model": HAIKU, "input": [*items, {"role": "user", "content": "?"}]})[0] == 200

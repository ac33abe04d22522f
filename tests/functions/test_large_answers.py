"""An answer too large for a Lambda function is not lost: its client is redirected to a stored copy."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from gateway.tenancy.caller import Caller
from gateway.tenancy.tenant import tenant_from_json
from gateway.usage.records import KeyId
from scripts.dev.fake_models import FakeModels

from .conftest import context, event, register
from .test_invoke_model import rows

MODEL = {"model_id": "amazon.titan-image-generator-v1"}
PICTURES = {"textToImageParams": {"text": "a turtle"}, "parameters": {"imageGenerationConfig": {"numberOfImages": 3, "width": 512, "height": 512}}}  # fmt: skip
LIMIT = 100  # bytes: a picture of the stand-in is small


@pytest.fixture
def app(load: Callable[[str], Any]) -> Any:
    module = load("invoke_model")
    module.LARGEST_ANSWER = LIMIT
    return module


def shared(answer: dict[str, Any]) -> Any:
    """The object at the response's URL, which is signed, expires, and names the gateway's bucket."""
    (told,) = json.loads(answer["body"])
    (url,) = answer["multiValueHeaders"]["location"]
    assert (answer["statusCode"], told["answer_url"]) == (303, url)
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url
    assert "X-Amz-Expires=900" in url
    assert set(told) == {"request_id", "answer_url", "answer_bytes"}
    key = url.partition("?")[0].partition("/answers/")[2]
    content = boto3.client("s3").get_object(Bucket="payloads", Key=f"answers/{key}")["Body"].read()
    assert len(content) == told["answer_bytes"]
    return json.loads(content)


def test_an_answer_above_six_megabytes_is_charged_once_and_kept(app: Any, models: FakeModels) -> None:
    answer = app.handler(event("/invoke_model", PICTURES, query=MODEL, type="image"), context())
    (whole,) = shared(answer)
    assert len(whole["images"]) == 3
    (row,) = rows()
    assert row.usage.images == 3


def test_a_repeat_is_sent_to_it_as_well(app: Any, models: FakeModels) -> None:
    headers: dict[str, Any] = {"idempotency-key": "k", "type": "image"}

    def ask() -> Any:
        asked = event("/invoke_model", PICTURES, query=MODEL, record={"idempotency_seconds": 600}, **headers)
        return shared(app.handler(asked, context()))

    first, again = ask(), ask()
    assert first == again
    assert len(rows()) == 1


def test_a_poll_is_sent_to_it_as_well(app: Any, load: Callable[[str], Any], models: FakeModels) -> None:
    register(Caller(tenant_from_json({"tenant_id": "acme", "cost_centres": ["research"]}), KeyId("key_acme")))
    submitted = app.handler(event("/invoke_model", PICTURES, query=MODEL, type="image", streaming="true"), context())
    name = json.loads(submitted["body"])[0]["request_id"]
    queue = boto3.client("sqs")
    url = queue.get_queue_url(QueueName="jobs")["QueueUrl"]
    (message,) = queue.receive_message(QueueUrl=url)["Messages"]
    record = {"messageId": str(uuid.uuid4()), "body": message["Body"]}
    assert load("complete_invocation").handler({"Records": [record]}, context()) == {"batchItemFailures": []}
    for _ in range(2):
        (whole,) = shared(app.handler(event("/invoke_model", {}, query={"requestId": name}), context()))
        assert len(whole["images"]) == 3


def test_an_answer_that_fits_is_what_it_was(load: Callable[[str], Any], models: FakeModels) -> None:
    module = load("invoke_model")
    answer = module.handler(event("/invoke_model", PICTURES, query=MODEL, type="image"), context())
    assert answer["statusCode"] == 200
    assert "location" not in answer["multiValueHeaders"]
    assert module.LARGEST_ANSWER < 6_291_556 - 100_000  # Lambda's limit, with the headers and what is around


def test_an_answer_counts_as_it_is_sent_a_string_in_json(load: Callable[[str], Any], models: FakeModels) -> None:
    module = load("invoke_model")

    def ask() -> Any:
        return module.handler(event("/invoke_model", PICTURES, query=MODEL, type="image"), context())

    text = ask()["body"]
    for largest, status in ((len(text) + 1, 303), (len(json.dumps(text)) + 1, 200)):
        module.LARGEST_ANSWER = largest
        assert ask()["statusCode"] == status

"""Calls that no other test makes, so that every grant of a function's role is used: see tests/recorded.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import pytest

from gateway.aws.s3 import price_overlay
from gateway.core.settings import settings
from gateway.pricing.price_csv import COLUMNS
from scripts.dev.fake_models import FakeModels

from .conftest import context, event
from .test_invoke_model import call, work_off
from .test_stream_model import ask

FOLDER = Path(__file__).parents[2] / "functions/stream_model"
ACCOUNT = "arn:aws:bedrock:us-east-1:123456789012"
HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
KINDS = (
    "application-inference-profile",
    "provisioned-model",
    "custom-model-deployment",
    "imported-model",
    "custom-model",
)
MODELS = [
    HAIKU,
    f"us.{HAIKU}",
    f"global.{HAIKU}",
    *(f"{ACCOUNT}:{kind}/abc123def456" for kind in KINDS),
]
Load = Callable[[str], Any]
SAID = [{"role": "user", "content": [{"text": "hi"}]}]
HARD = {"budget": {"monthly_usd": "0.000001"}}
NOVA = "amazon.nova-lite-v1:0"
LISTED = {"allowed_models": ["*"], "allowed_model_arns": ["arn:*"]}
KEEPS = {"idempotency_seconds": 600}


@pytest.fixture
def app(streaming: Any) -> Any:
    return streaming


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("way", ["converse", "converse-stream", "count-tokens"])
def test_a_model_of_every_kind_is_called_by_its_own_name(app: Any, models: FakeModels, model: str, way: str) -> None:
    said: dict[str, Any] = {"messages": SAID}
    body = {"input": {"converse": said}} if way == "count-tokens" else said
    assert ask(app, f"/model/{quote(model, safe='')}/{way}", body, LISTED)[0] == 200


def test_a_submitted_call_reaches_a_model_of_every_kind(load: Load, models: FakeModels) -> None:
    for name in (f"us.{HAIKU}", f"global.{HAIKU}", "our-llama"):
        assert call(load("invoke_model"), {"inputs": "hi"}, name, streaming="true")[0] == 200
    for kind in KINDS:
        query = {"model_arn": f"{ACCOUNT}:{kind}/abc123def456"}
        asked: dict[str, Any] = {"record": LISTED, "query": query}
        assert call(load("invoke_model"), {"inputs": "hi"}, HAIKU, **asked)[0] == 200
        assert call(load("invoke_model"), {"inputs": "hi"}, HAIKU, streaming="true", **asked)[0] == 200
    assert call(load("invoke_model"), {"inputs": "hi"}, f"global.{HAIKU}")[0] == 200
    while (
        boto3.client("sqs").get_queue_attributes(
            QueueUrl=load("invoke_model").settings().jobs_queue_url, AttributeNames=["ApproximateNumberOfMessages"]
        )["Attributes"]["ApproximateNumberOfMessages"]
        != "0"
    ):
        assert work_off(load("complete_invocation"))["batchItemFailures"] == []


def test_a_guardrail_is_applied_with_the_call(app: Any, models: FakeModels, load: Load) -> None:
    ours = {"guardrail": {"id": "gr1", "version": "3"}}
    assert call(load("invoke_model"), {"inputs": "hi"}, HAIKU, streaming="true", record=ours)[0] == 200
    assert work_off(load("complete_invocation"))["batchItemFailures"] == []
    guardrail = {"guardrailIdentifier": "gr123", "guardrailVersion": "1"}
    assert ask(app, f"/model/{HAIKU}/converse", {"messages": SAID, "guardrailConfig": guardrail})[0] == 200


@pytest.mark.parametrize("stream", [False, True])
def test_an_endpoint_answers_whole_and_in_parts(app: Any, models: FakeModels, stream: bool) -> None:
    body = {"model": "our-llama", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    assert ask(app, "/v1/chat/completions", body)[0] == 200


def test_a_threshold_that_is_passed_is_told_by_whatever_passes_it(app: Any, models: FakeModels, load: Any) -> None:
    assert ask(app, f"/model/{HAIKU}/converse", {"messages": SAID}, HARD)[0] == 200
    assert call(load("invoke_model"), {"inputs": "hi"}, HAIKU, tenant="other", record=HARD)[0] == 200
    assert call(load("invoke_model"), {"inputs": "hi"}, HAIKU, tenant="third", record=HARD, streaming="true")[0] == 200
    assert work_off(load("complete_invocation"))["batchItemFailures"] == []


def test_a_large_answer_is_kept_beside_its_key(app: Any, models: FakeModels) -> None:
    said = [{"role": "user", "content": [{"text": "[[tokens_out=60000]] hi"}]}]
    for _ in range(2):
        body = {"messages": said}
        assert ask(app, f"/model/{HAIKU}/converse", body, KEEPS, idempotency_key="one")[0] == 200


def test_models_and_profiles_are_listed(app: Any, models: FakeModels) -> None:
    for path in ("/foundation-models", "/inference-profiles"):
        assert ask(app, path, None, method="GET")[0] == 200


@pytest.mark.parametrize("function", ["stream_model", "invoke_model"])
def test_a_tenants_call_takes_on_the_role_for_tenants(
    load: Any, models: FakeModels, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    monkeypatch.setenv("TENANT_ROLE_ARN", "arn:aws:iam::123456789012:role/tenants")
    monkeypatch.syspath_prepend(str(FOLDER))
    app = load(function)
    if function == "stream_model":
        assert ask(app.app, f"/model/{HAIKU}/converse", {"messages": SAID})[0] == 200
    else:
        assert call(app, {"inputs": "hi"}, HAIKU)[0] == 200
        assert call(app, {"inputs": "hi"}, HAIKU, streaming="true")[0] == 200
        assert work_off(load("complete_invocation"))["batchItemFailures"] == []


CIRCUIT = {"circuit": {"failures": 3, "seconds": 60}}


def test_a_circuit_is_kept_in_the_table_of_keys_until_a_call_after_its_pause_closes_it(
    load: Load, models: FakeModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_ROUTES", json.dumps({HAIKU: CIRCUIT, NOVA: CIRCUIT}))
    monkeypatch.syspath_prepend(str(FOLDER))
    place: dict[str, Any] = {"TableName": "idempotency", "Key": {"id": {"S": f"circuit#{NOVA}"}}}

    def state() -> str:
        return str(boto3.client("dynamodb").get_item(**place)["Item"]["state"]["S"])

    body = {"messages": [{"role": "user", "content": [{"text": "[[internal]] hi"}]}]}
    for _ in range(4):
        assert ask(load("stream_model").app, f"/model/{HAIKU}/converse", body)[0] >= 500
        assert call(load("invoke_model"), {"inputs": "[[internal]] hi"}, NOVA, streaming="true")[0] == 200
        work_off(load("complete_invocation"))
    assert state() == "OPEN"
    boto3.client("dynamodb").update_item(**place, AttributeUpdates={"opened_at": {"Value": {"N": "0"}}})
    assert call(load("invoke_model"), {"inputs": "hi"}, NOVA, streaming="true")[0] == 200
    work_off(load("complete_invocation"))
    assert state() == "CLOSED"


def test_a_large_answer_of_a_submitted_call_is_kept_beside_its_row(load: Load, models: FakeModels) -> None:
    said = {"inputs": [f"text {number}" for number in range(20)]}
    model = "amazon.titan-embed-text-v2:0"
    assert call(load("invoke_model"), said, model, streaming="true", type="embeddings")[0] == 200
    assert work_off(load("complete_invocation"))["batchItemFailures"] == []


def test_routes_of_an_object_are_read_by_whoever_needs_them(
    load: Load, models: FakeModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3.client("s3").create_bucket(Bucket="models")
    routes = json.dumps({"routes": {"fast": {"model": HAIKU}}})
    boto3.client("s3").put_object(Bucket="models", Key="routes.json", Body=routes.encode())
    monkeypatch.setenv("MODEL_ROUTES_URI", "s3://models/routes.json")
    monkeypatch.syspath_prepend(str(FOLDER))
    settings.cache_clear()
    assert ask(load("stream_model").app, "/model/fast/converse", {"messages": SAID})[0] == 200
    assert call(load("invoke_model"), {"inputs": "hi"}, "fast")[0] == 200
    assert call(load("invoke_model"), {"inputs": "hi"}, "fast", streaming="true")[0] == 200
    assert work_off(load("complete_invocation"))["batchItemFailures"] == []
    quoted = load("report_usage").handler(event("/quote", {"inputs": "hi"}, query={"model_id": "fast"}), context())
    assert quoted["statusCode"] == 200
    assert [line["model_id"] for line in models.ledger.after()] == 3 * [HAIKU]


def test_prices_of_ones_own_are_read_by_whoever_prices(
    load: Load, models: FakeModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3.client("s3").create_bucket(Bucket="prices")
    boto3.client("s3").put_object(Bucket="prices", Key="ours.csv", Body=(",".join(COLUMNS) + "\n").encode())
    monkeypatch.setenv("PRICE_OVERLAY", "s3://prices/ours.csv")
    monkeypatch.syspath_prepend(str(FOLDER))

    def anew(function: str) -> Any:
        price_overlay._overlay.cache_clear()
        settings.cache_clear()
        return load(function)

    assert ask(anew("stream_model").app, f"/model/{HAIKU}/converse", {"messages": SAID}, HARD)[0] == 200
    assert call(anew("invoke_model"), {"inputs": "hi"}, HAIKU, record=HARD)[0] == 200
    assert call(anew("invoke_model"), {"inputs": "hi"}, HAIKU, streaming="true", record=HARD)[0] == 200
    assert work_off(anew("complete_invocation"))["batchItemFailures"] == []
    quoted = anew("report_usage").handler(event("/quote", {"inputs": "hi"}, query={"model_id": HAIKU}), context())
    assert quoted["statusCode"] == 200
    price_overlay._overlay.cache_clear()

"""POST /invoke_model: every row of the old contract, and a ledger row for every call."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3
import pytest

from gateway.aws.dynamodb.issuer_register import IssuerRegister
from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.aws.dynamodb.tenant_register import TenantRegister
from gateway.aws.dynamodb.tenants import TenantTable
from gateway.calls.jobs import JobResult
from gateway.core.errors import NotFoundError
from gateway.core.settings import settings
from gateway.pricing.price_csv import price_book
from gateway.tenancy.administration import Actor
from gateway.tenancy.budgets import Budget
from gateway.tenancy.caller import Caller
from gateway.tenancy.issuers import ClaimMap, Issuer, IssuerAdministration, IssuerId
from gateway.tenancy.tenant import Tenant, tenant_from_json
from gateway.tenancy.users import User
from gateway.usage.ledger import SHARDS, Partition, sweep
from gateway.usage.records import KeyId, Outcome, TenantId, UsageRecord
from scripts.dev.fake_models import FakeModels

from .conftest import context, event, register

Load = Callable[[str], Any]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()


def rows() -> list[UsageRecord]:
    ledger, now = DynamoLedger("usage"), datetime.now(UTC)
    hours = {f"{at:%Y-%m-%dT%H}" for at in (now, now - timedelta(minutes=5))}
    return [row for hour in hours for shard in range(SHARDS) for row in ledger.read(Partition(hour, shard))]


def call(app: Any, body: Any, model_id: str | None = None, *, seconds: float = 60, **more: Any) -> tuple[int, Any]:
    query = {"model_id": model_id} if model_id else {}
    sent = event("/invoke_model", body, query=query | more.pop("query", {}), **more)
    if "streaming" in more:
        known = sent["requestContext"]["authorizer"]
        register(Caller(tenant_from_json(json.loads(known["tenant"])), KeyId(known["key_id"])))
    answer = app.handler(sent, context(seconds))
    assert answer["multiValueHeaders"]["x-request-id"] == [sent["requestContext"]["requestId"]]
    return answer["statusCode"], json.loads(answer["body"])


ACME = Caller(Tenant(TenantId("acme"), "Acme", ()), KeyId("k"))

TEXT_MODELS = [
    "amazon.titan-text-express-v1",
    "anthropic.claude-v2",
    "anthropic.claude-v2:1",
    "anthropic.claude-instant-v1",
    "anthropic.claude-3-haiku-20240307-v1:0",
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "ai21.j2-mid-v1",
    "ai21.jamba-instruct-v1:0",
    "cohere.command-text-v14",
    "cohere.command-r-v1:0",
    "meta.llama3-8b-instruct-v1:0",
    "mistral.mistral-7b-instruct-v0:2",
    "mistral.mixtral-8x7b-instruct-v0:1",
    "amazon.nova-lite-v1:0",
    "us.deepseek.r1-v1:0",
]


def agrees(row: UsageRecord, served: dict[str, Any]) -> bool:
    """Does a ledger row match the model service's own record?"""
    counts = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
    return all(getattr(row.usage, name) == served[name] for name in counts)


@pytest.mark.parametrize("model_id", TEXT_MODELS)
def test_text_comes_back_as_one_generated_text_and_is_metered(load: Load, models: FakeModels, model_id: str) -> None:
    status, body = call(load("invoke_model"), {"inputs": "What is a ledger?"}, model_id, team_id="ops")
    assert status == 200
    assert [list(item) for item in body] == [["generated_text"]]
    assert body[0]["generated_text"]
    ((row,), (served,)) = rows(), models.ledger.after()
    assert (row.outcome, row.tenant_id, row.cost_centre, row.model_id) == (Outcome.SUCCEEDED, "acme", "ops", model_id)
    assert row.usage.source == "provider"
    assert agrees(row, served)


def test_converse_takes_images_and_a_system_prompt(load: Load, models: FakeModels) -> None:
    content = [{"text": "What is this?"}, {"image": {"format": "png", "source": {"bytes": PNG}}}]
    body = {
        "inputs": [{"role": "user", "content": content}],
        "parameters": {"maxTokens": 40, "system": "Be brief."},
        "additional_model_fields": {"top_k": 5},
    }
    model_id = "anthropic.claude-3-sonnet-20240229-v1:0"
    status, answer = call(load("invoke_model"), body, model_id, messages_api="True")
    assert (status, list(answer[0])) == (200, ["generated_text"])
    ((row,), (served,)) = rows(), models.ledger.after()
    assert served["operation"] == "Converse"
    assert agrees(row, served)
    assert row.usage.output_tokens <= 40


def test_cache_reads_and_writes_are_counted_apart(load: Load, models: FakeModels) -> None:
    prefix = [{"text": "a long and stable prefix " * 50}, {"cachePoint": {"type": "default"}}, {"text": "now answer"}]
    body = {"inputs": [{"role": "user", "content": prefix}]}
    app, model_id = load("invoke_model"), "anthropic.claude-3-5-sonnet-20241022-v2:0"
    for _ in range(2):
        assert call(app, body, model_id, messages_api="true")[0] == 200
    first, second = sorted(rows(), key=lambda row: row.started_at)
    assert first.usage.cache_write_5m_tokens > 0
    assert second.usage.cache_read_tokens == first.usage.cache_write_5m_tokens
    assert [agrees(row, served) for row, served in zip((first, second), models.ledger.after(), strict=True)] == [
        True
    ] * 2


@pytest.mark.parametrize(
    ("model_id", "kind", "inputs"),
    [
        ("amazon.titan-embed-text-v1", "embeddings", "a ledger"),
        ("amazon.titan-embed-text-v2:0", "embeddings", "a ledger"),
        ("cohere.embed-english-v3", "embeddings", "a ledger"),
        ("amazon.titan-embed-image-v1", "embeddings-image", PNG),
        ("our-embedder", "embeddings", "a ledger"),
    ],
)
def test_embeddings_come_back_as_one_vector(
    load: Load, models: FakeModels, model_id: str, kind: str, inputs: str
) -> None:
    status, body = call(load("invoke_model"), {"inputs": inputs}, model_id, type=kind)
    assert (status, list(body[0])) == (200, ["embedding"])
    assert all(isinstance(number, float) for number in body[0]["embedding"])
    ((row,), (served,)) = rows(), models.ledger.after()
    assert row.usage.input_images == served["input_images"]
    if model_id != "our-embedder":
        assert agrees(row, served)


@pytest.mark.parametrize(("model_id", "calls"), [("amazon.titan-embed-text-v1", 3), ("cohere.embed-english-v3", 1)])
def test_a_list_of_inputs_gives_all_vectors_and_meters_each_call(
    load: Load, models: FakeModels, model_id: str, calls: int
) -> None:
    status, body = call(load("invoke_model"), {"inputs": ["one", "two", "three"]}, model_id, type="embeddings")
    assert status == 200
    assert len(body[0]["embeddings"]) == 3
    assert body[0]["embedding"] == body[0]["embeddings"][0]
    assert len({tuple(vector) for vector in body[0]["embeddings"]}) == 3
    assert sorted(row.attempt for row in rows()) == list(range(1, calls + 1))
    assert sum(row.usage.input_tokens for row in rows()) == sum(s["input_tokens"] for s in models.ledger.after())


@pytest.mark.parametrize(
    ("model_id", "body", "name", "count", "price_class"),
    [
        (
            "stability.stable-diffusion-xl-v1",
            {"text_prompts": [{"text": "a turtle"}], "parameters": {"steps": 60, "samples": 2}},
            "artifacts", 2, "larger:premium",
        ),
        (
            "amazon.titan-image-generator-v1",
            {
                "textToImageParams": {"text": "a turtle"},
                "parameters": {
                    "taskType": "TEXT_IMAGE",
                    "imageGenerationConfig": {"numberOfImages": 3, "width": 512, "height": 512, "quality": "standard"},
                },
            },
            "images", 3, "512x512:standard",
        ),
    ],
)  # fmt: skip
def test_each_image_that_comes_back_is_charged(
    load: Load, models: FakeModels, model_id: str, body: Any, name: str, count: int, price_class: str
) -> None:
    status, answer = call(load("invoke_model"), body, model_id, type="image")
    assert (status, list(answer[0])) == (200, [name])
    assert len(answer[0][name]) == count
    ((row,), (served,)) = rows(), models.ledger.after()
    assert (
        (row.usage.images, row.usage.image_class) == (count, price_class) == (served["images"], served["image_class"])
    )


@pytest.mark.parametrize(
    ("inputs", "headers", "source"),
    [
        ("What is a ledger?", {}, "estimated:utf8_bytes/4"),
        ({"inputs": "What is a ledger?"}, {}, "estimated:utf8_bytes/4"),
        ([{"role": "user", "content": "What is a ledger?"}], {"messages_api": "true"}, "provider"),
    ],
)
def test_endpoints_answer_text_and_say_how_they_were_counted(
    load: Load, models: FakeModels, inputs: Any, headers: dict[str, Any], source: str
) -> None:
    body = {"inputs": inputs, "parameters": {"max_tokens": 20, "InferenceComponentName": "adapter-7"}}
    status, answer = call(load("invoke_model"), body, "our-llama", **headers)
    assert (status, list(answer[0])) == (200, ["generated_text"])
    ((row,), (served,)) = rows(), models.ledger.after()
    assert (row.usage.source, row.model_used, served["inference_component"]) == (source, "llama-endpoint", "adapter-7")
    assert row.usage.output_tokens > 0


def test_a_custom_model_is_called_by_its_arn_and_never_priced_as_its_base(load: Load, models: FakeModels) -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abcdef123456"
    status, _ = call(
        load("invoke_model"),
        {"inputs": "hello"},
        "amazon.titan-text-express-v1",
        query={"model_arn": arn},
        record={"allowed_model_arns": ["arn:aws:bedrock:*:provisioned-model/*"]},
    )
    ((row,), (served,)) = rows(), models.ledger.after()
    assert (status, row.model_id, row.model_used, served["model_id"]) == (200, "amazon.titan-text-express-v1", arn, arn)
    assert price_book().charge_record(row) is None


UPSTREAM = [
    ("[[invalid]]", 400, "model_rejected_request"),
    ("[[quota]]", 400, "model_quota_exceeded"),
    ("[[denied]]", 403, "model_access_denied"),
    ("[[notenabled]]", 403, "model_not_enabled"),
    ("[[noform]]", 403, "model_not_enabled"),
    ("[[notfound]]", 404, "model_not_found"),
    ("[[timeout]]", 408, "model_timeout"),
    ("[[modelerror]]", 424, "model_error"),
    ("[[throttle]]", 429, "model_throttled"),
    ("[[notready]]", 429, "model_not_ready"),
    ("[[internal]]", 503, "model_unavailable"),
    ("[[unavailable]]", 503, "model_unavailable"),
]


@pytest.mark.parametrize(("directive", "status", "code"), UPSTREAM)
@pytest.mark.parametrize("messages_api", ["true", "false"])
def test_an_upstream_error_arrives_as_its_own_status_and_costs_nothing(
    load: Load, models: FakeModels, directive: str, status: int, code: str, messages_api: str
) -> None:
    inputs = [{"role": "user", "content": [{"text": directive}]}] if messages_api == "true" else directive
    model_id = "anthropic.claude-3-haiku-20240307-v1:0"
    got, problem = call(load("invoke_model"), {"inputs": inputs}, model_id, messages_api=messages_api)
    assert (got, problem["code"]) == (status, code)
    assert set(problem) == {"code", "message", "request_id"}
    ((row,), served) = rows(), models.ledger.after()
    assert (row.outcome, row.error_code, row.request_id) == (Outcome.FAILED, code, problem["request_id"])
    assert len(served) == 1  # not even a throttle is retried behind the ledger's back


def test_a_model_that_is_not_there_is_the_callers_fault(load: Load) -> None:
    status, problem = call(load("invoke_model"), {"inputs": "hi"}, "anthropic.claude-99")
    assert (status, problem["code"]) == (400, "model_rejected_request")


@pytest.mark.parametrize(
    ("body", "query", "headers", "status", "code"),
    [
        ("{not json", {"model_id": "amazon.titan-text-express-v1"}, {}, 400, "invalid_body"),
        ("[]", {"model_id": "amazon.titan-text-express-v1"}, {}, 400, "invalid_body"),
        ({"inputs": "x", "parameters": "no"}, {"model_id": "amazon.titan-text-express-v1"}, {}, 400, "invalid_body"),
        ({"inputs": "x"}, {}, {}, 400, "model_id_missing"),
        ({}, {"model_id": "amazon.titan-text-express-v1"}, {}, 400, "inputs_missing"),
        ({"inputs": "x"}, {"model_id": "../../etc"}, {}, 400, "invalid_model_id"),
        ({"inputs": "x"}, {"model_id": "arn:aws:bedrock:us-east-1:111122223333:provisioned-model/a"}, {}, 400, "invalid_model_id"),
        ({"inputs": "x"}, {"model_id": "amazon.titan-text-express-v1", "model_arn": "arn:aws:s3:::not-a-model"}, {}, 400, "invalid_model_arn"),
        ({"inputs": "x"}, {"model_id": "amazon.titan-text-express-v1"}, {"team_id": "somebody-else"}, 403, "cost_centre_not_owned"),
        ({}, {"requestId": "never-made"}, {}, 404, "request_not_found"),
    ],
)  # fmt: skip
def test_a_wrong_request_says_what_to_do_and_calls_nothing(
    load: Load, models: FakeModels, body: Any, query: dict[str, str], headers: dict[str, Any], status: int, code: str
) -> None:
    got, problem = call(load("invoke_model"), body, query=query, **headers)
    assert (got, problem["code"]) == (status, code)
    assert "Traceback" not in json.dumps(problem)
    assert (rows(), models.ledger.after()) == ([], [])


@pytest.mark.parametrize("kind", ["video", "chat", "Text", "embedding", ""])
def test_a_type_that_is_none_is_text_as_to_the_first_clients(load: Load, models: FakeModels, kind: str) -> None:
    status, body = call(load("invoke_model"), {"inputs": "x"}, "anthropic.claude-3-haiku-20240307-v1:0", type=kind)
    assert (status, [list(item) for item in body]) == (200, [["generated_text"]])
    (row,) = rows()
    assert (row.operation, row.usage.input_tokens > 0) == ("text", True)


@pytest.mark.parametrize("centres", [[], ["research", "ops"]])
def test_a_tenants_own_id_is_a_cost_centre_of_it(load: Load, models: FakeModels, centres: list[str]) -> None:
    """Code that has to name a team names the one that its report has always shown."""
    record = {"cost_centres": centres}
    status, _ = call(
        load("invoke_model"), {"inputs": "x"}, "amazon.titan-text-express-v1", team_id="acme", record=record
    )
    assert status == 200
    (row,) = rows()
    assert (row.tenant_id, row.cost_centre) == ("acme", "acme")


FOUNDATION = "arn:aws:bedrock:us-east-1::foundation-model/"


def test_the_arn_of_a_foundation_model_is_that_model(load: Load, models: FakeModels) -> None:
    """It names nothing of an account, so that no list of ARNs has to name it; a list of models holds."""
    model_id, query = "amazon.titan-text-express-v1", {"model_arn": f"{FOUNDATION}amazon.titan-text-express-v1"}
    status, _ = call(load("invoke_model"), {"inputs": "x"}, model_id, query=query)
    assert status == 200
    (row,), (served,) = rows(), models.ledger.after()
    assert row.model_id == model_id
    assert agrees(row, served)
    status, problem = call(
        load("invoke_model"), {"inputs": "x"}, model_id, query=query, record={"allowed_models": ["anthropic.*"]}
    )
    assert (status, problem["code"]) == (403, "model_not_allowed")


def test_what_is_called_has_to_be_allowed_whatever_stands_beside_it(load: Load, models: FakeModels) -> None:
    record, arn = {"allowed_models": ["us.*"]}, f"{FOUNDATION}anthropic.claude-3-haiku-20240307-v1:0"
    model_id = "us.anthropic.claude-3-haiku-20240307-v1:0"
    status, problem = call(load("invoke_model"), {"inputs": "x"}, model_id, query={"model_arn": arn}, record=record)
    assert (status, problem["code"], models.ledger.after()) == (403, "model_not_allowed", [])


def test_an_empty_model_arn_is_none(load: Load, models: FakeModels) -> None:
    """The oldest spec called it required."""
    status, _ = call(load("invoke_model"), {"inputs": "x"}, "amazon.titan-text-express-v1", query={"model_arn": ""})
    assert status == 200


def test_a_models_own_words_reach_the_client_without_accounts_or_arns(load: Load, models: FakeModels) -> None:
    inputs = [{"role": "user", "content": [{"image": {"format": "tiff", "source": {"bytes": "aGk="}}}]}]
    _, problem = call(
        load("invoke_model"), {"inputs": inputs}, "anthropic.claude-3-haiku-20240307-v1:0", messages_api="true"
    )
    assert problem["code"] == "model_rejected_request"
    assert len(problem["message"]) > len("The model does not accept the request: ")
    assert "arn:aws" not in problem["message"]


def test_a_fault_of_the_clients_own_making_is_told_without_its_prompt(load: Load) -> None:
    inputs = [{"role": "user", "content": [{"text": ["a secret prompt"]}]}]
    got, problem = call(
        load("invoke_model"), {"inputs": inputs}, "anthropic.claude-3-haiku-20240307-v1:0", messages_api="true"
    )
    assert (got, problem["code"]) == (400, "model_rejected_request")
    assert "secret" not in problem["message"]


def test_an_answer_that_comes_too_late_can_be_polled_for(load: Load) -> None:
    app = load("invoke_model")
    late = event("/invoke_model", {"inputs": "hello"}, query={"model_id": "amazon.titan-text-express-v1"}, late=28)
    answer = json.loads(app.handler(late, context())["body"])
    status, polled = call(app, {}, query={"requestId": late["requestContext"]["requestId"]})
    assert (status, polled) == (200, answer)


@pytest.fixture
def waiting(timeout: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("INTEGRATION_TIMEOUT_SECONDS", timeout)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.parametrize("timeout", ["", "29", "120", "6"])
@pytest.mark.parametrize("took", [0.5, 2, 10, 23, 24.5, 26, 28.9, 29.5, 40, 118, 121])
def test_whenever_an_answer_comes_the_client_gets_it_or_a_poll_does(
    load: Load, waiting: None, timeout: str, took: float
) -> None:
    """Also where API Gateway does not read a timeout that is text, and waits its 29 seconds."""
    app = load("invoke_model")
    made = event("/invoke_model", {"inputs": "hello"}, query={"model_id": "amazon.titan-text-express-v1"}, late=took)
    answer = json.loads(app.handler(made, context())["body"])
    arrives = took + app.KEPT_EARLY  # at the latest, counted from when API Gateway received the request
    client_gets_it = arrives <= min(float(timeout or 29), 29)
    status, polled = call(app, {}, query={"requestId": made["requestContext"]["requestId"]})
    assert client_gets_it or (status, polled) == (200, answer)


def test_an_answer_that_cannot_be_kept_still_goes_to_a_client_that_waits(load: Load) -> None:
    app = load("invoke_model")

    def fail(*_: Any) -> None:
        raise ConnectionError("DynamoDB is not there")

    app.jobs.keep = fail
    late = event("/invoke_model", {"inputs": "hello"}, query={"model_id": "amazon.titan-text-express-v1"}, late=28)
    assert app.handler(late, context())["statusCode"] == 200


def test_a_call_that_still_runs_polls_as_not_ready_and_for_nobody_else(load: Load) -> None:
    app = load("invoke_model")
    running = event("/invoke_model", {"inputs": "hello"}, query={"model_id": "amazon.titan-text-express-v1"})
    asked = {"requestId": running["requestContext"]["requestId"]}
    seen: list[tuple[int, Any]] = []
    real = app.models

    class Watched:
        """Models that let another environment poll while they run."""

        def call(self, made: Any) -> Any:
            other = load("invoke_model")
            seen.extend([call(other, {}, query=asked), call(other, {}, query=asked, tenant="rival")])
            return real.call(made)

    app.models = Watched()
    assert app.handler(running, context())["statusCode"] == 200
    own, rival = seen
    assert own == (200, [{"request_id": asked["requestId"]}])
    assert (rival[0], rival[1]["code"]) == (404, "request_not_found")
    with pytest.raises(NotFoundError):  # it was answered in time: nothing is kept
        app.poll(
            asked["requestId"], ACME, app.jobs, app.ledger, app.utc_now() + timedelta(seconds=6), timedelta(hours=1)
        )


def test_an_answer_on_its_way_to_be_kept_is_not_ready_rather_than_unknown(load: Load) -> None:
    app = load("invoke_model")
    late = event("/invoke_model", {"inputs": "hello"}, query={"model_id": "amazon.titan-text-express-v1"}, late=28)
    asked, seen, keep = {"requestId": late["requestContext"]["requestId"]}, [], app.jobs.keep

    def watched(*kept: Any) -> None:
        seen.append(call(load("invoke_model"), {}, query=asked))
        keep(*kept)

    app.jobs.keep = watched
    app.handler(late, context())
    assert seen == [(200, [{"request_id": asked["requestId"]}])]


def work_off(app: Any) -> dict[str, Any]:
    """Deliver the queue's messages to the worker, as the event source does."""
    sqs, url = boto3.client("sqs"), app.settings().jobs_queue_url
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    records = [{"messageId": m["MessageId"], "body": m["Body"], "receiptHandle": m["ReceiptHandle"]} for m in messages]
    answer: dict[str, Any] = app.handler({"Records": records}, context())
    return answer | {"records": records}


def test_a_submitted_call_is_polled_as_often_as_wanted(load: Load, models: FakeModels) -> None:
    app = load("invoke_model")
    status, body = call(app, {"inputs": "hello"}, "meta.llama3-8b-instruct-v1:0", streaming="TRUE", team_id="ops")
    assert (status, list(body[0])) == (200, ["request_id"])
    asked = {"requestId": body[0]["request_id"]}
    assert call(app, {}, query=asked) == (200, body)
    assert work_off(load("complete_invocation"))["batchItemFailures"] == []
    first, second = call(app, {}, query=asked), call(app, {}, query=asked)
    assert first == second
    assert (first[0], list(first[1][0])) == (200, ["generated_text"])
    assert call(app, {}, query=asked, tenant="rival")[0] == 404
    ((row,), (served,)) = rows(), models.ledger.after()
    assert (row.request_id, row.cost_centre, row.tenant_id) == (asked["requestId"], "ops", "acme")
    assert agrees(row, served)


SUBMITTER = Caller(Tenant(TenantId("acme"), "Acme", ("research", "ops")), KeyId("key_acme"))


@pytest.mark.parametrize(
    ("now", "revoked", "code"),
    [
        (replace(SUBMITTER.tenant, suspended=True), False, "access_denied"),
        (SUBMITTER.tenant, True, "access_denied"),
        (SUBMITTER.tenant, None, "access_denied"),
        (None, False, "access_denied"),
        (replace(SUBMITTER.tenant, allowed_models=("amazon.*",)), False, "model_not_allowed"),
        (replace(SUBMITTER.tenant, budget=Budget(Decimal("0.000001"), hard=True)), False, "budget_exceeded"),
        (replace(SUBMITTER.tenant, max_output_tokens=1), False, "max_tokens_not_allowed"),
    ],
    ids=["suspended", "key revoked", "key gone", "deleted", "model taken away", "budget made", "fewer tokens"],
)
def test_a_submitted_call_runs_by_what_its_tenant_may_do_now(
    load: Load, models: FakeModels, now: Tenant | None, revoked: bool | None, code: str
) -> None:
    app, worker = load("invoke_model"), load("complete_invocation")
    asked = {"inputs": "hello", "parameters": {"max_tokens": 100}}
    _, body = call(app, asked, "anthropic.claude-3-haiku-20240307-v1:0", streaming="true")
    if now is not None:
        register(replace(SUBMITTER, tenant=now), revoked=bool(revoked))
        if revoked is None:
            TenantRegister("tenants").remove_keys(now.tenant_id)
    else:
        key = {"pk": {"S": "tenant#acme"}, "sk": {"S": "tenant"}}
        boto3.client("dynamodb").delete_item(TableName="tenants", Key=key)
    (message,) = boto3.client("sqs").receive_message(QueueUrl=worker.settings().jobs_queue_url)["Messages"]
    record = {"messageId": "m0", "body": message["Body"]}
    assert worker.handler({"Records": [record]}, context()) == {"batchItemFailures": []}
    status, problem = call(app, {}, query={"requestId": body[0]["request_id"]})
    assert (status, problem["code"]) == (429 if code == "budget_exceeded" else 403, code)
    assert (models.ledger.after(), [row.usage.input_tokens for row in rows()]) == ([], [])


def test_a_submitted_call_of_a_user_who_is_switched_off_does_not_run(load: Load, models: FakeModels) -> None:
    app, worker = load("invoke_model"), load("complete_invocation")
    asked = event("/invoke_model", {"inputs": "hello"}, query={"model_id": HAIKU}, streaming="true")
    asked["requestContext"]["authorizer"] |= {"user_id": "ann", "user_source": "key"}
    (submitted,) = json.loads(app.handler(asked, context())["body"])
    register(SUBMITTER)
    now = datetime.now(UTC)
    TenantTable("tenants").put_user(User(SUBMITTER.tenant_id, "ann", now, now, active=False))
    assert work_off(worker)["batchItemFailures"] == []
    status, problem = call(app, {}, query={"requestId": submitted["request_id"]})
    assert (status, problem["code"]) == (403, "access_denied")
    assert "switched off" in problem["message"]
    assert models.ledger.after() == []


@pytest.mark.parametrize(
    ("now", "status"),
    [(("acme",), 200), (("acme", "rival"), 200), (("*",), 200), (("rival",), 403), (None, 403)],
    ids=["unchanged", "more tenants", "all tenants", "tenant taken away", "issuer deleted"],
)
def test_a_submitted_call_of_a_token_runs_while_its_issuer_may_name_the_tenant(
    load: Load, models: FakeModels, now: tuple[str, ...] | None, status: int
) -> None:
    """The token itself may have expired: it was valid when the call was submitted."""
    app = load("invoke_model")
    asked = event(
        "/invoke_model", {"inputs": "hello"}, query={"model_id": "meta.llama3-8b-instruct-v1:0"}, streaming="true"
    )
    asked["requestContext"]["authorizer"] |= {"key_id": "token:idp", "user_id": "ann", "user_source": "token"}
    body = json.loads(app.handler(asked, context())["body"])
    TenantTable("tenants").put_tenant(SUBMITTER.tenant)
    if now is not None:
        claim = ClaimMap("tid")
        issuer = Issuer(IssuerId("idp"), "https://idp.example.com", ("gateway",), ("RS256",), now, claims=claim)
        admin = IssuerAdministration(IssuerRegister(TenantRegister("tenants")))
        admin.put(issuer, Actor("arn:aws:iam::111122223333:user/ann"))
    assert work_off(load("complete_invocation"))["batchItemFailures"] == []
    answered, problem = call(app, {}, query={"requestId": body[0]["request_id"]})
    assert (answered, "" if status == 200 else problem["code"]) == (status, "" if status == 200 else "access_denied")
    assert len(rows()) == (status == 200)


@pytest.mark.parametrize(
    ("ends_in", "centres", "status", "code"),
    [
        (0, ("research", "ops"), 403, "access_denied"),  # rotated without an overlap
        (-3600, ("research", "ops"), 403, "access_denied"),
        (3600, ("research",), 403, "cost_centre_not_owned"),
        (3600, ("ops", "lab"), 200, ""),
    ],
    ids=["key rotated", "key expired", "cost centre taken away", "nothing taken away"],
)
def test_a_submitted_call_is_charged_only_to_a_key_and_a_cost_centre_that_still_exist(
    load: Load, models: FakeModels, ends_in: int, centres: tuple[str, ...], status: int, code: str
) -> None:
    app = load("invoke_model")
    _, body = call(app, {"inputs": "hello"}, "meta.llama3-8b-instruct-v1:0", streaming="true", team_id="ops")
    now = replace(SUBMITTER, tenant=replace(SUBMITTER.tenant, cost_centres=centres))
    register(now, expires_at=datetime.now(UTC) + timedelta(seconds=ends_in))
    assert work_off(load("complete_invocation"))["batchItemFailures"] == []
    answered, problem = call(app, {}, query={"requestId": body[0]["request_id"]})
    assert (answered, "" if status == 200 else problem["code"]) == (status, code)
    charged = ["ops"] if status == 200 else []
    assert [row.cost_centre for row in rows()] == charged
    assert len(models.ledger.after()) == len(charged)


@pytest.mark.parametrize("body", ["", "{}", "null", '{"inputs": 5}', "polled"])
def test_a_poll_does_not_read_its_body(load: Load, models: FakeModels, body: str) -> None:
    app = load("invoke_model")
    app.jobs.keep("early", "acme", JobResult(body=[{"generated_text": "kept"}]), datetime.now(UTC))
    assert call(app, body, query={"requestId": "early"}) == (200, [{"generated_text": "kept"}])


def test_a_submitted_call_that_fails_ends_with_its_reason(load: Load) -> None:
    app = load("invoke_model")
    _, body = call(app, {"inputs": "[[throttle]]"}, "meta.llama3-8b-instruct-v1:0", streaming="true")
    assert work_off(load("complete_invocation"))["batchItemFailures"] == []
    status, problem = call(app, {}, query={"requestId": body[0]["request_id"]})
    assert (status, problem["code"]) == (429, "model_throttled")


def test_a_large_body_goes_through_the_queue_by_reference(load: Load, models: FakeModels) -> None:
    app, prompt = load("invoke_model"), "large " * 900_000
    _, body = call(app, {"inputs": prompt}, "anthropic.claude-3-haiku-20240307-v1:0", streaming="true")
    assert work_off(load("complete_invocation"))["batchItemFailures"] == []
    status, answer = call(app, {}, query={"requestId": body[0]["request_id"]})
    assert (status, list(answer[0])) == (200, ["generated_text"])
    assert models.ledger.after()[0]["input_tokens"] > 1_000_000


def test_a_message_that_comes_twice_is_called_and_charged_once(load: Load, models: FakeModels) -> None:
    call(load("invoke_model"), {"inputs": "hello"}, "meta.llama3-8b-instruct-v1:0", streaming="true")
    worker = load("complete_invocation")
    delivered = work_off(worker)
    again = worker.handler({"Records": delivered["records"] * 2}, context())
    assert again["batchItemFailures"] == []
    assert len(rows()) == len(models.ledger.after()) == 1


def test_a_message_that_comes_while_another_worker_runs_waits(load: Load, models: FakeModels) -> None:
    call(load("invoke_model"), {"inputs": "hello"}, "meta.llama3-8b-instruct-v1:0", streaming="true")
    worker = load("complete_invocation")
    real: Any = None
    nested: dict[str, Any] = {}

    class Overtaken:
        def call(self, made: Any) -> Any:
            record = {"messageId": "m1", "body": nested["body"]}
            nested["answer"] = worker.handler({"Records": [record]}, context())
            return real.call(made)

    real, worker.models = worker.models, Overtaken()
    sqs, url = boto3.client("sqs"), worker.settings().jobs_queue_url
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    nested["body"] = message["Body"]
    worker.handler({"Records": [{"messageId": "m0", "body": message["Body"]}]}, context())
    assert nested["answer"] == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert len(rows()) == len(models.ledger.after()) == 1


def test_a_worker_that_crashes_is_followed_by_another_and_the_tenant_pays_once(load: Load, models: FakeModels) -> None:
    _, body = call(load("invoke_model"), {"inputs": "hello"}, "meta.llama3-8b-instruct-v1:0", streaming="true")
    worker = load("complete_invocation")
    sqs, url = boto3.client("sqs"), worker.settings().jobs_queue_url
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    record = {"messageId": "m0", "body": message["Body"]}

    class Crash(BaseException):
        """An exception that no code catches, like the end of the process."""

    def crash(*_: Any, **__: Any) -> None:
        raise Crash

    real, worker.jobs.finish = worker.jobs.finish, crash
    with pytest.raises(Crash):  # the model has answered, nothing is settled
        worker.handler({"Records": [record]}, context(seconds=0))
    worker.jobs.finish = real
    time.sleep(1.1)  # the crashed worker's lease of a second ends
    assert worker.handler({"Records": [record]}, context())["batchItemFailures"] == []
    status, _ = call(load("invoke_model"), {}, query={"requestId": body[0]["request_id"]})
    sweep(DynamoLedger("usage"), datetime.now(UTC) + timedelta(hours=1))
    outcomes = sorted((row.attempt, row.outcome) for row in rows())
    assert status == 200
    assert outcomes == [(1, Outcome.UNSETTLED), (2, Outcome.SUCCEEDED)]
    assert len(models.ledger.after()) == 2


def test_a_job_that_crashes_every_worker_ends_with_that_reason(load: Load, models: FakeModels) -> None:
    _, body = call(load("invoke_model"), {"inputs": "hello"}, "meta.llama3-8b-instruct-v1:0", streaming="true")
    worker = load("complete_invocation")
    (message,) = boto3.client("sqs").receive_message(QueueUrl=worker.settings().jobs_queue_url)["Messages"]
    record = {"messageId": "m0", "body": message["Body"]}
    moment = datetime.now(UTC)
    for crashed in range(3):
        claimed = worker.jobs.claim(
            body[0]["request_id"],
            moment + timedelta(seconds=2 * crashed),
            moment + timedelta(seconds=2 * crashed + 1),
            1,
        )
        assert claimed is not None
    worker.utc_now = lambda: moment + timedelta(minutes=1)
    assert worker.handler({"Records": [record]}, context())["batchItemFailures"] == []
    status, problem = call(load("invoke_model"), {}, query={"requestId": body[0]["request_id"]})
    assert (status, problem["code"]) == (500, "attempts_exhausted")
    assert models.ledger.after() == []


@pytest.mark.parametrize(
    ("record", "headers", "query", "code"),
    [
        ({"allowed_models": ["anthropic.claude-3-*", "us.*"]}, {}, {}, "model_not_allowed"),
        ({"allowed_models": []}, {}, {}, "model_not_allowed"),
        ({"allowed_operations": ["embeddings"]}, {}, {}, "operation_not_allowed"),
        ({}, {}, {"model_arn": "arn:aws:bedrock:us-east-1:111122223333:provisioned-model/a"}, "model_arn_not_allowed"),
    ],
)
def test_what_the_tenants_record_does_not_allow_is_not_called(
    load: Load, models: FakeModels, record: dict[str, Any], headers: dict[str, Any], query: dict[str, str], code: str
) -> None:
    status, problem = call(
        load("invoke_model"), {"inputs": "hi"}, "amazon.titan-text-express-v1", record=record, query=query, **headers
    )
    assert (status, problem["code"]) == (403, code)
    assert (rows(), models.ledger.after()) == ([], [])


def test_where_the_gateway_denies_by_default_a_tenant_without_a_list_may_use_nothing(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFAULT_MODEL_ACCESS", "deny")
    app = load("invoke_model")
    assert call(app, {"inputs": "hi"}, "amazon.titan-text-express-v1")[0] == 403
    assert (
        call(app, {"inputs": "hi"}, "amazon.titan-text-express-v1", record={"allowed_models": ["amazon.*"]})[0] == 200
    )


# -------------------------------------------------------------------------------------------------------------- routes
HAIKU, NOVA = "anthropic.claude-3-haiku-20240307-v1:0", "amazon.nova-lite-v1:0"


@pytest.fixture
def route(monkeypatch: pytest.MonkeyPatch) -> None:
    route = {"model": HAIKU, "fallbacks": [NOVA], "circuit": {"failures": 9, "seconds": 5}, "concurrency": 3}
    monkeypatch.setenv("MODEL_ROUTES", json.dumps({"fast": route, "vectors": route}))


def told() -> list[tuple[str, str, str, str]]:
    found = sorted(rows(), key=lambda row: row.attempt)
    return [(row.asked_model, row.model_id, row.outcome.value, row.routing) for row in found]


def test_an_alias_leads_to_its_model_and_falls_back_in_the_next_ones_own_words(
    route: None, load: Load, models: FakeModels
) -> None:
    status, body = call(load("invoke_model"), {"inputs": f"[[throttle_times=1:{uuid.uuid4()}]] hello"}, "fast")
    assert (status, list(body[0])) == (200, ["generated_text"])
    assert [served["operation"] for served in models.ledger.after()] == ["InvokeModel", "Converse"]
    assert told() == [("fast", HAIKU, "failed", ""), ("fast", NOVA, "succeeded", "fallback:model_throttled")]


def test_a_submitted_call_falls_back_as_well_and_its_answer_settles_with_its_row(
    route: None, load: Load, models: FakeModels
) -> None:
    app = load("invoke_model")
    inputs = f"[[throttle_times=1:{uuid.uuid4()}]] hello"
    _, body = call(app, {"inputs": inputs}, "fast", streaming="true")
    assert work_off(load("complete_invocation"))["batchItemFailures"] == []
    _, ready = call(app, {}, query={"requestId": body[0]["request_id"]})
    assert "generated_text" in ready[0]
    assert told() == [("fast", HAIKU, "failed", ""), ("fast", NOVA, "succeeded", "fallback:model_throttled")]


def test_a_fallback_that_the_tenant_may_not_use_is_left_out(route: None, load: Load, models: FakeModels) -> None:
    record = {"allowed_models": ["anthropic.*"]}
    status, body = call(load("invoke_model"), {"inputs": "[[throttle]]"}, "fast", record=record)
    assert (status, body["code"]) == (429, "model_throttled")
    assert [row[1] for row in told()] == [HAIKU]


def test_what_of_a_body_is_not_read_is_named_in_a_header(load: Load, models: FakeModels) -> None:
    app, query = load("invoke_model"), {"model_id": "amazon.nova-lite-v1:0"}
    for body, warned in (
        ({"inputs": "hi", "n": 1}, ["n is ignored: this operation does not support it"]),
        ({"inputs": "hi"}, None),
    ):
        answer = app.handler(event("/invoke_model", body, query=query), context())
        assert (answer["statusCode"], answer["multiValueHeaders"].get("x-gateway-warning")) == (200, warned)


def test_an_alias_is_allowed_by_its_own_name(route: None, load: Load, models: FakeModels) -> None:
    app = load("invoke_model")
    assert call(app, {"inputs": "hello"}, "fast", record={"allowed_models": ["fast"]})[0] == 200
    assert call(app, {"inputs": "hello"}, "fast", record={"allowed_models": ["slow"]})[1]["code"] == "model_not_allowed"


@pytest.mark.parametrize("messages_api", ["false", "true"])
def test_a_tenants_guardrail_is_on_every_call(load: Load, models: FakeModels, messages_api: str) -> None:
    record = {"guardrail": {"id": "gr1", "version": "3"}}
    inputs = [{"role": "user", "content": [{"text": "hello"}]}] if messages_api == "true" else "hello"
    status, _ = call(load("invoke_model"), {"inputs": inputs}, HAIKU, record=record, messages_api=messages_api)
    assert (status, models.ledger.after()[0]["guardrail"]) == (200, "gr1:3")

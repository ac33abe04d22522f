"""Idempotency-Key: a request that is sent twice runs once, is charged once, and is answered twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.usage.ledger import SHARDS, Partition, sweep
from gateway.usage.records import Outcome, UsageRecord
from scripts.dev.fake_models import FakeModels

from .conftest import context, event

Load = Callable[[str], Any]
MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
ON = {"idempotency_seconds": 3600}
HELLO = {"inputs": "hello", "parameters": {"max_tokens": 20, "temperature": 0.5}}


class Crash(BaseException):
    """An exception that no code catches, like the end of the process."""


def crash(*_: Any, **__: Any) -> None:
    raise Crash


class Answer:
    def __init__(self, answer: dict[str, Any]):
        self.status, self.body = answer["statusCode"], json.loads(answer["body"])
        self.headers = {name.lower(): values for name, values in answer["multiValueHeaders"].items()}
        self.replayed = self.headers.get("idempotent-replayed") == ["true"]

    @property
    def refusal(self) -> tuple[int, str]:
        return self.status, self.body["code"]


def send(app: Any, body: Any = HELLO, *, key: str | None = "k", model_id: str = MODEL, seconds: float = 60,
         record: dict[str, Any] | None = None, **more: Any) -> Answer:  # fmt: skip
    headers: Any = {} if key is None else {"Idempotency-Key": key}
    query = more.pop("query", {"model_id": model_id})
    sent = event("/invoke_model", body, query=query, record=ON if record is None else record, **headers, **more)
    return Answer(app.handler(sent, context(seconds)))


def rows() -> list[UsageRecord]:
    ledger, now = DynamoLedger("usage"), datetime.now(UTC)
    hours = {f"{at:%Y-%m-%dT%H}" for at in (now, now - timedelta(minutes=5))}
    return [row for hour in hours for shard in range(SHARDS) for row in ledger.read(Partition(hour, shard))]


def kept() -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = boto3.client("dynamodb").scan(TableName="idempotency")["Items"]
    return items


def messages(app: Any) -> int:
    url = app.settings().jobs_queue_url
    said = boto3.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(said["Attributes"]["ApproximateNumberOfMessages"])


class During:
    """The real models, with an event while they run."""

    def __init__(self, app: Any, happens: Callable[[], None]):
        self.app, self.real, self.happens = app, app.models, happens
        app.models = self

    def call(self, made: Any) -> Any:
        self.app.models = self.real
        self.happens()
        return self.real.call(made)


# ------------------------------------------------------------------------------------------------------------ replays
def test_a_repeat_gets_the_first_answer_and_costs_nothing(load: Load, models: FakeModels) -> None:
    app = load("invoke_model")
    first, again, elsewhere = send(app), send(app), send(load("invoke_model"))
    assert (first.status, first.replayed) == (200, False)
    for repeat in (again, elsewhere):
        assert (repeat.status, repeat.body, repeat.replayed) == (200, first.body, True)
        assert repeat.headers["x-request-id"] != first.headers["x-request-id"]
    ((row,), served) = rows(), models.ledger.after()
    assert (row.outcome, row.request_id) == (Outcome.SUCCEEDED, first.headers["x-request-id"][0])
    assert len(served) == 1


def test_the_same_request_may_be_written_in_another_way(load: Load, models: FakeModels) -> None:
    app = load("invoke_model")
    send(app, messages_api="False")
    turned = {"parameters": {"temperature": 0.5, "max_tokens": 20}, "inputs": "hello"}
    assert send(app, json.dumps(turned, indent=2), messages_api="false").replayed
    assert len(models.ledger.after()) == 1


def test_without_a_key_every_request_runs(load: Load, models: FakeModels) -> None:
    app = load("invoke_model")
    assert not any(send(app, key=None).replayed for _ in range(2))
    assert len(rows()) == len(models.ledger.after()) == 2
    assert kept() == []


def test_a_large_answer_is_replayed_as_well(load: Load, models: FakeModels) -> None:
    app, body = load("invoke_model"), {"inputs": [f"text {number}" for number in range(20)]}
    first, again = (send(app, body, model_id="amazon.titan-embed-text-v1", type="embeddings") for _ in range(2))
    assert len(json.dumps(first.body)) > 200_000
    assert (again.body, again.replayed) == (first.body, True)
    assert len(rows()) == len(models.ledger.after()) == 20
    (item,) = kept()
    assert len(json.dumps(item)) < 1000
    listed = boto3.client("s3").list_objects_v2(Bucket="payloads")["Contents"]
    assert [thing["Key"] for thing in listed] == [f"answers/{first.headers['x-request-id'][0]}.json"]


def test_an_answer_is_kept_for_as_long_as_the_tenant_has_it(load: Load, models: FakeModels) -> None:
    app, now = load("invoke_model"), datetime.now(UTC).timestamp()
    send(app, record={"idempotency_seconds": 7200})
    (item,) = kept()
    assert 7195 < int(item["expires_at"]["N"]) - now < 7210
    boto3.client("dynamodb").update_item(
        TableName="idempotency", Key={"id": item["id"]}, UpdateExpression="SET expires_at = :past",
        ExpressionAttributeValues={":past": {"N": str(int(now) - 1)}},
    )  # fmt: skip
    assert not send(app).replayed  # DynamoDB need not have deleted it yet
    assert len(models.ledger.after()) == 2


def test_a_late_answer_can_be_polled_and_replayed(load: Load, models: FakeModels) -> None:
    app = load("invoke_model")
    first = send(app, late=28)
    polled = send(app, {}, query={"requestId": first.headers["x-request-id"][0]})
    assert first.body == polled.body == send(app).body
    assert not polled.replayed  # a poll does not read the header
    assert len(models.ledger.after()) == 1


# ----------------------------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    "other",
    [
        {"body": {**HELLO, "inputs": "something else"}},
        {"model_id": "amazon.nova-lite-v1:0"},
        {"team_id": "ops"},
        {"streaming": "true"},
        {"body": {"inputs": [{"role": "user", "content": [{"text": "hello"}]}]}, "messages_api": "true"},
        {"model_id": "amazon.titan-embed-text-v1", "type": "embeddings"},
    ],
    ids=["body", "model", "cost centre", "streaming", "messages_api", "type"],
)
def test_a_key_belongs_to_one_request(load: Load, models: FakeModels, other: dict[str, Any]) -> None:
    app = load("invoke_model")
    send(app)
    assert send(app, **other).refusal == (409, "idempotency_key_reused")
    assert len(models.ledger.after()) == 1
    assert messages(app) == 0


@pytest.mark.parametrize("key", ["", "k" * 256, "schlüssel", "a\tb", "a\n"])
def test_a_key_is_printable_ascii_of_a_bounded_length(load: Load, models: FakeModels, key: str) -> None:
    assert send(load("invoke_model"), key=key).refusal == (400, "invalid_idempotency_key")
    assert (models.ledger.after(), rows()) == ([], [])


@pytest.mark.parametrize("key", ["!", "~" * 255, "a key with spaces"])
def test_any_other_key_will_do(load: Load, key: str) -> None:
    app = load("invoke_model")
    assert [send(app, key=key).replayed for _ in range(2)] == [False, True]


def test_a_tenant_that_keeps_no_answers_is_told_so_and_not_charged_twice(load: Load, models: FakeModels) -> None:
    assert send(load("invoke_model"), record={}).refusal == (400, "idempotency_not_enabled")
    assert (models.ledger.after(), rows()) == ([], [])


def test_two_tenants_with_the_same_key_do_not_meet(load: Load, models: FakeModels) -> None:
    app = load("invoke_model")
    ours, theirs = send(app, key="shared-key"), send(app, {"inputs": "a secret"}, key="shared-key", tenant="globex")
    assert (theirs.status, theirs.replayed, ours.replayed) == (200, False, False)
    assert len(models.ledger.after()) == 2
    assert len(kept()) == 2
    for name in ("shared-key", "acme", "globex"):
        assert name not in json.dumps(kept())


# ------------------------------------------------------------------------------------------------------------ problems
def test_a_problem_is_not_kept_and_its_request_may_run_again(load: Load, models: FakeModels) -> None:
    app, body = load("invoke_model"), {"inputs": "[[throttle]]"}
    first, again = send(app, body), send(app, body)
    assert first.refusal == again.refusal == (429, "model_throttled")
    assert first.headers.get("retry-after") == send(app, body, key=None).headers.get("retry-after")
    assert [row.outcome for row in rows()] == [Outcome.FAILED] * 3
    assert len(models.ledger.after()) == 3
    assert kept() == []


def test_a_request_that_did_not_fit_the_budget_may_run_when_it_does(load: Load, models: FakeModels) -> None:
    app = load("invoke_model")
    poor = ON | {"budget": {"monthly_usd": "0.000001", "hard": True}}
    assert send(app, record=poor).refusal == (429, "budget_exceeded")
    assert (send(app).status, send(app).replayed) == (200, True)
    assert len(rows()) == len(models.ledger.after()) == 1


def test_a_failure_of_our_own_gives_the_key_back(load: Load, models: FakeModels) -> None:
    app = load("invoke_model")

    def fail() -> None:
        raise RuntimeError

    During(app, fail)
    assert send(app).status == 500
    assert (send(app).status, send(app).replayed) == (200, True)
    assert sorted(row.outcome for row in rows()) == [Outcome.OPEN, Outcome.SUCCEEDED]  # the open one is swept


# ------------------------------------------------------------------------------------------------- races and crashes
def test_a_repeat_while_the_first_still_runs_is_told_to_wait(load: Load, models: FakeModels) -> None:
    app = load("invoke_model")
    nested: list[Answer] = []
    During(app, lambda: nested.append(send(app)))
    first = send(app)
    assert nested[0].refusal == (409, "idempotency_in_progress")
    assert nested[0].headers["retry-after"] == ["1"]
    assert send(app).body == first.body
    assert len(rows()) == len(models.ledger.after()) == 1


def test_after_a_crash_the_next_request_runs_when_the_lease_has_ended(load: Load, models: FakeModels) -> None:
    app = load("invoke_model")
    During(app, crash)
    with pytest.raises(Crash):
        send(app, seconds=2)
    assert send(app).refusal == (409, "idempotency_in_progress")
    end_leases()
    assert send(app, {"inputs": "other"}).refusal == (409, "idempotency_key_reused")
    assert (send(app).status, send(app).replayed) == (200, True)
    sweep(DynamoLedger("usage"), datetime.now(UTC) + timedelta(hours=1))
    assert sorted(row.outcome for row in rows()) == [Outcome.SUCCEEDED, Outcome.UNSETTLED]


def test_a_crash_after_the_model_has_answered_charges_one_call(load: Load, models: FakeModels) -> None:
    """The answer and its settlement are one write, so there is no moment between them."""
    app = load("invoke_model")
    real, app.entries._write = app.entries._write, crash
    with pytest.raises(Crash):
        send(app, seconds=0)
    app.entries._write = real
    assert not send(app).replayed
    sweep(DynamoLedger("usage"), datetime.now(UTC) + timedelta(hours=1))
    assert sorted(row.outcome for row in rows()) == [Outcome.SUCCEEDED, Outcome.UNSETTLED]
    assert len(models.ledger.after()) == 2


def test_a_crash_after_that_write_has_its_answer_replayed(load: Load, models: FakeModels) -> None:
    app = load("invoke_model")
    real = app.entries._write

    def write_and_crash(writes: Any) -> None:
        real(writes)
        raise Crash

    app.entries._write = write_and_crash
    with pytest.raises(Crash):
        send(app, seconds=0)
    app.entries._write = real
    again = send(app)
    assert (again.status, again.replayed, list(again.body[0])) == (200, True, ["generated_text"])
    ((row,), served) = rows(), models.ledger.after()
    assert (row.outcome, len(served)) == (Outcome.SUCCEEDED, 1)


def test_a_first_request_that_outlived_its_lease_cannot_charge_beside_the_second(
    load: Load, models: FakeModels
) -> None:
    app = load("invoke_model")
    nested: list[Answer] = []
    During(app, lambda: nested.append(send(app)))
    slow = send(app, seconds=0)
    assert (slow.status, nested[0].status, nested[0].replayed) == (200, 200, False)
    sweep(DynamoLedger("usage"), datetime.now(UTC) + timedelta(hours=1))
    assert sorted(row.outcome for row in rows()) == [Outcome.SUCCEEDED, Outcome.UNSETTLED]
    assert {row.request_id for row in rows() if row.outcome is Outcome.SUCCEEDED} == {
        nested[0].headers["x-request-id"][0]
    }


@pytest.mark.parametrize("code", ["TransactionConflict", "TransactionConflictException"])
def test_reads_and_writes_of_one_key_at_the_same_moment_are_tried_again(load: Load, code: str) -> None:
    """DynamoDB refuses what meets a transaction; its stand-ins do not, so the refusal is put into the client."""
    app = load("invoke_model")
    name = "TransactWriteItems" if code == "TransactionConflict" else "PutItem"
    left = {"times": 1}

    def refuse(params: Any, **_: Any) -> Any:
        if left["times"] and b'"idempotency"' in params["body"]:
            left["times"] -= 1
            kind = "TransactionCanceledException" if name == "TransactWriteItems" else code
            said = {"__type": f"com.amazonaws.dynamodb.v20120810#{kind}", "CancellationReasons": [{"Code": code}]}
            return _Refused(), {"Error": {"Code": kind, "Message": ""}, **said}
        return None

    app.entries._dynamodb.meta.events.register(f"before-call.dynamodb.{name}", refuse)
    first = send(app)
    if name == "PutItem":  # nobody knows whose the key is: the client asks again
        assert first.refusal == (409, "idempotency_in_progress")
        first = send(app)
    assert (first.status, send(app).replayed, left["times"]) == (200, True, 0)
    assert len(rows()) == 1


class _Refused:
    status_code = 400


# ---------------------------------------------------------------------------------------------------- submitted calls
def test_a_repeated_submission_submits_nothing(load: Load, models: FakeModels) -> None:
    app = load("invoke_model")
    first, again = send(app, streaming="true"), send(app, streaming="True")
    assert first.body == again.body == [{"request_id": first.headers["x-request-id"][0]}]
    assert (first.replayed, again.replayed, messages(app)) == (False, True, 1)


def test_a_crash_between_submitting_and_keeping_does_not_submit_again(load: Load) -> None:
    app = load("invoke_model")
    real, app.entries.finish = app.entries.finish, crash
    with pytest.raises(Crash):
        send(app, streaming="true", seconds=0)
    app.entries.finish = real
    first, again = send(app, streaming="true"), send(app, streaming="true")
    assert (first.replayed, again.replayed, messages(app)) == (True, True, 1)
    assert first.body == again.body
    polled = send(app, {}, query={"requestId": first.body[0]["request_id"]})
    assert (polled.status, polled.body) == (200, first.body)


def test_a_submission_that_failed_may_be_made_again(load: Load) -> None:
    app = load("invoke_model")
    queue, app.jobs._queue_url = app.jobs._queue_url, app.jobs._queue_url + "-gone"
    assert send(app, streaming="true").status == 500
    app.jobs._queue_url = queue
    assert (send(app, streaming="true").replayed, messages(app)) == (False, 1)


def end_leases() -> None:
    for item in kept():
        boto3.client("dynamodb").update_item(
            TableName="idempotency", Key={"id": item["id"]}, UpdateExpression="SET lease_until = :past",
            ExpressionAttributeValues={":past": {"S": "2026-01-01T00:00:00.000000Z"}},
        )  # fmt: skip

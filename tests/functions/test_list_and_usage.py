"""GET /list_foundation_models and GET /usage."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import boto3
import pytest

from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.pricing.price_csv import price_book
from gateway.usage.records import UNKNOWN, Attribution, KeyId, Outcome, RequestId, TokenUsage, UsageRecord, UserSource
from scripts.dev.fake_models import FakeModels

from .conftest import context, event
from .test_invoke_model import call, rows

Load = Callable[[str], Any]
HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"


def get(app: Any, path: str, query: dict[str, str] | None = None, tenant: str = "acme") -> tuple[int, Any]:
    answer = app.handler(event(path, query=query, tenant=tenant), context())
    return answer["statusCode"], json.loads(answer["body"])


def test_the_models_are_bedrocks_own_summaries(load: Load) -> None:
    status, body = get(load("list_models"), "/list_foundation_models")
    assert (status, len(body), list(body[0])) == (200, 1, ["modelSummaries"])
    assert HAIKU in {model["modelId"] for model in body[0]["modelSummaries"]}


def test_a_tenant_is_shown_what_it_may_use(load: Load) -> None:
    app = load("list_models")
    sent = event("/list_foundation_models", record={"allowed_models": ["anthropic.claude-3-haiku-*", "meta.*"]})
    (body,) = json.loads(app.handler(sent, context())["body"])
    names = {model["modelId"] for model in body["modelSummaries"]}
    assert HAIKU in names
    assert {name.split(".")[0] for name in names} == {"anthropic", "meta"}


def test_a_report_adds_up_the_callers_rows_and_nobody_elses(load: Load, models: FakeModels) -> None:
    invoke, report = load("invoke_model"), load("report_usage")
    for tenant, centre in (("acme", "research"), ("acme", "ops"), ("rival", "research")):
        assert call(invoke, {"inputs": "What is a ledger?"}, HAIKU, tenant=tenant, team_id=centre)[0] == 200
    call(invoke, {"inputs": "[[throttle]]"}, HAIKU)
    own = [row for row in rows() if row.tenant_id == "acme"]
    status, body = get(report, "/usage", {"group_by": "cost_centre"})
    assert (status, body["tenant_id"], body["totals"]["invocations"]) == (200, "acme", 2)
    assert body["totals"]["input_tokens"] == sum(row.usage.input_tokens for row in own)
    charges = [price_book().charge_record(row) for row in own]
    assert Decimal(body["totals"]["cost"]) == sum(charge.cost for charge in charges if charge) > 0
    assert [line["key"] for line in body["lines"]] == ["ops", "research"]
    assert get(report, "/usage", tenant="nobody")[1]["totals"]["invocations"] == 0


def test_usage_without_a_price_is_listed_never_free(load: Load) -> None:
    assert call(load("invoke_model"), {"inputs": "hello"}, "our-llama")[0] == 200
    _, body = get(load("report_usage"), "/usage")
    assert (body["totals"]["unpriced_invocations"], body["totals"]["cost"]) == (1, "0")
    assert body["totals"]["partial"] is True
    assert body["lines"][0]["totals"]["partial"] is True


def test_calls_whose_usage_nobody_knows_are_counted_as_the_costs_count_them(load: Load) -> None:
    assert call(load("invoke_model"), {"inputs": "hello"}, HAIKU)[0] == 200
    ledger, (row,) = DynamoLedger("usage"), rows()
    for number, outcome in enumerate((Outcome.UNSETTLED, Outcome.INTERRUPTED, Outcome.FAILED)):
        lost = replace(row, request_id=RequestId(f"lost-{number}"), outcome=Outcome.OPEN, settled_at=None)
        ledger.reserve(replace(lost, usage=TokenUsage()))
        ledger.settle(lost.settle(outcome, TokenUsage(source=UNKNOWN), row.started_at, "lease_expired"))
    _, body = get(load("report_usage"), "/usage")
    assert (body["totals"]["unsettled_invocations"], body["totals"]["partial"]) == (2, True)
    assert body["totals"]["unpriced_invocations"] == 0
    assert body["unreadable_rows"] == 0


@pytest.mark.parametrize("broken", [{"outcome": {"S": "mood"}}, {"input_tokens": {"N": "-5"}}, {"attempt": {"S": "x"}}])
def test_a_row_that_cannot_be_read_is_counted_and_in_no_sum(load: Load, broken: dict[str, Any]) -> None:
    """As the aggregation keeps it apart; the rest of the day is told."""
    invoke, report = load("invoke_model"), load("report_usage")
    for _ in range(2):
        assert call(invoke, {"inputs": "hello"}, HAIKU)[0] == 200
    dynamodb = boto3.client("dynamodb")
    item = dynamodb.scan(TableName="usage")["Items"][0]
    dynamodb.put_item(TableName="usage", Item=item | broken)
    status, body = get(report, "/usage")
    assert (status, body["unreadable_rows"], body["totals"]["invocations"]) == (200, 1, 1)


# ------------------------------------------------------------------------------------------------- by user, key and tag
CALLS = {
    "by-token": (Attribution("alice", UserSource.TOKEN, (("project", "apollo"), ("stage", "test"))), "key_1"),
    "by-key": (Attribution("alice", UserSource.KEY), "key_2"),
    "claimed": (Attribution("alice", UserSource.CLAIMED, (("project", "zeus"),)), "key_1"),
    "other": (Attribution("bob", UserSource.TOKEN, (("project", "apollo"),)), "key_3"),
    "nobody": (Attribution(), "key_1"),
}


@pytest.fixture
def attributed(load: Load) -> list[UsageRecord]:
    """A call of each of CALLS, with different amounts, and rows of today."""
    assert call(load("invoke_model"), {"inputs": "hello"}, HAIKU)[0] == 200
    ledger, (first,) = DynamoLedger("usage"), rows()
    for number, (name, (by, key)) in enumerate(CALLS.items()):
        row = replace(first, request_id=RequestId(name), outcome=Outcome.OPEN, settled_at=None, usage=TokenUsage())
        row = replace(row, attribution=by, key_id=KeyId(key))
        ledger.reserve(row)
        ledger.reserve(row)  # a retried write finds its own row, with its user and tags
        ledger.settle(row.settle(Outcome.SUCCEEDED, TokenUsage(10**number, 2 * 10**number), row.started_at))
    boto3.client("dynamodb").delete_item(
        TableName="usage",
        Key=next(
            {name: item[name] for name in ("pk", "sk")}
            for item in boto3.client("dynamodb").scan(TableName="usage")["Items"]
            if item["request_id"]["S"] == first.request_id
        ),
    )
    return list(rows())


GROUPED = {
    "user": {("", None): 10_000, ("alice", "token"): 1, ("alice", "key"): 10, ("alice", "claimed"): 100,
             ("bob", "token"): 1000},
    "key": {("key_1", None): 10_101, ("key_2", None): 10, ("key_3", None): 1000},
    "tag:project": {("", None): 10_010, ("apollo", None): 1001, ("zeus", None): 100},
    "tag:stage": {("", None): 11_110, ("test", None): 1},
    "tag:colour": {("", None): 11_111},
}  # fmt: skip


@pytest.mark.parametrize("group_by", GROUPED)
def test_the_lines_by_user_key_and_tag_add_up_to_the_tenants_total(
    load: Load, attributed: list[UsageRecord], group_by: str
) -> None:
    """A claimed user is never in the line of the verified one of that name."""
    status, body = get(load("report_usage"), "/usage", {"group_by": group_by})
    assert (status, body["group_by"]) == (200, group_by)
    lines = {(line["key"], line.get("user_source")): line["totals"] for line in body["lines"]}
    assert {group: totals["input_tokens"] for group, totals in lines.items()} == GROUPED[group_by]
    charges = [price_book().charge_record(row) for row in attributed]
    owed = sum(charge.cost for charge in charges if charge)
    assert sum(Decimal(totals["cost"]) for totals in lines.values()) == Decimal(body["totals"]["cost"]) == owed > 0


@pytest.mark.parametrize("group_by", ["user", "key", "tag:project", "model", "day"])
def test_a_member_sees_its_own_rows_and_none_that_a_client_claimed_for_it(
    load: Load, attributed: list[UsageRecord], group_by: str
) -> None:
    def report(**identity: str) -> Any:
        sent = event("/usage", query={"group_by": group_by})
        sent["requestContext"]["authorizer"] |= identity
        return json.loads(load("report_usage").handler(sent, context())["body"])

    member = report(user_id="alice", user_source="token")
    assert member["totals"]["input_tokens"] == 11
    assert sum(line["totals"]["input_tokens"] for line in member["lines"]) == 11
    assert report(user_id="carol", user_source="token")["lines"] == []
    for sees_all in ({}, {"user_id": "alice", "user_source": "key", "role": "auditor"}):
        assert report(**sees_all)["totals"]["input_tokens"] == 11_111


def test_an_unknown_group_is_refused_with_the_groups_that_there_are(load: Load) -> None:
    for group_by in ("mood", "tag:", "tags:a", f"tag:{'x' * 129}", "Key"):
        status, problem = get(load("report_usage"), "/usage", {"group_by": group_by})
        assert (status, problem["code"]) == (400, "invalid_parameters")
        assert "model, cost_centre, day, hour, user, key, or tag: and the name of a tag" in problem["message"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"start": "2026-01-01", "end": "2026-03-01"}, "time_range_too_long"),
        ({"start": "2026-01-02", "end": "2026-01-01T00:00:00Z"}, "invalid_time_range"),
        ({"start": "the other day"}, "invalid_time"),
        ({"group_by": "mood"}, "invalid_parameters"),
    ],
)
def test_a_range_that_does_not_fit_says_what_would(load: Load, query: dict[str, str], code: str) -> None:
    status, problem = get(load("report_usage"), "/usage", query)
    assert (status, problem["code"]) == (400, code)

"""Runs that no other test makes, so that every grant of a step's role is used: see tests/recorded.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3

from gateway.aws.dynamodb.accounts import AccountTable
from gateway.aws.lake.parquet import quarantine_file
from gateway.aws.s3 import price_overlay
from gateway.budgets.scopes import holds_of
from gateway.costs.stores import QuarantinedRow
from gateway.tenancy.budgets import Budget
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import Outcome, TenantId, TokenUsage
from tests.rows import item
from tests.workflow.conftest import Agree
from tests.workflow.machine import Workflow, row


def test_a_run_prices_by_what_was_agreed_and_the_lake_has_the_newer_price(agree: Agree, workflow: Workflow) -> None:
    workflow.keep(row("a"), input_tokens=1_000_000)
    workflow.run(2.2)
    agree("1")
    workflow.run(2.3, hours=["2026-11-24T00"])
    (line,) = workflow.read("costs/")
    assert line["cost"] == 1
    agreed = [price["usd"] for price in workflow.read("prices/") if not price["is_listed"]]
    assert agreed == [1]


def test_each_step_asks_for_the_overlay_itself(agree: Agree, workflow: Workflow) -> None:
    """In Lambda they share no memory, as they do here."""

    def alone(handler: Callable[[Any, object], Any]) -> Callable[[Any, object], Any]:
        def cold(event: Any, context: object) -> Any:
            price_overlay._overlay.cache_clear()
            return handler(event, context)

        return cold

    workflow.handlers = {name: alone(handler) for name, handler in workflow.handlers.items()}
    now = datetime.now(UTC)
    tenant = Tenant(TenantId("acme"), "Acme", ("research",), budget=Budget(Decimal(9), hard=True))
    left = replace(row("left"), started_at=now, lease_until=now - timedelta(seconds=5))
    ((hold, limits),) = holds_of(tenant, left, Decimal(3), TokenUsage(input_tokens=1_000_000))
    AccountTable("budgets").hold(hold, limits)
    workflow.keep(left, input_tokens=1_000_000)
    workflow.keep(row("a"), input_tokens=1)
    workflow.run(2.2)
    assert AccountTable("budgets").account(hold.account).spent == 2


def put_unreadable(name: str, outcome: str) -> None:
    broken = item(row("a").settle(Outcome.SUCCEEDED, TokenUsage(input_tokens=5), row(name).started_at))
    boto3.client("dynamodb").put_item(TableName="usage", Item=broken | {"outcome": {"S": outcome}})


def test_a_row_that_cannot_be_read_for_another_reason_replaces_what_was_said_of_it(workflow: Workflow) -> None:
    for outcome in ("exploded", "evaporated"):
        put_unreadable("a", outcome)
        workflow.run(1.2, hours=["2026-11-24T00"])
    assert [told["reason"] for told in workflow.read("quarantine/")] == ["outcome is 'evaporated'"]


def test_an_hour_of_the_older_layout_goes_with_what_was_in_quarantine_beside_it(workflow: Workflow) -> None:
    workflow.keep(row("a"), input_tokens=1000)
    workflow.run(1.2)
    s3, (key,) = boto3.client("s3"), workflow.files("usage/")
    older = "dt=2026-11-24/hour=00/part-03.parquet"
    s3.copy_object(Bucket="lake", Key=f"usage/{older}", CopySource={"Bucket": "lake", "Key": key})
    told = quarantine_file([QuarantinedRow("2026-11-24T00#03", "b#0001", "outcome is 'exploded'", "{}")])
    s3.put_object(Bucket="lake", Key=f"quarantine/{older}", Body=told)
    workflow.run(2.2, hours=["2026-11-24T00"])
    assert (workflow.files("usage/"), workflow.files("quarantine/")) == ([key], [])


def test_a_day_that_breaks_twice_keeps_what_broke_last(workflow: Workflow) -> None:
    workflow.keep(row("a"), input_tokens=1000)
    workflow.run(1.2)
    (costs,) = workflow.files("costs/")
    for rubbish in (b"nothing that is Parquet", b"nor is this"):
        boto3.client("s3").put_object(Bucket="lake", Key=costs, Body=rubbish)
        assert workflow.run(2.2, hours=["2026-11-24T00"])["mendedFiles"] == [costs]
        assert boto3.client("s3").get_object(Bucket="lake", Key=f"corrupt/{costs}")["Body"].read() == rubbish


def test_usage_that_is_lost_twice_is_told_once(workflow: Workflow) -> None:
    workflow.keep(row("a"), input_tokens=1000)
    workflow.run(1.2)
    (key,) = workflow.files("usage/")
    years_later = {"day": "2026-11-24", "complete": True, "scheduledTime": "2028-11-24T00:12:00Z"}
    for rubbish in (b"nothing that is Parquet", b"nor is this"):
        boto3.client("s3").put_object(Bucket="lake", Key=key, Body=rubbish)
        assert workflow.handlers["CloseDay"](years_later, None)["lost"] == [key]
    assert [told["pk"] for told in workflow.read("quarantine/")] == [key]
    assert workflow.files("corrupt/") == [f"corrupt/{key}"]

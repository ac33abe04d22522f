"""After every run the lake matches the ledger, or the run fails and names the fault, with the real handlers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

import boto3
import pytest

from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.aws.s3.price_overlay import current_book
from gateway.costs.periods import HOUR
from gateway.costs.usage_report import add_up
from gateway.pricing.price_csv import price_book
from gateway.usage.records import TenantId
from tests.unit.costs.test_proofs import DAMAGES, another_cost, lost
from tests.workflow.conftest import Agree
from tests.workflow.machine import MIDNIGHT, Machine, Workflow, row

PLAN = {"hours": ["2026-11-24T00"], "closed_until": "2026-11-24T00", "after": "2026-11-23T23", "book_version": "old"}


def damage(workflow: Workflow, key: str, how: Callable[[bytes], bytes | None]) -> None:
    s3 = boto3.client("s3")
    content = how(s3.get_object(Bucket="lake", Key=key)["Body"].read())
    if content is None:
        s3.delete_object(Bucket="lake", Key=key)
    else:
        s3.put_object(Bucket="lake", Key=key, Body=content)


def cost(workflow: Workflow, prefix: str = "costs/") -> Decimal:
    return sum((line["cost"] or Decimal(0) for line in workflow.read(prefix)), Decimal(0))


# --------------------------------------------------------------------------------------------------- where it begins
def test_the_first_run_begins_where_the_ledger_does_however_late_it_comes(
    behind_lambda: Callable[[Machine], None],
) -> None:
    workflow = Workflow()
    behind_lambda(workflow)
    workflow.keep(row("old", -49.5), input_tokens=1_000_000)
    workflow.keep(row("new"), input_tokens=1)
    out = workflow.run(1.2)
    assert (out["hours"], out["watermark"], out["leftHours"]) == (51, "2026-11-24T00", 0)
    assert cost(workflow) == Decimal("3.000003")
    assert workflow.run(1.3)["hours"] == 0


@pytest.mark.parametrize("pages", [0, 100])
def test_hours_that_have_rows_are_found_by_a_scan_or_one_by_one(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    """A ledger that is too large to be scanned is asked hour by hour."""
    monkeypatch.setattr(
        "gateway.aws.dynamodb.ledger.QUERIES_AT_ONCE", 1
    )  # what stands in for DynamoDB here is not made for threads
    if not pages:
        monkeypatch.setattr(DynamoLedger, "_hours_by_scan", lambda self: None)
    for hour in (-5, 0.5, 2.5):
        workflow.keep(row(f"at{hour}", hour))
    asked = ["2026-11-23T18", "2026-11-23T19", "2026-11-24T00", "2026-11-24T01"]
    assert workflow.ledger.hours_with_rows(asked) == {"2026-11-23T19", "2026-11-24T00"}


# ------------------------------------------------------------------------------------------------- lost and altered
@pytest.fixture
def day(workflow: Workflow) -> Workflow:
    """Four hours of a day, three with a call."""
    for hour in (0, 1, 3):
        workflow.keep(row(f"a{hour}", hour + 0.5), input_tokens=1_000_000, output_tokens=hour)
        workflow.keep(replace(row(f"b{hour}", hour + 0.6), tenant_id=TenantId("beta")), input_tokens=500)
    workflow.run(4.2)
    return workflow


def test_a_file_that_was_lost_is_made_again_by_a_run_over_another_hour(day: Workflow) -> None:
    before, key = cost(day), "usage/dt=2026-11-24/hour=01/part-00-of-01.parquet"
    for asked in ({"hours": ["2026-11-24T03"]}, {}):
        damage(day, key, lost)
        out = day.run(4.3, **asked)
        assert (out["mendedFiles"], out["lostFiles"]) == ([key], [])
        assert cost(day, "usage/") == cost(day) == before
    assert day.run(4.4)["mendedFiles"] == []


def test_costs_that_were_altered_are_made_anew_and_what_they_were_is_kept(day: Workflow) -> None:
    before, key = cost(day), "costs/dt=2026-11-24/part-0.parquet"
    damage(day, key, another_cost)
    assert day.run(4.3)["mendedFiles"] == [key]
    assert (cost(day), day.files("corrupt/")) == (before, [f"corrupt/{key}"])
    damage(day, key, lost)
    assert day.run(4.3)["mendedFiles"] == [key]
    assert cost(day) == before


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_damaged_the_next_run_makes_it_as_the_ledger_says(day: Workflow, seed: int) -> None:
    random, before = Random(seed), cost(day)
    for turn in range(3):
        keys = day.files("usage/") + day.files("costs/")
        damaged = random.sample(keys, random.randint(1, 3))
        for key in damaged:
            damage(day, key, random.choice(DAMAGES if key.startswith("usage/") else [lost, another_cost]))
        assert sorted(day.run(4.3 + turn)["mendedFiles"]) == sorted(damaged)
        assert cost(day, "usage/") == cost(day) == before


def test_a_run_that_finds_nothing_to_do_asks_little_of_the_stores(
    day: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two queries and two listings look at everything, a page of each for a thousand files: it reads none."""
    asked: Counter[str] = Counter()
    for name, handler in day.handlers.items():
        if name != "SweepOpenRows":
            day.handlers[name] = counting(handler, asked)
    day.run(4.3)
    assert asked == {
        "dynamodb.GetItem": 5,
        "dynamodb.Query": 4,
        "s3.ListObjectsV2": 3,
    }


def counting(handler: Callable[[Any, object], Any], asked: Counter[str]) -> Callable[[Any, object], Any]:
    from gateway.aws.clients import client

    def counted(event: Any, context: object) -> Any:
        def note(model: Any, **_: Any) -> None:
            asked[f"{model.service_model.service_name}.{model.name}"] += 1

        clients = [client("dynamodb"), client("s3")]
        for one in clients:
            one.meta.events.register("before-call", note, unique_id="counted")
        try:
            return handler(event, context)
        finally:
            for one in clients:
                one.meta.events.unregister("before-call", unique_id="counted")

    return counted


# --------------------------------------------------------------------------------------------------------- prices
def test_a_price_that_is_agreed_later_reprices_all_calls_from_its_day_on(agree: Agree, workflow: Workflow) -> None:
    workflow.keep(row("a"), input_tokens=1_000_000)
    workflow.keep(row("b", 1.5), input_tokens=1_000_000)
    workflow.run(2.2)
    assert cost(workflow) == 4
    agree("1")  # under the name of the older price
    out = workflow.run(2.3)
    assert (out["hours"], out["leftHours"], out["leftDays"], out["mendedFiles"]) == (2, 0, 0, [])
    assert {line["cost"] for line in workflow.read("usage/")} == {Decimal(1)}
    assert cost(workflow) == 2
    usage = add_up(
        workflow.ledger.inspect_tenant(TenantId("acme"), MIDNIGHT, MIDNIGHT + 2 * HOUR), "model", current_book(0)
    )
    assert (usage.total.cost, usage.total.partial) == (cost(workflow, "usage/"), False)
    assert workflow.run(2.4)["hours"] == 0


def test_prices_that_cannot_be_read_fail_the_run_and_are_named(agree: Agree, workflow: Workflow) -> None:
    boto3.client("s3").put_object(Bucket="prices", Key="ours.csv", Body=b"model_id,price\n")
    with pytest.raises(Exception, match=r"s3://prices/ours.csv cannot be read: price overlay line 1: the columns must"):
        workflow.run(2.2)


# ------------------------------------------------------------------------------------------------- an earlier release
def test_a_run_that_an_earlier_release_began_comes_to_its_end_and_the_next_proves_its_hours(workflow: Workflow) -> None:
    """Its state machine knows neither proofs nor days to look into, and its steps are today's from one on."""
    workflow.keep(row("a"), input_tokens=1_000_000)
    steps, file = workflow.handlers, {"hour": "2026-11-24T00", "part": 0, "parts": 1}
    scheduled = {"scheduledTime": "2026-11-24T01:12:00Z"}
    assert steps["PlanPeriods"](scheduled | {"sweep": {}}, None)["plan"]["hours"] == ("2026-11-24T00",)
    steps["PriceUsage"](file | scheduled, None)
    closed = steps["CloseDay"]({"day": "2026-11-24", "complete": False} | scheduled, None)
    verified = steps["VerifyCosts"](file | scheduled | {"closedUntil": "2026-11-24T00"}, None)
    steps["VerifyCosts"]({"day": "2026-11-24"}, None)
    kept = {name: verified[name] for name in ("hour", "open", "unpriced", "quarantined")}
    done = steps["CommitPeriods"]({"plan": PLAN, "closed": [closed], "verified": [kept]}, None)
    assert done["watermark"] == "2026-11-24T00"
    assert workflow.proofs.days() == {}
    workflow.run(1.3)
    assert list(workflow.proofs.days()["2026-11-24"].hours) == ["2026-11-24T00"]
    assert cost(workflow) == 3


def test_what_an_earlier_release_has_aggregated_is_taken_over_without_doing_it_again(day: Workflow) -> None:
    table = boto3.client("dynamodb")
    for kept in ("begin", "2026-11-24"):
        table.delete_item(TableName="usage", Key={"pk": {"S": "proofs"}, "sk": {"S": kept}})
    out = day.run(4.3)
    assert (out["hours"], out["mendedFiles"]) == (0, [])
    (proof,) = day.proofs.days().values()
    assert (len(proof.hours), proof.book_version) == (4, price_book().version)


def test_a_row_of_an_hour_that_another_book_has_priced_is_looked_at_again(day: Workflow) -> None:
    day.proofs.note(replace(day.proofs.days()["2026-11-24"], book_version="another"))
    assert day.proofs.days()["2026-11-24"].book_version == ""
    day.run(4.3)
    assert day.proofs.days()["2026-11-24"].book_version == price_book().version

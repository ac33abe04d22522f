"""The nightly run turns real usage files, a bill in AWS's layout and CloudWatch's metrics into the three tables."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import cfnlint  # type: ignore[import-untyped, unused-ignore]
import jsonschema  # type: ignore[import-untyped, unused-ignore]
import pyarrow.parquet as pq
import pytest

from gateway.aws.dynamodb.tenants import TenantTable
from gateway.aws.lake.cur import Bill, BillUnreadable
from gateway.aws.lake.usage_and_costs import ParquetLake
from gateway.aws.s3.objects import S3Objects
from gateway.core.settings import settings
from gateway.costs.cost_lines import CostLine, DayCosts
from gateway.costs.pricer import Pricer
from gateway.costs.usage_files import UsageFile
from gateway.pricing.price_csv import price_book
from gateway.tenancy.budgets import Budget
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import UNKNOWN, Outcome, TenantId, TokenUsage, UsageRecord
from scripts.project import quick_yaml
from tests.rows import item, page
from tests.workflow.bill import ACCOUNT, export, line
from tests.workflow.machine import Machine, RunFailed, definition, load, row_at, steps

FOLDER = "reconcile_costs"
EVENTS = Path(__file__).parents[2] / "events/reconcile_costs"
DAY = datetime(2026, 11, 20, tzinfo=UTC)
NIGHT = {"scheduledTime": "2026-11-24T04:30:00Z"}
NOVA, SONNET = "amazon.nova-lite-v1:0", "us.anthropic.claude-sonnet-4-6"
IN, OUT = "USE1-NovaLite-input-tokens", "USE1-NovaLite-output-tokens"
OURS = f"arn:aws:sts::{ACCOUNT}:assumed-role/gateway-invoke/gateway-invoke"
ALICE = f"arn:aws:iam::{ACCOUNT}:user/alice"
SONNET_PRODUCT: dict[str, Any] = {
    "product": [("product_name", "Claude Sonnet 4.6 (Amazon Bedrock Edition)")],
    "product_servicecode": None,
}
MARKETPLACE: dict[str, Any] = {
    "bill_billing_entity": "AWS Marketplace",
    "line_item_product_code": "5gxq2q4mzqzqzqzq",
    **SONNET_PRODUCT,
}


@pytest.fixture(autouse=True)
def told_of_roles_and_a_bill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ROLES", f"arn:aws:iam::{ACCOUNT}:role/gateway-invoke")
    monkeypatch.setenv("CUR_URI", "s3://bills/exports/costs")
    settings.cache_clear()


def row(name: str, at: datetime, outcome: Outcome, model: str = NOVA, seconds: float = 2, **used: Any) -> UsageRecord:
    record = row_at(name, at, model)
    return (
        record
        if outcome is Outcome.OPEN
        else record.settle(outcome, TokenUsage(**used), at + timedelta(seconds=seconds))
    )


def keep(*rows: UsageRecord) -> None:
    """Write rows into the lake as the aggregation does."""
    lake, hours = ParquetLake(S3Objects("lake")), defaultdict[str, list[Any]](list)
    for record in rows:
        hours[record.hour].append(item(record))
    for hour, items in hours.items():
        content = page(sorted(items, key=lambda row: str(row["sk"]["S"])))
        lake.replace_usage(UsageFile(hour), Pricer(price_book()), [content].copy, DAY + timedelta(days=9))


def read(table: str, day: str) -> list[dict[str, Any]]:
    body = boto3.client("s3").get_object(Bucket="lake", Key=f"{table}/dt={day}/part-0.parquet")["Body"].read()
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(body)).to_pylist()
    return rows


def reasons(found: dict[str, Any]) -> dict[str, Decimal]:
    names = (
        "unpriced",
        "late",
        "interrupted",
        "out_of_band",
        "discount",
        "adjustment",
        "price",
        "rounding",
        "unexplained",
    )
    return {name: found[name] for name in names if found[name]}


def measure(day: datetime, *counted: tuple[str, str, float]) -> None:
    data = [
        {
            "MetricName": metric,
            "Dimensions": [{"Name": "ModelId", "Value": model}],
            "Timestamp": day + timedelta(hours=9),
            "Value": value,
        }
        for model, metric, value in counted
    ]
    boto3.client("cloudwatch").put_metric_data(Namespace="AWS/Bedrock", MetricData=data)


def step(name: str) -> Callable[[Any, object], Any]:
    return load(steps(FOLDER)[name])


def event(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EVENTS / name / "night.json").read_text())
    return found


def plant_every_kind_of_difference() -> None:
    """A day with one of each. Nova Lite costs 0.06 and 0.24 USD for a million tokens, Sonnet 4.6 in `us.` 3.30."""
    keep(
        row("a", DAY + timedelta(hours=1), Outcome.SUCCEEDED, input_tokens=1_000_000, output_tokens=100_000),
        row("b", DAY + timedelta(hours=2), Outcome.SUCCEEDED, input_tokens=1_000_000, output_tokens=100_000),
        row("before", DAY - timedelta(seconds=5), Outcome.SUCCEEDED, seconds=9, input_tokens=40_000),
        row(
            "over",
            DAY + timedelta(hours=23, minutes=59, seconds=59),
            Outcome.SUCCEEDED,
            seconds=9,
            output_tokens=30_000,
        ),
        row("cut", DAY + timedelta(hours=3), Outcome.INTERRUPTED, source=UNKNOWN),
        row("swept", DAY + timedelta(hours=4), Outcome.UNSETTLED, source=UNKNOWN),
        row("refused", DAY + timedelta(hours=4), Outcome.FAILED),
        row("new", DAY + timedelta(hours=5), Outcome.SUCCEEDED, "maker.brand-new", input_tokens=7_000),
        row("claude", DAY + timedelta(hours=6), Outcome.SUCCEEDED, SONNET, input_tokens=2_000_000),
    )
    at = DAY + timedelta(hours=10)
    export(
        [
            # 2,000,000 known, 40,000 that began the day before, 500,000 of the calls that nobody settled
            line(DAY, IN, 2_000.0, 0.12, 0.108, OURS),
            line(at, IN, 540.0, 0.0324, 0.02916, OURS),
            # the 30,000 of the call over midnight are on the next day's bill
            line(at, OUT, 200.0, 0.048, 0.0432, OURS),
            line(DAY + timedelta(days=1), OUT, 30.0, 0.0072, 0.0072, OURS),
            line(at, "USE1-maker.brand-new-mantle-input-tokens-standard", 7.0, 0.021, 0.021, OURS),
            line(at, "USE1-MP:USE1_InputTokenCount-Units", 2.0, 6.6, 6.6, OURS, pricing_unit="1M tokens", **MARKETPLACE),
            line(at, IN, 10.0, 0.0006, 0.0006, ALICE),
            line(at, "USE1-Guardrail-ContentPolicyUnitsConsumed", 3.0, 0.00045, 0.00045, OURS, pricing_unit="Units"),
        ]
    )  # fmt: skip
    export(
        [
            line(at, "", 0.0, 0.0, 0.32, line_item_line_item_type="Tax", line_item_unblended_cost=0.32),
            line(at, "BoxUsage:t3.micro", 5.0, 0.05, 0.05, OURS, line_item_product_code="AmazonEC2"),
            line(at, IN, 9.0, 9.0, 9.0, OURS, line_item_usage_account_id="999999999999"),
            line(
                at,
                "EU-MP:x_Units-Units",
                9.0,
                9.0,
                9.0,
                **(MARKETPLACE | {"product": [("product_name", "A firewall")]}),
            ),
        ],
        part=2,
    )


def test_every_planted_difference_is_found_to_the_cent(aws: None) -> None:
    plant_every_kind_of_difference()
    measure(DAY, (NOVA, "Invocations", 5), (NOVA, "InputTokenCount", 2_540_000), ("other.model", "Invocations", 3))
    said = step("ReconcileDay")(event("reconcile_day") | {"bill": True}, None)
    bill = {
        (found["usage_type"], found["principal"]): found
        for found in read("reconciliation", "2026-11-20")
        if found["source"] == "cur"
    }
    inputs = bill[IN, "gateway"]
    assert (inputs["ledger"], inputs["aws"], inputs["difference"]) == (
        Decimal("0.12"), Decimal("0.13716"), Decimal("0.01716"),
    )  # fmt: skip
    assert reasons(inputs) == {
        "late": Decimal("0.0024"),
        "interrupted": Decimal("0.03"),
        "discount": Decimal("-0.01524"),
    }
    assert (inputs["ledger_quantity"], inputs["aws_quantity"], inputs["unsettled_rows"]) == (2_000_000, 2_540_000, 2)
    assert reasons(bill[OUT, "gateway"]) == {"late": Decimal("-0.0072"), "discount": Decimal("-0.0048")}
    assert reasons(bill["USE1-maker.brand-new-mantle-input-tokens-standard", "gateway"]) == {
        "unpriced": Decimal("0.021")
    }
    claude = bill["USE1-MP:USE1_InputTokenCount-Units", "gateway"]
    assert (claude["model_id"], claude["ledger"], reasons(claude)) == (
        "anthropic.claude-sonnet-4-6",
        Decimal("6.6"),
        {},
    )
    assert reasons(bill[IN, ALICE]) == {"out_of_band": Decimal("0.0006")}
    assert reasons(bill["Tax", "(none)"]) == {"adjustment": Decimal("0.32")}
    odd = bill["USE1-Guardrail-ContentPolicyUnitsConsumed", "gateway"]
    assert (odd["mapped"], reasons(odd), odd["above_tolerance"]) == (False, {"unexplained": Decimal("0.00045")}, False)
    assert len(bill) == 7
    assert said["unmapped"] == 2
    assert said["differenceUsd"] == {
        "unpriced": "0.021", "late": "-0.0048", "interrupted": "0.03", "out_of_band": "0.0006",
        "discount": "-0.02004", "adjustment": "0.32", "unexplained": "0.00045",
    }  # fmt: skip


def test_what_no_reason_explains_counts_the_metric_that_alarms(aws: None, capsys: pytest.CaptureFixture[str]) -> None:
    keep(row("a", DAY, Outcome.SUCCEEDED, input_tokens=1_000_000))
    export([line(DAY, IN, 2_000.0, 0.12, principal=OURS)])
    measure(DAY, (NOVA, "Invocations", 1), (NOVA, "InputTokenCount", 1_000_000))
    said = step("ReconcileDay")(event("reconcile_day") | {"bill": True}, None)
    assert (said["aboveTolerance"], said["differenceUsd"]) == (1, {"unexplained": "0.06"})
    assert "ReconciliationOff" in capsys.readouterr().out


def test_the_metrics_are_held_against_the_ledger_by_model(aws: None, capsys: pytest.CaptureFixture[str]) -> None:
    keep(row("a", DAY, Outcome.SUCCEEDED, SONNET, input_tokens=900, output_tokens=50, cache_read_tokens=10))
    measure(
        DAY,
        (SONNET, "Invocations", 1),
        (SONNET, "InputTokenCount", 900),
        (SONNET, "OutputTokenCount", 50),
        (SONNET, "CacheReadInputTokenCount", 10),
    )
    measure(DAY + timedelta(days=1), (SONNET, "Invocations", 77))
    measure(DAY, ("theirs", "Invocations", 4))
    assert step("ReconcileDay")(event("reconcile_day"), None)["aboveTolerance"] == 0
    found = {(line["usage_type"], line["unit"]): line for line in read("reconciliation", "2026-11-20")}
    assert {unit: line["difference"] for (model, unit), line in found.items() if model == SONNET} == {
        "Invocations": 0, "InputTokenCount": 0, "OutputTokenCount": 0, "CacheReadInputTokenCount": 0,
    }  # fmt: skip
    assert found[SONNET, "Invocations"]["model_id"] == "anthropic.claude-sonnet-4-6"
    assert reasons(found["theirs", "Invocations"]) == {"out_of_band": 4}
    assert "ReconciliationOff" not in capsys.readouterr().out


def test_doing_a_day_again_writes_the_very_same_file(aws: None) -> None:
    plant_every_kind_of_difference()
    s3 = boto3.client("s3")
    bodies = []
    for _ in range(2):
        step("ReconcileDay")(event("reconcile_day") | {"bill": True}, None)
        (found,) = s3.list_objects_v2(Bucket="lake", Prefix="reconciliation/")["Contents"]
        bodies.append(s3.get_object(Bucket="lake", Key=found["Key"])["Body"].read())
    assert bodies[0] == bodies[1]


# ----------------------------------------------------------------------------------------------------------- the bill
def test_of_a_bill_that_keeps_its_versions_the_newest_counts(aws: None) -> None:
    export([line(DAY, IN, 1.0, 1.0)], "20261121T000000-a/")
    export([line(DAY, IN, 2.0, 2.0)], "20261122T000000-b/")
    (found,) = Bill("s3://bills/exports/costs", {ACCOUNT}).lines("2026-11-20")
    assert found.amount == 2


def test_a_bill_is_read_with_what_it_has(aws: None) -> None:
    lacking = [
        "line_item_net_unblended_cost",
        "line_item_iam_principal",
        "product",
        "pricing_public_on_demand_cost",
        "pricing_unit",
    ]
    export([line(DAY, IN, 1.0, 0.5)], without=lacking)
    (found,) = Bill("s3://bills/exports/costs/data", {ACCOUNT}).lines("2026-11-20")
    assert (found.amount, found.list_cost, found.net_cost, found.principal) == (
        Decimal(1),
        Decimal("0.5"),
        Decimal("0.5"),
        "",
    )


def test_a_bill_without_what_is_needed_says_so(aws: None) -> None:
    export([line(DAY, IN, 1.0, 0.5)], without=["line_item_usage_amount"])
    with pytest.raises(BillUnreadable, match="check CurUri"):
        Bill("s3://bills/exports/costs", {ACCOUNT}).lines("2026-12-01")
    with pytest.raises(BillUnreadable, match="line_item_usage_amount"):
        Bill("s3://bills/exports/costs", {ACCOUNT}).lines("2026-11-20")


def test_a_bill_in_another_currency_is_refused(aws: None) -> None:
    export([line(DAY, IN, 1.0, 0.5, line_item_currency_code="EUR")])
    with pytest.raises(BillUnreadable, match="USD"):
        Bill("s3://bills/exports/costs", {ACCOUNT}).lines("2026-11-20")


def test_the_number_that_aws_wrote_is_the_number_that_counts(aws: None) -> None:
    export([line(DAY, IN, 0.1, 0.1), line(DAY, IN, 0.2, 0.2)])
    (found,) = Bill("s3://bills/exports/costs", {ACCOUNT}).lines("2026-11-20")
    assert (found.net_cost, found.lines) == (Decimal("0.3"), 2)


# ------------------------------------------------------------------------------------------------ anomalies, forecasts
def spend(costs: dict[date, str]) -> None:
    lake = ParquetLake(S3Objects("lake"))
    for day, cost in costs.items():
        line = CostLine("acme", "research", NOVA, invocations=1, cost=Decimal(cost), list_cost=Decimal(cost))
        lake.replace_costs(day.isoformat(), partial(made, DayCosts((line,))))


def made(costs: DayCosts, _held: DayCosts | None) -> DayCosts:
    return costs


def listen() -> Callable[[], list[dict[str, Any]]]:
    events, queues = boto3.client("events"), boto3.client("sqs")
    queue = queues.create_queue(QueueName="told")["QueueUrl"]
    events.put_rule(Name="all", EventPattern=json.dumps({"source": ["model-gateway"]}))
    events.put_targets(Rule="all", Targets=[{"Id": "told", "Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:told"}])
    return lambda: [
        json.loads(m["Body"])
        for m in queues.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", ())
    ]


def test_a_strange_day_and_a_month_above_its_budget_are_rows_and_are_told_once(aws: None) -> None:
    told = listen()
    yesterday = date(2026, 11, 23)
    spend({yesterday - timedelta(days=n): "10" for n in range(1, 57)} | {yesterday: "90"})
    TenantTable("tenants").put_tenant(Tenant(TenantId("acme"), "Acme", ("research",), budget=Budget(Decimal(300))))
    judge = step("JudgeSpending")
    assert judge(event("judge_spending"), None) == {"anomalies": 1, "forecasts": 2, "told": 2}
    assert judge(event("judge_spending"), None) == {"anomalies": 1, "forecasts": 2, "told": 0}

    (strange,) = read("anomalies", "2026-11-23")
    assert (strange["tenant_id"], strange["cost"], strange["usual_cost"], strange["compared_days"]) == (
        "acme",
        90,
        10,
        8,
    )
    whole, centre = read("forecasts", "2026-11-23")
    assert (whole["month_to_date"], whole["expected"], whole["budget"], whole["above_budget"]) == (310, 380, 300, True)
    assert (centre["cost_centre"], centre["expected"], centre["budget"], centre["above_budget"]) == (
        "research",
        380,
        None,
        False,
    )
    details = {body["detail-type"]: body["detail"] for body in told()}
    assert details["Cost anomaly"]["day"] == "2026-11-23"
    assert details["Month forecast above budget"]["expected_usd"] == "380"
    assert details.keys() == {"Cost anomaly", "Month forecast above budget"}


# ---------------------------------------------------------------------------------------------------- the state machine
@pytest.fixture
def night(behind_lambda: Callable[[Machine], None]) -> Callable[[dict[str, Any]], Any]:
    """Run the state machine."""
    machine = Machine(FOLDER)
    behind_lambda(machine)
    return machine.run_with


def test_a_night_judges_yesterday_and_reconciles_two_days(night: Callable[[dict[str, Any]], Any]) -> None:
    plant_every_kind_of_difference()
    spend({date(2026, 11, 23): "10"})
    out = night(NIGHT)
    assert out["spending"] == {"anomalies": 0, "forecasts": 2, "told": 0}
    assert [day["day"] for day in out["reconciled"]] == ["2026-11-23", "2026-11-20"]
    assert read("reconciliation", "2026-11-23") == []
    assert {found["source"] for found in read("reconciliation", "2026-11-20")} == {"cloudwatch", "cur"}
    assert {found["reconciled_at"] for found in read("reconciliation", "2026-11-20")} == {
        datetime(2026, 11, 24, 4, 30, tzinfo=UTC)
    }


def test_days_may_be_asked_for(night: Callable[[dict[str, Any]], Any]) -> None:
    export([])
    assert [day["day"] for day in night({**NIGHT, "days": ["2026-11-01", "2026-11-02"]})["reconciled"]] == [
        "2026-11-01",
        "2026-11-02",
    ]


def test_without_a_bill_a_night_reconciles_with_the_metrics(
    night: Callable[[dict[str, Any]], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUR_URI", "")
    settings.cache_clear()
    assert [day["day"] for day in night(NIGHT)["reconciled"]] == ["2026-11-23"]


def test_a_night_that_cannot_be_done_fails_and_names_its_day(night: Callable[[dict[str, Any]], Any]) -> None:
    export([line(DAY, IN, 1.0, 0.5, line_item_currency_code="EUR")])
    with pytest.raises(RunFailed) as failed:
        night(NIGHT)
    assert failed.value.args[0] == "BillUnreadable"
    assert "2026-11-24T04:30:00Z" in failed.value.args[1]
    assert "2026-11-20" in failed.value.args[1]


def test_the_definition_is_the_language_of_step_functions() -> None:
    schema = json.loads(
        (Path(cfnlint.__file__).parent / "data/schemas/other/step_functions/statemachine.json").read_text()
    )
    jsonschema.Draft7Validator(schema).validate(quick_yaml.read(definition(FOLDER)))


def test_the_events_are_what_the_steps_are_given() -> None:
    assert step("PlanNight")(event("plan_night"), None) == {
        "days": [
            {"day": "2026-11-23", "bill": False, "scheduledTime": "2026-11-24T04:30:00Z"},
            {"day": "2026-11-20", "bill": True, "scheduledTime": "2026-11-24T04:30:00Z"},
        ],
        "yesterday": "2026-11-23",
    }
    assert event("judge_spending") == {"day": "2026-11-23"}

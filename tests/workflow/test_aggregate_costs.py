"""A real run of the state machine, with the steps' own handlers: from rows in DynamoDB to Parquet in S3."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import cfnlint  # type: ignore[import-untyped, unused-ignore]
import jsonschema  # type: ignore[import-untyped, unused-ignore]
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.aws.dynamodb.accounts import AccountTable
from gateway.aws.dynamodb.tenants import TenantTable
from gateway.aws.s3 import objects
from gateway.aws.s3.objects import Overtaken
from gateway.budgets.scopes import holds_of
from gateway.pricing.price_csv import price_book
from gateway.tenancy.budgets import Budget
from gateway.tenancy.tenant import Tenant
from gateway.usage.ledger import Partition
from gateway.usage.records import UNKNOWN, Outcome, TenantId, TokenUsage
from scripts.project import quick_yaml
from tests.rows import item
from tests.workflow.machine import FUNCTIONS, MIDNIGHT, SONNET, RunFailed, Workflow, definition, row, steps

FOLDER = "aggregate_costs"


def test_rows_become_costs(workflow: Workflow) -> None:
    workflow.keep(row("a"), input_tokens=1000, output_tokens=100, raw='{"inputTokens": 1000}')
    workflow.keep(row("b", 0.6), input_tokens=500, output_tokens=50, cache_read_tokens=0)
    workflow.keep(row("c", 1.1), Outcome.FAILED)
    workflow.keep(row("d", 1.2, model="maker.unheard-of"), input_tokens=10)
    workflow.keep(row("e", 1.3), Outcome.INTERRUPTED, source=UNKNOWN)
    out = workflow.run(2.2)
    assert out == {
        "hours": 2,
        "days": ["2026-11-24"],
        "openHours": [],
        "unpricedHours": ["2026-11-24T01"],
        "quarantinedRows": 0,
        "mendedFiles": [],
        "lostFiles": [],
        "leftHours": 0,
        "leftDays": 0,
        "watermark": "2026-11-24T01",
    }
    assert workflow.files("usage/") == [f"usage/dt=2026-11-24/hour=0{hour}/part-00-of-01.parquet" for hour in (0, 1)]
    assert workflow.files("costs/") == ["costs/dt=2026-11-24/part-0.parquet"]
    assert sorted(r["request_id"] for r in workflow.read("usage/")) == ["a", "b", "c", "d", "e"]

    sonnet, unheard_of = workflow.read("costs/")
    charge = price_book().charge(SONNET, "us-east-1", TokenUsage(input_tokens=1500, output_tokens=150), MIDNIGHT)
    assert charge is not None
    assert sonnet["cost"] == charge.cost > 0
    assert (sonnet["invocations"], sonnet["failed_invocations"], sonnet["unsettled_invocations"]) == (3, 1, 1)
    assert (unheard_of["cost"], unheard_of["unpriced_invocations"]) == (None, 1)


def test_the_state_carries_keys_dates_and_counts_only(workflow: Workflow) -> None:
    workflow.keep(row("a"), input_tokens=1000)
    workflow.run(1.2)
    given = [call for call in workflow.calls if call[0] in {"PriceUsage", "CloseDay", "VerifyCosts"}]
    scheduled = {"scheduledTime": "2026-11-24T01:12:00Z"}
    file = {"hour": "2026-11-24T00", "part": 0, "parts": 1}
    day = {"day": "2026-11-24", "hours": ["2026-11-24T00"]}
    assert given == [
        ("PriceUsage", file | scheduled),
        ("CloseDay", day | {"complete": False, "rebuild": False} | scheduled),
        ("VerifyCosts", file | {"closedUntil": "2026-11-24T00"} | scheduled),
        ("VerifyCosts", day),
    ]
    assert "request_id" not in json.dumps(workflow.calls)


def test_a_late_row_makes_its_hour_dirty_and_is_written_in_the_next_run(workflow: Workflow) -> None:
    late = row("late", 0.9)
    workflow.keep(late, outcome=None)
    workflow.keep(row("a"), input_tokens=1000)
    assert workflow.run(1.2)["openHours"] == ["2026-11-24T00"]
    assert workflow.periods.dirty() == ["2026-11-24T00"]
    assert workflow.read("costs/")[0]["open_invocations"] == 1

    workflow.settle(late, input_tokens=500)
    out = workflow.run(2.2)
    assert (out["hours"], out["days"], out["openHours"]) == (2, ["2026-11-24"], [])
    assert workflow.periods.dirty() == []
    (line,) = workflow.read("costs/")
    assert (line["open_invocations"], line["input_tokens"]) == (0, 1500)


def test_a_row_that_nobody_settles_is_swept_and_shown(workflow: Workflow) -> None:
    workflow.keep(row("lost"), outcome=None)
    workflow.run(1.2)
    assert workflow.read("usage/")[0]["outcome"] == "open"
    workflow.run(1.3, asOf="2099-01-01T00:00:00Z")
    (found,) = workflow.read("usage/")
    assert (found["outcome"], found["price_status"], found["cost"]) == ("unsettled", "unsettled", None)
    assert found["settled_at"].year < 2099


def test_the_sweep_tells_how_long_the_oldest_call_is_open(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = workflow.handlers["SweepOpenRows"]
    sweep({}, None)
    assert '"OldestOpenRowAge":[0.0]' in capsys.readouterr().out
    now = datetime.now(UTC)
    running = replace(row("runs"), started_at=now - timedelta(minutes=10), lease_until=now + timedelta(minutes=5))
    workflow.ledger.reserve(running)
    sweep({}, None)
    (line,) = [json.loads(said) for said in capsys.readouterr().out.splitlines() if "OldestOpenRowAge" in said]
    assert 600 <= line["OldestOpenRowAge"][0] < 660


def told_costs(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str, float]]:
    """The metric of a day's cost: the day, the dimension's value and USD, as CloudWatch reads them from the log."""
    told = []
    for line in capsys.readouterr().out.splitlines():
        if '"DayCostUsd"' in line:
            said = json.loads(line)
            (metrics,) = said["_aws"]["CloudWatchMetrics"]
            assert metrics["Metrics"] == [{"Name": "DayCostUsd", "Unit": "None"}]
            (((dimension,),), day) = (
                metrics["Dimensions"],
                datetime.fromtimestamp(said["_aws"]["Timestamp"] / 1000, UTC),
            )
            assert (metrics["Namespace"], dimension in ("service", "model_id")) == ("ModelGateway", True)
            told.append((day.isoformat(), said[dimension], said["DayCostUsd"]))
    return told


def test_what_a_day_costs_is_told_as_a_metric_and_is_the_sum_of_its_priced_rows(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    haiku = "anthropic.claude-3-haiku-20240307-v1:0"
    workflow.keep(row("a"), input_tokens=1_000_003, output_tokens=100)
    workflow.keep(replace(row("b", 0.6), tenant_id=TenantId("other")), input_tokens=500, output_tokens=7)
    workflow.keep(row("c", 1.1, model=haiku), input_tokens=77)
    workflow.keep(row("d", 1.2, model="maker.unheard-of"), input_tokens=10)
    workflow.keep(row("e", 1.3), Outcome.FAILED)
    workflow.run(2.2)
    costs: dict[str, Decimal] = {}
    for priced in workflow.read("usage/"):
        costs[priced["model_id"]] = costs.get(priced["model_id"], Decimal(0)) + (priced["cost"] or Decimal(0))
    assert costs[SONNET] > costs[haiku] > costs["maker.unheard-of"] == 0
    day = "2026-11-24T00:00:00+00:00"
    whole = [(day, "model-gateway", float(sum(costs.values())))]
    assert told_costs(capsys) == [*whole, *((day, model_id, float(costs[model_id])) for model_id in (SONNET, haiku))]


def test_a_metric_by_model_has_few_names_and_none_that_a_caller_made_up(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    book = price_book()
    priced = [
        name
        for name in sorted({price.model_id for price in book.prices()})
        if book.charge(name, "us-east-1", TokenUsage(input_tokens=1), MIDNIGHT) and not name.startswith("arn:")
    ][:25]
    for number, name in enumerate(priced):
        workflow.keep(row(f"p{number}", model=name), input_tokens=1000 + number)
        workflow.keep(row(f"u{number}", model=f"maker.made-up-{number}"), input_tokens=10)
    workflow.run(1.2)
    (_, service, whole), *models = told_costs(capsys)
    rows = workflow.read("usage/")
    assert (service, whole) == ("model-gateway", float(sum(found["cost"] or 0 for found in rows)))
    assert len(models) == 21
    assert models[-1][1] == "other"
    assert {name for _, name, _ in models[:-1]} < set(priced)
    dearest = sorted((float(found["cost"]) for found in rows if found["cost"]), reverse=True)
    assert [usd for _, _, usd in models[:-1]] == dearest[:20]
    assert models[-1][2] == pytest.approx(sum(dearest[20:]))


def test_usage_without_a_price_is_told_and_what_an_earlier_release_noted_of_it_is_done_again(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow.keep(row("a"), input_tokens=1000)
    workflow.keep(row("b", 1.5, model="maker.unheard-of"), input_tokens=10)
    assert workflow.run(2.2)["unpricedHours"] == ["2026-11-24T01"]
    assert '"UnpricedUsage":[1.0]' in capsys.readouterr().out
    assert workflow.run(2.3)["hours"] == 0  # the same book
    for hour in ("2026-11-24T00", "2026-11-24T01"):
        workflow.periods.mark_stale(hour, "an older book")
    out = workflow.run(2.3)
    assert (out["hours"], out["unpricedHours"], workflow.periods.dirty()) == (2, ["2026-11-24T01"], [])
    assert workflow.periods.stale() == []


def test_the_sweep_books_what_nobody_booked_and_tells_what_nobody_told(workflow: Workflow) -> None:
    now = datetime.now(UTC)
    tenant = Tenant(TenantId("acme"), "Acme", ("research",), budget=Budget(Decimal(1), hard=True))
    TenantTable("tenants").put_tenant(tenant)
    left = replace(row("left"), started_at=now, lease_until=now)
    ((hold, limits),) = holds_of(tenant, left, Decimal("0.9"), TokenUsage(input_tokens=300_000))
    AccountTable("budgets").hold(hold, limits)
    workflow.keep(left, input_tokens=280_000)  # settled, and then its process is gone
    sweep = workflow.handlers["SweepOpenRows"]
    assert sweep({"asOf": "9999-01-01T00:00:00+00:00"}, None) == {"swept": 0, "released": 1, "told": 2}
    account = AccountTable("budgets").account(hold.account)
    assert (account.spent, account.committed, account.holds) == (Decimal("0.84"), Decimal("0.84"), {})
    assert sweep({}, None) == {"swept": 0, "released": 0, "told": 0}


def test_the_hour_that_runs_is_shown_and_not_closed(workflow: Workflow) -> None:
    workflow.keep(row("a"), input_tokens=1)
    workflow.run(0.7, includeCurrentHour=True)
    assert workflow.read("costs/")[0]["input_tokens"] == 1
    assert workflow.periods.watermark() == "2026-11-23T23"
    workflow.keep(row("b", 0.8), input_tokens=1)
    workflow.run(1.2)
    assert workflow.read("costs/")[0]["input_tokens"] == 2
    assert workflow.periods.watermark() == "2026-11-24T00"


def test_hours_can_be_done_again_by_hand(workflow: Workflow) -> None:
    workflow.keep(row("a"), input_tokens=1)
    workflow.run(2.2)
    before = workflow.files()
    out = workflow.run(2.2, hours=["2026-11-24T00"])
    assert out["watermark"] == "2026-11-24T01"
    assert workflow.files() == before


def test_a_run_with_nothing_to_do_succeeds(workflow: Workflow) -> None:
    assert workflow.run(0.2) == {
        "hours": 0,
        "days": [],
        "openHours": [],
        "unpricedHours": [],
        "quarantinedRows": 0,
        "mendedFiles": [],
        "lostFiles": [],
        "leftHours": 0,
        "leftDays": 0,
        "watermark": "2026-11-23T23",
    }


def test_a_row_that_makes_no_sense_is_told_and_the_rest_is_right(
    workflow: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow.keep(row("a"), input_tokens=1000)
    workflow.keep(row("open", 0.6), outcome=None)
    for name, changes in {"b": {"input_tokens": {"N": "-5"}}, "c": {"outcome": {"S": "exploded"}}}.items():
        broken = item(row(name).settle(Outcome.SUCCEEDED, TokenUsage(input_tokens=5), row(name).started_at)) | changes
        boto3.client("dynamodb").put_item(TableName="usage", Item=broken)
    broken = item(replace(row("d"), lease_until=MIDNIGHT)) | {"outcome": {"S": "exploded"}}
    boto3.client("dynamodb").put_item(TableName="usage", Item=broken)  # the sweep meets it first
    out = workflow.run(1.2)
    assert (out["quarantinedRows"], out["watermark"]) == (3, "2026-11-24T00")
    assert '"QuarantinedRows":[3.0]' in capsys.readouterr().out
    assert sorted(r["reason"] for r in workflow.read("quarantine/")) == [
        "input_tokens is -5", "outcome is 'exploded'", "outcome is 'exploded'",
    ]  # fmt: skip
    assert [r["input_tokens"] for r in workflow.read("costs/")] == [1000]


def test_a_late_row_restates_a_day_that_was_closed(workflow: Workflow) -> None:
    late = row("late", 5)
    workflow.keep(late, outcome=None)
    workflow.keep(row("a"), input_tokens=1000)
    workflow.run(24.2)
    before = workflow.read("costs/")
    workflow.settle(late, input_tokens=500)
    for _ in range(2):  # and the same run again changes nothing
        workflow.run(25.2, hours=["2026-11-24T05"])
        lines = workflow.read("costs/")
        assert lines[:-1] == before
        assert (lines[-1]["line_kind"], lines[-1]["input_tokens"]) == ("restatement", 500)
        assert lines[-1]["restated_at"] == MIDNIGHT + timedelta(hours=25.2)


def test_a_file_that_cannot_be_read_is_made_again_and_told(workflow: Workflow) -> None:
    workflow.keep(row("a"), input_tokens=1000)
    workflow.run(1.2)
    (key,), before = workflow.files("usage/"), workflow.read("usage/")
    boto3.client("s3").put_object(Bucket="lake", Key=key, Body=b"nothing that is Parquet")
    out = workflow.run(2.2)
    assert (out["mendedFiles"], out["lostFiles"]) == ([key], [])
    assert workflow.read("usage/") == before


def test_a_run_says_how_far_the_costs_are_behind(workflow: Workflow, capsys: pytest.CaptureFixture[str]) -> None:
    workflow.run(2.2)
    said = re.search(r'"AggregationLagHours":\[(-?[0-9.]+)\]', capsys.readouterr().out)
    assert said is not None
    expected = (datetime.now(UTC) - MIDNIGHT - timedelta(hours=2)) / timedelta(hours=1)
    assert float(said[1]) == pytest.approx(expected, abs=0.02)


def test_a_large_file_is_uploaded_in_parts_that_are_there_at_once_or_not_at_all(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "AT_ONCE", 1000)
    store = objects.S3Objects("lake")
    parts = [bytes([n]) * 6 * 2**20 for n in range(3)]
    assert store.put("usage/large", iter(parts), None)
    assert not store.put("usage/large", iter(parts[:2]), None)  # somebody was quicker
    assert store.put("usage/large", iter(parts), store.list("usage/large")["usage/large"])
    with store.open("usage/large") as file:
        assert file.read() == b"".join(parts)
        file.seek(-3, 2)
        assert (file.read(2), file.tell()) == (b"\x02\x02", 18 * 2**20 - 1)

    def broken_off() -> Iterator[bytes]:
        yield from parts[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.put("usage/other", broken_off(), None)
    assert store.sizes("usage/") == {"usage/large": 18 * 2**20}
    assert boto3.client("s3").list_multipart_uploads(Bucket="lake").get("Uploads", []) == []


def test_an_hour_is_divided_once_and_every_row_of_it_is_in_one_of_its_files(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(12):
        workflow.keep(row(f"a{n}"), input_tokens=1)
        workflow.keep(row(f"b{n}", 1.5), input_tokens=1)
    workflow.run(1.2)
    (whole,) = workflow.files("usage/")
    size = objects.S3Objects("lake").sizes("usage/")[whole]
    monkeypatch.setattr("gateway.costs.usage_files.LARGEST_FILE", size - 1)
    workflow.run(2.2)
    assert workflow.files("usage/")[1:] == [
        f"usage/dt=2026-11-24/hour=01/part-{part:02}-of-02.parquet" for part in range(2)
    ]
    monkeypatch.setattr("gateway.costs.usage_files.LARGEST_FILE", 1)
    workflow.run(2.3, hours=["2026-11-24T00", "2026-11-24T01"])
    assert len(workflow.files("usage/")) == 3
    assert len(workflow.read("usage/")) == 24
    assert workflow.read("costs/")[0]["input_tokens"] == 24
    (file,) = boto3.client("dynamodb").query(
        TableName="usage",
        KeyConditionExpression="pk = :files AND sk = :hour",
        ExpressionAttributeValues={":files": {"S": "files"}, ":hour": {"S": "2026-11-24T01"}},
    )["Items"]
    assert int(file["expires_at"]["N"]) == int((MIDNIGHT + timedelta(hours=1, days=400)).timestamp())


def test_a_long_partition_is_read_page_by_page(workflow: Workflow) -> None:
    partition = Partition.of(row("a"))
    for n in range(8):
        record = row("a")
        workflow.keep(replace(record, attempt=n + 1), raw='"LastEvaluatedKey": {"pk"' + "x" * 200_000, input_tokens=1)
    assert len(list(workflow.ledger.pages(partition))) == 2
    workflow.run(1.2)
    assert workflow.read("costs/")[0]["input_tokens"] == 8


def test_a_failed_run_names_the_period_and_is_done_again(workflow: Workflow) -> None:
    workflow.keep(row("a"), input_tokens=1)
    price_usage = workflow.handlers["PriceUsage"]

    def broken(event: Any, context: object) -> Any:
        if event["hour"] == "2026-11-24T00":
            raise ValueError("no such thing")
        return price_usage(event, context)

    workflow.handlers["PriceUsage"] = broken
    with pytest.raises(RunFailed) as raised:
        workflow.run(2.2)
    error, cause = raised.value.args
    assert error == "ValueError"
    assert cause.startswith(
        "the run of 2026-11-24T02:12:00Z has noted nothing as done - usage of hour 2026-11-24T00 part 0 is not priced: "
    )
    assert "no such thing" in cause
    assert (workflow.periods.watermark(), workflow.files("costs/")) == ("2026-11-23T23", [])

    workflow.handlers["PriceUsage"] = price_usage
    assert workflow.run(2.2)["watermark"] == "2026-11-24T01"
    assert workflow.read("costs/")[0]["input_tokens"] == 1


def test_costs_that_do_not_match_fail_the_run(workflow: Workflow) -> None:
    workflow.keep(row("a"), input_tokens=1000)
    close_day = workflow.handlers["CloseDay"]

    def forget_a_cent(event: Any, context: object) -> Any:
        out = close_day(event, context)
        key = "costs/dt=2026-11-24/part-0.parquet"
        table = pq.read_table(io.BytesIO(boto3.client("s3").get_object(Bucket="lake", Key=key)["Body"].read()))
        rows = [r | {"cost": r["cost"] - Decimal("0.000000000001")} for r in table.to_pylist()]
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, table.schema), sink)
        boto3.client("s3").put_object(Bucket="lake", Key=key, Body=sink.getvalue())
        return out

    workflow.handlers["CloseDay"] = forget_a_cent
    with pytest.raises(RunFailed) as raised:
        workflow.run(1.2)
    error, cause = raised.value.args
    assert error == "CostsDoNotMatch"
    assert "costs of day 2026-11-24 are not proven" in cause
    assert f"cost of acme/research/{SONNET} is 0.003000000000 in usage and 0.002999999999 in costs" in cause
    assert workflow.periods.watermark() == "2026-11-23T23"


def test_what_passes_is_tried_again(workflow: Workflow) -> None:
    workflow.keep(row("a"), input_tokens=1)
    close_day = workflow.handlers["CloseDay"]

    def at_the_second_time(event: Any, context: object) -> Any:
        workflow.handlers["CloseDay"] = close_day
        raise Overtaken("costs/dt=2026-11-24/part-0.parquet")

    workflow.handlers["CloseDay"] = at_the_second_time
    assert workflow.run(1.2)["hours"] == 1


def test_a_moment_that_makes_no_sense_fails_in_words(workflow: Workflow) -> None:
    with pytest.raises(RunFailed, match="PeriodRefused.*2026-11-25T00 has not begun"):
        workflow.run(1.2, hours=["2026-11-25T00"])


def test_the_definition_is_a_valid_state_machine() -> None:
    schema = Path(cfnlint.__file__).parent / "data/schemas/other/step_functions/statemachine.json"
    jsonschema.Draft7Validator(json.loads(schema.read_text(encoding="utf-8"))).validate(
        quick_yaml.read(definition(FOLDER))
    )


def test_every_name_in_the_definition_is_given_by_the_template() -> None:
    template = (FUNCTIONS.parent / "template.yaml").read_text(encoding="utf-8")
    substitutions = template.split("DefinitionSubstitutions:")[1].split("Policies:")[0]
    names = set(re.findall(r"\$\{(\w+)\}", definition(FOLDER)))
    assert names == set(re.findall(r"^ +(\w+): !", substitutions, re.MULTILINE))
    assert names - {"Partition"} == {f"{step}Function" for step in steps(FOLDER)}


def test_the_definition_stays_in_what_every_engine_runs() -> None:
    machine = quick_yaml.read(definition(FOLDER))
    assert "QueryLanguage" not in machine
    for state in machine["States"].values():
        if state["Type"] == "Map":
            assert state["ItemProcessor"]["ProcessorConfig"] == {"Mode": "INLINE"}
            assert state["MaxConcurrency"] <= 40
        if state["Type"] != "Fail":
            assert state["Catch"][0]["Next"] == "CostsNotAggregated"

"""Today's code reads, settles, aggregates, closes and proves earlier releases' data: see tests/generations.

Today's code writes the last generation, as the test data of the next release.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest

from gateway.aws.dynamodb.accounts import AccountTable
from gateway.aws.dynamodb.idempotency import IdempotencyTable
from gateway.aws.s3.objects import S3Objects
from gateway.aws.s3.payloads import Payloads
from gateway.budgets.accounts import AccountId, Booking, Hold
from gateway.budgets.status import states
from gateway.budgets.sweep import sweep_holds
from gateway.calls.idempotency import record_for
from gateway.calls.metering import booking_for
from gateway.pricing.price_csv import price_book
from gateway.tenancy.tenant import Unpriced, tenant_from_json
from gateway.usage.records import Outcome, RequestId, TenantId, UsageRecord
from scripts.analytics.duckdb_athena import open_lake, rows
from scripts.dev.fake_models import FakeModels
from scripts.operate.statements import verified_text
from tests.functions.conftest import context, event
from tests.generations import BUCKETS, KEPT, TABLES, Generation, kept
from tests.generations.story import ACME, ALICE
from tests.workflow.machine import FUNCTIONS, Workflow, load

TODAY = "today"
STILL_OPEN = {"wed-open": "2026-11-25T00:20:00+00:00", "once-begun": "2026-11-25T05:02:00+00:00"}


@pytest.fixture(scope="session")
def todays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generation of the present code."""
    into = tmp_path_factory.mktemp("written-by")
    command = [sys.executable, "-m", "tests.generations", TODAY, "--into", str(into)]
    done = subprocess.run(command, cwd=KEPT.parents[2], env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return into / TODAY


@pytest.fixture(params=[*(generation.folder.name for generation in kept()), TODAY])
def generation(request: pytest.FixtureRequest, workflow: Workflow) -> Generation:
    """A generation loaded into this process's tables and buckets, as an upgrade finds it."""
    folder = request.getfixturevalue("todays") if request.param == TODAY else KEPT / request.param
    found = Generation(folder)
    names = {name: name for name in (*TABLES, *BUCKETS)}
    found.load(boto3.client("dynamodb"), boto3.client("s3"), names)
    return found


def expected(generation: Generation) -> dict[str, dict[str, Any]]:
    """Its manifest's sums of each day and group, plus those that `settle_what_is_open` adds."""
    days: dict[str, dict[str, Any]] = generation.manifest["days"]
    (haiku,) = [group for group in days["2026-11-25"] if "haiku" in group]
    sums = days["2026-11-25"][haiku]
    sums["calls"] += 2
    sums["input_tokens"] += 2000
    sums["cost"] = str(Decimal(sums["cost"]) + Decimal("0.0005"))
    return {day: {group: _plain(group_sums) for group, group_sums in groups.items()} for day, groups in days.items()}


def _plain(sums: dict[str, Any]) -> tuple[int, int, int, Decimal]:
    return sums["calls"], sums["input_tokens"], sums["output_tokens"], Decimal(sums["cost"])


def held(workflow: Workflow) -> dict[str, dict[str, Any]]:
    """The same from the costs of the lake."""
    days: dict[str, dict[str, Any]] = {}
    for day in sorted({key.split("/")[1].removeprefix("dt=") for key in workflow.files("costs/")}):
        for line in workflow.read(f"costs/dt={day}/"):
            group = "/".join(line[name] for name in ("tenant_id", "cost_centre", "model_id"))
            now = line["invocations"], line["input_tokens"], line["output_tokens"], line["cost"] or Decimal(0)
            before = days.setdefault(day, {}).get(group, (0, 0, 0, Decimal(0)))
            days[day][group] = tuple(map(sum, zip(before, now, strict=True)))
    return days


def settle_what_is_open(workflow: Workflow) -> None:
    for name, started in STILL_OPEN.items():
        record = workflow.ledger.get(RequestId(name), 1, datetime.fromisoformat(started))
        assert record is not None
        assert record.is_open
        workflow.settle(record, input_tokens=1000)


def older_files(workflow: Workflow) -> set[str]:
    """The days that have files of the older layout."""
    return {key.split("/")[1] for key in workflow.files("usage/") if "-of-" not in key}


def test_costs_go_on_where_an_earlier_release_stopped_and_months_close_over_them(
    generation: Generation, workflow: Workflow
) -> None:
    closed_before = {key: _body(key) for key in workflow.files("statements/")}
    settle_what_is_open(workflow)
    out = workflow.run_with({"scheduledTime": "2026-11-25T08:10:00Z"})
    assert out["watermark"] == "2026-11-25T07"
    assert "2026-11-25" in out["days"]
    assert (out["openHours"], out["mendedFiles"], out["lostFiles"]) == ([], [], [])
    assert held(workflow) == expected(generation)

    out = workflow.run_with({"scheduledTime": "2026-11-26T00:40:00Z"})
    assert out["watermark"] == "2026-11-25T23"
    assert held(workflow) == expected(generation)

    # A release that closed no months closed no days either: that is said, and a backfill does it.
    workflow.done_until("2026-11-30T23")
    closing = load(FUNCTIONS / "close_month/app.py")
    if not generation.manifest["closed_months"]:
        with pytest.raises(Exception, match="is not closed; aggregate all its 24 hours again"):
            closing({"scheduledTime": "2026-12-04T06:00:00Z"}, None)
        for day in ("2026-10-30", "2026-10-31", "2026-11-24"):
            workflow.run_with({"scheduledTime": "2026-12-01T08:10:00Z", "first": f"{day}T00", "last": f"{day}T23"})
        assert older_files(workflow) <= {"dt=2026-11-25"}
        assert held(workflow) == expected(generation)
    closed = closing({"scheduledTime": "2026-12-04T06:00:00Z"}, None)["months"]
    assert "2026-11" in {month["month"] for month in closed}
    assert verified_text(S3Objects("lake")).startswith("2026-10 to 2026-11: 4 statements")
    assert {key: _body(key) for key in closed_before} == closed_before


def _body(key: str) -> bytes:
    content: bytes = boto3.client("s3").get_object(Bucket="lake", Key=key)["Body"].read()
    return content


def test_a_tenant_reads_what_it_used_and_has_left(generation: Generation, workflow: Workflow) -> None:
    report = load(FUNCTIONS / "report_usage/app.py")
    asked = event("/usage", query={"start": "2026-11-24", "end": "2026-11-25", "group_by": "day"})
    answer = report(asked, context())
    assert answer["statusCode"] == 200, answer["body"]
    said = {line["key"]: line["totals"] for line in json.loads(answer["body"])["lines"]}
    for day in ("2026-11-24", "2026-11-25"):
        own = [sums for group, sums in generation.manifest["days"][day].items() if group.startswith("acme/")]
        assert said[day]["invocations"] == sum(sums["calls"] for sums in own)
        assert said[day]["open_invocations"] == sum(sums["open"] for sums in own)
        assert said[day]["output_tokens"] == sum(sums["output_tokens"] for sums in own)
        assert Decimal(said[day]["cost"]) == sum(Decimal(sums["cost"]) for sums in own)

    for group_by in ("user", "key", "tag:project"):
        asked = event("/usage", query={"start": "2026-11-24", "end": "2026-11-25", "group_by": group_by})
        found = json.loads(report(asked, context())["body"])
        assert sum(Decimal(line["totals"]["cost"]) for line in found["lines"]) == Decimal(found["totals"]["cost"])
        named = {line["key"] for line in found["lines"]} - {""}
        assert bool(named) == (group_by == "key" or generation.folder.name == TODAY)

    accounts, at = AccountTable("budgets"), datetime(2026, 11, 25, 6, tzinfo=UTC)
    written = generation.manifest["budget"]
    budget, _ = states(ACME, accounts, at)
    assert (budget.spent, budget.spent + budget.held) == (Decimal(written["spent"]), Decimal(written["committed"]))

    def booking(hold: Hold, record: UsageRecord) -> Booking:
        return booking_for(price_book(), hold, record)

    assert sweep_holds(accounts, workflow.ledger, booking, at) == 1  # that whose row is settled; one row is open yet
    budget, _ = states(ACME, accounts, at)
    assert budget.spent == Decimal(written["spent"]) + Decimal("0.00315")
    assert accounts.claim_notification(AccountId(TenantId("acme"), "2026-11"), "passed 50 ", at) is False


def test_the_views_by_user_key_and_tag_read_files_of_each_release_as_one_table(
    generation: Generation, workflow: Workflow, tmp_path: Path
) -> None:
    """Files that name no user lie beside today's, and each view sums to the costs."""
    workflow.run_with({"scheduledTime": "2026-11-25T08:10:00Z"})
    for key in workflow.files():
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(_body(key))
    sums = "SELECT tenant_id, dt, sum(cost) AS cost FROM {} GROUP BY tenant_id, dt"
    with open_lake(tmp_path) as engine:
        owed = {(row["tenant_id"], row["dt"]): row["cost"] for row in rows(engine, sums.format("daily_cost"))}
        for view in ("user_cost", "key_cost"):
            assert {(row["tenant_id"], row["dt"]): row["cost"] for row in rows(engine, sums.format(view))} == owed
        users = {row["user_id"] for row in rows(engine, "SELECT DISTINCT user_id FROM user_cost")}
        tagged = {row["tag_value"] for row in rows(engine, "SELECT tag_value FROM tag_cost WHERE tag_name = 'project'")}
    wrote_users = generation.folder.name == TODAY
    assert (users, tagged) == (({"", ALICE.user_id}, {"", "apollo"}) if wrote_users else ({""}, set()))


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeModels]:
    with FakeModels() as server:
        for service in ("BEDROCK", "BEDROCK_RUNTIME", "SAGEMAKER_RUNTIME"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", server.url)
        yield server


def test_keys_jobs_and_kept_answers_of_an_earlier_release_are_good(
    generation: Generation, workflow: Workflow, models: FakeModels
) -> None:
    authorize = load(FUNCTIONS / "authorize_tenant/app.py")
    arn = "arn:aws:execute-api:us-east-1:111122223333:a1b2c3d4e5/v1/POST/invoke_model"
    allowed = authorize({"headers": {"x-api-key": generation.manifest["key"]}, "methodArn": arn}, None)
    # Releases until 2026-11-25 wrote the policy for usage without a price where nobody had said one.
    said = generation.folder.name
    written = replace(ACME, unpriced=Unpriced.ALLOW) if said in ("2026-11-24", "2026-11-25") else ACME
    assert tenant_from_json(json.loads(allowed["context"]["tenant"])) == written

    invoke, complete = load(FUNCTIONS / "invoke_model/app.py"), load(FUNCTIONS / "complete_invocation/app.py")

    def poll(name: str) -> tuple[int, Any]:
        answer = invoke(event("/invoke_model", {}, query={"requestId": name}), context())
        return answer["statusCode"], json.loads(answer["body"])

    assert poll("job-done") == (200, [{"generated_text": "It is what was."}])
    assert poll("job-large") == (200, [{"generated_text": "much " * 60}])
    status, problem = poll("job-failed")
    assert (status, problem["code"]) == (502, "upstream_failed")
    messages = [{"messageId": str(n), "body": body} for n, body in enumerate(generation.messages)]
    assert [json.loads(body)["request_id"] for body in generation.messages] == ["job-queued"]
    assert complete({"Records": messages}, context()) == {"batchItemFailures": []}
    status, body = poll("job-queued")
    assert (status, bool(body[0]["generated_text"])) == (200, True)

    entries = IdempotencyTable("idempotency", "usage", Payloads("payloads"))
    now = datetime(2026, 11, 25, 5, 3, tzinfo=UTC)

    def again(name: str) -> Any:
        entry = record_for(ACME, name, {"inputs": name}, RequestId("another"), now + timedelta(minutes=5))
        found = entries.begin(entry, now + timedelta(days=1), now)
        assert found is not None
        assert (found.request_id, found.fingerprint) == (name, entry.fingerprint)
        return found.ended and found.ended.body

    assert (again("once-done"), again("once-begun")) == ([{"generated_text": "Once."}], None)


def test_calls_that_an_earlier_release_began_are_swept_by_this_one(generation: Generation, workflow: Workflow) -> None:
    workflow.run_with({"scheduledTime": "2026-11-25T08:10:00Z"})
    found = {
        row["request_id"]: row["outcome"]
        for hour in ("00", "05")
        for row in workflow.read(f"usage/dt=2026-11-25/hour={hour}/")
    }
    assert (found["wed-crashed"], found["wed-open"]) == (Outcome.UNSETTLED.value, Outcome.OPEN.value)
    assert workflow.periods.dirty() == ["2026-11-25T00", "2026-11-25T05"]

"""From ledger rows to a closed month and its proof, with the real handlers, in S3."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest

from gateway.aws.dynamodb.tenants import TenantTable
from gateway.aws.s3.objects import S3Objects
from gateway.statements.chain import ChainBroken
from gateway.statements.close_month import MonthHasHoles, MonthNotComplete, StatementDiffers
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import TenantId
from scripts.operate.cli.gateway import main
from scripts.operate.statements import FolderObjects, objects_of, statements_of, verified_text
from tests.workflow.machine import Workflow, load, row

ROOT = Path(__file__).parents[2]
FIRST_RUN = json.loads((ROOT / "events/close_month/scheduled.json").read_text())
DECEMBER, JANUARY = {"scheduledTime": "2026-12-04T06:00:00Z"}, {"scheduledTime": "2027-01-04T06:00:00Z"}
STATEMENT = "statements/month=2026-11/tenant=acme/statement.csv"


class Months:
    """A lake whose November has two tenants, and its `close_month`."""

    def __init__(self, workflow: Workflow):
        self.workflow = workflow
        self.handler = load(ROOT / "functions/close_month/app.py")
        workflow.keep(row("a"), input_tokens=1_000_000, output_tokens=100)
        workflow.keep(replace(row("b", 3), tenant_id=TenantId("beta")), input_tokens=500)
        workflow.run(24.2)

    def close(self, event: dict[str, str]) -> Any:
        return self.handler(event, None)["months"]

    def aggregate_until(self, hour: str) -> None:
        self.workflow.done_until(hour)

    def restate(self, at: str) -> None:
        """A row turns up in an hour that was done, which is then done again."""
        self.workflow.keep(row("late", 0.7), input_tokens=2_000_000)
        self.workflow.run_with({"scheduledTime": at, "hours": ["2026-11-24T00"]})

    def read(self, key: str) -> bytes:
        content: bytes = boto3.client("s3").get_object(Bucket="lake", Key=key)["Body"].read()
        return content

    def files(self) -> dict[str, bytes]:
        return {key: self.read(key) for key in self.workflow.files("statements/")}

    def manifest(self, month: str, tenant: str = "acme") -> Any:
        return json.loads(self.read(f"statements/month={month}/tenant={tenant}/manifest.json"))


@pytest.fixture
def months(workflow: Workflow) -> Months:
    return Months(workflow)


def test_a_month_is_closed_some_days_after_its_end_and_what_is_restated_later_stands_in_the_next(
    months: Months,
) -> None:
    assert months.close(FIRST_RUN) == []  # November has not ended
    months.aggregate_until("2026-11-30T23")
    assert months.close({"scheduledTime": "2026-12-03T06:00:00Z"}) == []
    assert months.close(DECEMBER) == [{"month": "2026-11", "tenants": 2, "closed": True}]
    assert months.close(DECEMBER) == []
    november = months.files()

    months.restate("2026-12-10T05:10:00Z")
    assert "1 restatements or late lines wait for the next statement." in verified_text(S3Objects("lake"))
    months.aggregate_until("2026-12-31T23")
    assert months.close(JANUARY) == [{"month": "2026-12", "tenants": 1, "closed": True}]
    assert november.items() <= months.files().items()

    before, after = months.manifest("2026-11"), months.manifest("2026-12")
    assert Decimal(before["total"]["cost"]) == Decimal("3.0015")
    assert (after["restatements"]["cost"], after["usage"]["cost"]) == ("6.000000000000", None)
    assert after["restatement_lines"] == {"2026-11-24": 1}
    assert after["previous"]["month"] == "2026-11"
    assert verified_text(S3Objects("lake")) == (
        "2026-11 to 2026-12: 3 statements with 3 lines. "
        "Every hash, link and sum is valid, and every line is a line of the costs.\n"
    )


def test_a_month_that_is_closed_already_is_proven_and_a_difference_is_an_error(months: Months) -> None:
    months.aggregate_until("2026-11-30T23")
    months.close(DECEMBER)
    again = DECEMBER | {"month": "2026-11"}
    assert months.close(again) == [{"month": "2026-11", "tenants": 2, "closed": False}]
    boto3.client("s3").put_object(Bucket="lake", Key=STATEMENT, Body=months.read(STATEMENT).replace(b"3.0", b"2.0"))
    with pytest.raises(StatementDiffers, match="tenant=acme/statement.csv"):
        months.close(again)
    with pytest.raises(ChainBroken, match="tenant=acme/statement.csv: its hash differs"):
        verified_text(S3Objects("lake"))


def test_a_statement_has_the_name_of_its_tenants_record(months: Months) -> None:
    TenantTable("tenants").put_tenant(Tenant(TenantId("acme"), "Acme Industries", ("research",)))
    months.aggregate_until("2026-11-30T23")
    months.close(DECEMBER)
    assert b'<p class="name">Acme Industries</p>' in months.read(STATEMENT.replace(".csv", ".html"))


def test_a_month_waits_for_its_last_hour_and_for_rows_that_are_still_open(months: Months) -> None:
    months.aggregate_until("2026-11-30T22")
    with pytest.raises(MonthNotComplete, match="complete only up to 2026-11-30T22"):
        months.close(DECEMBER)
    months.aggregate_until("2026-11-30T23")
    months.workflow.periods.mark_dirty("2026-11-24T00")
    with pytest.raises(MonthNotComplete, match="the first is 2026-11-24T00"):
        months.close(DECEMBER)
    assert months.files() == {}


def test_a_month_does_not_close_over_an_hour_that_was_never_aggregated(months: Months) -> None:
    """Its watermark may say otherwise: an earlier release began two days back, whatever the ledger had."""
    months.aggregate_until("2026-11-30T21")
    months.workflow.periods.advance("2026-11-30T23")
    with pytest.raises(MonthHasHoles, match=r"2 of its hours.*first is 2026-11-30T22.*2026-11-30 2026-11-30") as raised:
        months.close(DECEMBER)
    assert "gateway backfill 2026-11-30 2026-11-30" in str(raised.value)
    assert months.files() == {}
    months.workflow.run_with({"scheduledTime": "2026-12-01T00:10:00Z"})
    assert [month["closed"] for month in months.close(DECEMBER)] == [True]


@pytest.mark.parametrize(
    "key", ["usage/dt=2026-11-24/hour=03/part-00-of-01.parquet", "costs/dt=2026-11-24/part-0.parquet"]
)
def test_a_month_does_not_close_over_a_file_that_is_not_what_was_proven(months: Months, key: str) -> None:
    months.aggregate_until("2026-11-30T23")
    boto3.client("s3").delete_object(Bucket="lake", Key=key)
    with pytest.raises(MonthHasHoles, match="the first is 2026-11-24"):
        months.close(DECEMBER | {"month": "2026-11"})  # which has no other costs: it would not be due by itself
    assert months.files() == {}
    months.workflow.run_with({"scheduledTime": "2026-12-01T00:10:00Z"})
    assert months.close(DECEMBER) == [{"month": "2026-11", "tenants": 2, "closed": True}]
    assert Decimal(months.manifest("2026-11")["total"]["cost"]) == Decimal("3.0015")


def test_a_day_that_was_not_closed_keeps_its_month_open(workflow: Workflow) -> None:
    months = Months(workflow)
    workflow.keep(row("c", 24.5), input_tokens=1)
    workflow.run(25.2)
    months.aggregate_until("2026-11-30T23")
    with pytest.raises(MonthNotComplete, match="2026-11-25 is not closed"):
        months.close(DECEMBER)


# ------------------------------------------------------------------------------------------------------ on the terminal
@pytest.fixture
def lake(months: Months, tmp_path: Path) -> Path:
    """The lake, as a folder, with November closed and a restatement since."""
    months.aggregate_until("2026-11-30T23")
    months.close(DECEMBER)
    months.restate("2026-12-10T05:10:00Z")
    for key in months.workflow.files():
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        boto3.client("s3").download_file("lake", key, str(tmp_path / key))
    return tmp_path


def test_a_statement_is_printed_as_finance_reads_it(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["statements", "statement", str(lake), "--month", "2026-11", "--tenant", "acme"])
    printed = capsys.readouterr().out
    assert printed.startswith("acme, 2026-11: closed\n\nteam_id ")
    assert "research  anthropic.claude-3-sonnet-20240229-v1:0       1000000            100            1" in printed
    assert "usage         3.0015 USD\nrestatements  0.0000 USD\ntotal         3.0015 USD\n" in printed
    assert "beta" not in printed


def test_a_month_that_is_not_closed_is_shown_as_its_statement_would_be(
    lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["statements", "statement", str(lake), "--month", "2026-12", "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert printed.startswith("acme, 2026-12: a draft, not closed yet\n\nrestates 2026-11-24\n")
    assert "usage         0.00 USD\nrestatements  6.00 USD\ntotal         6.00 USD\n" in printed
    (made,) = (tmp_path / "out").glob("month=2026-12/*/statement.html")
    page = made.read_bytes()
    assert b"24 Nov 2026" in page
    assert (b"<b>Draft.</b>" in page, b"closed on" in page) == (True, False)
    main(
        ["statements", "statement", str(lake), "--month", "2026-11", "--tenant", "acme", "--out", str(tmp_path / "out")]
    )
    assert b"Draft" not in (tmp_path / "out/month=2026-11/tenant=acme/statement.html").read_bytes()


def test_the_chain_of_a_lake_is_verified_and_a_break_ends_with_an_error(
    lake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["statements", "verify", str(lake)])
    assert "2026-11 to 2026-11: 2 statements with 2 lines. Every hash" in capsys.readouterr().out
    (lake / STATEMENT).write_bytes((lake / STATEMENT).read_bytes() + b" ")
    assert main(["statements", "verify", str(lake)]) == 1
    assert "tenant=acme/statement.csv: its hash differs" in capsys.readouterr().err


def test_nothing_to_state_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["statements", "statement", str(tmp_path), "--month", "2026-11"])
    main(["statements", "verify", str(tmp_path)])
    assert capsys.readouterr().out == "Nothing was metered in 2026-11.\nNo month is closed yet.\n"
    assert main(["statements", "statement", str(tmp_path), "--month", "11"]) == 2
    assert "write it like 2026-10" in capsys.readouterr().err


def test_a_folder_is_written_as_a_bucket_is(tmp_path: Path) -> None:
    folder = FolderObjects(tmp_path)
    assert folder.put("statements/a", [b"1", b"2"], None)
    assert not folder.put("statements/a", [b"3"], None)
    assert folder.open("statements/a").read() == b"12"
    assert folder.put("statements/a", [b"3"], folder.list("statements/")["statements/a"])
    assert isinstance(objects_of("s3://lake/"), S3Objects)
    assert list(statements_of("2026-11", folder)) == []


def test_verifying_a_folder_reads_no_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lake has far more usage than statements, and listing reads no file at all."""
    for name in ("usage/dt=2026-11-24/part-0.parquet", "statements/month=2026-11/manifest.json", "costs/x.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"a")
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
    objects = FolderObjects(tmp_path)
    assert list(objects.list("statements/")) == ["statements/month=2026-11/manifest.json"]
    (before,) = objects.list("costs/").values()
    assert objects.put("costs/x.parquet", [b"b"], before)
    assert list(objects.list("costs/").values()) != [before]
    assert not objects.put("costs/x.parquet", [b"c"], before)

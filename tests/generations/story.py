"""The data that a release writes: two tenants' October, closed, and a November up to the morning of the 25th.

It has every outcome, unit and state of the ledger, the lake and the tables once. All times are fixed; none comes from the
clock.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3

from gateway.aws.dynamodb.accounts import AccountTable
from gateway.aws.dynamodb.idempotency import IdempotencyTable
from gateway.aws.dynamodb.jobs import JobTable
from gateway.aws.dynamodb.tenants import TenantTable
from gateway.aws.s3 import payloads as payloads_module
from gateway.aws.s3.payloads import Payloads
from gateway.budgets.accounts import AccountId, Booking, Hold, Limits
from gateway.calls.idempotency import record_for
from gateway.calls.jobs import JobResult, Submission
from gateway.pricing.price_csv import price_book
from gateway.tenancy.budgets import Budget
from gateway.tenancy.caller import Caller
from gateway.tenancy.keys import Key, digest_of
from gateway.tenancy.tenant import Tenant
from gateway.usage.ledger import shard_of
from gateway.usage.records import (
    UNKNOWN,
    Attribution,
    KeyId,
    ModelId,
    Outcome,
    RequestId,
    TenantId,
    TokenUsage,
    UsageRecord,
    UserSource,
)
from tests.workflow.machine import Workflow, load

ROOT = Path(__file__).parents[2]
HAIKU, SONNET = "anthropic.claude-3-haiku-20240307-v1:0", "anthropic.claude-3-sonnet-20240229-v1:0"
PAINTER, EMBEDDER, UNHEARD_OF = "stability.stable-diffusion-xl-v1", "amazon.titan-embed-text-v1", "maker.unheard-of"
DAY = datetime(2026, 11, 25, tzinfo=UTC)
# Formed as `new_key` forms them: it opens nothing but these tables.
KEY = "mgw_GenerationsGenerationsGenerationsGenerat1gsqRZ"
ALICE = Attribution("alice@example.com", UserSource.TOKEN, (("project", "apollo"), ("stage", "test")))
ENDLESS = timedelta(days=365 * 50)  # a lease that no sweep of any later day finds over

ACME = Tenant(
    TenantId("acme"),
    "Acme",
    ("research", "ops"),
    allowed_models=("anthropic.*", "stability.*", "amazon.*", "maker.*"),
    concurrent_invocations=50,
    budget=Budget(Decimal("0.2"), hard=True, thresholds=(50, 80)),
    cost_centre_budgets={"ops": Budget(Decimal(5))},
    idempotency_seconds=86400,
    version=3,
)
BETA = Tenant(TenantId("beta"), "Beta", ("lab",), suspended=True)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def row(name: str, started: str, model: str = HAIKU, tenant: str = "acme", **more: Any) -> UsageRecord:
    begun = at(started)
    centre = "lab" if tenant == "beta" else "research"
    record = UsageRecord(
        request_id=RequestId(name), attempt=1, tenant_id=TenantId(tenant), cost_centre=centre,
        key_id=KeyId(f"key_{tenant}"), operation="Converse", model_id=ModelId(model), model_used=f"us.{model}",
        region="us-east-1", started_at=begun, lease_until=begun + timedelta(minutes=15),
    )  # fmt: skip
    return replace(record, **more)


class Story:
    """The tables and the lake of a gateway, and all data that a release writes into them."""

    def __init__(self) -> None:
        self.workflow = Workflow()
        self.ledger = self.workflow.ledger
        self.records: dict[tuple[str, int], UsageRecord] = {}
        self.accounts = AccountTable("budgets")
        payloads = Payloads("payloads")
        queue = boto3.client("sqs").get_queue_url(QueueName="jobs")["QueueUrl"]
        self.jobs = JobTable("results", "usage", queue, payloads, timedelta(days=7))
        self.entries = IdempotencyTable("idempotency", "usage", payloads)

    def write(self) -> None:
        self.tenants()
        self.october()
        self.november()
        self.what_is_not_aggregated()
        self.budgets()
        self.answers()

    def keep(self, record: UsageRecord, outcome: Outcome = Outcome.SUCCEEDED, error: str = "", **used: Any) -> None:
        self.reserve(record)
        if outcome is not Outcome.OPEN:
            ended = record.started_at + timedelta(seconds=3)
            settled = self.remember(record.settle(outcome, TokenUsage(**used), ended, error))
            assert self.ledger.settle(settled)

    def reserve(self, record: UsageRecord) -> None:
        self.ledger.reserve(self.remember(record))

    def remember(self, record: UsageRecord) -> UsageRecord:
        self.records[record.request_id, record.attempt] = record
        return record

    def aggregate(self, scheduled: str, *hours: str) -> None:
        # No lease is over before `asOf`: what is open stays so.
        asked = {"scheduledTime": f"{scheduled}Z", "asOf": "2026-01-01T00:00:00+00:00"}
        self.workflow.run_with(asked | ({"hours": list(hours)} if hours else {}))

    def tenants(self) -> None:
        table, begun = TenantTable("tenants"), at("2026-10-01T08:00:00")
        for tenant in (ACME, BETA):
            table.put_tenant(tenant)
        made = Key(KeyId("key_acme"), ACME.tenant_id, digest_of(KEY), "first key", begun)
        table.put_key(made)
        table.put_key(replace(made, key_id=KeyId("key_old"), digest=digest_of("old"), label="old", revoked=True))
        table.put_key(replace(made, key_id=KeyId("key_brief"), digest=digest_of("brief"), expires_at=at("2026-11-01")))
        table.put_key(replace(made, key_id=KeyId("key_decoy"), digest=digest_of("decoy"), decoy=True))
        table.note_use(made, date(2026, 11, 24))

    def october(self) -> None:
        """Two days, aggregated; closed where a release closes months; one row that turned up afterwards."""
        self.keep(row("oct-a", "2026-10-30T05:10:00"), input_tokens=1000, output_tokens=200)
        self.keep(row("oct-b", "2026-10-31T23:59:58.5", SONNET, "beta"), input_tokens=7, output_tokens=300)
        self.workflow.periods.advance("2026-10-31T23")
        self.aggregate("2026-11-01T01:10:00", "2026-10-30T05", "2026-10-31T23")
        load(ROOT / "functions/close_month/app.py")({"scheduledTime": "2026-11-04T06:00:00Z"}, None)
        self.keep(row("oct-late", "2026-10-30T05:20:00"), input_tokens=4000)
        self.aggregate("2026-11-10T01:10:00", "2026-10-30T05")

    def november(self) -> None:
        """A day that is over, and four hours of the next: with an open row, without a price, in two files."""
        keep = self.keep
        keep(row("tue-a", "2026-11-24T01:00:00"), input_tokens=900, output_tokens=90, raw='{"inputTokens": 900}')
        keep(row("tue-b", "2026-11-24T01:00:01", SONNET, "beta"), input_tokens=50, output_tokens=5)
        keep(
            row("tue-flex", "2026-11-24T01:30:00", SONNET, attribution=ALICE),
            input_tokens=10,
            output_tokens=1,
            service_tier="priority",
        )
        keep(row("tue-image", "2026-11-24T13:00:00", PAINTER), images=2, image_class="512x512:standard")
        keep(row("tue-vector", "2026-11-24T13:00:02", EMBEDDER, operation="InvokeModel"), input_tokens=640)
        keep(row("tue-failed", "2026-11-24T13:05:00"), Outcome.FAILED, "model_throttled")
        second = row("tue-failed", "2026-11-24T13:05:01", SONNET, attempt=2, asked_model="fast")
        keep(replace(second, routing="fallback:model_throttled"), input_tokens=12, output_tokens=120)
        keep(
            row("tue-cut", "2026-11-24T13:10:00"), Outcome.INTERRUPTED, "client_gone", input_tokens=30, output_tokens=3
        )
        keep(row("tue-unknown", "2026-11-24T13:11:00"), Outcome.INTERRUPTED, "upstream_cut", source=UNKNOWN)
        keep(row("tue-left", "2026-11-24T13:12:00"), Outcome.UNSETTLED, source=UNKNOWN)
        self.workflow.done_until("2026-11-24T23")
        self.aggregate("2026-11-25T00:10:00", "2026-11-24T01", "2026-11-24T13")

        keep(row("wed-a", "2026-11-25T00:10:00"), input_tokens=2000, output_tokens=400)
        keep(row("wed-open", "2026-11-25T00:20:00", lease_until=DAY + ENDLESS), Outcome.OPEN)
        keep(row("wed-unpriced", "2026-11-25T01:00:00", UNHEARD_OF), input_tokens=10)
        keep(row("wed-b", "2026-11-25T02:00:00", SONNET, attribution=ALICE), input_tokens=300, output_tokens=30)
        keep(row("wed-broken", "2026-11-25T02:10:00", tenant="beta"), input_tokens=1)
        del self.records["wed-broken", 1]
        broken = {"pk": {"S": f"2026-11-25T02#{shard_of('wed-broken'):02d}"}, "sk": {"S": "wed-broken#0001"}}
        boto3.client("dynamodb").update_item(
            TableName="usage", Key=broken, UpdateExpression="SET outcome = :o",
            ExpressionAttributeValues={":o": {"S": "exploded"}},
        )  # fmt: skip
        self.workflow.periods.files("2026-11-25T03", 2)
        for n in range(6):
            keep(row(f"wed-many-{n}", f"2026-11-25T03:0{n}:00"), input_tokens=100 + n, output_tokens=10)
        self.aggregate("2026-11-25T05:10:00")

    def what_is_not_aggregated(self) -> None:
        keep = self.keep
        keep(row("wed-later", "2026-11-25T05:30:00", SONNET), input_tokens=700, output_tokens=70)
        keep(row("wed-late", "2026-11-25T00:30:00"), input_tokens=80, output_tokens=8)
        keep(row("wed-crashed", "2026-11-25T05:00:00"), Outcome.OPEN)  # its lease has ended; nobody has swept it

    def budgets(self) -> None:
        """November's account: one call booked, one whose hold outlived its settled row, one whose row is open."""
        for name, amount, started in (
            ("wed-a", "0.002", "2026-11-25T00:10:00"),
            ("wed-later", "0.01", "2026-11-25T05:30:00"),
            ("wed-crashed", "0.003", "2026-11-25T05:00:00"),
        ):
            begun = at(started)
            account = AccountId(ACME.tenant_id, "2026-11")
            ends = begun + timedelta(minutes=15)
            hold = Hold(RequestId(name), 1, account, "research", Decimal(amount), 2400, begun, ends)
            self.accounts.hold(hold, Limits())
            if name == "wed-a":
                self.accounts.book(hold, Booking(Decimal("0.11")))
        self.accounts.claim_notification(AccountId(ACME.tenant_id, "2026-11"), "passed 50 ", at("2026-11-25T00:11:00"))
        self.accounts.mark_notified(AccountId(ACME.tenant_id, "2026-11"), "passed 50 ")

    def answers(self) -> None:
        """A job that is done, one whose answer lies in the bucket, one that failed, one that waits; two kept keys."""
        caller, now = Caller(ACME, KeyId("key_acme")), at("2026-11-25T05:01:00")
        request = {
            "body": {"inputs": "What is a generation?"}, "model_id": HAIKU, "model_arn": None, "operation": "text",
            "messages_api": False,
        }  # fmt: skip
        for name, ended in (
            ("job-done", JobResult(body=[{"generated_text": "It is what was."}])),
            ("job-large", JobResult(body=[{"generated_text": "much " * 60}])),
            ("job-failed", JobResult(status=502, code="upstream_failed", message="The model failed.")),
            ("job-queued", None),
        ):
            self.jobs.submit(Submission(RequestId(name), caller, "research", request), now)
            if ended is None:
                continue
            job = self.jobs.claim(RequestId(name), now, now + timedelta(minutes=5), 1)
            assert job is not None
            record = row(name, "2026-11-25T05:01:00")
            self.reserve(record)
            outcome = Outcome.FAILED if ended.code else Outcome.SUCCEEDED
            used = TokenUsage() if ended.code else TokenUsage(input_tokens=20, output_tokens=60)
            inline, payloads_module.INLINE_BYTES = payloads_module.INLINE_BYTES, 200
            assert self.jobs.finish(job, ended, [self.remember(record.settle(outcome, used, now))], now)
            payloads_module.INLINE_BYTES = inline
        for name in ("once-done", "once-begun"):
            entry = record_for(ACME, name, {"inputs": name}, RequestId(name), now + timedelta(minutes=5))
            assert self.entries.begin(entry, now + timedelta(days=1), now) is None
            record = row(name, "2026-11-25T05:02:00", lease_until=DAY + ENDLESS)
            self.reserve(record)
            if name == "once-done":
                used = TokenUsage(input_tokens=5, output_tokens=6)
                settled = self.remember(record.settle(Outcome.SUCCEEDED, used, record.started_at))
                ended = JobResult(body=[{"generated_text": "Once."}])
                assert self.entries.finish(entry, ended, [settled], now + timedelta(days=1))

    # ------------------------------------------------------------------------------------------------- what it says
    def manifest(self) -> dict[str, Any]:
        """Each day's usage and cost by tenant, cost centre and model, from the written rows."""
        days: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        for record in self.records.values():
            group = f"{record.tenant_id}/{record.cost_centre}/{record.model_id}"
            sums = days[record.hour[:10]].setdefault(
                group, {"calls": 0, "open": 0, "input_tokens": 0, "output_tokens": 0, "cost": Decimal(0)}
            )
            sums["calls"] += record.outcome in (Outcome.SUCCEEDED, Outcome.INTERRUPTED)
            sums["open"] += record.is_open
            sums["input_tokens"] += record.usage.input_tokens
            sums["output_tokens"] += record.usage.output_tokens
            if record.usage.source != UNKNOWN and not record.is_open:
                charge = price_book().charge_record(record)
                sums["cost"] += charge.cost if charge else 0
        written = {day: {g: s | {"cost": f"{s['cost']:f}"} for g, s in groups.items()} for day, groups in days.items()}
        months = sorted({key.split("/")[1].removeprefix("month=") for key in self.workflow.files("statements/")})
        account = self.accounts.account(AccountId(ACME.tenant_id, "2026-11"))
        return {
            "days": written,
            "closed_months": months,
            "budget": {"spent": f"{account.spent:f}", "committed": f"{account.committed:f}"},
            "key": KEY,
        }


def scan(table: str) -> list[dict[str, Any]]:
    pages = boto3.client("dynamodb").get_paginator("scan").paginate(TableName=table)
    return [item for page in pages for item in page["Items"]]

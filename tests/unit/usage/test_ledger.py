"""The ledger's promises, for the one in memory and the one in DynamoDB."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from gateway.aws.dynamodb.jobs import JobTable
from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.aws.s3.payloads import Payloads
from gateway.calls.jobs import Job, JobResult, Jobs, JobState, Submission, poll
from gateway.core.errors import GatewayError
from gateway.core.settings import settings
from gateway.tenancy.caller import Caller
from gateway.tenancy.tenant import Tenant
from gateway.usage.ledger import SHARDS, AlreadyReservedError, Ledger, Partition, sweep
from gateway.usage.records import (
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
from tests.fakes import InMemoryJobs, InMemoryLedger

START = datetime(2026, 11, 24, 10, 59, 30, 250_000, tzinfo=UTC)


@pytest.fixture(params=["in memory", "dynamodb"])
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    if request.param == "in memory":
        yield InMemoryLedger()
    else:
        request.getfixturevalue("aws")
        yield DynamoLedger("usage")


@pytest.fixture
def jobs(ledger: Ledger) -> Jobs:
    if isinstance(ledger, InMemoryLedger):
        return InMemoryJobs(ledger)
    return JobTable("results", "usage", settings().jobs_queue_url, Payloads("payloads"), timedelta(hours=1))


def record(request_id: str = "r1", attempt: int = 1, tenant: str = "acme", at: datetime = START) -> UsageRecord:
    return UsageRecord(
        RequestId(request_id), attempt, TenantId(tenant), "research", KeyId("k1"), "text", ModelId("m"), "m", "us-east-1",
        at, at + timedelta(minutes=10),
    )  # fmt: skip


USAGE = TokenUsage(10, 20, 30, 40, 50, 2, "512x512:standard", 1, "flex", "provider", '{"inputTokens":10}')


def test_a_row_comes_back_as_it_was_settled(ledger: Ledger) -> None:
    row = record()
    settled = row.settle(Outcome.SUCCEEDED, USAGE, START + timedelta(seconds=3), "")
    ledger.reserve(row)
    assert list(ledger.read(Partition.of(row))) == [row]
    assert ledger.settle(settled)
    assert list(ledger.read(Partition.of(row))) == [settled]


def test_an_attempt_is_reserved_once(ledger: Ledger) -> None:
    ledger.reserve(record())
    ledger.reserve(record())  # a retried write of the same reserve
    with pytest.raises(AlreadyReservedError):
        ledger.reserve(record(at=START + timedelta(microseconds=1)))
    ledger.reserve(record(attempt=2))


ALICE = Attribution("alice", UserSource.TOKEN, (("project", "apollo"), ("städte", 'Köln "am" Rhein')))


def test_a_row_keeps_its_user_and_tags_and_a_retried_reserve_finds_them(ledger: Ledger) -> None:
    row = replace(record(), attribution=ALICE)
    ledger.reserve(row)
    ledger.reserve(row)
    for other in (
        replace(ALICE, user_id="bob"),
        replace(ALICE, user_source=UserSource.CLAIMED),
        replace(ALICE, tags=()),
    ):
        with pytest.raises(AlreadyReservedError):
            ledger.reserve(replace(row, attribution=other))
    assert ledger.settle(row.settle(Outcome.SUCCEEDED, USAGE, START))
    (found,) = ledger.read(Partition.of(row))
    assert found.attribution == ALICE


@pytest.mark.usefixtures("aws")
def test_a_row_of_nobody_has_the_attributes_of_earlier_releases() -> None:
    ledger = DynamoLedger("usage")
    ledger.reserve(record())
    ledger.reserve(replace(record("r2"), attribution=Attribution(tags=(("a", "b"),))))
    plain, tagged = sorted(boto3.client("dynamodb").scan(TableName="usage")["Items"], key=lambda row: row["sk"]["S"])
    assert tagged.keys() - plain.keys() == {"tags"}
    assert not plain.keys() & {"user_id", "user_source", "tags"}
    assert tagged["tags"] == {"S": '{"a":"b"}'}


def test_a_row_never_settles_twice(ledger: Ledger) -> None:
    row = record()
    ledger.reserve(row)
    first = row.settle(Outcome.SUCCEEDED, USAGE, START)
    assert ledger.settle(first)
    assert not ledger.settle(row.settle(Outcome.FAILED, TokenUsage(), START, "late"))
    assert list(ledger.read(Partition.of(row))) == [first]


def test_rows_lie_by_the_hour_they_started(ledger: Ledger) -> None:
    rows = [record(f"r{n}", at=START + timedelta(minutes=n)) for n in range(40)]
    for row in rows:
        ledger.reserve(row)
    for hour, expected in (("2026-11-24T10", 1), ("2026-11-24T11", 39)):
        found = [row for shard in range(SHARDS) for row in ledger.read(Partition(hour, shard))]
        assert len(found) == expected
        assert len({shard for shard in range(SHARDS) if list(ledger.read(Partition("2026-11-24T11", shard)))}) > 3


def test_a_tenant_sees_its_own_rows_of_a_time(ledger: Ledger) -> None:
    for number, (tenant, hours) in enumerate([("acme", 0), ("rival", 0), ("acme", 13.5), ("acme", 30), ("acme#x", 0)]):
        ledger.reserve(record(f"r{number}", tenant=tenant, at=START + timedelta(hours=hours)))
    found = ledger.of_tenant(TenantId("acme"), START, START + timedelta(hours=30))
    assert [row.request_id for row in found] == ["r0", "r2"]


def test_a_request_is_found_by_its_newest_attempt(ledger: Ledger) -> None:
    ledger.reserve(record(attempt=1))
    ledger.reserve(record(attempt=2))
    found = ledger.find(RequestId("r1"), START + timedelta(minutes=20))
    assert found is not None
    assert found.attempt == 2
    assert ledger.find(RequestId("r"), START) is None


def test_the_sweep_settles_what_nobody_can_settle_any_more(ledger: Ledger) -> None:
    abandoned, running, done = record("r1"), record("r2", at=START + timedelta(minutes=5)), record("r3")
    for row in (abandoned, running, done):
        ledger.reserve(row)
    ledger.settle(done.settle(Outcome.SUCCEEDED, USAGE, START))
    now = START + timedelta(minutes=11)
    assert ledger.oldest_open() == START
    assert sweep(ledger, now) == 1
    assert ledger.oldest_open() == running.started_at
    assert sweep(ledger, now) == 0
    (swept,) = ledger.read(Partition.of(abandoned))
    assert (swept.outcome, swept.usage.source, swept.settled_at) == (Outcome.UNSETTLED, "unknown", now)
    assert not ledger.settle(abandoned.settle(Outcome.SUCCEEDED, USAGE, now))
    ledger.settle(running.settle(Outcome.SUCCEEDED, USAGE, now))
    assert ledger.oldest_open() is None


# ------------------------------------------------------------------------------------------------------------- jobs

LEASE = timedelta(minutes=5)


def submitted(jobs: Jobs, body: Any = "hello") -> RequestId:
    caller = Caller(Tenant(TenantId("acme"), "Acme", ("research",)), KeyId("k1"))
    jobs.submit(Submission(RequestId("r1"), caller, "research", {"inputs": body}), START)
    return RequestId("r1")


def claimed(jobs: Jobs, at: datetime = START) -> Job:
    job = jobs.claim(RequestId("r1"), at, at + LEASE, 1)
    assert job is not None
    return job


def test_a_job_is_claimed_by_one_worker_until_its_lease_ends(jobs: Jobs) -> None:
    submitted(jobs)
    assert claimed(jobs).attempts == 1
    assert jobs.claim(RequestId("r1"), START + LEASE / 2, START + LEASE * 2, 1) is None
    assert claimed(jobs, START + LEASE + timedelta(seconds=1)).attempts == 2


def test_the_end_of_a_job_and_its_settlement_are_one(jobs: Jobs, ledger: Ledger) -> None:
    submitted(jobs)
    job, row = claimed(jobs), record()
    ledger.reserve(row)
    assert jobs.finish(job, JobResult([{"generated_text": "hi"}]), [row.settle(Outcome.SUCCEEDED, USAGE, START)], START)
    found = jobs.find(RequestId("r1"))
    assert found is not None
    assert (found.state, found.ended) == (JobState.DONE, JobResult([{"generated_text": "hi"}]))
    assert [kept.outcome for kept in ledger.read(Partition.of(row))] == [Outcome.SUCCEEDED]
    assert jobs.claim(RequestId("r1"), START + LEASE * 9, START + LEASE * 10, 1) is None


def test_a_worker_that_lost_its_claim_cannot_end_the_job_nor_settle(jobs: Jobs, ledger: Ledger) -> None:
    submitted(jobs)
    zombie, row = claimed(jobs), record()
    ledger.reserve(row)
    claimed(jobs, START + LEASE + timedelta(seconds=1))
    assert not jobs.finish(zombie, JobResult(["late"]), [row.settle(Outcome.SUCCEEDED, USAGE, START)], START)
    assert [kept.is_open for kept in ledger.read(Partition.of(row))] == [True]


def test_a_row_that_the_sweep_took_does_not_settle_with_its_job(jobs: Jobs, ledger: Ledger) -> None:
    submitted(jobs)
    job, row = claimed(jobs), record()
    ledger.reserve(row)
    sweep(ledger, START + timedelta(days=1))
    assert not jobs.finish(job, JobResult(["late"]), [row.settle(Outcome.SUCCEEDED, USAGE, START)], START)
    found = jobs.find(RequestId("r1"))
    assert found is not None
    assert found.state is JobState.RUNNING


@pytest.mark.parametrize("size", [10, 500_000])
def test_an_answer_of_any_size_is_kept(jobs: Jobs, size: int) -> None:
    jobs.keep(RequestId("late"), TenantId("acme"), JobResult(["x" * size]), START)
    found = jobs.find(RequestId("late"))
    assert found is not None
    assert found.ended == JobResult(["x" * size])


def test_a_job_is_lost_when_its_worker_died_and_no_other_came(jobs: Jobs) -> None:
    submitted(jobs)
    job = claimed(jobs)
    assert not job.lost(START + LEASE * 3, LEASE * 2)
    assert job.lost(START + LEASE * 3 + timedelta(seconds=1), LEASE * 2)
    assert not replace(job, state=JobState.DONE).lost(START + LEASE * 9, LEASE * 2)


def test_a_job_that_waits_in_the_queue_is_not_lost(jobs: Jobs) -> None:
    submitted(jobs)
    job = jobs.find(RequestId("r1"))
    assert job is not None
    assert not job.lost(START + LEASE * 9, LEASE * 2)
    assert job.lost(START + timedelta(days=4, seconds=1), LEASE * 2)


@pytest.mark.parametrize("was_claimed", [True, False])
def test_a_job_that_a_client_was_told_is_lost_is_run_by_nobody(jobs: Jobs, ledger: Ledger, was_claimed: bool) -> None:
    """Else the client submits it again, and pays for both."""
    submitted(jobs)
    if was_claimed:
        claimed(jobs)
    late = START + timedelta(days=5)
    owner = Caller(Tenant(TenantId("acme"), "Acme", ("research",)), KeyId("k1"))
    for _ in range(2):
        with pytest.raises(GatewayError, match="Submit it again") as told:
            poll(RequestId("r1"), owner, jobs, ledger, late, LEASE)
        assert told.value.code == "call_lost"
    assert jobs.claim(RequestId("r1"), late, late + LEASE, 1) is None


def test_a_job_that_a_worker_claims_in_the_same_moment_is_not_lost(jobs: Jobs, ledger: Ledger) -> None:
    submitted(jobs)
    seen = claimed(jobs)
    late = START + LEASE * 9
    again = claimed(jobs, late)
    assert not jobs.abandon(seen, JobResult(code="call_lost", status=500), late)
    assert jobs.finish(again, JobResult(["here"]), (), late)

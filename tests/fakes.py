"""In-memory implementations of the domain's Protocols, and what a test has in the place of a function's wiring."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from gateway.budgets.accounts import CLAIM_TTL, Account, AccountId, Booked, Booking, Hold, Limits, counter_amount
from gateway.calls.catalog import Catalog
from gateway.calls.jobs import Job, JobResult, JobState, Submission
from gateway.core.times import minute_of
from gateway.formats.legacy.requests import LegacyRequest, Translation, translate
from gateway.pricing.price_book import ZERO
from gateway.usage.ledger import AlreadyReservedError, Partition
from gateway.usage.records import RequestId, TenantId, UsageRecord


class InMemoryLedger:
    """The ledger as a dict."""

    def __init__(self) -> None:
        self.rows: dict[tuple[RequestId, int], UsageRecord] = {}

    def reserve(self, record: UsageRecord) -> None:
        key = (record.request_id, record.attempt)
        if self.rows.get(key, record) != record:
            raise AlreadyReservedError(*key)
        self.rows[key] = record

    def settle(self, settled: UsageRecord) -> bool:
        key = (settled.request_id, settled.attempt)
        if not self.rows[key].is_open:
            return False
        self.rows[key] = settled
        return True

    def read(self, partition: Partition) -> Iterator[UsageRecord]:
        return (self.rows[key] for key in sorted(self.rows) if Partition.of(self.rows[key]) == partition)

    def of_tenant(self, tenant_id: TenantId, start: datetime, end: datetime) -> Iterator[UsageRecord]:
        rows = sorted(self.rows.values(), key=lambda r: r.started_at)
        return (r for r in rows if r.tenant_id == tenant_id and start <= r.started_at < end)

    def get(self, request_id: RequestId, attempt: int, started_at: datetime) -> UsageRecord | None:
        return self.rows.get((request_id, attempt))

    def find(self, request_id: RequestId, near: datetime) -> UsageRecord | None:
        rows = [r for r in self.rows.values() if r.request_id == request_id]
        return max(rows, key=lambda r: r.attempt, default=None)

    def expired(self, now: datetime) -> Iterator[UsageRecord]:
        return (r for r in list(self.rows.values()) if r.is_open and r.lease_until < now)

    def oldest_open(self) -> datetime | None:
        return min((r.started_at for r in self.rows.values() if r.is_open), default=None)


def _plus(sums: Mapping[str, Decimal], name: str, amount: Decimal) -> dict[str, Decimal]:
    return {**sums, name: sums.get(name, ZERO) + amount}


class InMemoryAccounts:
    """Accounts as a dict."""

    def __init__(self) -> None:
        self.accounts: dict[AccountId, Account] = {}
        self.marks: dict[tuple[TenantId, str, str], datetime] = {}

    def account(self, account: AccountId) -> Account:
        return self.accounts.get(account, Account())

    def hold(self, hold: Hold, limits: Limits) -> None:
        account = self.account(hold.account)
        if hold.name in account.holds:
            return
        if refusal := account.refusal(hold, limits):
            raise refusal
        minute = minute_of(hold.started_at)
        used = account.minute_tokens if account.minute == minute else 0
        amount = hold.amount if hold.own_sums else ZERO
        counted = dict(account.counted)
        for counter in limits.counters:
            counted[counter.name] = counted.get(counter.name, ZERO) + counter_amount(counter, hold)
        self.accounts[hold.account] = replace(
            account,
            committed=account.committed + amount,
            centres_committed=_plus(account.centres_committed, hold.cost_centre, amount),
            holds={**account.holds, hold.name: hold},
            minute=minute,
            minute_tokens=used + hold.tokens,
            counted=counted,
        )

    def book(self, hold: Hold, booking: Booking) -> Booked | None:
        account = self.account(hold.account)
        if hold.name not in account.holds:
            return None
        delta, charge = booking.committed - hold.amount, booking.charge
        counted, spent = account.counted, account.counted_spent
        for name in hold.counters:
            if name.startswith("calls="):
                counted = _plus(counted, name, Decimal(-1))
            else:
                counted, spent = _plus(counted, name, delta), _plus(spent, name, charge)
        after = replace(
            account,
            counted=counted,
            counted_spent=spent,
            holds={name: held for name, held in account.holds.items() if name != hold.name},
        )
        if hold.own_sums:
            after = replace(
                after,
                committed=account.committed + delta,
                spent=account.spent + charge,
                centres_committed=_plus(account.centres_committed, hold.cost_centre, delta),
                centres_spent=_plus(account.centres_spent, hold.cost_centre, charge),
            )
        self.accounts[hold.account] = after
        counters = {name: after.counted_spent.get(name, ZERO) for name in hold.counters}
        return Booked(after.spent, after.centres_spent.get(hold.cost_centre, ZERO), charge, counters)

    def all(self, now: datetime, *, held: bool = False) -> Iterator[tuple[AccountId, Account]]:
        return iter(list(self.accounts.items()))

    def claim_notification(self, account: AccountId, mark: str, now: datetime) -> bool:
        key = (account.tenant_id, account.month + account.holder, mark)
        if self.marks.get(key, now) > now:
            return False
        self.marks[key] = now + CLAIM_TTL
        return True

    def mark_notified(self, account: AccountId, mark: str) -> None:
        self.marks[account.tenant_id, account.month + account.holder, mark] = datetime.max.replace(tzinfo=UTC)


class InMemoryJobs:
    """Jobs as a dict, beside the ledger that their ends settle."""

    def __init__(self, ledger: InMemoryLedger) -> None:
        self.ledger = ledger
        self.jobs: dict[RequestId, Job] = {}
        self.queue: list[Submission] = []

    def submit(self, submission: Submission, now: datetime) -> None:
        job = Job(submission.request_id, submission.caller.tenant_id, JobState.QUEUED, now)
        self.jobs[submission.request_id] = job
        self.queue.append(submission)

    def claim(self, request_id: RequestId, now: datetime, lease_until: datetime, attempts: int) -> Job | None:
        job = self.jobs[request_id]
        if not job.may_be_claimed(now):
            return None
        claimed = replace(job, state=JobState.RUNNING, lease_until=lease_until, attempts=job.attempts + attempts)
        self.jobs[request_id] = claimed
        return claimed

    def find(self, request_id: RequestId) -> Job | None:
        return self.jobs.get(request_id)

    def finish(self, job: Job, ended: JobResult, settled: Sequence[UsageRecord], now: datetime) -> bool:
        still_open = all(self.ledger.rows[row.request_id, row.attempt].is_open for row in settled)
        if self.jobs[job.request_id] != job or not still_open:
            return False
        self.jobs[job.request_id] = replace(job, state=JobState.DONE, ended=ended)
        for record in settled:
            self.ledger.settle(record)
        return True

    def abandon(self, job: Job, ended: JobResult, now: datetime) -> bool:
        if self.jobs[job.request_id] != job:
            return False
        self.jobs[job.request_id] = replace(job, state=JobState.DONE, ended=ended)
        return True

    def keep(self, request_id: RequestId, tenant_id: TenantId, ended: JobResult, now: datetime) -> None:
        self.jobs[request_id] = Job(request_id, tenant_id, JobState.DONE, now, ended=ended)


def translated(request: LegacyRequest, catalog: Catalog) -> Translation:
    """The calls of the model that a request names, for a tenant that may call all."""
    return translate(request, catalog.find(request.model_id, request.model_arn))

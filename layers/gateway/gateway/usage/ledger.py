"""The usage ledger: a row before every call, settled once after it, never dropped.

    reserve   writes the row `open`; a second reserve of the same attempt fails
    settle    open -> its outcome, once; a second settle changes nothing and says so
    sweep     rows that stay open past their lease become `unsettled`

Rows lie by (hour they started, shard of their request id): a partition is read whole, with a consistent read, by the
aggregation. As every row exists before its hour ends, an hour whose rows are all settled never changes again.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gateway.usage.records import UNKNOWN, Outcome, RequestId, TenantId, TokenUsage, UsageRecord

SHARDS = 8  # of an hour. One partition takes 1,000 writes a second, a call makes two. Never lower it: rows lie by it.


class AlreadyReservedError(Exception):
    """This attempt of this request has a row already."""

    def __init__(self, request_id: str, attempt: int):
        super().__init__(f"attempt {attempt} of {request_id} is reserved already")


class UnreadableRowError(Exception):
    """A row that is no usage record, and why."""


def shard_of(request_id: str) -> int:
    return zlib.crc32(request_id.encode()) % SHARDS


@dataclass(frozen=True)
class Partition:
    """Where rows lie: one hour (`2026-11-24T01`, UTC) and one shard of it."""

    hour: str
    shard: int

    @classmethod
    def of(cls, record: UsageRecord) -> Partition:
        return cls(record.hour, shard_of(record.request_id))


class Ledger(Protocol):
    """Where usage records are kept. Implemented by `gateway.aws.dynamodb.ledger`."""

    def reserve(self, record: UsageRecord) -> None:
        """Write an open row; writing the very same again is no second reserve. Raises AlreadyReserved."""

    def settle(self, settled: UsageRecord) -> bool:
        """Settle an open row; False (and no change) where it is settled already."""

    def read(self, partition: Partition) -> Iterator[UsageRecord]:
        """All rows of a partition, by request id and attempt, as they are now."""

    def of_tenant(self, tenant_id: TenantId, start: datetime, end: datetime) -> Iterator[UsageRecord]:
        """A tenant's rows that started in [start, end)."""

    def get(self, request_id: RequestId, attempt: int, started_at: datetime) -> UsageRecord | None:
        """One row, as it is now."""

    def find(self, request_id: RequestId, near: datetime) -> UsageRecord | None:
        """The newest attempt of a request that started in the hour of `near` or the one before."""

    def expired(self, now: datetime) -> Iterator[UsageRecord]:
        """Open rows whose lease has ended."""

    def oldest_open(self) -> datetime | None:
        """When the oldest call began that is still open; of calls that began about then, by which lease ends first."""


def sweep(ledger: Ledger, now: datetime, leases_ended_by: datetime | None = None) -> int:
    """Settle what nobody can settle any more, as `unsettled`: its usage is unknown, so it is shown and not charged.

    `leases_ended_by` is for whoever knows that no caller is alive, so that leases which run on are worth nothing.
    """
    swept = 0
    for record in ledger.expired(leases_ended_by or now):
        swept += ledger.settle(record.settle(Outcome.UNSETTLED, TokenUsage(source=UNKNOWN), now, "lease_expired"))
    return swept

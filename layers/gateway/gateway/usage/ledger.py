"""The usage ledger: a row reserved before every call, settled once after it, never dropped.

    reserve   writes the row as `open`; a second reserve of the same attempt fails
    settle    open -> its outcome, once; a second settle changes nothing and returns False
    sweep     settles rows that stay open past their lease as `unsettled`

Rows are partitioned by (start hour, shard of the request id); the aggregation reads whole partitions, consistently.
Every row exists before its hour ends, so an hour whose rows are all settled never changes again.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gateway.usage.records import UNKNOWN, Outcome, RequestId, TenantId, TokenUsage, UsageRecord

SHARDS = 8  # per hour. A partition takes 1,000 writes a second; a call makes two. Never lower it: reads would miss rows


class AlreadyReservedError(Exception):
    """This attempt of this request already has a row."""

    def __init__(self, request_id: str, attempt: int):
        super().__init__(f"attempt {attempt} of {request_id} is already reserved")


class UnreadableRowError(Exception):
    """A ledger row that is not a valid usage record; the message gives the reason."""


def shard_of(request_id: str) -> int:
    return zlib.crc32(request_id.encode()) % SHARDS


@dataclass(frozen=True)
class Partition:
    """The key of a ledger partition: one hour (`2026-11-24T01`, UTC) and one of its shards."""

    hour: str
    shard: int

    @classmethod
    def of(cls, record: UsageRecord) -> Partition:
        return cls(record.hour, shard_of(record.request_id))


class Ledger(Protocol):
    """The store of usage records. Implemented by `gateway.aws.dynamodb.ledger`."""

    def reserve(self, record: UsageRecord) -> None:
        """Write an open row; a retry of the identical write succeeds. Raises AlreadyReservedError."""

    def settle(self, settled: UsageRecord) -> bool:
        """Settle an open row; False (and no change) if it is already settled."""

    def read(self, partition: Partition) -> Iterator[UsageRecord]:
        """All rows of a partition in their current state, ordered by request id and attempt."""

    def of_tenant(self, tenant_id: TenantId, start: datetime, end: datetime) -> Iterator[UsageRecord]:
        """A tenant's rows that started in [start, end)."""

    def get(self, request_id: RequestId, attempt: int, started_at: datetime) -> UsageRecord | None:
        """One row in its current state."""

    def find(self, request_id: RequestId, near: datetime) -> UsageRecord | None:
        """The newest attempt of a request that started in the hour of `near` or the one before."""

    def expired(self, now: datetime) -> Iterator[UsageRecord]:
        """Open rows whose lease has ended."""

    def oldest_open(self) -> datetime | None:
        """When the oldest open call began; in each shard the first lease to end stands for the oldest call."""


def sweep(ledger: Ledger, now: datetime, leases_ended_by: datetime | None = None) -> int:
    """Settle rows whose lease has ended as `unsettled`: their usage is unknown, so it is listed and not charged.

    Set `leases_ended_by` only when no caller can be alive: every lease that ends before it counts as ended.
    """
    swept = 0
    for record in ledger.expired(leases_ended_by or now):
        swept += ledger.settle(record.settle(Outcome.UNSETTLED, TokenUsage(source=UNKNOWN), now, "lease_expired"))
    return swept

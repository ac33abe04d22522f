"""Idempotency keys: a request that is sent twice runs once, is charged once, and is answered twice.

    begin     the first request with a key takes it, with a lease; a repeat gets the answer, or learns why not yet
    finish    the answer is kept in the same transaction that settles the call's rows; a problem gives the key back
    abandon   what ended without either gives the key back as well

As an answer and its settlement are written together, a call that crashed is either settled and replayed, or its rows
are swept as `unsettled`, which nobody pays, and the next request with its key may run once its lease has ended.

Powertools' idempotency utility cannot do that: it completes and deletes a record unconditionally and apart from the
ledger, and overwrites one whose lease has ended, so that a crash between settling and saving is charged twice.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from gateway.calls.jobs import Job, JobResult, JobState
from gateway.core.errors import BadRequestError, GatewayError
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import RequestId, UsageRecord

_KEY = re.compile(r"[ -~]{1,255}")  # printable ASCII
MOST = timedelta(days=7)  # a large answer lies in a bucket that forgets after eight


@dataclass(frozen=True)
class IdempotencyRecord:
    """What a key stands for: the request that took it, until when that may run, and how it ended."""

    key: str  # sha256 of tenant and key: the key itself is kept nowhere
    fingerprint: str
    request_id: RequestId
    lease_until: datetime
    ended: JobResult | None = None


class IdempotencyStore(Protocol):
    """Where entries are kept. Implemented by `gateway.aws.dynamodb.idempotency`."""

    def begin(self, entry: IdempotencyRecord, expires: datetime, now: datetime) -> IdempotencyRecord | None:
        """Keep `entry` where its key is free, and answer None; else the entry that has the key."""

    def take_over(
        self, dead: IdempotencyRecord, entry: IdempotencyRecord, expires: datetime
    ) -> IdempotencyRecord | None:
        """The same, in the place of `dead`, whose lease has ended."""

    def finish(
        self, entry: IdempotencyRecord, ended: JobResult, settled: Sequence[UsageRecord], expires: datetime
    ) -> bool:
        """Keep the answer, or free the key of a problem, and settle the rows: all or nothing, and False."""

    def abandon(self, entry: IdempotencyRecord) -> None:
        """Free the key, unless it has an answer or another holds it by now."""


def record_for(
    tenant: Tenant, key: str, request: Any, request_id: RequestId, lease_until: datetime
) -> IdempotencyRecord:
    """What a request with a key would keep. `request` is all that tells it from another. Raises BadRequestError."""
    if not _KEY.fullmatch(key):
        raise BadRequestError(
            "Idempotency-Key must be 1 to 255 printable ASCII characters.", code="invalid_idempotency_key"
        )
    if tenant.idempotency_seconds <= 0:
        # To ignore the header would charge a repeat that its sender believes to be safe.
        raise BadRequestError(
            "Idempotency-Key is not available for your tenant. Ask the gateway's operators, or remove the header.",
            code="idempotency_not_enabled",
        )
    said = json.dumps(request, sort_keys=True, separators=(",", ":"))
    return IdempotencyRecord(_sha256(f"{tenant.tenant_id}\0{key}"), _sha256(said), request_id, lease_until)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class IdempotentRequest:
    """One request that must not run twice. It ends as `gateway.calls.jobs.ResultStore` asks."""

    entries: IdempotencyStore
    entry: IdempotencyRecord
    tenant: Tenant

    def begin(self, now: datetime, recover: Callable[[RequestId], JobResult | None]) -> JobResult | None:
        """None where this request is to run; else the answer to replay. Raises a 409 problem.

        `recover` looks for what a request that died had already done: that is its answer, and nothing runs.
        """
        expires = max(self.entry.lease_until, self._kept_until(now))
        found = self.entries.begin(self.entry, expires, now)
        if found is None:
            return None
        self._must_be_a_repeat(found)
        if found.ended is None and found.lease_until < now:
            if done := recover(found.request_id):
                self.entries.finish(found, done, (), self._kept_until(now))
                return done
            found = self.entries.take_over(found, self.entry, expires)
            if found is None:
                return None
            self._must_be_a_repeat(found)
        if found.ended is None:
            raise GatewayError(
                "The first request with this Idempotency-Key is still running. Retry shortly.",
                code="idempotency_in_progress",
                status=409,
                retry_after=1,
            )
        return found.ended

    def run(
        self,
        tries: int,
        clock: Callable[[], datetime],
        run: Callable[[Job], JobResult],
        recover: Callable[[RequestId], JobResult | None] = lambda _: None,
    ) -> tuple[JobResult, bool]:
        """How the first request with this key ended, and whether that was an earlier one. Raises a 409 problem.

        `run` makes the request, in at most so many `tries`, and ends its job here (`finish`).
        """
        if earlier := self.begin(clock(), recover):
            return earlier, True
        job = self.job(tries, clock())
        try:
            return run(job), False
        except Exception:
            self.abandon()
            raise

    def finish(self, job: Job, ended: JobResult, settled: Sequence[UsageRecord], now: datetime) -> bool:
        return self.entries.finish(self.entry, ended, settled, self._kept_until(now))

    def keep(self, ended: JobResult, now: datetime) -> None:
        """The answer of a request that settles no row of its own."""
        self.entries.finish(self.entry, ended, (), self._kept_until(now))

    def abandon(self) -> None:
        """For what ended by an exception. Rows that it left open are swept, and not charged."""
        with suppress(Exception):  # whatever went wrong first is what the client is told; the lease heals this
            self.entries.abandon(self.entry)

    def job(self, attempts: int, now: datetime) -> Job:
        """The call as a job that is claimed already: so it ends together with its rows."""
        entry = self.entry
        return Job(entry.request_id, self.tenant.tenant_id, JobState.RUNNING, now, attempts, entry.lease_until)

    def _kept_until(self, now: datetime) -> datetime:
        return now + min(timedelta(seconds=self.tenant.idempotency_seconds), MOST)

    def _must_be_a_repeat(self, found: IdempotencyRecord) -> None:
        if found.fingerprint != self.entry.fingerprint:
            raise GatewayError(
                "This Idempotency-Key was used for a different request. Use a new key.",
                code="idempotency_key_reused",
                status=409,
            )

"""Idempotency keys: a request that is sent twice runs once, is charged once, and is answered twice.

    begin     the first request claims its key with a lease; a repeat gets the answer, or the reason why it must wait
    finish    one transaction stores the answer and settles the call's rows; a problem releases the key
    abandon   releases the key of a request that ended without an answer or a problem

One transaction writes an answer and its settlement. So a crashed call is either settled and replayed, or the sweep
settles its rows as `unsettled`, which are not charged. The next request with its key may run once the lease has ended.

Powertools' idempotency utility cannot do that. It completes and deletes a record unconditionally and apart from the
ledger, and overwrites one whose lease has ended. A crash between settling and saving would be charged twice.
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

from gateway.calls.jobs import JobResult
from gateway.core.errors import BadRequestError, GatewayError
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import RequestId, UsageRecord

_KEY = re.compile(r"[ -~]{1,255}")  # printable ASCII
MOST = timedelta(days=7)  # a large answer is in a bucket whose objects expire after eight


@dataclass(frozen=True)
class IdempotencyRecord:
    """The record of a key: the request that claimed it, the end of its lease, and its result."""

    key: str  # sha256 of tenant and key: the key itself is never stored
    fingerprint: str
    request_id: RequestId
    lease_until: datetime
    ended: JobResult | None = None


class IdempotencyStore(Protocol):
    """Stores the records. Implemented by `gateway.aws.dynamodb.idempotency`."""

    def begin(self, entry: IdempotencyRecord, expires: datetime, now: datetime) -> IdempotencyRecord | None:
        """Store `entry` if its key is free and return None; otherwise return the entry that has the key."""

    def take_over(
        self, dead: IdempotencyRecord, entry: IdempotencyRecord, expires: datetime
    ) -> IdempotencyRecord | None:
        """The same, replacing `dead`, whose lease has ended."""

    def finish(
        self, entry: IdempotencyRecord, ended: JobResult, settled: Sequence[UsageRecord], expires: datetime
    ) -> bool:
        """Atomically settle the rows and store the answer, or release the key of a problem; False if it was lost."""

    def abandon(self, entry: IdempotencyRecord) -> None:
        """Release the key, unless it has an answer or another request has claimed it since."""


def record_for(
    tenant: Tenant, key: str, request: Any, request_id: RequestId, lease_until: datetime
) -> IdempotencyRecord:
    """The record of a request with a key. `request` is all that identifies the request. Raises BadRequestError."""
    if not _KEY.fullmatch(key):
        raise BadRequestError(
            "Idempotency-Key must be 1 to 255 printable ASCII characters.", code="invalid_idempotency_key"
        )
    if tenant.idempotency_seconds <= 0:
        # Ignoring the header would charge a repeat that its sender believes to be safe.
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
    """One request that must not run twice. It implements `gateway.calls.jobs.ResultStore`."""

    entries: IdempotencyStore
    entry: IdempotencyRecord
    tenant: Tenant

    def begin(self, now: datetime, recover: Callable[[RequestId], JobResult | None]) -> JobResult | None:
        """None if this request must run; otherwise the answer to replay. Raises a 409 problem.

        `recover` finds the result that a crashed request had already reached: this is the answer, and nothing runs.
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
        clock: Callable[[], datetime],
        run: Callable[[], JobResult],
        recover: Callable[[RequestId], JobResult | None] = lambda _: None,
    ) -> tuple[JobResult, bool]:
        """The result of the first request with this key, and whether that was an earlier one. Raises a 409 problem.

        `run` makes the request, and stores its result here (`finish`).
        """
        if earlier := self.begin(clock(), recover):
            return earlier, True
        try:
            return run(), False
        except Exception:
            self.abandon()
            raise

    def finish(self, ended: JobResult, settled: Sequence[UsageRecord], now: datetime) -> bool:
        return self.entries.finish(self.entry, ended, settled, self._kept_until(now))

    def abandon(self) -> None:
        """Release the key of a request that raised. The sweep settles its open rows, and they are not charged."""
        with suppress(Exception):  # the client gets the first error; the end of the lease releases the key
            self.entries.abandon(self.entry)

    def _kept_until(self, now: datetime) -> datetime:
        return now + min(timedelta(seconds=self.tenant.idempotency_seconds), MOST)

    def _must_be_a_repeat(self, found: IdempotencyRecord) -> None:
        if found.fingerprint != self.entry.fingerprint:
            raise GatewayError(
                "This Idempotency-Key was used for a different request. Use a new key.",
                code="idempotency_key_reused",
                status=409,
            )

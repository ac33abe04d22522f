"""Runs a request's attempts (retries, then fallbacks) until one succeeds; each attempt is one ledger row.

    retry      the same model again, after a pause, within the route's deadline
    fallback   the route's next model; its row has the requested model, the invoked model, and the reason
    circuit    opens for a while after too many failures of a model in a row
    slot       a place among the concurrent calls of a model

Only transient errors (a throttle, an outage, a time-out) are retried, and none after an answer has begun.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from types import TracebackType
from typing import Protocol

from gateway.budgets.accounts import NOTHING, Hold, Limits, slot_of
from gateway.calls.call import Context, ModelCall
from gateway.calls.catalog import Service
from gateway.calls.metering import Meter, Reservation
from gateway.calls.model_routes import Circuit, Route
from gateway.calls.policy import apply_tenant_policy
from gateway.calls.spans import Span, tell
from gateway.core.errors import GatewayError, RetryableError, UpstreamError
from gateway.usage.records import UNKNOWN, Outcome, TokenUsage, UsageRecord

LONGEST_PAUSE = 20.0  # seconds


class CircuitOpenError(RetryableError):
    """The circuit of the model is open after too many failures."""

    def __init__(self, seconds: int):
        super().__init__(
            "Circuit open: the model had too many recent failures. Wait, then retry.",
            code="model_unavailable", status=503, error_type="ServiceUnavailableException", retry_after=seconds,
        )  # fmt: skip


class ModelBusyError(RetryableError):
    """The model has reached the concurrency limit of its route."""

    def __init__(self) -> None:
        super().__init__(
            "Concurrency limit reached for this model. Wait, then retry.",
            code="model_throttled", status=429, error_type="ThrottlingException", retry_after=1,
        )  # fmt: skip


class CircuitBreakers(Protocol):
    """Stores the state of circuits. Implemented by `gateway.aws.dynamodb.circuits`."""

    def guard(self, model_id: str, circuit: Circuit) -> AbstractContextManager[None]:
        """Wraps one attempt and counts its outcome. Entering raises CircuitOpenError where the circuit is open."""


@dataclass
class OpenAttempt:
    """One attempt whose row is open. It settles once, and releases its slot then.

    As a context manager it settles an attempt that fails. It suppresses a retryable error, so that the next attempt
    can run, and lets any other error propagate.
    """

    tries: AttemptSequence
    call: ModelCall
    reserved: Reservation
    slot: Hold | None
    began: datetime
    guarded: ExitStack
    first_chunk: datetime | None = None
    finish_reason: str = ""
    settled: UsageRecord | None = None

    def __enter__(self) -> OpenAttempt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            if isinstance(error, UpstreamError):
                self.fail(error)
        finally:
            self.guarded.__exit__(kind, error, trace)
        if not isinstance(error, RetryableError):
            return False
        self.tries.failure = error
        return True

    @property
    def attempts(self) -> AttemptPlan:
        return self.tries.attempts

    @property
    def row(self) -> UsageRecord:
        return self.reserved.row

    def mark_settled(self, settled: UsageRecord) -> None:
        """Book the hold and release the slot. The transaction that stored the answer has settled the row."""
        self.settled = settled
        self.attempts.meter.book_hold(self.attempts.context.caller.tenant, self.reserved, settled)
        self._release_slot()
        self._tell(settled)

    def settle(self, outcome: Outcome, usage: TokenUsage, error: UpstreamError | None = None) -> UsageRecord:
        """Settle the row. An error of the ledger propagates; the row then stays open until the sweep settles it."""
        if self.settled is None:
            context = self.attempts.context
            settled = self.row.settle(outcome, usage, context.clock(), error.code if error else "")
            try:
                self.attempts.meter.settle(context.caller.tenant, self.reserved, settled)
                self.settled = settled
            finally:
                self._release_slot()
                self._tell(settled, error)
        return self.settled

    def fail(self, error: UpstreamError, known: TokenUsage | None = None) -> None:
        """Settle a failed attempt: its usage is known, unknown, or zero where the model never ran."""
        if error.ran or known is not None:
            self.settle(Outcome.INTERRUPTED, known or TokenUsage(source=UNKNOWN), error)
        else:
            self.settle(Outcome.FAILED, TokenUsage(), error)

    def _tell(self, settled: UsageRecord, error: UpstreamError | None = None) -> None:
        context, model = self.attempts.context, self.call.model
        guardrail = context.caller.tenant.guardrail if model.service is Service.BEDROCK else None
        tell(
            Span(
                settled,
                model.service,
                self.began,
                self.first_chunk,
                streamed="Stream" in self.call.api,
                guardrail=guardrail.id if guardrail else "",
                finish_reason=self.finish_reason,
                status=error.status if error else 200,
                trace=context.trace,
            )
        )

    def _release_slot(self) -> None:
        if self.slot is not None:
            slot, self.slot = self.slot, None
            self.attempts.meter.accounts.book(slot, NOTHING)


@dataclass(frozen=True)
class AttemptPlan:
    """Begins the attempts of one request, by the rules of its route."""

    route: Route
    context: Context
    meter: Meter
    breakers: CircuitBreakers
    first: int = 1  # the number of the first attempt: a job's later claims continue the count
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = field(default=random.random)

    @cached_property
    def numbers(self) -> Iterator[int]:
        return itertools.count(self.first)

    def of(self, calls: Sequence[ModelCall]) -> AttemptSequence:
        """The attempts at one answer. `calls` has its call once for each model of the route, in their order."""
        return AttemptSequence(self, calls)

    def pause(self, tried: int, error: GatewayError) -> float:
        """Seconds before the next try: exponential backoff with full jitter, and never less than Retry-After."""
        longest: float = min(0.5 * 2.0**tried, LONGEST_PAUSE)
        return max(self.random() * longest, float(error.retry_after or 0) * (1 + self.random() / 2))

    def time_for_another(self, began: datetime, pause: float) -> bool:
        at = self.context.clock() + timedelta(seconds=pause)
        deadline = self.route.deadline_seconds
        return at < self.context.lease_until and (deadline is None or (at - began).total_seconds() < deadline)


class AttemptSequence:
    """Yields the open attempts of one request, until one ends without a retryable error.

    tries = attempts.of(calls)
    for attempt in tries:
        with attempt:
            answer = models.call(attempt.call)
            attempt.settle(Outcome.SUCCEEDED, answer.usage)
            return answer
    raise tries.failure
    """

    def __init__(self, attempts: AttemptPlan, calls: Sequence[ModelCall]):
        self.attempts = attempts
        self.calls = calls
        self.failure: GatewayError = GatewayError("No model is left to call.")  # of the last attempt

    def __iter__(self) -> Iterator[OpenAttempt]:
        attempts, route = self.attempts, self.attempts.route
        began, routing = attempts.context.clock(), ""
        for asked in self.calls:
            call = apply_tenant_policy(asked, attempts.context)
            for tried in range(route.retries + 1):
                try:
                    attempt = self._open(call, routing)
                except RetryableError as error:
                    self.failure = error
                else:
                    yield attempt
                failure = self.failure
                no_more = tried == route.retries or (failure.retry_after or 0) > LONGEST_PAUSE
                if no_more or isinstance(failure, CircuitOpenError):
                    break
                pause = attempts.pause(tried, failure)
                if not attempts.time_for_another(began, pause):
                    return
                attempts.sleep(pause)
                routing = f"retry:{failure.code}"
            if not attempts.time_for_another(began, 0):
                return
            routing = f"fallback:{failure.code}"

    def _open(self, call: ModelCall, routing: str) -> OpenAttempt:
        """Open the next attempt: check its circuit, take its slot, reserve its row and hold. Raises GatewayError."""
        attempts = self.attempts
        context, route, meter = attempts.context, attempts.route, attempts.meter
        number = next(attempts.numbers)
        with ExitStack() as opened:
            guarded = ExitStack()
            if route.circuit is not None:
                guarded.enter_context(attempts.breakers.guard(call.model.id, route.circuit))
                opened.push(guarded)
            row = context.open_row(call, number, route.name, routing)
            slot = self._slot(row)
            if slot is not None:
                opened.callback(meter.accounts.book, slot, NOTHING)
            reserved = meter.reserve(context.caller.tenant, row, call.bound)
            opened.pop_all()
        return OpenAttempt(self, call, reserved, slot, context.clock(), guarded)

    def _slot(self, row: UsageRecord) -> Hold | None:
        """Take a slot of the row's model; None where its route has no limit. Raises ModelBusyError."""
        if self.attempts.route.concurrency is None:
            return None
        hold = slot_of(row)
        try:
            self.attempts.meter.accounts.hold(hold, Limits(calls=self.attempts.route.concurrency))
        except GatewayError as error:
            raise ModelBusyError from error
        return hold

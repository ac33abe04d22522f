"""Attempts: the tries that one request makes, each with a row of its own, until one of them does.

    retry      the same model again, after a pause, while the route's deadline lasts
    fallback   the route's next model; its row says which model was asked for, which was used, and why
    circuit    a model that failed too often in a row is left alone for a while
    slot       a place among the calls that a model may run at once
    invoke     the answer to one request, now
    complete   the same for a job, whose end is kept together with the settlement of its rows

Only what passes by itself (a throttle, an outage, a time-out) is tried again, and nothing once an answer has begun.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Protocol, TypeVar

from gateway.budgets.accounts import NOTHING, Hold, Limits, slot_of
from gateway.calls.call import Context, ModelCall
from gateway.calls.catalog import Service
from gateway.calls.metering import Meter, Reserved
from gateway.calls.policy import governed
from gateway.calls.routes import Circuit, Route
from gateway.calls.spans import Span, tell
from gateway.core.errors import GatewayError, Passing, UpstreamError
from gateway.usage.records import UNKNOWN, Outcome, TokenUsage, UsageRecord

T = TypeVar("T")
LONGEST_PAUSE = 20.0  # seconds


class CircuitOpen(Passing):
    """The model failed too often just now."""

    def __init__(self, seconds: int):
        super().__init__(
            "The model failed too often just now. Wait, then try again.",
            code="model_unavailable", status=503, error_type="ServiceUnavailableException", retry_after=seconds,
        )  # fmt: skip


class ModelBusy(Passing):
    """The model runs as many calls as its route lets it."""

    def __init__(self) -> None:
        super().__init__(
            "The model runs as many calls as it may. Wait, then try again.",
            code="model_throttled", status=429, error_type="ThrottlingException", retry_after=1,
        )  # fmt: skip


class Breakers(Protocol):
    """Where the state of circuits is kept. Implemented by `gateway.aws.dynamodb.circuits`."""

    def guard(self, model_id: str, circuit: Circuit, attempt: Callable[[], T]) -> T:
        """Make the attempt, and count how it ends. Raises CircuitOpen instead where the model is left alone."""


@dataclass
class Ticket:
    """One attempt whose row is open. It settles once, and gives its slot back then."""

    attempts: Attempts
    call: ModelCall
    reserved: Reserved
    slot: Hold | None
    began: datetime
    first_chunk: datetime | None = None
    finish_reason: str = ""
    settled: UsageRecord | None = None

    @property
    def row(self) -> UsageRecord:
        return self.reserved.row

    def settled_elsewhere(self, settled: UsageRecord) -> None:
        """The row was settled together with something else: what it held is booked, its slot is free."""
        self.settled = settled
        self.attempts.meter.book_hold(self.attempts.context.caller.tenant, self.reserved, settled)
        self._give_back()
        self._tell(settled)

    def settle(self, outcome: Outcome, usage: TokenUsage, error: UpstreamError | None = None) -> UsageRecord:
        """Raises what the ledger raises; the row is then open still, and swept."""
        if self.settled is None:
            context = self.attempts.context
            settled = self.row.settle(outcome, usage, context.clock(), error.code if error else "")
            try:
                self.attempts.meter.settle(context.caller.tenant, self.reserved, settled)
                self.settled = settled
            finally:
                self._give_back()
                self._tell(settled, error)
        return self.settled

    def fail(self, error: UpstreamError, known: TokenUsage | None = None) -> None:
        """Settle what broke: what it used is known, unknown, or nothing where the model never ran."""
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

    def _give_back(self) -> None:
        if self.slot is not None:
            slot, self.slot = self.slot, None
            self.attempts.meter.accounts.book(slot, NOTHING)


@dataclass(frozen=True)
class Attempts:
    """The tries of one request by one route."""

    route: Route
    context: Context
    meter: Meter
    breakers: Breakers
    first: int = 1  # the number of the first try: a job's later claims go on counting
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = field(default=random.random)

    @cached_property
    def _numbers(self) -> Iterator[int]:
        return itertools.count(self.first)

    def run(self, calls: Sequence[ModelCall], make: Callable[[ModelCall, Ticket], T]) -> T:
        """The first attempt that does. `calls` are the same request for each model of the route.

        `make` settles its ticket where it raises UpstreamError. Raises GatewayError.
        """
        began, routing = self.context.clock(), ""
        last: UpstreamError | None = None
        for asked in calls:
            call = governed(asked, self.context)
            for tried in range(self.route.retries + 1):
                try:
                    return self._one(call, next(self._numbers), routing, make)
                except Passing as error:
                    last = error
                no_more = tried == self.route.retries or (last.retry_after or 0) > LONGEST_PAUSE
                if no_more or isinstance(last, CircuitOpen):
                    break
                pause = self._pause(tried, last)
                if not self._time_for_another(began, pause):
                    raise last
                self.sleep(pause)
                routing = f"retry:{last.code}"
            if last is None or not self._time_for_another(began, 0):
                break
            routing = f"fallback:{last.code}"
        raise last or GatewayError("No model is left to call.")

    def _one(self, call: ModelCall, number: int, routing: str, make: Callable[[ModelCall, Ticket], T]) -> T:
        def attempt() -> T:
            row = self.context.open_row(call, number, self.route.name, routing)
            slot = self._slot(row)
            try:
                reserved = self.meter.reserve(self.context.caller.tenant, row, call.bound)
            except BaseException:
                if slot:
                    self.meter.accounts.book(slot, NOTHING)
                raise
            return make(call, Ticket(self, call, reserved, slot, self.context.clock()))

        if self.route.circuit is None:
            return attempt()
        return self.breakers.guard(call.model.id, self.route.circuit, attempt)

    def _slot(self, row: UsageRecord) -> Hold | None:
        """A place among the running calls of the row's model. Raises ModelBusy."""
        if self.route.concurrency is None:
            return None
        hold = slot_of(row)
        try:
            self.meter.accounts.hold(hold, Limits(calls=self.route.concurrency))
        except GatewayError as error:
            raise ModelBusy from error
        return hold

    def _pause(self, tried: int, error: UpstreamError) -> float:
        """As long as the service asks for; else twice as long each time, and at random, so that calls do not march."""
        longest: float = min(0.5 * 2.0**tried, LONGEST_PAUSE)
        return max(self.random() * longest, float(error.retry_after or 0) * (0.5 + self.random() / 2))

    def _time_for_another(self, began: datetime, pause: float) -> bool:
        at = self.context.clock() + timedelta(seconds=pause)
        deadline = self.route.deadline_seconds
        return at < self.context.lease_until and (deadline is None or (at - began).total_seconds() < deadline)

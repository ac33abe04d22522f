"""Attempts: the tries that one request makes, each with a row of its own, until one of them does.

    retry      the same model again, after a pause, while the route's deadline lasts
    fallback   the route's next model; its row says which model was asked for, which was used, and why
    circuit    a model that failed too often in a row is left alone for a while
    slot       a place among the calls that a model may run at once

Only what passes by itself (a throttle, an outage, a time-out) is tried again, and nothing once an answer has begun.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from gateway.budgets import AccountId, Hold, Limits, month_of
from gateway.errors import GatewayError, Passing, UpstreamError
from gateway.invocation import Context, ModelAnswer, ModelCall, Models, governed
from gateway.metering import Meter, Reserved
from gateway.pricing import ZERO
from gateway.routing import Circuit, Route
from gateway.usage import UNKNOWN, Outcome, TenantId, TokenUsage, UsageRecord

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
    """Where the state of circuits is kept. Implemented by `gateway.aws.circuits`."""

    def guard(self, model_id: str, circuit: Circuit, attempt: Callable[[], T]) -> T:
        """Make the attempt, and count how it ends. Raises CircuitOpen instead where the model is left alone."""


@dataclass
class Ticket:
    """One attempt whose row is open. It settles once, and gives its slot back then."""

    attempts: Attempts
    reserved: Reserved
    slot: Hold | None
    settled: UsageRecord | None = None

    @property
    def row(self) -> UsageRecord:
        return self.reserved.row

    def settle(self, outcome: Outcome, usage: TokenUsage, error_code: str = "") -> UsageRecord:
        """Raises what the ledger raises; the row is then open still, and swept."""
        if self.settled is None:
            context = self.attempts.context
            settled = self.row.settle(outcome, usage, context.clock(), error_code)
            try:
                self.attempts.meter.settle(context.caller.tenant, self.reserved, settled)
                self.settled = settled
            finally:
                self._give_back()
        return self.settled

    def fail(self, error: UpstreamError, known: TokenUsage | None = None) -> None:
        """Settle what broke: what it used is known, unknown, or nothing where the model never ran."""
        if error.ran or known is not None:
            self.settle(Outcome.INTERRUPTED, known or TokenUsage(source=UNKNOWN), error.code)
        else:
            self.settle(Outcome.FAILED, TokenUsage(), error.code)

    def _give_back(self) -> None:
        if self.slot is not None:
            slot, self.slot = self.slot, None
            self.attempts.meter.accounts.book(slot, ZERO)


@dataclass(frozen=True)
class Attempts:
    """The tries of one request by one route."""

    route: Route
    context: Context
    meter: Meter
    breakers: Breakers
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = field(default=random.random)

    def run(self, calls: Sequence[ModelCall], make: Callable[[ModelCall, Ticket], T]) -> T:
        """The first attempt that does. `calls` are the same request for each model of the route.

        `make` settles its ticket where it raises UpstreamError. Raises GatewayError.
        """
        began, number, routing = self.context.clock(), 0, ""
        last: UpstreamError | None = None
        for asked in calls:
            call = governed(asked, self.context)
            for tries_left in reversed(range(self.route.retries + 1)):
                number += 1
                try:
                    return self._one(call, number, routing, make)
                except Passing as error:
                    last = error
                if not tries_left or isinstance(last, CircuitOpen):
                    break
                pause = self._pause(number, last)
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
                    self.meter.accounts.book(slot, ZERO)
                raise
            return make(call, Ticket(self, reserved, slot))

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

    def _pause(self, number: int, error: UpstreamError) -> float:
        """As long as the service asks for; else twice as long each time, and at random, so that calls do not march."""
        longest: float = min(0.2 * 2.0**number, LONGEST_PAUSE)
        return max(self.random() * longest, float(error.retry_after or 0) * (0.5 + self.random() / 2))

    def _time_for_another(self, began: datetime, pause: float) -> bool:
        at = self.context.clock() + timedelta(seconds=pause)
        deadline = self.route.deadline_seconds
        return at < self.context.lease_until and (deadline is None or (at - began).total_seconds() < deadline)


def slot_of(row: UsageRecord) -> Hold:
    """A slot is a hold of nothing, in an account that stands for the model."""
    account = AccountId(TenantId(f"model {row.model_id}"), month_of(row.started_at))
    return Hold(row.request_id, row.attempt, account, "", ZERO, 0, row.started_at, row.lease_until)


def answered(calls: Sequence[ModelCall], attempts: Attempts, models: Models) -> tuple[ModelCall, ModelAnswer, Ticket]:
    """A buffered answer, settled; with the call and the attempt that got it. Raises GatewayError."""

    def make(call: ModelCall, ticket: Ticket) -> tuple[ModelCall, ModelAnswer, Ticket]:
        try:
            answer = models.call(call)
        except UpstreamError as error:
            ticket.fail(error)
            raise
        ticket.settle(Outcome.SUCCEEDED, answer.usage)
        return call, answer, ticket

    return attempts.run(calls, make)

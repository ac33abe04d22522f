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
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Protocol, TypeVar

from gateway.budgets.accounts import NOTHING, Hold, Limits, slot_of
from gateway.catalog import Model, Service
from gateway.core.errors import GatewayError, Passing, UpstreamError
from gateway.invocation import Context, ModelAnswer, ModelCall, Models, governed
from gateway.jobs import Ended, Ending, Job
from gateway.metering import Meter, Reserved
from gateway.routing import Circuit, Route
from gateway.spans import Span, finish_reason, tell
from gateway.tenancy.tenant import Tenant
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
    """Where the state of circuits is kept. Implemented by `gateway.aws.circuits`."""

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


Make = Callable[[ModelCall, Ticket], tuple[ModelCall, ModelAnswer]]


def answered(calls: Sequence[ModelCall], attempts: Attempts, models: Models) -> tuple[ModelCall, ModelAnswer]:
    """A buffered answer, settled, with the call that got it. Raises GatewayError."""
    return attempts.run(calls, _settling(models))


# ------------------------------------------------------------------------------------------------------ whole requests
class Translated(Protocol):
    """A request in a model's own words: the calls that answer it, and what makes one body of their answers."""

    @property
    def calls(self) -> tuple[ModelCall, ...]: ...

    def answer(self, answers: Sequence[ModelAnswer]) -> Any:
        """Raises GatewayError."""


def most_tries(requests: Sequence[Translated], route: Route) -> int:
    """How many rows a request can come to. `requests` are the same one for each model of the route."""
    tries = route.retries + 1
    return tries * (len(requests) if _may_fall_back(requests[0]) else len(requests[0].calls))


def _may_fall_back(request: Translated) -> bool:
    """Vectors of two models do not compare, and a request of several calls is answered by one model."""
    return len(request.calls) == 1 and not request.calls[0].operation.startswith("embeddings")


def _body(
    requests: Sequence[Translated],
    attempts: Attempts,
    make: Make,
) -> Any:
    if not _may_fall_back(requests[0]):
        return requests[0].answer([attempts.run([call], make)[1] for call in requests[0].calls])
    by_model = {request.calls[0].model: request for request in reversed(requests)}
    made, answer = attempts.run([request.calls[0] for request in requests], make)
    return by_model[made.model].answer([answer])


def invoke(requests: Sequence[Translated], attempts: Attempts, models: Models) -> Any:
    """The body that answers a request; each of its calls is settled before the next begins. Raises GatewayError."""

    return _body(requests, attempts, _settling(models))


def complete(job: Job, requests: Sequence[Translated], attempts: Attempts, models: Models, jobs: Ending) -> Ended:
    """Answer a claimed job, and end it together with the settlement of the rows that its answer was made of."""
    made: list[tuple[Ticket, UsageRecord]] = []

    def make(call: ModelCall, ticket: Ticket) -> tuple[ModelCall, ModelAnswer]:
        answer = _answer(call, ticket, models)
        made.append((ticket, ticket.row.settle(Outcome.SUCCEEDED, answer.usage, attempts.context.clock())))
        return call, answer

    try:
        ended = Ended(body=_body(requests, attempts, make))
    except GatewayError as error:
        ended = Ended.failed(error)
    if jobs.finish(job, ended, [record for _, record in made], attempts.context.clock()):
        for ticket, record in made:
            ticket.settled_elsewhere(record)
    return ended


def _answer(call: ModelCall, ticket: Ticket, models: Models) -> ModelAnswer:
    try:
        answer = models.call(call)
    except UpstreamError as error:
        ticket.fail(error)
        raise
    ticket.finish_reason = finish_reason(answer.body)
    return answer


def _settling(models: Models) -> Make:
    def make(call: ModelCall, ticket: Ticket) -> tuple[ModelCall, ModelAnswer]:
        answer = _answer(call, ticket, models)
        ticket.settle(Outcome.SUCCEEDED, answer.usage)
        return call, answer

    return make


# ---------------------------------------------------------------------------------------------------------- permission
def permitted(
    route: Route, tenant: Tenant, operation: str | None, find: Callable[[str], Model], *, by_default: bool
) -> tuple[Model, ...]:
    """The models of a route that a tenant may call, its first choice first. Raises GatewayError for that one.

    A model is allowed by its own id, or by the alias that leads to it; an ARN of an account by that alone. A fallback
    that is not allowed is left out.
    """
    if operation is not None:
        tenant.must_allow_operation(operation)
    models = [_permitted(route, tenant, find(route.models[0]), by_default=by_default)]
    for name in route.models[1:]:
        with suppress(GatewayError):
            models.append(_permitted(route, tenant, find(name), by_default=by_default))
    return tuple(models)


def _permitted(route: Route, tenant: Tenant, model: Model, *, by_default: bool) -> Model:
    if model.own_arn:
        tenant.must_allow_arn(model.target)
    if not (route.is_alias and tenant.allows_model(route.name, by_default=by_default)):
        tenant.must_allow_model(model.id, by_default=by_default)
    return model

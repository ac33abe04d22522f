"""Calling a model: reserve, call, settle. Nothing is called before its row is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from gateway.catalog import Model
from gateway.errors import GatewayError, NotFound, UpstreamError
from gateway.jobs import Ended, Job, Jobs, JobState
from gateway.ledger import Ledger
from gateway.tenants import Caller
from gateway.usage import UNKNOWN, Outcome, RequestId, TokenUsage, UsageRecord

Clock = Callable[[], datetime]


# A call settles before its answer is kept, so for this long a settled row does not mean that there is none.
KEPT_WITHIN = timedelta(seconds=5)


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class ModelCall:
    """One call of a model, ready to send.

    `api` is the service's operation (`Converse`, `InvokeModel`, `InvokeEndpoint`), `body` its JSON. `image_class` and
    `input_images` are the parts of its price that only the request tells.
    """

    model: Model
    operation: str
    api: str
    body: Any
    inference_component: str = ""
    image_class: str = ""
    input_images: int = 0


@dataclass(frozen=True)
class ModelAnswer:
    """What the model answered, as JSON, and what it used by the service's own counts."""

    body: Any
    usage: TokenUsage


class Models(Protocol):
    """The services that run models. Raises UpstreamError. One call is one attempt upstream: it never retries."""

    def call(self, call: ModelCall) -> ModelAnswer: ...


@dataclass(frozen=True)
class Context:
    """Who calls, under which id, charged to what, and until when this process can settle."""

    request_id: RequestId
    caller: Caller
    cost_centre: str
    region: str
    lease_until: datetime
    clock: Clock = field(default=utc_now)

    def open_row(self, call: ModelCall, attempt: int) -> UsageRecord:
        return UsageRecord(
            request_id=self.request_id,
            attempt=attempt,
            tenant_id=self.caller.tenant_id,
            cost_centre=self.cost_centre,
            key_id=self.caller.key_id,
            operation=call.operation,
            model_id=call.model.id,
            model_used=call.model.target,
            region=self.region,
            started_at=self.clock(),
            lease_until=self.lease_until,
        )


def _attempt(
    call: ModelCall, row: UsageRecord, models: Models, clock: Clock
) -> tuple[UsageRecord, ModelAnswer | None, UpstreamError | None]:
    """Make one call whose row is reserved; answers the row as it is to be settled."""
    try:
        answer = models.call(call)
    except UpstreamError as error:
        if error.ran:
            settled = row.settle(Outcome.INTERRUPTED, TokenUsage(source=UNKNOWN), clock(), error.code)
        else:
            settled = row.settle(Outcome.FAILED, TokenUsage(), clock(), error.code)
        return settled, None, error
    return row.settle(Outcome.SUCCEEDED, answer.usage, clock()), answer, None


def invoke(calls: Sequence[ModelCall], context: Context, models: Models, ledger: Ledger) -> list[ModelAnswer]:
    """Make the calls of one request, in order; each is settled before the next begins. Raises UpstreamError."""
    answers = []
    for attempt, call in enumerate(calls, start=1):
        row = context.open_row(call, attempt)
        ledger.reserve(row)
        settled, answer, error = _attempt(call, row, models, context.clock)
        ledger.settle(settled)
        if error or answer is None:
            raise error or AssertionError("a call ends with an answer or an error")
        answers.append(answer)
    return answers


class JobBusy(Exception):
    """Another worker holds the job; its message must come again."""


def complete(
    job: Job,
    calls: Sequence[ModelCall],
    context: Context,
    models: Models,
    ledger: Ledger,
    jobs: Jobs,
    answer_of: Callable[[Sequence[ModelAnswer]], Any],
) -> Ended:
    """Make the calls of a claimed job, and end it together with the settlement of all its rows."""
    answers: list[ModelAnswer] = []
    settled: list[UsageRecord] = []
    ended: Ended | None = None
    for number, call in enumerate(calls):
        row = context.open_row(call, job.attempts - len(calls) + number + 1)
        ledger.reserve(row)
        record, answer, error = _attempt(call, row, models, context.clock)
        settled.append(record)
        if error or answer is None:
            ended = Ended.failed(error or GatewayError("The call had no answer."))
            break
        answers.append(answer)
    if ended is None:
        try:
            ended = Ended(body=answer_of(answers))
        except GatewayError as error:
            ended = Ended.failed(error)
    jobs.finish(job, ended, settled, context.clock())
    return ended


def poll(
    request_id: RequestId, caller: Caller, jobs: Jobs, ledger: Ledger, now: datetime, patience: timedelta
) -> Any | None:
    """The body of a kept answer, None while there is none yet. Raises the job's own error, or NotFound.

    Another tenant's job is not found: that it exists is nobody else's business.
    """
    unknown = NotFound(
        "No call of yours has this requestId, or its answer is no longer kept.", code="request_not_found"
    )
    job = jobs.find(request_id)
    if job is None:
        row = ledger.find(request_id, now)
        if row is None or row.tenant_id != caller.tenant_id:
            raise unknown
        if row.settled_at is not None:
            if now - row.settled_at > KEPT_WITHIN:
                raise unknown
            return None
        if row.lease_until < now:
            raise GatewayError("The call ended without an answer. Make it again.", code="call_lost", status=500)
        return None
    if job.tenant_id != caller.tenant_id:
        raise unknown
    if job.lost(now, patience):
        raise GatewayError("The call ended without an answer. Submit it again.", code="call_lost", status=500)
    if job.state is not JobState.DONE or job.ended is None:
        return None
    if job.ended.error:
        raise job.ended.error
    return job.ended.body


@dataclass(frozen=True)
class ModelServices:
    """Sends each call to the service of its model."""

    services: Mapping[str, Models]

    def call(self, call: ModelCall) -> ModelAnswer:
        return self.services[call.model.service].call(call)

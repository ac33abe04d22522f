"""Answers one request that is not streamed, by the body of its first successful attempt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.calls.attempts import AttemptPlan, OpenAttempt
from gateway.calls.call import ModelAnswer, ModelCall, Models
from gateway.calls.jobs import JobResult, ResultStore
from gateway.calls.model_routes import Route
from gateway.calls.spans import finish_reason
from gateway.core.errors import GatewayError
from gateway.usage.records import Outcome, UsageRecord


@dataclass(frozen=True)
class ModelServices:
    """Sends each call to the service of its model."""

    services: Mapping[str, Models]

    def call(self, call: ModelCall) -> ModelAnswer:
        return self.services[call.model.service].call(call)


Settle = Callable[[OpenAttempt, ModelAnswer], None]


def answered(calls: Sequence[ModelCall], attempts: AttemptPlan, models: Models) -> tuple[ModelCall, ModelAnswer]:
    """A buffered and settled answer, with the call that produced it. Raises GatewayError."""
    return _answered(calls, attempts, models, _settle)


def _answered(
    calls: Sequence[ModelCall], attempts: AttemptPlan, models: Models, settle: Settle
) -> tuple[ModelCall, ModelAnswer]:
    tries = attempts.of(calls)
    for attempt in tries:
        with attempt:
            answer = models.call(attempt.call)
            attempt.finish_reason = finish_reason(answer.body)
            settle(attempt, answer)
            return attempt.call, answer
    raise tries.failure


def _settle(attempt: OpenAttempt, answer: ModelAnswer) -> None:
    attempt.settle(Outcome.SUCCEEDED, answer.usage)


# ------------------------------------------------------------------------------------------------------ whole requests
class TranslatedRequest(Protocol):
    """A request in a model's own format: the calls that answer it, and the function that merges their answers."""

    @property
    def calls(self) -> tuple[ModelCall, ...]: ...

    def answer(self, answers: Sequence[ModelAnswer]) -> Any:
        """Make the calls and return the merged body. Raises GatewayError."""


def max_attempts(requests: Sequence[TranslatedRequest], route: Route) -> int:
    """The maximum number of rows of a request. `requests` has the same request for each model of the route."""
    tries = route.retries + 1
    return tries * (len(requests) if _may_fall_back(requests[0]) else len(requests[0].calls))


def _may_fall_back(request: TranslatedRequest) -> bool:
    """Vectors of two models are not comparable, and one model must answer all calls of a request."""
    return len(request.calls) == 1 and not request.calls[0].operation.startswith("embeddings")


def invoke(requests: Sequence[TranslatedRequest], attempts: AttemptPlan, models: Models) -> Any:
    """The answer of a request. Each of its calls is settled before the next begins. Raises GatewayError."""
    return _body(requests, attempts, models, _settle)


def _body(requests: Sequence[TranslatedRequest], attempts: AttemptPlan, models: Models, settle: Settle) -> Any:
    if not _may_fall_back(requests[0]):
        return requests[0].answer([_answered([call], attempts, models, settle)[1] for call in requests[0].calls])
    by_model = {request.calls[0].model: request for request in reversed(requests)}
    made, answer = _answered([request.calls[0] for request in requests], attempts, models, settle)
    return by_model[made.model].answer([answer])


def complete(
    requests: Sequence[TranslatedRequest], attempts: AttemptPlan, models: Models, results: ResultStore
) -> JobResult:
    """Answer a claimed job. One transaction ends it and settles the rows of its answer."""
    made: list[tuple[OpenAttempt, UsageRecord]] = []

    def settle_later(attempt: OpenAttempt, answer: ModelAnswer) -> None:
        made.append((attempt, attempt.row.settle(Outcome.SUCCEEDED, answer.usage, attempts.context.clock())))

    try:
        ended = JobResult(body=_body(requests, attempts, models, settle_later))
    except GatewayError as error:
        ended = JobResult.failed(error)
    if results.finish(ended, [record for _, record in made], attempts.context.clock()):
        for attempt, record in made:
            attempt.mark_settled(record)
    return ended

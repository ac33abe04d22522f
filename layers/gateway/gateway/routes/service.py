"""What every route of this function shares: who asks for which model, and how a call becomes an answer or a stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

from gateway.calls.attempts import AttemptPlan, CircuitBreakers, OpenAttempt
from gateway.calls.attribution import Attributed, Attributor
from gateway.calls.call import Context, ModelAnswer, ModelCall, Models
from gateway.calls.catalog import Model
from gateway.calls.claims import NO_CLAIM, Claim, claim_of_headers
from gateway.calls.idempotency import IdempotencyStore, IdempotentRequest, record_for
from gateway.calls.invoke import answered, complete
from gateway.calls.metering import Meter
from gateway.calls.model_registry import ModelRegistry
from gateway.calls.model_routes import Route
from gateway.calls.policy import Find, authorized_models
from gateway.calls.resource_ownership import must_name_no_project, must_own_references
from gateway.calls.streaming import MeteredStream, Streams, StreamWriter, open_stream, unreadable
from gateway.core.errors import BadRequestError, GatewayError, ModelMissingError, UpstreamError
from gateway.usage.records import TenantId
from gateway.web.exchange import PendingReply, Reply, Request, StreamedReply
from gateway.web.warnings import also_warned

SSE = "text/event-stream; charset=utf-8"
CONVERSE_OUTPUT = ("inferenceConfig", "maxTokens")


@dataclass(frozen=True)
class AuthorizedRequest:
    """One request that may be made: its models, the first choice first, and how it tries them.

    `warnings` are those of its attribution, which every answer of it has.
    """

    request: Request
    models: tuple[Model, ...]
    attempts: AttemptPlan
    warnings: tuple[str, ...] = ()


Write = Callable[[ModelCall, ModelAnswer], Reply]
WriteAll = Callable[[Sequence[ModelAnswer]], Reply]
# What a client says of its call beside the body.
_TOLD = ("x-amzn-bedrock-", "anthropic-beta", "accept")


@dataclass(frozen=True)
class _Written:
    """The calls of a whole request, whose answer is kept as it was sent."""

    calls: tuple[ModelCall, ...]
    write: WriteAll

    def reply(self, answers: Sequence[ModelAnswer]) -> Reply:
        try:
            return self.write(answers)
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            # A problem ends together with the rows of its calls; any other error would leave them to be swept.
            raise unreadable() from error

    def answer(self, answers: Sequence[ModelAnswer]) -> Any:
        reply = self.reply(answers)
        text = reply.body.decode() if isinstance(reply.body, bytes) else json.dumps(reply.body, separators=(",", ":"))
        return {"text": text, "headers": dict(reply.headers), "content_type": reply.content_type}


def _first(call: ModelCall, write: Write) -> WriteAll:
    return lambda answers: write(call, answers[0])


def _kept(body: Any) -> Reply:
    return Reply(body["text"].encode(), 200, body["headers"], body["content_type"])


class ResponseItems(Protocol):
    """Where the items of answered responses are kept. Implemented by `gateway.aws.dynamodb.response_items`."""

    @property
    def seconds(self) -> int:
        """How long; 0 keeps none."""

    def keep(self, tenant: TenantId, response: str, items: Sequence[Mapping[str, Any]]) -> None:
        """Keep what a response answered. An answer that cannot be kept is sent all the same."""

    def find(self, tenant: TenantId, responses: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The items that these responses answered, by their ids; nothing of one that is not kept (any more)."""


class ModelListing(Protocol):
    """The models and inference profiles of this region. Implemented by `gateway.aws.models.bedrock`."""

    def summaries(self) -> list[dict[str, Any]]: ...

    def profiles(self) -> list[dict[str, Any]]: ...

    def behind(self, profile_arn: str) -> str | None:
        """The model id that an application inference profile is priced as; None where that is not known."""


@dataclass(frozen=True)
class ModelService:
    """The gateway behind the routes."""

    registry: Callable[[], ModelRegistry]
    models: Models
    streams: Streams
    meter: Meter
    breakers: CircuitBreakers
    entries: IdempotencyStore
    items: ResponseItems
    attributor: Attributor
    listing: Callable[[], ModelListing]
    region: str
    allow_unlisted: bool

    # ------------------------------------------------------------------------------------------------ who asks for what
    def authorize(
        self,
        request: Request,
        name: Any,
        operation: str | None = "text",
        *,
        charged: bool = True,
        find: Callable[[ModelRegistry, Route], Find] | None = None,
        claim: Claim = NO_CLAIM,
    ) -> AuthorizedRequest:
        """Raises GatewayError for a model that there is not, or that the caller may not use.

        Where the model makes the operation, whoever knows that (None here) asks the tenant's record for it.
        What is not charged is charged to no cost centre, so it does not matter which one the request names.
        `find` reads a name in a way of the format's own; without it a name is what Bedrock's own operations take.
        `claim` is the claim of the body; the headers' own are stronger.
        """
        must_name_no_project(request.json, request.headers)
        if not isinstance(name, str) or not name:
            raise ModelMissingError
        who, registry = request.caller, self.registry()
        route = registry.routes.find(name)
        found = find(registry, route) if find else lambda name: registry.catalog.named(name, self._behind)
        models = authorized_models(route, who.tenant, operation, found, by_default=self.allow_unlisted)
        cost_centre = who.cost_centre(request.header("team_id") if charged else None)
        until = datetime.fromtimestamp(request.deadline, UTC)
        said = claim_of_headers(request.headers) | claim if charged else NO_CLAIM
        made = self.attributor.attribute(who, said, datetime.now(UTC)) if charged else Attributed()
        context = Context(
            request.request_id, who, cost_centre, self.region, until, trace=request.trace, attribution=made.attribution
        )
        attempts = AttemptPlan(route, context, self.meter, self.breakers)
        return AuthorizedRequest(request, models, attempts, made.warnings)

    def _behind(self, profile_arn: str) -> str | None:
        return self.listing().behind(profile_arn)

    def may_use(self, request: Request, model_id: str) -> bool:
        return request.caller.tenant.allows_model(model_id, by_default=self.allow_unlisted)

    def count(self, authorized: AuthorizedRequest, call: ModelCall) -> ModelAnswer:
        """Count a call's tokens: free at Bedrock, and no call of a model, so nothing is reserved."""
        must_own_references(call.body, call.headers, authorized.request.caller.tenant)
        return self.models.call(call)

    # ----------------------------------------------------------------------------------------------- how it is answered
    def reply(
        self,
        authorized: AuthorizedRequest,
        calls: Sequence[ModelCall],
        write: Write,
        headers: Mapping[str, str] | None = None,
    ) -> PendingReply:
        """The answer of one call, in the words of its format; of an earlier one with the same Idempotency-Key.

        `headers` are those that are known before it, for an answer that takes long.
        """

        def make() -> Reply:
            if (key := authorized.request.headers.get("idempotency-key")) is not None:
                written = [_Written((call,), _first(call, write)) for call in calls]
                return _noted(self._once(key, authorized, written), authorized)
            call, answer = answered(calls, authorized.attempts, self.models)
            return _noted(_Written((call,), _first(call, write)).reply([answer]), authorized)

        return PendingReply(make, also_warned(headers or {}, authorized.warnings))

    def reply_all(self, authorized: AuthorizedRequest, calls: Sequence[ModelCall], write: WriteAll) -> PendingReply:
        """The same for an answer that is made of several calls of one model, each settled before the next."""

        def make() -> Reply:
            if (key := authorized.request.headers.get("idempotency-key")) is not None:
                return _noted(self._once(key, authorized, [_Written(tuple(calls), write)]), authorized)
            made = [answered([call], authorized.attempts, self.models)[1] for call in calls]
            return _noted(_Written(tuple(calls), write).reply(made), authorized)

        return PendingReply(make, also_warned({}, authorized.warnings))

    def _once(self, key: str, authorized: AuthorizedRequest, requests: Sequence[_Written]) -> Reply:
        request, context = authorized.request, authorized.attempts.context
        said = {"path": request.path, "body": request.json, "team_id": request.header("team_id") or ""}
        said["headers"] = {name: text for name, text in request.headers.items() if name.startswith(_TOLD)}
        entry = record_for(context.caller.tenant, key, said, context.request_id, context.lease_until)
        once = IdempotentRequest(self.entries, entry, context.caller.tenant)
        ended, replayed = once.run(context.clock, lambda: complete(requests, authorized.attempts, self.models, once))
        if ended.error:
            raise ended.error
        reply = _kept(ended.body)
        return replace(reply, headers={**reply.headers, "idempotent-replayed": "true"}) if replayed else reply

    def stream(
        self,
        authorized: AuthorizedRequest,
        calls: Sequence[ModelCall],
        writer_of: Callable[[ModelCall], StreamWriter],
        ping: bytes,
        error: Callable[[GatewayError], bytes],
        headers: Mapping[str, str] | None = None,
        *,
        shows_cost: bool = False,
    ) -> StreamedReply:
        """A stream of server-sent events. It opens when its bytes are asked for."""
        must_not_repeat(authorized.request)
        live: list[MeteredStream] = []

        def parts() -> Iterator[bytes]:
            live.append(open_stream(calls, authorized.attempts, self.streams))
            yield from live[0].deliver(writer_of(live[0].call), self.cost_of if shows_cost else None)

        told = also_warned(headers or {}, authorized.warnings)
        return StreamedReply(parts(), SSE, ping, error, lambda: live[0].opened.abort() if live else None, told)

    def cost_of(self, attempt: OpenAttempt) -> Decimal | None:
        charge = self.meter.book().charge_record(attempt.settled) if attempt.settled else None
        return charge.cost if charge else None


def _noted(reply: Reply, authorized: AuthorizedRequest) -> Reply:
    """The answer with the warnings of this request, which are not part of an answer that is kept for a repeat."""
    if not authorized.warnings:
        return reply
    return replace(reply, headers=also_warned(reply.headers, authorized.warnings))


def must_not_repeat(request: Request) -> None:
    """A stream is not kept, so a key that promised that it is would be a false promise. Raises BadRequestError."""
    if "idempotency-key" in request.headers:
        raise BadRequestError(
            "Idempotency-Key is not supported for streaming requests. Leave one of the two out.",
            code="idempotency_not_for_streams",
        )


def retry_headers(error: GatewayError) -> dict[str, str]:
    """When to try again; or that it is of no use, or would be paid twice: the SDKs of OpenAI and Anthropic heed it."""
    headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    in_vain = error.code == "budget_exceeded" or (isinstance(error, UpstreamError) and error.ran)
    return headers | ({"x-should-retry": "false"} if in_vain else {})


def problem_reply(
    body: Any, error: GatewayError, headers: Mapping[str, str] | None = None, status: int | None = None
) -> Reply:
    return Reply(body, status or error.status, {**retry_headers(error), **(headers or {})})

"""A call of a model: what it asks for, for whom, within which limits, and where its answer is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from gateway.catalog import Model, Service
from gateway.errors import Forbidden, GatewayError, NotFound
from gateway.jobs import Jobs, JobState
from gateway.ledger import Ledger
from gateway.metering import Bound
from gateway.references import must_own_references
from gateway.tenants import Caller, Tenant
from gateway.token_bounds import (
    count_of,
    input_bound,
    marks_cache,
    output_bound,
    output_said,
    reader_of,
    tiers_said,
)
from gateway.usage import RequestId, TokenUsage, UsageRecord, estimate_tokens

Clock = Callable[[], datetime]


# A call settles before its answer is kept, so for this long a settled row does not mean that there is none.
KEPT_WITHIN = timedelta(seconds=5)
# What a call of a tenant with a hard limit is given where it names no maximum: without one there is nothing to hold.
DEFAULT_MAX_OUTPUT = 4096
# Families that write to the prompt cache only where a request marks what; others may do so by themselves.
_CACHE_WHEN_ASKED = frozenset({"anthropic", "amazon"})


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class ModelCall:
    """One call of a model, ready to send.

    `api` is the service's operation (`Converse`, `InvokeModel`, `InvokeEndpoint`), `body` its JSON, where bytes are
    base64 text; `headers` go beside it. `image_class` and `input_images` are the parts of its price that only the
    request tells. `output_path` says where in the body the maximum of tokens stands, empty where the model makes none
    or nobody knows; `answers` and `images` how many of them. `tags` say whose call it is, to the service and its bill;
    after `until` nobody is left to settle it. `warnings` name what was left out or adapted so that the model takes it.
    """

    model: Model
    operation: str
    api: str
    body: Any
    inference_component: str = ""
    image_class: str = ""
    input_images: int = 0
    output_path: tuple[str, ...] = ()
    answers: int = 1
    images: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    until: datetime | None = None
    warnings: tuple[str, ...] = ()

    @property
    def max_output_tokens(self) -> int | None:
        """The most tokens that one answer may have, where the request says so in any way that a model may read."""
        named = (self.named_maximum, output_said(self.body))
        return max((count for count in named if count is not None), default=None)

    @property
    def named_maximum(self) -> int | None:
        """The maximum in the place where this model reads it for certain."""
        place: Any = self.body
        for name in self.output_path:
            place = place.get(name) if isinstance(place, Mapping) else None
        count = count_of(place) if self.output_path else None
        return None if count is None or count < 0 else count

    def with_max_output(self, tokens: int) -> ModelCall:
        def put(place: Any, path: tuple[str, ...]) -> Any:
            inside = place if isinstance(place, Mapping) else {}
            return {**inside, path[0]: put(inside.get(path[0]), path[1:])} if path else tokens

        return replace(self, body=put(self.body, self.output_path))

    @property
    def bound(self) -> Bound:
        """The most that the call can use."""
        if self.images:
            return Bound(TokenUsage(images=self.images, image_class=self.image_class))
        most = DEFAULT_MAX_OUTPUT if self.max_output_tokens is None else self.max_output_tokens
        made = output_bound(self.body, most, self.answers) if self.operation == "text" else 0
        # Of a picture to embed only the text beside it has tokens.
        pictures = ("images", "inputImage") if self.input_images else ()
        asked = {name: part for name, part in self.body.items() if name not in pictures} if pictures else self.body
        usage = TokenUsage(input_bound(asked, reader_of(self.model.base)), made, input_images=self.input_images)
        cached = self.model.provider not in _CACHE_WHEN_ASKED or marks_cache(self.body)
        return Bound(usage, cached, tiers_said(self.body, self.headers))

    def estimated(self, read: str, made: str) -> TokenUsage:
        """What a call used that nobody counted, by the bytes of what was read and made, as its row says.

        A picture's bytes are no text, nor is all of an answer's JSON: no more than `bound`, which a budget has held.
        """
        usage = TokenUsage(
            input_tokens=estimate_tokens(read),
            output_tokens=estimate_tokens(made),
            input_images=self.input_images,
            source="estimated:utf8_bytes/4",
        )
        if self.images:
            return usage  # it has no price in tokens, so its hold is kept
        most = self.bound.usage
        made_at_most = usage.output_tokens if self.max_output_tokens is None else most.output_tokens
        return replace(
            usage,
            input_tokens=min(usage.input_tokens, most.input_tokens),
            output_tokens=min(usage.output_tokens, made_at_most),
        )


@dataclass(frozen=True)
class ModelAnswer:
    """What the model answered, as JSON and as it came, and what it used by the service's own counts."""

    body: Any
    usage: TokenUsage
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


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
    trace: str = ""  # X-Ray's header of the request, empty where it is not traced

    @property
    def tags(self) -> dict[str, str]:
        """What the service is told of a call's owner."""
        return {
            "tenant_id": self.caller.tenant_id,
            "cost_centre": self.cost_centre,
            "request_id": self.request_id,
        }

    def open_row(self, call: ModelCall, attempt: int, asked_model: str = "", routing: str = "") -> UsageRecord:
        counted = call.model.counted_as
        asked = asked_model or (call.model.id if call.model.unresolved else "")
        return UsageRecord(
            request_id=self.request_id,
            attempt=attempt,
            tenant_id=self.caller.tenant_id,
            cost_centre=self.cost_centre,
            key_id=self.caller.key_id,
            operation=call.operation,
            model_id=counted,
            model_used=call.model.target,
            region=self.region,
            started_at=self.clock(),
            lease_until=self.lease_until,
            asked_model=asked if asked != counted else "",
            routing=routing,
        )


def governed(call: ModelCall, context: Context) -> ModelCall:
    """The call as it is made for its tenant: within its limits, with its guardrail and its tags. Raises Forbidden."""
    tenant = context.caller.tenant
    if call.model.service is Service.BEDROCK:
        must_own_references(call.body, call.headers, tenant)
    allowed = replace(within(call, tenant), tags=context.tags, until=context.lease_until)
    if tenant.guardrail is None or call.model.service is not Service.BEDROCK:
        return allowed
    guardrail = tenant.guardrail
    if call.api.startswith("Converse"):
        # What else the client said of a guardrail (its trace, how it reads a stream) stays.
        own = call.body.get("guardrailConfig")
        forced = {"guardrailIdentifier": guardrail.id, "guardrailVersion": guardrail.version}
        return replace(
            allowed, body={**allowed.body, "guardrailConfig": {**(own if isinstance(own, dict) else {}), **forced}}
        )
    names = {name: text for name, text in call.headers.items() if name.lower() not in _GUARDRAIL_HEADERS}
    forced = {_GUARDRAIL_ID: guardrail.id, _GUARDRAIL_VERSION: guardrail.version}
    return replace(allowed, headers={**names, **forced})


_GUARDRAIL_ID, _GUARDRAIL_VERSION = "X-Amzn-Bedrock-GuardrailIdentifier", "X-Amzn-Bedrock-GuardrailVersion"
_GUARDRAIL_HEADERS = {_GUARDRAIL_ID.lower(), _GUARDRAIL_VERSION.lower()}


def within(call: ModelCall, tenant: Tenant) -> ModelCall:
    """The call as the tenant's record lets it be made. Raises Forbidden where it names more tokens than allowed."""
    asked, most = call.max_output_tokens, tenant.max_output_tokens
    if call.operation != "text":
        return call
    if most is not None and asked is not None and asked > most:
        raise Forbidden(f"Your tenant may ask for {most} output tokens at most.", code="max_tokens_not_allowed")
    if call.named_maximum is not None or not call.output_path or (most is None and not tenant.has_hard_budget):
        return call
    return call.with_max_output(min(most or DEFAULT_MAX_OUTPUT, DEFAULT_MAX_OUTPUT))


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

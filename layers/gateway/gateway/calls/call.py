"""A call of a model: its request, its caller and limits, and its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from gateway.calls.catalog import Model
from gateway.calls.token_bounds import (
    TokenBound,
    count_of,
    input_bound,
    marks_cache,
    output_bound,
    output_said,
    reader_of,
    tiers_said,
)
from gateway.tenancy.caller import Caller
from gateway.usage.provider_counts import estimate_tokens
from gateway.usage.records import NOBODY, Attribution, RequestId, TokenUsage, UsageRecord

Clock = Callable[[], datetime]
# The output limit for a call without one, where its tenant has a hard budget: a hold needs a maximum.
DEFAULT_MAX_OUTPUT = 4096
# Families that write to the prompt cache only where a request marks content; others may do so by themselves.
_CACHE_WHEN_ASKED = frozenset({"anthropic", "amazon"})


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class ModelCall:
    """One call of a model, ready to send.

    `api` is the service's operation (`Converse`, `InvokeModel`, `InvokeEndpoint`), `body` its JSON, with bytes in
    base64, and `headers` are its headers. `image_class` and `input_images` affect the price, and only the request
    states them. `output_path` is the path of the output limit in the body; it is empty where the model has none or
    the path is unknown. `answers` and `images` are counts. `tags` name the owner of the call to the service and on its
    bill. After `until` no process is left to settle it. `warnings` name the parts that the gateway left out or adapted.
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
        """The largest output limit that the request states in any field that a model may read; None without one."""
        named = (self.named_maximum, output_said(self.body))
        return max((count for count in named if count is not None), default=None)

    @property
    def named_maximum(self) -> int | None:
        """The output limit at `output_path`, which this model certainly reads."""
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
    def bound(self) -> TokenBound:
        """The maximum usage of the call."""
        if self.images:
            return TokenBound(TokenUsage(images=self.images, image_class=self.image_class))
        most = DEFAULT_MAX_OUTPUT if self.max_output_tokens is None else self.max_output_tokens
        made = output_bound(self.body, most, self.answers) if self.operation == "text" else 0
        # An image to embed has no tokens; only the text beside it has.
        pictures = ("images", "inputImage") if self.input_images else ()
        asked = {name: part for name, part in self.body.items() if name not in pictures} if pictures else self.body
        base = self.model.known_base
        usage = TokenUsage(input_bound(asked, reader_of(base)), made, input_images=self.input_images)
        cached = base.partition(".")[0] not in _CACHE_WHEN_ASKED or marks_cache(self.body)
        return TokenBound(usage, cached, tiers_said(self.body, self.headers))

    def estimated(self, read: str, made: str) -> TokenUsage:
        """The usage of an uncounted call, estimated from the bytes of input and output; its row states the estimate.

        The bytes of an image, and parts of an answer's JSON, are not text. So `bound`, which the budget reserved, caps
        the estimate.
        """
        usage = TokenUsage(
            input_tokens=estimate_tokens(read),
            output_tokens=estimate_tokens(made),
            input_images=self.input_images,
            source="estimated:utf8_bytes/4",
        )
        if self.images:
            return usage  # it has no price in tokens, so its hold stays
        most = self.bound.usage
        made_at_most = usage.output_tokens if self.max_output_tokens is None else most.output_tokens
        return replace(
            usage,
            input_tokens=min(usage.input_tokens, most.input_tokens),
            output_tokens=min(usage.output_tokens, made_at_most),
        )


@dataclass(frozen=True)
class ModelAnswer:
    """A model's answer, as JSON and as raw bytes, with its usage by the service's own counts."""

    body: Any
    usage: TokenUsage
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Models(Protocol):
    """Sends calls to the model services. Raises UpstreamError. One call is one upstream attempt, without retries."""

    def call(self, call: ModelCall) -> ModelAnswer: ...


@dataclass(frozen=True)
class Context:
    """The context of a request: its caller, id and cost centre, and the time until which this process can settle."""

    request_id: RequestId
    caller: Caller
    cost_centre: str
    region: str
    lease_until: datetime
    clock: Clock = field(default=utc_now)
    trace: str = ""  # the request's X-Ray header; empty without tracing
    attribution: Attribution = field(default=NOBODY)

    @property
    def tags(self) -> dict[str, str]:
        """The tags that name a call's owner and user to the service."""
        by = self.attribution
        return {
            "tenant_id": self.caller.tenant_id,
            "cost_centre": self.cost_centre,
            "request_id": self.request_id,
        } | ({"user_id": by.user_id, "user_source": by.user_source.value} if by.user_id else {})

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
            attribution=self.attribution,
            routing=routing,
        )

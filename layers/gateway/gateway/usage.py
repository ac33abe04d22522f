"""What a call used, in disjoint counts, and the row of the ledger that keeps it.

Every provider counts in its own way. Here each token is in exactly one bucket: `input`, `output`, `cache_read`,
`cache_write_5m`, `cache_write_1h`. The provider's own JSON stays in the row, so that a count can be checked later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NewType

TenantId = NewType("TenantId", str)
KeyId = NewType("KeyId", str)
RequestId = NewType("RequestId", str)
ModelId = NewType("ModelId", str)

# Where a usage's counts come from; else it is `estimated:<how>`.
PROVIDER = "provider"
UNKNOWN = "unknown"


class Outcome(StrEnum):
    OPEN = "open"  # reserved; the call may still run
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # the service refused or failed: nothing was used
    INTERRUPTED = "interrupted"  # the answer broke off: what is known was used
    UNSETTLED = "unsettled"  # nobody came back to settle it: usage unknown


@dataclass(frozen=True)
class TokenUsage:
    """Disjoint counts of one call. `input_images` are pictures embedded, `images` pictures made."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    images: int = 0
    image_class: str = ""  # size and quality of the images made, e.g. `512x512:standard`
    input_images: int = 0
    service_tier: str = "default"  # as the service echoed it
    source: str = PROVIDER
    raw: str = ""  # the provider's own usage JSON

    @property
    def context_tokens(self) -> int:
        """All tokens that the model read: what long-context prices go by."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_5m_tokens + self.cache_write_1h_tokens


@dataclass(frozen=True)
class UsageRecord:
    """One row of the ledger: one attempt of one call."""

    request_id: RequestId
    attempt: int
    tenant_id: TenantId
    cost_centre: str
    key_id: KeyId
    operation: str
    model_id: ModelId  # asked for; it picks the price
    model_used: str  # sent to the service: an ARN or an endpoint may stand for the model
    region: str
    started_at: datetime
    lease_until: datetime  # after this nobody can settle the row any more but the sweep
    outcome: Outcome = Outcome.OPEN
    settled_at: datetime | None = None
    usage: TokenUsage = field(default_factory=TokenUsage)
    error_code: str = ""
    asked_model: str = ""  # what the caller named, where that is another name than `model_id`
    routing: str = ""  # why this attempt was made: `retry:model_throttled`, `fallback:model_unavailable`

    @property
    def hour(self) -> str:
        """The hour (UTC) that this row belongs to, `2026-11-24T01`."""
        return self.started_at.strftime("%Y-%m-%dT%H")

    @property
    def is_open(self) -> bool:
        return self.outcome is Outcome.OPEN

    def settle(self, outcome: Outcome, usage: TokenUsage, at: datetime, error_code: str = "") -> UsageRecord:
        return replace(self, outcome=outcome, usage=usage, settled_at=at, error_code=error_code)


def whole(value: Any) -> int:
    """A count that a service gave, also as `"5"`. Raises ValueError or TypeError for what is none.

    A negative count would be credit, and one that no table can hold, no part of a token and no boolean is a count.
    """
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError(f"{value} is no count")
    counted = int(value)
    if not 0 <= counted < 2**63:
        raise ValueError(f"{counted} is no count")
    return counted


def image_class(width: int, height: int, premium: bool) -> str:
    """The price class of an image call: up to 512x512 or larger; standard or premium."""
    size = "512x512" if width <= 512 and height <= 512 else "larger"
    return f"{size}:{'premium' if premium else 'standard'}"


def from_converse(usage: Mapping[str, Any], raw: str, service_tier: str | None = None) -> TokenUsage:
    """Converse's `usage`: inputTokens excludes the cache's; cacheDetails splits writes by TTL (5m where unsaid).

    Source: TokenUsage of the bedrock-runtime service model. Nova's own body says the same with `…TokenCount`.
    """
    details = [(detail.get("ttl"), whole(detail["inputTokens"])) for detail in usage.get("cacheDetails") or ()]
    hour = sum(count for ttl, count in details if ttl == "1h")
    written = whole(usage.get("cacheWriteInputTokens") or usage.get("cacheWriteInputTokenCount") or 0)
    written = max(written, sum(count for _, count in details))  # where only the details were told
    return TokenUsage(
        input_tokens=whole(usage["inputTokens"]),
        output_tokens=whole(usage["outputTokens"]),
        cache_read_tokens=whole(usage.get("cacheReadInputTokens") or usage.get("cacheReadInputTokenCount") or 0),
        cache_write_5m_tokens=written - hour,
        cache_write_1h_tokens=hour,
        service_tier=service_tier or "default",
        raw=raw,
    )


def from_anthropic(usage: Mapping[str, Any], raw: str, service_tier: str | None = None) -> TokenUsage:
    """The Messages API's `usage`: input_tokens excludes the cache's; cache_creation splits writes by TTL."""
    by_ttl = usage.get("cache_creation") or {}
    hour, short = (whole(by_ttl.get(f"ephemeral_{ttl}_input_tokens") or 0) for ttl in ("1h", "5m"))
    written = max(whole(usage.get("cache_creation_input_tokens") or 0), hour + short)
    return TokenUsage(
        input_tokens=whole(usage["input_tokens"]),
        output_tokens=whole(usage["output_tokens"]),
        cache_read_tokens=whole(usage.get("cache_read_input_tokens") or 0),
        cache_write_5m_tokens=written - hour,
        cache_write_1h_tokens=hour,
        service_tier=service_tier or "default",
        raw=raw,
    )


def from_openai(
    usage: Mapping[str, Any], raw: str, service_tier: str | None = None, cache: tuple[int, int] = (0, 0)
) -> TokenUsage:
    """An OpenAI-style `usage`: prompt_tokens includes what the cache gave and took, and here it does not.

    The usage itself hardly tells what was written to the cache; `cache` is what Bedrock says beside it: read, written.
    """
    details = usage.get("prompt_tokens_details") or {}
    read = whole(details.get("cached_tokens") or cache[0])
    written = whole(details.get("cache_write_tokens") or cache[1])
    return TokenUsage(
        input_tokens=max(whole(usage["prompt_tokens"]) - read - written, 0),
        output_tokens=whole(usage.get("completion_tokens") or 0),
        cache_read_tokens=read,
        cache_write_5m_tokens=written,
        service_tier=service_tier or "default",
        raw=raw,
    )


def estimate_tokens(text: str) -> int:
    """A count for a service that gives none: a token per four bytes of UTF-8, at least one for any text.

    Only ever used together with `source="estimated:…"`: an estimate is never shown as a count.
    """
    return -(-len(text.encode(errors="surrogatepass")) // 4)  # a model may cut a character in two


def texts(value: Any) -> str:
    """All strings of a JSON value that a model may have read or written."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "".join(texts(item) for name, item in value.items() if name not in ("parameters", "role"))
    if isinstance(value, list):
        return "".join(texts(item) for item in value)
    return ""


class EndpointUsage:
    """The counts of an endpoint: an OpenAI-style `usage`, or the `details` of a text container, in its last line."""

    complete = False  # an endpoint's last line is only known by the end
    whole = True

    def __init__(self) -> None:
        self.said = ""
        self._usage: TokenUsage | None = None

    def see(self, line: Mapping[str, Any]) -> None:
        self.said += endpoint_delta(line)
        if isinstance(counts := line.get("usage"), Mapping):
            self._usage = from_openai(counts, json.dumps(counts))
        elif isinstance(details := line.get("details"), Mapping):
            prompt = details.get("prefill") or ()  # the prompt's tokens one by one, where they were asked for
            if read := details.get("input_length") or len(prompt):
                kept = {name: count for name, count in details.items() if name not in ("prefill", "tokens")}
                # Of `best_of` answers the container shows the best, counts the others here, and made them all.
                others = [whole(each["generated_tokens"]) for each in kept.pop("best_of_sequences", None) or ()]
                kept |= {"best_of_sequences": others} if others else {}
                made = whole(details["generated_tokens"]) + sum(others)
                self._usage = TokenUsage(whole(read), made, raw=json.dumps(kept))

    def usage(self, service_tier: str | None = None) -> TokenUsage | None:
        return self._usage


def endpoint_delta(line: Mapping[str, Any]) -> str:
    """The text of one line of an endpoint's stream: a token of a text container, or a choice's delta."""
    if isinstance(token := line.get("token"), Mapping):
        return "" if token.get("special") else str(token.get("text") or "")
    choices = line.get("choices") or ()
    return str((choices[0].get("delta") or {}).get("content") or "") if choices else ""


_SAFE_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@ -]{0,127}\Z")


def is_label(text: str) -> bool:
    """May `text` name a tenant or a cost centre?"""
    return bool(_SAFE_LABEL.match(text))


# The tiers that are not the default, whatever a provider calls that: `default`, `standard`, `auto`. Optimised latency
# has a price of its own, as a tier has.
_TIERS = frozenset({"priority", "flex", "reserved", "optimized", "ultrafast"})


def echoed_tier(*places: Any) -> str:
    """The tier that an answer echoes, in the first place that names one: a word, `{"type": …}` or `{"latency": …}`."""
    return next((tier for place in places if (tier := named_tier(place))), "default")


def named_tier(place: Any) -> str:
    """The tier that one place names; empty where it names none that is known."""
    named = place.get("type") or place.get("latency") if isinstance(place, Mapping) else place
    return named if isinstance(named, str) and named in _TIERS else ""


def header_tier(headers: Mapping[str, str]) -> str:
    """The tier that a response's headers, lower-case, echo."""
    return echoed_tier(
        headers.get("x-amzn-bedrock-performanceconfig-latency"), headers.get("x-amzn-bedrock-service-tier")
    )


_HEADER = "x-amzn-bedrock-{}-token-count"


def from_invoke_model(body: Any, headers: Mapping[str, str], raw: str) -> TokenUsage | None:
    """InvokeModel's counts: the body's own `usage` first, then its bare counts, then the response's headers.

    A count that a body leaves out is taken from the headers. None where the service gave no count at all. Sources: each
    provider's response body in the Bedrock user guide; `x-amzn-bedrock-input-token-count` and `-output-token-count` as
    Bedrock sends them.
    """
    usage = _counted(_mapping(body, "usage"))
    own_tier = body.get("service_tier") if isinstance(body, Mapping) else None
    tier = echoed_tier(header_tier(headers), own_tier, usage.get("service_tier"))
    beside = {
        name: whole(count) for kind, name in _METRIC_NAMES.items() if (count := headers.get(_HEADER.format(kind)))
    }
    with suppress(KeyError, TypeError, ValueError, AttributeError):  # counts that cannot be read are none
        if counted := _own_counts(usage, beside, raw, tier):
            return counted
    if counts := _body_counts(body):
        return TokenUsage(input_tokens=counts[0], output_tokens=counts[1], service_tier=tier, raw=raw)
    return _bare_counts(beside, raw, tier) if beside else None


# Bedrock's counts beside a body: a header's by its name, and how the last chunk of a stream calls the same.
_METRIC_NAMES = {
    "input": "inputTokenCount",
    "output": "outputTokenCount",
    "cache-read-input": "cacheReadInputTokenCount",
    "cache-write-input": "cacheWriteInputTokenCount",
}
_CACHE = ("cacheReadInputTokenCount", "cacheWriteInputTokenCount")
_ANTHROPIC_CACHE = ("cache_read_input_tokens", "cache_creation_input_tokens")
_AS_ANTHROPIC = {
    "input_tokens": "inputTokenCount",
    "output_tokens": "outputTokenCount",
    "cache_read_input_tokens": "cacheReadInputTokenCount",
    "cache_creation_input_tokens": "cacheWriteInputTokenCount",
}


def _own_counts(usage: Mapping[str, Any], beside: Mapping[str, Any], raw: str, tier: str) -> TokenUsage | None:
    """A family's own `usage`, with what it leaves out as Bedrock counts it beside. None where it has another shape."""
    cache = {name: beside[name] for name in _CACHE if name in beside}
    if "prompt_tokens" in usage:
        read, written = (whole(cache.get(name) or 0) for name in _CACHE)
        return from_openai(usage, raw, tier, (read, written))
    if "inputTokens" in usage:
        return from_converse({**cache, **usage}, raw, tier)
    if "input_tokens" in usage or "output_tokens" in usage:
        left_out = {ours: beside[name] for ours, name in _AS_ANTHROPIC.items() if name in beside}
        return from_anthropic({**left_out, **usage}, raw, tier)
    return None


def _bare_counts(counts: Mapping[str, Any], raw: str, tier: str) -> TokenUsage:
    read, made, cached, written = (whole(counts.get(name) or 0) for name in _METRIC_NAMES.values())
    return TokenUsage(read, made, cached, written, service_tier=tier, raw=raw)


def _body_counts(body: Any) -> tuple[int, int] | None:
    """Counts that stand in the body by other names: Titan's and Llama's."""
    if not isinstance(body, Mapping):
        return None
    if "inputTextTokenCount" in body:
        results = body.get("results") or ()
        return whole(body["inputTextTokenCount"] or 0), sum(whole(result.get("tokenCount") or 0) for result in results)
    if "prompt_token_count" in body:
        return whole(body["prompt_token_count"] or 0), whole(body.get("generation_token_count") or 0)
    return None


# ---------------------------------------------------------------------------------------------------------- streams

METRICS = "amazon-bedrock-invocationMetrics"
# Where none of these words stands in a chunk it tells no count, no start and no end.
_COUNTS = re.compile(rb"usage|[tT]oken_?[cC]ount|message_?[sS]t(?:art|op)")
_BARE = {
    "inputTokenCount": ("prompt_token_count", "inputTextTokenCount"),
    "outputTokenCount": ("generation_token_count", "totalOutputTextTokenCount"),
}


class ConverseStreamUsage:
    """What a ConverseStream used: its event `metadata` says so, mostly the last one."""

    def __init__(self) -> None:
        self._usage: Mapping[str, Any] = {}
        self._tiers: tuple[Any, ...] = ()

    def see(self, metadata: Any) -> None:
        """The payload of the event `metadata`. It may be of any shape."""
        self._usage = merged(self._usage, _counted(_mapping(metadata, "usage")))
        if isinstance(metadata, Mapping):
            self._tiers = (*self._tiers, metadata.get("performanceConfig"), metadata.get("serviceTier"))

    @property
    def complete(self) -> bool:
        return bool(self._usage)

    @property
    def whole(self) -> bool:
        return self.complete

    def usage(self, service_tier: str | None = None) -> TokenUsage | None:
        """None where the service gave no count that can be read. `service_tier` is the response's header."""
        try:
            tier = echoed_tier(*self._tiers, service_tier)
            return from_converse(self._usage, _compact(self._usage), tier) if self._usage else None
        except (KeyError, TypeError, ValueError, AttributeError):
            return None


class InvokeStreamUsage:
    """What an InvokeModelWithResponseStream used, gathered from its chunks, whatever the model's family.

    A family's own words come first. Bedrock's count in the last chunk (`amazon-bedrock-invocationMetrics`) says what
    they leave out; it does not tell the cache's TTLs apart, Anthropic's own words do. Counts only grow: wherever a
    chunk tells one, the largest is the last.
    """

    def __init__(self) -> None:
        self._messages: Mapping[str, Any] = {}  # Anthropic's message_start, message_delta and message_stop
        self._own: Mapping[str, Any] = {}  # Nova's or OpenAI-style usage
        self._bare: dict[str, Any] = {}  # Llama's and Titan's counts, by Bedrock's names
        self._metrics: Mapping[str, Any] = {}
        self._tier: Any = None
        self._begun = self._stopped = self._said_all = False

    @property
    def complete(self) -> bool:
        """Are the counts final? Bedrock's own come last, and may add to a family's."""
        return self._stopped or bool(self._metrics)

    @property
    def whole(self) -> bool:
        """Did the answer come to its end, as far as its family says that there is one to come?"""
        return self.complete or self._said_all or not self._begun

    def read(self, chunk: bytes) -> None:
        """A chunk of the stream, as JSON text: it is parsed only where a count may stand in it."""
        if _COUNTS.search(chunk):
            try:
                self.see(json.loads(chunk))
            except (ValueError, RecursionError):
                return

    def see(self, chunk: Any) -> None:
        """A chunk of the stream. It may be of any shape."""
        if not isinstance(chunk, Mapping):
            return
        kind = chunk.get("type")
        said = _mapping(chunk, "message") if kind == "message_start" else chunk
        usage = _counted(said.get("usage")) or _counted(_mapping(chunk, "metadata").get("usage"))
        self._tier = chunk.get("service_tier") or usage.get("service_tier") or self._tier
        if kind in ("message_start", "message_delta", "message_stop"):
            self._begun, self._stopped = True, self._stopped or kind == "message_stop"
            self._messages = merged(self._messages, usage)
        elif "messageStart" in chunk or "messageStop" in chunk:  # Nova's, whose counts come after its stop
            self._begun, self._said_all = True, "messageStop" in chunk
        elif "prompt_tokens" in usage or "inputTokens" in usage:
            self._own = merged(self._own, usage)
        else:
            self._see_bare(chunk)
        metrics = _mapping(chunk, METRICS)
        if "inputTokenCount" in metrics or "outputTokenCount" in metrics:
            self._metrics = merged(self._metrics, _counted(metrics))

    def _see_bare(self, chunk: Mapping[str, Any]) -> None:
        """Llama counts on in every chunk, Titan at the end; both tell the prompt's count in the first chunk only."""
        for name, kinds in _BARE.items():
            for kind in kinds:
                if chunk.get(kind) is not None:
                    self._bare[name] = chunk[kind]

    def usage(self, service_tier: str | None = None) -> TokenUsage | None:
        """The counts; those so far before the stream is `complete`; None where there was no count that can be read.

        `service_tier` is the response's header, since no chunk echoes it.
        """
        own = self._messages or self._own or self._bare
        said = {"usage": own, METRICS: self._metrics}
        raw = _compact({name: counts for name, counts in said.items() if counts})
        try:
            return self._read(raw, echoed_tier(service_tier, self._tier))
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def _beside_messages(self) -> dict[str, Any]:
        """Bedrock's counts in Anthropic's names, but for an input that counts the cache once more."""
        beside = {ours: self._metrics[name] for ours, name in _AS_ANTHROPIC.items() if name in self._metrics}
        cached = sum(whole(self._messages.get(name) or 0) for name in _ANTHROPIC_CACHE)
        if cached and whole(beside.get("input_tokens") or 0) == cached + whole(self._messages.get("input_tokens") or 0):
            del beside["input_tokens"]
        return {"output_tokens": 0, **beside}

    def _read(self, raw: str, tier: str) -> TokenUsage | None:
        if self._messages:
            return _own_counts(merged(self._beside_messages(), self._messages), self._metrics, raw, tier)
        if self._own:
            return _own_counts(self._own, self._metrics, raw, tier)
        if counts := self._bare | dict(self._metrics):
            return _bare_counts(counts, raw, tier)
        return None


def _mapping(place: Any, name: str) -> Mapping[str, Any]:
    found = place.get(name) if isinstance(place, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def merged(before: Mapping[str, Any], usage: Mapping[str, Any]) -> dict[str, Any]:
    """Two usages of one stream as one: of each count the larger, of anything else the later."""
    made = dict(before)
    for name, value in usage.items():
        known = made.get(name)
        if isinstance(value, Mapping) and isinstance(known, Mapping):
            made[name] = merged(known, value)
        elif not (isinstance(value, int) and isinstance(known, int) and known > value >= 0):
            made[name] = value
    return made


def _counted(usage: Any) -> dict[str, Any]:
    """A usage without what it leaves open."""
    return {name: value for name, value in usage.items() if value is not None} if isinstance(usage, Mapping) else {}


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))

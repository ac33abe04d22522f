"""Reads the provider's own token counts from a complete response."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from gateway.usage.records import TokenUsage


def token_count(value: Any) -> int:
    """Parse a count from a service, also as `"5"`. Raises ValueError or TypeError for anything else.

    It rejects booleans, fractions, negative counts (they would be a credit) and counts that no table can store.
    """
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError(f"{value} is not a count")
    counted = int(value)
    if not 0 <= counted < 2**63:
        raise ValueError(f"{counted} is not a count")
    return counted


def from_converse(usage: Mapping[str, Any], raw: str, service_tier: str | None = None) -> TokenUsage:
    """Converse's `usage`: inputTokens excludes the cache's; cacheDetails splits writes by TTL (default: 5m).

    Source: TokenUsage of the bedrock-runtime service model. Nova's own body has the same fields, named `…TokenCount`.
    """
    details = [(detail.get("ttl"), token_count(detail["inputTokens"])) for detail in usage.get("cacheDetails") or ()]
    hour = sum(count for ttl, count in details if ttl == "1h")
    read, written = (
        max(token_count(usage.get(f"{name}Tokens") or 0), token_count(usage.get(f"{name}TokenCount") or 0))
        for name in ("cacheReadInput", "cacheWriteInput")
    )
    written = max(written, sum(count for _, count in details))  # some responses have only the details
    return TokenUsage(
        input_tokens=token_count(usage["inputTokens"]),
        output_tokens=token_count(usage["outputTokens"]),
        cache_read_tokens=read,
        cache_write_5m_tokens=written - hour,
        cache_write_1h_tokens=hour,
        service_tier=service_tier or "default",
        raw=raw,
    )


def from_anthropic(usage: Mapping[str, Any], raw: str, service_tier: str | None = None) -> TokenUsage:
    """The Messages API's `usage`: input_tokens excludes the cache's; cache_creation splits writes by TTL."""
    by_ttl = usage.get("cache_creation") or {}
    hour, short = (token_count(by_ttl.get(f"ephemeral_{ttl}_input_tokens") or 0) for ttl in ("1h", "5m"))
    written = max(token_count(usage.get("cache_creation_input_tokens") or 0), hour + short)
    return TokenUsage(
        input_tokens=token_count(usage["input_tokens"]),
        output_tokens=token_count(usage["output_tokens"]),
        cache_read_tokens=token_count(usage.get("cache_read_input_tokens") or 0),
        cache_write_5m_tokens=written - hour,
        cache_write_1h_tokens=hour,
        service_tier=service_tier or "default",
        raw=raw,
    )


def from_openai(
    usage: Mapping[str, Any], raw: str, service_tier: str | None = None, cache: tuple[int, int] = (0, 0)
) -> TokenUsage:
    """An OpenAI-style `usage`: its prompt_tokens includes cache reads and writes; input_tokens excludes them.

    The usage itself rarely reports cache writes; `cache` has Bedrock's own counts: (read, written).
    """
    details = usage.get("prompt_tokens_details") or {}
    read = max(token_count(details.get("cached_tokens") or 0), cache[0])
    written = max(token_count(details.get("cache_write_tokens") or 0), cache[1])
    return TokenUsage(
        input_tokens=max(token_count(usage["prompt_tokens"]) - read - written, 0),
        output_tokens=token_count(usage.get("completion_tokens") or 0),
        cache_read_tokens=read,
        cache_write_5m_tokens=written,
        service_tier=service_tier or "default",
        raw=raw,
    )


def estimate_tokens(text: str) -> int:
    """Estimate tokens for a service that reports none: one per four bytes of UTF-8, at least one for any text.

    Callers set `source="estimated:…"`: an estimate is never shown as a count.
    """
    return -(-len(text.encode(errors="surrogatepass")) // 4)  # a model may split a character


def texts(value: Any) -> str:
    """All strings of a JSON value that a model may have read or written."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "".join(texts(item) for name, item in value.items() if name not in ("parameters", "role"))
    if isinstance(value, list):
        return "".join(texts(item) for item in value)
    return ""


# Tiers other than the default, which providers call `default`, `standard` or `auto`. Optimised latency is priced like
# a tier.
_TIERS = frozenset({"priority", "flex", "reserved", "optimized", "ultrafast"})


def echoed_tier(*places: Any) -> str:
    """The tier that a response echoes, from the first place with one: a word, `{"type": …}` or `{"latency": …}`."""
    return next((tier for place in places if (tier := named_tier(place))), "default")


def named_tier(place: Any) -> str:
    """The tier that one place names; empty if it names no known tier."""
    named = place.get("type") or place.get("latency") if isinstance(place, Mapping) else place
    return named if isinstance(named, str) and named in _TIERS else ""


def header_tier(headers: Mapping[str, str]) -> str:
    """The tier that a response echoes in its headers, whose names are lower-case."""
    return echoed_tier(
        headers.get("x-amzn-bedrock-performanceconfig-latency"), headers.get("x-amzn-bedrock-service-tier")
    )


_HEADER = "x-amzn-bedrock-{}-token-count"


def from_invoke_model(body: Any, headers: Mapping[str, str], raw: str) -> TokenUsage | None:
    """InvokeModel's counts: the body's `usage`, else its top-level counts, else the response's headers.

    A count in the headers applies where it is larger than the body's. None if the service reported no count. Sources:
    each provider's response body in the Bedrock user guide; `x-amzn-bedrock-input-token-count` and
    `-output-token-count` as Bedrock sends them.
    """
    usage = stated_fields(mapping_in(body, "usage"))
    own_tier = body.get("service_tier") if isinstance(body, Mapping) else None
    tier = echoed_tier(header_tier(headers), own_tier, usage.get("service_tier"))
    said = {name: count for kind, name in _METRIC_NAMES.items() if (count := headers.get(_HEADER.format(kind)))}
    beside = readable_counts(said)
    with suppress(KeyError, TypeError, ValueError, AttributeError):  # unreadable counts are missing counts
        if counted := service_counts(usage, beside, raw, tier):
            return counted
    if counts := _body_counts(body):
        return raised(TokenUsage(*counts, service_tier=tier, raw=raw), beside)
    return bare_counts(said, raw, tier) if said else None


# Bedrock's own counts: the name within the header, and the field in the last chunk of a stream.
_METRIC_NAMES = {
    "input": "inputTokenCount",
    "output": "outputTokenCount",
    "cache-read-input": "cacheReadInputTokenCount",
    "cache-write-input": "cacheWriteInputTokenCount",
}
_AS_CONVERSE = {"inputTokens": "inputTokenCount", "outputTokens": "outputTokenCount"}
_AS_ANTHROPIC = {"input_tokens": "inputTokenCount", "output_tokens": "outputTokenCount"}


def service_counts(usage: Mapping[str, Any], beside: Mapping[str, int], raw: str, tier: str) -> TokenUsage | None:
    """A model family's own `usage`, and Bedrock's counts (`beside`) where they are larger or the only ones.

    None if the shape is unknown.
    """
    if "prompt_tokens" in usage:
        cached = (beside.get("cacheReadInputTokenCount", 0), beside.get("cacheWriteInputTokenCount", 0))
        return raised(from_openai(usage, raw, tier, cached), beside)
    if "inputTokens" in usage:
        read, names = from_converse, _AS_CONVERSE
    elif "input_tokens" in usage or "output_tokens" in usage:
        read, names = from_anthropic, _AS_ANTHROPIC
    else:
        return None
    left_out = {ours: beside[name] for ours, name in names.items() if name in beside}
    return raised(read({**left_out, **usage}, raw, tier), beside)


def raised(own: TokenUsage, beside: Mapping[str, int]) -> TokenUsage:
    """The larger of each count: a model family's own, and Bedrock's beside it, which does not separate the TTLs.

    Counts stay disjoint: Bedrock's input count does not apply where it is the family's together with the cache's.
    """
    read, made, cached, written = (beside.get(name, 0) for name in _METRIC_NAMES.values())
    counted = replace(
        own,
        output_tokens=max(own.output_tokens, made),
        cache_read_tokens=max(own.cache_read_tokens, cached),
        cache_write_5m_tokens=max(own.cache_write_5m_tokens, written - own.cache_write_1h_tokens),
    )
    reads, writes = counted.cache_read_tokens, counted.cache_write_5m_tokens + counted.cache_write_1h_tokens
    if read in (own.input_tokens + part for part in (reads, writes, reads + writes)):
        return counted
    return replace(counted, input_tokens=max(own.input_tokens, read))


def readable_counts(said: Mapping[str, Any]) -> dict[str, int]:
    """Those of Bedrock's counts that can be read."""
    counts: dict[str, int] = {}
    for name in _METRIC_NAMES.values():
        with suppress(KeyError, TypeError, ValueError):
            counts[name] = token_count(said[name])
    return counts


def bare_counts(counts: Mapping[str, Any], raw: str, tier: str) -> TokenUsage:
    """The counts by Bedrock's names."""
    read, made, cached, written = (token_count(counts.get(name) or 0) for name in _METRIC_NAMES.values())
    return TokenUsage(read, made, cached, written, service_tier=tier, raw=raw)


def _body_counts(body: Any) -> tuple[int, int] | None:
    """Titan's and Llama's counts, which have their own names in the body."""
    if not isinstance(body, Mapping):
        return None
    if "inputTextTokenCount" in body:
        results = body.get("results") or ()
        return token_count(body["inputTextTokenCount"] or 0), sum(
            token_count(result.get("tokenCount") or 0) for result in results
        )
    if "prompt_token_count" in body:
        return token_count(body["prompt_token_count"] or 0), token_count(body.get("generation_token_count") or 0)
    return None


def mapping_in(place: Any, name: str) -> Mapping[str, Any]:
    found = place.get(name) if isinstance(place, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def merged(before: Mapping[str, Any], usage: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two usages of one stream: the larger of each count, the later of anything else."""
    made = dict(before)
    for name, value in usage.items():
        known = made.get(name)
        if isinstance(value, Mapping) and isinstance(known, Mapping):
            made[name] = merged(known, value)
        elif not (isinstance(value, int) and isinstance(known, int) and known > value >= 0):
            made[name] = value
    return made


def stated_fields(usage: Any) -> dict[str, Any]:
    """A usage without its null fields."""
    return {name: value for name, value in usage.items() if value is not None} if isinstance(usage, Mapping) else {}


def compact_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))

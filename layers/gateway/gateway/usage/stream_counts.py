"""Reads the provider's own token counts from the events of a stream."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from gateway.usage.provider_counts import (
    bare_counts,
    compact_json,
    echoed_tier,
    from_converse,
    from_openai,
    mapping_in,
    merged,
    raised,
    readable_counts,
    service_counts,
    stated_fields,
    token_count,
)
from gateway.usage.records import TokenUsage


class EndpointUsage:
    """An endpoint's counts, from its lines: an OpenAI-style `usage`, or the `details` of a text container."""

    complete = False  # only the end of the stream identifies an endpoint's last line
    is_complete = True

    def __init__(self) -> None:
        self.said = ""
        self._counts: Mapping[str, Any] = {}
        self._usage: TokenUsage | None = None

    def see(self, line: Mapping[str, Any]) -> None:
        self.said += endpoint_delta(line)
        if isinstance(counts := line.get("usage"), Mapping):
            self._counts = merged(self._counts, counts)
            self._usage = from_openai(self._counts, json.dumps(self._counts))
        elif isinstance(details := line.get("details"), Mapping):
            prompt = details.get("prefill") or ()  # the prompt's tokens one by one, if requested
            if read := details.get("input_length") or len(prompt):
                kept = {name: count for name, count in details.items() if name not in ("prefill", "tokens")}
                # With `best_of` the container generates several answers, returns the best and counts the others here.
                others = [token_count(each["generated_tokens"]) for each in kept.pop("best_of_sequences", None) or ()]
                kept |= {"best_of_sequences": others} if others else {}
                made = token_count(details["generated_tokens"]) + sum(others)
                self._usage = TokenUsage(token_count(read), made, raw=json.dumps(kept))

    def usage(self, service_tier: str | None = None) -> TokenUsage | None:
        return self._usage


def endpoint_delta(line: Mapping[str, Any]) -> str:
    """The text of one line of an endpoint's stream: a token of a text container, or a choice's delta."""
    if isinstance(token := line.get("token"), Mapping):
        return "" if token.get("special") else str(token.get("text") or "")
    choices = line.get("choices") or ()
    return str((choices[0].get("delta") or {}).get("content") or "") if choices else ""


# ---------------------------------------------------------------------------------------------------------- streams
METRICS = "amazon-bedrock-invocationMetrics"
# A chunk without any of these words has no count, no start and no end.
_COUNTS = re.compile(rb"usage|[tT]oken_?[cC]ount|message_?[sS]t(?:art|op)")
_BARE = {
    "inputTokenCount": ("prompt_token_count", "inputTextTokenCount"),
    "outputTokenCount": ("generation_token_count", "totalOutputTextTokenCount"),
}


class ConverseStreamUsage:
    """The usage of a ConverseStream, from its event `metadata`, usually the last one."""

    def __init__(self) -> None:
        self._usage: Mapping[str, Any] = {}
        self._tiers: tuple[Any, ...] = ()

    def see(self, metadata: Any) -> None:
        """Take the payload of the event `metadata`, which may have any shape."""
        self._usage = merged(self._usage, stated_fields(mapping_in(metadata, "usage")))
        if isinstance(metadata, Mapping):
            self._tiers = (*self._tiers, metadata.get("performanceConfig"), metadata.get("serviceTier"))

    @property
    def complete(self) -> bool:
        return bool(self._usage)

    @property
    def is_complete(self) -> bool:
        return self.complete

    def usage(self, service_tier: str | None = None) -> TokenUsage | None:
        """None if the service sent no readable count. `service_tier` is the response's header."""
        try:
            tier = echoed_tier(*self._tiers, service_tier)
            return from_converse(self._usage, compact_json(self._usage), tier) if self._usage else None
        except (KeyError, TypeError, ValueError, AttributeError):
            return None


class InvokeStreamUsage:
    """The usage of an InvokeModelWithResponseStream, collected from the chunks of any model family.

    Counts only grow, so the largest of each is the last: among the chunks, and between a family's own counts and
    Bedrock's in the last chunk (`amazon-bedrock-invocationMetrics`).
    """

    def __init__(self) -> None:
        self._messages: Mapping[str, Any] = {}  # Anthropic's message_start, message_delta and message_stop
        self._own: Mapping[str, Any] = {}  # Nova's or OpenAI-style usage
        self._bare: Mapping[str, Any] = {}  # Llama's and Titan's counts, by Bedrock's names
        self._metrics: Mapping[str, Any] = {}
        self._tier: Any = None
        self._begun = self._stopped = self._said_all = False

    @property
    def complete(self) -> bool:
        """Are the counts final? Bedrock's own counts come last and may add to a family's."""
        return self._stopped or bool(self._metrics)

    @property
    def is_complete(self) -> bool:
        """Did the response end, if its family marks the end at all?"""
        return self.complete or self._said_all or not self._begun

    def read(self, chunk: bytes) -> None:
        """Take a chunk of the stream, as JSON text; only a chunk that may have a count is parsed."""
        if _COUNTS.search(chunk):
            try:
                self.see(json.loads(chunk))
            except (ValueError, RecursionError):
                return

    def see(self, chunk: Any) -> None:
        """Take a chunk of the stream, which may have any shape."""
        if not isinstance(chunk, Mapping):
            return
        kind = chunk.get("type")
        said = mapping_in(chunk, "message") if kind == "message_start" else chunk
        usage = stated_fields(said.get("usage")) or stated_fields(mapping_in(chunk, "metadata").get("usage"))
        self._tier = chunk.get("service_tier") or usage.get("service_tier") or self._tier
        if kind in ("message_start", "message_delta", "message_stop"):
            self._begun, self._stopped = True, self._stopped or kind == "message_stop"
            self._messages = merged(self._messages, usage)
        elif "messageStart" in chunk or "messageStop" in chunk:  # Nova sends its counts after its stop
            self._begun, self._said_all = True, "messageStop" in chunk
        elif "prompt_tokens" in usage or "inputTokens" in usage:
            self._own = merged(self._own, usage)
        else:
            self._see_bare(chunk)
        metrics = mapping_in(chunk, METRICS)
        if "inputTokenCount" in metrics or "outputTokenCount" in metrics:
            self._metrics = merged(self._metrics, stated_fields(metrics))

    def _see_bare(self, chunk: Mapping[str, Any]) -> None:
        """Llama updates its count in every chunk, Titan at the end; both send the prompt's count only in the first."""
        for name, kinds in _BARE.items():
            for kind in kinds:
                if chunk.get(kind) is not None:
                    self._bare = merged(self._bare, {name: chunk[kind]})

    def usage(self, service_tier: str | None = None) -> TokenUsage | None:
        """The counts, partial until the stream is `complete`; None if there was no readable count.

        `service_tier` is the response's header, since no chunk echoes it.
        """
        own = self._messages or self._own or self._bare
        said = {"usage": own, METRICS: self._metrics}
        raw = compact_json({name: counts for name, counts in said.items() if counts})
        try:
            return self._read(raw, echoed_tier(service_tier, self._tier))
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def _read(self, raw: str, tier: str) -> TokenUsage | None:
        beside = readable_counts(self._metrics)
        if self._messages:
            return service_counts({"output_tokens": 0, **self._messages}, beside, raw, tier)
        if self._own:
            return service_counts(self._own, beside, raw, tier)
        if self._bare:
            return raised(bare_counts(self._bare, raw, tier), beside)
        return bare_counts(self._metrics, raw, tier) if self._metrics else None

"""The most that a call can use, known before it is made: what a hard budget holds.

A token is never less than one byte of text, so the bytes of a request bound its text's tokens; a picture or a page is
bounded by what the dearest model counts for one; the answer is bounded by the maximum that the request names. The bound
holds as long as the model keeps to that maximum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from math import ceil, isfinite
from typing import Any

from gateway.pricing import ZERO, PriceBook, quantities
from gateway.usage import TokenUsage, echoed_tier, header_tier

PICTURE_TOKENS = 6_000  # the largest picture that a model reads: Claude counts width x height / 750, up to 4,784
PAGE_BYTES = 1_000  # no page of a document takes less
CONTEXT_TOKENS = 1_000_000  # no model reads more at once
_PICTURES = ("iVBORw", "/9j/", "R0lGOD", "UklGR")  # PNG, JPEG, GIF and WebP begin so in base64
_ANY = 10**12  # more tokens than any model makes, and no more than an account can add up
TURN_TOKENS = 64  # what a message, a role or a tool's wrapping adds
MOST_SECONDS = 900  # no function waits longer for a model
TOOL_TOKENS = 1_000  # the system prompt that tools bring along
_MARKS_CACHE = frozenset({"cachePoint", "cache_control"})
# What stands inside is JSON that the model reads as text, whatever it looks like.
_TEXT = frozenset({"input", "json", "inputSchema", "input_schema", "parameters", "documents"})
# How the families' bodies say how long an answer may be, and how many there are; and in which objects they say it.
_LENGTHS = frozenset(
    {"max_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens_to_sample", "max_new_tokens",
     "max_gen_len", "maxTokens", "maxTokenCount", "maxOutputTokens"}
)  # fmt: skip
_ANSWERS = frozenset({"n", "best_of", "num_generations", "num_return_sequences", "numResults"})
_THOUGHTS = frozenset({"budget_tokens"})
_TIERS = frozenset({"serviceTier", "service_tier", "performanceConfig"})
_INSIDE = frozenset(
    {"inferenceConfig", "textGenerationConfig", "additionalModelRequestFields", "parameters", "thinking",
     "reasoning_config"}
)  # fmt: skip


def input_bound(body: Any, name: str = "", *, text: bool = False) -> int:
    """No more tokens than these can a model read in a request's body, or in the part of it that has this name."""
    if isinstance(body, str):
        if name in ("url", "image_url") and not text:
            return _linked_bound(body)
        return len(body.encode(errors="surrogatepass"))
    if isinstance(body, Mapping):
        extra = TOOL_TOKENS if "tools" in body or "toolConfig" in body else 0
        return extra + TURN_TOKENS + sum(len(str(key)) + _part_bound(body, name, key, text) for key in body)
    if isinstance(body, list | tuple):
        return sum(input_bound(item, text=text) for item in body)
    return len(str(body))


def _part_bound(body: Mapping[str, Any], name: str, key: str, text: bool) -> int:
    part = body[key]
    if key != "source" or text or not isinstance(part, Mapping):
        return input_bound(part, key, text=text or key in _TEXT)
    if "s3Location" in part or part.get("type") in ("url", "file"):
        return CONTEXT_TOKENS  # nobody here knows how much lies there
    blob = part.get("data") if part.get("type") == "base64" else part.get("bytes")
    if not isinstance(blob, str):
        return input_bound(part)
    return _blob_bound(blob, picture="image" in (name, body.get("type")))


def _linked_bound(url: str) -> int:
    """A picture in a chat completion's words: its own bytes, or the address of bytes that nobody here knows."""
    return _blob_bound(url.partition(",")[2], picture=True) if url.startswith("data:image/") else CONTEXT_TOKENS


def _blob_bound(blob: str, *, picture: bool) -> int:
    """A picture's tokens go by its size on screen, a document's by its bytes and a picture of each of its pages."""
    if picture and blob.startswith(_PICTURES):
        return PICTURE_TOKENS
    size = len(blob) * 3 // 4
    return PICTURE_TOKENS + min(size * (1 + PICTURE_TOKENS // PAGE_BYTES), CONTEXT_TOKENS)


def _said(body: Any, names: frozenset[str]) -> Iterator[Any]:
    """What a body says by any of these names, wherever a model may read it."""
    for name, value in body.items() if isinstance(body, Mapping) else ():
        if name in names:
            yield value
        elif name in _INSIDE:
            yield from _said(value, names)


def count_of(value: Any) -> int | None:
    """A whole number of tokens or answers, also as services take it that read `"5"` or `5.0` for 5."""
    try:
        number = value if isinstance(value, int | float) else float(value)
    except (TypeError, ValueError):
        return None
    return min(ceil(number), _ANY) if isinstance(value, int) or isfinite(number) else None


def _most_said(body: Any, names: frozenset[str]) -> int | None:
    counts = [count for value in _said(body, names) if (count := count_of(value)) is not None and count >= 0]
    return max(counts, default=None)


def output_said(body: Any) -> int | None:
    """The most tokens that a body lets one answer have, wherever it says so; None where it does not say."""
    return _most_said(body, _LENGTHS)


def output_bound(body: Any, most: int, answers: int) -> int:
    """No more tokens than these can a model make of a body whose every answer may have `most`."""
    thoughts = _most_said(body, _THOUGHTS) or 0
    # What is thought counts as answered, and fits into the maximum unless the model may think between tools.
    each = most + thoughts if thoughts >= most else most
    return each * max(answers, _most_said(body, _ANSWERS) or 1)


def tier_said(body: Any, headers: Mapping[str, str]) -> str:
    """The service tier that a request asks for."""
    return echoed_tier(header_tier(headers), *_said(body, _TIERS))


def marks_cache(body: Any) -> bool:
    """Does a request ask for anything to be written to the prompt cache, which can cost more than reading it?"""
    if isinstance(body, Mapping):
        return bool(_MARKS_CACHE & body.keys()) or any(marks_cache(value) for value in body.values())
    return isinstance(body, list | tuple) and any(marks_cache(item) for item in body)


def most(
    book: PriceBook,
    model_id: str,
    region: str,
    bound: TokenUsage,
    *,
    cached: bool,
    at: datetime,
    seconds: int = MOST_SECONDS,
) -> Decimal | None:
    """The most, in USD, that a usage within `bound` can cost; None where the model has no price for a part of it.

    `seconds` bounds the time of the call, which is what some endpoints cost. The tier that was asked for may not be
    granted: then the default one is paid.
    """
    if bound.service_tier != "default":
        plain = replace(bound, service_tier="default")
        by_tier = [
            most(book, model_id, region, plain, cached=cached, at=at, seconds=seconds),
            _most(book, model_id, region, bound, cached=cached, at=at, seconds=seconds),
        ]
        priced = [amount for amount in by_tier if amount is not None]
        return max(priced) if len(priced) == len(by_tier) else None
    return _most(book, model_id, region, bound, cached=cached, at=at, seconds=seconds)


def _most(
    book: PriceBook, model_id: str, region: str, bound: TokenUsage, *, cached: bool, at: datetime, seconds: int
) -> Decimal | None:
    amounts = [book.charge(model_id, region, bound, at, seconds)]
    if cached:
        written = bound.input_tokens
        for kind in ("cache_write_5m_tokens", "cache_write_1h_tokens"):
            dearer = TokenUsage(**{**vars(bound), "input_tokens": 0, kind: written})
            amounts.append(book.charge(model_id, region, dearer, at, seconds) or amounts[0])
    charges = [charge.cost for charge in amounts if charge is not None]
    return max(charges) if amounts[0] is not None else None


def dearest(book: PriceBook, region: str, usage: TokenUsage, at: datetime) -> Decimal:
    """What a usage would cost at the dearest price of each unit in the book: it stands for a missing price."""
    return sum((book.dearest(unit, region, at.date()) * quantity for unit, quantity in quantities(usage)), ZERO)

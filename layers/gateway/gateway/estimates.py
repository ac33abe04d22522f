"""The most that a call can use, known before it is made: what a hard budget holds.

A token is never less than one byte of text, so the bytes of a request bound its text's tokens; a picture or a page is
bounded by what the dearest model counts for one; the answer is bounded by the maximum that the request names. The bound
holds as long as the model keeps to that maximum.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from gateway.pricing import ZERO, PriceBook, quantities
from gateway.usage import TokenUsage

PICTURE_TOKENS = 6_000  # the largest picture that a model reads: Claude counts width x height / 750, up to 4,784
PAGE_BYTES = 1_000  # no page of a document takes less
CONTEXT_TOKENS = 1_000_000  # no model reads more at once
_PICTURES = ("iVBORw", "/9j/", "R0lGOD", "UklGR")  # PNG, JPEG, GIF and WebP begin so in base64
TURN_TOKENS = 64  # what a message, a role or a tool's wrapping adds
MOST_SECONDS = 900  # no function waits longer for a model
TOOL_TOKENS = 1_000  # the system prompt that tools bring along
_MARKS_CACHE = frozenset({"cachePoint", "cache_control"})


def input_bound(body: Any) -> int:
    """No more tokens than these can a model read in a request's body."""
    if isinstance(body, str):
        return len(body.encode())
    if isinstance(body, Mapping):
        if isinstance(body.get("bytes"), str):
            return _blob_bound(body["bytes"])
        if body.get("type") == "base64" and isinstance(body.get("data"), str):
            return _blob_bound(body["data"])
        extra = TOOL_TOKENS if "tools" in body or "toolConfig" in body else 0
        return extra + TURN_TOKENS + sum(len(str(name)) + input_bound(value) for name, value in body.items())
    if isinstance(body, list | tuple):
        return sum(input_bound(item) for item in body)
    return len(str(body))


def _blob_bound(text: str) -> int:
    """A picture's tokens go by its size on screen, a document's by its bytes and a picture of each of its pages."""
    if text.startswith(_PICTURES):
        return PICTURE_TOKENS
    size = len(text) * 3 // 4
    return PICTURE_TOKENS + min(size * (1 + PICTURE_TOKENS // PAGE_BYTES), CONTEXT_TOKENS)


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

    `seconds` bounds the time of the call, which is what some endpoints cost.
    """
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

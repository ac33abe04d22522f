"""The maximum cost of a call, from its maximum usage; a hard budget reserves it before the call."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from gateway.pricing.price_book import ZERO, PriceBook, quantities
from gateway.usage.records import TokenUsage

MOST_SECONDS = 900  # no function waits longer for a model


def maximum_cost(
    book: PriceBook,
    model_id: str,
    region: str,
    bound: TokenUsage,
    *,
    cached: bool,
    at: datetime,
    seconds: int = MOST_SECONDS,
) -> Decimal | None:
    """The maximum cost in USD of a usage within `bound`; None if the model has no price for a part of it.

    `seconds` bounds the duration of the call, by which some endpoints are billed.
    """
    amounts = [book.charge(model_id, region, bound, at, seconds)]
    if cached:
        written = bound.input_tokens
        for dearer in (
            replace(bound, input_tokens=0, cache_write_5m_tokens=written),
            replace(bound, input_tokens=0, cache_write_1h_tokens=written),
        ):
            amounts.append(book.charge(model_id, region, dearer, at, seconds) or amounts[0])
    charges = [charge.cost for charge in amounts if charge is not None]
    return max(charges) if amounts[0] is not None else None


def highest_unit_price(book: PriceBook, region: str, usage: TokenUsage, at: datetime) -> Decimal:
    """The cost of a usage at the highest price of each unit in the book; a stand-in for a missing price."""
    return sum((book.dearest(unit, region, at.date()) * quantity for unit, quantity in quantities(usage)), ZERO)

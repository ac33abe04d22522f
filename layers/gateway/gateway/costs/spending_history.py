"""A tenant's spending by day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from statistics import median

from gateway.pricing.price_book import SCALE, ZERO

DAY = timedelta(days=1)
WEEKS = 8
HISTORY_DAYS = 7 * WEEKS
_NUMBER = Decimal(1).scaleb(-SCALE)

Spending = Mapping[date, Decimal]


def history_of(day: date) -> list[date]:
    """The days needed to judge a day: the weeks before, the month so far, the day itself."""
    first = min(day - HISTORY_DAYS * DAY, day.replace(day=1))
    return [first + n * DAY for n in range((day - first).days + 1)]


def median_of(values: Sequence[Decimal]) -> Decimal:
    return median(values).quantize(_NUMBER) if values else ZERO


def days_since(first: date, end: date, spent: Spending) -> list[date]:
    """The days of [first, end), but none before the tenant's first known spending."""
    first = max(first, min(spent, default=end))
    return [first + n * DAY for n in range((end - first).days)]

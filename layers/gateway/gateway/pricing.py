"""The price book: effective-dated prices, and what a usage costs by them.

Money is exact: a price is a Decimal per so many units, each cost has at most 12 decimals, and nothing is rounded.
A usage with a part that has no price is `unpriced` as a whole: it is listed, never guessed and never free.
"""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache, cached_property
from importlib import resources

from gateway.usage import UNKNOWN, Outcome, TokenUsage, UsageRecord

SCALE = 12  # decimals of money, here and in Parquet
ZERO = Decimal(0)
COLUMNS = ("model_id", "region", "tier", "unit", "usd", "per", "effective_from", "source")
INPUT_UNITS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "input_image")
LONG_CONTEXTS = ((272_000, "_above_272k"), (200_000, "_above_200k"), (128_000, "_above_128k"), (100_000, "_above_100k"))


@dataclass(frozen=True)
class Price:
    """What `per` units of one kind cost in USD, from a day until another price replaces it."""

    model_id: str
    region: str
    tier: str
    unit: str
    usd: Decimal
    per: int
    effective_from: date
    source: str

    def of(self, quantity: int) -> Decimal:
        return self.usd * quantity / self.per

    @property
    def name(self) -> str:
        """Names this row of the book: what a charge was made with."""
        return f"{self.model_id}/{self.region}/{self.tier}/{self.unit}@{self.effective_from.isoformat()}"


@dataclass(frozen=True)
class Charge:
    """What a usage costs, split as finance reads it, and the price rows that say so."""

    input_cost: Decimal
    output_cost: Decimal
    prices: tuple[Price, ...] = ()

    @property
    def cost(self) -> Decimal:
        return self.input_cost + self.output_cost


FREE_OF_USAGE = Charge(ZERO, ZERO)


def quantities(usage: TokenUsage) -> Iterator[tuple[str, int]]:
    """The billable parts of a usage: (unit, quantity), none of them zero."""
    parts = (
        ("input_tokens", usage.input_tokens),
        ("output_tokens", usage.output_tokens),
        ("cache_read_tokens", usage.cache_read_tokens),
        ("cache_write_5m_tokens", usage.cache_write_5m_tokens),
        ("cache_write_1h_tokens", usage.cache_write_1h_tokens),
        (f"image:{usage.image_class}" if usage.image_class else "image", usage.images),
        ("input_image", usage.input_images),
    )
    return ((unit, quantity) for unit, quantity in parts if quantity)


class PriceBook:
    """Prices by model, region and tier. `version` names the content: equal versions price equally."""

    def __init__(self, prices: Iterable[Price]):
        self._prices: dict[tuple[str, str], dict[str, dict[str, list[Price]]]] = {}
        for price in prices:
            tiers = self._prices.setdefault((price.model_id, price.region), defaultdict(lambda: defaultdict(list)))
            tiers[price.tier][price.unit].append(price)

    @cached_property
    def version(self) -> str:
        rows = sorted(f"{p.name}={p.usd}/{p.per}" for p in self.prices())
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:12]

    def prices(self) -> Iterator[Price]:
        for tiers in self._prices.values():
            for units in tiers.values():
                for prices in units.values():
                    yield from prices

    def price(self, model_id: str, region: str, tier: str, unit: str, on: date) -> Price | None:
        """The price in force on a day: the newest not after it. `image` stands for a class without its own."""
        units = self._prices.get((model_id, region), {}).get(tier, {})
        names = (unit, "image") if unit.startswith("image:") else (unit,)
        found = [p for name in names for p in units.get(name, ()) if p.effective_from <= on]
        return max(found, key=lambda p: (p.effective_from, p.unit == unit), default=None)

    def tier(self, model_id: str, region: str, usage: TokenUsage) -> str:
        """The long-context tier, where the context passes the model's threshold: it prices all tokens of the call."""
        tiers = self._prices.get((model_id, region), {})
        context = usage.context_tokens
        for threshold, suffix in LONG_CONTEXTS:
            if context > threshold and usage.service_tier + suffix in tiers:
                return usage.service_tier + suffix
        return usage.service_tier

    def charge(self, model_id: str, region: str, usage: TokenUsage, at: datetime) -> Charge | None:
        """What the usage costs in USD, or None where any part of it has no price on that day."""
        tier = self.tier(model_id, region, usage)
        costs = {True: ZERO, False: ZERO}
        used = []
        for unit, quantity in quantities(usage):
            price = self.price(model_id, region, tier, unit, at.date())
            if price is None:
                return None
            costs[unit in INPUT_UNITS] += price.of(quantity)
            used.append(price)
        return Charge(costs[True], costs[False], tuple(used))

    def dearest(self, unit: str, region: str, on: date) -> Decimal:
        """The dearest price of one of a unit in a region, whatever the model; of all image classes for an image."""
        kind = unit.partition(":")[0]
        return max(
            (
                price.of(1)
                for price in self.prices()
                if price.region == region and price.unit.partition(":")[0] == kind and price.effective_from <= on
            ),
            default=ZERO,
        )

    def charge_record(self, record: UsageRecord) -> Charge | None:
        """What a ledger row costs: nothing where it used nothing, None where its usage or its price is not known."""
        if record.outcome is Outcome.FAILED:
            return FREE_OF_USAGE
        if record.is_open or record.usage.source == UNKNOWN:
            return None
        return self.charge(record.model_id, record.region, record.usage, record.started_at)


def read_prices(lines: Iterable[str]) -> Iterator[Price]:
    """Rows of a price book in CSV. Raises ValueError, with the line, on a price that 12 decimals cannot hold."""
    for number, row in enumerate(csv.DictReader(lines), start=2):
        price = Price(
            row["model_id"], row["region"], row["tier"], row["unit"], Decimal(row["usd"]), int(row["per"]),
            date.fromisoformat(row["effective_from"]), row["source"],
        )  # fmt: skip
        each = price.of(1)
        if each < 0 or each != round(each, SCALE):
            raise ValueError(
                f"price book line {number}: {row['usd']} per {row['per']} is not exact to {SCALE} decimals"
            )
        yield price


@cache
def price_book() -> PriceBook:
    """The book that ships with the gateway."""
    with resources.files("gateway").joinpath("price_book.csv").open(encoding="utf-8") as file:
        return PriceBook(read_prices(file))


def money(amount: Decimal) -> str:
    """A decimal string without an exponent and without idle zeros."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text

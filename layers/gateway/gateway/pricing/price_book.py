"""The price book: effective-dated prices, and the cost of a usage at them.

Money is exact: a price is a Decimal per a number of units, each cost has at most 12 decimals, and no cost is rounded.
If a part of a usage has no price, the whole usage is `unpriced`: it is listed, never guessed and never free.

A public row without `usd` withdraws a price: from its day on no source publishes it. Earlier rows still price the days
before, since no row is ever edited.

A private overlay with the same columns can extend the public list: negotiated prices, SageMaker endpoints, provisioned
throughput, and markups.

- From its day on, an overlay's price overrides every listed price for the same model, region, tier and unit, newer
  list prices included. To end an agreement, add a row with the price that applies from then on.
- An overlay price may be 0, for capacity that is paid for elsewhere. A public price is 0 only if Amazon's own list
  has it so.
- A price by the hour or minute (unit `second`, per 3600) is rounded half-even to 12 decimals a second. Every other
  price must be exact, in both books.
- A markup multiplies each price per unit, listed or negotiated, rounded half-even to 12 decimals. Its row has
  `tenant:<id>` or `*` as model id, `*` as region and tier, unit `markup`, and the factor as usd, per 1. A tenant's own
  markup overrides `*`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple

from gateway.pricing.model_names import pricing_names
from gateway.usage.records import PriceStatus, TokenUsage, UsageRecord

SCALE = 12  # decimals of money, here and in Parquet
ZERO = Decimal(0)
INPUT_UNITS = (
    "input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "input_audio_tokens",
    "input_image", "input_audio_second", "input_video_second", "character", "query",
)  # fmt: skip
WITHDRAWN = ""  # the `usd` of a row that withdraws a price
UNCOUNTED = "uncounted"  # a unit that the gateway does not count yet; it never has a price
MARKUP = "markup"
EVERYONE = "*"
LONG_CONTEXTS = ((272_000, "_above_272k"), (200_000, "_above_200k"), (128_000, "_above_128k"), (100_000, "_above_100k"))
_SECONDS = {"input_video_second", "input_audio_second", "video_second"}  # not counted yet


class Price(NamedTuple):
    """The price of `per` units of one kind in USD, from a day until another price replaces it."""

    model_id: str
    region: str
    tier: str
    unit: str
    usd: Decimal
    per: int
    effective_from: date
    source: str
    note: str = ""  # marks a price that is not the list's own: `+overlay`, and the markup as in `*1.15`
    stated: bool = True  # False: the price is withdrawn from this day on; ignore `usd`

    def of(self, quantity: int) -> Decimal:
        return self.usd * quantity / self.per

    @property
    def name(self) -> str:
        """The name of this row of the book; each charge records the names it used."""
        return f"{self.model_id}/{self.region}/{self.tier}/{self.unit}@{self.effective_from.isoformat()}{self.note}"


@dataclass(frozen=True)
class Charge:
    """The cost of a usage, split by input and output for finance, with the price rows used."""

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


@dataclass(frozen=True)
class Markup:
    """The factor on every price of one tenant, or of all (`*`), from a day until another markup replaces it."""

    target: str
    factor: Decimal
    effective_from: date
    source: str


Tiers = dict[str, dict[str, list[Price]]]


def _by_place(prices: Iterable[Price]) -> dict[tuple[str, str], Tiers]:
    places: dict[tuple[str, str], Tiers] = {}
    for price in prices:
        tiers = places.setdefault((price.model_id, price.region), {})
        tiers.setdefault(price.tier, {}).setdefault(price.unit, []).append(price)
    return places


class PriceBook:
    """Prices by model, region and tier. `version` is a hash of the content: equal versions price equally."""

    def __init__(self, prices: Iterable[Price], overlay: Iterable[Price] = (), markups: Iterable[Markup] = ()):
        self._prices = _by_place(prices)
        self._overlay = _by_place(overlay)
        self._billed: dict[tuple[str, str], str] = {}
        self._markups = tuple(markups)
        self._targets = {markup.target for markup in self._markups}
        self._listed: PriceBook | None = None
        self._views: dict[str, PriceBook] = {}

    def with_overlay(self, rows: Iterable[Price | Markup]) -> PriceBook:
        """This book with a private overlay; without any row, this book itself."""
        given = list(rows)
        if not given:
            return self
        prices = [row for row in given if isinstance(row, Price)]
        book = PriceBook((), prices, [row for row in given if isinstance(row, Markup)])
        book._prices = self._prices
        book._listed = self.listed
        return book

    @property
    def listed(self) -> PriceBook:
        """The public list alone; this book itself if it has no overlay."""
        return self._listed or self

    def for_tenant(self, tenant_id: str) -> PriceBook:
        """A tenant's prices: its markup applied to every price; this book itself if no markup applies."""
        own = f"tenant:{tenant_id}"
        who = own if own in self._targets else EVERYONE
        if who not in self._views:
            markups = [markup for markup in self._markups if markup.target in (own, EVERYONE)]
            self._views[who] = _MarkedUp(self, markups) if markups else self
        return self._views[who]

    @cached_property
    def version(self) -> str:
        rows = [f"{p.name}={p.usd}/{p.per}" if p.stated else f"{p.name}={WITHDRAWN}" for p in self.prices()]
        rows += [f"{m.target}@{m.effective_from.isoformat()}*{m.factor}" for m in self._markups]
        return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()[:12]

    def prices(self) -> Iterator[Price]:
        for places in (self._prices, self._overlay):
            for tiers in places.values():
                for units in tiers.values():
                    for prices in units.values():
                        yield from prices

    def price(self, model_id: str, region: str, tier: str, unit: str, on: date) -> Price | None:
        """The price in force on a day, or None. An image class without its own price falls back to `image`."""
        names = (unit, "image") if unit.startswith("image:") else (unit,)
        for places in (self._overlay, self._prices):
            units = places.get((model_id, region), {}).get(tier, {})
            found = [p for name in names for p in units.get(name, ()) if p.effective_from <= on]
            if found:
                newest = max(found, key=lambda p: (p.effective_from, p.unit == unit))
                return newest if newest.stated else None
        return None

    def tier(self, model_id: str, region: str, usage: TokenUsage) -> str:
        """The tier of a usage; above a threshold of the model, the long-context tier for all tokens of the call."""
        tiers = self._prices.get((model_id, region), {}).keys() | self._overlay.get((model_id, region), {}).keys()
        context = usage.context_tokens
        for threshold, suffix in LONG_CONTEXTS:
            if context > threshold and usage.service_tier + suffix in tiers:
                return usage.service_tier + suffix
        return usage.service_tier

    def parts(self, record: UsageRecord) -> Iterator[tuple[str, int]]:
        """The billable parts of a settled row: (unit, quantity), none of them zero."""
        name, on = self.pricing_name(record), record.started_at.date()
        return self._parts(name, record.region, record.usage, _seconds(record), on)

    def pricing_name(self, record: UsageRecord) -> str:
        """The name that determines a row's price."""
        return self.name_of(record.model_id, record.model_used, record.region)

    def name_of(self, model_id: str, called: str, region: str) -> str:
        """The name that prices a call of `called`, requested as `model_id` (rules: `gateway.pricing.model_names`)."""
        if called == model_id:
            return model_id
        for name, if_overlaid in pricing_names(model_id, called):
            if not if_overlaid or (name, region) in self._overlay:
                return name
        return model_id

    def _parts(
        self, model_id: str, region: str, usage: TokenUsage, seconds: int, on: date
    ) -> Iterator[tuple[str, int]]:
        """The parts by which the model is billed: its counts, the duration of the call, or something not counted yet.

        A model priced by the second is billed by the duration of its call, plus the tokens that have a price.
        """
        parts = quantities(usage)
        place = (model_id, region)
        if place not in self._billed:
            self._billed[place] = self._billing(place)
        if (billing := self._billed[place]) == "second":
            tier = self.tier(model_id, region, usage)
            if self.price(model_id, region, tier, "second", on):
                priced = [part for part in parts if self.price(model_id, region, tier, part[0], on)]
                return iter([*priced, *([("second", seconds)] if seconds else [])])
        elif billing == UNCOUNTED and not usage.input_images:
            # Without this part, the call would be charged for its output alone, and its video or speech input be free.
            return iter([*parts, (UNCOUNTED, 1)])
        return parts

    def _billing(self, place: tuple[str, str]) -> str:
        units: set[str] = set()
        for places in (self._overlay, self._prices):
            units.update(*places.get(place, {}).values())
        heard = not units.isdisjoint(_SECONDS) and "input_tokens" not in units
        return "second" if "second" in units else UNCOUNTED if heard or "input_audio_tokens" in units else ""

    def charge(self, model_id: str, region: str, usage: TokenUsage, at: datetime, seconds: int = 0) -> Charge | None:
        """The cost of the usage in USD, or None if any part of it has no price on that day."""
        tier = self.tier(model_id, region, usage)
        costs = {True: ZERO, False: ZERO}
        used = []
        for unit, quantity in self._parts(model_id, region, usage, seconds, at.date()):
            price = self.price(model_id, region, tier, unit, at.date())
            if price is None:
                return None
            costs[unit in INPUT_UNITS] += price.of(quantity)
            used.append(price)
        return Charge(costs[True], costs[False], tuple(used))

    def dearest(self, unit: str, region: str, on: date) -> Decimal:
        """The highest price of one unit in a region, over all models, and for an image over all image classes."""
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
        """The cost of a ledger row: zero if it used nothing, None if its usage or its price is unknown."""
        if record.price_status is PriceStatus.FREE:
            return FREE_OF_USAGE
        if record.price_status is not PriceStatus.PRICEABLE:
            return None
        book = self.for_tenant(record.tenant_id)
        name = book.pricing_name(record)
        return book.charge(name, record.region, record.usage, record.started_at, _seconds(record))


class _MarkedUp(PriceBook):
    """One tenant's prices: another book's prices times the markup of the day."""

    def __init__(self, book: PriceBook, markups: Iterable[Markup]):
        super().__init__(())
        self._book = book
        self._markups = tuple(markups)
        self._prices, self._overlay = book._prices, book._overlay

    @property
    def listed(self) -> PriceBook:
        return self._book.listed

    def for_tenant(self, tenant_id: str) -> PriceBook:
        return self

    @cached_property
    def version(self) -> str:
        return self._book.version

    def price(self, model_id: str, region: str, tier: str, unit: str, on: date) -> Price | None:
        price = self._book.price(model_id, region, tier, unit, on)
        factor = self._factor(on)
        if price is None or factor == 1:
            return price
        return price._replace(usd=round(price.of(1) * factor, SCALE), per=1, note=f"{price.note}*{factor}")

    def dearest(self, unit: str, region: str, on: date) -> Decimal:
        return round(self._book.dearest(unit, region, on) * self._factor(on), SCALE)

    def _factor(self, on: date) -> Decimal:
        """The newest markup in force; a tenant's own overrides `*`."""
        found = [markup for markup in self._markups if markup.effective_from <= on]
        newest = max(found, key=lambda m: (m.target != EVERYONE, m.effective_from), default=None)
        return newest.factor if newest else Decimal(1)


def _seconds(record: UsageRecord) -> int:
    """The duration of a settled call, rounded up to whole seconds."""
    return -((record.started_at - record.settled_at) // timedelta(seconds=1)) if record.settled_at else 0


def money(amount: Decimal) -> str:
    """A decimal string without an exponent or trailing zeros."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text

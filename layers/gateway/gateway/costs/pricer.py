"""Prices rows of usage."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from gateway.pricing.price_book import INPUT_UNITS, SCALE, Price, PriceBook
from gateway.usage.records import PriceStatus, UsageRecord

PRICED = "priced"
UNPRICED = "unpriced"  # has usage, but the book has no price for a part of it
UNSETTLED = PriceStatus.UNSETTLED.value
OPEN = PriceStatus.OPEN.value


# ------------------------------------------------------------------------------------------------------------- pricing
class PricedUsage(NamedTuple):
    """A ledger row with its costs in units of 10^-12 USD; None if a cost is unknown.

    `list_cost` is its cost at the public prices; the other costs are the tenant's charge.
    """

    record: UsageRecord
    input_cost: int | None
    output_cost: int | None
    list_cost: int | None
    price_status: str
    price_rows: str = ""  # the names of the prices used, separated by a space

    @property
    def cost(self) -> int | None:
        if self.input_cost is None or self.output_cost is None:
            return None
        return self.input_cost + self.output_cost


class Rates(NamedTuple):
    """The price per unit of each part of a usage, in units of 10^-12 USD, in the order of the parts."""

    each: tuple[int, ...]
    names: str


class Pricer:
    """`PriceBook.charge_record` for many rows: it looks up a price once per kind of usage, not once per row."""

    def __init__(self, book: PriceBook):
        self.book = book
        self._views: dict[str, PriceBook] = {}
        self._rates: dict[tuple[int, str, str, str, date, tuple[str, ...]], Rates | None] = {}

    def view(self, tenant_id: str) -> PriceBook:
        """The price book with a tenant's own prices."""
        try:
            return self._views[tenant_id]
        except KeyError:
            view = self._views[tenant_id] = self.book.for_tenant(tenant_id)
            return view

    def price(self, record: UsageRecord) -> PricedUsage:
        if record.price_status is PriceStatus.FREE:
            return PricedUsage(record, 0, 0, 0, PRICED)
        if record.price_status is not PriceStatus.PRICEABLE:
            return PricedUsage(record, None, None, None, record.price_status.value)
        view = self.view(record.tenant_id)
        parts, rates = self.rates(view, record)
        listed = _total(*self.rates(self.book.listed, record)) if view is not self.book.listed else None
        if rates is None:
            return PricedUsage(record, None, None, listed, UNPRICED)
        input_cost = output_cost = 0
        for (unit, quantity), each in zip(parts, rates.each, strict=True):
            if unit in INPUT_UNITS:
                input_cost += each * quantity
            else:
                output_cost += each * quantity
        if view is self.book.listed:
            listed = input_cost + output_cost
        return PricedUsage(record, input_cost, output_cost, listed, PRICED, rates.names)

    def rates(self, book: PriceBook, record: UsageRecord) -> tuple[list[tuple[str, int]], Rates | None]:
        """The parts of a row's usage, and their prices in a book; None if one of them has no price."""
        parts = list(book.parts(record))
        name = book.pricing_name(record)
        tier = book.tier(name, record.region, record.usage)
        units = tuple([unit for unit, _ in parts])
        kind = (id(book), name, record.region, tier, record.started_at.date(), units)
        try:
            return parts, self._rates[kind]
        except KeyError:
            rates = self._rates[kind] = _look_up(book, *kind[1:])
            return parts, rates


def _total(parts: list[tuple[str, int]], rates: Rates | None) -> int | None:
    if rates is None:
        return None
    return sum(each * quantity for (_, quantity), each in zip(parts, rates.each, strict=True))


def _look_up(book: PriceBook, model_id: str, region: str, tier: str, on: date, units: tuple[str, ...]) -> Rates | None:
    prices = prices_of(book, model_id, region, tier, on, units)
    return Rates(tuple(map(_exact, prices)), " ".join(price.name for price in prices)) if prices is not None else None


def prices_of(
    book: PriceBook, model_id: str, region: str, tier: str, on: date, units: tuple[str, ...]
) -> list[Price] | None:
    """The price of each unit, or None if one is missing: a usage is priced as a whole or not at all."""
    prices = [price for unit in units if (price := book.price(model_id, region, tier, unit, on))]
    return prices if len(prices) == len(units) else None


def _exact(price: Price) -> int:
    """A price per unit as a whole number of 10^-12 USD."""
    each = price.of(1).scaleb(SCALE)
    if each != int(each):
        raise ValueError(f"{price.name} is not exact to {SCALE} decimals")
    return int(each)

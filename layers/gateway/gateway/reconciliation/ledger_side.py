"""The ledger's side of a day's reconciliation, by model and kind of unit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal, localcontext

from gateway.costs.pricer import OPEN, UNPRICED
from gateway.pricing.price_book import ZERO, PriceBook
from gateway.reconciliation.bill_usage_types import Kind, billed_model, billed_tier
from gateway.reconciliation.records import LARGEST_CALL, NUMBER, REASONS, UsageGroup


# --------------------------------------------------------------------------------------------------------- the ledger
@dataclass
class LedgerTotals:
    """The ledger's totals of one kind. `cost` is the cost of `quantity`; `unpriced` usage is in neither."""

    quantity: int = 0
    cost: Decimal = ZERO
    unpriced: int = 0
    ends_later: int = 0  # part of `quantity`: AWS counts it on the next day
    began_before: int = 0  # usage of the day before that AWS counts on this day
    largest: int = 0
    open_rows: int = 0
    unsettled_rows: int = 0
    unpriced_rows: int = 0


@dataclass
class UnknownUsage:
    """Row counts of a model with unknown usage or without a price."""

    open_rows: int = 0
    unsettled_rows: int = 0
    unpriced_rows: int = 0


@dataclass
class LedgerIndex:
    sides: dict[Kind, LedgerTotals] = field(default_factory=lambda: defaultdict(LedgerTotals))
    unknown: dict[tuple[str, str], UnknownUsage] = field(default_factory=lambda: defaultdict(UnknownUsage))
    recorded: dict[tuple[str, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))

    def side(self, kind: Kind) -> LedgerTotals:
        """The totals of a kind, with the model's rows of unknown usage: each may have used any unit, at any tier."""
        unknown = self.unknown[kind.model_id, kind.region]
        return replace(
            self.sides[kind],
            largest=self.sides[kind].largest or largest_call(kind.unit),
            open_rows=unknown.open_rows,
            unsettled_rows=unknown.unsettled_rows,
            unpriced_rows=unknown.unpriced_rows,
        )


def largest_call(unit: str) -> int:
    """The assumed maximum usage of an unknown call, if no other call shows how large calls are."""
    return LARGEST_CALL if "token" in unit.lower() else 1


def of_bedrock(rows: Iterable[UsageGroup]) -> list[UsageGroup]:
    return [row for row in rows if not row.operation.startswith("InvokeEndpoint")]


def _billed_units(used: Mapping[str, int]) -> dict[str, int]:
    """Quantities by the price book's names of units."""
    names = {"images": "image", "input_images": "input_image"}
    return {names.get(unit, unit): quantity for unit, quantity in used.items()}


def index_ledger(day: str, rows: Sequence[UsageGroup], listed: PriceBook) -> LedgerIndex:
    """Sum the ledger's rows of a day by kind, each unit at the list price of the day."""
    index, on = LedgerIndex(), date.fromisoformat(day)
    for row in rows:
        name, tiers = listed.name_of(row.model_id, row.model_used, row.region), _tiers(row)
        model = billed_model(name)
        began_on_day = row.started_on == day
        unknown = index.unknown[model, row.region]
        if not row.is_known:
            if began_on_day:
                unknown.open_rows += row.rows * (row.price_status == OPEN)
                unknown.unsettled_rows += row.rows * (row.price_status != OPEN)
            continue
        if began_on_day:
            unknown.unpriced_rows += row.rows * (row.price_status == UNPRICED)
            index.recorded[model, row.region] += row.list_cost or ZERO
        for unit, quantity in _billed_units(row.used).items():
            if not quantity:
                continue
            tier = tiers.get(unit, row.tier)
            side = index.sides[Kind(model, row.region, billed_tier(tier), unit)]
            side.largest = max(side.largest, _billed_units(row.largest)[unit])
            if not began_on_day:
                side.began_before += quantity * (row.settled_on == day)
                continue
            price = listed.price(name, row.region, tier, unit, on) if row.price_status != UNPRICED else None
            if price is None:
                side.unpriced += quantity
                continue
            side.quantity += quantity
            side.cost += price.of(quantity)
            side.ends_later += quantity * (row.settled_on > day)
    return index


def _tiers(row: UsageGroup) -> dict[str, str]:
    """The tier of each unit, from the names of the price rows used."""
    tiers = {}
    for name in row.price_rows.split():
        parts = name.partition("@")[0].rsplit("/", 3)
        if len(parts) == 4:
            tiers[parts[3].partition(":")[0]] = parts[2]
    return tiers


# -------------------------------------------------------------------------------------------------------- the reasons
def _between(value: Decimal, low: int, high: int) -> Decimal:
    return min(max(value, Decimal(low)), Decimal(high))


def named_differences(gap: Decimal, side: LedgerTotals, unpriced: int) -> tuple[dict[str, Decimal], Decimal]:
    """Split a difference in quantity into reasons, each up to its possible maximum, and the remainder."""
    named = {"unpriced": _between(gap, 0, unpriced)}
    gap -= named["unpriced"]
    named["late"] = _between(gap, -side.ends_later, side.began_before)
    gap -= named["late"]
    still_open = _between(gap, 0, side.open_rows * side.largest)
    named["late"] += still_open
    gap -= still_open
    named["interrupted"] = _between(gap, 0, side.unsettled_rows * side.largest)
    return named, gap - named["interrupted"]


def share_of(total: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """The share of a cost, to 12 decimals; the remainder absorbs the rounding."""
    with localcontext(prec=60):
        return (total * part / whole).quantize(NUMBER) if whole else ZERO


def all_reasons(reasons: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {reason: reasons.get(reason, ZERO) for reason in REASONS}


def is_off(reasons: Mapping[str, Decimal], ledger: Decimal, aws: Decimal, percent: Decimal, least: Decimal) -> bool:
    off = abs(reasons["price"] + reasons["unexplained"])
    return off >= least and off * 100 > percent * max(abs(ledger), abs(aws))

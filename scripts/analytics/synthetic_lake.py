"""A small lake with known figures: two and a half months of three tenants, in real Parquet files.

This module computes each row's cost by multiplying the prices below, without the pricing code and without SQL. The lake
has every case that finance may meet: a new price, an agreed price, a markup, tiers, caches, images, calls without a
price, failed calls, late rows and a day that was first priced wrongly.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway.aws.lake.findings import anomalies_file, forecasts_file, reconciliation_file
from gateway.aws.lake.parquet import costs_file, usage_parts, usage_table
from gateway.aws.lake.prices import KEY, prices_file
from gateway.costs.anomalies import CostAnomaly
from gateway.costs.cost_lines import ORIGINAL, RESTATEMENT, CostLine, DayCosts
from gateway.costs.forecasts import Forecast
from gateway.costs.pricer import OPEN, PRICED, UNPRICED, UNSETTLED, PricedUsage
from gateway.costs.usage_files import UsageFile
from gateway.pricing.price_book import Markup, Price, PriceBook
from gateway.reconciliation.records import REASONS, Finding
from gateway.usage.records import (
    NOBODY,
    Attribution,
    KeyId,
    ModelId,
    Outcome,
    RequestId,
    TenantId,
    TokenUsage,
    UsageRecord,
    UserSource,
)

TODAY = date(2026, 11, 24)
FIRST = date(2026, 9, 10)
REGION = "us-east-1"
SMALL, BIG, PAINTER, UNHEARD_OF, ENDPOINT = (
    "maker.small",
    "maker.big",
    "maker.painter",
    "maker.unheard-of",
    "own-endpoint",
)
MARKED_UP, MARKUP = "bank", Decimal("1.15")
OUTPUTS = {"output_tokens", "image", "second"}
# The users and tags of calls: one name from two sources, and names that SQL and JSON must escape or keep apart.
CALLERS = (
    NOBODY,
    NOBODY,
    Attribution("alice", UserSource.TOKEN, (("project", "apollo"), ("stage", "test"))),
    Attribution("alice", UserSource.CLAIMED, (("project", "apollo"),)),
    Attribution("bob@example.com", UserSource.KEY),
    Attribution('a "quoted" \\ name', UserSource.CLAIMED, (("note", 'it\'s "user_id": {1}, ü'), ("user_id", "mine"))),
    Attribution("", UserSource.NONE, (("cost_centre", "theirs"), ("project", "zeus"))),
)
KEYS = ("k1", "k2")
ZERO = Decimal(0)


def _price(model: str, tier: str, unit: str, usd: str, per: int, since: str = "2026-01-01", note: str = "") -> Price:
    return Price(model, REGION, tier, unit, Decimal(usd), per, date.fromisoformat(since), "made up", note)


LISTED = [
    _price(SMALL, "default", "input_tokens", "3", 1_000_000),
    _price(SMALL, "default", "input_tokens", "2.5", 1_000_000, "2026-11-01"),
    _price(SMALL, "default", "output_tokens", "15", 1_000_000),
    _price(SMALL, "default", "cache_read_tokens", "0.3", 1_000_000),
    _price(SMALL, "default", "cache_write_5m_tokens", "3.75", 1_000_000),
    _price(SMALL, "default", "cache_write_1h_tokens", "6", 1_000_000),
    _price(SMALL, "batch", "input_tokens", "1.5", 1_000_000),
    _price(SMALL, "batch", "output_tokens", "7.5", 1_000_000),
    _price(SMALL, "batch", "cache_read_tokens", "0.15", 1_000_000),
    _price(SMALL, "batch", "cache_write_5m_tokens", "1.875", 1_000_000),
    _price(SMALL, "batch", "cache_write_1h_tokens", "3", 1_000_000),
    _price(SMALL, "flex", "input_tokens", "1.6", 1_000_000),
    _price(SMALL, "flex", "output_tokens", "8", 1_000_000),
    _price(SMALL, "flex", "output_tokens", "0", 1, "2026-11-10")._replace(stated=False),
    _price(BIG, "default", "input_tokens", "0.015", 1_000),
    _price(BIG, "default", "output_tokens", "0.075", 1_000),
    _price(BIG, "default", "cache_read_tokens", "0.0015", 1_000),
    _price(BIG, "flex", "input_tokens", "0.0075", 1_000),
    _price(BIG, "flex", "output_tokens", "0.0375", 1_000),
    _price(BIG, "default", "output_tokens", "0", 1, "2026-11-12")._replace(stated=False),  # only agreed
    _price(PAINTER, "default", "input_tokens", "0.000000000001", 1),
    _price(PAINTER, "default", "image", "0.04", 1),
]
AGREED = [
    _price(BIG, "default", "output_tokens", "0.06", 1_000, "2026-10-01", "+overlay"),
    _price(ENDPOINT, "default", "second", "0.000391666667", 1, "2026-01-01", "+overlay"),
]
BOOK = PriceBook(LISTED).with_overlay([*AGREED, Markup(f"tenant:{MARKED_UP}", MARKUP, FIRST, "made up")])


@dataclass(frozen=True)
class Part:
    """One usage unit of a call, with its price."""

    price: Price
    quantity: int
    each: Decimal  # the tenant's price for one
    list_each: Decimal

    @property
    def cost(self) -> Decimal:
        return self.each * self.quantity

    @property
    def list_cost(self) -> Decimal:
        return self.list_each * self.quantity


@dataclass(frozen=True)
class Row:
    """One attempt. `restated` is its arrival time if it arrived after its day was closed."""

    record: UsageRecord
    status: str
    parts: tuple[Part, ...] = ()
    restated: datetime | None = None

    @property
    def day(self) -> str:
        return self.record.started_at.date().isoformat()

    @property
    def group(self) -> tuple[str, str, str, str]:
        return (self.day, self.record.tenant_id, self.record.cost_centre, self.record.model_id)

    @property
    def cost(self) -> Decimal | None:
        return sum((part.cost for part in self.parts), ZERO) if self.status == PRICED else None

    @property
    def list_cost(self) -> Decimal | None:
        return sum((part.list_cost for part in self.parts), ZERO) if self.status == PRICED else None

    @property
    def input_cost(self) -> Decimal | None:
        inputs = (part.cost for part in self.parts if part.price.unit not in OUTPUTS)
        return sum(inputs, ZERO) if self.status == PRICED else None


def newest(prices: Iterable[Price], model: str, tier: str, unit: str, on: date) -> Price | None:
    fitting = [p for p in prices if (p.model_id, p.tier, p.unit) == (model, tier, unit) and p.effective_from <= on]
    found = max(fitting, key=lambda price: price.effective_from, default=None)
    return found if found and found.stated else None


def part(tenant: str, model: str, tier: str, unit: str, quantity: int, on: date) -> Part | None:
    """A usage unit with its price: the agreed price, else the list price, times the tenant's markup."""
    listed, agreed = newest(LISTED, model, tier, unit, on), newest(AGREED, model, tier, unit, on)
    counts = agreed or listed
    if counts is None:
        return None
    each = counts.usd / counts.per
    list_each = listed.usd / listed.per if listed else each
    if tenant == MARKED_UP:
        return Part(counts._replace(note=f"{counts.note}*{MARKUP}"), quantity, round(each * MARKUP, 12), list_each)
    return Part(counts, quantity, each, list_each)


def rows(seed: int = 7, count: int = 900) -> list[Row]:
    dice = random.Random(seed)
    days = (TODAY - FIRST).days
    return [_row(dice, number, FIRST + timedelta(days=dice.randint(0, days))) for number in range(count)]


def _row(dice: random.Random, number: int, day: date) -> Row:
    tenant = dice.choice(["shop", "shop", MARKED_UP, "lab"])
    model = dice.choice([SMALL, SMALL, SMALL, BIG, BIG, PAINTER, UNHEARD_OF, ENDPOINT])
    started = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(milliseconds=dice.randint(0, 86_000_000))
    took = timedelta(milliseconds=dice.choice([1, 999, 1000, 1001, 61_234]))
    record = UsageRecord(
        RequestId(f"r{number:05d}"), 1, TenantId(tenant), dice.choice(["a", "b"]), KeyId(KEYS[number % 2]),
        "invokeModel", ModelId(model), model, REGION, started, started + timedelta(minutes=15), Outcome.SUCCEEDED,
        started + took, attribution=CALLERS[number % len(CALLERS)],
    )  # fmt: skip
    match dice.randint(0, 29):
        case 0:
            return Row(replace(record, outcome=Outcome.FAILED), PRICED)
        case 1:
            return Row(replace(record, outcome=Outcome.UNSETTLED, usage=TokenUsage(source="unknown")), UNSETTLED)
        case 2 if (TODAY - day).days < 7:
            return Row(replace(record, outcome=Outcome.OPEN, settled_at=None), OPEN)
        case 3:
            record = replace(record, outcome=Outcome.INTERRUPTED)
    used = _usage(dice, model)
    record = replace(record, usage=used)
    quantities = {
        "input_tokens": used.input_tokens,
        "output_tokens": used.output_tokens,
        "cache_read_tokens": used.cache_read_tokens,
        "cache_write_5m_tokens": used.cache_write_5m_tokens,
        "cache_write_1h_tokens": used.cache_write_1h_tokens,
        "image": used.images,
    }
    if model == ENDPOINT:
        quantities = {"second": -(-int(took / timedelta(milliseconds=1)) // 1000)}
    parts = [
        part(tenant, model, used.service_tier, unit, quantity, day) for unit, quantity in quantities.items() if quantity
    ]
    restated = None
    if dice.random() < 0.08 and day < date(2026, 11, 20):
        restated = started + timedelta(days=dice.choice([2, 2, 35]))
    known = tuple(found for found in parts if found)
    if len(known) != len(parts):
        return Row(record, UNPRICED, restated=restated)
    return Row(record, PRICED, known, restated)


def _usage(dice: random.Random, model: str) -> TokenUsage:
    if model == PAINTER:
        return TokenUsage(dice.randint(1, 500), images=dice.randint(1, 3), image_class="512x512:standard")
    plain = TokenUsage(dice.randint(1, 90_000), dice.randint(0, 9_000))
    if model == SMALL and dice.random() < 0.4:
        return replace(plain, cache_read_tokens=dice.randint(0, 50_000), cache_write_5m_tokens=dice.randint(0, 9_000),
                       cache_write_1h_tokens=dice.randint(0, 900))  # fmt: skip
    if model == BIG and dice.random() < 0.3:
        return replace(plain, cache_read_tokens=dice.randint(1, 50_000))
    return replace(plain, service_tier=dice.choice(["default", "default", "flex"]) if model == SMALL else "default")


# ---------------------------------------------------------------------------------------------------------------- costs
def costs(rows: Iterable[Row]) -> list[tuple[str, CostLine]]:
    """The lines of each day: those known when it was closed, then each restatement.

    The first priced group of October was first priced a tenth too high, and corrected in November.
    """
    groups: dict[tuple[tuple[str, str, str, str], datetime | None], list[Row]] = defaultdict(list)
    for row in rows:
        # One run found everything that arrived late on one day.
        found = row.restated and row.restated.replace(hour=0, minute=10, second=0, microsecond=0)
        groups[row.group, found].append(row)
    lines = [(group[0], _line(group, found, members)) for (group, found), members in groups.items()]
    lines.sort(key=lambda pair: (pair[0], pair[1].restated_at or datetime.min.replace(tzinfo=UTC), pair[1].group))
    wrong = next(
        n for n, (day, line) in enumerate(lines) if day[:7] == "2026-10" and not line.restated_at and line.cost
    )
    day, line = lines[wrong]
    too_much = round((line.cost or ZERO) / 10, 12)
    right = CostLine(
        *line.group, input_cost=-too_much, output_cost=ZERO, cost=-too_much, list_cost=-too_much,
        line_kind=RESTATEMENT, restated_at=datetime(2026, 11, 3, 0, 10, tzinfo=UTC),
    )  # fmt: skip
    before: dict[str, Any] = {
        name: (getattr(line, name) or ZERO) + too_much for name in ("input_cost", "cost", "list_cost")
    }
    lines[wrong] = day, replace(line, **before)
    return [*lines, (day, right)]


def _line(group: tuple[str, str, str, str], found: datetime | None, rows: list[Row]) -> CostLine:
    priced = [row for row in rows if row.status == PRICED]
    outcomes = [row.record.outcome for row in rows]
    statuses = [row.status for row in rows]
    used = [row.record.usage for row in rows]
    cost = sum((row.cost or ZERO for row in priced), ZERO) if priced else None
    inputs = sum((row.input_cost or ZERO for row in priced), ZERO) if priced else None
    return CostLine(
        *group[1:],
        invocations=outcomes.count(Outcome.SUCCEEDED) + outcomes.count(Outcome.INTERRUPTED),
        failed_invocations=outcomes.count(Outcome.FAILED),
        open_invocations=statuses.count(OPEN),
        unsettled_invocations=statuses.count(UNSETTLED),
        unpriced_invocations=statuses.count(UNPRICED),
        input_tokens=sum(usage.input_tokens for usage in used),
        output_tokens=sum(usage.output_tokens for usage in used),
        cache_read_tokens=sum(usage.cache_read_tokens for usage in used),
        cache_write_5m_tokens=sum(usage.cache_write_5m_tokens for usage in used),
        cache_write_1h_tokens=sum(usage.cache_write_1h_tokens for usage in used),
        images=sum(usage.images for usage in used),
        input_images=sum(usage.input_images for usage in used),
        input_cost=inputs,
        output_cost=cost - inputs if cost is not None and inputs is not None else None,
        cost=cost,
        list_cost=sum((row.list_cost or ZERO for row in priced), ZERO) if priced else None,
        price_version=BOOK.version,
        line_kind=RESTATEMENT if found else ORIGINAL,
        restated_at=found,
    )


# ---------------------------------------------------------------------------------------------------------------- files
# ----------------------------------------------------------------------------------------------------- nightly findings
RECONCILED_AT = datetime(2026, 11, 24, 4, 30, tzinfo=UTC)


def _finding(model: str, principal: str, ledger: str, aws: str, off: bool = False, **reasons: str) -> Finding:
    said = {name: Decimal(reasons.get(name, "0")) for name in REASONS}
    sums = Decimal(ledger), Decimal(aws)
    return Finding(
        "cur", "usd", model, REGION, "default", "input_tokens", "T", principal, bool(model), *sums, *sums, said, off
    )


FINDINGS = {
    "2026-11-19": [
        _finding(SMALL, "gateway", "3", "2.9", discount="-0.1"),
        _finding(SMALL, "gateway", "1.5", "1.75", True, late="0.05", unexplained="0.2"),
        _finding(SMALL, "arn:aws:iam::123456789012:user/alice", "0", "7", out_of_band="7"),
        replace(_finding(SMALL, "gateway", "10", "12", unexplained="2"), source="cloudwatch", measure="count"),
    ],
    "2026-11-20": [_finding("", "gateway", "0", "0.004", unexplained="0.004")],
}
STRANGE_DAYS = [
    CostAnomaly(TenantId("acme"), date(2026, 11, 3), Decimal(90), Decimal(10), Decimal("4.2"), 8),
    CostAnomaly(TenantId("acme"), date(2026, 11, 9), Decimal(1), Decimal(10), Decimal("-3.9"), 8),
]


def _forecast(on: str, tenant: str, centre: str, spent: str, budget: str | None) -> Forecast:
    to_date = Decimal(spent)
    ends = (to_date, to_date * 2, to_date, to_date * 3)
    return Forecast(
        TenantId(tenant), centre, date.fromisoformat(on), on[:7], *ends, 56, None if budget is None else Decimal(budget)
    )


FORECASTS = {
    date(2026, 10, 31): [_forecast("2026-10-31", "acme", "", "300", None)],
    date(2026, 11, 22): [_forecast("2026-11-22", "acme", "", "200", "450")],
    date(2026, 11, 23): [
        _forecast("2026-11-23", "acme", "", "230", "450"),
        _forecast("2026-11-23", "acme", "research", "230", None),
        _forecast("2026-11-23", "bank", "", "9", None),
    ],
}


def write(folder: Path, rows: list[Row]) -> list[tuple[str, CostLine]]:
    """Write the lake and return its cost lines."""
    files: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        files[UsageFile(row.record.hour).key].append(row)
    for key, members in files.items():
        _put(folder / key, b"".join(usage_parts([usage_table([*map(_priced, members)], BOOK.version)])))
    lines = costs(rows)
    for day in {day for day, _ in lines}:
        _put(
            folder / f"costs/dt={day}/part-0.parquet",
            costs_file(DayCosts(tuple(line for of, line in lines if of == day), closed=True)),
        )
    _put(folder / KEY, prices_file(BOOK))
    for day, findings in FINDINGS.items():
        _put(folder / f"reconciliation/dt={day}/part-0.parquet", reconciliation_file(findings, RECONCILED_AT))
    for on, forecasts in FORECASTS.items():
        _put(folder / f"forecasts/dt={on.isoformat()}/part-0.parquet", forecasts_file(forecasts))
    for strange in STRANGE_DAYS:
        _put(folder / f"anomalies/dt={strange.day.isoformat()}/part-0.parquet", anomalies_file([strange]))
    return lines


def _priced(row: Row) -> PricedUsage:
    whole = {name: _units(getattr(row, name)) for name in ("cost", "input_cost", "list_cost")}
    outputs = None if whole["cost"] is None or whole["input_cost"] is None else whole["cost"] - whole["input_cost"]
    return PricedUsage(
        record=row.record,
        input_cost=whole["input_cost"],
        output_cost=outputs,
        list_cost=whole["list_cost"],
        price_status=row.status,
        price_rows=" ".join(part.price.name for part in row.parts),
    )


def _units(amount: Decimal | None) -> int | None:
    return None if amount is None else int(amount.scaleb(12))


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

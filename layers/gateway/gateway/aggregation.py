"""From the ledger to the costs that finance reads: what to price, how, and the proof that nothing was lost on the way.

    plan          which hours a run covers: new complete ones, those that held open rows, those with rows that the book
                  had no price for and a newer one may have, what is asked for
    price_usage   one hour and shard of the ledger -> one usage file, each row with its price
    close_day     the usage files of a day -> its costs by tenant, cost centre and model
    verify_day    ledger == usage == costs, in counts, tokens and money, priced a second way
    commit        what is done, and what must be done again

Money is counted in whole units of 10^-12 USD, so that the sum of rows, in any order, is the sum of the ledger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from gateway.ledger import SHARDS, Ledger, Partition
from gateway.pricing import INPUT_UNITS, SCALE, ZERO, Price, PriceBook, quantities
from gateway.usage import UNKNOWN, Outcome, UsageRecord

HOUR = timedelta(hours=1)
# A row is written at once after its moment of start was taken, but a write may be retried: no writer tries this long.
GRACE = timedelta(minutes=5)
FIRST_RUN_HOURS = 48
# 168 hours of 8 shards keep one run below the 25,000 events and the 256 KB that an execution may have.
MAX_HOURS = 168

PRICED = "priced"
UNPRICED = "unpriced"  # used, but the book has no price for a part of it
UNSETTLED = "unsettled"  # nobody knows what it used
OPEN = "open"  # may still settle

ORIGINAL = "original"
RESTATEMENT = "restatement"  # a difference that was found after its day was closed

RowKey = tuple[str, int]
Group = tuple[str, str, str]


class PeriodRefused(Exception):
    """An hour that was asked for cannot be aggregated."""


class CostsDoNotMatch(Exception):
    """Two of ledger, usage and costs say different things about a period."""

    def __init__(self, period: str, differences: Sequence[str]):
        shown = "; ".join(differences[:5])
        more = f"; and {len(differences) - 5} more" if len(differences) > 5 else ""
        super().__init__(f"costs of {period} do not match: {shown}{more}")
        self.period = period
        self.differences = differences


# ------------------------------------------------------------------------------------------------------------- periods
class Periods(Protocol):
    """What is aggregated already. Implemented by `gateway.aws.periods`."""

    def watermark(self) -> str | None:
        """The newest hour up to which every hour is done."""

    def dirty(self) -> list[str]:
        """Hours that held open rows when they were done last."""

    def unpriced(self, book_version: str) -> list[str]:
        """Hours that held rows without a price when they were done last, by another book than this."""

    def mark_dirty(self, hour: str) -> None: ...

    def mark_unpriced(self, hour: str, book_version: str) -> None: ...

    def mark_clean(self, hour: str) -> None: ...

    def advance(self, watermark: str) -> None:
        """Move the watermark, never backwards."""


def hour_of(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H")


def start_of(hour: str) -> datetime:
    """When an hour begins. Raises PeriodRefused where it is no hour."""
    try:
        start = datetime.strptime(hour, "%Y-%m-%dT%H").replace(tzinfo=UTC)
    except ValueError as error:
        raise PeriodRefused(f"{hour!r} is no hour: write it like 2026-11-24T01") from error
    if hour_of(start) != hour:
        raise PeriodRefused(f"{hour!r} is no hour: write it like {hour_of(start)}")
    return start


def hours_between(first: datetime, last: datetime) -> list[str]:
    """The hours from that of `first` to that of `last`, both included."""
    start = start_of(hour_of(first))
    return [hour_of(start + n * HOUR) for n in range(int((last - start) / HOUR) + 1)] if last >= start else []


@dataclass(frozen=True)
class Plan:
    """What one run covers. `closed_until` is the newest complete hour; the watermark moves on from `after`."""

    hours: tuple[str, ...]
    closed_until: str
    after: str

    def partitions(self) -> Iterator[Partition]:
        return (Partition(hour, shard) for hour in self.hours for shard in range(SHARDS))

    def days(self) -> dict[str, list[str]]:
        """The hours of each day."""
        days: dict[str, list[str]] = defaultdict(list)
        for hour in self.hours:
            days[hour[:10]].append(hour)
        return dict(days)


def plan(
    periods: Periods,
    scheduled: datetime,
    *,
    include_current_hour: bool = False,
    hours: Sequence[str] = (),
    retention: timedelta = timedelta(days=400),
    book_version: str = "",
) -> Plan:
    """The hours of a run that was scheduled for a moment; the clock plays no part, so a run can be done again.

    Hours with rows that had no price come again with another book: after all others, where a run is full.

    `hours` asks for just these (a backfill). Raises PeriodRefused for hours that have not begun, whose rows the ledger
    may have dropped by now (their files are all that is left of them), or that are too many for one run.
    """
    closed = hour_of(scheduled - GRACE - HOUR)
    watermark = periods.watermark()
    if hours:
        wanted = sorted(set(hours))
        _refuse_odd(wanted, scheduled, retention)
        return Plan(tuple(wanted), closed, watermark or "")
    after = watermark or hour_of(start_of(closed) - FIRST_RUN_HOURS * HOUR)
    current = hours_between(start_of(closed) + HOUR, scheduled) if include_current_hour else []
    new = hours_between(start_of(after) + HOUR, start_of(closed))
    # Oldest first: what is over the limit is the newest, and the next run goes on from there.
    due = sorted({*new, *periods.dirty()} - set(current))[: MAX_HOURS - len(current)]
    again = [
        hour for hour in periods.unpriced(book_version) if hour not in due and not _gone(hour, scheduled, retention)
    ]
    due = sorted([*due, *again[: MAX_HOURS - len(current) - len(due)]])
    return Plan((*due, *current), closed, after)


def _gone(hour: str, scheduled: datetime, retention: timedelta) -> bool:
    """May the ledger have dropped rows of an hour? A day to spare: an hour must not lose rows while it is read."""
    return start_of(hour) + retention < scheduled + timedelta(days=1)


def _refuse_odd(hours: Sequence[str], scheduled: datetime, retention: timedelta) -> None:
    if len(hours) > MAX_HOURS:
        raise PeriodRefused(f"{len(hours)} hours are too many for one run: ask for at most {MAX_HOURS}")
    for hour in hours:
        if start_of(hour) > scheduled:
            raise PeriodRefused(f"{hour} has not begun at {scheduled.isoformat()}")
        if _gone(hour, scheduled, retention):
            raise PeriodRefused(
                f"{hour} is older than the ledger keeps its rows; its files in the lake stay as they are"
            )


def commit(
    done: Plan, open_hours: Iterable[str], periods: Periods, unpriced_hours: Mapping[str, str] | None = None
) -> str:
    """Note what is done, and return the watermark. Only called where every step of the run came to its end.

    An hour with open rows is dirty: it is done again until they are settled. An hour with rows that have no price is
    done again with another book than the one whose version is given. An hour that is not complete is not noted
    at all, since the watermark has not passed it.
    """
    still_open = set(open_hours)
    complete = {hour for hour in done.hours if hour <= done.closed_until}
    for hour in sorted(complete):
        if hour in still_open:
            periods.mark_dirty(hour)
        elif unpriced_hours and hour in unpriced_hours:
            periods.mark_unpriced(hour, unpriced_hours[hour])
        else:
            periods.mark_clean(hour)
    watermark = done.after
    while watermark and (following := hour_of(start_of(watermark) + HOUR)) in complete:
        watermark = following
    if watermark and watermark != done.after:
        periods.advance(watermark)
    return watermark


# ------------------------------------------------------------------------------------------------------------- pricing
class PricedUsage(NamedTuple):
    """A ledger row with what it costs, in units of 10^-12 USD; None where nobody can say.

    `list_cost` is what it costs at the public prices; the other costs are what its tenant is charged.
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


class Quarantined(NamedTuple):
    """What could not be read: where it lies, why, and what it is, as text."""

    pk: str
    sk: str
    reason: str
    item: str


class _Rates(NamedTuple):
    each: tuple[tuple[int, bool], ...]  # (10^-12 USD per unit, is it input?), in the order of the usage's parts
    names: str


class Pricer:
    """`PriceBook.charge_record` for many rows: a price is looked up once for each kind of usage, not once a row."""

    def __init__(self, book: PriceBook):
        self._book = book
        self._rates: dict[tuple[str, str, str, date, tuple[str, ...]], _Rates | None] = {}

    def price(self, record: UsageRecord) -> PricedUsage:
        if record.outcome is Outcome.FAILED:
            return PricedUsage(record, 0, 0, 0, PRICED)
        if record.outcome is Outcome.OPEN:
            return PricedUsage(record, None, None, None, OPEN)
        usage = record.usage
        if usage.source == UNKNOWN:
            return PricedUsage(record, None, None, None, UNSETTLED)
        parts = tuple(quantities(usage))
        rates = self._rates_of(record, tuple([unit for unit, _ in parts]))
        if rates is None:
            return PricedUsage(record, None, None, None, UNPRICED)
        input_cost = output_cost = 0
        for (_, quantity), (each, is_input) in zip(parts, rates.each, strict=True):
            if is_input:
                input_cost += each * quantity
            else:
                output_cost += each * quantity
        return PricedUsage(record, input_cost, output_cost, input_cost + output_cost, PRICED, rates.names)

    def _rates_of(self, record: UsageRecord, units: tuple[str, ...]) -> _Rates | None:
        tier = self._book.tier(record.model_id, record.region, record.usage)
        kind = (record.model_id, record.region, tier, record.started_at.date(), units)
        try:
            return self._rates[kind]
        except KeyError:
            rates = self._rates[kind] = self._look_up(*kind)
            return rates

    def _look_up(self, model_id: str, region: str, tier: str, on: date, units: tuple[str, ...]) -> _Rates | None:
        prices = _prices(self._book, model_id, region, tier, on, units)
        if prices is None:
            return None
        each = tuple((_exact(price), unit in INPUT_UNITS) for unit, price in zip(units, prices, strict=True))
        return _Rates(each, " ".join(price.name for price in prices))


def _prices(
    book: PriceBook, model_id: str, region: str, tier: str, on: date, units: tuple[str, ...]
) -> list[Price] | None:
    """The price of each unit, or None where one has none: a usage is priced as a whole or not at all."""
    prices = [price for unit in units if (price := book.price(model_id, region, tier, unit, on))]
    return prices if len(prices) == len(units) else None


def _exact(price: Price) -> int:
    """A price per unit as a whole number of 10^-12 USD."""
    each = price.of(1).scaleb(SCALE)
    if each != int(each):
        raise ValueError(f"{price.name} is not exact to {SCALE} decimals")
    return int(each)


# ---------------------------------------------------------------------------------------------------------------- lake
@dataclass(frozen=True)
class CostLine:
    """What a tenant's cost centre used of a model, and what it cost.

    `invocations` are calls that succeeded or were interrupted; `failed_invocations` used nothing. What is not in the
    cost is in one of the other counts: `open` (may still settle), `unsettled` (nobody knows what it used; an
    interrupted call may be one) and `unpriced` (the book lacks a price). Money is None, not 0, where no row has a cost.
    """

    tenant_id: str
    cost_centre: str
    model_id: str
    invocations: int = 0
    failed_invocations: int = 0
    open_invocations: int = 0
    unsettled_invocations: int = 0
    unpriced_invocations: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    images: int = 0
    input_images: int = 0
    input_cost: Decimal | None = None
    output_cost: Decimal | None = None
    cost: Decimal | None = None
    list_cost: Decimal | None = None
    price_version: str = field(default="", compare=False)
    line_kind: str = field(default=ORIGINAL, compare=False)
    restated_at: datetime | None = field(default=None, compare=False)

    @property
    def group(self) -> Group:
        return (self.tenant_id, self.cost_centre, self.model_id)

    def __add__(self, other: CostLine) -> CostLine:
        """Both together; they are of one group."""
        sums: dict[str, Any] = {name: getattr(self, name) + getattr(other, name) for name in COUNTS}
        sums |= {name: _add(getattr(self, name), getattr(other, name)) for name in MONEY}
        versions = {version for line in (self, other) for version in line.price_version.split("+") if version}
        return replace(self, **sums, price_version="+".join(sorted(versions)))


COUNTS = tuple(f.name for f in fields(CostLine) if f.type == "int")
MONEY = tuple(f.name for f in fields(CostLine) if f.type == "Decimal | None")
TOKENS = COUNTS[5:]


def _add(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return one + other if one is not None and other is not None else one if other is None else other


class Lake(Protocol):
    """The Parquet files. Implemented by `gateway.aws.lake`.

    `replace_*` take a function that makes the rows, since a file is made again when another run has overtaken it: a
    file never goes back to an older state of the ledger.
    """

    def replace_usage(self, partition: Partition, version: str, rows: Callable[[], Iterable[PricedUsage]]) -> int:
        """Write the usage file of a partition, if there is any row, and return how many there are."""

    def replace_quarantine(self, partition: Partition, rows: Sequence[Quarantined]) -> None:
        """Write what could not be read of a partition; nothing where there is nothing and was nothing."""

    def replace_costs(self, day: str, lines: Callable[[], Iterable[CostLine]]) -> int:
        """Write the costs of a day, if there are any, and return how many lines there are."""

    def usage_of_day(self, day: str) -> Iterator[CostLine]:
        """All usage of a day, summed by group; a group may come in several lines."""

    def settled_usage_of_hour(self, hour: str) -> Iterator[CostLine]:
        """Usage of an hour but for its open rows, summed by group; a group may come in several lines."""

    def rows_of_hour(self, hour: str, *, only_open: bool) -> set[RowKey]:
        """Which rows the usage files of an hour hold."""

    def costs_of_day(self, day: str) -> Iterator[CostLine]: ...


def price_usage(partition: Partition, ledger: Ledger, lake: Lake, book: PriceBook) -> int:
    """Price every row of a partition and write them as one file; returns the number of rows."""
    pricer = Pricer(book)
    return lake.replace_usage(partition, book.version, lambda: map(pricer.price, ledger.read(partition)))


def close_day(day: str, lake: Lake) -> int:
    """Sum the usage of a day into its costs; returns the number of lines."""
    return lake.replace_costs(day, lambda: [line for _, line in sorted(_summed(lake.usage_of_day(day)).items())])


def _summed(lines: Iterable[CostLine]) -> dict[Group, CostLine]:
    sums: dict[Group, CostLine] = {}
    for line in lines:
        sums[line.group] = sums[line.group] + line if line.group in sums else line
    return sums


# ---------------------------------------------------------------------------------------------------------------- proof
class Verified(NamedTuple):
    """Which of the hours that were proven still hold open rows, and which hold rows that the book has no price for."""

    open_hours: list[str]
    unpriced_hours: list[str]


def verify_day(
    day: str, hours: Sequence[str], closed_until: str, ledger: Ledger, lake: Lake, book: PriceBook
) -> Verified:
    """Prove that the ledger, the usage files of these hours and the costs of the day say the same.

    Raises CostsDoNotMatch.
    """
    verified = Verified([], [])
    for hour in hours:
        is_open, is_unpriced = _verify_hour(hour, hour <= closed_until, ledger, lake, book)
        verified.open_hours.extend([hour] * is_open)
        verified.unpriced_hours.extend([hour] * is_unpriced)
    usage, costs = _summed(lake.usage_of_day(day)), _summed(lake.costs_of_day(day))
    _compare(day, "usage", usage, "costs", costs)
    return verified


def _verify_hour(hour: str, complete: bool, ledger: Ledger, lake: Lake, book: PriceBook) -> tuple[bool, bool]:
    """Compare an hour's ledger with its usage files; returns whether they hold open and whether unpriced rows.

    A row that was open when it was written may have settled since: it is compared by its being there alone. And an hour
    that is not over may have got new rows since.
    """
    was_open = lake.rows_of_hour(hour, only_open=True)
    held = None if complete else lake.rows_of_hour(hour, only_open=False)
    found_open = 0

    def settled() -> Iterator[UsageRecord]:
        nonlocal found_open
        for shard in range(SHARDS):
            for record in ledger.read(Partition(hour, shard)):
                key = (str(record.request_id), record.attempt)
                if key in was_open:
                    found_open += 1
                elif held is None or key in held:
                    yield record

    of_ledger = price_by_kind(settled(), book)
    if found_open != len(was_open):
        raise CostsDoNotMatch(hour, [f"usage holds {len(was_open)} open rows, of which the ledger has {found_open}"])
    _compare(hour, "ledger", of_ledger, "usage", _summed(lake.settled_usage_of_hour(hour)))
    return bool(was_open), any(line.unpriced_invocations for line in of_ledger.values())


class _Kind(NamedTuple):
    """What rows have in common that pay the same prices."""

    group: Group
    region: str
    tier: str
    on: date
    units: tuple[str, ...]


def price_by_kind(records: Iterable[UsageRecord], book: PriceBook) -> dict[Group, CostLine]:
    """The second way to the costs: sum the tokens of equal kind first and price the sums, with Decimal, once."""
    sums: dict[Group, dict[str, Any]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    used: dict[_Kind, list[int]] = {}
    rows: dict[_Kind, int] = defaultdict(int)
    for record in records:
        usage = record.usage
        group = (str(record.tenant_id), record.cost_centre, str(record.model_id))
        line = sums[group]
        line["invocations"] += record.outcome in (Outcome.SUCCEEDED, Outcome.INTERRUPTED)
        for name in TOKENS:
            line[name] += getattr(usage, name)
        if record.is_open:
            line["open_invocations"] += 1
        elif record.outcome is Outcome.FAILED:
            line["failed_invocations"] += 1
            _charge(line)
        elif usage.source == UNKNOWN:
            line["unsettled_invocations"] += 1
        else:
            parts = list(quantities(usage))
            tier = book.tier(record.model_id, record.region, usage)
            kind = _Kind(group, record.region, tier, record.started_at.date(), tuple(unit for unit, _ in parts))
            rows[kind] += 1
            totals = used.setdefault(kind, [0] * len(parts))
            for place, (_, quantity) in enumerate(parts):
                totals[place] += quantity
    for kind, totals in used.items():
        line = sums[kind.group]
        prices = _prices(book, kind.group[2], kind.region, kind.tier, kind.on, kind.units)
        if prices is None:
            line["unpriced_invocations"] += rows[kind]
            continue
        _charge(line)
        for unit, price, quantity in zip(kind.units, prices, totals, strict=True):
            _charge(line, "input_cost" if unit in INPUT_UNITS else "output_cost", price.of(quantity))
    return {group: CostLine(*group, **line) for group, line in sums.items()}


def _charge(line: dict[str, Any], name: str = "cost", usd: Decimal = ZERO) -> None:
    """Add to one side of a cost and to the cost; with it all of them are known, if only to be 0."""
    for known in MONEY:
        line[known] = line.get(known, ZERO) + (usd if known in (name, "cost", "list_cost") else ZERO)


def _compare(
    period: str, one: str, ones: Mapping[Group, CostLine], other: str, others: Mapping[Group, CostLine]
) -> None:
    differences = [
        f"{name} of {'/'.join(group)} is {left} in {one} and {right} in {other}"
        for group in sorted(ones.keys() | others.keys())
        for name in (*COUNTS, *MONEY)
        if (left := getattr(ones.get(group), name, None)) != (right := getattr(others.get(group), name, None))
    ]
    if differences:
        raise CostsDoNotMatch(period, differences)

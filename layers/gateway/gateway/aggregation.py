"""From the ledger to the costs that finance reads: what to price, how, and the proof that nothing was lost on the way.

    plan          which hours a run covers: new complete ones, those that held open rows, those whose files are not what
                  was proven of them (`gateway.proofs`), those whose prices are others by now, what is asked for
    price_usage   the shards of an hour of the ledger -> one usage file or some, each row with its price; what cannot be
                  read is put into quarantine
    close_day     the usage files of a day -> its costs by tenant, cost centre and model; once its hours are over, every
                  difference is a line that restates it
    verify_usage  ledger == usage, in counts, tokens and money, priced a second way
    verify_day    usage == costs
    commit        what is done, and what must be done again

Money is counted in whole units of 10^-12 USD, so that the sum of rows, in any order, is the sum of the ledger.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any, NamedTuple, Protocol

from gateway.ledger import SHARDS, Partition
from gateway.pricing import INPUT_UNITS, SCALE, ZERO, Price, PriceBook
from gateway.usage import UNKNOWN, Outcome, UsageRecord

HOUR = timedelta(hours=1)
# A row is written at once after its moment of start was taken, but a write may be retried: no writer tries this long.
GRACE = timedelta(minutes=5)
# So many files keep one run below the 25,000 events and the 256 KB that an execution may have; an hour has a file for
# each shard at most.
MAX_HOURS = 168 * 8 // SHARDS
# What Athena reads best is files of 64 to 256 MB: an hour is divided where it is larger.
LARGEST_FILE = 256 * 10**6

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

    def stale(self) -> list[str]:
        """Hours that hold rows which would have another price by now."""

    def mark_dirty(self, hour: str) -> None: ...

    def mark_stale(self, hour: str, book_version: str) -> None: ...

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


def latest_start(scheduled: str) -> datetime:
    """The latest moment at which a call can have started that a run may read: the clock's own, or the run's."""
    return max(datetime.fromisoformat(scheduled), datetime.now(UTC)) + GRACE


def lag(watermark: str, now: datetime) -> float:
    """Hours since the end of the newest hour that is done."""
    return round((now - start_of(watermark) - HOUR) / HOUR, 2)


def hours_between(first: datetime, last: datetime) -> list[str]:
    """The hours from that of `first` to that of `last`, both included."""
    start = start_of(hour_of(first))
    return [hour_of(start + n * HOUR) for n in range(int((last - start) / HOUR) + 1)] if last >= start else []


class Found(NamedTuple):
    """What is not as it was proven (`gateway.proofs.look`): hours whose files are others by now, hours that no run has
    proven, days whose costs are others, and hours like the first of which the ledger may have dropped the rows."""

    damaged: Sequence[str] = ()
    missing: Sequence[str] = ()
    costs: Sequence[str] = ()
    lost: Sequence[str] = ()


@dataclass(frozen=True)
class Plan:
    """What one run covers. `closed_until` is the newest complete hour; the watermark moves on from `after`; prices are
    those of the book of `book_version`.

    Of its hours, `mended` are done since their files were not what was proven. The costs of the days `rebuilt` are made
    anew for that reason. `lost` are hours that cannot be mended. `left` hours wait for the next run, some of them of
    the days `waiting`.
    """

    hours: tuple[str, ...]
    closed_until: str
    after: str
    book_version: str = ""
    mended: tuple[str, ...] = ()
    rebuilt: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    left: int = 0
    waiting: tuple[str, ...] = ()

    def days(self) -> dict[str, list[str]]:
        """The hours of each day; none of a day whose costs alone are made anew."""
        days: dict[str, list[str]] = {day: [] for day in sorted({*self.rebuilt, *(hour[:10] for hour in self.hours)})}
        for hour in self.hours:
            days[hour[:10]].append(hour)
        return days

    def completes(self, day: str) -> bool:
        """Are all hours of a day over, and done with this run?"""
        hours = [f"{day}T{hour:02}" for hour in range(24)]
        done = all(hour in self.hours or hour <= self.after for hour in hours)
        return hours[-1] <= self.closed_until and done and day not in self.waiting


def asked_hours(event: Mapping[str, Any]) -> Sequence[str]:
    """The hours that a run is asked for: `hours`, or those from `first` to `last`; none where it says nothing."""
    if "first" in event:
        return hours_between(start_of(event["first"]), start_of(event["last"]))
    return tuple(event.get("hours", ()))


@dataclass(frozen=True)
class UsageFile:
    """A file of the lake that holds the usage of an hour, or that of every `parts`-th shard of it from `part` on."""

    hour: str
    part: int = 0
    parts: int = 1

    @property
    def place(self) -> str:
        return f"dt={self.hour[:10]}/hour={self.hour[11:]}/part-{self.part:02}-of-{self.parts:02}.parquet"

    @property
    def key(self) -> str:
        return f"usage/{self.place}"

    @classmethod
    def at(cls, key: str) -> UsageFile | None:
        """The file that lies at a key; None where that is the key of none."""
        found = _USAGE_KEY.fullmatch(key)
        return cls(f"{found[1]}T{found[2]}", int(found[3]), int(found[4])) if found else None

    def partitions(self) -> Iterator[Partition]:
        return (Partition(self.hour, shard) for shard in range(self.part, SHARDS, self.parts))


_USAGE_KEY = re.compile(r"usage/dt=([0-9-]{10})/hour=([01][0-9]|2[0-3])/part-([0-9]{2})-of-([0-9]{2})\.parquet")
# Until 2026-11-25 each shard of an hour had a file of its own, named by its number alone.
_OLDER_KEY = re.compile(r"usage/dt=([0-9-]{10})/hour=([01][0-9]|2[0-3])/part-([0-9]{2})\.parquet")


def older_hour(key: str) -> str | None:
    """The hour of a usage file of the older layout; None where the key is that of none."""
    found = _OLDER_KEY.fullmatch(key)
    return f"{found[1]}T{found[2]}" if found else None


NOTHING = "-"  # the digest of an hour, or a day, that has no file


def file_digest(key: str, etag: str) -> str:
    """Names one version of a file of the lake."""
    return hashlib.sha256(f"{key} {etag.strip(chr(34))}".encode()).hexdigest()[:16]


def digest_of(files: Mapping[str, str]) -> str:
    """Names what files hold together, by their keys and ETags."""
    return joined(file_digest(key, etag) for key, etag in files.items())


def joined(digests: Iterable[str]) -> str:
    """The digest of several files, of those of each."""
    some = sorted(digest for digest in digests if digest != NOTHING)
    if len(some) < 2:
        return some[0] if some else NOTHING
    return hashlib.sha256(" ".join(some).encode()).hexdigest()[:16]


class Layout(Protocol):
    """How usage is divided. Implemented by `gateway.aws.periods`."""

    def files(self, hour: str, wanted: int) -> int:
        """In how many files the usage of an hour lies: as many as were wanted first, else a row would be in two."""


def usage_files(hours: Iterable[str], layout: Layout, sizes: Callable[[str], Mapping[str, int]]) -> list[UsageFile]:
    """The files of these hours, none much larger than LARGEST_FILE: an hour is expected to be as large as the hour
    before it, or as the same hour of the day before. One that lies in the lake stays as it is divided.

    `sizes` tells the bytes of a day's files, by their keys.
    """
    days: dict[str, dict[str, dict[UsageFile, int]]] = {}

    def there(hour: str) -> dict[UsageFile, int]:
        day = hour[:10]
        if day not in days:
            days[day] = defaultdict(dict)
            for key, size in sizes(day).items():
                if file := UsageFile.at(key):
                    days[day][file.hour][file] = size
        return days[day].get(hour, {})

    files = []
    for hour in hours:
        alike = [hour_of(start_of(hour) - ago) for ago in (HOUR, timedelta(days=1))]
        largest = max(sum(there(other).values()) for other in alike)
        parts = layout.files(hour, min((file.parts for file in there(hour)), default=_parts(largest)))
        files += [UsageFile(hour, part, parts) for part in range(parts)]
    return files


def check_division(day: str, keys: Iterable[str]) -> None:
    """A row that lies in files of two divisions, or in one of another kind, would be summed twice.

    Raises CostsDoNotMatch.
    """
    parts: dict[str, int] = {}  # of each hour, as its first file says
    strange = []
    for key in sorted(keys):
        hour, of = older_hour(key), 0
        if file := UsageFile.at(key):
            hour, of = file.hour, file.parts
        if hour is None or parts.setdefault(hour, of) != of:
            strange.append(f"{key} is not one of the usage files that lie beside it")
    if strange:
        raise CostsDoNotMatch(day, strange)


def _parts(size: int) -> int:
    parts = 1
    while size > parts * LARGEST_FILE and parts < SHARDS:
        parts *= 2
    return parts


def plan(
    periods: Periods,
    scheduled: datetime,
    *,
    include_current_hour: bool = False,
    hours: Sequence[str] = (),
    retention: timedelta = timedelta(days=400),
    book_version: str = "",
    begin: str | None = None,
    found: Found | None = None,
) -> Plan:
    """The hours of a run that was scheduled for a moment; the clock plays no part, so a run can be done again.

    The first run goes on from `begin`, the first hour that the ledger has. What a run has no room for waits for the
    next: the newest hours, and before these the ones whose prices are others by now.

    `hours` asks for just these (a backfill), and for those of their days that are not what they should be. Raises
    PeriodRefused for hours that have not begun, whose rows the ledger may have dropped by now (their files are all that
    is left of them), or that are too many for one run.
    """
    found = found or Found()
    closed = newest_complete(scheduled)
    watermark = periods.watermark()
    if hours:
        wanted = sorted(set(hours))
        _refuse_odd(wanted, scheduled, retention)
        days = {hour[:10] for hour in wanted}
        doubtful = sorted({*found.damaged, *periods.stale()} - set(wanted))
        again = [hour for hour in doubtful if hour[:10] in days and not is_gone(hour, scheduled, retention)]
        taken = sorted([*wanted, *again[: MAX_HOURS - len(wanted)]])
        rebuilt = [day for day in found.costs if day in days]
        return Plan(tuple(taken), closed, watermark or "", book_version, _both(taken, found.damaged), tuple(rebuilt))
    after = watermark or (hour_of(start_of(begin) - HOUR) if begin else closed)
    current = hours_between(start_of(closed) + HOUR, scheduled) if include_current_hour else []
    new = hours_between(start_of(after) + HOUR, start_of(closed))
    room = MAX_HOURS - len(current)
    # Oldest first: what is over the limit is the newest, and the next run goes on from there.
    due = sorted({*new, *periods.dirty(), *found.damaged, *found.missing} - set(current))
    stale = sorted({h for h in periods.stale() if not is_gone(h, scheduled, retention)} - {*due, *current})
    done = due[:room]
    done += stale[: room - len(done)]
    left = {*due, *stale} - set(done)
    planned = (*sorted(done), *current)
    return Plan(
        planned,
        closed,
        after if watermark or begin else "",
        book_version,
        _both(planned, found.damaged),
        tuple(found.costs[:MAX_HOURS]),
        tuple(found.lost[:MAX_HOURS]),
        len(left),
        tuple(sorted({hour[:10] for hour in left} & {hour[:10] for hour in planned})),
    )


def newest_complete(scheduled: datetime) -> str:
    """The newest hour that is over, with all its rows, for a run that was scheduled for a moment."""
    return hour_of(scheduled - GRACE - HOUR)


def _both(some: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(some) & set(others)))


def is_gone(hour: str, scheduled: datetime, retention: timedelta) -> bool:
    """May the ledger have dropped rows of an hour? A day to spare: an hour must not lose rows while it is read."""
    return start_of(hour) + retention < scheduled + timedelta(days=1)


def _refuse_odd(hours: Sequence[str], scheduled: datetime, retention: timedelta) -> None:
    if len(hours) > MAX_HOURS:
        raise PeriodRefused(f"{len(hours)} hours are too many for one run: ask for at most {MAX_HOURS}")
    for hour in hours:
        if start_of(hour) > scheduled:
            raise PeriodRefused(f"{hour} has not begun at {scheduled.isoformat()}")
        if is_gone(hour, scheduled, retention):
            raise PeriodRefused(
                f"{hour} is older than the ledger keeps its rows; its files in the lake stay as they are"
            )


def commit(done: Plan, open_hours: Iterable[str], periods: Periods) -> str:
    """Note what is done, and return the watermark. Only called where every step of the run came to its end.

    An hour with open rows is dirty: it is done again until they are settled. An hour that is not complete is not noted
    at all, since the watermark has not passed it.
    """
    still_open = set(open_hours)
    complete = {hour for hour in done.hours if hour <= done.closed_until}
    for hour in sorted(complete):
        if hour in still_open:
            periods.mark_dirty(hour)
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


class Rates(NamedTuple):
    """What one unit of each part of a usage costs, in units of 10^-12 USD, in the order of the parts."""

    each: tuple[int, ...]
    names: str


class Pricer:
    """`PriceBook.charge_record` for many rows: a price is looked up once for each kind of usage, not once a row."""

    def __init__(self, book: PriceBook):
        self.book = book
        self._views: dict[str, PriceBook] = {}
        self._rates: dict[tuple[int, str, str, str, date, tuple[str, ...]], Rates | None] = {}

    def view(self, tenant_id: str) -> PriceBook:
        """The book that a tenant pays by."""
        try:
            return self._views[tenant_id]
        except KeyError:
            view = self._views[tenant_id] = self.book.for_tenant(tenant_id)
            return view

    def price(self, record: UsageRecord) -> PricedUsage:
        if record.outcome is Outcome.FAILED:
            return PricedUsage(record, 0, 0, 0, PRICED)
        status = settled_status(record.outcome, record.usage.source)
        if status != PRICED:
            return PricedUsage(record, None, None, None, status)
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
        """The parts of a row's usage, and what each costs by a book; None where one of them has no price."""
        parts = list(book.parts(record))
        name = book.priced_as(record)
        tier = book.tier(name, record.region, record.usage)
        units = tuple([unit for unit, _ in parts])
        kind = (id(book), name, record.region, tier, record.started_at.date(), units)
        try:
            return parts, self._rates[kind]
        except KeyError:
            rates = self._rates[kind] = _look_up(book, *kind[1:])
            return parts, rates


def settled_status(outcome: Outcome, source: str) -> str:
    """Can a row have a price at all?"""
    if outcome is Outcome.OPEN:
        return OPEN
    return UNSETTLED if source == UNKNOWN and outcome is not Outcome.FAILED else PRICED


def _total(parts: list[tuple[str, int]], rates: Rates | None) -> int | None:
    if rates is None:
        return None
    return sum(each * quantity for (_, quantity), each in zip(parts, rates.each, strict=True))


def _look_up(book: PriceBook, model_id: str, region: str, tier: str, on: date, units: tuple[str, ...]) -> Rates | None:
    prices = _prices(book, model_id, region, tier, on, units)
    return Rates(tuple(map(_exact, prices)), " ".join(price.name for price in prices)) if prices is not None else None


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

    def __neg__(self) -> CostLine:
        """What takes it away."""
        taken: dict[str, Any] = {name: -getattr(self, name) for name in COUNTS}
        taken |= {name: -amount for name in MONEY if (amount := getattr(self, name)) is not None}
        return replace(self, **taken)

    def __bool__(self) -> bool:
        """Does it say anything?"""
        return any(getattr(self, name) for name in (*COUNTS, *MONEY))


COUNTS = tuple(f.name for f in fields(CostLine) if f.type == "int")
MONEY = tuple(f.name for f in fields(CostLine) if f.type == "Decimal | None")
TOKENS = COUNTS[5:]
LISTED = ("list_cost",)
CHARGED = ("input_cost", "output_cost", "cost")


def _add(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return one + other if one is not None and other is not None else one if other is None else other


@dataclass(frozen=True)
class DayCosts:
    """The costs of a day. Once they are closed, lines are only ever added: the sum of all of them is what is true."""

    lines: tuple[CostLine, ...] = ()
    closed: bool = False


class Written(NamedTuple):
    """How many rows of a usage file are in the lake, and how many could not be read."""

    rows: int
    quarantined: int


class CorruptPart(Exception):
    """A file of the lake that cannot be read."""

    def __init__(self, key: str):
        super().__init__(f"{key} cannot be read")
        self.key = key
        self.usage_file = UsageFile.at(key)
        self.older_hour = older_hour(key)


class Source(Protocol):
    """The ledger as the lake is made from it. Implemented by `gateway.aws.dynamodb`."""

    def pages(self, partition: Partition) -> Iterator[bytes]:
        """Its rows, page by page, in DynamoDB's own JSON."""

    def inspect(self, partition: Partition, not_after: datetime) -> Iterator[UsageRecord | Quarantined]:
        """Its rows, one by one, each read, or with the reason why it cannot be."""


class Lake(Protocol):
    """The Parquet files. Implemented by `gateway.aws.lake`.

    `replace_*` take a function that makes the content, since a file is made again when another run has overtaken it: a
    file never goes back to an older state of the ledger. What reads raises CorruptPart.
    """

    def replace_usage(
        self, file: UsageFile, pricer: Pricer, pages: Callable[[], Iterable[bytes]], not_after: datetime
    ) -> Written:
        """Write a usage file, if there is any row, and what of it could not be read."""

    def replace_costs(self, day: str, costs: Callable[[DayCosts | None], DayCosts]) -> int:
        """Write the costs of a day, made from those that are there, and return how many lines there are."""

    def has_costs_as_written(self, day: str) -> bool:
        """Are the costs of a day what a run has written, be it one that did not come to its end?"""

    def set_aside(self, part: CorruptPart, *, lost: bool) -> None:
        """Put a file that cannot be read out of the way. Where its rows are lost with it, that is kept in mind."""

    def is_whole(self, day: str) -> bool:
        """Is no usage of a day lost?"""

    def usage_of_day(self, day: str) -> Iterator[CostLine]:
        """All usage of a day, summed by group; a group may come in several lines."""

    def settled_usage(self, file: UsageFile) -> Iterator[CostLine]:
        """What a usage file holds but for its open rows, summed by group; a group may come in several lines."""

    def rows(self, file: UsageFile, *, only_open: bool) -> set[RowKey]:
        """Which rows a usage file holds."""

    def quarantined(self, file: UsageFile) -> set[tuple[str, str]]:
        """The keys of the rows that would be in a usage file if they could be read."""

    def usage_files(self, period: str) -> Mapping[str, str]:
        """Where the usage of an hour or a day lies, and the ETag of each file."""

    def costs_files(self, day: str) -> Mapping[str, str]:
        """Where the costs of a day lie, and the ETag of each file."""

    def count(self, hour: str) -> int:
        """How many rows the usage files of an hour have."""

    def priced_otherwise(self, key: str, pricer: Pricer) -> bool:
        """Would any row of a usage file cost something else by this book?"""

    def older_rows(self, keys: Iterable[str]) -> set[RowKey]:
        """Which rows the files of the older layout at these keys hold, as far as they can be read."""

    def drop_older(self, hour: str) -> None:
        """Delete an hour's files of the older layout, and what was in quarantine beside them."""

    def costs_of_day(self, day: str) -> Iterator[CostLine]: ...


def nonsense(record: UsageRecord, hour: str, not_after: datetime) -> str:
    """Why a row that can be read cannot be true; empty where it can."""
    for name in TOKENS:
        if not 0 <= getattr(record.usage, name) < 2**63:
            return f"{name} is {getattr(record.usage, name)}"
    if not 0 < record.attempt < 2**31:
        return f"attempt is {record.attempt}"
    if record.started_at > not_after:
        return "started_at is in the future"
    if hour_of(record.started_at) != hour:
        return f"started_at is not in the hour {hour}"
    settled_at = record.settled_at
    if settled_at and record.outcome is not Outcome.UNSETTLED and settled_at < record.started_at - timedelta(seconds=1):
        return "settled_at is before started_at"
    return ""


def price_usage(file: UsageFile, source: Source, lake: Lake, book: PriceBook, not_after: datetime) -> Written:
    """Price every row of a file's shards and write them as that file."""

    def pages() -> Iterator[bytes]:
        return chain.from_iterable(map(source.pages, file.partitions()))

    return lake.replace_usage(file, Pricer(book), pages, not_after)


# Neither the ledger nor the usage files have what the costs of a day were made of.
LOST_TWICE = "they are not what was proven, and usage of the day is lost: put back the version that the bucket keeps"


class Closed(NamedTuple):
    """How many lines a day has; which files were made again, since they could not be read; which are lost for good."""

    lines: int
    mended: list[str]
    lost: list[str]


def close_day(
    day: str,
    complete: bool,
    scheduled: datetime,
    source: Source,
    lake: Lake,
    book: PriceBook,
    not_after: datetime,
    retention: timedelta = timedelta(days=400),
    *,
    rebuild: bool = False,
) -> Closed:
    """Sum the usage of a day into its costs.

    Until all hours of a day are done its lines are written anew. `complete` closes it: from then on every difference,
    by a late row or another price, is a line of its own, restated at the moment that the run was scheduled for.

    A file that cannot be read is made again from the ledger. Where that has dropped its rows they are lost, and the
    costs stay as they are. `rebuild`: the costs are lost or not what was proven of them. They are made anew from the
    usage, but where a run has written them that did not come to its end: a closed day is only ever added to. Raises
    CostsDoNotMatch where they cannot be.
    """
    mended, lost = list[str](), list[str]()

    def is_kept(hour: str) -> bool:
        return not is_gone(hour, scheduled, retention)

    for hour in filter(is_kept, _of_both_layouts(lake.usage_files(day))):
        _take_over(hour, source, lake, book, not_after)
    check_division(day, lake.usage_files(day))
    while True:
        try:
            sums = _summed(lake.usage_of_day(day))
            break
        except CorruptPart as part:
            if part.key in {*mended, *lost}:
                raise
            if part.older_hour and is_kept(part.older_hour):
                _take_over(part.older_hour, source, lake, book, not_after)
                mended.append(part.key)
                continue
            file = part.usage_file
            known = file is not None and is_kept(file.hour)
            if not (file and known and price_usage(file, source, lake, book, not_after).rows):
                lake.set_aside(part, lost=not known)
            (mended if known else lost).append(part.key)
    whole = lake.is_whole(day)
    if rebuild and not lake.has_costs_as_written(day):
        if not whole:
            raise CostsDoNotMatch(day, [LOST_TWICE])
        for key in lake.costs_files(day):
            lake.set_aside(CorruptPart(key), lost=False)
        mended.append(f"costs/dt={day}/part-0.parquet")

    def costs(held: DayCosts | None) -> DayCosts:
        if held is None or (whole and not held.closed):
            return DayCosts(tuple(line for _, line in sorted(sums.items())), complete)
        return _restated(held, sums, scheduled) if whole else held

    try:
        return Closed(lake.replace_costs(day, costs), mended, lost)
    except CorruptPart as part:
        if not whole:
            raise CostsDoNotMatch(day, [LOST_TWICE]) from part
        lake.set_aside(part, lost=False)
        return Closed(lake.replace_costs(day, costs), [*mended, part.key], lost)


def _of_both_layouts(keys: Iterable[str]) -> list[str]:
    """The hours that were written again since each shard had a file, and still have these files as well."""
    known = list(keys)
    older = {hour for key in known if (hour := older_hour(key))}
    return sorted(older & {file.hour for key in known if (file := UsageFile.at(key))})


def _take_over(hour: str, source: Source, lake: Lake, book: PriceBook, not_after: datetime) -> None:
    """Write an hour of the older layout in today's, and drop its older files: their rows are proven to be in the new.

    Raises CostsDoNotMatch.
    """
    keys = lake.usage_files(hour)
    older = {key for key in keys if older_hour(key)}
    parts = min((file.parts for key in keys if (file := UsageFile.at(key))), default=1)
    files = [UsageFile(hour, part, parts) for part in range(parts)]
    there = set[RowKey]()
    for file in files:
        price_usage(file, source, lake, book, not_after)
        there |= lake.rows(file, only_open=False)
        there |= {(name, int(attempt)) for name, _, attempt in (sk.rpartition("#") for _, sk in lake.quarantined(file))}
    if missing := lake.older_rows(older) - there:
        differences = [f"{name}#{attempt} is in the older files, and not in the ledger" for name, attempt in missing]
        raise CostsDoNotMatch(hour, sorted(differences))
    lake.drop_older(hour)


def _restated(held: DayCosts, sums: Mapping[Group, CostLine], at: datetime) -> DayCosts:
    """The closed costs of a day, and what they differ by from the sums of now."""
    so_far, nothing = _summed(held.lines), CostLine("", "", "")
    lines = list(held.lines)
    for group in sorted(sums.keys() | so_far.keys()):
        empty = replace(nothing, tenant_id=group[0], cost_centre=group[1], model_id=group[2])
        now = sums.get(group, empty)
        if difference := now + -so_far.get(group, empty):
            lines.append(replace(difference, price_version=now.price_version, line_kind=RESTATEMENT, restated_at=at))
    return DayCosts(tuple(lines), held.closed)


def _summed(lines: Iterable[CostLine]) -> dict[Group, CostLine]:
    sums: dict[Group, CostLine] = {}
    for line in lines:
        sums[line.group] = sums[line.group] + line if line.group in sums else line
    return sums


# ---------------------------------------------------------------------------------------------------------------- proof
class Verified(NamedTuple):
    """Whether a usage file that was proven still holds open rows, and whether rows that the book has no price for; how
    many rows could not be read; which version of it was proven, and by which book: `<digest>@<book version>`."""

    open: bool
    unpriced: bool
    quarantined: int
    proof: str


def verify_usage(
    file: UsageFile, closed_until: str, source: Source, lake: Lake, book: PriceBook, not_after: datetime
) -> Verified:
    """Prove that a usage file says what its shards of the ledger say. Raises CostsDoNotMatch.

    A row that was open when it was written may have settled since: it is compared by its being there alone. And an hour
    that is not over may have got new rows since.
    """
    its_own = {UsageFile(file.hour, part, file.parts).key for part in range(file.parts)}
    # Before it is read: a version that comes later is none that was proven, and the next run sees that.
    there = lake.usage_files(file.hour)
    if strange := there.keys() - its_own:
        raise CostsDoNotMatch(file.hour, [f"{key} is none of its usage files" for key in sorted(strange)])
    complete = file.hour <= closed_until
    was_open = lake.rows(file, only_open=True)
    held = None if complete else lake.rows(file, only_open=False)
    found_open = 0
    unread: set[tuple[str, str]] = set()

    def settled() -> Iterator[UsageRecord]:
        nonlocal found_open
        for partition in file.partitions():
            for record in source.inspect(partition, not_after):
                if isinstance(record, Quarantined):
                    unread.add((record.pk, record.sk))
                    continue
                key = (str(record.request_id), record.attempt)
                if key in was_open:
                    found_open += 1
                elif held is None or key in held:
                    yield record

    of_ledger = price_by_kind(settled(), book)
    if found_open != len(was_open):
        raise CostsDoNotMatch(
            file.hour, [f"usage holds {len(was_open)} open rows, of which the ledger has {found_open}"]
        )
    if complete and (differing := unread ^ lake.quarantined(file)):
        raise CostsDoNotMatch(
            file.hour, [f"{sk} of {pk} is in quarantine or should be" for pk, sk in sorted(differing)]
        )
    _compare(file.hour, "ledger", of_ledger, "usage", _summed(lake.settled_usage(file)))
    digest = file_digest(file.key, there[file.key]) if file.key in there else NOTHING
    unpriced = any(line.unpriced_invocations for line in of_ledger.values())
    return Verified(bool(was_open), unpriced, len(unread), f"{digest}@{book.version}")


def verify_day(day: str, lake: Lake) -> list[CostLine]:
    """Prove that the costs of a day say what its usage files say, and return them. Raises CostsDoNotMatch."""
    check_division(day, lake.usage_files(day))
    lines = list(lake.costs_of_day(day))
    if lake.is_whole(day):
        restated = frozenset(line.group for line in lines if line.line_kind == RESTATEMENT)
        _compare(day, "usage", _summed(lake.usage_of_day(day)), "costs", _summed(lines), restated)
    return lines


class _Kind(NamedTuple):
    """What rows have in common that pay the same prices."""

    group: Group
    name: str  # by which they are priced
    region: str
    tier: str
    on: date
    units: tuple[str, ...]
    listed: bool


def price_by_kind(records: Iterable[UsageRecord], book: PriceBook) -> dict[Group, CostLine]:
    """The second way to the costs: sum the tokens of equal kind first and price the sums, with Decimal, once."""
    sums: dict[Group, dict[str, Any]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    used: dict[_Kind, list[int]] = {}
    rows: dict[_Kind, int] = defaultdict(int)

    def add(record: UsageRecord, group: Group, view: PriceBook, listed: bool) -> None:
        parts = list(view.parts(record))
        name, on = view.priced_as(record), record.started_at.date()
        tier = view.tier(name, record.region, record.usage)
        kind = _Kind(group, name, record.region, tier, on, tuple([unit for unit, _ in parts]), listed)
        rows[kind] += 1
        totals = used.setdefault(kind, [0] * len(parts))
        for place, (_, quantity) in enumerate(parts):
            totals[place] += quantity

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
            _charge(line, MONEY)
        elif usage.source == UNKNOWN:
            line["unsettled_invocations"] += 1
        else:
            view = book.for_tenant(group[0])
            add(record, group, view, listed=False)
            if view is not book.listed:
                add(record, group, book.listed, listed=True)
    for kind, totals in used.items():
        line = sums[kind.group]
        view = book.listed if kind.listed else book.for_tenant(kind.group[0])
        prices = _prices(view, kind.name, kind.region, kind.tier, kind.on, kind.units)
        if prices is None:
            line["unpriced_invocations"] += 0 if kind.listed else rows[kind]
            continue
        kinds_of_money = LISTED if kind.listed else MONEY if view is book.listed else CHARGED
        _charge(line, kinds_of_money)
        for unit, price, quantity in zip(kind.units, prices, totals, strict=True):
            other_side = "output_cost" if unit in INPUT_UNITS else "input_cost"
            _charge(line, [name for name in kinds_of_money if name != other_side], price.of(quantity))
    return {group: CostLine(*group, **line) for group, line in sums.items()}


def _charge(line: dict[str, Any], names: Iterable[str], usd: Decimal = ZERO) -> None:
    """Add to costs, which are known with it, if only to be 0."""
    for name in names:
        line[name] = line.get(name, ZERO) + usd


def _compare(
    period: str,
    one: str,
    ones: Mapping[Group, CostLine],
    other: str,
    others: Mapping[Group, CostLine],
    restated: frozenset[Group] = frozenset(),
) -> None:
    """Lines that take away leave a sum of 0 where there is nothing: the same of a group that was restated."""
    differences = [
        f"{name} of {'/'.join(group)} is {left} in {one} and {right} in {other}"
        for group in sorted(ones.keys() | others.keys())
        for name in (*COUNTS, *MONEY)
        if (left := getattr(ones.get(group), name, None)) != (right := getattr(others.get(group), name, None))
        and not (group in restated and not left and not right)
    ]
    if differences:
        raise CostsDoNotMatch(period, differences)

"""What was proven of the lake, kept beside the ledger, so that the next run finds what was lost or altered since.

    find_days   where the ledger begins, and which days have to be looked into before a run is planned
    check_day   a day that no run of this release has proven, or whose prices may be others by another book
    look        the files of the whole lake against what was proven of them: which hours are to be done again
    hold_rest   the hours of a day that a run does not do are what was proven of them
    proven      what a run has proven, when all its steps came to their end
    holes       what of a month is not proven, so that its books cannot close

Of each hour the digest of its usage files is kept, of each day that of its costs. To compare them takes a listing of
the lake, a thousand files a call, and no file is read. A day keeps the version of the price book by which all its hours
are priced: under another version its files are read, and the hours that would cost something else are done again.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from gateway.costs.cost_lines import CostsDoNotMatch
from gateway.costs.periods import (
    HOUR,
    LakeDamage,
    Periods,
    Plan,
    hours_between,
    newest_complete,
    past_retention,
    start_of,
)
from gateway.costs.pricer import Pricer
from gateway.costs.stores import CorruptPart, Lake
from gateway.costs.usage_files import NOTHING, digest_of, joined
from gateway.costs.verify import verify_day
from gateway.pricing.price_book import PriceBook

# Days that are looked into before one run: seven events of an execution each, beside those of its files.
MAX_DAYS = 400
_HOUR_OF = re.compile(r"usage/dt=(\d{4}-\d\d-\d\d)/(?:hour=([01]\d|2[0-3])/)?")
_DAY_OF = re.compile(r"costs/dt=(\d{4}-\d\d-\d\d)/")


@dataclass(frozen=True)
class DayProof:
    """What was proven of a day: the digest of each of its hours, and of its costs (None: nothing), and the version of
    the price book by which all of these hours are priced (empty: not by one)."""

    day: str
    hours: Mapping[str, str] = field(default_factory=dict)
    costs: str | None = None
    book_version: str = ""


class Proofs(Protocol):
    """Where proofs are kept. Implemented by `gateway.aws.dynamodb.proofs`."""

    def begin(self) -> str | None:
        """The first hour that the ledger has; None where nobody has looked."""

    def begin_at(self, hour: str) -> None: ...

    def days(self, first: str = "0", last: str = "9999") -> dict[str, DayProof]:
        """What was proven of each day, both ends included."""

    def note(self, proof: DayProof, *, whole: bool = False) -> None:
        """Add to what was proven of a day. Its book version stays only if it is the same, but where the `whole` day was
        looked at."""


class Rows(Protocol):
    """The ledger, as far as it tells where it has rows. Implemented by `gateway.aws.dynamodb.ledger`."""

    def hours_with_rows(self, hours: Collection[str]) -> set[str]: ...

    def count(self, hour: str) -> int: ...


class Listing(NamedTuple):
    """The files of the lake: the digest of each hour's usage, and of each day's costs; none where there is no file."""

    hours: Mapping[str, str]
    days: Mapping[str, str]

    @classmethod
    def of(cls, usage: Mapping[str, str], costs: Mapping[str, str]) -> Listing:
        """By keys and ETags. A key below a day that is of no hour is one of its first: there it is in the way."""
        hours: dict[str, dict[str, str]] = defaultdict(dict)
        for key, etag in usage.items():
            if found := _HOUR_OF.match(key):
                hours[f"{found[1]}T{found[2] or '00'}"][key] = etag
        days: dict[str, dict[str, str]] = defaultdict(dict)
        for key, etag in costs.items():
            if found := _DAY_OF.match(key):
                days[found[1]][key] = etag
        return cls(
            {hour: digest_of(files) for hour, files in hours.items()},
            {day: digest_of(files) for day, files in days.items()},
        )


# ------------------------------------------------------------------------------------------------------- before a plan
class DaysInDoubt(NamedTuple):
    """The days that have to be looked into, and how many more there are than one run can take."""

    days: list[dict[str, str]]
    left: int


def find_days(
    proofs: Proofs,
    periods: Periods,
    ledger: Rows,
    listing: Callable[[], Listing],
    scheduled: datetime,
    retention: timedelta,
    book_version: str,
    asked: Collection[str] = (),
) -> DaysInDoubt:
    """Days that no run of this release has proven, and those that were priced by another book, the newest first.

    `listing` is asked for the whole lake where nobody has looked yet where the ledger begins. A run that is `asked` for
    hours looks into their days alone, but for those that it does as a whole.
    """
    begin = proofs.begin() or _begin(proofs, periods, ledger, listing(), scheduled, retention, book_version)
    known = proofs.days()
    watermark = periods.watermark() or ""
    days = {day for day, proof in known.items() if proof.hours}
    days |= {hour[:10] for hour in hours_between(start_of(begin), start_of(watermark))} if watermark else set()
    if asked:
        of_day = Counter(hour[:10] for hour in set(asked))
        days &= {day for day, hours in of_day.items() if hours < 24}
    in_doubt = [
        day
        for day in sorted(days, reverse=True)
        if not past_retention(f"{day}T23", scheduled, retention)
        and (day not in known or known[day].book_version != book_version)
    ]
    return DaysInDoubt([{"day": day} for day in in_doubt[:MAX_DAYS]], len(in_doubt[MAX_DAYS:]))


def _begin(
    proofs: Proofs,
    periods: Periods,
    ledger: Rows,
    there: Listing,
    scheduled: datetime,
    retention: timedelta,
    book_version: str,
) -> str:
    """The first hour that the ledger has rows of, and has not dropped; found once, and kept.

    Hours that lie behind the watermark, with neither rows nor files, are proven by that. Files that are older than the
    ledger's rows can be proven by nobody any more: they are kept as they are found.
    """
    newest = newest_complete(scheduled)
    kept = hours_between(scheduled - retention + timedelta(days=1) + HOUR, start_of(newest))
    with_rows = ledger.hours_with_rows([hour for hour in kept if hour not in there.hours])
    begin = min((hour for hour in kept if hour in with_rows or hour in there.hours), default=newest)
    watermark = periods.watermark() or ""
    empty: dict[str, dict[str, str]] = defaultdict(dict)
    for hour in kept:
        if begin <= hour <= watermark and hour not in with_rows and hour not in there.hours:
            empty[hour[:10]][hour] = NOTHING
    for day, hours in empty.items():
        all_of_it = len(hours) == 24 and day not in there.days
        proofs.note(DayProof(day, hours, NOTHING if all_of_it else None, book_version if all_of_it else ""))
    old: dict[str, dict[str, str]] = defaultdict(dict)
    for hour, digest in there.hours.items():
        if past_retention(hour, scheduled, retention):
            old[hour[:10]][hour] = digest
    dropped = {day for day in there.days if past_retention(f"{day}T23", scheduled, retention)}
    for day in sorted(old.keys() | dropped):
        proofs.note(DayProof(day, old.get(day, {}), there.days.get(day) if day in dropped else None))
    proofs.begin_at(begin)
    return begin


def check_day(
    day: str,
    scheduled: datetime,
    retention: timedelta,
    proofs: Proofs,
    periods: Periods,
    ledger: Rows,
    lake: Lake,
    book: PriceBook,
) -> list[str]:
    """Look into a day: mark the hours that would cost something else by this book, and return them.

    Rows that the ledger has dropped, as it does where its retention was shorter once, cannot be priced again.

    An earlier release has proven its files against the ledger, and kept no proof: where its costs still are the sum of
    its usage, the files that are there are taken for what it has proven. Else they are left to be done again.
    """
    there = Listing.of(lake.usage_files(day), lake.costs_files(day))
    known = proofs.days(day, day).get(day, DayProof(day))
    watermark, dirty = periods.watermark() or "", set(periods.dirty())
    unproven = {
        hour: digest
        for hour, digest in there.hours.items()
        if hour <= watermark and hour not in known.hours and hour not in dirty
    }
    costs = None
    if unproven or known.costs is None:
        try:
            verify_day(day, lake)
            costs = there.days.get(day, NOTHING) if known.costs is None else None
        except (CorruptPart, CostsDoNotMatch):
            unproven = {}
    intact = {hour for hour, digest in known.hours.items() if there.hours.get(hour) == digest}
    pricer, stale = Pricer(book), list[str]()
    for hour in sorted((intact | unproven.keys()) - dirty):
        if past_retention(hour, scheduled, retention) or not _priced_otherwise(hour, lake, pricer):
            continue
        if ledger.count(hour) >= lake.count(hour):
            periods.mark_stale(hour, book.version)
            stale.append(hour)
    proofs.note(DayProof(day, unproven, costs, book.version), whole=True)
    return stale


def _priced_otherwise(hour: str, lake: Lake, pricer: Pricer) -> bool:
    try:
        return any(lake.priced_otherwise(key, pricer) for key in lake.usage_files(hour))
    except CorruptPart:
        return True


def look(
    known: Mapping[str, DayProof],
    begin: str | None,
    watermark: str | None,
    there: Listing,
    scheduled: datetime,
    retention: timedelta,
) -> LakeDamage:
    """What of the lake is not what was proven of it, and which hours behind the watermark were never proven.

    All that lay before the ledger began was noted then, so a file that was not is in the way: its day would be summed
    with it.
    """
    newest = newest_complete(scheduled)
    damaged, lost = list[str](), list[str]()
    for proof in known.values():
        for hour, digest in proof.hours.items():
            if hour <= newest and there.hours.get(hour, NOTHING) != digest:
                (lost if past_retention(hour, scheduled, retention) else damaged).append(hour)
    for hour in there.hours:
        if begin and hour < begin and hour not in known.get(hour[:10], DayProof("")).hours:
            (lost if past_retention(hour, scheduled, retention) else damaged).append(hour)
    missing = [
        hour
        for hour in (hours_between(start_of(begin), start_of(watermark)) if begin and watermark else ())
        if hour not in known.get(hour[:10], DayProof("")).hours and not past_retention(hour, scheduled, retention)
    ]
    costs = [
        day
        for day, proof in known.items()
        if day <= newest and proof.costs is not None and there.days.get(day, NOTHING) != proof.costs
    ]
    costs += [day for day in there.days if begin and day < begin[:10] and day not in known]
    return LakeDamage(sorted(damaged), missing, sorted(costs), sorted(lost))


# ------------------------------------------------------------------------------------------------- in and after a run
def hold_rest(day: str, done: Collection[str], proofs: Proofs, lake: Lake) -> None:
    """The hours of a day that a run does not do itself are what was proven of them. Raises CostsDoNotMatch."""
    known = proofs.days(day, day).get(day, DayProof(day))
    there = Listing.of(lake.usage_files(day), {})
    differing = [
        f"usage of {hour} is not what was proven of it, and the next run does it again"
        for hour, digest in sorted(known.hours.items())
        if hour not in done and there.hours.get(hour, NOTHING) != digest
    ]
    if differing:
        raise CostsDoNotMatch(day, differing)


def proven(done: Plan, verified: Iterable[tuple[str, str]], costs: Mapping[str, str]) -> list[tuple[DayProof, bool]]:
    """What a run has proven of each day, and whether that is the whole day.

    `verified` has the proof of each file, with its hour; `costs` the digest of the costs of each day. A run that was
    begun by an earlier release has none: its hours are proven by the next.
    """
    digests: dict[str, list[str]] = defaultdict(list)
    versions: dict[str, set[str]] = defaultdict(set)
    for hour, proof in verified:
        digest, _, version = proof.partition("@")
        digests[hour].append(digest)
        versions[hour[:10]].add(version)
    found = []
    for day, hours in done.days().items():
        proofs = {hour: joined(digests[hour]) for hour in hours if hour <= done.closed_until and hour in digests}
        version = done.book_version if versions[day] <= {done.book_version} else ""
        if proofs or day in costs:
            found.append((DayProof(day, proofs, costs.get(day), version), len(proofs) == 24))
    return found


def holes(days: Collection[str], proofs: Proofs, there: Listing) -> list[str]:
    """What is not proven of these days, since the ledger began: hours, and days whose costs are not.

    Nothing is proven before the first run of this release.
    """
    first, last = min(days), max(days)
    begin, known = proofs.begin() or "", proofs.days(first, last)
    if not begin:
        return [f"{first}T00"]
    since = max(start_of(f"{first}T00"), start_of(begin))
    found = [
        hour
        for hour in hours_between(since, start_of(f"{last}T23"))
        if known.get(hour[:10], DayProof("")).hours.get(hour) != there.hours.get(hour, NOTHING)
    ]
    differing = [
        day
        for day in sorted(days)
        if (proof := known.get(day)) and proof.costs is not None and proof.costs != there.days.get(day, NOTHING)
    ]
    return [*found, *differing]

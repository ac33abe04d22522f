"""Proofs of the lake, stored beside the ledger, so that the next run detects lost or altered files.

    find_days   finds the ledger's first hour, and the days to check before a run is planned
    check_day   checks a day that no run of this release has proven, or that was priced by another price book
    look        compares the files of the whole lake with their proofs, and returns the hours to do again
    check_rest  checks that a day's hours outside the run still match their proofs
    proven      lists the proofs of a run after all its steps have finished
    holes       lists the hours and days of a month without a valid proof, which keep its books open

A proof is a digest: one per hour for its usage files, one per day for its costs. Comparing them takes a listing of the
lake, a thousand files a call, without reading any file. A day also stores the version of the price book that priced all
its hours: under another version its files are read, and hours whose costs would change are done again.
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

# Days that one run checks at most: each takes seven events of the execution, in addition to those of its files.
MAX_DAYS = 400
_HOUR_OF = re.compile(r"usage/dt=(\d{4}-\d\d-\d\d)/(?:hour=([01]\d|2[0-3])/)?")
_DAY_OF = re.compile(r"costs/dt=(\d{4}-\d\d-\d\d)/")


@dataclass(frozen=True)
class DayProof:
    """The proof of a day: a digest for each of its hours and one for its costs (None: unproven).

    `book_version` is the version of the price book that priced all of these hours (empty: not all by the same one).
    """

    day: str
    hours: Mapping[str, str] = field(default_factory=dict)
    costs: str | None = None
    book_version: str = ""


class Proofs(Protocol):
    """The store of proofs. Implemented by `gateway.aws.dynamodb.proofs`."""

    def begin(self) -> str | None:
        """The ledger's first hour; None if no run has determined it."""

    def begin_at(self, hour: str) -> None: ...

    def days(self, first: str = "0", last: str = "9999") -> dict[str, DayProof]:
        """The proof of each day, both ends included."""

    def note(self, proof: DayProof, *, whole: bool = False) -> None:
        """Add to a day's proof. A new day, and a day that was checked `whole`, takes the proof's book version.

        Any other day loses its book version where the proof's differs.
        """


class Rows(Protocol):
    """The ledger's row counts by hour. Implemented by `gateway.aws.dynamodb.ledger`."""

    def hours_with_rows(self, hours: Collection[str]) -> set[str]: ...

    def count(self, hour: str) -> int: ...


class Listing(NamedTuple):
    """The files of the lake: a digest per hour of usage and per day of costs, without entries if there are no files."""

    hours: Mapping[str, str]
    days: Mapping[str, str]

    @classmethod
    def of(cls, usage: Mapping[str, str], costs: Mapping[str, str]) -> Listing:
        """Build a listing from keys and ETags.

        A key with a day but without an hour is listed under hour 00, so that `look` reports that hour.
        """
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
    """The days to check, and the number of further days that exceed the limit of one run."""

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
    """Days that no run of this release has proven, and days priced by another book, newest first.

    `listing` lists the whole lake; it is called only while the ledger's first hour is unknown. With `asked`
    hours it returns only their days, without those of which a run does all 24 hours anyway.
    """
    begin = proofs.begin() or _find_begin(proofs, periods, ledger, listing(), scheduled, retention, book_version)
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


def _find_begin(
    proofs: Proofs,
    periods: Periods,
    ledger: Rows,
    listed: Listing,
    scheduled: datetime,
    retention: timedelta,
    book_version: str,
) -> str:
    """Find the first hour whose rows the ledger still has; done once, then stored.

    An hour before the watermark with neither rows nor files counts as proven. Files older than the ledger's rows cannot
    be proven any more, so their current digests are recorded as proofs.
    """
    newest = newest_complete(scheduled)
    retained = hours_between(scheduled - retention + timedelta(days=1) + HOUR, start_of(newest))
    with_rows = ledger.hours_with_rows([hour for hour in retained if hour not in listed.hours])
    begin = min((hour for hour in retained if hour in with_rows or hour in listed.hours), default=newest)
    watermark = periods.watermark() or ""
    empty: dict[str, dict[str, str]] = defaultdict(dict)
    for hour in retained:
        if begin <= hour <= watermark and hour not in with_rows and hour not in listed.hours:
            empty[hour[:10]][hour] = NOTHING
    for day, hours in empty.items():
        all_of_it = len(hours) == 24 and day not in listed.days
        proofs.note(DayProof(day, hours, NOTHING if all_of_it else None, book_version if all_of_it else ""))
    old: dict[str, dict[str, str]] = defaultdict(dict)
    for hour, digest in listed.hours.items():
        if past_retention(hour, scheduled, retention):
            old[hour[:10]][hour] = digest
    dropped = {day for day in listed.days if past_retention(f"{day}T23", scheduled, retention)}
    for day in sorted(old.keys() | dropped):
        proofs.note(DayProof(day, old.get(day, {}), listed.days.get(day) if day in dropped else None))
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
    """Check a day: mark the hours whose costs would change under this price book, and return them.

    If the ledger has dropped an hour's rows (its retention may once have been shorter), the hour cannot be priced
    again.

    An earlier release proved its files against the ledger but stored no proof. If the day's costs still equal the sum
    of its usage, this function accepts its files as proven. Otherwise a run does them again.
    """
    listed = Listing.of(lake.usage_files(day), lake.costs_files(day))
    known = proofs.days(day, day).get(day, DayProof(day))
    watermark, dirty = periods.watermark() or "", set(periods.dirty())
    unproven = {
        hour: digest
        for hour, digest in listed.hours.items()
        if hour <= watermark and hour not in known.hours and hour not in dirty
    }
    costs = None
    if unproven or known.costs is None:
        try:
            verify_day(day, lake)
            costs = listed.days.get(day, NOTHING) if known.costs is None else None
        except (CorruptPart, CostsDoNotMatch):
            unproven = {}
    intact = {hour for hour, digest in known.hours.items() if listed.hours.get(hour) == digest}
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
    listed: Listing,
    scheduled: datetime,
    retention: timedelta,
) -> LakeDamage:
    """Find files of the lake that differ from their proofs, and hours before the watermark without a proof.

    All files from before the ledger's first hour were recorded when it was found. Any other file there counts as
    damage, since the day's costs would include it.
    """
    newest = newest_complete(scheduled)
    damaged, lost = list[str](), list[str]()
    for proof in known.values():
        for hour, digest in proof.hours.items():
            if hour <= newest and listed.hours.get(hour, NOTHING) != digest:
                (lost if past_retention(hour, scheduled, retention) else damaged).append(hour)
    for hour in listed.hours:
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
        if day <= newest and proof.costs is not None and listed.days.get(day, NOTHING) != proof.costs
    ]
    costs += [day for day in listed.days if begin and day < begin[:10] and day not in known]
    return LakeDamage(sorted(damaged), missing, sorted(costs), sorted(lost))


# ------------------------------------------------------------------------------------------------- in and after a run
def check_rest(day: str, done: Collection[str], proofs: Proofs, lake: Lake) -> None:
    """Check that a day's hours outside the run still match their proofs. Raises CostsDoNotMatch."""
    known = proofs.days(day, day).get(day, DayProof(day))
    listed = Listing.of(lake.usage_files(day), {})
    differing = [
        f"usage of {hour} differs from its proof; the next run does it again"
        for hour, digest in sorted(known.hours.items())
        if hour not in done and listed.hours.get(hour, NOTHING) != digest
    ]
    if differing:
        raise CostsDoNotMatch(day, differing)


def proven(done: Plan, verified: Iterable[tuple[str, str]], costs: Mapping[str, str]) -> list[tuple[DayProof, bool]]:
    """The proofs from a run, by day, each with a flag that tells whether it covers the whole day.

    `verified` has the proof of each file, with its hour; `costs` the digest of the costs of each day. Both are empty in
    a run that an earlier release started: the next run proves its hours.
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


def holes(days: Collection[str], proofs: Proofs, listed: Listing) -> list[str]:
    """The hours of these days without a valid proof, since the ledger's first hour, and days whose costs differ.

    Before the first run of this release there are no proofs.
    """
    first, last = min(days), max(days)
    begin, known = proofs.begin() or "", proofs.days(first, last)
    if not begin:
        return [f"{first}T00"]
    since = max(start_of(f"{first}T00"), start_of(begin))
    found = [
        hour
        for hour in hours_between(since, start_of(f"{last}T23"))
        if known.get(hour[:10], DayProof("")).hours.get(hour) != listed.hours.get(hour, NOTHING)
    ]
    differing = [
        day
        for day in sorted(days)
        if (proof := known.get(day)) and proof.costs is not None and proof.costs != listed.days.get(day, NOTHING)
    ]
    return [*found, *differing]

"""Plans the hours of a run, and records which hours are done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

from gateway.core.times import hour_of
from gateway.usage.ledger import SHARDS

HOUR = timedelta(hours=1)
# A row is written right after its start time is taken, but a write may be retried; no writer retries this long.
GRACE = timedelta(minutes=5)
# Keeps one run below an execution's limits of 25,000 events and 256 KB; an hour has at most one file per shard.
MAX_HOURS = 168 * 8 // SHARDS


class PeriodRefused(Exception):
    """A requested hour cannot be aggregated."""


# ------------------------------------------------------------------------------------------------------------- periods
class Periods(Protocol):
    """The state of the aggregation. Implemented by `gateway.aws.dynamodb.periods`."""

    def watermark(self) -> str | None:
        """The newest hour such that it and every earlier hour are done."""

    def dirty(self) -> list[str]:
        """Hours that had open rows when they were last done."""

    def stale(self) -> list[str]:
        """Hours with rows whose price has changed."""

    def mark_dirty(self, hour: str) -> None: ...

    def mark_stale(self, hour: str, book_version: str) -> None: ...

    def mark_clean(self, hour: str) -> None: ...

    def advance(self, watermark: str) -> None:
        """Move the watermark, never backwards."""


def start_of(hour: str) -> datetime:
    """The start of an hour. Raises PeriodRefused if the text is not an hour."""
    try:
        start = datetime.strptime(hour, "%Y-%m-%dT%H").replace(tzinfo=UTC)
    except ValueError as error:
        raise PeriodRefused(f"{hour!r} is not an hour: write it like 2026-11-24T01") from error
    if hour_of(start) != hour:
        raise PeriodRefused(f"{hour!r} is not an hour: write it like {hour_of(start)}")
    return start


def latest_start(scheduled: str) -> datetime:
    """The latest plausible start of a call that a run reads: the current or the scheduled time, plus GRACE."""
    return max(datetime.fromisoformat(scheduled), datetime.now(UTC)) + GRACE


def lag(watermark: str, now: datetime) -> float:
    """Hours since the end of the newest hour that is done."""
    return round((now - start_of(watermark) - HOUR) / HOUR, 2)


def hours_between(first: datetime, last: datetime) -> list[str]:
    """All hours from the hour of `first` to the hour of `last`, both included."""
    start = start_of(hour_of(first))
    return [hour_of(start + n * HOUR) for n in range(int((last - start) / HOUR) + 1)] if last >= start else []


class LakeDamage(NamedTuple):
    """Differences between the lake and its proofs (`gateway.costs.proofs.look`).

    `damaged` are hours whose files changed, `missing` hours that no run has proven, `costs` days whose costs changed.
    `lost` are damaged hours whose rows the ledger may have dropped.
    """

    damaged: Sequence[str] = ()
    missing: Sequence[str] = ()
    costs: Sequence[str] = ()
    lost: Sequence[str] = ()


@dataclass(frozen=True)
class Plan:
    """The hours and days of one run. `closed_until` is the newest complete hour; the watermark advances from `after`.

    `mended` are the hours done because their files differ from their proofs; the costs of the days `rebuilt` are made
    again for the same reason. `lost` hours cannot be mended. `left` is the number of hours that wait for the next run;
    `waiting` are the planned days with such hours. `book_version` identifies the price book in use.
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
        """The hours of each day; empty for a day that only has its costs rebuilt."""
        days: dict[str, list[str]] = {day: [] for day in sorted({*self.rebuilt, *(hour[:10] for hour in self.hours)})}
        for hour in self.hours:
            days[hour[:10]].append(hour)
        return days

    def completes(self, day: str) -> bool:
        """Are all hours of a day over, and done once this run ends?"""
        hours = [f"{day}T{hour:02}" for hour in range(24)]
        done = all(hour in self.hours or hour <= self.after for hour in hours)
        return hours[-1] <= self.closed_until and done and day not in self.waiting


def requested_hours(event: Mapping[str, Any]) -> Sequence[str]:
    """The hours that an event requests: `hours`, or from `first` to `last`; empty if it requests none."""
    if "first" in event:
        return hours_between(start_of(event["first"]), start_of(event["last"]))
    return tuple(event.get("hours", ()))


def plan(
    periods: Periods,
    scheduled: datetime,
    *,
    include_current_hour: bool = False,
    hours: Sequence[str] = (),
    retention: timedelta = timedelta(days=400),
    book_version: str = "",
    begin: str | None = None,
    found: LakeDamage | None = None,
) -> Plan:
    """Plan a run from its scheduled time; the plan does not depend on the clock, so a run can be repeated.

    The first run starts at `begin`, the ledger's first hour. Hours over the limit wait for the next run: hours with
    changed prices first, then the newest hours.

    With `hours` (a backfill), the plan has only these, plus damaged or stale hours of the same days. Raises
    PeriodRefused for too many hours, for hours that have not begun, and for hours whose rows the ledger may have
    dropped, since only their files are left.
    """
    found = found or LakeDamage()
    closed = newest_complete(scheduled)
    watermark = periods.watermark()
    if hours:
        wanted = sorted(set(hours))
        _validate_hours(wanted, scheduled, retention)
        days = {hour[:10] for hour in wanted}
        doubtful = sorted({*found.damaged, *periods.stale()} - set(wanted))
        again = [hour for hour in doubtful if hour[:10] in days and not past_retention(hour, scheduled, retention)]
        taken = sorted([*wanted, *again[: MAX_HOURS - len(wanted)]])
        rebuilt = [day for day in found.costs if day in days]
        return Plan(
            tuple(taken), closed, watermark or "", book_version, _intersection(taken, found.damaged), tuple(rebuilt)
        )
    after = watermark or (hour_of(start_of(begin) - HOUR) if begin else closed)
    current = hours_between(start_of(closed) + HOUR, scheduled) if include_current_hour else []
    new = hours_between(start_of(after) + HOUR, start_of(closed))
    room = MAX_HOURS - len(current)
    # Oldest first: hours over the limit are the newest, and the next run continues with them.
    due = sorted({*new, *periods.dirty(), *found.damaged, *found.missing} - set(current))
    stale = sorted({h for h in periods.stale() if not past_retention(h, scheduled, retention)} - {*due, *current})
    done = due[:room]
    done += stale[: room - len(done)]
    left = {*due, *stale} - set(done)
    planned = (*sorted(done), *current)
    return Plan(
        planned,
        closed,
        after if watermark or begin else "",
        book_version,
        _intersection(planned, found.damaged),
        tuple(found.costs[:MAX_HOURS]),
        tuple(found.lost[:MAX_HOURS]),
        len(left),
        tuple(sorted({hour[:10] for hour in left} & {hour[:10] for hour in planned})),
    )


def newest_complete(scheduled: datetime) -> str:
    """The newest hour that has ended and has all its rows at a run's scheduled time."""
    return hour_of(scheduled - GRACE - HOUR)


def _intersection(some: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(some) & set(others)))


def past_retention(hour: str, scheduled: datetime, retention: timedelta) -> bool:
    """May the ledger have dropped rows of an hour? Has a spare day, so that no hour loses rows while it is read."""
    return start_of(hour) + retention < scheduled + timedelta(days=1)


def _validate_hours(hours: Sequence[str], scheduled: datetime, retention: timedelta) -> None:
    if len(hours) > MAX_HOURS:
        raise PeriodRefused(f"{len(hours)} hours are too many for one run: ask for at most {MAX_HOURS}")
    for hour in hours:
        if start_of(hour) > scheduled:
            raise PeriodRefused(f"{hour} has not begun at {scheduled.isoformat()}")
        if past_retention(hour, scheduled, retention):
            raise PeriodRefused(f"{hour} is older than the ledger's retention; its files in the lake stay unchanged")


def commit(done: Plan, open_hours: Iterable[str], periods: Periods) -> str:
    """Record the hours that are done, and return the watermark. Call it only after every step of the run has finished.

    An hour with open rows is dirty: later runs do it again until its rows are settled. An incomplete hour is not
    recorded, since the watermark has not passed it.
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

"""Which hours a run covers, and what is noted when it is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

from gateway.core.times import hour_of
from gateway.usage.ledger import SHARDS

HOUR = timedelta(hours=1)
# A row is written at once after its moment of start was taken, but a write may be retried: no writer tries this long.
GRACE = timedelta(minutes=5)
# So many files keep one run below the 25,000 events and the 256 KB that an execution may have; an hour has a file for
# each shard at most.
MAX_HOURS = 168 * 8 // SHARDS


class PeriodRefused(Exception):
    """An hour that was asked for cannot be aggregated."""


# ------------------------------------------------------------------------------------------------------------- periods
class Periods(Protocol):
    """What is aggregated already. Implemented by `gateway.aws.dynamodb.periods`."""

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


class LakeDamage(NamedTuple):
    """What is not as it was proven (`gateway.costs.proofs.look`): hours whose files are others by now, hours that no
    run has proven, days whose costs are others, and hours like the first of which the ledger may have dropped the rows.
    """

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


def requested_hours(event: Mapping[str, Any]) -> Sequence[str]:
    """The hours that a run is asked for: `hours`, or those from `first` to `last`; none where it says nothing."""
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
    """The hours of a run that was scheduled for a moment; the clock plays no part, so a run can be done again.

    The first run goes on from `begin`, the first hour that the ledger has. What a run has no room for waits for the
    next: the newest hours, and before these the ones whose prices are others by now.

    `hours` asks for just these (a backfill), and for those of their days that are not what they should be. Raises
    PeriodRefused for hours that have not begun, whose rows the ledger may have dropped by now (their files are all that
    is left of them), or that are too many for one run.
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
        return Plan(tuple(taken), closed, watermark or "", book_version, _both(taken, found.damaged), tuple(rebuilt))
    after = watermark or (hour_of(start_of(begin) - HOUR) if begin else closed)
    current = hours_between(start_of(closed) + HOUR, scheduled) if include_current_hour else []
    new = hours_between(start_of(after) + HOUR, start_of(closed))
    room = MAX_HOURS - len(current)
    # Oldest first: what is over the limit is the newest, and the next run goes on from there.
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


def past_retention(hour: str, scheduled: datetime, retention: timedelta) -> bool:
    """May the ledger have dropped rows of an hour? A day to spare: an hour must not lose rows while it is read."""
    return start_of(hour) + retention < scheduled + timedelta(days=1)


def _validate_hours(hours: Sequence[str], scheduled: datetime, retention: timedelta) -> None:
    if len(hours) > MAX_HOURS:
        raise PeriodRefused(f"{len(hours)} hours are too many for one run: ask for at most {MAX_HOURS}")
    for hour in hours:
        if start_of(hour) > scheduled:
            raise PeriodRefused(f"{hour} has not begun at {scheduled.isoformat()}")
        if past_retention(hour, scheduled, retention):
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

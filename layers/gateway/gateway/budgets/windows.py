"""The periods of a budget: days, weeks and months of a time zone, and the one period of a total."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from gateway.core.times import zone
from gateway.tenancy.budgets import WEEKDAYS, ScopedBudget, Window

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Period:
    """One period, from `begins` until before `resets_at`; both are None for a total.

    `label` is the local date of its first day, `2026-11` for a month, and empty for a total. It stays the same where a
    budget's time zone changes, so that what is spent stays spent.
    """

    label: str
    begins: datetime | None = None
    resets_at: datetime | None = None

    @property
    def month(self) -> str:
        """The month of its first day."""
        return self.label[:7]


def period_of(budget: ScopedBudget, at: datetime) -> Period:
    if budget.window is Window.TOTAL:
        return Period("")
    local = at.astimezone(zone(budget.time_zone)).date()
    if budget.window is Window.DAY:
        first, last = local, local + DAY
    elif budget.window is Window.WEEK:
        first = local - (local.weekday() - WEEKDAYS.index(budget.week_begins)) % 7 * DAY
        last = first + 7 * DAY
    else:
        first = local.replace(day=1)
        last = (first + 32 * DAY).replace(day=1)
    label = f"{first:%Y-%m}" if budget.window is Window.MONTH else first.isoformat()
    return Period(label, _midnight(first, budget.time_zone), _midnight(last, budget.time_zone))


def local_month(at: datetime, time_zone: str) -> str:
    if time_zone == "UTC":
        return f"{at.astimezone(UTC):%Y-%m}"
    return f"{at.astimezone(zone(time_zone)):%Y-%m}"


@lru_cache(maxsize=256)
def _midnight(day: date, time_zone: str) -> datetime:
    """When a day begins. Where the clock skips midnight, that is the moment of the skip."""
    return datetime.combine(day, time(), zone(time_zone)).astimezone(UTC)

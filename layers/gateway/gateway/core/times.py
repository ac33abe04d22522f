"""Hours, minutes and months of UTC, as keys and columns have them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


def hour_of(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H")


def month_of(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m")


def next_month(at: datetime) -> datetime:
    """When the budgets of this month are new again."""
    first = at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)


def minute_of(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")


def zone(name: str) -> ZoneInfo:
    """A time zone of the IANA database. Raises KeyError or ValueError for a name that it does not have."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415  (few tenants have budgets outside UTC)

    return ZoneInfo(name)

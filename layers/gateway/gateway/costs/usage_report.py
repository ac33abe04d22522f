"""A tenant's usage report, straight from the ledger, summed by model, cost centre, day, hour, user, key or tag."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import NamedTuple

from gateway.core.errors import BadRequestError
from gateway.pricing.price_book import ZERO, PriceBook
from gateway.usage.records import Outcome, PriceStatus, UsageRecord, UserSource

MAX_SPAN = timedelta(days=31)
MAX_LINES = 8_000  # of some 600 bytes each: Lambda returns 6 MB at most


class Group(NamedTuple):
    """The key of a line. `user_source` tells a verified user from a claimed one of the same name."""

    key: str
    user_source: UserSource = UserSource.NONE


_GROUPS: dict[str, Callable[[UsageRecord], Group]] = {
    "model": lambda record: Group(record.model_id),
    "cost_centre": lambda record: Group(record.cost_centre),
    "day": lambda record: Group(record.started_at.date().isoformat()),
    "hour": lambda record: Group(f"{record.hour}:00:00Z"),
    "user": lambda record: Group(record.attribution.user_id, record.attribution.user_source),
    "key": lambda record: Group(record.key_id),
}
_TAG = "tag:"
_LONGEST_NAME = 128


def grouping(group_by: str) -> Callable[[UsageRecord], Group]:
    """The group of a record: one of `_GROUPS`, or `tag:NAME`. Raises BadRequestError."""
    if group := _GROUPS.get(group_by):
        return group
    name = group_by.removeprefix(_TAG)
    if group_by.startswith(_TAG) and 0 < len(name) <= _LONGEST_NAME:
        return lambda record: Group(dict(record.attribution.tags).get(name, ""))
    raise BadRequestError(
        f"query.group_by: Input should be one of {', '.join(_GROUPS)}, or {_TAG} and the name of a tag.",
        code="invalid_parameters",
    )


def own_rows(records: Iterable[object], user_id: str) -> Iterator[UsageRecord]:
    """The rows of a verified user; a client's claim to be that user gives it no row."""
    for record in records:
        if not isinstance(record, UsageRecord):
            continue
        by = record.attribution
        if by.user_id == user_id and by.user_source in (UserSource.TOKEN, UserSource.KEY):
            yield record


@dataclass
class Totals:
    """Sums over rows. `invocations` counts calls with usage, whatever their cost.

    `unsettled_invocations` counts calls with unknown usage, by the same rule as the costs.
    """

    invocations: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    images: int = 0
    input_cost: Decimal = ZERO
    output_cost: Decimal = ZERO
    cost: Decimal = ZERO
    unpriced_invocations: int = 0
    unsettled_invocations: int = 0
    open_invocations: int = 0

    @property
    def partial(self) -> bool:
        """Do the costs cover only some of the calls?"""
        return bool(self.unpriced_invocations or self.unsettled_invocations)

    def add(self, record: UsageRecord, book: PriceBook) -> None:
        self.open_invocations += record.price_status is PriceStatus.OPEN
        self.unsettled_invocations += record.price_status is PriceStatus.UNSETTLED
        if record.outcome not in (Outcome.SUCCEEDED, Outcome.INTERRUPTED):
            return
        self.invocations += 1
        self.input_tokens += record.usage.input_tokens
        self.output_tokens += record.usage.output_tokens
        self.cache_read_tokens += record.usage.cache_read_tokens
        self.cache_write_5m_tokens += record.usage.cache_write_5m_tokens
        self.cache_write_1h_tokens += record.usage.cache_write_1h_tokens
        self.images += record.usage.images
        charge = book.charge_record(record)
        if charge is None:
            self.unpriced_invocations += record.price_status is PriceStatus.PRICEABLE
            return
        self.input_cost += charge.input_cost
        self.output_cost += charge.output_cost
        self.cost += charge.cost


@dataclass(frozen=True)
class Report:
    """Totals of all records, and of each group, sorted by key. Unreadable rows are counted, but are in no sum."""

    total: Totals
    lines: dict[Group, Totals]
    unreadable_rows: int = 0


def add_up(records: Iterable[object], group_by: str, book: PriceBook) -> Report:
    """Sum records by group; any object other than a UsageRecord counts as an unreadable row. Raises BadRequestError."""
    group_of = grouping(group_by)
    total, unreadable = Totals(), 0
    lines: dict[Group, Totals] = {}
    for record in records:
        if not isinstance(record, UsageRecord):
            unreadable += 1
            continue
        total.add(record, book)
        lines.setdefault(group_of(record), Totals()).add(record, book)
    if len(lines) > MAX_LINES:
        raise BadRequestError(
            f"The report would have {len(lines)} lines; it can have {MAX_LINES}. Choose a shorter range.",
            code="time_range_too_long",
        )
    return Report(total, dict(sorted(lines.items())), unreadable)


def span(start: str | None, end: str | None, now: datetime) -> tuple[datetime, datetime]:
    """The start and end of a report; by default, from the beginning of today until now."""
    begins = _moment(start, "start") if start else now.replace(hour=0, minute=0, second=0, microsecond=0)
    ends = _moment(end, "end", end_of_day=True) if end else now
    if begins > now + timedelta(days=1):
        raise BadRequestError(f"start must not lie ahead; now is {now:%Y-%m-%dT%H:%M:%SZ}.", code="invalid_time_range")
    if ends <= begins:
        raise BadRequestError(
            f"end must be after start; start is {begins:%Y-%m-%dT%H:%M:%SZ}.", code="invalid_time_range"
        )
    if ends - begins > MAX_SPAN:
        last = begins + MAX_SPAN
        raise BadRequestError(
            f"A report spans {MAX_SPAN.days} days at most: end it at {last:%Y-%m-%dT%H:%M:%SZ} or before.",
            code="time_range_too_long",
        )
    return begins, ends


def _moment(text: str, name: str, *, end_of_day: bool = False) -> datetime:
    try:
        if len(text) == 10:
            day = datetime.combine(date.fromisoformat(text), time(), UTC)
            return day + timedelta(days=1) if end_of_day else day
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise BadRequestError(
            f"{name} must be a date or an RFC 3339 date-time, like 2026-11-24T00:00:00Z.", code="invalid_time"
        ) from error

"""A statement lists a tenant's usage and costs of a month, line by line; once written, it never changes.

A month closes some days after its end. Until then, restatements of its days are part of its statement. A later
restatement is part of the statement of the month in which it was made. So every line of the costs is in exactly one
statement, and a tenant's statements add up to its costs.
"""

from __future__ import annotations

import csv
import io
from calendar import monthrange
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from operator import attrgetter
from typing import Any, NamedTuple

from gateway.core.times import month_of
from gateway.costs.cost_lines import COUNTS, MONEY, ORIGINAL, RESTATEMENT, CostLine
from gateway.pricing.price_book import SCALE, ZERO

COLUMNS = (
    *("month", "tenant_id", "day", "cost_centre", "model_id", "line_kind", "restated_at"),
    *COUNTS,
    *MONEY,
    "price_version",
)
_TEXTS = ("tenant_id", "cost_centre", "model_id", "line_kind", "price_version")
_KINDS = {ORIGINAL: 0, RESTATEMENT: 1}
_IDENTITY = attrgetter(*(f.name for f in fields(CostLine)))
_SMALLEST = Decimal(1).scaleb(-SCALE)
# A spreadsheet treats a cell that begins so as a formula, and callers choose the names of models.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


class StatementError(Exception):
    """A statement cannot be made, or is invalid."""


# -------------------------------------------------------------------------------------------------------------- months
def month_of_day(day: str) -> str:
    return day[:7]


def days_of(month: str) -> list[str]:
    year, number = _month(month)
    return [f"{month}-{day:02d}" for day in range(1, monthrange(year, number)[1] + 1)]


def month_after(month: str) -> str:
    return month_of_day((date.fromisoformat(days_of(month)[-1]) + timedelta(days=1)).isoformat())


def closes_at(month: str, delay_days: int) -> datetime:
    """When a month's books close: its statement has no restatement made from then on."""
    return datetime.fromisoformat(f"{month_after(month)}-01").replace(tzinfo=UTC) + timedelta(days=delay_days)


def _month(month: str) -> tuple[int, int]:
    """Raises StatementError if the text is not a month."""
    try:
        first = date.fromisoformat(f"{month}-01")
    except ValueError as error:
        raise StatementError(f"{month!r} is not a month: write it like 2026-10") from error
    return first.year, first.month


# --------------------------------------------------------------------------------------------------------------- lines
class DatedLine(NamedTuple):
    """A line of the costs with its day."""

    day: str
    line: CostLine

    @property
    def is_restatement(self) -> bool:
        return self.line.line_kind == RESTATEMENT

    @property
    def identity(self) -> tuple[Any, ...]:
        """All fields of the line: two lines are the same only if all fields are equal."""
        return (self.day, *_IDENTITY(self.line))

    def due_in(self, closing: Callable[[str], datetime]) -> str:
        """The month whose statement has this line; `closing` gives the time when each month closes."""
        month, restated = month_of_day(self.day), self.line.restated_at
        return month if restated is None or restated < closing(month) else month_of(restated)


def _place(dated: DatedLine) -> tuple[Any, ...]:
    line = dated.line
    when = line.restated_at.isoformat() if line.restated_at else ""
    numbers = tuple(getattr(line, name) for name in COUNTS)
    amounts = tuple(exact_money(getattr(line, name)) or "" for name in MONEY)
    kind = _KINDS.get(line.line_kind, 2)
    return (dated.day, line.cost_centre, line.model_id, kind, when, line.price_version, numbers, amounts)


def total(lines: Iterable[CostLine]) -> CostLine:
    """The sum of all lines, without a tenant, cost centre or model. Money is None if no line has any."""
    counts, exact_money, versions = dict.fromkeys(COUNTS, 0), dict[str, Decimal | None].fromkeys(MONEY), set[str]()
    for line in lines:
        for name in COUNTS:
            counts[name] += getattr(line, name)
        for name in MONEY:
            if (amount := getattr(line, name)) is not None:
                exact_money[name] = (exact_money[name] or ZERO) + amount
        versions.update(line.price_version.split("+"))
    amounts: dict[str, Any] = counts | exact_money
    return CostLine("", "", "", **amounts, price_version="+".join(sorted(versions - {""})))


@dataclass(frozen=True)
class Statement:
    """A tenant's month. `lines` has the lines of its days, and restatements of days in months closed before it."""

    tenant_id: str
    month: str
    closes_at: datetime
    lines: tuple[DatedLine, ...]

    @classmethod
    def of(cls, tenant_id: str, month: str, closes: datetime, lines: Iterable[DatedLine]) -> Statement:
        return cls(tenant_id, month, closes, tuple(sorted(lines, key=_place)))

    @cached_property
    def used(self) -> tuple[DatedLine, ...]:
        """The lines of the month's own days."""
        return tuple(dated for dated in self.lines if month_of_day(dated.day) == self.month)

    @cached_property
    def restated(self) -> tuple[DatedLine, ...]:
        """The lines that change months closed before."""
        return tuple(dated for dated in self.lines if month_of_day(dated.day) != self.month)

    @cached_property
    def usage(self) -> CostLine:
        return total(dated.line for dated in self.used)

    @cached_property
    def restatements(self) -> CostLine:
        return total(dated.line for dated in self.restated)

    @cached_property
    def total(self) -> CostLine:
        return total((self.usage, self.restatements))

    @cached_property
    def by_cost_centre(self) -> dict[str, CostLine]:
        return self._used_by(lambda dated: dated.line.cost_centre)

    @cached_property
    def by_model(self) -> dict[str, CostLine]:
        return self._used_by(lambda dated: dated.line.model_id)

    @cached_property
    def by_day(self) -> dict[str, CostLine]:
        """The sum of every day of the month, including days without usage."""
        found = self._used_by(lambda dated: dated.day)
        return {day: found.get(day) or CostLine("", "", "") for day in days_of(self.month)}

    @cached_property
    def price_versions(self) -> list[str]:
        return [version for version in self.total.price_version.split("+") if version]

    def _used_by(self, name: Callable[[DatedLine], str]) -> dict[str, CostLine]:
        groups: dict[str, list[CostLine]] = {}
        for dated in self.used:
            groups.setdefault(name(dated), []).append(dated.line)
        return {group: total(lines) for group, lines in sorted(groups.items())}


# ----------------------------------------------------------------------------------------------------------------- csv
def to_csv(statement: Statement) -> bytes:
    """Every line as RFC 4180 CSV: money has all twelve decimals, so that a sum over the file is exact."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for day, line in statement.lines:
        known = {"month": statement.month, "day": day, "restated_at": timestamp(line.restated_at)}
        known |= {name: _harmless(getattr(line, name)) for name in _TEXTS}
        known |= {name: exact_money(getattr(line, name)) or "" for name in MONEY}
        writer.writerow([known[name] if name in known else getattr(line, name) for name in COLUMNS])
    return text.getvalue().encode()


def from_csv(content: bytes) -> list[DatedLine]:
    """The lines of a statement's file. Raises StatementError if it is not one."""
    try:
        rows = csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True)
        if tuple(rows.fieldnames or ()) != COLUMNS:
            raise StatementError("its columns do not match those of a statement")
        return [_read(row) for row in rows]
    except (ValueError, ArithmeticError, TypeError, AttributeError, csv.Error) as error:
        raise StatementError(f"it cannot be read: {error}") from error


def _read(row: Mapping[str, str]) -> DatedLine:
    known: dict[str, Any] = {name: row[name].removeprefix("'") for name in _TEXTS}
    known |= {name: int(row[name]) for name in COUNTS}
    known |= {name: Decimal(row[name]) if row[name] else None for name in MONEY}
    restated = datetime.fromisoformat(row["restated_at"]) if row["restated_at"] else None
    return DatedLine(row["day"], CostLine(**known, restated_at=restated))


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def exact_money(amount: Decimal | None) -> str | None:
    """An amount with a fixed number of decimals. Raises StatementError if it has more."""
    if amount is None:
        return None
    exact = amount.quantize(_SMALLEST)
    if exact != amount:
        raise StatementError(f"{amount} is not exact to {SCALE} decimals")
    return f"{exact:f}"


def timestamp(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else ""

"""Budgets and rate limits in a tenant's record: their scope, their window, their limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

EACH = "*"  # one budget for each user, key, cost centre or model
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
THRESHOLDS = (50, 80, 100)


@dataclass(frozen=True)
class Budget:
    """USD a month. A soft budget warns at its thresholds (percent); a hard one also refuses calls above its limit."""

    monthly_usd: Decimal
    hard: bool = False
    thresholds: tuple[int, ...] = THRESHOLDS


class Window(StrEnum):
    """When a budget begins anew."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"  # never


@dataclass(frozen=True)
class Scope:
    """The calls that a budget or rate limit counts: those that match every field that is set; without any, all.

    `*` makes one budget for each value; without it, `model` may be a pattern, whose models share one budget.
    """

    user: str = ""
    key: str = ""
    cost_centre: str = ""
    model: str = ""

    @property
    def dimensions(self) -> tuple[str, ...]:
        return tuple(name for name in DIMENSIONS if getattr(self, name))

    @property
    def is_personal(self) -> bool:
        return bool(self.user or self.key)

    def matches(self, name: str, value: str) -> bool:
        """Does a call with this value fall into the scope, as far as this dimension says?"""
        wanted = getattr(self, name)
        if not wanted or (wanted == EACH and value):
            return True
        return fnmatchcase(value, wanted) if name == "model" else value == wanted

    def is_default_for(self, other: Scope) -> bool:
        """Does `other` replace this scope where both match, because it names what this one has as `*`?"""
        return self != other and all(
            getattr(self, name) in (getattr(other, name), EACH if getattr(other, name) else "") for name in DIMENSIONS
        )


DIMENSIONS = tuple(field.name for field in fields(Scope))
TENANT = Scope()


@dataclass(frozen=True)
class ScopedBudget:
    """USD in each window of a time zone, for each scope that it names. Hard and thresholds as for `Budget`."""

    scope: Scope
    window: Window
    limit_usd: Decimal
    hard: bool = False
    thresholds: tuple[int, ...] = THRESHOLDS
    time_zone: str = "UTC"
    week_begins: str = "monday"

    @property
    def is_of_the_month(self) -> bool:
        """Is it the monthly budget of the tenant or of a cost centre, which its record may also state in short?"""
        return self.window is Window.MONTH and not self.scope.is_personal and not self.scope.model


@dataclass(frozen=True)
class RateLimit:
    """Limits of a scope: requests and tokens a minute, and calls at once. None sets no limit."""

    scope: Scope
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_invocations: int | None = None


@dataclass(frozen=True)
class Loan:
    """USD that one budget has on top of its limit, until a time."""

    scope: Scope
    window: Window
    usd: Decimal
    until: datetime


@dataclass(frozen=True)
class Reset:
    """How often one budget was begun anew within one of its periods."""

    scope: Scope
    window: Window
    period: str
    times: int


def scope_to_json(scope: Scope) -> dict[str, str]:
    return {name: getattr(scope, name) for name in scope.dimensions}


def scoped_budget_to_json(budget: ScopedBudget) -> dict[str, Any]:
    values: dict[str, Any] = {
        "scope": scope_to_json(budget.scope),
        "window": budget.window.value,
        "limit_usd": f"{budget.limit_usd:f}",
        "hard": budget.hard,
        "thresholds": list(budget.thresholds),
    }
    if budget.time_zone != "UTC":
        values["time_zone"] = budget.time_zone
    if budget.week_begins != "monday":
        values["week_begins"] = budget.week_begins
    return values


def scoped_budget_from_json(values: Mapping[str, Any]) -> ScopedBudget:
    thresholds = values.get("thresholds")
    return ScopedBudget(
        Scope(**(values.get("scope") or {})),
        Window(values["window"]),
        Decimal(str(values["limit_usd"])),
        bool(values.get("hard", False)),
        THRESHOLDS if thresholds is None else tuple(sorted(thresholds)),
        values.get("time_zone") or "UTC",
        values.get("week_begins") or "monday",
    )


def rate_limit_to_json(limit: RateLimit) -> dict[str, Any]:
    rates = {name: count for name, count in vars(limit).items() if name != "scope" and count is not None}
    return {"scope": scope_to_json(limit.scope)} | rates


def rate_limit_from_json(values: Mapping[str, Any]) -> RateLimit:
    return RateLimit(
        Scope(**(values.get("scope") or {})),
        values.get("requests_per_minute"),
        values.get("tokens_per_minute"),
        values.get("concurrent_invocations"),
    )


def loan_to_json(loan: Loan) -> dict[str, Any]:
    until = f"{loan.until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return {"scope": scope_to_json(loan.scope), "window": loan.window.value, "usd": f"{loan.usd:f}", "until": until}


def loan_from_json(values: Mapping[str, Any]) -> Loan:
    until = datetime.fromisoformat(values["until"].replace("Z", "+00:00"))
    return Loan(Scope(**values["scope"]), Window(values["window"]), Decimal(values["usd"]), until)


def reset_to_json(reset: Reset) -> dict[str, Any]:
    return {
        "scope": scope_to_json(reset.scope),
        "window": reset.window.value,
        "period": reset.period,
        "times": reset.times,
    }


def reset_from_json(values: Mapping[str, Any]) -> Reset:
    return Reset(Scope(**values["scope"]), Window(values["window"]), values["period"], values["times"])


def repeated(budgets: tuple[ScopedBudget, ...]) -> Iterator[ScopedBudget]:
    """The budgets whose scope and window an earlier one has already."""
    seen = set[tuple[Scope, Window]]()
    for budget in budgets:
        if (budget.scope, budget.window) in seen:
            yield budget
        seen.add((budget.scope, budget.window))

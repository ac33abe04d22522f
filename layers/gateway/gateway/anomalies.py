"""What a tenant spends, judged by its own past: days far outside of it, and where the month will end.

A day far outside: the modified z-score of Iglewicz and Hoaglin ("How to Detect and Handle Outliers", ASQC 1993),
M = 0.6745 (x - median) / MAD, flagged where |M| > 3.5, on x = ln(cost + one cent), since spending grows by factors.
The past is the same weekday of the 8 weeks before; with fewer than 5 of these since the tenant's first cost, the 28
days before; with fewer than 7 days there, nobody judges. A MAD below 0.05 (about 5 %) counts as that: a tenant that
spends the same every day is not to be flagged for a percent. And the difference must be a dollar at least.

The month's end: month to date, and for each day to come the median cost of its weekday in the 8 weeks before (of all
days, where the weekday has fewer than 3). The interval is empirical: for h days to come, the 10 % and 90 % quantiles
of the errors that this median made over all stretches of h days in these 8 weeks; with fewer than 10 such stretches,
h times the quantiles of one day's error, which is wider. No month ends below what is spent already.

Costs are what the tenant is charged, restatements included. Money is Decimal; only the score is a float, to 4 decimals.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from statistics import median
from typing import Any, NamedTuple

from gateway.aggregation import CostLine
from gateway.budgets.accounts import AccountId
from gateway.pricing.price_book import SCALE, ZERO, money
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import TenantId

DAY = timedelta(days=1)
WEEKS = 8
HISTORY_DAYS = 7 * WEEKS
RECENT_DAYS = 28
FEW_WEEKDAYS, FEW_DAYS = 5, 7
THRESHOLD = 3.5
LEAST_USD = Decimal(1)
CENT = Decimal("0.01")
LEAST_SPREAD = 0.05
FEW_OF_A_WEEKDAY, FEW_STRETCHES = 3, 10
LOW, HIGH = Decimal("0.1"), Decimal("0.9")
_NUMBER = Decimal(1).scaleb(-SCALE)

Spending = Mapping[date, Decimal]


@dataclass(frozen=True)
class CostAnomaly:
    """A day on which a tenant spent far more or far less than it does."""

    tenant_id: TenantId
    day: date
    cost: Decimal
    usual: Decimal  # the median of the days that it is compared with
    score: Decimal
    compared_days: int

    event = "Cost anomaly"

    @property
    def account(self) -> AccountId:
        return AccountId(self.tenant_id, f"{self.day:%Y-%m}")

    @property
    def mark(self) -> str:
        """Told once for a tenant and day."""
        return f"anomaly {self.day.isoformat()}"

    def detail(self) -> dict[str, Any]:
        sums = {"cost_usd": self.cost, "usual_usd": self.usual, "score": self.score}
        who = {"tenant_id": self.tenant_id, "day": self.day.isoformat()}
        return who | {name: money(value) for name, value in sums.items()}


@dataclass(frozen=True)
class Forecast:
    """What a tenant, or one of its cost centres, will have spent at the end of a month."""

    tenant_id: TenantId
    cost_centre: str  # empty for the tenant as a whole
    as_of: date  # the last day that is within month_to_date
    month: str
    month_to_date: Decimal
    expected: Decimal
    low: Decimal
    high: Decimal
    history_days: int
    budget: Decimal | None = None

    @property
    def is_above_budget(self) -> bool:
        return self.budget is not None and self.expected > self.budget


@dataclass(frozen=True)
class BudgetForecast:
    """A month that will end above its budget, as it looks now."""

    forecast: Forecast
    budget: Decimal

    event = "Month forecast above budget"

    @property
    def account(self) -> AccountId:
        return AccountId(self.forecast.tenant_id, self.forecast.month)

    @property
    def mark(self) -> str:
        """Told once for a tenant, or its cost centre, and month."""
        return f"forecast {self.forecast.cost_centre}"

    def detail(self) -> dict[str, Any]:
        made = self.forecast
        sums = {
            "budget_usd": self.budget,
            "month_to_date_usd": made.month_to_date,
            "expected_usd": made.expected,
            "low_usd": made.low,
            "high_usd": made.high,
        }
        who = {"tenant_id": made.tenant_id, "cost_centre": made.cost_centre, "month": made.month}
        return who | {"as_of": made.as_of.isoformat()} | {name: money(value) for name, value in sums.items()}


class Judged(NamedTuple):
    """What a night finds."""

    anomalies: list[CostAnomaly]
    forecasts: list[Forecast]

    def notices(self) -> Iterator[CostAnomaly | BudgetForecast]:
        yield from self.anomalies
        for made in self.forecasts:
            if made.budget is not None and made.is_above_budget:
                yield BudgetForecast(made, made.budget)


def history_of(day: date) -> list[date]:
    """The days that are read to judge one: the weeks before, the month so far, the day itself."""
    first = min(day - HISTORY_DAYS * DAY, day.replace(day=1))
    return [first + n * DAY for n in range((day - first).days + 1)]


def judge(day: date, costs: Iterable[tuple[date, CostLine]], tenant_of: Callable[[TenantId], Tenant | None]) -> Judged:
    """Every tenant's day and month, from all cost lines of `history_of(day)`."""
    spending: dict[tuple[TenantId, str], dict[date, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for on, line in costs:
        for centre in ("", line.cost_centre) if line.cost_centre else ("",):
            spending[TenantId(line.tenant_id), centre][on] += line.cost or ZERO
    judged = Judged([], [])
    tenants = {tenant_id: tenant_of(tenant_id) for tenant_id in sorted({tenant_id for tenant_id, _ in spending})}
    for (tenant_id, centre), spent in sorted(spending.items()):
        tenant = tenants[tenant_id]
        if not centre and (found := anomaly(tenant_id, day, spent)):
            judged.anomalies.append(found)
        budgets = {"": tenant.budget, **tenant.cost_centre_budgets} if tenant else {}
        budget = budgets.get(centre)
        judged.forecasts.append(forecast(tenant_id, centre, day, spent, budget.monthly_usd if budget else None))
    return judged


# --------------------------------------------------------------------------------------------------------- anomalies
def anomaly(tenant_id: TenantId, day: date, spent: Spending) -> CostAnomaly | None:
    """The day, if it is far outside the tenant's own past."""
    past = compared(day, spent)
    if not past:
        return None
    cost, usual = spent.get(day, ZERO), _median(past)
    score = modified_z(cost, past)
    if abs(score) <= THRESHOLD or abs(cost - usual) < LEAST_USD:
        return None
    return CostAnomaly(tenant_id, day, cost, usual, Decimal(str(round(score, 4))), len(past))


def compared(day: date, spent: Spending) -> list[Decimal]:
    """The costs that a day is compared with; none where the past is too short to judge by."""
    past = _days(day - HISTORY_DAYS * DAY, day, spent)
    weekdays = [on for on in past if on.weekday() == day.weekday()]
    recent = [on for on in past if on >= day - RECENT_DAYS * DAY]
    chosen = weekdays if len(weekdays) >= FEW_WEEKDAYS else recent if len(recent) >= FEW_DAYS else []
    return [spent.get(on, ZERO) for on in chosen]


def modified_z(cost: Decimal, past: Sequence[Decimal]) -> float:
    """How far a cost is from the others' median, in units of their usual distance from it."""
    logs = [_log(value) for value in past]
    middle = median(logs)
    spread = max(median(abs(log - middle) for log in logs), LEAST_SPREAD)
    return 0.6745 * (_log(cost) - middle) / spread


def _log(cost: Decimal) -> float:
    return math.log(max(cost, ZERO) + CENT)


# --------------------------------------------------------------------------------------------------------- forecasts
def forecast(tenant_id: TenantId, centre: str, day: date, spent: Spending, budget: Decimal | None) -> Forecast:
    """Where the month of a day ends, by what is known when the day is over."""
    begun = day.replace(day=1)
    to_date = sum((cost for on, cost in spent.items() if begun <= on <= day), ZERO)
    known = _days(day - (HISTORY_DAYS - 1) * DAY, day + DAY, spent)
    usual = _usual(known, spent)
    to_come = [day + n * DAY for n in range(1, (_next_month(day) - day).days)]
    expected = to_date + sum((usual[on.weekday()] for on in to_come), ZERO)
    errors = [spent.get(on, ZERO) - usual[on.weekday()] for on in known]
    low, high = interval(errors, len(to_come))
    return Forecast(
        tenant_id, centre, day, f"{day:%Y-%m}", to_date, expected,
        max(expected + min(low, ZERO), to_date), expected + max(high, ZERO), len(known), budget,
    )  # fmt: skip


def interval(errors: Sequence[Decimal], days: int) -> tuple[Decimal, Decimal]:
    """The 10 % and 90 % quantiles of the error over so many days, by how past ones came out."""
    if not days or not errors:
        return ZERO, ZERO
    stretches = [sum(errors[n : n + days], ZERO) for n in range(len(errors) - days + 1)]
    if len(stretches) >= FEW_STRETCHES:
        return quantile(stretches, LOW), quantile(stretches, HIGH)
    return days * quantile(errors, LOW), days * quantile(errors, HIGH)


def quantile(values: Sequence[Decimal], share: Decimal) -> Decimal:
    """The smallest value that this share of all does not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


def _usual(days: Sequence[date], spent: Spending) -> dict[int, Decimal]:
    """The median cost by weekday."""
    every = _median([spent.get(on, ZERO) for on in days])
    usual = {}
    for weekday in range(7):
        own = [spent.get(on, ZERO) for on in days if on.weekday() == weekday]
        usual[weekday] = _median(own) if len(own) >= FEW_OF_A_WEEKDAY else every
    return usual


def _median(values: Sequence[Decimal]) -> Decimal:
    return median(values).quantize(_NUMBER) if values else ZERO


def _days(first: date, end: date, spent: Spending) -> list[date]:
    """The days of [first, end), from the first on which anything is known: before it there was no tenant."""
    first = max(first, min(spent, default=end))
    return [first + n * DAY for n in range((end - first).days)]


def _next_month(day: date) -> date:
    return (day.replace(day=28) + 4 * DAY).replace(day=1)

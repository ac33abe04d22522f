"""Forecasts of a month's spending.

The forecast is the month to date plus, for each remaining day, the median cost of its weekday in the 8 weeks before. A
weekday with fewer than 3 days uses the median of all days. The interval is empirical: for h remaining days, the 10 %
and 90 % quantiles of this median's errors over all stretches of h days in these 8 weeks. With fewer than 10 such
stretches it is h times the quantiles of one day's error, which is wider. No forecast is below the month to date.

Costs are the tenant's charges, restatements included, as Decimal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from gateway.budgets.accounts import AccountId
from gateway.costs.spending_history import DAY, HISTORY_DAYS, Spending, days_since, median_of
from gateway.pricing.price_book import ZERO, money
from gateway.usage.records import TenantId

FEW_OF_A_WEEKDAY, FEW_STRETCHES = 3, 10
LOW, HIGH = Decimal("0.1"), Decimal("0.9")


@dataclass(frozen=True)
class Forecast:
    """The expected spending of a tenant, or of one of its cost centres, by the end of a month."""

    tenant_id: TenantId
    cost_centre: str  # empty for the tenant as a whole
    as_of: date  # the last day in month_to_date
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
    """A notice that a month is expected to end above its budget."""

    forecast: Forecast
    budget: Decimal

    event = "Month forecast above budget"

    @property
    def account(self) -> AccountId:
        return AccountId(self.forecast.tenant_id, self.forecast.month)

    @property
    def mark(self) -> str:
        """The key that limits notification to once per month and tenant or cost centre."""
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


# --------------------------------------------------------------------------------------------------------- forecasts
def forecast(tenant_id: TenantId, centre: str, day: date, spent: Spending, budget: Decimal | None) -> Forecast:
    """Forecast the month of a day, from the spending up to the end of that day."""
    begun = day.replace(day=1)
    to_date = sum((cost for on, cost in spent.items() if begun <= on <= day), ZERO)
    known = days_since(day - (HISTORY_DAYS - 1) * DAY, day + DAY, spent)
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
    """The 10 % and 90 % quantiles of the forecast error over `days` days, from past errors."""
    if not days or not errors:
        return ZERO, ZERO
    stretches = [sum(errors[n : n + days], ZERO) for n in range(len(errors) - days + 1)]
    if len(stretches) >= FEW_STRETCHES:
        return quantile(stretches, LOW), quantile(stretches, HIGH)
    return days * quantile(errors, LOW), days * quantile(errors, HIGH)


def quantile(values: Sequence[Decimal], share: Decimal) -> Decimal:
    """The smallest value with at least this share of the values at or below it."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


def _usual(days: Sequence[date], spent: Spending) -> dict[int, Decimal]:
    """The median cost by weekday."""
    every = median_of([spent.get(on, ZERO) for on in days])
    usual = {}
    for weekday in range(7):
        own = [spent.get(on, ZERO) for on in days if on.weekday() == weekday]
        usual[weekday] = median_of(own) if len(own) >= FEW_OF_A_WEEKDAY else every
    return usual


def _next_month(day: date) -> date:
    return (day.replace(day=28) + 4 * DAY).replace(day=1)

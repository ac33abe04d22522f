"""Anomalies: days on which a tenant's spending is far outside its own past.

The test is the modified z-score of Iglewicz and Hoaglin ("How to Detect and Handle Outliers", ASQC 1993):
M = 0.6745 (x - median) / MAD, flagged if |M| > 3.5, on x = ln(cost + one cent), since spending grows by factors.
The past is the same weekday of the 8 weeks before. With fewer than 5 of these since the tenant's first cost, it is the
28 days before; with fewer than 7 of these, no day is flagged. A MAD below 0.05 (about 5 %) counts as 0.05, so that a
tenant with constant spending is not flagged for a percent. The difference must be at least a dollar.

Only the score is a float, to 4 decimals; money is Decimal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from statistics import median
from typing import Any

from gateway.budgets.accounts import AccountId
from gateway.costs.spending_history import DAY, HISTORY_DAYS, Spending, days_since, median_of
from gateway.pricing.price_book import ZERO, money
from gateway.usage.records import TenantId

RECENT_DAYS = 28
FEW_WEEKDAYS, FEW_DAYS = 5, 7
THRESHOLD = 3.5
LEAST_USD = Decimal(1)
CENT = Decimal("0.01")
LEAST_SPREAD = 0.05


@dataclass(frozen=True)
class CostAnomaly:
    """A day on which a tenant spent far more or far less than usual."""

    tenant_id: TenantId
    day: date
    cost: Decimal
    usual: Decimal  # the median of the days used for comparison
    score: Decimal
    compared_days: int

    event = "Cost anomaly"

    @property
    def account(self) -> AccountId:
        return AccountId(self.tenant_id, f"{self.day:%Y-%m}")

    @property
    def mark(self) -> str:
        """The key that limits notification to once per tenant and day."""
        return f"anomaly {self.day.isoformat()}"

    def detail(self) -> dict[str, Any]:
        sums = {"cost_usd": self.cost, "usual_usd": self.usual, "score": self.score}
        who = {"tenant_id": self.tenant_id, "day": self.day.isoformat()}
        return who | {name: money(value) for name, value in sums.items()}


# --------------------------------------------------------------------------------------------------------- anomalies
def anomaly(tenant_id: TenantId, day: date, spent: Spending) -> CostAnomaly | None:
    """The anomaly of a day, or None if the day is within the tenant's own past."""
    past = compared(day, spent)
    if not past:
        return None
    cost, usual = spent.get(day, ZERO), median_of(past)
    score = modified_z(cost, past)
    if abs(score) <= THRESHOLD or abs(cost - usual) < LEAST_USD:
        return None
    return CostAnomaly(tenant_id, day, cost, usual, Decimal(str(round(score, 4))), len(past))


def compared(day: date, spent: Spending) -> list[Decimal]:
    """The past costs used to judge a day; empty if the past is too short."""
    past = days_since(day - HISTORY_DAYS * DAY, day, spent)
    weekdays = [on for on in past if on.weekday() == day.weekday()]
    recent = [on for on in past if on >= day - RECENT_DAYS * DAY]
    chosen = weekdays if len(weekdays) >= FEW_WEEKDAYS else recent if len(recent) >= FEW_DAYS else []
    return [spent.get(on, ZERO) for on in chosen]


def modified_z(cost: Decimal, past: Sequence[Decimal]) -> float:
    """The distance of a cost from the median of past costs, in units of their median distance from it."""
    logs = [_log(value) for value in past]
    middle = median(logs)
    spread = max(median(abs(log - middle) for log in logs), LEAST_SPREAD)
    return 0.6745 * (_log(cost) - middle) / spread


def _log(cost: Decimal) -> float:
    return math.log(max(cost, ZERO) + CENT)

"""The current state of a tenant's budgets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from gateway.budgets.accounts import Accounts, load_account
from gateway.core.times import month_of, next_month
from gateway.pricing.price_book import ZERO
from gateway.tenancy.tenant import Budget, Tenant


@dataclass(frozen=True)
class BudgetState:
    """The state of one budget, summed over all its shards."""

    cost_centre: str  # empty for the tenant's own budget
    budget: Budget
    spent: Decimal
    held: Decimal

    def runs_out_on(self, now: datetime) -> date | None:
        """The day on which the month's average spending exhausts it; None in the first week, or where it suffices."""
        begun = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        elapsed = now - begun
        if elapsed < timedelta(days=7) or not self.spent:
            return None
        out = begun + timedelta(seconds=float(self.budget.monthly_usd / self.spent) * elapsed.total_seconds())
        return max(out, now).date() if out < next_month(now) else None


def states(tenant: Tenant, accounts: Accounts, now: datetime) -> list[BudgetState]:
    """The current state of each budget of a tenant."""
    if tenant.budget is None and not tenant.cost_centre_budgets:
        return []
    account = load_account(tenant, month_of(now), accounts)
    found = []
    if tenant.budget:
        found.append(BudgetState("", tenant.budget, account.spent, account.committed - account.spent))
    for centre, budget in sorted(tenant.cost_centre_budgets.items()):
        spent = account.centres_spent.get(centre, ZERO)
        held = account.centres_committed.get(centre, ZERO) - spent
        found.append(BudgetState(centre, budget, spent, held))
    return found

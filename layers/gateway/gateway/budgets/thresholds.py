"""Budget thresholds: finds those that a booking crossed, and reports each once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from gateway.budgets.accounts import Account, AccountId, Accounts, Booked, Hold, load_account
from gateway.pricing.price_book import ZERO
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import TenantId


@dataclass(frozen=True)
class ThresholdCrossed:
    """A threshold that spending has crossed: percent of a limit in USD."""

    tenant_id: TenantId
    cost_centre: str  # empty for the tenant's own budget
    month: str
    threshold: int
    limit: Decimal
    spent: Decimal

    @property
    def mark(self) -> str:
        return f"passed {self.threshold} {self.cost_centre}"


def crossed_thresholds(tenant: Tenant, month: str, account: Account) -> Iterator[ThresholdCrossed]:
    """The thresholds that a whole account has crossed this month, reported or not."""
    budgets = [("", tenant.budget, account.spent)]
    budgets += [(c, b, account.centres_spent.get(c, ZERO)) for c, b in sorted(tenant.cost_centre_budgets.items())]
    for centre, budget, spent in budgets:
        for threshold in budget.thresholds if budget else ():
            if budget and budget.monthly_usd * threshold <= spent * 100:
                yield ThresholdCrossed(tenant.tenant_id, centre, month, threshold, budget.monthly_usd, spent)


def newly_crossed(tenant: Tenant, hold: Hold, booked: Booked, accounts: Accounts) -> Iterator[ThresholdCrossed]:
    """The thresholds that a charge may have crossed.

    An account of one shard needs no further read. One of several shards must add all of them up; since that costs
    reads, it does so only for each hundredth of a shard's part.
    """
    month, charge = hold.account.month, booked.charge
    after = Account(spent=booked.spent, centres_spent={hold.cost_centre: booked.centre_spent})
    before = Account(spent=booked.spent - charge, centres_spent={hold.cost_centre: booked.centre_spent - charge})
    if tenant.budget_shards <= 1:
        known = {crossing.mark for crossing in crossed_thresholds(tenant, month, before)}
        yield from (crossing for crossing in crossed_thresholds(tenant, month, after) if crossing.mark not in known)
    elif _hundredths(tenant, hold, before) != _hundredths(tenant, hold, after):
        yield from crossed_thresholds(tenant, month, load_account(tenant, month, accounts))


def _hundredths(tenant: Tenant, hold: Hold, shard: Account) -> list[int]:
    centre = hold.cost_centre
    sums = ((tenant.budget, shard.spent), (tenant.cost_centre_budgets.get(centre), shard.centres_spent[centre]))
    return [
        int(spent * 100 * tenant.budget_shards / budget.monthly_usd)
        for budget, spent in sums
        if budget and budget.monthly_usd
    ]


def notify_once(
    accounts: Accounts, account: AccountId, mark: str, notice: Any, warn: Callable[[Any], None], now: datetime
) -> bool:
    """Send the notification of a mark in a tenant's month, unless it was sent: once, unless a process dies meanwhile.

    If the claimant dies, or its `warn` raises, another process may notify after CLAIM_TTL.
    """
    if not accounts.claim_notification(account, mark, now):
        return False
    warn(notice)
    accounts.mark_notified(account, mark)
    return True

"""Budget thresholds: finds those that a booking crossed, and reports each once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from gateway.budgets.accounts import ROLLING, Account, AccountId, Accounts, Booked, Hold, load_account, shards_of
from gateway.budgets.scopes import CountedBudget, budget_of_counter, counted_budget, is_stale
from gateway.budgets.windows import Period
from gateway.core.times import month_of
from gateway.pricing.price_book import ZERO
from gateway.tenancy.budgets import TENANT, Scope, Window
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import TenantId


@dataclass(frozen=True)
class ThresholdCrossed:
    """A threshold that spending has crossed: percent of a limit in USD.

    `month` is the month in which the budget's period begins; empty for a total.
    """

    tenant_id: TenantId
    cost_centre: str  # empty for a budget that names none
    month: str
    threshold: int
    limit: Decimal
    spent: Decimal
    scope: Scope = TENANT
    window: Window = Window.MONTH
    period: str = ""  # the first day of the window; empty for a month or a total
    counter: str = ""

    @property
    def mark(self) -> str:
        return f"passed {self.threshold} {self.counter or self.cost_centre}"


def crossed_thresholds(budget: CountedBudget, spent: Decimal) -> Iterator[ThresholdCrossed]:
    """The thresholds that a whole budget has crossed in its period, reported or not."""
    limit, period = budget.limit, budget.period
    for threshold in budget.budget.thresholds:
        if limit * threshold <= spent * 100:
            yield ThresholdCrossed(
                budget.account.tenant_id, budget.scope.cost_centre, period.month, threshold, limit, spent,
                budget.scope, budget.budget.window, period.label if len(period.label) > 7 else "", budget.counter,
            )  # fmt: skip


def all_crossed(tenant: Tenant, of: AccountId, account: Account, at: datetime) -> Iterator[ThresholdCrossed]:
    """The thresholds of every budget that a whole account counts."""
    for budget in budgets_in(tenant, of, account, at):
        yield from crossed_thresholds(budget, spent_of(account, budget))


def newly_crossed(tenant: Tenant, hold: Hold, booked: Booked, accounts: Accounts) -> Iterator[ThresholdCrossed]:
    """The thresholds that a charge may have crossed.

    An account of one shard needs no further read. One of several shards must add all of them up; since that costs
    reads, it does so only for each hundredth of a shard's part.
    """
    shards = shards_of(tenant, hold.account)
    centre = {hold.cost_centre: booked.centre_spent}
    after = Account(spent=booked.spent, centres_spent=centre, counted_spent=booked.counted_spent)
    whole: Account | None = None
    for budget in budgets_in(tenant, hold.account, after, hold.started_at):
        if not budget.counter and (not hold.own_sums or budget.scope.cost_centre not in ("", hold.cost_centre)):
            continue
        spent = spent_of(after, budget)
        before = spent - booked.charge
        if shards == 1:
            known = {crossing.threshold for crossing in crossed_thresholds(budget, before)}
            yield from (c for c in crossed_thresholds(budget, spent) if c.threshold not in known)
        elif budget.limit and int(before * 100 * shards / budget.limit) != int(spent * 100 * shards / budget.limit):
            whole = whole or load_account(tenant, hold.account, accounts)
            yield from crossed_thresholds(budget, spent_of(whole, budget))


def budgets_in(tenant: Tenant, of: AccountId, account: Account, at: datetime) -> Iterator[CountedBudget]:
    """The budgets that an account counts, by the tenant's record of today."""
    if of.month != ROLLING and of.month >= month_of(at - timedelta(days=1)):
        for centre in ("", *sorted(account.centres_spent)):
            if budget := tenant.budget_of_the_month(centre):
                scope = replace(budget.scope, cost_centre=centre)
                if any((r.scope, r.window, r.period) == (scope, Window.MONTH, of.month) for r in tenant.resets):
                    continue  # a counter of its own counts it since then
                counted = counted_budget(tenant, budget, scope, "", at)
                yield replace(counted, account=of, counter="", period=Period(of.month))
    for name in account.counted_spent:
        if not is_stale(name, at) and (found := budget_of_counter(tenant, of, name, at)):
            yield found


def spent_of(account: Account, budget: CountedBudget) -> Decimal:
    if budget.counter:
        return account.counted_spent.get(budget.counter, ZERO)
    centre = budget.scope.cost_centre
    return account.centres_spent.get(centre, ZERO) if centre else account.spent


def notify_once(
    accounts: Accounts, account: AccountId, mark: str, notice: Any, warn: Callable[[Any], None], now: datetime
) -> bool:
    """Send the notification of a mark in an account, unless it was sent: once, unless a process dies meanwhile.

    If the claimant dies, or its `warn` raises, another process may notify after CLAIM_TTL.
    """
    if not accounts.claim_notification(account, mark, now):
        return False
    warn(notice)
    accounts.mark_notified(account, mark)
    return True

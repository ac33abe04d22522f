"""The current state of the budgets that hold for a caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from gateway.budgets.accounts import Account, AccountId, Accounts, load_account
from gateway.budgets.scopes import CountedBudget, Spender, counted_budget, covers, resolved_scopes
from gateway.budgets.thresholds import spent_of
from gateway.pricing.price_book import ZERO
from gateway.tenancy.budgets import EACH, Scope, ScopedBudget, Window
from gateway.tenancy.caller import Caller
from gateway.tenancy.tenant import Tenant

# How long a period must have run before its average spending says something of its rest.
EARLIEST: Mapping[Window, timedelta] = {
    Window.DAY: timedelta(hours=6),
    Window.WEEK: timedelta(days=2),
    Window.MONTH: timedelta(days=7),
}


@dataclass(frozen=True)
class BudgetState:
    """The state of one budget in its current period, summed over all its shards. Amounts are in USD."""

    counted: CountedBudget
    spent: Decimal
    held: Decimal

    @property
    def available(self) -> Decimal:
        return self.counted.limit - self.spent - self.held

    def runs_out_at(self, now: datetime) -> datetime | None:
        """When the period's average spending exhausts it; None early in the period, or where it suffices."""
        window, period = self.counted.budget.window, self.counted.period
        if period.begins is None or period.resets_at is None or not self.spent:
            return None
        elapsed = now - period.begins
        if elapsed < EARLIEST[window]:
            return None
        share = self.counted.limit / self.spent
        if share >= (period.resets_at - period.begins) / elapsed:
            return None
        return max(period.begins + timedelta(seconds=float(share) * elapsed.total_seconds()), now)


_Load = Callable[[AccountId], Account]


def states(tenant: Tenant, accounts: Accounts, now: datetime, caller: Caller | None = None) -> list[BudgetState]:
    """The current state of each budget that holds for a caller; without one, of the tenant and its cost centres."""
    spender = spender_of(caller)
    read: dict[AccountId, Account] = {}

    def account(of: AccountId) -> Account:
        if of not in read:
            read[of] = load_account(tenant, of, accounts)
        return read[of]

    found = []
    for budget in tenant.all_budgets:
        if all(budget.scope.matches(name, getattr(spender, name)) for name in ("user", "key")):
            current = _current(tenant, budget, spender, now, account)
            current = (each for each in current if _may_see(caller, each.scope.cost_centre))
            found += [_state(each, account(each.account)) for each in current]
    return found


def _may_see(caller: Caller | None, cost_centre: str) -> bool:
    """A caller of some cost centres sees no budget of another."""
    return not cost_centre or caller is None or not caller.cost_centres or cost_centre in caller.cost_centres


def spender_of(caller: Caller | None) -> Spender:
    """The caller's side of a call that names no cost centre and no model."""
    if caller is None:
        return Spender("", "")
    said = caller.attribution
    return Spender("", "", said.user_id, said.user_source, "" if caller.is_by_token else caller.key_id)


def _current(
    tenant: Tenant, budget: ScopedBudget, spender: Spender, now: datetime, account: _Load
) -> Iterator[CountedBudget]:
    """A budget where it is counted now, for each scope that it stands for and that no other budget replaces."""
    own = spender.resolve_person(budget.scope)
    holder = spender.holder(own) if own.is_personal else ""
    others = [
        b.scope for b in tenant.all_budgets if b.window is budget.window and spender.replaces(b.scope, budget.scope)
    ]
    names = account(counted_budget(tenant, budget, own, holder, now).account).counted
    for scope in resolved_scopes(tenant, own, [*names]):
        counted = counted_budget(tenant, budget, scope, holder, now)
        unused = budget.scope.model == EACH and (counted.counter not in names or set("*?[") & set(scope.model))
        if not unused and not any(_replaced(scope, other) for other in others):
            yield counted


def _replaced(scope: Scope, other: Scope) -> bool:
    """Does a budget of `other` count what the scope would?"""
    return covers(replace(other, model=scope.model), scope) and other.matches("model", scope.model)


def _state(counted: CountedBudget, account: Account) -> BudgetState:
    spent, centre = spent_of(account, counted), counted.scope.cost_centre
    if counted.counter:
        committed = account.counted.get(counted.counter, ZERO)
    else:
        committed = account.centres_committed.get(centre, ZERO) if centre else account.committed
    return BudgetState(counted, spent, committed - spent)

"""The budgets and rate limits that hold for a call, and the accounts that count them.

    the tenant's and its cost centres' months    the tenant's account of that month, in sums of their own
    a user's, a key's                            the account of the user; of the key, if nobody owns it
    a tenant's total                             the tenant's account that stays
    any other of the tenant                      its account of the month in which the period begins

A claimed user has an account apart from a verified one of the same name: a claim cannot use up what another has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from gateway.budgets.accounts import ROLLING, AccountId, Counter, Hold, Limits, Unit, shard_of, shards_of
from gateway.budgets.windows import Period, local_month, period_of
from gateway.core.times import minute_of
from gateway.pricing.price_book import ZERO
from gateway.tenancy.budgets import DIMENSIONS, EACH, RateLimit, Scope, ScopedBudget, Window
from gateway.tenancy.caller import TOKEN_KEY
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import TokenUsage, UsageRecord, UserSource

_ADJECTIVE = {Window.DAY: "daily", Window.WEEK: "weekly", Window.MONTH: "monthly", Window.TOTAL: "total"}


@dataclass(frozen=True)
class Spender:
    """The side of a call by which budgets are chosen."""

    cost_centre: str
    model: str
    user: str = ""
    user_source: UserSource = UserSource.NONE
    key: str = ""

    @classmethod
    def of(cls, row: UsageRecord) -> Spender:
        said = row.attribution
        key = "" if row.key_id.startswith(TOKEN_KEY) else row.key_id  # of a token it names the issuer
        return cls(row.cost_centre, row.model_id, said.user_id, said.user_source, key)

    def falls_into(self, scope: Scope) -> bool:
        return all(scope.matches(name, getattr(self, name)) for name in DIMENSIONS)

    def replaces(self, named: Scope, default: Scope) -> bool:
        """Does a scope replace a default of `*` for this call? A claim gets nothing that the name was given."""
        is_claim = self.user_source is UserSource.CLAIMED and named.user != default.user
        return default.is_default_for(named) and not is_claim

    def resolve(self, scope: Scope) -> Scope:
        """The scope with each `*` replaced by the value of this call."""
        return replace(scope, **{name: getattr(self, name) for name in DIMENSIONS if getattr(scope, name) == EACH})

    def resolve_person(self, scope: Scope) -> Scope:
        """The scope with the user and the key of this call in place of their `*`."""
        own = {name: getattr(self, name) for name in ("user", "key") if getattr(scope, name) == EACH}
        return replace(scope, **own)

    def holder(self, scope: Scope) -> str:
        """The holder of the account that counts a personal scope."""
        owned = self.user_source is UserSource.KEY
        if scope.user or owned:
            return f"{'claimed' if self.user_source is UserSource.CLAIMED else 'user'}:{self.user}"
        return f"key:{self.key}"


@dataclass(frozen=True)
class CountedBudget:
    """One budget of one scope in one period, where it is counted. Without a `counter` it is a month's own sum."""

    budget: ScopedBudget
    scope: Scope
    period: Period
    account: AccountId
    counter: str
    lent: Decimal = ZERO

    @property
    def limit(self) -> Decimal:
        return self.budget.limit_usd + self.lent


def chosen(tenant: Tenant, spender: Spender) -> list[ScopedBudget]:
    """The budgets that hold for a call. One that names the user, key, cost centre or model replaces its default `*`."""
    found = [budget for budget in tenant.all_budgets if spender.falls_into(budget.scope)]
    return [
        budget
        for budget in found
        if not any(b.window is budget.window and spender.replaces(b.scope, budget.scope) for b in found)
    ]


def counted_budget(
    tenant: Tenant, budget: ScopedBudget, scope: Scope, holder: str, at: datetime, request_id: str = ""
) -> CountedBudget:
    """Where a budget of a resolved scope is counted at a time. `holder` is that of a personal scope."""
    period, is_claimed = period_of(budget, at), holder.startswith("claimed:")
    again = sum(
        reset.times
        for reset in tenant.resets
        if (reset.scope, reset.window, reset.period) == (scope, budget.window, period.label)
    )
    loans = [] if is_claimed else [loan for loan in tenant.loans if loan.scope == scope and at < loan.until]
    lent = sum((loan.usd for loan in loans if loan.window is budget.window), ZERO)
    counter = counter_name(budget.window.value, f"{period.label}~{again}" if again else period.label, scope, holder)
    if scope.is_personal:
        account = AccountId(tenant.tenant_id, ROLLING, 0, holder)
    elif budget.window is Window.TOTAL:
        account = AccountId(tenant.tenant_id, ROLLING)
    else:
        shard = shard_of(request_id, tenant.shards_at(period.month)) if request_id else 0
        account = AccountId(tenant.tenant_id, period.month, shard)
        if budget.is_of_the_month and not again:
            counter = ""
    return CountedBudget(budget, scope, period, account, counter, lent)


def counter_name(kind: str, period: str, scope: Scope, holder: str = "") -> str:
    """The name of a counter in its account. The holder implies a key of its own, and a user without a key."""
    implied = "key" if holder.startswith("key:") else "" if scope.key else "user"
    rest = "".join(f";{name}={text}" for name in DIMENSIONS if (text := getattr(scope, name)) and name != implied)
    return f"{kind}={period}{rest}"


def name_of(scope: Scope) -> str:
    """A scope in words: `user alice, model *opus*`."""
    return ", ".join(f"{name.replace('_', ' ')} {getattr(scope, name)}" for name in scope.dimensions) or "the tenant"


def holds_of(tenant: Tenant, row: UsageRecord, amount: Decimal, usage: TokenUsage) -> list[tuple[Hold, Limits]]:
    """The holds of an attempt with their limits; the account that most calls share comes last."""
    at, spender = row.started_at, Spender.of(row)
    counters = defaultdict[AccountId, list[Counter]](list)
    of_the_month: list[CountedBudget] = []
    for budget in chosen(tenant, spender):
        scope = spender.resolve(budget.scope)
        counted = counted_budget(tenant, budget, scope, spender.holder(scope), at, row.request_id)
        if not counted.counter:
            of_the_month.append(counted)
            continue
        parts = shards_of(tenant, counted.account)
        whose = f"the {_ADJECTIVE[budget.window]} budget of {name_of(scope)}"
        limit = counted.limit / parts if budget.hard else None
        counters[counted.account].append(Counter(counted.counter, Unit.USD, whose, limit, counted.period.resets_at))
    this_month = local_month(at, tenant.month_zone)
    shards = tenant.shards_at(this_month)
    month = AccountId(tenant.tenant_id, this_month, shard_of(row.request_id, shards))
    for account, counter in _rates(tenant, spender, at, month):
        counters[account].append(counter)
    keeps = any(budget.window is Window.TOTAL for budget in tenant.budgets)
    limits = {account: Limits(counters=tuple(some), keeps=keeps) for account, some in counters.items()}
    if tenant.has_account_of_the_month:
        mine = limits.pop(month, Limits())
        limits[month] = _limits_of_the_month(tenant, of_the_month, mine.counters, shards)
    tokens = usage.context_tokens + usage.output_tokens
    return [
        (
            Hold(
                row.request_id, row.attempt, account, row.cost_centre, amount, tokens, at, row.lease_until,
                tuple(c.name for c in limit.counters if c.unit in (Unit.USD, Unit.CALLS)),
                own_sums=account == month and tenant.has_account_of_the_month,
            ),
            limit,
        )
        for account, limit in limits.items()
    ]  # fmt: skip


def _rates(tenant: Tenant, spender: Spender, at: datetime, month: AccountId) -> Iterator[tuple[AccountId, Counter]]:
    found = [limit for limit in tenant.rate_limits if spender.falls_into(limit.scope)]
    for limit in found:
        if any(limit.scope.is_default_for(other.scope) for other in found):
            continue
        scope = spender.resolve(limit.scope)
        holder = spender.holder(scope) if scope.is_personal else ""
        account = AccountId(tenant.tenant_id, ROLLING, 0, holder) if holder else month
        shards = shards_of(tenant, account)
        for unit, most in _units(limit):
            period = "" if unit is Unit.CALLS else minute_of(at)
            part = Decimal(max(most // shards, 1))
            yield account, Counter(counter_name(unit.value, period, scope, holder), unit, name_of(scope), part)


def _units(limit: RateLimit) -> Iterator[tuple[Unit, int]]:
    for unit, most in (
        (Unit.REQUESTS, limit.requests_per_minute),
        (Unit.TOKENS, limit.tokens_per_minute),
        (Unit.CALLS, limit.concurrent_invocations),
    ):
        if most is not None:
            yield unit, most


def _limits_of_the_month(
    tenant: Tenant, budgets: Sequence[CountedBudget], counters: tuple[Counter, ...], shards: int
) -> Limits:
    hard = {bool(each.scope.cost_centre): each for each in budgets if each.budget.hard}

    def part(of_a_cost_centre: bool) -> Decimal | None:
        return hard[of_a_cost_centre].limit / shards if of_a_cost_centre in hard else None

    def share(limit: int | None) -> int | None:
        return None if limit is None else max(limit // shards, 1)

    return Limits(
        part(False),
        part(True),
        share(tenant.concurrent_invocations),
        share(tenant.tokens_per_minute),
        counters,
        next((each.period.resets_at for each in budgets), None),
    )


def stale_counters(names: Sequence[str], at: datetime) -> list[str]:
    """Counters of periods that ended so long ago that no threshold of them is told any more."""
    return [name for name in names if is_stale(name, at)]


def is_stale(name: str, at: datetime) -> bool:
    ends = _kept_until(name)
    return ends is not None and at.astimezone(UTC).replace(tzinfo=None) > ends


# From the first day of a period: it, the time zones, and the longest call with its sweep.
_KEPT = {"day": timedelta(days=3), "week": timedelta(days=9), "month": timedelta(days=33)}


def _kept_until(name: str) -> datetime | None:
    kind, _, rest = name.partition("=")
    period = rest.partition(";")[0].partition("~")[0]
    if kind in (Unit.REQUESTS, Unit.TOKENS):
        return datetime.fromisoformat(period) + timedelta(minutes=2)
    if kind not in _KEPT:
        return None
    return datetime.fromisoformat(period if len(period) == 10 else f"{period}-01") + _KEPT[kind]


def budget_of_counter(tenant: Tenant, account: AccountId, name: str, at: datetime) -> CountedBudget | None:
    """The budget that a counter counts, by the tenant's record of today; None if it has none for it any more."""
    kind, _, rest = name.partition("=")
    period, *named = rest.split(";")
    values = dict(part.split("=", 1) for part in named)
    whose, _, who = account.holder.partition(":")
    if whose == "key" or (whose and "key" not in values):
        values["key" if whose == "key" else "user"] = who
    scope = Scope(**values)
    budget = budget_of(tenant, scope, kind)
    if budget is None:
        return None
    counted = counted_budget(tenant, budget, scope, account.holder, at)
    return replace(counted, account=account, counter=name, period=Period(period.partition("~")[0]))


def budget_of(tenant: Tenant, scope: Scope, window: str) -> ScopedBudget | None:
    """The tenant's budget of a resolved scope: the one that names the most of it, before those of `*`."""
    found = [budget for budget in tenant.all_budgets if budget.window == window and covers(budget.scope, scope)]
    return min(found, key=lambda budget: list(vars(budget.scope).values()).count(EACH), default=None)


def covers(scope: Scope, resolved: Scope) -> bool:
    """Is `resolved` one of the scopes that `scope` stands for?"""
    pairs = [(getattr(scope, name), getattr(resolved, name)) for name in DIMENSIONS]
    return all(wanted == text or (wanted == EACH and text) for wanted, text in pairs)


def resolved_scopes(tenant: Tenant, scope: Scope, names: Sequence[str]) -> Iterator[Scope]:
    """The scopes that a scope stands for: of each cost centre of the tenant, and of each model that a counter names."""
    if scope.cost_centre == EACH:
        for centre in dict.fromkeys((*tenant.cost_centres, tenant.tenant_id)):
            yield from resolved_scopes(tenant, replace(scope, cost_centre=centre), names)
    elif scope.model == EACH:
        found = {part.removeprefix("model=") for name in names for part in name.split(";") if part.startswith("model=")}
        yield from (replace(scope, model=model) for model in sorted(found))
    else:
        yield scope

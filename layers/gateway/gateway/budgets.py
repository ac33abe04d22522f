"""Budgets: a call is held for before it is made, and what it cost is booked after it.

    hold      room for the most that the call can cost, taken atomically; refused where it does not fit
    book      the hold becomes the true charge, or nothing; once, however often it is tried
    sweep     a hold whose lease has ended is booked from the ledger, which says what became of the call

`committed` is what is spent and held together, per tenant and per cost centre, for one month. A hold is taken only
where `committed + hold <= limit`, so `spent` passes a hard limit by nothing as long as no call costs more than was held
for it; where a model breaks its own maximum, by no more than what these calls cost beyond their holds.

A busy tenant's account is spread over shards, each with its part of the limit. That never lets more through; near the
limit a call may be refused while the other shards have, together, still room for it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Protocol

from gateway.errors import GatewayError
from gateway.ledger import Ledger
from gateway.pricing import ZERO
from gateway.tenants import Budget, Tenant
from gateway.usage import RequestId, TenantId, UsageRecord


def month_of(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m")


def next_month(at: datetime) -> datetime:
    """When the budgets of this month are new again."""
    first = at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)


def shard_of(request_id: str, shards: int) -> int:
    return zlib.crc32(b"budget" + request_id.encode()) % max(shards, 1)


@dataclass(frozen=True)
class AccountId:
    """One shard of a tenant's account of one month."""

    tenant_id: TenantId
    month: str
    shard: int = 0


@dataclass(frozen=True)
class Hold:
    """Room that one attempt takes. `tokens` counts against the tenant's tokens per minute."""

    request_id: RequestId
    attempt: int
    account: AccountId
    cost_centre: str
    amount: Decimal
    tokens: int
    started_at: datetime
    lease_until: datetime

    @property
    def name(self) -> str:
        return f"{self.request_id}#{self.attempt}"


@dataclass(frozen=True)
class Limits:
    """What an account's shard may commit: USD in all and for one cost centre, calls at once, tokens a minute."""

    usd: Decimal | None = None
    centre_usd: Decimal | None = None
    calls: int | None = None
    tokens: int | None = None

    @classmethod
    def of(cls, tenant: Tenant, cost_centre: str) -> Limits:
        shards = max(tenant.budget_shards, 1)

        def part(budget: Budget | None) -> Decimal | None:
            return budget.monthly_usd / shards if budget and budget.hard else None

        def share(limit: int | None) -> int | None:
            return None if limit is None else max(limit // shards, 1)

        return cls(
            part(tenant.budget),
            part(tenant.cost_centre_budgets.get(cost_centre)),
            share(tenant.concurrent_invocations),
            share(tenant.tokens_per_minute),
        )


@dataclass(frozen=True)
class Account:
    """The state of one shard: sums in USD, by cost centre as well, and the holds that live."""

    committed: Decimal = ZERO
    spent: Decimal = ZERO
    centres_committed: Mapping[str, Decimal] = field(default_factory=dict)
    centres_spent: Mapping[str, Decimal] = field(default_factory=dict)
    holds: Mapping[str, Hold] = field(default_factory=dict)
    minute: str = ""
    minute_tokens: int = 0

    def refusal(self, hold: Hold, limits: Limits) -> GatewayError | None:
        """Why a hold does not fit, by the limit that it passes; None where it fits."""
        reset = next_month(hold.started_at)
        if limits.usd is not None and self.committed + hold.amount > limits.usd:
            return budget_exceeded("tenant", limits.usd, self.spent, self.committed - self.spent, reset)
        centre = self.centres_committed.get(hold.cost_centre, ZERO)
        if limits.centre_usd is not None and centre + hold.amount > limits.centre_usd:
            spent = self.centres_spent.get(hold.cost_centre, ZERO)
            return budget_exceeded("cost centre", limits.centre_usd, spent, centre - spent, reset)
        if limits.calls is not None and len(self.holds) >= limits.calls:
            return GatewayError(
                f"Your tenant may run {limits.calls} calls at once. Wait, then try again.",
                code="too_many_invocations", status=429, retry_after=1,
            )  # fmt: skip
        used = self.minute_tokens if self.minute == minute_of(hold.started_at) else 0
        if limits.tokens is not None and used + hold.tokens > limits.tokens:
            return GatewayError(
                f"Your tenant may use {limits.tokens} tokens a minute. Wait, then try again.",
                code="too_many_tokens", status=429, retry_after=60 - hold.started_at.second,
            )  # fmt: skip
        return None


def minute_of(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")


def budget_exceeded(whose: str, limit: Decimal, spent: Decimal, held: Decimal, reset: datetime) -> GatewayError:
    """429 with what the caller needs to decide: the limit, what is spent and held of it, and when it is new."""
    return GatewayError(
        f"The {whose}'s monthly budget has no room for this call: limit {limit:f} USD, spent {spent:f}, held {held:f}; "
        f"it is new on {reset:%Y-%m-%dT%H:%M:%SZ}.",
        code="budget_exceeded",
        status=429,
    )


@dataclass(frozen=True)
class Booked:
    """What booking did: sums after it, and what this charge was."""

    spent: Decimal
    centre_spent: Decimal
    charge: Decimal


class Accounts(Protocol):
    """Where budgets are counted. Implemented in memory (here) and by `gateway.aws.account_table`."""

    def hold(self, hold: Hold, limits: Limits) -> None:
        """Take room. Raises the GatewayError of `Account.refusal`."""

    def book(self, hold: Hold, charge: Decimal) -> Booked | None:
        """Turn a hold into a charge; None where it was booked already."""

    def account(self, account: AccountId) -> Account: ...

    def expired(self, now: datetime, leases_ended_by: datetime) -> Iterator[Hold]:
        """Holds whose lease has ended by then, of this month and the one before."""


class InMemoryAccounts:
    """Accounts as a dict: what tests and the rules above are read by."""

    def __init__(self) -> None:
        self.accounts: dict[AccountId, Account] = {}

    def account(self, account: AccountId) -> Account:
        return self.accounts.get(account, Account())

    def hold(self, hold: Hold, limits: Limits) -> None:
        account = self.account(hold.account)
        if hold.name in account.holds:
            return
        if refusal := account.refusal(hold, limits):
            raise refusal
        minute = minute_of(hold.started_at)
        used = account.minute_tokens if account.minute == minute else 0
        centre = account.centres_committed.get(hold.cost_centre, ZERO)
        self.accounts[hold.account] = replace(
            account,
            committed=account.committed + hold.amount,
            centres_committed={**account.centres_committed, hold.cost_centre: centre + hold.amount},
            holds={**account.holds, hold.name: hold},
            minute=minute,
            minute_tokens=used + hold.tokens,
        )

    def book(self, hold: Hold, charge: Decimal) -> Booked | None:
        account = self.account(hold.account)
        if hold.name not in account.holds:
            return None
        centre, delta = hold.cost_centre, charge - hold.amount
        spent = account.centres_spent.get(centre, ZERO) + charge
        self.accounts[hold.account] = after = replace(
            account,
            committed=account.committed + delta,
            spent=account.spent + charge,
            centres_committed={**account.centres_committed, centre: account.centres_committed[centre] + delta},
            centres_spent={**account.centres_spent, centre: spent},
            holds={name: held for name, held in account.holds.items() if name != hold.name},
        )
        return Booked(after.spent, spent, charge)

    def expired(self, now: datetime, leases_ended_by: datetime) -> Iterator[Hold]:
        holds = [hold for account in self.accounts.values() for hold in account.holds.values()]
        return (hold for hold in holds if hold.lease_until < leases_ended_by)


@dataclass(frozen=True)
class Crossing:
    """A budget's threshold that a charge has passed: percent of a limit in USD."""

    tenant_id: TenantId
    cost_centre: str  # empty for the tenant's own budget
    month: str
    threshold: int
    limit: Decimal
    spent: Decimal


def crossings(tenant: Tenant, hold: Hold, booked: Booked) -> Iterator[Crossing]:
    """The thresholds that this very charge has passed. Sums only grow, so each is passed by one charge a month."""
    shards = max(tenant.budget_shards, 1)
    sums = (
        ("", tenant.budget, booked.spent),
        (hold.cost_centre, tenant.cost_centre_budgets.get(hold.cost_centre), booked.centre_spent),
    )
    for centre, budget, spent in sums:
        for threshold in budget.thresholds if budget else ():
            mark = budget.monthly_usd / shards * threshold / 100 if budget else ZERO
            if budget and spent - booked.charge < mark <= spent:
                yield Crossing(hold.account.tenant_id, centre, hold.account.month, threshold, budget.monthly_usd, spent)


def sweep_holds(
    accounts: Accounts, ledger: Ledger, charge_of: ChargeOf, now: datetime, leases_ended_by: datetime | None = None
) -> int:
    """Book the holds that nobody booked, by what the ledger says of their calls: nothing, where there was none."""
    swept = 0
    for hold in accounts.expired(now, leases_ended_by or now):
        record = ledger.get(hold.request_id, hold.attempt, hold.started_at)
        if record is not None and record.is_open:
            continue  # the ledger's own sweep comes first
        swept += accounts.book(hold, charge_of(hold, record) if record else ZERO) is not None
    return swept


@dataclass(frozen=True)
class BudgetState:
    """A budget as its owner sees it: all its shards together."""

    cost_centre: str  # empty for the tenant's own
    budget: Budget
    spent: Decimal
    held: Decimal

    def runs_out_on(self, now: datetime) -> date | None:
        """The day on which the month's average spending uses it up; None in the first week, or where it lasts."""
        begun = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        elapsed = now - begun
        if elapsed < timedelta(days=7) or not self.spent:
            return None
        out = begun + timedelta(seconds=float(self.budget.monthly_usd / self.spent) * elapsed.total_seconds())
        return max(out, now).date() if out < next_month(now) else None


def states(tenant: Tenant, accounts: Accounts, now: datetime) -> list[BudgetState]:
    """The budgets of a tenant as they are now."""
    if tenant.budget is None and not tenant.cost_centre_budgets:
        return []
    shards = [
        accounts.account(AccountId(tenant.tenant_id, month_of(now), n)) for n in range(max(tenant.budget_shards, 1))
    ]
    spent = sum((shard.spent for shard in shards), ZERO)
    found = []
    if tenant.budget:
        committed = sum((shard.committed for shard in shards), ZERO)
        found.append(BudgetState("", tenant.budget, spent, committed - spent))
    for centre, budget in sorted(tenant.cost_centre_budgets.items()):
        gone = sum((shard.centres_spent.get(centre, ZERO) for shard in shards), ZERO)
        taken = sum((shard.centres_committed.get(centre, ZERO) for shard in shards), ZERO)
        found.append(BudgetState(centre, budget, gone, taken - gone))
    return found


class ChargeOf(Protocol):
    """What a settled row is booked at."""

    def __call__(self, hold: Hold, record: UsageRecord) -> Decimal: ...

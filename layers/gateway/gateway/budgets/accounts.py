"""Budgets reserve a call's maximum cost before it runs and charge the actual cost afterwards.

    hold      reserves the maximum cost of a call atomically; refuses a call that would exceed the limit
    book      replaces the hold by the actual charge, exactly once; an unknown cost keeps its hold
    sweep     books a hold whose lease has ended, by the state of the call in the ledger
    notify    reports each crossed threshold once a month; the sweep reports those that a crash left over

`committed` is the sum of spent and held amounts, per tenant and per cost centre, for one month. A hold is taken only
where `committed + hold <= limit`. So `spent` exceeds a hard limit only where a model breaks its own maximum. The excess
is at most the cost of such calls beyond their holds. A call of unknown usage or price keeps its hold for the month: it
is neither spent nor free.

A busy tenant's account is spread over shards, each with its part of the limit. The shards together never exceed the
limit. Near the limit one shard may refuse a call that the others together still have room for.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

from gateway.core.errors import GatewayError
from gateway.core.times import minute_of, month_of, next_month
from gateway.pricing.price_book import ZERO
from gateway.tenancy.tenant import Budget, Tenant
from gateway.usage.records import RequestId, TenantId, UsageRecord

# A process that claims a notification must send it within this time; then another one may claim it.
CLAIM_TTL = timedelta(minutes=2)


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
    """The room that one attempt reserves. `tokens` counts against the tenant's tokens per minute."""

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
    """The limits of one shard: USD in all, USD of one cost centre, concurrent calls, and tokens a minute."""

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
    """The state of one shard: sums in USD, also by cost centre, and the open holds."""

    committed: Decimal = ZERO
    spent: Decimal = ZERO
    centres_committed: Mapping[str, Decimal] = field(default_factory=dict)
    centres_spent: Mapping[str, Decimal] = field(default_factory=dict)
    holds: Mapping[str, Hold] = field(default_factory=dict)
    minute: str = ""
    minute_tokens: int = 0

    def refusal(self, hold: Hold, limits: Limits) -> GatewayError | None:
        """The error for a hold that would exceed a limit; None for a hold that fits."""
        reset = next_month(hold.started_at)
        if limits.usd is not None and self.committed + hold.amount > limits.usd:
            return budget_exceeded("tenant", limits.usd, self.spent, self.committed - self.spent, reset)
        centre = self.centres_committed.get(hold.cost_centre, ZERO)
        if limits.centre_usd is not None and centre + hold.amount > limits.centre_usd:
            spent = self.centres_spent.get(hold.cost_centre, ZERO)
            return budget_exceeded("cost centre", limits.centre_usd, spent, centre - spent, reset)
        if limits.calls is not None and len(self.holds) >= limits.calls:
            return GatewayError(
                f"Your tenant has reached its limit of {limits.calls} concurrent calls. Wait, then retry.",
                code="too_many_invocations", status=429, retry_after=1,
            )  # fmt: skip
        used = self.minute_tokens if self.minute == minute_of(hold.started_at) else 0
        if limits.tokens is not None and used + hold.tokens > limits.tokens:
            return GatewayError(
                f"Your tenant would exceed its limit of {limits.tokens} tokens per minute. Wait, then retry.",
                code="too_many_tokens", status=429, retry_after=60 - hold.started_at.second,
            )  # fmt: skip
        return None


def budget_exceeded(whose: str, limit: Decimal, spent: Decimal, held: Decimal, reset: datetime) -> GatewayError:
    """429 with the limit, the spent and reserved amounts, and the time at which the budget resets."""
    return GatewayError(
        f"This call would exceed the {whose}'s monthly budget: limit {limit:f} USD, spent {spent:f}, reserved {held:f}."
        f" The budget resets at {reset:%Y-%m-%dT%H:%M:%SZ}.",
        code="budget_exceeded",
        status=429,
    )


@dataclass(frozen=True)
class Booking:
    """The amounts that an ended call takes from its budget: its charge, and the part that stays held."""

    charge: Decimal = ZERO
    kept: Decimal = ZERO

    @property
    def committed(self) -> Decimal:
        return self.charge + self.kept


NOTHING = Booking()


@dataclass(frozen=True)
class Booked:
    """The result of a booking: the sums after it, and its charge."""

    spent: Decimal
    centre_spent: Decimal
    charge: Decimal


class Accounts(Protocol):
    """Stores the accounts. Implemented by `gateway.aws.dynamodb.accounts`."""

    def hold(self, hold: Hold, limits: Limits) -> None:
        """Reserve room. Raises the GatewayError of `Account.refusal`."""

    def book(self, hold: Hold, booking: Booking) -> Booked | None:
        """Replace a hold by its booking; None for a hold that is booked already."""

    def account(self, account: AccountId) -> Account: ...

    def all(self, now: datetime) -> Iterator[tuple[AccountId, Account]]:
        """Every shard of this month and the previous one."""

    def claim_notification(self, account: AccountId, mark: str, now: datetime) -> bool:
        """Claim the notification of a mark for CLAIM_TTL; False while another claim lives, and always after `told`."""

    def mark_notified(self, account: AccountId, mark: str) -> None: ...


def merge_shards(shards: Iterable[Account]) -> Account:
    """The sums of a whole account."""
    committed, spent = ZERO, ZERO
    centres_committed, centres_spent = defaultdict[str, Decimal](Decimal), defaultdict[str, Decimal](Decimal)
    for shard in shards:
        committed, spent = committed + shard.committed, spent + shard.spent
        for sums, parts in ((centres_committed, shard.centres_committed), (centres_spent, shard.centres_spent)):
            for centre, amount in parts.items():
                sums[centre] += amount
    return Account(committed, spent, centres_committed, centres_spent)


def load_account(tenant: Tenant, month: str, accounts: Accounts) -> Account:
    shards = range(max(tenant.budget_shards, 1))
    return merge_shards(accounts.account(AccountId(tenant.tenant_id, month, shard)) for shard in shards)


MODELS = "model#"  # no tenant's id has a #


def slot_of(row: UsageRecord) -> Hold:
    """A slot among the running calls of a model: a hold of 0 USD in the model's own account."""
    account = AccountId(TenantId(MODELS + row.model_id), month_of(row.started_at))
    return Hold(row.request_id, row.attempt, account, "", ZERO, 0, row.started_at, row.lease_until)

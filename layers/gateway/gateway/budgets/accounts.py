"""Budgets reserve a call's maximum cost before it runs and charge the actual cost afterwards.

    hold      reserves the maximum cost of a call atomically; refuses a call that would exceed the limit
    book      replaces the hold by the actual charge, exactly once; an unknown cost keeps its hold
    sweep     books a hold whose lease has ended, by the state of the call in the ledger
    notify    reports each crossed threshold once a period; the sweep reports those that a crash left over

`committed` is the sum of spent and held amounts, for each budget and period. A hold is taken only where
`committed + hold <= limit`, in every budget of the call, or in none. So `spent` exceeds a hard limit only where a model
breaks its own maximum. The excess is at most the cost of such calls beyond their holds. A call of unknown usage or
price keeps its hold for the period: it is neither spent nor free.

An account has the budgets of one holder: a tenant's own and its cost centres' in an account for each month, a user's
or a key's in one that stays. A call that counts in several accounts takes a hold in each, one after another, and gives
them back where one refuses. A process that dies in between leaves holds without a ledger row, which the sweep releases.

A busy tenant's account is spread over shards, each with its part of the limit. The shards together never exceed the
limit. Near the limit one shard may refuse a call that the others together still have room for.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from gateway.core.errors import GatewayError
from gateway.core.times import minute_of, month_of, next_month
from gateway.pricing.price_book import ZERO, money
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import RequestId, TenantId, UsageRecord

# A process that claims a notification must send it within this time; then another one may claim it.
CLAIM_TTL = timedelta(minutes=2)


def shard_of(request_id: str, shards: int) -> int:
    return zlib.crc32(b"budget" + request_id.encode()) % max(shards, 1)


ROLLING = "rolling"  # in place of a month: an account that stays


@dataclass(frozen=True)
class AccountId:
    """One shard of a tenant's account of one month; or with ROLLING, of the account of a holder.

    A holder is `user:NAME`, `claimed:NAME` or `key:ID`, and empty for the tenant.
    """

    tenant_id: TenantId
    month: str
    shard: int = 0
    holder: str = ""


class Unit(StrEnum):
    """What a counter counts."""

    USD = "usd"
    CALLS = "calls"  # those that run
    REQUESTS = "requests"  # in one minute
    TOKENS = "tokens"  # in one minute


@dataclass(frozen=True)
class Counter:
    """One budget or rate limit within an account, beside the tenant's and the cost centres' months.

    `name` is unique within the account: it has the window, the period, and what the account's holder does not say of
    the scope. Without a `limit` it only counts. `whose` names it in messages.
    """

    name: str
    unit: Unit
    whose: str
    limit: Decimal | None = None
    resets_at: datetime | None = None


@dataclass(frozen=True)
class Hold:
    """The room that one attempt reserves in one account. `tokens` counts against limits of tokens per minute.

    `counters` are the names of those that its booking changes: of USD and of running calls. Without `own_sums` it
    counts in these alone, and not in the sums of the account's month and the cost centre's.
    """

    request_id: RequestId
    attempt: int
    account: AccountId
    cost_centre: str
    amount: Decimal
    tokens: int
    started_at: datetime
    lease_until: datetime
    counters: tuple[str, ...] = ()
    own_sums: bool = True

    @property
    def name(self) -> str:
        return f"{self.request_id}#{self.attempt}"


@dataclass(frozen=True)
class Limits:
    """The limits of one shard: USD in all, USD of one cost centre, concurrent calls, tokens a minute, and counters."""

    usd: Decimal | None = None
    centre_usd: Decimal | None = None
    calls: int | None = None
    tokens: int | None = None
    counters: tuple[Counter, ...] = ()
    resets_at: datetime | None = None  # the next month, by the time zone of the tenant's budgets
    keeps: bool = False  # the account may hold a budget that never resets, so it must not expire


@dataclass(frozen=True)
class Account:
    """The state of one shard: sums in USD, also by cost centre and by counter, rates by counter, and the open holds."""

    committed: Decimal = ZERO
    spent: Decimal = ZERO
    centres_committed: Mapping[str, Decimal] = field(default_factory=dict)
    centres_spent: Mapping[str, Decimal] = field(default_factory=dict)
    holds: Mapping[str, Hold] = field(default_factory=dict)
    minute: str = ""
    minute_tokens: int = 0
    counted: Mapping[str, Decimal] = field(default_factory=dict)  # committed; of calls, requests and tokens: the number
    counted_spent: Mapping[str, Decimal] = field(default_factory=dict)
    booked_at: datetime | None = None  # of an account that stays: its last booking

    def refusal(self, hold: Hold, limits: Limits) -> GatewayError | None:
        """The error for a hold that would exceed a limit; None for a hold that fits."""
        reset = limits.resets_at or next_month(hold.started_at)
        if limits.usd is not None and self.committed + hold.amount > limits.usd:
            held = self.committed - self.spent
            return budget_exceeded("the tenant's monthly budget", limits.usd, self.spent, held, reset)
        centre = self.centres_committed.get(hold.cost_centre, ZERO)
        if limits.centre_usd is not None and centre + hold.amount > limits.centre_usd:
            spent = self.centres_spent.get(hold.cost_centre, ZERO)
            whose = "the cost centre's monthly budget"
            return budget_exceeded(whose, limits.centre_usd, spent, centre - spent, reset)
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
        return next(filter(None, (self._refused(counter, hold) for counter in limits.counters)), None)

    def _refused(self, counter: Counter, hold: Hold) -> GatewayError | None:
        known, more = self.counted.get(counter.name, ZERO), counter_amount(counter, hold)
        if counter.limit is None or known + more <= counter.limit:
            return None
        if counter.unit is Unit.USD:
            spent = self.counted_spent.get(counter.name, ZERO)
            return budget_exceeded(counter.whose, counter.limit, spent, known - spent, counter.resets_at)
        most, next_minute = f"the limit of {counter.whose}: {counter.limit}", 60 - hold.started_at.second
        match counter.unit:
            case Unit.REQUESTS:
                return GatewayError(
                    f"This call would exceed {most} requests per minute. Wait, then retry.",
                    code="too_many_requests", status=429, retry_after=next_minute,
                )  # fmt: skip
            case Unit.TOKENS:
                return GatewayError(
                    f"This call would exceed {most} tokens per minute. Wait, then retry.",
                    code="too_many_tokens", status=429, retry_after=next_minute,
                )  # fmt: skip
            case _:
                return GatewayError(
                    f"This call would exceed {most} concurrent calls. Wait, then retry.",
                    code="too_many_invocations", status=429, retry_after=1,
                )  # fmt: skip


def counter_amount(counter: Counter, hold: Hold) -> Decimal:
    """The amount that a hold adds to a counter."""
    match counter.unit:
        case Unit.USD:
            return hold.amount
        case Unit.TOKENS:
            return Decimal(hold.tokens)
        case _:
            return Decimal(1)


def budget_exceeded(whose: str, limit: Decimal, spent: Decimal, held: Decimal, reset: datetime | None) -> GatewayError:
    """429 with the limit, the spent and reserved amounts, and the time at which the budget resets."""
    when = f" The budget resets at {reset:%Y-%m-%dT%H:%M:%SZ}." if reset else " The budget does not reset."
    amounts = f"limit {money(limit)} USD, spent {money(spent)}, reserved {money(held)}"
    return GatewayError(
        f"This call would exceed {whose}: {amounts}.{when}",
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
    counted_spent: Mapping[str, Decimal] = field(default_factory=dict)


class Accounts(Protocol):
    """Stores the accounts. Implemented by `gateway.aws.dynamodb.accounts`."""

    def hold(self, hold: Hold, limits: Limits) -> None:
        """Reserve room. Raises the GatewayError of `Account.refusal`."""

    def book(self, hold: Hold, booking: Booking) -> Booked | None:
        """Replace a hold by its booking; None for a hold that is booked already."""

    def account(self, account: AccountId) -> Account: ...

    def all(self, now: datetime, *, held: bool = False) -> Iterator[tuple[AccountId, Account]]:
        """Every shard of this month and the previous one, and every account that stays; or those with holds only."""

    def claim_notification(self, account: AccountId, mark: str, now: datetime) -> bool:
        """Claim the notification of a mark for CLAIM_TTL; False while another claim lives, and always after `told`."""

    def mark_notified(self, account: AccountId, mark: str) -> None: ...


def hold_all(accounts: Accounts, wanted: Sequence[tuple[Hold, Limits]]) -> tuple[Hold, ...]:
    """Take the holds of one call, all or none. Raises the GatewayError of the account that refuses."""
    taken: list[Hold] = []
    try:
        for hold, limits in wanted:
            accounts.hold(hold, limits)
            taken.append(hold)
    except Exception:
        release_all(accounts, taken)
        raise
    return tuple(taken)


def release_all(accounts: Accounts, taken: Sequence[Hold]) -> None:
    for hold in taken:
        with suppress(Exception):  # the sweep releases it later
            accounts.book(hold, NOTHING)


def merge_shards(shards: Iterable[Account]) -> Account:
    """The sums of a whole account."""
    committed, spent = ZERO, ZERO
    centres_committed, centres_spent = defaultdict[str, Decimal](Decimal), defaultdict[str, Decimal](Decimal)
    counted, counted_spent = defaultdict[str, Decimal](Decimal), defaultdict[str, Decimal](Decimal)
    for shard in shards:
        committed, spent = committed + shard.committed, spent + shard.spent
        for sums, parts in (
            (centres_committed, shard.centres_committed),
            (centres_spent, shard.centres_spent),
            (counted, shard.counted),
            (counted_spent, shard.counted_spent),
        ):
            for name, amount in parts.items():
                sums[name] += amount
    return Account(committed, spent, centres_committed, centres_spent, counted=counted, counted_spent=counted_spent)


def shards_of(tenant: Tenant, of: AccountId) -> int:
    """The number of an account's shards. Accounts that stay have one."""
    return 1 if of.month == ROLLING else tenant.shards_at(of.month)


def load_account(tenant: Tenant, of: AccountId, accounts: Accounts) -> Account:
    """The sums of a whole account, read shard by shard."""
    shards = shards_of(tenant, of)
    return merge_shards(accounts.account(replace(of, shard=shard)) for shard in range(shards))


MODELS = "model#"  # no tenant's id has a #


def slot_of(row: UsageRecord) -> Hold:
    """A slot among the running calls of a model: a hold of 0 USD in the model's own account."""
    account = AccountId(TenantId(MODELS + row.model_id), month_of(row.started_at))
    return Hold(row.request_id, row.attempt, account, "", ZERO, 0, row.started_at, row.lease_until)

"""What stands between a caller and a model: the row, the hold, and what both become afterwards."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from gateway.budgets import AccountId, Accounts, Crossing, Hold, Limits, crossings, month_of, shard_of, tell
from gateway.errors import Forbidden
from gateway.estimates import dearest, most
from gateway.ledger import Ledger
from gateway.pricing import ZERO, PriceBook
from gateway.tenants import Tenant, Unpriced
from gateway.usage import UNKNOWN, TokenUsage, UsageRecord


@dataclass(frozen=True)
class Bound:
    """The most that a call can use; `cached` says that it may write to the prompt cache."""

    usage: TokenUsage
    cached: bool = False


@dataclass(frozen=True)
class Reserved:
    """A row that is open, and the hold beside it where its tenant is limited."""

    row: UsageRecord
    hold: Hold | None


@dataclass(frozen=True)
class Meter:
    """Reserves and settles: the ledger for every call, the account for those of limited tenants.

    `book` is a function, since only limited tenants need prices here and reading them costs a cold start.
    """

    ledger: Ledger
    accounts: Accounts
    book: Callable[[], PriceBook]
    warn: Callable[[Crossing], None]

    def reserve(self, tenant: Tenant, row: UsageRecord, bound: Bound) -> Reserved:
        """Take the hold, then write the row. Raises GatewayError, with nothing written, where a limit refuses."""
        hold = None
        if tenant.is_limited or tenant.unpriced is not Unpriced.ALLOW:
            amount = quote(self.book(), tenant, row.model_id, row.region, bound, row.started_at)
            if tenant.is_limited:
                hold = hold_for(tenant, row, amount or ZERO, bound.usage)
                self.accounts.hold(hold, Limits.of(tenant, row.cost_centre))
        try:
            self.ledger.reserve(row)
        except Exception:
            if hold:
                self.accounts.book(hold, ZERO)
            raise
        return Reserved(row, hold)

    def settle(self, tenant: Tenant, reserved: Reserved, settled: UsageRecord) -> None:
        self.ledger.settle(settled)
        self.book_hold(tenant, reserved, settled)

    def book_hold(self, tenant: Tenant, reserved: Reserved, settled: UsageRecord) -> None:
        """Book what a settled row costs. Where this fails, the sweep does it when the lease has ended."""
        if reserved.hold is None:
            return
        hold, now = reserved.hold, settled.settled_at or settled.started_at
        if booked := self.accounts.book(hold, charge_for(self.book(), hold, settled)):
            with suppress(Exception):  # no call fails for it: the sweep tells what is not told here
                for crossing in crossings(tenant, hold, booked, self.accounts):
                    tell(self.accounts, hold.account, crossing.mark, crossing, self.warn, now)


def quote(book: PriceBook, tenant: Tenant, model_id: str, region: str, bound: Bound, at: datetime) -> Decimal | None:
    """The most that a call can cost in USD; None where its model has no price and the tenant's policy allows that.

    Raises Forbidden where the policy does not.
    """
    amount = most(book, model_id, region, bound.usage, cached=bound.cached, at=at)
    if amount is None and tenant.unpriced is Unpriced.BLOCK:
        raise Forbidden("This model has no price yet, and your tenant may not use it without.", code="model_unpriced")
    if amount is None and tenant.unpriced is Unpriced.PARK:
        return dearest(book, region, bound.usage, at)
    return amount


def hold_for(tenant: Tenant, row: UsageRecord, amount: Decimal, usage: TokenUsage) -> Hold:
    shard = shard_of(row.request_id, tenant.budget_shards)
    return Hold(
        row.request_id,
        row.attempt,
        AccountId(row.tenant_id, month_of(row.started_at), shard),
        row.cost_centre,
        amount,
        usage.context_tokens + usage.output_tokens,
        row.started_at,
        row.lease_until,
    )


def charge_for(book: PriceBook, hold: Hold, settled: UsageRecord) -> Decimal:
    """What a settled row takes of a budget: its charge; nothing where nobody knows what it used.

    An unpriced row takes what it would cost at the dearest price, where room was held for it.
    """
    charge = book.charge_record(settled)
    if charge is not None:
        return charge.cost
    if settled.usage.source == UNKNOWN or settled.is_open or not hold.amount:
        return ZERO
    return dearest(book, settled.region, settled.usage, settled.started_at)

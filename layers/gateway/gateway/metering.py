"""What stands between a caller and a model: the row, the hold, and what both become afterwards."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from gateway.budgets import AccountId, Accounts, Crossing, Hold, Limits, crossings, month_of, shard_of, tell
from gateway.errors import Forbidden
from gateway.estimates import MOST_SECONDS, dearest, most
from gateway.ledger import Ledger
from gateway.pricing import ZERO, PriceBook
from gateway.telemetry import UNPRICED_USAGE, count
from gateway.tenants import Tenant, Unpriced
from gateway.usage import UNKNOWN, ModelId, TenantId, TokenUsage, UsageRecord


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
class Parked:
    """A tenant uses a model that has no price yet; its budget keeps what the call would cost at the dearest one."""

    tenant_id: TenantId
    model_id: ModelId
    region: str
    day: str
    kept: Decimal

    @property
    def mark(self) -> str:
        return f"parked {self.day} {self.region} {self.model_id}"


@dataclass(frozen=True)
class Meter:
    """Reserves and settles: the ledger for every call, the account for those of limited tenants.

    `book` is a function, since only limited tenants, and those that may not use everything unpriced, need prices here,
    and reading them costs a cold start. What is unpriced of all others is found when its hour is closed.
    """

    ledger: Ledger
    accounts: Accounts
    book: Callable[[], PriceBook]
    warn: Callable[[Crossing | Parked], None]

    def reserve(self, tenant: Tenant, row: UsageRecord, bound: Bound) -> Reserved:
        """Take the hold, then write the row. Raises GatewayError, with nothing written, where a limit refuses."""
        hold = None
        if _needs_prices(tenant):
            time = (row.lease_until - row.started_at) // timedelta(seconds=1)
            book = self.book()
            amount = quote(book, tenant, book.priced_as(row), row.region, bound, row.started_at, time)
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
        now = settled.settled_at or settled.started_at
        if reserved.hold:
            self._book(tenant, reserved.hold, settled, now)
        if _needs_prices(tenant) and is_unpriced(self.book(), settled):
            count(UNPRICED_USAGE)
            if tenant.unpriced is Unpriced.PARK:
                self._park(settled, now)

    def _book(self, tenant: Tenant, hold: Hold, settled: UsageRecord, now: datetime) -> None:
        if booked := self.accounts.book(hold, charge_for(self.book(), hold, settled)):
            with suppress(Exception):  # no call fails for it: the sweep tells what is not told here
                for crossing in crossings(tenant, hold, booked, self.accounts):
                    tell(self.accounts, hold.account, crossing.mark, crossing, self.warn, now)

    def _park(self, row: UsageRecord, now: datetime) -> None:
        day = f"{now:%Y-%m-%d}"
        kept = dearest(self.book().for_tenant(row.tenant_id), row.region, row.usage, row.started_at)
        parked = Parked(row.tenant_id, row.model_id, row.region, day, kept)
        with suppress(Exception):  # no call fails for it: the next one tells it
            tell(self.accounts, AccountId(row.tenant_id, month_of(now)), parked.mark, parked, self.warn, now)


def _needs_prices(tenant: Tenant) -> bool:
    return tenant.is_limited or tenant.unpriced is not Unpriced.ALLOW


def is_unpriced(book: PriceBook, row: UsageRecord) -> bool:
    """Has a settled row used something that the book has no price for?"""
    return not row.is_open and row.usage.source != UNKNOWN and book.charge_record(row) is None


def quote(
    book: PriceBook,
    tenant: Tenant,
    model_id: str,
    region: str,
    bound: Bound,
    at: datetime,
    seconds: int = MOST_SECONDS,
) -> Decimal | None:
    """The most that a call can cost in USD; None where its model has no price and the tenant's policy allows that.

    Raises Forbidden where the policy does not.
    """
    book = book.for_tenant(tenant.tenant_id)
    amount = most(book, model_id, region, bound.usage, cached=bound.cached, at=at, seconds=seconds)
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
    if (charge := book.charge_record(settled)) is not None:
        return charge.cost
    if not is_unpriced(book, settled) or not hold.amount:
        return ZERO
    return dearest(book.for_tenant(settled.tenant_id), settled.region, settled.usage, settled.started_at)

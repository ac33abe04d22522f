"""Metering: reserves a ledger row and budget before a call, and settles both after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

from gateway.budgets.accounts import AccountId, Accounts, Booking, Hold, Limits, hold_all, release_all
from gateway.budgets.scopes import holds_of
from gateway.budgets.thresholds import ThresholdCrossed, newly_crossed, notify_once
from gateway.calls.token_bounds import TokenBound
from gateway.core.errors import ForbiddenError, GatewayError
from gateway.core.telemetry import UNPRICED_USAGE, count
from gateway.core.times import month_of
from gateway.pricing.maximum_cost import MOST_SECONDS, highest_unit_price, maximum_cost
from gateway.pricing.price_book import ZERO, PriceBook
from gateway.tenancy.tenant import Tenant, Unpriced
from gateway.usage.ledger import AlreadyReservedError, Ledger
from gateway.usage.records import ModelId, Outcome, PriceStatus, TenantId, UsageRecord

SEPARATELY = 2  # accounts, whose holds are written one by one


@dataclass(frozen=True)
class Reservation:
    """An open row, with a hold in each account that has a limit for it."""

    row: UsageRecord
    holds: tuple[Hold, ...] = ()


@dataclass(frozen=True)
class UnpricedUsageNotice:
    """A tenant uses a model that has no price, so its budget reserves the cost at the highest known prices."""

    tenant_id: TenantId
    model_id: ModelId
    region: str
    day: str
    kept: Decimal

    @property
    def mark(self) -> str:
        return f"parked {self.day} {self.region} {self.model_id}"


class Reservations(Protocol):
    """Writes a row together with holds. Implemented by `gateway.aws.dynamodb.reservations`."""

    def reserve(self, wanted: Sequence[tuple[Hold, Limits]], row: UsageRecord) -> bool:
        """Write all of it, or nothing; False if others write there all the time. Raises like `hold` and `reserve`."""


@dataclass(frozen=True)
class Meter:
    """Reserves and settles: the ledger row of every call, and the account where the tenant has limits.

    `book` is a function because reading prices slows a cold start. Only tenants with limits, or with a policy on
    unpriced usage, need prices here. For all others the hourly run finds unpriced usage.
    """

    ledger: Ledger
    accounts: Accounts
    book: Callable[[], PriceBook]
    warn: Callable[[ThresholdCrossed | UnpricedUsageNotice], None]
    reservations: Reservations | None = None

    def reserve(self, tenant: Tenant, row: UsageRecord, bound: TokenBound) -> Reservation:
        """Take the holds, then write the row. Raises GatewayError, with nothing written, if a limit refuses."""
        wanted: list[tuple[Hold, Limits]] = []
        if _needs_prices(tenant):
            time = (row.lease_until - row.started_at) // timedelta(seconds=1)
            book = self.book()
            amount = quote(book, tenant, book.pricing_name(row), row.region, bound, row.started_at, time)
            if tenant.is_limited:
                wanted = holds_of(tenant, row, amount or ZERO, bound.usage)
        if self.reservations and len(wanted) > SEPARATELY and any(hold.account.holder for hold, _ in wanted):
            return self._reserve_together(self.reservations, wanted, row)
        holds = hold_all(self.accounts, wanted)
        try:
            self.ledger.reserve(row)
        except Exception:
            release_all(self.accounts, holds)
            raise
        return Reservation(row, holds)

    def _reserve_together(
        self, reservations: Reservations, wanted: Sequence[tuple[Hold, Limits]], row: UsageRecord
    ) -> Reservation:
        """The holds of the tenant's accounts one by one, since its calls share them; those of others with the row."""
        shared = [(hold, limits) for hold, limits in wanted if not hold.account.holder]
        own = [(hold, limits) for hold, limits in wanted if hold.account.holder]
        holds = hold_all(self.accounts, shared)
        try:
            if not reservations.reserve(own, row):
                holds += hold_all(self.accounts, own)
                self.ledger.reserve(row)
        except (GatewayError, AlreadyReservedError):
            release_all(self.accounts, holds)
            raise
        except Exception:  # the response may be lost, and the transaction written
            release_all(self.accounts, [hold for hold, _ in wanted])
            raise
        return Reservation(row, tuple(hold for hold, _ in wanted))

    def settle(self, tenant: Tenant, reserved: Reservation, settled: UsageRecord) -> None:
        self.ledger.settle(settled)
        self.book_hold(tenant, reserved, settled)

    def book_hold(self, tenant: Tenant, reserved: Reservation, settled: UsageRecord) -> None:
        """Book the hold of a settled row. If this fails, the sweep books it after the lease has ended."""
        now = settled.settled_at or settled.started_at
        failed: Exception | None = None
        for hold in reserved.holds:
            try:
                self._book(tenant, hold, booking_for(self.book(), hold, settled), now)
            except Exception as error:  # the other accounts must not wait for the sweep
                failed = failed or error
        if failed:
            raise failed
        if _needs_prices(tenant) and is_unpriced(self.book(), settled):
            count(UNPRICED_USAGE)
            if tenant.on_unpriced is Unpriced.PARK:
                self._park(settled, now)

    def _book(self, tenant: Tenant, hold: Hold, booking: Booking, now: datetime) -> None:
        if booked := self.accounts.book(hold, booking):
            with suppress(Exception):  # a call must not fail for it: the sweep reports the threshold later
                for crossing in newly_crossed(tenant, hold, booked, self.accounts):
                    notify_once(self.accounts, hold.account, crossing.mark, crossing, self.warn, now)

    def _park(self, row: UsageRecord, now: datetime) -> None:
        kept = at_highest_price(self.book(), row)
        parked = UnpricedUsageNotice(row.tenant_id, row.model_id, row.region, f"{now:%Y-%m-%d}", kept)
        with suppress(Exception):  # a call must not fail for it: the next one reports it
            notify_once(self.accounts, AccountId(row.tenant_id, month_of(now)), parked.mark, parked, self.warn, now)


def _needs_prices(tenant: Tenant) -> bool:
    return tenant.is_limited or tenant.on_unpriced is not Unpriced.ALLOW


def is_unpriced(book: PriceBook, row: UsageRecord) -> bool:
    """Does a settled row have usage that the price book has no price for?"""
    return row.price_status is PriceStatus.PRICEABLE and book.charge_record(row) is None


def quote(
    book: PriceBook,
    tenant: Tenant,
    model_id: str,
    region: str,
    bound: TokenBound,
    at: datetime,
    seconds: int = MOST_SECONDS,
) -> Decimal | None:
    """The maximum cost of a call in USD; None if it has no price and the tenant's policy allows that.

    If one of its tiers has no price, `allow` reserves the cost of the others. Raises ForbiddenError under `block`.
    """
    book = book.for_tenant(tenant.tenant_id)
    amounts = maximum_by_tier(book, model_id, region, bound, at, seconds)
    priced = [amount for amount in amounts.values() if amount is not None]
    if len(priced) < len(amounts):
        if tenant.on_unpriced is Unpriced.BLOCK:
            raise unpriced(model_id, [tier for tier, amount in amounts.items() if amount is None])
        if tenant.on_unpriced is Unpriced.PARK:
            priced.append(highest_unit_price(book, region, bound.usage, at))
    return max(priced, default=None)


def maximum_by_tier(
    book: PriceBook, model_id: str, region: str, bound: TokenBound, at: datetime, seconds: int
) -> dict[str, Decimal | None]:
    return {
        tier: maximum_cost(
            book, model_id, region, replace(bound.usage, service_tier=tier), cached=bound.cached, at=at, seconds=seconds
        )
        for tier in bound.tiers
    }


def unpriced(model_id: str, tiers: list[str]) -> ForbiddenError:
    which = f"{model_id} has no price" + ("" if "default" in tiers else f" for the tier {tiers[0]}")
    return ForbiddenError(
        f"{which}, and your tenant only allows priced models. Ask the gateway's operators to add a price, or use "
        "another model.",
        code="model_unpriced",
    )


def booking_for(book: PriceBook, hold: Hold, settled: UsageRecord) -> Booking:
    """The booking of a settled row: its charge, and the part of its hold that stays while the charge is not final.

    The total usage of an interrupted or abandoned call is unknown, so its hold stays, even if part of the usage is
    known. Unpriced usage keeps its cost at the highest known prices, up to its hold.
    """
    charge = book.charge_record(settled)
    if charge is not None:
        ended = settled.outcome in (Outcome.SUCCEEDED, Outcome.FAILED)
        return Booking(charge.cost, ZERO if ended else max(hold.amount - charge.cost, ZERO))
    if settled.price_status is not PriceStatus.PRICEABLE:
        return Booking(kept=hold.amount)
    return Booking(kept=min(hold.amount, at_highest_price(book, settled)))


def at_highest_price(book: PriceBook, row: UsageRecord) -> Decimal:
    return highest_unit_price(book.for_tenant(row.tenant_id), row.region, row.usage, row.started_at)

"""Cleans up after crashes: books holds whose lease has ended, and reports thresholds that nobody reported."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from gateway.budgets.accounts import MODELS, NOTHING, ROLLING, Account, AccountId, Accounts, Booking, Hold, merge_shards
from gateway.budgets.thresholds import all_crossed, notify_once
from gateway.core.times import month_of
from gateway.tenancy.tenant import Tenant
from gateway.usage.ledger import Ledger, UnreadableRowError
from gateway.usage.records import TenantId, UsageRecord

RECENT = timedelta(hours=1)


def sweep_holds(
    accounts: Accounts, ledger: Ledger, booking_of: BookingOf, now: datetime, leases_ended_by: datetime | None = None
) -> int:
    """Book the holds that nobody booked, by the ledger's rows of their calls; a hold without a row is released."""
    swept = 0
    for hold in (hold for _, account in accounts.all(now, held=True) for hold in account.holds.values()):
        if hold.lease_until >= (leases_ended_by or now):
            continue
        try:
            record = ledger.get(hold.request_id, hold.attempt, hold.started_at)
        except UnreadableRowError:  # its usage is unknown
            swept += accounts.book(hold, Booking(kept=hold.amount)) is not None
            continue
        if record is not None and record.is_open:
            continue  # the ledger's own sweep comes first
        is_slot = hold.account.tenant_id.startswith(MODELS)
        swept += accounts.book(hold, booking_of(hold, record) if record and not is_slot else NOTHING) is not None
    return swept


def sweep_thresholds(
    accounts: Accounts, tenant_of: Callable[[TenantId], Tenant | None], warn: Callable[[Any], None], now: datetime
) -> int:
    """Report crossed thresholds that nobody reported: the process that booked died, or the sweep itself booked.

    The sweep checks the previous month for one more day. Later its tenants' budgets may have changed. Accounts of users
    and keys are many, so it checks those with a booking in the last hour.
    """
    months = {month_of(now + timedelta(hours=14)), month_of(now), month_of(now - timedelta(days=8))}
    shards = defaultdict[AccountId, list[Account]](list)
    told, known = 0, dict[TenantId, Tenant | None]()

    def tell(account_id: AccountId, account: Account) -> int:
        if account_id.tenant_id not in known:
            known[account_id.tenant_id] = tenant_of(account_id.tenant_id)
        tenant = known[account_id.tenant_id]
        crossed = all_crossed(tenant, account_id, account, now) if tenant else ()
        return sum(notify_once(accounts, account_id, crossing.mark, crossing, warn, now) for crossing in crossed)

    for account_id, account in accounts.all(now):
        if account_id.month == ROLLING:
            if account.counted_spent and (account.booked_at is None or account.booked_at > now - RECENT):
                told += tell(account_id, account)
        elif (account.spent or account.counted_spent) and account_id.month in months:
            shards[replace(account_id, shard=0)].append(account)
    return told + sum(tell(account_id, merge_shards(parts)) for account_id, parts in shards.items())


class BookingOf(Protocol):
    """Computes the booking of a settled row."""

    def __call__(self, hold: Hold, record: UsageRecord) -> Booking: ...

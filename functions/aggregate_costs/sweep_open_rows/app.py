"""SweepOpenRows: settle abandoned rows as `unsettled`, release their holds, and send missed budget notices.

A notice is missed if a process crossed a budget threshold and ended before it sent the notice. The sweep is the first
step of every costs run, and also runs every five minutes. Leases end by the real clock. The input may set another time,
`asOf`, if no caller can be alive (a local stack that has just started).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from gateway.aws.dynamodb.accounts import AccountTable
from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.aws.dynamodb.tenants import TenantTable
from gateway.aws.events import warn
from gateway.aws.s3.price_overlay import current_book
from gateway.budgets.accounts import Booking, Hold
from gateway.budgets.sweep import sweep_holds, sweep_thresholds
from gateway.calls.metering import booking_for
from gateway.core.settings import settings
from gateway.core.telemetry import OLDEST_OPEN_ROW_AGE, measure
from gateway.usage.ledger import sweep
from gateway.usage.records import UsageRecord

ledger = DynamoLedger(settings().usage_table)
accounts = AccountTable(settings().budgets_table)
tenants = TenantTable(settings().tenants_table)


def handler(event: dict[str, Any], _context: object) -> dict[str, int]:
    now = datetime.now(UTC)
    leases_ended_by = datetime.fromisoformat(event["asOf"]) if event.get("asOf") else now
    swept = sweep(ledger, now, leases_ended_by)
    oldest = ledger.oldest_open()
    measure(OLDEST_OPEN_ROW_AGE, (now - oldest).total_seconds() if oldest else 0, MetricUnit.Seconds)
    released = sweep_holds(accounts, ledger, booking, now, leases_ended_by)
    return {"swept": swept, "released": released, "told": sweep_thresholds(accounts, tenants.tenant, warn, now)}


def booking(hold: Hold, record: UsageRecord) -> Booking:
    return booking_for(current_book(), hold, record)

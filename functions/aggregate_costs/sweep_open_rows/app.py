"""SweepOpenRows: settle the rows that nobody came back for, as `unsettled`.

It opens every run of the costs, and runs on its own every five minutes. The leases are those of the real clock: the
input may name another moment, `asOf`, where it is known that no caller lives (a local stack that was just started).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway.aws.dynamodb import DynamoLedger
from gateway.ledger import sweep
from gateway.settings import settings

ledger = DynamoLedger(settings().usage_table)


def handler(event: dict[str, Any], _context: object) -> dict[str, int]:
    as_of = event.get("asOf")
    return {"swept": sweep(ledger, datetime.now(UTC), datetime.fromisoformat(as_of) if as_of else None)}

"""PlanNight: plan the days of a run from its scheduled time; `days` in the input overrides them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gateway.core.settings import settings
from gateway.reconciliation.records import day_before, days_to_reconcile


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    bill = bool(settings().cur_uri)
    scheduled = datetime.fromisoformat(event["scheduledTime"])
    planned = [{"day": day, "bill": bill} for day in event.get("days", ())]
    planned = planned or [due._asdict() for due in days_to_reconcile(scheduled, bill)]
    for due in planned:
        due["scheduledTime"] = event["scheduledTime"]
    return {"days": planned, "yesterday": day_before(scheduled.date().isoformat())}

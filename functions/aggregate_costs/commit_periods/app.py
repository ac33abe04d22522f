"""CommitPeriods: note which hours are done, and which hold open rows and must be done again."""

from __future__ import annotations

from typing import Any

from gateway.aggregation import Plan, commit
from gateway.aws.periods import DynamoPeriods
from gateway.settings import settings

periods = DynamoPeriods(settings().usage_table)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    done = Plan(**event["plan"])
    open_hours = [hour for verified in event["verified"] for hour in verified["openHours"]]
    watermark = commit(done, open_hours, periods)
    return {"hours": len(done.hours), "days": list(done.days()), "openHours": open_hours, "watermark": watermark}

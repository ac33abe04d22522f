"""What operators and tenants are told as it happens: events on the account's default bus. A rule fans them out."""

from __future__ import annotations

import json

from gateway.aws.clients import client
from gateway.budgets import Crossing
from gateway.telemetry import logger

SOURCE = "model-gateway"
THRESHOLD_PASSED = "Budget threshold passed"


def warn(crossing: Crossing) -> None:
    """One event for a threshold that a charge has passed. A call never fails for it."""
    detail = {
        "tenant_id": crossing.tenant_id,
        "cost_centre": crossing.cost_centre,
        "month": crossing.month,
        "threshold_percent": crossing.threshold,
        "limit_usd": f"{crossing.limit:f}",
        "spent_usd": f"{crossing.spent:f}",
    }
    logger().warning("budget_threshold_passed", extra=detail)
    try:
        entry = {"Source": SOURCE, "DetailType": THRESHOLD_PASSED, "Detail": json.dumps(detail)}
        client("events").put_events(Entries=[entry])
    except Exception as error:
        logger().error("budget_event_lost", extra={"error_type": type(error).__name__} | detail)

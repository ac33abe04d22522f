"""What operators and tenants are told as it happens: events on the account's default bus. Rules fan them out."""

from __future__ import annotations

import json
from typing import Any, Protocol

from gateway.aws.clients import client
from gateway.budgets.thresholds import ThresholdCrossed
from gateway.calls.metering import UnpricedUsageNotice
from gateway.core.settings import settings
from gateway.core.telemetry import logger

SOURCE = "model-gateway"
THRESHOLD_PASSED = "Budget threshold passed"
USAGE_PARKED = "Unpriced usage parked"


class NotTold(Exception):
    """The bus did not take an event."""


class Notice(Protocol):
    """What a part of the domain has to tell that names its own event."""

    @property
    def event(self) -> str: ...

    def detail(self) -> dict[str, Any]: ...


def warn(notice: ThresholdCrossed | UnpricedUsageNotice) -> None:
    """One event for what has happened. Raises where the bus does not take it, so that it is told again."""
    if isinstance(notice, UnpricedUsageNotice):
        parked = {"tenant_id": notice.tenant_id, "model_id": notice.model_id, "region": notice.region}
        _put(USAGE_PARKED, parked | {"day": notice.day, "kept_usd": f"{notice.kept:f}"})
        return
    detail = {
        "tenant_id": notice.tenant_id,
        "cost_centre": notice.cost_centre,
        "month": notice.month,
        "threshold_percent": notice.threshold,
        "limit_usd": f"{notice.limit:f}",
        "spent_usd": f"{notice.spent:f}",
    }
    _put(THRESHOLD_PASSED, detail)


def announce(notice: Notice) -> None:
    """One event for a notice. Raises where the bus does not take it, so that it is told again."""
    _put(notice.event, notice.detail())


def _put(kind: str, detail: dict[str, Any]) -> None:
    said = {"event": kind} | detail
    logger().warning("told", extra=said)
    entry = {"Source": SOURCE, "DetailType": kind, "Detail": json.dumps(detail), "Resources": [settings().gateway_arn]}
    try:
        refused = client("events").put_events(Entries=[entry])["FailedEntryCount"]
    except Exception as error:
        logger().error("event_not_taken", extra={"error_type": type(error).__name__} | said)
        raise
    if refused:
        logger().error("event_not_taken", extra=said)
        raise NotTold(kind)

"""Sends notices to operators and tenants as events on the account's default bus; rules fan them out."""

from __future__ import annotations

import json
from typing import Any, Protocol

from gateway.aws.clients import client
from gateway.budgets.thresholds import ThresholdCrossed
from gateway.calls.metering import UnpricedUsageNotice
from gateway.core.settings import settings
from gateway.core.telemetry import logger
from gateway.tenancy.budgets import scope_to_json

SOURCE = "model-gateway"
THRESHOLD_PASSED = "Budget threshold passed"
USAGE_PARKED = "Unpriced usage parked"


class NotTold(Exception):
    """The bus did not accept an event."""


class Notice(Protocol):
    """A notice from the domain that names its own event."""

    @property
    def event(self) -> str: ...

    def detail(self) -> dict[str, Any]: ...


def warn(notice: ThresholdCrossed | UnpricedUsageNotice) -> None:
    """Send one event. Raises if the bus does not accept it, so that the caller retries later."""
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
        "scope": scope_to_json(notice.scope),
        "window": notice.window.value,
        "period": notice.period or notice.month,
    }
    _put(THRESHOLD_PASSED, detail)


def announce(notice: Notice) -> None:
    """Send a notice as one event. Raises if the bus does not accept it, so that the caller retries later."""
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

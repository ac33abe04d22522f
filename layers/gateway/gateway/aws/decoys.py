"""Raises the alarm for a decoy key: a log line, a metric with an alarm in template.yaml, and an event on the bus."""

from __future__ import annotations

import json

from gateway.aws.clients import client
from gateway.core.settings import settings
from gateway.core.telemetry import count, logger
from gateway.tenancy.keys import Key

SOURCE = "model-gateway"
DECOY_USED = "Decoy key used"
METRIC = "DecoyKeyUsed"


def alarm(decoy: Key, source_ip: str) -> None:
    """Alert the operators. No failure here may change the caller's response, which is that of an unknown key."""
    detail = {"key_id": decoy.key_id, "label": decoy.label, "source_ip": source_ip}
    logger().warning("decoy_key_used", extra=detail)
    count(METRIC)
    try:
        told = {"Detail": json.dumps(detail), "Resources": [settings().gateway_arn]}
        entry = {"Source": SOURCE, "DetailType": DECOY_USED} | told
        client("events").put_events(Entries=[entry])
    except Exception as error:
        logger().error("decoy_event_lost", extra={"error_type": type(error).__name__, "key_id": decoy.key_id})

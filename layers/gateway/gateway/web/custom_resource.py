"""Custom resources: runs the request of a CloudFormation stack, and sends the result back to the stack."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from gateway.core.errors import GatewayError
from gateway.core.telemetry import logger

# The physical id of a failed Create. The Delete that follows must not delete an existing resource.
NOT_MADE = "not-made"
_PATIENCE = 10.0  # seconds
_TRIES = 3


def is_from_stack(event: Mapping[str, Any]) -> bool:
    return "ResponseURL" in event and "RequestType" in event


def answer_stack(event: Mapping[str, Any], do: Callable[[Mapping[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """Run the request and always send a result: a stack without a result waits for an hour."""
    physical_id = str(event.get("PhysicalResourceId") or NOT_MADE)
    answer: dict[str, Any]
    try:
        answer = {"Status": "SUCCESS"} | do(event)
    except GatewayError as error:
        answer = {"Status": "FAILED", "PhysicalResourceId": physical_id, "Reason": f"{error.code}: {error.message}"}
    except Exception as error:
        logger().error("custom_resource_failed", extra={"error_type": type(error).__name__})
        reason = "Internal error. The function's log has the cause."
        answer = {"Status": "FAILED", "PhysicalResourceId": physical_id, "Reason": reason}
    answer |= {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    _tell(str(event["ResponseURL"]), answer)
    return answer


def _tell(url: str, answer: Mapping[str, Any]) -> None:
    """PUT the result to the URL that CloudFormation signed; the URL accepts no content type."""
    request = urllib.request.Request(url, json.dumps(answer).encode(), {"Content-Type": ""}, method="PUT")  # noqa: S310
    for left in reversed(range(_TRIES)):
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE):  # noqa: S310
                return
        except OSError as error:
            logger().warning("stack_not_told", extra={"error_type": type(error).__name__, "tries_left": left})
            if not left:
                raise
            time.sleep(1)

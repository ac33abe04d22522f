"""The last resort of every API function: the error that a client may see, and the log entry about it."""

from __future__ import annotations

from gateway.core.errors import GatewayError, NotFoundError
from gateway.core.telemetry import logger

MOST_PLACES = 8


def as_gateway_error(error: Exception, request_id: str) -> GatewayError:
    """An error that may leave the gateway. Any error but the gateway's own becomes a 500 without details."""
    if isinstance(error, GatewayError):
        seen = {"code": error.code, "status": error.status, "request_id": request_id}
        logger().info("refused", extra=seen)
        return error
    # Only the type: a message may quote client input.
    failed = {"error_type": type(error).__name__, "where": _places(error), "request_id": request_id}
    logger().error("failed", extra=failed)
    return GatewayError("Internal error. Retry; if it persists, contact the gateway operators with this request_id.")


def route_not_found() -> NotFoundError:
    return NotFoundError("Unknown operation. See openapi.yaml.", code="route_not_found")


def _places(error: BaseException) -> list[str]:
    """Files and lines of the trace, without any value."""
    places, trace = [], error.__traceback__
    while trace:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return places[-MOST_PLACES:]

"""Errors as HTTP problems: one status, a stable `code`, a sentence, the request's id. Clients get nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.event_handler import Response
from pydantic import ValidationError

from gateway.core.errors import BadRequestError, GatewayError

if TYPE_CHECKING:
    from gateway.core.error_codes import ErrorCode

JSON = "application/json"


def problem(error: GatewayError, request_id: str, details: list[dict[str, str]] | None = None) -> Response[str]:
    body: dict[str, Any] = {"code": error.code, "message": error.message, "request_id": request_id}
    if details:
        body["details"] = details
    headers: dict[str, str | list[str]] = {"x-request-id": request_id}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return Response(error.status, JSON, json.dumps(body), headers=headers)


def faults(error: ValidationError, where: str) -> list[dict[str, str]]:
    """Each fault of a body or query: its location and its message, without the client's value."""
    return [
        {"location": ".".join([where, *map(str, fault["loc"])]), "message": fault["msg"]}
        for fault in error.errors(include_input=False, include_url=False, include_context=False)[:20]
    ]


class SchemaViolationError(BadRequestError):
    """A body or query that violates the spec."""

    def __init__(self, error: ValidationError, where: str, code: ErrorCode):
        details = faults(error, where)
        first = details[0]
        super().__init__(f"{first['location']}: {first['message']}", code=code)
        self.details = details

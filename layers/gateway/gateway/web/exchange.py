"""Requests to streaming functions, and the replies of their handlers: at once, in parts, or pending.

On AWS the Lambda Web Adapter forwards the request. `x-amzn-request-context` has the caller, and only API Gateway sets
it; `x-amzn-lambda-context` has the remaining time and the trace.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gateway.core.errors import BadRequestError, GatewayError, SchemaError
from gateway.tenancy.caller import Caller, caller_from_context
from gateway.usage.records import RequestId
from gateway.web.reading import either_form, read_json

LONGEST = 900.0  # seconds; API Gateway's limit for a whole stream, counted from the request
JSON = "application/json"


@dataclass(frozen=True)
class Request:
    """One request with its caller: API Gateway's proxy event, and Lambda's context as the adapter sends it.

    Header names are lower-case. The body is raw bytes, parsed at most once.
    """

    event: Mapping[str, Any]
    invocation: Mapping[str, Any]

    @classmethod
    def received(
        cls, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> Request:
        """A request from the Lambda Web Adapter; `path` keeps its percent-encoding."""
        event = {
            "httpMethod": method,
            "path": path,
            "queryStringParameters": query,
            "headers": headers,
            "body": body,
            "requestContext": json.loads(headers.get("x-amzn-request-context") or "{}"),
        }
        return cls(event, json.loads(headers.get("x-amzn-lambda-context") or "{}"))

    @property
    def path(self) -> str:
        return str(self.event["path"])

    @property
    def query(self) -> Mapping[str, str]:
        return self.event["queryStringParameters"]  # type: ignore[no-any-return]

    @property
    def headers(self) -> Mapping[str, str]:
        return self.event["headers"]  # type: ignore[no-any-return]

    @property
    def context(self) -> Mapping[str, Any]:
        """API Gateway's request context."""
        return self.event["requestContext"]  # type: ignore[no-any-return]

    @property
    def request_id(self) -> RequestId:
        return RequestId(self.context.get("requestId") or "")

    @property
    def caller(self) -> Caller:
        """The caller that the authorizer identified. No input of the client affects it."""
        said = self.context.get("authorizer")
        if not said or "tenant" not in said:
            raise GatewayError("Send the request through the gateway's API.", code="unauthorized", status=401)
        return caller_from_context(said)

    @property
    def deadline(self) -> float:
        """The end of this invocation or of API Gateway's timeout, whichever is first: in seconds since the epoch.

        A cold start consumes API Gateway's time, but not Lambda's.
        """
        now = time.time() * 1000
        received = float(self.context.get("requestTimeEpoch") or now)
        return min(float(self.invocation.get("deadline") or now + LONGEST * 1000), received + LONGEST * 1000) / 1000

    @property
    def trace(self) -> str:
        """The invocation's X-Ray header. It is not in the environment, since one server answers many requests."""
        return self.invocation.get("xray_trace_id") or ""

    @cached_property
    def json(self) -> Any:
        """The body. Raises BadRequestError unless it is JSON that every service accepts."""
        return read_json(self.event["body"])

    def header(self, name: str) -> str | None:
        """A header by its name, with `_` or with `-`. Raises BadRequestError if both came with different values."""
        return either_form(self.headers.get, name)


@dataclass(frozen=True)
class Reply:
    """A complete answer."""

    body: Any = b""  # bytes, or a value to serialize as JSON
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON


@dataclass(frozen=True)
class StreamedReply:
    """An answer in parts. `error` makes the last part of one that fails after its status was sent."""

    parts: Iterator[bytes]
    content_type: str
    ping: bytes
    error: Callable[[GatewayError], bytes]
    abort: Callable[[], None]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PendingReply:
    """An answer that `make` produces later. If that takes too long, it begins with these headers and pings."""

    make: Callable[[], Reply | StreamedReply]
    headers: Mapping[str, str] = field(default_factory=dict)  # headers that are known before the answer
    content_type: str = JSON
    ping: bytes = b" "
    error: Callable[[GatewayError], bytes] | None = (
        None  # makes the last part of a stream; a JSON answer ends with its problem instead
    )

    def failed(self, error: GatewayError, problem: Reply) -> bytes:
        return self.error(error) if self.error else late(problem)


def late(problem: Reply) -> bytes:
    """A problem after a sent status, written so that it is not JSON, and at its end not UTF-8.

    Every SDK reports invalid JSON as an error, except botocore: it decodes the text, then reads it as an answer without
    content (botocore.parsers, `_parse_body_as_json`). Invalid UTF-8 fails its decoding.
    """
    return b"HTTP %d %b\xff" % (problem.status, problem.body)


Answer = Reply | StreamedReply | PendingReply


@dataclass(frozen=True)
class Dialect:
    """A wire format's replies for errors, and for bodies that openapi.yaml does not allow."""

    problem: Callable[[GatewayError, str], Reply]
    misfit: Callable[[SchemaError], BadRequestError]

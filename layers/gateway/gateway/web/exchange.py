"""What comes to the edge of what streams, and what its handlers answer: at once, in parts, or after a while.

On AWS the Lambda Web Adapter stands before it: who calls is in `x-amzn-request-context`, put there by API Gateway and
by nobody else; how much time is left, and which trace it is in, in `x-amzn-lambda-context`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gateway.core.errors import BadRequestError, GatewayError, SchemaError
from gateway.tenancy.tenant import Caller, tenant_from_json
from gateway.usage.records import KeyId, RequestId
from gateway.web.reading import either_form, read_json

LONGEST = 900.0  # seconds that API Gateway lets a stream take in all, counted from the request
JSON = "application/json"


@dataclass(frozen=True)
class Request:
    """One request, with who sent it: API Gateway's proxy event, and Lambda's context as the adapter has it.

    Header names are lower-case. The body is bytes, which are read once and may be any.
    """

    event: Mapping[str, Any]
    invocation: Mapping[str, Any]

    @classmethod
    def received(
        cls, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> Request:
        """As the Lambda Web Adapter hands it on; `path` is percent-encoded as it came."""
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
        """Who calls, as the authorizer said. Nothing that the client sent takes part."""
        said = self.context.get("authorizer")
        if not said or "tenant" not in said:
            raise GatewayError("Send the request through the gateway's API.", code="unauthorized", status=401)
        return Caller(tenant_from_json(json.loads(said["tenant"])), KeyId(said["key_id"]))

    @property
    def deadline(self) -> float:
        """When this invocation ends, or API Gateway's patience: in seconds since the epoch.

        A cold start takes from API Gateway's time, and not from Lambda's.
        """
        now = time.time() * 1000
        received = float(self.context.get("requestTimeEpoch") or now)
        return min(float(self.invocation.get("deadline") or now + LONGEST * 1000), received + LONGEST * 1000) / 1000

    @property
    def trace(self) -> str:
        """X-Ray's header of this invocation; here it is in no environment, since one server answers many."""
        return self.invocation.get("xray_trace_id") or ""

    @cached_property
    def json(self) -> Any:
        """The body. Raises BadRequestError for one that is no JSON that every service takes."""
        return read_json(self.event["body"])

    def header(self, name: str) -> str | None:
        """A header by its name, or with `-` in the place of its `_`. Raises BadRequestError where the two disagree."""
        return either_form(self.headers.get, name)


@dataclass(frozen=True)
class Reply:
    """An answer at once."""

    body: Any = b""  # bytes, or what becomes JSON
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON


@dataclass(frozen=True)
class StreamedReply:
    """An answer in parts. `error` is the last part of one that fails after its status was sent."""

    parts: Iterator[bytes]
    content_type: str
    ping: bytes
    error: Callable[[GatewayError], bytes]
    abort: Callable[[], None]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PendingReply:
    """An answer that is still to be made. One that takes too long begins with the head and the pings that are here."""

    make: Callable[[], Reply | StreamedReply]
    headers: Mapping[str, str] = field(default_factory=dict)  # those that are known before the answer
    content_type: str = JSON
    ping: bytes = b" "
    error: Callable[[GatewayError], bytes] | None = (
        None  # the last part of a stream; of JSON the problem is made into one
    )

    def failed(self, error: GatewayError, problem: Reply) -> bytes:
        return self.error(error) if self.error else late(problem)


def late(problem: Reply) -> bytes:
    """A problem whose status cannot be sent any more, as what is no JSON, and no UTF-8 at its end.

    What is no JSON is an error to every SDK but botocore, which decodes it first and then takes it for an answer
    without content (botocore.parsers, `_parse_body_as_json`).
    """
    return b"HTTP %d %b\xff" % (problem.status, problem.body)


Answer = Reply | StreamedReply | PendingReply


@dataclass(frozen=True)
class Dialect:
    """How the clients of a format are told of what goes wrong, and of a body that openapi.yaml forbids."""

    problem: Callable[[GatewayError, str], Reply]
    misfit: Callable[[SchemaError], BadRequestError]

"""API Gateway on this machine: routes, security, validation and throttling of openapi.yaml, then the function.

A request takes the same steps as on AWS, and each step may end it with a gateway response:

    size -> route -> authorizer -> usage plan key -> request validation -> throttling -> function

A STREAM integration leads to a function's server, whose response is sent on as it arrives.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.dev.api_gateway.events import Call, adapted_headers, proxy_event
from scripts.dev.api_gateway.gateway_responses import NAMELESS, GatewayResponses
from scripts.dev.api_gateway.judging import ContractLog
from scripts.dev.api_gateway.routes import Route, Spec
from scripts.dev.api_gateway.security import Authorize, Refused, UsagePlans
from scripts.dev.api_gateway.validation import RequestValidation
from scripts.dev.http_server import Request, Response
from scripts.dev.lambda_runtime.pool import FunctionHost, Outcome, StillRunning
from scripts.dev.lambda_runtime.web_adapter import FunctionFailed, Reply, WebFunction
from scripts.dev.rest_api.headers import CHUNKED, from_function
from scripts.dev.rest_api.importing import INTEGRATION
from scripts.project.template import UsagePlanKey

logger = logging.getLogger(__name__)
LARGEST_EVENT = 6_291_556  # bytes: Lambda's limit for a whole event
_MOST_OF_HEADERS = 10_240  # bytes of the request line and all header values
_LONGEST_ARN = 1_600
_NOT_HANDED_ON = {"content-length", "keep-alive"}
_OVERRIDDEN = "x-http-method-override"


class ApiGateway:
    def __init__(
        self,
        spec: Spec,
        functions: FunctionHost,
        servers: Mapping[str, WebFunction],
        keys: list[UsagePlanKey],
        stage: str,
        region: str,
        logs: Path,
        authorizers: Mapping[str, Authorize],
    ):
        self._authorizers = authorizers
        self._spec = spec
        self._functions = functions
        self._servers = servers
        self._plans = UsagePlans(keys)
        self._stage = stage
        self._region = region
        self._responses = GatewayResponses(spec.api.gateway_responses)
        self._validation = RequestValidation(spec)
        self._contract = ContractLog(spec, logs / "contract.log")
        self._access_log = (logs / "access.log").open("ab", buffering=0)

    def answer(self, request: Request) -> Response:
        began = time.perf_counter()
        request.method = (request.header(_OVERRIDDEN) or request.method).upper()
        call = Call(request, self._stage, self._region)
        self._contract.begins(call)
        nameless = False
        try:
            response = self._answer(call)
        except Refused as refused:
            response = self._responses.render(refused.kind, call.template_context())
            nameless = refused.kind in NAMELESS
        except Exception:
            logger.exception("%s failed", call.request_id)
            response = self._responses.render("API_CONFIGURATION_ERROR", call.template_context())
        present = {name.lower() for name, _ in response.headers}
        for name, value in (
            ("x-amzn-RequestId", call.request_id),
            ("x-amz-apigw-id", call.extended_id),
            ("X-Amzn-Trace-Id", call.trace_id),
        ):
            if name.lower() not in present and not nameless:
                response.headers.append((name, value))
        if response.stream is not None:
            response.stream = self._watched(call, response, response.stream, began)
        else:
            self._contract.ends(call, response)
            self._note(call, response.status, len(response.body), began)
        return response

    def _answer(self, call: Call) -> Response:
        _fits(call.request)
        found = self._spec.find(call.request.method, call.request.path)
        if found is None:
            raise Refused("MISSING_AUTHENTICATION_TOKEN")
        call.route, call.path_parameters = found
        if call.route.authorizer is not None and len(call.method_arn.encode()) > _LONGEST_ARN:
            raise Refused("URI_TOO_LONG")
        self._secure(call, call.route)
        self._validation.check(call, call.route)
        self._plans.throttle(call)
        return self._integrate(call, call.route)

    def _secure(self, call: Call, route: Route) -> None:
        usage_key = None
        if route.authorizer is not None:
            authorize = self._authorizers.get(route.authorizer.kind)
            if authorize is None:
                raise Refused("AUTHORIZER_CONFIGURATION_ERROR")
            usage_key = authorize(call, route.authorizer, self._functions)
        if route.imported.api_key_required:
            self._plans.identify(call, usage_key)

    def _integrate(self, call: Call, route: Route) -> Response:
        if (integration := route.imported.integration) is not None and integration.kind == "mock":
            return mocked(call, route)
        if route.function is None:
            raise Refused("API_CONFIGURATION_ERROR")
        if call.request.header(CHUNKED) is not None:
            raise Refused("API_CONFIGURATION_ERROR")  # AWS documents "Exception", without a status
        event = proxy_event(call, self._is_binary(call.request.header("content-type")))
        if _is_large(event) and len(json.dumps(event, ensure_ascii=False).encode()) > LARGEST_EVENT:
            raise Refused("REQUEST_TOO_LARGE")
        server = self._servers.get(route.function)
        if route.streams != (server is not None):
            raise Refused("INTEGRATION_FAILURE")  # a function has one mode, which all its integrations must use
        if server is not None:
            return self._stream(call, server, event, route.timeout)
        try:
            # The timeout begins with the integration: the authorizer's time does not count.
            outcome = self._functions.invoke(route.function, event, route.timeout)
        except StillRunning:
            raise Refused("INTEGRATION_TIMEOUT") from None
        try:
            return self._proxied(call, outcome)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise Refused("INTEGRATION_FAILURE") from None

    def _is_binary(self, content_type: str | None) -> bool:
        """Is the content type one of the API's binary media types?"""
        kind = (content_type or "").split(";")[0].strip().lower()
        return bool(kind) and bool({kind, "*/*"} & set(self._spec.api.binary_media_types))

    def _proxied(self, call: Call, outcome: Outcome) -> Response:
        """A function's result as a response. Raises for one that API Gateway calls malformed."""
        answer: Any = json.loads(outcome.payload)
        if outcome.failed or not isinstance(answer, dict) or "statusCode" not in answer:
            raise ValueError("no proxy answer")
        body, headers = answer.get("body"), _named_headers(answer)
        if not isinstance(body, str | None):
            raise TypeError("the body is no text")
        content = (body or "").encode()
        said = next(value for name, value in headers if name.lower() == "content-type")
        accepted = (call.request.header("accept") or "").split(",")[0]  # only the first counts
        if answer.get("isBase64Encoded") and (self._is_binary(accepted) or self._is_binary(said)):
            content = base64.b64decode(content, validate=True)
        status = int(answer["statusCode"])
        if not 100 <= status < 600:
            raise ValueError("no HTTP status")
        return Response(status, content, headers)

    def _stream(self, call: Call, server: WebFunction, event: Mapping[str, Any], timeout: float) -> Response:
        headers = adapted_headers(call, event, server.function)
        try:
            reply = server.ask(call.request.method, call.request.target, headers, call.request.body, timeout)
        except TimeoutError:
            raise Refused("INTEGRATION_TIMEOUT") from None
        except FunctionFailed:
            raise Refused("INTEGRATION_FAILURE") from None
        return Response(reply.status, b"", _handed_on(reply), reply.parts())

    def _watched(self, call: Call, response: Response, stream: Iterator[bytes], began: float) -> Iterator[bytes]:
        """Pass a streamed body on and log it at its end. JSON that arrived in one piece is checked against the spec."""
        size, first, whole = 0, None, False
        kept: list[bytes] | None = [] if self._contract.takes(response) else None
        try:
            for part in stream:
                if first is None:
                    first = time.perf_counter()
                size += len(part)
                if kept is not None:
                    kept.append(part)
                yield part
            whole = True
        finally:
            # First the log line: the client has its last byte already, and may look for the line.
            self._note(call, response.status, size, began, first)
            if kept is not None:
                answer = Response(response.status, b"".join(kept), response.headers)
                self._contract.ends(call, answer, whole=whole)

    def _note(self, call: Call, status: int, size: int, began: float, first: float | None = None) -> None:
        """Log one line for each request, without keys or bodies."""
        said = call.authorizer or {}
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(call.received)),
            "request_id": call.request_id,
            "tenant_id": said.get("tenant_id"),
            "key_id": said.get("key_id"),
            "method": call.request.method,
            "route": call.route.path if call.route else None,
            "status": status,
            "latency_ms": round((time.perf_counter() - began) * 1000, 1),
            "bytes": size,
        }
        if first is not None:
            line["first_byte_ms"] = round((first - began) * 1000, 1)
        with contextlib.suppress(OSError):  # the disk is full: the response matters more than its log line
            self._access_log.write(json.dumps(line).encode() + b"\n")


def mocked(call: Call, route: Route) -> Response:
    """A mock integration's response, from the spec's templates; only $context.requestId is substituted."""
    said = route.imported.operation[INTEGRATION]
    sent = (call.request.header("content-type") or "application/json").split(";")[0].strip().lower()
    if sent not in said["requestTemplates"]:
        if said.get("passthroughBehavior", "when_no_match").lower() == "never":
            raise Refused("UNSUPPORTED_MEDIA_TYPE")
        raise Refused("API_CONFIGURATION_ERROR")  # the request then counts as the template's result, without a status
    answer = said["responses"]["default"]
    body = answer["responseTemplates"]["application/json"].replace("$context.requestId", call.request_id)
    headers = [("Content-Type", "application/json")]
    for name, value in (answer.get("responseParameters") or {}).items():
        headers.append((name.removeprefix("method.response.header."), value.strip("'")))
    return Response(int(answer["statusCode"]), body.encode(), headers)


def _fits(request: Request) -> None:
    """Refusals before the request's API is known."""
    if request.too_large:
        raise Refused("BODY_TOO_LARGE")
    if len(request.target) + sum(len(value) for _, value in request.headers) > _MOST_OF_HEADERS:
        raise Refused("HEADERS_TOO_LARGE")
    if set(request.query) & set("|{}"):
        raise Refused("BAD_QUERY")


def _is_large(event: Mapping[str, Any]) -> bool:
    """Can the event exceed the limit? In JSON a body's character takes six bytes at most, and usually one."""
    return len(event["body"] or "") > LARGEST_EVENT // 7


def _handed_on(reply: Reply) -> list[tuple[str, str]]:
    headers = [(name, value) for name, value in from_function(reply.headers) if name.lower() not in _NOT_HANDED_ON]
    return headers if reply.length is None else [*headers, ("Content-Length", str(reply.length))]


def _named_headers(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The headers of a function's response, with a content type."""
    several = answer.get("multiValueHeaders") or {}
    single = answer.get("headers") or {}
    headers = [(name, _text(value)) for name, values in several.items() for value in values]
    named = {name.lower() for name in several}
    headers += [(name, _text(value)) for name, value in single.items() if name.lower() not in named]
    headers = [(name, value) for name, value in from_function(headers) if name.lower() not in _NOT_HANDED_ON]
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    return headers


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

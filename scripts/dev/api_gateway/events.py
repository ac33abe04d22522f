"""The events of API Gateway and SQS, in the form that functions get on AWS."""

from __future__ import annotations

import base64
import json
import secrets
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from scripts.dev.api_gateway.routes import Route
from scripts.dev.http_server import Request
from scripts.dev.rest_api.headers import to_function
from scripts.project.template import ACCOUNT, API_ID, Function

_REQUEST_CONTEXT, _LAMBDA_CONTEXT = "x-amzn-request-context", "x-amzn-lambda-context"
# Headers of one connection only, and headers that a client must not set.
_NOT_FORWARDED = {"keep-alive", "proxy-connection", "content-length", _REQUEST_CONTEXT, _LAMBDA_CONTEXT}


@dataclass
class Call:
    """One request on its way through the gateway."""

    request: Request
    stage: str
    region: str
    route: Route | None = None
    path_parameters: Mapping[str, str] = field(default_factory=dict)
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    extended_id: str = field(default_factory=lambda: secrets.token_urlsafe(11) + "=")
    trace_id: str = field(default_factory=lambda: f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)}")
    received: float = field(default_factory=time.time)
    authorizer: dict[str, Any] | None = None
    identity: dict[str, str] = field(default_factory=dict)  # of the signing principal
    api_key_id: str | None = None
    api_key: str | None = field(default=None, repr=False)

    @property
    def method_arn(self) -> str:
        path = unquote(self.request.path).lstrip("/")
        return f"arn:aws:execute-api:{self.region}:{ACCOUNT}:{API_ID}/{self.stage}/{self.request.method}/{path}"

    def template_context(self) -> dict[str, Any]:
        """The variables of a gateway response's templates."""
        return {
            "requestId": self.request_id,
            "extendedRequestId": self.extended_id,
            "authorizer": self.authorizer or {},
            "error": {"message": ""},
        }


def _request_context(call: Call) -> dict[str, Any]:
    request, route = call.request, call.route
    at = time.gmtime(call.received)
    domain = f"{API_ID}.execute-api.{call.region}.amazonaws.com"
    context: dict[str, Any] = {
        "accountId": ACCOUNT,
        "apiId": API_ID,
        "domainName": domain,
        "domainPrefix": API_ID,
        "extendedRequestId": call.extended_id,
        "httpMethod": request.method,
        "identity": {
            "accessKey": None,
            "accountId": None,
            "apiKey": call.api_key,
            "apiKeyId": call.api_key_id,
            "caller": None,
            "cognitoAuthenticationProvider": None,
            "cognitoAuthenticationType": None,
            "cognitoIdentityId": None,
            "cognitoIdentityPoolId": None,
            "principalOrgId": None,
            "sourceIp": request.client,
            "user": None,
            "userAgent": request.header("user-agent"),
            "userArn": None,
        }
        | call.identity,
        "path": f"/{call.stage}{request.path}",
        "protocol": "HTTP/1.1",
        "requestId": call.request_id,
        "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", at),
        "requestTimeEpoch": int(call.received * 1000),
        "resourceId": "local0",
        "resourcePath": route.path if route else "/",
        "stage": call.stage,
    }
    if call.authorizer is not None:
        context["authorizer"] = call.authorizer
    return context


def query_pairs(call: Call) -> list[tuple[str, str]]:
    """The query parameters, decoded. API Gateway splits them at semicolons too."""
    return parse_qsl(call.request.query.replace(";", "&"), keep_blank_values=True)


def _common(call: Call, sent: list[tuple[str, str]]) -> dict[str, Any]:
    """The common part of the authorizer's and the integration's event. The path stays percent-encoded."""
    request, pairs = call.request, query_pairs(call)
    return {
        "resource": call.route.path if call.route else "/",
        "path": request.path,
        "httpMethod": request.method,
        "headers": _last(sent),
        "multiValueHeaders": _all(sent),
        "queryStringParameters": _last(pairs) or None,
        "multiValueQueryStringParameters": _all(pairs) or None,
        "pathParameters": dict(call.path_parameters) or None,
        "stageVariables": None,
        "requestContext": _request_context(call),
    }


def _sent(call: Call) -> list[tuple[str, str]]:
    """The request's headers, and those that API Gateway adds."""
    return [
        *call.request.headers,
        ("X-Amzn-Trace-Id", call.trace_id),
        ("X-Forwarded-For", call.request.client),
        ("X-Forwarded-Port", "443"),
        ("X-Forwarded-Proto", "https"),
    ]


def _last(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The last value of each header, under the last spelling of its name: `X-A` and `x-a` are one header."""
    spelled = {name.lower(): name for name, _ in pairs}
    return {spelled[name.lower()]: value for name, value in pairs}


def _all(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    spelled = {name.lower(): name for name, _ in pairs}
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(spelled[name.lower()], []).append(value)
    return values


def authorizer_event(call: Call) -> dict[str, Any]:
    event = {"type": "REQUEST", "methodArn": call.method_arn} | _common(call, _sent(call))
    # Unlike in the proxy event, no value is an empty object here.
    for name in ("queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "stageVariables"):
        event[name] = event[name] or {}
    return event


def proxy_event(call: Call, binary: bool = False) -> dict[str, Any]:
    """`binary`: the content type is one of the API's binary media types. Any other body is always text."""
    sent, body = call.request.body, None
    if sent:
        body = base64.b64encode(sent).decode() if binary else sent.decode(errors="replace")
    return _common(call, _handed_on(call)) | {"body": body, "isBase64Encoded": bool(sent) and binary}


def _handed_on(call: Call) -> list[tuple[str, str]]:
    return to_function(_sent(call), call.route is not None and call.route.imported.authorization == "AWS_IAM")


def adapted_headers(call: Call, event: Mapping[str, Any], function: Function) -> list[tuple[str, str]]:
    """The headers that the Lambda Web Adapter sends to a function's server: the event's own, and its context."""
    context = {
        "request_id": str(uuid.uuid4()),
        "deadline": int((time.time() + function.timeout) * 1000),
        "invoked_function_arn": function.arn,
        "xray_trace_id": call.trace_id,
        "client_context": None,
        "identity": None,
        "env_config": {
            "function_name": function.name,
            "memory": function.memory,
            "version": "$LATEST",
            "log_stream": "",
            "log_group": f"/aws/lambda/{function.name}",
        },
    }
    return [
        *((name, value) for name, value in _handed_on(call) if name.lower() not in _NOT_FORWARDED),
        (_REQUEST_CONTEXT, json.dumps(event["requestContext"])),
        (_LAMBDA_CONTEXT, json.dumps(context)),
    ]

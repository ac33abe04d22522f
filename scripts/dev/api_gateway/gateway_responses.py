"""API Gateway's own responses, as the spec's x-amazon-apigateway-gateway-responses define them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from scripts.dev.http_server import Response

# API Gateway's default status and error type of each kind.
_DEFAULTS = {
    "ACCESS_DENIED": (403, "AccessDeniedException"),
    "API_CONFIGURATION_ERROR": (500, "InternalServerErrorException"),
    "AUTHORIZER_CONFIGURATION_ERROR": (500, "AuthorizerConfigurationException"),
    "AUTHORIZER_FAILURE": (500, "AuthorizerFailureException"),
    "BAD_REQUEST_BODY": (400, "BadRequestException"),
    "BAD_REQUEST_PARAMETERS": (400, "BadRequestException"),
    "INTEGRATION_FAILURE": (504, "InternalServerErrorException"),
    "INTEGRATION_TIMEOUT": (504, "InternalServerErrorException"),
    "INVALID_API_KEY": (403, "ForbiddenException"),
    "INVALID_SIGNATURE": (403, "InvalidSignatureException"),
    "MISSING_AUTHENTICATION_TOKEN": (403, "MissingAuthenticationTokenException"),
    "QUOTA_EXCEEDED": (429, "LimitExceededException"),
    "RESOURCE_NOT_FOUND": (404, "NotFoundException"),
    "THROTTLED": (429, "TooManyRequestsException"),
    "UNAUTHORIZED": (401, "UnauthorizedException"),
    "UNSUPPORTED_MEDIA_TYPE": (415, "BadRequestException"),
}
# Responses that an API cannot customise: status, content type, body, error type.
_FIXED = {
    "REQUEST_TOO_LARGE": (413, "application/json", '{"message":"Request Too Long"}', "BadRequestException"),
    "BODY_TOO_LARGE": (413, "text; charset=utf-8", "HTTP content length exceeded 10485760 bytes.", None),
    "HEADERS_TOO_LARGE": (431, "application/json", '{"message":"Request Header Fields Too Large"}', None),
    "URI_TOO_LONG": (414, "application/json", '{"message":"Request URI too long"}', None),
    "BAD_QUERY": (400, "application/json", '{"message":"Bad Request"}', None),
}
# API Gateway sends these before it knows the API, so they have no request id.
NAMELESS = {"BODY_TOO_LARGE", "HEADERS_TOO_LARGE", "BAD_QUERY"}
_BAD_ANSWER_STATUS = 502  # if the function of a proxy integration failed and the spec has no status
_HEADER = "gatewayresponse.header."
_VARIABLE = re.compile(r"\$(context(?:\.\w+)+)")


class GatewayResponses:
    def __init__(self, declared: Mapping[str, Any]):
        self._declared = declared

    def render(self, kind: str, context: Mapping[str, Any]) -> Response:
        """The response of one kind. `context` has the variables of the templates: requestId, authorizer, error."""
        if kind in _FIXED:
            status, content_type, fixed, fixed_type = _FIXED[kind]
            told = [("x-amzn-ErrorType", fixed_type)] if fixed_type else []
            return Response(status, fixed.encode(), [("Content-Type", content_type), *told])
        status, error_type = _DEFAULTS[kind]
        own = self._declared.get(kind)
        if kind == "INTEGRATION_FAILURE" and own is None:
            status = _BAD_ANSWER_STATUS
        if own is None:
            own = self._declared.get("DEFAULT_4XX" if status < 500 else "DEFAULT_5XX") or {}
        status = int(own.get("statusCode", _BAD_ANSWER_STATUS if kind == "INTEGRATION_FAILURE" else status))
        template = (own.get("responseTemplates") or {}).get(
            "application/json", '{"message":$context.error.messageString}'
        )
        body = _VARIABLE.sub(lambda match: _named(match[1], context), template)
        declared = [
            (name.removeprefix(_HEADER), _mapped(str(source), context))
            for name, source in (own.get("responseParameters") or {}).items()
            if name.startswith(_HEADER)
        ]
        usual = [("Content-Type", "application/json"), ("x-amzn-ErrorType", error_type)]
        replaced = {name.lower() for name, _ in declared}
        headers = [(name, value) for name, value in usual if name.lower() not in replaced] + declared
        return Response(status, body.encode(), headers)


def _mapped(source: str, context: Mapping[str, Any]) -> str:
    if source.startswith("'") and source.endswith("'"):
        return source[1:-1]
    return _named(source, context) if source.startswith("context.") else ""


def _named(name: str, context: Mapping[str, Any]) -> str:
    if name == "context.error.messageString":
        return json.dumps((context.get("error") or {}).get("message", ""))
    value: Any = context
    for part in name.split(".")[1:]:
        value = value.get(part, "") if isinstance(value, Mapping) else ""
    return str(value)

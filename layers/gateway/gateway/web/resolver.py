"""The resolver that API functions share: the caller, the parsed request, and problems for errors."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from re import Pattern
from typing import Any, TypeVar

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from pydantic import BaseModel, ValidationError

from gateway.core.errors import BadRequestError, GatewayError
from gateway.tenancy.administration import Actor
from gateway.tenancy.caller import Caller, caller_from_context
from gateway.tenancy.rights import Rights
from gateway.usage.records import RequestId, UserSource
from gateway.web.failures import as_gateway_error, route_not_found
from gateway.web.problems import JSON, SchemaViolationError, problem
from gateway.web.reading import either_form, read_json

Schema = TypeVar("Schema", bound=BaseModel)
SIGNED = "/admin/"  # the resources whose requests API Gateway lets AWS principals sign


def request_id(app: APIGatewayRestResolver) -> RequestId:
    """API Gateway's id of the request. It is in every answer and in the ledger, and a client polls with it."""
    return RequestId(app.current_event.request_context.request_id or "")


def caller(app: APIGatewayRestResolver) -> Caller:
    """The caller that the authorizer identified. No input of the client affects it."""
    said = app.current_event.request_context.authorizer
    return caller_from_context(said)


def received_at(app: APIGatewayRestResolver) -> float:
    """The time at which API Gateway received the request, in seconds since the epoch; its timeout starts here."""
    return (app.current_event.request_context.request_time_epoch or 0) / 1000


def header(app: APIGatewayRestResolver, name: str) -> str | None:
    """A header by its name, with `_` or with `-`. Raises BadRequestError if both came with different values."""
    return either_form(app.current_event.headers.get, name)


def lowered_headers(app: APIGatewayRestResolver) -> dict[str, str]:
    """The headers by their names in lower case."""
    return {name.lower(): text for name, text in app.current_event.headers.items() if text is not None}


def query(app: APIGatewayRestResolver, schema: type[Schema], *, known_only: bool = False) -> Schema:
    """The query parameters, as the spec's schema. Raises BadRequestError; with `known_only` also for unknown ones."""
    sent = app.current_event.query_string_parameters or {}
    unknown = sorted(sent.keys() - schema.model_fields.keys()) if known_only else []
    if unknown:
        message = f"query.{unknown[0][:64]}: unknown parameter. Supported: {', '.join(schema.model_fields)}."
        raise BadRequestError(message, code="unknown_parameter")
    try:
        return schema.model_validate(sent)
    except ValidationError as error:
        raise SchemaViolationError(error, "query", "invalid_parameters") from error


def body(app: APIGatewayRestResolver, schema: type[BaseModel]) -> dict[str, Any]:
    """The JSON body as sent, validated against the spec's schema. Raises BadRequestError."""
    sent = read_json(sent_body(app))
    try:
        schema.model_validate(sent)
    except ValidationError as error:
        raise SchemaViolationError(error, "body", "invalid_body") from error
    return dict(sent)


def sent_body(app: APIGatewayRestResolver) -> bytes | str:
    """The raw body. A media type that the API declares as binary comes in base64, and may have any bytes."""
    sent, event = app.current_event.body or "", app.current_event
    if not event.is_base64_encoded:
        return sent
    try:
        return base64.b64decode(sent, validate=True)
    except ValueError as error:
        raise BadRequestError("The body must be JSON in UTF-8.", code="invalid_body") from error


def strict_body(app: APIGatewayRestResolver, schema: type[Schema]) -> Schema:
    """The JSON body as the spec's schema; `"no"` is not a boolean. No body means `{}`. Raises BadRequestError."""
    sent = read_json(sent_body(app) or b"{}")
    try:
        # Strictness by the JSON text: in it a date is a string, but not in Python's values.
        return schema.model_validate_json(json.dumps(sent), strict=True)
    except ValidationError as error:
        raise SchemaViolationError(error, "body", "invalid_body") from error


def answer(app: APIGatewayRestResolver, content: Any, status: int = 200, media: str = JSON) -> Response[str]:
    return Response(
        status, media, json.dumps(content, separators=(",", ":")), headers={"x-request-id": request_id(app)}
    )


def no_content(app: APIGatewayRestResolver) -> Response[str]:
    return Response(204, headers={"x-request-id": request_id(app)})


def rights(app: APIGatewayRestResolver) -> Rights:
    """The rights of the caller: by the role of its key or token, or those of an operator for an AWS principal.

    API Gateway says which: its authorizer identified a caller, or its method of this resource verified a signature. The
    path as the client sent it plays no part. Raises GatewayError for a request that has neither.
    """
    context = app.current_event.request_context
    if "tenant" in (context.authorizer.raw_event or {}):
        return Rights(caller(app))
    if str(context.resource_path).startswith(SIGNED) and (context.identity.user_arn or context.identity.caller):
        return Rights()
    raise GatewayError("Send the request through the gateway's API.", code="unauthorized", status=401)


def principal(app: APIGatewayRestResolver) -> Actor:
    """The actor of this request, for its audit record."""
    identity = app.current_event.request_context.identity
    who, address = rights(app).caller, identity.source_ip or ""
    if who is None:
        return Actor(identity.user_arn or identity.caller or "unknown", identity.access_key or "", address)
    by_token = who.user_source is UserSource.TOKEN
    name = f"user:{who.tenant_id}/{who.user_id}" if by_token else f"key:{who.tenant_id}/{who.key_id}"
    return Actor(name, source_ip=address, user_id=who.user_id, role=who.role.value)


def api(
    strip_prefixes: list[str | Pattern[str]] | None = None, tell: Callable[..., Response[str]] = problem
) -> APIGatewayRestResolver:
    """A resolver that answers every error with a problem, as `tell` writes it."""
    app = APIGatewayRestResolver(strip_prefixes=strip_prefixes)

    @app.exception_handler(Exception)
    def failed(error: Exception) -> Response[str]:
        told = as_gateway_error(error, request_id(app))
        return tell(told, request_id(app), getattr(told, "details", None))

    @app.exception_handler(NotFoundError)
    def not_found(_: NotFoundError) -> Response[str]:
        return tell(route_not_found(), request_id(app))

    return app

"""Adds the steps of API Gateway that SAM CLI lacks, between SAM CLI and a function. Never deployed.

SAM CLI gives every request of one `sam local start-api` the same id and time, drops headers with an underscore in their
name, checks no signature, and cannot answer 401 if an authorizer refuses. An event from a file gets a new id and time
too, so it can be sent twice. If nothing listens behind `sam local`, the response says what to start.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import time
import uuid
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import urlsplit

START_API = "1234567890"  # the id that `sam local start-api` gives to every API
REFUSED = "refused"
HEADERS = tuple(os.environ.get("LOCAL_HEADERS", "").split())
UNAUTHORIZED = os.environ.get("LOCAL_UNAUTHORIZED", "")

BEHIND = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME")
NOTHING_BEHIND = (
    "Nothing listens at {}, where `sam local` has its AWS and its models. Run `make sam-local` in another terminal, "
    "wait until it says `ready`, and call again."
)
PATIENCE = 2.0
# The principal of every request to /admin. An event from a file keeps its own.
SIGNER = {"userArn": "arn:aws:iam::123456789012:user/local-operator"}

Event = dict[str, Any]
Handler = Callable[[Event, Any], Any]


class NothingBehindError(Exception):
    """The services that `sam local` needs do not run."""


@cache
def own_handler() -> Handler:
    """The handler that template.yaml names."""
    module, _, name = os.environ.get("LOCAL_HANDLER", "app.handler").rpartition(".")
    found: Handler = getattr(importlib.import_module(module), name)
    return found


def nothing_behind() -> str | None:
    """The message for a developer who started `sam local` alone."""
    for variable in BEHIND:
        if not (url := os.environ.get(variable)):
            continue
        where = urlsplit(url)
        try:
            socket.create_connection((where.hostname, where.port or 80), PATIENCE).close()
        except OSError:
            return NOTHING_BEHIND.format(url)
    return None


def refusal(event: Event) -> Event | None:
    """The response to a request that reaches no function: no service runs behind it, or its caller was refused."""
    context = event["requestContext"]
    request_id = context["requestId"]
    if sentence := nothing_behind():
        problem = {"code": "nothing_behind", "message": sentence, "request_id": request_id}
        return answer(503, json.dumps(problem), request_id)
    if (context.get("authorizer") or {}).get(REFUSED):
        return answer(401, UNAUTHORIZED.replace("$context.requestId", request_id), request_id)
    return None


def answer(status: int, body: str, request_id: str) -> Event:
    headers = {"Content-Type": "application/json", "x-request-id": request_id}
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}


def as_received(event: Event) -> Event:
    """The event that API Gateway would make for a request arriving now."""
    renamed = {name.replace("_", "-").lower(): name for name in HEADERS}
    headers = {renamed.get(name.lower(), name): value for name, value in (event.get("headers") or {}).items()}
    several = {renamed.get(name.lower(), name): value for name, value in (event.get("multiValueHeaders") or {}).items()}
    new = {"requestId": str(uuid.uuid4()), "requestTimeEpoch": int(time.time() * 1000)}
    context = event["requestContext"] | new
    if str(context.get("resourcePath")).startswith("/admin/"):
        context["identity"] = SIGNER | {name: said for name, said in (context.get("identity") or {}).items() if said}
    return event | {"headers": headers, "multiValueHeaders": several, "requestContext": context}


def handler(event: Event, context: Any) -> Any:
    """Handle the events of all functions except the authorizer."""
    if "requestContext" not in event:
        return own_answer(event, context)
    event = as_received(event)
    return refusal(event) or own_handler()(event, context)


def own_answer(event: Event, context: Any) -> Any:
    """The function's own. Raises NothingBehindError."""
    if sentence := nothing_behind():
        raise NothingBehindError(sentence)
    return own_handler()(event, context)


def authorizer(event: Event, context: Any) -> Any:
    """The authorizer. It lets refused callers through to `handler`, which answers 401, or 503 if no service runs."""
    try:
        return own_answer(event, context)
    except Exception as error:
        refused = isinstance(error, NothingBehindError) or str(error) == "Unauthorized"
        if not refused or event["requestContext"].get("apiId") != START_API:
            raise
    api, stage, *_ = event["methodArn"].split("/")
    statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": f"{api}/{stage}/*"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    return {"principalId": "nobody", "policyDocument": policy, "context": {REFUSED: json.dumps(True)}}

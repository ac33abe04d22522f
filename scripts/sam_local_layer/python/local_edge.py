"""Between SAM CLI and a function: what API Gateway does and SAM CLI does not. Never deployed.

SAM CLI gives every request of one `sam local start-api` the same id and time, drops headers with an underscore in their
name, and cannot answer 401 for an authorizer that refuses. An event of a file is made new as well, so that it can be
sent twice.
"""

from __future__ import annotations

import importlib
import json
import os
import time
import uuid
from collections.abc import Callable
from functools import cache
from typing import Any

START_API = "1234567890"  # the id that `sam local start-api` gives to every API
REFUSED = "refused"
HEADERS = tuple(os.environ.get("LOCAL_HEADERS", "").split())
UNAUTHORIZED = os.environ.get("LOCAL_UNAUTHORIZED", "")

Event = dict[str, Any]
Handler = Callable[[Event, Any], Any]


@cache
def own_handler() -> Handler:
    """The handler that template.yaml names."""
    module, _, name = os.environ.get("LOCAL_HANDLER", "app.handler").rpartition(".")
    found: Handler = getattr(importlib.import_module(module), name)
    return found


def refusal(event: Event) -> Event | None:
    """API Gateway's own answer to a caller whom the authorizer refused."""
    context = event["requestContext"]
    if not (context.get("authorizer") or {}).get(REFUSED):
        return None
    body = UNAUTHORIZED.replace("$context.requestId", context["requestId"])
    headers = {"Content-Type": "application/json", "x-request-id": context["requestId"]}
    return {"statusCode": 401, "headers": headers, "body": body, "isBase64Encoded": False}


def as_received(event: Event) -> Event:
    """The event as API Gateway would have made it for a request that came now."""
    renamed = {name.replace("_", "-").lower(): name for name in HEADERS}
    headers = {renamed.get(name.lower(), name): value for name, value in (event.get("headers") or {}).items()}
    several = {renamed.get(name.lower(), name): value for name, value in (event.get("multiValueHeaders") or {}).items()}
    new = {"requestId": str(uuid.uuid4()), "requestTimeEpoch": int(time.time() * 1000)}
    context = event["requestContext"] | new
    return event | {"headers": headers, "multiValueHeaders": several, "requestContext": context}


def handler(event: Event, context: Any) -> Any:
    """Any function behind the API."""
    if "requestContext" not in event:
        return own_handler()(event, context)
    event = as_received(event)
    return refusal(event) or own_handler()(event, context)


def authorizer(event: Event, context: Any) -> Any:
    """The authorizer. Whom it refuses gets as far as `handler`, which answers 401."""
    try:
        return own_handler()(event, context)
    except Exception as error:
        if str(error) != "Unauthorized" or event["requestContext"].get("apiId") != START_API:
            raise
    api, stage, *_ = event["methodArn"].split("/")
    statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": f"{api}/{stage}/*"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    return {"principalId": "nobody", "policyDocument": policy, "context": {REFUSED: json.dumps(True)}}

"""Runs ministack until standard input ends: whoever started it is gone then. Runs in .venv-embedded, not in .venv.

Two things that AWS does and ministack does not are mended here, by replacing functions of the pinned version.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from ministack import app
from ministack.services import apigateway_v1, lambda_svc

# The line of a traceback that names the exception: the last that follows the indented lines of its frames.
RAISED = re.compile(r"^[ ].*\n([A-Za-z_][\w.]*)(?::|$)", re.MULTILINE)


def naming_errors(execute: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Lambda names an error by its exception's class; ministack has one name for all.

    The state machine retries and catches by name, so without this its paths could not be told apart.
    """

    def executed(*arguments: Any, **more: Any) -> dict[str, Any]:
        result = execute(*arguments, **more)
        body = result.get("body")
        if result.get("error") and isinstance(body, dict) and body.get("errorType") == "Runtime.HandlerError":
            raised = RAISED.findall(result.get("log") or "")
            body["errorType"] = raised[-1].rpartition(".")[2] if raised else body["errorType"]
        return result

    return executed


usage_plan_key: ContextVar[str | None] = ContextVar("usage_plan_key", default=None)


def keeping_usage_plan_key(authorize: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """With `x-amazon-apigateway-api-key-source: AUTHORIZER` the authorizer names the usage plan's key.

    ministack only knows the source HEADER. Here the key that an authorizer answers counts, and its answer is taken per
    request, as the spec turns its cache off.
    """

    async def authorized(*arguments: Any, **more: Any) -> Any:
        usage_plan_key.set(None)
        result = await authorize(*arguments, **more)
        body = result.get("body") if result else None
        if isinstance(body, dict):
            usage_plan_key.set(body.get("usageIdentifierKey"))
        return result

    return authorized


def exit_at_end_of_input() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=exit_at_end_of_input, daemon=True).start()
    lambda_svc._execute_function_warm = naming_errors(lambda_svc._execute_function_warm)
    apigateway_v1._invoke_authorizer_lambda = keeping_usage_plan_key(apigateway_v1._invoke_authorizer_lambda)
    apigateway_v1._api_key_from_request = lambda _headers: usage_plan_key.get()
    sys.exit(app.main())

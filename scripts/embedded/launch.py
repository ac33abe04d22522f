"""Runs ministack until standard input ends: whoever started it is gone then. Runs in .venv-embedded, not in .venv."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable
from typing import Any

from ministack import app
from ministack.services import lambda_svc

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


def exit_at_end_of_input() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=exit_at_end_of_input, daemon=True).start()
    lambda_svc._execute_function_warm = naming_errors(lambda_svc._execute_function_warm)
    sys.exit(app.main())

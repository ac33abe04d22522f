"""Runs ministack until standard input ends: whoever started it is gone then. Runs in .venv-embedded, not in .venv.

Three things that AWS does and ministack does not are mended here, by replacing functions of the pinned version; what
comes over loopback counts as TLS, which policies ask for and it does not speak; and a layer is unpacked once instead of
at every cold start, since 16 of them begin when the state machine maps.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
import threading
import zipfile
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ministack import app
from ministack.core import iam_evaluator, lambda_runtime
from ministack.services import apigateway_v1, lambda_svc
from ministack.services.cloudformation import changesets, handlers, stacks

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


def joining_in_conditions(evaluate: Callable[..., dict[str, bool]]) -> Callable[..., dict[str, bool]]:
    """CloudFormation joins a list within a condition; ministack compares the unjoined words with what is asked for."""

    def joined(part: Any, given: dict[str, Any]) -> Any:
        if isinstance(part, dict) and "Fn::Join" in part:
            separator, items = part["Fn::Join"]
            if isinstance(items, dict):  # a Ref to a list of a parameter, which is one text here
                items = [item.strip() for item in str(given[items["Ref"]]["Value"]).split(",")]
            return separator.join(joined(item, given) for item in items)
        if isinstance(part, dict):
            return {name: joined(inner, given) for name, inner in part.items()}
        return [joined(inner, given) for inner in part] if isinstance(part, list) else part

    def evaluated(template: dict[str, Any], given: dict[str, Any]) -> dict[str, bool]:
        return evaluate({**template, "Conditions": joined(template.get("Conditions", {}), given)}, given)

    return evaluated


def with_tls(resolve: Callable[..., Any]) -> Callable[..., Any]:
    """The same conditions of policies, for a caller that has come by TLS."""

    def resolved(key: str, context: Any) -> Any:
        return "true" if key.lower() == "aws:securetransport" else resolve(key, context)

    return resolved


class UnpackedOnce(zipfile.ZipFile):
    """A zip file whose content is kept, and linked to from every place that it is unpacked to."""

    KEPT = Path(tempfile.gettempdir()) / "unpacked"
    LOCK = threading.Lock()

    @property
    def kept(self) -> Path:
        told = "".join(f"{member.filename} {member.CRC} {member.file_size}\n" for member in self.infolist())
        return self.KEPT / hashlib.sha256(told.encode()).hexdigest()

    def namelist(self) -> list[str]:
        """Names to check before unpacking: none where all are unpacked already."""
        return [] if self.kept.exists() else super().namelist()

    def extractall(self, path: Any = None, members: Any = None, pwd: bytes | None = None) -> None:
        with self.LOCK:
            if not self.kept.exists():
                fresh = self.kept.with_suffix(".fresh")
                super().extractall(fresh, members, pwd)
                fresh.rename(self.kept)
        for entry in self.kept.iterdir():
            (Path(path) / entry.name).symlink_to(entry)


def exit_at_end_of_input() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=exit_at_end_of_input, daemon=True).start()
    lambda_svc._execute_function_warm = naming_errors(lambda_svc._execute_function_warm)
    apigateway_v1._invoke_authorizer_lambda = keeping_usage_plan_key(apigateway_v1._invoke_authorizer_lambda)
    iam_evaluator._resolve_condition_key = with_tls(iam_evaluator._resolve_condition_key)
    apigateway_v1._api_key_from_request = lambda _headers: usage_plan_key.get()
    for module in (changesets, handlers, stacks):
        module._evaluate_conditions = joining_in_conditions(module._evaluate_conditions)
    lambda_runtime.zipfile = SimpleNamespace(**{**vars(zipfile), "ZipFile": UnpackedOnce})
    sys.exit(app.main())

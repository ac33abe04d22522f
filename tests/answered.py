"""Every error that a function answers in a test has a code that openapi.yaml states for its operation.

The problems of both resolvers are seen where they become answers. The test in which another one is answered fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest
from aws_lambda_powertools.event_handler.api_gateway import ApiGatewayResolver

from gateway.web.stream_resolver import StreamResolver
from scripts.dev.api_gateway.judging import as_admin
from scripts.project import quick_yaml
from scripts.project.template import ROOT


@cache
def stated() -> tuple[dict[str, dict[str, Any]], list[tuple[str, re.Pattern[str], dict[str, Any]]]]:
    """`x-error-codes` by code, with the operations spelt out; and each operation's method, path and what it states."""
    spec = quick_yaml.read((ROOT / "openapi.yaml").read_text(encoding="utf-8"))
    groups = spec["x-error-codes"]["operations"]
    codes = {
        code: said | {"at": {operation for name in said["at"] for operation in groups.get(name, (name,))}}
        for code, said in spec["x-error-codes"]["codes"].items()
    }
    operations = [
        (method.upper(), _pattern(path), operation)
        for path, methods in spec["paths"].items()
        for method, operation in methods.items()
        if "operationId" in operation
    ]
    return codes, operations


def _pattern(path: str) -> re.Pattern[str]:
    """A model's name may hold slashes; an id may not."""
    said = re.sub(r"\\{(model|modelId)\\}", ".+", re.escape(path))
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", said))


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """None for a path or a method that the API does not have, as some tests send."""
    path = as_admin(path)
    found = (said for name, pattern, said in stated()[1] if name == method and pattern.fullmatch(path))
    return next(found, None)


def fault(method: str, path: str, code: str, status: int) -> str | None:
    """Why openapi.yaml does not state this answer; None where it does."""
    operation, codes = operation_of(method, path), stated()[0]
    if operation is None or code == "route_not_found":
        return None
    name = operation["operationId"]
    if code not in codes or name not in codes[code]["at"]:
        return f"{name} answers {code}, which scripts/generate/error_meanings.py does not state for it"
    if str(status) not in operation["responses"]:
        return f"{name} answers {code} with {status}, a status that openapi.yaml does not declare for it"
    return None


class Answers:
    """The plugin. `faults` are those of the running test."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def install(self) -> None:
        resolves, problem, answers = ApiGatewayResolver.resolve, StreamResolver.problem, self

        def resolve(resolver: Any, event: Mapping[str, Any], context: Any) -> dict[str, Any]:
            answered = resolves(resolver, event, context)
            if answered.get("statusCode", 0) >= 400 and isinstance(answered.get("body"), str):
                answers.note(event, json.loads(answered["body"])["code"], answered["statusCode"])
            return answered

        def told(resolver: Any, error: Any, request: Any) -> Any:
            reply = problem(resolver, error, request)
            answers.note(request.event, error.code, reply.status)
            return reply

        ApiGatewayResolver.resolve = resolve  # type: ignore[method-assign,assignment]
        StreamResolver.problem = told  # type: ignore[method-assign,assignment]

    def note(self, event: Mapping[str, Any], code: str, status: int) -> None:
        if said := fault(str(event.get("httpMethod")), str(event.get("path")), code, status):
            self.faults.append(said)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        self.faults.clear()
        yield
        if self.faults:
            pytest.fail("\n".join(sorted(set(self.faults))), pytrace=False)

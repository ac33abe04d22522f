"""openapi.yaml as API Gateway reads it: which operation a request is for, and what stands in front of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from scripts.dev.template import load_yaml

INTEGRATION_TIMEOUT = 29.0  # seconds; API Gateway's default (API reference, Integration: timeoutInMillis)
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
_FUNCTION = re.compile(r"\$\{(\w+)\.(?:Arn|Alias)\}|functions/\$\{(\w+)\}|function:([\w-]+)")


@dataclass(frozen=True)
class Authorizer:
    """A security scheme that decides. `kind` is its x-amazon-apigateway-authtype."""

    scheme: str
    kind: str
    function: str | None
    identity_sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Route:
    """One method of one path."""

    path: str
    method: str  # as in the spec; `any` for x-amazon-apigateway-any-method
    operation: Mapping[str, Any]
    function: str | None
    streams: bool
    timeout: float
    authorizer: Authorizer | None
    needs_api_key: bool
    validates_body: bool
    validates_parameters: bool
    parameters: tuple[Mapping[str, Any], ...]
    pattern: re.Pattern[str]
    names: tuple[str, ...]


class Spec:
    """The spec: its document and its routes. `resolve` does away with CloudFormation's functions."""

    def __init__(self, path: Path, resolve: Callable[[Any], Any] = lambda said: said):
        self.document: dict[str, Any] = load_yaml(path)
        self._resolve = resolve
        self.routes = sorted(self._routes(), key=_specificity)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route of a request, and its path parameters, decoded."""
        for route in self.routes:
            if route.method in (method.lower(), "any") and (match := route.pattern.fullmatch(path)):
                return route, {name: unquote(value) for name, value in zip(route.names, match.groups(), strict=True)}
        return None

    def deref(self, node: Any) -> Any:
        while isinstance(node, dict) and "$ref" in node:
            found: Any = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part.replace("~1", "/").replace("~0", "~")]
            node = found
        return node

    def _routes(self) -> list[Route]:
        return [
            self._route(path, "any" if method == "x-amazon-apigateway-any-method" else method, item, operation)
            for path, item in (self.document.get("paths") or {}).items()
            for method, operation in item.items()
            if method in _METHODS or method == "x-amazon-apigateway-any-method"
        ]

    def _route(self, path: str, method: str, item: Mapping[str, Any], operation: Mapping[str, Any]) -> Route:
        integration = operation.get("x-amazon-apigateway-integration") or {}
        validator_name = operation.get(
            "x-amazon-apigateway-request-validator", self.document.get("x-amazon-apigateway-request-validator")
        )
        validators = self.document.get("x-amazon-apigateway-request-validators") or {}
        validator = validators.get(validator_name) or {}
        authorizer, needs_api_key = self._security(operation.get("security", self.document.get("security") or []))
        names = tuple(name.removesuffix("+") for name in re.findall(r"\{([^}]+)\}", path))
        return Route(
            path=path,
            method=method,
            operation=operation,
            function=named_function(integration.get("uri")),
            streams=integration.get("responseTransferMode") == "STREAM",
            timeout=_seconds(self._resolve(integration.get("timeoutInMillis"))),
            authorizer=authorizer,
            needs_api_key=needs_api_key,
            validates_body=bool(validator.get("validateRequestBody")),
            validates_parameters=bool(validator.get("validateRequestParameters")),
            parameters=tuple(
                self.deref(parameter)
                for parameter in [*(item.get("parameters") or ()), *(operation.get("parameters") or ())]
            ),
            pattern=_pattern(path),
            names=names,
        )

    def _security(self, requirements: list[Mapping[str, Any]]) -> tuple[Authorizer | None, bool]:
        schemes = (self.document.get("components") or {}).get("securitySchemes") or {}
        authorizer, needs_api_key = None, False
        for requirement in requirements:
            for name in requirement:
                scheme = schemes[name]
                declared = scheme.get("x-amazon-apigateway-authorizer") or {}
                kind = scheme.get("x-amazon-apigateway-authtype")
                if declared or kind:
                    sources = str(declared.get("identitySource") or "")
                    authorizer = Authorizer(
                        name,
                        "request" if declared else str(kind),
                        named_function(declared.get("authorizerUri")),
                        tuple(source.strip() for source in sources.split(",") if source.strip()),
                    )
                elif scheme.get("type") == "apiKey" and scheme.get("name", "").lower() == "x-api-key":
                    needs_api_key = True
        return authorizer, needs_api_key


def named_function(uri: Any) -> str | None:
    """The logical id of the function that an integration's uri names."""
    text = uri.get("Fn::Sub") if isinstance(uri, dict) else uri
    match = _FUNCTION.search(text) if isinstance(text, str) else None
    return next((name for name in match.groups() if name), None) if match else None


def _seconds(milliseconds: Any) -> float:
    """What an integration's timeout says, also as the text that CloudFormation makes of a parameter."""
    return int(milliseconds) / 1000 if isinstance(milliseconds, int | str) else INTEGRATION_TIMEOUT


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"(\{[^}]+\})", path)
    return re.compile(
        "".join(
            (r"(.+)" if part.endswith("+}") else r"([^/]+)") if part.startswith("{") else re.escape(part)
            for part in parts
        )
    )


def _specificity(route: Route) -> tuple[Any, ...]:
    """What is written out goes before a parameter, that before a greedy one, and a method before any."""
    order = tuple((2, "") if "+}" in part else (1, "") if "{" in part else (0, part) for part in route.path.split("/"))
    return (order, route.method == "any")

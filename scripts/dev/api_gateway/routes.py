"""The routes that API Gateway makes of openapi.yaml: a request's method, and its authorizer and checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.dev.rest_api.importing import Method, Quotas, Resolve, import_rest_api
from scripts.project.template import load

_FUNCTION = re.compile(r"\$\{(\w+)\.(?:Arn|Alias)\}|functions/\$\{(\w+)\}|function:([\w-]+)")
# The local stack accepts any integration timeout: an account's quota does not matter here.
_QUOTAS = Quotas(integration_timeout=900_000)


@dataclass(frozen=True)
class Authorizer:
    """The authorizer: a function, or IAM by the signature. `kind` is its name among the stand-in's authorizers."""

    kind: str
    function: str | None
    identity_sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Route:
    """One method of one path."""

    path: str
    method: str  # in lower case; `any` for ANY
    imported: Method
    function: str | None
    streams: bool
    timeout: float  # seconds
    authorizer: Authorizer | None
    pattern: re.Pattern[str]
    names: tuple[str, ...]


class Spec:
    """The spec: its document and its routes. Raises ImportRefused if API Gateway refuses it."""

    def __init__(self, path: Path, resolve: Resolve | None = None):
        self.path = path
        self.document: dict[str, Any] = load(path)
        self.api = import_rest_api(self.document, resolve, _QUOTAS)
        self.routes = sorted(map(_route, self.api.methods), key=_specificity)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route of a request, and its path parameters, percent-encoded as they came.

        Only the most specific resource counts: a method it lacks does not fall through to a greedy one.
        """
        resource = None
        for route in self.routes:
            match = route.pattern.fullmatch(path)
            if match is None or resource not in (None, route.path):
                continue
            resource = route.path
            if route.method in (method.lower(), "any"):
                return route, dict(zip(route.names, match.groups(), strict=True))
        return None


def _route(method: Method) -> Route:
    integration = method.integration
    assert integration is not None  # the import refuses all others
    return Route(
        path=method.path,
        method=method.http_method.lower(),
        imported=method,
        function=named_function(integration.uri),
        streams=integration.streams,
        timeout=integration.timeout / 1000,
        authorizer=_authorizer(method),
        pattern=_pattern(method.path),
        names=tuple(name.removesuffix("+") for name in re.findall(r"\{([^}]+)\}", method.path)),
    )


def _authorizer(method: Method) -> Authorizer | None:
    if method.authorization == "AWS_IAM":
        return Authorizer("awsSigv4", None)
    if (made := method.authorizer) is None:
        return None
    return Authorizer(made.kind, named_function(made.uri), made.identity_sources)


def named_function(uri: Any) -> str | None:
    """The logical id of the function in an integration's uri."""
    text = uri.get("Fn::Sub") if isinstance(uri, Mapping) else uri
    match = _FUNCTION.search(text) if isinstance(text, str) else None
    return next((name for name in match.groups() if name), None) if match else None


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"(\{[^}]+\})", path)
    return re.compile(
        "".join(
            (r"(.+)" if part.endswith("+}") else r"([^/]+)") if part.startswith("{") else re.escape(part)
            for part in parts
        )
    )


def _specificity(route: Route) -> tuple[Any, ...]:
    """Literal segments precede parameters, these precede greedy ones, and a method precedes ANY."""
    order = tuple((2, "") if "+}" in part else (1, "") if "{" in part else (0, part) for part in route.path.split("/"))
    return (order, route.method == "any")

"""Model routes: the models of a name, with retries and fallbacks for their failures.

Operators write them as JSON, name -> route; every member but `model` may be left out:

    {"fast": {"model": "us.anthropic.claude-haiku-4-5-20251001-v1:0", "fallbacks": ["amazon.nova-lite-v1:0"],
              "retries": 1, "deadline_seconds": 60, "concurrency": 50,
              "circuit": {"failures": 5, "seconds": 30}}}

A name may be an alias or a model's own id. A name without a route is a model, which gets one attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.settings import read_variable

_MEMBERS = {"model", "fallbacks", "retries", "deadline_seconds", "concurrency", "circuit"}


@dataclass(frozen=True)
class Circuit:
    """After `failures` failures in a row, calls to a model are refused for `seconds` seconds."""

    failures: int
    seconds: int


@dataclass(frozen=True)
class Route:
    """The plan for calls of `name`: `models` in their order, each with up to `retries` more attempts."""

    name: str
    models: tuple[str, ...]
    retries: int = 0
    deadline_seconds: float | None = None  # no attempt begins later than this
    concurrency: int | None = None  # concurrent calls of each model, over all tenants
    circuit: Circuit | None = None

    @property
    def is_alias(self) -> bool:
        return self.name != self.models[0]


@dataclass(frozen=True)
class Routes:
    """The routes of this deployment."""

    routes: Mapping[str, Route]

    @classmethod
    def from_json(cls, text: str) -> Routes:
        """The routes of the variable MODEL_ROUTES. Raises ValueError, which names the wrong route."""
        return read_variable("MODEL_ROUTES", text, cls.read)

    @classmethod
    def read(cls, said: Any) -> Routes:
        """Raises ValueError, which names the wrong route."""
        if not isinstance(said, dict):
            raise ValueError("the routes must be a JSON object of names to routes")  # noqa: TRY004
        return cls({name: _route(name, route) for name, route in said.items()})

    def find(self, name: str) -> Route:
        return self.routes.get(name) or Route(name, (name,))

    def aliases(self) -> list[Route]:
        return [route for route in self.routes.values() if route.is_alias]


def _route(name: str, said: Any) -> Route:
    if not isinstance(said, dict) or not isinstance(said.get("model", name), str) or said.keys() - _MEMBERS:
        raise ValueError(f"{name!r} must be an object with {', '.join(sorted(_MEMBERS))} only")
    fallbacks = said.get("fallbacks", [])
    if not isinstance(fallbacks, list) or not all(isinstance(model, str) and model for model in fallbacks):
        raise ValueError(f"fallbacks of {name!r} must be a list of model ids")
    circuit = said.get("circuit")
    if circuit is not None and (not isinstance(circuit, dict) or circuit.keys() != {"failures", "seconds"}):
        raise ValueError(f"circuit of {name!r} must have failures and seconds")
    return Route(
        name,
        (said.get("model", name), *fallbacks),
        _count(name, "retries", said.get("retries", 0)),
        _count(name, "deadline_seconds", said["deadline_seconds"]) if "deadline_seconds" in said else None,
        _count(name, "concurrency", said["concurrency"], 1) if "concurrency" in said else None,
        Circuit(*(_count(name, member, circuit[member], 1) for member in ("failures", "seconds"))) if circuit else None,
    )


def _count(name: str, member: str, value: Any, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{member} of {name!r} must be a whole number, at least {least}")
    return value

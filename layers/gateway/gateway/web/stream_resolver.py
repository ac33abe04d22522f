"""Powertools' resolver for streaming functions: handlers are its routes, and it returns their replies unchanged.

It differs from the resolver of the other functions in three points. A handler returns a `Reply`, a `StreamedReply` or
a `PendingReply`, which the transport sends. One server answers many requests concurrently, each in a thread with its
own state of the current request (Powertools' `HttpResolverLocal` has one for each task). And a path parameter may
contain slashes.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError

from gateway.core.errors import GatewayError, SchemaError
from gateway.web.exchange import Answer, Dialect, Reply, Request
from gateway.web.failures import as_gateway_error, route_not_found

Check = Callable[[Any], None]  # validates a body; raises SchemaError


class _Current(threading.local):
    """Powertools' state of the request that a thread answers."""

    def __init__(self) -> None:
        self.event: Any = None
        self.lambda_context: Any = None
        self.context: dict[str, Any] = {}
        self.frames: list[str] = []


class StreamResolver(APIGatewayRestResolver):
    """Resolves requests to handlers; `dialect_of` gives the error format of a path."""

    def __init__(self, dialect_of: Callable[[str], Dialect]):
        self._current = _Current()
        self._dialect_of = dialect_of
        super().__init__(serializer=_unchanged)
        self.exception_handler(Exception)(self._failed)
        self.exception_handler(NotFoundError)(lambda _: self._failed(route_not_found()))

    def answer(self, request: Request) -> Answer:
        """The reply of the request's handler, or a problem. It never raises."""
        made: Answer = self.resolve(request.event, request.invocation)["body"]
        return made

    def problem(self, error: GatewayError, request: Request) -> Reply:
        """An error in the format of the request's path."""
        return self._dialect_of(request.path).problem(error, request.request_id)

    def received(self, check: Check | None = None) -> Request:
        """The current request, with its body validated. Raises BadRequestError and SchemaError."""
        request = Request(self._current.event.raw_event, self._current.lambda_context)
        if check is not None:
            check(request.json)
        return request

    def _failed(self, error: Exception) -> Response[Reply]:
        request = self.received()
        if isinstance(error, SchemaError):
            error = self._dialect_of(request.path).misfit(error)
        return Response(200, body=self.problem(as_gateway_error(error, request.request_id), request))

    # ------------------------------------------------------------------------- what Powertools keeps, for each thread
    def resolve(self, event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        self._current.event, self._current.lambda_context = self._to_proxy_event(dict(event)), context
        return super().resolve(event, context)

    @property
    def current_event(self) -> Any:
        return self._current.event

    @current_event.setter
    def current_event(self, event: Any) -> None:
        self._current.event = event

    @property
    def lambda_context(self) -> Any:
        return self._current.lambda_context

    @lambda_context.setter
    def lambda_context(self, context: Any) -> None:
        self._current.lambda_context = context

    @property
    def context(self) -> dict[str, Any]:
        return self._current.context

    @context.setter
    def context(self, context: dict[str, Any]) -> None:
        self._current.context = context

    @property
    def processed_stack_frames(self) -> list[str]:
        return self._current.frames

    @processed_stack_frames.setter
    def processed_stack_frames(self, frames: list[str]) -> None:
        self._current.frames = frames

    # ---------------------------------------------------------------------------------------------------------- paths
    @staticmethod
    def _compile_regex(rule: str, base_regex: str = "") -> re.Pattern[str]:
        """A parameter may contain slashes: an intermediary may have decoded those of an ARN."""
        return re.compile(re.sub(r"<(\w+)>", r"(?P<\1>.+)", re.escape(rule)) + r"\Z")

    def _convert_matches_into_route_keys(self, match: re.Match[str]) -> dict[str, str]:
        return {name: unquote(text) for name, text in match.groupdict().items()}


def _unchanged(answer: Any) -> Any:
    """Replaces Powertools' serializer: the transport writes the answer, whole or in parts."""
    return answer

"""The registry of models in force: the function's environment, overridden by an object in S3 if one is configured."""

from __future__ import annotations

from gateway.aws.s3.watched import FRESH, Unreadable, Watched
from gateway.calls.model_registry import ModelRegistry
from gateway.core.errors import GatewayError
from gateway.core.settings import SettingsError


class RoutesUnavailable(GatewayError):
    """The configured object of routes has never been read, and without it names would lead to wrong models."""

    status = 503
    code = "routes_unavailable"


class StoredRegistry:
    """Reads the environment at the cold start, and the object at the first call and then every few minutes."""

    def __init__(self, routes: str, endpoints: str, uri: str):
        try:
            self._inline = ModelRegistry.inline(routes, endpoints)
        except ValueError as error:
            raise SettingsError(str(error)) from error
        self._object = Watched(uri, self._inline.with_object, "model_routes_unreadable") if uri else None

    def __call__(self) -> ModelRegistry:
        """Raises RoutesUnavailable if the object is configured and has never been read."""
        if self._object is None:
            return self._inline
        try:
            return self._object.get(FRESH)
        except Unreadable as error:
            message = "The routes of models cannot be read at the moment. Try again later."
            raise RoutesUnavailable(message) from error

"""The registry of models in force: the function's environment, and over it an object in S3 where there is one."""

from __future__ import annotations

from gateway.aws.s3.watched import FRESH, Unreadable, Watched
from gateway.calls.model_registry import ModelRegistry
from gateway.core.errors import GatewayError
from gateway.core.settings import SettingsError


class RoutesUnavailable(GatewayError):
    """An object of routes is configured, and was never read: no name leads where it should without it."""

    status = 503
    code = "routes_unavailable"


class StoredRegistry:
    """Read the environment at the cold start, and the object with the first call and then every few minutes."""

    def __init__(self, routes: str, endpoints: str, uri: str):
        try:
            self._inline = ModelRegistry.inline(routes, endpoints)
        except ValueError as error:
            raise SettingsError(str(error)) from error
        self._object = Watched(uri, self._inline.with_object, "model_routes_unreadable") if uri else None

    def __call__(self) -> ModelRegistry:
        """Raises RoutesUnavailable where the object is configured and was never read."""
        if self._object is None:
            return self._inline
        try:
            return self._object.get(FRESH)
        except Unreadable as error:
            message = "The routes of models cannot be read at the moment. Try again later."
            raise RoutesUnavailable(message) from error

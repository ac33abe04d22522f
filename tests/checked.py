"""Reads bodies as the routes do: checks them against openapi.yaml first, and refuses them in their own format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gateway.core.errors import BadRequestError, SchemaError

Body = TypeVar("Body")


def checked(body: Body, check: Callable[[Any], None], misfit: Callable[[SchemaError], BadRequestError]) -> Body:
    try:
        check(body)
    except SchemaError as error:
        raise misfit(error) from error
    return body

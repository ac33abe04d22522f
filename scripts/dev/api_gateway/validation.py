"""Checks requests against the spec as API Gateway does, and responses for contract.log.

API Gateway checks that required parameters exist and that a body matches its model; it ignores parameter values. It
checks no response. Here a response that violates the spec is logged in contract.log, and sent unchanged.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import re
import threading
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from jsonschema import Draft4Validator, ValidationError
from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters

from scripts.dev.api_gateway.events import Call, query_pairs
from scripts.dev.api_gateway.routes import Route, Spec
from scripts.dev.api_gateway.security import Refused
from scripts.dev.http_server import Response

_MOST_WAITING = 200
_SLASH = re.compile("%2f", re.IGNORECASE)
_PAUSE = 0.1  # seconds between two checks of responses of one kind


class RequestValidation:
    """Validates with the models that the import made: schema parts that the import dropped do not apply."""

    def __init__(self, spec: Spec):
        self._models = spec.api.models
        self._validator = cache(lambda name: Draft4Validator(self._models.whole(name)))

    def check(self, call: Call, route: Route) -> None:
        """Raises Refused for a request that API Gateway would not pass on."""
        if route.imported.validator.parameters:
            self._check_parameters(call, route)
        if route.imported.validator.body and route.imported.request_models:
            self._check_body(call, route)

    def _check_parameters(self, call: Call, route: Route) -> None:
        sent = {
            "querystring": {name for name, value in query_pairs(call) if value},
            "header": {name.lower() for name, _ in call.request.headers},
            "path": set(call.path_parameters),
        }
        for parameter, required in route.imported.request_parameters.items():
            place, name = parameter.removeprefix("method.request.").split(".", 1)
            if required and (name.lower() if place == "header" else name) not in sent[place]:
                raise Refused("BAD_REQUEST_PARAMETERS")

    def _check_body(self, call: Call, route: Route) -> None:
        body, models = call.request.body, route.imported.request_models
        if not body and not route.imported.body_required:
            return
        # API Gateway treats a request without a content type as JSON. It does not check a type without a model; a
        # proxy integration passes it on (Developer Guide, "Request validation for REST APIs").
        sent = (call.request.header("content-type") or "application/json").split(";")[0].strip().lower()
        name = models.get(sent)
        if name is None or not (sent == "application/json" or sent.endswith("+json")):
            return
        try:
            self._validator(name).validate(json.loads(body))
        except (ValueError, ValidationError, RecursionError):
            raise Refused("BAD_REQUEST_BODY") from None


class _Asked:
    """A request in openapi-core's form."""

    def __init__(self, call: Call, host_url: str):
        self.parameters = RequestParameters()
        self.host_url = host_url
        self.path = unquote(_SLASH.sub("%252F", call.request.path))  # a parameter's slash separates nothing
        self.method = call.request.method.lower()
        self.body = call.request.body
        self.content_type = call.request.header("content-type") or ""


class _Answered:
    """A response in openapi-core's form."""

    def __init__(self, response: Response):
        self.status_code = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers}
        self.content_type = self.headers.get("content-type", "").lower()
        self.data = response.body


class ContractLog:
    """Logs the responses that violate the spec, in its own thread, so that calls do not wait."""

    def __init__(self, spec: Spec, path: Path):
        self._openapi = OpenAPI.from_dict(spec.document, config=Config(spec_validator_cls=None))
        self._host = str((spec.document.get("servers") or [{"url": ""}])[0]["url"]).rstrip("/")
        self._logger = logging.getLogger("contract")
        self._logger.propagate = False
        handler = logging.FileHandler(path, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._logger.handlers = [handler]
        self._waiting: queue.Queue[tuple[Call, Response]] = queue.Queue(_MOST_WAITING)
        self._looked: dict[tuple[Any, ...], float] = {}
        threading.Thread(target=self._run, daemon=True).start()

    def look_at(self, call: Call, response: Response) -> None:
        # Under load a sample is enough: the check costs more than the call.
        route = call.route
        kind, now = (route and route.path, route and route.method, response.status), time.monotonic()
        if now - self._looked.get(kind, 0.0) < _PAUSE:
            return
        self._looked[kind] = now
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait((call, response))

    def _run(self) -> None:
        while True:
            call, response = self._waiting.get()
            try:
                self._openapi.validate_response(_Asked(call, self._host), _Answered(response))
            except Exception as error:
                # Only the place and the kind: the message of a schema error quotes the response.
                causes = getattr(error.__cause__ or error, "schema_errors", ())
                where = "; ".join(f"{cause.json_path} {cause.validator}" for cause in causes)
                self._logger.warning(
                    "%s %s %s %s: %s %s",
                    call.request_id,
                    call.request.method,
                    call.route.path if call.route else "",
                    response.status,
                    type(error.__cause__ or error).__name__,
                    where,
                )

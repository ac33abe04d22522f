"""Requests against the spec, as API Gateway checks them.

Required parameters must exist, and a body must match its model. API Gateway ignores parameter values.
"""

from __future__ import annotations

import json
from functools import cache

from jsonschema import Draft4Validator, ValidationError

from scripts.dev.api_gateway.events import Call, query_pairs
from scripts.dev.api_gateway.routes import Route, Spec
from scripts.dev.api_gateway.security import Refused


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

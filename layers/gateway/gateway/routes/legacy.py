"""POST /stream_model: the old contract's body, answered as server-sent events while the model speaks."""

from __future__ import annotations

from gateway.calls.policy import by_id
from gateway.core.errors import BadRequestError, GatewayError
from gateway.formats.legacy.requests import LegacyRequest, flag, misfit
from gateway.formats.legacy.streams import LegacyStream, as_streams, problem_json
from gateway.routes.service import ModelService, problem_reply
from gateway.web.exchange import Dialect, Reply, Request, StreamedReply
from gateway.web.warnings import warned


class LegacyRoutes:
    def __init__(self, service: ModelService):
        self._service = service

    def stream_model(self, request: Request) -> StreamedReply:
        name, arn = request.query.get("model_id"), request.query.get("model_arn")
        if (request.headers.get("type") or "text").lower() != "text":
            raise BadRequestError("Only text can be streamed. Use /invoke_model instead.", code="invalid_type")
        authorized = self._service.authorize(request, name, find=lambda names, route: by_id(names.catalog, route, arn))
        flagged = flag(request.header("messages_api"))
        streams, warnings = as_streams(LegacyRequest(request.json, name, arn, "text", flagged), authorized.models)
        request_id = request.request_id
        writer = LegacyStream(request_id)
        headers = warned([*warnings, *(warning for call in streams for warning in call.warnings)])
        return self._service.stream(
            authorized, streams, lambda _: writer, writer.ping, writer.error, headers, shows_cost=True
        )


def problem(error: GatewayError, request_id: str) -> Reply:
    return problem_reply(problem_json(error, request_id), error)


DIALECT = Dialect(problem, misfit)

"""POST /stream_model: the old contract's body, answered as server-sent events while the model speaks."""

from __future__ import annotations

from gateway.core.errors import BadRequestError, GatewayError
from gateway.formats.compat.requests import CompatRequest, flag, misfit
from gateway.formats.compat.streams import CompatStream, as_streams, problem_json
from gateway.routes.service import ModelService, problem_reply
from gateway.web.exchange import Dialect, Reply, Request, StreamedReply
from gateway.web.warnings import warned


class CompatRoutes:
    def __init__(self, serving: ModelService):
        self._serving = serving

    def stream_model(self, request: Request) -> StreamedReply:
        name, arn = request.query.get("model_id"), request.query.get("model_arn")
        if (request.headers.get("type") or "text").lower() != "text":
            raise BadRequestError("Only text can be streamed. Use /invoke_model instead.", code="invalid_type")
        asked = self._serving.ask(request, name)
        flagged = flag(request.header("messages_api"))
        streams, warnings = as_streams(
            CompatRequest(request.json, name, arn, "text", flagged),
            asked.route,
            asked.directory.catalog,
            request.caller.tenant,
            by_default=self._serving.allow_unlisted,
        )
        request_id = request.request_id
        writer = CompatStream(request_id)
        headers = warned([*warnings, *(warning for call in streams for warning in call.warnings)])
        return self._serving.stream(
            asked, streams, lambda _: writer, writer.ping, writer.error, headers, shows_cost=True
        )


def problem(error: GatewayError, request_id: str) -> Reply:
    return problem_reply(problem_json(error, request_id), error)


DIALECT = Dialect(problem, misfit)

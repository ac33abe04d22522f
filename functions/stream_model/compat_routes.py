"""POST /stream_model: the old contract's body, answered as server-sent events while the model speaks."""

from __future__ import annotations

from gateway.errors import BadRequest, GatewayError
from gateway.http.asgi import Reply, Request, Streamed
from gateway.wire.compat import CompatRequest, flag
from gateway.wire.compat_stream import CompatStream, as_stream, problem_json
from serving import Serving, problem_reply


class CompatRoutes:
    def __init__(self, serving: Serving):
        self._serving = serving

    def stream_model(self, request: Request) -> Streamed:
        body = request.json
        if not isinstance(body, dict):
            raise BadRequest("The body must be a JSON object.", code="invalid_body")
        name, arn = request.query.get("model_id"), request.query.get("model_arn")
        if (request.headers.get("type") or "text").lower() != "text":
            raise BadRequest("Only text is streamed. Use /invoke_model for the rest.", code="invalid_type")
        if not name:
            raise BadRequest("Name a model in the query parameter model_id.", code="model_id_missing")
        asked = self._serving.ask(request, name)
        if arn:
            request.caller.tenant.must_allow_arn(arn)
        flagged = flag(request.headers.get("messages_api"))
        names = [asked.route.models[0], *(model.id for model in asked.models[1:])]
        calls, readers = [], {}
        for model_name in names:
            sent = CompatRequest(body, model_name, arn if model_name == names[0] else None, "text", flagged)
            call, reader = as_stream(sent, self._serving.catalog)
            calls.append(call)
            readers[call.model.id] = reader
        request_id = request.request_id
        known = CompatStream(request_id, next(iter(readers.values())))
        return self._serving.stream(
            asked,
            calls,
            lambda call: CompatStream(request_id, readers[call.model.id]),
            known.ping,
            known.error,
            shows_cost=True,
        )


def problem(error: GatewayError, request_id: str) -> Reply:
    return problem_reply(problem_json(error, request_id), error)

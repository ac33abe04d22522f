"""Anthropic's API: messages and their token counts. Claude gets them as they came, other models by Converse."""

from __future__ import annotations

from gateway.catalog import Model
from gateway.errors import BadRequest, GatewayError
from gateway.http.exchange import Pending, Reply, Request, Streamed
from gateway.invocation import ModelAnswer, ModelCall
from gateway.streaming import Metered, StreamWriter
from gateway.wire import anthropic
from gateway.wire.anthropic_stream import NativeStream, TranslatedStream
from serving import CONVERSE_OUTPUT, Serving, problem_reply

NATIVE = "anthropic"  # the provider whose models read these messages themselves


class AnthropicRoutes:
    def __init__(self, serving: Serving):
        self._serving = serving

    def messages(self, request: Request) -> Pending | Streamed:
        read = anthropic.read_messages(request.json, request.headers.get("anthropic-beta"))
        asked = self._serving.ask(request, read.model)
        calls = [self._call(read, model) for model in asked.models]
        request_id = request.request_id
        name = f"msg_{request_id}"

        def writer_of(call: ModelCall) -> StreamWriter:
            native = call.model.provider == NATIVE
            return NativeStream(request_id) if native else TranslatedStream(read, name, request_id)

        headers = {"request-id": request_id}
        if read.stream:
            known = NativeStream(request_id)
            return self._serving.stream(asked, calls, writer_of, known.ping, known.error, headers)

        def write(call: ModelCall, answer: ModelAnswer) -> Reply:
            if call.model.provider == NATIVE:
                return Reply(answer.content, headers=headers)
            return Reply(anthropic.write_message(read, answer.body, Metered(answer.usage), name), headers=headers)

        return self._serving.reply(asked, calls, write, headers)

    def count_tokens(self, request: Request) -> Reply:
        read = anthropic.read_count(request.json, request.headers.get("anthropic-beta"))
        asked = self._serving.ask(request, read.model, charged=False)
        model = _readable(asked.models[0])
        body = {"input": read.input(model.provider == NATIVE, model.provider)}
        answer = self._serving.count(asked, ModelCall(model, "text", "CountTokens", body))
        return Reply(anthropic.write_count(answer.body))

    def _call(self, read: anthropic.MessagesRequest, model: Model) -> ModelCall:
        if model.provider == NATIVE:
            api = "InvokeModelWithResponseStream" if read.stream else "InvokeModel"
            tier = {"x-amzn-bedrock-service-tier": read.service_tier} if read.service_tier else {}
            return ModelCall(model, "text", api, read.native, output_path=("max_tokens",), headers=tier)
        _readable(model)
        api = "ConverseStream" if read.stream else "Converse"
        body = anthropic.converse_body(read, model.provider)
        return ModelCall(model, "text", api, body, output_path=CONVERSE_OUTPUT)


def _readable(model: Model) -> Model:
    """A model whose family is known. Raises BadRequest, for an endpoint as well: to ask it anything is to run it."""
    if not model.base:
        raise BadRequest("model: an ARN or endpoint whose model is not known here.", code="invalid_model_id")
    return model


def problem(error: GatewayError, request_id: str) -> Reply:
    return problem_reply(anthropic.problem(error, request_id), error, {"request-id": request_id})

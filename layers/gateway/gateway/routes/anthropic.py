"""Anthropic's API: messages and their token counts. Claude gets them as they came, other models by Converse."""

from __future__ import annotations

from typing import Any

from gateway.calls.call import ModelAnswer, ModelCall
from gateway.calls.catalog import Model
from gateway.calls.streaming import MeteredUsage, StreamWriter
from gateway.core.errors import BadRequestError, GatewayError
from gateway.formats.answers import AnswerMessageStream, unwrap, unwrap_message, unwrap_stream
from gateway.formats.anthropic import messages as anthropic
from gateway.formats.anthropic.claims import claim_of_message
from gateway.formats.anthropic.streams import NativeStream, TranslatedStream
from gateway.formats.fitting.work import Fitted
from gateway.routes.service import CONVERSE_OUTPUT, ModelService, problem_reply
from gateway.web.exchange import Dialect, PendingReply, Reply, Request, StreamedReply
from gateway.web.warnings import warned

NATIVE = "anthropic"  # the provider whose models read these messages themselves


class AnthropicRoutes:
    def __init__(self, service: ModelService):
        self._service = service

    def messages(self, request: Request) -> PendingReply | StreamedReply:
        read = anthropic.read_messages(request.json, request.headers.get("anthropic-beta"))
        authorized = self._service.authorize(request, read.model, claim=claim_of_message(request.json))
        fitted = {model: _fitted(read, model) for model in authorized.models}
        calls = [self._call(read, model, made.body) for model, made in fitted.items()]
        request_id = request.request_id
        name = f"msg_{request_id}"

        def writer_of(call: ModelCall) -> StreamWriter:
            made = fitted[call.model]
            tool = made.answer_tool
            if call.model.provider == NATIVE:
                native = NativeStream(request_id)
                return AnswerMessageStream(native, tool) if tool else native
            return unwrap_stream(TranslatedStream(read, name, request_id), tool, made.names)

        headers: dict[str, str] = {"request-id": request_id}
        headers |= warned(warning for made in fitted.values() for warning in made.warnings)
        if read.stream:
            known = NativeStream(request_id)
            return self._service.stream(authorized, calls, writer_of, known.ping, known.error, headers)

        def write(call: ModelCall, answer: ModelAnswer) -> Reply:
            made = fitted[call.model]
            own = {"request-id": request_id, **warned(made.warnings)}
            if call.model.provider == NATIVE:
                content = unwrap_message(answer.content, made.answer_tool) if made.answer_tool else answer.content
                return Reply(content, headers=own)
            metered = MeteredUsage(answer.usage)
            body = unwrap(answer.body, made.answer_tool, made.names)
            return Reply(anthropic.write_message(read, body, metered, name), headers=own)

        return self._service.reply(authorized, calls, write, headers)

    def count_tokens(self, request: Request) -> Reply:
        read = anthropic.read_count(request.json, request.headers.get("anthropic-beta"))
        authorized = self._service.authorize(request, read.model, charged=False)
        model = _readable(authorized.models[0])
        body = {"input": read.input(model.provider == NATIVE, model.base)}
        answer = self._service.count(authorized, ModelCall(model, "text", "CountTokens", body))
        return Reply(anthropic.write_count(answer.body), headers=warned(read.warnings))

    def _call(self, read: anthropic.MessagesRequest, model: Model, body: Any) -> ModelCall:
        if model.provider == NATIVE:
            api = "InvokeModelWithResponseStream" if read.stream else "InvokeModel"
            tier = {"x-amzn-bedrock-service-tier": read.service_tier} if read.service_tier else {}
            return ModelCall(model, "text", api, body, output_path=("max_tokens",), headers=tier)
        api = "ConverseStream" if read.stream else "Converse"
        return ModelCall(model, "text", api, body, output_path=CONVERSE_OUTPUT)


def _fitted(read: anthropic.MessagesRequest, model: Model) -> Fitted:
    """The body that the model is sent."""
    if model.provider == NATIVE:
        return anthropic.native_body(read, model.base)
    return anthropic.converse_body(read, _readable(model).base)


def _readable(model: Model) -> Model:
    """A model whose family is known. Raises BadRequestError, for an endpoint too: to ask it anything is to run it."""
    if not model.base:
        raise BadRequestError("model: the base model of this ARN or endpoint is unknown.", code="invalid_model_id")
    return model


def problem(error: GatewayError, request_id: str) -> Reply:
    return problem_reply(anthropic.problem(error, request_id), error, {"request-id": request_id})


DIALECT = Dialect(problem, anthropic.misfit)

"""OpenAI's API: chat completions, responses, embeddings, models; each call becomes Converse or InvokeModel."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from gateway.calls.call import ModelAnswer, ModelCall
from gateway.calls.catalog import Model, Service
from gateway.calls.streaming import MeteredUsage, StreamWriter
from gateway.core.errors import BadRequestError, GatewayError, NotFoundError
from gateway.formats.answers import unwrap_stream
from gateway.formats.anthropic import messages as anthropic
from gateway.formats.openai import chat as openai_chat
from gateway.formats.openai import embeddings as openai_embeddings
from gateway.formats.openai import endpoint as openai_endpoint
from gateway.formats.openai import fields as openai_common
from gateway.formats.openai import responses as openai_responses
from gateway.formats.openai.response_answers import ResponsesStream, write_response
from gateway.routes.service import CONVERSE_OUTPUT, AuthorizedRequest, ModelService, problem_reply
from gateway.web.exchange import Dialect, PendingReply, Reply, Request, StreamedReply
from gateway.web.warnings import warned


class OpenAIRoutes:
    def __init__(self, service: ModelService):
        self._service = service

    def chat_completions(self, request: Request) -> PendingReply | StreamedReply:
        authorized = self._authorize(request)
        # An endpoint's container reads the body itself; for models of Bedrock it becomes Converse.
        chats = {
            model: openai_chat.read_chat(request.json, model.base) for model in authorized.models if _converses(model)
        }
        calls = [
            _call(model, chats[model].converse, streaming=chats[model].stream)
            if model in chats
            else openai_endpoint.read_endpoint_chat(request.json, model)
            for model in authorized.models
        ]
        name, created = f"chatcmpl-{request.request_id}", int(time.time())
        headers = warned(warning for chat in chats.values() for warning in chat.warnings)

        def writer_of(call: ModelCall) -> StreamWriter:
            if (chat := chats.get(call.model)) is not None:
                return unwrap_stream(openai_chat.ChatStream(chat, name, created), chat.answer_tool, chat.names)
            return openai_endpoint.EndpointChatStream(request.json)

        if request.json.get("stream"):
            known = writer_of(calls[0])
            return self._service.stream(authorized, calls, writer_of, known.ping, known.error, headers)

        def write(call: ModelCall, answer: ModelAnswer) -> Reply:
            if (chat := chats.get(call.model)) is None:
                return Reply(answer.content)
            written = openai_chat.write_chat(chat, answer.body, MeteredUsage(answer.usage), name, created)
            return Reply(written, headers=warned(chat.warnings))

        return self._service.reply(authorized, calls, write, headers)

    def responses(self, request: Request) -> PendingReply | StreamedReply:
        authorized = self._authorize(request)
        items, tenant = self._service.items, request.caller.tenant_id
        kept = items.find(tenant, responses) if (responses := _responses_named(request.json)) else {}
        reads = {
            model: openai_responses.read_response(request.json, model.base, kept, keeps=items.seconds > 0)
            for model in authorized.models
        }
        name, created = f"resp_{request.request_id}", int(time.time())
        calls = [_call(model, read.converse, streaming=read.stream) for model, read in reads.items()]
        headers = warned(warning for read in reads.values() for warning in read.warnings)
        first = reads[calls[0].model]

        def keep(output: list[Any]) -> None:
            if first.store:
                items.keep(tenant, name, output)

        if first.stream:
            known = ResponsesStream(first, name, created)

            def writer_of(call: ModelCall) -> StreamWriter:
                read = reads[call.model]
                return unwrap_stream(ResponsesStream(read, name, created, keep), read.answer_tool, read.names)

            return self._service.stream(authorized, calls, writer_of, known.ping, known.error, headers)

        def write(call: ModelCall, answer: ModelAnswer) -> Reply:
            read = reads[call.model]
            written = write_response(read, answer.body, MeteredUsage(answer.usage), name, created)
            keep(written["output"])
            return Reply(written, headers=warned(read.warnings))

        return self._service.reply(authorized, calls, write, headers)

    def embeddings(self, request: Request) -> PendingReply:
        authorized = self._authorize(request, "embeddings")
        read = openai_embeddings.read_embeddings(request.json, authorized.models[0])

        def write(answers: Sequence[ModelAnswer]) -> Reply:
            bodies, usages = [answer.body for answer in answers], [answer.usage for answer in answers]
            return Reply(openai_embeddings.write_embeddings(read, bodies, usages))

        if len(read.calls) == 1:
            return self._service.reply(authorized, read.calls, lambda _, answer: write([answer]))
        return self._service.reply_all(authorized, read.calls, write)

    def list_models(self, request: Request) -> Reply:
        if "anthropic-version" in request.headers:
            page = anthropic.model_page(self._names(request), request.query)
            models = [{**openai_common.model_object(one["id"], 0), **one} for one in page["data"]]
            return Reply({"object": "list", **page, "data": models})
        return Reply(openai_common.model_list(self._names(request), 0))

    def get_model(self, request: Request, name: str) -> Reply:
        if name not in self._names(request):
            raise NotFoundError(
                "model: unknown, or not allowed for your tenant. See /v1/models.", code="model_not_found"
            )
        if "anthropic-version" in request.headers:
            return Reply({**openai_common.model_object(name, 0), **anthropic.model_info(name)})
        return Reply(openai_common.model_object(name, 0))

    def _names(self, request: Request) -> list[str]:
        """Aliases, endpoints, profiles and models that the caller may name."""
        service, registry = self._service, self._service.registry()
        names = [route.name for route in registry.routes.aliases()] + list(registry.catalog.sagemaker_endpoints)
        names += [p["inferenceProfileId"] for p in service.listing().profiles() if p.get("type") != "APPLICATION"]
        names += [model["modelId"] for model in service.listing().summaries()]
        return [name for name in dict.fromkeys(names) if service.may_use(request, name)]

    def _authorize(self, request: Request, operation: str = "text") -> AuthorizedRequest:
        claim = openai_common.claim_of(request.json)
        return self._service.authorize(request, request.json["model"], operation, claim=claim)


def _responses_named(body: Any) -> list[str]:
    """The responses whose items a request refers to."""
    named = (openai_responses.response_of(item) for item in openai_responses.references(body))
    return [name for name in dict.fromkeys(named) if name]


def _converses(model: Model) -> bool:
    return model.service is Service.BEDROCK


def _call(model: Model, body: Any, *, streaming: bool) -> ModelCall:
    if not _converses(model):
        raise BadRequestError("model: SageMaker endpoints support only /v1/chat/completions.", code="invalid_model_id")
    return ModelCall(model, "text", "ConverseStream" if streaming else "Converse", body, output_path=CONVERSE_OUTPUT)


def problem(error: GatewayError, request_id: str) -> Reply:
    return problem_reply(openai_common.problem(error, request_id), error)


def models_problem(error: GatewayError, request_id: str) -> Reply:
    """Of a list that two SDKs read: the members of both."""
    anthropics, openais = anthropic.problem(error, request_id), openai_common.problem(error, request_id)
    both = {**openais["error"], **anthropics["error"]}
    return problem_reply({**openais, **anthropics, "error": both}, error, {"request-id": request_id})


DIALECT = Dialect(problem, openai_common.misfit)
MODELS_DIALECT = Dialect(models_problem, openai_common.misfit)

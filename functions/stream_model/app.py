"""Every route that may stream, with the APIs of OpenAI, Anthropic and Bedrock, behind the Lambda Web Adapter."""

from __future__ import annotations

from gateway.core.settings import settings
from gateway.routes.anthropic import AnthropicRoutes
from gateway.routes.bedrock import BedrockRoutes
from gateway.routes.dialects import dialect_of
from gateway.routes.legacy import LegacyRoutes
from gateway.routes.openai import OpenAIRoutes
from gateway.routes.service import ModelService
from gateway.web.asgi import Asgi
from gateway.web.exchange import PendingReply, Reply, StreamedReply
from gateway.web.generated import bodies
from gateway.web.stream_resolver import StreamResolver
from gateway.wiring import Wiring

wired = Wiring(settings())
service = ModelService(
    wired.registry,
    wired.models,
    wired.streams,
    wired.meter,
    wired.circuits,
    wired.entries,
    wired.response_items,
    wired.attributor,
    lambda: wired.listing,  # few requests ask for it
    settings().region,
    settings().allow_unlisted_models,
)
legacy, openai = LegacyRoutes(service), OpenAIRoutes(service)
anthropic, bedrock = AnthropicRoutes(service), BedrockRoutes(service)
api = StreamResolver(dialect_of)


@api.post("/stream_model")
def stream_model() -> StreamedReply:
    return legacy.stream_model(api.received(bodies.stream_model))


@api.post("/v1/chat/completions")
def create_chat_completion() -> PendingReply | StreamedReply:
    return openai.chat_completions(api.received(bodies.create_chat_completion))


@api.post("/v1/responses")
def create_response() -> PendingReply | StreamedReply:
    return openai.responses(api.received(bodies.create_response))


@api.post("/v1/embeddings")
def create_embeddings() -> PendingReply:
    return openai.embeddings(api.received(bodies.create_embeddings))


@api.get("/v1/models")
def list_models() -> Reply:
    return openai.list_models(api.received())


@api.get("/v1/models/<model>")
def get_model(model: str) -> Reply:
    return openai.get_model(api.received(), model)


@api.post("/v1/messages")
def create_message() -> PendingReply | StreamedReply:
    return anthropic.messages(api.received(bodies.create_message))


@api.post("/v1/messages/count_tokens")
def count_message_tokens() -> Reply:
    return anthropic.count_tokens(api.received(bodies.count_message_tokens))


@api.post("/model/<model_id>/converse")
def converse(model_id: str) -> PendingReply:
    return bedrock.converse(api.received(bodies.converse), model_id)


@api.post("/model/<model_id>/converse-stream")
def converse_stream(model_id: str) -> PendingReply:
    return bedrock.converse_stream(api.received(bodies.converse_stream), model_id)


@api.post("/model/<model_id>/invoke")
def invoke_bedrock_model(model_id: str) -> PendingReply:
    return bedrock.invoke(api.received(bodies.invoke_bedrock_model), model_id)


@api.post("/model/<model_id>/invoke-with-response-stream")
def invoke_bedrock_model_with_response_stream(model_id: str) -> PendingReply:
    request = api.received(bodies.invoke_bedrock_model_with_response_stream)
    return bedrock.invoke_with_response_stream(request, model_id)


@api.post("/model/<model_id>/count-tokens")
def count_tokens(model_id: str) -> Reply:
    return bedrock.count_tokens(api.received(bodies.count_tokens), model_id)


@api.get("/foundation-models")
def list_bedrock_models() -> Reply:
    return bedrock.foundation_models(api.received())


@api.get("/inference-profiles")
def list_inference_profiles() -> Reply:
    return bedrock.inference_profiles(api.received())


app = Asgi(api, settings().silence)

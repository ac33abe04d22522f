"""All that streams, and the APIs of OpenAI, Anthropic and Bedrock: an ASGI app behind the Lambda Web Adapter."""

from __future__ import annotations

from gateway.core.settings import settings
from gateway.routes import anthropic as anthropic_routes
from gateway.routes import bedrock as bedrock_routes
from gateway.routes import compat as compat_routes
from gateway.routes import openai as openai_routes
from gateway.routes.service import Serving
from gateway.web.asgi import Asgi
from gateway.web.exchange import Route
from gateway.wiring import Wiring

wired = Wiring(settings())
serving = Serving(
    wired.directory,
    wired.models,
    wired.streams,
    wired.meter,
    wired.circuits,
    wired.entries,
    wired.response_items,
    settings().region,
    settings().allow_unlisted_models,
)

compat = compat_routes.CompatRoutes(serving)
openai = openai_routes.OpenAIRoutes(serving)
anthropic = anthropic_routes.AnthropicRoutes(serving)
bedrock = bedrock_routes.BedrockRoutes(serving)

ROUTES = (
    Route("POST", "/stream_model", compat.stream_model, compat_routes.problem),
    Route("POST", "/v1/chat/completions", openai.chat_completions, openai_routes.problem),
    Route("POST", "/v1/responses", openai.responses, openai_routes.problem),
    Route("POST", "/v1/embeddings", openai.embeddings, openai_routes.problem),
    Route("GET", "/v1/models", openai.list_models, openai_routes.models_problem),
    Route("GET", "/v1/models/{model}", openai.get_model, openai_routes.models_problem),
    Route("POST", "/v1/messages", anthropic.messages, anthropic_routes.problem),
    Route("POST", "/v1/messages/count_tokens", anthropic.count_tokens, anthropic_routes.problem),
    Route("POST", "/model/{modelId}/converse", bedrock.converse, bedrock_routes.problem),
    Route("POST", "/model/{modelId}/converse-stream", bedrock.converse_stream, bedrock_routes.problem),
    Route("POST", "/model/{modelId}/invoke", bedrock.invoke, bedrock_routes.problem),
    Route(
        "POST",
        "/model/{modelId}/invoke-with-response-stream",
        bedrock.invoke_with_response_stream,
        bedrock_routes.problem,
    ),
    Route("POST", "/model/{modelId}/count-tokens", bedrock.count_tokens, bedrock_routes.problem),
    Route("GET", "/foundation-models", bedrock.foundation_models, bedrock_routes.problem),
    Route("GET", "/inference-profiles", bedrock.inference_profiles, bedrock_routes.problem),
)
app = Asgi(ROUTES, compat_routes.problem, settings().silence)

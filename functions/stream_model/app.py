"""All that streams, and the APIs of OpenAI, Anthropic and Bedrock: an ASGI app behind the Lambda Web Adapter."""

from __future__ import annotations

import anthropic_routes
import bedrock_routes
import compat_routes
import openai_routes
from gateway.aws.dynamodb.accounts import AccountTable
from gateway.aws.dynamodb.circuits import Circuits
from gateway.aws.dynamodb.idempotency import IdempotencyTable
from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.aws.dynamodb.response_items import ItemTable
from gateway.aws.events import warn
from gateway.aws.models.bedrock import BedrockRuntime
from gateway.aws.models.credentials import Sessions
from gateway.aws.models.sagemaker import SageMakerRuntime
from gateway.aws.s3.model_directory import ModelDirectory
from gateway.aws.s3.payloads import Payloads
from gateway.aws.s3.price_overlay import current_book
from gateway.calls.call import ModelServices
from gateway.calls.catalog import Service
from gateway.calls.metering import Meter
from gateway.calls.streaming import StreamServices
from gateway.core.settings import settings
from gateway.web.asgi import Asgi
from gateway.web.exchange import Route
from serving import Serving

seconds = settings().invocation_timeout
bedrock_runtime = BedrockRuntime(seconds, Sessions(settings().tenant_role_arn))
endpoints = SageMakerRuntime(seconds)
ledger = DynamoLedger(settings().usage_table, settings().usage_retention_days)
payloads = Payloads(settings().payloads_bucket)
serving = Serving(
    ModelDirectory(settings().model_routes, settings().sagemaker_endpoints, settings().model_routes_uri),
    ModelServices({Service.BEDROCK: bedrock_runtime, Service.SAGEMAKER: endpoints}),
    StreamServices({Service.BEDROCK: bedrock_runtime, Service.SAGEMAKER: endpoints}),
    Meter(ledger, AccountTable(settings().budgets_table), current_book, warn),
    Circuits(settings().idempotency_table),
    IdempotencyTable(settings().idempotency_table, settings().usage_table, payloads),
    ItemTable(settings().idempotency_table, payloads, settings().response_items),
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

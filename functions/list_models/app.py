"""GET /list_foundation_models: the models of this region that the caller may use, as Bedrock lists them."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.event_handler import Response

from gateway.aws.models.bedrock import BedrockCatalog
from gateway.core.settings import settings
from gateway.web.resolver import answer, api, caller

app = api()
models = BedrockCatalog()


@app.get("/list_foundation_models")
def list_foundation_models() -> Response[str]:
    tenant, unlisted = caller(app).tenant, settings().allow_unlisted_models
    allowed = [model for model in models.summaries() if tenant.allows_model(model["modelId"], by_default=unlisted)]
    return answer(app, [{"modelSummaries": allowed}])


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return app.resolve(event, context)

"""GET /list_foundation_models: the models of this region, as Bedrock lists them."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.event_handler import Response

from gateway.aws.bedrock import BedrockCatalog
from gateway.http.resolver import answer, api

app = api()
models = BedrockCatalog()


@app.get("/list_foundation_models")
def list_foundation_models() -> Response[str]:
    return answer(app, [{"modelSummaries": models.summaries()}])


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return app.resolve(event, context)

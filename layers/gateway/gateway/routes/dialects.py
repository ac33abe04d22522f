"""Which clients call a path, by how it begins: an error speaks to them in their own format."""

from __future__ import annotations

from gateway.routes import anthropic, bedrock, legacy, openai
from gateway.web.exchange import Dialect

_OWNERS = (
    ("/v1/models", openai.MODELS_DIALECT),
    ("/v1/messages", anthropic.DIALECT),
    ("/v1/", openai.DIALECT),
    ("/model/", bedrock.DIALECT),
    ("/foundation-models", bedrock.DIALECT),
    ("/inference-profiles", bedrock.DIALECT),
)


def dialect_of(path: str) -> Dialect:
    return next((dialect for start, dialect in _OWNERS if path.startswith(start)), legacy.DIALECT)

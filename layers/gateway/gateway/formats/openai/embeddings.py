"""OpenAI's embeddings, made by each family of models in its own way."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.calls.call import ModelCall
from gateway.calls.catalog import Model, Service
from gateway.core.errors import GatewayError
from gateway.formats.embeddings import MAX_EMBEDDING_CALLS, embedding_calls, is_nova, vectors_of
from gateway.formats.openai.fields import Json, invalid_param, known_fields
from gateway.usage.records import TokenUsage

_KNOWN = (
    "model", "input", "encoding_format", "dimensions", "user", "safety_identifier", "metadata", "input_type",
)  # fmt: skip
_COHERE_TEXTS = 96  # the most texts that one call of Cohere's takes


@dataclass(frozen=True)
class EmbeddingsRequest:
    """Embeddings asked for: the calls that make them, and how their vectors are to be written."""

    model: str
    asked: Model
    calls: tuple[ModelCall, ...]
    inputs: int
    encoding: str = "float"


def read_embeddings(body: Any, model: Model) -> EmbeddingsRequest:
    """A body that fits openapi.yaml, for the model that it names. Raises BadRequestError with the field at fault."""
    given = known_fields(body, "", _KNOWN)
    if model.service is not Service.BEDROCK or not (model.provider == "cohere" or is_nova(model) or _is_titan(model)):
        raise invalid_param("model", "must be an embedding model of Titan, Nova or Cohere.", "model_not_supported")
    texts = _texts(given.get("input"))
    parameters = _parameters(given, model)
    together = _COHERE_TEXTS if model.provider == "cohere" else 1
    if len(texts) > together * MAX_EMBEDDING_CALLS:
        raise invalid_param(
            "input", f"must contain at most {together * MAX_EMBEDDING_CALLS} texts for this model.", "too_many_inputs"
        )
    calls: tuple[ModelCall, ...] = ()
    for start in range(0, len(texts), together):
        calls += embedding_calls(model, "embeddings", texts[start : start + together], parameters)
    return EmbeddingsRequest(given["model"], model, calls, len(texts), given.get("encoding_format", "float"))


def _is_titan(model: Model) -> bool:
    return model.base.startswith("amazon.titan-embed")


def _texts(value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        raise invalid_param("input", "must be a string or a list of strings.", "missing_required_parameter")
    for index, one in enumerate(texts):
        if isinstance(one, int | list):
            message = "must be text: these models use different tokens. (LangChain: check_embedding_ctx_length=False.)"
            raise invalid_param("input", message, "tokens_not_supported")
        if not isinstance(one, str) or not one:
            raise invalid_param(f"input[{index}]", "must be a non-empty string.", "invalid_type")
    return texts


def _parameters(given: Json, model: Model) -> Json:
    """The fields by the names that the model's family has for them."""
    dimensions = given.get("dimensions")
    input_type = given.get("input_type")
    if input_type and model.provider != "cohere":
        raise invalid_param("input_type", "is supported only by Cohere models. Leave it out.", "unsupported_parameter")
    parameters: Json = {"input_type": input_type} if input_type else {}
    if dimensions is None:
        return parameters
    if "cohere.embed-v4" in model.base:
        return parameters | {"output_dimension": dimensions}
    if is_nova(model):
        return {"embeddingDimension": dimensions}
    if "titan-embed-text-v2" in model.base:
        return {"dimensions": dimensions}
    if "titan-embed-image" in model.base:
        return {"embeddingConfig": {"outputEmbeddingLength": dimensions}}
    raise invalid_param("dimensions", "cannot be set for this model. Leave it out.", "unsupported_parameter")


def write_embeddings(request: EmbeddingsRequest, answers: Sequence[Any], usages: Sequence[TokenUsage]) -> Json:
    """The models' answers, one for each call, as a list. Raises a 502 problem where one has not its kind's shape."""
    try:
        vectors = vectors_of(request.asked, answers)
        data = [
            {"object": "embedding", "index": index, "embedding": _encoded(vector, request.encoding)}
            for index, vector in enumerate(vectors)
        ]
    except (KeyError, IndexError, TypeError, AttributeError, StopIteration, struct.error) as error:
        message = "The model's response has an unexpected format."
        raise GatewayError(message, code="upstream_unreadable", status=502) from error
    if len(data) != request.inputs:
        raise GatewayError("The model returned fewer embeddings than inputs.", code="upstream_unreadable", status=502)
    read = sum(usage.context_tokens for usage in usages)
    return {
        "object": "list",
        "model": request.model,
        "data": data,
        "usage": {"prompt_tokens": read, "total_tokens": read},
    }


def _encoded(vector: list[float], encoding: str) -> Any:
    """The vector as it is, or base64 of its little-endian float32s."""
    return vector if encoding == "float" else base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()

"""How each family of models is asked for embeddings, and where the vectors are in its answers.

Cohere takes a list in one call; Titan and Nova take one input a call. Sources: each provider's request and response in
the Bedrock user guide, and Amazon Nova's for its multimodal embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.calls.call import ModelCall
from gateway.calls.catalog import Model
from gateway.core.errors import BadRequestError

Json = dict[str, Any]

MAX_EMBEDDING_CALLS = 90  # a job settles all its rows in one transaction of at most 100


def embedding_calls(model: Model, operation: str, items: Sequence[Any], parameters: Json) -> tuple[ModelCall, ...]:
    """The calls that embed the items; `parameters` are the provider's own. Raises BadRequestError for too many."""
    images = operation == "embeddings-image"
    if model.provider == "cohere":
        body: Json = (
            {"images": [*items], "input_type": "image"}
            if images
            else {"texts": [*items], "input_type": "search_document"}
        )
        body = body | parameters
        return (ModelCall(model, operation, "InvokeModel", body, input_images=pictures_in(model, body)),)
    if len(items) > MAX_EMBEDDING_CALLS:
        message = f"Send at most {MAX_EMBEDDING_CALLS} inputs per call to this model."
        raise BadRequestError(message, code="too_many_inputs")
    bodies = [_single(model, item, images, parameters) for item in items]
    return tuple(
        ModelCall(model, operation, "InvokeModel", body, input_images=pictures_in(model, body)) for body in bodies
    )


def pictures_in(model: Model, body: Json) -> int:
    """How many pictures a body embeds. Embed v4 counts a picture's tokens; other models charge by the picture."""
    if "embed-v4" in model.base:
        return 0
    shown = body.get("images")
    return len(shown) if isinstance(shown, list) else int(bool(body.get("inputImage")))


def is_nova(model: Model) -> bool:
    return model.base.startswith("amazon.nova-2-multimodal-embeddings")


def _single(model: Model, item: Any, images: bool, parameters: Json) -> Json:
    if isinstance(item, dict):
        return item | parameters
    if is_nova(model) and not images:
        text = {"truncationMode": "NONE", "value": item}
        return {
            "schemaVersion": "nova-multimodal-embed-v1",
            "taskType": "SINGLE_EMBEDDING",
            "singleEmbeddingParams": {"embeddingPurpose": "GENERIC_INDEX", "text": text} | parameters,
        }
    return {"inputImage" if images else "inputText": item} | parameters


def vectors_of(model: Model, bodies: Sequence[Any]) -> list[Any]:
    """The vectors of all answers, in the order of the inputs. Raises KeyError, IndexError or TypeError for others."""
    found: list[Any] = []
    for body in bodies:
        if model.provider == "cohere":
            # A list, or lists by type where types were asked for.
            vectors = body["embeddings"]
            found += next(iter(vectors.values())) if isinstance(vectors, Mapping) else vectors
        elif is_nova(model):
            found.append(body["embeddings"][0]["embedding"])
        else:
            found.append(body["embedding"])
    return found

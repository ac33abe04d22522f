"""InvokeModel's embedding bodies; equal inputs get equal vectors."""

import hashlib
import math
from dataclasses import dataclass, field
from typing import Any

from scripts.dev.fake_models.errors import invalid
from scripts.dev.fake_models.tokens import IMAGE_TOKENS, count_tokens

_COHERE_SIZE = {"cohere.embed-v4:0": 1536}
_MOST_TEXTS = 96


@dataclass
class Embedding:
    """One request to an embedding model: texts and images, and the vectors' length."""

    texts: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    size: int = 1024
    types: tuple[str, ...] = ()
    fused: bool = False  # Titan multimodal makes one vector from a text and an image.

    @property
    def tokens(self) -> int:
        """Titan Multimodal counts text only; its images are priced per image."""
        images = 0 if self.fused else len(self.images) * IMAGE_TOKENS
        return sum(map(count_tokens, self.texts)) + images

    @property
    def prompt(self) -> str:
        return "\n".join(self.texts)


def vector(content: str, size: int) -> list[float]:
    """A deterministic unit vector."""
    signed = [byte - 127.5 for byte in hashlib.shake_128(content.encode()).digest(size)]
    length = math.sqrt(sum(value * value for value in signed))
    return [round(value / length, 7) for value in signed]


def read_embedding(dialect: str, model_id: str, body: dict[str, Any]) -> Embedding:
    """Read an embedding request."""
    if dialect == "cohere-embed":
        return _read_cohere(model_id, body)
    if dialect == "titan-embed-image":
        size = (body.get("embeddingConfig") or {}).get("outputEmbeddingLength", 1024)
        texts = [body["inputText"]] if body.get("inputText") else []
        images = [body["inputImage"]] if body.get("inputImage") else []
        if not texts and not images:
            raise invalid("Malformed input request: at least one of [inputText, inputImage] is required.")
        return Embedding(texts, images, _size(size, (256, 384, 1024)), fused=True)
    text = body.get("inputText")
    if not isinstance(text, str) or not text:
        raise invalid(
            "Malformed input request: #: required key [inputText] not found, please reformat your input and try again."
        )
    if dialect == "titan-embed":
        return Embedding([text], size=1536)
    return Embedding(
        [text],
        size=_size(body.get("dimensions", 1024), (256, 512, 1024)),
        types=tuple(body.get("embeddingTypes") or ()),
    )


def write_embedding(dialect: str, request: Embedding, tokens: int | None) -> dict[str, Any]:
    """Write the vectors in the provider's format; Cohere's count is in a header, not in the body."""
    counted = {} if tokens is None else {"inputTextTokenCount": tokens}
    if dialect == "cohere-embed":
        return _write_cohere(request)
    answer: dict[str, Any] = {"embedding": vector("\n".join(request.texts + request.images), request.size)}
    if dialect == "titan-embed-v2":
        answer["embeddingsByType"] = {"float": answer["embedding"]}
        if "binary" in request.types:
            answer["embeddingsByType"]["binary"] = [int(value > 0) for value in answer["embedding"]]
        if request.types and "float" not in request.types:
            del answer["embedding"], answer["embeddingsByType"]["float"]
    if dialect == "titan-embed-image":
        answer["message"] = None
    return {**answer, **counted}


def _read_cohere(model_id: str, body: dict[str, Any]) -> Embedding:
    texts, images = body.get("texts") or [], body.get("images") or []
    for content in (part for entry in body.get("inputs") or () for part in entry.get("content") or ()):
        if content.get("type") == "text":
            texts = [*texts, content["text"]]
        else:
            images = [*images, content["image_url"]["url"]]
    if not texts and not images:
        raise invalid("Malformed input request: at least one of [texts, images] is required.")
    if "input_type" not in body:
        raise invalid(
            "Malformed input request: #: required key [input_type] not found, please reformat your input and try again."
        )
    if len(texts) > _MOST_TEXTS:
        raise invalid(
            f"Malformed input request: #/texts: expected maximum item count: {_MOST_TEXTS}, found: {len(texts)}"
        )
    base = next((size for known, size in _COHERE_SIZE.items() if known in model_id), 1024)
    return Embedding(texts, images, body.get("output_dimension", base), tuple(body.get("embedding_types") or ()))


def _write_cohere(request: Embedding) -> dict[str, Any]:
    floats = [vector(content, request.size) for content in [*request.texts, *request.images]]
    answer: dict[str, Any] = {"id": hashlib.blake2s("".join(request.texts).encode(), digest_size=16).hexdigest()}
    if request.texts:
        answer["texts"] = request.texts
    if not request.types:
        return {**answer, "embeddings": floats, "response_type": "embeddings_floats"}
    kinds = {
        "float": floats,
        "int8": [[round(value * 127) for value in row] for row in floats],
        "uint8": [[round(value * 127) + 128 for value in row] for row in floats],
        "binary": [[round(value * 127) for value in row[::8]] for row in floats],
        "ubinary": [[round(value * 127) + 128 for value in row[::8]] for row in floats],
    }
    chosen = {kind: kinds[kind] for kind in request.types if kind in kinds}
    return {**answer, "embeddings": chosen, "response_type": "embeddings_by_type"}


def _size(wanted: Any, allowed: tuple[int, ...]) -> int:
    if wanted not in allowed:
        raise invalid(f"Malformed input request: {wanted} is not a valid enum value, expected one of {allowed}")
    return int(wanted)

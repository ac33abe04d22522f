"""The maximum tokens that a model can read and write for one request, which a hard budget reserves before the call.

    text        a token is at least one byte, so UTF-8 bounds it
    JSON        a model reads a body's parts as JSON text at most: brackets, quotes, commas and escapes count
    an image    costs by its pixel size, which its family bounds
    the rest    binary documents, video, audio, URLs and tools of the service: the model's whole context

A model reads nothing beyond its context, so the context bounds every request. The bound is valid as long as the model
obeys the output limit of the request.
"""

from __future__ import annotations

import base64
import binascii
import json
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Any

from gateway.usage.provider_counts import named_tier
from gateway.usage.records import TokenUsage

TURN_TOKENS = 64  # the wrapping of a message, a role or a tool
TOOL_TOKENS = 1_000  # the system prompt that tools, or one built-in tool of a provider, add
ANY_MODEL = 2_000_000  # no model outside the list below has a larger context
_MOST = 10**12  # more tokens than any model generates, and within the range of an account

# The context of each family in tokens; the first prefix of a model's base id applies. A family has the largest context
# of its models, extended ones included. Sources: the model cards of the Bedrock user guide, and of each provider.
_CONTEXTS: tuple[tuple[str, int], ...] = (
    ("anthropic.claude-instant", 100_000),
    ("anthropic.claude-v", 200_000),
    ("anthropic.claude-3-", 200_000),
    ("anthropic.claude-haiku-4-", 200_000),
    ("anthropic.claude-opus-4-1", 200_000),
    ("anthropic.claude-opus-4-2", 200_000),  # the version of 2025-05-14
    ("anthropic.claude-opus-4-5", 200_000),
    ("anthropic.", 1_000_000),
    ("amazon.nova-micro", 128_000),
    ("amazon.nova-lite", 300_000),
    ("amazon.nova-pro", 300_000),
    ("amazon.nova-2-multimodal-embeddings", 8_192),
    ("amazon.nova", 1_000_000),
    ("amazon.titan", 42_000),
    ("ai21.", 256_000),
    ("cohere.", 256_000),
    ("deepseek.", 164_000),
    ("google.gemma-", 256_000),
    ("meta.llama4-scout", 10_000_000),
    ("meta.llama4-", 1_000_000),
    ("meta.llama", 131_072),
    ("mistral.", 262_144),
    ("openai.gpt-oss", 131_072),
    ("openai.", 1_050_000),
    ("qwen.", 262_144),
    ("writer.", 1_040_000),
)
# The tokens of the largest image. Claude counts width x height / 750 up to 4,784; Llama 3.2 reads four tiles of
# 1,601. Sources: the vision pages of Anthropic's and Amazon Nova's guides; Llama 3.2's model card.
_PICTURES: tuple[tuple[str, int], ...] = (("anthropic.", 6_000), ("amazon.nova", 6_000))
_ANY_PICTURE = 12_000
_PICTURE_MAGIC = ("iVBORw", "/9j/", "R0lGOD", "UklGR")  # the base64 prefixes of PNG, JPEG, GIF and WebP

_MARKS_CACHE = frozenset({"cachePoint", "cache_control"})
# The model reads the JSON inside these members as text, whatever it looks like.
_TEXT = frozenset({"input", "json", "inputSchema", "input_schema", "parameters", "documents"})
# Documents of these types are text; any other type is binary, so its size does not bound its content.
_PLAIN = frozenset({"txt", "md", "csv", "html", "text/plain", "text/markdown", "text/csv", "text/html"})
_MEDIA = frozenset({"video", "audio", "input_audio"})
# Tools that run at the client. Any other tool runs at the service, and the model reads its results as well.
_CLIENT_TOOLS = ("custom", "function", "bash", "text_editor", "computer", "memory", "str_replace")
# The members of the families' bodies for the output limit and the number of answers, and the objects around them.
_LENGTHS = frozenset(
    {"max_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens_to_sample", "max_new_tokens",
     "max_gen_len", "maxTokens", "maxTokenCount", "maxOutputTokens"}
)  # fmt: skip
_ANSWERS = frozenset({"n", "best_of", "num_generations", "num_return_sequences", "numResults"})
_THOUGHTS = frozenset({"budget_tokens"})
_TIERS = frozenset({"serviceTier", "service_tier", "performanceConfig"})
_INSIDE = frozenset(
    {"inferenceConfig", "textGenerationConfig", "additionalModelRequestFields", "parameters", "thinking",
     "reasoning_config"}
)  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """The input limits of a model in tokens: its whole context, and one image."""

    context: int = ANY_MODEL
    picture: int = _ANY_PICTURE


def reader_of(base: str) -> Reader:
    """The limits of a model by its base id (`anthropic.claude-3-haiku-20240307-v1:0`; empty for an endpoint)."""
    context = next((tokens for family, tokens in _CONTEXTS if base.startswith(family)), ANY_MODEL)
    picture = next((tokens for family, tokens in _PICTURES if base.startswith(family)), _ANY_PICTURE)
    return Reader(context, picture)


def input_bound(body: Any, reader: Reader = Reader()) -> int:
    """The maximum tokens that a model reads in a request's body."""
    return min(_bound(body, "", reader), reader.context)


def _bound(part: Any, name: str, reader: Reader) -> int:
    if isinstance(part, Mapping):
        around = 2 + TURN_TOKENS + _tools_bound(part, reader)
        return around + sum(_text_bound(str(key)) + _member_bound(part, name, key, reader) for key in part)
    if isinstance(part, list | tuple):
        return 2 + sum(2 + _bound(item, "", reader) for item in part)
    if isinstance(part, str) and name in ("url", "image_url"):
        return _address_bound(part, reader)
    return json_bound(part)


def _member_bound(whole: Mapping[str, Any], name: str, key: str, reader: Reader) -> int:
    part = whole[key]
    if key in _TEXT:
        return json_bound(part) + TURN_TOKENS
    if key in _MEDIA:
        return reader.context
    if key == "source" and isinstance(part, Mapping):
        return _source_bound(whole, part, name, reader)
    if key == "file" and isinstance(part, Mapping):
        return reader.context
    return _bound(part, key, reader)


def json_bound(value: Any) -> int:
    """The maximum tokens of a value that a model reads as JSON: the bytes of its text, spaces included."""
    return _text_bound(value) if isinstance(value, str) else _size(json.dumps(value, ensure_ascii=False, default=str))


def _text_bound(text: str) -> int:
    """The bound of text that a model reads raw or as JSON, with quotes and the following comma or colon."""
    return _size(json.dumps(text, ensure_ascii=False)) + 2


def _size(text: str) -> int:
    """Bytes in UTF-8. Tokenizers that normalize compatible characters (NFKC) may read more bytes than were sent."""
    size = len(text.encode(errors="surrogatepass"))
    return (
        size if text.isascii() else max(size, len(unicodedata.normalize("NFKC", text).encode(errors="surrogatepass")))
    )


def _tools_bound(part: Mapping[str, Any], reader: Reader) -> int:
    """The tokens that tools and response schemas add beside their own text."""
    bound = TOOL_TOKENS if _BRINGS_A_PROMPT & part.keys() else 0
    tools = part.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if not isinstance(tool, Mapping):
            continue
        kind = tool.get("type")
        if "systemTool" in tool or (isinstance(kind, str) and not kind.startswith(_CLIENT_TOOLS)):
            return reader.context
        bound += TOOL_TOKENS if isinstance(kind, str) and kind not in ("custom", "function") else 0
    return bound


_BRINGS_A_PROMPT = frozenset(
    {"tools", "toolConfig", "outputConfig", "output_config", "output_format", "response_format", "text_format"}
)


def _source_bound(whole: Mapping[str, Any], source: Mapping[str, Any], name: str, reader: Reader) -> int:
    """The bound of an image or a document, by the block around its source.

    Converse's blocks have names, the others a type. So the members of the other kind do not describe a block.
    """
    is_named = name in ("image", "document")
    kind = None if is_named else source.get("type")
    if "s3Location" in source or kind in ("url", "file"):
        return reader.context  # its size is unknown here
    cited = isinstance(said := whole.get("citations"), Mapping) and said.get("enabled") is not False
    blob = source.get("data") if kind in ("base64", "text") else source.get("bytes")
    if not isinstance(blob, str):
        # The service numbers the sentences of a cited document, and a sentence may be short.
        return reader.context if cited else _bound(source, "", reader)
    if (name if is_named else whole.get("type")) == "image":
        return reader.picture if blob.startswith(_PICTURE_MAGIC) else reader.context
    plain = str(whole.get("format") if is_named else source.get("media_type")).lower() in _PLAIN
    if cited or not plain:
        return reader.context
    return json_bound(blob) if kind == "text" else _plain_document_bound(blob, reader)


def _plain_document_bound(blob: str, reader: Reader) -> int:
    try:
        content = base64.b64decode(blob)
        return json_bound(content.decode())
    except (binascii.Error, UnicodeDecodeError):
        # In another encoding a character of one byte becomes one of three.
        return min(len(blob) * 3, reader.context)


def _address_bound(url: str, reader: Reader) -> int:
    """The bound of an image in chat format: its bytes, or the URL of bytes that are unknown here."""
    kind, _, blob = url.partition(",")
    is_picture = kind.startswith("data:image/") and blob.startswith(_PICTURE_MAGIC)
    return reader.picture if is_picture else reader.context


# --------------------------------------------------------------------------------------------------------- the answer
def _said(body: Any, names: frozenset[str]) -> Iterator[Any]:
    """The values of these names in a body, at every place that a model may read."""
    for name, value in body.items() if isinstance(body, Mapping) else ():
        if name in names:
            yield value
        elif name in _INSIDE:
            yield from _said(value, names)


def count_of(value: Any) -> int | None:
    """A whole number of tokens or answers; some services also read `"5"` or `5.0` as 5."""
    try:
        number = value if isinstance(value, int | float) else float(value)
    except (TypeError, ValueError):
        return None
    return min(ceil(number), _MOST) if isinstance(value, int) or isfinite(number) else None


def _most_said(body: Any, names: frozenset[str]) -> int | None:
    counts = [count for value in _said(body, names) if (count := count_of(value)) is not None and count >= 0]
    return max(counts, default=None)


def output_said(body: Any) -> int | None:
    """The largest output limit of one answer in a body, in any member; None without one."""
    return _most_said(body, _LENGTHS)


def output_bound(body: Any, most: int, answers: int) -> int:
    """The maximum tokens that a model generates for a body, each of whose answers may have `most`."""
    thoughts = _most_said(body, _THOUGHTS) or 0
    # Thinking counts as output, and fits into the limit unless the model may think between tools.
    each = most + thoughts if thoughts >= most else most
    return each * max(answers, _most_said(body, _ANSWERS) or 1)


# ------------------------------------------------------------------------------------------------ tiers and the cache
def tiers_said(body: Any, headers: Mapping[str, str]) -> tuple[str, ...]:
    """Every service tier that may price a request: the tiers that it names, and the default tier."""
    named = [headers.get("x-amzn-bedrock-performanceconfig-latency"), headers.get("x-amzn-bedrock-service-tier")]
    tiers = {tier for place in (*named, *_said(body, _TIERS)) if (tier := named_tier(place))}
    return ("default", *sorted(tiers))


def marks_cache(body: Any) -> bool:
    """Does a request mark content for the prompt cache? Writing to it can cost more than reading."""
    if isinstance(body, Mapping):
        return bool(_MARKS_CACHE & body.keys()) or any(marks_cache(value) for value in body.values())
    return isinstance(body, list | tuple) and any(marks_cache(item) for item in body)


@dataclass(frozen=True)
class TokenBound:
    """The maximum usage of a call, at any of `tiers`; `cached`: it may write to the prompt cache."""

    usage: TokenUsage
    cached: bool = False
    tiers: tuple[str, ...] = ("default",)

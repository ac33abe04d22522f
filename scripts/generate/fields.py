"""Every documented field of each format, and its treatment: `python -m scripts.generate.fields [--check]`.

    taken      it has the same meaning here as in the original API
    warned     the gateway makes the call; x-gateway-warning lists the fields that it dropped or adapted
    refused    the gateway makes no call, because its cost or effect would differ from the request; the error has the remedy

The fields come from the request types of OpenAI's SDK for Python 3.3.0 and Anthropic's 0.93.0 (with its betas). Those of
Converse come from botocore's service model. This script writes docs/call/compatibility.md; a test sends each field through
the real API.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.calls.catalog import Catalog
from gateway.core.errors import BadRequestError
from gateway.formats.anthropic.messages import converse_body, native_body, read_messages
from gateway.formats.bedrock import read_converse
from gateway.formats.openai.chat import read_chat
from gateway.formats.openai.responses import read_response

PAGE = Path(__file__).parents[2] / "docs/call/compatibility.md"
CLAUDE, NOVA = "anthropic.claude-haiku-4-5-20251001-v1:0", "amazon.nova-lite-v1:0"
# Callers cannot name this Claude by its bare id, only by its profile.
MODELS = {f"us.{CLAUDE}": CLAUDE, NOVA: NOVA}

Json = dict[str, Any]

_SAID = [{"role": "user", "content": "hi"}]
_FUNCTION = {"name": "get", "parameters": {"type": "object", "properties": {}}}
_SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
_GET = {"name": "get", "input_schema": {"type": "object", "properties": {}}}


@dataclass(frozen=True)
class Format:
    """One wire format: its path, with `{model}` for a model's id, and a sample of each of its fields."""

    name: str
    path: str
    plain: Json
    fields: Json
    beside: Json  # the other fields that a field requires


CHAT = Format(
    "OpenAI chat completions", "/v1/chat/completions", {"messages": _SAID},
    {
        "messages": [{"role": "developer", "content": "be kind"}, *_SAID], "audio": {"voice": "a", "format": "mp3"},
        "frequency_penalty": 0.5, "function_call": "auto", "functions": [_FUNCTION], "logit_bias": {"5": 1}, "logprobs": True,
        "max_completion_tokens": 50, "max_tokens": 50, "metadata": {"a": "b"}, "modalities": ["text"], "moderation": {}, "n": 1,
        "parallel_tool_calls": False, "prediction": {"type": "content", "content": "x"}, "presence_penalty": 0.5,
        "prompt_cache_key": "k", "prompt_cache_options": {}, "prompt_cache_retention": "in_memory", "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": _SCHEMA}}, "safety_identifier": "s",
        "seed": 7, "service_tier": "auto", "stop": ["END"], "store": False, "stream_options": {"include_usage": True},
        "temperature": 1.2, "tool_choice": "auto", "tools": [{"type": "function", "function": _FUNCTION}], "top_logprobs": 2,
        "top_p": 0.9, "user": "u", "verbosity": "low", "web_search_options": {}, "stream": True,
    },
    {"parallel_tool_calls": {"tools": [{"type": "function", "function": _FUNCTION}]}, "stream_options": {"stream": True},
     "tool_choice": {"tools": [{"type": "function", "function": _FUNCTION}]}, "top_logprobs": {"logprobs": True}},
)  # fmt: skip
RESPONSES = Format(
    "OpenAI responses", "/v1/responses", {"input": "hi"},
    {
        "background": False, "context_management": [], "conversation": "c", "include": ["reasoning.encrypted_content"],
        "input": [{"role": "user", "content": "hi"}], "instructions": "be kind", "max_output_tokens": 50, "max_tool_calls": 3,
        "metadata": {"a": "b"}, "moderation": {}, "parallel_tool_calls": False, "previous_response_id": "resp_1",
        "prompt": {"id": "p"}, "prompt_cache_key": "k", "prompt_cache_options": {}, "prompt_cache_retention": "in_memory",
        "reasoning": {"effort": "low"}, "safety_identifier": "s", "service_tier": "auto", "store": False,
        "stream_options": {"include_obfuscation": False}, "temperature": 1.2,
        "text": {"format": {"type": "json_schema", "name": "a", "schema": _SCHEMA}}, "tool_choice": "auto",
        "tools": [{"type": "function", **_FUNCTION}], "top_logprobs": 0, "top_p": 0.9, "truncation": "disabled", "user": "u",
        "stream": True,
    },
    {"parallel_tool_calls": {"tools": [{"type": "function", **_FUNCTION}]}, "stream_options": {"stream": True},
     "tool_choice": {"tools": [{"type": "function", **_FUNCTION}]}},
)  # fmt: skip
MESSAGES = Format(
    "Anthropic messages", "/v1/messages", {"messages": _SAID, "max_tokens": 2000},
    {
        "max_tokens": 50, "messages": _SAID, "cache_control": {"type": "ephemeral"}, "container": "c",
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}, "inference_geo": "us", "mcp_servers": [],
        "metadata": {"user_id": "u"}, "output_config": {"format": {"type": "json_schema", "schema": _SCHEMA}},
        "output_format": {"type": "json_schema", "schema": _SCHEMA}, "service_tier": "auto", "speed": "fast",
        "stop_sequences": ["END"], "system": "be kind", "temperature": 0.5,
        "thinking": {"type": "enabled", "budget_tokens": 1024}, "tool_choice": {"type": "auto"}, "tools": [_GET], "top_k": 5,
        "top_p": 0.9, "stream": True,
    },
    {"tool_choice": {"tools": [_GET]}},
)  # fmt: skip
CONVERSE = Format(
    "Bedrock Converse", "/model/{model}/converse", {"messages": [{"role": "user", "content": [{"text": "hi"}]}]},
    {
        "messages": [{"role": "user", "content": [{"text": "hi"}]}], "system": [{"text": "be kind"}],
        "inferenceConfig": {"maxTokens": 50, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
        "toolConfig": {"tools": [{"toolSpec": {"name": "get", "inputSchema": {"json": {"type": "object"}}}}]},
        "guardrailConfig": {"guardrailIdentifier": "gr1", "guardrailVersion": "1"},
        "additionalModelRequestFields": {"top_k": 5}, "additionalModelResponseFieldPaths": ["/stop_sequence"],
        "requestMetadata": {"a": "b"}, "performanceConfig": {"latency": "standard"}, "serviceTier": {"type": "default"},
        "outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": '{"type":"object","additionalProperties":false}'}}}},
        "promptVariables": {"a": {"text": "b"}},
    },
    {},
)  # fmt: skip
FORMATS = (CHAT, RESPONSES, MESSAGES, CONVERSE)


def body_of(form: Format, field: str, model: str) -> Json:
    """A request with one field beside the required ones."""
    named = {} if "{model}" in form.path else {"model": model}
    return {**named, **form.plain, **form.beside.get(field, {}), field: form.fields[field]}


def outcome(form: Format, field: str, model: str) -> tuple[str, str]:
    """The treatment of a field, and the warning or the refusal."""
    body, base = body_of(form, field, model), MODELS[model]
    try:
        warnings = _warnings(form, body, base)
    except BadRequestError as refusal:
        return "refused", refusal.message
    return ("warned", "; ".join(warnings)) if warnings else ("taken", "")


def _warnings(form: Format, body: Json, base: str) -> tuple[str, ...]:
    if form is CHAT:
        return read_chat(body, base).warnings
    if form is RESPONSES:
        return read_response(body, base).warnings
    if form is MESSAGES:
        read = read_messages(body)
        return (native_body if base.startswith("anthropic.") else converse_body)(read, base).warnings
    return read_converse(Catalog({}).find(base), body, streaming=False).warnings


def page() -> Iterator[str]:
    counts = Counter(outcome(form, field, model)[0] for form in FORMATS for field in form.fields for model in MODELS)
    yield "# How is each field of a request treated?"
    yield ""
    yield "The gateway takes a field, takes it with a warning, or refuses it with a reason; the tables below have each field."
    yield ""
    yield "It leaves out each field that it does not know, and each tool that only OpenAI or Anthropic could run. It refuses a"
    yield "field whose absence would change cost, safety or the shape of the answer; `gateway/formats/refusals.py` lists these."
    yield ""
    yield "The gateway drops or adapts each field that a model's family is known to refuse. The header `x-gateway-warning`"
    yield "lists it. [SDKs](sdks.md#fields-that-a-model-does-not-take) has the rule. The table `gateway/calls/families.py` lists the"
    yield "fields that each family takes, with a source on each row."
    yield ""
    told = ", ".join(f"{counts[name]} {name}" for name in ("taken", "warned", "refused"))
    yield f"The script sends each field to a Claude (Haiku 4.5) and to another model (Nova Lite): {told}."
    yield "`.venv/bin/python -m scripts.generate.fields` writes this page; a test sends every field through the real API and compares the outcomes."
    for form in FORMATS:
        yield from ("", f"## {form.name}", "", "| field | Claude | Nova | the gateway's message |", "|---|---|---|---|")
        for field in sorted(form.fields):
            (claude, first), (nova, second) = (outcome(form, field, model) for model in MODELS)
            said = " / ".join(dict.fromkeys(filter(None, (first, second)))).replace("|", "\\|")
            yield f"| `{field}` | {claude} | {nova} | {said} |"


def main() -> int:
    fresh = "\n".join(page()) + "\n"
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != fresh:
            print("docs/call/compatibility.md does not match the gateway: run `make generate`", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

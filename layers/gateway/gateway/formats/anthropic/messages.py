"""Anthropic's Messages API: what a client sends, and the messages and errors that it reads.

Anthropic's own models are asked in their own words: the body goes to InvokeModel almost as it came, and the answer
comes back untouched. Every other model is asked by Converse, and its answer is told in Anthropic's words.

Sources: Anthropic's Messages API reference; "Anthropic Claude Messages API" in the Amazon Bedrock user guide.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.calls.families import family
from gateway.calls.streaming import MeteredUsage
from gateway.core.errors import BadRequestError, GatewayError, SchemaError
from gateway.formats import refusals
from gateway.formats.anthropic.converse import answer_content, invalid, stop_reason, to_converse, unsupported
from gateway.formats.fitting.claude import fit_messages
from gateway.formats.fitting.work import Fitted
from gateway.usage.records import TokenUsage

Json = dict[str, Any]

# Whatever version a client's SDK names: this one every Anthropic model on Bedrock knows, and 2026-10-21 only takes
# parameters away.
BEDROCK_VERSION = "bedrock-2023-05-31"

# The fields that are read. All but the last three go to Anthropic's models as they are: Bedrock knows none of those, to
# leave them out changes neither price nor answer, and a warning names them.
_KNOWN = frozenset({
    "model", "messages", "max_tokens", "system", "metadata", "stop_sequences", "stream", "temperature", "top_p",
    "top_k", "tools", "tool_choice", "thinking", "service_tier", "output_config", "output_format", "context_management",
    "cache_control", "speed", "diagnostics", "fallbacks",
})  # fmt: skip

# Fields that Anthropic's own service has and Bedrock has not, and why. Any other that is not known is left out as well.
_LEFT_OUT = {
    "container": "containers run only at Anthropic",
    "mcp_servers": "only Anthropic's own service calls MCP servers. Call them yourself, and send their tools",
    "workspace_id": "usage is attributed by your key",
}
# Anthropic's two tiers are Bedrock's default; the others are Bedrock's own, by its names.
_TIERS = {
    "auto": "",
    "standard_only": "",
    "default": "",
    "priority": "priority",
    "flex": "flex",
    "reserved": "reserved",
}
# A beta that stands for a route of ours, and that Bedrock would refuse.
_ROUTES = frozenset({"token-counting-2024-11-01"})
# Tools that Anthropic's service runs, and bills by the use.
_SERVER_TOOLS = ("web_search_", "web_fetch_", "code_execution_", "mcp_toolset")


@dataclass(frozen=True)
class MessagesRequest:
    """One request for a message, checked.

    `native` is its body for InvokeModel; `service_tier` is Bedrock's name of the tier, empty for the default.
    `warnings` name the parts that no model is sent.
    """

    model: str
    stream: bool
    service_tier: str
    native: Json
    warnings: tuple[str, ...] = ()


def misfit(error: SchemaError) -> BadRequestError:
    """The refusal of a body that openapi.yaml forbids, with the field as Anthropic names it: `messages.0.role`."""
    if not error.where:
        return BadRequestError("Send a JSON object.", code="invalid_json")
    where = re.sub(r"\[(\d+)\]", r".\1", error.where)
    if error.rule == "required":
        return BadRequestError(f"{where}: {error.sentence}", code="field_missing")
    return invalid(where, error.sentence)


def read_messages(body: Json, beta: str | None = None) -> MessagesRequest:
    """The request in a body that fits openapi.yaml, and the header `anthropic-beta`.

    Raises BadRequestError with the field at fault, for what a schema cannot say.
    """
    fields, warnings = _read(body)
    tier = _TIERS[fields.get("service_tier", "auto")]
    return MessagesRequest(fields["model"], fields.get("stream", False), tier, _native(fields, beta), warnings)


def _read(body: Json) -> tuple[Json, tuple[str, ...]]:
    """The fields that are known and say something, and warnings of the others."""
    fields: Json = {}
    warnings: list[str] = []
    for name, value in body.items():
        if value is None:
            continue
        if name == "thread":
            # By this code Anthropic's SDKs and Claude Code go on without a thread, and send all of it again.
            message = "thread: the gateway does not store threads. Send the whole conversation in messages."
            raise BadRequestError(message, code="thread_unsupported_request")
        if name in refusals.MESSAGES:
            raise unsupported(name, refusals.MESSAGES[name])
        if name in _KNOWN:
            fields[name] = value
        else:
            warnings.append(f"{name} was left out: {_LEFT_OUT.get(name, 'the gateway does not know it')}")
    if not isinstance(fields.get("system", ""), str | list):
        raise invalid("system", "must be a string or a list.")
    _refuse_fetches(fields["messages"], "messages")
    return fields, (*warnings, *_without_server_tools(fields))


def _without_server_tools(fields: Json) -> list[str]:
    """Take out the tools that Anthropic's service runs, and the choice of one; the warnings of both."""
    kept: list[Json] = []
    left: dict[str, Any] = {}
    for tool in fields.get("tools", ()):
        if (kind := str(tool.get("type"))).startswith(_SERVER_TOOLS):
            left[kind] = tool.get("name")
        else:
            kept.append(tool)
    if not left:
        return []
    fields["tools"] = kept
    warnings = [f"the tool {kind} was left out: it runs only at Anthropic. Run the tool yourself" for kind in left]
    chosen = fields.get("tool_choice", {})
    names_it = chosen.get("type") == "tool" and chosen.get("name") in left.values()
    if names_it or (not kept and chosen.get("type") in ("any", "tool")):
        fields["tool_choice"] = {"type": "auto"}
        warnings.append("tool_choice was left out: the tools that it names were left out")
    return warnings


def _refuse_fetches(blocks: Any, where: str) -> None:
    """Bedrock fetches no URL, and holds no file of Anthropic's service."""
    for index, block in enumerate(blocks if isinstance(blocks, list) else ()):
        if not isinstance(block, dict):
            continue
        source = block.get("source")
        if isinstance(source, dict) and (kind := source.get("type")) in ("url", "file"):
            message = f"Bedrock cannot fetch a {kind}. Send the content itself as base64."
            raise unsupported(f"{where}.{index}.source.type", message)
        _refuse_fetches(block.get("content"), f"{where}.{index}.content")


def _native(fields: Json, beta: str | None) -> Json:
    """InvokeModel's body: the model is in its path, the stream in its operation, the tier in a header."""
    betas = [name.strip() for name in (beta or "").split(",")]
    native: Json = {"anthropic_version": BEDROCK_VERSION}
    if betas := [name for name in betas if name and name not in _ROUTES]:
        native["anthropic_beta"] = betas
    return native | {name: value for name, value in fields.items() if name not in ("model", "stream", "service_tier")}


def converse_body(request: MessagesRequest, base: str = "") -> Fitted:
    """Converse's body for a model that is not Anthropic's, whose Bedrock id is `base`. Raises BadRequestError."""
    made = to_converse(request.native, base)
    if request.service_tier:
        made.body["serviceTier"] = {"type": request.service_tier}
    return _warned(request, made)


def native_body(request: MessagesRequest, base: str) -> Fitted:
    """InvokeModel's body, as the Claude whose Bedrock id is `base` takes it."""
    return _warned(request, fit_messages(request.native, family(base)))


def _warned(request: MessagesRequest, made: Fitted) -> Fitted:
    return replace(made, warnings=(*request.warnings, *made.warnings))


# ---------------------------------------------------------------------------------------------------------- counting


@dataclass(frozen=True)
class CountRequest:
    """One request to count a message's tokens before it is sent."""

    model: str
    body: Json
    warnings: tuple[str, ...] = ()

    def input(self, native: bool, base: str = "") -> Json:
        """Bedrock's `input` of CountTokens: InvokeModel's body as base64, or what Converse would be sent."""
        if native:
            body = fit_messages(self.body, family(base)).body
            return {"invokeModel": {"body": base64.b64encode(json.dumps(body).encode()).decode()}}
        translated = to_converse(self.body, base).body
        counted = ("messages", "system", "toolConfig", "additionalModelRequestFields")
        return {"converse": {name: translated[name] for name in counted if name in translated}}


def read_count(body: Json, beta: str | None = None) -> CountRequest:
    """The request to count, in a body that fits openapi.yaml. Raises BadRequestError, which names the field."""
    fields, warnings = _read(body)
    for name in ("stream", "service_tier"):
        if name in fields:
            raise unsupported(name, "counting tokens generates no output. Leave it out.")
    # InvokeModel's body must have a maximum, above what is thought with. It does not count.
    least = (fields.get("thinking", {}).get("budget_tokens") or 0) + 1
    return CountRequest(fields["model"], {"max_tokens": least} | _native(fields, beta), warnings)


def write_count(answer: Mapping[str, Any]) -> Json:
    """The answer to CountTokens' answer."""
    return {"input_tokens": answer["inputTokens"]}


# ------------------------------------------------------------------------------------------------- the list of models
_SINCE = "1970-01-01T00:00:00Z"  # for a model whose release is not known. Source: Anthropic's API reference, "Models"
MOST_MODELS = 1000


def model_info(name: str) -> Json:
    return {"type": "model", "id": name, "display_name": name, "created_at": _SINCE}


def model_page(names: list[str], query: Mapping[str, str]) -> Json:
    """A page of Anthropic's list of models. Raises BadRequestError for what it cannot be asked by."""
    limit = query.get("limit", "20")
    if not (limit.isascii() and limit.isdecimal() and len(limit) < 5 and 1 <= int(limit) <= MOST_MODELS):
        raise invalid("limit", f"must be a whole number from 1 to {MOST_MODELS}.")
    after, before = query.get("after_id"), query.get("before_id")
    for where, name in (("after_id", after), ("before_id", before)):
        if name is not None and name not in names:
            raise invalid(where, "must be the id of a model in this list.")
    left = names[names.index(after) + 1 :] if after else names
    if before:
        left = names[: names.index(before)]
        page = left[-int(limit) :]
    else:
        page = left[: int(limit)]
    ends = {"first_id": page[0] if page else None, "last_id": page[-1] if page else None}
    return {"data": [model_info(name) for name in page], "has_more": len(left) > len(page), **ends}


# ---------------------------------------------------------------------------------------------------------- messages


def write_message(request: MessagesRequest, answer: Mapping[str, Any], metered: MeteredUsage, message_id: str) -> Json:
    """The message that Converse's answer makes."""
    content = answer_content(answer)
    reason = stop_reason(answer.get("stopReason"))
    return begun(request, message_id) | {
        "content": content,
        "stop_reason": reason,
        "stop_sequence": stop_sequence(request, reason),
        "usage": usage_of(metered.usage),
    }


def begun(request: MessagesRequest, message_id: str) -> Json:
    """A message that has only begun."""
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }


def stop_sequence(request: MessagesRequest, reason: str) -> str | None:
    """The sequence that the model stopped at. Converse does not tell which; where there is but one it is known."""
    sequences: list[str] = request.native.get("stop_sequences", [])
    return sequences[0] if reason == "stop_sequence" and len(sequences) == 1 else None


def usage_of(usage: TokenUsage) -> Json:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation_input_tokens": usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
        "service_tier": "standard" if usage.service_tier == "default" else usage.service_tier,
    }


# ------------------------------------------------------------------------------------------------------------ errors

_ERROR_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    424: "api_error",  # the model's own failure, by Bedrock's status
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def problem(error: GatewayError, request_id: str) -> Json:
    """The body of an error: Anthropic's, with the members of this gateway's problems beside it."""
    kind = _ERROR_TYPES.get(error.status) or ("invalid_request_error" if error.status < 500 else "api_error")
    told = {"type": kind, "message": error.message, "details": {"error_code": error.code}}
    return {
        "type": "error",
        "error": told,
        "code": error.code,
        "message": error.message,
        "request_id": request_id,
    }

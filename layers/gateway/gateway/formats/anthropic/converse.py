"""Anthropic's Messages in Converse's words: for the models on Bedrock that are not Anthropic's own.

What Converse has no word for is left out and named in a warning; what would have to be fetched or cannot be read is
refused by its name and place. Bodies are Converse's JSON as it goes over the wire: blobs are base64 strings.

Sources: Anthropic's Messages API reference; the bedrock-runtime service model.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.calls.families import family
from gateway.core.errors import BadRequestError, GatewayError
from gateway.formats.fitting.claude import plain_messages
from gateway.formats.fitting.converse import fit
from gateway.formats.fitting.work import Fitted, Wish

Json = dict[str, Any]

_CACHED = {"cache_control"}
_TOOL_CHOICES = {"auto", "any", "tool", "none"}
_IMAGES = {"image/jpeg", "image/png", "image/gif", "image/webp"}
# Converse lets a document's name have letters, digits, single blanks, hyphens, parentheses and square brackets.
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9\-()\[\]]+")


def unsupported(where: str, what: str = "") -> BadRequestError:
    """A part of a request that the model cannot be asked for."""
    what = what or "this model does not support it. Leave it out, or use an Anthropic model."
    return BadRequestError(f"{where}: {what}", code="unsupported_field")


def invalid(where: str, what: str) -> BadRequestError:
    return BadRequestError(f"{where}: {what}", code="invalid_field")


@dataclass
class _Reading:
    """What is learned of a body while it is read."""

    names: set[str] = field(default_factory=set)  # of documents
    warnings: dict[str, None] = field(default_factory=dict)

    def warn(self, message: str) -> None:
        self.warnings[message] = None

    def leave(self, where: str, why: str = "this model does not support it") -> None:
        self.warn(f"{where} was left out: {why}")


def to_converse(body: Json, base: str = "") -> Fitted:
    """Converse's body for the body of a message, as the model whose Bedrock id is `base` takes it."""
    model = family(base)
    plain, reading = plain_messages(body, model), _Reading()
    body = plain.body
    translated: Json = {"messages": _messages(body["messages"], reading)}
    if system := _system(body.get("system"), reading):
        translated["system"] = system
    if body.get("cache_control"):
        _cache_the_last(translated["messages"], body["cache_control"])
    translated["inferenceConfig"] = _inference(body)
    tools, wish = _tools(body, reading)
    if tools:
        translated["toolConfig"] = tools
    if body.get("top_k") is not None and (own := _top_k(body["top_k"], base, reading)):
        translated["additionalModelRequestFields"] = own
    if output := _output(body, reading):
        translated["outputConfig"] = output
    if (body.get("thinking") or {}).get("type", "disabled") != "disabled":
        reading.leave("thinking", "the gateway does not enable it on this model")
    if body.get("context_management") is not None:
        reading.leave("context_management", "this model does not edit its context")
    for name in ("speed", "diagnostics", "fallbacks"):
        if body.get(name) is not None:
            reading.leave(name, "Bedrock does not support it")
    made = fit(translated, model, wish)
    return replace(made, warnings=(*plain.warnings, *reading.warnings, *made.warnings))


def _inference(body: Json) -> Json:
    if body["max_tokens"] < 1:
        raise invalid("max_tokens", "must be at least 1 for this model.")
    names = {"max_tokens": "maxTokens", "temperature": "temperature", "top_p": "topP"}
    config = {ours: body[name] for name, ours in names.items() if body.get(name) is not None}
    if body.get("stop_sequences"):
        config["stopSequences"] = body["stop_sequences"]
    return config


def _top_k(top_k: Any, base: str, reading: _Reading) -> Json:
    """Each has its own name for it; the others refuse a field that they do not know."""
    match base.partition(".")[0]:
        case "amazon":
            return {"inferenceConfig": {"topK": top_k}}
        case "cohere":
            return {"k": top_k}
        case "mistral" | "anthropic":
            return {"top_k": top_k}
    reading.leave("top_k", "this model does not support it")
    return {}


def _output(body: Json, reading: _Reading) -> Json:
    """Effort, and the schema of the answer, which an older beta has in output_format."""
    config = _object(body.get("output_config") or {}, "output_config")
    _only(config, "output_config", {"effort", "format"}, reading)
    output: Json = {}
    if config.get("effort") is not None:
        output["effort"] = config["effort"]
    if format_ := config.get("format") or body.get("output_format"):
        if _object(format_, "output_config.format").get("type") != "json_schema":
            raise unsupported("output_config.format.type", "only json_schema is supported.")
        _only(format_, "output_config.format", {"type", "schema", "name", "description"}, reading)
        schema = json.dumps(_required(format_, "schema", "output_config.format"))
        output["textFormat"] = {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema}}}
    return output


# --------------------------------------------------------------------------------------------------------- messages


def _system(system: Any, reading: _Reading) -> list[Json]:
    if isinstance(system, str):
        return [{"text": system}] if system else []
    blocks: list[Json] = []
    for index, block in enumerate(_list(system or [], "system")):
        where = f"system.{index}"
        if _object(block, where).get("type") != "text":
            raise unsupported(where, "a system prompt may contain only text.")
        blocks += _text(block, where, reading)
    return blocks


def _messages(messages: list[Any], reading: _Reading) -> list[Json]:
    """Converse wants the roles to alternate; the Messages API reads turns of one role as one."""
    turns: list[Json] = []
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        _only(_object(message, where), where, {"role", "content"}, reading)
        role = message.get("role")
        if role not in ("user", "assistant"):
            raise invalid(f"{where}.role", "must be user or assistant.")
        content = _content(message.get("content"), f"{where}.content", reading)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += content
        else:
            turns.append({"role": role, "content": content})
    return turns


def _content(content: Any, where: str, reading: _Reading) -> list[Json]:
    if isinstance(content, str):
        return [{"text": content}]
    return [
        part
        for index, block in enumerate(_list(content, where))
        for part in _block(_object(block, f"{where}.{index}"), f"{where}.{index}", reading)
    ]


def _block(block: Json, where: str, reading: _Reading) -> list[Json]:
    match block.get("type"):
        case "text":
            return _text(block, where, reading)
        case "image":
            _only(block, where, {"source"} | _CACHED, reading)
            return [{"image": _image(block, where)}, *_cache_point(block)]
        case "document":
            _only(block, where, {"source", "title", "context", "citations"} | _CACHED, reading)
            return [{"document": _document(block, where, reading)}, *_cache_point(block)]
        case "tool_use":
            _only(block, where, {"id", "name", "input"} | _CACHED, reading)
            use = {"toolUseId": _required(block, "id", where), "name": _required(block, "name", where)}
            return [{"toolUse": {**use, "input": _required(block, "input", where)}}, *_cache_point(block)]
        case "tool_result":
            return _tool_result(block, where, reading)
        case "thinking":
            _only(block, where, {"thinking", "signature"}, reading)
            thought = {"text": _required(block, "thinking", where)}
            # A model that does not sign its thoughts is not to be shown a signature.
            signed = {"signature": block["signature"]} if block.get("signature") else {}
            return [{"reasoningContent": {"reasoningText": thought | signed}}]
        case "redacted_thinking":
            return [{"reasoningContent": {"redactedContent": _required(block, "data", where)}}]
        case str() as kind:
            # What Anthropic's service made or ran earlier: this model can be told of it, but not in its own form.
            reading.warn(f"{kind} was converted to text: this model does not support it")
            return [{"text": json.dumps(block)}]
        case _:
            raise invalid(f"{where}.type", "is missing or has the wrong type.")


def _text(block: Json, where: str, reading: _Reading) -> list[Json]:
    _only(block, where, {"text", "citations"} | _CACHED, reading)
    return [{"text": _required(block, "text", where)}, *_cache_point(block)]


def _source(block: Json, where: str, kinds: set[str]) -> Json:
    source = _object(block.get("source"), f"{where}.source")
    if not isinstance(source.get("type"), str) or source["type"] not in kinds:
        raise unsupported(
            f"{where}.source.type",
            f"this model reads no source of type {source.get('type')}. Send the content itself as base64.",
        )
    return source


def _image(block: Json, where: str) -> Json:
    source = _source(block, where, {"base64"})
    media_type = source.get("media_type")
    if not isinstance(media_type, str) or media_type not in _IMAGES:
        raise invalid(f"{where}.source.media_type", f"must be one of {', '.join(sorted(_IMAGES))}.")
    data = _required(source, "data", f"{where}.source")
    return {"format": media_type.removeprefix("image/"), "source": {"bytes": data}}


def _document(block: Json, where: str, reading: _Reading) -> Json:
    source = _source(block, where, {"base64", "text"})
    if (block.get("citations") or {}).get("enabled"):
        reading.leave("citations", "this model does not return them")
    data = _required(source, "data", f"{where}.source")
    plain = source["type"] == "text"
    if not plain and source.get("media_type") != "application/pdf":
        raise invalid(f"{where}.source.media_type", "must be application/pdf.")
    document: Json = {
        "format": "txt" if plain else "pdf",
        "name": _document_name(block.get("title"), reading.names),
        "source": {"bytes": base64.b64encode(data.encode()).decode() if plain else data},
    }
    if block.get("context"):
        document["context"] = block["context"]
    return document


def _document_name(title: Any, names: set[str]) -> str:
    """A name that no other document of the request has."""
    base = _NOT_IN_NAMES.sub(" ", str(title or "")).strip()[:180] or "document"
    name, number = base, 1
    while name in names:
        number += 1
        name = f"{base} {number}"
    names.add(name)
    return name


def _tool_result(block: Json, where: str, reading: _Reading) -> list[Json]:
    """A result of a tool. Converse puts cache points beside it, never inside."""
    _only(block, where, {"tool_use_id", "content", "is_error"} | _CACHED, reading)
    content = [] if block.get("content") in (None, "") else _content(block["content"], f"{where}.content", reading)
    inside = [part for part in content if "cachePoint" in part]
    parts = [part for part in content if "cachePoint" not in part]
    for part in parts:
        if not part.keys() & {"text", "image", "document"}:
            raise invalid(f"{where}.content", "a tool result may contain only text, images and documents.")
    result: Json = {"toolUseId": _required(block, "tool_use_id", where), "content": parts}
    if block.get("is_error"):
        result["status"] = "error"
    return [{"toolResult": result}, *(_cache_point(block) or inside[-1:])]


def _cache_point(block: Json) -> list[Json]:
    control = block.get("cache_control")
    if not control:
        return []
    ttl = {"ttl": control["ttl"]} if _object(control, "cache_control").get("ttl") else {}
    return [{"cachePoint": {"type": "default", **ttl}}]


def _cache_the_last(messages: list[Json], control: Json) -> None:
    """The request's own cache_control marks its last block."""
    content = messages[-1]["content"]
    if content and "cachePoint" not in content[-1]:
        content += _cache_point({"cache_control": control})


# ------------------------------------------------------------------------------------------------------------ tools


def _tools(body: Json, reading: _Reading) -> tuple[Json, Wish]:
    choice = _object(body.get("tool_choice") or {"type": "auto"}, "tool_choice")
    if not isinstance(choice.get("type"), str) or choice["type"] not in _TOOL_CHOICES:
        raise invalid("tool_choice.type", f"must be one of {', '.join(sorted(_TOOL_CHOICES))}.")
    _only(choice, "tool_choice", {"type", "name", "disable_parallel_tool_use"}, reading)
    wish = Wish(choice["type"] == "none", bool(choice.get("disable_parallel_tool_use")))
    tools = [
        part for index, tool in enumerate(body.get("tools") or ()) for part in _tool(tool, f"tools.{index}", reading)
    ]
    if not tools:
        if choice["type"] in ("any", "tool") and not body.get("tools"):
            raise invalid("tool_choice", "send the tools to choose from in tools.")
        return {}, wish
    config: Json = {"tools": tools}
    if choice["type"] == "tool":
        config["toolChoice"] = {"tool": {"name": _required(choice, "name", "tool_choice")}}
    elif body.get("tool_choice") and choice["type"] != "none":
        config["toolChoice"] = {choice["type"]: {}}
    return config, wish


def _tool(tool: Any, where: str, reading: _Reading) -> list[Json]:
    if (kind := _object(tool, where).get("type") or "custom") != "custom":
        reading.leave(f"the tool {kind}", "only Anthropic models support it")
        return []
    _only(tool, where, {"name", "description", "input_schema", "strict"} | _CACHED, reading)
    schema = _required(tool, "input_schema", where)
    spec: Json = {"name": _required(tool, "name", where), "inputSchema": {"json": schema}}
    if tool.get("description"):
        spec["description"] = tool["description"]
    if tool.get("strict") is not None:
        spec["strict"] = tool["strict"]
    return [{"toolSpec": spec}, *_cache_point(tool)]


# ----------------------------------------------------------------------------------------------------------- answers

_STOP = {
    "end_turn": "end_turn",
    "max_tokens": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_use",
    "model_context_window_exceeded": "model_context_window_exceeded",
    "guardrail_intervened": "refusal",
    "content_filtered": "refusal",
}


def stop_reason(reason: Any) -> str:
    """Why the model stopped. Anthropic has no word for an answer that came out malformed: it has ended."""
    return _STOP.get(reason, "end_turn")


def answer_content(answer: Mapping[str, Any]) -> list[Json]:
    """The content of Converse's answer. Raises GatewayError where it has not the shape of one."""
    try:
        blocks = answer["output"]["message"]["content"]
        return [found for block in blocks if (found := _answer_block(block))]
    except (KeyError, TypeError, AttributeError) as error:
        raise unreadable() from error


def unreadable() -> GatewayError:
    return GatewayError("The model's response has an unexpected format.", code="upstream_unreadable", status=502)


def _answer_block(block: Json) -> Json | None:
    """One block of an answer; None for what was never asked for and a client of this format could not read."""
    if "text" in block:
        return {"type": "text", "text": block["text"]}
    if use := block.get("toolUse"):
        return {"type": "tool_use", "id": use["toolUseId"], "name": use["name"], "input": use["input"]}
    if reasoning := block.get("reasoningContent"):
        if "redactedContent" in reasoning:
            return {"type": "redacted_thinking", "data": reasoning["redactedContent"]}
        thought = reasoning["reasoningText"]
        return {"type": "thinking", "thinking": thought["text"], "signature": thought.get("signature", "")}
    return None


# ----------------------------------------------------------------------------------------------------------- reading


def _only(part: Json, where: str, known: set[str], reading: _Reading) -> None:
    for name, value in part.items():
        if name != "type" and name not in known and value is not None:
            reading.leave(f"{where}.{name}")


def _required(part: Json, name: str, where: str) -> Any:
    """A member that must be there: an object where it is a tool's input or schema, else text."""
    value = part.get(name)
    if not isinstance(value, dict if name in ("input", "input_schema", "schema") else str):
        raise invalid(f"{where}.{name}", "is missing or has the wrong type.")
    return value


def _object(value: Any, where: str) -> Json:
    if not isinstance(value, dict):
        raise invalid(where, "must be an object.")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise invalid(where, "must be a list.")
    return value

"""Converse: one request and response shape for every text model, its checks, and its order of stream events."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from scripts.dev.fake_models.errors import invalid
from scripts.dev.fake_models.eventstream import json_event
from scripts.dev.fake_models.generation import Ask, Generation, Prompt, Stop, Tool, Ttl
from scripts.dev.fake_models.ledger import Usage
from scripts.dev.fake_models.tokens import fingerprint

N = TypeVar("N", int, float)  # Python 3.11 has no type parameters in brackets.
_STOP: dict[Stop, str] = {
    "end": "end_turn",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tool": "tool_use",
}
_BLOCKS = [
    *("text", "image", "document", "video", "audio", "toolUse", "toolResult", "guardContent", "cachePoint"),
    *("reasoningContent", "citationsContent", "searchResult", "toolAddition", "toolRemoval"),
]
_TIERS = ("priority", "default", "flex", "reserved")
_START_WITH_USER = (
    "A conversation must start with a user message. Try again with a conversation that starts with a user message."
)
_ALTERNATE = (
    "A conversation must alternate between user and assistant roles. Make sure the conversation alternates between "
    "user and assistant roles and try again."
)


def read_converse(model_id: str, body: Mapping[str, Any]) -> Ask:
    """Check a Converse request as Bedrock does, and read it."""
    messages = _list(body, "messages")
    prompt = Prompt()
    tools = tuple(_tools(body, prompt))
    if body.get("system"):
        prompt.turn("system")
        for index, block in enumerate(_list(body, "system")):
            _read_block(block, f"system.{index}", prompt, ("text", "guardContent", "cachePoint"))
    _check_turns(messages)
    for turn, message in enumerate(messages):
        prompt.turn(message["role"])
        content = _list(message, "content")
        if not content:
            raise invalid(
                f"The content field in the Message object at messages.{turn} is empty. Add a ContentBlock object to "
                "the content field and try again."
            )
        for index, block in enumerate(content):
            _read_block(block, f"messages.{turn}.content.{index}", prompt, _BLOCKS)
            if ("toolUse" in block or "toolResult" in block) and not tools:
                raise invalid("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
    config = _object(body, "inferenceConfig")
    forced, may_use_tools = _tool_choice(model_id, body, tools)
    return Ask(
        model_id,
        prompt,
        max_tokens=_number(config, "maxTokens", int, 1),
        stop_sequences=tuple(config.get("stopSequences") or ()),
        temperature=_number(config, "temperature", float, 0),
        top_p=_number(config, "topP", float, 0),
        tools=tools,
        must_use_tool=forced,
        may_use_tools=may_use_tools,
        form=_form(body),
    )


def _form(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The JSON schema that the answer must match."""
    wanted = _object(_object(body, "outputConfig"), "textFormat")
    if not wanted:
        return None
    try:
        return dict(json.loads(wanted["structure"]["jsonSchema"]["schema"]))
    except (LookupError, TypeError, ValueError):
        raise invalid("The schema of outputConfig.textFormat must be a JSON schema as text.") from None


def tier_of(body: Mapping[str, Any]) -> str | None:
    """The service tier of a Converse request."""
    tier = _object(body, "serviceTier").get("type")
    if tier is not None and tier not in _TIERS:
        raise invalid(
            f"Value '{tier}' at 'serviceTier.type' failed to satisfy constraint: Member must be one of {_TIERS}"
        )
    return tier


def write_converse(body: Mapping[str, Any], ask: Ask, answer: Generation, caches: bool) -> dict[str, Any]:
    """The response of Converse."""
    content: list[dict[str, Any]] = []
    if answer.reasoning:
        thought = {"text": answer.reasoning, "signature": _signature(answer)}
        content.append({"reasoningContent": {"reasoningText": thought}})
    if answer.text:
        content.append({"text": answer.text})
    if answer.tool:
        content.append({"toolUse": {**_tool_use(answer), "input": answer.tool_input}})
    response: dict[str, Any] = {
        "metrics": {"latencyMs": answer.latency_ms},
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": _STOP[answer.stop],
        **_echo(body),
    }
    if not ask.directives.nocount:
        response["usage"] = write_usage(ask, answer.usage, caches)
    return response


def stream_converse(body: Mapping[str, Any], ask: Ask, answer: Generation, caches: bool) -> Iterator[bytes]:
    """The events of ConverseStream. Only a tool's block is announced by contentBlockStart, as on AWS."""
    yield json_event("messageStart", {"role": "assistant"})
    kind, index = "", -1
    for delta in answer:
        if delta.kind != kind:
            yield from _close_block(kind, index, answer)
            kind, index = delta.kind, index + 1
            if kind == "tool":
                yield json_event(
                    "contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": _tool_use(answer)}}
                )
        said: Any = {"text": delta.text}
        if kind == "tool":
            said = {"toolUse": {"input": delta.text}}
        elif kind == "reasoning":
            said = {"reasoningContent": {"text": delta.text}}
        yield json_event("contentBlockDelta", {"contentBlockIndex": index, "delta": said})
    yield from _close_block(kind, index, answer)
    yield json_event("messageStop", {"stopReason": _STOP[answer.stop]})
    metadata: dict[str, Any] = {"metrics": {"latencyMs": answer.latency_ms}, **_echo(body)}
    if not ask.directives.nocount:
        metadata["usage"] = write_usage(ask, answer.usage, caches)
    yield json_event("metadata", metadata)


def write_usage(ask: Ask, usage: Usage, caches: bool) -> dict[str, Any]:
    """TokenUsage: inputTokens excludes cache reads and writes, totalTokens includes them."""
    written: dict[str, Any] = {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.total_tokens,
    }
    if caches or usage.cache_read_tokens or usage.cache_write_tokens or ask.prompt.cache_points:
        written["cacheReadInputTokens"] = usage.cache_read_tokens
        written["cacheWriteInputTokens"] = usage.cache_write_tokens
    details = [
        {"ttl": ttl, "inputTokens": tokens}
        for ttl, tokens in (("1h", usage.cache_write_1h_tokens), ("5m", usage.cache_write_5m_tokens))
        if tokens
    ]
    if details:
        written["cacheDetails"] = details
    return written


def _close_block(kind: str, index: int, answer: Generation) -> Iterator[bytes]:
    if not kind:
        return
    if kind == "reasoning":
        signed = {"reasoningContent": {"signature": _signature(answer)}}
        yield json_event("contentBlockDelta", {"contentBlockIndex": index, "delta": signed})
    yield json_event("contentBlockStop", {"contentBlockIndex": index})


def _echo(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in ("serviceTier", "performanceConfig") if name in body}


def _tool_use(answer: Generation) -> dict[str, str]:
    return {"toolUseId": "tooluse_" + fingerprint(f"{answer.tool}{answer.started}"), "name": answer.tool or ""}


def _signature(answer: Generation) -> str:
    return base64.b64encode(answer.reasoning.encode()[:24]).decode()


def _check_turns(messages: list[Any]) -> None:
    previous = None
    for index, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("user", "assistant"):
            raise invalid(f"Value '{role}' at 'messages.{index}.role' failed to satisfy constraint: [user, assistant]")
        if previous is None and role != "user":
            raise invalid(_START_WITH_USER)
        if role == previous:
            raise invalid(_ALTERNATE)
        previous = role
    if previous is None:
        raise invalid(_START_WITH_USER)


def _read_block(block: Any, where: str, prompt: Prompt, known: list[str] | tuple[str, ...]) -> None:
    if not isinstance(block, dict) or len(block) != 1 or next(iter(block)) not in known:
        raise invalid(f"The ContentBlock object at {where} must set one of the following keys: {', '.join(known)}.")
    ((kind, value),) = block.items()
    match kind:
        case "text":
            _say(value, where, prompt)
        case "guardContent" if "text" in value:
            _say(value["text"].get("text"), where, prompt)
        case "reasoningContent" if "reasoningText" in value:
            prompt.declare(value["reasoningText"].get("text", ""))
        case "image":
            prompt.show(_source(value, where), f"image/{value.get('format', 'png')}")
        case "document":
            source = value.get("source") or {}
            if "text" in source:
                prompt.attach(source["text"], len(source["text"].encode()), source["text"])
            else:
                data = _source(value, where)
                plain = value.get("format") in ("txt", "md", "csv", "html") and "bytes" in source
                text = base64.b64decode(data).decode(errors="replace") if plain else None
                prompt.attach(data, _decoded_size(data, where), text)
        case "video" | "audio":
            data = _source(value, where)
            prompt.attach(data, _decoded_size(data, where))
        case "toolUse":
            prompt.call_tool(str(value.get("toolUseId")), str(value.get("name")), value.get("input"))
        case "toolResult":
            prompt.tool_result(str(value.get("toolUseId")))
            for index, inner in enumerate(_list(value, "content")):
                if "json" in inner:
                    prompt.declare(inner["json"])
                else:
                    _read_block(inner, f"{where}.toolResult.content.{index}", prompt, _BLOCKS)
            prompt.turn("user")
        case "cachePoint":
            ttl: Ttl = "1h" if value.get("ttl") == "1h" else "5m"
            prompt.cache_point(ttl)
        case _:
            prompt.declare(value)


def _say(text: Any, where: str, prompt: Prompt) -> None:
    if not isinstance(text, str):
        raise invalid(f"The text field in the ContentBlock object at {where} must be a string.")
    if not text.strip():
        raise invalid(
            f"The text field in the ContentBlock object at {where} is blank. Add text to the text field, and try again."
        )
    prompt.say(text)


def _source(value: Mapping[str, Any], where: str) -> str:
    source = value.get("source") or {}
    data = source.get("bytes") or json.dumps(source.get("s3Location") or source.get("content") or "")
    if not isinstance(data, str) or len(data) <= 2:
        raise invalid(f"The source field at {where} is empty. Add bytes or a location, and try again.")
    return data


def _decoded_size(data: str, where: str) -> int:
    try:
        return len(base64.b64decode(data, validate=True))
    except binascii.Error:
        if data.startswith(("{", "[")):
            return len(data)
        raise invalid(f"The bytes at {where} are not base64.") from None


def _tools(body: Mapping[str, Any], prompt: Prompt) -> Iterator[Tool]:
    for tool in _list(_object(body, "toolConfig"), "tools"):
        if "cachePoint" in tool:
            prompt.cache_point("1h" if tool["cachePoint"].get("ttl") == "1h" else "5m")
        elif "toolSpec" in tool:
            spec = tool["toolSpec"]
            prompt.declare(spec)
            schema = spec.get("inputSchema", {}).get("json", {})
            yield Tool(spec["name"], schema, spec.get("description", ""))
        else:
            prompt.declare(tool)
            yield Tool(tool.get("systemTool", {}).get("name", ""))


def _tool_choice(model_id: str, body: Mapping[str, Any], tools: tuple[Tool, ...]) -> tuple[str | None, bool]:
    """The tool that the model must use, and whether it may use any. Claude also accepts its own form."""
    choice = _object(_object(body, "toolConfig"), "toolChoice")
    own = _object(_object(body, "additionalModelRequestFields"), "tool_choice") if ".claude" in model_id else {}
    if own:
        if choice:
            raise invalid("The additional field tool_choice conflicts with toolConfig.toolChoice. Send one of them.")
        kind = own.get("type")
        if kind not in ("auto", "any", "tool", "none") or not tools:
            raise invalid("The model returned the following errors: tool_choice.type: Field required")
        choice = {kind: own}
    if "tool" in choice:
        return str(choice["tool"].get("name")), True
    return (tools[0].name if "any" in choice and tools else None), "none" not in choice


def _list(body: Mapping[str, Any], name: str) -> list[Any]:
    value = body.get(name) or []
    if not isinstance(value, list):
        raise invalid(f"The {name} field must be a list.")
    return value


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name) or {}
    if not isinstance(value, dict):
        raise invalid(f"The {name} field must be an object.")
    return value


def _number(body: Mapping[str, Any], name: str, kind: type[N], least: float) -> N | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < least:
        raise invalid(f"Value '{value}' at 'inferenceConfig.{name}' failed to satisfy constraint: at least {least}")
    return kind(value)

"""OpenAI's chat completions, spoken by way of Converse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gateway.calls.eventstream import Frame
from gateway.calls.streaming import SSE_PING, MeteredUsage
from gateway.core.errors import GatewayError
from gateway.formats import refusals
from gateway.formats.answers import unwrap
from gateway.formats.openai.converse import (
    EFFORTS,
    FILTERED,
    FULL,
    SERVICE_TIERS,
    Draft,
    blocks_of,
    cache_point,
    check_bookkeeping,
    stop_sequences,
    stream_options,
    text_of,
    tool_choice,
    tool_result,
    tool_use,
)
from gateway.formats.openai.fields import (
    Json,
    enum_field,
    error_json,
    invalid_param,
    quoted,
    reject_unless_default,
    text,
    tier_json,
    usage_json,
)
from gateway.formats.openai.tools import Tool, Tools, call_value

_KNOWN = (
    "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p",
    "stop", "seed", "n", "tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort",
    "service_tier", "user", "metadata", "store", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
    "modalities", "logprobs", "top_logprobs", "logit_bias", "frequency_penalty", "presence_penalty", "verbosity",
    "prediction", "web_search_options",
)  # fmt: skip
# What made a model stop, by Converse's names; every other reason is `stop`.
_FINISHES = {"tool_use": "tool_calls", **dict.fromkeys(FULL, "length"), **dict.fromkeys(FILTERED, "content_filter")}


@dataclass(frozen=True)
class ChatRequest:
    """A chat completion asked for: Converse's body, and what the answer's form depends on.

    `warnings` say what was accepted and does nothing; they belong in a header.
    """

    model: str
    converse: Json
    stream: bool = False
    include_usage: bool = False
    warnings: tuple[str, ...] = ()
    answer_tool: str = ""  # the tool whose input is the answer's text
    names: Mapping[str, str] = field(default_factory=dict)  # the client's own, of tools that are called otherwise here
    tools: Tools = field(default_factory=Tools)


def read_chat(body: Any, base: str) -> ChatRequest:
    """A body that fits openapi.yaml, for the model whose Bedrock id is `base`.

    Raises BadRequestError with the parameter at fault, for what a schema cannot say.
    """
    draft, tools = Draft(base), Tools()
    given = draft.known(body, "", _KNOWN, refusals.CHAT)
    stream = given.get("stream", False)
    _refuse_what_cannot_be(given)
    check_bookkeeping(draft, given)
    _leave_out(draft, given)
    tools.read_chat(draft, given.get("tools", []))
    for index, message in enumerate(given["messages"]):
        _read_message(draft, message, f"messages[{index}]", tools)
    _read_inference(draft, given)
    offered = {**given, "tool_choice": tools.chat_choice(draft, given["tool_choice"])} if "tool_choice" in given else {}
    draft.use_tools(tools.specs, tool_choice(offered), given.get("parallel_tool_calls", True))
    _read_format(draft, given)
    draft.service_tier = SERVICE_TIERS[given.get("service_tier", "default")]
    effort = enum_field(given, "reasoning_effort", EFFORTS)
    if effort:
        maximum = "max_tokens" if "max_tokens" in given else "max_completion_tokens"
        draft.reason(effort, "reasoning_effort", maximum)
    include_usage = stream_options(draft, given, stream).get("include_usage", False)
    fitted = draft.fitted("messages")
    return ChatRequest(
        given["model"],
        fitted.body,
        stream,
        include_usage,
        fitted.warnings,
        fitted.answer_tool,
        fitted.names,
        tools,
    )


def _refuse_what_cannot_be(given: Json) -> None:
    """Refuse by name what would cost more than the client sees, or make another thing than it asks for."""
    reject_unless_default(given, "n", 1, why="must be 1. Send one request per completion.")
    reject_unless_default(given, "modalities", ["text"], why='must be ["text"].')


# What Converse has no word for: what is sent where it asks for nothing, and why it has no effect else.
_NO_EFFECT: dict[str, tuple[Any, str]] = {
    "store": (False, "chat completions are not stored"),
    "logprobs": (False, "Converse returns no log probabilities"),
    "top_logprobs": (0, "Converse returns no log probabilities"),
    "logit_bias": ({}, "models on Bedrock do not support it"),
    "verbosity": ("medium", "state the desired length in the prompt"),
    "frequency_penalty": (0, "Converse has no penalties"),
    "presence_penalty": (0, "Converse has no penalties"),
    "prediction": (None, "models on Bedrock do not support it"),
    "seed": (None, "models on Bedrock do not support it"),
    "web_search_options": (None, "web search runs only at OpenAI. Provide your own search tool in tools"),
}


def _leave_out(draft: Draft, given: Json) -> None:
    for name, (harmless, why) in _NO_EFFECT.items():
        if name in given and given[name] != harmless:
            draft.warn(f"{name} is ignored: {why}")


def _read_inference(draft: Draft, given: Json) -> None:
    maximum, old = given.get("max_completion_tokens"), given.get("max_tokens")
    if maximum and old and maximum != old:
        draft.warn("the smaller of max_tokens and max_completion_tokens applies")
        maximum = min(maximum, old)
    temperature, top_p = draft.temperature(given), given.get("top_p")
    values = {"maxTokens": maximum or old, "temperature": temperature, "topP": top_p}
    draft.inference |= {name: value for name, value in values.items() if value is not None}
    if stop := stop_sequences(given.get("stop", [])):
        draft.inference["stopSequences"] = stop


# --------------------------------------------------------------------------------------------------------- messages


def _read_message(draft: Draft, value: Any, where: str, tools: Tools) -> None:
    role = value["role"]
    if role == "assistant":
        _read_assistant(draft, value, where, tools)
        return
    known = ("role", "content", "name", "cache_control", *(("tool_call_id",) if role == "tool" else ()))
    message = draft.known(value, where, known, refusals.CHAT_TURN)
    if "content" not in message:
        raise invalid_param(f"{where}.content", "is missing.", "missing_required_parameter")
    blocks = blocks_of(message["content"], f"{where}.content", partial(_part, draft))
    mark = (
        [cache_point(message["cache_control"], f"{where}.cache_control", draft.warn)]
        if "cache_control" in message
        else []
    )
    if role == "tool":
        if not message.get("tool_call_id"):
            raise invalid_param(f"{where}.tool_call_id", "must name the call it answers.", "missing_required_parameter")
        draft.say("user", tool_result(message["tool_call_id"], blocks + mark))
    elif role == "user":
        if not blocks:
            raise invalid_param(f"{where}.content", "must not be empty.")
        if message.get("name"):
            draft.warn("message names are ignored: models on Bedrock do not support them")
        draft.say("user", blocks + mark)
    else:
        draft.instruct(blocks + mark if blocks else [], f"{where}.content")


def _part(draft: Draft, part: Json, where: str) -> list[Json]:
    """The block of one part, and the mark of the prompt cache after it; nothing for an empty text."""
    kind = part.get("type")
    if kind not in ("text", "refusal", "image_url", "file"):
        if kind == "input_audio":
            raise invalid_param(where, "cannot be input_audio: send text, image_url or file.", "unsupported_value")
        raise invalid_param(f"{where}.type", "must be one of text, image_url, file.")
    given = draft.known(part, where, ("type", kind, "cache_control"), refusals.CHAT_TURN)
    if kind in ("text", "refusal"):
        words = text(given, kind, f"{where}.")
        if words is None:
            raise invalid_param(f"{where}.{kind}", "is missing.", "missing_required_parameter")
        blocks: list[Json] = [{"text": words}] if words else []
    elif kind == "image_url":
        image = draft.known(given.get(kind), f"{where}.image_url", ("url", "detail"))
        url = text(image, "url", f"{where}.image_url.") or ""
        blocks = [draft.image_block(url, image.get("detail"), f"{where}.image_url.url")]
    else:
        file = draft.known(given.get(kind), f"{where}.file", ("file_data", "filename"), refusals.CHAT_FILE)
        data, name = text(file, "file_data", f"{where}.file."), text(file, "filename", f"{where}.file.")
        blocks = [draft.document_block(data or "", name or "document", f"{where}.file.file_data")]
    if blocks and "cache_control" in given:
        blocks.append(cache_point(given["cache_control"], f"{where}.cache_control", draft.warn))
    return blocks


def _read_assistant(draft: Draft, value: Any, where: str, tools: Tools) -> None:
    """What the model said earlier, as it came from here or from another service that speaks this format."""
    known = ("role", "content", "name", "refusal", "tool_calls", "annotations", "cache_control",
             "reasoning_content", "thinking_blocks")  # fmt: skip
    message = draft.known(value, where, known, refusals.CHAT_ASSISTANT)
    blocks = [_thought(draft, thought, f"{where}.thinking_blocks") for thought in message.get("thinking_blocks", ())]
    blocks += blocks_of(message.get("content", []), f"{where}.content", partial(_part, draft))
    if refusal := text(message, "refusal", f"{where}."):
        blocks.append({"text": refusal})
    for index, call in enumerate(message.get("tool_calls", [])):
        place = f"{where}.tool_calls[{index}]"
        blocks.append(_called(draft, call, place, tools))
    if blocks and "cache_control" in message:
        blocks.append(cache_point(message["cache_control"], f"{where}.cache_control", draft.warn))
    draft.say("assistant", blocks)


def _called(draft: Draft, call: Json, where: str, tools: Tools) -> Json:
    """A call of an earlier turn, of a function or of a custom tool."""
    kind = "custom" if call.get("type") == "custom" else "function"
    given = draft.known(call, where, ("id", "type", kind, "index"))
    if kind not in given:
        raise invalid_param(f"{where}.{kind}", "is missing.", "missing_required_parameter")
    text_in = "input" if kind == "custom" else "arguments"
    inner = draft.known(given[kind], f"{where}.{kind}", ("name", text_in))
    name, arguments = inner.get("name"), inner.get(text_in)
    if kind == "custom":
        arguments = json.dumps({"input": text(inner, "input", f"{where}.custom.") or ""})
    flat = tools.flat(kind, name) if isinstance(name, str) and name else name
    return tool_use(given["id"], flat, arguments, f"{where}.{kind}")


def _thought(draft: Draft, value: Any, where: str) -> Json:
    given = draft.known(value, where, ("type", "thinking", "signature", "data"))
    if given.get("type") == "redacted_thinking":
        return {"reasoningContent": {"redactedContent": given.get("data", "")}}
    words: Json = {"text": given.get("thinking", "")}
    return {"reasoningContent": {"reasoningText": words | _signed(given)}}


def _signed(given: Mapping[str, Any]) -> Json:
    return {"signature": given["signature"]} if given.get("signature") else {}


# ------------------------------------------------------------------------------------------- tools, form of the answer


def _read_format(draft: Draft, given: Json) -> None:
    if "response_format" not in given:
        return
    wanted = draft.known(given["response_format"], "response_format", ("type", "json_schema"))
    if wanted["type"] == "json_object":
        draft.answer_in_json("response_format")
    elif wanted["type"] == "json_schema":
        where = "response_format.json_schema"
        schema = draft.known(wanted.get("json_schema"), where, ("name", "description", "schema", "strict"))
        draft.answer_in(schema.get("schema"), schema.get("name"), schema.get("description"), where)


# ---------------------------------------------------------------------------------------------------------- answers


def write_chat(request: ChatRequest, answer: Json, metered: MeteredUsage, id: str, created: int) -> Json:  # noqa: A002
    """Converse's answer as a chat completion."""
    answer = unwrap(answer, request.answer_tool, request.names)
    blocks = answer["output"]["message"]["content"]
    message: Json = {"role": "assistant", "content": "".join(map(text_of, blocks)) or None, "refusal": None}
    calls = [_call(block["toolUse"], request.tools) for block in blocks if "toolUse" in block]
    if calls:
        message["tool_calls"] = calls
    thoughts = [block["reasoningContent"] for block in blocks if "reasoningContent" in block]
    if reasoning := "".join(thought.get("reasoningText", {}).get("text", "") for thought in thoughts):
        message["reasoning_content"] = reasoning
    if signed := [_thinking_block(thought) for thought in thoughts if _is_returnable(thought)]:
        message["thinking_blocks"] = signed
    reason = _FINISHES.get(answer.get("stopReason", ""), "stop")
    return {
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": request.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": usage_json(metered.usage),
        "service_tier": tier_json(metered.usage),
    }


def _call(use: Json, tools: Tools) -> Json:
    """A call as the client knows its tool."""
    tool, arguments = tools.of(use["name"]), json.dumps(use.get("input") or {})
    inner = {"input": call_value(tool, arguments)} if tool.kind == "custom" else {"arguments": arguments}
    return {"id": use["toolUseId"], "type": tool.kind, tool.kind: {"name": tool.name, **inner}}


def _is_returnable(thought: Json) -> bool:
    """Can a model take the thought back? Only what it signed or encrypted."""
    return "redactedContent" in thought or bool(thought.get("reasoningText", {}).get("signature"))


def _thinking_block(thought: Json) -> Json:
    """A thought as Anthropic has it, so that a client who sends a message back sends its thoughts along."""
    if "redactedContent" in thought:
        return {"type": "redacted_thinking", "data": thought["redactedContent"]}
    words = thought["reasoningText"]
    return {"type": "thinking", "thinking": words.get("text", ""), "signature": words["signature"]}


class ChatStream:
    """ConverseStream's frames as chunks of a chat completion."""

    content_type = "text/event-stream"
    ping = SSE_PING

    def __init__(self, request: ChatRequest, id: str, created: int):  # noqa: A002
        head = {"id": id, "object": "chat.completion.chunk", "created": created, "model": request.model}
        self._include_usage = request.include_usage
        self._head = f"data: {json.dumps(head)[:-1]}"
        self._open = self._head + ',"choices":[{"index":0,"delta":{'
        usage = ',"usage":null' if request.include_usage else ""
        self._close = '},"logprobs":null,"finish_reason":null}]' + usage + "}\n\n"
        self._finish = self._open + '},"logprobs":null,"finish_reason":'
        self._end = "}]" + usage + "}\n\n"
        self._text = self._open + '"content":'
        self._tools: dict[int, int] = {}  # a block's index to its call's
        self._known = request.tools
        self._custom: dict[int, tuple[Tool, list[str]]] = {}  # calls whose text is known when all of it is there
        self._silent: set[int] = set()  # blocks of calls that have had no arguments yet
        self._thoughts: dict[int, Json] = {}  # a block's index to what it has thought so far

    def write(self, frame: Frame) -> bytes:
        if frame.kind == "contentBlockDelta":
            event = frame.json
            delta = event["delta"]
            if "text" in delta:
                return f"{self._text}{quoted(delta['text'])}{self._close}".encode()
            return self._delta(event["contentBlockIndex"], delta)
        if frame.kind == "contentBlockStart":
            return self._start(frame.json)
        if frame.kind == "contentBlockStop":
            return self._stop(frame.json["contentBlockIndex"])
        if frame.kind == "messageStart":
            return self._chunk('"role":"assistant","content":""')
        if frame.kind == "messageStop":
            reason = _FINISHES.get(frame.json.get("stopReason", ""), "stop")
            return f'{self._finish}"{reason}"{self._end}'.encode()
        return b""

    def end(self, metered: MeteredUsage) -> bytes:
        if not self._include_usage:
            return b"data: [DONE]\n\n"
        last: Json = {"choices": [], "usage": usage_json(metered.usage), "service_tier": tier_json(metered.usage)}
        return f"{self._head},{json.dumps(last)[1:]}\n\ndata: [DONE]\n\n".encode()

    def error(self, error: GatewayError) -> bytes:
        return f"data: {json.dumps({'error': error_json(error)})}\n\n".encode()

    def _chunk(self, delta: str) -> bytes:
        return f"{self._open}{delta}{self._close}".encode()

    def _start(self, event: Json) -> bytes:
        tool = event["start"].get("toolUse")
        if tool is None:
            return b""
        block = event["contentBlockIndex"]
        index = self._tools[block] = len(self._tools)
        known = self._known.of(tool["name"])
        if known.kind == "custom":
            self._custom[block] = known, []
            inner = {"name": known.name, "input": ""}
        else:
            self._silent.add(block)
            inner = {"name": known.name, "arguments": ""}
        call = {"index": index, "id": tool["toolUseId"], "type": known.kind, known.kind: inner}
        return self._chunk(f'"tool_calls":[{json.dumps(call)}]')

    def _delta(self, block: int, delta: Json) -> bytes:
        if "toolUse" in delta:
            if not delta["toolUse"]["input"]:
                return b""
            if block in self._custom:
                self._custom[block][1].append(delta["toolUse"]["input"])
                return b""
            self._silent.discard(block)
            return self._arguments(block, delta["toolUse"]["input"])
        if "reasoningContent" not in delta:
            return b""
        thought, more = self._thoughts.setdefault(block, {}), delta["reasoningContent"]
        if "redactedContent" in more:
            thought["redactedContent"] = thought.get("redactedContent", "") + more["redactedContent"]
            return b""
        words = thought.setdefault("reasoningText", {"text": ""})
        if "signature" in more:
            words["signature"] = words.get("signature", "") + more["signature"]
        words["text"] += more.get("text", "")
        return self._chunk(f'"reasoning_content":{quoted(more["text"])}') if more.get("text") else b""

    def _arguments(self, block: int, arguments: str) -> bytes:
        return self._chunk(
            f'"tool_calls":[{{"index":{self._tools[block]},"function":{{"arguments":{quoted(arguments)}}}}}]'
        )

    def _stop(self, block: int) -> bytes:
        if block in self._silent:
            # A call without arguments is an empty object: what clients read is JSON.
            self._silent.discard(block)
            return self._arguments(block, "{}")
        if block in self._custom:
            tool, parts = self._custom.pop(block)
            call = {"index": self._tools[block], "custom": {"input": call_value(tool, "".join(parts))}}
            return self._chunk(f'"tool_calls":[{json.dumps(call)}]')
        thought = self._thoughts.pop(block, None)
        if thought and _is_returnable(thought):
            return self._chunk(f'"thinking_blocks":[{json.dumps(_thinking_block(thought))}]')
        return b""

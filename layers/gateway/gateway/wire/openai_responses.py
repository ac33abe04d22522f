"""OpenAI's responses, spoken by way of Converse. The gateway keeps none: what came before is sent along in `input`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gateway.errors import GatewayError
from gateway.eventstream import Frame
from gateway.streaming import SSE_PING, Metered
from gateway.usage import TokenUsage
from gateway.wire.answers import told
from gateway.wire.openai_common import (
    Json,
    cache_json,
    choice,
    count,
    error_json,
    fields,
    flag,
    listed,
    nothing,
    number,
    quoted,
    refused,
    text,
    tier_json,
)
from gateway.wire.openai_converse import (
    EFFORTS,
    FILTERED,
    FULL,
    SERVICE_TIERS,
    Draft,
    blocks_of,
    cache_point,
    check_bookkeeping,
    stream_options,
    text_of,
    tool_choice,
    tool_result,
    tool_spec,
    tool_use,
)

_KNOWN = (
    "model", "input", "instructions", "stream", "stream_options", "max_output_tokens", "temperature", "top_p", "tools",
    "tool_choice", "parallel_tool_calls", "text", "reasoning", "service_tier", "include", "truncation", "top_logprobs",
    "user", "metadata", "store", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "background",
)  # fmt: skip
_KEEPS_NOTHING = "The gateway keeps no answers: send what came before in input."
_NOT_HERE = {
    "previous_response_id": _KEEPS_NOTHING,
    "conversation": _KEEPS_NOTHING,
    "prompt": "The gateway keeps no prompts: send it in input.",
    "max_tool_calls": "It limits built-in tools, and there are none here.",
    "context_management": "Send what the model is to read in input.",
    "moderation": "Guardrails are set in your tenant's record.",
    "prompt_cache_options": 'Mark what to cache with cache_control: {"type": "ephemeral"}.',
}
_ROLES = {role: role for role in ("system", "developer", "user", "assistant")}
_INCOMPLETE = dict.fromkeys(FULL, "max_output_tokens") | dict.fromkeys(FILTERED, "content_filter")
# A thought goes back to its model with what the model signed or encrypted: `encrypted_content` carries either.
_SIGNED, _REDACTED = "signature:", "redacted:"


@dataclass(frozen=True)
class ResponsesRequest:
    """A response asked for: Converse's body, and what the answer repeats of the request."""

    model: str
    converse: Json
    stream: bool = False
    echo: Json = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    answer_tool: str = ""  # the tool whose input is the answer's text
    names: Mapping[str, str] = field(default_factory=dict)  # the client's own, of tools that are called otherwise here


def read_response(body: Any, base: str) -> ResponsesRequest:
    """A request's body, for the model whose Bedrock id is `base`. Raises BadRequest with the parameter at fault."""
    given = fields(body, "", _KNOWN, _NOT_HERE)
    model = text(given, "model")
    if not model:
        raise refused("model", "must name a model.", "missing_required_parameter")
    stream = flag(given, "stream", False)
    stream_options(given, stream)
    _refuse_what_cannot_be(given)
    draft = Draft(base)
    if instructions := text(given, "instructions"):
        draft.instruct([{"text": instructions}], "instructions")
    _read_input(draft, given.get("input"))
    inference = {
        "maxTokens": count(given, "max_output_tokens"),
        "temperature": draft.temperature(given),
        "topP": number(given, "top_p", 0, 1),
    }
    draft.inference |= {name: value for name, value in inference.items() if value is not None}
    tools = _read_tools(draft, given)
    form = _read_format(draft, given)
    draft.service_tier = choice(given, "service_tier", SERVICE_TIERS) or ""
    reasoning = fields(given.get("reasoning", {}), "reasoning", ("effort", "summary", "generate_summary"))
    if effort := choice(reasoning, "effort", EFFORTS, "reasoning."):
        draft.reason(effort, "reasoning.effort", "max_output_tokens")
    echoed = ("instructions", "metadata", "max_output_tokens", "temperature", "top_p", "user", "prompt_cache_key",
              "safety_identifier", "truncation", "reasoning")  # fmt: skip
    echo = {name: given[name] for name in echoed if name in given} | {
        "tools": tools,
        "tool_choice": given.get("tool_choice", "auto"),
        "parallel_tool_calls": given.get("parallel_tool_calls", True),
        "text": {"format": form},
    }
    fitted = draft.fitted("input")
    return ResponsesRequest(model, fitted.body, stream, echo, fitted.warnings, fitted.answer_tool, fitted.names)


def _refuse_what_cannot_be(given: Json) -> None:
    nothing(given, "background", False, why="must be false. Keep the connection open, or stream.")
    nothing(given, "truncation", "disabled", why="must be disabled: the gateway leaves nothing out of a conversation.")
    nothing(given, "top_logprobs", 0, why="must be left out: Converse gives no log probabilities.")
    for index, name in enumerate(listed(given.get("include", []), "include")):
        if name != "reasoning.encrypted_content":
            raise refused(f"include[{index}]", "can only be reasoning.encrypted_content.", "unsupported_value")
    check_bookkeeping(given)


# ------------------------------------------------------------------------------------------------------------ input


def _read_input(draft: Draft, value: Any) -> None:
    if isinstance(value, str):
        draft.say("user", [{"text": value}] if value else [])
        return
    for index, item in enumerate(listed(value, "input")):
        where = f"input[{index}]"
        kind = item.get("type", "message") if isinstance(item, dict) else "message"
        read = _ITEMS.get(kind) if isinstance(kind, str) else None
        if read is None:
            raise refused(f"{where}.type", f"must be one of {', '.join(_ITEMS)}.", "unsupported_value")
        read(draft, item, where)


def _message(draft: Draft, item: Any, where: str) -> None:
    given = fields(item, where, ("type", "role", "content", "id", "status", "phase"))
    role = choice(given, "role", _ROLES, f"{where}.")
    if role is None:
        raise refused(f"{where}.role", f"must be one of {', '.join(_ROLES)}.", "missing_required_parameter")
    blocks = blocks_of(given.get("content"), f"{where}.content", partial(_part, draft))
    if role in ("system", "developer"):
        draft.instruct(blocks, f"{where}.content")
    elif role == "user" and not blocks:
        raise refused(f"{where}.content", "must not be empty.")
    else:
        draft.say(role, blocks)


def _call(draft: Draft, item: Any, where: str) -> None:
    given = fields(item, where, ("type", "id", "call_id", "name", "arguments", "status"))
    draft.say("assistant", [tool_use(given.get("call_id"), given.get("name"), given.get("arguments"), where)])


def _output(draft: Draft, item: Any, where: str) -> None:
    given = fields(item, where, ("type", "id", "call_id", "output", "status", "name"))
    if not text(given, "call_id", f"{where}."):
        raise refused(f"{where}.call_id", "must name the call it answers.", "missing_required_parameter")
    blocks = blocks_of(given.get("output"), f"{where}.output", partial(_part, draft))
    draft.say("user", tool_result(given["call_id"], blocks))


def _reasoning(draft: Draft, item: Any, where: str) -> None:
    """A thought that comes back: to a model only what it signed, since it takes no other."""
    given = fields(item, where, ("type", "id", "summary", "content", "encrypted_content", "status"))
    sealed = text(given, "encrypted_content", f"{where}.") or ""
    if sealed.startswith(_REDACTED):
        draft.say("assistant", [{"reasoningContent": {"redactedContent": sealed.removeprefix(_REDACTED)}}])
    elif sealed.startswith(_SIGNED):
        parts = [fields(part, f"{where}.summary", ("type", "text")) for part in given.get("summary", [])]
        thought = {"text": "".join(str(part.get("text", "")) for part in parts)}
        signed = thought | {"signature": sealed.removeprefix(_SIGNED)}
        draft.say("assistant", [{"reasoningContent": {"reasoningText": signed}}])
    elif sealed:
        draft.warn("reasoning items that this gateway did not make are left out")


_ITEMS = {"message": _message, "function_call": _call, "function_call_output": _output, "reasoning": _reasoning}


def _part(draft: Draft, part: Json, where: str) -> list[Json]:
    kind = part.get("type")
    not_here = {
        "prompt_cache_breakpoint": 'Send cache_control: {"type": "ephemeral"} in the part.',
        "file_id": "The gateway keeps no files: send their data.",
        "file_url": "The gateway fetches nothing: send file_data.",
    }
    blocks: list[Json]
    if kind in ("text", "input_text", "output_text", "refusal"):
        name = "refusal" if kind == "refusal" else "text"
        given = fields(part, where, ("type", name, "annotations", "logprobs", "cache_control"), not_here)
        words = text(given, name, f"{where}.")
        if words is None:
            raise refused(f"{where}.{name}", "is missing.", "missing_required_parameter")
        blocks = [{"text": words}] if words else []
    elif kind == "input_image":
        given = fields(part, where, ("type", "image_url", "detail", "cache_control"), not_here)
        url = text(given, "image_url", f"{where}.") or ""
        blocks = [draft.image_block(url, given.get("detail"), f"{where}.image_url")]
    elif kind == "input_file":
        given = fields(part, where, ("type", "file_data", "filename", "cache_control"), not_here)
        data, name = text(given, "file_data", f"{where}.") or "", text(given, "filename", f"{where}.") or "document"
        blocks = [draft.document_block(data, name, f"{where}.file_data")]
    else:
        raise refused(f"{where}.type", "must be one of input_text, input_image, input_file, output_text.")
    if blocks and "cache_control" in given:
        blocks.append(cache_point(given["cache_control"], f"{where}.cache_control"))
    return blocks


def _read_tools(draft: Draft, given: Json) -> list[Json]:
    """The tools as the answer repeats them."""
    specs: list[Json] = []
    echo: list[Json] = []
    for index, tool in enumerate(listed(given.get("tools", []), "tools")):
        where = f"tools[{index}]"
        if isinstance(tool, dict) and tool.get("type") != "function":
            message = f"must be function: {tool.get('type')} is a built-in tool of OpenAI's, and there are none here."
            raise refused(f"{where}.type", message, "unsupported_value")
        one = fields(tool, where, ("type", "name", "description", "parameters", "strict", "cache_control"))
        name, parameters, strict = one.get("name"), one.get("parameters"), one.get("strict")
        specs.append(tool_spec(name, one.get("description"), parameters, strict, where))
        if "cache_control" in one:
            specs.append(cache_point(one["cache_control"], f"{where}.cache_control"))
        shown = {"type": "function", "name": name, "parameters": parameters, "strict": strict is True}
        echo.append(shown | ({"description": one["description"]} if "description" in one else {}))
    draft.use_tools(specs, tool_choice(given), flag(given, "parallel_tool_calls", True))
    return echo


def _read_format(draft: Draft, given: Json) -> Json:
    """The form of the answer, as the answer repeats it."""
    wanted = fields(given.get("text", {}), "text", ("format", "verbosity"))
    why = "must be medium. Say in the prompt how long answers are to be."
    if wanted.get("verbosity", "medium") != "medium":
        raise refused("text.verbosity", why, "unsupported_value")
    form = fields(
        wanted.get("format", {"type": "text"}), "text.format", ("type", "name", "description", "schema", "strict")
    )
    kind = choice(form, "type", {name: name for name in ("text", "json_object", "json_schema")}, "text.format.")
    if kind == "json_object":
        draft.answer_in_json("text.format")
    elif kind == "json_schema":
        draft.answer_in(form.get("schema"), form.get("name"), form.get("description"), "text.format")
    return form


# ---------------------------------------------------------------------------------------------------------- answers


def _usage_json(usage: TokenUsage) -> Json:
    """The counts by the names that responses have. How much was reasoning Converse does not say."""
    return {
        "input_tokens": usage.context_tokens,
        "input_tokens_details": cache_json(usage),
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.context_tokens + usage.output_tokens,
    }


def _response(
    request: ResponsesRequest, id: str, created: int, status: str, output: list[Json], **more: Any  # noqa: A002
) -> Json:  # fmt: skip
    nulls = ("instructions", "max_output_tokens", "temperature", "top_p", "user")
    return {
        "id": id,
        "object": "response",
        "created_at": created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": request.model,
        "output": output,
        "previous_response_id": None,
        "store": False,
        "metadata": {},
        "truncation": "disabled",
        "reasoning": {"effort": None, "summary": None},
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "text": {"format": {"type": "text"}},
        "usage": None,
        **dict.fromkeys(nulls),
        **request.echo,
        **more,
    }


def _ended(reason: str) -> tuple[str, Json | None]:
    """The status that a reason to stop makes, and its details."""
    incomplete = _INCOMPLETE.get(reason)
    return ("incomplete", {"reason": incomplete}) if incomplete else ("completed", None)


def _finished(
    request: ResponsesRequest, id: str, created: int, reason: str, output: list[Json], metered: Metered  # noqa: A002
) -> Json:  # fmt: skip
    status, details = _ended(reason)
    usage, tier = _usage_json(metered.usage), tier_json(metered.usage)
    return _response(
        request, id, created, status, output, incomplete_details=details, usage=usage, service_tier=tier
    )  # fmt: skip


@dataclass
class _Item:
    """One item of an output, which one block of Converse's answer makes; `kind` is the prefix of its id."""

    kind: str
    id: str
    index: int
    parts: list[str] = field(default_factory=list)
    call_id: str = ""
    name: str = ""
    sealed: str = ""

    @property
    def text(self) -> str:
        return "".join(self.parts)

    @property
    def part(self) -> Json:
        return {"type": "output_text", "text": self.text, "annotations": [], "logprobs": []}

    @property
    def summary(self) -> Json:
        return {"type": "summary_text", "text": self.text}

    def json(self, status: str = "completed") -> Json:
        begun = status == "in_progress"
        if self.kind == "msg":
            content = [] if begun else [self.part]
            return {"type": "message", "id": self.id, "role": "assistant", "status": status, "content": content}
        if self.kind == "fc":
            arguments = "" if begun else self.text
            return {"type": "function_call", "id": self.id, "call_id": self.call_id, "name": self.name,
                    "arguments": arguments, "status": status}  # fmt: skip
        summary = [self.summary] if self.parts and not begun else []
        sealed = {"encrypted_content": self.sealed} if self.sealed else {}
        return {"type": "reasoning", "id": self.id, "summary": summary, **sealed}


def _item_id(response_id: str, kind: str, index: int) -> str:
    return f"{kind}_{response_id.removeprefix('resp_')}_{index}"


def write_response(request: ResponsesRequest, answer: Json, metered: Metered, id: str, created: int) -> Json:  # noqa: A002
    """Converse's answer as a response."""
    answer = told(answer, request.answer_tool, request.names)
    output = [item.json() for item in _items(answer["output"]["message"]["content"], id)]
    return _finished(request, id, created, answer.get("stopReason", ""), output, metered)


def _items(blocks: Iterable[Json], response_id: str) -> list[_Item]:
    items: list[_Item] = []

    def add(kind: str, parts: list[str], call_id: str = "", name: str = "", sealed: str = "") -> None:
        index = len(items)
        items.append(_Item(kind, _item_id(response_id, kind, index), index, parts, call_id, name, sealed))

    for block in blocks:
        if "toolUse" in block:
            use = block["toolUse"]
            add("fc", [json.dumps(use.get("input") or {})], use["toolUseId"], use["name"])
        elif "reasoningContent" in block:
            thought = block["reasoningContent"]
            words = thought.get("reasoningText", {})
            parts = [words["text"]] if words.get("text") else []
            sealed = _sealed(words.get("signature", ""), thought.get("redactedContent", ""))
            if parts or sealed:
                add("rs", parts, sealed=sealed)
        elif spoken := text_of(block):
            add("msg", [spoken])
    return items


def _sealed(signature: str, redacted: str) -> str:
    return _SIGNED + signature if signature else _REDACTED + redacted if redacted else ""


class ResponsesStream:
    """ConverseStream's frames as the events of a response."""

    content_type = "text/event-stream"
    ping = SSE_PING

    def __init__(self, request: ResponsesRequest, id: str, created: int):  # noqa: A002
        self._request, self._id, self._created = request, id, created
        self._sequence = 0
        self._reason = ""
        self._open: dict[int, _Item] = {}  # by the block's index
        self._done: list[_Item] = []
        self._made = 0
        self._prefixes: dict[int, str] = {}  # what each delta of an open block begins with

    def write(self, frame: Frame) -> bytes:
        if frame.kind == "contentBlockDelta":
            event = frame.json
            return self._delta(event["contentBlockIndex"], event["delta"])
        if frame.kind == "contentBlockStart":
            tool = frame.json["start"].get("toolUse")
            if tool is None:
                return b""
            return self._begin(frame.json["contentBlockIndex"], "fc", call_id=tool["toolUseId"], name=tool["name"])
        if frame.kind == "contentBlockStop":
            return self._stop(frame.json["contentBlockIndex"])
        if frame.kind == "messageStart":
            begun = _response(self._request, self._id, self._created, "in_progress", [])
            return self._event("response.created", response=begun) + self._event("response.in_progress", response=begun)
        if frame.kind == "messageStop":
            self._reason = frame.json.get("stopReason", "")
        return b""

    def end(self, metered: Metered) -> bytes:
        closed = b"".join(self._stop(block) for block in list(self._open))
        output = [item.json() for item in self._done]
        whole = _finished(self._request, self._id, self._created, self._reason, output, metered)
        return closed + self._event(f"response.{whole['status']}", response=whole)

    def error(self, error: GatewayError) -> bytes:
        """The failed response, then the error: SDKs raise at the second, and some clients know the first only."""
        inner = error_json(error)
        code = "rate_limit_exceeded" if error.status == 429 else "server_error"
        output = [item.json() for item in self._done]
        failed = _response(
            self._request, self._id, self._created, "failed", output, error={"code": code, "message": error.message}
        )
        flat = {"code": error.code, "message": error.message, "param": inner["param"]}
        return self._event("response.failed", response=failed) + self._event("error", error=inner, **flat)

    def _event(self, kind: str, **payload: Any) -> bytes:
        data = json.dumps({"type": kind, "sequence_number": self._sequence, **payload})
        self._sequence += 1
        return f"event: {kind}\ndata: {data}\n\n".encode()

    def _begin(self, block: int, kind: str, call_id: str = "", name: str = "") -> bytes:
        """The events that open an item."""
        item = _Item(kind, _item_id(self._id, kind, self._made), self._made, call_id=call_id, name=name)
        self._open[block] = item
        self._made += 1
        begun = self._event("response.output_item.added", output_index=item.index, item=item.json("in_progress"))
        place: Json = {"item_id": item.id, "output_index": item.index}
        if kind == "msg":
            delta = "response.output_text.delta"
            begun += self._event("response.content_part.added", **place, content_index=0, part=item.part)
            place |= {"content_index": 0, "logprobs": []}
        elif kind == "fc":
            delta = "response.function_call_arguments.delta"
        else:
            delta = "response.reasoning_summary_text.delta"
            place["summary_index"] = 0
        head = json.dumps({"type": delta, **place})[:-1]
        self._prefixes[block] = f'event: {delta}\ndata: {head},"sequence_number":'
        return begun

    def _delta(self, block: int, delta: Json) -> bytes:
        if "text" in delta:
            return self._more(block, "msg", delta["text"])
        if "toolUse" in delta:
            return self._more(block, "fc", delta["toolUse"]["input"])
        if "reasoningContent" not in delta:
            return b""
        thought = delta["reasoningContent"]
        begun = b""
        sealed = _sealed(thought.get("signature", ""), thought.get("redactedContent", ""))
        if sealed:
            if block not in self._open:
                begun = self._begin(block, "rs")
            item = self._open[block]
            # Pieces after the first bring no mark of their own.
            item.sealed += sealed.partition(":")[2] if item.sealed else sealed
        return begun + self._more(block, "rs", thought.get("text", ""))

    def _more(self, block: int, kind: str, words: str) -> bytes:
        if not words:
            return b""
        begun = b"" if block in self._open else self._begin(block, kind)
        item = self._open[block]
        if kind == "rs" and not item.parts:
            part = {"type": "summary_text", "text": ""}
            place = {"item_id": item.id, "output_index": item.index, "summary_index": 0}
            begun += self._event("response.reasoning_summary_part.added", **place, part=part)
        item.parts.append(words)
        self._sequence += 1
        return begun + f'{self._prefixes[block]}{self._sequence - 1},"delta":{quoted(words)}}}\n\n'.encode()

    def _stop(self, block: int) -> bytes:
        """The events that close an item."""
        item = self._open.get(block)
        if item is None:
            return b""
        # A call without arguments is an empty object: what clients read is JSON.
        done = self._more(block, "fc", "{}") if item.kind == "fc" and not item.parts else b""
        del self._open[block], self._prefixes[block]
        place: Json = {"item_id": item.id, "output_index": item.index}
        if item.kind == "msg":
            place["content_index"] = 0
            done += self._event("response.output_text.done", **place, text=item.text, logprobs=[])
            done += self._event("response.content_part.done", **place, part=item.part)
        elif item.kind == "fc":
            done += self._event("response.function_call_arguments.done", **place, name=item.name, arguments=item.text)
        elif item.parts:
            place["summary_index"] = 0
            done += self._event("response.reasoning_summary_text.done", **place, text=item.text)
            done += self._event("response.reasoning_summary_part.done", **place, part=item.summary)
        self._done.append(item)
        return done + self._event("response.output_item.done", output_index=item.index, item=item.json())

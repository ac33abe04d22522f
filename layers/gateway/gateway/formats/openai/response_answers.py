"""Converse's answers as OpenAI's responses, whole and as the events of a stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from gateway.calls.eventstream import Frame
from gateway.calls.streaming import SSE_PING, MeteredUsage
from gateway.core.errors import GatewayError
from gateway.formats.answers import unwrap
from gateway.formats.openai.converse import FILTERED, FULL, text_of
from gateway.formats.openai.fields import Json, cache_json, error_json, quoted, tier_json
from gateway.formats.openai.responses import REDACTED, SIGNED, ResponsesRequest
from gateway.formats.openai.tools import KINDS, Tool, Tools, call_item
from gateway.usage.records import TokenUsage

_INCOMPLETE = dict.fromkeys(FULL, "max_output_tokens") | dict.fromkeys(FILTERED, "content_filter")


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
        "store": request.store,
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
    request: ResponsesRequest, id: str, created: int, reason: str, output: list[Json], metered: MeteredUsage  # noqa: A002
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
    tool: Tool = field(default_factory=lambda: Tool("function", ""))
    sealed: str = ""

    @property
    def is_told_at_once(self) -> bool:
        """A call that is no function's: what it asks for is known when all of its arguments are."""
        return self.tool.kind != "function"

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
        if self.is_told_at_once:
            return call_item(self.tool, self.text, self.id, self.call_id, status)
        if self.kind == "fc":
            arguments = "" if begun else self.text
            space = {"namespace": self.tool.namespace} if self.tool.namespace else {}
            return {"type": "function_call", "id": self.id, "call_id": self.call_id, "name": self.tool.name, **space,
                    "arguments": arguments, "status": status}  # fmt: skip
        summary = [self.summary] if self.parts and not begun else []
        sealed = {"encrypted_content": self.sealed} if self.sealed else {}
        return {"type": "reasoning", "id": self.id, "summary": summary, **sealed}


def _item_id(response_id: str, kind: str, index: int) -> str:
    return f"{kind}_{response_id.removeprefix('resp_')}_{index}"


def _prefix(kind: str, tool: Tool) -> str:
    """The first letters of an item's id."""
    return KINDS[tool.kind].prefix if tool.kind in KINDS else kind


def write_response(request: ResponsesRequest, answer: Json, metered: MeteredUsage, id: str, created: int) -> Json:  # noqa: A002
    """Converse's answer as a response."""
    answer = unwrap(answer, request.answer_tool, request.names)
    output = [item.json() for item in _items(answer["output"]["message"]["content"], id, request.tools)]
    return _finished(request, id, created, answer.get("stopReason", ""), output, metered)


def _items(blocks: Iterable[Json], response_id: str, tools: Tools) -> list[_Item]:
    items: list[_Item] = []

    def add(kind: str, parts: list[str], call_id: str = "", name: str = "", sealed: str = "") -> None:
        index, tool = len(items), tools.of(name)
        items.append(
            _Item(kind, _item_id(response_id, _prefix(kind, tool), index), index, parts, call_id, tool, sealed)
        )

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
    return SIGNED + signature if signature else REDACTED + redacted if redacted else ""


class ResponsesStream:
    """ConverseStream's frames as the events of a response."""

    content_type = "text/event-stream"
    ping = SSE_PING

    def __init__(
        self, request: ResponsesRequest, id: str, created: int, keep: Callable[[list[Json]], None] = lambda _: None  # noqa: A002
    ):  # fmt: skip
        self._request, self._id, self._created, self._keep = request, id, created, keep
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

    def end(self, metered: MeteredUsage) -> bytes:
        closed = b"".join(self._stop(block) for block in list(self._open))
        output = [item.json() for item in self._done]
        self._keep(output)
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
        tool = self._request.tools.of(name)
        item_id = _item_id(self._id, _prefix(kind, tool), self._made)
        item = _Item(kind, item_id, self._made, call_id=call_id, tool=tool)
        self._open[block] = item
        self._made += 1
        if item.is_told_at_once:
            return b""
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
        if item.is_told_at_once:
            item.parts.append(words)
            return begun
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
        if item.is_told_at_once:
            del self._open[block]
            self._done.append(item)
            return self._whole(item)
        # A call without arguments is an empty object: what clients read is JSON.
        done = self._more(block, "fc", "{}") if item.kind == "fc" and not item.parts else b""
        del self._open[block], self._prefixes[block]
        place: Json = {"item_id": item.id, "output_index": item.index}
        if item.kind == "msg":
            place["content_index"] = 0
            done += self._event("response.output_text.done", **place, text=item.text, logprobs=[])
            done += self._event("response.content_part.done", **place, part=item.part)
        elif item.kind == "fc":
            done += self._event(
                "response.function_call_arguments.done", **place, name=item.tool.name, arguments=item.text
            )
        elif item.parts:
            place["summary_index"] = 0
            done += self._event("response.reasoning_summary_text.done", **place, text=item.text)
            done += self._event("response.reasoning_summary_part.done", **place, part=item.summary)
        self._done.append(item)
        return done + self._event("response.output_item.done", output_index=item.index, item=item.json())

    def _whole(self, item: _Item) -> bytes:
        """The events of a call that is no function's, from its first to its last."""
        place: Json = {"item_id": item.id, "output_index": item.index}
        whole, begun = item.json(), item.json("in_progress")
        if item.tool.kind == "custom":
            begun["input"] = ""
        told = self._event("response.output_item.added", output_index=item.index, item=begun)
        if item.tool.kind == "custom":
            told += self._event("response.custom_tool_call_input.delta", **place, delta=whole["input"])
            told += self._event("response.custom_tool_call_input.done", **place, input=whole["input"])
        return told + self._event("response.output_item.done", output_index=item.index, item=whole)

"""Streams of Anthropic's Messages API: server-sent events, from its own models untouched, from others translated."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from gateway.calls.eventstream import Frame
from gateway.calls.streaming import MeteredUsage
from gateway.core.errors import GatewayError
from gateway.formats.anthropic.converse import stop_reason, unreadable
from gateway.formats.anthropic.messages import MessagesRequest, begun, problem, stop_sequence, usage_of

Json = dict[str, Any]

CONTENT_TYPE = "text/event-stream; charset=utf-8"
PING = b'event: ping\ndata: {"type": "ping"}\n\n'


def _compact(value: Any) -> bytes:
    # Escaped to ASCII: a model may cut a character in two, and half of one cannot be encoded.
    return json.dumps(value, separators=(",", ":")).encode()


def _event(kind: str, **members: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), _compact({"type": kind, **members}))


def _error_event(error: GatewayError, request_id: str) -> bytes:
    return b"event: error\ndata: %s\n\n" % _compact(problem(error, request_id))


_STARTS = {
    kind.encode(): f"event: {kind}\ndata: ".encode()
    for kind in (
        *("message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"),
        *("message_stop", "ping", "error"),
    )
}
_TYPE_FIRST = b'{"type":"'


class NativeStream:
    """The events of Anthropic's own models, each as Bedrock sent it."""

    content_type = CONTENT_TYPE
    ping = PING

    def __init__(self, request_id: str = "") -> None:
        self._request_id = request_id

    def write(self, frame: Frame) -> bytes:
        if frame.kind != "chunk":
            return b""
        try:
            event = frame.chunk
            # An event that begins with its type, as all do, need not be parsed.
            start = None
            if event.startswith(_TYPE_FIRST):
                start = _STARTS.get(event[len(_TYPE_FIRST) : event.find(b'"', len(_TYPE_FIRST))])
            start = start or _start_of(event)
        except (ValueError, AttributeError) as error:
            raise unreadable() from error
        if b"\n" in event or b"\r" in event:
            # In JSON a line's end stands between tokens only, and there a blank will do.
            event = event.replace(b"\n", b" ").replace(b"\r", b" ")
        return b"".join((start, event, b"\n\n"))

    def end(self, metered: MeteredUsage) -> bytes:
        return b""

    def error(self, error: GatewayError) -> bytes:
        return _error_event(error, self._request_id)


def _start_of(event: bytes) -> bytes:
    return b"event: %s\ndata: " % json.loads(event).get("type", "").replace("\n", " ").encode()


@dataclass(frozen=True)
class _Block:
    """A block of content that is being told: its number here, and what each kind of its deltas begins with."""

    kind: str
    number: int
    starts: dict[str, bytes] = field(default_factory=dict)


class TranslatedStream:
    """The events of a ConverseStream in Anthropic's words.

    Converse announces only the blocks of tools, may leave numbers out, and says why it stopped before it says what was
    used; Anthropic announces every block, counts them without a gap, and says both at once, at the end.
    """

    content_type = CONTENT_TYPE
    ping = PING

    def __init__(self, request: MessagesRequest, message_id: str, request_id: str = "") -> None:
        self._request = request
        self._id = message_id
        self._request_id = request_id
        self._begun = False
        self._reason = "end_turn"
        self._blocks = 0
        self._open: dict[int, _Block] = {}  # by Converse's number

    def write(self, frame: Frame) -> bytes:
        try:
            match frame.kind:
                case "contentBlockDelta":
                    event = frame.json
                    return self._delta(event["contentBlockIndex"], event["delta"])
                case "contentBlockStart":
                    return self._start(frame.json)
                case "contentBlockStop":
                    return self._close(frame.json["contentBlockIndex"])
                case "messageStart":
                    return self._begin()
                case "messageStop":
                    self._reason = stop_reason(frame.json.get("stopReason"))
                    return b"".join(self._close(index) for index in list(self._open))
                case _:
                    return b""
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise unreadable() from error

    def end(self, metered: MeteredUsage) -> bytes:
        stopped = {"stop_reason": self._reason, "stop_sequence": stop_sequence(self._request, self._reason)}
        return b"".join(
            (
                self._begin(),
                *(self._close(index) for index in list(self._open)),
                _event("message_delta", delta=stopped, usage=usage_of(metered.usage)),
                _event("message_stop"),
            )
        )

    def error(self, error: GatewayError) -> bytes:
        return _error_event(error, self._request_id)

    def _begin(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return _event("message_start", message=begun(self._request, self._id))

    def _start(self, event: Json) -> bytes:
        use = event["start"].get("toolUse")
        if use is None:
            return b""
        block = {"type": "tool_use", "id": use["toolUseId"], "name": use["name"], "input": {}}
        return self._announce(event["contentBlockIndex"], "tool_use", block)

    def _delta(self, index: int, delta: Json) -> bytes:
        if "text" in delta:
            return self._say(index, "text", "text_delta", delta["text"])
        if "toolUse" in delta:
            if self._open[index].kind != "tool_use":
                raise unreadable()
            return self._say(index, "tool_use", "input_json_delta", delta["toolUse"]["input"])
        if "reasoningContent" in delta:
            thought = delta["reasoningContent"]
            if "text" in thought:
                return self._say(index, "thinking", "thinking_delta", thought["text"])
            if "signature" in thought:
                return self._say(index, "thinking", "signature_delta", thought["signature"])
            if "redactedContent" in thought:
                block = {"type": "redacted_thinking", "data": thought["redactedContent"]}
                return self._announce(index, "redacted_thinking", block)
        return b""

    def _say(self, index: int, kind: str, delta: str, said: str) -> bytes:
        announced = b""
        block = self._open.get(index)
        if block is None or block.kind != kind:
            announced = self._announce(index, kind, _EMPTY[kind])
            block = self._open[index]
        start = block.starts.get(delta)
        if start is None:
            start = block.starts[delta] = _DELTA % (block.number, delta.encode(), _MEMBER[delta])
        return b"".join((announced, start, json.dumps(said).encode(), b"}}\n\n"))

    def _announce(self, index: int, kind: str, block: Json) -> bytes:
        before = self._begin() + self._close(index)
        opened = self._open[index] = _Block(kind, self._blocks)
        self._blocks += 1
        return before + _event("content_block_start", index=opened.number, content_block=block)

    def _close(self, index: int) -> bytes:
        block = self._open.pop(index, None)
        return b"" if block is None else _event("content_block_stop", index=block.number)


_EMPTY: dict[str, Json] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
}
_MEMBER = {
    "text_delta": b"text",
    "input_json_delta": b"partial_json",
    "thinking_delta": b"thinking",
    "signature_delta": b"signature",
}
_DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%s","%s":'

"""Presents a complete response as a stream, for models that do not stream it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.calls.call import ModelAnswer
from gateway.calls.eventstream import Frame, encode

Json = dict[str, Any]


class WholeStream:
    """A Converse response as ConverseStream frames."""

    def __init__(self, answer: ModelAnswer) -> None:
        self._answer = answer
        self._frames = self._told()  # one iterator, since opening a stream reads its first frame

    @property
    def headers(self) -> Mapping[str, str]:
        dropped = ("content-length", "content-type")
        return {name: text for name, text in self._answer.headers.items() if name not in dropped}

    @property
    def frames(self) -> Iterator[Frame]:
        return self._frames

    def _told(self) -> Iterator[Frame]:
        body = self._answer.body if isinstance(self._answer.body, dict) else {}
        message = (body.get("output") or {}).get("message") or {}
        yield _frame("messageStart", {"role": message.get("role", "assistant")})
        for index, block in enumerate(message.get("content") or ()):
            if start := _start(block):
                yield _frame("contentBlockStart", {"contentBlockIndex": index, "start": start})
            for delta in _deltas(block):
                yield _frame("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})
            yield _frame("contentBlockStop", {"contentBlockIndex": index})
        stopped = {"stopReason": body.get("stopReason", "end_turn")}
        fields = body.get("additionalModelResponseFields")
        yield _frame("messageStop", stopped if fields is None else {**stopped, "additionalModelResponseFields": fields})
        told = ("usage", "metrics", "trace", "performanceConfig", "serviceTier")
        yield _frame("metadata", {name: body[name] for name in told if name in body})

    def abort(self) -> None:
        """Does nothing: the response is already complete."""


def _start(block: Json) -> Json:
    use = block.get("toolUse")
    return {"toolUse": {"toolUseId": use["toolUseId"], "name": use["name"]}} if use else {}


def _deltas(block: Json) -> Iterator[Json]:
    if "text" in block:
        yield {"text": block["text"]}
    elif "toolUse" in block:
        yield {"toolUse": {"input": json.dumps(block["toolUse"].get("input") or {})}}
    elif "reasoningContent" in block:
        thought = block["reasoningContent"]
        if "redactedContent" in thought:
            yield {"reasoningContent": {"redactedContent": thought["redactedContent"]}}
        for name, value in (thought.get("reasoningText") or {}).items():
            yield {"reasoningContent": {name: value}}


def _frame(kind: str, said: Json) -> Frame:
    payload = json.dumps(said, separators=(",", ":")).encode()
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return Frame(kind, payload, encode(headers, payload))

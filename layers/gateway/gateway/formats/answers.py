"""An answer that was forced into a tool, unwrapped: its input is the text that the client asked for."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.calls.eventstream import Frame
from gateway.calls.streaming import MeteredUsage, StreamWriter
from gateway.core.errors import GatewayError

Json = dict[str, Any]


def unwrap(answer: Json, tool: str, names: Mapping[str, str] | None = None) -> Json:
    """Converse's answer with the tool's input as its text; what was said before it is left out.

    `names` are the client's own of tools that are called otherwise here.
    """
    if names:
        answer = _named(answer, names)
    if not tool:
        return answer
    message = answer["output"]["message"]
    blocks = message["content"]
    if not any(_is(block, tool) for block in blocks):
        return answer
    content = [
        {"text": json.dumps(block["toolUse"].get("input") or {})} if _is(block, tool) else block
        for block in blocks
        if "text" not in block
    ]
    reason = answer.get("stopReason")
    if reason == "tool_use" and not any("toolUse" in block for block in content):
        reason = "end_turn"
    return {**answer, "output": {"message": {**message, "content": content}}, "stopReason": reason}


def _named(answer: Json, names: Mapping[str, str]) -> Json:
    message = answer["output"]["message"]
    content = [
        {"toolUse": {**block["toolUse"], "name": names.get(block["toolUse"]["name"], block["toolUse"]["name"])}}
        if "toolUse" in block
        else block
        for block in message["content"]
    ]
    return {**answer, "output": {"message": {**message, "content": content}}}


def _is(block: Json, tool: str) -> bool:
    return "toolUse" in block and block["toolUse"].get("name") == tool


def unwrap_stream(writer: StreamWriter, tool: str, names: Mapping[str, str] | None = None) -> StreamWriter:
    """The writer, which gets the tool's input as text, and tools by the client's names."""
    named: StreamWriter = NamedStream(writer, names) if names else writer
    return AnswerStream(named, tool) if tool else named


class NamedStream:
    """ConverseStream's frames for another writer, with the client's own names of tools."""

    def __init__(self, writer: StreamWriter, names: Mapping[str, str]) -> None:
        self._writer, self._names = writer, names
        self.content_type, self.ping = writer.content_type, writer.ping

    def write(self, frame: Frame) -> bytes:
        if frame.kind == "contentBlockStart" and (use := frame.json["start"].get("toolUse")):
            start = {"toolUse": {**use, "name": self._names.get(use["name"], use["name"])}}
            frame = Frame(frame.kind, json.dumps({**frame.json, "start": start}).encode())
        return self._writer.write(frame)

    def end(self, metered: MeteredUsage) -> bytes:
        return self._writer.end(metered)

    def error(self, error: GatewayError) -> bytes:
        return self._writer.error(error)


class AnswerStream:
    """ConverseStream's frames for another writer. Text is held until it is known whether the answer follows it."""

    def __init__(self, writer: StreamWriter, tool: str) -> None:
        self._writer, self._tool = writer, tool
        self.content_type, self.ping = writer.content_type, writer.ping
        self._answers: set[int] = set()  # the blocks that are the answer
        self._texts: set[int] = set()  # the blocks that are held
        self._held: list[Frame] = []
        self._other_calls = False

    def write(self, frame: Frame) -> bytes:
        return b"".join(self._writer.write(each) for each in self._frames(frame))

    def end(self, metered: MeteredUsage) -> bytes:
        return b"".join(self._writer.write(each) for each in self._released()) + self._writer.end(metered)

    def error(self, error: GatewayError) -> bytes:
        return self._writer.error(error)

    def _released(self) -> list[Frame]:
        held, self._held = self._held, []
        return held

    def _frames(self, frame: Frame) -> Iterator[Frame]:
        if frame.kind == "contentBlockStart":
            use = frame.json["start"].get("toolUse")
            if use and use.get("name") == self._tool:
                self._answers.add(frame.json["contentBlockIndex"])
                self._held.clear()
                return
            self._other_calls = self._other_calls or bool(use)
        elif frame.kind == "contentBlockDelta":
            index, delta = frame.json["contentBlockIndex"], frame.json["delta"]
            if index in self._answers and "toolUse" in delta:
                text = {"contentBlockIndex": index, "delta": {"text": delta["toolUse"]["input"]}}
                yield Frame(frame.kind, json.dumps(text).encode())
                return
            if "text" in delta:
                self._texts.add(index)
                self._held.append(frame)
                return
        elif frame.kind == "contentBlockStop" and frame.json["contentBlockIndex"] in self._texts:
            self._held.append(frame)
            return
        elif frame.kind == "messageStop":
            yield from self._released()
            if self._answers and not self._other_calls and frame.json.get("stopReason") == "tool_use":
                yield Frame(frame.kind, b'{"stopReason":"end_turn"}')
                return
        yield frame


# ------------------------------------------------------------------------------------------- in Claude's own words


def unwrap_message(content: bytes, tool: str) -> bytes:
    """A message of Claude's with the tool's input as its text."""
    message = json.loads(content)
    blocks = message.get("content", [])
    if not any(block.get("name") == tool for block in blocks):
        return content
    message["content"] = [
        {"type": "text", "text": json.dumps(block["input"])} if block.get("name") == tool else block
        for block in blocks
        if block["type"] != "text"
    ]
    if not any(block["type"] == "tool_use" for block in message["content"]):
        message["stop_reason"] = "end_turn" if message["stop_reason"] == "tool_use" else message["stop_reason"]
    return json.dumps(message).encode()


class AnswerMessageStream:
    """The same of a stream of Claude's own events."""

    def __init__(self, writer: StreamWriter, tool: str) -> None:
        self._writer, self._tool = writer, tool
        self.content_type, self.ping = writer.content_type, writer.ping
        self._answers: set[int] = set()
        self._other_calls = False

    def write(self, frame: Frame) -> bytes:
        if frame.kind != "chunk":
            return self._writer.write(frame)
        event = json.loads(frame.chunk)
        unwrapped = self._unwrapped(event)
        if unwrapped is event:
            return self._writer.write(frame)
        packed = base64.b64encode(json.dumps(unwrapped, separators=(",", ":")).encode()).decode()
        return self._writer.write(Frame(frame.kind, json.dumps({"bytes": packed}).encode()))

    def end(self, metered: MeteredUsage) -> bytes:
        return self._writer.end(metered)

    def error(self, error: GatewayError) -> bytes:
        return self._writer.error(error)

    def _unwrapped(self, event: Json) -> Json:
        match event.get("type"):
            case "content_block_start" if event["content_block"].get("type") == "tool_use":
                if event["content_block"].get("name") == self._tool:
                    self._answers.add(event["index"])
                    return {**event, "content_block": {"type": "text", "text": ""}}
                self._other_calls = True
            case "content_block_delta" if event["index"] in self._answers:
                return {**event, "delta": {"type": "text_delta", "text": event["delta"].get("partial_json", "")}}
            case "message_delta" if self._answers and not self._other_calls:
                if event["delta"].get("stop_reason") == "tool_use":
                    return {**event, "delta": {**event["delta"], "stop_reason": "end_turn"}}
        return event

"""An answer through a forced tool reads as the requested text, whole and as a stream."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from gateway.calls.eventstream import Frame
from gateway.calls.streaming import MeteredUsage
from gateway.formats.answers import AnswerMessageStream, unwrap, unwrap_message, unwrap_stream
from gateway.formats.anthropic.messages import native_body, read_messages, write_message
from gateway.formats.anthropic.streams import NativeStream, TranslatedStream
from gateway.formats.openai.chat import ChatStream, read_chat, write_chat
from gateway.formats.openai.response_answers import ResponsesStream, write_response
from gateway.formats.openai.responses import read_response
from gateway.usage.records import TokenUsage

NOVA, SONNET_4 = "amazon.nova-lite-v1:0", "anthropic.claude-sonnet-4-20250514-v1:0"
METERED = MeteredUsage(TokenUsage(3, 4))
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
FORM = {"type": "json_schema", "json_schema": {"name": "number", "schema": SCHEMA}}
TOOL = {"type": "function", "function": {"name": "get", "parameters": {"type": "object"}}}


def frame(kind: str, **said: Any) -> Frame:
    return Frame(kind, json.dumps(said).encode())


def answer(*blocks: Any) -> dict[str, Any]:
    return {"output": {"message": {"role": "assistant", "content": list(blocks)}}, "stopReason": "tool_use"}


def call(name: str) -> dict[str, Any]:
    return {"toolUse": {"toolUseId": "t", "name": name, "input": {"n": 7}}}


def streamed(name: str, *before: Frame) -> list[Frame]:
    start = {"toolUse": {"toolUseId": "t", "name": name}}
    return [
        frame("messageStart", role="assistant"),
        *before,
        frame("contentBlockStart", contentBlockIndex=1, start=start),
        frame("contentBlockDelta", contentBlockIndex=1, delta={"toolUse": {"input": '{"n": '}}),
        frame("contentBlockDelta", contentBlockIndex=1, delta={"toolUse": {"input": "7}"}}),
        frame("contentBlockStop", contentBlockIndex=1),
        frame("messageStop", stopReason="tool_use"),
    ]


SPOKEN = [
    frame("contentBlockDelta", contentBlockIndex=0, delta={"text": "Here it is:"}),
    frame("contentBlockStop", contentBlockIndex=0),
]


def chat(**more: Any) -> Any:
    return read_chat(
        {"model": "m", "messages": [{"role": "user", "content": "x"}], "response_format": FORM, **more}, NOVA
    )


def chunks(stream: bytes) -> list[Any]:
    return [json.loads(line[6:]) for line in stream.decode().splitlines() if line.startswith("data: {")]


def test_a_model_without_structured_output_is_made_to_answer_by_a_tool() -> None:
    request = chat()
    config = request.converse["toolConfig"]
    assert config["toolChoice"] == {"tool": {"name": request.answer_tool}}
    assert config["tools"][0]["toolSpec"]["inputSchema"]["json"] == SCHEMA
    assert "outputConfig" not in request.converse
    assert "no structured output" in request.warnings[0]


def test_its_own_tools_may_still_be_called_first() -> None:
    config = chat(tools=[TOOL]).converse["toolConfig"]
    assert [tool["toolSpec"]["name"] for tool in config["tools"]] == ["get", chat().answer_tool]
    assert config["toolChoice"] == {"any": {}}


def test_a_chat_completion_has_the_answer_as_its_content() -> None:
    request = chat()
    spoken = answer({"text": "Here it is:"}, call(request.answer_tool))
    choice = write_chat(request, spoken, METERED, "id", 0)["choices"][0]
    assert choice["message"]["content"] == '{"n": 7}'
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "stop"


def test_a_call_of_another_tool_stays_one() -> None:
    request = chat(tools=[TOOL])
    choice = write_chat(request, answer(call("get")), METERED, "id", 0)["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)


@pytest.mark.parametrize("before", [[], SPOKEN])
def test_a_stream_of_chunks_has_the_answer_as_its_content_and_nothing_before_it(before: list[Frame]) -> None:
    request = chat()
    writer = unwrap_stream(ChatStream(request, "id", 0), request.answer_tool)
    seen = chunks(b"".join(writer.write(each) for each in streamed(request.answer_tool, *before)))
    deltas = [chunk["choices"][0] for chunk in seen]
    assert "".join(delta["delta"].get("content", "") for delta in deltas) == '{"n": 7}'
    assert not any("tool_calls" in delta["delta"] for delta in deltas)
    assert deltas[-1]["finish_reason"] == "stop"


def test_words_without_an_answer_are_told_at_the_end() -> None:
    request = chat(tools=[TOOL])
    writer = unwrap_stream(ChatStream(request, "id", 0), request.answer_tool)
    seen = chunks(b"".join(writer.write(each) for each in streamed("get", *SPOKEN)))
    deltas = [chunk["choices"][0] for chunk in seen]
    assert "".join(delta["delta"].get("content", "") for delta in deltas) == "Here it is:"
    assert deltas[-1]["finish_reason"] == "tool_calls"


def test_a_response_has_the_answer_as_its_text_also_as_a_stream() -> None:
    form = {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}}
    request = read_response({"model": "m", "input": "x", "text": form}, NOVA)
    whole = write_response(request, answer(call(request.answer_tool)), METERED, "resp_1", 0)
    assert whole["output"][0]["content"][0]["text"] == '{"n": 7}'
    writer = unwrap_stream(ResponsesStream(request, "resp_1", 0), request.answer_tool)
    sent = b"".join(writer.write(each) for each in streamed(request.answer_tool)) + writer.end(METERED)
    last = chunks(sent)[-1]
    assert last["type"] == "response.completed"
    assert last["response"]["output"][0]["content"][0]["text"] == '{"n": 7}'


def test_a_message_has_the_answer_as_its_text_also_as_a_stream() -> None:
    request = read_messages({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]})
    message = write_message(request, unwrap(answer(call("json_answer")), "json_answer"), METERED, "m_1")
    assert (message["content"], message["stop_reason"]) == ([{"type": "text", "text": '{"n": 7}'}], "end_turn")
    writer = unwrap_stream(TranslatedStream(request, "m_1"), "json_answer")
    events = chunks(b"".join(writer.write(each) for each in streamed("json_answer")) + writer.end(METERED))
    assert "".join(e["delta"]["text"] for e in events if e["type"] == "content_block_delta") == '{"n": 7}'
    assert events[-2]["delta"]["stop_reason"] == "end_turn"


def native(**event: Any) -> Frame:
    return frame("chunk", bytes=base64.b64encode(json.dumps(event).encode()).decode())


def test_a_claude_without_structured_output_answers_by_a_tool_as_well() -> None:
    form = {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}
    request = read_messages({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], **form})
    made = native_body(request, SONNET_4)
    assert made.body["tool_choice"] == {"type": "tool", "name": made.answer_tool}
    use = {"type": "tool_use", "id": "t", "name": made.answer_tool, "input": {"n": 7}}
    whole = json.loads(
        unwrap_message(json.dumps({"content": [use], "stop_reason": "tool_use"}).encode(), made.answer_tool)
    )
    assert whole == {"content": [{"type": "text", "text": '{"n": 7}'}], "stop_reason": "end_turn"}
    writer = AnswerMessageStream(NativeStream(), made.answer_tool)
    events = chunks(b"".join(writer.write(each) for each in (
        native(type="message_start", message={}),
        native(type="content_block_start", index=0, content_block={**use, "input": {}}),
        native(type="content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": '{"n": 7}'}),
        native(type="content_block_stop", index=0),
        native(type="message_delta", delta={"stop_reason": "tool_use"}, usage={}),
    )))  # fmt: skip
    assert events[1]["content_block"] == {"type": "text", "text": ""}
    assert events[2]["delta"] == {"type": "text_delta", "text": '{"n": 7}'}
    assert events[4]["delta"]["stop_reason"] == "end_turn"


def test_an_answer_without_such_a_tool_is_left_alone() -> None:
    spoken = answer({"text": "x"})
    assert unwrap(spoken, "") is spoken
    assert unwrap(spoken, "json_answer") is spoken
    assert unwrap_message(b'{"content": []}', "json_answer") == b'{"content": []}'


# ------------------------------------------------------------------------------------------ names of tools, ids of calls
LONG = "mcp__plugin_deploy-on-aws_awsknowledge__aws___get_regional_availability.of"


def test_a_name_that_converse_lets_no_tool_have_comes_back_as_the_clients() -> None:
    tool = {"type": "function", "function": {"name": LONG, "parameters": {"type": "object"}}}
    choice = {"type": "function", "function": {"name": LONG}}
    said = [{"role": "user", "content": "x"}]
    request = read_chat({"model": "m", "messages": said, "tools": [tool], "tool_choice": choice}, NOVA)
    (short,) = request.names
    assert request.converse["toolConfig"]["tools"][0]["toolSpec"]["name"] == short
    assert request.converse["toolConfig"]["toolChoice"] == {"tool": {"name": short}}
    assert len(short) <= 64
    message = write_chat(request, answer(call(short)), METERED, "id", 0)["choices"][0]["message"]
    assert message["tool_calls"][0]["function"]["name"] == LONG
    writer = unwrap_stream(ChatStream(request, "id", 0), request.answer_tool, request.names)
    seen = chunks(b"".join(writer.write(each) for each in streamed(short)))
    assert seen[1]["choices"][0]["delta"]["tool_calls"][0]["function"]["name"] == LONG


def test_an_id_of_another_services_call_is_made_one_that_converse_takes() -> None:
    label = "call_1|fc_" + "a" * 80
    use = {"id": label, "type": "function", "function": {"name": LONG, "arguments": "{}"}}
    said = [
        {"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [use]},
        {"role": "tool", "tool_call_id": label, "content": "y"},
    ]  # fmt: skip
    tool = {"type": "function", "function": {"name": LONG}}
    turns = read_chat({"model": "m", "messages": said, "tools": [tool]}, NOVA).converse["messages"]
    made = turns[1]["content"][0]["toolUse"]
    assert made["toolUseId"] == turns[2]["content"][0]["toolResult"]["toolUseId"]
    assert len(made["toolUseId"]) <= 64
    assert len(made["name"]) <= 64

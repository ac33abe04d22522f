"""Responses in OpenAI's format: the Converse request, and the client's response."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.calls.streaming import MeteredUsage
from gateway.core.errors import BadRequestError, GatewayError
from gateway.formats import refusals
from gateway.formats.openai.fields import misfit
from gateway.formats.openai.response_answers import ResponsesStream, write_response
from gateway.formats.openai.responses import ResponsesRequest, read_response
from gateway.usage.records import TokenUsage
from gateway.web.generated.bodies import create_response
from tests.checked import checked
from tests.converse_answers import answer, streamed, text_blocks, tool_blocks

CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "amazon.nova-lite-v1:0"
USAGE = TokenUsage(10, 5, cache_read_tokens=7, cache_write_5m_tokens=3)
TOOL = {"type": "function", "name": "get", "parameters": {"type": "object"}, "strict": True}


def converse(value: Any = "hi", base: str = CLAUDE, **more: Any) -> Any:
    return read_response({"model": "m", "input": value, **more}, base).converse


def refusal(value: Any = "hi", **more: Any) -> BadRequestError:
    body = {"model": "m", "input": value, **more}
    with pytest.raises(BadRequestError) as caught:
        read_response(checked(body, create_response, misfit), CLAUDE)
    assert caught.value.param
    assert caught.value.param in caught.value.message
    return caught.value


def test_a_request_becomes_converses_body() -> None:
    body = converse(
        instructions="be brief", max_output_tokens=9, temperature=0.5, top_p=0.9, tools=[TOOL], tool_choice={"type": "function", "name": "get"},
        store=False, metadata={"a": "b"}, include=["reasoning.encrypted_content"], truncation="disabled", service_tier="priority",
        text={"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}},
    )  # fmt: skip
    closed = {"type": "object", "additionalProperties": False}
    assert body == {
        "system": [{"text": "be brief"}],
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
        "inferenceConfig": {"maxTokens": 9, "temperature": 0.5},
        "toolConfig": {
            "tools": [{"toolSpec": {"name": "get", "strict": True, "inputSchema": {"json": closed}}}],
            "toolChoice": {"tool": {"name": "get"}},
        },
        "outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"name": "n", "schema": '{"type":"object","additionalProperties":false}'}}}},
        "serviceTier": {"type": "priority"},
    }  # fmt: skip


def test_items_become_turns() -> None:
    items = [
        {"role": "developer", "content": "be kind"},
        {"role": "user", "content": [
            {"type": "input_text", "text": "see", "cache_control": {"type": "ephemeral"}},
            {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="},
        ]},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "signature:s"},
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "redacted:eA=="},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
         "content": [{"type": "output_text", "text": "a", "annotations": [], "logprobs": []}]},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "get", "arguments": '{"x": 1}', "status": "completed"},
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
        {"role": "user", "content": "go on"},
    ]  # fmt: skip
    body = converse(items, tools=[TOOL], reasoning={"effort": "low", "summary": "auto"})
    assert body["system"] == [{"text": "be kind"}]
    assert body["messages"] == [
        {"role": "user", "content": [
            {"text": "see"}, {"cachePoint": {"type": "default"}},
            {"image": {"format": "png", "source": {"bytes": "aGk="}}},
            {"document": {"format": "pdf", "name": "a", "source": {"bytes": "aGk="}}},
        ]},
        {"role": "assistant", "content": [
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
            {"reasoningContent": {"redactedContent": "eA=="}},
            {"text": "a"},
            {"toolUse": {"toolUseId": "c1", "name": "get", "input": {"x": 1}}},
        ]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "c1", "content": [{"text": "one"}]}}, {"text": "go on"}]},
    ]  # fmt: skip
    assert body["additionalModelRequestFields"] == {"thinking": {"type": "enabled", "budget_tokens": 1024}}


def test_thoughts_of_another_service_are_left_out_and_it_says_so() -> None:
    items = [
        {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "gAAAA"},
        {"role": "user", "content": "hi"},
    ]
    request = read_response({"model": "m", "input": items}, CLAUDE)
    assert request.converse["messages"] == [{"role": "user", "content": [{"text": "hi"}]}]
    assert "left out" in request.warnings[0]


@pytest.mark.parametrize(
    "more",
    [
        {"previous_response_id": "resp_1"}, {"conversation": "c"}, {"background": True}, {"store": "yes"}, {"prompt": {"id": "p"}},
        {"truncation": "some"}, {"include": 5}, {"tools": ["x"]}, {"tools": [{"type": "function"}]}, {"tools": [{"name": "get"}]},
        {"tool_choice": {"type": "file_search"}, "tools": 5}, {"tool_choice": "required"}, {"text": {"format": {"type": "xml"}}},
        {"text": {"format": {"type": "json_schema", "name": "x"}}},
        {"max_output_tokens": 0}, {"temperature": 3}, {"top_logprobs": -3}, {"service_tier": "scale"}, {"stream_options": 5},
        {"moderation": {}}, {"max_tokens": 5},
        {"tools": [{"type": "namespace", "tools": []}]}, {"tools": [{"type": "namespace", "name": "n", "tools": [5]}]}, {"tools": [{"type": "custom"}]},
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_by_name(more: dict[str, Any]) -> None:
    assert refusal(**more).param.split(".")[0].split("[")[0] in more  # type: ignore[union-attr]


@pytest.mark.parametrize("name", refusals.RESPONSES)
def test_a_field_whose_absence_would_be_felt_is_refused_by_name(name: str) -> None:
    error = refusal(**{name: "x"})
    assert (error.code, error.param) == ("unsupported_parameter", name)
    assert refusals.RESPONSES[name] in error.message


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"), ({"access_programs": {}}, "access_programs"),
        ({"text": {"a": 1}}, "text.a"), ({"text": {"format": {"type": "text", "a": 1}}}, "text.format.a"),
        ({"stream_options": {}}, "stream_options"), ({"prompt_cache_retention": "24h"}, "prompt_cache_retention"),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "hi", "a": 1}]}]}, "input.content.a"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("base", [CLAUDE, NOVA])
def test_an_unknown_field_is_left_out_and_named(base: str, more: dict[str, Any], named: str) -> None:
    plain = {"model": "m", "input": "hi"}
    request = read_response(checked(plain | more, create_response, misfit), base)
    assert request.converse == read_response(plain, base).converse
    (warning,) = request.warnings
    assert warning.startswith(f"{named} is ignored: ")


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"type": "telepathy", "id": "x"}, "input[0].type"),
        ({"type": "custom_tool_call_output", "output": "x"}, "input[0].call_id"),
        ({"type": "custom_tool_call", "call_id": "c", "input": "x"}, "input[0]"),
        ({"role": "user"}, "input[0].content"),
        ({"role": "tool", "content": "x"}, "input[0].role"),
        ({"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}, "input[0].content[0].file_id"),
        (
            {"role": "user", "content": [{"type": "input_image", "image_url": "https://x"}]},
            "input[0].content[0].image_url",
        ),
        (
            {"role": "user", "content": [{"type": "input_file", "file_url": "https://x"}]},
            "input[0].content[0].file_url",
        ),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "input[0].content[0].type"),
        ({"type": "function_call", "call_id": "c", "name": "f", "arguments": "x"}, "input[0].arguments"),
        ({"type": "function_call_output", "output": "x"}, "input[0].call_id"),
        ({"role": "system", "content": "only"}, "input"),
    ],
)
def test_an_item_at_fault_is_named(item: Any, param: str) -> None:
    assert refusal([item]).param == param


def test_no_input_is_refused() -> None:
    assert refusal("").param == "input"
    assert refusal(None).param == "input"


# ---------------------------------------------------------------------------------------------------------- answers

REQUEST = ResponsesRequest("alias", {}, stream=True, echo={"instructions": "be brief", "temperature": 0.5})


def test_an_answer_is_a_response() -> None:
    content = [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
        {"text": "a"},
        {"toolUse": {"toolUseId": "c1", "name": "get", "input": {"x": 1}}},
    ]
    made = write_response(REQUEST, answer(content, "tool_use"), MeteredUsage(USAGE), "resp_1", 5)
    assert made["output"] == [
        {"type": "reasoning", "id": "rs_1_0", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "signature:s"},
        {"type": "message", "id": "msg_1_1", "role": "assistant", "status": "completed",
         "content": [{"type": "output_text", "text": "a", "annotations": [], "logprobs": []}]},
        {"type": "function_call", "id": "fc_1_2", "call_id": "c1", "name": "get", "arguments": '{"x": 1}', "status": "completed"},
    ]  # fmt: skip
    assert made["usage"] == {
        "input_tokens": 20, "input_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 3},
        "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 25,
    }  # fmt: skip
    assert (made["id"], made["status"], made["model"], made["store"]) == ("resp_1", "completed", "alias", False)
    assert (made["instructions"], made["temperature"]) == ("be brief", 0.5)


def test_an_answer_can_be_sent_back_as_it_came() -> None:
    content = [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
        {"reasoningContent": {"redactedContent": "eA=="}},
        {"text": "a"},
        {"toolUse": {"toolUseId": "c1", "name": "get", "input": {"x": 1}}},
    ]
    output = write_response(REQUEST, answer(content), MeteredUsage(USAGE), "resp_1", 5)["output"]
    back = [
        {"role": "user", "content": "hi"},
        *output,
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
    ]
    assert converse(back, tools=[TOOL])["messages"][1]["content"] == content


def test_an_answer_that_was_cut_is_incomplete() -> None:
    made = write_response(REQUEST, answer([{"text": "a"}], "max_tokens"), MeteredUsage(USAGE), "resp_1", 5)
    assert (made["status"], made["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


def events(written: bytes) -> list[Any]:
    made = []
    for event in written.decode().removesuffix("\n\n").split("\n\n"):
        kind, data = event.split("\n")
        made.append(json.loads(data.removeprefix("data: ")))
        assert kind == f"event: {made[-1]['type']}"
    assert [event["sequence_number"] for event in made] == list(range(len(made)))
    return made


thoughts = st.builds(
    lambda text, signature: {"reasoningContent": {"reasoningText": {"text": text, "signature": signature}}},
    st.text(min_size=1, max_size=10),
    st.text("xyz=", max_size=5),
) | st.just({"reasoningContent": {"redactedContent": "eA=="}})  # fmt: skip
reasons = st.sampled_from(["end_turn", "tool_use", "max_tokens"])


def said_in(item: dict[str, Any]) -> Any:
    if item["type"] == "function_call":
        return item["arguments"]
    return "".join(part["text"] for part in item["content" if item["type"] == "message" else "summary"])


@given(st.lists(text_blocks | tool_blocks | thoughts, max_size=6), st.integers(1, 7), reasons)
def test_a_stream_adds_up_to_what_the_whole_answer_would_have_been(
    content: list[Any], pieces: int, reason: str
) -> None:
    writer = ResponsesStream(REQUEST, "resp_1", 5)
    made = events(b"".join(map(writer.write, streamed(content, pieces, reason))) + writer.end(MeteredUsage(USAGE)))
    whole = write_response(REQUEST, answer(content, reason), MeteredUsage(USAGE), "resp_1", 5)
    assert made[-1] == {"type": f"response.{whole['status']}", "sequence_number": len(made) - 1, "response": whole}
    assert [event["item"] for event in made if event["type"] == "response.output_item.done"] == whole["output"]
    texts = dict.fromkeys((item["id"] for item in whole["output"]), "")
    for event in made:
        if event["type"].endswith(".delta"):
            texts[event["item_id"]] += event["delta"]
    assert texts == {item["id"]: said_in(item) for item in whole["output"]}


def test_a_streams_events_come_in_openais_order() -> None:
    content = [{"text": "hi"}, {"toolUse": {"toolUseId": "c", "name": "get", "input": {"x": 1}}}]
    writer = ResponsesStream(REQUEST, "resp_1", 5)
    made = events(b"".join(map(writer.write, streamed(content, 1, "tool_use"))) + writer.end(MeteredUsage(USAGE)))
    assert [event["type"].removeprefix("response.") for event in made] == [
        "created", "in_progress",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    assert made[0]["response"]["status"] == "in_progress"
    assert made[2]["item"]["status"] == "in_progress"
    assert made[-1]["response"]["usage"]["total_tokens"] == 25


def test_a_stream_that_breaks_off_fails_and_ends_with_an_error() -> None:
    writer = ResponsesStream(REQUEST, "resp_1", 5)
    begun = b"".join(map(writer.write, streamed([{"text": "hi"}], 1, "end_turn")[:2]))
    failed, error = events(begun + writer.error(GatewayError("Broke off.", code="upstream_failed", status=502)))[-2:]
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["error"] == {"code": "server_error", "message": "Broke off."}
    assert (error["type"], error["code"], error["message"], error["param"]) == (
        "error",
        "upstream_failed",
        "Broke off.",
        None,
    )
    assert error["error"]["type"] == "server_error"

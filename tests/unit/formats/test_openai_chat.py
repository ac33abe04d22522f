"""Chat completions in OpenAI's format: the Converse request, and the client's response."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.calls.streaming import MeteredUsage
from gateway.core.errors import BadRequestError, GatewayError
from gateway.formats import refusals
from gateway.formats.openai.chat import ChatRequest, ChatStream, read_chat, write_chat
from gateway.formats.openai.fields import misfit, model_list, problem
from gateway.usage.records import TokenUsage
from gateway.web.generated.bodies import create_chat_completion
from tests.checked import checked
from tests.converse_answers import answer, streamed, text_blocks, tool_blocks

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
SONNET_45 = "anthropic.claude-sonnet-4-5-20250929-v1:0"
OPUS = "anthropic.claude-opus-4-8"
NOVA = "amazon.nova-lite-v1:0"
USAGE = TokenUsage(10, 5, cache_read_tokens=7, cache_write_5m_tokens=3, cache_write_1h_tokens=2, service_tier="flex")
HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "get", "description": "", "parameters": {"type": "object"}}}
SPEC = {"toolSpec": {"name": "get", "inputSchema": {"json": {"type": "object"}}}}
USED: list[dict[str, Any]] = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "get", "arguments": '{"a": 1}'}},
        {"id": "c2", "type": "function", "function": {"name": "get", "arguments": ""}},
    ]},
    {"role": "tool", "tool_call_id": "c1", "content": "one"},
    {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "two"}]},
]  # fmt: skip


def converse(base: str = CLAUDE, messages: Any = HI, **more: Any) -> Any:
    return read_chat({"model": "m", "messages": messages, **more}, base).converse


def refusal(base: str = CLAUDE, messages: Any = HI, **more: Any) -> BadRequestError:
    body = {"model": "m", "messages": messages, **more}
    with pytest.raises(BadRequestError) as caught:
        read_chat(checked(body, create_chat_completion, misfit), base)
    assert caught.value.param
    assert caught.value.param in caught.value.message
    return caught.value


def test_a_request_becomes_converses_body() -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "developer", "content": [{"type": "text", "text": "be kind"}]},
        *HI,
        {"role": "assistant", "content": "yes?"},
        {"role": "user", "content": "why"},
    ]
    assert converse(messages=messages, max_tokens=9, temperature=0.5, top_p=1, stop="x", user="u", metadata={"a": "b"}, store=False) == {
        "system": [{"text": "be brief"}, {"text": "be kind"}],
        "messages": [
            {"role": "user", "content": [{"text": "hi"}]},
            {"role": "assistant", "content": [{"text": "yes?"}]},
            {"role": "user", "content": [{"text": "why"}]},
        ],
        "inferenceConfig": {"maxTokens": 9, "temperature": 0.5, "topP": 1, "stopSequences": ["x"]},
    }  # fmt: skip


def test_what_is_null_is_not_there() -> None:
    nulls: dict[str, Any] = dict.fromkeys(
        (
            "max_tokens",
            "stop",
            "tools",
            "tool_choice",
            "audio",
            "functions",
            "metadata",
            "stream_options",
            "n",
            "seed",
        )
    )
    assert converse(**nulls) == {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}


def test_roles_alternate_whatever_the_client_sent() -> None:
    messages = [*HI, {"role": "user", "content": "there"}, *USED[1:], {"role": "user", "content": "go on"}]
    assert converse(messages=messages, tools=[TOOL])["messages"] == [
        {"role": "user", "content": [{"text": "hi"}, {"text": "there"}]},
        {"role": "assistant", "content": [
            {"toolUse": {"toolUseId": "c1", "name": "get", "input": {"a": 1}}},
            {"toolUse": {"toolUseId": "c2", "name": "get", "input": {}}},
        ]},
        {"role": "user", "content": [
            {"toolResult": {"toolUseId": "c1", "content": [{"text": "one"}]}},
            {"toolResult": {"toolUseId": "c2", "content": [{"text": "two"}]}},
            {"text": "go on"},
        ]},
    ]  # fmt: skip


def test_pictures_and_files_come_as_data_urls() -> None:
    content = [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,aGk=", "detail": "auto"}},
        {"type": "file", "file": {"filename": "a_b.c.pdf", "file_data": "data:application/pdf;base64,aGk="}},
        {"type": "file", "file": {"filename": "a b.c.csv", "file_data": "aGk="}},
    ]
    (message,) = converse(messages=[{"role": "user", "content": content}])["messages"]
    assert message["content"] == [
        {"text": "see"},
        {"image": {"format": "jpeg", "source": {"bytes": "aGk="}}},
        {"document": {"format": "pdf", "name": "a b c", "source": {"bytes": "aGk="}}},
        {"document": {"format": "csv", "name": "a b c 2", "source": {"bytes": "aGk="}}},
    ]


def test_cache_control_marks_what_stands_before_it() -> None:
    mark = {"type": "ephemeral"}
    hour = {"type": "ephemeral", "ttl": "1h"}
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "s", "cache_control": hour}]},
        {"role": "user", "content": [{"type": "text", "text": "u", "cache_control": mark}]},
    ]
    body = converse(SONNET_45, messages, tools=[TOOL | {"cache_control": mark}])
    point = {"cachePoint": {"type": "default"}}
    assert body["system"] == [{"text": "s"}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    assert body["messages"][0]["content"] == [{"text": "u"}, point]
    assert body["toolConfig"]["tools"] == [SPEC, point]


def test_a_cached_tool_result_is_marked_beside_it() -> None:
    last = USED[3] | {"content": [{"type": "text", "text": "two", "cache_control": {"type": "ephemeral"}}]}
    content = converse(SONNET_45, [*USED[:3], last], tools=[TOOL])["messages"][2]["content"]
    assert content[1:] == [
        {"toolResult": {"toolUseId": "c2", "content": [{"text": "two"}]}},
        {"cachePoint": {"type": "default"}},
    ]


@pytest.mark.parametrize(
    ("more", "config", "additional"),
    [
        ({}, {"tools": [SPEC]}, None),
        ({"tool_choice": "auto"}, {"tools": [SPEC]}, None),
        ({"tool_choice": "required"}, {"tools": [SPEC], "toolChoice": {"any": {}}}, None),
        ({"tool_choice": {"type": "function", "function": {"name": "get"}}}, {"tools": [SPEC], "toolChoice": {"tool": {"name": "get"}}}, None),
        ({"tool_choice": "none"}, None, None),
        ({"parallel_tool_calls": False}, {"tools": [SPEC]}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": False, "tool_choice": "required"}, {"tools": [SPEC]}, {"type": "any", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": False, "tool_choice": {"type": "function", "function": {"name": "get"}}},
         {"tools": [SPEC]}, {"type": "tool", "name": "get", "disable_parallel_tool_use": True}),
    ],
)  # fmt: skip
def test_tools_may_be_chosen(more: dict[str, Any], config: Any, additional: Any) -> None:
    body = converse(tools=[TOOL], **more)
    assert body.get("toolConfig") == config
    assert body.get("additionalModelRequestFields", {}).get("tool_choice") == additional


def test_strict_tools_stay_strict() -> None:
    strict = {"type": "function", "function": {"name": "get", "strict": True}}
    spec = converse(SONNET_45, tools=[strict])["toolConfig"]["tools"][0]["toolSpec"]
    closed = {"type": "object", "properties": {}, "additionalProperties": False}
    assert spec == {"name": "get", "strict": True, "inputSchema": {"json": closed}}


def test_a_conversation_that_used_tools_declares_them_even_where_none_may_be_called() -> None:
    body = converse(messages=USED, tools=[TOOL], tool_choice="none")
    assert body["toolConfig"] == {"tools": [SPEC]}
    assert body["additionalModelRequestFields"] == {"tool_choice": {"type": "none"}}
    assert converse(messages=USED)["toolConfig"] == {"tools": [SPEC]}
    assert converse(messages=USED)["additionalModelRequestFields"] == {"tool_choice": {"type": "none"}}


@pytest.mark.parametrize(
    ("base", "effort", "expected"),
    [
        (SONNET_45, "medium", {"inferenceConfig": {"maxTokens": 6144}, "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2048}}}),
        ("anthropic.claude-3-7-sonnet-20250219-v1:0", "low", {"inferenceConfig": {"maxTokens": 5120}, "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}}}),
        (SONNET_45, "none", {}),
        (OPUS, "xhigh", {"additionalModelRequestFields": {"thinking": {"type": "adaptive"}}, "outputConfig": {"effort": "xhigh"}}),
        ("anthropic.claude-sonnet-5", "minimal", {"additionalModelRequestFields": {"thinking": {"type": "adaptive"}}, "outputConfig": {"effort": "low"}}),
        (OPUS, "none", {"additionalModelRequestFields": {"thinking": {"type": "disabled"}}}),
        ("openai.gpt-oss-120b-1:0", "high", {"additionalModelRequestFields": {"reasoning_effort": "high"}}),
        ("openai.gpt-5.6-sol", "high", {"additionalModelRequestFields": {"reasoning": {"effort": "high"}}}),
        ("amazon.nova-2-lite-v1:0", "low", {"additionalModelRequestFields": {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}}),
        ("amazon.nova-2-lite-v1:0", "none", {"additionalModelRequestFields": {"reasoningConfig": {"type": "disabled"}}}),
    ],
)  # fmt: skip
def test_each_family_reasons_in_its_own_words(base: str, effort: str, expected: dict[str, Any]) -> None:
    body = converse(base, reasoning_effort=effort)
    assert {name: part for name, part in body.items() if name != "messages"} == expected


@pytest.mark.parametrize(
    ("base", "effort"),
    [(CLAUDE, "low"), (NOVA, "low"), ("meta.llama3-8b-instruct-v1:0", "high"), (SONNET_45, "max"), ("openai.gpt-oss-20b-1:0", "none")],
)  # fmt: skip
def test_an_effort_that_a_model_has_not_is_named(base: str, effort: str) -> None:
    request = read_chat({"model": "m", "messages": HI, "reasoning_effort": effort}, base)
    assert "reasoning_effort" in request.warnings[0]


def test_a_maximum_below_the_thinking_budget_leaves_less_to_think_or_nothing() -> None:
    less = read_chat({"model": "m", "messages": HI, "reasoning_effort": "high", "max_tokens": 4096}, SONNET_45)
    assert less.converse["additionalModelRequestFields"]["thinking"]["budget_tokens"] == 2048
    none = read_chat({"model": "m", "messages": HI, "reasoning_effort": "low", "max_tokens": 500}, SONNET_45)
    assert "additionalModelRequestFields" not in none.converse
    assert "left out" in none.warnings[0]


def test_thoughts_come_back_with_their_signature() -> None:
    said = USED[1] | {"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "eA=="}],
                      "reasoning_content": "hm"}  # fmt: skip
    request = read_chat(
        {"model": "m", "messages": [USED[0], said, *USED[2:]], "tools": [TOOL], "reasoning_effort": "low"}, SONNET_45
    )
    assert request.converse["messages"][1]["content"][:2] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
        {"reasoningContent": {"redactedContent": "eA=="}},
    ]
    assert "thinking" in request.converse["additionalModelRequestFields"]
    assert request.warnings == ()


def test_a_tool_turn_whose_thoughts_were_lost_is_answered_without_thinking() -> None:
    request = read_chat({"model": "m", "messages": USED, "tools": [TOOL], "reasoning_effort": "low"}, SONNET_45)
    assert "additionalModelRequestFields" not in request.converse
    assert "reasoning_effort has no effect" in request.warnings[0]


def test_a_json_schema_binds_the_answer() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": schema}}
    structure = converse(SONNET_45, response_format=wanted)["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert structure["name"] == "n"
    assert json.loads(structure["schema"]) == schema | {"additionalProperties": False}
    both = converse("anthropic.claude-sonnet-4-6", response_format=wanted, reasoning_effort="low")["outputConfig"]
    assert both.keys() == {"textFormat", "effort"}


def test_bare_json_is_asked_for_in_words_and_says_so() -> None:
    request = read_chat({"model": "m", "messages": HI, "response_format": {"type": "json_object"}}, CLAUDE)
    assert "JSON" in request.converse["system"][0]["text"]
    assert "not enforced" in request.warnings[0]
    assert converse(response_format={"type": "text"}) == converse()


def test_what_does_nothing_is_said() -> None:
    request = read_chat({"model": "m", "messages": [*HI, {"role": "system", "content": "late"}], "seed": 7}, CLAUDE)
    assert any("seed" in warning for warning in request.warnings)
    assert any("moved" in warning for warning in request.warnings)


@pytest.mark.parametrize(
    "more",
    [
        {"logprobs": True}, {"top_logprobs": 2}, {"logit_bias": {"5": 1}}, {"prediction": {"type": "content"}},
        {"frequency_penalty": 0.5}, {"presence_penalty": 1}, {"verbosity": "low"}, {"temperature": 1.5}, {"seed": 7},
        {"max_tokens": 5, "max_completion_tokens": 6},
    ],
)  # fmt: skip
def test_what_changes_no_cost_is_taken_and_named(more: dict[str, Any]) -> None:
    (warning,) = read_chat({"model": "m", "messages": HI, **more}, CLAUDE).warnings
    assert next(iter(more)) in warning


@pytest.mark.parametrize(
    ("asked", "sent"), [("auto", None), ("default", None), ("flex", "flex"), ("priority", "priority")]
)
def test_service_tiers_are_passed_on(asked: str, sent: str | None) -> None:
    assert converse(service_tier=asked).get("serviceTier", {}).get("type") == sent


@pytest.mark.parametrize(
    "more",
    [
        {"n": 2}, {"n": True}, {"audio": {"voice": "v"}},
        {"modalities": ["text", "audio"]}, {"functions": [TOOL["function"]]}, {"function_call": "auto"},
        {"moderation": {}}, {"prompt_cache_options": {}}, {"safety_mode": "off"},
        {"temperature": 2.5}, {"temperature": "hot"}, {"top_p": -1}, {"max_tokens": 0}, {"max_tokens": True},
        {"stop": 5}, {"service_tier": "scale"}, {"reasoning_effort": "huge"},
        {"stream": "yes"}, {"stream_options": 5},
        {"tool_choice": "required"}, {"tool_choice": "any"}, {"tools": [{"type": "custom", "custom": {}}]}, {"tools": [{"type": "function"}]},
        {"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, {"tools": {}}, {"metadata": "x"}, {"user": 5},
        {"response_format": {"type": "xml"}}, {"response_format": {"type": "json_schema"}}, {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_by_name(more: dict[str, Any]) -> None:
    assert refusal(**more).param.split(".")[0].split("[")[0] in more  # type: ignore[union-attr]


@pytest.mark.parametrize("name", refusals.CHAT)
def test_a_field_whose_absence_would_be_felt_is_refused_by_name(name: str) -> None:
    error = refusal(**{name: "x"})
    assert (error.code, error.param) == ("unsupported_parameter", name)
    assert refusals.CHAT[name] in error.message


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"chat_template_kwargs": {"enable_thinking": False}}, "chat_template_kwargs"), ({"functions": []}, "functions"),
        ({"web_search_options": {}}, "web_search_options"), ({"prompt_cache_retention": "24h"}, "prompt_cache_retention"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        ({"stream": True, "stream_options": {"a": 1}}, "stream_options.a"),
        ({"response_format": {"type": "text", "a": 1}}, "response_format.a"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("base", [CLAUDE, NOVA])
def test_an_unknown_field_is_left_out_and_named(base: str, more: dict[str, Any], named: str) -> None:
    request = read_chat(checked({"model": "m", "messages": HI, **more}, create_chat_completion, misfit), base)
    assert request.converse == converse(base)
    (warning,) = request.warnings
    assert warning.startswith(f"{named} is ignored: ")


def test_an_unknown_part_of_a_message_is_named_once() -> None:
    part = {"type": "text", "text": "hi", "priority": 1}
    messages = [{"role": "user", "content": [part, part], "weight": 1}, {"role": "user", "content": [part]}]
    request = read_chat({"model": "m", "messages": messages}, CLAUDE)
    assert request.converse["messages"] == [{"role": "user", "content": [{"text": "hi"}] * 3}]
    unknown = "is ignored: the gateway does not know it"
    assert request.warnings == (f"messages.weight {unknown}", f"messages.content.priority {unknown}")


def test_many_unknown_fields_are_read_in_linear_time() -> None:
    started = time.process_time()
    request = read_chat({"model": "m", "messages": HI, **{f"x{number}": 1 for number in range(100_000)}}, CLAUDE)
    assert len(request.warnings) == 100_000
    assert time.process_time() - started < 5


# -------------------------------------------------------------------------------------------------------- other tools

GRAMMAR = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /.+/"}}
PATCH = {"type": "custom", "custom": {"name": "patch", "description": "Patch.", "format": GRAMMAR}}


def test_a_custom_tool_is_a_function_of_one_text_to_the_model() -> None:
    earlier = {"id": "c0", "type": "custom", "custom": {"name": "patch", "input": "old"}}
    messages = [
        *HI,
        {"role": "assistant", "tool_calls": [earlier]},
        {"role": "tool", "tool_call_id": "c0", "content": "ok"},
    ]
    body = {"model": "m", "messages": messages, "tools": [PATCH, TOOL]}
    chosen = {"tool_choice": {"type": "custom", "custom": {"name": "patch"}}}
    request = read_chat(checked(body | chosen, create_chat_completion, misfit), SONNET_45)
    config = request.converse["toolConfig"]
    spec = config["tools"][0]["toolSpec"]
    assert spec["inputSchema"]["json"]["properties"] == {"input": {"type": "string"}}
    assert "start: /.+/" in spec["description"]
    assert config["toolChoice"] == {"tool": {"name": "patch"}}
    used = request.converse["messages"][1]["content"][0]["toolUse"]
    assert used == {"toolUseId": "c0", "name": "patch", "input": {"input": "old"}}
    assert "not enforced" in request.warnings[0]


def test_a_call_of_a_custom_tool_is_told_as_one() -> None:
    request = read_chat({"model": "m", "messages": HI, "tools": [PATCH, TOOL]}, SONNET_45)
    blocks = [
        {"toolUse": {"toolUseId": "c1", "name": "patch", "input": {"input": '*** a "b"'}}},
        {"toolUse": {"toolUseId": "c2", "name": "get", "input": {"x": 1}}},
    ]
    (whole,) = write_chat(request, answer(blocks, "tool_use"), MeteredUsage(USAGE), "i", 1)["choices"]
    custom, function = whole["message"]["tool_calls"]
    assert custom == {"id": "c1", "type": "custom", "custom": {"name": "patch", "input": '*** a "b"'}}
    assert (function["type"], function["function"]["name"]) == ("function", "get")
    writer = ChatStream(request, "i", 1)
    sent = chunks(b"".join(map(writer.write, streamed(blocks, 5, "tool_use"))) + writer.end(MeteredUsage(USAGE)))
    calls = [call for chunk in sent for one in chunk["choices"] for call in one["delta"].get("tool_calls", ())]
    assert calls[0] == {"index": 0, "id": "c1", "type": "custom", "custom": {"name": "patch", "input": ""}}
    assert [call for call in calls[1:] if call["index"] == 0] == [{"index": 0, "custom": {"input": '*** a "b"'}}]
    assert {call["type"] for call in calls if call["index"] == 1 and "type" in call} == {"function"}


@pytest.mark.parametrize("chosen", ["auto", "required", {"type": "web_search"}])
def test_a_tool_that_runs_at_openai_is_left_out(chosen: Any) -> None:
    body = {"model": "m", "messages": HI, "tools": [{"type": "web_search"}], "tool_choice": chosen}
    request = read_chat(checked(body, create_chat_completion, misfit), NOVA)
    assert request.converse == converse(NOVA)
    assert request.warnings[0] == "the tool web_search is left out: it runs only at OpenAI"


def test_of_the_tools_only_those_that_are_allowed_are_told() -> None:
    allowed = {"mode": "required", "tools": [{"type": "custom", "custom": {"name": "patch"}}]}
    chosen = {"type": "allowed_tools", "allowed_tools": allowed}
    config = converse(SONNET_45, tools=[TOOL, PATCH], tool_choice=chosen)["toolConfig"]
    assert [tool["toolSpec"]["name"] for tool in config["tools"]] == ["patch"]
    assert config["toolChoice"] == {"any": {}}


@pytest.mark.parametrize(
    ("call", "param"),
    [
        ({"id": "c", "type": "function"}, "messages[0].tool_calls[0].function"),
        ({"id": "c", "type": "custom"}, "messages[0].tool_calls[0].custom"),
        ({"id": "c", "type": "custom", "custom": {"input": "x"}}, "messages[0].tool_calls[0].custom"),
        ({"id": "c", "type": "custom", "custom": {"name": "x", "input": 5}}, "messages[0].tool_calls[0].custom.input"),
    ],
)  # fmt: skip
def test_a_call_that_names_no_tool_is_refused(call: Any, param: str) -> None:
    assert refusal(messages=[{"role": "assistant", "tool_calls": [call]}, *HI]).param == param


def test_one_call_at_a_time_is_asked_for_in_vain_where_a_model_has_no_such_switch() -> None:
    request = read_chat({"model": "m", "messages": HI, "tools": [TOOL], "parallel_tool_calls": False}, NOVA)
    assert request.converse == converse(NOVA, tools=[TOOL])
    assert "disabling them" in request.warnings[0]
    assert converse(NOVA, parallel_tool_calls=False) == converse(NOVA)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("hi", "messages[0]"),
        ({"role": "function", "content": "x"}, "messages[0].role"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "user", "content": ""}, "messages[0].content"),
        ({"role": "user", "content": 5}, "messages[0].content"),
        ({"role": "user", "content": ["x"]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "video"}]}, "messages[0].content[0].type"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "text", "text": "x", "prompt_cache_breakpoint": {}}]}, "messages[0].content[0].prompt_cache_breakpoint"),
        ({"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "2h"}}]}, "messages[0].content[0].cache_control.ttl"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}, "messages[0].content[0].image_url.url"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/bmp;base64,aGk="}}]}, "messages[0].content[0].image_url.url"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,a!"}}]}, "messages[0].content[0].image_url.url"),
        ({"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}, "messages[0].content[0].file.file_id"),
        ({"role": "user", "content": [{"type": "file", "file": {"file_data": "data:application/zip;base64,aGk="}}]}, "messages[0].content[0].file.file_data"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
        ({"role": "assistant", "function_call": {}}, "messages[0].function_call"),
        ({"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "[1"}}]}, "messages[0].tool_calls[0].function.arguments"),
        ({"role": "system", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]}, "messages[0].content"),
        ({"role": "system", "content": "only"}, "messages"),
    ],
)  # fmt: skip
def test_a_message_at_fault_is_named(message: Any, param: str) -> None:
    assert refusal(messages=[message]).param == param


# ---------------------------------------------------------------------------------------------------------- answers

REQUEST = ChatRequest("alias", {}, stream=True, include_usage=True)


def test_an_answer_is_a_chat_completion() -> None:
    content = [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
        {"text": "a"}, {"citationsContent": {"content": [{"text": "b"}], "citations": []}},
        {"toolUse": {"toolUseId": "c1", "name": "get", "input": {"x": 1}}},
    ]  # fmt: skip
    assert write_chat(REQUEST, answer(content, "tool_use"), MeteredUsage(USAGE), "chatcmpl-1", 5) == {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 5, "model": "alias", "service_tier": "flex",
        "choices": [{"index": 0, "logprobs": None, "finish_reason": "tool_calls", "message": {
            "role": "assistant", "content": "ab", "refusal": None, "reasoning_content": "hm",
            "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}],
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get", "arguments": '{"x": 1}'}}],
        }}],
        "usage": {"prompt_tokens": 22, "completion_tokens": 5, "total_tokens": 27,
                  "prompt_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 5}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("model_context_window_exceeded", "length"),
     ("tool_use", "tool_calls"), ("content_filtered", "content_filter"), ("guardrail_intervened", "content_filter"), ("new", "stop")],
)  # fmt: skip
def test_reasons_to_stop_have_openais_names(reason: str, finish: str) -> None:
    made = write_chat(REQUEST, answer([{"text": "a"}], reason), MeteredUsage(USAGE), "i", 1)
    assert made["choices"][0]["finish_reason"] == finish


def chunks(written: bytes) -> list[Any]:
    events = written.decode().split("\n\n")
    assert events.pop() == ""
    assert events.pop() == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events]


def added_up(stream: list[Any]) -> dict[str, Any]:
    """The message and the finish reason that a client assembles."""
    message: dict[str, Any] = {}
    reason = None
    for chunk in stream:
        for part in chunk["choices"]:
            reason = part["finish_reason"] or reason
            for name, value in part["delta"].items():
                if name == "tool_calls":
                    for call in value:
                        calls = message.setdefault("tool_calls", [])
                        if call["index"] == len(calls):
                            calls.append({"id": call["id"], "type": call["type"], "function": dict(call["function"])})
                        else:
                            calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
                elif name == "thinking_blocks":
                    message[name] = message.get(name, []) + value
                else:
                    message[name] = message.get(name, "") + value
    return {"message": message, "finish_reason": reason}


def comparable(message: dict[str, Any]) -> dict[str, Any]:
    calls = [
        call | {"function": call["function"] | {"arguments": json.loads(call["function"]["arguments"])}}
        for call in message.get("tool_calls", [])
    ]
    rest = {name: value for name, value in message.items() if value and name != "tool_calls"}
    return rest | {"tool_calls": calls}


thoughts = st.builds(
    lambda text, signature: {"reasoningContent": {"reasoningText": {"text": text, "signature": signature}}},
    st.text(min_size=1, max_size=10),
    st.text("xyz=", min_size=1, max_size=5),
) | st.just({"reasoningContent": {"redactedContent": "eA=="}})  # fmt: skip
reasons = st.sampled_from(["end_turn", "tool_use", "max_tokens"])


@given(st.lists(text_blocks | tool_blocks | thoughts, max_size=6), st.integers(1, 7), reasons)
def test_a_stream_adds_up_to_what_the_whole_answer_would_have_been(
    content: list[Any], pieces: int, reason: str
) -> None:
    writer = ChatStream(REQUEST, "i", 1)
    written = b"".join(map(writer.write, streamed(content, pieces, reason))) + writer.end(MeteredUsage(USAGE))
    (whole,) = write_chat(REQUEST, answer(content, reason), MeteredUsage(USAGE), "i", 1)["choices"]
    together = added_up(chunks(written))
    assert comparable(together["message"]) == comparable(whole["message"])
    assert together["finish_reason"] == whole["finish_reason"]


def test_a_stream_says_who_speaks_first_and_what_it_used_last() -> None:
    writer = ChatStream(REQUEST, "chatcmpl-1", 5)
    made = chunks(
        b"".join(map(writer.write, streamed([{"text": "hi"}], 2, "end_turn"))) + writer.end(MeteredUsage(USAGE))
    )
    assert all(chunk["id"] == "chatcmpl-1" and chunk["model"] == "alias" and chunk["created"] == 5 for chunk in made)
    assert made[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [chunk["choices"][0]["delta"].get("content") for chunk in made[1:3]] == ["h", "i"]
    assert made[3]["choices"][0]["finish_reason"] == "stop"
    assert [chunk["usage"] for chunk in made[:4]] == [None] * 4
    assert (made[4]["choices"], made[4]["usage"]["total_tokens"]) == ([], 27)


def test_usage_is_streamed_only_where_it_is_asked_for() -> None:
    writer = ChatStream(ChatRequest("100%s", {}), "i", 1)
    written = b"".join(map(writer.write, streamed([{"text": "hi"}], 1, "end_turn"))) + writer.end(MeteredUsage(USAGE))
    assert b"usage" not in written
    assert {chunk["model"] for chunk in chunks(written)} == {"100%s"}


def test_a_stream_that_breaks_off_ends_with_an_error() -> None:
    error = GatewayError("The model broke off.", code="upstream_failed", status=502)
    event = ChatStream(REQUEST, "i", 1).error(error)
    body = {"message": "The model broke off.", "type": "server_error", "param": None, "code": "upstream_failed"}
    assert json.loads(event.decode().strip().removeprefix("data: ")) == {"error": body}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadRequestError("x", param="n"), "invalid_request_error"),
        (GatewayError("x", status=401), "authentication_error"),
        (GatewayError("x", status=403), "permission_error"),
        (GatewayError("x", status=404), "not_found_error"),
        (GatewayError("x", status=429), "rate_limit_error"),
        (GatewayError("x", status=429, code="budget_exceeded"), "insufficient_quota"),
        (GatewayError("x", status=503), "server_error"),
    ],
)
def test_errors_have_openais_kinds_and_the_gateways_code(error: GatewayError, kind: str) -> None:
    body = problem(error, "r-1")
    assert body["error"]["type"] == kind
    assert body["error"]["param"] == ("n" if error.status == 400 else None)
    assert (body["code"], body["message"], body["request_id"]) == (error.code, "x", "r-1")
    assert body["error"]["code"] == error.code


def test_models_are_listed_with_their_owner() -> None:
    listing = model_list(["anthropic.claude-x", "our-alias"], 5)
    assert listing["object"] == "list"
    assert listing["data"][0] == {"id": "anthropic.claude-x", "object": "model", "created": 5, "owned_by": "anthropic"}
    assert listing["data"][1]["owned_by"] == "gateway"

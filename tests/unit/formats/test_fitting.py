"""Client requests reach every model family in a form that Bedrock accepts, and a warning names each adaptation.

The model stand-in judges by its own reading of the service model and the guide, independent of the gateway's table.
"""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path
from typing import Any

import pytest

import gateway
from gateway.calls.catalog import Catalog
from gateway.calls.families import UNKNOWN, family, rows
from gateway.formats.anthropic.messages import converse_body, native_body, read_messages
from gateway.formats.bedrock import read_converse, read_invoke
from gateway.formats.fitting.claude import fit_messages
from gateway.formats.fitting.converse import fit
from gateway.formats.image_models import IMAGE_MODELS
from gateway.formats.openai.chat import read_chat
from gateway.formats.openai.responses import read_response
from gateway.pricing.model_names import split_profile
from scripts.dev.fake_models.converse import read_converse as answered
from scripts.dev.fake_models.errors import Refusal
from scripts.dev.fake_models.validation.claude import check_claude
from scripts.dev.fake_models.validation.converse import check_converse

SONNET_45 = "anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "amazon.nova-lite-v1:0"
NO_TEXT = ("embed", "rerank", "stability.", "twelvelabs.", "canvas", "reel", "sonic", "titan-image", "model_id")


def text_models() -> list[str]:
    with (Path(gateway.__file__).parent / "pricing" / "price_book.csv").open() as book:
        names = {split_profile(row["model_id"])[1] for row in csv.DictReader(book)}
    return sorted(name for name in names if not any(part in name for part in NO_TEXT))


MODELS = text_models()
CLAUDES = [
    name
    for name in MODELS
    if name.startswith("anthropic.claude-") and not family(name).prefix.endswith(("-v", "-instant"))
]

GET = {
    "type": "function",
    "function": {"name": "get", "parameters": {"properties": {"a": {"type": "integer"}}}, "strict": True},
}
PUT = {"type": "function", "function": {"name": "put", "parameters": {"type": "object", "properties": {}}}}
USED = [
    {"role": "user", "content": "look"},
    {"role": "assistant", "content": "\n\n", "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "get", "arguments": '{"a": 1}'}}]},
    {"role": "tool", "tool_call_id": "c1", "content": " "},
]  # fmt: skip
PDF = {"type": "file", "file": {"filename": "a_b.csv", "file_data": "data:text/csv;base64,YSxi"}}
SCHEMA = {"type": "object", "required": ["n"], "properties": {
    "n": {"type": "integer", "minimum": 1, "maximum": 9},
    "list": {"type": "array", "maxItems": 3, "items": {"type": "object", "properties": {}}},
}}  # fmt: skip
FORM = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
LONG_AGO = [{"role": "assistant", "content": "Hello, what can I do?"}, {"role": "user", "content": "go"}]

LONG = {"type": "function", "function": {"name": "mcp.server/" + "a" * 80, "parameters": {}}}
CHATS: dict[str, dict[str, Any]] = {
    "the plain": {},
    "a long name": {"tools": [LONG, GET], "tool_choice": "required"},
    "a strange id": {"messages": json.loads(json.dumps(USED).replace("c1", "call|é" + "1" * 70)), "tools": [GET]},
    "a system prompt": {"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}]},
    "a blank system prompt": {"messages": [{"role": "system", "content": " \n"}, {"role": "user", "content": "hi"}]},
    "tools": {"tools": [GET, PUT]},
    "tools that must be used": {"tools": [GET, PUT], "tool_choice": "required"},
    "one tool of two": {"tools": [GET, PUT], "tool_choice": {"type": "function", "function": {"name": "put"}}},
    "one call at a time": {"tools": [GET], "parallel_tool_calls": False},
    "tools that were used": {"messages": USED, "tools": [GET]},
    "tools that were used, and none now": {"messages": USED},
    "tools that were used, and none may be": {"messages": USED, "tools": [GET], "tool_choice": "none"},
    "a call without a result": {"messages": [*USED[:2], {"role": "user", "content": "never mind"}], "tools": [GET]},
    "a result without a call": {"messages": [USED[0], USED[2]], "tools": [GET]},
    "a result and words": {"messages": [*USED, {"role": "user", "content": "and now?"}], "tools": [GET]},
    "a document alone": {"messages": [{"role": "user", "content": [PDF]}]},
    "a document after a result": {"messages": [*USED, {"role": "user", "content": [PDF]}], "tools": [GET]},
    "the assistant first": {"messages": LONG_AGO},
    "the assistant last": {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "{"}]},
    "nothing but blanks": {"messages": [{"role": "user", "content": "  "}]},
    "both samplings": {"temperature": 0.2, "top_p": 0.5},
    "stop sequences": {"stop": ["END", " ", "\n\n"]},
    "a blank stop sequence": {"stop": ["\n"]},
    "thinking": {"reasoning_effort": "high", "temperature": 0.2, "top_p": 0.5},
    "thinking and a forced tool": {"reasoning_effort": "low", "tools": [GET], "tool_choice": "required"},
    "a schema": {"response_format": FORM},
    "a schema beside tools": {"response_format": FORM, "tools": [PUT]},
    "a schema while thinking": {"response_format": FORM, "reasoning_effort": "medium"},
    "marks for the cache": {"messages": [{"role": "user", "content": [
        {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]}],
        "tools": [GET | {"cache_control": {"type": "ephemeral"}}]},
}  # fmt: skip


def taken(base: str, body: Any) -> None:
    """As Bedrock takes it: as the stand-in reads it, and by its rules. Raises Refusal."""
    answered(base, body)
    check_converse(base, body)


@pytest.mark.parametrize("asked", CHATS)
def test_every_model_takes_a_chat_completion_with(asked: str) -> None:
    for base in MODELS:
        request = read_chat({"model": "m", "messages": [{"role": "user", "content": "hi"}], **CHATS[asked]}, base)
        try:
            taken(base, request.converse)
        except Refusal as refusal:
            raise AssertionError(f"{base} refuses {asked}: {refusal}: {json.dumps(request.converse)}") from refusal


CALLED = [
    {"role": "user", "content": "look"},
    {"type": "function_call", "call_id": "c1", "name": "get", "arguments": '{"a": 1}'},
    {"type": "function_call_output", "call_id": "c1", "output": " "},
]
SHELL = {"type": "local_shell"}
RUN = [
    CALLED[0],
    {"type": "local_shell_call", "call_id": "c1", "action": {"type": "exec", "command": ["ls"]}},
    {"type": "local_shell_call_output", "call_id": "c1", "output": "a.txt"},
]
FUNCTION = {"type": "function", "name": "get", "parameters": {"properties": {}}}
RESPONSES: dict[str, dict[str, Any]] = {
    "tools that were used": {"input": CALLED, "tools": [FUNCTION]},
    "tools that were used, and none now": {"input": CALLED},
    "tools that were used, and none may be": {"input": CALLED, "tools": [FUNCTION], "tool_choice": "none"},
    "tools that were used, and hosted ones now": {"input": CALLED, "tools": [{"type": "web_search"}]},
    "a shell that was used, and none now": {"input": RUN},
    "a shell that was used, and none may be": {"input": RUN, "tools": [SHELL], "tool_choice": "none"},
}


@pytest.mark.parametrize("asked", RESPONSES)
def test_every_model_takes_a_response_with(asked: str) -> None:
    for base in MODELS:
        request = read_response({"model": "m", **RESPONSES[asked]}, base)
        try:
            taken(base, request.converse)
        except Refusal as refusal:
            raise AssertionError(f"{base} refuses {asked}: {refusal}: {json.dumps(request.converse)}") from refusal


def test_a_model_that_may_call_nothing_reads_what_was_called_as_text() -> None:
    more = {"tools": [TOOL], "tool_choice": {"type": "none"}}
    bodies = [
        read_response({"model": "m", **RESPONSES["tools that were used, and none may be"]}, NOVA).converse,
        read_response({"model": "m", **RESPONSES["tools that were used, and none now"]}, NOVA).converse,
        converse_body(read_messages(HELLO | {"messages": WORKED}), NOVA).body,
        converse_body(read_messages(HELLO | {"messages": WORKED} | more), NOVA).body,
    ]
    for body in bodies:
        assert "toolConfig" not in body
        told = [block["text"] for turn in body["messages"] for block in turn["content"]]
        assert told[1].startswith("[called the tool get with ")
        assert told[2].startswith("[the tool answered: ")


def test_every_model_takes_a_response_with_tools_and_a_schema() -> None:
    tools = [{"type": "function", "name": "get", "parameters": {"properties": {}}, "strict": True}]
    form = {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}}
    for base in MODELS:
        more = {"tools": tools, "text": form, "temperature": 1.5, "top_p": 0.4}
        taken(base, read_response({"model": "m", "input": "hi", **more}, base).converse)


# ------------------------------------------------------------------------------------------------ Anthropic's messages

HELLO: dict[str, Any] = {"model": "m", "max_tokens": 4000, "messages": [{"role": "user", "content": "hello"}]}
TOOL = {"name": "get", "input_schema": {"properties": {}}}
CODE = {
    "system": [{"type": "text", "text": "You are Claude Code.", "cache_control": {"type": "ephemeral", "scope": "global"}}],
    "metadata": {"user_id": "user_1"}, "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"},
    "tools": [TOOL | {"defer_loading": True, "input_examples": [{}], "eager_input_streaming": True, "strict": True}],
}  # fmt: skip
CODE_BETAS = (
    "claude-code-20250219,oauth-2025-04-20,interleaved-thinking-2025-05-14,prompt-caching-scope-2026-01-05,"
    "fast-mode-2026-02-01,context-management-2025-06-27,advanced-tool-use-2025-11-20,effort-2025-11-24"
)
TURNS = [
    {"role": "user", "content": "look"},
    {"role": "system", "content": [{"type": "text", "text": "the file is long"}]},
    {"role": "assistant", "content": [{"type": "text", "text": "\n\n"}, {"type": "tool_use", "id": "t", "name": "get", "input": {}}]},
    {"role": "system", "content": "be quick"},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": " "}]}]},
    {"role": "system", "content": "be brief"},
]  # fmt: skip
WORKED = [
    {"role": "user", "content": "look"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "get", "input": {"a": 1}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "one"}]},
]
MESSAGES: dict[str, dict[str, Any]] = {
    "tools that were used": {"messages": WORKED, "tools": [TOOL]},
    "tools that were used, and none now": {"messages": WORKED},
    "tools that were used, and none may be": {"messages": WORKED, "tools": [TOOL], "tool_choice": {"type": "none"}},
    "tools that were used, and hosted ones now": {"messages": WORKED, "tools": [{"type": "web_search_20250305", "name": "w"}]},
    "the plain": {},
    "what Claude Code sends": CODE,
    "a thinking budget": {"thinking": {"type": "enabled", "budget_tokens": 2000}, "temperature": 0.3, "top_k": 4},
    "no thinking": {"thinking": {"type": "disabled"}},
    "both samplings": {"temperature": 0.3, "top_p": 0.4, "top_k": 4},
    "a forced tool": {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "get"}, "thinking": {"type": "enabled", "budget_tokens": 1500}},
    "turns of the system": {"messages": TURNS, "tools": [TOOL]},
    "a system turn first": {"messages": [{"role": "system", "content": "be kind"}, *HELLO["messages"]]},
    "the assistant first": {"messages": [{"role": "assistant", "content": "Hello"}, *HELLO["messages"]]},
    "the assistant last": {"messages": [*HELLO["messages"], {"role": "assistant", "content": "{ "}]},
    "blank text": {"messages": [{"role": "user", "content": [{"type": "text", "text": " "}, {"type": "text", "text": "x"}]}], "system": "\n"},
    "nothing but blanks": {"messages": [{"role": "user", "content": "  "}]},
    "blank stop sequences": {"stop_sequences": ["\n", "END"]},
    "a schema": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    "a schema as it was": {"output_format": {"type": "json_schema", "schema": SCHEMA}},
    "a search for tools": {"tools": [{"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}, TOOL | {"defer_loading": True}]},
}  # fmt: skip


@pytest.mark.parametrize("asked", MESSAGES)
def test_every_claude_takes_a_message_with(asked: str) -> None:
    body = HELLO | MESSAGES[asked]
    for base in CLAUDES:
        made = native_body(read_messages(body, CODE_BETAS), base)
        try:
            check_claude(base, made.body)
        except Refusal as refusal:
            raise AssertionError(f"{base} refuses {asked}: {refusal}: {json.dumps(made.body)}") from refusal


@pytest.mark.parametrize("asked", MESSAGES)
def test_every_other_model_takes_a_message_with(asked: str) -> None:
    body = HELLO | MESSAGES[asked]
    for base in MODELS:
        if not base.startswith("anthropic."):
            made = converse_body(read_messages(body, CODE_BETAS), base)
            try:
                taken(base, made.body)
            except Refusal as refusal:
                raise AssertionError(f"{base} refuses {asked}: {refusal}: {json.dumps(made.body)}") from refusal


def test_what_claude_code_sends_is_named_where_it_is_left_out() -> None:
    made = native_body(read_messages(HELLO | CODE, CODE_BETAS), "anthropic.claude-opus-4-7")
    told = "; ".join(made.warnings)
    for name in ("oauth-2025-04-20", "prompt-caching-scope", "fast-mode", "cache_control.scope", "defer_loading",
                 "input_examples", "eager_input_streaming", "metadata"):  # fmt: skip
        assert name in told
    assert "interleaved-thinking-2025-05-14" in made.body["anthropic_beta"]
    assert "Examples of input" in made.body["tools"][0]["description"]


def test_a_turn_of_the_system_stays_where_the_model_has_such_turns() -> None:
    turns = [TURNS[0], TURNS[1], {"role": "assistant", "content": "yes"}, {"role": "user", "content": "go"}]
    for base in ("anthropic.claude-opus-4-8", "anthropic.claude-opus-5"):
        assert native_body(read_messages(HELLO | {"messages": turns}), base).body["messages"] == turns
    told = native_body(read_messages(HELLO | {"messages": turns}), SONNET_45)
    assert [turn["role"] for turn in told.body["messages"]] == ["user", "user", "assistant", "user"]
    assert "<system-reminder>" in told.body["messages"][1]["content"][0]["text"]
    assert told.warnings


def test_a_result_comes_before_what_the_system_said_after_the_call() -> None:
    made = native_body(read_messages(HELLO | {"messages": TURNS, "tools": [TOOL]}), SONNET_45)
    last = made.body["messages"][-2]["content"]
    assert [block["type"] for block in last] == ["tool_result", "text"]


# ------------------------------------------------------------------------------------------------- clients' own bodies


def test_what_a_client_sends_to_converse_itself_goes_on_as_it_came_where_it_is_taken() -> None:
    body = {
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
        "inferenceConfig": {"temperature": 0.5, "maxTokens": 9, "stopSequences": ["END"]}, "system": [{"text": "s"}],
        "toolConfig": {"tools": [{"toolSpec": {"name": "get", "inputSchema": {"json": {"type": "object"}}}}]},
        "additionalModelRequestFields": {"x": 1}, "unheardOf": [1],
    }  # fmt: skip
    before = copy.deepcopy(body)
    call = read_converse(Catalog({}).find(NOVA), body, streaming=False)
    assert (call.body, call.warnings) == (before, ())
    assert body == before


@pytest.mark.parametrize("body", [{}, {"messages": "x"}, {"messages": [3]}, {"messages": [{"role": "user", "content": "x"}]},
                                  {"messages": [], "system": [4]}, {"messages": [], "toolConfig": {"tools": [3]}},
                                  {"messages": [], "inferenceConfig": 3}, {"messages": [{"role": "user", "content": [{"toolUse": 3}]}]}])  # fmt: skip
def test_a_body_of_no_known_shape_is_the_services_to_refuse(body: Any) -> None:
    assert read_converse(Catalog({}).find(NOVA), body, streaming=True).body == body
    assert fit_messages(body | {"max_tokens": "x"}, family(SONNET_45)) is not None


def test_what_a_client_sends_to_converse_itself_is_adapted_where_it_is_refused() -> None:
    messages = [{"role": "user", "content": [{"text": " "}, {"text": "hi"}]}]
    body = {"messages": messages, "inferenceConfig": {"temperature": 0.5, "topP": 0.5, "maxTokens": 5}}
    call = read_converse(Catalog({}).find(SONNET_45), body, streaming=False)
    taken(SONNET_45, call.body)
    assert call.body["inferenceConfig"] == {"temperature": 0.5, "maxTokens": 5}
    assert len(call.warnings) == 2


def test_a_beta_flag_among_the_additional_fields_is_taken_where_it_is_known() -> None:
    flags = ["context-1m-2025-08-07", "oauth-2025-04-20"]
    body = {"messages": [{"role": "user", "content": [{"text": "hi"}]}],
            "additionalModelRequestFields": {"anthropic_beta": flags, "top_k": 5}}  # fmt: skip
    call = read_converse(Catalog({}).find(SONNET_45), body, streaming=False)
    assert call.body["additionalModelRequestFields"] == {"anthropic_beta": flags[:1], "top_k": 5}
    assert "oauth-2025-04-20" in call.warnings[0]
    taken(SONNET_45, call.body)


def test_effort_is_left_out_where_a_model_takes_none() -> None:
    made = converse_body(read_messages(HELLO | {"output_config": {"effort": "low"}}), NOVA)
    assert "outputConfig" not in made.body
    assert "effort was left out" in made.warnings[0]


def test_a_body_of_claudes_own_is_adapted_as_well() -> None:
    body = {"anthropic_version": "bedrock-2023-05-31", "anthropic_beta": ["oauth-2025-04-20"], "max_tokens": 9,
            "messages": HELLO["messages"], "temperature": 0.5}  # fmt: skip
    call = read_invoke(Catalog({}).find("anthropic.claude-opus-4-7"), body, {}, streaming=False)
    check_claude("anthropic.claude-opus-4-7", call.body)
    assert len(call.warnings) == 2
    assert "temperature" in body


def test_nothing_a_client_sent_is_changed_in_place() -> None:
    for asked in CHATS.values():
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **asked}
        before = copy.deepcopy(body)
        for base in (SONNET_45, NOVA, "meta.llama3-1-8b-instruct-v1:0", "mistral.mistral-7b-instruct-v0:2"):
            read_chat(body, base)
        assert body == before
    for asked in MESSAGES.values():
        body = HELLO | asked
        before = copy.deepcopy(body)
        native_body(read_messages(body, CODE_BETAS), SONNET_45)
        converse_body(read_messages(body, CODE_BETAS), NOVA)
        assert body == before


# --------------------------------------------------------------------------------------------------------------- table


def test_every_text_model_of_the_price_book_has_a_row_with_its_source() -> None:
    assert [base for base in MODELS if family(base) is UNKNOWN and not IMAGE_MODELS.match(base)] == []
    assert [row.prefix for row in rows() if not row.sources] == []
    assert len({row.prefix for row in rows()}) == len(rows())


def test_a_model_without_a_row_is_sent_what_the_client_sent() -> None:
    body = {"messages": [{"role": "user", "content": [{"text": "hi"}]}],
            "inferenceConfig": {"temperature": 1, "topP": 1, "stopSequences": ["x"]}}  # fmt: skip
    assert fit(body, family("somebody.new-model-v1:0")).body == body


@pytest.mark.parametrize(
    ("base", "temperature", "top_p"),
    [
        (SONNET_45, True, False), ("anthropic.claude-opus-4-6-v1", True, False), ("anthropic.claude-opus-4-7", False, False),
        ("anthropic.claude-opus-5", False, False), ("anthropic.claude-3-haiku-20240307-v1:0", True, True), (NOVA, True, True),
        ("openai.gpt-5.6-sol", False, False), ("xai.grok-4.7", False, False), ("openai.gpt-oss-20b-1:0", True, True),
    ],
)  # fmt: skip
def test_sampling_is_what_the_family_takes(base: str, temperature: bool, top_p: bool) -> None:
    request = read_chat(
        {"model": "m", "messages": [{"role": "user", "content": "x"}], "temperature": 0, "top_p": 0.9}, base
    )
    kept = request.converse.get("inferenceConfig", {})
    assert ("temperature" in kept, "topP" in kept) == (temperature, top_p)
    assert len(request.warnings) == (not temperature) + (not top_p)

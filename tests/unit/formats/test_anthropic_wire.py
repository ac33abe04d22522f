"""Anthropic's Messages API: its own models get the unchanged body, all others a Converse request, or a refusal."""

from __future__ import annotations

import base64
import json
from typing import Any

import botocore.session
import pytest
from botocore.validate import validate_parameters
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.calls.eventstream import Frame
from gateway.calls.streaming import MeteredUsage, StreamWriter
from gateway.core.errors import BadRequestError, ForbiddenError, GatewayError, NotFoundError
from gateway.formats import refusals
from gateway.formats.anthropic.messages import (
    MessagesRequest,
    converse_body,
    misfit,
    native_body,
    problem,
    read_count,
    read_messages,
    write_count,
    write_message,
)
from gateway.formats.anthropic.streams import NativeStream, TranslatedStream
from gateway.usage.records import TokenUsage
from gateway.web.generated.bodies import count_message_tokens, create_message
from tests.checked import checked

HELLO: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
METERED = MeteredUsage(TokenUsage(7, 9, 100, 20, 30))


def said(*content: Any, role: str = "user", **fields: Any) -> dict[str, Any]:
    return {**HELLO, "messages": [{"role": role, "content": list(content)}], **fields}


NOVA = "amazon.nova-2-lite-v1:0"
CLAUDE = "anthropic.claude-haiku-4-5-20251001-v1:0"


def translated(body: dict[str, Any], base: str = "") -> dict[str, Any]:
    """The request to a model without a row in the table: everything that Converse can express."""
    return converse_body(read_messages(body), base).body


def content(*blocks: Any) -> Any:
    """The Converse request for blocks of a user's turn."""
    (turn,) = translated(said(*blocks))["messages"]
    return turn["content"]


# ---------------------------------------------------------------------------------------------------------- requests


def test_anthropics_own_models_get_the_body_as_it_came() -> None:
    fields = {
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "thinking": {"type": "enabled", "budget_tokens": 1024}, "top_k": 3, "metadata": {"user_id": "u"},
        "tools": [{"type": "bash_20250124", "name": "bash"}], "stop_sequences": ["x"], "temperature": 1,
        "output_config": {"effort": "low"}, "context_management": {"edits": []},
    }  # fmt: skip
    request = read_messages({**HELLO, "stream": True, **fields}, " a-1, b-2,token-counting-2024-11-01,")
    assert (request.model, request.stream, request.service_tier) == ("m", True, "")
    assert request.native == {
        "anthropic_version": "bedrock-2023-05-31", "anthropic_beta": ["a-1", "b-2"], "max_tokens": 9,
        "messages": HELLO["messages"], **fields,
    }  # fmt: skip


def test_a_request_without_a_beta_names_none_and_null_says_nothing() -> None:
    request = read_messages({**HELLO, "stream": None, "container": None, "system": None})
    assert request.stream is False
    assert request.native.keys() == {"anthropic_version", "max_tokens", "messages"}


@pytest.mark.parametrize("field", refusals.MESSAGES)
def test_a_field_whose_absence_would_be_felt_is_refused_by_name(field: str) -> None:
    for read in (read_messages, read_count):
        with pytest.raises(BadRequestError, match=f"^{field}: ") as refused:
            read({**HELLO, field: "x"})
        assert refused.value.code == "unsupported_field"


@pytest.mark.parametrize("field", ["container", "mcp_servers", "user_profile_id", "workspace_id", "compaction", "sped"])
def test_a_field_that_bedrock_has_not_is_left_out_and_named(field: str) -> None:
    plain = read_messages(HELLO)
    request = read_messages(checked({**HELLO, field: ["x"]}, create_message, misfit))
    for body_of, base in ((native_body, CLAUDE), (converse_body, NOVA)):
        made = body_of(request, base)
        assert made.body == body_of(plain, base).body
        (warning,) = made.warnings
        assert warning.startswith(f"{field} was left out: ")
    count = read_count({**HELLO, field: ["x"]})
    assert (count.body, count.warnings) == (read_count(HELLO).body, request.warnings)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": None}, "model"), ({"model": ""}, "model"), ({"model": 3}, "model"), ({"messages": None}, "messages"),
        ({"messages": []}, "messages"), ({"messages": {}}, "messages"), ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"), ({"max_tokens": True}, "max_tokens"), ({"max_tokens": -1}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"), ({"stream": "yes"}, "stream"), ({"system": 3}, "system"),
        ({"stop_sequences": [3]}, "stop_sequences.0"), ({"metadata": {"user_id": 3}}, "metadata.user_id"),
        ({"service_tier": "gold"}, "service_tier"), ({"tools": ["x"]}, "tools.0"), ({"top_k": 0.5}, "top_k"),
    ],
)  # fmt: skip
def test_a_field_that_is_missing_or_of_a_wrong_type_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(BadRequestError, match=f"^{named}: "):
        read_messages(checked(HELLO | change, create_message, misfit))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"output_config": "x"}, "output_config"), ({"output_format": []}, "output_format"),
        ({"context_management": 3}, "context_management"), ({"cache_control": "x"}, "cache_control"),
        ({"speed": 3}, "speed"), ({"diagnostics": []}, "diagnostics"), ({"fallbacks": {}}, "fallbacks"),
        ({"max_tokens": "9"}, "max_tokens"), ({"temperature": "hot"}, "temperature"), ({"top_p": []}, "top_p"),
        ({"top_k": 0.5}, "top_k"), ({"stop_sequences": [3]}, "stop_sequences.0"), ({"metadata": "x"}, "metadata"),
        ({"system": 3}, "system"),
    ],
)  # fmt: skip
def test_a_count_names_the_same_fields(change: dict[str, Any], named: str) -> None:
    with pytest.raises(BadRequestError, match=f"^{named}: "):
        read_count(checked(HELLO | change, count_message_tokens, misfit))
    with pytest.raises(BadRequestError, match=f"^{named}: "):
        read_messages(checked(HELLO | change, create_message, misfit))


@pytest.mark.parametrize("body", [None, [], "x", 3])
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    for check in (create_message, count_message_tokens):
        with pytest.raises(BadRequestError):
            checked(body, check, misfit)


@pytest.mark.parametrize("kind", ["url", "file"])
@pytest.mark.parametrize("block", ["image", "document"])
def test_a_source_that_somebody_would_have_to_fetch_is_refused_for_every_model(kind: str, block: str) -> None:
    seen = {"type": block, "source": {"type": kind, "url": "https://x", "file_id": "x"}}
    for content, where in (
        ([seen], "0.source"),
        (
            [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "a"}, seen]}],
            "0.content.1.source",
        ),
    ):
        with pytest.raises(
            BadRequestError, match=rf"messages\.0\.content\.{where}\.type: .*Send the content itself as base64"
        ):
            read_messages(said(*content))
    read_messages(said({"type": block, "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}))


@pytest.mark.parametrize(
    "kind", ["web_search_20260318", "web_fetch_20250910", "code_execution_20250825", "mcp_toolset"]
)
@pytest.mark.parametrize("chosen", [None, {"type": "auto"}, {"type": "any"}, {"type": "tool", "name": "x"}])
def test_a_tool_that_anthropics_service_runs_is_left_out_since_nobody_would_meter_it(kind: str, chosen: Any) -> None:
    own = {"name": "get", "input_schema": {"type": "object"}}
    more = {"tool_choice": chosen} if chosen else {}
    alone = read_messages({**HELLO, "tools": [{"type": kind, "name": "x"}], **more})
    beside = read_messages({**HELLO, "tools": [own, {"type": kind, "name": "x"}], **more})
    for body_of, base in ((native_body, CLAUDE), (converse_body, NOVA)):
        made = body_of(alone, base)
        assert made.body == body_of(read_messages(HELLO), base).body
        assert made.warnings[0].startswith(f"the tool {kind} was left out: ")
        body = json.dumps(body_of(beside, base).body)
        assert ('"get"' in body, '"x"' in body) == (True, False)
    assert read_count({**HELLO, "tools": [own, {"type": kind, "name": "x"}]}).body["tools"] == [own]


@pytest.mark.parametrize(
    ("asked", "tier"),
    [("auto", ""), ("standard_only", ""), ("default", ""), ("flex", "flex"), ("priority", "priority")],
)
def test_a_service_tier_is_bedrocks(asked: str, tier: str) -> None:
    request = read_messages({**HELLO, "service_tier": asked})
    assert request.service_tier == tier
    assert "service_tier" not in request.native
    assert converse_body(request).body.get("serviceTier") == ({"type": tier} if tier else None)


# ----------------------------------------------------------------------------------------------------- to Converse


def test_a_request_is_told_in_converses_words() -> None:
    body = translated({
        **HELLO, "system": "s", "temperature": 0.5, "top_p": 0.9, "stop_sequences": ["x"], "metadata": {"user_id": "u-1"},
        "thinking": {"type": "disabled"},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    })  # fmt: skip
    assert body == {
        "messages": [{"role": "user", "content": [{"text": "hello"}]}],
        "system": [{"text": "s"}],
        "inferenceConfig": {"maxTokens": 9, "temperature": 0.5, "topP": 0.9, "stopSequences": ["x"]},
        "outputConfig": {
            "effort": "low",
            "textFormat": {
                "type": "json_schema",
                "structure": {"jsonSchema": {"schema": '{"type":"object","additionalProperties":false}'}},
            },
        },
    }


@pytest.mark.parametrize(
    ("base", "fields"),
    [
        (NOVA, {"inferenceConfig": {"topK": 5}}), ("cohere.command-r-v1:0", {"k": 5}),
        ("mistral.mistral-large-2402-v1:0", {"top_k": 5}), ("meta.llama3-1-8b-instruct-v1:0", None),
    ],
)  # fmt: skip
def test_each_provider_has_its_own_name_for_top_k(base: str, fields: Any) -> None:
    assert translated({**HELLO, "top_k": 5}, base).get("additionalModelRequestFields") == fields


def test_turns_of_one_role_become_one() -> None:
    messages = [
        {"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "c"}, {"role": "user", "content": "d"},
    ]  # fmt: skip
    turns = translated({**HELLO, "messages": messages})["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[0]["content"] == [{"text": "a"}, {"text": "b"}]


def test_blocks_of_content_become_converses() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "/9j/"}}
    pdf = {"type": "document", "title": "Q3: é_report", "context": "c", "citations": {"enabled": False},
           "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}  # fmt: skip
    text = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "é"}}
    assert content(image, pdf, text, text) == [
        {"image": {"format": "jpeg", "source": {"bytes": "/9j/"}}},
        {"document": {"format": "pdf", "name": "Q3 report", "context": "c", "source": {"bytes": "JVBE"}}},
        {
            "document": {
                "format": "txt",
                "name": "document",
                "source": {"bytes": base64.b64encode("é".encode()).decode()},
            }
        },
        {"document": {"format": "txt", "name": "document 2", "source": {"bytes": "w6k="}}},
        {"text": "The document is attached."},
    ]


def test_tools_and_their_results_become_converses() -> None:
    tool = {"name": "get", "description": "d", "input_schema": {"type": "object"}, "strict": True}
    body = translated({
        **HELLO,
        "tools": [tool, {"type": "custom", "name": "put", "input_schema": {}, "cache_control": {"type": "ephemeral"}}],
        "tool_choice": {"type": "tool", "name": "get"},
        "messages": [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sig"}, {"type": "thinking", "thinking": "hm", "signature": ""},
                {"type": "redacted_thinking", "data": "c2Vj"}, {"type": "text", "text": "I look", "citations": None},
                {"type": "tool_use", "id": "t1", "name": "get", "input": {"a": 1}},
                {"type": "tool_use", "id": "t2", "name": "put", "input": {}},
                {"type": "tool_use", "id": "t3", "name": "put", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": [
                    {"type": "text", "text": "no", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
                {"type": "tool_result", "tool_use_id": "t2"},
                {"type": "tool_result", "tool_use_id": "t3", "content": "3"},
            ]},
        ],
    })  # fmt: skip
    assert body["toolConfig"] == {
        "tools": [
            {
                "toolSpec": {
                    "name": "get",
                    "description": "d",
                    "inputSchema": {"json": {"type": "object", "additionalProperties": False}},
                    "strict": True,
                }
            },
            {"toolSpec": {"name": "put", "inputSchema": {"json": {"type": "object", "properties": {}}}}},
            {"cachePoint": {"type": "default"}},
        ],
        "toolChoice": {"tool": {"name": "get"}},
    }
    assert body["messages"][1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}},
        {"reasoningContent": {"reasoningText": {"text": "hm"}}},
        {"reasoningContent": {"redactedContent": "c2Vj"}},
        {"text": "I look"},
        {"toolUse": {"toolUseId": "t1", "name": "get", "input": {"a": 1}}},
        {"toolUse": {"toolUseId": "t2", "name": "put", "input": {}}},
        {"toolUse": {"toolUseId": "t3", "name": "put", "input": {}}},
    ]
    assert body["messages"][2]["content"] == [
        {"toolResult": {"toolUseId": "t1", "content": [{"text": "no"}], "status": "error"}},
        {"cachePoint": {"type": "default", "ttl": "1h"}},
        {"toolResult": {"toolUseId": "t2", "content": []}},
        {"toolResult": {"toolUseId": "t3", "content": [{"text": "3"}]}},
    ]


def decoded(value: Any) -> Any:
    """JSON as on the wire, with blobs in the SDK's form."""
    if isinstance(value, dict):
        blobs = {"bytes", "redactedContent"}
        return {name: base64.b64decode(part) if name in blobs else decoded(part) for name, part in value.items()}
    return [decoded(part) for part in value] if isinstance(value, list) else value


def test_a_translated_request_has_the_service_models_shape() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0K"}
    control = {"type": "ephemeral", "ttl": "1h"}
    body = {
        **HELLO, "system": [{"type": "text", "text": "s", "cache_control": control}], "service_tier": "flex", "top_k": 3,
        "tools": [{"name": "get", "input_schema": {"type": "object"}, "strict": True, "cache_control": control}],
        "tool_choice": {"type": "any"}, "metadata": {"user_id": "u"}, "temperature": 0.5, "stop_sequences": ["x"],
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "a", "cache_control": control}, {"type": "image", "source": source},
                {"type": "document", "context": "c", "title": "t", "source": {"type": "text", "data": "d"}},
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "t", "signature": "s"}, {"type": "redacted_thinking", "data": "c2Vj"},
                {"type": "tool_use", "id": "t1", "name": "get", "input": {}},
            ]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": [
                {"type": "text", "text": "no"}, {"type": "image", "source": source}]}]},
        ],
    }  # fmt: skip
    model = botocore.session.Session().get_service_model("bedrock-runtime")
    shape = model.operation_model("Converse").input_shape
    validate_parameters({"modelId": "m", **decoded(translated(body))}, shape)
    counted = read_count({name: value for name, value in body.items() if name != "service_tier"}).input(native=False)
    validate_parameters({"modelId": "m", "input": decoded(counted)}, model.operation_model("CountTokens").input_shape)


@pytest.mark.parametrize("choice", ["auto", "any"])
def test_a_choice_of_tools_is_converses(choice: str) -> None:
    tools = [{"name": "get", "input_schema": {}}]
    assert translated({**HELLO, "tools": tools, "tool_choice": {"type": choice}})["toolConfig"]["toolChoice"] == {
        choice: {}
    }
    assert "toolChoice" not in translated({**HELLO, "tools": tools})["toolConfig"]


def test_to_choose_no_tool_is_to_have_none() -> None:
    tools = {"tools": [{"name": "get", "input_schema": {}}], "tool_choice": {"type": "none"}}
    assert "toolConfig" not in translated(HELLO | tools)
    body = translated(said({"type": "tool_result", "tool_use_id": "t", "content": "x"}) | tools)
    assert "toolConfig" not in body
    assert body["messages"][0]["content"] == [{"text": "[the tool answered: x]"}]


def test_marks_for_the_cache_become_cache_points() -> None:
    control = {"type": "ephemeral", "ttl": "1h"}
    point = {"cachePoint": {"type": "default", "ttl": "1h"}}
    text = {"type": "text", "text": "a", "cache_control": control}
    assert content(text) == [{"text": "a"}, point]
    assert translated({**HELLO, "system": [text]})["system"] == [{"text": "a"}, point]
    assert translated({**HELLO, "cache_control": control})["messages"][0]["content"] == [{"text": "hello"}, point]
    assert translated(said(text, cache_control=control))["messages"][0]["content"] == [{"text": "a"}, point]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (HELLO | {"max_tokens": 0}, "max_tokens"),
        (HELLO | {"tools": [{"name": "x"}]}, r"tools\.0\.input_schema"),
        (HELLO | {"tool_choice": {"type": "any"}}, "tool_choice"),
        (HELLO | {"tool_choice": {"type": "some"}}, r"tool_choice\.type"),
        (HELLO | {"system": [{"type": "image"}]}, r"system\.0"),
        (HELLO | {"messages": ["x"]}, r"messages\.0"),
        (HELLO | {"messages": [{"role": "tool", "content": "x"}]}, r"messages\.0\.role"),
        (HELLO | {"messages": [{"role": "user", "content": 3}]}, r"messages\.0\.content"),
        (said("x"), r"messages\.0\.content\.0"),
        (said({"type": "text"}), r"messages\.0\.content\.0\.text"),
        (said({"type": "image", "source": {"type": "text", "data": "x"}}), r"messages\.0\.content\.0\.source\.type"),
        (said({"type": "image", "source": {"type": "base64", "media_type": "image/tiff", "data": "x"}}),
         r"messages\.0\.content\.0\.source\.media_type"),
        (said({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_use", "id": "a", "name": "b", "input": {}}]}),
         r"messages\.0\.content\.0\.content"),
    ],
)  # fmt: skip
def test_what_a_model_of_another_provider_cannot_be_asked_is_refused_by_name(body: dict[str, Any], named: str) -> None:
    request = read_messages(body)  # Anthropic's own models may be asked
    with pytest.raises(BadRequestError, match=f"^{named}"):
        converse_body(request)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (HELLO | {"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking"),
        (HELLO | {"context_management": {"edits": []}}, "context_management"),
        (HELLO | {"speed": "fast"}, "speed"), (HELLO | {"fallbacks": []}, "fallbacks"), (HELLO | {"diagnostics": {}}, "diagnostics"),
        (HELLO | {"output_config": {"effort": "low", "task_budget": {}}}, "output_config.task_budget"),
        (HELLO | {"tools": [{"type": "bash_20250124", "name": "bash"}]}, "bash_20250124"),
        (HELLO | {"tools": [{"name": "x", "input_schema": {}, "defer_loading": True}]}, "defer_loading"),
        (HELLO | {"tools": [{"name": "x", "input_schema": {}}], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, "parallel"),
        (HELLO | {"messages": [{"role": "system", "content": "x"}, *HELLO["messages"]]}, "system message"),
        (said({"type": "server_tool_use", "name": "web_search"}), "server_tool_use"),
        (said({"type": "document", "source": {"type": "text", "data": "x"}, "citations": {"enabled": True}}), "citations"),
        (said({"type": "text", "text": "x"}, {"type": "text", "text": " \n"}), "blank text"),
    ],
)  # fmt: skip
def test_what_a_model_of_another_provider_knows_not_is_left_out_and_named(body: dict[str, Any], named: str) -> None:
    fitted = converse_body(read_messages(body), NOVA)
    assert named in "; ".join(fitted.warnings)
    model = botocore.session.Session().get_service_model("bedrock-runtime")
    validate_parameters({"modelId": "m", **decoded(fitted.body)}, model.operation_model("Converse").input_shape)


# ---------------------------------------------------------------------------------------------------------- counting


def test_tokens_are_counted_of_what_would_be_sent() -> None:
    body = {name: value for name, value in HELLO.items() if name != "max_tokens"} | {"system": "s", "top_k": 5}
    request = read_count(body, "token-counting-2024-11-01,a-1")
    assert request.model == "m"
    sent = json.loads(base64.b64decode(request.input(native=True)["invokeModel"]["body"]))
    assert sent == {
        "max_tokens": 1, "anthropic_version": "bedrock-2023-05-31", "anthropic_beta": ["a-1"], "system": "s", "top_k": 5,
        "messages": HELLO["messages"],
    }  # fmt: skip
    assert request.input(native=False, base="mistral.mistral-large-2402-v1:0") == {
        "converse": {
            "messages": [{"role": "user", "content": [{"text": "hello"}]}],
            "system": [{"text": "s"}],
            "additionalModelRequestFields": {"top_k": 5},
        }
    }
    assert write_count({"inputTokens": 12}) == {"input_tokens": 12}


def test_a_count_leaves_room_for_what_is_thought() -> None:
    request = read_count({**HELLO, "max_tokens": None, "thinking": {"type": "enabled", "budget_tokens": 2048}})
    assert request.body["max_tokens"] == 2049


@pytest.mark.parametrize("field", [{"stream": True}, {"service_tier": "auto"}])
def test_a_count_refuses_what_makes_no_sense_by_name(field: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError, match=f"^{next(iter(field))}: "):
        read_count(HELLO | field)


# ---------------------------------------------------------------------------------------------------------- messages


def answer(*blocks: Any, reason: str = "end_turn") -> dict[str, Any]:
    return {"output": {"message": {"role": "assistant", "content": list(blocks)}}, "stopReason": reason}


def test_converses_answer_becomes_a_message() -> None:
    blocks = [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}},
        {"reasoningContent": {"redactedContent": "c2Vj"}},
        {"text": "hello"},
        {"toolUse": {"toolUseId": "t", "name": "get", "input": {"a": 1}}},
    ]
    assert write_message(read_messages(HELLO), answer(*blocks, reason="tool_use"), METERED, "msg_1") == {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "sig"}, {"type": "redacted_thinking", "data": "c2Vj"},
            {"type": "text", "text": "hello"}, {"type": "tool_use", "id": "t", "name": "get", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use", "stop_sequence": None,
        "usage": {
            "input_tokens": 7, "output_tokens": 9, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 50,
            "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30},
            "service_tier": "standard",
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("converse", "anthropic"),
    [
        ("end_turn", "end_turn"), ("max_tokens", "max_tokens"), ("tool_use", "tool_use"),
        ("guardrail_intervened", "refusal"), ("content_filtered", "refusal"),
        ("model_context_window_exceeded", "model_context_window_exceeded"), ("malformed_tool_use", "end_turn"),
        ("unheard_of", "end_turn"),
    ],
)  # fmt: skip
def test_the_reason_to_stop_is_anthropics(converse: str, anthropic: str) -> None:
    request = read_messages(HELLO)
    assert write_message(request, answer(reason=converse), METERED, "i")["stop_reason"] == anthropic
    assert finished(request, [frame("messageStop", stopReason=converse)])["stop_reason"] == anthropic


@pytest.mark.parametrize(("sequences", "which"), [(["x"], "x"), (["x", "y"], None)])
def test_the_sequence_that_stopped_is_told_where_it_is_known(sequences: list[str], which: str | None) -> None:
    request = read_messages({**HELLO, "stop_sequences": sequences})
    message = write_message(request, answer(reason="stop_sequence"), METERED, "i")
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", which)
    assert finished(request, [frame("messageStop", stopReason="stop_sequence")])["stop_sequence"] == which


@pytest.mark.parametrize("body", [{}, {"output": {}}, {"output": {"message": {"content": [{"toolUse": {"a": 1}}]}}}])
def test_an_answer_that_is_none_is_the_services_fault(body: Any) -> None:
    with pytest.raises(GatewayError) as wrong:
        write_message(read_messages(HELLO), body, METERED, "i")
    assert wrong.value.status == 502


# ------------------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadRequestError("m"), "invalid_request_error"), (GatewayError("m", status=401), "authentication_error"),
        (ForbiddenError("m"), "permission_error"), (NotFoundError("m"), "not_found_error"),
        (GatewayError("m", status=408), "timeout_error"), (GatewayError("m", status=413), "request_too_large"),
        (GatewayError("m", status=422), "invalid_request_error"), (GatewayError("m", status=424), "api_error"),
        (GatewayError("m", status=429), "rate_limit_error"), (GatewayError("m"), "api_error"),
        (GatewayError("m", status=502), "api_error"), (GatewayError("m", status=503), "overloaded_error"),
        (GatewayError("m", status=504), "timeout_error"), (GatewayError("m", status=529), "overloaded_error"),
    ],
)  # fmt: skip
def test_an_error_is_of_anthropics_type_and_of_this_gateways_code(error: GatewayError, kind: str) -> None:
    body = problem(error, "r-1")
    assert body == {
        "type": "error",
        "error": {"type": kind, "message": "m", "details": {"error_code": error.code}},
        "code": error.code,
        "message": "m",
        "request_id": "r-1",
    }
    for stream in (NativeStream("r-1"), TranslatedStream(read_messages(HELLO), "i", "r-1")):
        assert events(stream.error(error)) == [("error", body)]


# ----------------------------------------------------------------------------------------------------------- streams


def events(stream: bytes) -> list[tuple[str, Any]]:
    """Server-sent events with their names, parsed by the specification."""
    assert stream.endswith(b"\n\n") or not stream
    found = []
    for part in stream.split(b"\n\n")[:-1]:
        name, data = part.split(b"\n")
        assert name.startswith(b"event: ")
        assert data.startswith(b"data: ")
        found.append((name.removeprefix(b"event: ").decode(), json.loads(data.removeprefix(b"data: "))))
    return found


def frame(kind: str, **payload: Any) -> Frame:
    return Frame(kind, json.dumps(payload).encode())


def chunk(event: bytes) -> Frame:
    return frame("chunk", bytes=base64.b64encode(event).decode(), p="abcd")


def run(writer: StreamWriter, frames: list[Frame]) -> list[tuple[str, Any]]:
    found = events(b"".join([*map(writer.write, frames), writer.end(METERED)]))
    assert all(name == event["type"] for name, event in found)
    return found


def accumulated(told: list[tuple[str, Any]]) -> dict[str, Any]:
    """The message that Anthropic's SDKs assemble from events."""
    message: dict[str, Any] = {}
    texts: dict[int, str] = {}
    open_blocks: set[int] = set()
    for name, event in told:
        match name:
            case "message_start":
                assert not message
                message = event["message"]
            case "content_block_start":
                assert event["index"] == len(message["content"])
                open_blocks.add(event["index"])
                message["content"].append(event["content_block"])
            case "content_block_delta":
                assert event["index"] in open_blocks
                block, delta = message["content"][event["index"]], event["delta"]
                match delta["type"]:
                    case "text_delta":
                        block["text"] += delta["text"]
                    case "thinking_delta":
                        block["thinking"] += delta["thinking"]
                    case "signature_delta":
                        block["signature"] = delta["signature"]
                    case "input_json_delta":
                        texts[event["index"]] = texts.get(event["index"], "") + delta["partial_json"]
            case "content_block_stop":
                open_blocks.remove(event["index"])
                if texts.get(event["index"]):
                    message["content"][event["index"]]["input"] = json.loads(texts[event["index"]])
            case "message_delta":
                assert not open_blocks
                message |= event["delta"] | {"usage": message["usage"] | event["usage"]}
            case "message_stop":
                assert message["stop_reason"]
    assert told[-1][0] == "message_stop"
    return message


def finished(request: MessagesRequest, frames: list[Frame]) -> dict[str, Any]:
    return accumulated(run(TranslatedStream(request, "i"), [frame("messageStart", role="assistant"), *frames]))


def test_an_event_of_anthropics_own_goes_through_untouched() -> None:
    sent = [
        b'{"type":"message_start","message":{"usage":{"input_tokens":1}}}',
        '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"é\\n\u2028 \\"type\\":\\"x\\""}}'.encode(),
        b'{"index":0, "type" : "content_block_stop"}',
        b'{"type":"of_tomorrow"}',
        b'{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":1}}',
    ]
    writer = NativeStream()
    for event in sent:
        assert writer.write(chunk(event)) == b"event: %s\ndata: %s\n\n" % (json.loads(event)["type"].encode(), event)
    assert writer.end(METERED) == b""


def test_lines_between_the_tokens_of_an_event_do_not_break_the_stream() -> None:
    assert events(NativeStream().write(chunk(b'{"type":"ping",\r\n "a": "b\\n"\n}'))) == [
        ("ping", {"type": "ping", "a": "b\n"})
    ]


@pytest.mark.parametrize(
    "broken", [chunk(b"no json"), chunk(b"[]"), chunk(b'{"type":3}'), frame("chunk"), Frame("chunk", b"{")]
)
def test_a_chunk_that_is_no_event_is_the_services_fault(broken: Frame) -> None:
    with pytest.raises(GatewayError) as wrong:
        NativeStream().write(broken)
    assert wrong.value.status == 502


@pytest.mark.parametrize(
    "broken",
    [
        frame("contentBlockDelta"), frame("contentBlockDelta", contentBlockIndex=0, delta={"toolUse": {"input": "{"}}),
        Frame("contentBlockDelta", b"{"), frame("contentBlockStart", contentBlockIndex=0, start={"toolUse": {}}),
    ],
)  # fmt: skip
def test_a_frame_that_is_no_event_is_the_services_fault(broken: Frame) -> None:
    with pytest.raises(GatewayError) as wrong:
        TranslatedStream(read_messages(HELLO), "i").write(broken)
    assert wrong.value.status == 502


def test_both_streams_are_as_anthropic_declares_them() -> None:
    for stream in (NativeStream(), TranslatedStream(read_messages(HELLO), "i")):
        assert stream.content_type == "text/event-stream; charset=utf-8"
        assert events(stream.ping) == [("ping", {"type": "ping"})]


def test_a_converse_stream_is_told_in_anthropics_events() -> None:
    told = run(TranslatedStream(read_messages(HELLO), "msg_1"), [
        frame("messageStart", role="assistant"),
        frame("contentBlockDelta", contentBlockIndex=0, delta={"text": "he"}),
        frame("contentBlockDelta", contentBlockIndex=0, delta={"text": "llo"}),
        frame("contentBlockStop", contentBlockIndex=0),
        frame("contentBlockStart", contentBlockIndex=3, start={"toolUse": {"toolUseId": "t", "name": "get"}}),
        frame("contentBlockDelta", contentBlockIndex=3, delta={"toolUse": {"input": '{"a":'}}),
        frame("contentBlockStop", contentBlockIndex=3),
        frame("messageStop", stopReason="tool_use"),
        frame("metadata", usage={"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}, metrics={"latencyMs": 1}),
    ])  # fmt: skip
    assert [name for name, _ in told] == [
        "message_start", "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
        "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip
    assert told[0][1]["message"]["usage"] == {"input_tokens": 0, "output_tokens": 0}
    assert told[1][1] == {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    assert told[2][1] == {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "he"}}
    assert told[5][1]["index"] == 1
    assert told[6][1]["delta"] == {"type": "input_json_delta", "partial_json": '{"a":'}
    assert told[-2][1]["usage"]["output_tokens"] == 9


def test_a_character_that_the_model_cut_in_two_still_arrives_whole() -> None:
    halves = [Frame("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"\\ud83d"}}'),
              Frame("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"\\ude00"}}')]  # fmt: skip
    message = finished(read_messages(HELLO), halves)
    assert message["content"][0]["text"].encode("utf-16", "surrogatepass").decode("utf-16") == "😀"


def pieces(text: str, sizes: list[int]) -> list[str]:
    parts, at = [], 0
    for size in sizes:
        parts.append(text[at : at + size])
        at += size
    return [*parts, text[at:]]


Block = tuple[Any, list[Any], Any]  # a block as Converse answers it, as it announces it, as it says it bit by bit
texts = st.text(max_size=20)
cuts = st.lists(st.integers(0, 6), max_size=4)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    kind = draw(st.sampled_from(["text", "tool", "thinking", "redacted"]))
    text, sizes = draw(texts), draw(cuts)
    if kind == "text":
        return {"text": text}, [{"text": part} for part in pieces(text, sizes)], None
    if kind == "tool":
        use = {"toolUseId": draw(st.uuids()).hex, "name": "get"}
        values = draw(
            st.dictionaries(texts, st.recursive(st.none() | texts | st.integers(), st.lists, max_leaves=3), max_size=3)
        )
        said_input = pieces(json.dumps(values), sizes) if values else []
        return (
            {"toolUse": {**use, "input": values}},
            [{"toolUse": {"input": part}} for part in said_input],
            {"toolUse": use},
        )
    if kind == "thinking":
        signature = draw(st.none() | texts)
        thought = {"text": text} | ({} if signature is None else {"signature": signature})
        deltas = [{"text": part} for part in pieces(text, sizes)] + (
            [] if signature is None else [{"signature": signature}]
        )
        return {"reasoningContent": {"reasoningText": thought}}, [{"reasoningContent": delta} for delta in deltas], None
    return {"reasoningContent": {"redactedContent": "c2Vj"}}, [{"reasoningContent": {"redactedContent": "c2Vj"}}], None


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(blocks(), max_size=6), st.booleans(), st.integers(1, 3))
def test_a_stream_makes_the_message_that_the_whole_answer_makes(told: list[Block], stops: bool, step: int) -> None:
    frames = []
    for number, (_, deltas, start) in enumerate(told):
        index = number * step
        if start:
            frames.append(frame("contentBlockStart", contentBlockIndex=index, start=start))
        frames += [frame("contentBlockDelta", contentBlockIndex=index, delta=delta) for delta in deltas]
        if stops:
            frames.append(frame("contentBlockStop", contentBlockIndex=index))
    request = read_messages(HELLO)
    frames += [frame("messageStop", stopReason="max_tokens"), frame("metadata")]
    whole = write_message(request, answer(*(block for block, _, _ in told), reason="max_tokens"), METERED, "i")
    assert finished(request, frames) == whole


def test_blocks_that_are_told_in_turns_keep_their_own() -> None:
    """Calls of tools in parallel may come interleaved."""
    frames = [
        frame("contentBlockStart", contentBlockIndex=i, start={"toolUse": {"toolUseId": f"t{i}", "name": "g"}})
        for i in (0, 1)
    ]
    frames += [frame("contentBlockDelta", contentBlockIndex=i, delta={"toolUse": {"input": part}})
               for part in ('{"a":', "1}") for i in (0, 1)]  # fmt: skip
    assert [block["input"] for block in finished(read_messages(HELLO), frames)["content"]] == [{"a": 1}, {"a": 1}]


def test_a_block_that_turns_into_another_kind_is_two() -> None:
    deltas = [
        {"reasoningContent": {"text": "hm"}},
        {"text": "hello"},
        {"reasoningContent": {"redactedContent": "c2Vj"}},
    ]
    message = finished(read_messages(HELLO), [frame("contentBlockDelta", contentBlockIndex=0, delta=d) for d in deltas])
    assert message["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "hello"},
        {"type": "redacted_thinking", "data": "c2Vj"},
    ]


def test_blocks_that_were_never_asked_for_are_left_out_of_answer_and_stream() -> None:
    picture = {"format": "png", "source": {"bytes": "iVBO"}}
    request = read_messages(HELLO)
    assert write_message(request, answer({"image": picture}, {"text": "a"}), METERED, "i")["content"] == [
        {"type": "text", "text": "a"}
    ]
    frames = [
        frame("contentBlockStart", contentBlockIndex=0, start={"image": {"format": "png"}}),
        frame("contentBlockDelta", contentBlockIndex=0, delta={"image": {"source": {"bytes": "iVBO"}}}),
        frame("contentBlockStop", contentBlockIndex=0),
        frame("contentBlockDelta", contentBlockIndex=1, delta={"text": "a"}),
    ]
    assert finished(request, frames)["content"] == [{"type": "text", "text": "a"}]


def test_a_thread_is_refused_by_the_code_that_sdks_go_on_without_one() -> None:
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}],
        "thread": {"type": "create"},
    }
    with pytest.raises(BadRequestError) as refused:
        read_messages(body)
    assert problem(refused.value, "r")["error"]["details"] == {"error_code": "thread_unsupported_request"}

"""The model stand-in refuses and accepts the same requests as Bedrock, with the published error messages."""

from __future__ import annotations

import re
from typing import Any

import pytest

from scripts.dev.fake_models.errors import Refusal
from scripts.dev.fake_models.validation.claude import check_claude
from scripts.dev.fake_models.validation.converse import check_converse

NOVA, LLAMA, MISTRAL = "amazon.nova-lite-v1:0", "us.meta.llama3-1-8b-instruct-v1:0", "mistral.mistral-large-2402-v1:0"
SONNET_45, OPUS_47 = "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "global.anthropic.claude-opus-4-7"
HAIKU_3, OPUS_55 = "anthropic.claude-3-haiku-20240307-v1:0", "us.anthropic.claude-opus-5-5"
GPT, GPT_OSS, TITAN = "us.openai.gpt-5.6-sol", "openai.gpt-oss-20b-1:0", "amazon.titan-text-express-v1"

HI = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
GET = {"toolSpec": {"name": "get", "inputSchema": {"json": {"type": "object"}}}}
USE = {"toolUse": {"toolUseId": "t", "name": "get", "input": {}}}
RESULT = {"toolResult": {"toolUseId": "t", "content": [{"text": "x"}]}}
DOCUMENT = {"document": {"name": "a", "format": "txt", "source": {"bytes": "aGk="}}}
POINT = {"cachePoint": {"type": "default"}}


def turns(*contents: Any) -> dict[str, Any]:
    roles = ("user", "assistant") * len(contents)
    return {"messages": [{"role": role, "content": list(said)} for role, said in zip(roles, contents, strict=False)]}


def tools(*specs: Any, **choice: Any) -> dict[str, Any]:
    return {"toolConfig": {"tools": list(specs), **({"toolChoice": choice} if choice else {})}}


def form(schema: str) -> dict[str, Any]:
    return {"outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema}}}}}


CLOSED = '{"type":"object","additionalProperties":false}'

CONVERSE: list[tuple[str, dict[str, Any], str]] = [
    # the service model
    (NOVA, {"unheardOf": 1}, "extraneous key [unheardOf]"),
    (NOVA, {"messages": [{"role": "user"}]}, "required key [content]"),
    (NOVA, {"messages": [{"role": "tool", "content": []}]}, "Value 'tool'"),
    (NOVA, turns([{"text": "x", "image": {}}]), "must set one of the following keys"),
    (NOVA, turns([{"image": {"format": "tiff", "source": {"bytes": "aGk="}}}]), "Value 'tiff'"),
    (NOVA, turns([{"image": {"format": "png", "source": {"bytes": "?"}}}]), "base64"),
    (NOVA, {"inferenceConfig": {"temperature": 1.5}}, "from 0 to 1"),
    (NOVA, {"inferenceConfig": {"maxTokens": 0}}, "from 1 to"),
    (NOVA, {"inferenceConfig": {"maxTokens": "9"}}, "whole number"),
    (NOVA, {"inferenceConfig": {"stopSequences": [""]}}, "from 1 to"),
    (NOVA, tools(), "from 1 to"),
    (NOVA, tools({"toolSpec": {"name": "a.b", "inputSchema": {"json": {}}}}), "regular expression"),
    (NOVA, {"requestMetadata": {"a": "é"}}, "regular expression"),
    (NOVA, {"serviceTier": {"type": "gold"}}, "Value 'gold'"),
    # what stands in a turn, and beside what
    (NOVA, turns([DOCUMENT]), "Add a text block"),
    (NOVA, turns([{"text": "x"}, {"document": DOCUMENT["document"] | {"name": "a_b"}}]), "alphanumeric"),
    (SONNET_45, turns([{"text": "x"}], [USE], [RESULT, DOCUMENT, {"text": "y"}]) | tools(GET), "mixed with documents"),
    (LLAMA, turns([{"text": "x"}], [USE], [RESULT, {"text": "y"}]) | tools(GET), "mixed with other content"),
    (LLAMA, turns([{"image": {"format": "png", "source": {"bytes": "aGk="}}}]), "doesn't support images"),
    (TITAN, {"system": [{"text": "s"}]}, "doesn't support system messages"),
    (OPUS_47, turns([{"text": "x"}], [{"text": "{"}]), "must end with a user message"),
    ("writer.palmyra-x5-v1:0", turns([{"text": "x"}], [USE], [{"toolResult": RESULT["toolResult"] | {"status": "error"}}]) | tools(GET), "status"),
    # calls and results
    (NOVA, turns([{"text": "x"}], [USE], [{"text": "y"}]) | tools(GET), "Expected toolResult blocks"),
    (NOVA, turns([RESULT]) | tools(GET), "exceeds the number of toolUse blocks"),
    # tools
    (TITAN, tools(GET), "doesn't support tool use"),
    (NOVA, tools(GET, GET), "not unique"),
    (NOVA, tools({"toolSpec": {"name": "a", "inputSchema": {"json": {"properties": {}}}}}), "must be one of the following: object"),
    (NOVA, tools({"toolSpec": GET["toolSpec"] | {"strict": True}}), "strict"),
    (NOVA, tools(GET, tool={"name": "put"}), "is not in toolConfig.tools"),
    (LLAMA, tools(GET, any={}), "toolConfig.toolChoice.any"),
    (MISTRAL, tools(GET, tool={"name": "get"}), "toolConfig.toolChoice.tool"),
    (OPUS_55, tools(GET, any={}), "toolConfig.toolChoice.any"),
    # sampling
    (SONNET_45, {"inferenceConfig": {"temperature": 1, "topP": 1}}, "cannot both be specified"),
    (OPUS_47, {"inferenceConfig": {"temperature": 1}}, "temperature"),
    (GPT, {"inferenceConfig": {"topP": 1}}, "doesn't support the topP field"),
    (GPT_OSS, {"inferenceConfig": {"stopSequences": ["x"]}}, "doesn't support the stopSequences field"),
    (NOVA, {"inferenceConfig": {"stopSequences": [" "]}}, "non-whitespace"),
    # the prompt cache
    (LLAMA, turns([{"text": "x"}, POINT]), "did not allow prompt caching"),
    (LLAMA, {"system": [{"text": "x"}, POINT]}, "did not allow prompt caching"),
    (NOVA, tools(GET, POINT), "did not allow prompt caching"),
    (NOVA, turns([{"text": "x"}, {"cachePoint": {"type": "default", "ttl": "1h"}}]), "cachePoint.ttl"),
    # thinking
    (SONNET_45, {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
                 "inferenceConfig": {"temperature": 0.5, "maxTokens": 4000}}, "may only be set to 1"),
    (SONNET_45, {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
                 "inferenceConfig": {"topP": 0.5, "maxTokens": 4000}}, "0.95"),
    (SONNET_45, {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}}} | tools(GET, any={}), "forces tool use"),
    (SONNET_45, {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 9}}}, "1024"),
    (SONNET_45, {"additionalModelRequestFields": {"thinking": {"type": "adaptive"}}}, "adaptive thinking is not supported"),
    (OPUS_47, {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2000}}}, "thinking.type.enabled"),
    (OPUS_55, {"additionalModelRequestFields": {"thinking": {"type": "disabled"}}}, "thinking.type.disabled"),
    (OPUS_47, {"additionalModelRequestFields": {"anthropic_beta": ["oauth-2025-04-20"]}}, "invalid beta flag"),
    # the form of the answer
    (NOVA, form(CLOSED), "outputConfig.textFormat"),
    (OPUS_47, form(CLOSED), "outputConfig.textFormat"),
    (SONNET_45, form('{"type":"object"}'), "explicitly set to false"),
    (SONNET_45, form('{"type":"object","additionalProperties":false,"properties":{"a":{"type":"integer","minimum":1}}}'), "minimum"),
    (SONNET_45, form("x"), "JSON schema as text"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "body", "said"), CONVERSE)
def test_converse_refuses(model: str, body: dict[str, Any], said: str) -> None:
    with pytest.raises(Refusal, match=re.escape(said)):
        check_converse(model, HI | body)


def test_converse_takes_what_a_family_has() -> None:
    check_converse(NOVA, HI | {"system": [{"text": "s"}, POINT], "inferenceConfig": {"temperature": 0, "topP": 0.5, "stopSequences": ["x"]}})  # fmt: skip
    check_converse(NOVA, turns([{"text": "x"}, DOCUMENT], [USE], [RESULT, {"text": "y"}]) | tools(GET, tool={"name": "get"}))  # fmt: skip
    check_converse(SONNET_45, HI | form(CLOSED) | tools(GET, POINT, any={}))
    check_converse(MISTRAL, HI | tools(GET, any={}))
    check_converse(GPT_OSS, HI | form(CLOSED) | {"inferenceConfig": {"temperature": 0.2, "topP": 0.5}})
    check_converse("arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghijkl", HI | form('{"type":"object"}'))


HELLO: dict[str, Any] = {
    "anthropic_version": "bedrock-2023-05-31", "max_tokens": 4000, "messages": [{"role": "user", "content": "hi"}],
}  # fmt: skip
TOOL = {"name": "get", "input_schema": {"type": "object"}}
MARK = {"type": "ephemeral"}
CALL = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "get", "input": {}}]}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


CLAUDE: list[tuple[str, dict[str, Any], str]] = [
    (SONNET_45, {"metadata": {"user_id": "u"}}, "metadata: Extra inputs are not permitted"),
    (SONNET_45, {"model": "x"}, "model: Extra inputs are not permitted"),
    (SONNET_45, {"speed": "fast"}, "speed: Extra inputs are not permitted"),
    (SONNET_45, {"context_management": {"edits": []}}, "context_management: Extra inputs"),
    (SONNET_45, {"anthropic_beta": ["oauth-2025-04-20"]}, "invalid beta flag"),
    (SONNET_45, {"anthropic_beta": ["prompt-caching-scope-2026-01-05"]}, "invalid beta flag"),
    (OPUS_47, {"anthropic_beta": ["claude-code-20250219"]}, "invalid beta flag"),
    (HAIKU_3, {"anthropic_beta": ["interleaved-thinking-2025-05-14"]}, "invalid beta flag"),
    (SONNET_45, {"system": [text("s", cache_control=MARK | {"scope": "global"})]}, "cache_control.ephemeral.scope"),
    (HAIKU_3, {"system": [text("s", cache_control=MARK)]}, "cache_control"),
    (OPUS_47, {"tools": [TOOL | {"defer_loading": True}]}, "tools.0.custom.defer_loading: Extra inputs"),
    (OPUS_47, {"tools": [TOOL | {"input_examples": []}]}, "tools.0.custom.input_examples: Extra inputs"),
    (OPUS_47, {"tools": [TOOL | {"eager_input_streaming": True}]}, "eager_input_streaming"),
    (OPUS_47, {"tools": [TOOL | {"strict": True}]}, "tools.0.custom.strict"),
    (SONNET_45, {"tools": [{"name": "get", "input_schema": {}}]}, "Input should be 'object'"),
    (SONNET_45, {"tools": [TOOL, TOOL]}, "must be unique"),
    (SONNET_45, {"tool_choice": {"type": "any"}}, "while providing `tools`"),
    (OPUS_55, {"tools": [TOOL], "tool_choice": {"type": "any"}}, "not supported for this model"),
    (SONNET_45, {"messages": [{"role": "user", "content": [text("\n\n")]}]}, "non-whitespace text"),
    (SONNET_45, {"messages": [*HELLO["messages"], CALL, {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "t", "content": " "}]}]}, "non-whitespace text"),
    (SONNET_45, {"messages": [*HELLO["messages"], CALL, *HELLO["messages"]]}, "without `tool_result` blocks"),
    (SONNET_45, {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]}, "unexpected `tool_use_id`"),
    (OPUS_47, {"messages": [*HELLO["messages"], {"role": "system", "content": "x"}]}, "role 'system' is not supported"),
    (OPUS_55, {"messages": [{"role": "system", "content": "x"}, *HELLO["messages"]]}, "top-level 'system'"),
    (OPUS_55, {"messages": [*HELLO["messages"], {"role": "system", "content": "x"}, *HELLO["messages"]]}, "must precede an 'assistant'"),
    (OPUS_47, {"messages": [*HELLO["messages"], {"role": "assistant", "content": "{"}]}, "assistant message prefill"),
    (SONNET_45, {"messages": [*HELLO["messages"], {"role": "assistant", "content": "{ "}]}, "trailing whitespace"),
    (SONNET_45, {"messages": [{"role": "user", "content": [
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}]}]}, "expected tags: 'base64'"),
    (SONNET_45, {"messages": [{"role": "user", "content": [
        {"type": "document", "source": {"type": "file", "file_id": "f"}}]}]}, "expected tags: 'base64', 'text'"),
    (SONNET_45, {"messages": [{"role": "user", "content": [text("s", cache_control=MARK)] * 5}]}, "Found 5."),
    (SONNET_45, {"temperature": 0.5, "top_p": 0.5}, "cannot both be specified"),
    (OPUS_47, {"temperature": 0.5}, "`temperature` is deprecated"),
    (OPUS_47, {"top_k": 5}, "`top_k` is deprecated"),
    (SONNET_45, {"stop_sequences": ["\n"]}, "non-whitespace"),
    (HAIKU_3, {"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking: Extra inputs"),
    (SONNET_45, {"thinking": {"type": "enabled", "budget_tokens": 4000}}, "must be greater than"),
    (SONNET_45, {"thinking": {"type": "enabled", "budget_tokens": 1024}, "top_k": 3}, "`top_k` must be unset"),
    (SONNET_45, {"output_config": {"effort": "low"}}, "output_config.effort: Extra inputs"),
    (OPUS_47, {"output_config": {"format": {"type": "json_schema", "schema": {}}}}, "output_config.format: Extra inputs"),
    (SONNET_45, {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}, "explicitly set to false"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "body", "said"), CLAUDE)
def test_claude_refuses(model: str, body: dict[str, Any], said: str) -> None:
    with pytest.raises(Refusal, match=re.escape(said)):
        check_claude(model, HELLO | body)


def test_claude_takes_what_it_has() -> None:
    search = {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}
    check_claude(SONNET_45, HELLO | {
        "anthropic_beta": ["context-1m-2025-08-07", "context-management-2025-06-27", "tool-search-tool-2025-10-19"],
        "context_management": {"edits": []}, "tools": [search, TOOL | {"defer_loading": True}],
        "system": [text("s", cache_control=MARK | {"ttl": "1h"})], "temperature": 0.5,
    })  # fmt: skip
    check_claude("anthropic.claude-opus-4-8", HELLO | {"messages": [*HELLO["messages"], {"role": "system", "content": "x"}]})  # fmt: skip
    check_claude(OPUS_47, HELLO | {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}})

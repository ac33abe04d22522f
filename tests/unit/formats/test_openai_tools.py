"""Tools that Converse lacks: the model gets them as functions, and their calls return in the client's own format."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.calls.streaming import MeteredUsage
from gateway.core.errors import NotFoundError
from gateway.formats.openai.response_answers import ResponsesStream, write_response
from gateway.formats.openai.responses import ResponsesRequest, read_response, references, response_of
from gateway.usage.records import TokenUsage
from tests.converse_answers import answer, streamed

CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
USAGE = TokenUsage(10, 5)
PATCH = {
    "type": "custom", "name": "apply_patch", "description": "Edit files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: patch"},
}  # fmt: skip
CREW = {
    "type": "namespace", "name": "crew", "description": "Other agents.",
    "tools": [
        {"type": "function", "name": "spawn", "parameters": {"type": "object"}, "strict": False},
        {"type": "function", "name": "wait", "description": "Wait for one.", "parameters": {"type": "object"}},
    ],
}  # fmt: skip
SHELL = {"type": "local_shell"}
CODEX = {
    "model": "m", "stream": True, "store": False, "instructions": "You are Codex.",
    "client_metadata": {"x-codex-installation-id": "1"}, "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "k", "parallel_tool_calls": True, "tool_choice": "auto", "text": {"verbosity": "low"},
    "reasoning": {"effort": "medium", "summary": "auto"},
    "tools": [
        {"type": "function", "name": "exec_command", "strict": False, "parameters": {"type": "object"}}, PATCH, CREW,
        {"type": "web_search", "external_web_access": False}, {"type": "image_generation", "output_format": "png"},
    ],
    "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}], "internal_note": {"a": 1}},
    ],
}  # fmt: skip


def read(value: Any = "hi", **more: Any) -> ResponsesRequest:
    return read_response({"model": "m", "input": value, **more}, CLAUDE)


def told(request: ResponsesRequest) -> dict[str, Any]:
    specs = [one["toolSpec"] for one in request.converse["toolConfig"]["tools"]]
    return {spec["name"]: spec for spec in specs}


def events(request: ResponsesRequest, blocks: list[Any]) -> list[dict[str, Any]]:
    writer = ResponsesStream(request, "resp_1", 9)
    sent = b"".join(writer.write(frame) for frame in streamed(blocks, 5, "tool_use")) + writer.end(MeteredUsage(USAGE))
    return [json.loads(part.partition("data: ")[2]) for part in sent.decode().split("\n\n") if part]


def called(request: ResponsesRequest, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The item of the model's call, which the stream must tell exactly as the whole answer does."""
    blocks = [tool(name, arguments)]
    whole: list[dict[str, Any]]
    whole = write_response(request, answer(blocks), MeteredUsage(USAGE), "resp_1", 9)["output"]
    told = events(request, blocks)
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    assert told[-1]["response"]["output"] == whole
    assert [event["item"] for event in told if event["type"] == "response.output_item.done"] == whole
    added = [event["item"] for event in told if event["type"] == "response.output_item.added"]
    assert [(item["id"], item["type"]) for item in added] == [(item["id"], item["type"]) for item in whole]
    return whole[0]


def tool(name: str, arguments: dict[str, Any]) -> Any:
    return {"toolUse": {"toolUseId": "c1", "name": name, "input": arguments}}


def test_what_codex_sends_is_taken_and_what_is_ignored_is_named() -> None:
    request = read_response(CODEX, CLAUDE)
    assert list(told(request)) == ["exec_command", "apply_patch", "crew__spawn", "crew__wait"]
    assert told(request)["crew__spawn"]["description"] == "Other agents."
    assert told(request)["crew__wait"]["description"] == "Wait for one."
    assert "lark grammar:\nstart: patch" in told(request)["apply_patch"]["description"]
    said = "; ".join(request.warnings)
    for name in (
        "client_metadata",
        "web_search",
        "image_generation",
        "namespace",
        "grammar",
        "verbosity",
        "internal_note",
    ):
        assert name in said
    assert [one["type"] for one in request.echo["tools"]] == ["function", "custom", "namespace"]


def test_a_custom_tool_is_called_in_its_own_words() -> None:
    request = read(tools=[PATCH])
    item = called(request, "apply_patch", {"input": '*** Begin Patch\n"ä"'})
    assert item == {
        "type": "custom_tool_call", "id": "ctc_1_0", "call_id": "c1", "name": "apply_patch",
        "input": '*** Begin Patch\n"ä"', "status": "completed",
    }  # fmt: skip
    kinds = [event["type"] for event in events(request, [tool("apply_patch", {"input": "x"})])]
    assert kinds[2:-1] == [
        "response.output_item.added", "response.custom_tool_call_input.delta", "response.custom_tool_call_input.done",
        "response.output_item.done",
    ]  # fmt: skip
    again = read([item, {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"}], tools=[PATCH])
    use, result = (turn["content"][0] for turn in again.converse["messages"][-2:])
    assert use["toolUse"] == {"toolUseId": "c1", "name": "apply_patch", "input": {"input": '*** Begin Patch\n"ä"'}}
    assert result["toolResult"] == {"toolUseId": "c1", "content": [{"text": "done"}]}


def test_a_tool_of_a_namespace_comes_back_by_both_its_names() -> None:
    request = read(tools=[CREW])
    item = called(request, "crew__spawn", {"x": 1})
    assert (item["type"], item["namespace"], item["name"], item["arguments"]) == (
        "function_call", "crew", "spawn", '{"x": 1}',
    )  # fmt: skip
    again = read([item, {"type": "function_call_output", "call_id": "c1", "output": "ok"}], tools=[CREW])
    assert again.converse["messages"][-2]["content"][0]["toolUse"]["name"] == "crew__spawn"


@pytest.mark.parametrize(
    ("sent", "arguments", "kind", "place", "value"),
    [
        (SHELL, {"command": ["ls"]}, "local_shell_call", "action", {"type": "exec", "env": {}, "command": ["ls"]}),
        (
            {"type": "shell", "environment": {"type": "local"}}, {"commands": ["ls"]}, "shell_call", "action",
            {"timeout_ms": None, "max_output_length": None, "commands": ["ls"]},
        ),
        (
            {"type": "apply_patch"}, {"type": "delete_file", "path": "a"}, "apply_patch_call", "operation",
            {"type": "delete_file", "path": "a"},
        ),
        (
            {"type": "tool_search", "execution": "client", "parameters": {"type": "object"}}, {"query": "mail"},
            "tool_search_call", "arguments", {"query": "mail"},
        ),
    ],
)  # fmt: skip
def test_a_tool_that_the_client_runs_is_called_and_answered(
    sent: dict[str, Any], arguments: dict[str, Any], kind: str, place: str, value: Any
) -> None:
    request = read(tools=[sent])
    item = called(request, sent["type"], arguments)
    assert (item["type"], item[place], item["call_id"]) == (kind, value, "c1")
    output = {"type": f"{kind}_output", "call_id": "c1", "output": [{"stdout": "a", "outcome": {"type": "exit"}}]}
    again = read([item, output], tools=[sent])
    use, result = (turn["content"][0] for turn in again.converse["messages"][-2:])
    assert use["toolUse"]["input"] == arguments
    assert json.loads(result["toolResult"]["content"][0]["text"])[0]["stdout"] == "a"


def test_tools_that_are_found_later_can_be_called() -> None:
    items = [
        {"type": "additional_tools", "role": "developer", "tools": [PATCH]},
        {"role": "user", "content": "mail"},
        {"type": "tool_search_call", "call_id": "c0", "execution": "client", "status": "completed", "arguments": {"query": "mail"}},
        {"type": "tool_search_output", "call_id": "c0", "execution": "client", "status": "completed", "tools": [CREW]},
    ]  # fmt: skip
    request = read(items, tools=[{"type": "tool_search", "execution": "client"}])
    assert list(told(request)) == ["tool_search", "apply_patch", "crew__spawn", "crew__wait"]


@pytest.mark.parametrize(
    "sent",
    [{"type": "web_search"}, {"type": "code_interpreter", "container": {}}, {"type": "mcp", "server_label": "x"},
     {"type": "shell", "environment": {"type": "container_auto"}}, {"type": "tool_search"}],
)  # fmt: skip
@pytest.mark.parametrize("chosen", ["auto", "required", {"type": "web_search"}])
def test_a_tool_that_runs_at_openai_is_left_out_and_never_offered(sent: dict[str, Any], chosen: Any) -> None:
    request = read(tools=[sent], tool_choice=chosen)
    assert "toolConfig" not in request.converse
    assert f"the tool {sent['type']} is left out" in "; ".join(request.warnings)


def test_items_of_openai_s_own_tools_are_left_out() -> None:
    request = read([{"type": "web_search_call", "id": "ws_1"}, {"role": "user", "content": "hi"}])
    assert request.converse["messages"] == [{"role": "user", "content": [{"text": "hi"}]}]
    assert "web_search_call" in request.warnings[0]


def test_names_fit_and_stay_apart() -> None:
    long = {"type": "namespace", "name": "mcp__" + "x" * 60, "tools": [
        {"type": "function", "name": "a" * 60}, {"type": "function", "name": "a" * 59 + "b"}, {"type": "function", "name": "ö"},
    ]}  # fmt: skip
    same = [
        {"type": "namespace", "name": "a", "tools": [{"type": "function", "name": "b__c"}]},
        {"type": "namespace", "name": "a__b", "tools": [{"type": "function", "name": "c"}]},
        {"type": "function", "name": "a__b__c"},
        {"type": "custom", "name": "local_shell"}, SHELL,
    ]  # fmt: skip
    request = read(tools=[long, *same])
    names = list(told(request))
    assert len(names) == len(set(names)) == 8
    assert all(len(name) <= 64 and name.replace("_", "").replace("-", "").isascii() for name in names)
    assert [(request.tools.of(name).namespace, request.tools.of(name).name) for name in names[3:5]] == [
        ("a", "b__c"), ("a__b", "c"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"type": "custom", "name": "apply_patch"}, {"tool": {"name": "apply_patch"}}),
        ({"type": "function", "name": "spawn", "namespace": "crew"}, {"tool": {"name": "crew__spawn"}}),
        ({"type": "local_shell"}, {"tool": {"name": "local_shell"}}),
        ("required", {"any": {}}),
    ],
)
def test_the_tool_to_call_is_named_in_either_s_words(chosen: Any, expected: Any) -> None:
    assert read(tools=[PATCH, CREW, SHELL], tool_choice=chosen).converse["toolConfig"]["toolChoice"] == expected


def test_of_many_tools_some_may_be_allowed() -> None:
    chosen = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "apply_patch"}]}
    request = read(tools=[PATCH, CREW], tool_choice=chosen)
    assert list(told(request)) == ["apply_patch"]
    assert request.converse["toolConfig"]["toolChoice"] == {"any": {}}


# ---------------------------------------------------------------------------------------------------- references
def test_a_reference_stands_for_what_was_answered() -> None:
    said = {"type": "message", "id": "msg_1_0", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "Hello.", "annotations": [], "logprobs": []}]}  # fmt: skip
    items = [
        {"role": "user", "content": "hi"},
        {"type": "item_reference", "id": "msg_1_0"},
        {"role": "user", "content": "and?"},
    ]
    body = {"model": "m", "input": items}
    assert references(body) == ["msg_1_0"]
    assert response_of("msg_1_0") == "resp_1"
    request = read_response(body, CLAUDE, {"msg_1_0": said})
    assert request.converse["messages"][1] == {"role": "assistant", "content": [{"text": "Hello."}]}
    assert request.store


@pytest.mark.parametrize("name", ["msg_1_0", "", None, 5, "x" * 500])
def test_a_reference_to_nothing_is_not_found(name: Any) -> None:
    with pytest.raises(NotFoundError) as missing:
        read([{"type": "item_reference", "id": name}, {"role": "user", "content": "hi"}])
    assert (missing.value.status, missing.value.code, missing.value.param) == (404, "item_not_found", "input")
    assert response_of(str(name)) in ("resp_1", "")

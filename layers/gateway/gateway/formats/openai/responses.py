"""OpenAI's responses, spoken by way of Converse: what came before is sent along in `input`.

Whole, or by the ids of what was answered: a request that names no `store` takes its answer for kept, and OpenAI's SDKs
then refer to it. So the items of such an answer are kept for a while (`gateway.aws.dynamodb.response_items`), and
nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gateway.core.errors import NotFoundError
from gateway.formats import refusals
from gateway.formats.openai.converse import (
    EFFORTS,
    SERVICE_TIERS,
    Draft,
    blocks_of,
    cache_point,
    check_bookkeeping,
    stream_options,
    tool_choice,
    tool_result,
    tool_use,
)
from gateway.formats.openai.fields import (
    Json,
    count,
    enum_field,
    invalid_param,
    listed,
    reject_unless_default,
    text,
)
from gateway.formats.openai.tools import KINDS, OUTPUTS, Tools

_KNOWN = (
    "model", "input", "instructions", "stream", "stream_options", "max_output_tokens", "temperature", "top_p", "tools",
    "tool_choice", "parallel_tool_calls", "text", "reasoning", "service_tier", "include", "truncation", "top_logprobs",
    "user", "metadata", "store", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "background",
    "client_metadata", "max_tool_calls", "context_management",
)  # fmt: skip
_ROLES = {role: role for role in ("system", "developer", "user", "assistant")}
# A thought goes back to its model with what the model signed or encrypted: `encrypted_content` carries either.
SIGNED, REDACTED = "signature:", "redacted:"


# What changes neither the price nor what is answered, and why.
_IGNORED = {
    "client_metadata": "only the client uses it",
    "max_tool_calls": "it limits tools that run at OpenAI",
    "context_management": "the gateway never truncates a conversation",
}
# Items of OpenAI's own tools and services, which no other model can read.
_FOREIGN = (
    "web_search_call", "file_search_call", "image_generation_call", "code_interpreter_call", "computer_call",
    "computer_call_output", "mcp_list_tools", "mcp_call", "mcp_approval_request", "mcp_approval_response",
    "compaction", "compaction_summary", "compaction_trigger", "program", "program_output", "agent_message",
)  # fmt: skip
_ITEM_ID = re.compile(r"[a-z]{2,4}_(.+)_[0-9]{1,6}\Z")


@dataclass(frozen=True)
class ResponsesRequest:
    """A response asked for: Converse's body, what the answer repeats of the request, and whether its items are kept."""

    model: str
    converse: Json
    stream: bool = False
    echo: Json = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    answer_tool: str = ""  # the tool whose input is the answer's text
    names: Mapping[str, str] = field(default_factory=dict)  # the client's own, of tools that are called otherwise here
    tools: Tools = field(default_factory=Tools)
    store: bool = False


def response_of(item_id: str) -> str:
    """The response that an item is of, by the item's id; empty for an id that is none of ours."""
    found = _ITEM_ID.match(item_id)
    return f"resp_{found[1]}" if found else ""


def references(body: Any) -> list[str]:
    """The ids that a request's input refers to, in place of the items themselves."""
    items = body.get("input") if isinstance(body, dict) else None
    named = [item.get("id") for item in items if _is_reference(item)] if isinstance(items, list) else []
    return [name for name in dict.fromkeys(named) if isinstance(name, str)]


def _is_reference(item: Any) -> bool:
    return isinstance(item, dict) and (item.get("type") == "item_reference" or item.keys() == {"id"})


def read_response(
    body: Any, base: str, kept: Mapping[str, Json] | None = None, *, keeps: bool = True
) -> ResponsesRequest:
    """A body that fits openapi.yaml, for the model whose Bedrock id is `base`; `kept` are the items that it refers to.

    `keeps` says whether this gateway keeps answers at all.

    Raises BadRequestError with the parameter at fault, and NotFoundError for an item that is not kept.
    """
    draft = Draft(base)
    given = draft.known(body, "", _KNOWN, refusals.RESPONSES)
    stream = given.get("stream", False)
    stream_options(draft, given, stream)
    _refuse_what_cannot_be(given)
    check_bookkeeping(draft, given)
    _warn_of_what_is_ignored(draft, given)
    if instructions := given.get("instructions"):
        draft.instruct([{"text": instructions}], "instructions")
    items = given.get("input")
    if not isinstance(items, str):
        items = _resolved(listed(items, "input"), kept or {})
    tools = _declared(draft, given, items)
    _read_input(draft, items, tools)
    inference = {
        "maxTokens": given.get("max_output_tokens"),
        "temperature": draft.temperature(given),
        "topP": given.get("top_p"),
    }
    draft.inference |= {name: value for name, value in inference.items() if value is not None}
    offered = {**given, "tool_choice": tools.choice(draft, given["tool_choice"])} if "tool_choice" in given else given
    draft.use_tools(tools.specs, tool_choice(offered), given.get("parallel_tool_calls", True))
    form = _read_format(draft, given)
    draft.service_tier = SERVICE_TIERS[given.get("service_tier", "default")]
    reasoning = draft.known(given.get("reasoning", {}), "reasoning", ("effort", "summary", "generate_summary"))
    if effort := enum_field(reasoning, "effort", EFFORTS, "reasoning."):
        draft.reason(effort, "reasoning.effort", "max_output_tokens")
    echoed = ("instructions", "metadata", "max_output_tokens", "temperature", "top_p", "user", "prompt_cache_key",
              "safety_identifier", "truncation", "reasoning")  # fmt: skip
    echo = {name: given[name] for name in echoed if name in given} | {
        "tools": tools.echo,
        "tool_choice": given.get("tool_choice", "auto"),
        "parallel_tool_calls": given.get("parallel_tool_calls", True),
        "text": {"format": form},
    }
    store = keeps and given.get("store", True)
    fitted = draft.fitted("input")
    return ResponsesRequest(
        given["model"], fitted.body, stream, echo, fitted.warnings, fitted.answer_tool, fitted.names, tools, store
    )


def _refuse_what_cannot_be(given: Json) -> None:
    reject_unless_default(given, "background", False, why="must be false. Keep the connection open, or stream.")
    enum_field(given, "truncation", {"auto": "auto", "disabled": "disabled"})
    count({name: value for name, value in given.items() if value != 0}, "top_logprobs")


def _warn_of_what_is_ignored(draft: Draft, given: Json) -> None:
    for name, why in _IGNORED.items():
        if name in given:
            draft.warn(f"{name} is ignored: {why}")
    if given.get("truncation") == "auto":
        draft.warn("truncation auto is ignored: the gateway never truncates a conversation")
    if given.get("top_logprobs"):
        draft.warn("top_logprobs is ignored: Converse returns no log probabilities")
    for name in listed(given.get("include", []), "include"):
        if name != "reasoning.encrypted_content":
            draft.warn(f"include {name if isinstance(name, str) else ''} is ignored: it is not available here")


def _resolved(items: list[Any], kept: Mapping[str, Json]) -> list[Any]:
    """The items, with those that were answered here in the place of their ids."""
    return [_found(item.get("id"), kept) if _is_reference(item) else item for item in items]


def _found(name: Any, kept: Mapping[str, Json]) -> Json:
    if not isinstance(name, str) or name not in kept:
        shown = name if isinstance(name, str) else ""
        message = (
            f"Item with id '{shown[:80]}' not found. Items expire, and are not stored when `store` is set to "
            "false. Send the item itself, or leave it out of your input."
        )
        raise NotFoundError(message, code="item_not_found", param="input")
    return kept[name]


def _declared(draft: Draft, given: Json, items: Any) -> Tools:
    """The tools of the request, and those that came later in its input."""
    tools = Tools()
    tools.read(draft, given.get("tools", []), "tools")
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict) and item.get("type") in ("additional_tools", "tool_search_output"):
            tools.read(draft, item.get("tools") or [], f"input[{index}].tools")
    return tools


# ------------------------------------------------------------------------------------------------------------ input


def _read_input(draft: Draft, value: Any, tools: Tools) -> None:
    if isinstance(value, str):
        draft.say("user", [{"text": value}] if value else [])
        return
    for index, item in enumerate(listed(value, "input")):
        where = f"input[{index}]"
        kind = (item.get("type") or "message") if isinstance(item, dict) else "message"
        if not isinstance(kind, str):
            raise invalid_param(f"{where}.type", "must be a string.", "invalid_type")
        if kind in _FOREIGN:
            draft.warn(f"items of type {kind} are left out: no model here can read them")
        elif kind in _OWN_CALLS:
            _own_call(draft, item, where, _OWN_CALLS[kind], tools)
        elif kind in OUTPUTS:
            _own_output(draft, item, where)
        elif kind == "function_call":
            _call(draft, item, where, tools)
        elif kind == "additional_tools":
            continue  # they are told already
        elif isinstance(kind, str) and (read := _ITEMS.get(kind)):
            read(draft, item, where)
        else:
            known = (*_ITEMS, "function_call", *_OWN_CALLS, *sorted(OUTPUTS))
            raise invalid_param(f"{where}.type", f"must be one of {', '.join(known)}.", "unsupported_value")


def _read(draft: Draft, item: Any, where: str, *known: str) -> Json:
    """An item's fields. What else its client notes in it changes nothing, and is left out with a warning."""
    if not isinstance(item, dict):
        raise invalid_param(where, "must be a JSON object.", "invalid_type")
    for name, value in item.items():
        if name not in known and value is not None:
            draft.warn(f"{name} of an item of the input is ignored")
    return {name: value for name, value in item.items() if name in known and value is not None}


def _message(draft: Draft, item: Any, where: str) -> None:
    given = _read(draft, item, where, "type", "role", "content", "id", "status", "phase")
    role = enum_field(given, "role", _ROLES, f"{where}.")
    if role is None:
        raise invalid_param(f"{where}.role", f"must be one of {', '.join(_ROLES)}.", "missing_required_parameter")
    blocks = blocks_of(given.get("content"), f"{where}.content", partial(_part, draft))
    if role in ("system", "developer"):
        draft.instruct(blocks, f"{where}.content")
    elif role == "user" and not blocks:
        raise invalid_param(f"{where}.content", "must not be empty.")
    else:
        draft.say(role, blocks)


def _call(draft: Draft, item: Any, where: str, tools: Tools) -> None:
    given = _read(draft, item, where, "type", "id", "call_id", "name", "namespace", "arguments", "status")
    name = given.get("name")
    if isinstance(name, str) and name:
        name = tools.flat("function", name, given.get("namespace"))
    draft.say("assistant", [tool_use(given.get("call_id"), name, given.get("arguments"), where)])


def _output(draft: Draft, item: Any, where: str) -> None:
    given = _read(draft, item, where, "type", "id", "call_id", "output", "status", "name", "namespace")
    if not text(given, "call_id", f"{where}."):
        raise invalid_param(f"{where}.call_id", "must name the call it answers.", "missing_required_parameter")
    blocks = blocks_of(given.get("output"), f"{where}.output", partial(_part, draft))
    draft.say("user", tool_result(given["call_id"], blocks))


def _own_call(draft: Draft, item: Json, where: str, kind: str, tools: Tools) -> None:
    """A call of a tool that is no function, as the call of the function that stood for it."""
    call_id = _call_id(item, where)
    name = item.get("name") if kind == "custom" else kind
    said = KINDS[kind].given(item.get(KINDS[kind].place))
    flat = tools.flat(kind, name, item.get("namespace")) if name else name
    draft.say("assistant", [tool_use(call_id, flat, json.dumps(said), where)])


def _own_output(draft: Draft, item: Json, where: str) -> None:
    """What such a tool gave back: its words, or what else it says as JSON."""
    given = item.get("tools") if item["type"] == "tool_search_output" else item.get("output")
    if isinstance(given, list) and all(isinstance(one, dict) and one.get("type") in _PARTS for one in given):
        blocks = blocks_of(given, f"{where}.output", partial(_part, draft))
    else:
        words = given if isinstance(given, str) else json.dumps(given)
        blocks = [{"text": words}] if words else []
    draft.say("user", tool_result(_call_id(item, where), blocks))


def _call_id(item: Json, where: str) -> str:
    """The call's own id. A local shell's is its item's in OpenAI's reference, and `call_id` in its clients."""
    call_id = item.get("call_id") or item.get("id")
    if not isinstance(call_id, str) or not call_id:
        raise invalid_param(f"{where}.call_id", "must name the call it answers.", "missing_required_parameter")
    return call_id


def _reasoning(draft: Draft, item: Any, where: str) -> None:
    """A thought that comes back: to a model only what it signed, since it takes no other."""
    given = _read(draft, item, where, "type", "id", "summary", "content", "encrypted_content", "status")
    sealed = text(given, "encrypted_content", f"{where}.") or ""
    if sealed.startswith(REDACTED):
        draft.say("assistant", [{"reasoningContent": {"redactedContent": sealed.removeprefix(REDACTED)}}])
    elif sealed.startswith(SIGNED):
        parts = [
            draft.known(one, f"{where}.summary", ("type", "text")) for one in listed(given.get("summary", []), where)
        ]
        thought = {"text": "".join(str(part.get("text", "")) for part in parts)}
        signed = thought | {"signature": sealed.removeprefix(SIGNED)}
        draft.say("assistant", [{"reasoningContent": {"reasoningText": signed}}])
    elif sealed:
        draft.warn("reasoning items that this gateway did not issue are left out")


_ITEMS = {"message": _message, "function_call_output": _output, "reasoning": _reasoning}
_OWN_CALLS = {kind.call: name for name, kind in KINDS.items()}
_PARTS = ("text", "input_text", "output_text", "refusal", "input_image", "input_file")


def _part(draft: Draft, part: Json, where: str) -> list[Json]:
    kind = part.get("type")
    blocks: list[Json]
    if kind in ("text", "input_text", "output_text", "refusal"):
        name = "refusal" if kind == "refusal" else "text"
        known = ("type", name, "annotations", "logprobs", "cache_control")
        given = draft.known(part, where, known, refusals.RESPONSES_PART)
        words = text(given, name, f"{where}.")
        if words is None:
            raise invalid_param(f"{where}.{name}", "is missing.", "missing_required_parameter")
        blocks = [{"text": words}] if words else []
    elif kind == "input_image":
        given = draft.known(part, where, ("type", "image_url", "detail", "cache_control"), refusals.RESPONSES_PART)
        url = text(given, "image_url", f"{where}.") or ""
        blocks = [draft.image_block(url, given.get("detail"), f"{where}.image_url")]
    elif kind == "input_file":
        given = draft.known(part, where, ("type", "file_data", "filename", "cache_control"), refusals.RESPONSES_PART)
        data, name = text(given, "file_data", f"{where}.") or "", text(given, "filename", f"{where}.") or "document"
        blocks = [draft.document_block(data, name, f"{where}.file_data")]
    else:
        raise invalid_param(f"{where}.type", "must be one of input_text, input_image, input_file, output_text.")
    if blocks and "cache_control" in given:
        blocks.append(cache_point(given["cache_control"], f"{where}.cache_control", draft.warn))
    return blocks


def _read_format(draft: Draft, given: Json) -> Json:
    """The form of the answer, as the answer repeats it."""
    wanted = draft.known(given.get("text", {}), "text", ("format", "verbosity"))
    if wanted.get("verbosity", "medium") != "medium":
        draft.warn("text.verbosity is ignored: state the desired length in the prompt")
    form = draft.known(
        wanted.get("format", {"type": "text"}), "text.format", ("type", "name", "description", "schema", "strict")
    )
    kind = form["type"]
    if kind == "json_object":
        draft.answer_in_json("text.format")
    elif kind == "json_schema":
        draft.answer_in(form.get("schema"), form.get("name"), form.get("description"), "text.format")
    return form

"""A body of Anthropic's Messages as Claude on Bedrock takes it by InvokeModel.

Claude Code and Anthropic's SDKs send what Anthropic's own service knows; Bedrock refuses the whole call for the first
field or flag that it does not know. What changes neither price nor safety nor answer is taken out; the rest is said in
another way; both are named in a warning. What each Claude takes is in `gateway.calls.families`.

Sources beside that table's: "Anthropic Claude Messages API" in the Amazon Bedrock user guide; Anthropic's pages on
mid-conversation system messages, tool search and extended thinking; anthropics/claude-code issue 82549 and
BerriAI/litellm PR 32831, for the words of Bedrock's refusals.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.calls.families import Family
from gateway.formats.fitting.work import ANSWER, BEGIN, GO_ON, Fitted
from gateway.formats.json_schemas import closed, enforceable, rooted

Json = dict[str, Any]

# What Bedrock's body may hold. Source: the fields of the user guide, and those that came after them by the model cards.
_FIELDS = frozenset({
    "anthropic_version", "anthropic_beta", "max_tokens", "messages", "system", "stop_sequences", "temperature", "top_p",
    "top_k", "tools", "tool_choice", "thinking", "output_config", "context_management", "cache_control",
})  # fmt: skip
_TOOL = frozenset({"type", "name", "description", "input_schema", "cache_control", "strict", "defer_loading"})
_SEARCH = "tool-search-tool-2025-10-19"
_EXAMPLES = "tool-examples-2025-10-29"
_EDITS = "context-management-2025-06-27"
# By Anthropic's own name a group of betas; what Bedrock has of it.
_SAME = {"advanced-tool-use-2025-11-20": _SEARCH}
_LEAST_BUDGET, _BUDGET = 1024, 4096
_LEAST_TOP_P = 0.95


def fit_messages(body: Json, family: Family, *, translated: bool = True) -> Fitted:
    """InvokeModel's body as the family takes it; `answer_tool` is set only where the answer is `translated`."""
    if not family.claude or "messages" not in body or not _is_readable(body):
        return Fitted(body)
    return _fitted(_Work(dict(body), family, translated), _STEPS)


def plain_messages(body: Json, family: Family) -> Fitted:
    """The same body without what is Claude's alone, for a model that is asked in Converse's words."""
    return _fitted(_Work(dict(body), family, translated=True), _PLAIN) if _is_readable(body) else Fitted(body)


def _fitted(work: _Work, steps: Sequence[Callable[[_Work], None]]) -> Fitted:
    for step in steps:
        step(work)
    return Fitted(work.body, tuple(work.warnings), work.answer_tool)


@dataclass
class _Work:
    body: Json
    family: Family
    translated: bool
    warnings: dict[str, None] = field(default_factory=dict)
    answer_tool: str = ""

    def warn(self, message: str) -> None:
        self.warnings[message] = None

    def drop(self, name: str, why: str) -> None:
        if self.body.pop(name, None) is not None:
            self.warn(f"{name} was left out: {why}")

    def object(self, name: str) -> Json:
        value = self.body.get(name)
        return dict(value) if isinstance(value, dict) else {}

    def put(self, name: str, value: Any) -> None:
        if value:
            self.body[name] = value
        else:
            self.body.pop(name, None)

    def instruct(self, words: str) -> None:
        self.body["system"] = [*_blocks(self.body.get("system") or []), {"type": "text", "text": words}]

    @property
    def thinks(self) -> bool:
        return self.object("thinking").get("type") in ("enabled", "adaptive")

    @property
    def forced(self) -> bool:
        return self.object("tool_choice").get("type") in ("any", "tool")


def _is_readable(body: Json) -> bool:
    turns, tools, system = body["messages"], body.get("tools") or [], body.get("system") or []
    return (
        isinstance(turns, list)
        and all(isinstance(turn, dict) and _is_content(turn.get("content")) for turn in turns)
        and _is_content(system)
        and isinstance(tools, list)
        and all(isinstance(tool, dict) for tool in tools)
        and isinstance(body.get("anthropic_beta") or [], list)
    )


def _is_content(content: Any) -> bool:
    return isinstance(content, str) or (isinstance(content, list) and all(isinstance(block, dict) for block in content))


def _blocks(content: Any) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


# -------------------------------------------------------------------------------------------------------------- fields


def _fields(work: _Work) -> None:
    if output := work.body.pop("output_format", None):
        work.body["output_config"] = {"format": output} | work.object("output_config")
    work.drop("metadata", "Bedrock does not support it; the gateway reads its user_id")
    if not work.family.edits_context:
        work.drop("context_management", "this model does not edit its context")
    for name in [name for name in work.body if name not in _FIELDS]:
        work.drop(name, "Bedrock does not support it")
    if control := work.body.get("cache_control"):
        work.put("cache_control", _control(work, control))


def _betas(work: _Work) -> None:
    given = [str(flag) for flag in work.body.get("anthropic_beta") or ()]
    wanted = dict.fromkeys(_SAME.get(flag, flag) for flag in given)
    kept = [flag for flag in wanted if flag in work.family.betas]
    if "context_management" in work.body and _EDITS not in kept:
        kept.append(_EDITS)
    searches = any(
        tool.get("defer_loading") or str(tool.get("type")).startswith("tool_search")
        for tool in work.body.get("tools") or ()
    )
    if searches and _SEARCH not in kept:
        kept.append(_SEARCH)
    if left := [flag for flag in given if _SAME.get(flag, flag) not in kept]:
        work.warn(f"anthropic-beta {', '.join(left)} was left out: Bedrock does not support it for this model")
    work.put("anthropic_beta", kept)


def _control(work: _Work, control: Any) -> Json | None:
    """`cache_control` with what Bedrock knows of it."""
    if not isinstance(control, dict) or not work.family.caches:
        work.warn("cache_control was left out: this model does not support it")
        return None
    kept = {name: value for name, value in control.items() if name in ("type", "ttl")}
    for name in control.keys() - kept.keys():
        work.warn(f"cache_control.{name} was left out: Bedrock does not support it")
    if kept.get("ttl") == "1h" and not work.family.caches_an_hour:
        del kept["ttl"]
        work.warn("the prompt cache lasts five minutes: this model does not support one hour")
    return kept


def _controlled(work: _Work, part: Json) -> Json:
    if not part.get("cache_control"):
        return part
    control = _control(work, part["cache_control"])
    rest = {name: value for name, value in part.items() if name != "cache_control"}
    return rest | {"cache_control": control} if control else rest


# --------------------------------------------------------------------------------------------------------------- tools


def _tools(work: _Work) -> None:
    work.put("tools", [fitted for tool in work.body.get("tools") or () if (fitted := _tool(work, tool))])


def _choice(work: _Work) -> None:
    if work.body.get("tools") and not work.family.tools:
        work.put("tools", None)
        work.warn("tools were left out: this model does not support them")
    choice = work.object("tool_choice")
    if not work.body.get("tools"):
        work.put("tool_choice", None)
    elif choice.get("type") in ("any", "tool") and choice["type"] not in work.family.forces:
        kept = {"type": "auto"} | {k: v for k, v in choice.items() if k == "disable_parallel_tool_use"}
        work.put("tool_choice", kept)
        one = f"the tool {choice.get('name')}" if choice["type"] == "tool" else "one of your tools"
        work.instruct(f"Call {one} now.")
        work.warn("a tool call is requested in the system prompt, not enforced: this model cannot be forced to do so")


def _tool(work: _Work, tool: Json) -> Json | None:
    tool = dict(_controlled(work, tool))
    kind = str(tool.get("type") or "custom")
    searches = work.family.searches_tools
    if kind.startswith("tool_search") and not searches:
        work.warn("tool search was left out, and all tools are sent at once: this model does not support it")
        return None
    if tool.get("defer_loading") and not (searches and _has_search(work)):
        tool = {name: value for name, value in tool.items() if name != "defer_loading"}
        work.warn("defer_loading was left out, and the tool is sent at once: tool search is not available here")
    if kind != "custom":
        return tool
    for name in [name for name in tool if name not in _TOOL]:
        value = tool[name]
        tool = {key: part for key, part in tool.items() if key != name}
        if name != "input_examples":
            work.warn(f"{name} was left out of tools: Bedrock does not support it")
        elif value and _EXAMPLES in work.family.betas and _EXAMPLES in (work.body.get("anthropic_beta") or ()):
            tool["input_examples"] = value
        elif value:
            tool["description"] = f"{tool.get('description', '')}\nExamples of input: {json.dumps(value)}".strip()
            work.warn("input_examples were moved into the tool descriptions: this model does not support them")
    if "input_schema" in tool:
        tool = {**tool, "input_schema": rooted(tool["input_schema"])}
    if tool.pop("strict", None):
        if work.family.schema and isinstance(tool.get("input_schema"), dict) and enforceable(tool["input_schema"]):
            tool |= {"strict": True, "input_schema": closed(tool["input_schema"])}
        else:
            work.warn("strict was left out of tools: this model does not enforce their schemas")
    return tool


def _has_search(work: _Work) -> bool:
    return any(str(tool.get("type")).startswith("tool_search") for tool in work.body.get("tools") or ())


# --------------------------------------------------------------------------------------------------------------- turns


def _system(work: _Work) -> None:
    if "system" in work.body:
        work.put("system", _content(work, work.body["system"]))


def _turns(work: _Work) -> None:
    """Turns that Bedrock takes: none blank, none of the system where the model has none of these, the user's first."""
    turns: list[Json] = []
    told: list[Json] = []  # what the system says before the next turn of the user
    given = work.body["messages"]
    for index, turn in enumerate(given):
        content = _content(work, turn["content"]) if turn["content"] else turn["content"]
        if turn.get("role") == "system":
            _system_turn(work, {**turn, "content": content}, given[index + 1 :], turns, told)
            continue
        if not content:
            if turn.get("role") == "assistant":
                continue
            content = [] if told else [{"type": "text", "text": BEGIN}]
        if told and turn.get("role") == "user":
            content = [*_blocks(content), *told]
            told = []
        elif told:
            turns.append({"role": "user", "content": told})
            told = []
        turns.append({**turn, "content": content})
    if told:
        turns.append({"role": "user", "content": told})
    if turns and turns[0].get("role") == "assistant":
        turns.insert(0, {"role": "user", "content": BEGIN})
        work.warn("a user turn was inserted before the first turn, which was the assistant's")
    if turns and turns[-1].get("role") == "assistant":
        turns = _ended(work, turns)
    work.body["messages"] = turns


def _system_turn(work: _Work, turn: Json, after: list[Json], turns: list[Json], told: list[Json]) -> None:
    """A turn of the system: kept where it may be, before the first turn the system prompt, else the user's words."""
    content = _blocks(turn["content"] or [])
    if not content:
        return
    if not turns and not told:
        work.body["system"] = [*_blocks(work.body.get("system") or []), *content]
        work.warn("a system message before the first turn was moved into the system prompt")
        return
    next_role = after[0].get("role") if after else "assistant"
    if work.family.system_turns and turns and turns[-1].get("role") == "user" and next_role == "assistant" and not told:
        turns.append(turn)
        return
    for block in content:
        if block.get("type") == "text":
            words = f"<system-reminder>\n{block.get('text')}\n</system-reminder>"
            told.append({**block, "text": words})
    work.warn("system messages between turns were moved into the user turn: this model does not support them there")


def _ended(work: _Work, turns: list[Json]) -> list[Json]:
    """A conversation that ends with the assistant's words, which end in no blank."""
    if not work.family.prefill:
        work.warn("a user turn asks the model to continue the last assistant turn: this model does not support prefill")
        return [*turns, {"role": "user", "content": GO_ON}]
    content = _blocks(turns[-1]["content"])
    last = content[-1] if content else {}
    if isinstance(last.get("text"), str) and last["text"] != last["text"].rstrip():
        content[-1] = {**last, "text": last["text"].rstrip()}
        return [*turns[:-1], {**turns[-1], "content": content}]
    return turns


def _content(work: _Work, content: Any) -> Any:
    """Content without text of nothing but blanks; a mark for the cache on one goes to what stands before it."""
    if isinstance(content, str):
        if content and not content.strip():
            work.warn("blank text was left out: models on Bedrock refuse it")
        return content if content.strip() else ""
    kept: list[Json] = []
    for block in content:
        if block.get("type") == "text" and isinstance(block.get("text"), str) and not block["text"].strip():
            if block["text"]:
                work.warn("blank text was left out: models on Bedrock refuse it")
            if block.get("cache_control") and kept and kept[-1].get("type") not in ("thinking", "redacted_thinking"):
                kept[-1] = _controlled(work, {**kept[-1], "cache_control": block["cache_control"]})
            continue
        if block.get("type") == "tool_reference" and not (work.family.searches_tools and _has_search(work)):
            work.warn("tool references were converted to text: tool search is not available here")
            kept.append({"type": "text", "text": f"The tool {block.get('tool_name')} can be called."})
            continue
        kept.append(_controlled(work, _result(work, block) if block.get("type") == "tool_result" else block))
    return kept


def _result(work: _Work, block: Json) -> Json:
    if not _is_content(block.get("content")):
        return block
    rest = {name: value for name, value in block.items() if name != "content"}
    content = _content(work, block["content"])
    return {**rest, "content": content} if content else rest


# ----------------------------------------------------------------------------------------------- the form of the answer


def _form(work: _Work) -> None:
    config = work.object("output_config")
    wanted: Any = config.get("format")
    schema = wanted.get("schema") if isinstance(wanted, dict) else None
    for name in [name for name in config if name not in ("format", "effort")]:
        del config[name]
        work.warn(f"output_config.{name} was left out: Bedrock does not support it")
    if config.get("effort") and not work.family.efforts:
        del config["effort"]
        work.warn("output_config.effort was left out: this model does not support it")
    if isinstance(schema, dict):
        if work.family.schema and enforceable(schema):
            config["format"] = {**wanted, "schema": closed(schema)}
        elif not work.family.schema or work.translated:
            del config["format"]
            if not (work.translated and _force_answer(work, schema)):
                work.instruct(
                    "Answer with JSON that fits this JSON schema, and with nothing else: " + json.dumps(schema)
                )
                work.warn("the response schema is requested in the system prompt, not enforced by this model")
    work.put("output_config", config)


def _force_answer(work: _Work, schema: Json) -> bool:
    family, choice = work.family, work.object("tool_choice")
    thinks = work.thinks and not family.thinks_and_forces
    if not family.tools or not family.forces or thinks or schema.get("type") != "object":
        return False
    if choice.get("type") == "tool":
        return False
    own = [] if choice.get("type") == "none" else list(work.body.get("tools") or ())
    name = ANSWER if all(tool.get("name") != ANSWER for tool in own) else f"{ANSWER}_{len(own)}"
    tool = {"name": name, "description": "Give your answer by calling this.", "input_schema": schema}
    work.body["tools"] = [*own, tool]
    work.body["tool_choice"] = {"type": "any"} if own else {"type": "tool", "name": name}
    work.answer_tool = name
    work.warn("the response schema is enforced through a tool: this model has no structured output")
    return True


# -------------------------------------------------------------------------------------------------- thinking, sampling


def _thinking(work: _Work) -> None:
    family, thinking = work.family, work.object("thinking")
    kind = thinking.get("type")
    if kind == "enabled" and family.thinks in ("adaptive", "always"):
        work.body["thinking"] = {"type": "adaptive"} | {k: v for k, v in thinking.items() if k == "display"}
        work.warn("thinking is adaptive: this model does not support budget_tokens")
    elif kind == "adaptive" and family.thinks == "budget":
        most = work.body.get("max_tokens")
        budget = min(most - 1, _BUDGET) if isinstance(most, int) else 0
        if budget >= _LEAST_BUDGET:
            work.body["thinking"] = {"type": "enabled", "budget_tokens": budget}
            work.warn(f"thinking has a budget of {budget} tokens: this model does not support adaptive thinking")
        else:
            work.drop("thinking", f"max_tokens leaves this model less than {_LEAST_BUDGET} tokens for it")
    elif kind == "disabled" and family.thinks == "always":
        work.drop("thinking", "this model always thinks")
    elif kind in ("enabled", "adaptive") and not family.thinks:
        work.drop("thinking", "this model does not think")
    if work.thinks and work.forced and not family.thinks_and_forces:
        work.drop("thinking", "this model cannot think when it is forced to call a tool")
    if work.thinks:
        if work.body.get("temperature", 1) != 1:
            work.drop("temperature", "it is not compatible with thinking")
        top_p = work.body.get("top_p", 1)
        if isinstance(top_p, int | float) and top_p < _LEAST_TOP_P:
            work.drop("top_p", f"with thinking it must be at least {_LEAST_TOP_P}")
        work.drop("top_k", "it is not compatible with thinking")


def _sampling(work: _Work) -> None:
    family = work.family
    for name, taken in (("temperature", family.temperature), ("top_p", family.top_p), ("top_k", family.temperature)):
        if not taken:
            work.drop(name, "this model does not support it")
    if family.one_sampling and work.body.get("temperature") is not None:
        work.drop("top_p", "this model accepts temperature or top_p, not both")
    stops = work.body.get("stop_sequences")
    if isinstance(stops, list):
        kept = [stop for stop in stops if not isinstance(stop, str) or stop.strip()]
        if len(kept) < len(stops):
            work.warn("blank stop sequences were left out: models on Bedrock refuse them")
        work.put("stop_sequences", kept)


_STEPS = (_fields, _system, _turns, _form, _tools, _choice, _thinking, _sampling, _betas)
_PLAIN = (_system, _turns, _tools, _betas)

"""A Converse request as the family of its model takes it: what it would refuse is left out or said in another way.

What changes neither price nor safety nor answer is taken; what the family refuses is left out or adapted, and named in
a warning. Whatever the format, a request becomes Converse's first and is fitted here once, so that each rule stands
once. What a family takes is in `gateway.families`.

Sources beside that table's: the bedrock-runtime service model; the Converse API reference, for the words of its
refusals; Anthropic's "Extended thinking" for what goes with a thought and what does not.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from typing import Any

from gateway.families import Family
from gateway.wire.schemas import closed, enforceable, rooted

Json = dict[str, Any]

ANSWER = "json_answer"  # the tool that an answer is forced into where a family has no structured output
BEGIN = "."  # a turn that says nothing; Converse takes no blank one
GO_ON = "Continue from exactly where you stopped, without repeating anything."
_BESIDE = "The document is attached."
_PLAIN = {"txt", "md", "csv", "html"}
_LEAST_TOP_P = 0.95  # beside a thought
# The service model's ToolName and ToolUseId.
_NAME, _ID = re.compile(r"[a-zA-Z0-9_-]{1,64}"), re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]+")


@dataclass
class Wish:
    """What a client asked for that Converse has no word for."""

    no_tools: bool = False  # the model is not to call a tool, whichever there are
    one_tool: bool = False  # it is to call one at a time


@dataclass(frozen=True)
class Fitted:
    """A request that its model takes, and how its answer is to be read.

    `answer_tool` names the tool whose input is the answer's text; empty for none. `names` are the client's own of tools
    that are called otherwise here.
    """

    body: Json
    warnings: tuple[str, ...] = ()
    answer_tool: str = ""
    names: Mapping[str, str] = field(default_factory=dict)


def fit(body: Json, family: Family, wish: Wish | None = None, *, translated: bool = True) -> Fitted:
    """The request as the family takes it. Where it is not `translated`, its answer goes back as it comes."""
    if not _is_readable(body):
        return Fitted(body)  # the service says what is wrong with it
    work = _Work(dict(body), family, wish or Wish(), translated)
    for step in _STEPS:
        step(work)
    return Fitted(work.body, tuple(work.warnings), work.answer_tool, work.names)


@dataclass
class _Work:
    body: Json
    family: Family
    wish: Wish
    translated: bool
    warnings: list[str] = field(default_factory=list)
    answer_tool: str = ""
    names: dict[str, str] = field(default_factory=dict)

    def warn(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)

    def put(self, name: str, value: Any) -> None:
        if value:
            self.body[name] = value
        else:
            self.body.pop(name, None)

    @property
    def additional(self) -> Json:
        return dict(self.body.get("additionalModelRequestFields") or {})

    @property
    def tool_config(self) -> Json:
        return dict(self.body.get("toolConfig") or {})

    def blocks(self) -> Iterator[Json]:
        return (block for turn in self.body["messages"] for block in turn["content"])


def _is_readable(body: Json) -> bool:
    """Has it the shape of Converse's request, as deep as it is read here?"""
    turns, system, tools = body.get("messages"), body.get("system") or [], body.get("toolConfig") or {}
    return (
        isinstance(turns, list)
        and all(
            isinstance(turn, dict) and isinstance(turn.get("content"), list) and _are_objects(turn["content"])
            for turn in turns
        )
        and isinstance(system, list)
        and _are_objects(system)
        and isinstance(tools, dict)
        and isinstance(tools.get("tools") or [], list)
        and _are_objects(tools.get("tools") or [])
        and all(
            isinstance(body.get(name) or {}, dict)
            for name in ("inferenceConfig", "additionalModelRequestFields", "outputConfig")
        )
        and all(
            isinstance(block.get(name, {}), dict)
            for turn in turns
            for block in turn["content"]
            for name in ("toolUse", "toolResult", "document", "cachePoint")
        )
    )


def _are_objects(values: list[Any]) -> bool:
    return all(isinstance(value, dict) for value in values)


# ----------------------------------------------------------------------------------------- names of tools, ids of calls


def _labels(work: _Work) -> None:
    """Names and ids as Converse lets them be: MCP servers make longer names, other services' calls have other ids."""
    config = work.tool_config
    tools = config.get("tools") or []
    if work.translated and tools:
        config["tools"] = [_relabelled(work, tool, "toolSpec") for tool in tools]
        if isinstance(chosen := config.get("toolChoice"), dict):
            config["toolChoice"] = _relabelled(work, chosen, "tool")
        work.body["toolConfig"] = config
    if any(block.keys() & {"toolUse", "toolResult"} for block in work.blocks()):
        work.body["messages"] = [
            {**turn, "content": [_labelled(work, block) for block in turn["content"]]} for turn in work.body["messages"]
        ]


def _relabelled(work: _Work, holder: Json, kind: str) -> Json:
    inner = holder.get(kind)
    name = inner.get("name") if isinstance(inner, dict) else None
    if not isinstance(name, str) or _NAME.fullmatch(name):
        return holder
    short = f"{_NOT_IN_NAMES.sub('_', name)[:50]}_{sha256(name.encode()).hexdigest()[:8]}"
    work.names[short] = name
    return {**holder, kind: {**holder[kind], "name": short}}


def _labelled(work: _Work, block: Json) -> Json:
    kind = "toolUse" if "toolUse" in block else "toolResult"
    if kind not in block:
        return block
    if work.translated and kind == "toolUse":
        block = _relabelled(work, block, kind)
    label = block[kind].get("toolUseId")
    if not isinstance(label, str) or _ID.fullmatch(label):
        return block
    return {**block, kind: {**block[kind], "toolUseId": f"call_{sha256(label.encode()).hexdigest()[:24]}"}}


# ----------------------------------------------------------------------------------------------- the form of the answer


def _form(work: _Work) -> None:
    """The schema of the answer: enforced where the family does, else by a tool, else asked for in words."""
    output = dict(work.body.get("outputConfig") or {})
    wanted: Any = output.get("textFormat")
    try:
        told = wanted["structure"]["jsonSchema"]
        schema = json.loads(told["schema"])
    except (KeyError, TypeError, ValueError):
        return
    if not isinstance(schema, dict):
        return
    if work.family.schema and enforceable(schema):
        if (fitted := closed(schema)) != schema:
            inner = {**told, "schema": json.dumps(fitted, separators=(",", ":"))}
            output["textFormat"] = {**wanted, "structure": {"jsonSchema": inner}}
            work.put("outputConfig", output)
        return
    if work.family.schema and not work.translated:
        return
    output.pop("textFormat")
    work.put("outputConfig", output)
    if work.translated and _force_answer(work, schema, told):
        return
    words = "Answer with JSON that fits this JSON schema, and with nothing else: " + json.dumps(schema)
    work.put("system", [*(work.body.get("system") or []), {"text": words}])
    work.warn("the schema of the answer is asked for in the system prompt and not enforced: this model enforces none")


def _force_answer(work: _Work, schema: Json, told: Json) -> bool:
    family, config = work.family, work.tool_config
    chosen = config.get("toolChoice") or {}
    thinks = _thinks(work) and not family.thinks_and_forces
    if not family.tools or not family.forces or thinks or schema.get("type") != "object" or "tool" in chosen:
        return False
    own = [] if work.wish.no_tools else list(config.get("tools") or [])
    taken = {tool["toolSpec"].get("name") for tool in own if isinstance(tool.get("toolSpec"), dict)}
    name = ANSWER if ANSWER not in taken else f"{ANSWER}_{len(taken)}"
    what = f"Give your answer by calling this. {told.get('description') or told.get('name') or ''}".strip()
    tool = {"toolSpec": {"name": name, "description": what, "inputSchema": {"json": schema}}}
    choice: Json = {"any": {}} if own or "tool" not in family.forces else {"tool": {"name": name}}
    work.put("toolConfig", {"tools": [*own, tool], "toolChoice": choice})
    work.wish = Wish(one_tool=work.wish.one_tool)
    work.answer_tool = name
    work.warn("the schema of the answer is enforced by a tool that it is given in: this model has no structured output")
    return True


def _effort(work: _Work) -> None:
    family, output = work.family, dict(work.body.get("outputConfig") or {})
    if family.prefix and not family.efforts and output.pop("effort", None):
        work.put("outputConfig", output)
        work.warn("effort was left out: this model takes none")


# --------------------------------------------------------------------------------------------------------------- tools


def _tools(work: _Work) -> None:
    config, family = work.tool_config, work.family
    tools = [fitted for tool in config.get("tools") or () if (fitted := _tool(work, tool))]
    named = any("cachePoint" not in tool for tool in tools)
    if named and not family.tools:
        work.warn("tools were left out: this model calls none")
        named = False
    if not named or (work.wish.no_tools and not _says_none(work)):
        work.put("toolConfig", None)
        return
    config["tools"] = tools
    chosen = config.get("toolChoice")
    if isinstance(chosen, dict) and chosen:
        _choose(work, config, next(iter(chosen)))
    work.put("toolConfig", config)


def _says_none(work: _Work) -> bool:
    """Claude alone is told to call none, and only where calls were made: without them it needs no tools at all."""
    return work.family.claude and any(block.keys() & {"toolUse", "toolResult"} for block in work.blocks())


def _tool(work: _Work, tool: Json) -> Json | None:
    if "cachePoint" in tool:
        return _mark(work, tool) if work.family.caches_tools else None
    spec = tool.get("toolSpec")
    if not isinstance(spec, dict) or not isinstance(spec.get("inputSchema"), dict):
        return tool
    spec = dict(spec)
    if not str(spec.get("description", "x")).strip():
        del spec["description"]
    schema = rooted(spec["inputSchema"].get("json"))
    if spec.get("strict"):
        if work.family.schema and isinstance(schema, dict) and enforceable(schema):
            schema = closed(schema)
        else:
            del spec["strict"]
            work.warn("strict was left out of tools: this model does not hold itself to their schemas")
    return {"toolSpec": {**spec, "inputSchema": {"json": schema}}}


def _choose(work: _Work, config: Json, kind: str) -> None:
    family = work.family
    if kind == "auto" or kind in family.forces:
        return
    chosen = config.pop("toolChoice")
    if kind == "tool":
        name = chosen["tool"].get("name") if isinstance(chosen["tool"], dict) else None
        only = [tool for tool in config["tools"] if (tool.get("toolSpec") or {}).get("name") == name]
        if only and "any" in family.forces:
            config |= {"tools": only, "toolChoice": {"any": {}}}
            work.warn("the other tools were left out: this model cannot be made to call one of several")
            return
        words = f"Call the tool {name} now."
    else:
        words = "Call one of your tools now."
    work.put("system", [*(work.body.get("system") or []), {"text": words}])
    work.warn(
        "the call of a tool is asked for in the system prompt and not enforced: this model cannot be made to call"
    )


def _one_tool(work: _Work) -> None:
    """`one_tool` and `no_tools` as Claude takes them; no other model has such switches."""
    config, wish = work.tool_config, work.wish
    if not config or "tool_choice" in work.additional:
        return
    if not work.family.claude:
        if wish.one_tool:
            work.warn("parallel tool calls are not switched off: this model has no such switch")
        return
    chosen = config.get("toolChoice") or {}
    if wish.no_tools:
        own: Json = {"type": "none"}
    elif wish.one_tool:
        kind = next(iter(chosen), "auto")
        own = {"type": kind, "disable_parallel_tool_use": True, **chosen.get(kind, {})}
    else:
        return
    config.pop("toolChoice", None)
    work.put("toolConfig", config)
    work.put("additionalModelRequestFields", work.additional | {"tool_choice": own})


def _betas(work: _Work) -> None:
    """Claude's beta flags, which Converse takes among the additional fields, and refuses where it knows them not."""
    given = work.additional.get("anthropic_beta")
    if not work.family.claude or not isinstance(given, list):
        return
    kept = [flag for flag in given if flag in work.family.betas]
    if len(kept) < len(given):
        left = ", ".join(str(flag) for flag in given if flag not in kept)
        work.warn(f"anthropic_beta {left} was left out: Bedrock does not know it for this model")
        rest = {name: value for name, value in work.additional.items() if name != "anthropic_beta"}
        work.put("additionalModelRequestFields", rest | ({"anthropic_beta": kept} if kept else {}))


# ------------------------------------------------------------------------------------------------------------ thinking


def _thinks(work: _Work) -> bool:
    thinking = (work.body.get("additionalModelRequestFields") or {}).get("thinking")
    return isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")


def _thinking(work: _Work) -> None:
    """A thought does not go with a forced tool, and narrows how the answer may be sampled."""
    if not work.family.claude or not _thinks(work):
        return
    own = work.additional.get("tool_choice")
    chosen = work.tool_config.get("toolChoice") or {}
    forced = bool(chosen.keys() & {"any", "tool"}) or (isinstance(own, dict) and own.get("type") in ("any", "tool"))
    if forced and not work.family.thinks_and_forces:
        left = work.additional
        del left["thinking"]
        work.put("additionalModelRequestFields", left)
        work.warn("thinking was left out: this model does not think where it is made to call a tool")
        return
    config = dict(work.body.get("inferenceConfig") or {})
    if config.get("temperature", 1) != 1:
        del config["temperature"]
        work.warn("temperature was left out: it does not go with thinking")
    if _number(config.get("topP", 1)) < _LEAST_TOP_P:
        del config["topP"]
        work.warn(f"top_p was left out: with thinking it must be at least {_LEAST_TOP_P}")
    work.put("inferenceConfig", config)
    left = work.additional
    if "top_k" in left:
        del left["top_k"]
        work.put("additionalModelRequestFields", left)
        work.warn("top_k was left out: it does not go with thinking")


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 1.0


# ------------------------------------------------------------------------------------------------------------ sampling


def _sampling(work: _Work) -> None:
    config, family = dict(work.body.get("inferenceConfig") or {}), work.family
    for name, ours, taken in (("temperature", "temperature", family.temperature), ("topP", "top_p", family.top_p)):
        if not taken and config.pop(name, None) is not None:
            work.warn(f"{ours} was left out: this model takes none")
    if family.one_sampling and {"temperature", "topP"} <= config.keys():
        del config["topP"]
        work.warn("top_p was left out: this model takes temperature or top_p, not both")
    if family.claude and not family.temperature and "top_k" in (left := work.additional):
        del left["top_k"]
        work.put("additionalModelRequestFields", left)
        work.warn("top_k was left out: this model takes none")
    stops = config.get("stopSequences")
    if isinstance(stops, list):
        kept = [stop for stop in stops if not isinstance(stop, str) or stop.strip()]
        if len(kept) < len(stops):
            work.warn("blank stop sequences were left out: models on Bedrock take none")
        if kept and not family.stops:
            work.warn("stop sequences were left out: this model takes none")
            kept = []
        config["stopSequences"] = kept
        if not kept:
            del config["stopSequences"]
    work.put("inferenceConfig", config)


# -------------------------------------------------------------------------------------------------------------- system


def _system(work: _Work) -> None:
    marked = (_marked(work, block) for block in work.body.get("system") or ())
    kept = [block for block in marked if block and not _blank(block)]
    while kept and "cachePoint" in kept[0]:
        del kept[0]
    if kept and not work.family.system:
        words = [block for block in kept if "text" in block]
        work.body["messages"] = [{"role": "user", "content": words}, *work.body["messages"]]
        work.warn("the system prompt was put before the first turn: this model takes none")
        kept = []
    work.put("system", kept)


def _blank(block: Json) -> bool:
    return isinstance(block.get("text"), str) and not block["text"].strip()


def _marked(work: _Work, block: Json) -> Json | None:
    return _mark(work, block) if "cachePoint" in block else block


def _mark(work: _Work, block: Json) -> Json | None:
    """A mark of the prompt cache; None where the family has no cache that is marked."""
    if not work.family.caches:
        work.warn("marks for the prompt cache were left out: this model takes none")
        return None
    point = block["cachePoint"]
    if not work.family.caches_an_hour and isinstance(point, dict) and point.get("ttl") == "1h":
        work.warn("the prompt cache keeps for five minutes: this model knows no hour")
        return {"cachePoint": {name: value for name, value in point.items() if name != "ttl"}}
    return block


# --------------------------------------------------------------------------------------------------------------- turns


def _turns(work: _Work) -> None:
    """Turns that alternate, begin with the user, and hold nothing blank."""
    turns: list[Json] = []
    for turn in work.body["messages"]:
        content = [fitted for block in turn["content"] for fitted in _content(work, block)]
        while content and "cachePoint" in content[0]:
            del content[0]
        if not content:
            continue
        if turns and turns[-1]["role"] == turn.get("role") != "system":
            turns[-1]["content"] += content
        else:
            turns.append({**turn, "content": content})
    if not turns and work.body["messages"]:
        turns = [{"role": "user", "content": [{"text": BEGIN}]}]
    if turns and turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": [{"text": BEGIN}]})
        work.warn("a turn of the user was put before the first, which was the assistant's")
    if turns and turns[-1]["role"] == "assistant" and not work.family.prefill:
        turns.append({"role": "user", "content": [{"text": GO_ON}]})
        work.warn("the last turn, the assistant's, is to be gone on with by a turn of the user: this model begins anew")
    work.body["messages"] = turns


def _content(work: _Work, block: Json) -> list[Json]:
    if _blank(block):
        if block["text"]:
            work.warn("text of nothing but blanks was left out: models on Bedrock take none")
        return []
    if "cachePoint" in block:
        return [marked] if (marked := _mark(work, block)) else []
    if "toolResult" in block:
        return [{**block, "toolResult": _result(work, block["toolResult"])}]
    if "document" in block and not work.family.documents and (text := _words_of(block["document"])):
        work.warn("documents were sent as text: this model reads none")
        return [{"text": text}]
    return [block]


def _result(work: _Work, result: Json) -> Json:
    parts = result.get("content")
    fitted = dict(result)
    if isinstance(parts, list):
        fitted["content"] = [part for part in parts if not (isinstance(part, dict) and _blank(part))]
    if fitted.get("status") == "error" and not work.family.result_status:
        del fitted["status"]
        fitted["content"] = [{"text": "Error:"}, *fitted.get("content", [])]
    elif not work.family.result_status:
        fitted.pop("status", None)
    return fitted


def _words_of(document: Json) -> str:
    """The words of a document that is text; empty for any other."""
    source = document.get("source")
    source = source if isinstance(source, dict) else {}
    text = source.get("text")
    if document.get("format") in _PLAIN and isinstance(source.get("bytes"), str):
        try:
            text = binascii.a2b_base64(source["bytes"]).decode()
        except ValueError:
            text = None
    name = document.get("name", "")
    return f'<document name="{name}">\n{text}\n</document>' if isinstance(text, str) and text.strip() else ""


# -------------------------------------------------------------------------------- calls of tools, and their results


def _calls(work: _Work) -> None:
    """Calls and results that the model may read as such: those that belong together, where tools are declared."""
    turns = work.body["messages"]
    if not any(block.keys() & {"toolUse", "toolResult"} for turn in turns for block in turn["content"]):
        return
    if not work.tool_config and work.family.claude and work.family.tools:
        _declare(work)
    if work.tool_config:
        kept, why = _pairs(turns), "calls of tools without their results, or results without calls, were put into words"
    else:
        kept, why = frozenset(), "earlier calls of tools were put into words, with their results: it may call none now"
    told: list[Json] = []
    for index, turn in enumerate(turns):
        content = [_told(block, index, kept) for block in turn["content"]]
        if content != turn["content"]:
            work.warn(why)
        told.append({**turn, "content": content})
    work.body["messages"] = told


def _declare(work: _Work) -> None:
    """Claude reads what was called before only beside a declaration, and can be told to call none of it."""
    names = dict.fromkeys(block["toolUse"].get("name") for block in work.blocks() if "toolUse" in block)
    schema = {"json": {"type": "object"}}
    specs = [{"toolSpec": {"name": name, "inputSchema": schema}} for name in names if name]
    if specs:
        work.put("toolConfig", {"tools": specs})
        work.put("additionalModelRequestFields", work.additional | {"tool_choice": {"type": "none"}})


def _pairs(turns: list[Json]) -> frozenset[tuple[int, str]]:
    """The calls that the turn after theirs answers: the number of their turn, and their id."""
    found: set[tuple[int, str]] = set()
    for index, (turn, after) in enumerate(pairwise(turns)):
        asked = {str(block["toolUse"].get("toolUseId")) for block in turn["content"] if "toolUse" in block}
        given = {str(block["toolResult"].get("toolUseId")) for block in after["content"] if "toolResult" in block}
        found |= {(index, each) for each in asked & given}
    return frozenset(found)


def _told(block: Json, index: int, kept: frozenset[tuple[int, str]]) -> Json:
    if "toolUse" in block and (index, str(block["toolUse"].get("toolUseId"))) not in kept:
        use = block["toolUse"]
        return {"text": f"[called the tool {use.get('name')} with {json.dumps(use.get('input'))}]"}
    if "toolResult" in block and (index - 1, str(block["toolResult"].get("toolUseId"))) not in kept:
        parts = block["toolResult"].get("content")
        words = [_word(part) for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        return {"text": f"[the tool answered: {' '.join(filter(None, words))}]"}
    return block


def _word(part: Json) -> str:
    if isinstance(part.get("text"), str):
        return str(part["text"])
    if "json" in part:
        return json.dumps(part["json"])
    return f"({next(iter(part), 'nothing')})"


# ----------------------------------------------------------------------------------------- what may stand beside what


def _neighbours(work: _Work) -> None:
    """A document has a text beside it; a result has beside it what the family allows."""
    turns: list[Json] = []
    for turn in work.body["messages"]:
        parts = _apart(work, turn["content"]) if turn.get("role") == "user" else [turn["content"]]
        for index, content in enumerate(parts):
            if index:
                turns.append({"role": "assistant", "content": [{"text": BEGIN}]})
            alone = any("document" in block for block in content) and not any("text" in block for block in content)
            if alone:
                work.warn("a text was put beside a document: models on Bedrock read none alone")
            turns.append({**turn, "content": [*content, {"text": _BESIDE}] if alone else content})
    work.body["messages"] = turns


def _apart(work: _Work, content: list[Json]) -> list[list[Json]]:
    results: list[Json] = []
    others: list[Json] = []
    place = others
    for block in content:
        if "cachePoint" not in block:  # a mark goes with what it follows
            place = results if "toolResult" in block else others
        place.append(block)
    if not others or not results:
        return [content]
    documents = any("document" in block for block in others) and not work.family.results_with_documents
    if not (work.family.results_alone or documents):
        return [content]
    work.warn("the results of tools were put into a turn of their own: this model takes nothing beside them")
    return [results, others]


_STEPS = (
    _labels,
    _form,
    _effort,
    _tools,
    _system,
    _turns,
    _calls,
    _one_tool,
    _betas,
    _thinking,
    _sampling,
    _neighbours,
)

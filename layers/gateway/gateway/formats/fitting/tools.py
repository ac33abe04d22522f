"""Tools, the calls of them that were made, and the names and ids of both."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from itertools import pairwise

from gateway.formats.fitting.work import Json, Work, mark
from gateway.formats.json_schemas import closed, enforceable, rooted

# The service model's ToolName and ToolUseId.
_NAME, _ID = re.compile(r"[a-zA-Z0-9_-]{1,64}"), re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]+")


def labels(work: Work) -> None:
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


def _digest(text: str) -> str:
    return sha256(text.encode(errors="surrogatepass")).hexdigest()  # JSON can hold half a character


def _relabelled(work: Work, holder: Json, kind: str) -> Json:
    inner = holder.get(kind)
    name = inner.get("name") if isinstance(inner, dict) else None
    if not isinstance(name, str) or _NAME.fullmatch(name):
        return holder
    short = f"{_NOT_IN_NAMES.sub('_', name)[:50]}_{_digest(name)[:8]}"
    work.names[short] = name
    return {**holder, kind: {**holder[kind], "name": short}}


def _labelled(work: Work, block: Json) -> Json:
    kind = "toolUse" if "toolUse" in block else "toolResult"
    if kind not in block:
        return block
    if work.translated and kind == "toolUse":
        block = _relabelled(work, block, kind)
    label = block[kind].get("toolUseId")
    if not isinstance(label, str) or _ID.fullmatch(label):
        return block
    return {**block, kind: {**block[kind], "toolUseId": f"call_{_digest(label)[:24]}"}}


def tools(work: Work) -> None:
    config, family = work.tool_config, work.family
    tools = [fitted for tool in config.get("tools") or () if (fitted := _tool(work, tool))]
    named = any("cachePoint" not in tool for tool in tools)
    if named and not family.tools:
        work.warn("tools were left out: this model does not support them")
        named = False
    if not named or (work.wish.no_tools and not _says_none(work)):
        work.put("toolConfig", None)
        return
    config["tools"] = tools
    chosen = config.get("toolChoice")
    if isinstance(chosen, dict) and chosen:
        _choose(work, config, next(iter(chosen)))
    work.put("toolConfig", config)


def _says_none(work: Work) -> bool:
    """Claude alone is told to call none, and only where calls were made: without them it needs no tools at all."""
    return work.family.claude and any(block.keys() & {"toolUse", "toolResult"} for block in work.blocks())


def _tool(work: Work, tool: Json) -> Json | None:
    if "cachePoint" in tool:
        return mark(work, tool) if work.family.caches_tools else None
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
            work.warn("strict was left out of tools: this model does not enforce their schemas")
    return {"toolSpec": {**spec, "inputSchema": {"json": schema}}}


def _choose(work: Work, config: Json, kind: str) -> None:
    family = work.family
    if kind == "auto" or kind in family.forces:
        return
    chosen = config.pop("toolChoice")
    if kind == "tool":
        name = chosen["tool"].get("name") if isinstance(chosen["tool"], dict) else None
        only = [tool for tool in config["tools"] if (tool.get("toolSpec") or {}).get("name") == name]
        if only and "any" in family.forces:
            config |= {"tools": only, "toolChoice": {"any": {}}}
            work.warn("the other tools were left out: this model cannot be forced to call one of several")
            return
        words = f"Call the tool {name} now."
    else:
        words = "Call one of your tools now."
    work.put("system", [*(work.body.get("system") or []), {"text": words}])
    work.warn(
        "a tool call is requested in the system prompt, not enforced: this model does not support forced tool calls"
    )


def one_tool(work: Work) -> None:
    """`one_tool` and `no_tools` as Claude takes them; no other model has such switches."""
    config, wish = work.tool_config, work.wish
    if not config or "tool_choice" in work.additional:
        return
    if not work.family.claude:
        if wish.one_tool:
            work.warn("parallel tool calls were not disabled: this model does not support disabling them")
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


def calls(work: Work) -> None:
    """Calls and results that the model may read as such: those that belong together, where tools are declared."""
    turns = work.body["messages"]
    if not any(block.keys() & {"toolUse", "toolResult"} for turn in turns for block in turn["content"]):
        return
    if not work.tool_config and work.family.claude and work.family.tools:
        _declare(work)
    if work.tool_config:
        kept, why = _pairs(turns), "tool calls without results, or results without calls, were converted to text"
    else:
        kept, why = frozenset(), "earlier tool calls and results were converted to text: the model may call no tool now"
    told: list[Json] = []
    for index, turn in enumerate(turns):
        content = [_told(block, index, kept) for block in turn["content"]]
        if content != turn["content"]:
            work.warn(why)
        told.append({**turn, "content": content})
    work.body["messages"] = told


def _declare(work: Work) -> None:
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

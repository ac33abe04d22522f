"""A Converse request while it is fitted to its model, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.calls.families import Family

Json = dict[str, Any]

ANSWER = "json_answer"  # the tool that an answer is forced into where a family has no structured output
BEGIN = "."  # a turn that says nothing; Converse takes no blank one
GO_ON = "Continue from exactly where you stopped, without repeating anything."


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


@dataclass
class Work:
    body: Json
    family: Family
    wish: Wish
    translated: bool
    warnings: dict[str, None] = field(default_factory=dict)
    answer_tool: str = ""
    names: dict[str, str] = field(default_factory=dict)

    def warn(self, message: str) -> None:
        self.warnings[message] = None

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


def is_readable(body: Json) -> bool:
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


def is_blank(block: Json) -> bool:
    return isinstance(block.get("text"), str) and not block["text"].strip()


def mark(work: Work, block: Json) -> Json | None:
    """A mark of the prompt cache; None where the family has no cache that is marked."""
    if not work.family.caches:
        work.warn("prompt cache markers were left out: this model does not support them")
        return None
    point = block["cachePoint"]
    if not work.family.caches_an_hour and isinstance(point, dict) and point.get("ttl") == "1h":
        work.warn("the prompt cache lasts five minutes: this model does not support one hour")
        return {"cachePoint": {name: value for name, value in point.items() if name != "ttl"}}
    return block


def is_thinking(work: Work) -> bool:
    thinking = (work.body.get("additionalModelRequestFields") or {}).get("thinking")
    return isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")

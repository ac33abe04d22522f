"""How the answer is asked for: its form, how hard to think about it, how to sample it."""

from __future__ import annotations

import json
from typing import Any

from gateway.formats.fitting.work import ANSWER, Json, Wish, Work, is_thinking
from gateway.formats.json_schemas import closed, enforceable

_LEAST_TOP_P = 0.95  # beside a thought


def form(work: Work) -> None:
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
    work.warn("the response schema is requested in the system prompt, not enforced: this model enforces no schema")


def _force_answer(work: Work, schema: Json, told: Json) -> bool:
    family, config = work.family, work.tool_config
    chosen = config.get("toolChoice") or {}
    thinks = is_thinking(work) and not family.thinks_and_forces
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
    work.warn("the response schema is enforced through a tool: this model has no structured output")
    return True


def effort(work: Work) -> None:
    family, output = work.family, dict(work.body.get("outputConfig") or {})
    if family.prefix and not family.efforts and output.pop("effort", None):
        work.put("outputConfig", output)
        work.warn("effort was left out: this model does not support it")


def betas(work: Work) -> None:
    """Claude's beta flags, which Converse takes among the additional fields, and refuses where it knows them not."""
    given = work.additional.get("anthropic_beta")
    if not work.family.claude or not isinstance(given, list):
        return
    kept = [flag for flag in given if flag in work.family.betas]
    if len(kept) < len(given):
        left = ", ".join(str(flag) for flag in given if flag not in kept)
        work.warn(f"anthropic_beta {left} was left out: Bedrock does not support it for this model")
        rest = {name: value for name, value in work.additional.items() if name != "anthropic_beta"}
        work.put("additionalModelRequestFields", rest | ({"anthropic_beta": kept} if kept else {}))


def thinking(work: Work) -> None:
    """A thought does not go with a forced tool, and narrows how the answer may be sampled."""
    if not work.family.claude or not is_thinking(work):
        return
    own = work.additional.get("tool_choice")
    chosen = work.tool_config.get("toolChoice") or {}
    forced = bool(chosen.keys() & {"any", "tool"}) or (isinstance(own, dict) and own.get("type") in ("any", "tool"))
    if forced and not work.family.thinks_and_forces:
        left = work.additional
        del left["thinking"]
        work.put("additionalModelRequestFields", left)
        work.warn("thinking was left out: this model cannot think when it is forced to call a tool")
        return
    config = dict(work.body.get("inferenceConfig") or {})
    if config.get("temperature", 1) != 1:
        del config["temperature"]
        work.warn("temperature was left out: it is not compatible with thinking")
    if _number(config.get("topP", 1)) < _LEAST_TOP_P:
        del config["topP"]
        work.warn(f"top_p was left out: with thinking it must be at least {_LEAST_TOP_P}")
    work.put("inferenceConfig", config)
    left = work.additional
    if "top_k" in left:
        del left["top_k"]
        work.put("additionalModelRequestFields", left)
        work.warn("top_k was left out: it is not compatible with thinking")


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 1.0


def sampling(work: Work) -> None:
    config, family = dict(work.body.get("inferenceConfig") or {}), work.family
    for name, ours, taken in (("temperature", "temperature", family.temperature), ("topP", "top_p", family.top_p)):
        if not taken and config.pop(name, None) is not None:
            work.warn(f"{ours} was left out: this model does not support it")
    if family.one_sampling and {"temperature", "topP"} <= config.keys():
        del config["topP"]
        work.warn("top_p was left out: this model accepts temperature or top_p, not both")
    if family.claude and not family.temperature and "top_k" in (left := work.additional):
        del left["top_k"]
        work.put("additionalModelRequestFields", left)
        work.warn("top_k was left out: this model does not support it")
    stops = config.get("stopSequences")
    if isinstance(stops, list):
        kept = [stop for stop in stops if not isinstance(stop, str) or stop.strip()]
        if len(kept) < len(stops):
            work.warn("blank stop sequences were left out: models on Bedrock refuse them")
        if kept and not family.stops:
            work.warn("stop sequences were left out: this model does not support them")
            kept = []
        config["stopSequences"] = kept
        if not kept:
            del config["stopSequences"]
    work.put("inferenceConfig", config)

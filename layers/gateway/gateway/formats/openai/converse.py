"""How requests in OpenAI's formats become Converse's: turns, content, tools, reasoning, the form of the answer.

What a family of models does not take is left to `gateway.formats.fitting`; how each is asked to think stands here.
Sources: the bedrock-runtime service model; Amazon Bedrock's user guide for Claude's thinking and for gpt-oss; Amazon
Nova 2's user guide for `reasoningConfig`.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.calls.families import Family, family
from gateway.formats.fitting.converse import fit
from gateway.formats.fitting.work import Fitted, Wish
from gateway.formats.openai.fields import (
    Json,
    enum_field,
    invalid_param,
    known_fields,
    listed,
    text,
)

EFFORTS = {name: name for name in ("none", "minimal", "low", "medium", "high", "xhigh", "max")}
SERVICE_TIERS = {"auto": "", "default": "", "flex": "flex", "priority": "priority"}
TOOL_CHOICES: Mapping[str, Json] = {"auto": {"auto": {}}, "none": {"none": {}}, "required": {"any": {}}}
# Converse's reasons to stop before the answer was whole.
FULL = ("max_tokens", "model_context_window_exceeded")
FILTERED = ("guardrail_intervened", "content_filtered")
TTLS = {"5m": "5m", "1h": "1h"}
HELD_FOR_ANSWER = 4096  # what is left for the answer where a thinking budget is set and no maximum is named

_IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "text/plain": "txt",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*;base64,", re.IGNORECASE)

_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 2048, "high": 4096}
_JSON_ONLY = "Answer with one JSON object and nothing else."


def cache_point(value: Any, where: str, warn: Callable[[str], None]) -> Json:
    """The block that marks what stands before it for the prompt cache, from an Anthropic-style `cache_control`."""
    given = known_fields(value, where, ("type", "ttl"), warn=warn)
    enum_field(given, "type", {"ephemeral": "ephemeral"}, f"{where}.")
    ttl = enum_field(given, "ttl", TTLS, f"{where}.")
    # Five minutes are the default, and models that know no other take no ttl.
    return {"cachePoint": {"type": "default", "ttl": "1h"} if ttl == "1h" else {"type": "default"}}


def _data_url(url: str, where: str) -> tuple[str, str]:
    """The media type and the base64 of a data: URL."""
    match = _DATA_URL.match(url)
    if match is None:
        raise invalid_param(where, "must be a data: URL with a media type and ;base64.", "invalid_data_url")
    return match[1].lower(), _base64(url[match.end() :], where)


def _base64(data: str, where: str) -> str:
    try:
        sound = bool(binascii.a2b_base64(data, strict_mode=True))
    except ValueError:
        sound = False
    if not sound:
        raise invalid_param(where, "must contain base64.", "invalid_base64")
    return data


def tool_spec(name: Any, description: Any, parameters: Any, strict: Any, where: str) -> Json:
    """A function that the model may call."""
    if not isinstance(name, str) or not name:
        raise invalid_param(f"{where}.name", "must name the function.", "missing_required_parameter")
    if parameters is not None and not isinstance(parameters, dict):
        raise invalid_param(f"{where}.parameters", "must be a JSON schema.", "invalid_type")
    spec: Json = {"name": name, "inputSchema": {"json": parameters or {"type": "object", "properties": {}}}}
    if isinstance(description, str) and description:
        spec["description"] = description
    if strict is True:
        spec["strict"] = True
    return {"toolSpec": spec}


def tool_choice(given: Json, within: str = "") -> Json:
    """Converse's tool choice, or `{"none": {}}`; empty where unsaid. It, or its field `within`, names a function."""
    chosen = given.get("tool_choice")
    if not isinstance(chosen, dict):
        return enum_field(given, "tool_choice", TOOL_CHOICES) or {}
    function = chosen.get(within) if within else chosen
    if chosen.get("type") != "function" or not isinstance(function, dict) or not function.get("name"):
        raise invalid_param("tool_choice", "must be auto, none, required, or name one function.")
    return {"tool": {"name": function["name"]}}


def tool_use(call_id: Any, name: Any, arguments: Any, where: str) -> Json:
    """A call that the model made earlier; `arguments` is JSON text."""
    if not (isinstance(call_id, str) and call_id and isinstance(name, str) and name):
        raise invalid_param(where, "must have an id and a name.", "missing_required_parameter")
    try:
        value = json.loads(arguments or "{}")
    except (TypeError, ValueError):
        value = None
    if not isinstance(value, dict):
        raise invalid_param(f"{where}.arguments", "must be a string that contains a JSON object.", "invalid_json")
    return {"toolUse": {"toolUseId": call_id, "name": name, "input": value}}


def tool_result(call_id: str, blocks: list[Json]) -> list[Json]:
    """What a tool gave back. The mark of the prompt cache stands beside a result, never inside one."""
    marks = [block for block in blocks if "cachePoint" in block]
    content = [block for block in blocks if "cachePoint" not in block]
    return [{"toolResult": {"toolUseId": call_id, "content": content}}, *marks[-1:]]


def text_of(block: Json) -> str:
    """The text of a block of an answer; a cited text counts as text."""
    if "citationsContent" in block:
        return "".join(part.get("text", "") for part in block["citationsContent"].get("content", ()))
    return str(block.get("text", ""))


@dataclass
class Draft:
    """A Converse request in the making."""

    base: str
    system: list[Json] = field(default_factory=list)
    messages: list[Json] = field(default_factory=list)
    inference: Json = field(default_factory=dict)
    additional: Json = field(default_factory=dict)
    output: Json = field(default_factory=dict)
    tool_config: Json = field(default_factory=dict)
    service_tier: str = ""
    warnings: dict[str, None] = field(default_factory=dict)
    wish: Wish = field(default_factory=Wish)
    _names: set[str] = field(default_factory=set)

    @property
    def family(self) -> Family:
        return family(self.base)

    def say(self, role: str, blocks: list[Json]) -> None:
        """Add to the conversation. Converse's roles alternate, so neighbours of one role become one turn."""
        if not blocks:
            return
        if self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["content"] += blocks
        else:
            self.messages.append({"role": role, "content": blocks})

    def instruct(self, blocks: list[Json], where: str) -> None:
        if any(block.keys() & {"image", "document"} for block in blocks):
            raise invalid_param(where, "must be text: a system message cannot contain images or files.")
        if blocks and self.messages:
            self.warn("system messages after the first turn were moved before it")
        self.system += blocks

    def warn(self, message: str) -> None:
        self.warnings[message] = None

    def known(self, value: Any, where: str, known: Sequence[str], refused: Mapping[str, str] | None = None) -> Json:
        """An object's known fields; what it says beside them is left out with a warning."""
        return known_fields(value, where, known, refused, self.warn)

    def temperature(self, given: Json) -> float | None:
        """OpenAI's goes to 2, Converse's to 1."""
        asked: float | None = given.get("temperature")
        if asked is not None and asked > 1:
            self.warn("temperature was reduced to 1, the maximum on Bedrock")
            return 1
        return asked

    def image_block(self, url: str, detail: Any, where: str) -> Json:
        if detail not in (None, "auto"):
            self.warn("image detail is ignored: models on Bedrock do not support it")
        if not url.startswith("data:"):
            message = "must be a data: URL. Fetch the image and send it as data:image/png;base64,…"
            raise invalid_param(where, message, "invalid_image_url")
        kind, data = _data_url(url, where)
        if kind not in _IMAGES:
            raise invalid_param(where, f"must contain a png, jpeg, gif or webp, not {kind}.", "invalid_image_format")
        return {"image": {"format": _IMAGES[kind], "source": {"bytes": data}}}

    def document_block(self, data: str, filename: str, where: str) -> Json:
        """A file of a message, by its data: URL, or by bare base64 where its name says what it is."""
        if data.startswith("data:"):
            kind, content = _data_url(data, where)
            kind = _DOCUMENTS.get(kind, kind)
        else:
            kind, content = filename.rpartition(".")[2].lower(), _base64(data, where)
        if kind not in _DOCUMENTS.values():
            allowed = ", ".join(_DOCUMENTS.values())
            raise invalid_param(where, f"must be a data: URL of one of {allowed}.", "invalid_file_format")
        return {"document": {"format": kind, "name": self._name(filename), "source": {"bytes": content}}}

    def _name(self, filename: str) -> str:
        """A document's name as Bedrock lets it be, and unlike the others'."""
        stem = filename.rpartition(".")[0] or filename
        plain = " ".join(re.sub(r"[^A-Za-z0-9()\[\]-]+", " ", stem).split())[:180] or "document"
        name, number = plain, 1
        while name in self._names:
            number += 1
            name = f"{plain} {number}"
        self._names.add(name)
        return name

    def use_tools(self, specs: list[Json], chosen: Json, parallel: bool) -> None:
        """Let the model call functions. `chosen` is Converse's tool choice, or `{"none": {}}`; empty where unsaid."""
        if not specs and chosen.keys() & {"any", "tool"}:
            raise invalid_param("tool_choice", "requires tools. Send them, or leave it out.")
        self.wish = Wish(no_tools="none" in chosen, one_tool=not parallel)
        if specs:
            self.tool_config = {"tools": specs}
            if chosen.keys() & {"any", "tool"}:
                self.tool_config["toolChoice"] = chosen

    def reason(self, effort: str, param: str, maximum: str) -> None:
        """Ask the model to think as hard as `effort`; call this once the conversation and the maximum are known."""
        usual = {"minimal": "low"}.get(effort, effort)
        thinks = self.family.thinks
        if thinks == "budget":
            self._think_within(effort, param, maximum)
        elif thinks == "always" and effort == "none":
            self.warn(f"{param} none has no effect: this model always thinks")
        elif thinks:
            self.additional["thinking"] = {"type": "disabled" if effort == "none" else "adaptive"}
            if effort != "none":
                self.output["effort"] = usual
        elif self.base.startswith("openai.gpt-oss"):
            self.additional["reasoning_effort"] = self._effort(usual, param, "low", "medium", "high")
        elif self.base.startswith("openai."):
            self.additional["reasoning"] = {"effort": usual}
        elif self.base.startswith("amazon.nova-2"):
            usual = self._effort(usual, param, "none", "low", "medium", "high")
            config = {"type": "enabled", "maxReasoningEffort": usual} if usual != "none" else {"type": "disabled"}
            self.additional["reasoningConfig"] = config
        elif self.base.startswith(("moonshot.", "moonshotai.", "zai.glm-")):
            self.additional["reasoning_effort"] = usual
        elif effort != "none":
            self.warn(f"{param} was left out: this model does not think")

    def _effort(self, effort: str, param: str, *known: str) -> str:
        """The effort, or the nearest that the model knows; `known` are from the least to the most."""
        if effort in known:
            return effort
        order = list(EFFORTS)
        nearest = min(known, key=lambda name: abs(order.index(name) - order.index(effort)))
        self.warn(f"{param} {effort} was changed to {nearest}: this model supports {', '.join(known)}")
        return nearest

    def _think_within(self, effort: str, param: str, maximum: str) -> None:
        if effort == "none":
            return
        budget = _BUDGETS[self._effort(effort, param, *_BUDGETS)]
        if self._tool_turn_without_thoughts():
            self.warn(f"{param} has no effect on this turn: its tool calls were sent back without their reasoning")
            return
        asked = self.inference.setdefault("maxTokens", budget + HELD_FOR_ANSWER)
        if asked <= budget:
            budget = asked // 2
            if budget < _BUDGETS["low"]:
                self.warn(f"{param} was left out: {maximum} leaves less than {_BUDGETS['low']} tokens to think")
                return
            self.warn(f"{param} {effort} is limited to {budget} thinking tokens: {maximum} leaves no more")
        self.additional["thinking"] = {"type": "enabled", "budget_tokens": budget}

    def _tool_turn_without_thoughts(self) -> bool:
        """Did a tool answer last, to a turn without its `thinking_blocks`? A request to think would be refused then."""
        if len(self.messages) < 2 or not any("toolResult" in block for block in self.messages[-1]["content"]):
            return False
        return "reasoningContent" not in self.messages[-2]["content"][0]

    def answer_in(self, schema: Any, name: Any, description: Any, where: str) -> None:
        """Bind the answer to a JSON schema."""
        if not isinstance(schema, dict):
            raise invalid_param(f"{where}.schema", "must be a JSON schema.", "missing_required_parameter")
        structure = {"schema": json.dumps(schema, separators=(",", ":"))}
        structure |= {"name": name} if isinstance(name, str) and name else {}
        structure |= {"description": description} if isinstance(description, str) and description else {}
        self.output["textFormat"] = {"type": "json_schema", "structure": {"jsonSchema": structure}}

    def answer_in_json(self, where: str) -> None:
        """Converse binds an answer to a schema only, so that bare JSON has to be asked for in words."""
        self.system.append({"text": _JSON_ONLY})
        self.warn(f"{where} json_object is requested in the system prompt, not enforced; json_schema is enforced")

    def fitted(self, where: str) -> Fitted:
        """Converse's body as the model takes it, without its id; `where` is the field that the conversation came in."""
        if not self.messages:
            raise invalid_param(where, "must contain at least one user message.", "missing_required_parameter")
        parts: Json = {
            "messages": self.messages,
            "system": self.system,
            "inferenceConfig": self.inference,
            "toolConfig": self.tool_config,
            "additionalModelRequestFields": self.additional,
            "outputConfig": self.output,
            "serviceTier": {"type": self.service_tier} if self.service_tier else {},
        }
        made = fit({name: part for name, part in parts.items() if part}, self.family, self.wish)
        return replace(made, warnings=(*self.warnings, *made.warnings))


def stop_sequences(value: Any) -> list[str]:
    sequences = [value] if isinstance(value, str) else value
    if not isinstance(sequences, list) or not all(isinstance(one, str) for one in sequences):
        raise invalid_param("stop", "must be a string or a list of strings.", "invalid_type")
    return sequences


def check_bookkeeping(draft: Draft, given: Json) -> None:
    """How a call is kept or labelled, which changes nothing here."""
    if given.get("prompt_cache_retention", "in_memory") != "in_memory":
        draft.warn("prompt_cache_retention is ignored: mark content to cache with cache_control, whose ttl may be 1h")
    text(given, "prompt_cache_key")
    text(given, "safety_identifier")


def stream_options(draft: Draft, given: Json, stream: bool) -> Json:
    if "stream_options" not in given:
        return {}
    options = draft.known(given["stream_options"], "stream_options", ("include_usage", "include_obfuscation"))
    if not stream:
        draft.warn("stream_options is ignored: the answer is not streamed")
        return {}
    if options.get("include_obfuscation"):
        draft.warn("stream_options.include_obfuscation is ignored: the gateway does not pad events")
    return options


def blocks_of(content: Any, where: str, read: Callable[[Json, str], list[Json]]) -> list[Json]:
    """A message's content as blocks: `read` makes them of each part and its place; a string is one part of text."""
    if isinstance(content, str):
        return read({"type": "text", "text": content}, where)
    parts = listed(content, where)
    for index, part in enumerate(parts):
        if not isinstance(part, dict):
            raise invalid_param(f"{where}[{index}]", "must be an object.", "invalid_type")
    return [block for index, part in enumerate(parts) for block in read(part, f"{where}[{index}]")]

"""The tools of OpenAI's formats: functions are Converse's tools, and what else a client runs is offered as one.

    function        itself; in a namespace its name begins with the namespace's
    custom          a function of one text, `input`; a grammar is told in its description, and not enforced
    local_shell, shell, apply_patch, tool_search
                    a function of the arguments that its call has; the client runs it
    anything else   runs at OpenAI: it is left out, and a warning says so. It is never run here, and never billed

The model's call of such a function is told back as the item of its own kind, and what the client sends of it on the
next turn becomes the function's call and result again. A name of Converse has 64 letters at most: a longer one is cut,
and ends in a digest of the whole.

Sources: OpenAI's API reference, "Create a model response"; what Codex sends (openai/codex, `codex-rs/protocol/src/
models.rs` and `codex-rs/core/src/tools`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.formats.openai.converse import Draft, cache_point, tool_spec
from gateway.formats.openai.fields import Json, invalid_param, listed

if TYPE_CHECKING:
    from gateway.core.error_codes import ErrorCode

LONGEST_NAME = 64  # Source: the bedrock-runtime service model, ToolName
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True)
class Tool:
    """One tool as its client knows it."""

    kind: str
    name: str
    namespace: str = ""

    @property
    def flat(self) -> str:
        """The name of the function that stands for it."""
        whole = f"{self.namespace}__{self.name}" if self.namespace else self.name
        if not self.namespace and self.kind == "function":
            return whole  # the client's own choice, and the model's service may refuse it
        plain = _UNFIT.sub("_", whole)
        return plain if plain == whole and len(plain) <= LONGEST_NAME else self.digested

    @property
    def digested(self) -> str:
        whole = "\0".join((self.kind, self.namespace, self.name))
        digest = hashlib.sha256(whole.encode(errors="surrogatepass")).hexdigest()[:8]
        return f"{_UNFIT.sub('_', f'{self.namespace}__{self.name}')[: LONGEST_NAME - 9].strip('_')}_{digest}"


@dataclass(frozen=True)
class Kind:
    """A tool that a client runs itself: how the model is told of it, and how its calls look to the client.

    `call` names the type of the item, `prefix` its id's first letters, and `place` the member that the arguments are
    in. `arguments` reads them out of the model's own; `given` makes the model's of a client's item.
    """

    call: str
    prefix: str
    place: str
    description: str
    parameters: Json
    arguments: Callable[[Json], Any] = lambda said: said
    given: Callable[[Any], Json] = lambda place: place if isinstance(place, dict) else {}


def _object(required: str, **properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": required.split()}


_TEXTS: Json = {"type": "array", "items": {"type": "string"}}
_COUNT: Json = {"type": "integer"}
KINDS: Mapping[str, Kind] = {
    "custom": Kind(
        "custom_tool_call", "ctc", "input", "", _object("input", input={"type": "string"}),
        lambda said: said.get("input") if isinstance(said.get("input"), str) else json.dumps(said),
        lambda place: {"input": place if isinstance(place, str) else ""},
    ),
    "local_shell": Kind(
        "local_shell_call", "lsh", "action", "Run one command on the user's machine.",
        _object("command", command=_TEXTS, working_directory={"type": "string"}, timeout_ms=_COUNT),
        lambda said: {"type": "exec", "env": {}, **said},
        lambda place: {k: v for k, v in place.items() if k not in ("type", "env")} if isinstance(place, dict) else {},
    ),
    "shell": Kind(
        "shell_call", "sh", "action", "Run commands in a shell on the user's machine.",
        _object("commands", commands=_TEXTS, timeout_ms=_COUNT, max_output_length=_COUNT),
        lambda said: {"timeout_ms": None, "max_output_length": None, **said},
        lambda place: {k: v for k, v in place.items() if v is not None} if isinstance(place, dict) else {},
    ),
    "apply_patch": Kind(
        "apply_patch_call", "apc", "operation",
        "Create, update or delete one file. `diff` is in the V4A format: lines that begin with +, - or a space.",
        _object(
            "type path", type={"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
            path={"type": "string"}, diff={"type": "string"},
        ),
    ),
    "tool_search": Kind(
        "tool_search_call", "tsc", "arguments", "Search for more tools, which can be called then.",
        _object("query", query={"type": "string"}, limit=_COUNT),
    ),
}  # fmt: skip
_OF_CHAT = ("function", "custom")
OUTPUTS = {f"{kind.call}_output" for kind in KINDS.values()} | {"tool_search_output"}
# What a tool may say beside what is read of it; what else it says is left out with a warning.
_FUNCTION = ("type", "name", "description", "parameters", "strict", "cache_control", "defer_loading")


@dataclass
class Tools:
    """The tools of a request: what Converse is told, what the answer repeats, and whose name is whose."""

    specs: list[Json] = field(default_factory=list)
    echo: list[Json] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    _by_flat: dict[str, Tool] = field(default_factory=dict)
    _by_tool: dict[Tool, str] = field(default_factory=dict)

    def flat(self, kind: str, name: Any, namespace: Any = "") -> str:
        """The function's name of a tool, also of one that only an earlier turn knew."""
        tool = Tool(kind, name if isinstance(name, str) else "", namespace if isinstance(namespace, str) else "")
        return self._by_tool.get(tool) or tool.flat

    def of(self, flat: str) -> Tool:
        """Whose name it is. A name that the model made up is a function's."""
        return self._by_flat.get(flat) or Tool("function", flat)

    # ----------------------------------------------------------------------------------------------------- reading
    def read(self, draft: Draft, tools: Any, where: str) -> None:
        """Take the tools of a request, or of an item of its input. Raises BadRequestError with the one at fault."""
        for index, tool in enumerate(listed(tools, where)):
            place = f"{where}[{index}]"
            if not isinstance(tool, dict):
                raise invalid_param(place, "must be an object.", "invalid_type")
            before = len(self.specs)
            self._read_one(draft, tool, place)
            if len(self.specs) > before:
                self.echo.append(_echoed(tool))

    def read_chat(self, draft: Draft, tools: list[Json]) -> None:
        """Take the tools of a chat completion, each of which is in a member of its kind's name."""
        for index, tool in enumerate(tools):
            kind = tool["type"]
            where = f"tools[{index}].{kind}"
            if kind not in _OF_CHAT:
                self._leave_out(draft, kind)
                continue
            given = draft.known(tool, f"tools[{index}]", ("type", kind, "cache_control"))
            inner = given.get(kind)
            if not isinstance(inner, dict):
                code: ErrorCode = "missing_required_parameter" if inner is None else "invalid_type"
                raise invalid_param(where, "must describe the tool.", code)
            self._read_one(draft, {"cache_control": given.get("cache_control"), **inner, "type": kind}, where)

    def _leave_out(self, draft: Draft, kind: str) -> None:
        self.left_out.append(kind)
        draft.warn(f"the tool {kind} is left out: it runs only at OpenAI")

    def _read_one(self, draft: Draft, tool: Json, where: str) -> None:
        kind = tool.get("type")
        if not isinstance(kind, str) or not kind:
            raise invalid_param(f"{where}.type", "must name the kind of the tool.", "invalid_type")
        if kind == "function":
            self._function(draft, tool, where)
        elif kind == "namespace":
            self._namespace(draft, tool, where)
        elif kind == "custom":
            self._custom(draft, tool, where)
        elif kind in KINDS and _runs_at_the_client(tool):
            self._own(draft, kind, tool)
        else:
            self._leave_out(draft, kind)

    def _function(self, draft: Draft, tool: Json, where: str, namespace: str = "", about: str = "") -> None:
        given = {name: value for name, value in tool.items() if value is not None}
        for unread in sorted(given.keys() - set(_FUNCTION)):
            draft.warn(f"{unread} of a tool is ignored")
        if given.get("defer_loading"):
            draft.warn("defer_loading is ignored: every tool is sent at once")
        name, description = given.get("name"), given.get("description") or about
        flat = self._declare(Tool("function", name if isinstance(name, str) else "", namespace))
        self._add(tool_spec(flat, description, given.get("parameters"), given.get("strict"), where))
        if "cache_control" in given:
            self.specs.append(cache_point(given["cache_control"], f"{where}.cache_control", draft.warn))

    def _namespace(self, draft: Draft, tool: Json, where: str) -> None:
        name = tool.get("name")
        if not isinstance(name, str) or not name:
            raise invalid_param(f"{where}.name", "must name the group.", "missing_required_parameter")
        draft.warn("the tools of a namespace are sent to the model as functions whose names begin with it")
        about = tool.get("description") if isinstance(tool.get("description"), str) else ""
        for index, one in enumerate(listed(tool.get("tools", []), f"{where}.tools")):
            place = f"{where}.tools[{index}]"
            if not isinstance(one, dict):
                raise invalid_param(place, "must be an object.", "invalid_type")
            if one.get("type", "function") == "function":
                self._function(draft, one, place, name, about or "")
            elif one["type"] == "custom":
                self._custom(draft, one, place, name)
            else:
                self._leave_out(draft, str(one["type"]))

    def _custom(self, draft: Draft, tool: Json, where: str, namespace: str = "") -> None:
        name, form = tool.get("name"), tool.get("format")
        if not isinstance(name, str) or not name:
            raise invalid_param(f"{where}.name", "must name the tool.", "missing_required_parameter")
        description = tool.get("description") if isinstance(tool.get("description"), str) else ""
        form = form if isinstance(form, dict) else {}
        grammar = form.get("grammar") if isinstance(form.get("grammar"), dict) else form
        if isinstance(grammar, dict) and isinstance(grammar.get("definition"), str):
            draft.warn("the grammar of a custom tool is sent to the model but not enforced")
            described = f"The input must follow this {grammar.get('syntax')} grammar:\n{grammar['definition']}"
            description = f"{description}\n\n{described}".strip()
        flat = self._declare(Tool("custom", name, namespace))
        self._add(tool_spec(flat, description, KINDS["custom"].parameters, None, where))
        if tool.get("cache_control") is not None:
            self.specs.append(cache_point(tool["cache_control"], f"{where}.cache_control", draft.warn))

    def _own(self, draft: Draft, kind: str, tool: Json) -> None:
        own, parameters = KINDS[kind], tool.get("parameters")
        description = tool.get("description") if isinstance(tool.get("description"), str) else own.description
        draft.warn(f"the tool {kind} is sent to the model as a function of that name")
        flat = self._declare(Tool(kind, kind))
        self._add(
            tool_spec(flat, description, parameters if isinstance(parameters, dict) else own.parameters, None, kind)
        )

    def _declare(self, tool: Tool) -> str:
        flat = tool.flat
        if self._by_flat.get(flat, tool) != tool:
            flat = tool.digested
        self._by_flat[flat], self._by_tool[tool] = tool, flat
        return flat

    def _add(self, spec: Json) -> None:
        """Once each: a tool that is found again, or told with every turn, is the same."""
        name = spec["toolSpec"]["name"]
        self.specs = [one for one in self.specs if one.get("toolSpec", {}).get("name") != name] + [spec]

    # --------------------------------------------------------------------------------------------- which to call
    def choice(self, draft: Draft, chosen: Any) -> Any:
        """`tool_choice` in the words of functions; what names a tool that was left out, is left out with it."""
        if chosen == "required" and not self.specs and self.left_out:
            draft.warn("tool_choice is ignored: the tools that it names are left out")
            return "auto"
        if not isinstance(chosen, dict) or not isinstance(kind := chosen.get("type"), str):
            return chosen
        if kind == "allowed_tools":
            return self._only(draft, chosen)
        name = chosen.get("name") if kind in ("function", "custom") else kind
        if kind == "function" or (kind in KINDS and Tool(kind, str(name), _space(chosen)) in self._by_tool):
            return {"type": "function", "name": self.flat(kind, name, _space(chosen)) if name else name}
        if kind in self.left_out or kind not in KINDS:
            draft.warn("tool_choice is ignored: the tools that it names are left out")
            return "auto"
        raise invalid_param("tool_choice", "must be auto, none, required, or name one of the tools.")

    def chat_choice(self, draft: Draft, chosen: Any) -> Any:
        """The same of a chat completion, where what is chosen is in a member of its kind's name."""
        if isinstance(chosen, dict) and chosen.get("type") in (*_OF_CHAT, "allowed_tools"):
            kind = chosen["type"]
            inner = chosen.get(kind)
            if not isinstance(inner, dict):
                raise invalid_param("tool_choice", "must be auto, none, required, or name one of the tools.")
            named = inner.get("tools")
            if isinstance(named, list):
                inner = {**inner, "tools": [_flattened(one) for one in named if isinstance(one, dict)]}
            chosen = {**inner, "type": kind}
        return self.choice(draft, chosen)

    def _only(self, draft: Draft, chosen: Json) -> str:
        """Of the tools only some, any of which the model may or must call."""
        named = [one for one in listed(chosen.get("tools", []), "tool_choice.tools") if isinstance(one, dict)]
        flats = {self.flat(str(one.get("type")), one.get("name", one.get("type")), _space(one)) for one in named}
        self.specs = [one for one in self.specs if one.get("toolSpec", {}).get("name") in flats or "cachePoint" in one]
        while self.specs and "cachePoint" in self.specs[0]:
            self.specs.pop(0)
        mode = chosen.get("mode", "auto")
        if mode not in ("auto", "required"):
            raise invalid_param("tool_choice.mode", "must be auto or required.")
        return self.choice(draft, mode) if self.specs else "none"


def _flattened(named: Json) -> Json:
    inner = named.get(str(named.get("type")))
    return {**inner, "type": named["type"]} if isinstance(inner, dict) else named


def _space(named: Json) -> str:
    space = named.get("namespace")
    return space if isinstance(space, str) else ""


def _runs_at_the_client(tool: Json) -> bool:
    """A search for tools says who searches, and a shell may be one of OpenAI's containers."""
    if tool.get("type") == "tool_search":
        return tool.get("execution") == "client"
    around = tool.get("environment")
    return not (isinstance(around, dict) and str(around.get("type")).startswith("container"))


def _echoed(tool: Json) -> Json:
    """A tool as the answer repeats it."""
    if tool.get("type") != "function":
        return tool
    shown = {"type": "function", "name": tool.get("name"), "parameters": tool.get("parameters")}
    shown["strict"] = tool.get("strict") is True
    return shown | ({"description": tool["description"]} if tool.get("description") is not None else {})


# ---------------------------------------------------------------------------------------------------------- answers
def call_value(tool: Tool, arguments: str) -> Any:
    """What such a call says, of the model's JSON text."""
    try:
        said = json.loads(arguments or "{}")
    except ValueError:
        said = {}
    if tool.kind == "custom" and said == {}:
        return arguments if arguments not in ("", "{}") else ""
    return KINDS[tool.kind].arguments(said) if isinstance(said, dict) else arguments


def call_item(tool: Tool, arguments: str, id: str, call_id: str, status: str) -> Json:  # noqa: A002
    """The item of a call that is no function's; `arguments` is the model's JSON text, which may be cut off."""
    kind, value = KINDS[tool.kind], call_value(tool, arguments)
    named: Json = {"name": tool.name} if tool.kind == "custom" else {}
    named |= {"namespace": tool.namespace} if tool.namespace else {}
    named |= {"execution": "client"} if tool.kind == "tool_search" else {}
    return {"type": kind.call, "id": id, "call_id": call_id, **named, kind.place: value, "status": status}

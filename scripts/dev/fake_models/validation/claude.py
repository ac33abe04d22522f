"""The rules of Claude's messages as a body of InvokeModel, with Bedrock's own messages if known."""

from collections.abc import Iterator, Mapping
from typing import Any

from scripts.dev.fake_models.errors import Refusal, invalid
from scripts.dev.fake_models.validation.traits import traits

Json = dict[str, Any]

_FIELDS = frozenset({
    "anthropic_version", "anthropic_beta", "max_tokens", "messages", "system", "stop_sequences", "temperature", "top_p",
    "top_k", "tools", "tool_choice", "thinking", "output_config", "context_management", "cache_control",
})  # fmt: skip
_TOOL_FIELDS = frozenset({
    "type", "name", "description", "input_schema", "cache_control", "strict", "defer_loading", "input_examples",
})  # fmt: skip
_FIVE = "opus-5 sonnet-5 haiku-5 fable mythos"
_FOUR = "opus-4 sonnet-4 haiku-4"
_LATE = f"4-6 4-7 4-8 {_FIVE}"
# The models that know each flag, by a part of their names.
_BETAS = {
    "fine-grained-tool-streaming-2025-05-14": f"{_FOUR} {_FIVE}",
    "interleaved-thinking-2025-05-14": f"{_FOUR} {_FIVE}",
    "computer-use-2024-10-22": "3-5-sonnet-20241022",
    "computer-use-2025-01-24": "3-7 4-1 4-2 4-5",
    "computer-use-2025-11-24": f"4-5 {_LATE}",
    "token-efficient-tools-2025-02-19": "3-7",
    "output-128k-2025-02-19": "3-7",
    "dev-full-thinking-2025-05-14": "3-7 4-2",
    "context-1m-2025-08-07": "sonnet-4-2 sonnet-4-5 4-6",
    "context-management-2025-06-27": f"{_FOUR} {_FIVE}",
    "effort-2025-11-24": "opus-4-5",
    "tool-search-tool-2025-10-19": f"4-5 {_LATE}",
    "tool-examples-2025-10-29": "opus-4-5",
    "compact-2026-01-12": _LATE,
    "dangerous-tool-use-2026-09-03": _FIVE,
    "thinking-binding-controls-2026-08-01": _FIVE,
    "thinking-display-updates-2026-08-18": _FIVE,
    "mid-conversation-output-config-2026-07-01": _FIVE,
    "mid-conversation-tool-changes-2026-07-01": _FIVE,
}
CACHE_POINTS = 4
_SOURCES = {"image": ("base64",), "document": ("base64", "text", "content")}
# Keywords that structured output refuses. Source: "Get validated JSON results from models", and published refusals.
_UNENFORCED = frozenset(
    ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "maxItems", "minLength", "maxLength"]
)


def check_claude(model_id: str, body: Json) -> None:
    """Refuse a Claude messages body if Bedrock would."""
    refuses = traits(model_id)
    for name in body:
        if name not in _FIELDS:
            raise _extra(name)
    betas = body.get("anthropic_beta") or []
    if not all(knows_beta(model_id, str(flag)) for flag in betas):
        raise invalid("invalid beta flag")
    if "context_management" in body and (
        "no-edits" in refuses or not any(str(flag).startswith("context-management-") for flag in betas)
    ):
        raise _extra("context_management")
    _check_sampling(body, refuses)
    _check_tools(body, refuses, betas)
    _check_turns(body, refuses)
    marked = 0
    for where, part in _parts(body):
        _check_control(part, where, refuses)
        _check_source(part, where)
        marked += bool(part.get("cache_control"))
    if marked > CACHE_POINTS:
        raise invalid(f"A maximum of {CACHE_POINTS} blocks with cache_control may be provided. Found {marked}.")
    config = body.get("output_config") or {}
    for name in config:
        if name not in ("effort", "format") or (name == "effort" and "no-effort" in refuses):
            raise _extra(f"output_config.{name}")
    if wanted := config.get("format"):
        if "no-schema" in refuses:
            raise _extra("output_config.format")
        check_schema(wanted.get("schema") or {})
    forced = (body.get("tool_choice") or {}).get("type") in ("any", "tool")
    sampling = {name: body.get(name) for name in ("temperature", "top_p", "top_k")}
    check_thinking(body.get("thinking"), body.get("max_tokens"), sampling, refuses, forced=forced)


def _extra(where: str) -> Refusal:
    return invalid(f"{where}: Extra inputs are not permitted")


def knows_beta(model_id: str, flag: str) -> bool:
    """Does Bedrock know this beta flag for this Claude?"""
    _, _, name = model_id.partition("claude-")
    return any(f"-{version}" in f"-{name}" for version in _BETAS.get(flag, "").split())


def _check_sampling(body: Json, refuses: frozenset[str]) -> None:
    for name, trait in (("temperature", "no-temperature"), ("top_p", "no-top-p"), ("top_k", "no-temperature")):
        if body.get(name) is not None and trait in refuses:
            raise invalid(f"`{name}` is deprecated for this model.")
    if "one-sampling" in refuses and body.get("temperature") is not None and body.get("top_p") is not None:
        raise invalid("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    for stop in body.get("stop_sequences") or ():
        if not stop.strip():
            raise invalid("stop_sequences: each stop sequence must contain non-whitespace")


def check_thinking(
    thinking: Any, most: Any, sampling: Mapping[str, Any], refuses: frozenset[str], *, forced: bool
) -> None:
    """Anthropic, "Extended thinking": the parameters allowed with thinking, and each model's kinds of thinking."""
    kind = (thinking or {}).get("type")
    if kind == "disabled" and "always" in refuses:
        raise invalid("thinking.type.disabled is not supported for this model.")
    if kind not in ("enabled", "adaptive"):
        return
    if "no-thought" in refuses:
        raise _extra("thinking")
    if kind == "enabled" and "adaptive" in refuses:
        raise invalid('"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive".')
    if kind == "adaptive" and "budget" in refuses:
        raise invalid("adaptive thinking is not supported on this model")
    if kind == "enabled":
        budget = thinking.get("budget_tokens")
        if not isinstance(budget, int) or budget < 1024:
            raise invalid("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        if isinstance(most, int) and most <= budget:
            raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if forced and "unforced" in refuses:
        raise invalid("Thinking may not be enabled when tool_choice forces tool use.")
    if sampling.get("temperature") not in (None, 1):
        raise invalid("`temperature` may only be set to 1 when thinking is enabled.")
    if sampling.get("top_p") is not None and sampling["top_p"] < 0.95:
        raise invalid("`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.")
    if sampling.get("top_k") is not None:
        raise invalid("`top_k` must be unset when thinking is enabled.")


def _check_tools(body: Json, refuses: frozenset[str], betas: list[Any]) -> None:
    tools = body.get("tools") or []
    searches = any(str(tool.get("type")).startswith("tool_search") for tool in tools)
    flagged = any(str(flag).startswith("tool-search-tool-") for flag in betas)
    examples = any(str(flag).startswith("tool-examples-") for flag in betas)
    names: set[str] = set()
    for index, tool in enumerate(tools):
        if tool.get("name") in names:
            raise invalid("tools: Tool names must be unique.")
        names.add(tool.get("name", ""))
        if str(tool.get("type")).startswith("tool_search") and ("no-search" in refuses or not flagged):
            raise invalid(f"tools.{index}: Input tag '{tool['type']}' does not match any of the expected tags")
        if (tool.get("type") or "custom") != "custom":
            continue
        where = f"tools.{index}.custom"
        for name in tool:
            unknown = name not in _TOOL_FIELDS or (name == "input_examples" and not examples)
            early = name == "defer_loading" and ("no-search" in refuses or not searches or not flagged)
            if unknown or early or (name == "strict" and "no-schema" in refuses):
                raise _extra(f"{where}.{name}")
        if (tool.get("input_schema") or {}).get("type") != "object":
            raise invalid(f"{where}.input_schema.type: Input should be 'object'")
        if tool.get("strict"):
            check_schema(tool["input_schema"])
    choice = (body.get("tool_choice") or {}).get("type")
    if choice and not tools:
        raise invalid("tool_choice: may only be specified while providing `tools`")
    if choice in ("any", "tool") and f"no-{choice}" in refuses:
        raise invalid('tool_choice: type "tool" and "any" are not supported for this model.')


def _check_turns(body: Json, refuses: frozenset[str]) -> None:
    turns = body["messages"]
    asked: set[str] = set()
    for index, turn in enumerate(turns):
        where = f"messages.{index}"
        if turn.get("role") == "system":
            _check_system_turn(turns, index, refuses)
            continue
        content = turn.get("content")
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
        given = {str(block.get("tool_use_id")) for block in blocks if block.get("type") == "tool_result"}
        if given - asked:
            raise invalid(
                f"{where}: unexpected `tool_use_id` found in `tool_result` blocks: {', '.join(sorted(given - asked))}."
            )
        if asked - given:
            raise invalid(
                f"{where}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(sorted(asked - given))}."
            )
        asked = {str(block.get("id")) for block in blocks if block.get("type") == "tool_use"}
        for block in _within(blocks):
            if block.get("type") == "text" and not str(block.get("text") or "").strip():
                raise invalid(f"{where}: text content blocks must contain non-whitespace text")
    if turns and turns[-1].get("role") == "assistant":
        if "no-prefill" in refuses:
            raise invalid(
                "This model does not support assistant message prefill. The conversation must end with a user message."
            )
        last = turns[-1]["content"]
        text = last if isinstance(last, str) else str((last or [{}])[-1].get("text") or "")
        if text != text.rstrip():
            raise invalid("messages: final assistant content cannot end with trailing whitespace")


def _check_system_turn(turns: list[Json], index: int, refuses: frozenset[str]) -> None:
    if "no-system-turn" in refuses:
        raise invalid("role 'system' is not supported on this model")
    if index == 0:
        raise invalid("messages.0: use the top-level 'system' parameter for the initial system prompt")
    if index + 1 < len(turns) and turns[index + 1].get("role") != "assistant":
        raise invalid(f"messages.{index}: role 'system' must precede an 'assistant' message or end the array")


def _within(blocks: list[Json]) -> Iterator[Json]:
    for block in blocks:
        yield block
        if block.get("type") == "tool_result":
            inner = block.get("content")
            yield from inner if isinstance(inner, list) else [{"type": "text", "text": inner}] if inner else []


def _parts(body: Json) -> Iterator[tuple[str, Json]]:
    yield "", body
    system = body.get("system")
    yield from ((f"system.{index}", block) for index, block in enumerate(system if isinstance(system, list) else ()))
    yield from ((f"tools.{index}", tool) for index, tool in enumerate(body.get("tools") or ()))
    for index, turn in enumerate(body["messages"]):
        content = turn.get("content")
        for block in _within(content if isinstance(content, list) else []):
            yield f"messages.{index}.content", block


def _check_control(part: Json, where: str, refuses: frozenset[str]) -> None:
    control = part.get("cache_control")
    if not control:
        return
    if "no-cache" in refuses:
        raise _extra(f"{where}.cache_control")
    for name in control:
        if name not in ("type", "ttl") or (name == "ttl" and control["ttl"] == "1h" and "no-hour" in refuses):
            raise _extra(f"{where}.cache_control.ephemeral.{name}")


def _check_source(part: Json, where: str) -> None:
    """Bedrock's Claude fetches nothing: the user guide has `base64` as the one source of an image."""
    kind = (part.get("source") or {}).get("type")
    if (takes := _SOURCES.get(str(part.get("type")))) and kind not in takes:
        raise invalid(
            f"{where}.source: Input tag '{kind}' found using 'type' does not match any of the expected tags: "
            + ", ".join(f"'{tag}'" for tag in takes)
        )


def check_schema(schema: Any) -> None:
    """Structured output: objects are closed, no numeric bounds, no recursive references."""
    if isinstance(schema, list):
        for part in schema:
            check_schema(part)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        raise invalid("For 'object' type, 'additionalProperties' must be explicitly set to false")
    if unknown := sorted(_UNENFORCED & schema.keys()):
        raise invalid(f"For '{schema.get('type')}' type, properties {', '.join(unknown)} are not supported")
    for name, part in schema.items():
        if name in ("properties", "$defs", "definitions") and isinstance(part, dict):
            for inner in part.values():
                check_schema(inner)
        elif name in ("items", "anyOf", "allOf", "oneOf", "prefixItems"):
            check_schema(part)

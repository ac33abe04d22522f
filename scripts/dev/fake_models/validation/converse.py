"""Converse's rules beyond its service model, with Bedrock's own messages if known."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from scripts.dev.fake_models.errors import Refusal, invalid
from scripts.dev.fake_models.validation.claude import check_schema, check_thinking, knows_beta
from scripts.dev.fake_models.validation.shapes import check_shape
from scripts.dev.fake_models.validation.traits import traits

Json = dict[str, Any]


def check_converse(model_id: str, body: Json, *, streaming: bool = False) -> None:
    """Refuse this request to this model if Bedrock would."""
    check_shape(body, "ConverseRequest")
    refuses = traits(model_id)
    if streaming and body.get("toolConfig") and "no-tool-stream" in refuses:
        raise invalid("This model doesn't support tool use in streaming mode.")
    _check_inference(body.get("inferenceConfig") or {}, refuses)
    _check_tools(body.get("toolConfig") or {}, refuses)
    _check_turns(body, refuses)
    _check_output(body.get("outputConfig") or {}, refuses)
    if "no-system" in refuses and body.get("system"):
        raise invalid(
            "This model doesn't support system messages. Try again without a system message or use a model that "
            "supports system messages."
        )
    if "anthropic.claude" in model_id:
        config, own = body.get("inferenceConfig") or {}, body.get("additionalModelRequestFields") or {}
        if not all(knows_beta(model_id, str(flag)) for flag in own.get("anthropic_beta") or ()):
            raise invalid("The model returned the following errors: invalid beta flag")
        choice = (body.get("toolConfig") or {}).get("toolChoice") or {}
        forced = bool(choice.keys() & {"any", "tool"}) or (own.get("tool_choice") or {}).get("type") in ("any", "tool")
        sampling = {"temperature": config.get("temperature"), "top_p": config.get("topP"), "top_k": own.get("top_k")}
        check_thinking(own.get("thinking"), config.get("maxTokens"), sampling, refuses, forced=forced)


def _unsupported(field: str) -> Refusal:
    return invalid(f"This model doesn't support the {field} field. Remove {field} and try again.")


def _check_inference(config: Mapping[str, Any], refuses: frozenset[str]) -> None:
    for name, trait in (("temperature", "no-temperature"), ("topP", "no-top-p"), ("stopSequences", "no-stops")):
        if name in config and trait in refuses:
            raise _unsupported(name)
    if "one-sampling" in refuses and {"temperature", "topP"} <= config.keys():
        raise invalid(
            "The model returned the following errors: `temperature` and `top_p` cannot both be specified for this "
            "model. Please use only one."
        )
    for stop in config.get("stopSequences") or ():
        if not stop.strip():
            raise invalid("stop_sequences: each stop sequence must contain non-whitespace")


def _check_tools(config: Mapping[str, Any], refuses: frozenset[str]) -> None:
    if config and "no-tools" in refuses:
        raise invalid("This model doesn't support tool use.")
    names: set[str] = set()
    for index, tool in enumerate(config.get("tools") or ()):
        if "cachePoint" in tool and refuses & {"no-cache", "no-tool-cache"}:
            raise _no_cache()
        spec = tool.get("toolSpec")
        if spec is None:
            continue
        where = f"toolConfig.tools.{index}.toolSpec.inputSchema.json.type"
        schema = spec["inputSchema"].get("json")
        if not isinstance(schema, dict) or schema.get("type") != "object":
            raise invalid(f"The value at {where} must be one of the following: object.")
        if spec["name"] in names:
            raise invalid(f"The tool name {spec['name']} is not unique.")
        names.add(spec["name"])
        if spec.get("strict"):
            if "no-schema" in refuses:
                raise _unsupported("toolConfig.tools.toolSpec.strict")
            check_schema(schema)
    for kind in config.get("toolChoice") or {}:
        if kind in ("any", "tool") and f"no-{kind}" in refuses:
            raise _unsupported(f"toolConfig.toolChoice.{kind}")
    chosen = ((config.get("toolChoice") or {}).get("tool") or {}).get("name")
    if chosen and chosen not in names:
        raise invalid(f"The tool {chosen} of toolConfig.toolChoice is not in toolConfig.tools.")


def _no_cache() -> Refusal:
    return Refusal(
        403, "AccessDeniedException",
        "You invoked an unsupported model or your request did not allow prompt caching. See the documentation for more "
        "information.",
    )  # fmt: skip


def _check_turns(body: Json, refuses: frozenset[str]) -> None:
    asked: set[str] = set()
    for block in body.get("system") or ():
        _check_mark(block, refuses)
    turns = body.get("messages") or []
    if turns and turns[-1]["role"] == "assistant" and "no-prefill" in refuses:
        raise invalid(
            "The model returned the following errors: This model does not support assistant message prefill. The "
            "conversation must end with a user message."
        )
    for index, turn in enumerate(turns):
        content = turn["content"]
        given = {block["toolResult"]["toolUseId"] for block in content if "toolResult" in block}
        if asked - given:
            raise invalid(
                f"Expected toolResult blocks at messages.{index}.content for the following Ids: "
                f"{', '.join(sorted(asked - given))}"
            )
        if given - asked:
            raise invalid(
                f"The number of toolResult blocks at messages.{index}.content exceeds the number of toolUse blocks of "
                "previous turn."
            )
        asked = {block["toolUse"]["toolUseId"] for block in content if "toolUse" in block}
        _check_content(content, f"messages.{index}", refuses)


def _check_content(content: list[Json], where: str, refuses: frozenset[str]) -> None:
    kinds = {next(iter(block)) for block in content} - {"cachePoint"}
    for block in content:
        _check_mark(block, refuses)
    if "document" in kinds and "text" not in kinds:
        raise invalid(f"The content at {where} has a document. Add a text block to it, and try again.")
    if "toolResult" in kinds and len(kinds) > 1 and "alone" in refuses:
        raise invalid(f"The toolResult blocks at {where} cannot be mixed with other content for this model.")
    if {"toolResult", "document"} <= kinds and "no-beside" in refuses:
        raise invalid(f"The toolResult blocks at {where} cannot be mixed with documents for this model.")
    for block in _within(content):
        for kind in ("image", "document"):
            if kind in block and f"no-{kind}s" in refuses:
                raise invalid(f"This model doesn't support {kind}s. Use another model, and try again.")
        if "document" in block and not _is_name(block["document"]["name"]):
            raise invalid(
                f"The name of the document at {where} can only contain alphanumeric characters, whitespace characters "
                "(no more than one in a row), hyphens, parentheses, and square brackets."
            )
        if "toolResult" in block and "status" in block["toolResult"] and "no-status" in refuses:
            raise _unsupported("status")


def _within(content: list[Json]) -> Iterator[Json]:
    for block in content:
        yield block
        if "toolResult" in block:
            yield from block["toolResult"]["content"]


def _check_mark(block: Json, refuses: frozenset[str]) -> None:
    if "cachePoint" in block:
        if "no-cache" in refuses:
            raise _no_cache()
        if "no-hour" in refuses and block["cachePoint"].get("ttl") == "1h":
            raise _unsupported("cachePoint.ttl")


def _is_name(name: str) -> bool:
    return "  " not in name and all(letter.isalnum() or letter in " -()[]" for letter in name)


def _check_output(config: Mapping[str, Any], refuses: frozenset[str]) -> None:
    if config.get("effort") and "no-effort" in refuses:
        raise _unsupported("outputConfig.effort")
    wanted = config.get("textFormat")
    if not wanted or not refuses:  # the limits of a custom model are unknown
        return
    if "no-schema" in refuses:
        raise _unsupported("outputConfig.textFormat")
    try:
        schema = json.loads(wanted["structure"]["jsonSchema"]["schema"])
    except ValueError:
        raise invalid("The schema of outputConfig.textFormat must be a JSON schema as text.") from None
    check_schema(schema)

"""JSON schemas as models on Bedrock take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

# What structured output does not enforce, and refuses. Source: "Get validated JSON results from models" in the Amazon
# Bedrock user guide; pydantic-ai `providers/bedrock.py` found the two `exclusive` ones by calls.
_UNENFORCED = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems",
    "uniqueItems", "contains", "minContains", "maxContains", "minProperties", "maxProperties", "patternProperties",
    "propertyNames", "dependentRequired", "if", "then", "else", "not",
)  # fmt: skip
_ONE = ("items", "additionalProperties")
_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems")
_NAMED = ("properties", "$defs", "definitions")


def rooted(schema: Any) -> Any:
    """A tool's schema with `type: object` at its root, where it says no type: Bedrock reads no other."""
    if isinstance(schema, dict) and schema.get("type") != "object":
        return {"type": "object", "properties": {}, **{name: part for name, part in schema.items() if name != "type"}}
    return schema


def enforceable(schema: Json) -> bool:
    """Can structured output stand for it? Not where it refers to itself, or leaves objects open."""
    if schema.get("type") != "object":
        return False
    defined = _object(schema.get("definitions")) | _object(schema.get("$defs"))

    def look(part: Any, inside: frozenset[str]) -> bool:
        if not isinstance(part, dict):
            return True
        if part.get("additionalProperties") not in (None, False):
            return False
        if name := str(part.get("$ref", "")).rpartition("/")[2]:
            return name not in inside and name in defined and look(defined[name], inside | {name})
        return all(look(inner, inside) for inner in _inner(part))

    return look(schema, frozenset())


def closed(schema: Any) -> Any:
    """The schema as structured output takes it: objects closed, and what it cannot enforce said in the description."""
    if not isinstance(schema, dict):
        return schema
    kept = {name: part for name, part in _each(schema, closed).items() if name not in _UNENFORCED}
    notes = [f"{name}: {schema[name]}" for name in _UNENFORCED if name in schema]
    if isinstance(least := kept.get("minItems"), int) and least > 1:
        notes.append(f"minItems: {kept.pop('minItems')}")
    if notes:
        told = str(kept.get("description", ""))
        kept["description"] = f"{told} ({', '.join(notes)})".strip()
    if kept.get("type") == "object" or "properties" in kept:
        kept.setdefault("additionalProperties", False)
    return kept


def _each(schema: Json, change: Callable[[Any], Any]) -> Json:
    """The schema with every schema inside it changed."""
    changed: Json = {}
    for name, part in schema.items():
        if name in _ONE:
            changed[name] = change(part)
        elif name in _LISTS and isinstance(part, list):
            changed[name] = [change(inner) for inner in part]
        elif name in _NAMED and isinstance(part, dict):
            changed[name] = {key: change(inner) for key, inner in part.items()}
        else:
            changed[name] = part
    return changed


def _inner(schema: Json) -> list[Any]:
    found: list[Any] = [schema[name] for name in _ONE if name in schema]
    for name in _LISTS:
        found += schema[name] if isinstance(schema.get(name), list) else []
    return [*found, *_object(schema.get("properties")).values()]


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}

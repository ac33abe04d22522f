"""API Gateway's models, in JSON Schema draft 4, from the schemas of an OpenAPI file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Tell = Callable[[str, str], None]  # a rule, and the place where it applied
Schema = dict[str, Any]

LARGEST_MODEL = 400 * 1024
SCHEMAS = "#/components/schemas/"
DEFINITIONS = "#/definitions/"
_DRAFT_4 = {
    "$ref", "$schema", "additionalItems", "additionalProperties", "allOf", "anyOf", "definitions", "dependencies",
    "description", "enum", "format", "id", "items", "maxLength", "maxProperties", "maximum", "minLength",
    "minProperties", "minimum", "multipleOf", "not", "oneOf", "pattern", "patternProperties", "properties",
    "required", "title", "type", "uniqueItems",
}  # fmt: skip
_LEFT_OUT = {
    "default": "default",
    "deprecated": "deprecated",
    "maxItems": "number of items",
    "minItems": "number of items",
}
_REFUSED = {
    "example": "schema example",
    "exclusiveMinimum": "exclusive bound",
    "exclusiveMaximum": "exclusive bound",
}
_COMBINED = ("oneOf", "anyOf", "allOf")


class Models:
    """The models by name: the document's own, and those made from inline schemas."""

    def __init__(self, schemas: Mapping[str, Any], tell: Tell):
        self._tell = tell
        self._names = set(schemas)
        self._inline = 0
        self.by_name: dict[str, Schema] = {}
        for name, schema in schemas.items():
            where = f"{SCHEMAS}{name}"
            if not re.fullmatch(r"[A-Za-z0-9]+", name):
                tell("model name", where)
            self.by_name[name] = self._model(schema, where)

    def named(self, schema: Mapping[str, Any], where: str) -> str | None:
        """The name of a body schema's model; None if its `$ref` has no target."""
        if "$ref" in schema:
            return self._referred(schema["$ref"], where)
        self._inline += 1
        name = f"MODEL{self._inline}"
        self.by_name[name] = self._model(schema, where)
        return name

    def whole(self, name: str) -> Schema:
        """A self-contained model, for a validator."""
        return {"$ref": f"{DEFINITIONS}{name}", "definitions": self.by_name}

    def _model(self, schema: Any, where: str) -> Schema:
        model: Schema = self._draft_4(schema, where)
        if len(json.dumps(model).encode()) > LARGEST_MODEL:
            self._tell("model size", where)
        return model

    def _referred(self, reference: Any, where: str) -> str | None:
        if not str(reference).startswith("#"):
            self._tell("other files", f"{where}: {reference}")
            return None
        name = str(reference).removeprefix(SCHEMAS)
        if name not in self._names:
            self._tell("model reference", f"{where}: {reference}")
            return None
        return name

    def _draft_4(self, schema: Any, where: str) -> Any:
        if not isinstance(schema, dict):
            return schema
        if "$ref" in schema:
            name = self._referred(schema["$ref"], where)
            return {"$ref": f"{DEFINITIONS}{name}"} if name else {}
        self._judge(schema, where)
        return {
            keyword: self._inner(keyword, value, where)
            for keyword, value in schema.items()
            if keyword in _DRAFT_4 and keyword not in _LEFT_OUT
        }

    def _inner(self, keyword: str, value: Any, where: str) -> Any:
        if keyword in {"properties", "patternProperties"}:
            return {name: self._draft_4(part, f"{where}/{name}") for name, part in value.items()}
        if keyword in _COMBINED:
            return [self._draft_4(part, f"{where}/{keyword}/{number}") for number, part in enumerate(value)]
        if keyword in {"items", "additionalProperties", "additionalItems", "not"}:
            return self._draft_4(value, f"{where}/{keyword}")
        return value

    def _judge(self, schema: Mapping[str, Any], where: str) -> None:
        for keyword in schema:
            if rule := _LEFT_OUT.get(keyword) or _REFUSED.get(keyword):
                self._tell(rule, f"{where}: {keyword}")
            elif keyword not in _DRAFT_4:
                self._tell("schema keyword", f"{where}: {keyword}")
            elif keyword in _COMBINED and any("$ref" in part for part in _objects(schema[keyword])):
                self._tell("combined reference", f"{where}: {keyword}")
        kind, form = schema.get("type"), schema.get("format")
        if form == "decimal" or (kind == "number" and form in {"int32", "int64"}):
            self._tell("number format", f"{where}: {kind} of format {form}")
        if schema.get("required") == []:
            self._tell("empty required", where)
        if "enum" in schema and len({json.dumps(value) for value in schema["enum"]}) != (len(schema["enum"]) or -1):
            self._tell("repeated enum", where)


def _objects(part: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(part, dict):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _objects(inner)

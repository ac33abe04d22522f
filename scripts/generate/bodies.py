"""Generates the checks of streaming operations' bodies from the schemas of openapi.yaml.

fastjsonschema writes the checks, and this module replaces its exception by the gateway's own. That one has the field's
name, the rule and a sentence, and never the value. A function therefore imports no library for the checks at its start.

As in `schemas.py`, an optional property may be null, because the SDKs send null for unset fields.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import Any

import fastjsonschema

Json = dict[str, Any]

HEADER = """# Generated from openapi.yaml by scripts/generate/schemas.py; do not edit.
# ruff: noqa
# fmt: off
# mypy: ignore-errors"""
# Keywords of JSON Schema that become checks. The rest is description, or belongs to OpenAPI alone.
_WORDS = frozenset(
    {"type", "required", "enum", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern"}
)
_UNKNOWN = frozenset({"oneOf", "anyOf", "allOf", "not", "discriminator", "nullable", "format"})
_OR_NULL = "OrNull"
_KINDS = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
}


def generate(schemas: Json, operations: dict[str, str]) -> str:
    """The module: a function for each operation's body. `operations` maps an operationId to the name of its schema."""
    definitions = _definitions(schemas, operations.values())
    root = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "definitions": definitions,
        "properties": {name: {"$ref": f"#/definitions/{name}"} for name in definitions},
    }
    names = {f"validate___definitions_{name.lower()}": f"_{_snake(name)}" for name in definitions}
    if len(names) != len(definitions):
        raise ValueError("two schemas have names that differ only in case")
    made = _Rewriter(names).visit(ast.parse(fastjsonschema.compile_to_code(root, use_default=False)))
    checks = {node.name: node for node in made.body if isinstance(node, ast.FunctionDef)}
    functions = [ast.unparse(ast.fix_missing_locations(checks[name])) for name in sorted(names.values())]
    return "\n\n\n".join(
        (
            f'{HEADER}\n"""Checks of bodies: each raises SchemaError for one that openapi.yaml forbids."""\n\n'
            "from collections.abc import Callable\nfrom typing import Any\n\n"
            "from gateway.core.errors import SchemaError\n\nNoneType = type(None)",
            *functions,
            "\n".join(f"{_snake(operation)} = _{_snake(schema)}" for operation, schema in operations.items()),
            "BY_OPERATION: dict[str, Callable[[Any], None]] = {\n"
            + "".join(f'    "{operation}": {_snake(operation)},\n' for operation in operations)
            + "}\n",
        )
    )


def _definitions(schemas: Json, names: Iterable[str]) -> Json:
    """The schemas that these refer to, by name; a nullable variant has its own name."""
    made: Json = {}
    waiting = list(names)
    while waiting:
        if (name := waiting.pop()) in made:
            continue
        said = schemas[name.removesuffix(_OR_NULL)]
        made[name] = _json_schema(said, may_be_null=name.endswith(_OR_NULL))
        waiting += re.findall(r"'#/definitions/(\w+)'", repr(made[name]))
    return dict(sorted(made.items()))


def _json_schema(said: Json, *, may_be_null: bool = False) -> Json:
    """Converts a schema of OpenAPI 3.0 to JSON Schema."""
    if unknown := _UNKNOWN & said.keys():
        raise ValueError(f"{', '.join(sorted(unknown))}: no check exists for it yet")
    if "$ref" in said:
        name = said["$ref"].removeprefix("#/components/schemas/")
        return {"$ref": f"#/definitions/{name}{_OR_NULL if may_be_null else ''}"}
    made = {word: value for word, value in said.items() if word in _WORDS}
    required = said.get("required", ())
    if "properties" in said:
        made["properties"] = {
            name: _json_schema(inner, may_be_null=name not in required) for name, inner in said["properties"].items()
        }
    if isinstance(said.get("additionalProperties"), dict):
        made["additionalProperties"] = _json_schema(said["additionalProperties"])
    if "items" in said:
        made["items"] = _json_schema(said["items"])
    if may_be_null and "type" in made:
        made["type"] = [made["type"], "null"]
        if "enum" in made:
            made["enum"] = [*made["enum"], None]
    return made


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


# ----------------------------------------------------------------------------------------------------------- sentences
def sentence(rule: str, said: Json) -> str:
    """The requirement of a field by its schema; the text follows the field's name."""
    kinds = [kind for kind in _listed(said.get("type", [])) if kind != "null"]
    low, high = said.get("minimum"), said.get("maximum")
    if kinds == ["integer"] and (low, high) == (1, None) and rule in ("type", "minimum"):
        return "must be a positive integer."
    match rule:
        case "type":
            return f"must be {' or '.join(_KINDS[kind] for kind in kinds)}."
        case "enum":
            words = [str(word) for word in said["enum"] if word is not None]
            return f"must be {words[0]}." if len(words) == 1 else f"must be one of {', '.join(words)}."
        case "minimum" | "maximum" if low is not None and high is not None:
            return f"must be between {low:g} and {high:g}." if low != high else f"must be {low:g}."
        case "minimum":
            return f"must be {low:g} or more."
        case "maximum":
            return f"must be {high:g} or less."
        case "minLength" | "minItems" if said[rule] == 1:
            return "must not be empty."
        case "minLength" | "maxLength":
            return f"must have {said[rule]} characters or {'more' if rule == 'minLength' else 'fewer'}."
        case "minItems" | "maxItems":
            return f"must have {said[rule]} entries or {'more' if rule == 'minItems' else 'fewer'}."
        case "pattern":
            return f"must match {said['pattern']}."
    raise ValueError(f"no sentence exists for the rule {rule}")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


class _Rewriter(ast.NodeTransformer):
    """Gives fastjsonschema's code the gateway's exception and names, without return values: a check changes no body."""

    def __init__(self, names: dict[str, str]):
        self._names = names

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        if node.name not in self._names:
            return node
        node.name = self._names[node.name]
        node.args = ast.parse("def f(data: Any, name_prefix: str = '') -> None: pass").body[0].args  # type: ignore[attr-defined]
        node.returns = ast.Constant(None)
        node.body = [self.visit(part) for part in node.body if not isinstance(part, ast.Return)]
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        call = node.exc
        assert isinstance(call, ast.Call)
        words = {word.arg: word.value for word in call.keywords}
        rule, said, where = ast.literal_eval(words["rule"]), words["definition"], self.visit(words["name"])
        if rule == "required":
            lacking = next(inner for inner in ast.walk(call.args[0]) if isinstance(inner, ast.Call)).args[0]
            assert isinstance(lacking, ast.Call)
            order = ast.literal_eval(said)["required"]
            first = ast.parse(f"'.' + min({ast.unparse(lacking.args[0])}, key={order}.index)", mode="eval").body
            where, text = ast.BinOp(where, ast.Add(), first), "is missing."
        else:
            text = sentence(rule, ast.literal_eval(said))
        made = ast.Call(ast.Name("SchemaError"), [where, ast.Constant(rule), ast.Constant(text)], [])
        return ast.Raise(made)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id in self._names:
            data, _, where = node.args
            return ast.Call(ast.Name(self._names[node.func.id]), [self.visit(data), self.visit(where)], [])
        if (
            isinstance(node.func, ast.Attribute)
            and node.func.attr == "format"
            and isinstance(node.func.value, ast.Constant)
        ):
            return ast.parse(f"f{node.func.value.value!r}", mode="eval").body  # its call passes all local names
        return self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        return ast.Name("name_prefix") if ast.unparse(node) == "name_prefix or 'data'" else self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.left, ast.Constant) and node.left.value == "":
            return node.right
        if isinstance(node.right, ast.Constant) and node.right.value == "":
            return node.left
        return node

    def visit_Tuple(self, node: ast.Tuple) -> ast.AST:
        """JSON has no Decimal, and no tuple."""
        names = [name for name in node.elts if not (isinstance(name, ast.Name) and name.id in ("Decimal", "tuple"))]
        return names[0] if len(names) == 1 and isinstance(names[0], ast.Name) else ast.Tuple(names, node.ctx)

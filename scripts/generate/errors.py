"""docs/reference/errors.md and `x-error-codes` of openapi.yaml: `python -m scripts.generate.errors [--check]`.

The source code supplies the statuses: the classes of errors, the calls that raise them, and API Gateway's own
responses. `scripts.generate.error_meanings` has the sentences.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from gateway.core.error_codes import ErrorCode
from scripts.generate.error_meanings import GROUPS, MEANINGS, SECTIONS
from scripts.generate.pages import cell, head, table, write_or_check
from scripts.project import quick_yaml
from scripts.project.template import ROOT

PAGE = ROOT / "docs/reference/errors.md"
SPEC = ROOT / "openapi.yaml"
MARKS = re.compile(
    r"(# >>> generated from the code by `make generate`; do not edit\n).*?(# <<< generated\n)", re.DOTALL
)
CODES: tuple[ErrorCode, ...] = get_args(ErrorCode)
GATEWAY_RESPONSES = "x-amazon-apigateway-gateway-responses"
# A default response of API Gateway keeps the status of the original fault.
DEFAULTS = {"DEFAULT_4XX": 400, "DEFAULT_5XX": 500}
# Calls that take a code as a positional argument, and its position.
POSITIONS = {"invalid_param": 2, "SchemaViolationError": 2, "Refusal": 1}


@dataclass
class Sources:
    """The Python that runs in Lambda, with the constants of its classes and modules."""

    trees: dict[Path, ast.Module]
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for tree in self.trees.values():
            self.classes |= {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
            self.constants |= dict(_assigned(tree.body))

    def attribute(self, name: str, attribute: str) -> Any:
        """A constant of a class, or of its first base that has it."""
        while name in self.classes:
            found = dict(_assigned(self.classes[name].body))
            if attribute in found:
                return found[attribute]
            name = next((base.id for base in self.classes[name].bases if isinstance(base, ast.Name)), "")
        return None

    def value(self, node: ast.expr | None) -> Any:
        if isinstance(node, ast.Name):
            return self.constants.get(node.id)
        return node.value if isinstance(node, ast.Constant) else None

    def raised(self) -> Iterator[tuple[str, int]]:
        """Each error code in the source, with its status."""
        for name, declared in self.classes.items():
            code, status = dict(_assigned(declared.body)).get("code"), self.attribute(name, "status")
            if code and isinstance(code, str) and status:
                yield code, status
        for tree in self.trees.values():
            for node in ast.walk(tree):
                if isinstance(node, ast.Call):
                    yield from self._called(node)

    def _called(self, node: ast.Call) -> Iterator[tuple[str, int]]:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        named = {keyword.arg: self.value(keyword.value) for keyword in node.keywords}
        code, status = named.get("code"), named.get("status") or self.attribute(name, "status")
        if name in POSITIONS and len(node.args) > POSITIONS[name]:
            code = self.value(node.args[POSITIONS[name]])
            status = self.value(node.args[0]) if name == "Refusal" else 400
        if isinstance(code, str) and isinstance(status, int):
            yield code, status

    def texts(self) -> set[str]:
        """Every string in the source."""
        nodes = (node for tree in self.trees.values() for node in ast.walk(tree))
        return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, Any]]:
    for node in body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
            yield target.id, value.value


def sources(root: Path = ROOT) -> Sources:
    """The source that runs in Lambda, except the list of codes itself."""
    files = [
        file for folder in ("layers/gateway/gateway", "functions") for file in sorted((root / folder).rglob("*.py"))
    ]
    files = [file for file in files if "generated" not in file.parts and file.name != "error_codes.py"]
    return Sources({file: ast.parse(file.read_text(encoding="utf-8")) for file in files})


def answered_by_api_gateway(spec: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The codes of API Gateway's own responses, from openapi.yaml."""
    for name, response in spec[GATEWAY_RESPONSES].items():
        said = response["responseTemplates"]["application/json"]
        yield re.findall(r'"code": "(\w+)"', said)[0], int(response.get("statusCode") or DEFAULTS[name])


def statuses(spec: Mapping[str, Any]) -> dict[str, list[int]]:
    found: defaultdict[str, set[int]] = defaultdict(set)
    for code, status in [*sources().raised(), *answered_by_api_gateway(spec)]:
        found[code].add(status)
    # The default of a parameter; no call names it.
    found["invalid_value"].add(400)
    return {code: sorted(numbers) for code, numbers in found.items()}


def section(found: Mapping[str, list[int]]) -> Iterator[str]:
    """`x-error-codes`: the groups of operations, then each code with its statuses and operations."""
    yield "x-error-codes:"
    yield "  operations:"
    for name, operations in GROUPS.items():
        yield f"    {name}: [{', '.join(operations)}]"
    yield "  codes:"
    for code in CODES:
        yield f"    {code}: {{status: {json.dumps(found[code])}, at: [{', '.join(MEANINGS[code].at)}]}}"


def page(found: Mapping[str, list[int]], tags: Mapping[str, set[str]]) -> Iterator[str]:
    yield from head("What does this error code mean?", "the code", "errors")
    yield "Every error has a stable `code` for programs, a `message` for people, and a `request_id` for the operators."
    yield "OpenAI's, Anthropic's and Bedrock's clients find the code in their own format as well: in `error.code`, in"
    yield "`error.details.error_code`, and beside `message`. [The API](api.md) lists the codes of each operation."
    yield ""
    yield "- A status of 429 or 503 with a `Retry-After` header is temporary: wait, then send the request again."
    yield "- `x-should-retry: false` means that a retry is useless, or would be charged twice."
    yield "- On Bedrock's paths an error of the model's service keeps the status of its own AWS exception."
    yield "- 413 comes from API Gateway or Lambda, without a code: the body is too large."
    yield "- An error inside a stream has the same code, in the stream's own format, after status 200."
    for title, codes in SECTIONS.items():
        yield from ("", f"## {title}", "")
        rows = [
            (f"`{code}`", ", ".join(map(str, found[code])), cell(meaning.means), cell(meaning.do), _where(code, tags))
            for code, meaning in codes.items()
        ]
        yield from table(("code", "status", "meaning", "remedy", "answered by"), rows)


def _where(code: ErrorCode, tags: Mapping[str, set[str]]) -> str:
    """The tags whose operations answer a code; the operations themselves if there are at most two."""
    operations = sorted(set(_operations(code)))
    if len(operations) <= 2:
        return ", ".join(f"`{operation}`" for operation in operations) or "no operation"
    touched = [tag for tag, members in tags.items() if members & set(operations)]
    return "all" if len(touched) == len(tags) else ", ".join(touched)


def _operations(code: ErrorCode) -> Iterator[str]:
    for name in MEANINGS[code].at:
        yield from GROUPS.get(name, (name,))


def tags_of(spec: Mapping[str, Any]) -> dict[str, set[str]]:
    """The ids of each tag's operations."""
    tags: dict[str, set[str]] = {tag["name"]: set() for tag in spec["tags"]}
    for operations in spec["paths"].values():
        for operation in operations.values():
            for tag in operation.get("tags", ()):
                tags[tag].add(operation["operationId"])
    return tags


def files() -> dict[Path, str]:
    """The page, and openapi.yaml with its generated block."""
    text = SPEC.read_text(encoding="utf-8")
    spec = quick_yaml.read(text)
    found = statuses(spec)
    block = "\n".join(section(found))
    fresh = MARKS.sub(lambda marks: f"{marks[1]}{block}\n{marks[2]}", text)
    return {SPEC: fresh, PAGE: "\n".join(page(found, tags_of(spec))) + "\n"}


def main() -> int:
    return write_or_check(files(), "the error codes in the code", sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())

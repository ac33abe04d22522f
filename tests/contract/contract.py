"""Readers for the contract tests: openapi.yaml, template.yaml, and the functions' modules."""

from __future__ import annotations

import ast
import importlib.util
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from gateway.core.settings import Settings
from scripts.dev.rest_api.importing import Method, import_rest_api
from scripts.project import quick_yaml
from scripts.project.template import ROOT, DeclaredFunction, Template, functions, load

SPEC: dict[str, Any] = quick_yaml.read((ROOT / "openapi.yaml").read_text())
TEMPLATE = load(ROOT / "template.yaml")
API = import_rest_api(SPEC, Template(ROOT / "template.yaml", {}).resolve)  # what API Gateway makes of the spec
MADE = {(method.path, method.http_method): method for method in API.methods}
FUNCTIONS = functions(TEMPLATE)
METHODS = ("get", "put", "post", "delete", "patch", "options", "head")
ANY = "x-amazon-apigateway-any-method"  # of a path's other methods: a mock that says that there is no such operation
# The one path whose ANY is no mock: below it are the operations of /admin, for callers with a key or a token.
DELEGATED = "/delegated/{proxy+}"
PACKAGE = ROOT / "layers/gateway"


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    said: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def uri(self) -> str:
        uri: str = self.said["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
        return uri

    @property
    def made(self) -> Method:
        """API Gateway's method for it."""
        return MADE[self.path, self.method.upper()]

    @property
    def streams(self) -> bool:
        integration = self.made.integration
        return integration is not None and integration.streams


OPERATIONS = [
    Operation(method, path, said)
    for path, methods in SPEC["paths"].items()
    for method, said in methods.items()
    if method in METHODS
]


def resolve(part: Any) -> Any:
    """The target of a `$ref` within the spec."""
    while isinstance(part, dict) and "$ref" in part:
        found: Any = SPEC
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        part = found
    return part


def schema_of(part: Mapping[str, Any]) -> dict[str, Any]:
    """A self-contained schema of the spec, for a JSON Schema validator."""
    return {**part, "components": {"schemas": SPEC["components"]["schemas"]}}


def everywhere(part: Any, where: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object in a document, with its path."""
    if isinstance(part, dict):
        yield where, part
        for name, inner in part.items():
            yield from everywhere(inner, f"{where}/{name}")
    elif isinstance(part, list):
        for number, inner in enumerate(part):
            yield from everywhere(inner, f"{where}/{number}")


# --------------------------------------------------------------------------------------------------------- the functions
def import_app(function: DeclaredFunction) -> ModuleType:
    """The function's module, loaded alone, as Lambda does."""
    path = ROOT / function.code / "app.py"
    spec = importlib.util.spec_from_file_location(f"app_{uuid.uuid4().hex}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # as Lambda does, for what lies beside it
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def variables_of(name: str) -> set[str]:
    """The environment variables that a property of the settings reads."""
    read: set[str] = set()

    class Environment(dict[str, str]):
        def get(self, key: str, default: Any = None) -> Any:
            read.add(key)
            return "1"

    getattr(Settings(Environment()), name)
    return read


WIRING = PACKAGE / "gateway/wiring.py"


def settings_read(function: DeclaredFunction) -> set[str]:
    """The settings that a function's code uses: its own, and those of the modules that it imports.

    For the wiring, only the adapters that the function uses count.
    """
    names, seen, waiting = set(), set(), list((ROOT / function.code).glob("*.py"))
    wired: set[str] = set()
    while waiting or wired:
        if not waiting:
            read, waiting = _of_the_wiring(wired)
            names |= read
            wired = set()
            continue
        path = waiting.pop()
        if path in seen or path == WIRING:
            continue
        seen.add(path)
        tree = ast.parse(path.read_text())
        waiting += _modules(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Call):
                called = node.value.func
                if isinstance(called, ast.Name) and called.id == "settings":
                    names.add(node.attr)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "wired":
                wired.add(node.attr)
    return names


def _modules(tree: ast.AST) -> list[Path]:
    """The imported modules of the package."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gateway"):
            way = (node.module or "").split(".")
            places = (
                PACKAGE.joinpath(*module).with_suffix(".py") for module in (way, *([*way, a.name] for a in node.names))
            )
            found += [place for place in places if place.exists()]
    return found


def _of_the_wiring(taken: set[str]) -> tuple[set[str], list[Path]]:
    """The settings of the given adapters, and the modules of these adapters."""
    tree = ast.parse(WIRING.read_text())
    [wiring] = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    built = {node.name: node for node in wiring.body if isinstance(node, ast.FunctionDef)}
    read, used, waiting = set[str](), set[str](), [*taken]
    for name in waiting:
        for node in ast.walk(built[name]):
            if isinstance(node, ast.Name):
                used.add(node.id)
            elif isinstance(node, ast.Attribute):
                if ast.unparse(node.value) in ("self._settings", "chosen"):
                    read.add(node.attr)
                elif ast.unparse(node.value) == "self" and node.attr in built and node.attr not in waiting:
                    waiting.append(node.attr)
    needed: list[ast.stmt] = [
        ast.ImportFrom(node.module, [alias], 0)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in used
    ]
    return read, _modules(ast.Module(needed, []))

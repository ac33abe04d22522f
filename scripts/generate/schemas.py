"""Generates `gateway.web.generated` from openapi.yaml (`python -m scripts.generate.schemas`)."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.generate import bodies
from scripts.project import quick_yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "layers/gateway/gateway/web/generated"
# A class of pydantic costs half a millisecond of every cold start. The streaming function therefore imports no pydantic
# and has compiled checks of its bodies; the other functions have only the classes that they need.
SCHEMAS, BODIES = "schemas.py", "bodies.py"
HEADER = "# Generated from openapi.yaml by scripts/generate/schemas.py; do not edit."
OPTIONS = """
    --input-file-type openapi --openapi-scopes schemas parameters paths --use-operation-id-as-name
    --output-model-type pydantic_v2.BaseModel --target-python-version 3.11 --use-annotated --use-double-quotes
    --use-standard-collections --use-union-operator --disable-timestamp --collapse-root-models --formatters builtin
"""


def streams(operation: dict[str, Any]) -> bool:
    return "responseTransferMode" in operation["x-amazon-apigateway-integration"]


def references(part: Any) -> Iterator[tuple[str, str]]:
    """Kind and name of each component that a part of the spec references."""
    if isinstance(part, dict):
        if isinstance(target := part.get("$ref"), str):
            kind, name = target.removeprefix("#/components/").split("/")
            yield kind, name
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def schemas_used(spec: dict[str, Any], start: Any) -> set[str]:
    """The names of the schemas that a part of the spec references, directly or indirectly."""
    seen: set[tuple[str, str]] = set()
    waiting = set(references(start))
    while waiting:
        kind, name = reference = waiting.pop()
        seen.add(reference)
        waiting |= set(references(spec["components"][kind][name])) - seen
    return {name for kind, name in seen if kind == "schemas"}


def buffered(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec of the operations that do not stream, with the schemas that they reference."""
    paths: dict[str, Any] = {}
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            if not streams(operation):
                paths.setdefault(path, {})[method] = operation
    needed = schemas_used(spec, paths)
    schemas = {name: schema for name, schema in spec["components"]["schemas"].items() if name in needed}
    return {**spec, "paths": paths, "components": {**spec["components"], "schemas": schemas}}


def streamed_bodies(spec: dict[str, Any]) -> dict[str, str]:
    """The name of the body's schema of each streaming operation, by operation id."""
    return {
        operation["operationId"]: next(references(operation["requestBody"]["content"]["application/json"]["schema"]))[1]
        for operations in spec["paths"].values()
        for operation in operations.values()
        if streams(operation) and "requestBody" in operation
    }


def generate(folder: Path) -> None:
    spec = quick_yaml.read((ROOT / "openapi.yaml").read_text())
    (folder / BODIES).write_text(bodies.generate(spec["components"]["schemas"], streamed_bodies(spec)))
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(buffered(spec), file)
        file.flush()
        paths = ["--input", file.name, "--output", str(folder / SCHEMAS), "--custom-file-header", HEADER]
        subprocess.run([sys.executable, "-m", "datamodel_code_generator", *OPTIONS.split(), *paths], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the committed files do not match openapi.yaml")
    if not parser.parse_args().check:
        generate(FOLDER)
        return 0
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".generated-") as fresh:
        generate(Path(fresh))
        stale = [file for file in (SCHEMAS, BODIES) if (Path(fresh) / file).read_text() != read(FOLDER / file)]
    for file in stale:
        print(f"{(FOLDER / file).relative_to(ROOT)} does not match openapi.yaml: run `make generate`", file=sys.stderr)
    return 1 if stale else 0


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())

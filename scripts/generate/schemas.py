"""Generates the schemas of `gateway.web.generated` from openapi.yaml (`python -m scripts.generate.schemas`)."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.project import quick_yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "layers/gateway/gateway/web/generated"
# Two files, because a class costs half a millisecond of every cold start: most functions need nothing of the streams.
BUFFERED, STREAMED = "schemas.py", "stream_schemas.py"
HEADER = "# Generated from openapi.yaml by scripts/generate/schemas.py; do not edit."
# schemas.py has this from pyproject.toml.
UNCHECKED = f"{HEADER}\n# ruff: noqa\n# fmt: off\n# mypy: ignore-errors"
OPTIONS = """
    --input-file-type openapi --openapi-scopes schemas parameters paths --use-operation-id-as-name
    --output-model-type pydantic_v2.BaseModel --target-python-version 3.11 --use-annotated --use-double-quotes
    --use-standard-collections --use-union-operator --disable-timestamp --collapse-root-models --formatters builtin
"""


def streams(operation: dict[str, Any]) -> bool:
    return "responseTransferMode" in operation["x-amazon-apigateway-integration"]


def references(part: Any) -> Iterator[tuple[str, str]]:
    """Kind and name of each component that a part of the spec leads to."""
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
    """The names of the schemas that a part of the spec leads to, and those that these lead to."""
    seen: set[tuple[str, str]] = set()
    waiting = set(references(start))
    while waiting:
        kind, name = reference = waiting.pop()
        seen.add(reference)
        waiting |= set(references(spec["components"][kind][name])) - seen
    return {name for kind, name in seen if kind == "schemas"}


def halves(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The spec of the operations that stream and that of the others, each with its own schemas, by the file to make."""
    paths: dict[str, dict[str, Any]] = {BUFFERED: {}, STREAMED: {}}
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            half = paths[STREAMED if streams(operation) else BUFFERED]
            half.setdefault(path, {})[method] = operation
    everything = spec["components"]["schemas"]
    buffered = schemas_used(spec, paths[BUFFERED])
    others = {name: schema for name, schema in everything.items() if name not in buffered}
    needed = {BUFFERED: buffered, STREAMED: others.keys() | schemas_used(spec, [paths[STREAMED], others])}
    return {
        file: {
            **spec,
            "paths": paths[file],
            "components": {
                **spec["components"],
                "schemas": {name: schema for name, schema in everything.items() if name in needed[file]},
            },
        }
        for file in (BUFFERED, STREAMED)
    }


def generate(folder: Path) -> None:
    for file, half in halves(quick_yaml.read((ROOT / "openapi.yaml").read_text())).items():
        with tempfile.NamedTemporaryFile("w", suffix=".json") as spec:
            json.dump(half, spec)
            spec.flush()
            header = HEADER if file == BUFFERED else UNCHECKED
            paths = ["--input", spec.name, "--output", str(folder / file), "--custom-file-header", header]
            subprocess.run([sys.executable, "-m", "datamodel_code_generator", *OPTIONS.split(), *paths], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="fail where the committed files are not what openapi.yaml says"
    )
    if not parser.parse_args().check:
        generate(FOLDER)
        return 0
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".generated-") as fresh:
        generate(Path(fresh))
        stale = [file for file in (BUFFERED, STREAMED) if (Path(fresh) / file).read_text() != read(FOLDER / file)]
    for file in stale:
        print(
            f"{(FOLDER / file).relative_to(ROOT)} is not what openapi.yaml says: run `make generate`", file=sys.stderr
        )
    return 1 if stale else 0


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())

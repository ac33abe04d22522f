"""Generates `gateway/http/schemas.py` from openapi.yaml: `python -m scripts.generate_schemas [--check]`."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "layers/gateway/gateway/http/schemas.py"
HEADER = "# Generated from openapi.yaml by scripts/generate_schemas.py; do not edit."


def generate(target: Path) -> None:
    options = """
        --input-file-type openapi --openapi-scopes schemas parameters paths --use-operation-id-as-name
        --output-model-type pydantic_v2.BaseModel --target-python-version 3.11 --use-annotated --use-double-quotes
        --use-standard-collections --use-union-operator --disable-timestamp --collapse-root-models --formatters builtin
    """
    paths = ["--input", str(ROOT / "openapi.yaml"), "--output", str(target), "--custom-file-header", HEADER]
    command = [sys.executable, "-m", "datamodel_code_generator", *options.split(), *paths]
    subprocess.run(command, check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="fail where the committed file is not what openapi.yaml says"
    )
    if not parser.parse_args().check:
        generate(TARGET)
        return 0
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".generated-") as folder:
        fresh = Path(folder) / "schemas.py"
        generate(fresh)
        if fresh.read_text() == TARGET.read_text():
            return 0
    print(f"{TARGET.relative_to(ROOT)} is not what openapi.yaml says: run `make generate`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""Generates a Python and a TypeScript client from openapi.yaml, builds both, and runs each: `make client`.

The clients stay in build/clients. Exit code 0 means that both got the same answers from the local stack. Without a
recent Node the script skips the TypeScript client and prints a line.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts.dev.stack import LocalStack
from scripts.generate import client_spec
from scripts.project.environments import NotSetUp, has_node, set_up, set_up_node

ROOT = Path(__file__).parents[3]
HOME = Path(__file__).parent
MADE = ROOT / "build/clients"
SPEC = MADE / "openapi.yaml"
PYTHON, TYPESCRIPT = MADE / "python", MADE / "typescript"
ENVIRONMENT = ROOT / ".venv-clients"
USAGE = "usage"  # covers the day so far, so the second walk includes the first one's usage
NO_NODE = "Node 20.19, or 22.12 or newer, is missing: the script skipped the TypeScript client."


class Broken(Exception):
    """A failed step, with its output."""


@contextmanager
def step(what: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    print(f"{time.monotonic() - begun:6.1f} s  {what}", flush=True)


def run(*command: str | Path, folder: Path = ROOT, environment: Mapping[str, str] | None = None) -> str:
    """Runs a program to its end, and returns its output."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "AWS_"))}
    asked = [str(part) for part in command]
    done = subprocess.run(
        asked, cwd=folder, env=kept | dict(environment or {}), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Broken(f"{' '.join(asked)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


# ------------------------------------------------------------------------------------------------------------- Python
def make_python() -> Path:
    """The package, and its wheel."""
    set_up(ENVIRONMENT, HOME / "requirements.lock")
    programs = ENVIRONMENT / "bin"
    options = ("--config", HOME / "python.yaml", "--output-path", PYTHON, "--overwrite", "--fail-on-warning")
    run(programs / "openapi-python-client", "generate", "--path", SPEC, *options)
    shutil.copyfile(HOME / "python.md", PYTHON / "README.md")
    build = ("wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    run(programs / "python", "-m", "pip", *build, "--wheel-dir", PYTHON / "dist", PYTHON)
    (wheel,) = (PYTHON / "dist").glob("*.whl")
    return wheel


def walk_python(wheel: Path, gateway: Mapping[str, str]) -> Any:
    """Runs the walk with the wheel alone, as after an installation."""
    return json.loads(
        run(ENVIRONMENT / "bin/python", HOME / "walk.py", environment={"PYTHONPATH": str(wheel), **gateway})
    )


# --------------------------------------------------------------------------------------------------------- TypeScript
def make_typescript() -> None:
    """The package and its JavaScript, by the strict compiler."""
    tools = set_up_node(HOME, TYPESCRIPT)
    shutil.copyfile(HOME / "tsconfig.json", TYPESCRIPT / "tsconfig.json")
    shutil.copyfile(HOME / "typescript.md", TYPESCRIPT / "README.md")
    run(tools / "openapi-ts", "--input", SPEC, "--output", "src", "--no-log-file", folder=TYPESCRIPT)
    shutil.copyfile(HOME / "walk.ts", TYPESCRIPT / "src/walk.ts")
    shutil.rmtree(TYPESCRIPT / "dist", ignore_errors=True)
    run(tools / "tsc", folder=TYPESCRIPT)


def walk_typescript(gateway: Mapping[str, str]) -> Any:
    return json.loads(run("node", TYPESCRIPT / "dist/walk.js", environment=gateway))


def main() -> int:
    shutil.rmtree(PYTHON, ignore_errors=True)
    try:
        node = has_node()
        with step("openapi.yaml without AWS's extensions"):
            client_spec.write(SPEC)
        with step("the Python client and its wheel"):
            wheel = make_python()
        if node:
            with step("the TypeScript client, compiled"):
                make_typescript()
        with tempfile.TemporaryDirectory() as folder, LocalStack(folder) as stack:
            gateway = {"GATEWAY_URL": stack.url, "GATEWAY_KEY": str(stack.tenants[0]["key"])}
            with step("a walk in Python"):
                met = walk_python(wheel, gateway)
            print(json.dumps(met, indent=2))
            if not node:
                print(NO_NODE)
                return 0
            with step("a walk in TypeScript"):
                same = walk_typescript(gateway)
    except (Broken, NotSetUp) as broken:
        print(broken, file=sys.stderr)
        return 1
    if {**met, USAGE: None} != {**same, USAGE: None}:
        print(f"The TypeScript client got different answers:\n{json.dumps(same, indent=2)}", file=sys.stderr)
        return 1
    print("Both clients got the same answers.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Runs the pinned SAM CLI: `python -m scripts.project.sam build`, and any other command of `sam`.

SAM builds for Lambda with the Python version that Lambda runs, so this module finds one; the project itself runs on
others too. Building, validating and running locally need no AWS account.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

VERSION = "3.13"
NAME = f"python{VERSION}"
VARIABLE = "PYTHON313"
NONE_FOUND = f"""SAM needs Python {VERSION} to build the functions, and this machine has none. Either
  - install one:  apt install {NAME} {NAME}-venv  |  brew install python@{VERSION}  |  pyenv install {VERSION}
  - or name one:  {VARIABLE}=/where/it/is/{NAME} make build"""
WITHOUT_ACCOUNT = {"build", "validate", "local"}


def candidates() -> Iterator[Path]:
    """Possible places of a Python of Lambda's version, the likeliest first."""
    if named := os.environ.get(VARIABLE):
        yield Path(named)
        return
    yield Path(sys.executable)
    yield from (Path(folder) / NAME for folder in os.environ.get("PATH", "").split(os.pathsep) if folder)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob(f"versions/{VERSION}*/bin/{NAME}"), reverse=True)
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or Path.home() / ".local/share/uv/python")
    yield from sorted(uv.glob(f"cpython-{VERSION}*/bin/{NAME}"), reverse=True)


def fits(python: Path) -> bool:
    """Does it run (a pyenv shim may not), has it Lambda's version, and can it install packages?"""
    question = f"import sys, pip, venv; sys.exit('%d.%d' % sys.version_info[:2] != '{VERSION}')"
    try:
        return subprocess.run([python, "-c", question], capture_output=True, check=False, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def find_python() -> Path | None:
    return next((path.absolute() for path in candidates() if path.is_file() and fits(path)), None)


@contextmanager
def environment(python: Path, command: str) -> Iterator[MutableMapping[str, str]]:
    """SAM's environment: this Python first on PATH, under the name that SAM expects."""
    changed = dict(os.environ, SAM_CLI_TELEMETRY="0")
    if command in WITHOUT_ACCOUNT:
        changed.setdefault("AWS_DEFAULT_REGION", "us-east-1")  # SAM requires one; it sends no request there
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
            changed.pop(name, None)  # with credentials SAM would look up their owner in AWS
        changed["AWS_EC2_METADATA_DISABLED"] = "true"
    with tempfile.TemporaryDirectory(prefix="sam-python-") as folder:
        named = Path(folder) / NAME
        named.write_text(f'#!/bin/sh\nexec "{python}" "$@"\n')
        named.chmod(0o755)
        changed["PATH"] = os.pathsep.join([folder, changed.get("PATH", "")])
        yield changed


def run(*arguments: str, **more: str) -> int:
    """Run `sam` with these arguments; returns its exit code."""
    command = arguments[0] if arguments else ""
    python = find_python()
    if python is None and command == "build":
        print(NONE_FOUND, file=sys.stderr)
        return 1
    with environment(python or Path(sys.executable), command) as changed:
        return subprocess.run(
            [sys.executable, "-m", "samcli", *arguments], env={**changed, **more}, check=False
        ).returncode


def main() -> int:
    return run(*sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())

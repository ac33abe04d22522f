"""Unit, function and contract tests on the Python that Lambda runs: `make test-lambda`.

`make test` runs on the Python of .venv, which may be the oldest supported version. This creates a second environment
from the same lock. If this machine lacks Lambda's Python version, it prints that and exits with 0.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from scripts.generate.locks import LOCK
from scripts.project import sam
from scripts.project.environments import ROOT, NotSetUp, set_up

ENVIRONMENT = ROOT / f".venv-{sam.VERSION}"
TESTS = ("tests/unit", "tests/functions", "tests/contract")


def command(python: Path) -> list[str]:
    return [str(python), "-m", "pytest", "-n", "3", "--dist", "loadfile", *TESTS]


def main() -> int:
    python = sam.find_python()
    if python is None:
        print(f"No tests ran on Python {sam.VERSION}. {sam.NONE_FOUND}", file=sys.stderr)
        return 0
    try:
        set_up(ENVIRONMENT, ROOT / LOCK, python)
    except NotSetUp as error:
        print(error, file=sys.stderr)
        return 1
    return subprocess.run(command(ENVIRONMENT / "bin/python"), cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

"""Unit, function and contract tests on the Python that Lambda runs: `make test-lambda`.

`make test` runs on the Python of .venv, which may be the oldest that is supported. This sets up a second environment
from the same lock. Where no Python of Lambda's version is here, it says so and exits 0.
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
        print(f"nothing was tested on Python {sam.VERSION}. {sam.NONE_FOUND}", file=sys.stderr)
        return 0
    try:
        set_up(ENVIRONMENT, ROOT / LOCK, python)
    except NotSetUp as error:
        print(error, file=sys.stderr)
        return 1
    return subprocess.run(command(ENVIRONMENT / "bin/python"), cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

"""Runs the strict type checker over the package, the scripts and the tests, then over each function on its own.

Each function's code is a module named `app`, as Lambda loads it, so one run cannot hold two of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> int:
    environment = os.environ | {"MYPYPATH": "layers/gateway"}
    groups = [
        ["layers/gateway/gateway", "scripts", "tests"],
        *([str(app)] for app in sorted(ROOT.glob("functions/**/app.py"))),
    ]
    failed = 0
    for group in groups:
        command = [sys.executable, "-m", "mypy", "--no-error-summary", *group]
        failed += subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())

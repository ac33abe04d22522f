"""Runs the strict type checker over package, recipe, scripts and tests, then over each function on its own.

Each function's code is a module named `app`, as Lambda loads it, so one run cannot hold two of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main() -> int:
    failed = int(
        check(
            "layers/gateway:scripts/deploy/sam_local/layer/python",
            "layers/gateway/gateway",
            "bundle",
            "scripts",
            "tests",
        )
    )
    for app in sorted(ROOT.glob("functions/**/app.py")):
        failed += check(f"layers/gateway:{app.parent}", str(app))
    return min(failed, 1)


def check(path: str, *what: str) -> bool:
    """Does the checker report errors? `path` is its import path."""
    command = [sys.executable, "-m", "mypy", "--no-error-summary", *what]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"MYPYPATH": path}, check=False).returncode != 0


if __name__ == "__main__":
    sys.exit(main())

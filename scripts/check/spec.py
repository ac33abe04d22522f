"""Lints openapi.yaml by Redocly and the house's own rules, in redocly.yaml: `python -m scripts.check.spec`.

If Node is missing or too old, it prints that it did not lint. The rules of tests/contract/test_spec.py need no Node.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from scripts.project.environments import ROOT, NotSetUp, has_node, set_up_node

HOME = Path(__file__).parent
SPEC = ROOT / "openapi.yaml"
NO_NODE = (
    "Redocly did not read openapi.yaml: it needs Node 20.19, or 22.12 or newer, on the path. "
    "The tests check the house's own rules without Node."
)
QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "NO_COLOR": "1"}


def lint(spec: Path) -> subprocess.CompletedProcess[str]:
    """Raises NotSetUp."""
    program = str(set_up_node(HOME, ROOT / "build/checks") / "redocly")
    command = [program, "lint", str(spec), "--config", str(HOME / "redocly.yaml"), "--format", "stylish"]
    return subprocess.run(command, env={**os.environ, **QUIET}, capture_output=True, text=True, check=False)


def main() -> int:
    if not has_node():
        print(NO_NODE)
        return 0
    try:
        done = lint(SPEC)
    except NotSetUp as broken:
        print(broken, file=sys.stderr)
        return 1
    print(done.stdout + done.stderr if done.returncode else "openapi.yaml: no finding")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())

"""The SDKs' own environment (tests/sdks/requirements.lock), and runs of their users in it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from scripts.dev.stack import LocalStack
from scripts.project.environments import set_up

ROOT = Path(__file__).parents[2]
SUITES = ROOT / "tests/sdks"
_ENVIRONMENT = ROOT / ".venv-sdks"


def set_up_sdks() -> None:
    set_up(_ENVIRONMENT, SUITES / "requirements.lock")


def python(*arguments: str) -> list[str]:
    return [str(_ENVIRONMENT / "bin/python"), *arguments]


def run(
    stack: LocalStack, command: list[str], told: Mapping[str, str], seconds: float
) -> subprocess.CompletedProcess[str]:
    """Run a command as a user of the stack would, with only the given variables in its environment."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "PYTHON", "PYTEST"))}
    return subprocess.run(
        command,
        env=kept | {"PYTHONDONTWRITEBYTECODE": "1", **told},
        cwd=stack.data,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


def run_suites(stack: LocalStack, told: Mapping[str, str], *arguments: str) -> str:
    """Run tests of tests/sdks, which have to pass; returns pytest's counts."""
    gateway = {
        "GATEWAY_URL": stack.url,
        "GATEWAY_TLS_URL": stack.tls_url,
        "GATEWAY_CA": str(stack.ca),
        "GATEWAY_KEY": stack.tenants[0]["key"],
    }
    ran = run(stack, python("-m", "pytest", *arguments), gateway | dict(told), 300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return next(line for line in reversed(ran.stdout.splitlines()) if " passed" in line)

"""`make client`: openapi.yaml is sufficient for generators, and the generated clients accept the gateway's responses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.dev.stack import LocalStack
from scripts.generate.clients.__main__ import NO_NODE
from scripts.project.environments import has_node
from scripts.project.template import ROOT

from .test_examples import SPOKEN, assert_printed


@pytest.fixture(scope="module")
def made() -> str:
    """The output of `make client`."""
    run = subprocess.run(
        [sys.executable, "-m", "scripts.generate.clients"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def wheel(made: str) -> Path:
    (wheel,) = (ROOT / "build/clients/python/dist").glob("model_gateway_client-*.whl")
    return wheel


def test_clients_from_the_spec_are_built_and_meet_the_same_answers(made: str) -> None:
    assert re.search(r'"models": [1-9]\d+', made)
    if has_node():
        assert made.endswith("Both clients got the same answers.\n")
        assert (ROOT / "build/clients/typescript/dist/index.d.ts").exists()
    else:
        print(NO_NODE)
        assert made.endswith(f"{NO_NODE}\n")


def test_each_client_says_how_it_is_used_and_the_program_in_its_readme_runs(wheel: Path, tmp_path: Path) -> None:
    text = (ROOT / "build/clients/python/README.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    with LocalStack(tmp_path) as stack:
        told = {"GATEWAY_URL": stack.url, "GATEWAY_KEY": stack.tenants[0]["key"], "PYTHONPATH": str(wheel)}
        run = subprocess.run(
            [str(ROOT / ".venv-clients/bin/python"), "-c", program],
            env=os.environ | told,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert run.returncode == 0, run.stderr
    assert_printed(run.stdout, (SPOKEN,))
    if has_node():
        text = (ROOT / "build/clients/typescript/README.md").read_text(encoding="utf-8")
        declared = (ROOT / "build/clients/typescript/dist/index.d.ts").read_text(encoding="utf-8")
        (names,) = re.findall(r"import \{ (\w+) \} from './dist/index.js'", text)
        assert names in declared


def test_the_example_of_the_generated_client_prints_what_it_promises(wheel: Path, tmp_path: Path) -> None:
    with LocalStack(tmp_path) as stack:
        told = {"GATEWAY_URL": stack.url, "GATEWAY_KEY": stack.tenants[0]["key"], "PYTHONPATH": str(wheel)}
        run = subprocess.run(
            [str(ROOT / ".venv-clients/bin/python"), str(ROOT / "examples/generated_client.py")],
            env=os.environ | told,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert run.returncode == 0, run.stdout + run.stderr
    usage = r"usage: 2 calls today, 48 tokens out, 0\.0000625 USD"
    quote = r"quote: 0\.\d+ USD at most, fits"
    assert_printed(run.stdout, (quote, f"answer: {SPOKEN}", f"stream: {SPOKEN}", usage))

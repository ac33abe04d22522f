"""`make client`: what openapi.yaml says is enough for generators, and what they make meets the gateway's answers."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

from scripts.template import ROOT


def test_clients_from_the_spec_are_built_and_meet_the_same_answers() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "scripts.clients"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r'"models": [1-9]\d+', run.stdout)
    assert list((ROOT / "build/clients/python/dist").glob("model_gateway_client-*.whl"))
    if shutil.which("node") and shutil.which("npm"):
        assert run.stdout.endswith("both met the same answers\n")
        assert (ROOT / "build/clients/typescript/dist/index.d.ts").exists()
    else:
        print(said := "There is no Node here: the TypeScript client was neither made nor run.")
        assert run.stdout.endswith(f"{said}\n")

"""`make bench` prints tables without the calls' log lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def printed(program: str) -> list[str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "layers/gateway")])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_benchmark_of_calls_prints_its_table_and_no_line_of_their_log() -> None:
    said = printed("from tests.benchmarks import bench_limits; bench_limits.CALLS = 2; bench_limits.main()")
    assert [line for line in said if line.startswith("{")] == []
    assert "DynamoDB per metered call" in said
    assert said[-1].startswith("Authorizer, warm")


def test_what_a_benchmark_says_between_its_calls_is_shown() -> None:
    said = printed(
        "import sys; from tests.benchmarks import quiet; held = sys.stdout\n"
        "print('before')\nwith quiet(): print('a line of the log', file=held)\nprint('after')"
    )
    assert said == ["before", "after"]

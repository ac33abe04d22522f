"""The local stack stays small: a call leaves its row, and a burst none of its workers."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pytest

from scripts.dev.stack import LocalStack
from tests.benchmarks.bench_memory import QUIET, UNTHROTTLED, call, processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say what processes share")

CALLS = 400
ROW = 2_000  # bytes that a call may add to the embedded AWS and to the models' stand-in together
MOST = 500  # MB of all processes together


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(tmp_path_factory.mktemp("memory"), environment=UNTHROTTLED) as stack:
        call(stack, 200, 16)
        time.sleep(QUIET)
        yield stack


def test_a_call_leaves_hardly_more_than_its_row(warm: LocalStack) -> None:
    before = processes(warm)
    call(warm, CALLS)
    time.sleep(QUIET)
    after = processes(warm)
    keep = ("embedded-aws", "model-stand-in")
    grown = sum(after[name] - before[name] for name in keep) * 1024 * 1024
    # Pages are 4 KB, and allocators take more than they need.
    assert grown < CALLS * ROW + 2 * 1024 * 1024, f"{grown / CALLS:.0f} bytes a call"


def test_when_a_burst_is_over_all_of_it_takes_a_few_hundred_megabytes(warm: LocalStack) -> None:
    call(warm, 100, 30)
    time.sleep(QUIET)
    assert processes(warm)["all"] < MOST, processes(warm)

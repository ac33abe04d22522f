"""The local stack stops at any time, and no caller notices workers that are killed between two calls."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import requests

from scripts.dev.stack import LocalStack
from scripts.dev.supervisor import ROOT

from .processes import alive, eventually
from .test_every_cent import served
from .test_local_stack import call, make_project, make_stack
from .test_old_tenants import OldClient
from .test_slow_and_crashed import TITAN, workers

STOPS = 6
LONGEST = 9.0  # seconds: what runs has five to end, what was started three more


def none_of(pids: list[int]) -> bool:
    return not any(map(alive, pids))


def stopped_under_load(stack: LocalStack, number: signal.Signals, moment: float) -> float:
    """Call it from many threads and stop it at a random time; returns the seconds until its end."""
    over = threading.Event()

    def call_on(caller: int) -> None:
        while not over.is_set():
            try:
                call(stack, "sleep", seconds=0.05, mark=f"under-load-{caller}")
            except requests.RequestException:
                time.sleep(0.01)

    with ThreadPoolExecutor(12) as many:
        for caller in range(12):
            many.submit(call_on, caller)
        time.sleep(moment)
        pid = stack.info["pid"]
        began = time.monotonic()
        os.kill(pid, number)
        try:
            eventually(lambda: not alive(pid), 40)
            return time.monotonic() - began
        finally:
            over.set()


def test_it_stops_at_any_moment_under_load(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    dice = random.Random(20261201)
    stack = make_stack(make_project(tmp_path_factory.mktemp("project")), tmp_path)
    took = []
    for number in range(STOPS):
        stack.start()
        pids = list(stack.info["processes"].values())
        took.append(stopped_under_load(stack, (signal.SIGTERM, signal.SIGINT)[number % 2], dice.uniform(0, 1)))
        assert stack.stop() == 0
        eventually(partial(none_of, pids), 5)
    print("seconds of each stop:", *(f"{seconds:.1f}" for seconds in took))
    assert max(took) < LONGEST


@pytest.mark.parametrize("moment", [0.4, 0.9, 1.4, 2.0, 2.8])
def test_it_stops_while_it_starts(tmp_path: Path, moment: float) -> None:
    """Of this very project, which takes some seconds to start."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.dev", "--port", "0", "--tls-port", "0", "--data", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    time.sleep(moment)
    process.terminate()
    began = time.monotonic()
    _, said = process.communicate(timeout=40)
    assert process.returncode in (0, -signal.SIGTERM), said  # by the signal itself before anything was started
    assert time.monotonic() - began < LONGEST


# ----------------------------------------------------------------------------------------------------- killed workers
@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(tmp_path_factory.mktemp("killed")) as running:
        yield running


def killed(stack: LocalStack, *functions: str) -> int:
    pids = {pid for function in functions for pid in workers(stack, function)}
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return len(pids)


def test_workers_that_were_killed_between_calls_cost_the_next_call_nothing(stack: LocalStack) -> None:
    client = OldClient(stack)
    names = [name for name in stack.info["functions"] if (stack.data / "logs" / f"{name}.log").exists()]
    calls = len(served(stack))
    for number in range(6):
        if number:
            assert killed(stack, *names) >= 2, "an authorizer and a function at least"
        for again in range(2):
            answer = client.post({"inputs": f"call {number}.{again}"}, TITAN)
            assert answer.status_code == 200, answer.text
            streamed = requests.post(
                f"{stack.url}/model/amazon.nova-lite-v1:0/converse-stream",
                json={"messages": [{"role": "user", "content": [{"text": f"stream {number}.{again}"}]}]},
                headers={"Authorization": f"Bearer {client.key}"},
                timeout=60,
            )
            assert streamed.status_code == 200, streamed.text
    assert len(served(stack)) - calls == 6 * 2 * 2, "each call once"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no process forks the workers")
def test_the_process_that_forks_the_workers_may_be_killed_too(stack: LocalStack) -> None:
    client = OldClient(stack)
    assert client.post({"inputs": "before"}, TITAN).status_code == 200
    os.kill(stack.info["processes"]["zygote"], signal.SIGKILL)
    killed(stack, *stack.info["functions"])
    for number in range(4):
        assert client.post({"inputs": f"after {number}"}, TITAN).status_code == 200


def test_a_call_whose_worker_dies_at_any_moment_is_made_once_or_refused(stack: LocalStack) -> None:
    client, dice = OldClient(stack), random.Random(7)
    before, statuses = len(served(stack)), []
    with ThreadPoolExecutor(1) as aside:
        for number in range(12):
            calling = aside.submit(client.post, {"inputs": f"beside {number}"}, TITAN)
            time.sleep(dice.uniform(0, 0.05))
            killed(stack, "AuthorizeTenantFunction")
            statuses.append(calling.result().status_code)
    # An authorizer that has begun may not be asked again: that call is refused, and no model was called.
    assert set(statuses) <= {200, 500}
    assert len(served(stack)) - before == statuses.count(200) > 0

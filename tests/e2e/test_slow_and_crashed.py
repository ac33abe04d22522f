"""Calls that outlast API Gateway's timeout, and workers that die: no call is lost or charged twice."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from scripts.dev.stack import LocalStack

from .processes import eventually
from .test_every_cent import aggregated, served
from .test_old_tenants import OldClient

TITAN = "amazon.titan-text-express-v1"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    patience = {"GATEWAY_PARAM_IntegrationTimeoutSeconds": "3", "GATEWAY_PARAM_InvocationTimeoutSeconds": "30"}
    with LocalStack(tmp_path_factory.mktemp("slow"), environment=patience) as running:
        yield running


def test_a_call_that_outlives_the_integration_timeout_is_polled_for(stack: LocalStack) -> None:
    client = OldClient(stack)
    gone = client.post({"inputs": "[[delay=8]] slow"}, TITAN)
    problem = gone.json()
    assert (gone.status_code, problem["code"]) == (504, "still_running")
    assert problem["request_id"] in problem["message"]
    asked = {"requestId": problem["request_id"]}
    assert client.poll(problem["request_id"]).json() == [{"request_id": problem["request_id"]}]
    assert OldClient(stack, 1).post({}, query=asked).status_code == 404
    assert list(client.polled(problem["request_id"]).json()[0]) == ["generated_text"]
    (row,) = [row for row in aggregated(stack) if row["request_id"] == problem["request_id"]]
    assert (row["outcome"], row["cost"] > 0) == ("succeeded", True)


def test_a_slow_call_that_fails_ends_with_its_reason(stack: LocalStack) -> None:
    client = OldClient(stack)
    gone = client.post({"inputs": "[[delay=6]] [[throttle]]"}, TITAN)
    assert gone.status_code == 504
    answer = client.polled(gone.json()["request_id"])
    assert (answer.status_code, answer.json()["code"]) == (429, "model_throttled")


def test_whenever_an_answer_comes_its_client_has_it_or_polls_for_it(tmp_path: Path) -> None:
    """Around the end of API Gateway's patience, and around the moment from which answers are kept."""
    takes = (1, 1.8, 2.2, 5, 6.4, 6.7, 6.9, 7.2, 8)
    environment = {"GATEWAY_PARAM_IntegrationTimeoutSeconds": "7"}
    with LocalStack(tmp_path, environment=environment) as stack, ThreadPoolExecutor(len(takes)) as many:
        client = OldClient(stack)

        def ask(seconds: float) -> int:
            answer = client.post({"inputs": f"[[delay={seconds}]] slow"}, TITAN)
            status: int = answer.status_code
            if status == 504:
                request_id = answer.json()["request_id"]
                (answer,) = eventually(lambda: kept(request_id), 20)
            assert answer.status_code == 200, (seconds, answer.text)
            assert list(answer.json()[0]) == ["generated_text"], seconds
            return status

        def kept(request_id: str) -> Any:
            """The call's result; None while it runs or waits for a worker."""
            time.sleep(0.3)  # many that poll at once are throttled
            answer = client.post({}, query={"requestId": request_id})
            running = answer.status_code in (404, 429) or answer.json() == [{"request_id": request_id}]
            return None if running else [answer]

        statuses = list(many.map(ask, takes))
    assert (statuses[0], statuses[-1]) == (200, 504)


def workers(stack: LocalStack, function: str) -> list[int]:
    """The processes that run a function and write its log."""
    log = str(stack.data / "logs" / f"{function}.log")
    if not Path("/proc").exists():
        return [
            int(pid)
            for pid in subprocess.run(["lsof", "-t", log], capture_output=True, text=True, check=False).stdout.split()
        ]
    found = []
    for output in Path("/proc").glob("[0-9]*/fd/1"):
        with suppress(OSError):
            if os.readlink(output) == log:
                found.append(int(output.parts[2]))
    return found


def test_a_worker_that_dies_is_followed_by_another_and_charged_once(stack: LocalStack) -> None:
    client = OldClient(stack)
    mine = "a call whose worker dies"
    request_id = client.post({"inputs": f"[[delay=3]] {mine}"}, TITAN, streaming="true").json()[0]["request_id"]
    before = len(served(stack))
    time.sleep(1)
    running = workers(stack, "CompleteInvocationFunction")
    assert running
    for worker in running:
        os.kill(worker, signal.SIGKILL)
    answer = client.post({}, query={"requestId": request_id})
    assert answer.json() == [{"request_id": request_id}]
    deadline = time.monotonic() + 75
    while time.monotonic() < deadline and "generated_text" not in client.post({}, query={"requestId": request_id}).text:
        time.sleep(0.5)
    assert list(client.polled(request_id).json()[0]) == ["generated_text"]
    rows = sorted((r for r in aggregated(stack) if r["request_id"] == request_id), key=lambda r: r["attempt"])
    assert [row["outcome"] in ("open", "unsettled") for row in rows] == [True, False]
    assert [row["cost"] is not None for row in rows] == [False, True]
    assert len(served(stack)) >= before

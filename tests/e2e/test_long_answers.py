"""Answers that exceed API Gateway's idle timeout of a stream: no client loses a paid answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from scripts.dev.stack import LocalStack

from .processes import eventually
from .sdk_environment import SUITES, run_suites, set_up_sdks

IDLE = 2  # seconds that the stand-in of API Gateway lets a stream be silent; five minutes on AWS
SLOW = "[[delay=2.8]] hi"
HAIKU, NOVA = "us.anthropic.claude-haiku-4-5-20251001-v1:0", "amazon.nova-lite-v1:0"
SAID = [{"role": "user", "content": SLOW}]
PARTS = [{"role": "user", "content": [{"text": SLOW}]}]
CALLS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": HAIKU, "messages": SAID},
    "/v1/responses": {"model": NOVA, "input": SLOW},
    "/v1/embeddings": {"model": "amazon.titan-embed-text-v2:0", "input": SLOW},
    "/v1/messages": {"model": HAIKU, "messages": SAID, "max_tokens": 9},
    f"/model/{NOVA}/converse": {"messages": PARTS},
    f"/model/{HAIKU}/invoke": {"anthropic_version": "bedrock-2023-05-31", "messages": SAID, "max_tokens": 9},
    f"/model/{NOVA}/converse-stream": {"messages": PARTS},
}
SDK_TESTS = 16


def running(folder: Any, silence: float) -> LocalStack:
    told = {"GATEWAY_DEV_STREAM_IDLE": str(IDLE), "GATEWAY_PARAM_SilenceSeconds": str(silence)}
    return LocalStack(folder, environment=told)


def asked(stack: LocalStack) -> dict[str, tuple[int, bytes]]:
    """Status and body by route, 0 if the connection broke; all calls run in parallel."""
    headers = {"x-api-key": stack.tenants[0]["key"]}

    def ask(path: str) -> tuple[int, bytes]:
        try:
            answer = requests.post(f"{stack.url}{path}", json=CALLS[path], headers=headers, timeout=30)
        except requests.exceptions.RequestException:
            return 0, b""
        return answer.status_code, answer.content

    with ThreadPoolExecutor(len(CALLS)) as many:
        return dict(zip(CALLS, many.map(ask, CALLS), strict=True))


def totals(stack: LocalStack) -> dict[str, Any]:
    used = requests.get(f"{stack.url}/usage", headers={"x-api-key": stack.tenants[0]["key"]}, timeout=10)
    found: dict[str, Any] = used.json()["totals"]
    return found


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with running(tmp_path_factory.mktemp("long"), 1) as stack:
        yield stack


def test_every_answer_that_takes_long_arrives_whole(stack: LocalStack) -> None:
    for path, (status, body) in asked(stack).items():
        assert status == 200, path
        if path.endswith("-stream"):
            assert b"metadata" in body
        else:
            assert body.startswith(b"  "), path
            assert json.loads(body), path
    assert totals(stack)["invocations"] == len(CALLS)


def test_the_sdks_get_it_and_raise_what_fails_late(stack: LocalStack) -> None:
    set_up_sdks()
    told = {
        "MODELS_URL": stack.model_stand_in_url,
        "GATEWAY_ACCESS_LOG": str(stack.data / "logs/access.log"),
        "GATEWAY_NARROW_KEY": "",
        "GATEWAY_POOR_KEY": "",
    }
    last = run_suites(stack, told, str(SUITES / "test_long_answers.py"))
    passed = re.match(r"=* ?(\d+) passed", last)
    assert passed, last
    assert int(passed[1]) == SDK_TESTS, last


def test_without_signs_of_life_each_of_them_is_cut_and_paid_for(tmp_path: Any) -> None:
    """The stand-in applies API Gateway's limits to an answer; without them the tests above would prove nothing."""
    with running(tmp_path, 240) as silent:
        assert {status for status, _ in asked(silent).values()} == {504}
        eventually(lambda: totals(silent)["invocations"] == len(CALLS))

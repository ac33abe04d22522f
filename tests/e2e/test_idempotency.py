"""20 identical requests at once with one Idempotency-Key, through the whole gateway: one call, one charge."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import requests

from scripts.dev.stack import LocalStack

from .test_budgets import HAIKU, tenant_with
from .test_every_cent import served


def send(stack: LocalStack, key: str, name: str, inputs: str = "[[delay=1]] hello") -> requests.Response:
    return requests.post(
        f"{stack.url}/invoke_model",
        params={"model_id": HAIKU},
        headers={"x-api-key": key, "Idempotency-Key": name},
        json={"inputs": inputs},
        timeout=60,
    )


def test_20_at_once_are_one_call(stack: LocalStack) -> None:
    key, tenant = tenant_with(stack, "repeating", idempotency_seconds=600)
    before = len(served(stack))
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: send(stack, key, "invoice-7"), range(20)))
    answered = [answer for answer in answers if answer.status_code == 200]
    waiting = [answer for answer in answers if answer.status_code != 200]
    assert Counter("idempotent-replayed" in answer.headers for answer in answered)[False] == 1
    assert {(answer.status_code, answer.json()["code"]) for answer in waiting} <= {(409, "idempotency_in_progress")}
    assert {answer.headers["retry-after"] for answer in waiting} <= {"1"}

    again, other = send(stack, key, "invoice-7"), send(stack, key, "invoice-7", "something else")
    assert (again.headers["idempotent-replayed"], again.json()) == ("true", answered[0].json())
    assert len({answer.text for answer in (*answered, again)}) == 1
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")

    assert len(served(stack)) == before + 1
    usage = requests.get(f"{stack.url}/usage", headers={"x-api-key": key}, timeout=30).json()
    assert (usage["tenant_id"], usage["totals"]["invocations"]) == (tenant.tenant_id, 1)
    assert usage["totals"]["open_invocations"] == 0


def test_no_key_stands_in_a_log(stack: LocalStack) -> None:
    key, _ = tenant_with(stack, "discreet", idempotency_seconds=600)
    assert send(stack, key, "xyzzy-the-name", "hello").status_code == 200
    assert send(stack, key, "xyzzy-the-name", "other").status_code == 409
    for log in stack.data.glob("logs/*"):
        assert "xyzzy-the-name" not in log.read_text(errors="replace"), log

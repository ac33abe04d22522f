"""200 parallel calls against a budget that pays for 20 of them, through the whole gateway."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import requests

from gateway.aws.account_table import AccountTable
from gateway.aws.tenant_table import TenantTable
from gateway.budgets import Account, AccountId, month_of
from gateway.tenants import Budget, Key, Tenant, digest_of, new_key
from gateway.usage import KeyId, TenantId
from scripts.dev.stack import LocalStack

from .test_every_cent import aggregated, charged, served

HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
CALL: dict[str, Any] = {"inputs": "[[delay=0.05]] [[tokens_out=400]] hello", "parameters": {"max_tokens": 400}}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(tmp_path_factory.mktemp("budgets")) as running:
        yield running


def tenant_with(stack: LocalStack, name: str, **record: Any) -> tuple[str, Tenant]:
    table = TenantTable(stack.info["tables"]["TenantsTable"])
    table._dynamodb = stack.client("dynamodb")
    tenant = replace(Tenant(TenantId(name), name, ("research",)), **record)
    key = new_key()
    table.put_tenant(tenant)
    table.put_key(Key(KeyId(f"key_{name}"), tenant.tenant_id, digest_of(key), "test", datetime.now(UTC)))
    return key, tenant


def account_of(stack: LocalStack, tenant: Tenant) -> Account:
    table = AccountTable(stack.info["tables"]["BudgetsTable"])
    table._dynamodb = stack.client("dynamodb")
    return table.account(AccountId(tenant.tenant_id, month_of(datetime.now(UTC))))


def calls(stack: LocalStack, key: str, number: int, **more: Any) -> list[requests.Response]:
    def call(_: int) -> requests.Response:
        return requests.post(
            f"{stack.url}/invoke_model",
            params={"model_id": HAIKU},
            headers={"x-api-key": key},
            json=CALL | more,
            timeout=60,
        )

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(call, range(number)))


def test_200_at_once_spend_no_more_than_the_budget(stack: LocalStack) -> None:
    free, _ = tenant_with(stack, "unlimited")
    assert calls(stack, free, 1)[0].status_code == 200
    limit = charged(served(stack)[-1]) * 20
    key, tenant = tenant_with(stack, "racing", budget=Budget(limit, hard=True))
    before = len(served(stack))
    answers = calls(stack, key, 200)
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}
    assert 15 < statuses[200] <= 20  # the last ones may find less room than the most that they could cost
    problems = {answer.json()["code"] for answer in answers if answer.status_code == 429}
    assert problems == {"budget_exceeded"}
    account, mine = account_of(stack, tenant), served(stack)[before:]
    assert account.holds == {}
    assert account.spent == account.committed == sum(map(charged, mine)) <= limit
    assert len(mine) == statuses[200]
    rows = [row for row in aggregated(stack) if row["tenant_id"] == "racing"]
    assert sum(row["cost"] for row in rows) == account.spent


def test_a_refusal_says_the_limit_what_is_spent_and_when_it_is_new(stack: LocalStack) -> None:
    key, _ = tenant_with(stack, "poor", budget=Budget(Decimal("0.0001"), hard=True))
    (answer,) = calls(stack, key, 1)
    assert (answer.status_code, answer.json()["code"]) == (429, "budget_exceeded")
    for said in ("limit 0.0001 USD", "spent 0", "held 0", "it is new on 20"):
        assert said in answer.json()["message"]


def test_concurrent_calls_are_counted(stack: LocalStack) -> None:
    key, _ = tenant_with(stack, "narrow", concurrent_invocations=3)
    answers = calls(stack, key, 12, inputs="[[delay=1]] hello")
    assert Counter(answer.status_code for answer in answers)[200] >= 3
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.json()["code"] for answer in refused} == {"too_many_invocations"}
    assert refused[0].headers["retry-after"] == "1"


def test_a_submitted_call_that_does_not_fit_ends_with_that_reason(stack: LocalStack) -> None:
    key, _ = tenant_with(stack, "submitting", budget=Budget(Decimal("0.0001"), hard=True))
    headers = {"x-api-key": key}
    submitted = requests.post(
        f"{stack.url}/invoke_model",
        params={"model_id": HAIKU},
        headers={**headers, "streaming": "true"},
        json=CALL,
        timeout=60,
    ).json()
    deadline = datetime.now(UTC) + timedelta(seconds=20)
    while datetime.now(UTC) < deadline:
        polled = requests.post(
            f"{stack.url}/invoke_model",
            params={"requestId": submitted[0]["request_id"]},
            headers=headers,
            json={},
            timeout=60,
        )
        if polled.status_code != 200:
            break
    assert (polled.status_code, polled.json()["code"]) == (429, "budget_exceeded"), json.dumps(polled.json())

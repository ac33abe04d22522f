"""200 parallel calls against a budget that pays for 20 of them, through the whole gateway, whatever dies or repeats."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import requests

from gateway.aws.dynamodb.accounts import AccountTable
from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.aws.dynamodb.tenants import TenantTable
from gateway.budgets.accounts import Account, AccountId
from gateway.core.times import month_of
from gateway.pricing.price_csv import price_book
from gateway.tenancy.budgets import Budget, Scope, ScopedBudget, Window
from gateway.tenancy.keys import Key, digest_of, new_key
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import KeyId, Outcome, TenantId, TokenUsage, UsageRecord
from scripts.dev.stack import LocalStack
from scripts.operate.costs import AFTER_ALL_LEASES

from .test_every_cent import aggregated, charged, served
from .test_slow_and_crashed import workers

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


# A tenant's program: calls at once, each repeated on 429 and 5xx as SDKs do; prints the status that each ends with.
PROGRAM = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

url, key, calls, repeats, body = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), json.loads(sys.argv[5])
policy = Retry(repeats, status_forcelist=(429, 500, 502, 503, 504), allowed_methods=None, backoff_factor=0.2,
               backoff_jitter=0.2, raise_on_status=False)
session = requests.Session()
session.mount("http://", HTTPAdapter(pool_maxsize=calls, max_retries=policy))

def call(_):
    return session.post(url, headers={"x-api-key": key}, json=body, timeout=60).status_code

with ThreadPoolExecutor(calls) as pool:
    print(json.dumps(list(pool.map(call, range(calls)))))
"""


def programs(stack: LocalStack, key: str, number: int, calls: int, repeats: int) -> list[subprocess.Popen[str]]:
    body = json.dumps(CALL | {"inputs": "[[delay=0.3]] [[tokens_out=400]] hello"})
    command = [sys.executable, "-c", PROGRAM, f"{stack.url}/invoke_model?model_id={HAIKU}", key]
    return [
        subprocess.Popen([*command, str(calls), str(repeats), body], stdout=subprocess.PIPE, text=True)
        for _ in range(number)
    ]


def killing(stack: LocalStack, tenant: Tenant, over: threading.Event) -> int:
    """SIGKILL random workers, three at a time, while a tenant's calls have holds; returns their number."""
    dice, killed = random.Random(20261124), 0
    while killed < 15 and not over.wait(0.1):
        running = workers(stack, "InvokeModelFunction") if account_of(stack, tenant).holds else []
        for worker in dice.sample(running, min(3, len(running) // 2)):
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
                killed += 1
    return killed


def rows_of(stack: LocalStack, tenant: Tenant) -> list[UsageRecord]:
    ledger = DynamoLedger(stack.info["tables"]["UsageTable"])
    ledger._dynamodb = stack.client("dynamodb")
    now = datetime.now(UTC)
    return [
        record
        for row in ledger.of_tenant(tenant.tenant_id, now - timedelta(hours=1), now)
        if (record := ledger.get(row.request_id, row.attempt, row.started_at))
    ]


@pytest.mark.parametrize(("number", "repeats"), [(1, 0), (1, 2), (2, 1)], ids=["once", "repeating", "two programs"])
def test_workers_that_die_between_hold_and_booking_spend_no_more_than_the_budget(
    stack: LocalStack, number: int, repeats: int
) -> None:
    cost = price_book().charge(HAIKU, "us-east-1", TokenUsage(output_tokens=400), datetime.now(UTC))
    assert cost
    limit = cost.cost * 20
    key, tenant = tenant_with(stack, f"crashing-{number}-{repeats}", budget=Budget(limit, hard=True))
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(killing, stack, tenant, over)
        running = programs(stack, key, number, 200 // number, repeats)
        statuses = Counter(status for program in running for status in json.loads(program.communicate(timeout=120)[0]))
        over.set()
    assert killed.result() > 3
    assert statuses.total() == 200
    assert statuses[429] > 0
    stack.invoke("SweepOpenRowsFunction", {"asOf": AFTER_ALL_LEASES})
    account, rows = account_of(stack, tenant), rows_of(stack, tenant)
    assert account.holds == {}
    assert {row.outcome for row in rows} <= {Outcome.SUCCEEDED, Outcome.FAILED, Outcome.UNSETTLED}
    # Nobody knows what a call used whose worker died: its hold stays, within the limit.
    unknown = [row for row in rows if row.outcome is Outcome.UNSETTLED]
    assert account.spent <= account.committed <= limit
    assert (account.committed > account.spent) == bool(unknown)
    charges = [price_book().charge_record(row) for row in rows]
    assert account.spent == sum(charge.cost for charge in charges if charge)
    succeeded = [row.outcome for row in rows].count(Outcome.SUCCEEDED)
    assert statuses[200] <= succeeded <= 20


def test_a_refusal_says_the_limit_what_is_spent_and_when_it_is_new(stack: LocalStack) -> None:
    key, _ = tenant_with(stack, "poor", budget=Budget(Decimal("0.0001"), hard=True))
    (answer,) = calls(stack, key, 1)
    assert (answer.status_code, answer.json()["code"]) == (429, "budget_exceeded")
    for said in ("limit 0.0001 USD", "spent 0", "reserved 0", "resets at 20"):
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


def test_200_at_once_pass_no_budget_of_any_scope(stack: LocalStack) -> None:
    """Six keys of three users, each call within the budgets of its user, its key, its model and its tenant."""
    free, _ = tenant_with(stack, "measure")
    assert calls(stack, free, 1)[0].status_code == 200
    one = charged(served(stack)[-1])
    limits = {"user": one * 20, "key": one * 12, "model": one * 45, "": one * 50}
    budgets = [
        ScopedBudget(Scope(**({name: "*"} if name else {})), window, limit, hard=True, time_zone="Europe/Berlin")
        for (name, limit), window in zip(
            limits.items(), (Window.DAY, Window.TOTAL, Window.WEEK, Window.MONTH), strict=True
        )
    ]
    _, tenant = tenant_with(stack, "nested", budgets=tuple(budgets))
    table = TenantTable(stack.info["tables"]["TenantsTable"])
    table._dynamodb = stack.client("dynamodb")
    keys = {}
    for number in range(6):
        text, user = new_key(), f"user{number % 3}"
        key = Key(KeyId(f"key_n{number}"), tenant.tenant_id, digest_of(text), "", datetime.now(UTC), user_id=user)
        table.put_key(key)
        keys[text] = (key.key_id, user)
    before = len(served(stack))
    with ThreadPoolExecutor(6) as pool:
        answers = dict(zip(keys, pool.map(lambda text: calls(stack, text, 34), keys), strict=True))
    mine = served(stack)[before:]
    spent = sum(map(charged, mine))
    assert {answer.status_code for some in answers.values() for answer in some} == {200, 429}
    good = {text: sum(answer.status_code == 200 for answer in some) for text, some in answers.items()}
    by_user = Counter[str]()
    for text, number in good.items():
        by_user[keys[text][1]] += number
    assert max(good.values()) <= 12
    assert max(by_user.values()) <= 20
    assert sum(good.values()) == len(mine)
    assert 40 <= len(mine) <= 45
    assert spent <= limits["model"]
    refused = {answer.json()["message"] for some in answers.values() for answer in some if answer.status_code == 429}
    assert any("of user user" in message for message in refused) or any("of model" in message for message in refused)
    accounts = AccountTable(stack.info["tables"]["BudgetsTable"])
    accounts._dynamodb = stack.client("dynamodb")
    found = [account for of, account in accounts.all(datetime.now(UTC)) if of.tenant_id == "nested"]
    assert all(not account.holds for account in found)
    for account in found:
        assert dict(account.counted) == {name: account.counted_spent[name] for name in account.counted}
    text = max(good, key=lambda each: good[each])
    answer = requests.get(f"{stack.url}/budget", headers={"x-api-key": text}, timeout=30).json()
    lines = {json.dumps(line["scope"]): line for line in answer["budgets"]}
    assert Decimal(lines[json.dumps({"key": keys[text][0]})]["spent"]) == one * good[text]
    assert Decimal(lines[json.dumps({"user": keys[text][1]})]["spent"]) == one * by_user[keys[text][1]]
    assert Decimal(lines["{}"]["spent"]) == spent

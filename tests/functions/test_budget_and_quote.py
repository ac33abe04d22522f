"""GET /budget and POST /quote: only the caller's own, and the later charges match."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from gateway.budgets.scopes import counted_budget
from gateway.budgets.status import BudgetState
from gateway.tenancy.budgets import Scope, ScopedBudget, Window
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import TenantId
from scripts.dev.fake_models import FakeModels

from .conftest import context, event
from .test_invoke_model import call
from .test_list_and_usage import get

Load = Callable[[str], Any]
HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
HARD = {"budget": {"monthly_usd": "0.01", "hard": True}, "cost_centre_budgets": {"ops": {"monthly_usd": "0.004"}}}


def quote(app: Any, body: Any, model_id: str = HAIKU, **more: Any) -> tuple[int, Any]:
    answer = app.handler(event("/quote", body, query={"model_id": model_id}, **more), context())
    return answer["statusCode"], json.loads(answer["body"])


def budget(app: Any, tenant: str = "acme", record: Any = None) -> Any:
    return json.loads(app.handler(event("/budget", tenant=tenant, record=record), context())["body"])


def test_a_budget_says_what_is_spent_and_left(load: Load, models: FakeModels) -> None:
    assert call(load("invoke_model"), {"inputs": "hi"}, HAIKU, record=HARD, team_id="ops")[0] == 200
    app = load("report_usage")
    report = budget(app, record=HARD)
    spent = Decimal(get(app, "/usage")[1]["totals"]["cost"])
    own, ops = report["budgets"]
    assert spent > 0
    assert (own["scope"], own["hard"], own["monthly_usd"], own["held"]) == ("tenant", True, "0.01", "0")
    assert Decimal(own["spent"]) == Decimal(ops["spent"]) == spent
    assert Decimal(own["available"]) == Decimal("0.01") - spent
    assert (ops["cost_centre"], ops["hard"]) == ("ops", False)
    assert report["month"] == f"{datetime.now(UTC):%Y-%m}"
    assert budget(app, tenant="rival", record=HARD)["budgets"][0]["spent"] == "0"
    assert budget(app)["budgets"] == []


@pytest.mark.parametrize("users", ["clear", "hash"])
def test_a_user_sees_its_own_budget_and_usage_however_its_name_is_kept(
    load: Load, models: FakeModels, users: str
) -> None:
    days = {"names_kept_days": 30} if users == "hash" else {}
    budgets = [{"scope": {"user": "*"}, "window": "day", "limit_usd": "0.01", "hard": True}]
    record = {"budgets": budgets, "attribution": {"users": users} | days}

    def of(path: str, user: str, role: str = "member", query: Any = None) -> Any:
        sent = event(path, record=record, query=query)
        sent["requestContext"]["authorizer"] |= {"user_id": user, "user_source": "key", "role": role}
        return json.loads(app.handler(sent, context())["body"])

    invoke, app = load("invoke_model"), load("report_usage")
    for user in ("alice", "alice", "bob"):
        sent = event("/invoke_model", {"inputs": "hi"}, query={"model_id": HAIKU}, record=record)
        sent["requestContext"]["authorizer"] |= {"user_id": user, "user_source": "key"}
        assert invoke.handler(sent, context())["statusCode"] == 200
    (mine,) = of("/budget", "alice")["budgets"]
    usage = of("/usage", "alice")["totals"]
    assert (usage["invocations"], mine["spent"]) == (2, usage["cost"])
    assert (mine["scope"] == {"user": "alice"}) == (users == "clear")
    assert Decimal(mine["spent"]) > 0
    lines = of("/usage", "eve", "auditor", {"group_by": "user"})["lines"]
    assert sorted(line.get("name", line["key"]) for line in lines) == ["alice", "bob"]
    assert all(line["key"].startswith("h_") for line in lines) == (users == "hash")


def test_a_tenants_own_id_may_have_a_budget_among_its_cost_centres(load: Load, models: FakeModels) -> None:
    """The same name in the call, in the budget and in the report."""
    record = {"cost_centre_budgets": {"acme": {"monthly_usd": "0.01", "hard": True}}}
    assert call(load("invoke_model"), {"inputs": "hi"}, HAIKU, record=record, team_id="acme")[0] == 200
    assert call(load("invoke_model"), {"inputs": "hi"}, HAIKU, record=record, team_id="ops")[0] == 200
    (own,) = budget(app := load("report_usage"), record=record)["budgets"]
    lines = {
        line["key"]: line["totals"]["cost"] for line in get(app, "/usage", {"group_by": "cost_centre"})[1]["lines"]
    }
    assert (own["scope"], own["cost_centre"], own["spent"]) == ("cost_centre", "acme", lines["acme"])
    assert lines.keys() == {"acme", "ops"}


def test_a_quote_is_the_most_that_the_call_then_costs(load: Load, models: FakeModels) -> None:
    body = {"inputs": "[[tokens_out=200]] What is a ledger?", "parameters": {"max_tokens": 200}}
    status, said = quote(load("report_usage"), body, record=HARD)
    assert (status, said["fits"], said["output_tokens"]) == (200, True, 200)
    assert models.ledger.after() == []
    assert call(load("invoke_model"), body, HAIKU, record=HARD)[0] == 200
    spent = Decimal(budget(load("report_usage"), record=HARD)["budgets"][0]["spent"])
    assert Decimal(said["most_usd"]) * Decimal("0.5") < spent <= Decimal(said["most_usd"])


def test_a_quote_that_does_not_fit_says_why(load: Load) -> None:
    body = {"inputs": "hi", "parameters": {"max_tokens": 4000}}
    status, said = quote(load("report_usage"), body, record={"budget": {"monthly_usd": "0.001", "hard": True}})
    assert (status, said["fits"], said["code"]) == (200, False, "budget_exceeded")


@pytest.mark.parametrize(
    ("model_id", "record", "status", "code"),
    [
        (HAIKU, {"allowed_models": ["amazon.*"]}, 403, "model_not_allowed"),
        ("our-llama", {"unpriced": "block"}, 403, "model_unpriced"),
        (HAIKU, {"max_output_tokens": 10}, 403, "max_tokens_not_allowed"),
    ],
)
def test_a_call_that_is_never_allowed_is_refused_as_it_would_be(
    load: Load, model_id: str, record: Any, status: int, code: str
) -> None:
    body = {"inputs": "hi", "parameters": {"max_tokens": 20}}
    got, problem = quote(load("report_usage"), body, model_id, record=record)
    assert (got, problem["code"]) == (status, code)


def test_a_model_without_a_price_has_no_cost_in_its_quote(load: Load) -> None:
    status, said = quote(load("report_usage"), {"inputs": "hi"}, "our-llama")
    assert (status, said["fits"], "most_usd" in said) == (200, True, False)


@pytest.mark.parametrize(
    ("day", "spent", "expected"),
    [(5, "50", None), (11, "50", "2026-11-21"), (11, "10", None), (11, "0", None), (21, "120", "2026-11-21")],
)
def test_a_budget_runs_out_at_the_months_average_pace(day: int, spent: str, expected: str | None) -> None:
    now = datetime(2026, 11, day, tzinfo=UTC)
    budget = ScopedBudget(Scope(), Window.MONTH, Decimal(100))
    counted = counted_budget(Tenant(TenantId("acme"), "Acme", ()), budget, Scope(), "", now)
    found = BudgetState(counted, Decimal(spent), Decimal(0)).runs_out_at(now)
    assert (found and found.date().isoformat()) == expected

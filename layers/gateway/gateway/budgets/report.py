"""The report of a caller's budgets, as `GET /budget` answers it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from gateway.budgets.status import BudgetState
from gateway.budgets.windows import local_month
from gateway.core.times import next_month
from gateway.pricing.price_book import money
from gateway.tenancy.budgets import scope_to_json
from gateway.tenancy.tenant import Tenant


def budget_report(tenant: Tenant, states: Sequence[BudgetState], now: datetime) -> dict[str, Any]:
    month = next((state.counted for state in states if state.counted.budget.is_of_the_month), None)
    resets_at = month.period.resets_at if month and month.period.resets_at else next_month(now)
    report: dict[str, Any] = {
        "tenant_id": tenant.tenant_id,
        "month": local_month(now, tenant.month_zone),
        "resets_at": _instant(resets_at),
        "budgets": [_line(tenant, state, now) for state in states],
    }
    ends = [(at, state) for state in states if (at := state.runs_out_at(now))]
    if ends:
        at, first = min(ends, key=lambda each: each[0])
        report["runs_out_first"] = {
            "scope": scope_to_json(first.counted.scope),
            "window": first.counted.budget.window.value,
            "runs_out_at": _instant(at),
        }
    return report


def _line(tenant: Tenant, state: BudgetState, now: datetime) -> dict[str, Any]:
    """One budget. One that the record states in short has its scope in one word, as it always had."""
    counted, budget = state.counted, state.counted.budget
    limit = money(counted.limit)
    if budget in tenant.budgets:
        whose: dict[str, Any] = {"scope": scope_to_json(counted.scope)}
    elif counted.scope.cost_centre:
        whose = {"scope": "cost_centre", "cost_centre": counted.scope.cost_centre, "monthly_usd": limit}
    else:
        whose = {"scope": "tenant", "monthly_usd": limit}
    line = whose | {
        "window": budget.window.value,
        "limit_usd": limit,
        "hard": budget.hard,
        "spent": money(state.spent),
        "held": money(state.held),
        "available": money(state.available),
    }
    if counted.lent:
        line["lent_usd"] = money(counted.lent)
    if counted.period.resets_at:
        line["resets_at"] = _instant(counted.period.resets_at)
    if runs_out_at := state.runs_out_at(now):
        line |= {"runs_out_at": _instant(runs_out_at), "runs_out_on": runs_out_at.date().isoformat()}
    return line


def _instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"

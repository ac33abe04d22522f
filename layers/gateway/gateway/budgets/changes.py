"""Operators' changes of one budget within its period: a loan, and a reset. Both are in the tenant's record."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from gateway.budgets.scopes import budget_of
from gateway.budgets.windows import period_of
from gateway.core.errors import BadRequestError
from gateway.tenancy.administration import LAST_EXPIRY
from gateway.tenancy.budgets import EACH, Loan, Reset, Scope, ScopedBudget, Window
from gateway.tenancy.tenant import Tenant

KEPT = timedelta(days=62)  # for which a reset stays known; longer than any period but a total


def lend(tenant: Tenant, loan: Loan, now: datetime) -> Tenant:
    """The tenant with this loan, in place of one of the same budget; 0 USD ends it. Raises BadRequestError."""
    _budget(tenant, loan.scope, loan.window)
    if loan.usd and not now < loan.until < LAST_EXPIRY:
        raise BadRequestError("until must be in the future.", code="invalid_expiry")
    others = [
        each for each in tenant.loans if each.until > now and (each.scope, each.window) != (loan.scope, loan.window)
    ]
    return replace(tenant, loans=(*others, *([loan] if loan.usd else [])))


def reset(tenant: Tenant, scope: Scope, window: Window, now: datetime) -> Tenant:
    """The tenant whose budget begins anew within its current period. Raises BadRequestError."""
    period = period_of(_budget(tenant, scope, window), now).label
    known = {(each.scope, each.window, each.period): each for each in tenant.resets if _matters(each, now)}
    again = known.get((scope, window, period), Reset(scope, window, period, 0))
    known[scope, window, period] = replace(again, times=again.times + 1)
    return replace(tenant, resets=tuple(known.values()))


def _matters(reset: Reset, now: datetime) -> bool:
    return reset.window is Window.TOTAL or reset.period >= f"{now - KEPT:%Y-%m-%d}"[: len(reset.period)]


def _budget(tenant: Tenant, scope: Scope, window: Window) -> ScopedBudget:
    """The budget of a scope that names its user, key, cost centre and model, not `*`."""
    if EACH in vars(scope).values():
        raise BadRequestError("scope: name the user, key, cost centre or model in place of *.", code="invalid_tenant")
    found = budget_of(tenant, scope, window)
    if found is None:
        raise BadRequestError("The tenant has no budget of this scope and window.", code="budget_not_found")
    return found

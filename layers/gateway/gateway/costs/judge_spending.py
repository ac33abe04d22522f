"""Judges each tenant's spending: anomalous days, and the forecast for the end of the month."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from gateway.costs.anomalies import CostAnomaly, anomaly
from gateway.costs.cost_lines import CostLine
from gateway.costs.forecasts import BudgetForecast, Forecast, forecast
from gateway.pricing.price_book import ZERO
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import TenantId


class Judgement(NamedTuple):
    """A night's anomalies and forecasts."""

    anomalies: list[CostAnomaly]
    forecasts: list[Forecast]

    def notices(self) -> Iterator[CostAnomaly | BudgetForecast]:
        yield from self.anomalies
        for made in self.forecasts:
            if made.budget is not None and made.is_above_budget:
                yield BudgetForecast(made, made.budget)


def judge(
    day: date, costs: Iterable[tuple[date, CostLine]], tenant_of: Callable[[TenantId], Tenant | None]
) -> Judgement:
    """Judge every tenant's day and month, from all cost lines of `history_of(day)`."""
    spending: dict[tuple[TenantId, str], dict[date, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for on, line in costs:
        for centre in ("", line.cost_centre) if line.cost_centre else ("",):
            spending[TenantId(line.tenant_id), centre][on] += line.cost or ZERO
    judged = Judgement([], [])
    tenants = {tenant_id: tenant_of(tenant_id) for tenant_id in sorted({tenant_id for tenant_id, _ in spending})}
    for (tenant_id, centre), spent in sorted(spending.items()):
        tenant = tenants[tenant_id]
        if not centre and (found := anomaly(tenant_id, day, spent)):
            judged.anomalies.append(found)
        budget = tenant.budget_of_the_month(centre) if tenant else None
        judged.forecasts.append(forecast(tenant_id, centre, day, spent, budget.limit_usd if budget else None))
    return judged

"""A tenant's spending is compared with its own past, by a method that one or two unusual days cannot distort."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.costs.anomalies import CostAnomaly, anomaly, modified_z
from gateway.costs.cost_lines import CostLine
from gateway.costs.forecasts import BudgetForecast, forecast, interval, quantile
from gateway.costs.judge_spending import judge
from gateway.costs.spending_history import history_of
from gateway.pricing.price_book import ZERO
from gateway.tenancy.budgets import Budget
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import TenantId

ACME = TenantId("acme")
FRIDAY = date(2026, 11, 20)
DAY = timedelta(days=1)


def spent(*costs: str, until: date = FRIDAY - DAY) -> dict[date, Decimal]:
    """A cost for each of the days up to one."""
    return {until - n * DAY: Decimal(cost) for n, cost in enumerate(reversed(costs))}


def weekly(weeks: int = 8) -> dict[date, Decimal]:
    """100 USD on working days, more or less, and 5 at weekends."""
    days = [FRIDAY - n * DAY for n in range(1, 7 * weeks + 1)]
    return {on: Decimal(5 if on.weekday() >= 5 else 95 + on.day % 11) for on in days}


def judged(past: Mapping[date, Decimal], cost: str, day: date = FRIDAY) -> CostAnomaly | None:
    return anomaly(ACME, day, {**past, day: Decimal(cost)})


def test_a_day_far_above_its_past_is_flagged_with_what_is_usual() -> None:
    found = judged(weekly(), "900")
    assert found is not None
    assert (found.day, found.cost, found.compared_days) == (FRIDAY, Decimal(900), 8)
    assert Decimal(95) < found.usual < Decimal(105)
    assert found.score > Decimal("3.5")


def test_a_day_far_below_its_past_is_flagged_as_well() -> None:
    found = judged(weekly(), "2")
    assert found is not None
    assert found.score < Decimal("-3.5")


def test_a_day_without_any_cost_is_a_day() -> None:
    assert anomaly(ACME, FRIDAY, weekly()) is not None


def test_a_usual_day_is_not_flagged() -> None:
    assert judged(weekly(), "104") is None


def test_a_weekday_is_compared_with_its_own_kind() -> None:
    saturday = FRIDAY + DAY
    past = {**weekly(), FRIDAY: Decimal(100)}
    assert judged(past, "5", saturday) is None
    assert judged(past, "100", saturday) is not None


def test_less_than_a_dollar_is_never_flagged() -> None:
    assert judged(spent(*["0.01"] * 56), "0.90") is None
    assert judged(spent(*["0.01"] * 56), "1.10") is not None


def test_a_tenant_that_spends_the_same_every_day_is_not_flagged_for_a_percent() -> None:
    assert judged(spent(*["100"] * 56), "101") is None
    assert judged(spent(*["100"] * 56), "140") is not None


def test_one_strange_day_in_the_past_does_not_hide_the_next() -> None:
    past = weekly()
    past[FRIDAY - 7 * DAY] = Decimal(100_000)
    assert judged(past, "900") is not None


def test_a_young_tenant_is_compared_with_all_its_days_and_before_a_week_with_none() -> None:
    assert judged(spent(*["10"] * 6), "1000") is None
    found = judged(spent(*["10"] * 7), "1000")
    assert found is not None
    assert found.compared_days == 7


def test_the_score_is_the_one_of_the_book() -> None:
    """By hand: ln(x + 0.01) of 9.99, 19.99, 39.99 has the median ln 20 and the MAD ln 2; 79.99 is 2 MADs above it."""
    past = [Decimal("9.99"), Decimal("19.99"), Decimal("39.99")]
    assert modified_z(Decimal("79.99"), past) == pytest.approx(0.6745 * 2)


# --------------------------------------------------------------------------------------------------------- forecasts
def test_a_month_ends_at_what_is_spent_and_the_usual_days_to_come() -> None:
    steady = spent(*["10"] * 60, until=FRIDAY)
    made = forecast(ACME, "", FRIDAY, steady, None)
    assert (made.month, made.as_of, made.month_to_date) == ("2026-11", FRIDAY, Decimal(200))
    assert (made.expected, made.low, made.high) == (Decimal(300),) * 3


def test_days_to_come_cost_what_their_weekday_costs() -> None:
    past = {**weekly(), FRIDAY: Decimal(100)}
    flat = {on: Decimal(5 if on.weekday() >= 5 else 100) for on in past}
    made = forecast(ACME, "", FRIDAY, flat, None)
    assert made.expected - made.month_to_date == 6 * 100 + 4 * 5  # six working days and two weekends


def test_one_strange_day_does_not_move_the_days_to_come() -> None:
    steady = spent(*["10"] * 60, until=FRIDAY)
    steady[FRIDAY - 3 * DAY] = Decimal(5000)
    made = forecast(ACME, "", FRIDAY, steady, None)
    assert made.expected == 17 * 10 + 2 * 10 + 5000 + 100


def test_the_last_day_of_a_month_leaves_nothing_open() -> None:
    last = date(2026, 11, 30)
    made = forecast(ACME, "", last, spent(*[str(n) for n in range(60)], until=last), None)
    assert made.expected == made.low == made.high == made.month_to_date


def test_a_tenant_without_a_past_is_forecast_from_what_there_is() -> None:
    made = forecast(ACME, "", FRIDAY, {FRIDAY: Decimal(7)}, None)
    assert (made.month_to_date, made.expected, made.history_days) == (Decimal(7), Decimal(77), 1)


def test_quantiles_are_values_that_were_there() -> None:
    values = [Decimal(n) for n in (5, 1, 4, 2, 3, 6, 7, 10, 9, 8)]
    assert (quantile(values, Decimal("0.1")), quantile(values, Decimal("0.9"))) == (Decimal(1), Decimal(9))


def test_the_interval_is_that_of_past_stretches_and_of_single_days_where_these_are_few() -> None:
    errors = [Decimal(n % 3 - 1) for n in range(30)]
    assert interval(errors, 3) == (ZERO, ZERO)  # any three days in a row even out
    assert interval(errors, 25) == (Decimal(-25), Decimal(25))
    assert interval([], 5) == interval(errors, 0) == (ZERO, ZERO)


@given(st.lists(st.decimals(0, 10**6, places=4), min_size=1, max_size=80), st.integers(0, 29))
def test_the_expected_end_lies_in_its_interval_and_never_below_what_is_spent(costs: list[Decimal], offset: int) -> None:
    day = date(2026, 11, 1) + offset * DAY
    made = forecast(ACME, "", day, {day - n * DAY: cost for n, cost in enumerate(costs)}, None)
    assert made.month_to_date <= made.low <= made.expected <= made.high


# ------------------------------------------------------------------------------------------------------------ the night
def test_a_night_judges_tenants_and_forecasts_their_cost_centres() -> None:
    tenant = Tenant(
        ACME, "Acme", ("research",), budget=Budget(Decimal(290)), cost_centre_budgets={"b": Budget(Decimal(1000))}
    )
    costs = [
        (on, CostLine("acme", centre, "m", cost=cost / 2, line_kind=kind))
        for on, cost in spent(*["10"] * 60, until=FRIDAY).items()
        for centre, kind in (("a", "original"), ("b", "restatement"))
    ]
    night = judge(FRIDAY, costs, {ACME: tenant}.get)
    assert night.anomalies == []
    assert [(f.cost_centre, f.expected, f.budget) for f in night.forecasts] == [
        ("", Decimal(300), Decimal(290)),
        ("a", Decimal(150), None),
        ("b", Decimal(150), Decimal(1000)),
    ]
    (notice,) = night.notices()
    assert isinstance(notice, BudgetForecast)
    assert notice.detail() == {
        "tenant_id": "acme", "cost_centre": "", "month": "2026-11", "as_of": "2026-11-20", "budget_usd": "290",
        "month_to_date_usd": "200", "expected_usd": "300", "low_usd": "300", "high_usd": "300",
    }  # fmt: skip


def test_the_past_that_is_read_reaches_eight_weeks_back_and_ends_with_the_day() -> None:
    days = history_of(FRIDAY)
    assert (days[0], days[-1], len(days)) == (FRIDAY - 56 * DAY, FRIDAY, 57)

"""Each difference between the ledger and AWS's record has a named kind, and the kinds add up to the total."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.costs.pricer import OPEN, PRICED, UNPRICED, UNSETTLED
from gateway.pricing.price_book import Price, PriceBook
from gateway.reconciliation.bill import against_bill, principal_of, role_of
from gateway.reconciliation.cloudwatch import against_metrics
from gateway.reconciliation.records import (
    CALLS,
    GATEWAY,
    LARGEST_CALL,
    NOBODY,
    BillLine,
    Finding,
    MetricSum,
    UsageGroup,
    days_to_reconcile,
    summary,
)
from gateway.usage.records import PROVIDER, UNKNOWN

DAY, BEFORE, AFTER = "2026-11-20", "2026-11-19", "2026-11-21"
NOVA = "amazon.nova-lite-v1:0"
IN, OUT = "USE1-NovaLite-input-tokens", "USE1-NovaLite-output-tokens"
ROLE = "arn:aws:iam::123456789012:role/gateway-StreamModelFunctionRole-X"
SESSION = "arn:aws:sts::123456789012:assumed-role/gateway-StreamModelFunctionRole-X/gateway-stream"
ALICE = "arn:aws:iam::123456789012:user/alice"
BATCH = "arn:aws:sts::123456789012:assumed-role/nightly/one"
SINCE = datetime(2026, 1, 1, tzinfo=UTC).date()
ONE = Decimal(1)
USD = Decimal("0.00006") / 1000  # of an input token, at the list
BOOK = PriceBook(
    Price(NOVA, "us-east-1", "default", unit, usd, 1000, SINCE, "test")
    for unit, usd in (("input_tokens", Decimal("0.00006")), ("output_tokens", Decimal("0.00024")))
)


def metered(tokens: int = 1_000_000, **more: Any) -> UsageGroup:
    """Calls that used so many input tokens, priced by the list."""
    rows = more.get("rows", 10)
    status = more.get("price_status", PRICED)
    said: dict[str, Any] = {
        "model_id": NOVA,
        "model_used": NOVA,
        "region": "us-east-1",
        "tier": "default",
        "operation": "Converse",
        "outcome": "succeeded",
        "price_status": PRICED,
        "usage_source": PROVIDER,
        "price_rows": f"{NOVA}/us-east-1/default/input_tokens@2026-01-01" if status == PRICED else "",
        "started_on": DAY,
        "settled_on": DAY,
        "rows": rows,
        "used": {"input_tokens": tokens},
        "largest": {"input_tokens": -(-tokens // rows)},
        "list_cost": USD * tokens if status == PRICED else None,
    }
    return UsageGroup(**(said | more))


def unknown(rows: int, price_status: str, source: str = UNKNOWN, outcome: str = "unsettled") -> UsageGroup:
    return metered(0, rows=rows, price_status=price_status, usage_source=source, outcome=outcome, used={}, largest={})


def billed(tokens: int, **more: Any) -> BillLine:
    """AWS's bill for so many input tokens, at the list price."""
    cost = USD * tokens
    said: dict[str, Any] = {
        "usage_type": IN,
        "product": "",
        "region": "us-east-1",
        "line_type": "Usage",
        "principal": SESSION,
        "pricing_unit": "1K tokens",
        "amount": Decimal(tokens) / 1000,
        "list_cost": cost,
        "net_cost": cost,
    }
    return BillLine(**(said | more))


def of(findings: list[Finding], principal: str = GATEWAY) -> Finding:
    (found,) = [finding for finding in findings if finding.principal == principal]
    return found


def bill(rows: list[UsageGroup], lines: list[BillLine], percent: str = "1") -> list[Finding]:
    return against_bill(DAY, rows, lines, BOOK, [ROLE], Decimal(percent))


def named(finding: Finding) -> dict[str, Decimal]:
    return {reason: usd for reason, usd in finding.reasons.items() if usd}


def test_a_ledger_that_agrees_has_nothing_to_name() -> None:
    found = of(bill([metered()], [billed(600_000), billed(400_000)]))
    assert (found.ledger, found.aws, found.difference) == (Decimal("0.06"), Decimal("0.06"), Decimal(0))
    assert (found.model_id, found.unit, found.usage_type, found.ledger_quantity) == (
        NOVA,
        "input_tokens",
        IN,
        Decimal(1_000_000),
    )
    assert named(found) == {}
    assert not found.above_tolerance


def test_tokens_that_the_book_has_no_price_for_are_unpriced() -> None:
    rows = [metered(), metered(500_000, price_status=UNPRICED)]
    found = of(bill(rows, [billed(1_500_000)]))
    assert named(found) == {"unpriced": Decimal("0.03")}
    assert (found.unpriced_rows, found.above_tolerance) == (10, False)


def test_a_call_of_a_model_by_its_arn_is_billed_as_the_model_in_it() -> None:
    by_arn = metered(model_id="someone.else", model_used=f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA}")
    assert named(of(bill([by_arn], [billed(1_000_000)]))) == {}


def test_tokens_of_bought_capacity_explain_no_line_of_tokens() -> None:
    capacity = "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc123"
    found = bill([metered(price_status=UNPRICED, model_used=capacity)], [billed(1_000_000)])
    on_demand = next(finding for finding in found if finding.model_id == NOVA)
    assert (named(on_demand), on_demand.above_tolerance) == ({"unexplained": Decimal("0.06")}, True)


def test_a_call_over_midnight_is_late_on_both_of_its_days() -> None:
    over = metered(200_000, settled_on=AFTER)
    assert named(of(bill([metered(), over], [billed(1_000_000)]))) == {"late": Decimal("-0.012")}
    came = metered(200_000, started_on=BEFORE, settled_on=DAY)
    assert named(of(bill([metered(), came], [billed(1_200_000)]))) == {"late": Decimal("0.012")}


def test_a_call_over_midnight_that_aws_counts_where_it_began_is_no_difference() -> None:
    assert named(of(bill([metered(), metered(200_000, settled_on=AFTER)], [billed(1_200_000)]))) == {}


def test_what_an_open_call_has_used_is_late() -> None:
    found = of(bill([metered(), unknown(1, OPEN, PROVIDER, "open")], [billed(1_080_000)]))
    assert named(found) == {"late": Decimal("0.0048")}
    assert found.open_rows == 1


@pytest.mark.parametrize("outcome", ["interrupted", "unsettled"])
def test_what_a_call_used_that_nobody_settled_is_interrupted(outcome: str) -> None:
    found = of(bill([metered(), unknown(2, UNSETTLED, outcome=outcome)], [billed(1_150_000)]))
    assert named(found) == {"interrupted": Decimal("0.009")}
    assert (found.unsettled_rows, found.above_tolerance) == (2, False)


def test_a_call_that_nobody_knows_explains_no_more_than_the_largest_that_is_known() -> None:
    found = of(bill([metered(), unknown(1, UNSETTLED)], [billed(1_500_000)]))
    assert named(found) == {"interrupted": Decimal("0.006"), "unexplained": Decimal("0.024")}
    assert found.above_tolerance


def test_where_no_call_is_known_a_full_context_is_the_most() -> None:
    found = of(bill([unknown(1, UNSETTLED)], [billed(LARGEST_CALL + 1000)]))
    assert named(found) == {"interrupted": USD * LARGEST_CALL, "unexplained": USD * 1000}


def test_spend_of_other_principals_is_listed_by_principal() -> None:
    others = [billed(50_000, principal=ALICE), billed(70_000, principal=BATCH), billed(10_000, principal=BATCH + "2")]
    findings = bill([metered()], [billed(1_000_000), *others, billed(1_000, principal="")])
    assert named(of(findings)) == {}
    assert named(of(findings, ALICE)) == {"out_of_band": Decimal("0.003")}
    assert of(findings, "arn:aws:sts::123456789012:assumed-role/nightly").aws == Decimal("0.0048")
    assert named(of(findings, NOBODY)) == {"out_of_band": Decimal("0.00006")}
    assert not any(finding.above_tolerance for finding in findings)


def test_a_bill_without_principals_is_taken_for_the_gateways() -> None:
    assert named(of(bill([metered()], [billed(1_000_000, principal="")]))) == {}


def test_what_aws_takes_off_its_list_price_is_a_discount() -> None:
    off = billed(1_000_000, net_cost=Decimal("0.051"))
    edp = billed(0, line_type="EdpDiscount", list_cost=Decimal(0), net_cost=Decimal("-0.001"), principal="")
    findings = bill([metered()], [off, edp])
    assert summary(findings)["differenceUsd"] == {"discount": "-0.01"}


def test_tax_and_credits_are_adjustments() -> None:
    tax = billed(0, line_type="Tax", usage_type="", list_cost=Decimal(0), net_cost=Decimal("0.0114"), principal="")
    found = of(bill([metered()], [billed(1_000_000), tax]), NOBODY)
    assert (named(found), found.mapped, found.usage_type) == ({"adjustment": Decimal("0.0114")}, False, "Tax")


def test_a_public_price_that_is_not_the_books_is_a_matter_of_price_and_alarms() -> None:
    cost = Decimal("0.07")
    found = of(bill([metered()], [billed(1_000_000, list_cost=cost, net_cost=cost)]))
    assert named(found) == {"price": Decimal("0.01")}
    assert found.above_tolerance


def test_a_long_context_is_held_against_the_price_that_it_was_priced_with() -> None:
    long = Price(NOVA, "us-east-1", "default_above_200k", "input_tokens", Decimal("0.00012"), 1000, SINCE, "test")
    book = PriceBook([*BOOK.prices(), long])
    names = f"{NOVA}/us-east-1/default_above_200k/input_tokens@2026-01-01"
    rows = [metered(), metered(300_000, price_rows=names, list_cost=USD * 600_000)]
    twice = USD * 1_600_000
    found = of(against_bill(DAY, rows, [billed(1_300_000, list_cost=twice, net_cost=twice)], book, [ROLE], ONE))
    assert (named(found), found.ledger) == ({}, twice)


def test_rows_priced_by_another_list_than_the_one_in_force_are_a_line_of_price() -> None:
    findings = bill([metered(list_cost=Decimal("0.05"))], [billed(1_000_000)])
    assert sum(finding.ledger for finding in findings) == Decimal("0.05")
    assert summary(findings)["differenceUsd"] == {"price": "0.01"}


def test_a_millionth_for_each_line_is_rounding() -> None:
    cost = USD * 1_000_000 + Decimal("0.0000009")
    assert named(of(bill([metered()], [billed(1_000_000, list_cost=cost, net_cost=cost)]))) == {
        "rounding": Decimal("0.0000009")
    }


def test_a_usage_type_that_is_not_mapped_is_listed_as_it_is() -> None:
    odd = billed(1_000, usage_type="USE1-Guardrail-ContentPolicyUnitsConsumed", net_cost=ONE, list_cost=ONE)
    findings = bill([metered()], [billed(1_000_000), odd])
    (found,) = [finding for finding in findings if not finding.mapped]
    assert (found.usage_type, found.model_id) == ("USE1-Guardrail-ContentPolicyUnitsConsumed", "")
    assert named(found) == {"unexplained": ONE}
    assert found.above_tolerance
    assert summary(findings)["unmapped"] == 1


def test_a_unit_that_is_not_known_makes_its_line_unmapped() -> None:
    findings = bill([], [billed(1_000_000, pricing_unit="furlong")])
    assert [(finding.mapped, finding.usage_type) for finding in findings] == [(False, IN)]


UNHEARD = "USE1-NovaUnheard-input-tokens"


def test_a_line_of_an_unknown_name_that_is_usage_nobody_billed_wakes_nobody() -> None:
    """Both are listed, and what is left of them is what counts."""
    findings = bill([metered()], [billed(1_000_000, usage_type=UNHEARD)])
    assert [(finding.mapped, named(finding)) for finding in findings] == [
        (True, {"unexplained": Decimal("-0.06")}),
        (False, {"unexplained": Decimal("0.06")}),
    ]
    assert [finding.above_tolerance for finding in findings] == [False, False]
    assert summary(findings)["unmapped"] == 1


@pytest.mark.parametrize("tokens", [400_000, 1_600_000])
def test_what_is_left_of_unknown_names_and_of_usage_nobody_billed_wakes_somebody(tokens: int) -> None:
    findings = bill([metered()], [billed(tokens, usage_type=UNHEARD)])
    assert [finding.above_tolerance for finding in findings] == [True, True]


def test_an_unknown_name_is_not_held_against_usage_that_is_billed() -> None:
    findings = bill([metered(2_000_000)], [billed(1_000_000), billed(1_000_000, usage_type=UNHEARD)])
    assert [finding.above_tolerance for finding in findings] == [True, True]


def test_usage_that_aws_does_not_bill_is_unexplained() -> None:
    found = of(bill([metered()], []))
    assert (named(found), found.above_tolerance) == ({"unexplained": Decimal("-0.06")}, True)


def test_the_tolerance_is_in_percent_and_a_cent_is_the_least() -> None:
    rows, lines = [metered(100_000_000)], [billed(101_000_000)]
    assert not of(bill(rows, lines, "1")).above_tolerance
    assert of(bill(rows, lines, "0.9")).above_tolerance
    assert not of(bill([], [billed(100_000)], "0")).above_tolerance  # 0.6 cents


def test_calls_to_sagemaker_are_not_held_against_bedrocks_bill() -> None:
    assert bill([metered(operation="InvokeEndpointWithResponseStream")], []) == []


def test_a_role_is_known_by_its_account_and_name_in_all_its_sessions() -> None:
    assert role_of(ROLE) == role_of(SESSION) == ("123456789012", "gateway-StreamModelFunctionRole-X")
    assert role_of("arn:aws:iam::123456789012:role/path/of/app") == ("123456789012", "app")
    assert role_of(ALICE) == role_of("") == ("", "")
    assert principal_of(BATCH) == "arn:aws:sts::123456789012:assumed-role/nightly"
    assert principal_of(ALICE) == ALICE
    elsewhere = SESSION.replace("123456789012", "999999999999")
    assert named(of(bill([], [billed(1_000, principal=elsewhere)]), principal_of(elsewhere))).keys() == {"out_of_band"}


# --------------------------------------------------------------------------------------------------------- CloudWatch
def metrics(rows: list[UsageGroup], *counted: tuple[str, int], model: str = NOVA) -> dict[str, Finding]:
    values = [MetricSum(model, "us-east-1", metric, Decimal(value)) for metric, value in counted]
    return {finding.unit: finding for finding in against_metrics(DAY, rows, values, ONE)}


def test_metrics_that_agree_have_nothing_to_name() -> None:
    rows = [metered(900, used={"input_tokens": 900, "cache_write_5m_tokens": 5, "cache_write_1h_tokens": 7})]
    found = metrics(rows, (CALLS, 10), ("InputTokenCount", 900), ("CacheWriteInputTokenCount", 12))
    assert {unit: finding.difference for unit, finding in found.items()} == {
        CALLS: 0, "InputTokenCount": 0, "CacheWriteInputTokenCount": 0,
    }  # fmt: skip


def test_calls_over_midnight_are_late_for_the_metrics_too() -> None:
    rows = [metered(1000), metered(300, rows=3, settled_on=AFTER), metered(40, rows=1, started_on=BEFORE)]
    found = metrics(rows, (CALLS, 11), ("InputTokenCount", 1040))
    assert (named(found[CALLS]), named(found["InputTokenCount"])) == ({"late": Decimal(-2)}, {"late": Decimal(-260)})


def test_a_call_that_failed_may_be_counted_or_not() -> None:
    rows = [metered(1000), metered(0, rows=3, outcome="failed", used={}, largest={})]
    assert named(metrics(rows, (CALLS, 10), ("InputTokenCount", 1000))[CALLS]) == {}
    assert named(metrics(rows, (CALLS, 12), ("InputTokenCount", 1000))[CALLS]) == {"interrupted": 2}
    assert named(metrics(rows, (CALLS, 14), ("InputTokenCount", 1000))[CALLS]) == {"interrupted": 3, "unexplained": 1}


def test_unpriced_tokens_are_tokens() -> None:
    rows = [metered(1000, price_status=UNPRICED)]
    assert named(metrics(rows, (CALLS, 10), ("InputTokenCount", 1000))["InputTokenCount"]) == {}


def test_a_model_that_the_gateway_did_not_call_is_out_of_band_by_the_metrics() -> None:
    found = metrics([], (CALLS, 7), model="someone.else")[CALLS]
    assert (named(found), found.principal, found.above_tolerance) == ({"out_of_band": Decimal(7)}, NOBODY, False)


def test_calls_that_cloudwatch_has_not_seen_alarm() -> None:
    found = metrics([metered(1000)], (CALLS, 9), ("InputTokenCount", 1000))
    assert (named(found[CALLS]), found[CALLS].above_tolerance) == ({"unexplained": Decimal(-1)}, True)


def test_a_profile_is_known_by_the_last_part_of_its_arn() -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
    found = metrics([metered(1000, model_used=arn)], (CALLS, 10), ("InputTokenCount", 1000), model="abc123")
    assert (found[CALLS].model_id, named(found[CALLS])) == (NOVA, {})


# ----------------------------------------------------------------------------------------------------------- the night
def test_the_metrics_are_asked_for_yesterday_and_the_bill_for_four_days_back() -> None:
    scheduled = datetime(2026, 11, 24, 4, 30, tzinfo=UTC)
    assert days_to_reconcile(scheduled, True) == [("2026-11-23", False), ("2026-11-20", True)]
    assert days_to_reconcile(scheduled, False) == [("2026-11-23", False)]


# ------------------------------------------------------------------------------------------------------- whatever comes
tokens = st.integers(0, 10**10)
rows_of_any_kind = st.builds(
    metered,
    tokens,
    rows=st.integers(1, 1000),
    price_status=st.sampled_from([PRICED, UNPRICED, OPEN, UNSETTLED]),
    usage_source=st.sampled_from([PROVIDER, UNKNOWN]),
    started_on=st.sampled_from([BEFORE, DAY]),
    settled_on=st.sampled_from([DAY, AFTER, ""]),
    list_cost=st.none() | st.decimals(0, 10**6, places=12),
    model_id=st.sampled_from([NOVA, f"us.{NOVA}", "maker.unheard-of"]),
)
money = st.decimals(-(10**6), 10**6, places=12)
lines_of_any_kind = st.builds(
    billed,
    tokens,
    usage_type=st.sampled_from([IN, OUT, "USE1-Odd", "USE1-NovaPro-input-tokens-flex"]),
    principal=st.sampled_from([SESSION, ALICE, ""]),
    line_type=st.sampled_from(["Usage", "EdpDiscount", "Tax"]),
    amount=st.decimals(0, 10**9, places=12),
    list_cost=money,
    net_cost=money,
)


@given(st.lists(rows_of_any_kind, max_size=6), st.lists(lines_of_any_kind, max_size=6))
def test_the_reasons_of_every_line_add_up_to_its_difference_and_the_lines_to_both_records(
    rows: list[UsageGroup], lines: list[BillLine]
) -> None:
    findings = bill(rows, lines)
    for finding in findings:
        assert sum(finding.reasons.values()) == finding.difference
    recorded = [row.list_cost or 0 for row in rows if row.started_on == DAY and row.is_known]
    assert sum(finding.ledger for finding in findings) == sum(recorded)
    assert sum(finding.aws for finding in findings) == sum(line.net_cost for line in lines)


@given(
    st.lists(rows_of_any_kind, max_size=6),
    st.lists(
        st.tuples(st.sampled_from([CALLS, "InputTokenCount", "OutputTokenCount"]), tokens), unique_by=lambda m: m[0]
    ),
)
def test_the_reasons_of_every_count_add_up_to_its_difference(rows: list[UsageGroup], counted: list[Any]) -> None:
    for finding in metrics(rows, *counted).values():
        assert sum(finding.reasons.values()) == finding.difference == finding.aws - finding.ledger

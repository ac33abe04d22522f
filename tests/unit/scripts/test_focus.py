"""The FOCUS export equals the costs, month by month, in the specification's terms."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from gateway.costs.cost_lines import CostLine
from gateway.costs.pricer import PRICED, UNPRICED
from scripts.analytics.focus.export import export
from scripts.analytics.focus.validator import ALLOWED, faults, unfounded
from scripts.analytics.synthetic_lake import rows, write
from scripts.project.command import CommandFailedError

ZERO = Decimal(0)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, CostLine]]]:
    folder = tmp_path_factory.mktemp("lake")
    return folder, write(folder, rows())


@pytest.fixture(scope="module")
def exported(lake: tuple[Path, list[tuple[str, CostLine]]]) -> list[dict[str, str]]:
    out = lake[0] / "focus.csv"
    count = export(lake[0], out)
    with out.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert count == len(lines) > 1000
    return lines


def test_each_billing_period_sums_to_its_costs(
    lake: tuple[Path, list[tuple[str, CostLine]]], exported: list[dict[str, str]]
) -> None:
    """A restatement after the end of its month belongs to the month of the restatement."""
    expected: dict[tuple[str, ...], list[Decimal]] = defaultdict(lambda: [ZERO, ZERO])
    for day, line in lake[1]:
        month = max(day[:7], f"{line.restated_at:%Y-%m}" if line.restated_at else "")
        sums = expected[month, day, line.tenant_id, line.cost_centre, line.model_id]
        sums[0] += line.cost or ZERO
        sums[1] += line.list_cost or ZERO
    found: dict[tuple[str, ...], list[Decimal]] = defaultdict(lambda: [ZERO, ZERO])
    for said in exported:
        day = said["ChargePeriodStart"][:10]
        group = said["BillingPeriodStart"][:7], day, said["SubAccountId"], said["x_CostCentre"], said["x_ModelId"]
        found[group][0] += Decimal(said["BilledCost"])
        found[group][1] += Decimal(said["ListCost"])
    assert {group: sums for group, sums in expected.items() if any(sums)} == {
        group: sums for group, sums in found.items() if any(sums)
    }


def test_a_quantity_times_its_price_is_its_cost_exactly(exported: list[dict[str, str]]) -> None:
    metered = [line for line in exported if line["PricingQuantity"]]
    assert metered
    for line in metered:
        quantity = Decimal(line["PricingQuantity"])
        assert Decimal(line["ContractedUnitPrice"]) * quantity == Decimal(line["ContractedCost"])
        assert Decimal(line["ListUnitPrice"]) * quantity == Decimal(line["ListCost"])
        assert line["BilledCost"] == line["EffectiveCost"] == line["ContractedCost"]


def test_usage_without_a_price_has_its_quantity_and_says_that_its_cost_is_not_known(
    lake: tuple[Path, list[tuple[str, CostLine]]], exported: list[dict[str, str]]
) -> None:
    """FOCUS wants a cost of every usage: it is 0 there, and the line is told apart from one that is free."""
    unpriced = [line for line in exported if line["x_PriceStatus"] == "unpriced"]
    used: dict[tuple[str, ...], int] = defaultdict(int)
    for row in rows():
        if row.status == UNPRICED:
            for unit in ("input_tokens", "output_tokens"):
                used[row.day, row.record.tenant_id, unit] += getattr(row.record.usage, unit)
    found: dict[tuple[str, ...], Decimal] = defaultdict(lambda: ZERO)
    for line in unpriced:
        assert (line["PricingCategory"], line["ChargeCategory"], line["ChargeClass"]) == ("Other", "Usage", "")
        assert Decimal(line["BilledCost"]) == Decimal(line["ListCost"]) == 0
        assert line["ChargeDescription"].startswith("Unpriced usage of ")
        if line["SkuMeter"] in ("input_tokens", "output_tokens"):
            key = line["ChargePeriodStart"][:10], line["SubAccountId"], line["SkuMeter"]
            found[key] += Decimal(line["ConsumedQuantity"])
    assert dict(found) == {key: quantity for key, quantity in used.items() if quantity} != {}


def test_only_what_changed_a_closed_month_is_a_correction(exported: list[dict[str, str]]) -> None:
    corrections = [line for line in exported if line["ChargeClass"]]
    assert {line["ChargeClass"] for line in corrections} == {"Correction"}
    assert all(line["BillingPeriodStart"] > line["ChargePeriodStart"] for line in corrections)
    others = [line for line in exported if not line["ChargeClass"]]
    assert all(line["BillingPeriodStart"][:7] == line["ChargePeriodStart"][:7] for line in others)


def test_a_line_is_one_day_tenant_cost_centre_model_price_key_user_and_tags(exported: list[dict[str, str]]) -> None:
    identity = (
        "BillingPeriodStart", "ChargePeriodStart", "SubAccountId", "x_CostCentre", "x_ModelId", "RegionId",
        "ChargeCategory", "ChargeClass", "SkuPriceId", "ContractedUnitPrice", "x_KeyId", "x_UserId", "x_UserSource", "Tags",
    )  # fmt: skip
    assert len({tuple(line[name] for name in identity) for line in exported}) == len(exported)


def test_the_metered_lines_sum_by_user_and_key_to_the_calls_and_their_tags_are_those_of_the_calls(
    exported: list[dict[str, str]],
) -> None:
    """A client's tag never takes the place of the gateway's own, whatever characters it has."""
    owed: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for row in rows():
        if row.status == PRICED:
            by = row.record.attribution
            own = {"cost_centre": row.record.cost_centre}
            own |= {"user_id": by.user_id, "user_source": by.user_source.value} if by.user_id else {}
            tags = {f"tag_{name}" if name in own or name == "user_id" else name: value for name, value in by.tags}
            owed[row.record.key_id, by.user_id, by.user_source.value, str(sorted((own | tags).items()))] += (
                row.cost or ZERO
            )
    found: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for line in exported:
        if line["PricingQuantity"] and line["x_PriceStatus"] == "priced":
            tags = json.loads(line["Tags"])
            group = line["x_KeyId"], line["x_UserId"], line["x_UserSource"], str(sorted(tags.items()))
            found[group] += Decimal(line["BilledCost"])
    assert found == {group: cost for group, cost in owed.items() if group in found or cost}
    assert len(found) > 10
    assert {line["Tags"] for line in exported if not line["PricingQuantity"]} == {
        f'{{"cost_centre":"{centre}"}}' for centre in "ab"
    }


def test_parquet_says_the_same_as_csv_with_types(
    lake: tuple[Path, list[tuple[str, CostLine]]], exported: list[dict[str, str]]
) -> None:
    out = lake[0] / "focus.parquet"
    assert export(lake[0], out) == len(exported)
    summed = duckdb.execute(f"SELECT sum(BilledCost), max(ChargePeriodEnd) FROM '{out}'").fetchall()[0]
    assert summed[0] == sum(Decimal(line["BilledCost"]) for line in exported)
    assert f"{summed[1]:%Y-%m-%dT%H:%M:%SZ}" == max(line["ChargePeriodEnd"] for line in exported)


def test_one_billing_period_can_be_asked_for(
    lake: tuple[Path, list[tuple[str, CostLine]]], exported: list[dict[str, str]]
) -> None:
    of_month = [line for line in exported if line["BillingPeriodStart"].startswith("2026-10")]
    assert export(lake[0], lake[0] / "october.csv", "2026-10") == len(of_month) < len(exported)


def test_what_cannot_be_exported_is_said(tmp_path: Path) -> None:
    with pytest.raises(CommandFailedError, match=r"\.csv or a \.parquet"):
        export(tmp_path, tmp_path / "focus.xlsx")
    with pytest.raises(CommandFailedError, match="costs/"):
        export(tmp_path, tmp_path / "focus.csv")


# -------------------------------------------------------------------------------------------------------- the validator
def printed(*failed: str, total: int | None = None) -> str:
    lines = [f"- {rule}: violations=2; wrong\n  MustSatisfy: it" for rule in failed]
    return "\n".join(
        [
            "--- Failures ---",
            *lines,
            f"Total: 9 | Pass: 5 | Fail: {len(failed) if total is None else total} | Skipped: 1",
        ]
    )


def test_a_rule_that_fails_is_a_fault_unless_it_is_allowed() -> None:
    assert list(faults(printed(*ALLOWED))) == []
    assert list(faults(printed(*ALLOWED, "BilledCost-C-003-M"))) == ["BilledCost-C-003-M: violations=2; wrong"]


def test_an_allowance_that_is_not_needed_is_a_fault() -> None:
    assert [fault.partition(" ")[0] for fault in faults(printed())] == sorted(ALLOWED)


def test_a_validator_without_a_result_is_a_fault() -> None:
    assert "no result" in next(faults("Traceback (most recent call last)"))
    assert "cannot be parsed" in next(faults(printed(*ALLOWED, total=7)))


def test_a_rule_is_only_allowed_to_fail_where_another_would_instead() -> None:
    for rule, allowed in ALLOWED.items():
        assert list(unfounded(rule, allowed, printed(allowed.then_fails))) == []
        for said in (printed(), printed(rule), printed(allowed.then_fails, "BilledCost-C-003-M"), "Traceback"):
            assert rule in next(unfounded(rule, allowed, said))

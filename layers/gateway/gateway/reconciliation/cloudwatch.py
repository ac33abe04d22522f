"""Compares the ledger with CloudWatch's metrics of Bedrock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

from gateway.costs.pricer import OPEN
from gateway.pricing.price_book import ZERO
from gateway.reconciliation.bill_usage_types import billed_model
from gateway.reconciliation.ledger_side import (
    LedgerTotals,
    UnknownUsage,
    all_reasons,
    is_off,
    largest_call,
    named_differences,
    of_bedrock,
)
from gateway.reconciliation.records import (
    CALLS,
    CLOUDWATCH,
    COUNT,
    GATEWAY,
    METRICS,
    NOBODY,
    Finding,
    MetricSum,
    UsageGroup,
)
from gateway.usage.records import Outcome


# --------------------------------------------------------------------------------------------------------- CloudWatch
def against_metrics(
    day: str, metered: Iterable[UsageGroup], measured: Iterable[MetricSum], percent: Decimal
) -> list[Finding]:
    """Compare a day's ledger with CloudWatch's counts. `metered` has the rows of the day before as well.

    CloudWatch may or may not count a failed call, depending on how far it got. It does not name callers: counts for a
    model that the gateway did not call are out of band. Counts beyond the gateway's calls to a model are unexplained
    until the bill names the principal.
    """
    rows = of_bedrock(metered)
    sides: dict[tuple[str, str, str], LedgerTotals] = defaultdict(LedgerTotals)
    names: dict[tuple[str, str], str] = {}
    unknown: dict[tuple[str, str], UnknownUsage] = defaultdict(UnknownUsage)
    for row in rows:
        place = (row.model_used.rpartition("/")[2], row.region)
        began_on_day = row.started_on == day
        if began_on_day or row.settled_on == day:
            names.setdefault(place, row.model_id)
        if began_on_day and not row.is_known:
            unknown[place].open_rows += row.rows * (row.price_status == OPEN)
            unknown[place].unsettled_rows += row.rows * (row.price_status != OPEN)
        for metric, quantity, largest in _counted(row):
            side = sides[(*place, metric)]
            side.largest = max(side.largest, largest)
            if began_on_day:
                side.quantity += quantity
                side.ends_later += quantity * (row.settled_on > day)
            else:
                side.began_before += quantity * (row.settled_on == day)
        if began_on_day and row.outcome in (Outcome.FAILED, Outcome.UNSETTLED):
            sides[(*place, CALLS)].unsettled_rows += row.rows
    for (model, region, metric), side in sides.items():
        side.open_rows = unknown[model, region].open_rows
        side.largest = side.largest or largest_call(metric)
        if metric != CALLS:
            side.unsettled_rows = unknown[model, region].unsettled_rows
    values = {(m.model.rpartition("/")[2], m.region, m.metric): m.value for m in measured}
    findings = []
    for key in sorted(sides.keys() | values.keys()):
        model, region, metric = key
        side, value = sides[key], values.get(key, ZERO)
        if not value and not side.quantity:
            continue
        named, rest = named_differences(value - side.quantity, side, 0)
        called = (model, region) in names
        reasons = all_reasons({**named, "unexplained" if called else "out_of_band": rest})
        ledger = Decimal(side.quantity)
        finding = Finding(
            CLOUDWATCH,
            COUNT,
            billed_model(names.get((model, region), model)),
            region,
            "",
            metric,
            model,
            GATEWAY if called else NOBODY,
            called,
            ledger,
            value,
            ledger,
            value,
            reasons,
            is_off(reasons, ledger, value, percent, Decimal(1)),
            side.open_rows,
            side.unsettled_rows,
        )  # fmt: skip
        findings.append(finding)
    return findings


def _counted(row: UsageGroup) -> Iterable[tuple[str, int, int]]:
    """CloudWatch's expected counts for a group of rows: (metric, quantity, largest quantity of one call)."""
    if row.outcome in (Outcome.SUCCEEDED, Outcome.INTERRUPTED):
        yield CALLS, row.rows, 1
    if row.is_known:
        for metric, units in METRICS.items():
            quantity = sum(row.used.get(unit, 0) for unit in units)
            if quantity:
                yield metric, quantity, sum(row.largest.get(unit, 0) for unit in units)

"""The records of AWS and of the gateway, and the findings that name their differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from gateway.costs.pricer import OPEN, UNSETTLED
from gateway.pricing.price_book import SCALE, ZERO, money
from gateway.usage.records import UNKNOWN

CUR, CLOUDWATCH = "cur", "cloudwatch"
USD, COUNT = "usd", "count"
GATEWAY = "gateway"  # represents all of the gateway's roles
NOBODY = "(none)"  # the bill names principals, but none for this line
BILL_LAG = timedelta(days=4)  # AWS writes a day's usage into the bill within a day, and corrects it for a few more
ROUNDED = Decimal("0.000001")  # USD, for each line of the bill
LARGEST_CALL = 200_000  # tokens
LEAST_USD = Decimal("0.01")  # less than a cent raises no alarm
CALLS = "Invocations"
REASONS = (
    "unpriced", "late", "interrupted", "out_of_band", "discount", "adjustment", "price", "rounding", "unexplained",
)  # fmt: skip
UNITS = (
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "images",
    "input_images",
)  # fmt: skip
METRICS = {
    "InputTokenCount": ("input_tokens",),
    "OutputTokenCount": ("output_tokens",),
    "CacheReadInputTokenCount": ("cache_read_tokens",),
    "CacheWriteInputTokenCount": ("cache_write_5m_tokens", "cache_write_1h_tokens"),
    "OutputImageCount": ("images",),
}
NUMBER = Decimal(1).scaleb(-SCALE)


# ----------------------------------------------------------------------------------------------------- the two records
class UsageGroup(NamedTuple):
    """The sum of ledger rows with equal attributes. `largest` is the highest quantity of each unit in one row."""

    model_id: str
    model_used: str
    region: str
    tier: str
    operation: str
    outcome: str
    price_status: str
    usage_source: str
    price_rows: str
    started_on: str
    settled_on: str  # empty if open
    rows: int
    used: Mapping[str, int]
    largest: Mapping[str, int]
    list_cost: Decimal | None = None

    @property
    def is_known(self) -> bool:
        """Is the usage known?"""
        return self.price_status not in (OPEN, UNSETTLED) and self.usage_source != UNKNOWN


class BillLine(NamedTuple):
    """A line of CUR 2.0, or the sum of several with equal attributes. Costs in USD; `amount` in the bill's own unit."""

    usage_type: str
    product: str
    region: str
    line_type: str
    principal: str  # the ARN in the bill; empty if it has none
    pricing_unit: str
    amount: Decimal
    list_cost: Decimal  # at AWS's public price
    net_cost: Decimal  # AWS's charge
    lines: int = 1


class MetricSum(NamedTuple):
    """A day's sum of one CloudWatch metric, for one model in one region."""

    model: str  # as named by the call: a model, a profile, or the last part of an ARN
    region: str
    metric: str
    value: Decimal


@dataclass(frozen=True)
class Finding:
    """One line of the reconciliation: the ledger's figure, AWS's figure, and the reasons why they differ.

    `ledger`, `aws` and `reasons` are in the unit of `measure`: USD or a count.
    """

    source: str
    measure: str
    model_id: str
    region: str
    tier: str
    unit: str
    usage_type: str
    principal: str
    mapped: bool
    ledger_quantity: Decimal
    aws_quantity: Decimal
    ledger: Decimal
    aws: Decimal
    reasons: Mapping[str, Decimal]
    above_tolerance: bool = False
    open_rows: int = 0
    unsettled_rows: int = 0
    unpriced_rows: int = 0

    @property
    def difference(self) -> Decimal:
        return self.aws - self.ledger


# ----------------------------------------------------------------------------------------------------------- the night
class DayToReconcile(NamedTuple):
    day: str
    bill: bool  # should the bill already have that day?


def days_to_reconcile(scheduled: datetime, bill: bool) -> list[DayToReconcile]:
    """Yesterday, for the metrics alone, and a day BILL_LAG ago, for the bill as well."""
    today = scheduled.astimezone(UTC).date()
    days = [DayToReconcile((today - timedelta(days=1)).isoformat(), False)]
    if bill:
        days.append(DayToReconcile((today - BILL_LAG).isoformat(), True))
    return days


def day_before(day: str) -> str:
    return (date.fromisoformat(day) - timedelta(days=1)).isoformat()


def summary(findings: Sequence[Finding]) -> dict[str, Any]:
    """A run's summary of a day: lines, lines above the tolerance, unmapped bill lines, and USD by reason."""
    usd = {reason: sum((f.reasons[reason] for f in findings if f.measure == USD), ZERO) for reason in REASONS}
    return {
        "lines": len(findings),
        "aboveTolerance": sum(finding.above_tolerance for finding in findings),
        "unmapped": sum(not finding.mapped and finding.source == CUR for finding in findings),
        "differenceUsd": {reason: money(amount) for reason, amount in usd.items() if amount},
    }

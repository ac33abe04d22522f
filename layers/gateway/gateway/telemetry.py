"""The structured log. Nothing that a client sent or a model answered is ever put into it."""

from __future__ import annotations

from functools import cache

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit, single_metric

# A call was made whose model has no price, or an hour was closed with such calls. template.yaml has an alarm on it.
UNPRICED_USAGE = "UnpricedUsage"
# Seconds since the oldest call began that is neither settled nor swept.
OLDEST_OPEN_ROW_AGE = "OldestOpenRowAge"
# A day's ledger and AWS's own record differ by more than the tolerance, for no reason that is known. Alarmed as well.
RECONCILIATION_OFF = "ReconciliationOff"
# Rows of the ledger that could not be read, or make no sense, and files of the lake that were lost.
QUARANTINED_ROWS = "QuarantinedRows"
# Hours between the newest that is in the costs and now.
AGGREGATION_LAG = "AggregationLagHours"


@cache
def logger() -> Logger:
    return Logger()


def count(metric: str, value: int = 1) -> None:
    """Add to a CloudWatch metric, by a log line in the embedded metric format."""
    measure(metric, value, MetricUnit.Count)


def measure(metric: str, value: float, unit: MetricUnit = MetricUnit.NoUnit) -> None:
    """Write a value of a CloudWatch metric."""
    with single_metric(name=metric, unit=unit, value=value) as one:
        one.add_dimension("service", "model-gateway")

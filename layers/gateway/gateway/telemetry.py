"""The structured log. Nothing that a client sent or a model answered is ever put into it."""

from __future__ import annotations

from functools import cache

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit, single_metric

# A call was made whose model has no price, or an hour was closed with such calls. template.yaml has an alarm on it.
UNPRICED_USAGE = "UnpricedUsage"
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


def timed(model_id: str, first_seconds: float | None, seconds: float, output_tokens: int) -> None:
    """How long a model took: to its first token, for each after it, and in all; one log line, by model."""
    metrics = EphemeralMetrics()
    metrics.add_dimension("model_id", model_id)
    metrics.add_metric("CallDuration", MetricUnit.Milliseconds, seconds * 1000)
    if first_seconds is not None:
        metrics.add_metric("TimeToFirstToken", MetricUnit.Milliseconds, first_seconds * 1000)
        if output_tokens > 1:
            each = (seconds - first_seconds) * 1000 / (output_tokens - 1)
            metrics.add_metric("TimePerOutputToken", MetricUnit.Milliseconds, each)
    metrics.flush_metrics()

"""The structured log. Nothing that a client sent or a model answered is ever put into it."""

from __future__ import annotations

from functools import cache

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit, single_metric

# A call was made whose model has no price, or an hour was closed with such calls. template.yaml has an alarm on it.
UNPRICED_USAGE = "UnpricedUsage"


@cache
def logger() -> Logger:
    return Logger()


def count(metric: str) -> None:
    """Add one to a CloudWatch metric, by a log line in the embedded metric format."""
    with single_metric(name=metric, unit=MetricUnit.Count, value=1) as one:
        one.add_dimension("service", "model-gateway")

"""The structured log. Nothing that a client sent or a model answered is ever put into it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit, single_metric

SERVICE = "model-gateway"
# What a day has cost so far, in USD.
DAY_COST = "DayCostUsd"
# A call was made whose model has no price, or an hour was closed with such calls. template.yaml has an alarm on it.
UNPRICED_USAGE = "UnpricedUsage"
# A model refused a call because the account has still to enable it.
MODELS_NOT_ENABLED = "ModelNotEnabled"
# Seconds since the oldest call began that is neither settled nor swept.
OLDEST_OPEN_ROW_AGE = "OldestOpenRowAge"
# A day's ledger and AWS's own record differ by more than the tolerance, for no reason that is known. Alarmed as well.
RECONCILIATION_OFF = "ReconciliationOff"
# Rows of the ledger that could not be read, or make no sense, and files of the lake that were lost.
QUARANTINED_ROWS = "QuarantinedRows"
# The authorizer failed. Lambda's own count has wrong keys as well, since only an error makes API Gateway answer 401.
AUTHORIZER_FAILED = "AuthorizerFailed"
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
        one.add_dimension("service", SERVICE)


def embedded(
    metrics: Mapping[str, float], dimension: tuple[str, str], at: datetime, unit: str = "None"
) -> dict[str, Any]:
    """Values of CloudWatch metrics for a moment, as the members of a log line (its embedded metric format).

    Powertools writes the same at four times the CPU, which is for the rare ones, and warns of a day that is over.
    """
    described = {
        "Namespace": os.environ.get("POWERTOOLS_METRICS_NAMESPACE", ""),
        "Dimensions": [[dimension[0]]],
        "Metrics": [{"Name": name, "Unit": unit} for name in metrics],
    }
    moment = {"Timestamp": int(at.timestamp() * 1000), "CloudWatchMetrics": [described]}
    return {"_aws": moment, dimension[0]: dimension[1], **metrics}


def write_metrics(metrics: Mapping[str, float], dimension: tuple[str, str], at: datetime) -> None:
    sys.stdout.write(json.dumps(embedded(metrics, dimension, at)) + "\n")

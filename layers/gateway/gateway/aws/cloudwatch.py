"""Reads CloudWatch's metrics of Bedrock (namespace AWS/Bedrock), by model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from botocore.config import Config

from gateway.aws.clients import STORES, client
from gateway.reconciliation.records import CALLS, METRICS, MetricSum

NAMESPACE = "AWS/Bedrock"
AT_ONCE = 500  # queries of one request
HOUR = 3600


def measured(day: str, regions: Iterable[str]) -> Iterator[MetricSum]:
    """The sum of every metric and model on a day (UTC), in each of these regions; sums of 0 are left out."""
    for region in sorted(set(regions)):
        yield from _of_region(day, region)


def _of_region(day: str, region: str) -> Iterator[MetricSum]:
    cloudwatch = client("cloudwatch", _in_region(region))
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    names = [(metric, model) for metric in (CALLS, *METRICS) for model in _models(cloudwatch, metric)]
    for first in range(0, len(names), AT_ONCE):
        batch = names[first : first + AT_ONCE]
        asked = [_query(number, metric, model) for number, (metric, model) in enumerate(batch)]
        window = {"StartTime": start, "EndTime": start + timedelta(days=1)}
        sums: dict[str, Decimal] = {}
        for page in cloudwatch.get_paginator("get_metric_data").paginate(MetricDataQueries=asked, **window):
            for result in page["MetricDataResults"]:
                values = (Decimal(str(value)) for value in result["Values"])
                sums[result["Id"]] = sum(values, sums.get(result["Id"], Decimal(0)))
        for number, (metric, model) in enumerate(batch):
            if value := sums.get(f"m{number}"):
                yield MetricSum(model, region, metric, value)


def _models(cloudwatch: Any, metric: str) -> list[str]:
    """The models of a metric, from its dimension ModelId alone, since finer dimensions count the same calls again."""
    pages = cloudwatch.get_paginator("list_metrics").paginate(Namespace=NAMESPACE, MetricName=metric)
    dimensions = (listed["Dimensions"] for page in pages for listed in page["Metrics"])
    return sorted({own[0]["Value"] for own in dimensions if [dimension["Name"] for dimension in own] == ["ModelId"]})


def _query(number: int, metric: str, model: str) -> dict[str, Any]:
    named = {"Namespace": NAMESPACE, "MetricName": metric, "Dimensions": [{"Name": "ModelId", "Value": model}]}
    return {"Id": f"m{number}", "MetricStat": {"Metric": named, "Period": HOUR, "Stat": "Sum"}}


_CONFIGS: dict[str, Config] = {}


def _in_region(region: str) -> Config:
    """A region's client config; the same object each time, since it is the key of cached clients."""
    return _CONFIGS.setdefault(region, STORES.merge(Config(region_name=region)))

"""A deployed stack's nights and month ends: its ledger against CloudWatch's counts, and the close of a month.

The proof sends CloudWatch the counts that the models' stand-in billed, as Bedrock would. The month is an earlier one
with one call: the proof inserts a ledger row as it would have been written then. The stack does everything after that.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway.reconciliation.records import CALLS, REASONS
from scripts.deploy.ministack.cloud import Cloud
from scripts.deploy.ministack.deployed import ended, hold, rows_below
from scripts.deploy.ministack.roles import resources
from scripts.operate.backfill import backfill
from scripts.operate.statements import objects_of, verified_text

METRICS = {CALLS: (), "InputTokenCount": ("input_tokens",), "OutputTokenCount": ("output_tokens",)}
STRANGE = "maker.nobody-asked-for-this"  # called by others only, never by the gateway
BESIDE, MORE = "amazon.titan-embed-text-v1", 100  # called by the gateway, and this often by others

Json = Any


def a_night(cloud: Cloud, outputs: Mapping[str, str], served: Sequence[Mapping[str, Json]]) -> str:
    """Every count agrees with CloudWatch's; counts in CloudWatch only are listed, and reported above the tolerance."""
    tell_cloudwatch(cloud, served)
    days = sorted({str(line["at"])[:10] for line in served})
    asked = json.dumps({"scheduledTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "days": days})
    run = cloud.client("stepfunctions").start_execution(stateMachineArn=outputs["ReconcileCostsArn"], input=asked)
    said = json.loads(ended(cloud, run["executionArn"], "the night")["output"])["reconciled"]
    lines = [line for day in days for line in rows_below(cloud, outputs["LakeBucketName"], f"reconciliation/dt={day}/")]
    hold(sum(day["lines"] for day in said) == len(lines), f"the run reports {said}, the lake has {len(lines)} lines")
    off = {
        (line["model_id"], line["unit"], reason, line[reason], line["above_tolerance"])
        for line in lines
        for reason in REASONS
        if line[reason]
    }
    expected = {
        (STRANGE, CALLS, "out_of_band", Decimal(1), False),
        (BESIDE, CALLS, "unexplained", Decimal(MORE), True),
    }
    hold(off == expected, f"the ledger and CloudWatch differ by {off}")
    hold(sum(day["aboveTolerance"] for day in said) == 1, f"the run reports {said}")
    return f"{len(lines)} lines"


def tell_cloudwatch(cloud: Cloud, served: Sequence[Mapping[str, Json]]) -> None:
    """Write the models' billed counts, and calls that bypassed the gateway, into the metrics of AWS/Bedrock."""
    counted: Counter[tuple[str, str, str]] = Counter()
    last = max(str(line["at"]) for line in served if line["model_id"] == BESIDE)
    for line in served:
        for metric, units in METRICS.items():
            counted[str(line["at"]), line["model_id"], metric] += sum(line[unit] for unit in units) if units else 1
    counted[last, STRANGE, CALLS] = 1
    counted[last, BESIDE, CALLS] += MORE
    cloudwatch = cloud.client("cloudwatch")
    for (at, model, metric), value in counted.items():
        if value:
            told = {"MetricName": metric, "Dimensions": [{"Name": "ModelId", "Value": model}], "Value": value}
            moment = datetime.fromisoformat(at)
            cloudwatch.put_metric_data(Namespace="AWS/Bedrock", MetricData=[told | {"Timestamp": moment}])


def a_month(cloud: Cloud, stack: str, outputs: Mapping[str, str], row: Mapping[str, Json], folder: Path) -> str:
    """A call of an earlier month passes from the ledger into a closed statement, whose chain is valid."""
    day = (datetime.now(UTC) - timedelta(days=40)).date()
    _as_of(cloud, outputs["UsageTableName"], row["request_id"], day.isoformat())
    as_of = datetime.now(UTC).replace(second=0, microsecond=0)
    backfill(cloud.client("stepfunctions"), outputs["BackfillCostsArn"], day, day, as_of, seconds=0.5)
    (function,) = [it.physical for it in resources(cloud, stack) if it.logical == "CloseMonthFunction"]
    asked = {"scheduledTime": f"{as_of:%Y-%m-%dT%H:%M:%SZ}", "month": f"{day:%Y-%m}"}
    for _ in range(2):  # the second run proves the rows that the first wrote
        run = cloud.client("lambda").invoke(FunctionName=function, Payload=json.dumps(asked).encode())
        said = json.load(run["Payload"])
        hold("FunctionError" not in run, f"closing {day:%Y-%m} fails: {said}")
        hold([month["tenants"] for month in said["months"]] == [1], f"closing {day:%Y-%m} reports {said}")
    s3 = cloud.client("s3")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=outputs["LakeBucketName"]):
        for entry in page.get("Contents", ()):
            file = folder / entry["Key"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(s3.get_object(Bucket=outputs["LakeBucketName"], Key=entry["Key"])["Body"].read())
    proven = verified_text(objects_of(str(folder)))
    hold(f"{day:%Y-%m} to {day:%Y-%m}: 1 statement with 1 line" in proven, proven)
    return f"{day:%Y-%m}"


def _as_of(cloud: Cloud, table: str, request_id: str, day: str) -> None:
    """The row of a settled call, moved to another day."""
    dynamodb = cloud.client("dynamodb")
    pages = dynamodb.get_paginator("scan").paginate(TableName=table)
    found = [i for page in pages for i in page["Items"] if i.get("request_id", {}).get("S") == request_id]
    rows = [item for item in found if "outcome" in item]
    hold(len(rows) == 1, f"the ledger has {len(rows)} rows of {request_id}")
    today = rows[0]["started_at"]["S"][:10]
    dynamodb.put_item(TableName=table, Item=json.loads(json.dumps(rows[0]).replace(today, day)))

"""Helpers to observe a deployed stack: a claim that must hold, a run's end, rows in the lake."""

from __future__ import annotations

import io
import time
from typing import Any

import pyarrow.parquet as pq

from scripts.deploy.ministack.cloud import Cloud


class Broken(Exception):
    """A claim that had to hold does not."""


def hold(truth: bool, sentence: str) -> None:
    if not truth:
        raise Broken(sentence)


def ended(cloud: Cloud, execution: str, what: str) -> dict[str, Any]:
    """Wait for an execution to succeed; returns Step Functions' description of it."""
    states, end = cloud.client("stepfunctions"), time.monotonic() + 300
    while (run := states.describe_execution(executionArn=execution))["status"] == "RUNNING":
        hold(time.monotonic() < end, f"{what} has run for more than five minutes")
        time.sleep(0.3)
    hold(run["status"] == "SUCCEEDED", f"{what} {run['status']}: {run.get('error')} {run.get('cause')}")
    found: dict[str, Any] = run
    return found


def rows_below(cloud: Cloud, bucket: str, prefix: str) -> list[dict[str, Any]]:
    """The rows of every Parquet file below a prefix of a bucket."""
    s3 = cloud.client("s3")
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    files = [s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read() for entry in listed]
    return [
        row
        for content in files
        for row in pq.read_table(io.BytesIO(content), use_threads=False, pre_buffer=False).to_pylist()
    ]

"""The lake: Parquet files in S3, one for each partition of usage and one for each day of costs.

    usage/dt=2026-11-24/hour=01/part-07.parquet      one row per attempt, priced
    costs/dt=2026-11-24/part-0.parquet               one row per tenant, cost centre and model, and what restates it
    quarantine/dt=2026-11-24/hour=01/part-07.parquet what could not be read

A key says what is in it, so that doing a period again overwrites what it wrote before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from botocore.exceptions import ClientError

from gateway.aggregation import CostLine, PricedUsage, Quarantined, RowKey
from gateway.aws import parquet
from gateway.aws.clients import client
from gateway.ledger import Partition

ATTEMPTS = 5


class Overtaken(Exception):
    """Other runs keep writing the same file; trying again later helps."""

    def __init__(self, key: str):
        super().__init__(f"{key} is being written by another run")


class Objects(Protocol):
    """What the lake needs of a store of files."""

    def list(self, prefix: str) -> dict[str, str]:
        """Keys and their ETags, in order of the keys."""

    def get(self, key: str) -> bytes: ...

    def put(self, key: str, content: bytes, replaces: str | None) -> bool:
        """Write a file in place of the one with this ETag (None: of none); False where another is there by now."""


class S3Objects:
    """A bucket."""

    def __init__(self, bucket: str):
        self._bucket = bucket
        self._s3 = client("s3")

    def list(self, prefix: str) -> dict[str, str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        return {entry["Key"]: entry["ETag"] for page in pages for entry in page.get("Contents", ())}

    def get(self, key: str) -> bytes:
        content: bytes = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return content

    def put(self, key: str, content: bytes, replaces: str | None) -> bool:
        condition = {"IfMatch": replaces} if replaces else {"IfNoneMatch": "*"}
        try:
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=content, **condition)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}:
                return False
            raise
        return True


class ParquetLake:
    """`gateway.aggregation.Lake` over a store of files."""

    def __init__(self, objects: Objects):
        self._objects = objects

    def replace_usage(self, partition: Partition, version: str, rows: Callable[[], Iterable[PricedUsage]]) -> int:
        key = f"{_hour(partition.hour)}part-{partition.shard:02d}.parquet"
        return self._replace(key, lambda: parquet.usage_file(rows(), version))

    def replace_quarantine(self, partition: Partition, rows: Sequence[Quarantined]) -> None:
        key = f"quarantine/{_dt_hour(partition.hour)}part-{partition.shard:02d}.parquet"
        if rows or key in self._objects.list(key):
            self._replace(key, lambda: (1, parquet.quarantine_file(rows)))

    def replace_costs(self, day: str, lines: Callable[[], Iterable[CostLine]]) -> int:
        return self._replace(f"costs/dt={day}/part-0.parquet", lambda: parquet.costs_file(lines()))

    def usage_of_day(self, day: str) -> Iterator[CostLine]:
        for content in self._files(f"usage/dt={day}/"):
            yield from parquet.usage_lines(content)

    def settled_usage_of_hour(self, hour: str) -> Iterator[CostLine]:
        for content in self._files(_hour(hour)):
            yield from parquet.usage_lines(content, only_settled=True)

    def rows_of_hour(self, hour: str, *, only_open: bool) -> set[RowKey]:
        files = self._files(_hour(hour))
        return {key for content in files for key in parquet.usage_keys(content, only_open=only_open)}

    def costs_of_day(self, day: str) -> Iterator[CostLine]:
        for content in self._files(f"costs/dt={day}/"):
            yield from parquet.costs_lines(content)

    def _files(self, prefix: str) -> Iterator[bytes]:
        return (self._objects.get(key) for key in self._objects.list(prefix))

    def _replace(self, key: str, make: Callable[[], tuple[int, bytes]]) -> int:
        """What is in the lake was made from a source read after the file it replaces: it only ever gets newer."""
        for _ in range(ATTEMPTS):
            replaces = self._objects.list(key).get(key)
            count, content = make()
            if not count or self._objects.put(key, content, replaces):
                return count
        raise Overtaken(key)


def _hour(hour: str) -> str:
    return f"usage/{_dt_hour(hour)}"


def _dt_hour(hour: str) -> str:
    return f"dt={hour[:10]}/hour={hour[11:]}/"

"""The lake: Parquet files in S3, one for each partition of usage and one for each day of costs.

    usage/dt=2026-11-24/hour=01/part-07.parquet      one row per attempt, priced
    costs/dt=2026-11-24/part-0.parquet               one row per tenant, cost centre and model, and what restates it
    quarantine/dt=2026-11-24/hour=01/part-07.parquet what could not be read
    corrupt/…                                        files of the lake that could not be read, as they were

A key says what is in it, so that doing a period again overwrites what it wrote before.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any, BinaryIO, Protocol, TypeVar, cast

import pyarrow as pa
from botocore.exceptions import ClientError

from gateway.aggregation import CorruptPart, CostLine, DayCosts, Pricer, Quarantined, RowKey, Written
from gateway.aws import parquet
from gateway.aws.clients import client
from gateway.aws.usage_columns import PricedPages
from gateway.ledger import Partition

T = TypeVar("T")
ATTEMPTS = 5
AT_ONCE = 32 * 2**20  # bytes of an object that are read by one request
LOST = "lost-"
_PARTITION = re.compile(r"usage/dt=([0-9-]{10})/hour=([0-9]{2})/part-([0-9]{2})\.parquet")


class Overtaken(Exception):
    """Other runs keep writing the same file; trying again later helps."""

    def __init__(self, key: str):
        super().__init__(f"{key} is being written by another run")


class Unreachable(Exception):
    """A file could not be fetched: that says nothing about what is in it."""


class Objects(Protocol):
    """What the lake needs of a store of files."""

    def list(self, prefix: str) -> dict[str, str]:
        """Keys and their ETags, in order of the keys."""

    def open(self, key: str) -> BinaryIO:
        """A file to read from; of a large one, only what is read is fetched."""

    def put(self, key: str, parts: Iterable[bytes], replaces: str | None) -> bool:
        """Write a file in place of the one with this ETag (None: of none); False where another is there by now."""


class S3Objects:
    """A bucket."""

    def __init__(self, bucket: str):
        self._bucket = bucket
        self._s3 = client("s3")

    def list(self, prefix: str) -> dict[str, str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        return {entry["Key"]: entry["ETag"] for page in pages for entry in page.get("Contents", ())}

    def open(self, key: str) -> BinaryIO:
        found = self._s3.get_object(Bucket=self._bucket, Key=key)
        if found["ContentLength"] <= AT_ONCE:
            return io.BytesIO(found["Body"].read())
        found["Body"].close()
        return cast(BinaryIO, _Ranges(self._s3, self._bucket, key, found["ETag"], found["ContentLength"]))

    def put(self, key: str, parts: Iterable[bytes], replaces: str | None) -> bool:
        condition = {"IfMatch": replaces} if replaces else {"IfNoneMatch": "*"}
        place = {"Bucket": self._bucket, "Key": key}
        coming = iter(parts)
        first = next(coming)
        second = next(coming, None)
        try:
            if second is None:
                self._s3.put_object(**place, Body=first, **condition)
            else:
                self._upload(place, chain([first, second], coming), condition)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}:
                return False
            raise
        return True

    def _upload(self, place: dict[str, str], parts: Iterable[bytes], condition: dict[str, str]) -> None:
        """What is too large to be held in memory; until the last call nothing of it is there."""
        upload = place | {"UploadId": self._s3.create_multipart_upload(**place)["UploadId"]}
        try:
            done = [
                {"PartNumber": n, "ETag": self._s3.upload_part(**upload, PartNumber=n, Body=part)["ETag"]}
                for n, part in enumerate(parts, start=1)
            ]
            self._s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": done}, **condition)
        except BaseException:
            self._s3.abort_multipart_upload(**upload)
            raise


class _Ranges(io.RawIOBase):
    """A large object of which parts are read: one version of it, or none."""

    def __init__(self, s3: Any, bucket: str, key: str, etag: str, size: int):
        self._get = partial(s3.get_object, Bucket=bucket, Key=key, IfMatch=etag)
        self._size, self._at = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._at + size, self._size)
        if end <= self._at:
            return b""
        try:
            content: bytes = self._get(Range=f"bytes={self._at}-{end - 1}")["Body"].read()
        except OSError as error:
            raise Unreachable(str(error)) from error
        self._at = end
        return content


class ParquetLake:
    """`gateway.aggregation.Lake` over a store of files."""

    def __init__(self, objects: Objects):
        self._objects = objects

    def replace_usage(
        self, partition: Partition, pricer: Pricer, pages: Callable[[], Iterable[bytes]], not_after: datetime
    ) -> Written:
        key = f"usage/{_file(partition)}"
        for _ in range(ATTEMPTS):
            replaces = self._objects.list(key).get(key)
            priced = PricedPages(partition, pricer, not_after)
            parts = parquet.usage_parts(map(priced.table, pages()))
            if first := next(parts, None):
                written = self._objects.put(key, chain([first], parts), replaces)
            else:
                # Rows that were fine and are not any more leave a file without them.
                empty = [parquet.no_usage()]
                written = not (replaces and priced.quarantined) or self._objects.put(key, empty, replaces)
            if written:
                self._quarantine(partition, priced.quarantined)
                return Written(priced.rows, len(priced.quarantined))
        raise Overtaken(key)

    def _quarantine(self, partition: Partition, rows: Sequence[Quarantined]) -> None:
        self._replace(
            f"quarantine/{_file(partition)}", lambda held: parquet.quarantine_file(rows) if rows or held else b""
        )

    def replace_costs(self, day: str, costs: Callable[[DayCosts | None], DayCosts]) -> int:
        lines = 0

        def made(held: bytes) -> bytes:
            nonlocal lines
            with _readable(key):
                before = parquet.day_costs(held) if held else None
            now = costs(before)
            lines = len(now.lines)
            return parquet.costs_file(now) if held or now.lines or now.closed else b""

        key = f"costs/dt={day}/part-0.parquet"
        self._replace(key, made)
        return lines

    def set_aside(self, part: CorruptPart, *, lost: bool) -> None:
        with self._objects.open(part.key) as file:
            content = file.read()
        self._replace(f"corrupt/{part.key}", lambda held: content)
        if lost:
            day, name = part.key.split("/")[1], part.key.removeprefix("usage/").replace("/", "-")
            row = Quarantined(part.key, "", "a file that cannot be read, of rows that the ledger does not keep", "")
            self._replace(
                f"quarantine/{day}/hour={_hour_in(part.key)}/{LOST}{name}", lambda held: parquet.quarantine_file([row])
            )
        empty = parquet.costs_file(DayCosts()) if part.key.startswith("costs/") else parquet.no_usage()
        self._replace(part.key, lambda held: empty if held == content else b"")

    def is_whole(self, day: str) -> bool:
        return not any(f"/{LOST}" in key for key in self._objects.list(f"quarantine/dt={day}/"))

    def usage_of_day(self, day: str) -> Iterator[CostLine]:
        return self._each(f"usage/dt={day}/", parquet.usage_lines)

    def settled_usage_of_hour(self, hour: str) -> Iterator[CostLine]:
        return self._each(f"usage/{_hour(hour)}", partial(parquet.usage_lines, only_settled=True))

    def rows_of_hour(self, hour: str, *, only_open: bool) -> set[RowKey]:
        return set(self._each(f"usage/{_hour(hour)}", partial(parquet.usage_keys, only_open=only_open)))

    def quarantined_of_hour(self, hour: str) -> set[tuple[str, str]]:
        return set(self._each(f"quarantine/{_hour(hour)}part-", parquet.quarantined_keys))

    def costs_of_day(self, day: str) -> Iterator[CostLine]:
        return self._each(f"costs/dt={day}/", lambda file: parquet.costs_lines(file.read()))

    def _each(self, prefix: str, read: Callable[[BinaryIO], Iterator[T]]) -> Iterator[T]:
        """What the files below a prefix hold. Raises CorruptPart."""
        for key in self._objects.list(prefix):
            with self._objects.open(key) as file, _readable(key):
                yield from read(file)

    def _replace(self, key: str, make: Callable[[bytes], bytes]) -> None:
        replace_file(self._objects, key, make)


def replace_file(objects: Objects, key: str, make: Callable[[bytes], bytes]) -> None:
    """Make a small file from the one that is there (empty: from none); where nothing changes it is left alone."""
    for _ in range(ATTEMPTS):
        replaces = objects.list(key).get(key)
        held = b""
        if replaces:
            with objects.open(key) as file:
                held = file.read()
        content = make(held)
        if content in (b"", held) or objects.put(key, [content], replaces):
            return
    raise Overtaken(key)


@contextmanager
def _readable(key: str) -> Iterator[None]:
    """What pyarrow cannot read is a corrupt part."""
    try:
        yield
    except (pa.ArrowException, KeyError, OSError) as error:
        found = _PARTITION.fullmatch(key)
        raise CorruptPart(key, f"{found[1]}T{found[2]}" if found else "", int(found[3]) if found else -1) from error


def _file(partition: Partition) -> str:
    return f"{_hour(partition.hour)}part-{partition.shard:02d}.parquet"


def _hour(hour: str) -> str:
    return f"dt={hour[:10]}/hour={hour[11:]}/"


def _hour_in(key: str) -> str:
    found = re.search(r"hour=([0-9]{2})/", key)
    return found[1] if found else "00"

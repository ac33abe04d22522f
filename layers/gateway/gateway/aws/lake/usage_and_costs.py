"""The lake: Parquet files in S3, one or more per hour of usage and one per day of costs.

    usage/dt=2026-11-24/hour=01/part-00-of-01.parquet      one row per attempt, priced
    costs/dt=2026-11-24/part-0.parquet                     one row per tenant, cost centre and model; restatements
    quarantine/dt=2026-11-24/hour=01/part-00-of-01.parquet unreadable rows of the ledger
    corrupt/…                                              unreadable files of the lake, unchanged
    usage/dt=2026-11-24/hour=01/part-07.parquet            the older layout, a file per shard: read in place until its
                                                           hour is written again

A key depends only on its content's period, so a repeated run overwrites its earlier files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from itertools import chain
from typing import BinaryIO, TypeVar

import pyarrow as pa

from gateway.aws.lake import parquet
from gateway.aws.lake.priced_pages import PricedPages, priced_otherwise
from gateway.aws.s3.objects import ATTEMPTS, Objects, Overtaken, replace_file
from gateway.costs.cost_lines import CostLine, DayCosts, RowKey
from gateway.costs.pricer import Pricer
from gateway.costs.stores import CorruptPart, QuarantinedRow, WrittenFile
from gateway.costs.usage_files import UsageFile, older_hour

T = TypeVar("T")
LOST = "lost-"


class ParquetLake:
    """`gateway.costs.stores.Lake` over a store of files."""

    def __init__(self, objects: Objects):
        self._objects = objects

    def replace_usage(
        self, file: UsageFile, pricer: Pricer, pages: Callable[[], Iterable[bytes]], not_after: datetime
    ) -> WrittenFile:
        key = file.key
        for _ in range(ATTEMPTS):
            replaces = self._objects.list(key).get(key)
            priced = PricedPages(file.hour, pricer, not_after)
            parts = parquet.usage_parts(map(priced.table, pages()))
            if first := next(parts, None):
                written = self._objects.put(key, chain([first], parts), replaces)
            else:
                # If all rows of an existing file have become unreadable, replace it with an empty one.
                empty = [parquet.no_usage()]
                written = not (replaces and priced.quarantined) or self._objects.put(key, empty, replaces)
            if written:
                self._quarantine(file, priced.quarantined)
                return WrittenFile(priced.rows, len(priced.quarantined))
        raise Overtaken(key)

    def _quarantine(self, file: UsageFile, rows: Sequence[QuarantinedRow]) -> None:
        self._replace(f"quarantine/{file.place}", lambda held: parquet.quarantine_file(rows) if rows or held else b"")

    def replace_costs(self, day: str, costs: Callable[[DayCosts | None], DayCosts]) -> int:
        lines = 0

        def made(held: bytes) -> bytes:
            nonlocal lines
            with _readable(key):
                before = parquet.day_costs(held) if held else None
            now = costs(before)
            lines = len(now.lines)
            return parquet.costs_file(now, day) if held or now.lines or now.closed else b""

        key = f"costs/dt={day}/part-0.parquet"
        self._replace(key, made)
        return lines

    def has_costs_as_written(self, day: str) -> bool:
        if list(self._objects.list(f"costs/dt={day}/")) != [key := f"costs/dt={day}/part-0.parquet"]:
            return False
        try:
            with self._objects.open(key) as file, _readable(key):
                return parquet.is_as_written(file.read(), day)
        except CorruptPart:
            return False

    def set_aside(self, part: CorruptPart, *, lost: bool) -> None:
        with self._objects.open(part.key) as file:
            content = file.read()
        self._replace(f"corrupt/{part.key}", lambda held: content)
        if lost:
            place = part.key.removeprefix("usage/")
            row = QuarantinedRow(part.key, "", "an unreadable file whose rows the ledger has dropped", "")
            self._replace(
                f"quarantine/{place.rpartition('/')[0]}/{LOST}{place.replace('/', '-')}",
                lambda held: parquet.quarantine_file([row]),
            )
        empty = parquet.costs_file(DayCosts()) if part.key.startswith("costs/") else parquet.no_usage()
        self._replace(part.key, lambda held: empty if held == content else b"")

    def is_whole(self, day: str) -> bool:
        return not any(f"/{LOST}" in key for key in self._objects.list(f"quarantine/dt={day}/"))

    def usage_of_day(self, day: str) -> Iterator[CostLine]:
        return self._each(f"usage/dt={day}/", parquet.usage_lines)

    def settled_usage(self, file: UsageFile) -> Iterator[CostLine]:
        return self._each(file.key, partial(parquet.usage_lines, only_settled=True))

    def rows(self, file: UsageFile, *, only_open: bool) -> set[RowKey]:
        return set(self._each(file.key, partial(parquet.usage_keys, only_open=only_open)))

    def quarantined(self, file: UsageFile) -> set[tuple[str, str]]:
        return set(self._each(f"quarantine/{file.place}", parquet.quarantined_keys))

    def usage_files(self, period: str) -> Mapping[str, str]:
        day, _, hour = period.partition("T")
        return self._objects.list(f"usage/dt={day}/" + (f"hour={hour}/" if hour else ""))

    def costs_files(self, day: str) -> Mapping[str, str]:
        return self._objects.list(f"costs/dt={day}/")

    def count(self, hour: str) -> int:
        return sum(self._each(f"usage/dt={hour[:10]}/hour={hour[11:]}/", lambda file: iter([parquet.row_count(file)])))

    def priced_otherwise(self, key: str, pricer: Pricer) -> bool:
        tables = self._each(key, parquet.usage_tables)
        return any(priced_otherwise(table, pricer) for table in tables)

    def older_rows(self, keys: Iterable[str]) -> set[RowKey]:
        rows = set[RowKey]()
        for key in keys:
            with suppress(CorruptPart):
                rows |= set(self._each(key, partial(parquet.usage_keys, only_open=False)))
        return rows

    def drop_older(self, hour: str) -> None:
        for kind in ("usage", "quarantine"):
            for key in self._objects.list(f"{kind}/dt={hour[:10]}/hour={hour[11:]}/"):
                if older_hour(key.replace(kind, "usage", 1)):
                    self._objects.delete(key)

    def costs_of_day(self, day: str) -> Iterator[CostLine]:
        return self._each(f"costs/dt={day}/", lambda file: parquet.costs_lines(file.read()))

    def _each(self, prefix: str, read: Callable[[BinaryIO], Iterator[T]]) -> Iterator[T]:
        """Read all files below a prefix. Raises CorruptPart."""
        for key in self._objects.list(prefix):
            with self._objects.open(key) as file, _readable(key):
                yield from read(file)

    def _replace(self, key: str, make: Callable[[bytes], bytes]) -> None:
        replace_file(self._objects, key, make)


@contextmanager
def _readable(key: str) -> Iterator[None]:
    """Raises CorruptPart for any failure of pyarrow to read."""
    try:
        yield
    except (pa.ArrowException, KeyError, OSError) as error:
        raise CorruptPart(key) from error

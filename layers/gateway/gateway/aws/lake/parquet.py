"""The schemas of the lake, declared once, and the functions that write, read and sum their Parquet files.

Money is decimal128(38, 12), made from whole numbers of 10^-12 USD, without floats. Times are in milliseconds, which
every Parquet reader supports. Equal rows make equal bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gateway.costs.cost_lines import COUNTS, MONEY, TOKENS, CostLine, DayCosts, RowKey
from gateway.costs.pricer import OPEN, UNPRICED, UNSETTLED, PricedUsage
from gateway.costs.stores import QuarantinedRow
from gateway.pricing.price_book import SCALE
from gateway.usage.records import Outcome
from gateway.usage.tags import tags_to_text

MONEY_TYPE = pa.decimal128(38, SCALE)
WHOLE = pa.decimal128(38, 0)
MOMENT = pa.timestamp("ms", tz="UTC")
# Rows in memory at a time, and rows per row group: memory does not grow with the hour.
BATCH = 100_000
# Bytes written at a time; S3 requires at least 5 MiB for a part of an upload.
PART = 6 * 2**20

USAGE = pa.schema(
    [
        ("request_id", pa.string()),
        ("attempt", pa.int32()),
        ("tenant_id", pa.string()),
        ("cost_centre", pa.string()),
        ("key_id", pa.string()),
        ("operation", pa.string()),
        ("model_id", pa.string()),
        ("model_used", pa.string()),
        ("region", pa.string()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("cache_read_tokens", pa.int64()),
        ("cache_write_5m_tokens", pa.int64()),
        ("cache_write_1h_tokens", pa.int64()),
        ("images", pa.int64()),
        ("image_class", pa.string()),
        ("input_images", pa.int64()),
        ("service_tier", pa.string()),
        ("outcome", pa.string()),
        ("usage_source", pa.string()),
        ("error_code", pa.string()),
        ("started_at", MOMENT),
        ("settled_at", MOMENT),
        ("input_cost", MONEY_TYPE),
        ("output_cost", MONEY_TYPE),
        ("cost", MONEY_TYPE),
        ("price_status", pa.string()),
        ("price_rows", pa.string()),
        ("price_version", pa.string()),
        ("provider_usage", pa.string()),
        ("asked_model", pa.string()),
        ("routing", pa.string()),
        ("list_cost", MONEY_TYPE),
        ("user_id", pa.string()),
        ("user_source", pa.string()),
        ("tags", pa.string()),  # `gateway.usage.tags`
    ]
)

COSTS = pa.schema(
    [
        ("tenant_id", pa.string()),
        ("cost_centre", pa.string()),
        ("team_id", pa.string()),  # the cost centre, by finance's name for it
        ("model_id", pa.string()),
        *((name, pa.int64()) for name in COUNTS),
        *((name, MONEY_TYPE) for name in MONEY),
        ("price_version", pa.string()),
        ("line_kind", pa.string()),
        ("restated_at", MOMENT),
    ]
)

# Rows that could not be read and priced: the ledger's row, unchanged, and the reason.
QUARANTINE = pa.schema([("pk", pa.string()), ("sk", pa.string()), ("reason", pa.string()), ("item", pa.string())])

Readable = bytes | BinaryIO
CLOSED = b"closed"
WRITTEN = b"written"

_GROUP = ["tenant_id", "cost_centre", "model_id", "price_version"]
_SUMMED = [*_GROUP, "outcome", "price_status", *TOKENS, *MONEY]
# Columns that a record has by the same name.
_RECORD = (*USAGE.names[:9], "error_code", "started_at", "settled_at", "asked_model", "routing")
# A dictionary of values that rarely repeat only adds bytes: without it, files are a third smaller.
_UNIQUE = {"request_id", "started_at", "settled_at", "provider_usage", "input_tokens", "output_tokens", *MONEY}
_REPEATED = [name for name in USAGE.names if name not in _UNIQUE]
_ORDER = [(name, "ascending") for name in ("tenant_id", "started_at", "request_id", "attempt")]


def usage_parts(tables: Iterable[pa.Table]) -> Iterator[bytes]:
    """A usage file, in parts, with rows sorted by tenant and start within each row group; no part without rows."""
    sink = _Parts()
    writer = None
    for batch in _batches(tables):
        if writer is None:
            writer = pq.ParquetWriter(
                pa.PythonFile(sink, mode="w"),
                USAGE,
                compression="zstd",
                use_dictionary=_REPEATED,
                sorting_columns=pq.SortingColumn.from_ordering(USAGE, _ORDER),
                write_page_index=True,
                write_page_checksum=True,
            )
        writer.write_table(batch, row_group_size=BATCH)
        del batch  # release its memory before the next batch is collected, so that memory stays flat
        pa.default_memory_pool().release_unused()
        yield from sink.take(PART)
    if writer is not None:
        writer.close()
        yield from sink.take()


def _batches(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Sorted tables of BATCH rows, whatever the size of the input tables, so that equal rows make equal files."""
    held: list[pa.Table] = []
    rows = 0
    for table in tables:
        held.append(table)
        rows += table.num_rows
        while rows >= BATCH:
            rows -= BATCH
            yield _first_of(held)
    if rows:
        yield _first_of(held)


def _first_of(held: list[pa.Table]) -> pa.Table:
    """Remove the first batch and return it sorted; no reference to its unsorted rows remains."""
    together = pa.concat_tables(held)
    held[:] = [together.slice(BATCH)]
    return together.slice(0, BATCH).sort_by(_ORDER)


class _Parts:
    """A writable file whose content the caller takes away in parts."""

    closed = False

    def __init__(self) -> None:
        self._held = bytearray()

    def write(self, content: bytes) -> int:
        self._held += content
        return len(content)

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def take(self, at_least: int = 1) -> Iterator[bytes]:
        if len(self._held) >= at_least:
            yield self._away()  # keeps no reference to the part

    def _away(self) -> bytes:
        part = bytes(self._held)
        self._held.clear()
        return part


def usage_table(rows: Sequence[PricedUsage], version: str) -> pa.Table:
    """Rows as a table, built row by row."""
    records = [row.record for row in rows]
    usages = [record.usage for record in records]
    columns: dict[str, Any] = {name: [getattr(record, name) for record in records] for name in _RECORD}
    columns |= {name: [getattr(usage, name) for usage in usages] for name in (*TOKENS, "image_class", "service_tier")}
    columns |= {
        "outcome": [record.outcome.value for record in records],
        "usage_source": [usage.source for usage in usages],
        "provider_usage": [usage.raw for usage in usages],
        "user_id": [record.attribution.user_id for record in records],
        "user_source": [record.attribution.user_source.value for record in records],
        "tags": [tags_to_text(record.attribution.tags) for record in records],
        "input_cost": money_of(pa.array([row.input_cost for row in rows], WHOLE)),
        "output_cost": money_of(pa.array([row.output_cost for row in rows], WHOLE)),
        "cost": money_of(pa.array([row.cost for row in rows], WHOLE)),
        "list_cost": money_of(pa.array([row.list_cost for row in rows], WHOLE)),
        "price_status": [row.price_status for row in rows],
        "price_rows": [row.price_rows for row in rows],
        "price_version": pa.repeat(version, len(rows)),
    }
    return pa.table([pa.array(columns[column.name], column.type) for column in USAGE], schema=USAGE)


def money_of(whole: pa.Array) -> pa.Array:
    """Whole numbers of 10^-12 USD as money: the same 16 bytes, read with the point 12 places further left."""
    return pa.Array.from_buffers(MONEY_TYPE, len(whole), whole.buffers(), offset=whole.offset)


def quarantine_file(rows: Sequence[QuarantinedRow]) -> bytes:
    return to_file(pa.Table.from_pylist([row._asdict() for row in rows], QUARANTINE))


def quarantined_keys(content: BinaryIO) -> Iterator[tuple[str, str]]:
    table = open_file(content).read(columns=["pk", "sk"], use_threads=False)
    return zip(table["pk"].to_pylist(), table["sk"].to_pylist(), strict=True)


def no_usage() -> bytes:
    """A usage file without rows."""
    return to_file(USAGE.empty_table())


def costs_file(costs: DayCosts, day: str = "") -> bytes:
    """A costs file of a day, with a digest by which a later run recognises it as written by a run."""
    rows = [asdict(line) | {"team_id": line.cost_centre} for line in costs.lines]
    table = pa.Table.from_pylist(rows, COSTS)
    closed = str(costs.closed).encode()
    return to_file(table.replace_schema_metadata({CLOSED: closed, WRITTEN: _written(table, closed, day)}))


def is_as_written(content: bytes, day: str) -> bool:
    """Is a costs file of this day unchanged since a run wrote it?"""
    table = open_file(content).read(use_threads=False)
    said = table.schema.metadata or {}
    return WRITTEN in said and said[WRITTEN] == _written(table, said.get(CLOSED, b""), day)


def _written(table: pa.Table, closed: bytes, day: str) -> bytes:
    rows = json.dumps([day, closed.decode(), table.to_pylist()], default=str)
    return hashlib.sha256(rows.encode()).hexdigest().encode()


def to_file(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def day_costs(content: bytes) -> DayCosts:
    """The costs of a day, from a file that `costs_file` wrote."""
    table = _columns(open_file(content).read(use_threads=False), [name for name in COSTS.names if name != "team_id"])
    closed = (table.schema.metadata or {}).get(CLOSED) == b"True"
    return DayCosts(tuple(CostLine(**row) for row in table.to_pylist()), closed)


def costs_lines(content: bytes) -> Iterator[CostLine]:
    return iter(day_costs(content).lines)


def usage_lines(content: Readable, *, only_settled: bool = False) -> Iterator[CostLine]:
    """The rows of a usage file, summed by group and price version, row group by row group."""
    for table in _row_groups(content, _SUMMED):
        yield from _lines(table.filter(pc.not_equal(table["price_status"], OPEN)) if only_settled else table)


def _lines(table: pa.Table) -> Iterator[CostLine]:
    outcome, status = table["outcome"], table["price_status"]
    counted = {
        "invocations": pc.is_in(outcome, value_set=pa.array([Outcome.SUCCEEDED.value, Outcome.INTERRUPTED.value])),
        "failed_invocations": pc.equal(outcome, Outcome.FAILED.value),
        "open_invocations": pc.equal(status, OPEN),
        "unsettled_invocations": pc.equal(status, UNSETTLED),
        "unpriced_invocations": pc.equal(status, UNPRICED),
    }
    for name, which in counted.items():
        table = table.append_column(name, which.cast(pa.int64()))
    # A sum of nulls alone is null: a group without a priced row has no cost, not the cost 0.
    some = pc.ScalarAggregateOptions(min_count=1)
    sums = table.group_by(_GROUP, use_threads=False).aggregate([(name, "sum", some) for name in (*COUNTS, *MONEY)])
    return (CostLine(**{name.removesuffix("_sum"): value for name, value in row.items()}) for row in sums.to_pylist())


def usage_keys(content: Readable, *, only_open: bool) -> Iterator[RowKey]:
    for table in _row_groups(content, ["request_id", "attempt", "price_status"]):
        found = table.filter(pc.equal(table["price_status"], OPEN)) if only_open else table
        yield from zip(found["request_id"].to_pylist(), found["attempt"].to_pylist(), strict=True)


# The columns that determine a row's price, and the resulting ones.
PRICED_BY = (
    "tenant_id", "model_id", "model_used", "region", *TOKENS, "image_class", "service_tier", "outcome", "usage_source",
    "started_at", "settled_at", "input_cost", "output_cost", "cost", "list_cost", "price_status", "price_rows",
)  # fmt: skip


def usage_tables(content: Readable) -> Iterator[pa.Table]:
    """The columns PRICED_BY of a usage file, row group by row group."""
    return _row_groups(content, PRICED_BY)


def row_count(content: Readable) -> int:
    with open_file(content) as file:
        return int(file.metadata.num_rows)


def _row_groups(content: Readable, columns: Sequence[str]) -> Iterator[pa.Table]:
    with open_file(content) as file:
        for place in range(file.num_row_groups):
            there = [name for name in columns if name in file.schema_arrow.names]
            yield _columns(file.read_row_group(place, columns=there, use_threads=False), columns)


def open_file(content: Readable) -> pq.ParquetFile:
    """Open a Parquet file, from bytes or from `Objects.open`; read it with `use_threads=False`.

    The checksum of each page detects a changed byte, which would otherwise read as another number. Arrow's threads are
    off: a thread that still references a Python object at interpreter exit aborts the process, after all work is done
    (apache/arrow#34314). Only ranged reads use a thread, to fetch in a few requests instead of column by column.
    """
    by_ranges = isinstance(content, io.RawIOBase)
    source = pa.BufferReader(content) if isinstance(content, bytes) else content
    return pq.ParquetFile(source, pre_buffer=by_ranges, page_checksum_verification=True)


def _columns(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """These columns of a file; a file from before list prices or restatements lacks some of them."""
    if "list_cost" not in table.column_names:
        table = table.append_column("list_cost", table["cost"]) if "cost" in table.column_names else table
    return table.select([name for name in columns if name in table.column_names])

"""The columns of the lake, declared once, and how rows become Parquet and are summed again.

Money is decimal128(38, 12), made from whole numbers of 10^-12 USD: no float on the way. Moments are in milliseconds,
which every engine that reads Parquet agrees on. Equal rows make equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gateway.aggregation import (
    COUNTS,
    MONEY,
    OPEN,
    TOKENS,
    UNPRICED,
    UNSETTLED,
    CostLine,
    PricedUsage,
    Quarantined,
    RowKey,
)
from gateway.pricing import SCALE
from gateway.usage import Outcome

_MONEY = pa.decimal128(38, SCALE)
_WHOLE = pa.decimal128(38, 0)
_MOMENT = pa.timestamp("ms", tz="UTC")
# Rows held at a time, and rows of a row group: memory does not grow with the hour.
BATCH = 25_000

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
        ("started_at", _MOMENT),
        ("settled_at", _MOMENT),
        ("input_cost", _MONEY),
        ("output_cost", _MONEY),
        ("cost", _MONEY),
        ("price_status", pa.string()),
        ("price_rows", pa.string()),
        ("price_version", pa.string()),
        ("provider_usage", pa.string()),
        ("asked_model", pa.string()),
        ("routing", pa.string()),
        ("list_cost", _MONEY),
    ]
)

COSTS = pa.schema(
    [
        ("tenant_id", pa.string()),
        ("cost_centre", pa.string()),
        ("team_id", pa.string()),  # the cost centre, by the name that finance knows
        ("model_id", pa.string()),
        *((name, pa.int64()) for name in COUNTS),
        *((name, _MONEY) for name in MONEY),
        ("price_version", pa.string()),
        ("line_kind", pa.string()),
        ("restated_at", _MOMENT),
    ]
)

# What could not be priced, since it could not be read: the ledger's row as it is, and why.
QUARANTINE = pa.schema([("pk", pa.string()), ("sk", pa.string()), ("reason", pa.string()), ("item", pa.string())])

_GROUP = ["tenant_id", "cost_centre", "model_id", "price_version"]
_SUMMED = [*_GROUP, "outcome", "price_status", *TOKENS, *MONEY]
# Columns that a record has by the same name.
_RECORD = (*USAGE.names[:9], "error_code", "started_at", "settled_at", "asked_model", "routing")
# A dictionary of values that hardly repeat is dead weight: without it files are a third smaller.
_UNIQUE = {"request_id", "started_at", "settled_at", "provider_usage", "input_tokens", "output_tokens", *MONEY}
_REPEATED = [name for name in USAGE.names if name not in _UNIQUE]
_ORDER = [(name, "ascending") for name in ("tenant_id", "started_at", "request_id", "attempt")]


def usage_file(rows: Iterable[PricedUsage], version: str) -> tuple[int, bytes]:
    """Rows as a usage file, sorted by tenant and start within each row group; (0, b"") where there are none."""
    remaining = iter(rows)
    sink = pa.BufferOutputStream()
    count = 0
    with pq.ParquetWriter(sink, USAGE, compression="zstd", use_dictionary=_REPEATED) as writer:
        while batch := list(islice(remaining, BATCH)):
            writer.write_table(_usage_table(batch, version).sort_by(_ORDER))
            count += len(batch)
    return (count, sink.getvalue().to_pybytes()) if count else (0, b"")


def _usage_table(rows: Sequence[PricedUsage], version: str) -> pa.Table:
    records = [row.record for row in rows]
    usages = [record.usage for record in records]
    columns: dict[str, Any] = {name: [getattr(record, name) for record in records] for name in _RECORD}
    columns |= {name: [getattr(usage, name) for usage in usages] for name in (*TOKENS, "image_class", "service_tier")}
    columns |= {
        "outcome": [record.outcome.value for record in records],
        "usage_source": [usage.source for usage in usages],
        "provider_usage": [usage.raw for usage in usages],
        "input_cost": _money([row.input_cost for row in rows]),
        "output_cost": _money([row.output_cost for row in rows]),
        "cost": _money([row.cost for row in rows]),
        "list_cost": _money([row.list_cost for row in rows]),
        "price_status": [row.price_status for row in rows],
        "price_rows": [row.price_rows for row in rows],
        "price_version": pa.repeat(version, len(rows)),
    }
    return pa.table([pa.array(columns[column.name], column.type) for column in USAGE], schema=USAGE)


def _money(units: Sequence[int | None]) -> pa.Array:
    """Whole numbers of 10^-12 USD as money: the same 16 bytes, read with the point 12 places further left."""
    whole = pa.array(units, _WHOLE)
    return pa.Array.from_buffers(_MONEY, len(whole), whole.buffers())


def quarantine_file(rows: Sequence[Quarantined]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([row._asdict() for row in rows], QUARANTINE), sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def costs_file(lines: Iterable[CostLine]) -> tuple[int, bytes]:
    """The costs of a day as a file; (0, b"") where there are none."""
    rows = [asdict(line) | {"team_id": line.cost_centre} for line in lines]
    if not rows:
        return 0, b""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, COSTS), sink, compression="zstd")
    return len(rows), sink.getvalue().to_pybytes()


def costs_lines(content: bytes) -> Iterator[CostLine]:
    table = _read(content, [name for name in COSTS.names if name != "team_id"])
    return (CostLine(**row) for row in table.to_pylist())


def usage_lines(content: bytes, *, only_settled: bool = False) -> Iterator[CostLine]:
    """The rows of a usage file, summed by group and price version."""
    table = _read(content, _SUMMED)
    if only_settled:
        table = table.filter(pc.not_equal(table["price_status"], OPEN))
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
    # A sum over nothing but nulls is null: a group without any priced row has no cost, not the cost 0.
    some = pc.ScalarAggregateOptions(min_count=1)
    sums = table.group_by(_GROUP).aggregate([(name, "sum", some) for name in (*COUNTS, *MONEY)])
    return (CostLine(**{name.removesuffix("_sum"): value for name, value in row.items()}) for row in sums.to_pylist())


def usage_keys(content: bytes, *, only_open: bool) -> Iterator[RowKey]:
    table = _read(content, ["request_id", "attempt", "price_status"])
    if only_open:
        table = table.filter(pc.equal(table["price_status"], OPEN))
    return zip(table["request_id"].to_pylist(), table["attempt"].to_pylist(), strict=True)


def _read(content: bytes, columns: Sequence[str]) -> pa.Table:
    table = pq.read_table(pa.BufferReader(content), columns=list(columns))
    if "list_cost" in columns and "list_cost" not in table.column_names:
        # Written before there was anything but the list's prices.
        return table.append_column("list_cost", table["cost"])
    return table

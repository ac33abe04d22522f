"""The price book as a table of the lake, so that SQL can price usage as the gateway does."""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gateway.aws.lake import Objects
from gateway.pricing import COLUMNS, SCALE, PriceBook

KEY = "prices/part-0.parquet"
_MONEY = pa.decimal128(38, SCALE)

PRICES = pa.schema(
    [
        ("model_id", pa.string()),
        ("region", pa.string()),
        ("tier", pa.string()),
        ("unit", pa.string()),
        ("usd", _MONEY),
        ("per", pa.int64()),
        ("effective_from", pa.date32()),
        ("source", pa.string()),
        ("price_name", pa.string()),  # what `price_rows` of a usage calls it
        ("usd_each", _MONEY),  # for one unit: SQL need not divide money
        ("is_listed", pa.bool_()),  # public, not agreed
    ]
)


def prices_file(book: PriceBook) -> bytes:
    """Every price of a book, the agreed ones of its overlay included. Equal books make equal bytes."""
    rows: list[dict[str, Any]] = [
        {column: getattr(price, column) for column in COLUMNS}
        | {"price_name": price.name, "usd_each": price.of(1), "is_listed": not price.note}
        for price in book.prices()
    ]
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: str(row["price_name"])), PRICES)
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def write_prices(objects: Objects, book: PriceBook) -> bool:
    """Put the book into the lake where it is not there yet. Of two runs at once, either's is as good."""
    content = prices_file(book)
    there = objects.list(KEY).get(KEY)
    if there and there.strip('"') == hashlib.md5(content, usedforsecurity=False).hexdigest():
        return False
    return objects.put(KEY, [content], there)

"""Writes the price book as a table of the lake, so that SQL can price usage like the gateway."""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa

from gateway.aws.lake.parquet import MONEY_TYPE, to_file
from gateway.aws.s3.objects import Objects
from gateway.pricing.price_book import PriceBook
from gateway.pricing.price_csv import COLUMNS

KEY = "prices/part-0.parquet"

PRICES = pa.schema(
    [
        ("model_id", pa.string()),
        ("region", pa.string()),
        ("tier", pa.string()),
        ("unit", pa.string()),
        ("usd", MONEY_TYPE),  # null: the price is withdrawn from this day on
        ("per", pa.int64()),
        ("effective_from", pa.date32()),
        ("source", pa.string()),
        ("price_name", pa.string()),  # as in the column `price_rows` of usage
        ("usd_each", MONEY_TYPE),  # for one unit, so that SQL need not divide money
        ("is_listed", pa.bool_()),  # public, not negotiated
    ]
)


def prices_file(book: PriceBook) -> bytes:
    """Every price of a book, including the negotiated ones of its overlay. Equal books make equal bytes."""
    rows: list[dict[str, Any]] = [
        {column: getattr(price, column) for column in COLUMNS}
        | {"price_name": price.name, "usd_each": price.of(1), "is_listed": not price.note}
        | ({} if price.stated else {"usd": None, "usd_each": None})
        for price in book.prices()
    ]
    return to_file(pa.Table.from_pylist(sorted(rows, key=lambda row: str(row["price_name"])), PRICES))


def write_prices(objects: Objects, book: PriceBook) -> bool:
    """Write the book to the lake if it has changed. If two runs write at once, either result is valid."""
    content = prices_file(book)
    there = objects.list(KEY).get(KEY)
    if there and there.strip('"') == hashlib.md5(content, usedforsecurity=False).hexdigest():
        return False
    return objects.put(KEY, [content], there)

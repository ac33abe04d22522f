"""Reads the bill: a Data Export of CUR 2.0 (COST_AND_USAGE_REPORT) as Parquet files in S3.

    <uri>/data/BILLING_PERIOD=2026-11/<file>.parquet                     the export overwrites its files, or
    <uri>/data/BILLING_PERIOD=2026-11/<moment>-<id>/<file>.parquet       keeps every version: the newest counts

It fetches only the needed columns and row groups. Columns have the names of AWS's table dictionary of CUR 2.0. An
export must have the columns NEEDED; those in HELPFUL add details (`INCLUDE_IAM_PRINCIPAL_DATA` for the principal).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.parquet import ParquetFile

from gateway.aws.lake.parquet import open_file
from gateway.aws.s3.objects import S3Objects
from gateway.pricing.price_book import SCALE
from gateway.reconciliation.records import BillLine

NEEDED = (
    "line_item_usage_start_date", "line_item_usage_account_id", "line_item_product_code", "line_item_usage_type",
    "line_item_line_item_type", "line_item_usage_amount", "line_item_unblended_cost",
)  # fmt: skip
HELPFUL = (
    "line_item_net_unblended_cost", "line_item_iam_principal", "line_item_currency_code", "product", "pricing_unit",
    "product_region_code", "pricing_public_on_demand_cost",
)  # fmt: skip
EDITION = "(Amazon Bedrock Edition)"  # the marketplace's suffix for models that Bedrock serves
_NAMES = ("product_name", "servicename")
_LEAST = Decimal(1).scaleb(-SCALE)


class BillUnreadable(Exception):
    """The export is missing or invalid."""


class Bill:
    """The export at `s3://bucket/prefix/name`, for these accounts."""

    def __init__(self, uri: str, accounts: Iterable[str]):
        parts = urlsplit(uri)
        self._objects, self._accounts = S3Objects(parts.netloc), frozenset(accounts)
        path = parts.path.strip("/").removesuffix("/data").removesuffix("data")
        self._prefix = f"{path}/data/" if path else "data/"

    def lines(self, day: str) -> list[BillLine]:
        """Bedrock's lines of a day (UTC), with equal ones summed. Raises BillUnreadable if the month has no file."""
        sums: dict[tuple[str, ...], BillLine] = {}
        for key in self._files(day[:7]):
            for line in self._rows(key, day):
                before = sums.get(line[:6])
                sums[line[:6]] = line if before is None else _together(before, line)
        return [line for _, line in sorted(sums.items())]

    def _files(self, month: str) -> list[str]:
        prefix = f"{self._prefix}BILLING_PERIOD={month}/"
        files = [key for key in self._objects.list(prefix) if key.endswith(".parquet")]
        if not files:
            raise BillUnreadable(f"the export has no Parquet file for {month}: check CurUri, and that the export runs")
        newest = max(key.rpartition("/")[0] for key in files)
        return [key for key in files if key.rpartition("/")[0] == newest]

    def _rows(self, key: str, day: str) -> Iterator[BillLine]:
        with self._objects.open(key) as content:
            yield from self._lines_in(open_file(content), day)

    def _lines_in(self, file: ParquetFile, day: str) -> Iterator[BillLine]:
        has = set(file.schema_arrow.names)
        if lacking := [name for name in NEEDED if name not in has]:
            raise BillUnreadable(f"the export lacks the columns {', '.join(lacking)}: add them to its query")
        columns = [name for name in (*NEEDED, *HELPFUL) if name in has]
        for batch in file.iter_batches(columns=columns, use_threads=False):
            for row in _of_bedrock(batch, day).to_pylist():
                if row["line_item_usage_account_id"] in self._accounts and (line := _line(row, has)):
                    yield line


def _of_bedrock(batch: pa.RecordBatch, day: str) -> pa.Table:
    """A day's rows that may be Bedrock's: by product code, or as marketplace sales, which have their own codes."""
    start = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC)
    begun = batch.column("line_item_usage_start_date")
    zone = pa.timestamp("us", tz="UTC")
    moments = begun.cast(zone) if begun.type.tz else begun.cast(pa.timestamp("us")).cast(zone)
    first, last = pa.scalar(start, zone), pa.scalar(start + timedelta(days=1), zone)
    on_day = pc.and_(pc.greater_equal(moments, first), pc.less(moments, last))
    code, usage = batch.column("line_item_product_code"), batch.column("line_item_usage_type")
    sold = pc.or_(pc.match_substring(usage, "MP:"), pc.match_substring_regex(usage, "_.*-Units$"))
    named = pc.or_(pc.starts_with(code, "AmazonBedrock"), sold)
    return pa.Table.from_batches([batch]).filter(pc.and_(on_day, pc.fill_null(named, False)))


def _line(row: dict[str, Any], has: set[str]) -> BillLine | None:
    attributes = dict(row.get("product") or ())
    product = next((attributes[name] for name in _NAMES if attributes.get(name)), "")
    if not row["line_item_product_code"].startswith("AmazonBedrock") and EDITION not in product:
        return None
    if (row.get("line_item_currency_code") or "USD") != "USD":
        raise BillUnreadable("the bill is not in USD, so it cannot be compared with the price book")
    unblended = _exact(row["line_item_unblended_cost"])
    net = row.get("line_item_net_unblended_cost")
    is_usage = row["line_item_line_item_type"] == "Usage"
    # If the export has net costs, they include the discount, so the discount's own line costs nothing.
    charged = _exact(net) if net is not None else unblended if is_usage or not _has_net(has) else Decimal(0)
    listed = _exact(row.get("pricing_public_on_demand_cost")) or unblended
    return BillLine(
        row["line_item_usage_type"], product, row.get("product_region_code") or "", row["line_item_line_item_type"],
        row.get("line_item_iam_principal") or "", row.get("pricing_unit") or "",
        _exact(row["line_item_usage_amount"]), listed, charged,
    )  # fmt: skip


def _together(one: BillLine, other: BillLine) -> BillLine:
    return one._replace(
        amount=one.amount + other.amount,
        list_cost=one.list_cost + other.list_cost,
        net_cost=one.net_cost + other.net_cost,
        lines=one.lines + other.lines,
    )


def _has_net(has: set[str]) -> bool:
    return "line_item_net_unblended_cost" in has


def _exact(amount: float | None) -> Decimal:
    """The number as written by AWS: the shortest decimal of this double."""
    return Decimal(str(amount)).quantize(_LEAST) if amount else Decimal(0)

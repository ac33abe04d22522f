"""docs/reference/lake-tables.md, from the Parquet schemas: `python -m scripts.generate.lake_tables [--check]`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from scripts.generate.lake_columns import TABLES, LakeTable
from scripts.generate.pages import head, table, write_or_check
from scripts.project.template import ROOT

PAGE = ROOT / "docs/reference/lake-tables.md"
# Names of types in Glue and Athena.
TYPES = {
    pa.string(): "string",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.timestamp("ms", tz="UTC"): "timestamp",
    pa.decimal128(38, 12): "decimal(38,12)",
    pa.date32(): "date",
    pa.bool_(): "boolean",
}


def page() -> Iterator[str]:
    yield from head("Which tables does the lake have?", "the Parquet schemas of gateway.aws.lake", "lake_tables")
    yield "`AnalyticsDatabase` has these tables, as Parquet in `LakeBucket`. Filter on `dt` in the WHERE of each query, because the"
    yield "workgroup stops a query that reads too much. The counts of tokens are disjoint: each token counts once."
    yield "A column at the end of a table is null in files of an earlier release."
    yield "[The views](views.md) read these tables."
    for each in TABLES:
        yield from _section(each)


def _section(of: LakeTable) -> Iterator[str]:
    folder = "/".join([of.name, *(f"{key}=…" for key in of.partitions)])
    yield from ("", f"## {of.name}", "", f"{of.means} Files: `s3://LakeBucket/{folder}/`.")
    if of.note:
        yield of.note
    yield ""
    keys = {"dt": "The day, as `2026-11-24`, in UTC.", "hour": "The hour of the day, as `07`, in UTC."}
    rows = [
        (f"`{field.name}`", TYPES[field.type], column.unit, column.means, column.null)
        for field, column in ((field, of.columns[field.name]) for field in of.schema)
    ]
    rows += [(f"`{key}`", "string", "partition", keys[key], "") for key in of.partitions]
    yield from table(("column", "type", "unit", "meaning", "null where"), rows)


def files() -> dict[Path, str]:
    return {PAGE: "\n".join(page()) + "\n"}


def main() -> int:
    return write_or_check(files(), "the schemas of the lake", sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())

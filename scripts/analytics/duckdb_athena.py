"""The lake in DuckDB, as Athena sees it: the template's tables, their views, and any statement.

Statements are written for Athena (Trino) and translated. `faults` rejects each expression that the two engines
silently evaluate differently. It also rejects expressions that Trino refuses and DuckDB accepts: an alias in GROUP BY,
text compared with a date.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify

from scripts.project.template import ROOT, load, of_type

SQL = Path(__file__).parent / "sql"
Columns = dict[str, str]  # name -> Trino's type
TRINO_OF_GLUE = {"string": "varchar", "int": "integer", "timestamp": "timestamp(3)"}
DUCKDB_OF_TRINO = {"timestamp(3)": "timestamp"}
TRINO_OF_DUCKDB = {
    "VARCHAR": "varchar", "BIGINT": "bigint", "INTEGER": "integer", "DOUBLE": "double", "BOOLEAN": "boolean",
    "DATE": "date", "TIMESTAMP": "timestamp(3)", "DECIMAL(38,12)": "decimal(38,12)",
}  # fmt: skip

# ----------------------------------------------------------------------------------------------------- tables and views


@cache
def tables() -> dict[str, Columns]:
    """The tables declared in the template, partition keys last, as Athena shows them."""
    found: dict[str, Columns] = {}
    for properties in of_type(load(ROOT / "template.yaml"), "AWS::Glue::Table").values():
        table = properties["TableInput"]
        if table["TableType"] == "EXTERNAL_TABLE":
            columns = [*table["StorageDescriptor"]["Columns"], *table.get("PartitionKeys", ())]
            found[table["Name"]] = {c["Name"]: TRINO_OF_GLUE.get(c["Type"], c["Type"]) for c in columns}
    return found


@cache
def queries() -> dict[str, str]:
    return {file.stem: file.read_text() for file in sorted((SQL / "queries").glob("*.sql"))}


@cache
def views() -> dict[str, str]:
    """The views by name, each after the views it reads."""
    texts = {file.stem: file.read_text() for file in sorted((SQL / "views").glob("*.sql"))}
    ordered: dict[str, str] = {}

    def add(name: str) -> None:
        if name not in ordered:
            for read in sorted(reads(texts[name]) & texts.keys()):
                add(read)
            ordered[name] = texts[name]

    for name in texts:
        add(name)
    return ordered


def reads(text: str) -> set[str]:
    """The names of the tables and views that a statement reads."""
    return {table.name for table in parse(text).find_all(exp.Table)}


def question(text: str) -> str:
    """The question that a statement answers, from its first line."""
    return text.partition("\n")[0].removeprefix("--").strip()


def parse(text: str) -> exp.Expr:
    return sqlglot.parse_one(text, read="athena")


# ------------------------------------------------------------------------------------------------- rejected expressions
REFUSED: dict[type[exp.Expr], str] = {
    exp.Star: "a new column in the table would change its result: name the columns",
    exp.Avg: "avg of a decimal is a decimal in Athena and a double in DuckDB: divide two sums as doubles",
    exp.AtTimeZone: "moments here are UTC and have no zone",
    exp.ApproxDistinct: "it is not exact",
    exp.ApproxQuantile: "it is not exact",
    exp.TimestampTrunc: "its type differs between the engines",
    exp.DateTrunc: "its type differs between the engines",
    exp.Mod: "its sign and type differ between the engines",
    exp.RegexpExtract: "without a match it is null in Athena and empty in DuckDB",
    exp.IntDiv: "Athena has no such operator",
    exp.Qualify: "Athena has no QUALIFY",
    exp.Lateral: "Athena has no LATERAL views",
    exp.Rand: "a report must be reproducible",
}
REFUSED_FUNCTIONS = {
    "checksum", "parse_datetime", "format_datetime", "now", "uuid", "array_agg", "arbitrary", "any_value", "typeof",
}  # fmt: skip
KINDS = {
    "text": exp.DataType.TEXT_TYPES,
    "number": exp.DataType.NUMERIC_TYPES,
    "date": {exp.DataType.Type.DATE},
    "timestamp": exp.DataType.TEMPORAL_TYPES - {exp.DataType.Type.DATE},
    "boolean": {exp.DataType.Type.BOOLEAN},
}
COMPARED = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE)
# Types that both engines compare alike after widening.
COMPARABLE = ({"date", "timestamp"},)


def faults(text: str, schema: Mapping[str, Columns]) -> Iterator[str]:
    """Reasons why Athena may evaluate a statement differently; `schema` has the tables and views it reads."""
    if not text.startswith("-- "):
        yield "its first line must be a comment with the question it answers"
    tree = parse(text)
    for kind, reason in REFUSED.items():
        for found in tree.find_all(kind):
            if not isinstance(found.parent, exp.Count):
                yield f"{found.sql('athena')}: {reason}"
    for call in tree.find_all(exp.Func):
        name = (call.name if isinstance(call, exp.Anonymous) else call.sql_name()).lower()
        if name in REFUSED_FUNCTIONS:
            yield f"{name}: the two engines differ, or its result is not reproducible"
    yield from _arithmetic(tree)
    yield from _aliases(tree)
    if tree.args.get("limit") and not tree.args.get("order"):
        yield "LIMIT without ORDER BY returns arbitrary rows"
    try:
        typed = annotate_types(
            qualify(
                tree.copy(), schema=dict(schema), dialect="athena", expand_alias_refs=False, quote_identifiers=False
            ),
            schema=dict(schema),
            dialect="athena",
        )
    except SqlglotError as error:
        yield str(error)
    else:
        yield from _types(typed)


def _arithmetic(tree: exp.Expr) -> Iterator[str]:
    for division in tree.find_all(exp.Div):
        if not any(_is_double(side) for side in (division.this, division.expression)):
            yield f"{division.sql('athena')}: Athena truncates the division of two integers; cast to double"
        if not (isinstance(division.expression, exp.Nullif) or _is_number(division.expression)):
            yield f"{division.sql('athena')}: Athena fails on division by 0; divide by nullif(…, 0)"
    for difference in tree.find_all(exp.DateDiff, exp.TimestampDiff):
        if difference.text("unit").lower() != "millisecond":
            yield f"{difference.sql('athena')}: DuckDB counts boundaries, Athena whole units; use milliseconds"
    for part in tree.find_all(exp.Substring):
        start = part.args.get("start")
        if not _is_number(start) or part.text("start").startswith("-"):
            yield f"{part.sql('athena')}: characters are counted from 1"


def _is_double(side: exp.Expr) -> bool:
    """Does the expression have a cast to double or a double literal, other than below another division?"""
    return any(cast.to.is_type("double") for cast in side.find_all(exp.Cast))


def _is_number(value: exp.Expr | None) -> bool:
    return isinstance(value, exp.Literal) and not value.is_string and float(value.name) != 0


def _aliases(tree: exp.Expr) -> Iterator[str]:
    """Athena resolves a column alias in ORDER BY only."""
    for select in tree.find_all(exp.Select):
        renamed = {
            alias.alias.lower()
            for alias in select.expressions
            if isinstance(alias, exp.Alias) and alias.this.name.lower() != alias.alias.lower()
        }
        group = select.args.get("group")
        for expression in group.expressions if group else ():
            if isinstance(expression, exp.Column) and not expression.table and expression.name.lower() in renamed:
                yield f"GROUP BY {expression.name}: Athena does not resolve an alias there; group by its number"
        having = select.args.get("having")
        for column in having.find_all(exp.Column) if having else ():
            if not column.table and column.name.lower() in renamed:
                yield f"HAVING {column.name}: Athena does not resolve an alias there; repeat the expression"


def _types(tree: exp.Expr) -> Iterator[str]:
    for pair in tree.find_all(*COMPARED, exp.Between, exp.In):
        others = [pair.args[name] for name in ("expression", "low", "high") if pair.args.get(name)] + pair.expressions
        for one, other in ((_kind(pair.this), _kind(value)) for value in others):
            if one != other and {one, other} not in COMPARABLE and None not in (one, other):
                yield f"{pair.sql('athena')}: Athena does not compare {one} with {other}"
    for joined in tree.find_all(exp.DPipe, exp.Concat):
        for side in joined.flatten() if isinstance(joined, exp.DPipe) else joined.expressions:
            if _kind(side) not in {"text", None}:
                yield f"{joined.sql('athena')}: Athena joins text with text only"


def _kind(value: exp.Expr) -> str | None:
    kind = value.type.this if value.type else None
    return next((name for name, types in KINDS.items() if kind in types), None)


# ----------------------------------------------------------------------------------------------------------- the engine
def to_duckdb(text: str, today: date | None = None) -> str:
    """A statement in DuckDB's dialect. `today` replaces `current_date`, the statement's only clock."""
    tree = parse(text)
    if today:
        tree = tree.transform(lambda node: _day(today) if isinstance(node, exp.CurrentDate) else node)
    return tree.sql("duckdb", comments=False)


def _day(day: date) -> exp.Expr:
    return exp.cast(exp.Literal.string(day.isoformat()), "date")


def open_lake(folder: Path | None) -> duckdb.DuckDBPyConnection:
    """A lake in a folder, or an empty lake of the same types: its tables and views under their Athena names."""
    engine = duckdb.connect()
    engine.execute("SET TimeZone = 'UTC'")
    for name, columns in tables().items():
        engine.execute(f'CREATE VIEW "{name}" AS {_source(folder, name, columns)}')
    for name, text in views().items():
        engine.execute(f'CREATE VIEW "{name}" AS {to_duckdb(text)}')
    return engine


def _source(folder: Path | None, name: str, columns: Columns) -> str:
    types = {column: DUCKDB_OF_TRINO.get(kind, kind) for column, kind in columns.items()}
    example = next((folder / name).rglob("*.parquet"), None) if folder else None
    if folder is None or example is None:
        nothing = ", ".join(f'CAST(NULL AS {kind}) AS "{column}"' for column, kind in types.items())
        return f"SELECT {nothing} WHERE false"
    partitions = "{" + ", ".join(f"'{key}': varchar" for key in columns if f"/{key}=" in str(example)) + "}"
    hive = f", hive_partitioning = true, hive_types = {partitions}" if partitions != "{}" else ""
    files = f"read_parquet('{quoted(folder / name)}/**/*.parquet', union_by_name = true{hive})"
    there = {row[0] for row in duckdb.execute(f"DESCRIBE SELECT * FROM {files}").fetchall()}
    # A file written before a column was added lacks that column: Athena reads nulls.
    read = ", ".join(
        f'CAST("{column}" AS {kind}) AS "{column}"' if column in there else f'CAST(NULL AS {kind}) AS "{column}"'
        for column, kind in types.items()
    )
    return f"SELECT {read} FROM {files}"


def quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def columns_of(engine: duckdb.DuckDBPyConnection, name: str) -> Columns:
    """A view's columns with their Trino types. Raises ValueError for a type that the two engines may not share."""
    described = engine.execute(f'DESCRIBE SELECT * FROM "{name}"').fetchall()
    if odd := [f"{column} is {kind}" for column, kind, *_ in described if kind not in TRINO_OF_DUCKDB]:
        raise ValueError(f"{name}: {', '.join(odd)}: cast it to a type that Athena also has")
    return {column.lower(): TRINO_OF_DUCKDB[kind] for column, kind, *_ in described}


def rows(engine: duckdb.DuckDBPyConnection, text: str, today: date | None = None) -> list[dict[str, Any]]:
    """The result of a statement written for Athena."""
    result = engine.execute(to_duckdb(text, today))
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

"""Puts the views and queries of scripts/analytics/sql into template.yaml; `--check` changes nothing.

Athena keeps a view in Glue's catalogue as `/* Presto View: <base64 of JSON> */`, with its SQL and the types of its
columns. The types come from running the SQL on an empty lake. The SQL names no database: the JSON does, so that the
template's parameter still decides.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from scripts.analytics.duckdb_athena import Columns, columns_of, faults, open_lake, queries, question, tables, views
from scripts.project.command import run
from scripts.project.template import ROOT

TEMPLATE = ROOT / "template.yaml"
BEGIN = "  # >>> generated from scripts/analytics/sql by `make generate`; do not edit\n"
END = "  # <<< generated\n"
GLUE_OF_TRINO = {"varchar": "string", "integer": "int", "timestamp(3)": "timestamp"}


def schema() -> dict[str, Columns]:
    """The columns of every table and view."""
    with open_lake(None) as engine:
        return tables() | {name: columns_of(engine, name) for name in views()}


def section() -> str:
    known = schema()
    return "\n".join([*(view(name, text, known[name]) for name, text in views().items()), *map(named_query, queries())])


def view(name: str, text: str, columns: Columns) -> str:
    said = {
        "originalSql": text.strip(),
        "catalog": "awsdatacatalog",
        "schema": "${AnalyticsDatabase}",
        "columns": [{"name": column, "type": kind} for column, kind in columns.items()],
    }
    return "\n".join(
        [
            f"  {_logical(name)}View:",
            "    Type: AWS::Glue::Table",
            "    Properties:",
            "      CatalogId: !Ref AWS::AccountId",
            "      DatabaseName: !Ref AnalyticsDatabase",
            "      TableInput:",
            f"        Name: {name}",
            f"        Description: {json.dumps(question(text))}",
            "        TableType: VIRTUAL_VIEW",
            '        Parameters: {presto_view: "true", comment: Presto View}',
            "        ViewExpandedText: /* Presto View */",
            f'        ViewOriginalText: !Join ["", ["/* Presto View: ", {{Fn::Base64: !Sub {text_of(said)}}}, " */"]]',
            "        StorageDescriptor:",
            "          SerdeInfo: {}",
            *flow("          Columns:", {column: GLUE_OF_TRINO.get(kind, kind) for column, kind in columns.items()}),
            "",
        ]
    )


def text_of(said: dict[str, Any]) -> str:
    """JSON as a string of YAML."""
    return json.dumps(json.dumps(said))


def flow(key: str, columns: Columns) -> Iterator[str]:
    """Glue's columns as a list in few lines."""
    names = [
        f'{{Name: {name}, Type: "{kind}"}}' if "(" in kind else f"{{Name: {name}, Type: {kind}}}"
        for name, kind in columns.items()
    ]
    indent = " " * (len(key) - len(key.lstrip()) + 2)
    # Without a break within a column: its spaces are no places to break at.
    lines = textwrap.wrap(
        ", ".join(name.replace(" ", "\0") for name in names), 118 - len(indent), break_long_words=False
    )
    yield f"{key} ["
    yield from (indent + line.replace("\0", " ") for line in lines)
    yield f"{indent[2:]}]"


def named_query(name: str) -> str:
    text = queries()[name]
    return "\n".join(
        [
            f"  {_logical(name)}Query:",
            "    Type: AWS::Athena::NamedQuery",
            "    Properties:",
            f"      Name: {name}",
            f"      Description: {json.dumps(question(text))}",
            "      Database: !Ref AnalyticsDatabase",
            "      WorkGroup: !Ref AnalyticsWorkGroup",
            "      QueryString: |",
            *(f"        {line}" for line in text.strip().splitlines()),
            "",
        ]
    )


def _logical(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def wrong() -> Iterator[str]:
    """What a statement has that Athena may read in another way than it was proven."""
    known = schema()
    for name, text in {**views(), **queries()}.items():
        yield from (f"{name}.sql: {fault}" for fault in faults(text, known))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where template and SQL do not agree")
    arguments = parser.parse_args()
    faulty = list(wrong())
    for fault in faulty:
        print(fault, file=sys.stderr)
    text = TEMPLATE.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        print(f"{TEMPLATE.name} has no place for the views", file=sys.stderr)
        return 1
    fresh = f"{before}{BEGIN}{section()}{END}{after}"
    if fresh != text and arguments.check:
        print("template.yaml is not what scripts/analytics/sql says: run `make generate`", file=sys.stderr)
        return 1
    if fresh != text:
        TEMPLATE.write_text(fresh)
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(run(main))

"""docs/reference/views.md, from scripts/analytics/sql: `python -m scripts.generate.views [--check]`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from scripts.analytics.duckdb_athena import Columns, queries, question, reads, tables, views
from scripts.analytics.views import schema
from scripts.generate.pages import cell, head, table, write_or_check
from scripts.project.template import ROOT

PAGE = ROOT / "docs/reference/views.md"


def page(known: Mapping[str, Columns]) -> Iterator[str]:
    yield from head("Which views and saved queries can I use?", "scripts/analytics/sql", "views")
    yield "A deployment creates these views in `AnalyticsDatabase` and the saved queries in its Athena workgroup."
    yield "Their SQL is in `scripts/analytics/sql`; [the tables of the lake](lake-tables.md) explains units."
    yield from ("", "## Views", "")
    rows = [(f"[`{name}`](#{name})", cell(question(text)), _names(text)) for name, text in sorted(views().items())]
    yield from table(("view", "question", "reads"), rows)
    yield from ("", "## Saved queries", "")
    yield from table(
        ("query", "question", "reads"),
        [(f"`{name}`", cell(question(text)), _names(text)) for name, text in queries().items()],
    )
    yield from ("", "## Columns of the views")
    for name in sorted(views()):
        yield from ("", f"### {name}", "")
        yield ", ".join(f"`{column}` {kind}" for column, kind in known[name].items())


def _names(text: str) -> str:
    """The tables and views that a statement reads, without the names that it defines itself."""
    there = tables().keys() | views().keys()
    return ", ".join(f"`{name}`" for name in sorted(reads(text) & there))


def files() -> dict[Path, str]:
    return {PAGE: "\n".join(page(schema())) + "\n"}


def main() -> int:
    return write_or_check(files(), "scripts/analytics/sql", sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())

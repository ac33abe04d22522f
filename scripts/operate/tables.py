"""Formats exact figures as text tables: a column is as wide as its longest value, and no value is cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

Cells = Sequence[str]


@dataclass(frozen=True)
class Table:
    """Rows under one header, with their total. Columns that end in _id are names, all others are numbers."""

    columns: Cells
    rows: Sequence[Cells]
    total: Cells
    title: str = ""
    notes: Cells = ()

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        widths = [max(map(len, cells)) for cells in zip(self.columns, *self.rows, self.total, strict=True)]
        rule = self._aligned(("-" * width for width in widths), widths)
        if self.title:
            yield self.title
        yield from (self._aligned(self.columns, widths), rule)
        yield from (self._aligned(row, widths) for row in self.rows)
        yield from (rule, self._aligned(self.total, widths))
        yield from (f"  {note}" for note in self.notes)

    def _aligned(self, cells: Iterable[str], widths: Sequence[int]) -> str:
        named = zip(self.columns, cells, widths, strict=True)
        return "  ".join(
            cell.ljust(width) if is_name(column) else cell.rjust(width) for column, cell, width in named
        ).rstrip()


Page = Sequence[Table | str]


def is_name(column: str) -> bool:
    return column.endswith("_id")


def page_text(page: Page) -> str:
    """The sections of a page, with an empty line between."""
    return "\n\n".join(map(str, page)) + "\n"

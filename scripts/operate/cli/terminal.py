"""Output of commands: rich text on a terminal, otherwise plain text, or one JSON document.

Figures go to stdout, progress and notices to stderr. No figure is wrapped or cut, whatever the terminal's width.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from scripts.operate.tables import Page, Table, is_name, page_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress


def on_terminal(stream: TextIO) -> bool:
    return stream.isatty()


# -------------------------------------------------------------------------------------------------------------- stdout
def print_json(document: Any) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False, default=as_json), flush=True)


def as_json(value: Any) -> Any:
    match value:
        case Decimal():
            return f"{value:f}"
        case date():
            return value.isoformat()
        case Path():
            return str(value)
        case Mapping():
            return dict(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def print_yaml(document: Any) -> None:
    import yaml

    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    if on_terminal(sys.stdout):
        from rich.syntax import Syntax

        # Highlights without wrapping or padding lines, so that copied text equals the file.
        styled = Syntax(text, "yaml", background_color="default").highlight(text)
        styled.right_crop(1)
        _console(sys.stdout).print(styled, soft_wrap=True)
    else:
        print(text, end="", flush=True)


def print_page(page: Page) -> None:
    if not on_terminal(sys.stdout):
        print(page_text(page), end="", flush=True)
        return
    for section in page:
        _print_whole(_styled_table(section) if isinstance(section, Table) else _text(section))
        print()


def print_line(line: str, style: str = "", *, err: bool = False) -> None:
    """Prints one line, styled on a terminal."""
    print_spans((line, style), err=err)


def print_spans(*spans: tuple[str, str], err: bool = False) -> None:
    """Prints one line of texts, each with its style."""
    stream = sys.stderr if err else sys.stdout
    if on_terminal(stream) and any(style for _, style in spans):
        from rich.text import Text

        _console(stream).print(Text.assemble(*spans), soft_wrap=True)
    else:
        print("".join(text for text, _ in spans), file=stream, flush=True)


def notice(line: str) -> None:
    print_line(line, "dim", err=True)


def _console(stream: TextIO, width: int | None = None) -> Console:
    from rich.console import Console

    return Console(file=stream, highlight=False, width=width)


def _text(line: str, style: str = "") -> RenderableType:
    from rich.text import Text

    return Text(line, style)


def _print_whole(section: RenderableType) -> None:
    """Prints the section at its full width: a narrower terminal folds the lines itself and loses nothing."""
    console = _console(sys.stdout)
    needed = console.measure(section, options=console.options.update(width=10_000)).maximum
    _console(sys.stdout, max(needed, console.width)).print(section)


def _styled_table(table: Table) -> RenderableType:
    from rich import box
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    styled = RichTable(
        box=box.SIMPLE, show_edge=False, show_footer=True, header_style="bold", footer_style="bold", pad_edge=False
    )
    for column, total in zip(table.columns, table.total, strict=True):
        side = "left" if is_name(column) else "right"
        styled.add_column(column, total, justify=side, no_wrap=True, overflow="fold")  # type: ignore[arg-type]
    for row in table.rows:
        styled.add_row(*(Text(cell, "yellow" if cell == "unknown" else "") for cell in row))
    title = [Text(table.title, "bold cyan")] if table.title else []
    return Group(*title, styled, *(Text(f"  {note}", "yellow") for note in table.notes))


# -------------------------------------------------------------------------------------------------------------- stderr
class Bar:
    """A progress bar on stderr; hidden if stderr is not a terminal.

    Turn `threads` off where the command blocks signals for a time; the bar then moves only with each update.
    """

    def __init__(self, what: str, *, threads: bool = True):
        self._what = what
        self._progress: Progress | None = None
        if on_terminal(sys.stderr):
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            description, count = TextColumn("{task.description}"), TextColumn("{task.fields[count]}")
            columns = (SpinnerColumn(), description, BarColumn(), count, TimeElapsedColumn())
            # Leaves stdout alone: it may be a pipe, and rich would redirect it to stderr.
            self._progress = Progress(
                *columns, console=_console(sys.stderr), transient=True, auto_refresh=threads, redirect_stdout=False
            )
            self._task = self._progress.add_task(what, total=None, count="")

    def __enter__(self) -> Self:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress:
            self._progress.stop()

    @property
    def is_shown(self) -> bool:
        return self._progress is not None

    def update(self, done: int, total: int, what: str = "") -> None:
        if self._progress:
            text, count = what or self._what, f"{done} of {total}"
            self._progress.update(self._task, completed=done, total=total, description=text, count=count, refresh=True)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Hides the bar, so that the block may print lines to stdout."""
        if not self._progress:
            yield
            return
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()

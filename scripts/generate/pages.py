"""Functions that the generators of docs/reference share."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from scripts.project.template import ROOT

BY_MACHINE = "<!-- Generated from {} by scripts/generate/{}.py; do not edit. -->"


def head(question: str, source: str, module: str) -> Iterator[str]:
    """A page's first lines: its generator, and the question that it answers."""
    yield from (BY_MACHINE.format(source, module), f"# {question}", "")


def cell(text: str) -> str:
    """A text, escaped for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def write_or_check(files: Mapping[Path, str], source: str, arguments: Sequence[str]) -> int:
    """Writes the files; with `--check`, changes nothing, and fails if one differs from its source."""
    stale = [file for file, text in files.items() if not file.exists() or file.read_text(encoding="utf-8") != text]
    for file in stale:
        if "--check" in arguments:
            print(f"{file.relative_to(ROOT)} does not agree with {source}: run `make generate`", file=sys.stderr)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(files[file], encoding="utf-8")
    return int(bool(stale) and "--check" in arguments)

"""Reads usage and costs from a lake, as finance reads them: `gateway statements`.

A lake is a folder or s3://bucket (days: a folder). A cost centre is called team_id here. Money is exact, with every
decimal shown. An open month is shown as a draft of its statement.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

from gateway.aws.lake.parquet import costs_lines
from gateway.aws.lake.statements import CostFiles, StatementFiles
from gateway.aws.s3.objects import Objects, S3Objects
from gateway.costs.cost_lines import COUNTS, MONEY, CostLine
from gateway.pricing.price_book import ZERO
from gateway.statements.chain import CSV, MANIFEST, PAGE, Chain, Verified, closed_months, digest, folder, verify
from gateway.statements.close_month import PAGE_LINES, lines_by_tenant
from gateway.statements.html import to_html
from gateway.statements.statement import Statement, closes_at, from_csv, to_csv
from scripts.operate.tables import Page, Table, page_text
from scripts.project.words import counted

DELAY_DAYS = 3
COLUMNS = ("team_id", "model_id", "input_tokens", "output_tokens", "invocations", "input_cost", "output_cost")
NOTES = {
    "failed_invocations": "failed: without usage and without cost",
    "open_invocations": "still open: not in the costs yet",
    "unsettled_invocations": "unsettled: their usage is unknown, so they are not in the costs",
    "unpriced_invocations": "unpriced: the price book has no price for them, so they are not in the costs",
}


Days = dict[str, list[CostLine]]


def costs_in(lake: Path) -> Days:
    """The lines of each day, from the files of the lake. Raises NoLake and UnreadableFileError."""
    must_be_folder(lake)
    files = sorted(lake.glob("**/costs/dt=*/part-*.parquet"))
    return {file.parent.name.removeprefix("dt="): _lines_in(file) for file in files}


def _lines_in(file: Path) -> list[CostLine]:
    try:
        return list(costs_lines(file.read_bytes()))
    except (ValueError, KeyError) as error:  # from pyarrow: the file is truncated, or is not Parquet
        raise UnreadableFileError(file, error) from error


def report(days: Days) -> str:
    return page_text(day_tables(days))


def day_tables(days: Days) -> Page:
    if not any(days.values()):
        return ["Nothing was metered yet."]
    shown: list[Table | str] = [_table(lines, day) for day, lines in sorted(days.items()) if lines]
    # Aggregated without a row, like most days of a long backfill.
    empty = sorted(day for day, lines in days.items() if not lines)
    if empty:
        shown.append(f"Nothing was metered on {counted(len(empty), 'more day')} from {empty[0]} to {empty[-1]}.")
    return shown


def days_as_json(days: Days) -> list[dict[str, Any]]:
    return [
        {"day": day, "lines": [asdict(line) for line in lines], "total": _figures(_total(lines))}
        for day, lines in sorted(days.items())
    ]


def _total(lines: Iterable[CostLine]) -> CostLine:
    total = CostLine("", "total", "")
    for line in lines:
        total += line
    return total


def _figures(line: CostLine) -> dict[str, Any]:
    return {name: getattr(line, name) for name in (*COUNTS, *MONEY)}


def _table(lines: Sequence[CostLine], title: str = "") -> Table:
    """A line per cost centre and model; the decimal points of a money column are aligned."""
    by_team: dict[tuple[str, str], CostLine] = {}
    for line in lines:
        team = (line.cost_centre, line.model_id)
        # Tenants may use the same name for a cost centre; the report has no tenants.
        plain = replace(line, tenant_id="")
        by_team[team] = by_team[team] + plain if team in by_team else plain
    total = _total(by_team.values())
    shown = [*(line for _, line in sorted(by_team.items())), total]
    columns = []
    for name in COLUMNS:
        values = [getattr(line, "cost_centre" if name == "team_id" else name) for line in shown]
        columns.append(_money(values) if name.endswith("_cost") else [str(value) for value in values])
    *rows, last = zip(*columns, strict=True)
    return Table(COLUMNS, rows, last, title, list(_notes(total)))


def _notes(total: CostLine) -> Iterator[str]:
    yield from (f"{count} {text}" for name, text in NOTES.items() if (count := getattr(total, name)))
    cached = total.cache_read_tokens, total.cache_write_5m_tokens + total.cache_write_1h_tokens
    if any(cached):
        yield f"{cached[0]} tokens read from and {cached[1]} written to a prompt cache are in input_cost"
    if total.images:
        yield f"{total.images} images are in output_cost"


def _money(amounts: Sequence[Decimal | None]) -> list[str]:
    known = [amount for amount in amounts if amount is not None]
    decimals = max([2, *(_decimals(amount) for amount in known)])
    return ["unknown" if amount is None else f"{amount:.{decimals}f}" for amount in amounts]


def _decimals(amount: Decimal) -> int:
    exponent = amount.normalize().as_tuple().exponent
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0


# ---------------------------------------------------------------------------------------------------------- statements
class FolderObjects:
    """A bucket's files, as a folder."""

    def __init__(self, root: Path):
        self._root = root

    def list(self, prefix: str) -> dict[str, str]:
        """Read only the given folder: a lake has far more usage than statements."""
        folder = self._root / prefix.rpartition("/")[0]
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        keys = {file.relative_to(self._root).as_posix(): file for file in files}
        return {key: _version(file) for key, file in keys.items() if key.startswith(prefix)}

    def open(self, key: str) -> BinaryIO:
        return (self._root / key).open("rb")

    def put(self, key: str, parts: Iterable[bytes], replaces: str | None) -> bool:
        file = self._root / key
        if (_version(file) if file.exists() else None) != replaces:
            return False
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.name}.new")
        fresh.write_bytes(b"".join(parts))
        fresh.replace(file)
        return True

    def delete(self, key: str) -> None:
        (self._root / key).unlink(missing_ok=True)


def _version(file: Path) -> str:
    """Different after each write, without reading the file: a write creates a new file."""
    found = file.stat()
    return f"{found.st_ino}-{found.st_mtime_ns}-{found.st_size}"


class NoLake(Exception):
    """The given place has no lake."""

    def __init__(self, lake: Path):
        super().__init__(f"{lake} is not a folder: name the folder of a lake, or s3:// and its bucket for statements")


class UnreadableFileError(Exception):
    """A file of the lake is not a Parquet file of costs."""

    def __init__(self, file: Path, error: Exception):
        super().__init__(f"{file} is truncated or not a file of costs: copy it from the lake again ({error})")


def must_be_folder(lake: Path) -> None:
    if not lake.is_dir():
        raise NoLake(lake)


def objects_of(lake: str) -> Objects:
    """The files of a lake. Raises NoLake."""
    if lake.startswith("s3://"):
        return S3Objects(lake.removeprefix("s3://").strip("/"))
    must_be_folder(Path(lake))
    found = sorted(Path(lake).glob("**/costs"))
    return FolderObjects(found[0].parent if found else Path(lake))


def statements_of(month: str, objects: Objects, delay_days: int = DELAY_DAYS) -> Iterator[tuple[Statement, bool]]:
    """The statement of each tenant, closed or as a draft."""
    costs, files = CostFiles(objects), StatementFiles(objects)
    if month in closed_months(files):
        said = json.loads(files.read(folder(month) + MANIFEST))
        closed = datetime.fromisoformat(said["closes_at"])
        for tenant in said["tenants"]:
            yield Statement.of(tenant, month, closed, from_csv(files.read(folder(month, tenant) + CSV))), True
        return
    chain = Chain.read(files, before=month)
    for tenant, lines in lines_by_tenant(month, chain, costs, files, delay_days, PAGE_LINES):
        yield Statement.of(tenant, month, closes_at(month, delay_days), lines), False


def statement_tables(statement: Statement, *, closed: bool) -> Page:
    """A statement for people."""
    state = "closed" if closed else "a draft, not closed yet"
    sections: list[Table | str] = [f"{statement.tenant_id}, {statement.month}: {state}"]
    if statement.used:
        sections.append(_table([dated.line for dated in statement.used]))
    for day in sorted({dated.day for dated in statement.restated}):
        sections.append(_table([dated.line for dated in statement.restated if dated.day == day], f"restates {day}"))
    costs = _costs(statement)
    amounts = _money(list(costs.values()))
    width = max(map(len, amounts))
    sums = [f"{name:<12}  {amount:>{width}} USD" for name, amount in zip(costs, amounts, strict=True)]
    versions = f"priced with   {', '.join(statement.price_versions) or 'no price'}"
    return [*sections, "\n".join([*sums, versions])]


def statement_as_json(statement: Statement, *, closed: bool) -> dict[str, Any]:
    return {
        "tenant_id": statement.tenant_id,
        "month": statement.month,
        "closed": closed,
        "usd": _costs(statement),
        "price_versions": list(statement.price_versions),
        "lines": [{"day": dated.day} | asdict(dated.line) for dated in statement.lines],
    }


def _costs(statement: Statement) -> dict[str, Decimal | None]:
    parts = {"usage": statement.used, "restatements": statement.restated, "total": statement.lines}
    return {name: getattr(statement, name).cost if lines else ZERO for name, lines in parts.items()}


def write_statement(statement: Statement, out: Path, *, closed: bool) -> None:
    csv = to_csv(statement)
    place = out / f"month={statement.month}" / f"tenant={statement.tenant_id}"
    place.mkdir(parents=True, exist_ok=True)
    (place / CSV).write_bytes(csv)
    (place / PAGE).write_bytes(to_html(statement, digest(csv), draft=not closed))


def verified(objects: Objects) -> Verified:
    """Verify a lake's statements. Raises ChainBroken."""
    return verify(CostFiles(objects), StatementFiles(objects))


def verified_text(objects: Objects) -> str:
    """The same as text. Raises ChainBroken."""
    return in_words(verified(objects))


def in_words(found: Verified) -> str:
    if not found.months:
        return "No month is closed yet.\n"
    waiting = f"\n{found.waiting} restatements or late lines wait for the next statement." if found.waiting else ""
    return (
        f"{found.months[0]} to {found.months[-1]}: {counted(found.statements, 'statement')} with "
        f"{counted(found.lines, 'line')}. "
        f"Every hash, link and sum is valid, and every line is a line of the costs.{waiting}\n"
    )

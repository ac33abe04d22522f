"""Prints what a lake says was used and what it cost, as finance reads it.

    python -m scripts.operate.statements <lake>                                    day by day
    python -m scripts.operate.statements statement <lake> --month 2026-10 [--tenant acme] [--out FOLDER]
    python -m scripts.operate.statements verify <lake>                             is every closed month what it was?

A lake is a folder or s3://bucket (days: a folder). A cost centre is called team_id here. Money is exact: every decimal
that is there is shown. A month that is not closed yet is shown as what its statement would be by now; `--out` writes
its files. `verify` checks each file's hash, each link and each sum against the lines of the costs, and names the first
that does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO

from gateway.aws.lake.parquet import costs_lines
from gateway.aws.lake.statements import CostFiles, StatementFiles
from gateway.aws.s3.objects import Objects, S3Objects
from gateway.costs.cost_lines import CostLine
from gateway.pricing.price_book import ZERO
from gateway.statements.chain import CSV, MANIFEST, PAGE, Chain, closed_months, digest, folder, verify
from gateway.statements.close_month import PAGE_LINES, lines_by_tenant
from gateway.statements.html import to_html
from gateway.statements.statement import Statement, StatementError, closes_at, days_of, from_csv, to_csv
from scripts.project.command import run

DELAY_DAYS = 3
COLUMNS = ("team_id", "model_id", "input_tokens", "output_tokens", "invocations", "input_cost", "output_cost")
NOTES = {
    "failed_invocations": "failed: they used nothing and cost nothing",
    "open_invocations": "still open: not in the costs yet",
    "unsettled_invocations": "unsettled: nobody knows what they used, so they are not in the costs",
    "unpriced_invocations": "unpriced: the price book has no price for them, so they are not in the costs",
}


def costs_in(lake: Path) -> dict[str, list[CostLine]]:
    """The lines of each day, as the files of the lake have them. Raises NoLake."""
    must_be_folder(lake)
    files = sorted(lake.glob("**/costs/dt=*/part-*.parquet"))
    return {file.parent.name.removeprefix("dt="): list(costs_lines(file.read_bytes())) for file in files}


def report(days: dict[str, list[CostLine]]) -> str:
    if not any(days.values()):
        return "Nothing was metered yet.\n"
    shown = ["\n".join([day, *_day(lines), ""]) for day, lines in sorted(days.items()) if lines]
    # Aggregated without a row, as most days of a long backfill.
    empty = sorted(day for day, lines in days.items() if not lines)
    if empty:
        shown.append(f"Nothing was metered on {len(empty)} more days from {empty[0]} to {empty[-1]}.\n")
    return "\n".join(shown)


def _day(lines: Sequence[CostLine]) -> Iterator[str]:
    by_team: dict[tuple[str, str], CostLine] = {}
    for line in lines:
        team = (line.cost_centre, line.model_id)
        # Tenants may use the same name for a cost centre; the report does not know tenants.
        plain = replace(line, tenant_id="")
        by_team[team] = by_team[team] + plain if team in by_team else plain
    total = CostLine("", "total", "")
    for line in by_team.values():
        total += line
    yield from _table([*(line for _, line in sorted(by_team.items())), total])
    notes = [f"{count} {text}" for name, text in NOTES.items() if (count := getattr(total, name))]
    cached = total.cache_read_tokens, total.cache_write_5m_tokens + total.cache_write_1h_tokens
    if any(cached):
        notes.append(f"{cached[0]} tokens read from and {cached[1]} written to a prompt cache are in input_cost")
    if total.images:
        notes.append(f"{total.images} images are in output_cost")
    yield from (f"  {note}" for note in notes)


def _table(lines: Sequence[CostLine]) -> Iterator[str]:
    """Columns as wide as they need to be, numbers on the right, all points of a column below each other."""
    columns: dict[str, list[str]] = defaultdict(list)
    for name in COLUMNS:
        values = [getattr(line, "cost_centre" if name == "team_id" else name) for line in lines]
        columns[name] = _money(values) if name.endswith("_cost") else [str(value) for value in values]
    widths = {name: max(len(name), *map(len, cells)) for name, cells in columns.items()}

    def aligned(cells: Iterable[str]) -> str:
        pairs = zip(widths.items(), cells, strict=True)
        return "  ".join(
            cell.ljust(width) if name.endswith("_id") else cell.rjust(width) for (name, width), cell in pairs
        ).rstrip()

    rule = aligned("-" * width for width in widths.values())
    rows = [aligned(cells) for cells in zip(*columns.values(), strict=True)]
    yield from (aligned(COLUMNS), rule, *rows[:-1], rule, rows[-1])


def _money(amounts: Sequence[Decimal | None]) -> list[str]:
    known = [amount for amount in amounts if amount is not None]
    decimals = max([2, *(_decimals(amount) for amount in known)])
    return ["unknown" if amount is None else f"{amount:.{decimals}f}" for amount in amounts]


def _decimals(amount: Decimal) -> int:
    exponent = amount.normalize().as_tuple().exponent
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0


# ---------------------------------------------------------------------------------------------------------- statements
class FolderObjects:
    """A bucket's files in a folder."""

    def __init__(self, root: Path):
        self._root = root

    def list(self, prefix: str) -> dict[str, str]:
        """Nothing is read but the folder that is named: a lake has far more usage than it has statements."""
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
    """Another one for each write, without reading it: a write makes a new file."""
    found = file.stat()
    return f"{found.st_ino}-{found.st_mtime_ns}-{found.st_size}"


class NoLake(Exception):
    """There is nothing at the place that was named."""

    def __init__(self, lake: Path):
        super().__init__(f"{lake} is no folder: name the folder of a lake, or s3:// and its bucket for statements")


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
    """The statement of each tenant, and whether it is closed or what it would be by now."""
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


def statement_text(statement: Statement, *, closed: bool) -> str:
    """A statement for a terminal."""
    state = "closed" if closed else "a draft, not closed yet"
    parts = [f"{statement.tenant_id}, {statement.month}: {state}", ""]
    if statement.used:
        parts += [*_day([dated.line for dated in statement.used]), ""]
    for day in sorted({dated.day for dated in statement.restated}):
        parts += [f"restates {day}", *_day([dated.line for dated in statement.restated if dated.day == day]), ""]
    parts_of = {"usage": statement.used, "restatements": statement.restated, "total": statement.lines}
    costs = [getattr(statement, name).cost if lines else ZERO for name, lines in parts_of.items()]
    amounts = _money(costs)
    width = max(map(len, amounts))
    parts += [f"{name:<12}  {amount:>{width}} USD" for name, amount in zip(parts_of, amounts, strict=True)]
    return "\n".join([*parts, f"priced with   {', '.join(statement.price_versions) or 'no price'}", ""])


def write_statement(statement: Statement, out: Path, *, closed: bool) -> None:
    csv = to_csv(statement)
    place = out / f"month={statement.month}" / f"tenant={statement.tenant_id}"
    place.mkdir(parents=True, exist_ok=True)
    (place / CSV).write_bytes(csv)
    (place / PAGE).write_bytes(to_html(statement, digest(csv), draft=not closed))


def verified_text(objects: Objects) -> str:
    """What holds of a lake's statements. Raises ChainBroken."""
    found = verify(CostFiles(objects), StatementFiles(objects))
    if not found.months:
        return "No month is closed yet.\n"
    waiting = f"\n{found.waiting} restatements or late lines wait for the next statement." if found.waiting else ""
    return (
        f"{found.months[0]} to {found.months[-1]}: {found.statements} statements with {found.lines} lines. "
        f"Every hash, link and sum holds, and every line is a line of the costs.{waiting}\n"
    )


def main(arguments: Sequence[str]) -> None:
    if not arguments or arguments[0] not in {"statement", "verify"}:
        if len(arguments) != 1 or arguments[0].startswith("-"):
            sys.exit(__doc__)
        try:
            print(report(costs_in(Path(arguments[0]))), end="")
        except NoLake as error:
            sys.exit(str(error))
        return
    parser = argparse.ArgumentParser(prog="python -m scripts.operate.statements")
    commands = parser.add_subparsers(dest="command", required=True)
    of_month = commands.add_parser("statement")
    of_month.add_argument("lake")
    of_month.add_argument("--month", required=True)
    of_month.add_argument("--tenant")
    of_month.add_argument("--out", type=Path)
    of_month.add_argument("--delay-days", type=int, default=DELAY_DAYS)
    commands.add_parser("verify").add_argument("lake")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "verify":
            print(verified_text(objects_of(chosen.lake)), end="")
        else:
            days_of(chosen.month)
            shown = 0
            for statement, closed in statements_of(chosen.month, objects_of(chosen.lake), chosen.delay_days):
                if chosen.tenant in (None, statement.tenant_id):
                    shown += 1
                    print(statement_text(statement, closed=closed))
                    if chosen.out:
                        write_statement(statement, chosen.out, closed=closed)
            if not shown:
                print(f"Nothing was metered in {chosen.month}.")
    except (StatementError, NoLake) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    sys.exit(run(lambda: main(sys.argv[1:])))

"""Prints what a lake says was used and what it cost, day by day, as finance reads it.

    python -m scripts.report <folder of the lake>

A cost centre is called team_id here. Money is exact: every decimal that is there is shown.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from gateway.aggregation import CostLine
from gateway.aws.parquet import costs_lines

COLUMNS = ("team_id", "model_id", "input_tokens", "output_tokens", "invocations", "input_cost", "output_cost")
NOTES = {
    "failed_invocations": "failed: they used nothing and cost nothing",
    "open_invocations": "still open: not in the costs yet",
    "unsettled_invocations": "unsettled: nobody knows what they used, so they are not in the costs",
    "unpriced_invocations": "unpriced: the price book has no price for them, so they are not in the costs",
}


def costs_in(lake: Path) -> dict[str, list[CostLine]]:
    """The lines of each day, as the files of the lake have them."""
    files = sorted(lake.glob("**/costs/dt=*/part-*.parquet"))
    return {file.parent.name.removeprefix("dt="): list(costs_lines(file.read_bytes())) for file in files}


def report(days: dict[str, list[CostLine]]) -> str:
    if not any(days.values()):
        return "Nothing was metered yet.\n"
    return "\n".join("\n".join([day, *_day(lines), ""]) for day, lines in sorted(days.items()))


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


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(report(costs_in(Path(sys.argv[1]))), end="")

"""`gateway focus`."""

from __future__ import annotations

from pathlib import Path

import click

from scripts.operate.cli.commands import FILE, Group, Month, with_json
from scripts.operate.cli.terminal import Bar, print_json, print_line
from scripts.project.words import counted


@click.group(cls=Group, example="gateway focus export --lake .dev/lake --out costs.csv")
def focus() -> None:
    """Export the costs of a lake as FOCUS 1.2.

    The lines equal those of the view `focus` in Athena.
    """


@focus.command(example="gateway focus export --lake .dev/lake --out costs.csv --month 2026-10")
@click.option(
    "--lake", type=FILE, required=True, help="Folder with usage/, costs/ and prices/, copied with `aws s3 sync`."
)
@click.option("--out", type=FILE, required=True, help="File to write: .csv or .parquet.")
@click.option("--month", type=Month(), default=None, help="Billing period; all periods by default.")
@with_json
def export(lake: Path, out: Path, month: str | None, as_json: bool) -> None:
    """Write a lake's costs to a CSV or Parquet file."""
    from scripts.analytics.focus.export import export as write

    with Bar("exporting"):
        lines = write(lake, out, month or "")
    if as_json:
        print_json({"lines": lines, "out": out})
    else:
        print(f"{counted(lines, 'line')} in {out}")


@focus.command(example="gateway focus check")
@with_json
def check(as_json: bool) -> int:
    """Validate the export with the specification's own validator.

    The check uses generated data. It needs Python 3.13, and creates an environment for the validator once. Exit code 1:
    the validator found a fault.
    """
    from scripts.analytics.focus.export import export as write
    from scripts.analytics.focus.validator import check as validate

    told: list[str] = []
    with Bar("validating") as bar:

        def tell(line: str) -> None:
            told.append(line)
            if not as_json:
                with bar.hidden():
                    print_line(line)

        faults = validate(write, tell)
    if as_json:
        print_json({"results": told, "faults": faults})
    else:
        for fault in faults:
            print_line(fault, "red", err=True)
    return 1 if faults else 0

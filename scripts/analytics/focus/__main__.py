"""The costs of a lake as FOCUS 1.2, through the very view that Athena has.

    python -m scripts.analytics.focus export --lake FOLDER --out costs.csv|costs.parquet [--month 2026-10]
    python -m scripts.analytics.focus check     the export of a lake that is made up, by the specification's validator

`--lake` is a folder with usage/, costs/ and prices/, as `aws s3 sync` brings it. `--month` is a billing period.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from scripts.analytics.duckdb_athena import open_lake, quoted
from scripts.analytics.focus.validator import check
from scripts.project.command import run

# Moments as FOCUS writes them; a Parquet file has a type for them.
MOMENTS = ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")
ORDER = "ChargePeriodStart, SubAccountId, x_CostCentre, x_ModelId, ChargeCategory, ChargeClass, SkuPriceId, RegionId"


def export(lake: Path, out: Path, month: str = "") -> int:
    """Write the lines of a lake, and return how many there are."""
    if out.suffix not in {".csv", ".parquet"}:
        raise SystemExit(f"{out.name}: name a .csv or a .parquet file")
    if not any((lake / "costs").rglob("*.parquet")):
        raise SystemExit(f"{lake} has no costs/: name the folder of a lake")
    written = ", ".join(f"strftime({name}, '%Y-%m-%dT%H:%M:%SZ') AS {name}" for name in MOMENTS)
    columns = f"* REPLACE ({written})" if out.suffix == ".csv" else "*"
    options = "FORMAT csv, HEADER" if out.suffix == ".csv" else "FORMAT parquet, COMPRESSION zstd"
    with open_lake(lake) as engine:
        of_month = "$month IN ('', strftime(BillingPeriodStart, '%Y-%m'))"
        engine.execute(f"CREATE TABLE lines AS SELECT * FROM focus WHERE {of_month}", {"month": month})
        engine.execute(f"COPY (SELECT {columns} FROM lines ORDER BY {ORDER}) TO '{quoted(out)}' ({options})")
        count = engine.execute("SELECT count(*) FROM lines").fetchone()
    return int(count[0]) if count else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    exporting = commands.add_parser("export")
    exporting.add_argument("--lake", type=Path, required=True)
    exporting.add_argument("--out", type=Path, required=True)
    exporting.add_argument("--month", default="")
    commands.add_parser("check")
    arguments = parser.parse_args()
    if arguments.command == "check":
        return check(export)
    print(f"{export(arguments.lake, arguments.out, arguments.month)} lines in {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))

"""Exports a lake's costs as FOCUS 1.2 through the same view that Athena has: `gateway focus`."""

from __future__ import annotations

from pathlib import Path

from scripts.analytics.duckdb_athena import open_lake, quoted
from scripts.project.command import CommandFailedError

# Timestamps in FOCUS's text format; a Parquet file has a type for them.
MOMENTS = ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")
ORDER = (
    "ChargePeriodStart, SubAccountId, x_CostCentre, x_ModelId, ChargeCategory, ChargeClass, SkuPriceId, RegionId, "
    "x_KeyId, x_UserId, x_UserSource, Tags, BillingPeriodStart"
)


def export(lake: Path, out: Path, month: str = "") -> int:
    """Write the lines of a lake and return their number. Raises CommandFailedError."""
    if out.suffix not in {".csv", ".parquet"}:
        raise CommandFailedError(f"{out.name}: name a .csv or a .parquet file")
    if not any((lake / "costs").rglob("*.parquet")):
        raise CommandFailedError(f"{lake} has no costs/: name the folder of a lake")
    if not out.parent.is_dir():
        raise CommandFailedError(f"{out.parent} is not a folder: create it, or name another --out")
    written = ", ".join(f"strftime({name}, '%Y-%m-%dT%H:%M:%SZ') AS {name}" for name in MOMENTS)
    columns = f"* REPLACE ({written})" if out.suffix == ".csv" else "*"
    options = "FORMAT csv, HEADER" if out.suffix == ".csv" else "FORMAT parquet, COMPRESSION zstd"
    with open_lake(lake) as engine:
        of_month = "$month IN ('', strftime(BillingPeriodStart, '%Y-%m'))"
        engine.execute(f"CREATE TABLE lines AS SELECT * FROM focus WHERE {of_month}", {"month": month})
        engine.execute(f"COPY (SELECT {columns} FROM lines ORDER BY {ORDER}) TO '{quoted(out)}' ({options})")
        count = engine.execute("SELECT count(*) FROM lines").fetchone()
    return int(count[0]) if count else 0

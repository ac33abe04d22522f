"""Nightly findings in the lake: the columns of each table, declared once, and one file per day.

    reconciliation/dt=2026-11-20/part-0.parquet      the ledger against AWS's own record
    anomalies/dt=2026-11-23/part-0.parquet           tenant-days far outside their past
    forecasts/dt=2026-11-23/part-0.parquet           each tenant's forecast for the month, as of that day

Each write replaces the whole file. A day without findings has a file without rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from gateway.aws.lake.parquet import MOMENT, MONEY_TYPE, open_file, to_file
from gateway.aws.lake.usage_and_costs import ParquetLake
from gateway.aws.s3.objects import Objects, replace_file
from gateway.costs.anomalies import CostAnomaly
from gateway.costs.cost_lines import CostLine
from gateway.costs.forecasts import Forecast
from gateway.reconciliation.records import REASONS, UNITS, Finding, UsageGroup

RECONCILIATION = pa.schema(
    [
        *((name, pa.string()) for name in ("source", "measure", "model_id", "region", "tier", "unit", "usage_type")),
        ("principal", pa.string()),
        ("mapped", pa.bool_()),
        *((name, MONEY_TYPE) for name in ("ledger_quantity", "aws_quantity", "ledger", "aws", "difference", *REASONS)),
        ("above_tolerance", pa.bool_()),
        *((name, pa.int64()) for name in ("open_rows", "unsettled_rows", "unpriced_rows")),
        ("reconciled_at", MOMENT),
    ]
)
ANOMALIES = pa.schema(
    [
        ("tenant_id", pa.string()),
        ("cost", MONEY_TYPE),
        ("usual_cost", MONEY_TYPE),
        ("score", MONEY_TYPE),
        ("compared_days", pa.int64()),
    ]
)
FORECASTS = pa.schema(
    [
        *((name, pa.string()) for name in ("tenant_id", "cost_centre", "month")),
        *((name, MONEY_TYPE) for name in ("month_to_date", "expected", "low", "high", "budget")),
        ("above_budget", pa.bool_()),
        ("history_days", pa.int64()),
    ]
)

# Rows with equal values in these columns are summed as they are read.
_ALIKE = (
    "model_id", "model_used", "region", "service_tier", "operation", "outcome", "price_status", "usage_source",
    "price_rows",
)  # fmt: skip


class FindingsLake:
    """The nightly run's access to the lake: it reads usage and costs, and writes findings."""

    def __init__(self, objects: Objects):
        self._objects = objects
        self._lake = ParquetLake(objects)

    def metered(self, days: Iterable[str]) -> Iterator[UsageGroup]:
        """The rows of these days' usage files, with equal ones summed; a kind may come in several groups."""
        for day in days:
            for key in self._objects.list(f"usage/dt={day}/"):
                with self._objects.open(key) as file:
                    yield from _metered(file)

    def costs(self, days: Iterable[date]) -> Iterator[tuple[date, CostLine]]:
        for day in days:
            for line in self._lake.costs_of_day(day.isoformat()):
                yield day, line

    def replace_reconciliation(self, day: str, findings: Sequence[Finding], at: datetime) -> None:
        self._replace("reconciliation", day, reconciliation_file(findings, at))

    def replace_anomalies(self, day: date, anomalies: Sequence[CostAnomaly]) -> None:
        self._replace("anomalies", day.isoformat(), anomalies_file(anomalies))

    def replace_forecasts(self, day: date, forecasts: Sequence[Forecast]) -> None:
        self._replace("forecasts", day.isoformat(), forecasts_file(forecasts))

    def _replace(self, table: str, day: str, content: bytes) -> None:
        replace_file(self._objects, f"{table}/dt={day}/part-0.parquet", lambda held: content)


def reconciliation_file(findings: Sequence[Finding], at: datetime) -> bytes:
    return _file(RECONCILIATION, [_finding(finding, at) for finding in findings])


def anomalies_file(anomalies: Sequence[CostAnomaly]) -> bytes:
    return _file(ANOMALIES, [asdict(found) | {"usual_cost": found.usual} for found in anomalies])


def forecasts_file(forecasts: Sequence[Forecast]) -> bytes:
    return _file(FORECASTS, [asdict(made) | {"above_budget": made.is_above_budget} for made in forecasts])


def _file(schema: pa.Schema, rows: Sequence[dict[str, Any]]) -> bytes:
    return to_file(pa.Table.from_pylist(rows, schema))


def _finding(finding: Finding, at: datetime) -> dict[str, Any]:
    reasons: dict[str, Any] = dict(finding.reasons)
    return asdict(finding) | reasons | {"difference": finding.difference, "reconciled_at": at}


def _metered(content: BinaryIO) -> Iterator[UsageGroup]:
    file = open_file(content)
    listed = "list_cost" if "list_cost" in file.schema_arrow.names else "cost"
    table = file.read(columns=[*_ALIKE, "started_at", "settled_at", *UNITS, listed], use_threads=False)
    days = {
        "started_on": _day(table["started_at"]),
        "settled_on": pc.fill_null(_day(table["settled_at"]), ""),
    }
    for name, column in days.items():
        table = table.append_column(name, column)
    sums = [*((unit, how) for unit in UNITS for how in ("sum", "max")), (listed, "sum", _SOME), ("started_at", "count")]
    for row in table.group_by([*_ALIKE, *days], use_threads=False).aggregate(sums).to_pylist():
        yield UsageGroup(
            model_id=row["model_id"],
            model_used=row["model_used"],
            region=row["region"],
            tier=row["service_tier"],
            operation=row["operation"],
            outcome=row["outcome"],
            price_status=row["price_status"],
            usage_source=row["usage_source"],
            price_rows=row["price_rows"],
            started_on=row["started_on"],
            settled_on=row["settled_on"],
            rows=row["started_at_count"],
            used={unit: row[f"{unit}_sum"] for unit in UNITS},
            largest={unit: row[f"{unit}_max"] for unit in UNITS},
            list_cost=row[f"{listed}_sum"],
        )


def _day(moments: pa.ChunkedArray) -> pa.ChunkedArray:
    """The day (UTC) of each moment, without reading a time zone database."""
    return moments.cast(pa.timestamp("ms")).cast(pa.date32()).cast(pa.string())


_SOME = pc.ScalarAggregateOptions(min_count=1)

"""Athena's schema of the lake matches the written files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pytest
from cfnlint.decode.cfn_yaml import load  # type: ignore[import-untyped, unused-ignore]

from gateway.aws.lake.findings import ANOMALIES, FORECASTS, RECONCILIATION, FindingsLake
from gateway.aws.lake.parquet import COSTS, QUARANTINE, USAGE
from gateway.aws.lake.prices import KEY, PRICES
from gateway.aws.lake.usage_and_costs import ParquetLake
from gateway.costs.cost_lines import DayCosts
from gateway.costs.pricer import Pricer
from gateway.costs.usage_files import UsageFile
from gateway.pricing.price_book import PriceBook
from tests.rows import page

TEMPLATE = load(str(Path(__file__).parents[2] / "template.yaml"))
TABLES = {
    "usage": ("UsageGlueTable", USAGE),
    "costs": ("CostsGlueTable", COSTS),
    "quarantine": ("QuarantineGlueTable", QUARANTINE),
    "reconciliation": ("ReconciliationGlueTable", RECONCILIATION),
    "anomalies": ("AnomaliesGlueTable", ANOMALIES),
    "forecasts": ("ForecastsGlueTable", FORECASTS),
    "prices": ("PricesGlueTable", PRICES),
}
PROJECTED = [name for name in TABLES if name != "prices"]
GLUE_TYPES = {
    pa.string(): "string",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.timestamp("ms", tz="UTC"): "timestamp",
    pa.decimal128(38, 12): "decimal(38,12)",
    pa.date32(): "date",
    pa.bool_(): "boolean",
}


@pytest.mark.parametrize("name", TABLES)
def test_the_columns_of_glue_are_those_of_parquet(name: str) -> None:
    logical_id, schema = TABLES[name]
    table = TEMPLATE["Resources"][logical_id]["Properties"]["TableInput"]
    assert table["Name"] == name
    assert [(column["Name"], column["Type"]) for column in table["StorageDescriptor"]["Columns"]] == [
        (column.name, GLUE_TYPES[column.type]) for column in schema
    ]


def test_the_prices_are_one_file_where_glue_looks_for_it() -> None:
    table = TEMPLATE["Resources"]["PricesGlueTable"]["Properties"]["TableInput"]
    assert "PartitionKeys" not in table
    assert f"s3://${{LakeBucket}}/{KEY}".startswith(table["StorageDescriptor"]["Location"]["Fn::Sub"])


@pytest.mark.parametrize("name", PROJECTED)
def test_partitions_are_projected_to_where_the_files_lie(name: str) -> None:
    table = TEMPLATE["Resources"][TABLES[name][0]]["Properties"]["TableInput"]
    parameters = table["Parameters"]
    assert parameters["projection.enabled"] == "true"
    assert parameters["projection.dt.range"].endswith(",NOW")
    template = parameters["storage.location.template"]["Fn::Sub"]
    assert set(re.findall(r"\$\{!(\w+)\}", template)) == {key["Name"] for key in table["PartitionKeys"]}
    filled = template.replace("${LakeBucket}", "lake").replace("${!dt}", "2026-11-24").replace("${!hour}", "07")
    assert f"s3://lake/{written(name)}".startswith(filled)


def written(name: str) -> str:
    """The key that the lake writes a table's file to."""
    keys: list[str] = []

    class Keys:
        def list(self, prefix: str) -> dict[str, str]:
            keys.append(prefix)
            return {}

        def open(self, key: str) -> BinaryIO:
            raise NotImplementedError

        def put(self, key: str, parts: Iterable[bytes], replaces: str | None) -> bool:
            keys.append(key)
            return True

        def delete(self, key: str) -> None:
            raise NotImplementedError

    lake, findings = ParquetLake(Keys()), FindingsLake(Keys())
    if name == "costs":
        lake.replace_costs("2026-11-24", lambda held: DayCosts(closed=True))
    elif name == "reconciliation":
        findings.replace_reconciliation("2026-11-24", [], datetime(2026, 11, 25, tzinfo=UTC))
    elif name == "anomalies":
        findings.replace_anomalies(date(2026, 11, 24), [])
    elif name == "forecasts":
        findings.replace_forecasts(date(2026, 11, 24), [])
    else:
        unread = page([{"pk": {"S": "2026-11-24T07#03"}, "sk": {"S": "a#0001"}}])
        lake.replace_usage(UsageFile("2026-11-24T07"), Pricer(PriceBook([])), lambda: [unread], datetime.now(UTC))
    return next(key for key in keys if key.startswith(f"{name}/"))

"""Finance's Athena queries are proven to the last decimal, as far as another engine can prove them."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.aws.lake.parquet import COSTS, costs_file
from gateway.costs.cost_lines import CostLine, DayCosts
from scripts.analytics.athena_check import differences
from scripts.analytics.duckdb_athena import faults, open_lake, queries, question, rows, tables, to_duckdb, views
from scripts.analytics.views import TEMPLATE, schema, section
from scripts.project.template import ROOT, load, of_type

KNOWN = schema()


def test_every_view_and_query_answers_what_was_worked_out(tmp_path: Path) -> None:
    assert list(differences(tmp_path)) == []


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("last_thirty_days", "sum(cost)", "max(cost)"),
        ("last_thirty_days", "'30'", "'29'"),
        ("spent_this_month", "dt <= ", "dt < "),
        ("chargeback_of_last_month", "list_cost - cost", "cost - list_cost"),
        ("failed_or_unsettled", "outcome = 'failed') AS", "outcome = 'open') AS"),
    ],
)
def test_a_query_that_answers_wrongly_is_found(tmp_path: Path, name: str, right: str, wrong: str) -> None:
    text = queries()[name]
    assert right in text
    found = list(differences(tmp_path, {name: text.replace(right, wrong)}))
    assert found
    assert all(difference.startswith(name) for difference in found)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("SELECT input_tokens / nullif(output_tokens, 0) AS x FROM usage", "truncates"),
        ("SELECT CAST(cost AS double) / CAST(list_cost AS double) AS x FROM usage", "nullif"),
        ("SELECT date_diff('hour', started_at, settled_at) AS x FROM usage", "boundaries"),
        ("SELECT substr(dt, 0, 4) AS x FROM usage", "from 1"),
        ("SELECT * FROM usage", "name the columns"),
        ("SELECT avg(cost) AS x FROM usage", "avg of a decimal"),
        ("SELECT regexp_extract(dt, '-') AS x FROM usage", "without a match"),
        ("SELECT date_trunc('month', restated_at) AS x FROM costs", "type differs"),
        ("SELECT approx_distinct(dt) AS x FROM costs", "not exact"),
        ("SELECT array_agg(dt) AS x FROM costs", "not reproducible"),
        ("SELECT dt FROM costs LIMIT 3", "arbitrary rows"),
        ("SELECT substr(dt, 1, 7) AS month, sum(cost) AS c FROM costs GROUP BY month", "GROUP BY month"),
        ("SELECT dt, sum(cost) AS c FROM costs GROUP BY dt HAVING c > 1", "HAVING c"),
        ("SELECT cost AS c FROM costs WHERE c > 1", "'c' could not be resolved"),
        ("SELECT dt FROM costs WHERE dt > current_date", "does not compare text with date"),
        ("SELECT dt FROM costs WHERE dt BETWEEN DATE '2026-01-01' AND DATE '2026-02-01'", "text with date"),
        ("SELECT dt FROM costs WHERE dt IN (DATE '2026-01-01')", "text with date"),
        ("SELECT dt FROM costs WHERE restated_at > '2026-01-01'", "timestamp with text"),
        ("SELECT dt || invocations AS x FROM costs", "text with text"),
        ("SELECT nothing FROM costs", "'nothing' could not be resolved"),
        ("SELECT dt FROM nowhere", "could not be resolved"),
    ],
)
def test_what_athena_reads_in_another_way_is_refused(statement: str, reason: str) -> None:
    assert any(reason in fault for fault in faults(f"-- What?\n{statement}", KNOWN))


def test_a_statement_says_what_it_answers() -> None:
    assert list(faults("SELECT dt FROM costs", KNOWN))
    for text in (*views().values(), *queries().values()):
        assert re.match(r"(Which|What|How|The costs as) .*[?.:]", question(text))


def test_there_are_the_views_and_the_twelve_queries_that_finance_asks_for() -> None:
    asked = {
        "daily_cost", "month_to_date", "top_models", "cost_centre_chargeback", "unpriced_usage", "price_restatements",
        "savings", "what_if", "focus", "user_cost", "key_cost", "tag_cost",
    }  # fmt: skip
    assert asked <= views().keys()
    assert len(queries()) == 12


def test_a_day_is_today_where_it_is_said() -> None:
    assert "2026-11-24" in to_duckdb("SELECT current_date AS today", date(2026, 11, 24))


# --------------------------------------------------------------------------------------------------------- the template
def test_the_template_has_what_the_sql_says() -> None:
    assert section() in TEMPLATE.read_text()


def glue_views() -> dict[str, Any]:
    tables = of_type(load(ROOT / "template.yaml"), "AWS::Glue::Table").values()
    inputs = [properties["TableInput"] for properties in tables]
    return {table["Name"]: table for table in inputs if table["TableType"] == "VIRTUAL_VIEW"}


def deployed(value: Any, database: str) -> str:
    """CloudFormation's result for a text."""
    match value:
        case {"Fn::Join": [between, parts]}:
            return str(between).join(deployed(part, database) for part in parts)
        case {"Fn::Base64": text}:
            return base64.b64encode(deployed(text, database).encode()).decode()
        case {"Fn::Sub": text}:
            return str(text).replace("${AnalyticsDatabase}", database)
    return str(value)


@pytest.mark.parametrize("name", views())
def test_a_view_is_in_the_form_that_athena_keeps(name: str) -> None:
    table = glue_views()[name]
    assert table["Parameters"] == {"presto_view": "true", "comment": "Presto View"}
    assert table["ViewExpandedText"] == "/* Presto View */"
    text = deployed(table["ViewOriginalText"], "lake_of_ours")
    encoded = re.fullmatch(r"/\* Presto View: ([A-Za-z0-9+/=]+) \*/", text)
    assert encoded
    said = json.loads(base64.b64decode(encoded[1]))
    assert said["originalSql"] == views()[name].strip()
    assert (said["catalog"], said["schema"]) == ("awsdatacatalog", "lake_of_ours")
    glue = {"varchar": "string", "integer": "int", "timestamp(3)": "timestamp"}
    assert [(column["Name"], column["Type"]) for column in table["StorageDescriptor"]["Columns"]] == [
        (column["name"], glue.get(column["type"], column["type"])) for column in said["columns"]
    ]


def test_no_statement_holds_anything_that_cloudformation_would_replace() -> None:
    assert not [name for name, text in (views() | queries()).items() if "${" in text]


def test_a_query_that_reads_too_much_is_stopped() -> None:
    (workgroup,) = of_type(load(ROOT / "template.yaml"), "AWS::Athena::WorkGroup").values()
    configuration = workgroup["WorkGroupConfiguration"]
    assert configuration["BytesScannedCutoffPerQuery"] == {"Ref": "AthenaScanLimitBytes"}
    assert configuration["EnforceWorkGroupConfiguration"] is True
    assert configuration["ResultConfiguration"]["OutputLocation"]["Fn::Sub"].endswith("/athena-results/")


# ------------------------------------------------------------------------------------------------------------- the lake
def test_a_lake_without_files_has_every_table_and_view() -> None:
    with open_lake(None) as engine:
        for name in (*tables(), *views()):
            assert engine.execute(f'SELECT count(*) FROM "{name}"').fetchall() == [(0,)]


def test_costs_from_before_there_were_list_prices_are_costs_at_list_prices(tmp_path: Path) -> None:
    old = [name for name in COSTS.names if name not in {"list_cost", "line_kind", "restated_at"}]
    line = CostLine("shop", "a", "m", invocations=1, input_cost=Decimal(2), output_cost=Decimal(1), cost=Decimal(3))
    content = pq.read_table(pa.BufferReader(costs_file(DayCosts((line,)))))
    (tmp_path / "costs/dt=2026-10-01").mkdir(parents=True)
    pq.write_table(content.select(old), tmp_path / "costs/dt=2026-10-01/part-0.parquet")
    with open_lake(tmp_path) as engine:
        asked = "SELECT cost, list_cost, original_cost, restated_cost FROM cost_centre_chargeback"
        assert rows(engine, asked) == [{"cost": 3, "list_cost": 3, "original_cost": 3, "restated_cost": None}]
        assert rows(engine, "SELECT BilledCost, ListCost, ChargeClass FROM focus") == [
            {"BilledCost": 3, "ListCost": 3, "ChargeClass": None}
        ]


def test_moments_are_read_as_utc(tmp_path: Path) -> None:
    at = datetime(2026, 11, 3, 0, 10, tzinfo=UTC)
    line = CostLine("shop", "a", "m", cost=Decimal(1), line_kind="restatement", restated_at=at)
    (tmp_path / "costs/dt=2026-10-31").mkdir(parents=True)
    (tmp_path / "costs/dt=2026-10-31/part-0.parquet").write_bytes(costs_file(DayCosts((line,), closed=True)))
    with open_lake(tmp_path) as engine:
        (found,) = rows(engine, "SELECT restated_at, moment, cause FROM price_restatements")
    assert found == {"restated_at": datetime(2026, 11, 3, 0, 10), "moment": "after the month", "cause": "price"}  # noqa: DTZ001

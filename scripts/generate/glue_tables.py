"""The tables of Glue in template.yaml, from the Parquet schemas: `python -m scripts.generate.glue_tables [--check]`.

Athena computes partitions from the query, so the tables need no crawler and contain a new day immediately.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts.analytics.views import flow
from scripts.generate.lake_columns import TABLES, LakeTable
from scripts.generate.lake_tables import TYPES
from scripts.generate.pages import write_or_check
from scripts.project.template import ROOT

TEMPLATE = ROOT / "template.yaml"
MARKS = re.compile(r"(  # >>> generated from the Parquet schemas .*?\n).*?(  # <<< of the schemas\n)", re.DOTALL)
FORMAT = "org.apache.hadoop.hive.ql.io.parquet"
DAYS = ("type: date", "format: yyyy-MM-dd", "range: 2024-01-01,NOW")
HOURS = ("type: integer", "range: 0,23", 'digits: "2"')
PROJECTED = {"dt": DAYS, "hour": HOURS}


def declaration(of: LakeTable) -> Iterator[str]:
    yield f"  {of.name.capitalize()}GlueTable:"
    yield "    Type: AWS::Glue::Table"
    yield "    Properties:"
    yield "      CatalogId: !Ref AWS::AccountId"
    yield "      DatabaseName: !Ref AnalyticsDatabase"
    yield "      TableInput:"
    yield f"        Name: {of.name}"
    yield f"        Description: {json.dumps(of.means)}"
    yield "        TableType: EXTERNAL_TABLE"
    if of.partitions:
        yield "        Parameters:"
        yield "          classification: parquet"
        yield '          projection.enabled: "true"'
        for key in of.partitions:
            yield from (f"          projection.{key}.{said}" for said in PROJECTED[key])
        folders = "/".join(f"{key}=${{!{key}}}" for key in of.partitions)
        yield f'          storage.location.template: !Sub "s3://${{LakeBucket}}/{of.name}/{folders}/"'
        yield f"        PartitionKeys: [{', '.join(f'{{Name: {key}, Type: string}}' for key in of.partitions)}]"
    else:
        yield "        Parameters: {classification: parquet}"
    yield "        StorageDescriptor:"
    yield f'          Location: !Sub "s3://${{LakeBucket}}/{of.name}/"'
    yield f"          InputFormat: {FORMAT}.MapredParquetInputFormat"
    yield f"          OutputFormat: {FORMAT}.MapredParquetOutputFormat"
    yield f"          SerdeInfo: {{SerializationLibrary: {FORMAT}.serde.ParquetHiveSerDe}}"
    yield from flow("          Columns:", {column.name: TYPES[column.type] for column in of.schema})
    yield ""


def files() -> dict[Path, str]:
    text = TEMPLATE.read_text(encoding="utf-8")
    made = "\n".join(line for of in TABLES for line in declaration(of))
    return {TEMPLATE: MARKS.sub(lambda marks: f"{marks[1]}{made}\n{marks[2]}", text)}


def main() -> int:
    return write_or_check(files(), "the schemas of the lake", sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())

"""A replayed day gives the same report as a spreadsheet worked out by hand."""

from __future__ import annotations

import ast
import csv
import operator
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import boto3
import pytest

from gateway.usage.records import Outcome, TenantId
from scripts.operate.statements import costs_in, report
from tests.workflow.machine import Workflow, row

DATA = Path(__file__).parents[1] / "data"
NUMBERS = ("input_tokens", "output_tokens", "invocations", "input_cost", "output_cost")
OPERATIONS: dict[type, Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: operator.add,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def sheet(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((DATA / name).read_text(encoding="utf-8").splitlines()))


def worked_out(text: str) -> Decimal:
    """The value of an arithmetic cell of the spreadsheet."""

    def value(node: ast.expr) -> Decimal:
        if isinstance(node, ast.BinOp):
            return OPERATIONS[type(node.op)](value(node.left), value(node.right))
        return Decimal(ast.get_source_segment(text, node) or "")

    return value(ast.parse(text, mode="eval").body)


def replay(workflow: Workflow) -> None:
    for number, used in enumerate(sheet("seed_usage.csv")):
        record = row(f"call-{number}", float(used["hour"]), used["model_id"])
        record = replace(record, tenant_id=TenantId(used["tenant_id"]), cost_centre=used["team_id"])
        tokens = {name: int(used[name]) for name in ("input_tokens", "output_tokens")}
        workflow.keep(record, Outcome(used["outcome"]), **tokens)


def test_the_seed_report_of_a_replayed_day_is_the_spreadsheet(workflow: Workflow, tmp_path: Path) -> None:
    replay(workflow)
    workflow.run(24.2)
    (file,) = workflow.files("costs/")
    (tmp_path / file).parent.mkdir(parents=True)
    boto3.client("s3").download_file("lake", file, str(tmp_path / file))
    printed = [line.split() for line in report(costs_in(tmp_path)).splitlines()]
    heads, rows = printed[1], [cells for cells in printed[3:] if len(cells) >= 6 and not cells[0].startswith("-")]
    assert heads == ["team_id", "model_id", *NUMBERS]
    found = {tuple(cells[:-5]): [Decimal(cell) for cell in cells[-5:]] for cells in rows if not cells[-1].isalpha()}
    expected = {
        tuple(filter(None, (line["team_id"], line["model_id"]))): [Decimal(line[name]) for name in NUMBERS]
        for line in sheet("seed_report.csv")
    }
    assert found == expected


@pytest.mark.parametrize("line", sheet("seed_report.csv"), ids=lambda line: f"{line['team_id']} {line['model_id']}")
def test_the_spreadsheet_says_how_it_was_worked_out(line: dict[str, str]) -> None:
    assert worked_out(line["input_arithmetic"]) == Decimal(line["input_cost"])
    assert worked_out(line["output_arithmetic"]) == Decimal(line["output_cost"])


def test_the_spreadsheet_is_of_the_usage_that_is_replayed() -> None:
    used = [line for line in sheet("seed_usage.csv") if line["outcome"] != "failed"]
    *lines, total = sheet("seed_report.csv")
    for line in lines:
        of = [call for call in used if (call["team_id"], call["model_id"]) == (line["team_id"], line["model_id"])]
        assert len(of) == int(line["invocations"])
        for name in ("input_tokens", "output_tokens"):
            assert sum(int(call[name]) for call in of) == int(line[name])
    for name in NUMBERS:
        assert sum(Decimal(line[name]) for line in lines) == Decimal(total[name])

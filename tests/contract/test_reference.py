"""Each page of docs/reference that a machine makes says what its source says."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.generate import errors, events_and_metrics, parameters, reference
from scripts.generate.lake_columns import TABLES, LakeTable
from scripts.generate.pages import write_or_check
from scripts.project.template import ROOT
from tests.contract.contract import TEMPLATE


@pytest.mark.parametrize("module", reference.MODULES, ids=lambda module: module.__name__)
def test_a_generated_page_is_what_its_source_says(module: reference.Generator) -> None:
    assert [file for file, text in module.files().items() if file.read_text(encoding="utf-8") != text] == []


def test_every_page_that_says_that_it_is_generated_is_checked() -> None:
    marked = {page for page in ROOT.glob("docs/reference/*.md") if page.read_text().startswith("<!-- Generated ")}
    made = {file for module in reference.MODULES for file in module.files()}
    assert marked == {file for file in made if file.suffix == ".md"}


def test_a_page_that_is_not_what_its_source_says_is_named_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = ROOT / "docs/reference/parameters.md"
    (text,) = parameters.files().values()
    assert write_or_check({page: text}, "template.yaml", ["--check"]) == 0
    assert write_or_check({page: f"{text}more\n"}, "template.yaml", ["--check"]) == 1
    assert (
        "docs/reference/parameters.md does not agree with template.yaml: run `make generate`" in capsys.readouterr().err
    )
    assert page.read_text(encoding="utf-8") == text


def test_another_parameter_or_code_makes_another_page() -> None:
    template = {
        "Metadata": {"AWS::CloudFormation::Interface": {"ParameterGroups": [{"Label": {"default": "API"}, "Parameters": ["A"]}]}},
        "Parameters": {"A": {"Description": "One | two\n  three.", "Default": 1, "AllowedValues": [1, 2]}},
    }  # fmt: skip
    assert "| `A` | `1` | One \\| two three. One of 1, 2. |" in list(parameters.page(template))
    found = {str(code): [418] for code in errors.CODES}
    assert sum("| 418 |" in line for line in errors.page(found, {})) == len(errors.CODES)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_each_column_of_the_lake_is_explained_and_no_other(table: LakeTable) -> None:
    assert table.columns.keys() == set(table.schema.names)
    for name, column in table.columns.items():
        assert column.means.endswith((".", "…")), name


def test_each_metric_that_the_code_writes_or_an_alarm_reads_is_explained_and_no_other() -> None:
    assert events_and_metrics.measured(errors.sources()) == events_and_metrics.METRICS.keys()
    assert events_and_metrics.alarmed(TEMPLATE) <= events_and_metrics.METRICS.keys()


def test_each_event_that_the_code_sends_or_a_rule_matches_is_explained_and_no_other() -> None:
    code = errors.sources()
    named = {event for name in code.classes if isinstance(event := code.attribute(name, "event"), str)}
    named |= {code.constants[name] for name in ("THRESHOLD_PASSED", "USAGE_PARKED", "DECOY_USED")}
    assert named == events_and_metrics.MEANINGS.keys() == {kind for kind, _ in events_and_metrics.sent()}
    for rule in TEMPLATE["Resources"].values():
        if rule["Type"] == "AWS::Events::Rule" and rule["Properties"]["EventPattern"]["source"] == ["model-gateway"]:
            assert set(rule["Properties"]["EventPattern"]["detail-type"]) <= named

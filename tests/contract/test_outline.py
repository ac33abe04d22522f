"""One finds one's way in template.yaml: by story, with what belongs together side by side, and generated text last."""

from __future__ import annotations

import re
from types import ModuleType

import pytest

from scripts.generate import contents, glue_tables
from scripts.project.outline import SPEC, TEMPLATE, Region, of_spec, of_template, regions
from tests.contract import contract

TEXT = TEMPLATE.read_text(encoding="utf-8")
REGIONS = regions(TEXT)
RESOURCES = contract.TEMPLATE["Resources"]


def region_of(logical_id: str) -> Region:
    (found,) = [region for region in REGIONS if logical_id in {entry.logical_id for entry in region.entries}]
    return found


def test_regions_follow_a_request_and_then_a_cent() -> None:
    assert [region.name for region in REGIONS] == [
        "api", "layers", "tenants", "calls", "jobs", "ledger", "costs", "statements", "reconciliation", "network", "guards",
        "operators", "analytics",
    ]  # fmt: skip


def test_every_resource_is_in_one_region() -> None:
    named = [entry.logical_id for region in REGIONS for entry in region.entries]
    assert len(named) == len(set(named))
    assert set(named) == RESOURCES.keys()
    with pytest.raises(ValueError, match="template.yaml:2: Stray is in no region"):
        regions("Resources:\n  Stray:\n    Type: AWS::SNS::Topic\n")


@pytest.mark.parametrize("function", contract.FUNCTIONS)
def test_a_function_has_its_log_group_and_its_permission_beside_it(function: str) -> None:
    names = [entry.logical_id for entry in region_of(function).entries]
    beside = names[names.index(function) + 1 :][:4]
    stem = function.removesuffix("Function")
    assert f"{stem}Logs" in beside
    if f"{stem}Permission" in RESOURCES:
        assert f"{stem}Permission" in beside


@pytest.mark.parametrize("queue", [name for name, said in RESOURCES.items() if said["Type"] == "AWS::SQS::Queue"])
def test_a_queue_has_its_alarm_in_its_region(queue: str) -> None:
    watching = [
        name
        for name, said in RESOURCES.items()
        if said["Type"] == "AWS::CloudWatch::Alarm"
        and {"Name": "QueueName", "Value": {"Fn::GetAtt": [queue, "QueueName"]}}
        in said["Properties"].get("Dimensions", ())
    ]
    assert watching
    assert {region_of(alarm).name for alarm in watching} == {region_of(queue).name}


def test_what_is_generated_is_last() -> None:
    _, _, after = TEXT.partition("  # >>> generated from the Parquet schemas")
    outside = re.sub(r"^  # >>> generated.*?^  # <<< [^\n]*\n", "", f"  # >>> generated{after}", flags=re.M | re.S)
    assert outside.split() == ["#", "endregion"]


@pytest.mark.parametrize("module", [contents, glue_tables], ids=lambda module: str(module.__name__))
def test_what_is_generated_into_the_template_is_what_its_source_says(module: ModuleType) -> None:
    assert module.files() == {TEMPLATE: TEXT}


def test_another_region_makes_another_table_of_contents() -> None:
    text = TEXT.replace("  # region layers: ", "  # region shared: ")
    assert list(contents.contents(regions(text))) != list(contents.contents(REGIONS))


def test_the_outline_names_the_line_of_each_resource_and_operation() -> None:
    lines, spec = TEXT.splitlines(), SPEC.read_text(encoding="utf-8").splitlines()
    placed = [re.match(r" *(\d+)    (\w+) ", line) for line in of_template(TEXT)]
    assert {said[2] for said in placed if said} == RESOURCES.keys()
    assert all(lines[int(said[1]) - 1] == f"  {said[2]}:" for said in placed if said)
    operations = [re.match(r" *(\d+)    (\w+) +[A-Z]+ /", line) for line in of_spec(SPEC.read_text(encoding="utf-8"))]
    assert {said[2] for said in operations if said} == {
        operation.said["operationId"] for operation in contract.OPERATIONS
    }
    assert all(spec[int(said[1]) - 1] == f"      operationId: {said[2]}" for said in operations if said)

"""The 2024 sample's configuration becomes parameters that the templates have, and nothing of it is dropped unsaid."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from gateway.catalog import Catalog
from gateway.directory import Directory
from scripts.migrate import CannotMigrate, as_parameter, main, migrate
from scripts.template import ROOT, load, refusal
from tests.contract.sam_cli import deployed

FULL: dict[str, Any] = {
    "STACK_PREFIX": "retail_1",
    "BEDROCK_REQUIREMENTS": "boto3>=1.35.38",
    "SAGEMAKER_ENDPOINTS": '{"Mixtral": "mixtral-endpoint"}',
    "VPC_CIDR": "10.10.0.0/16",
    "API_THROTTLING_RATE": 10000,
    "API_BURST_RATE": 5000,
}


def appended(folder: Path, text: str) -> Path:
    """samconfig.toml with what the program says to append."""
    config = folder / "samconfig.toml"
    config.write_text((ROOT / "samconfig.toml").read_text() + "\n" + text)
    return config


def test_a_unit_becomes_an_environment_of_parameters_that_the_template_has(tmp_path: Path) -> None:
    text, notes = migrate([FULL])
    told = deployed(appended(tmp_path, text), "--config-env", "retail-1-model-gateway")
    assert told["stack_name"] == "retail-1-model-gateway"
    parameters = told["parameter_overrides"]
    assert json.loads(parameters["SageMakerEndpoints"]) == {"Mixtral": "mixtral-endpoint"}
    assert (parameters["VpcCidr"], parameters["Network"], parameters["RateLimit"]) == (
        "10.10.0.0/16",
        "private",
        "10000",
    )
    assert parameters.keys() <= load(ROOT / "template.yaml")["Parameters"].keys()
    assert "sam build && sam deploy --config-env retail-1-model-gateway" in notes


@pytest.mark.parametrize("of", [{"PARENT_STACK_PREFIX": "retail_1"}, {"API_GATEWAY_ID": "abc123"}])
def test_a_key_of_its_own_becomes_a_tenant_of_parameters_that_its_template_has(of: dict[str, str]) -> None:
    text, (command, *_) = migrate([{"STACK_PREFIX": "shop", "API_THROTTLING_RATE": 50, **of}])
    assert text == ""
    assert " --stack-name tenant-shop " in command
    given = set(re.findall(r"(\w+)=", command))
    assert given <= load(ROOT / "templates/tenant.yaml")["Parameters"].keys()
    assert {"TenantId", "RateLimit"} < given


@pytest.mark.parametrize(
    "name",
    [
        "Mixtral 8x7B",
        'a "b"',
        "it's",
        "a=b, c=d",
        "\\",
        '\\"',
        "a\\ b",
        "ends with \\",
        "é",
        "😀",
        "a\nb\t",
        "\x7f",
        "#",
        "{}[]",
        "$HOME",
    ],
)
def test_a_name_reaches_cloudformation_as_it_is(tmp_path: Path, name: str) -> None:
    """Through SAM CLI's own reading of samconfig.toml, byte for byte, whatever is in the name."""
    text, _ = migrate([FULL | {"SAGEMAKER_ENDPOINTS": {name: "endpoint", "another": "endpoint-2"}}])
    told = deployed(appended(tmp_path, text), "--config-env", "retail-1-model-gateway")
    parameter = told["parameter_overrides"]["SageMakerEndpoints"]
    assert parameter == as_parameter({name: "endpoint", "another": "endpoint-2"})
    assert json.loads(parameter) == {name: "endpoint", "another": "endpoint-2"}
    assert refusal(load(ROOT / "template.yaml")["Parameters"]["SageMakerEndpoints"], parameter) is None


@pytest.mark.parametrize("said", ["{'Mixtral 8x7B': 'Mixtral-SM-Endpoint'}", '{"Mixtral 8x7B": "Mixtral-SM-Endpoint"}'])
def test_endpoints_may_be_json_or_a_literal_of_python(tmp_path: Path, said: str) -> None:
    text, _ = migrate([FULL | {"SAGEMAKER_ENDPOINTS": said}])
    told = deployed(appended(tmp_path, text), "--config-env", "retail-1-model-gateway")
    assert json.loads(told["parameter_overrides"]["SageMakerEndpoints"]) == {"Mixtral 8x7B": "Mixtral-SM-Endpoint"}


def test_more_endpoints_than_a_parameter_holds_become_an_object_to_put_into_s3() -> None:
    many = {f"model-{number}": f"endpoint-{number}" for number in range(100)}
    text, notes = migrate([FULL | {"SAGEMAKER_ENDPOINTS": many}])
    assert "SageMakerEndpoints" not in text
    (note,) = [note for note in notes if "ModelRoutesUri" in note]
    assert Directory.inline("{}", "{}").with_object(note.partition(": ")[2].partition(": ")[2]).catalog == Catalog(many)


def test_a_unit_that_cannot_be_read_leaves_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "configs.json"
    wrong = {"STACK_PREFIX": "wrong", "SAGEMAKER_ENDPOINTS": "{'a': open('x')}"}
    outside = {"STACK_PREFIX": "outside", "VPC_CIDR": "10.0.0.0/28"}
    file.write_text(json.dumps([wrong, FULL, outside, {"STACK_PREFIX": "shop", "PARENT_STACK_PREFIX": "retail_1"}]))
    with mock.patch.object(sys, "argv", ["migrate", str(file)]):
        assert main() == 1
    said = capsys.readouterr()
    assert "[retail-1-model-gateway.deploy.parameters]" in said.out
    assert "--stack-name tenant-shop " in said.out
    assert "wrong" not in said.out
    assert "wrong-model-gateway: SAGEMAKER_ENDPOINTS is no object" in said.err
    assert "outside-model-gateway: VpcCidr, which is '10.0.0.0/28', must match" in said.err
    file.write_text(json.dumps([FULL]))
    with mock.patch.object(sys, "argv", ["migrate", str(file)]):
        assert main() == 0


def test_what_has_no_counterpart_is_named() -> None:
    _, notes = migrate([FULL | {"NEW_THING": 1}])
    assert any("BEDROCK_REQUIREMENTS is left out" in note for note in notes)
    assert any("NEW_THING is not known" in note for note in notes)


@pytest.mark.parametrize("wrong", [{}, ["x"], [{"SAGEMAKER_ENDPOINTS": "endpoint"}]])
def test_a_wrong_file_is_refused(wrong: Any) -> None:
    with pytest.raises(CannotMigrate):
        migrate(wrong)

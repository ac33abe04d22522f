"""The 2024 sample's configuration becomes parameters that the templates have, and nothing of it is dropped unsaid."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest

from scripts.migrate import CannotMigrate, migrate
from scripts.template import ROOT, load

FULL: dict[str, Any] = {
    "STACK_PREFIX": "retail_1",
    "BEDROCK_REQUIREMENTS": "boto3>=1.35.38",
    "SAGEMAKER_ENDPOINTS": '{"Mixtral": "mixtral-endpoint"}',
    "VPC_CIDR": "10.10.0.0/16",
    "API_THROTTLING_RATE": 10000,
    "API_BURST_RATE": 5000,
}


def test_a_unit_becomes_an_environment_of_parameters_that_the_template_has() -> None:
    text, notes = migrate([FULL])
    told = tomllib.loads(text)["retail-1-model-gateway"]
    assert told["global"]["parameters"]["stack_name"] == "retail-1-model-gateway"
    parameters = dict(each.split("=", 1) for each in told["deploy"]["parameters"]["parameter_overrides"])
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


def test_what_has_no_counterpart_is_named() -> None:
    _, notes = migrate([FULL | {"NEW_THING": 1}])
    assert any("BEDROCK_REQUIREMENTS is left out" in note for note in notes)
    assert any("NEW_THING is not known" in note for note in notes)


@pytest.mark.parametrize("wrong", [{}, ["x"], [{"SAGEMAKER_ENDPOINTS": "endpoint"}]])
def test_a_wrong_file_is_refused(wrong: Any) -> None:
    with pytest.raises(CannotMigrate):
        migrate(wrong)

"""templates/tenant.yaml attaches to template.yaml's exports, and sends requests that the admin API accepts."""

from __future__ import annotations

import re

from gateway.usage.records import is_label
from gateway.web.generated.schemas import Budget, TenantSettings
from scripts.project.template import ROOT, load
from tests.contract.contract import TEMPLATE, everywhere

TENANT = load(ROOT / "templates/tenant.yaml")


def test_it_imports_what_the_gateway_exports() -> None:
    exported = {
        output["Export"]["Name"]["Fn::Sub"].removeprefix("${AWS::StackName}")
        for output in TEMPLATE["Outputs"].values()
        if "Export" in output
    }
    imported = {
        part["Fn::ImportValue"]["Fn::Sub"].removeprefix("${GatewayStack}")
        for _, part in everywhere(TENANT)
        if "Fn::ImportValue" in part
    }
    assert imported == exported == {"-ApiId", "-StageName", "-ManageTenantsArn"}


def test_its_tenant_has_fields_of_the_admin_api() -> None:
    properties = TENANT["Resources"]["Tenant"]["Properties"]
    fields = properties.keys() - {"ServiceToken", "ServiceTimeout", "tenant_id"}
    assert fields <= TenantSettings.model_fields.keys()
    assert properties["budget"]["Fn::If"][1].keys() <= Budget.model_fields.keys()
    label = TENANT["Resources"]["UsagePlanLabel"]["Properties"]["Value"]
    assert properties["usage_plan_key"] == label  # what the authorizer names is what the plan has


def test_it_can_allow_models_arns_and_all_that_a_call_may_name() -> None:
    """A list that only the admin API could set would be taken away by the next update of the stack."""
    properties = TENANT["Resources"]["Tenant"]["Properties"]
    for field, parameter in (("allowed_models", "AllowedModels"), ("allowed_model_arns", "AllowedModelArns")):
        _, given, otherwise = properties[field]["Fn::If"]
        assert (given, otherwise) == ({"Ref": parameter}, {"Ref": "AWS::NoValue"})
        assert TENANT["Parameters"][parameter]["Type"] == "CommaDelimitedList"


def test_its_parameters_let_pass_what_the_gateway_takes() -> None:
    parameters = TENANT["Parameters"]
    for text in ("my-team", "a b", "-a", "a#b", "", "x" * 128, "x" * 129):
        assert bool(re.fullmatch(parameters["TenantId"]["AllowedPattern"], text)) == is_label(text)
    for text, good in (("", True), ("0.12", True), ("100", True), ("-1", False), ("1e9", False), ("1.", False)):
        assert bool(re.fullmatch(parameters["MonthlyUsd"]["AllowedPattern"], text)) == good


def test_it_tells_no_key() -> None:
    assert TENANT["Outputs"].keys() == {"TenantId", "UsagePlanId"}

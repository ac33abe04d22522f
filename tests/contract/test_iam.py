"""A role grants exactly the calls of its function's code. The tests record the calls that the code really makes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.check.roles import Ask, grants, of_functions, table
from scripts.project.template import ROOT, DeclaredFunction, of_type
from tests.contract.contract import FUNCTIONS, PACKAGE, TEMPLATE
from tests.recorded import POLLED, UNSEEN, dynamodb, faults, model_call, s3, sts

# What an operation of botocore needs that IAM knows by another name, or by more than one.
ACTIONS = {
    "transact_write_items": {"PutItem", "UpdateItem", "DeleteItem", "ConditionCheckItem"},
    "list_objects_v2": {"ListBucket"},
    "delete_objects": {"DeleteObject"},
    "put_object": {"PutObject", "GetObject"},
    "assume_role": {"AssumeRole", "TagSession"},
    "create_multipart_upload": {"PutObject"},
    "complete_multipart_upload": {"PutObject"},
    "upload_part": {"PutObject"},
}
# What a library calls for us, and what rides on a call of a model.
CIRCUITS = {"GetItem", "PutItem", "UpdateItem"}
APART = {"aws_lambda_powertools.utilities.circuit_breaker.persistence": CIRCUITS, "urllib3": {"ApplyGuardrail"}}
each_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=list(FUNCTIONS))


def modules(function: DeclaredFunction) -> Iterator[Path]:
    """The files of a function, and all project files that they import."""
    seen: set[Path] = set()
    waiting = list((ROOT / function.code).glob("*.py"))
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        yield path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gateway"):
                way = (node.module or "").split(".")
                asked = (way, *([*way, alias.name] for alias in node.names))
                waiting += [found for part in asked if (found := PACKAGE.joinpath(*part).with_suffix(".py")).exists()]


def within_reach(function: DeclaredFunction) -> set[str]:
    """The actions that the function's code can use: every operation named in a module that it imports."""
    found: set[str] = set()
    for path in modules(function):
        tree = ast.parse(path.read_text())
        if path.is_relative_to(PACKAGE / "gateway/aws") or path.is_relative_to(ROOT / "functions"):
            for node in ast.walk(tree):
                names = [node.attr] if isinstance(node, ast.Attribute) else []
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    names.append(node.value)  # of a paginator, or of a call sent by hand
                if isinstance(node, ast.ImportFrom):
                    found |= APART.get(node.module or "", set())
                if isinstance(node, ast.Import):
                    found |= {action for alias in node.names for action in APART.get(alias.name, set())}
                for name in names:
                    if re.fullmatch(r"[a-z0-9_]+", name):
                        found |= ACTIONS.get(name, {name.title().replace("_", "")})
                    elif re.fullmatch(r"[A-Z][A-Za-z]+", name):
                        found.add(name)
    return found


@each_function
def test_a_role_allows_nothing_that_is_out_of_reach_of_the_code(function: DeclaredFunction) -> None:
    allowed = {grant.action for grant in of_functions(TEMPLATE)[function.logical_id]}
    mapped = [mapping["FunctionName"] for mapping in of_type(TEMPLATE, "AWS::Lambda::EventSourceMapping").values()]
    if {"Ref": function.logical_id} in mapped:
        allowed -= POLLED
    assert {action for action in allowed if action.partition(":")[2] not in within_reach(function)} == set()


# ----------------------------------------------------------------------------------------- the verdict on recorded calls
def template(*statements: dict[str, Any]) -> dict[str, Any]:
    policies = [{"Statement": [{"Effect": "Allow", **statement} for statement in statements]}]
    function = {
        "CodeUri": "functions/one",
        "Environment": {"Variables": {"USAGE_TABLE": {"Ref": "UsageTable"}}},
        "Policies": policies,
    }
    return {"Resources": {"OneFunction": {"Type": "AWS::Serverless::Function", "Properties": function}}}


READS = {"Action": ["dynamodb:GetItem"], "Resource": {"Fn::GetAtt": ["UsageTable", "Arn"]}}
ONLY_KEYS = READS | {"Condition": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["key#*"]}}}
READ = ("functions/one", Ask("dynamodb:GetItem", "USAGE_TABLE"))


def said(template: dict[str, Any], *calls: tuple[str, Ask], whole: bool = True) -> list[str]:
    return [fault for fault in faults(template, set(calls), whole=whole) if not fault.startswith("UNSEEN")]


def test_a_call_that_its_role_allows_is_no_fault() -> None:
    assert said(template(READS), READ) == []


def test_a_call_without_a_grant_is_a_fault_in_whatever_part_of_the_tests() -> None:
    for whole in (True, False):
        (fault,) = said(template(), READ, whole=whole)
        assert "OneFunction calls dynamodb:GetItem on UsageTable" in fault


def test_a_grant_without_a_call_is_a_fault_once_all_was_seen() -> None:
    (fault,) = said(template(READS))
    assert fault.startswith("OneFunction may dynamodb:GetItem on UsageTable, and no test made it do so: test what")
    assert said(template(READS), whole=False) == []


def test_a_call_from_a_folder_that_the_template_does_not_deploy_is_a_fault() -> None:
    assert said(template(READS), READ, ("functions/two", READ[1]), whole=False) == [
        "functions/two calls AWS, and is the CodeUri of no function in template.yaml"
    ]


def test_a_grant_on_a_condition_covers_what_the_condition_lets_pass() -> None:
    def reading(key: str) -> tuple[str, Ask]:
        (ask,) = dynamodb("GetItem", {"TableName": "USAGE_TABLE", "Key": {"pk": {"S": key}}})
        return "functions/one", ask

    assert said(template(ONLY_KEYS), reading("key#1")) == []
    assert "which its role does not allow" in said(template(ONLY_KEYS), reading("tenant#1"))[0]


def test_a_reason_for_what_is_not_seen_is_a_fault_when_there_is_nothing_to_explain() -> None:
    stale = [fault for fault in faults(template(READS), {READ}, whole=True) if fault.startswith("UNSEEN")]
    assert len(stale) == len(UNSEEN)


# -------------------------------------------------------------------------------------------- what a call asks of a role
def actions(asks: Iterator[Ask]) -> list[tuple[str, str]]:
    return [(ask.action, ask.resource) for ask in asks]


def test_a_transaction_asks_for_each_of_its_parts() -> None:
    parts = [{"Put": {"TableName": "a", "Item": {}}}, {"ConditionCheck": {"TableName": "b", "Key": {}}}]
    asked = actions(dynamodb("TransactWriteItems", {"TransactItems": parts}))
    assert asked == [("dynamodb:PutItem", "a"), ("dynamodb:ConditionCheckItem", "b")]


def test_a_write_in_place_of_a_known_version_reads_it() -> None:
    asked = actions(s3("PutObject", {"Bucket": "b", "Key": "k", "IfMatch": '"1"'}))
    assert asked == [("s3:PutObject", "b/k"), ("s3:GetObject", "b/k")]


def test_a_session_with_tags_asks_to_tag_it() -> None:
    asked = actions(sts("AssumeRole", {"RoleArn": "r", "Tags": [{"Key": "tenant_id", "Value": "acme"}]}))
    assert asked == [("sts:AssumeRole", "r"), ("sts:TagSession", "r")]


def test_an_inference_profile_asks_for_the_models_that_it_leads_to() -> None:
    asked = actions(model_call("/model/global.anthropic.claude%3A0/converse-stream", b"{}", {}))
    assert {action for action, _ in asked} == {"bedrock:InvokeModelWithResponseStream"}
    assert [resource.removeprefix("arn:aws:bedrock:") for _, resource in asked] == [
        "us-east-1:123456789012:inference-profile/global.anthropic.claude:0",
        "us-west-2::foundation-model/anthropic.claude:0",
        "::foundation-model/anthropic.claude:0",
    ]


def test_a_guardrail_is_asked_for_beside_the_model() -> None:
    asked = actions(model_call("/model/m/converse", b'{"guardrailConfig": {"guardrailIdentifier": "g"}}', {}))
    assert asked[1] == ("bedrock:ApplyGuardrail", "arn:aws:bedrock:us-east-1:123456789012:guardrail/g")


def test_a_guardrail_with_cross_region_inference_may_be_applied_by_whatever_calls_a_model() -> None:
    """It asks for its profile in the own region and in each that the profile leads to."""
    asked = list(model_call("/model/m/converse", b'{"guardrailConfig": {"guardrailIdentifier": "g"}}', {}))[1:]
    assert sum(":guardrail-profile/us.guardrail.v1:0" in ask.resource for ask in asked) == 3
    callers = {
        name: held for name, held in of_functions(TEMPLATE).items() if "bedrock:InvokeModel" in {g.action for g in held}
    }
    assert len(callers) == 3
    for name, held in callers.items():
        assert [ask for ask in asked if not any(grant.covers(ask) for grant in held)] == [], name


def test_the_role_for_tenants_is_described_with_every_role_that_takes_it() -> None:
    """If a description lists fewer permissions, an operator who follows it gets 403 on the other calls."""
    takers = {name for name, held in of_functions(TEMPLATE).items() if "sts:AssumeRole" in {g.action for g in held}}
    described = TEMPLATE["Parameters"]["TenantRoleArn"]["Description"]
    assert set(re.findall(r"\w+Function\b", described)) == takers


def test_a_statement_under_a_condition_of_the_template_counts_either_way() -> None:
    either = {"Fn::If": ["HasKey", {**READS, "Effect": "Allow"}, {"Ref": "AWS::NoValue"}]}
    assert [str(grant) for grant in grants([either])] == ["dynamodb:GetItem on UsageTable"]


def test_the_table_of_roles_has_every_function() -> None:
    assert all(f"| {name} |" in table(TEMPLATE) for name, function in FUNCTIONS.items() if function.statements)

"""The expanded templates are valid under all their conditions, and moto can create what it supports of them."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.cloudformation.parsing import resource_class_from_type

from scripts.check.expand import DEPLOYMENTS, TEMPLATES, Stack, expand
from scripts.project.template import ROOT
from tests.contract.contract import everywhere

# What moto makes nothing of, and what it makes otherwise than CloudFormation; what refers to these is left out as well.
UNKNOWN_TO_MOTO = {
    "AWS::ApiGateway::Account",
    "AWS::ApiGateway::ApiKey",
    "AWS::ApiGateway::Stage",
    "AWS::ApiGateway::UsagePlan",
    "AWS::ApiGateway::UsagePlanKey",
    "AWS::Athena::NamedQuery",
    "AWS::Athena::WorkGroup",
    "AWS::CloudFront::Distribution",
    "AWS::CloudFront::Function",
    "AWS::CloudFront::ResponseHeadersPolicy",
    "AWS::CloudWatch::Alarm",
    "AWS::Glue::Database",
    "AWS::Glue::Table",
    "AWS::Lambda::Alias",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::Scheduler::Schedule",
    "AWS::WAFv2::LoggingConfiguration",
    "AWS::WAFv2::WebACL",
    "AWS::WAFv2::WebACLAssociation",
}
OTHERWISE_IN_MOTO = {
    "AWS::ApiGateway::Deployment": "It makes no resources and methods of an imported API.",
    "AWS::Lambda::Version": "It asks for the name of a function that was given one.",
}
NAMES = [str(path.relative_to(ROOT)) for path in TEMPLATES]
each_template = pytest.mark.parametrize("name", NAMES)
each_deployment = pytest.mark.parametrize("given", DEPLOYMENTS.values(), ids=DEPLOYMENTS)


@each_template
def test_every_choice_has_a_condition_that_there_is_and_two_answers(name: str) -> None:
    """CloudFormation refuses any other; cfn-lint sees none of it within SAM's policies."""
    template = expand(ROOT / name)
    for where, part in everywhere(template):
        if "Fn::If" in part:
            assert len(part["Fn::If"]) == 3, f"{where} has {len(part['Fn::If']) - 1} answers"
            assert part["Fn::If"][0] in template["Conditions"], where


@each_template
def test_every_condition_is_seen_either_way(name: str) -> None:
    template = expand(ROOT / name)
    stacks = [Stack(template, given) for given in DEPLOYMENTS.values()]
    stay = [one for one in template.get("Conditions", {}) if len({stack.conditions[one] for stack in stacks}) == 1]
    assert not stay, "turn them over by a parameter of DEPLOYMENTS in scripts/check/expand.py"


@each_template
def test_the_plain_cloudformation_has_no_fault(name: str, tmp_path: Path) -> None:
    (tmp_path / "expanded.json").write_text(json.dumps(expand(ROOT / name)))
    program = Path(sys.executable).with_name("cfn-lint")
    command = [str(program), "--non-zero-exit-code", "error", "--format", "parseable"]
    done = subprocess.run([*command, str(tmp_path / "expanded.json")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def refers(part: Any) -> set[str]:
    """The resources that a part of a template names."""
    text = json.dumps(part)
    named = set(re.findall(r'"Ref": "(\w+)"', text)) | set(re.findall(r'"Fn::GetAtt": \[?"(\w+)', text))
    for sub in re.findall(r"\$\{(\w+)(?:\.\w+)*\}", text):
        named.add(sub)
    waits = part.get("DependsOn", [])
    return named | set([waits] if isinstance(waits, str) else waits)


def test_what_moto_knows_nothing_of_is_listed() -> None:
    kinds = {said["Type"] for said in expand(ROOT / "template.yaml")["Resources"].values()}
    unknown = {kind for kind in kinds if resource_class_from_type(kind) is None}
    assert unknown == UNKNOWN_TO_MOTO, "a kind that is new here and unknown to moto belongs on the list"


@pytest.mark.filterwarnings("ignore:Tried to parse")
@each_deployment
def test_moto_makes_every_resource_that_it_knows(given: dict[str, str]) -> None:
    template = expand(ROOT / "template.yaml")
    settled = Stack(template, given).decided()
    left_out = {name for name, said in settled.items() if said["Type"] in UNKNOWN_TO_MOTO | OTHERWISE_IN_MOTO.keys()}
    while more := {name for name, said in settled.items() if refers(said) & left_out} - left_out:
        left_out |= more
    asked = {name: said for name, said in settled.items() if name not in left_out}
    for said in asked.values():
        if said["Type"] == "AWS::ApiGateway::RestApi":
            said["Properties"]["Name"] = said["Properties"]["Body"]["info"]["title"]  # as API Gateway does
    assert len(asked) > 50
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", "")
    with mock_aws():
        s3, cloudformation = boto3.client("s3"), boto3.client("cloudformation")
        s3.create_bucket(Bucket="artifacts")
        for key in ("layer.zip", "function.zip"):
            s3.put_object(Bucket="artifacts", Key=key, Body=code.getvalue())
        body = json.dumps({"Parameters": template["Parameters"], "Resources": asked})
        s3.put_object(Bucket="artifacts", Key="template.json", Body=body)
        cloudformation.create_stack(
            StackName="gateway",
            TemplateURL="https://artifacts.s3.amazonaws.com/template.json",
            Parameters=[
                {"ParameterKey": name, "ParameterValue": text}
                for name, text in given.items()
                if name in template["Parameters"]
            ],
        )
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName="gateway")
        made = {found["LogicalResourceId"] for page in pages for found in page["StackResourceSummaries"]}
    assert made == asked.keys()

"""The resources that a stack leaves behind, and when."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from scripts.check.expand import DEPLOYMENTS, GUARDED, TEMPLATES, Stack, expand
from scripts.project.template import ROOT
from tests.contract.expanded import of_kind, stack

KEPT = {
    "TenantsTable", "UsageTable", "BudgetsTable", "LakeBucket", "PayloadLogsBucket", "Key",
}  # fmt: skip
# AWS::ApiGateway::Account: "When you delete a stack containing this resource, API Gateway can still assume the provided IAM
# role". It goes on naming it, so that a role that went with a failed deployment would end the logs of all APIs.
OF_THE_ACCOUNT = {"AccessLogsRole", "AccessLogsAccount"}


def test_what_is_kept_is_kept_but_for_a_first_deployment_that_fails() -> None:
    """Retain alone leaves tables and buckets behind a stack that never came to be, and so does the next attempt."""
    said = {
        name: (resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy"))
        for path in TEMPLATES
        for given in (GUARDED, {**GUARDED, "AccessLog": "with-role"})
        for name, resource in Stack(expand(path), given).decided().items()
        if "DeletionPolicy" in resource and resource["DeletionPolicy"] != "Delete"
    }
    assert said == dict.fromkeys(KEPT, ("RetainExceptOnCreate", "Retain")) | dict.fromkeys(
        OF_THE_ACCOUNT, ("Retain", "Retain")
    )


def test_the_account_names_a_role_that_stays_as_long_as_it_does() -> None:
    resources = expand(ROOT / "template.yaml")["Resources"]
    assert resources["AccessLogsAccount"]["Properties"]["CloudWatchRoleArn"] == {
        "Fn::GetAtt": ["AccessLogsRole", "Arn"]
    }


# ------------------------------------------------------------------------------------------------------ what is emptied
def needs(resources: dict[str, Any], name: str) -> Iterator[str]:
    """The resources that CloudFormation creates before this one, and deletes after it."""
    said = resources[name]
    text = json.dumps({key: part for key, part in said.items() if key != "DependsOn"})
    named = set(re.findall(r'"Ref": "(\w+)"|"Fn::GetAtt": \["(\w+)"|\$\{(\w+)[.}]', text))
    waits = said.get("DependsOn", [])
    found = {one for group in named for one in group if one} | set([waits] if isinstance(waits, str) else waits)
    yield from found & resources.keys() - {name}


def later(resources: dict[str, Any], name: str) -> set[str]:
    """The resources that CloudFormation deletes after this one."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        fresh = set(needs(resources, waiting.pop())) - seen
        seen |= fresh
        waiting += fresh
    return seen


@pytest.mark.parametrize("given", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_a_stack_that_goes_empties_its_bucket_after_the_last_writer_and_before_the_bucket(
    given: dict[str, str],
) -> None:
    resources = Stack(expand(ROOT / "template.yaml", given), given).decided()
    after = later(resources, "PayloadsEmptied")
    assert {"EmptyPayloadsFunction", "EmptyPayloadsFunctionRole", "EmptyPayloadsLogs", "PayloadsBucket"} <= after
    writers = {
        name
        for name, said in of_kind(resources, "AWS::IAM::Role").items()
        if "s3:PutObject" in json.dumps(said) and "PayloadsBucket" in json.dumps(said)
    }
    assert len(writers) == 3
    for role in writers:
        assert "PayloadsEmptied" in later(resources, role.removesuffix("Role")), role
    # By this it knows that the whole stack goes; see gateway/aws/s3/leftovers.py.
    assert "PayloadsEmptied" in later(resources, "PayloadsBucketPolicy")
    assert "PayloadsBucketPolicy" not in after
    if given.get("Network", "public") != "public":
        # What leads from its subnets to S3, and with it to CloudFormation.
        assert {
            "S3Endpoint",
            "FirstSubnetRoutes",
            "SecondSubnetRoutes",
            "RouteTable",
            "FunctionsSecurityGroup",
        } <= after


def test_nothing_that_serves_requests_may_delete_a_payload() -> None:
    deleting = {
        name
        for name, said in of_kind(stack(), "AWS::IAM::Role").items()
        if "s3:DeleteObject" in json.dumps(said) and "PayloadsBucket" in json.dumps(said)
    }
    assert deleting == {"EmptyPayloadsFunctionRole"}
    sources = json.dumps(list(of_kind(stack(), "AWS::Lambda::Permission").values()))
    assert "EmptyPayloads" not in sources  # CloudFormation calls it by the rights of whoever deletes the stack


def test_every_bucket_that_goes_with_the_stack_is_emptied() -> None:
    resources = stack(PayloadLogging="on")
    going = {name for name in of_kind(resources, "AWS::S3::Bucket") if "DeletionPolicy" not in resources[name]}
    assert going == {"PayloadsBucket"}

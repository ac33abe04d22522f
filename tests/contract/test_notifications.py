"""Notifications reach people: topics and their key admit the senders that AWS documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from scripts.check.expand import DEPLOYMENTS, TEMPLATES, Stack, expand
from scripts.project.template import ROOT
from tests.contract.expanded import of_kind

EVENTS = "events.amazonaws.com"
# SNS developer guide, "Key management": these in a key's policy are "not supported for EventBridge-to-encrypted topics".
NOT_OF_A_KEY = {"aws:sourceaccount", "aws:sourcearn", "aws:sourceorgid"}
POLICIES = {"AWS::KMS::Key": "KeyPolicy", "AWS::SNS::TopicPolicy": "PolicyDocument"}
each_deployment = pytest.mark.parametrize("given", DEPLOYMENTS.values(), ids=DEPLOYMENTS)


def statements(given: dict[str, str], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each statement of the policies of a kind, in every template of the project."""
    for path in TEMPLATES:
        for name, said in of_kind(Stack(expand(path), given).decided(), kind).items():
            for statement in said[POLICIES[kind]]["Statement"]:
                yield name, statement


def services(statement: dict[str, Any]) -> list[str]:
    principal = statement["Principal"]
    named = principal.get("Service", []) if isinstance(principal, dict) else []
    return [named] if isinstance(named, str) else named


def keys(statement: dict[str, Any]) -> set[str]:
    return {key.lower() for test in statement.get("Condition", {}).values() for key in test}


@each_deployment
def test_eventbridge_publishes_to_a_topic_under_no_condition(given: dict[str, str]) -> None:
    """EventBridge guide, "Using resource-based policies": a Condition cannot be used in a topic's policy for it."""
    found = [
        (name, keys(said)) for name, said in statements(given, "AWS::SNS::TopicPolicy") if EVENTS in services(said)
    ]
    assert dict(found).keys() == {"AlarmTopicPolicy", "BudgetTopicPolicy"}
    assert [name for name, conditions in found if conditions] == []


@each_deployment
def test_eventbridge_uses_a_key_under_no_condition_that_it_cannot_meet(given: dict[str, str]) -> None:
    found = [(name, keys(said)) for name, said in statements(given, "AWS::KMS::Key") if EVENTS in services(said)]
    assert [name for name, _ in found] == ["Key"]
    assert [conditions & NOT_OF_A_KEY for _, conditions in found] == [set()]
    # What SNS itself says of each use of a key, whoever publishes; else EventBridge could use it for anything.
    assert [conditions for _, conditions in found] == [{"kms:encryptioncontext:aws:sns:topicarn"}]


@each_deployment
def test_a_rule_of_events_has_a_topic_that_lets_it(given: dict[str, str]) -> None:
    document = expand(ROOT / "template.yaml")
    open_to_events = [
        said["Resource"] for _, said in statements(given, "AWS::SNS::TopicPolicy") if EVENTS in services(said)
    ]
    rules = of_kind(Stack(document, given).decided(), "AWS::Events::Rule")
    assert rules
    for rule in rules.values():
        for target in rule["Targets"]:
            assert target["Arn"] in open_to_events
            assert "RoleArn" not in target  # with one, delivery to encrypted topics may fail (the same page)


def test_a_keys_policy_can_be_changed_by_who_made_it_whoever_administers_it() -> None:
    """KMS, PutKeyPolicy: else "the new key policy will not allow you to update the key policy in the future"."""
    root = {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}}
    for given in DEPLOYMENTS.values():
        said = [statement for _, statement in statements(given, "AWS::KMS::Key")]
        account = [one["Action"] for one in said if one["Principal"] == root and one["Resource"] == "*"]
        assert len(account) == 1
        # What CloudFormation does to make, read and name a key (the resource type's own schema, and that of an alias).
        needed = {
            "PutKeyPolicy",
            "EnableKeyRotation",
            "DescribeKey",
            "GetKeyPolicy",
            "GetKeyRotationStatus",
            "CreateAlias",
        }
        assert account == ["kms:*"] or {f"kms:{action}" for action in needed} <= set(account[0])
        if "AdministratorArn" in given:
            assert not [action for action in account[0] if action in {"kms:Decrypt", "kms:CreateGrant", "kms:*"}]
            (whole,) = [one for one in said if one["Action"] == "kms:*"]
            assert whole["Principal"] == {"AWS": {"Ref": "AdministratorArn"}}

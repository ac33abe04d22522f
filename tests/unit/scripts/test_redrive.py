"""`gateway redrive` finds failed work of a deployed gateway by its stack, and retries it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from scripts.operate import redrive
from scripts.operate.cli.gateway import main
from scripts.operate.redrive import Gateway
from scripts.project.template import ROOT, load

MACHINE = {"StartAt": "Fails", "States": {"Fails": {"Type": "Fail", "Error": "NotProven"}}}
TEMPLATE = {
    "Resources": {
        "JobsDeadLetterQueue": {"Type": "AWS::SQS::Queue"},
        "AggregationDeadLetterQueue": {"Type": "AWS::SQS::Queue"},
        "ReconciliationDeadLetterQueue": {"Type": "AWS::SQS::Queue"},
        "AggregateCosts": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {"DefinitionString": json.dumps(MACHINE), "RoleArn": "arn:aws:iam::123456789012:role/costs"},
        },
    }
}
INPUT = '{"scheduledTime": "2026-11-24T02:10:00Z"}'


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with mock_aws():
        boto3.client("cloudformation").create_stack(StackName="unit-a", TemplateBody=json.dumps(TEMPLATE))
        yield Gateway("unit-a", boto3.client("cloudformation"), boto3.client("sqs"), boto3.client("stepfunctions"))


def runs(gateway: Gateway) -> list[dict[str, Any]]:
    machine = gateway.resource("AggregateCosts")
    found: list[dict[str, Any]] = gateway.stepfunctions.list_executions(stateMachineArn=machine)["executions"]
    return [gateway.stepfunctions.describe_execution(executionArn=run["executionArn"]) for run in found]


def test_what_it_names_is_in_the_template() -> None:
    resources = load(ROOT / "template.yaml")["Resources"]
    assert {*redrive.DEAD_LETTERS.values(), *redrive.STATE_MACHINES.values()} <= resources.keys()


def test_a_start_that_the_scheduler_could_not_make_is_made_once(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.sqs.send_message(QueueUrl=gateway.resource("AggregationDeadLetterQueue"), MessageBody=INPUT)
    assert main(["redrive", "list", "--stack", "unit-a"]) == 0
    assert "aggregation: 1 dead letters" in capsys.readouterr().out
    assert main(["redrive", "aggregation", "--stack", "unit-a"]) == 0
    assert [run["input"] for run in runs(gateway)] == [INPUT]
    assert list(redrive.starts(gateway, "aggregation")) == []


def test_the_run_that_failed_last_is_made_again_for_its_moment(gateway: Gateway) -> None:
    assert redrive.failed(gateway) is None
    arn = gateway.start(INPUT)
    gateway.stepfunctions.stop_execution(executionArn=arn)  # moto runs a machine only where it is told to
    started = redrive.failed(gateway)
    assert started is not None
    assert started.scheduled_time == "2026-11-24T02:10:00Z"
    assert [run["input"] for run in runs(gateway)] == [INPUT, INPUT]


def test_dead_calls_go_back_to_the_queue_that_they_came_from(gateway: Gateway) -> None:
    """By SQS itself, which knows that queue; it does so only where something lies."""
    url = gateway.resource("JobsDeadLetterQueue")
    arn = gateway.dead_letters("jobs")[1]
    with Stubber(gateway.sqs) as sqs:
        for count in ("2", "0"):
            asked = {"QueueUrl": url, "AttributeNames": ["QueueArn", "ApproximateNumberOfMessages"]}
            said = {"QueueArn": arn, "ApproximateNumberOfMessages": count}
            sqs.add_response("get_queue_attributes", {"Attributes": said}, asked)
            if count == "2":
                sqs.add_response("start_message_move_task", {"TaskHandle": "task"}, {"SourceArn": arn})
        assert [redrive.jobs(gateway), redrive.jobs(gateway)] == [2, 0]
        sqs.assert_no_pending_responses()

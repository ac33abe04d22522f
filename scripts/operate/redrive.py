"""Retries failed work in a deployed gateway: `gateway redrive`.

Every retry is idempotent: a call settles once, and a run of the costs covers every hour that is not closed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self

import boto3

DEAD_LETTERS = {
    "jobs": "JobsDeadLetterQueue",
    "aggregation": "AggregationDeadLetterQueue",
    "reconciliation": "ReconciliationDeadLetterQueue",
}
STATE_MACHINE = "AggregateCosts"
STATE_MACHINES = {"aggregation": STATE_MACHINE, "reconciliation": "ReconcileCosts"}


@dataclass(frozen=True)
class Gateway:
    """A stack, and clients for its resources."""

    stack: str
    cloudformation: Any
    sqs: Any
    stepfunctions: Any

    @classmethod
    def of(cls, stack: str) -> Self:
        return cls(stack, *(boto3.client(service) for service in ("cloudformation", "sqs", "stepfunctions")))

    def resource(self, logical_id: str) -> str:
        found = self.cloudformation.describe_stack_resource(StackName=self.stack, LogicalResourceId=logical_id)
        physical: str = found["StackResourceDetail"]["PhysicalResourceId"]
        return physical

    def dead_letters(self, what: str) -> tuple[str, str, int]:
        """The URL of a dead-letter queue, its ARN, and its approximate number of messages."""
        url = self.resource(DEAD_LETTERS[what])
        asked = ["QueueArn", "ApproximateNumberOfMessages"]
        said = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=asked)["Attributes"]
        return url, said["QueueArn"], int(said["ApproximateNumberOfMessages"])

    def messages(self, url: str) -> Iterator[dict[str, Any]]:
        """The messages of a queue, each hidden from other consumers for a minute."""
        while got := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=60).get(
            "Messages"
        ):
            yield from got

    def newest_run(self) -> dict[str, Any] | None:
        machine = self.resource(STATE_MACHINE)
        runs = self.stepfunctions.list_executions(stateMachineArn=machine, maxResults=1)["executions"]
        return runs[0] if runs else None

    def newest_failure(self) -> dict[str, Any] | None:
        machine = self.resource(STATE_MACHINE)
        failed = (
            run
            for status in ("FAILED", "TIMED_OUT", "ABORTED")
            for run in self.stepfunctions.list_executions(stateMachineArn=machine, statusFilter=status, maxResults=1)[
                "executions"
            ]
        )
        return max(failed, key=lambda run: run["startDate"], default=None)

    def start(self, said: str, state_machine: str = STATE_MACHINE) -> str:
        machine = self.resource(state_machine)
        arn: str = self.stepfunctions.start_execution(stateMachineArn=machine, input=said)["executionArn"]
        return arn


class Run(NamedTuple):
    """A run of the cost aggregation."""

    status: str
    began_at: datetime


class Failures(NamedTuple):
    """The approximate number of messages in each dead-letter queue, and the newest run of the costs."""

    dead_letters: dict[str, int]
    newest_run: Run | None


class Restart(NamedTuple):
    """A restarted run, and its scheduled time."""

    execution_arn: str
    scheduled_time: str


def failures(gateway: Gateway) -> Failures:
    dead = {what: gateway.dead_letters(what)[2] for what in DEAD_LETTERS}
    run = gateway.newest_run()
    return Failures(dead, Run(run["status"], run["startDate"]) if run else None)


def jobs(gateway: Gateway) -> int:
    """Move submitted calls back to their queue with SQS's own redrive; returns their approximate number."""
    _, arn, count = gateway.dead_letters("jobs")
    if count:
        gateway.sqs.start_message_move_task(SourceArn=arn)
    return count


def starts(gateway: Gateway, what: str) -> Iterator[str]:
    """Repeat the scheduler's failed starts, and yield the ARN of each execution.

    SQS redrives only messages that came from a queue; a scheduler's message is the input of the run.
    """
    url, _, _ = gateway.dead_letters(what)
    for message in gateway.messages(url):
        arn = gateway.start(message["Body"], STATE_MACHINES[what])
        gateway.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        yield arn


def failed(gateway: Gateway) -> Restart | None:
    """Run the cost aggregation again, for the scheduled time of its newest failed run."""
    run = gateway.newest_failure()
    if run is None:
        return None
    said = gateway.stepfunctions.describe_execution(executionArn=run["executionArn"])["input"]
    return Restart(gateway.start(said), json.loads(said).get("scheduledTime", "no moment"))

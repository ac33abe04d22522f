"""Does again what failed in a deployed gateway: `make redrive ARGS="…"`, or `python -m scripts.operate.redrive`.

    list            what lies in the dead-letter queues, and whether the newest run of the costs failed
    jobs            moves submitted calls back into their queue, to be run again
    aggregation     makes the starts of the cost aggregation that the scheduler could not make
    reconciliation  those of the reconciliation
    failed          runs the cost aggregation again, for the moment of the newest run that failed

All of it may be done twice: a call settles once, and a run of the costs covers every hour that is not closed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3

from scripts.project.command import run

DEAD_LETTERS = {
    "jobs": "JobsDeadLetterQueue",
    "aggregation": "AggregationDeadLetterQueue",
    "reconciliation": "ReconciliationDeadLetterQueue",
}
STATE_MACHINE = "AggregateCosts"


@dataclass(frozen=True)
class Gateway:
    """A stack, and clients for what is in it."""

    stack: str
    cloudformation: Any
    sqs: Any
    stepfunctions: Any

    def resource(self, logical_id: str) -> str:
        found = self.cloudformation.describe_stack_resource(StackName=self.stack, LogicalResourceId=logical_id)
        physical: str = found["StackResourceDetail"]["PhysicalResourceId"]
        return physical

    def dead_letters(self, what: str) -> tuple[str, str, int]:
        """The URL of a dead-letter queue, its ARN, and how many messages lie there, about."""
        url = self.resource(DEAD_LETTERS[what])
        asked = ["QueueArn", "ApproximateNumberOfMessages"]
        said = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=asked)["Attributes"]
        return url, said["QueueArn"], int(said["ApproximateNumberOfMessages"])

    def messages(self, url: str) -> Iterator[dict[str, Any]]:
        """Those of a queue, each hidden from others for a minute."""
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


def show(gateway: Gateway) -> Iterator[str]:
    for what in DEAD_LETTERS:
        yield f"{what}: {gateway.dead_letters(what)[2]} dead letters"
    run = gateway.newest_run()
    yield (
        f"newest run of the costs: {run['status']}, {run['startDate']:%Y-%m-%d %H:%M}" if run else "no run of the costs"
    )


def jobs(gateway: Gateway) -> Iterator[str]:
    _, arn, count = gateway.dead_letters("jobs")
    if count:
        gateway.sqs.start_message_move_task(SourceArn=arn)
    yield f"{count} submitted calls are on their way back to their queue"


def aggregation(gateway: Gateway) -> Iterator[str]:
    return starts(gateway, "aggregation", STATE_MACHINE)


def reconciliation(gateway: Gateway) -> Iterator[str]:
    return starts(gateway, "reconciliation", "ReconcileCosts")


def starts(gateway: Gateway, what: str, state_machine: str) -> Iterator[str]:
    """SQS moves only what came from a queue of its own; a message of the scheduler is the input of the run."""
    url, _, _ = gateway.dead_letters(what)
    made = 0
    for message in gateway.messages(url):
        yield f"started {gateway.start(message['Body'], state_machine)}"
        gateway.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        made += 1
    yield f"{made} starts made"


def failed(gateway: Gateway) -> Iterator[str]:
    run = gateway.newest_failure()
    if run is None:
        yield "no run has failed"
        return
    said = gateway.stepfunctions.describe_execution(executionArn=run["executionArn"])["input"]
    when = json.loads(said).get("scheduledTime", "no moment")
    yield f"started {gateway.start(said)}, for {when}"


COMMANDS: dict[str, Callable[[Gateway], Iterator[str]]] = {
    "list": show, "jobs": jobs, "aggregation": aggregation, "reconciliation": reconciliation, "failed": failed,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="redrive", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("what", choices=COMMANDS)
    parser.add_argument("--stack", default="model-gateway", help="the gateway's stack")
    given = parser.parse_args(arguments)
    clients = (boto3.client(service) for service in ("cloudformation", "sqs", "stepfunctions"))
    for line in COMMANDS[given.what](Gateway(given.stack, *clients)):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))

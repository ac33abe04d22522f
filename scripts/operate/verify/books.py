"""Steps on the results of calls: the hourly costs, the events for people, the views for finance."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from scripts.operate.verify.deployment import PREFIX, Deployment, patience
from scripts.operate.verify.steps import NotAskedError, StepError, must

VIEWS = Path(__file__).parents[2] / "analytics/sql/views"
TABLES = ("usage", "costs")
RUN = 900.0  # seconds allowed for an aggregation
ARRIVAL = 120.0  # seconds allowed for an event's delivery
QUERY = 120.0
UNDER_WAY = {"QUEUED", "RUNNING"}


# ---------------------------------------------------------------------------------------------------------- aggregation
def aggregation(deployment: Deployment) -> str:
    """The scheduled run: for the present time, over every hour that is not closed."""
    run = ended(deployment, json.dumps({"scheduledTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}))
    must(run["status"] == "SUCCEEDED", f"it {run['status']}: {run.get('error')} {str(run.get('cause'))[:300]}")
    found = {prefix: parquet_below(deployment, f"{prefix}/") for prefix in TABLES}
    if not all(found.values()):
        raise NotAskedError(
            "it SUCCEEDED, but no hour with calls has ended yet: run this again ten minutes into the next hour"
        )
    return f"SUCCEEDED; Parquet: {', '.join(f'{count} below {prefix}/' for prefix, count in found.items())}"


def ended(deployment: Deployment, said: str) -> dict[str, Any]:
    """Run AggregateCosts with that input to its end."""
    states = deployment.client("stepfunctions")
    arn = states.start_execution(stateMachineArn=deployment.outputs["AggregateCostsArn"], input=said)["executionArn"]
    with patience(RUN) as time_is_left:
        while True:
            run: dict[str, Any] = states.describe_execution(executionArn=arn)
            if run["status"] != "RUNNING":
                return run
            must(time_is_left(), f"AggregateCosts has run for more than {RUN:.0f} s")
            time.sleep(1)


def parquet_below(deployment: Deployment, prefix: str) -> int:
    """The number of files, up to a thousand."""
    listed = deployment.client("s3").list_objects_v2(Bucket=deployment.outputs["LakeBucketName"], Prefix=prefix)
    return sum(entry["Key"].endswith(".parquet") for entry in listed.get("Contents", ()))


# --------------------------------------------------------------------------------------------------------------- events
def events(deployment: Deployment) -> str:
    """EventBridge reports a failed run to the alarm topic; a temporary queue receives the message."""
    sqs, topic = deployment.client("sqs"), deployment.outputs["AlarmTopicArn"]
    url = listening(deployment, topic)
    began = time.monotonic()
    run = ended(deployment, "{}")
    must(run["status"] == "FAILED", f"a run without its scheduled time {run['status']}")
    with patience(ARRIVAL) as time_is_left:
        while time_is_left():
            for message in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5).get("Messages", ()):
                if run["executionArn"] in message["Body"]:
                    return f"reported within {time.monotonic() - began:.0f} s"
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    raise StepError(f"no message arrives within {ARRIVAL:.0f} s; FailedInvocations of its rule: {lost(deployment)}")


def listening(deployment: Deployment, topic: str) -> str:
    """The URL of a new queue that is subscribed to a topic; this run deletes both."""
    sqs, sns, name = deployment.client("sqs"), deployment.client("sns"), f"{PREFIX}{secrets.token_hex(6)}"
    url = deployment.make(
        f"the queue {name}",
        lambda: str(sqs.create_queue(QueueName=name)["QueueUrl"]),
        lambda url: sqs.delete_queue(QueueUrl=url),
    )
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(takes_from(topic, arn))})
    deployment.make(
        f"the subscription of {name}",
        lambda: sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True),
        lambda told: sns.unsubscribe(SubscriptionArn=told["SubscriptionArn"]),
    )
    return url


def takes_from(topic: str, queue: str) -> dict[str, Any]:
    allowed = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    return {"Version": "2012-10-17", "Statement": [allowed]}


def lost(deployment: Deployment) -> int:
    """The number of the rule's events that EventBridge could not deliver in the last quarter of an hour."""
    now = datetime.now(UTC)
    found = deployment.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Events",
        MetricName="FailedInvocations",
        Dimensions=[{"Name": "RuleName", "Value": deployment.resources["FailedAggregations"][1]}],
        StartTime=now - timedelta(minutes=15),
        EndTime=now + timedelta(minutes=1),
        Period=60,
        Statistics=["Sum"],
    )
    return int(sum(point["Sum"] for point in found["Datapoints"]))


# --------------------------------------------------------------------------------------------------------------- Athena
def athena(deployment: Deployment) -> str:
    """Query every view and table in the deployed workgroup, as its owner would."""
    client, outputs = deployment.client("athena"), deployment.outputs
    names = [*TABLES, *sorted(file.stem for file in VIEWS.glob("*.sql"))]
    asked = {
        name: client.start_query_execution(
            QueryString=f"SELECT * FROM {name} LIMIT 5",
            WorkGroup=outputs["AnalyticsWorkGroupName"],
            QueryExecutionContext={"Database": outputs["AnalyticsDatabaseName"]},
        )["QueryExecutionId"]
        for name in names
    }
    ends: dict[str, Mapping[str, Any]] = {}
    with patience(QUERY) as time_is_left:
        while len(ends) < len(asked):
            for name in asked.keys() - ends.keys():
                status = client.get_query_execution(QueryExecutionId=asked[name])["QueryExecution"]["Status"]
                if status["State"] not in UNDER_WAY:
                    ends[name] = status
            must(time_is_left() or len(ends) == len(asked), f"queries have run for more than {QUERY:.0f} s")
            time.sleep(0.5)
    return must_succeed(ends)


def must_succeed(ends: Mapping[str, Mapping[str, Any]]) -> str:
    failed = [
        f"{name} {status['State']}: {str(status.get('StateChangeReason'))[:200]}"
        for name, status in sorted(ends.items())
        if status["State"] != "SUCCEEDED"
    ]
    must(not failed, "; ".join(failed))
    return f"{len(ends) - len(TABLES)} views and {len(TABLES)} tables return results"

"""A full disk loses calls, but no rows: a call that cannot be recorded is refused before a model runs."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from scripts.dev.stack import LocalStack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux changes the limits of another process")

MODEL = "anthropic.claude-3-haiku-20240307-v1:0"


def call(stack: LocalStack) -> int:
    return requests.post(
        f"{stack.url}/invoke_model",
        params={"model_id": MODEL},
        headers={"x-api-key": stack.tenants[0]["key"]},
        json={"inputs": "What is a ledger?"},
        timeout=60,
    ).status_code


def rows(stack: LocalStack) -> set[str]:
    pages = stack.client("dynamodb").get_paginator("scan").paginate(TableName=stack.info["tables"]["UsageTable"])
    return {item["request_id"]["S"] for page in pages for item in page["Items"] if "request_id" in item}


def served(stack: LocalStack) -> set[str]:
    """The calls that reached the models, by the gateway's own ids."""
    records = requests.get(f"{stack.model_stand_in_url}/_ledger", timeout=10).json()["records"]
    return {record["request_metadata"]["request_id"] for record in records}


@contextmanager
def full(stack: LocalStack, room: int) -> Iterator[None]:
    """The journal of the tables can grow by only so many bytes."""
    pid = stack.info["processes"]["embedded-aws"]
    size = (stack.data / "aws/dynamodb.jsonl").stat().st_size
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + room, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def test_every_call_that_a_model_served_has_its_row_after_the_restart(tmp_path: Path) -> None:
    with LocalStack(tmp_path) as stack:
        assert call(stack) == 200
        with full(stack, 300):  # less than a row
            before = served(stack)
            refused = [call(stack) for _ in range(3)]
            assert all(status >= 500 for status in refused), refused
            assert served(stack) == before, "a model ran for a call without a row"
        for room in (1_100, 1_700, 2_500):  # a row, a row and a hold, and somewhat more
            with full(stack, room):
                call(stack)
        assert [call(stack) for _ in range(3)] == [200] * 3
        assert served(stack) <= rows(stack)
        there = rows(stack)
        stack.restart()
        assert rows(stack) == there, "what is in memory is what is on disk"
        assert call(stack) == 200


def test_what_cannot_be_written_is_not_there(tmp_path: Path) -> None:
    with LocalStack(tmp_path, port=None, environment={"GATEWAY_DEV_EVENTS": "off"}) as stack:
        s3, sqs, dynamodb = stack.client("s3"), stack.client("sqs"), stack.client("dynamodb")
        bucket, queue = stack.info["buckets"]["LakeBucket"], stack.info["queues"]["JobsQueue"]
        table = stack.info["tables"]["TenantsTable"]
        s3.put_object(Bucket=bucket, Key="kept", Body=b"old" * 100)
        first = {"pk": {"S": "t"}, "sk": {"S": "1"}, "name": {"S": "old"}}
        dynamodb.put_item(TableName=table, Item=first)
        sqs.send_message(QueueUrl=queue, MessageBody="kept")

        def items() -> list[Any]:
            found = dynamodb.query(
                TableName=table, KeyConditionExpression="pk = :t", ExpressionAttributeValues={":t": {"S": "t"}}
            )
            return list(found["Items"])

        pid = stack.info["processes"]["embedded-aws"]
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (50, resource.RLIM_INFINITY))
        new = {"Put": {"TableName": table, "Item": {"pk": {"S": "t"}, "sk": {"S": "2"}}}}
        change: dict[str, Any] = {
            "TableName": table,
            "Key": {name: first[name] for name in ("pk", "sk")},
            "UpdateExpression": "SET #n = :n",
            "ExpressionAttributeNames": {"#n": "name"},
            "ExpressionAttributeValues": {":n": {"S": "new"}},
        }
        writes: list[Callable[[], Any]] = [
            lambda: s3.put_object(Bucket=bucket, Key="kept", Body=b"new" * 100),
            lambda: s3.put_object(Bucket=bucket, Key="lost", Body=b"new" * 100),
            lambda: sqs.send_message(QueueUrl=queue, MessageBody="lost"),
            lambda: sqs.receive_message(QueueUrl=queue),
            lambda: dynamodb.update_item(**change),
            lambda: dynamodb.transact_write_items(TransactItems=[new, {"Update": change}]),
            lambda: dynamodb.delete_item(TableName=table, Key=change["Key"]),
        ]
        for write in writes:
            with pytest.raises(ClientError):
                write()
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)

        for _ in range(2):
            assert s3.get_object(Bucket=bucket, Key="kept")["Body"].read() == b"old" * 100
            assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["kept"]
            assert items() == [first]
            stack.restart()
        # What could not be noted as received can be received.
        (message,) = sqs.receive_message(QueueUrl=queue, AttributeNames=["ApproximateReceiveCount"])["Messages"]
        assert (message["Body"], message["Attributes"]["ApproximateReceiveCount"]) == ("kept", "1")

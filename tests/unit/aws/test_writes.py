"""Writes to DynamoDB fail and are retried like boto3's own."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, HTTPClientError
from urllib3.exceptions import ProtocolError

from gateway.aws.clients import client
from gateway.aws.dynamodb.writes import ATTEMPTS, Writes

ITEM = {"pk": {"S": "2026-11-24T10#03"}, "sk": {"S": "r1#0001"}}
LOST = ProtocolError("Connection aborted.")


def refusal(code: str, status: int = 400, **more: Any) -> Any:
    said = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "Because.", **more}
    return SimpleNamespace(status_code=status, content=json.dumps(said).encode())


OUTAGE = SimpleNamespace(status_code=503, content=b"<html>busy</html>")
DONE = SimpleNamespace(status_code=200, content=b"{}", headers={})


def answers(*script: Any) -> list[Any]:
    """The service answers each request with the next of these, the last for ever; every request is kept."""
    seen: list[Any] = []

    def answer(request: Any, **_: Any) -> Any:
        seen.append(request)
        said = script[min(len(seen), len(script)) - 1]
        if isinstance(said, Exception):
            raise said
        return said

    client("dynamodb").meta.events.register_first("before-send.dynamodb.*", answer)
    return seen


@pytest.mark.parametrize(
    "first", [OUTAGE, LOST, refusal("ThrottlingException"), refusal("InternalServerError", 500)], ids=repr
)
def test_what_passes_is_tried_again_after_a_pause_that_grows(first: Any) -> None:
    seen, pauses = answers(first, first, first, DONE), list[float]()
    assert Writes(pauses.append).put_item(TableName="usage", Item=ITEM) == {}
    assert len(seen) == 4
    assert [pause <= most for pause, most in zip(pauses, (1, 2, 4), strict=True)] == [True] * 3


@pytest.mark.parametrize(("last", "kind"), [(OUTAGE, ClientError), (LOST, HTTPClientError)], ids=repr)
def test_an_outage_that_stays_is_an_error_in_the_end(last: Any, kind: type[Exception]) -> None:
    seen = answers(last)
    with pytest.raises(kind):
        Writes(lambda _: None).update_item(TableName="usage", Key=ITEM)
    assert len(seen) == ATTEMPTS


def test_a_condition_that_fails_is_told_at_once_with_the_item_that_is_there() -> None:
    seen = answers(refusal("ConditionalCheckFailedException", Item=ITEM))
    writes = Writes()
    with pytest.raises(client("dynamodb").exceptions.ConditionalCheckFailedException) as failed:
        writes.put_item(TableName="usage", Item=ITEM)
    assert failed.value.response["Item"] == ITEM
    assert failed.value.response["Error"] == {"Code": "ConditionalCheckFailedException", "Message": "Because."}
    assert len(seen) == 1


def test_a_write_is_the_request_that_boto3_sends() -> None:
    seen = answers(DONE)
    item = {**ITEM, "holds": {"M": {"r1#0001": {"B": bytes(range(256))}, "B": {"L": [{"N": "1"}, {"BOOL": True}]}}}}
    request = {"TableName": "usage", "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}
    Writes().put_item(**request)
    client("dynamodb").put_item(**request)
    ours, theirs = seen
    assert (ours.method, ours.url, json.loads(ours.body)) == (theirs.method, theirs.url, json.loads(theirs.body))
    for name in ("content-type", "x-amz-target"):
        assert _text(ours.headers[name]) == _text(theirs.headers[name])
    assert "Credential=test/" in _text(ours.headers["authorization"])
    assert "/us-east-1/dynamodb/aws4_request" in _text(ours.headers["authorization"])


def test_bytes_come_back_as_bytes(aws: None) -> None:
    holds = {"M": {"r1#0001": {"B": bytes(range(256))}, "B": {"S": "text"}}}
    written = Writes().update_item(
        TableName="budgets",
        Key={"pk": {"S": "acme"}},
        UpdateExpression="SET holds = :holds",
        ExpressionAttributeValues={":holds": holds},
        ReturnValues="ALL_NEW",
    )
    assert written["Attributes"]["holds"] == holds
    assert client("dynamodb").get_item(TableName="budgets", Key={"pk": {"S": "acme"}})["Item"]["holds"] == holds


def _text(header: str | bytes) -> str:
    return header.decode() if isinstance(header, bytes) else header

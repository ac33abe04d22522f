"""The embedded AWS, which stores items as bytes and reads only a query's items, returns the same results as moto."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from scripts.dev.stack import LocalStack

TABLE: dict[str, Any] = {
    "TableName": "compared",
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [
        {"AttributeName": "pk", "AttributeType": "S"},
        {"AttributeName": "sk", "AttributeType": "N"},
        {"AttributeName": "colour", "AttributeType": "S"},
    ],
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "by_colour",
            "KeySchema": [{"AttributeName": "colour", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            "Projection": {"ProjectionType": "ALL"},
        }
    ],
}
VALUES: list[Any] = [
    {"S": "é\"\\\n"}, {"N": "12.50"}, {"B": b"\x00\xff"}, {"BOOL": True}, {"NULL": True}, {"SS": ["a", "b"]},
    {"M": {"deep": {"L": [{"N": "1"}, {"S": "red"}, {"M": {}}]}}}, {"S": "x" * 60_000},
]  # fmt: skip


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with LocalStack(tmp_path_factory.mktemp("tables"), port=None) as stack:
        client = stack.client("dynamodb")
        client.create_table(**TABLE)
        yield client


def answer(client: Any, operation: str, request: dict[str, Any]) -> Any:
    """The client's result: the response, or the error's code."""
    try:
        said = getattr(client, operation)(**request)
    except ClientError as error:
        return error.response["Error"]["Code"]
    said.pop("ResponseMetadata")
    said.pop("ConsumedCapacity", None)
    return _in_order(said)


def _in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: sorted(item) if key in {"SS", "NS"} else _in_order(item) for key, item in value.items()}
    return [_in_order(item) for item in value] if isinstance(value, list) else value


def requests(chance: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    def key() -> dict[str, Any]:
        return {"pk": {"S": chance.choice("abc")}, "sk": {"N": str(chance.randrange(-3, 12))}}

    def item() -> dict[str, Any]:
        colour = {"colour": {"S": chance.choice(["red", "blue"])}} if chance.random() < 0.7 else {}
        return key() | colour | {f"v{number}": chance.choice(VALUES) for number in range(chance.randrange(4))}

    def update() -> dict[str, Any]:
        return {
            "Key": key(),
            "UpdateExpression": chance.choice(["SET n = if_not_exists(n, :z) + :o", "REMOVE colour", "ADD n :o"]),
        }

    def with_values(request: dict[str, Any]) -> dict[str, Any]:
        used = {":z": {"N": "0"}, ":o": {"N": "1"}}
        mentioned = {name: value for name, value in used.items() if name in request["UpdateExpression"]}
        return request | ({"ExpressionAttributeValues": mentioned} if mentioned else {})

    name: dict[str, Any] = {"TableName": "compared"}
    absent = {"ConditionExpression": "attribute_not_exists(pk)"}
    ranges = ["", " AND sk > :a", " AND sk BETWEEN :a AND :b", " AND sk = :a"]
    while True:
        page: dict[str, Any] = chance.choice([{}, {"Limit": chance.randrange(1, 6)}])
        match chance.choice(
            ["put", "put", "new", "update", "delete", "transact", "batch", "get", "query", "index", "scan"]
        ):
            case "put":
                yield "put_item", name | {"Item": item()}
            case "new":
                yield "put_item", name | {"Item": item()} | absent
            case "update":
                yield "update_item", name | with_values(update()) | {"ReturnValues": "ALL_NEW"}
            case "delete":
                yield "delete_item", name | {"Key": key(), "ReturnValues": "ALL_OLD"}
            case "transact":
                first, second = key(), key()
                if first != second:
                    actions = [
                        {"Put": name | {"Item": first} | chance.choice([{}, absent])},
                        {"Update": name | with_values(update()) | {"Key": second}},
                    ]
                    yield "transact_write_items", {"TransactItems": actions}
            case "batch":
                items = {str(each["pk"]) + str(each["sk"]): each for each in (item() for _ in range(5))}
                yield (
                    "batch_write_item",
                    {"RequestItems": {"compared": [{"PutRequest": {"Item": each}} for each in items.values()]}},
                )
            case "get":
                yield "get_item", name | {"Key": key()}
            case "query":
                some = chance.choice(ranges)
                values = {":p": {"S": chance.choice("abc")}, ":a": {"N": "2"}, ":b": {"N": "9"}}
                used = {key: value for key, value in values.items() if key in f":p{some}"}
                yield (
                    "query",
                    name
                    | page
                    | {
                        "KeyConditionExpression": "pk = :p" + some,
                        "ExpressionAttributeValues": used,
                        "ScanIndexForward": chance.choice([True, False]),
                    },
                )
            case "index":
                yield (
                    "query",
                    name
                    | page
                    | {
                        "IndexName": "by_colour",
                        "KeyConditionExpression": "colour = :c",
                        "ExpressionAttributeValues": {":c": {"S": chance.choice(["red", "blue", "none"])}},
                    },
                )
            case "scan":
                more = chance.choice([{}, {"FilterExpression": "attribute_exists(colour)"}, {"IndexName": "by_colour"}])
                yield "scan", name | page | more


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_answers_what_moto_answers(packed: Any, seed: int) -> None:
    chance = random.Random(seed)
    # The stack is elsewhere: its client goes through.
    with mock_aws(config={"core": {"passthrough": {"urls": [r"http://127\.0\.0\.1.*"]}}}):
        plain = boto3.client("dynamodb")
        plain.create_table(**TABLE)
        for entry in packed.scan(TableName="compared", ProjectionExpression="pk, sk")["Items"]:
            packed.delete_item(TableName="compared", Key=entry)
        asked = requests(chance)
        for number in range(200):
            operation, request = next(asked)
            start: dict[str, Any] = {}
            while True:  # all pages
                expected, found = (answer(client, operation, request | start) for client in (plain, packed))
                assert found == expected, (number, operation, request | start)
                if not isinstance(expected, dict) or "LastEvaluatedKey" not in expected:
                    break
                start = {"ExclusiveStartKey": expected["LastEvaluatedKey"]}


def test_large_partitions_come_in_pages_of_a_megabyte(packed: Any) -> None:
    for number in range(30):
        text = {"S": f"{number:05d}" * 10_000}
        packed.put_item(TableName="compared", Item={"pk": {"S": "large"}, "sk": {"N": str(number)}, "text": text})
    sizes = []
    for page in packed.get_paginator("query").paginate(
        TableName="compared", KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": {"S": "large"}}
    ):
        sizes.append([item["sk"]["N"] for item in page["Items"]])
    assert [number for page in sizes for number in page] == [str(number) for number in range(30)]
    assert [len(page) for page in sizes] == [19, 11]


def test_what_is_there_after_a_restart_is_what_was_there(tmp_path: Path) -> None:
    chance = random.Random(7)
    with LocalStack(tmp_path, port=None) as stack:
        dynamodb = stack.client("dynamodb")
        table = stack.info["tables"]["TenantsTable"]
        for number in range(120):
            item = {
                "pk": {"S": f"p{chance.randrange(4)}"},
                "sk": {"S": f"s{chance.randrange(9)}"},
                "n": {"N": str(number)},
            }
            if chance.random() < 0.3:
                dynamodb.delete_item(TableName=table, Key={name: item[name] for name in ("pk", "sk")})
            else:
                dynamodb.put_item(TableName=table, Item=item | {"v": chance.choice(VALUES[:7])})
        before = answer(dynamodb, "scan", {"TableName": table})
        stack.restart()
        assert answer(dynamodb, "scan", {"TableName": table}) == before

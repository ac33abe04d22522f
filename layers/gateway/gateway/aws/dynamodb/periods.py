"""The state of the aggregation as items beside the rows of the ledger: pk `periods`, sk an hour or `watermark`.

An hour has an item if it must be done again, with `book_version` if that price book has changed its prices. Under pk
`files`, each hour has an item with the number of its usage files.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from botocore.exceptions import ClientError

from gateway.aws.clients import client
from gateway.aws.dynamodb.items import attributes, conditional
from gateway.costs.periods import start_of

_PERIODS = "periods"
_WATERMARK = "watermark"
_FILES = "files"


class DynamoPeriods:
    """`gateway.costs.periods.Periods` and `Layout` in the ledger's table."""

    def __init__(self, table: str, retention_days: int = 400):
        self._table = table
        self._retention = timedelta(days=retention_days)
        self._dynamodb = client("dynamodb")

    def watermark(self) -> str | None:
        found = self._dynamodb.get_item(TableName=self._table, Key=_key(_WATERMARK), ConsistentRead=True)
        return str(found["Item"]["hour"]["S"]) if "Item" in found else None

    def dirty(self) -> list[str]:
        return self._hours(FilterExpression="attribute_not_exists(book_version)")

    def stale(self) -> list[str]:
        return self._hours(FilterExpression="attribute_exists(book_version)")

    def _hours(self, **condition: Any) -> list[str]:
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :periods AND sk < :watermark",  # hours begin with a digit
            ExpressionAttributeValues=attributes({":periods": _PERIODS, ":watermark": _WATERMARK}),
            ConsistentRead=True,
            **condition,
        )
        return [item["sk"]["S"] for page in pages for item in page["Items"]]

    def mark_dirty(self, hour: str) -> None:
        self._dynamodb.put_item(TableName=self._table, Item=_key(hour))

    def mark_stale(self, hour: str, book_version: str) -> None:
        kept = attributes({"book_version": book_version, "expires_at": self._gone(hour)})
        self._dynamodb.put_item(TableName=self._table, Item=_key(hour) | kept)

    def mark_clean(self, hour: str) -> None:
        self._dynamodb.delete_item(TableName=self._table, Key=_key(hour))

    def advance(self, watermark: str) -> None:
        try:
            self._dynamodb.put_item(
                TableName=self._table,
                Item=_key(_WATERMARK) | attributes({"hour": watermark}),
                ConditionExpression="attribute_not_exists(pk) OR #hour < :hour",
                ExpressionAttributeNames={"#hour": "hour"},
                ExpressionAttributeValues=attributes({":hour": watermark}),
            )
        except ClientError as error:
            if not conditional(error):  # a failed condition means that another run is further
                raise

    def files(self, hour: str, wanted: int) -> int:
        found = self._dynamodb.update_item(
            TableName=self._table,
            Key=attributes({"pk": _FILES, "sk": hour}),
            UpdateExpression="SET parts = if_not_exists(parts, :wanted), expires_at = :gone",
            ExpressionAttributeValues=attributes({":wanted": wanted, ":gone": self._gone(hour)}),
            ReturnValues="ALL_NEW",
        )
        return int(found["Attributes"]["parts"]["N"])

    def _gone(self, hour: str) -> int:
        """When the ledger drops the rows of an hour, so that they cannot be priced any more."""
        return int((start_of(hour) + self._retention).timestamp())


def _key(sk: str) -> dict[str, dict[str, str]]:
    return attributes({"pk": _PERIODS, "sk": sk})

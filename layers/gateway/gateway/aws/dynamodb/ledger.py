"""`gateway.usage.ledger.Ledger` in one table; template.yaml has its keys and indexes."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError

from gateway.aws.clients import STORES, client
from gateway.aws.dynamodb.items import attributes, conditional, instant
from gateway.aws.dynamodb.usage_rows import (
    ROW,
    from_item,
    inspect,
    partition_key,
    row_key,
    settlement,
    tenant_day,
    to_item,
)
from gateway.aws.dynamodb.writes import Writes
from gateway.core.times import hour_of
from gateway.costs.stores import QuarantinedRow
from gateway.usage.ledger import SHARDS, AlreadyReservedError, Partition, UnreadableRowError, shard_of
from gateway.usage.records import RequestId, TenantId, UsageRecord

SCANNED_PAGES = 100  # a megabyte each: the rows of some 150,000 calls
QUERIES_AT_ONCE = 32


def _items_as_they_came(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Bypass botocore's parser for a query's items: they already have their final form, and it takes 70 us each."""
    if response_dict["status_code"] == 200:
        page = json.loads(response_dict["body"])
        customized_response_dict["Items"] = page.pop("Items", [])
        response_dict["body"] = json.dumps(page).encode()


def _page_as_it_came(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Return the page as raw bytes: parsing it as JSON takes half of an aggregation's time."""
    if response_dict["status_code"] == 200:
        customized_response_dict["Page"] = response_dict["body"]
        response_dict["body"] = b"{}"


_AS_TEXT = STORES.merge(Config())  # a distinct Config gives a separate client, with its own hook
_LAST_KEY = re.compile(rb'"LastEvaluatedKey"\s*:\s*')


def _last_key(page: bytes) -> dict[str, Any] | None:
    """The key where the next page begins. The name cannot match inside a string, where its quotes are escaped."""
    if (found := _LAST_KEY.search(page)) is None:
        return None
    key: dict[str, Any]
    key, _ = json.JSONDecoder().raw_decode(page[found.end() : found.end() + 10_000].decode(errors="replace"))
    return key


def _all_of(partition: Partition) -> dict[str, Any]:
    return {
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": attributes({":pk": partition_key(partition)}),
        "ConsistentRead": True,
    }


class DynamoLedger:
    """`gateway.usage.ledger.Ledger` in one table; template.yaml has its keys and indexes."""

    def __init__(self, table: str, retention_days: int = 400):
        self.table = table
        self._retention = timedelta(days=retention_days)
        self._dynamodb = client("dynamodb")
        self._writes = Writes()
        self._dynamodb.meta.events.register(
            "before-parse.dynamodb.Query", _items_as_they_came, unique_id="items-as-they-came"
        )

    def reserve(self, record: UsageRecord) -> None:
        try:
            self._writes.put_item(**self.reserving(record))
        except ClientError as error:
            if not conditional(error):
                raise
            # After a lost response, the retried write finds its own row.
            if "Item" not in error.response or from_item(error.response["Item"]) != record:
                raise AlreadyReservedError(record.request_id, record.attempt) from error

    def reserving(self, record: UsageRecord) -> dict[str, Any]:
        """The conditional put that writes an open row; also valid in a transaction."""
        return {
            "TableName": self.table,
            "Item": to_item(record, self._retention),
            "ConditionExpression": "attribute_not_exists(pk)",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def settle(self, settled: UsageRecord) -> bool:
        try:
            self._writes.update_item(**settlement(self.table, settled))
        except ClientError as error:
            if conditional(error):
                return False
            raise
        return True

    def read(self, partition: Partition) -> Iterator[UsageRecord]:
        return map(from_item, self._query(**_all_of(partition)))

    def pages(self, partition: Partition) -> Iterator[bytes]:
        dynamodb = client("dynamodb", _AS_TEXT)
        dynamodb.meta.events.register("before-parse.dynamodb.Query", _page_as_it_came, unique_id="page-as-it-came")
        request = {"TableName": self.table} | _all_of(partition)
        while True:
            page: bytes = dynamodb.query(**request)["Page"]
            yield page
            if (last := _last_key(page)) is None:
                return
            request["ExclusiveStartKey"] = last

    def inspect(self, partition: Partition, not_after: datetime) -> Iterator[UsageRecord | QuarantinedRow]:
        return (inspect(row, partition.hour, not_after) for row in self._query(**_all_of(partition)))

    def hours_with_rows(self, hours: Collection[str]) -> set[str]:
        """The hours among these that have rows, by a scan, or by queries hour by hour if the table is too large."""
        if (found := self._hours_by_scan()) is not None:
            return found & set(hours)
        with ThreadPoolExecutor(QUERIES_AT_ONCE) as at_once:
            return {hour for hour, some in zip(hours, at_once.map(self._has_rows, hours), strict=True) if some}

    def count(self, hour: str) -> int:
        """The number of rows in an hour."""
        pages = self._dynamodb.get_paginator("query").paginate
        return sum(
            int(page["Count"])
            for shard in range(SHARDS)
            for page in pages(TableName=self.table, Select="COUNT", **_all_of(Partition(hour, shard)))
        )

    def _hours_by_scan(self) -> set[str] | None:
        scan = {"TableName": self.table, "ProjectionExpression": "pk", "ConsistentRead": True}
        found = set[str]()
        for number, page in enumerate(self._dynamodb.get_paginator("scan").paginate(**scan), start=1):
            found |= {row["pk"]["S"][:13] for row in page["Items"] if ROW.fullmatch(row["pk"]["S"])}
            if "LastEvaluatedKey" in page and number >= SCANNED_PAGES:
                return None
        return found

    def _has_rows(self, hour: str) -> bool:
        return any(
            self._dynamodb.query(TableName=self.table, Limit=1, **_all_of(Partition(hour, shard)))["Items"]
            for shard in range(SHARDS)
        )

    def of_tenant(self, tenant_id: TenantId, start: datetime, end: datetime) -> Iterator[UsageRecord]:
        rows = self.inspect_tenant(tenant_id, start, end)
        return (row for row in rows if isinstance(row, UsageRecord))

    def inspect_tenant(
        self, tenant_id: TenantId, start: datetime, end: datetime
    ) -> Iterator[UsageRecord | QuarantinedRow]:
        """A tenant's rows that started in [start, end); an unreadable row comes with the aggregation's reason."""
        day = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        while day < end:
            rows = self._query(
                IndexName="by_tenant",
                KeyConditionExpression="tenant_day = :day AND started_at BETWEEN :start AND :end",
                ExpressionAttributeValues=attributes(
                    {":day": tenant_day(tenant_id, day), ":start": instant(start), ":end": instant(end)}
                ),
            )
            found = (inspect(row, row["pk"]["S"].partition("#")[0], end) for row in rows)
            yield from (one for one in found if isinstance(one, QuarantinedRow) or one.started_at < end)
            day += timedelta(days=1)

    def get(self, request_id: RequestId, attempt: int, started_at: datetime) -> UsageRecord | None:
        partition = Partition(hour_of(started_at), shard_of(request_id))
        found = self._dynamodb.get_item(
            TableName=self.table, Key=row_key(partition, request_id, attempt), ConsistentRead=True
        )
        return from_item(found["Item"]) if "Item" in found else None

    def find(self, request_id: RequestId, near: datetime) -> UsageRecord | None:
        for hour in (near, near - timedelta(hours=1)):
            pk = partition_key(Partition(hour_of(hour), shard_of(request_id)))
            rows = self._query(
                KeyConditionExpression="pk = :pk AND begins_with(sk, :request)",
                ExpressionAttributeValues=attributes({":pk": pk, ":request": f"{request_id}#"}),
                ConsistentRead=True,
                ScanIndexForward=False,
                Limit=1,
            )
            if row := next(rows, None):
                return from_item(row)
        return None

    def expired(self, now: datetime) -> Iterator[UsageRecord]:
        for shard in range(SHARDS):
            keys = self._query(
                IndexName="open_rows",
                KeyConditionExpression="open_shard = :shard AND lease_until < :now",
                ExpressionAttributeValues=attributes({":shard": f"open#{shard:02d}", ":now": instant(now)}),
            )
            yield from filter(None, map(self._still_open, keys))

    def oldest_open(self) -> datetime | None:
        began = [started_at for shard in range(SHARDS) if (started_at := self._first_open(shard)) is not None]
        return min(began, default=None)

    def _first_open(self, shard: int) -> datetime | None:
        """The start of the open call in a shard whose lease ends first."""
        keys = self._query(
            IndexName="open_rows",
            KeyConditionExpression="open_shard = :shard",
            ExpressionAttributeValues=attributes({":shard": f"open#{shard:02d}"}),
            Limit=10,
        )
        return next((record.started_at for record in map(self._still_open, keys) if record), None)

    def _still_open(self, key: Mapping[str, Any]) -> UsageRecord | None:
        """The row of an entry in the index of open rows, which may lag behind; None if it is settled by now."""
        found = self._dynamodb.get_item(
            TableName=self.table, Key={"pk": key["pk"], "sk": key["sk"]}, ConsistentRead=True
        )
        try:
            record = from_item(found["Item"]) if "Item" in found else None
        except UnreadableRowError:  # the aggregation of its hour puts it into quarantine
            return None
        return record if record and record.is_open else None

    def _query(self, **request: Any) -> Iterator[dict[str, Any]]:
        pages: Iterable[Any] = self._dynamodb.get_paginator("query").paginate(TableName=self.table, **request)
        for page in pages:
            yield from page["Items"]

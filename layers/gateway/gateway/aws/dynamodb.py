"""The usage ledger, tenants and kept answers in DynamoDB."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

from boto3.dynamodb.types import TypeSerializer
from botocore.config import Config
from botocore.exceptions import ClientError

from gateway.aws.clients import STORES, client
from gateway.aws.writes import Writes
from gateway.costs.lake import Quarantined
from gateway.costs.price_usage import nonsense
from gateway.usage.ledger import SHARDS, AlreadyReserved, Partition, UnreadableRow, shard_of
from gateway.usage.records import KeyId, ModelId, Outcome, RequestId, TenantId, TokenUsage, UsageRecord

_USAGE_FIELDS = tuple(f.name for f in fields(TokenUsage))
_COUNTS = frozenset(f.name for f in fields(TokenUsage) if f.type == "int")

_RARE = ("asked_model", "routing")  # left out where they say nothing

_serialize = TypeSerializer().serialize

SCANNED_PAGES = 100  # of a megabyte each: the rows of some 150,000 calls
QUERIES_AT_ONCE = 32
_ROW = re.compile(r"\d{4}-\d\d-\d\dT\d\d#\d\d")


def instant(at: datetime) -> str:
    """A moment as sortable text of fixed width: `2026-11-24T01:02:03.000004Z`."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values as DynamoDB attribute values."""
    return {name: _serialize(value) for name, value in values.items()}


def value(attribute: Mapping[str, Any]) -> Any:
    """A string, number (int) or boolean out of an attribute value."""
    ((kind, content),) = attribute.items()
    return int(content) if kind == "N" else content


def conditional(error: ClientError) -> bool:
    """Did a write fail because its condition did not hold?"""
    if error.response["Error"]["Code"] == "TransactionCanceledException":
        reasons = error.response.get("CancellationReasons") or []
        return any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons)
    return bool(error.response["Error"]["Code"] == "ConditionalCheckFailedException")


def row_key(partition: Partition, request_id: str, attempt: int) -> dict[str, Any]:
    return attributes({"pk": _pk(partition), "sk": _sort_key(request_id, attempt)})


def _sort_key(request_id: str, attempt: int) -> str:
    return f"{request_id}#{attempt:04d}"


def _key_of(record: UsageRecord) -> dict[str, Any]:
    return row_key(Partition.of(record), record.request_id, record.attempt)


def _pk(partition: Partition) -> str:
    return f"{partition.hour}#{partition.shard:02d}"


def _tenant_day(tenant_id: str, day: datetime) -> str:
    return f"{tenant_id}#{day:%Y-%m-%d}"


def _to_row(record: UsageRecord, retention: timedelta) -> dict[str, Any]:
    return _key_of(record) | attributes(
        {
            "request_id": record.request_id,
            "attempt": record.attempt,
            "tenant_id": record.tenant_id,
            "cost_centre": record.cost_centre,
            "key_id": record.key_id,
            "operation": record.operation,
            "model_id": record.model_id,
            "model_used": record.model_used,
            "region": record.region,
            "started_at": instant(record.started_at),
            "lease_until": instant(record.lease_until),
            "outcome": record.outcome.value,
            "tenant_day": _tenant_day(record.tenant_id, record.started_at),
            "open_shard": f"open#{Partition.of(record).shard:02d}",
            "expires_at": int((record.started_at + retention).timestamp()),
        }
        | {name: text for name in _RARE if (text := getattr(record, name))}
    )


_TEXTS = (
    "request_id", "tenant_id", "cost_centre", "key_id", "operation", "model_id", "model_used", "region", "started_at",
    "lease_until", "outcome",
)  # fmt: skip
_TEXTS_OR_NONE = ("settled_at", "image_class", "service_tier", "usage_source", "raw", "error_code", *_RARE)


def _from_row(row: Mapping[str, Any]) -> UsageRecord:
    """Raises UnreadableRow where it is none of a usage record."""
    try:
        usage: dict[str, Any] = {name: int(row[name]["N"]) for name in _COUNTS if name in row}
        usage |= {name: row[name]["S"] for name in ("image_class", "service_tier", "raw") if name in row}
        if "usage_source" in row:
            usage["source"] = row["usage_source"]["S"]
        return UsageRecord(
            request_id=RequestId(row["request_id"]["S"]),
            attempt=int(row["attempt"]["N"]),
            tenant_id=TenantId(row["tenant_id"]["S"]),
            cost_centre=row["cost_centre"]["S"],
            key_id=KeyId(row["key_id"]["S"]),
            operation=row["operation"]["S"],
            model_id=ModelId(row["model_id"]["S"]),
            model_used=row["model_used"]["S"],
            region=row["region"]["S"],
            started_at=_aware(row["started_at"]["S"]),
            lease_until=_aware(row["lease_until"]["S"]),
            outcome=Outcome(row["outcome"]["S"]),
            settled_at=_aware(row["settled_at"]["S"]) if "settled_at" in row else None,
            usage=TokenUsage(**usage),
            error_code=row["error_code"]["S"] if "error_code" in row else "",
            **{name: row[name]["S"] for name in _RARE if name in row},
        )
    except (KeyError, ValueError, TypeError) as error:
        raise UnreadableRow(_why(row)) from error


def _aware(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a moment without a zone")
    return at


def _why(row: Mapping[str, Any]) -> str:
    """What is wrong with a row that cannot be read."""
    kinds = dict.fromkeys(_TEXTS + _TEXTS_OR_NONE, "S") | dict.fromkeys(_COUNTS | {"attempt"}, "N")
    for name, kind in kinds.items():
        if name not in row:
            if name in _TEXTS or name == "attempt":
                return f"{name} is missing"
        elif not (isinstance(row[name], Mapping) and isinstance(row[name].get(kind), str)):
            return f"{name} is no {'text' if kind == 'S' else 'number'}"
    for name in sorted(_COUNTS | {"attempt"}):
        if name in row and not re.fullmatch("-?[0-9]+", row[name]["N"]):
            return f"{name} is {row[name]['N']}"
    if row["outcome"]["S"] not in {outcome.value for outcome in Outcome}:
        return f"outcome is {row['outcome']['S']!r}"
    return "a moment is none"


def items(page: bytes) -> list[dict[str, Any]]:
    """The rows of a page."""
    rows: list[dict[str, Any]] = json.loads(page)["Items"]
    return rows


def inspect(row: Mapping[str, Any], hour: str, not_after: datetime) -> UsageRecord | Quarantined:
    """A row as it is to be priced, or why it cannot be."""
    try:
        record = _from_row(row)
        reason = nonsense(record, hour, not_after)
        if not reason and row["sk"]["S"] != _sort_key(record.request_id, record.attempt):
            reason = "its key is that of another attempt"
    except UnreadableRow as error:
        reason = str(error)
    if not reason:
        return record
    return Quarantined(row["pk"]["S"], row["sk"]["S"], reason, json.dumps(row, separators=(",", ":")))


def settlement(table: str, settled: UsageRecord) -> dict[str, Any]:
    """The conditional update that settles an open row; fit for a transaction as well."""
    usage = {name: getattr(settled.usage, name) for name in _USAGE_FIELDS if name != "source"}
    # Counts of zero are left out: a row is read far more often than it is written, and is billed by the byte.
    kept = {name: count for name, count in usage.items() if count}
    kept |= {"outcome": settled.outcome.value, "usage_source": settled.usage.source, "error_code": settled.error_code}
    kept["settled_at"] = instant(settled.settled_at or settled.started_at)
    return {
        "TableName": table,
        "Key": _key_of(settled),
        "UpdateExpression": f"SET {', '.join(f'#{name} = :{name}' for name in kept)} REMOVE open_shard",
        "ConditionExpression": "#outcome = :open",
        "ExpressionAttributeNames": {f"#{name}": name for name in kept},
        "ExpressionAttributeValues": attributes(
            {f":{name}": kept[name] for name in kept} | {":open": Outcome.OPEN.value}
        ),
    }


def _items_as_they_came(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Keep botocore's parser off a query's items: they have their final form already, and it takes 70 us for each."""
    if response_dict["status_code"] == 200:
        page = json.loads(response_dict["body"])
        customized_response_dict["Items"] = page.pop("Items", [])
        response_dict["body"] = json.dumps(page).encode()


def _page_as_it_came(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Not even read as JSON: that takes half of the time of an aggregation."""
    if response_dict["status_code"] == 200:
        customized_response_dict["Page"] = response_dict["body"]
        response_dict["body"] = b"{}"


_AS_TEXT = STORES.merge(Config())  # a client of its own
_LAST_KEY = re.compile(rb'"LastEvaluatedKey"\s*:\s*')


def _last_key(page: bytes) -> dict[str, Any] | None:
    """Where the next page begins. The name can be nothing else: inside a text its quotes would be escaped."""
    if (found := _LAST_KEY.search(page)) is None:
        return None
    key: dict[str, Any]
    key, _ = json.JSONDecoder().raw_decode(page[found.end() : found.end() + 10_000].decode(errors="replace"))
    return key


def _all_of(partition: Partition) -> dict[str, Any]:
    return {
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": attributes({":pk": _pk(partition)}),
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
            self._writes.put_item(
                TableName=self.table,
                Item=_to_row(record, self._retention),
                ConditionExpression="attribute_not_exists(pk)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if not conditional(error):
                raise
            # A write whose answer was lost is retried, and finds its own row.
            if "Item" not in error.response or _from_row(error.response["Item"]) != record:
                raise AlreadyReserved(record.request_id, record.attempt) from error

    def settle(self, settled: UsageRecord) -> bool:
        try:
            self._writes.update_item(**settlement(self.table, settled))
        except ClientError as error:
            if conditional(error):
                return False
            raise
        return True

    def read(self, partition: Partition) -> Iterator[UsageRecord]:
        return map(_from_row, self._query(**_all_of(partition)))

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

    def inspect(self, partition: Partition, not_after: datetime) -> Iterator[UsageRecord | Quarantined]:
        return (inspect(row, partition.hour, not_after) for row in self._query(**_all_of(partition)))

    def hours_with_rows(self, hours: Collection[str]) -> set[str]:
        """Those of these hours that have rows: by a scan, or, where the table is too large for one, hour by hour."""
        if (found := self._hours_by_scan()) is not None:
            return found & set(hours)
        with ThreadPoolExecutor(QUERIES_AT_ONCE) as at_once:
            return {hour for hour, some in zip(hours, at_once.map(self._has_rows, hours), strict=True) if some}

    def count(self, hour: str) -> int:
        """How many rows an hour has."""
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
            found |= {row["pk"]["S"][:13] for row in page["Items"] if _ROW.fullmatch(row["pk"]["S"])}
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
    ) -> Iterator[UsageRecord | Quarantined]:
        """A tenant's rows that started in [start, end), or why one cannot be read, as the aggregation sees it."""
        day = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        while day < end:
            rows = self._query(
                IndexName="by_tenant",
                KeyConditionExpression="tenant_day = :day AND started_at BETWEEN :start AND :end",
                ExpressionAttributeValues=attributes(
                    {":day": _tenant_day(tenant_id, day), ":start": instant(start), ":end": instant(end)}
                ),
            )
            found = (inspect(row, row["pk"]["S"].partition("#")[0], end) for row in rows)
            yield from (one for one in found if isinstance(one, Quarantined) or one.started_at < end)
            day += timedelta(days=1)

    def get(self, request_id: RequestId, attempt: int, started_at: datetime) -> UsageRecord | None:
        partition = Partition(started_at.astimezone(UTC).strftime("%Y-%m-%dT%H"), shard_of(request_id))
        found = self._dynamodb.get_item(
            TableName=self.table, Key=row_key(partition, request_id, attempt), ConsistentRead=True
        )
        return _from_row(found["Item"]) if "Item" in found else None

    def find(self, request_id: RequestId, near: datetime) -> UsageRecord | None:
        for hour in (near, near - timedelta(hours=1)):
            pk = _pk(Partition(hour.astimezone(UTC).strftime("%Y-%m-%dT%H"), shard_of(request_id)))
            rows = self._query(
                KeyConditionExpression="pk = :pk AND begins_with(sk, :request)",
                ExpressionAttributeValues=attributes({":pk": pk, ":request": f"{request_id}#"}),
                ConsistentRead=True,
                ScanIndexForward=False,
                Limit=1,
            )
            if row := next(rows, None):
                return _from_row(row)
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
        """When the call of a shard began whose lease ends first."""
        keys = self._query(
            IndexName="open_rows",
            KeyConditionExpression="open_shard = :shard",
            ExpressionAttributeValues=attributes({":shard": f"open#{shard:02d}"}),
            Limit=10,
        )
        return next((record.started_at for record in map(self._still_open, keys) if record), None)

    def _still_open(self, key: Mapping[str, Any]) -> UsageRecord | None:
        """The row behind an entry of the index of open rows, which may lag behind; None where it is settled by now."""
        found = self._dynamodb.get_item(
            TableName=self.table, Key={"pk": key["pk"], "sk": key["sk"]}, ConsistentRead=True
        )
        try:
            record = _from_row(found["Item"]) if "Item" in found else None
        except UnreadableRow:  # it goes into quarantine with its hour
            return None
        return record if record and record.is_open else None

    def _query(self, **request: Any) -> Iterator[dict[str, Any]]:
        pages: Iterable[Any] = self._dynamodb.get_paginator("query").paginate(TableName=self.table, **request)
        for page in pages:
            yield from page["Items"]

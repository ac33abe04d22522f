"""Idempotency keys in DynamoDB, with large answers in S3."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from gateway.aws.clients import client
from gateway.aws.dynamodb.items import attributes, conditional, instant, moment, value
from gateway.aws.dynamodb.usage_rows import settlement
from gateway.aws.s3.payloads import Payloads
from gateway.calls.idempotency import IdempotencyRecord
from gateway.calls.jobs import JobResult
from gateway.usage.records import RequestId, UsageRecord

# The entry still belongs to this request and has no answer.
_MINE = "request_id = :mine AND attribute_not_exists(ended)"
_TRIES = 5


class IdempotencyTable:
    """`gateway.calls.idempotency.IdempotencyStore`."""

    def __init__(self, table: str, usage_table: str, payloads: Payloads):
        self.table = table
        self._usage_table = usage_table
        self._payloads = payloads
        self._dynamodb = client("dynamodb")

    def begin(self, entry: IdempotencyRecord, expires: datetime, now: datetime) -> IdempotencyRecord | None:
        # DynamoDB deletes expired items late.
        free = "attribute_not_exists(id) OR expires_at <= :now"
        return self._put(entry, expires, free, {":now": int(now.timestamp())})

    def take_over(
        self, dead: IdempotencyRecord, entry: IdempotencyRecord, expires: datetime
    ) -> IdempotencyRecord | None:
        return self._put(entry, expires, _MINE, {":mine": dead.request_id})

    def _put(
        self, entry: IdempotencyRecord, expires: datetime, condition: str, values: dict[str, Any]
    ) -> IdempotencyRecord | None:
        item = {
            "id": entry.key,
            "fingerprint": entry.fingerprint,
            "request_id": entry.request_id,
            "lease_until": instant(entry.lease_until),
            "expires_at": _epoch(expires),
        }
        try:
            self._dynamodb.put_item(
                TableName=self.table,
                Item=attributes(item),
                ConditionExpression=condition,
                ExpressionAttributeValues=attributes(values),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if not conditional(error) and error.response["Error"]["Code"] != "TransactionConflictException":
                raise
            found = error.response.get("Item") or self._read(entry.key)
            # No item: another request has just released the key, so the next retry will get it.
            there = self._entry(found) if found else entry
            # After a lost response, boto3's retry finds its own entry.
            return None if found and there.request_id == entry.request_id else there
        return None

    def finish(
        self, entry: IdempotencyRecord, ended: JobResult, settled: Sequence[UsageRecord], expires: datetime
    ) -> bool:
        end: dict[str, Any] = {
            "TableName": self.table,
            "Key": attributes({"id": entry.key}),
            "ConditionExpression": _MINE,
            "ExpressionAttributeValues": attributes({":mine": entry.request_id}),
        }
        if ended.error:
            write = {"Delete": end}
        else:
            kept = self._payloads.pack(f"answers/{entry.request_id}.json", vars(ended))
            end["UpdateExpression"] = "SET ended = :ended, expires_at = :expires"
            end["ExpressionAttributeValues"] |= attributes({":ended": kept, ":expires": _epoch(expires)})
            write = {"Update": end}
        return self._write([write, *({"Update": settlement(self._usage_table, record)} for record in settled)])

    def _write(self, writes: list[dict[str, Any]]) -> bool:
        """Write all or nothing. A repeated request may touch the entry now and cause a conflict, so this retries."""
        for attempt in range(1, _TRIES + 1):
            try:
                self._dynamodb.transact_write_items(TransactItems=writes)
            except ClientError as error:
                if conditional(error):
                    return False
                if not _in_the_way(error) or attempt == _TRIES:
                    raise
                time.sleep(0.02 * 2**attempt)
            else:
                break
        return True

    def abandon(self, entry: IdempotencyRecord) -> None:
        try:
            self._dynamodb.delete_item(
                TableName=self.table,
                Key=attributes({"id": entry.key}),
                ConditionExpression=_MINE,
                ExpressionAttributeValues=attributes({":mine": entry.request_id}),
            )
        except ClientError as error:
            if not conditional(error):
                raise

    def _read(self, key: str) -> dict[str, Any] | None:
        found = self._dynamodb.get_item(TableName=self.table, Key=attributes({"id": key}), ConsistentRead=True)
        item: dict[str, Any] | None = found.get("Item")
        return item

    def _entry(self, item: dict[str, Any]) -> IdempotencyRecord:
        plain = {name: value(attribute) for name, attribute in item.items()}
        ended = plain.get("ended")
        return IdempotencyRecord(
            plain["id"],
            plain["fingerprint"],
            RequestId(plain["request_id"]),
            moment(plain["lease_until"]),
            JobResult(**self._payloads.unpack(ended)) if ended else None,
        )


def _epoch(at: datetime) -> int:
    return int(at.timestamp()) + 1  # never before the moment itself


def _in_the_way(error: ClientError) -> bool:
    reasons = error.response.get("CancellationReasons") or []
    return any(reason.get("Code") == "TransactionConflict" for reason in reasons)

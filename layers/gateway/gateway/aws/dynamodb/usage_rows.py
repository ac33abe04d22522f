"""Converts usage records to items of the ledger and back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from gateway.aws.dynamodb.items import attributes, instant
from gateway.costs.price_usage import implausible_reason
from gateway.costs.stores import QuarantinedRow
from gateway.usage.ledger import Partition, UnreadableRowError
from gateway.usage.records import (
    NOBODY,
    Attribution,
    KeyId,
    ModelId,
    Outcome,
    RequestId,
    TenantId,
    TokenUsage,
    UsageRecord,
    UserSource,
)
from gateway.usage.tags import NO_TAGS, tags_from_text, tags_to_text

_USAGE_FIELDS = tuple(f.name for f in fields(TokenUsage))
_COUNTS = frozenset(f.name for f in fields(TokenUsage) if f.type == "int")

_RARE = ("asked_model", "routing")  # omitted if empty
_ATTRIBUTION = ("user_id", "user_source", "tags")  # omitted if empty; rows of earlier releases have none
ROW = re.compile(r"\d{4}-\d\d-\d\dT\d\d#\d\d")


def row_key(partition: Partition, request_id: str, attempt: int) -> dict[str, Any]:
    return attributes({"pk": partition_key(partition), "sk": _sort_key(request_id, attempt)})


def _sort_key(request_id: str, attempt: int) -> str:
    return f"{request_id}#{attempt:04d}"


def _key_of(record: UsageRecord) -> dict[str, Any]:
    return row_key(Partition.of(record), record.request_id, record.attempt)


def partition_key(partition: Partition) -> str:
    return f"{partition.hour}#{partition.shard:02d}"


def tenant_day(tenant_id: str, day: datetime) -> str:
    return f"{tenant_id}#{day:%Y-%m-%d}"


def to_item(record: UsageRecord, retention: timedelta) -> dict[str, Any]:
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
            "tenant_day": tenant_day(record.tenant_id, record.started_at),
            "open_shard": f"open#{Partition.of(record).shard:02d}",
            "expires_at": int((record.started_at + retention).timestamp()),
        }
        | {name: text for name in _RARE if (text := getattr(record, name))}
        | _attribution_texts(record.attribution)
    )


def _attribution_texts(attribution: Attribution) -> dict[str, str]:
    if attribution == NOBODY:
        return {}
    tags = tags_to_text(attribution.tags) if attribution.tags else ""
    texts = zip(_ATTRIBUTION, (attribution.user_id, attribution.user_source.value, tags), strict=True)
    return {name: text for name, text in texts if text}


def _attribution(row: Mapping[str, Any]) -> Attribution:
    said = {name: row[name]["S"] for name in _ATTRIBUTION if name in row}
    if not said:
        return NOBODY
    source, tags = UserSource(said.get("user_source", "")), tags_from_text(said.get("tags", NO_TAGS))
    return Attribution(said.get("user_id", ""), source, tags)


_TEXTS = (
    "request_id", "tenant_id", "cost_centre", "key_id", "operation", "model_id", "model_used", "region", "started_at",
    "lease_until", "outcome",
)  # fmt: skip
_TEXTS_OR_NONE = (
    "settled_at", "image_class", "service_tier", "usage_source", "raw", "error_code", *_RARE, *_ATTRIBUTION,
)  # fmt: skip


def from_item(row: Mapping[str, Any]) -> UsageRecord:
    """The record in an item. Raises UnreadableRowError if it is not a valid usage record."""
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
            attribution=_attribution(row),
            **{name: row[name]["S"] for name in _RARE if name in row},
        )
    except (KeyError, ValueError, TypeError) as error:
        raise UnreadableRowError(_why(row)) from error


def _aware(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without a time zone")
    return at


def _why(row: Mapping[str, Any]) -> str:
    """The reason why a row is unreadable."""
    kinds = dict.fromkeys(_TEXTS + _TEXTS_OR_NONE, "S") | dict.fromkeys(_COUNTS | {"attempt"}, "N")
    for name, kind in kinds.items():
        if name not in row:
            if name in _TEXTS or name == "attempt":
                return f"{name} is missing"
        elif not (isinstance(row[name], Mapping) and isinstance(row[name].get(kind), str)):
            return f"{name} is not a {'text' if kind == 'S' else 'number'}"
    for name in sorted(_COUNTS | {"attempt"}):
        if name in row and not re.fullmatch("-?[0-9]+", row[name]["N"]):
            return f"{name} is {row[name]['N']}"
    if row["outcome"]["S"] not in {outcome.value for outcome in Outcome}:
        return f"outcome is {row['outcome']['S']!r}"
    if "user_source" in row and row["user_source"]["S"] not in {source.value for source in UserSource}:
        return f"user_source is {row['user_source']['S']!r}"
    if "tags" in row and not _are_tags(row["tags"]["S"]):
        return "tags is not a JSON object of texts"
    return "a time is invalid"


def _are_tags(text: str) -> bool:
    try:
        tags_from_text(text)
    except ValueError:
        return False
    return True


def items(page: bytes) -> list[dict[str, Any]]:
    """The rows of a page."""
    rows: list[dict[str, Any]] = json.loads(page)["Items"]
    return rows


def inspect(row: Mapping[str, Any], hour: str, not_after: datetime) -> UsageRecord | QuarantinedRow:
    """A row as a record to be priced, or with the reason why it cannot be priced."""
    try:
        record = from_item(row)
        reason = implausible_reason(record, hour, not_after)
        if not reason and row["sk"]["S"] != _sort_key(record.request_id, record.attempt):
            reason = "its key belongs to another attempt"
    except UnreadableRowError as error:
        reason = str(error)
    if not reason:
        return record
    return QuarantinedRow(row["pk"]["S"], row["sk"]["S"], reason, json.dumps(row, separators=(",", ":")))


def settlement(table: str, settled: UsageRecord) -> dict[str, Any]:
    """The conditional update that settles an open row; also valid in a transaction."""
    usage = {name: getattr(settled.usage, name) for name in _USAGE_FIELDS if name != "source"}
    # Zero counts are omitted: a row is read far more often than written, and reads are billed by the byte.
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

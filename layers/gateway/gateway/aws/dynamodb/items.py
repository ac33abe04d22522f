"""Converts values to and from the attributes of a DynamoDB item."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import ClientError

_serialize = TypeSerializer().serialize


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

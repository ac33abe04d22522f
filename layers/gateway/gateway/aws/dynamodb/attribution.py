"""Attribution in DynamoDB: a day's claimed values, the names behind hashes, and the secret of the hashes.

claims#TENANT#DAY   a set of digests for each kind of value, at most 36 KB; in the table of idempotency keys
name#TENANT#HASH    one name, until it expires; in the same table
attribution         the deployment's secret; in the table of tenants
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from botocore.exceptions import ClientError

from gateway.aws.clients import client
from gateway.aws.dynamodb.items import attributes, conditional
from gateway.usage.records import TenantId

KEPT_AFTER = timedelta(days=2)  # a call that began before midnight may ask for its day after it
_SECRET = {"pk": {"S": "attribution"}, "sk": {"S": "secret"}}
_AT_ONCE = 100  # keys of one BatchGetItem


class ClaimTable:
    """`gateway.calls.attribution.DistinctValues` and `KnownNames`."""

    def __init__(self, table: str):
        self.table = table
        self._dynamodb = client("dynamodb")

    def known(self, tenant_id: TenantId, day: date) -> dict[str, frozenset[str]]:
        found = self._dynamodb.get_item(TableName=self.table, Key=_day_key(tenant_id, day))
        return _digests(found.get("Item") or {})

    def admit(
        self, tenant_id: TenantId, day: date, new: Mapping[str, frozenset[str]], most: int
    ) -> dict[str, frozenset[str]] | None:
        names = {f"#{kind}": kind for kind in new}
        room = {f":room_{kind}": most - len(digests) for kind, digests in new.items()}
        ends = datetime.combine(day, time(), UTC) + KEPT_AFTER
        try:
            self._dynamodb.update_item(
                TableName=self.table,
                Key=_day_key(tenant_id, day),
                UpdateExpression=(
                    "SET expires_at = if_not_exists(expires_at, :ends) ADD "
                    + ", ".join(f"#{kind} :new_{kind}" for kind in new)
                ),
                ConditionExpression=" AND ".join(
                    f"(attribute_not_exists(#{kind}) OR size(#{kind}) <= :room_{kind})" for kind in new
                ),
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=attributes({":ends": int(ends.timestamp()), **room})
                | {f":new_{kind}": {"SS": sorted(digests)} for kind, digests in new.items()},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if not conditional(error):
                raise
            return _digests(error.response.get("Item") or {})
        return None

    def keep(self, tenant_id: TenantId, hashed: str, name: str, until: datetime) -> None:
        values = {"name": name, "expires_at": int(until.timestamp())}
        self._dynamodb.put_item(TableName=self.table, Item=_name_key(tenant_id, hashed) | attributes(values))

    def names(self, tenant_id: TenantId, hashes: Sequence[str], now: datetime) -> dict[str, str]:
        found: dict[str, str] = {}
        wanted = list(dict.fromkeys(hashes))
        prefix = _name_key(tenant_id, "")["id"]["S"]
        for start in range(0, len(wanted), _AT_ONCE):
            keys: Any = [_name_key(tenant_id, one) for one in wanted[start : start + _AT_ONCE]]
            while keys:
                answer = self._dynamodb.batch_get_item(RequestItems={self.table: {"Keys": keys}})
                for item in answer["Responses"].get(self.table, ()):
                    # DynamoDB deletes expired items late.
                    if int(item["expires_at"]["N"]) > now.timestamp():
                        found[item["id"]["S"].removeprefix(prefix)] = item["name"]["S"]
                keys = answer.get("UnprocessedKeys", {}).get(self.table, {}).get("Keys")
        return found


def _day_key(tenant_id: TenantId, day: date) -> dict[str, Any]:
    return attributes({"id": f"claims#{tenant_id}#{day.isoformat()}"})


def _name_key(tenant_id: TenantId, hashed: str) -> dict[str, Any]:
    return attributes({"id": f"name#{tenant_id}#{hashed}"})


def _digests(item: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    return {kind: frozenset(value["SS"]) for kind, value in item.items() if "SS" in value}


class HashSecret:
    """`gateway.calls.attribution.Secret`: read once for each process; the first to need it makes it."""

    def __init__(self, table: str):
        self.table = table
        self._dynamodb = client("dynamodb")
        self._known = b""

    def __call__(self) -> bytes:
        if not self._known:
            self._known = self._read() or self._make()
        return self._known

    def _read(self) -> bytes:
        found = self._dynamodb.get_item(TableName=self.table, Key=_SECRET, ConsistentRead=True).get("Item")
        return bytes(found["secret"]["B"]) if found else b""

    def _make(self) -> bytes:
        made = secrets.token_bytes(32)
        try:
            self._dynamodb.put_item(
                TableName=self.table,
                Item=_SECRET | {"secret": {"B": made}},
                ConditionExpression="attribute_not_exists(pk)",
            )
        except ClientError as error:
            if not conditional(error):
                raise
            return self._read()  # another process made it first
        return made

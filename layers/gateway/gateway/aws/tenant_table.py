"""Tenants and keys in DynamoDB: `key#<sha256>` items and `tenant#<id>` items."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from gateway.aws.clients import client
from gateway.aws.dynamodb import attributes, instant, moment
from gateway.tenants import Key, Tenant, tenant_from_json, tenant_to_json
from gateway.usage import KeyId, TenantId


class TenantTable:
    """`gateway.tenants.Tenants` in one table."""

    def __init__(self, table: str):
        self.table = table
        self._dynamodb = client("dynamodb")

    def key(self, digest: str) -> Key | None:
        item = self._get(f"key#{digest}", "key")
        return _to_key(item) if item else None

    def tenant(self, tenant_id: TenantId) -> Tenant | None:
        item = self._get(f"tenant#{tenant_id}", "tenant")
        return tenant_from_json(json.loads(item["record"]["S"])) if item else None

    def put_tenant(self, tenant: Tenant) -> None:
        self._put(f"tenant#{tenant.tenant_id}", "tenant", record=json.dumps(tenant_to_json(tenant)))

    def put_key(self, key: Key) -> None:
        expiry = {"expires_at": instant(key.expires_at)} if key.expires_at else {}
        self._put(
            f"key#{key.digest}",
            "key",
            key_id=key.key_id,
            tenant_id=key.tenant_id,
            digest=key.digest,
            label=key.label,
            created_at=instant(key.created_at),
            revoked=key.revoked,
            decoy=key.decoy,
            **expiry,
        )

    def _get(self, pk: str, sk: str) -> dict[str, Any] | None:
        found = self._dynamodb.get_item(TableName=self.table, Key=attributes({"pk": pk, "sk": sk}))
        item: dict[str, Any] | None = found.get("Item")
        return item

    def _put(self, pk: str, sk: str, **values: Any) -> None:
        self._dynamodb.put_item(TableName=self.table, Item=attributes({"pk": pk, "sk": sk} | values))


def _to_key(item: dict[str, Any]) -> Key:
    expires_at, last_used = item.get("expires_at", {}).get("S"), item.get("last_used", {}).get("S")
    return Key(
        KeyId(item["key_id"]["S"]),
        TenantId(item["tenant_id"]["S"]),
        item["digest"]["S"],
        item["label"]["S"],
        moment(item["created_at"]["S"]),
        moment(expires_at) if expires_at else None,
        item["revoked"]["BOOL"],
        item["decoy"]["BOOL"],
        date.fromisoformat(last_used) if last_used else None,
    )

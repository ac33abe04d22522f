"""Tenants and keys in DynamoDB: `key#<sha256>` items and `tenant#<id>` items."""

from __future__ import annotations

from typing import Any

from gateway.aws.clients import client
from gateway.aws.dynamodb import attributes, instant, moment
from gateway.tenants import Key, Tenant
from gateway.usage import KeyId, TenantId


class TenantTable:
    """`gateway.tenants.Tenants` in one table."""

    def __init__(self, table: str):
        self.table = table
        self._dynamodb = client("dynamodb")

    def key(self, digest: str) -> Key | None:
        item = self._get(f"key#{digest}", "key")
        if item is None:
            return None
        expires_at = item.get("expires_at", {}).get("S")
        return Key(
            KeyId(item["key_id"]["S"]),
            TenantId(item["tenant_id"]["S"]),
            digest,
            item["label"]["S"],
            moment(item["created_at"]["S"]),
            moment(expires_at) if expires_at else None,
            item["revoked"]["BOOL"],
        )

    def tenant(self, tenant_id: TenantId) -> Tenant | None:
        item = self._get(f"tenant#{tenant_id}", "tenant")
        if item is None:
            return None
        centres = tuple(centre["S"] for centre in item["cost_centres"]["L"])
        return Tenant(tenant_id, item["name"]["S"], centres, item["suspended"]["BOOL"])

    def put_tenant(self, tenant: Tenant) -> None:
        self._put(
            f"tenant#{tenant.tenant_id}",
            "tenant",
            name=tenant.name,
            cost_centres=list(tenant.cost_centres),
            suspended=tenant.suspended,
        )

    def put_key(self, key: Key) -> None:
        expiry = {"expires_at": instant(key.expires_at)} if key.expires_at else {}
        self._put(
            f"key#{key.digest}",
            "key",
            key_id=key.key_id,
            tenant_id=key.tenant_id,
            label=key.label,
            created_at=instant(key.created_at),
            revoked=key.revoked,
            **expiry,
        )

    def _get(self, pk: str, sk: str) -> dict[str, Any] | None:
        found = self._dynamodb.get_item(TableName=self.table, Key=attributes({"pk": pk, "sk": sk}))
        item: dict[str, Any] | None = found.get("Item")
        return item

    def _put(self, pk: str, sk: str, **values: Any) -> None:
        self._dynamodb.put_item(TableName=self.table, Item=attributes({"pk": pk, "sk": sk} | values))

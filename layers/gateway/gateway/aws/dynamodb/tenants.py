"""Tenants and keys in DynamoDB, as the authorizer reads them; `tenant_register` lists all items of the table."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from botocore.exceptions import ClientError

from gateway.aws.clients import client
from gateway.aws.dynamodb.items import attributes, conditional, instant, moment
from gateway.tenancy.administration import must_be_sound
from gateway.tenancy.caller import Role
from gateway.tenancy.keys import Key, digest_of, new_key
from gateway.tenancy.tenant import Tenant, tenant_from_json, tenant_to_json
from gateway.tenancy.users import User, name_of, user_from_json, user_to_json
from gateway.usage.records import KeyId, TenantId


class TenantTable:
    """`gateway.tenancy.keys.Tenants` in one table."""

    def __init__(self, table: str):
        self.table = table
        self._dynamodb = client("dynamodb")

    def key(self, digest: str) -> Key | None:
        item = self._get(f"key#{digest}", "key")
        return to_key(item) if item else None

    def tenant(self, tenant_id: TenantId) -> Tenant | None:
        item = self._get(f"tenant#{tenant_id}", "tenant")
        return to_tenant(item) if item else None

    def key_of(self, tenant_id: TenantId, key_id: KeyId) -> Key | None:
        indexed = self._get(f"tenant#{tenant_id}", f"key#{key_id}")
        return self.key(indexed["digest"]["S"]) if indexed else None

    def is_active(self, tenant_id: TenantId, user_id: str) -> bool:
        """Is the user switched on? A user without a record is."""
        item = self._get(f"tenant#{tenant_id}", f"user#{name_of(user_id)}")
        return item is None or bool(item["active"]["BOOL"])

    def note_use(self, key: Key, day: date) -> None:
        """Store the day of use. The condition keeps it from recreating a key deleted in the meantime."""
        try:
            self._dynamodb.update_item(
                TableName=self.table,
                Key=attributes({"pk": f"key#{key.digest}", "sk": "key"}),
                UpdateExpression="SET last_used = :day",
                ConditionExpression="attribute_exists(pk) AND (attribute_not_exists(last_used) OR last_used < :day)",
                ExpressionAttributeValues=attributes({":day": day.isoformat()}),
            )
        except ClientError as error:
            if not conditional(error):
                raise

    def put_tenant(self, tenant: Tenant) -> None:
        for item in (tenant_item(tenant), listing_item(tenant)):
            self._dynamodb.put_item(TableName=self.table, Item=item)

    def put_key(self, key: Key) -> None:
        for item in (key_item(key), index_item(key)):
            self._dynamodb.put_item(TableName=self.table, Item=item)

    def put_user(self, user: User) -> None:
        for name in user.names:
            self._dynamodb.put_item(TableName=self.table, Item=user_item(user, name))

    def _get(self, pk: str, sk: str) -> dict[str, Any] | None:
        found = self._dynamodb.get_item(TableName=self.table, Key=attributes({"pk": pk, "sk": sk}))
        item: dict[str, Any] | None = found.get("Item")
        return item


def tenant_item(tenant: Tenant) -> dict[str, Any]:
    record = json.dumps(tenant_to_json(tenant))
    return attributes({"pk": f"tenant#{tenant.tenant_id}", "sk": "tenant", "record": record, "version": tenant.version})


def listing_item(tenant: Tenant) -> dict[str, Any]:
    """A copy of the tenant in the partition that lists all tenants."""
    return tenant_item(tenant) | attributes({"pk": "tenants", "sk": tenant.tenant_id})


def to_tenant(item: dict[str, Any]) -> Tenant:
    return tenant_from_json(json.loads(item["record"]["S"]))


def key_item(key: Key) -> dict[str, Any]:
    values = {
        "pk": f"key#{key.digest}",
        "sk": "key",
        "key_id": key.key_id,
        "tenant_id": key.tenant_id,
        "digest": key.digest,
        "label": key.label,
        "created_at": instant(key.created_at),
        "revoked": key.revoked,
        "decoy": key.decoy,
    }
    expiry = {"expires_at": instant(key.expires_at)} if key.expires_at else {}
    owner = {"user_id": key.user_id} if key.user_id else {}
    role = {} if key.role is Role.MEMBER else {"role": key.role.value}
    centres = {"cost_centres": json.dumps(key.cost_centres)} if key.cost_centres else {}
    return attributes(values | expiry | owner | role | centres)


def index_item(key: Key) -> dict[str, Any]:
    """The digest of a key by its id, the name that operators know."""
    whose = "decoys" if key.decoy else f"tenant#{key.tenant_id}"
    return attributes({"pk": whose, "sk": f"key#{key.key_id}", "digest": key.digest})


def to_key(item: dict[str, Any]) -> Key:
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
        item.get("user_id", {}).get("S", ""),
        Role(item["role"]["S"]) if "role" in item else Role.MEMBER,
        tuple(json.loads(item["cost_centres"]["S"])) if "cost_centres" in item else (),
    )


def user_key(tenant_id: TenantId, name: str) -> dict[str, Any]:
    return attributes({"pk": f"tenant#{tenant_id}", "sk": f"user#{name_of(name)}"})


def user_item(user: User, name: str) -> dict[str, Any]:
    """The user under one of its names."""
    values = {
        "user_id": user.user_id,
        "record": json.dumps(user_to_json(user)),
        "active": user.active,
        "deleted": user.deleted,
        "version": user.version,
    } | ({"former": json.dumps(user.former)} if user.former else {})
    return user_key(user.tenant_id, name) | attributes(values)


def to_user(tenant_id: TenantId, item: dict[str, Any]) -> User:
    found = user_from_json(tenant_id, json.loads(item["record"]["S"]))
    former = tuple(json.loads(item["former"]["S"])) if "former" in item else ()
    return replace(found, deleted=item["deleted"]["BOOL"], version=int(item["version"]["N"]), former=former)


def add_tenant(table: str, tenant: Tenant) -> None:
    """Create or replace a tenant. Raises BadRequestError."""
    must_be_sound(tenant)
    TenantTable(table).put_tenant(tenant)


def add_key(table: str, tenant_id: str, label: str) -> str:
    """Create a key for a tenant and return it; it cannot be shown again."""
    key = new_key()
    record = Key(KeyId(f"key_{secrets.token_hex(6)}"), TenantId(tenant_id), digest_of(key), label, datetime.now(UTC))
    TenantTable(table).put_key(record)
    return key

"""Operators' changes to tenants and keys: each change is one DynamoDB transaction that includes its audit record.

The items of the tenants table:

    pk                sk                      content
    tenant#<id>       tenant                  the tenant
    tenant#<id>       key#<key_id>            the digest of one of the tenant's keys
    tenant#<id>       user#<name>             a user, once under each of its names
    tenant#<id>       audit#<time>#<id>       a change to the tenant; outlives it
    tenants           <id>                    a copy of the tenant, for listing
    key#<sha256>      key                     a key
    decoys            key#<key_id>            the digest of a decoy
    audit#<month>     <time>#<id>             a change to any tenant or issuer

`issuers` lists the items of issuers.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from gateway.aws.clients import client
from gateway.aws.dynamodb.items import attributes, conditional, instant, moment
from gateway.aws.dynamodb.tenants import (
    index_item,
    key_item,
    listing_item,
    tenant_item,
    to_key,
    to_tenant,
    to_user,
    user_item,
    user_key,
)
from gateway.core.errors import BadRequestError
from gateway.tenancy.administration import Actor, AuditRecord, Changed, Page
from gateway.tenancy.keys import Key
from gateway.tenancy.tenant import Tenant
from gateway.tenancy.users import User, name_of
from gateway.usage.records import KeyId, TenantId

FIRST_MONTH = "2026-01"  # no audit record is older
_MONTH = re.compile(r"20\d\d-(0[1-9]|1[0-2])")
_BATCH = 100  # of BatchGetItem
_TRANSACTION = 50  # keys, each of two items
_LATER = ("user_id", "role")  # fields of an actor


class TenantRegister:
    """`gateway.tenancy.administration.Register` in one table."""

    def __init__(self, table: str):
        self.table = table
        self._dynamodb = client("dynamodb")

    # ----------------------------------------------------------------------------------------------------- tenants
    def tenant(self, tenant_id: TenantId) -> Tenant | None:
        found = self.get(f"tenant#{tenant_id}", "tenant")
        return to_tenant(found) if found else None

    def tenants(self, limit: int, start: str | None) -> Page:
        items, following = self.listed("tenants", limit, start)
        return Page([to_tenant(item) for item in items], following)

    def put_tenant(self, after: Tenant, before: Tenant | None, record: AuditRecord) -> None:
        unchanged = (
            {"ConditionExpression": "attribute_not_exists(pk)"} if before is None else self._at_version(before.version)
        )
        self.write(
            {"Put": {"Item": tenant_item(after)} | unchanged},
            {"Put": {"Item": listing_item(after)}},
            *audit_items(record),
        )

    def remove_tenant(self, before: Tenant, record: AuditRecord) -> None:
        self.write(
            {"Delete": {"Key": _key_of(tenant_item(before))} | self._at_version(before.version)},
            {"Delete": {"Key": _key_of(listing_item(before))}},
            *audit_items(record),
        )

    def remove_keys(self, tenant_id: TenantId) -> None:
        indexed = list(self._index(f"tenant#{tenant_id}"))
        for first in range(0, len(indexed), _TRANSACTION):
            self.write(
                *(
                    {"Delete": {"Key": key}}
                    for item in indexed[first : first + _TRANSACTION]
                    for key in (_key_of(item), attributes({"pk": f"key#{item['digest']['S']}", "sk": "key"}))
                )
            )

    @staticmethod
    def _at_version(version: int) -> dict[str, Any]:
        return {
            "ConditionExpression": "#version = :version",
            "ExpressionAttributeNames": {"#version": "version"},
            "ExpressionAttributeValues": attributes({":version": version}),
        }

    # -------------------------------------------------------------------------------------------------------- keys
    def keys_of(self, tenant_id: TenantId) -> Sequence[Key]:
        digests = [item["digest"]["S"] for item in self._index(f"tenant#{tenant_id}")]
        if len(digests) == 1:
            found = [item for digest in digests if (item := self.get(f"key#{digest}", "key"))]
        else:
            found = list(self._keys(digests))
        return sorted(map(to_key, found), key=lambda key: (key.created_at, key.key_id))

    def key_of(self, tenant_id: TenantId, key_id: KeyId) -> Key | None:
        indexed = self.get(f"tenant#{tenant_id}", f"key#{key_id}")
        found = self.get(f"key#{indexed['digest']['S']}", "key") if indexed else None
        return to_key(found) if found else None

    def add_key(self, key: Key, record: AuditRecord) -> None:
        self.write(
            *self._tenant_is_there(key),
            {"Put": {"Item": key_item(key), "ConditionExpression": "attribute_not_exists(pk)"}},
            {"Put": {"Item": index_item(key)}},
            *audit_items(record),
        )

    def change_key(self, after: Key, before: Key, record: AuditRecord, *, successor: Key | None = None) -> None:
        values: dict[str, Any] = {":revoked": after.revoked, ":was_revoked": before.revoked}
        sets, condition = "revoked = :revoked", "revoked = :was_revoked"
        if before.expires_at:
            values[":was_expiring"] = instant(before.expires_at)
            condition += " AND expires_at = :was_expiring"
        else:
            condition += " AND attribute_not_exists(expires_at)"
        if after.expires_at:
            values[":expires_at"] = instant(after.expires_at)
            sets += ", expires_at = :expires_at"
        # An update, not a put: the authorizer may store the day of use at the same time.
        update = {
            "Key": _key_of(key_item(after)),
            "UpdateExpression": f"SET {sets}",
            "ConditionExpression": condition,
            "ExpressionAttributeValues": attributes(values),
        }
        added = (
            [
                *self._tenant_is_there(successor),
                {"Put": {"Item": key_item(successor)}},
                {"Put": {"Item": index_item(successor)}},
            ]
            if successor
            else []
        )
        self.write({"Update": update}, *added, *audit_items(record))

    @staticmethod
    def _tenant_is_there(key: Key) -> list[dict[str, Any]]:
        """Without this check, a key whose tenant is gone would work for a later tenant with the same id.

        A decoy has no tenant.
        """
        if key.decoy:
            return []
        check = {
            "Key": attributes({"pk": f"tenant#{key.tenant_id}", "sk": "tenant"}),
            "ConditionExpression": "attribute_exists(pk)",
        }
        return [{"ConditionCheck": check}]

    def _index(self, pk: str) -> Iterator[dict[str, Any]]:
        start: dict[str, Any] | None = None
        while True:
            items, start = self._page(pk, "key#", 1000, start, forward=True)
            yield from items
            if start is None:
                return

    def _keys(self, digests: Sequence[str]) -> Iterator[dict[str, Any]]:
        for first in range(0, len(digests), _BATCH):
            wanted = [attributes({"pk": f"key#{digest}", "sk": "key"}) for digest in digests[first : first + _BATCH]]
            asked: dict[str, Any] = {self.table: {"Keys": wanted, "ConsistentRead": True}}
            while asked:
                found = self._dynamodb.batch_get_item(RequestItems=asked)
                yield from found["Responses"].get(self.table, ())
                asked = found.get("UnprocessedKeys") or {}

    # ------------------------------------------------------------------------------------------------------- users
    def user_named(self, tenant_id: TenantId, name: str) -> User | None:
        found = self.get(f"tenant#{tenant_id}", f"user#{name_of(name)}")
        return to_user(tenant_id, found) if found else None

    def users(self, tenant_id: TenantId, limit: int, start: str | None) -> Page:
        """One item of each user: that of its id. A page looks at `limit` users, or at the rest."""
        found: list[User] = []
        begin = _read(start)
        while True:
            items, begin = self._page(f"tenant#{tenant_id}", "user#", limit - len(found), begin, forward=True)
            found += [to_user(tenant_id, item) for item in items if _is_whole_user(item)]
            if begin is None or len(found) >= limit:
                return Page(found, _written(begin))

    def put_user(self, after: User, before: User | None, record: AuditRecord) -> None:
        """Each name is the user's own, nobody's, or that of a deleted one."""
        own: dict[str, Any] = {
            "ConditionExpression": (
                "attribute_not_exists(pk) OR (user_id = :user_id AND version = :version) OR deleted = :yes"
            ),
            "ExpressionAttributeValues": attributes(
                {":user_id": after.user_id, ":version": before.version if before else 0, ":yes": True}
            ),
        }
        tenant = attributes({"pk": f"tenant#{after.tenant_id}", "sk": "tenant"})
        old = before.names - after.names if before else frozenset[str]()
        self.write(
            {"ConditionCheck": {"Key": tenant, "ConditionExpression": "attribute_exists(pk)"}},
            *({"Put": {"Item": user_item(after, name)} | own} for name in sorted(after.names)),
            *({"Delete": {"Key": user_key(after.tenant_id, name)} | own} for name in sorted(old)),
            *audit_items(record),
        )

    def remove_users(self, tenant_id: TenantId) -> None:
        start: dict[str, Any] | None = None
        while True:
            items, start = self._page(f"tenant#{tenant_id}", "user#", _BATCH, start, forward=True)
            if items:
                self.write(*({"Delete": {"Key": _key_of(item)}} for item in items))
            if start is None:
                return

    # ------------------------------------------------------------------------------------------------------- audit
    def audit(self, tenant_id: TenantId | None, limit: int, start: str | None, now: datetime) -> Page:
        """Audit records, newest first; for all tenants month by month, back to FIRST_MONTH."""
        begin = _read(start)
        if tenant_id is not None:
            items, last = self._page(f"tenant#{tenant_id}", "audit#", limit, begin, forward=False)
            return Page([_to_record(item) for item in items], _written(last))
        month = begin["pk"]["S"].removeprefix("audit#") if begin else f"{now:%Y-%m}"
        if not _MONTH.fullmatch(month):
            raise _bad_page()
        found: list[AuditRecord] = []
        while True:
            items, last = self._page(f"audit#{month}", "", limit - len(found), begin, forward=False)
            found += map(_to_record, items)
            if last is not None or month <= FIRST_MONTH:
                return Page(found, _written(last))
            month, begin = _month_before(month), None
            if len(found) >= limit:
                # The next page begins above every possible key of the month.
                return Page(found, _written(attributes({"pk": f"audit#{month}", "sk": "~"})))

    # ------------------------------------------------------------------------------------------------------ the table
    def get(self, pk: str, sk: str) -> dict[str, Any] | None:
        found = self._dynamodb.get_item(TableName=self.table, Key=attributes({"pk": pk, "sk": sk}), ConsistentRead=True)
        item: dict[str, Any] | None = found.get("Item")
        return item

    def _page(
        self, pk: str, prefix: str, limit: int, start: dict[str, Any] | None, *, forward: bool
    ) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        condition, values = "pk = :pk", {":pk": pk}
        if prefix:
            condition, values = f"{condition} AND begins_with(sk, :prefix)", values | {":prefix": prefix}
        if start is not None and start.get("pk") != {"S": pk}:
            raise _bad_page()
        found = self._dynamodb.query(
            TableName=self.table,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=attributes(values),
            ConsistentRead=True,
            ScanIndexForward=forward,
            Limit=limit,
            **({"ExclusiveStartKey": start} if start else {}),
        )
        return found["Items"], found.get("LastEvaluatedKey")

    def listed(self, pk: str, limit: int, start: str | None) -> tuple[list[dict[str, Any]], str | None]:
        """The items of a list, and the position of its next page."""
        items, last = self._page(pk, "", limit, _read(start), forward=True)
        return items, _written(last)

    def write(self, *actions: dict[str, Any]) -> None:
        """Raises Changed if a condition fails, or another transaction is writing the same items."""
        items = [{kind: action | {"TableName": self.table} for kind, action in each.items()} for each in actions]
        try:
            self._dynamodb.transact_write_items(TransactItems=items)
        except ClientError as error:
            reasons = error.response.get("CancellationReasons") or []
            if conditional(error) or any(reason.get("Code") == "TransactionConflict" for reason in reasons):
                raise Changed from error
            raise


def _is_whole_user(item: dict[str, Any]) -> bool:
    """Is this the item under the user's id, of one that is not deleted?"""
    return not item["deleted"]["BOOL"] and item["sk"]["S"] == f"user#{name_of(item['user_id']['S'])}"


def _key_of(item: dict[str, Any]) -> dict[str, Any]:
    return {"pk": item["pk"], "sk": item["sk"]}


def audit_items(record: AuditRecord) -> list[dict[str, Any]]:
    of_all = {"pk": f"audit#{record.at:%Y-%m}", "sk": _audit_name(record), "record": json.dumps(_stored(record))}
    return [{"Put": {"Item": attributes(of_all)}}, *([history_item(record)] if record.tenant_id else [])]


def history_item(record: AuditRecord) -> dict[str, Any]:
    """A record in the history of its tenant."""
    item = {"pk": f"tenant#{record.tenant_id}", "sk": f"audit#{_audit_name(record)}"}
    return {"Put": {"Item": attributes(item | {"record": json.dumps(_stored(record))})}}


def _audit_name(record: AuditRecord) -> str:
    return f"{instant(record.at)}#{record.audit_id}"


def _stored(record: AuditRecord) -> dict[str, Any]:
    """A record as JSON. Earlier releases know three fields of an actor alone, so the others stand beside it."""
    values = record.to_json()
    by = {name: values["actor"].pop(name) for name in _LATER if name in values["actor"]}
    return values | ({"by": by} if by else {})


def _to_record(item: dict[str, Any]) -> AuditRecord:
    said = json.loads(item["record"]["S"])
    return AuditRecord(
        said["audit_id"],
        moment(said["at"]),
        said["action"],
        Actor(**said["actor"], **said.get("by", {})),
        TenantId(said.get("tenant_id", "")),
        KeyId(said.get("key_id", "")),
        said.get("before"),
        said.get("after"),
    )


def _month_before(month: str) -> str:
    year, number = map(int, month.split("-"))
    return f"{year - 1}-12" if number == 1 else f"{year}-{number - 1:02d}"


def _written(last: dict[str, Any] | None) -> str | None:
    """The end of a page as an opaque token, which clients send to get the next page."""
    if last is None:
        return None
    return base64.urlsafe_b64encode(json.dumps([last["pk"]["S"], last["sk"]["S"]]).encode()).decode().rstrip("=")


def _read(word: str | None) -> dict[str, Any] | None:
    if word is None:
        return None
    try:
        pk, sk = json.loads(base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)))
        return attributes({"pk": str(pk), "sk": str(sk)})
    except (ValueError, TypeError, binascii.Error):
        raise _bad_page() from None


def _bad_page() -> BadRequestError:
    return BadRequestError("next: use the value of the page before, unchanged.", code="invalid_page")

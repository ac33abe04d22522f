"""Issuers and their fetched keys in the tenants table.

pk                    sk              content
issuers               <issuer_id>     an issuer
issuer#<sha256>       issuer          a copy, by the digest of its `iss`; so no two records have the same
jwks#<name>           jwks            the keys that an environment fetched for all of them (`Issuer.keys_name`)
"""

from __future__ import annotations

import json
from decimal import Decimal
from hashlib import sha256
from typing import Any

from botocore.exceptions import ClientError

from gateway.aws.clients import client
from gateway.aws.dynamodb.items import attributes, conditional
from gateway.tenancy.issuer_keys import KeySet
from gateway.tenancy.issuers import Issuer, IssuerId, issuer_from_json, issuer_to_json

LISTED = "issuers"


class IssuerTable:
    """Reads issuers; `gateway.tenancy.issuer_keys.SharedKeys`."""

    def __init__(self, table: str):
        self.table = table
        self._dynamodb = client("dynamodb")

    def named(self, issuer: str) -> Issuer | None:
        """The record of an `iss`."""
        found = to_issuer(self._get(by_name(issuer), "issuer"))
        return found if found and found.issuer == issuer else None

    def issuer(self, issuer_id: IssuerId) -> Issuer | None:
        return to_issuer(self._get(LISTED, issuer_id))

    # ------------------------------------------------------------------------------------------------------ its keys
    def read(self, name: str) -> KeySet:
        item = self._get(f"jwks#{name}", "jwks") or {}
        fetched_at, claimed_at, discovered_at = (
            float(item.get(time, {}).get("N", 0)) for time in ("fetched_at", "claimed_at", "discovered_at")
        )
        uri = item.get("jwks_uri", {}).get("S", "")
        keys = tuple(json.loads(item.get("keys", {}).get("S", "[]")))
        return KeySet(keys, fetched_at, claimed_at, uri, discovered_at)

    def claim(self, name: str, now: float, interval: float) -> bool:
        values = {":now": _number(now), ":before": _number(now - interval), ":after": _number(now + interval)}
        try:
            self._dynamodb.update_item(
                TableName=self.table,
                Key=keys_at(name),
                UpdateExpression="SET claimed_at = :now",
                # A claim from the future is one of a wrong clock.
                ConditionExpression=(
                    "attribute_not_exists(claimed_at) OR claimed_at <= :before OR claimed_at > :after"
                ),
                ExpressionAttributeValues=attributes(values),
            )
        except ClientError as error:
            if conditional(error):
                return False
            raise
        return True

    def keep(self, name: str, fetched: KeySet) -> None:
        values = {
            ":keys": json.dumps([dict(key) for key in fetched.keys], separators=(",", ":")),
            ":fetched_at": _number(fetched.fetched_at),
            ":jwks_uri": fetched.jwks_uri,
            ":discovered_at": _number(fetched.discovered_at),
        }
        self._dynamodb.update_item(
            TableName=self.table,
            Key=keys_at(name),
            UpdateExpression=(
                "SET #keys = :keys, fetched_at = :fetched_at, jwks_uri = :jwks_uri, discovered_at = :discovered_at"
            ),
            ExpressionAttributeNames={"#keys": "keys"},
            ExpressionAttributeValues=attributes(values),
        )

    def _get(self, pk: str, sk: str) -> dict[str, Any] | None:
        found = self._dynamodb.get_item(TableName=self.table, Key=attributes({"pk": pk, "sk": sk}))
        item: dict[str, Any] | None = found.get("Item")
        return item


def _number(seconds: float) -> Decimal:
    return Decimal(f"{seconds:.3f}")


def keys_at(name: str) -> dict[str, Any]:
    return attributes({"pk": f"jwks#{name}", "sk": "jwks"})


def by_name(issuer: str) -> str:
    return f"issuer#{sha256(issuer.encode()).hexdigest()}"


def to_issuer(item: dict[str, Any] | None) -> Issuer | None:
    return issuer_from_json(json.loads(item["record"]["S"])) if item else None


def issuer_items(issuer: Issuer) -> tuple[dict[str, Any], dict[str, Any]]:
    """The record in the list, and its copy by `iss`."""
    said = {
        "record": json.dumps(issuer_to_json(issuer)),
        "version": issuer.version,
        "issuer_id": issuer.issuer_id,
    }
    listed = {"pk": LISTED, "sk": issuer.issuer_id}
    return attributes(listed | said), attributes({"pk": by_name(issuer.issuer), "sk": "issuer"} | said)

"""Operators' changes to issuers: each change is one DynamoDB transaction that includes its audit record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.aws.dynamodb.issuers import LISTED, by_name, issuer_items, keys_at, to_issuer
from gateway.aws.dynamodb.items import attributes
from gateway.aws.dynamodb.tenant_register import TenantRegister, audit_items, history_item
from gateway.tenancy.administration import ALLOW_ISSUER, AuditRecord, Page
from gateway.tenancy.issuers import Issuer, IssuerId
from gateway.usage.records import TenantId


class IssuerRegister:
    """`gateway.tenancy.issuers.IssuerRegister` in the table of the tenants, with their pages and their audit."""

    def __init__(self, register: TenantRegister):
        self._table = register

    def issuer(self, issuer_id: IssuerId) -> Issuer | None:
        return to_issuer(self._table.get(LISTED, issuer_id))

    def issuers(self, limit: int, start: str | None) -> Page:
        items, following = self._table.listed(LISTED, limit, start)
        return Page([to_issuer(item) for item in items], following)

    def is_used(self, issuer: str, issuer_id: IssuerId) -> bool:
        found = to_issuer(self._table.get(by_name(issuer), "issuer"))
        return found is not None and found.issuer_id != issuer_id

    def put_issuer(self, after: Issuer, before: Issuer | None, record: AuditRecord) -> None:
        listed, named = issuer_items(after)
        stays = before is not None and before.issuer == after.issuer
        theirs = {"#id": "issuer_id"}, attributes({":id": after.issuer_id})
        writes: list[dict[str, Any]] = [
            {"Put": {"Item": listed} | _at_version(before)},
            {"Put": {"Item": named} | _condition("attribute_not_exists(pk) OR #id = :id", *theirs)},
        ]
        if before is not None:
            writes.append({"Delete": {"Key": keys_at(before.keys_name)}})
        if before is not None and not stays:
            writes.append(_forget(before))
        self._table.write(*writes, *audit_items(record), *_histories(after, before, record))

    def remove_issuer(self, before: Issuer, record: AuditRecord) -> None:
        self._table.write(
            {"Delete": {"Key": attributes({"pk": LISTED, "sk": before.issuer_id})} | _at_version(before)},
            {"Delete": {"Key": keys_at(before.keys_name)}},
            _forget(before),
            *audit_items(record),
        )


def _histories(after: Issuer, before: Issuer | None, record: AuditRecord) -> list[dict[str, Any]]:
    """In the history of each tenant that the issuer may newly name: that it may. It says nothing of other tenants."""
    added = set(after.tenants) - set(before.tenants if before else ())
    shown = {"issuer_id": after.issuer_id, "issuer": after.issuer}
    allowed = replace(record, action=ALLOW_ISSUER, before=None, after=shown)
    return [history_item(replace(allowed, tenant_id=TenantId(name))) for name in sorted(added)]


def _forget(issuer: Issuer) -> dict[str, Any]:
    """Delete the copy by `iss`."""
    return {"Delete": {"Key": attributes({"pk": by_name(issuer.issuer), "sk": "issuer"})}}


def _at_version(before: Issuer | None) -> dict[str, Any]:
    if before is None:
        return {"ConditionExpression": "attribute_not_exists(pk)"}
    return _condition("#version = :version", {"#version": "version"}, attributes({":version": before.version}))


def _condition(text: str, names: dict[str, str], values: dict[str, Any]) -> dict[str, Any]:
    return {"ConditionExpression": text, "ExpressionAttributeNames": names, "ExpressionAttributeValues": values}

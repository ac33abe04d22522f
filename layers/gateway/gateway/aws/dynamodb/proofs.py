"""Proofs of the lake as items beside the rows of the ledger: pk `proofs`, sk a day.

An item has the digest of each hour (`00` to `23`), `costs` and `book`, the version of the price book. Like the lake,
proofs never expire: a year takes a quarter of a megabyte, which is one page of a query. The item `begin` has the
ledger's first hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from gateway.aws.clients import client
from gateway.aws.dynamodb.items import attributes, conditional
from gateway.costs.proofs import DayProof

_PROOFS = "proofs"
_BEGIN = "begin"
_HOURS = frozenset(f"{hour:02}" for hour in range(24))


class DynamoProofs:
    """`gateway.costs.proofs.Proofs` in the ledger's table."""

    def __init__(self, table: str):
        self._table = table
        self._dynamodb = client("dynamodb")

    def begin(self) -> str | None:
        found = self._dynamodb.get_item(TableName=self._table, Key=_key(_BEGIN), ConsistentRead=True)
        return str(found["Item"]["hour"]["S"]) if "Item" in found else None

    def begin_at(self, hour: str) -> None:
        self._dynamodb.put_item(TableName=self._table, Item=_key(_BEGIN) | attributes({"hour": hour}))

    def days(self, first: str = "0", last: str = "9999") -> dict[str, DayProof]:
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :proofs AND sk BETWEEN :first AND :last",  # days begin with a digit
            ExpressionAttributeValues=attributes({":proofs": _PROOFS, ":first": first, ":last": last}),
            ConsistentRead=True,
        )
        return {item["sk"]["S"]: _proof(item) for page in pages for item in page["Items"]}

    def note(self, proof: DayProof, *, whole: bool = False) -> None:
        said = {hour[11:]: digest for hour, digest in proof.hours.items()}
        if proof.costs is not None:
            said["costs"] = proof.costs
        version = proof.book_version
        if version and whole:
            self._update(proof.day, said | {"book": version})
        elif not version or not self._same_book(proof.day, said, version):
            self._update(proof.day, said, "REMOVE #book")

    def _same_book(self, day: str, said: dict[str, str], version: str) -> bool:
        """Add to a day without a proof or with this book version; False if it has another version."""
        try:
            self._update(day, said | {"book": version}, condition="attribute_not_exists(pk) OR #book = :book")
        except ClientError as error:
            if not conditional(error):
                raise
            return False
        return True

    def _update(self, day: str, said: dict[str, str], also: str = "", condition: str = "") -> None:
        names = {f"#{name}": name for name in (*said, "book") if f"#{name}" in also or name in said}
        sets = f"SET {', '.join(f'#{name} = :{name}' for name in said)}" if said else ""
        request: dict[str, Any] = {
            "TableName": self._table,
            "Key": _key(day),
            "UpdateExpression": f"{sets} {also}".strip(),
            "ExpressionAttributeNames": names,
        }
        if said:
            request["ExpressionAttributeValues"] = attributes({f":{name}": text for name, text in said.items()})
        if condition:
            request["ConditionExpression"] = condition
        self._dynamodb.update_item(**request)


def _proof(item: Mapping[str, Any]) -> DayProof:
    day = item["sk"]["S"]
    return DayProof(
        day,
        {f"{day}T{name}": digest["S"] for name, digest in sorted(item.items()) if name in _HOURS},
        item["costs"]["S"] if "costs" in item else None,
        item["book"]["S"] if "book" in item else "",
    )


def _key(sk: str) -> dict[str, dict[str, str]]:
    return attributes({"pk": _PROOFS, "sk": sk})

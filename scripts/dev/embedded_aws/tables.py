"""DynamoDB: moto's tables, with indexes where it has none, and a journal of every changed item.

moto sorts the whole table for each query, copies it for each transaction, and reads and writes its messages by a
general way that takes ten times what the operation does. A ledger of some thousand rows would make every call slow, so
here a table looks only where it is asked to, and the usual operations take a short way in and out.
"""

from __future__ import annotations

import base64
import binascii
import copy
import functools
import importlib
import json
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType, Item, LimitedSizeDict
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler

from scripts.dev import template
from scripts.dev.embedded_aws.journal import Journal
from scripts.dev.http_server import Response

# moto has no place to put a table of one's own, so its names are replaced.
_moto: Any = importlib.import_module("moto.dynamodb.models")
_moto_expressions: Any = importlib.import_module("moto.dynamodb.parsing.expressions")
_WRITES = {"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"}


class PartitionedTable(Table):
    """A table that looks only where a query or a transaction points. Used under one lock."""

    items: defaultdict[Any, Any]
    _narrowed: list[Item] | None = None
    touched: list[dict[str, Any]] = []

    def query(self, hash_key: Any, *arguments: Any, **options: Any) -> Any:
        index_name = options.get("index_name", arguments[6] if len(arguments) > 6 else None)
        if index_name is None:
            found = self.items.get(hash_key)
            if self.range_key_attr:
                self._narrowed = list(found.values()) if found else []
            else:
                self._narrowed = [found] if found else []
        else:
            wanted = [(name, value.type, value.value) for name, value in options.get("hash_key_conditions") or ()]
            self._narrowed = [item for item in self._every_item() if _has(item, wanted)]
        try:
            return super().query(hash_key, *arguments, **options)
        finally:
            self._narrowed = None

    def all_items(self) -> list[Item]:
        # A query sorts what it finds by itself.
        return super().all_items() if self._narrowed is None else self._narrowed

    def _every_item(self) -> Iterator[Item]:
        for found in self.items.values():
            if self.range_key_attr:
                yield from found.values()
            else:
                yield found

    def __deepcopy__(self, memo: dict[int, Any]) -> PartitionedTable:
        """A copy to return to: the items that the transaction touches, and what else there is by reference."""
        clone = copy.copy(self)
        clone.items = defaultdict(dict, self.items)
        for key in self.touched:
            hash_key = DynamoType(key[self.hash_key_attr])
            if hash_key not in self.items:
                continue
            if self.range_key_attr is None:
                clone.items[hash_key] = copy.deepcopy(self.items[hash_key])
                continue
            range_key = DynamoType(key[self.range_key_attr])
            if clone.items[hash_key] is self.items[hash_key]:
                clone.items[hash_key] = dict(self.items[hash_key])
            if range_key in clone.items[hash_key]:
                clone.items[hash_key][range_key] = copy.deepcopy(self.items[hash_key][range_key])
        memo[id(self)] = clone
        return clone


def _has(item: Item, wanted: list[tuple[str, str, Any]]) -> bool:
    for name, kind, value in wanted:
        attribute = item.attrs.get(name)
        if attribute is None or attribute.type != kind or attribute.value != value:
            return False
    return True


_transact = _moto.DynamoDBBackend.transact_write_items


def _transact_write_items(backend: Any, items: list[dict[str, Any]]) -> None:
    touched: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        for operation in item.values():
            if (key := operation.get("Key") or operation.get("Item")) and "TableName" in operation:
                touched.setdefault(operation["TableName"], []).append(key)
    for name, keys in touched.items():
        if name in backend.tables:
            backend.tables[name].touched = keys
    _transact(backend, items)


_moto.Table = PartitionedTable
_moto.DynamoDBBackend.transact_write_items = _transact_write_items


# An expression is read again with each request, from the same few texts.
_tokens = functools.lru_cache(maxsize=1000)(_moto_expressions.ExpressionTokenizer.make_list)
_moto_expressions.ExpressionTokenizer.make_list = staticmethod(lambda text: list(_tokens(text)))

_SHORT_WAY = {
    "GetItem": "get_item",
    "PutItem": "put_item",
    "UpdateItem": "update_item",
    "DeleteItem": "delete_item",
    "Query": "query",
    "Scan": "scan",
    "BatchGetItem": "batch_get_item",
    "BatchWriteItem": "batch_write_item",
    "TransactGetItems": "transact_get_items",
    "TransactWriteItems": "transact_write_items",
}


class Tables:
    """The items of all tables, kept in a journal."""

    def __init__(self, path: Path, region: str):
        self.lock = threading.RLock()
        self._region = region
        self._journal = Journal(path)
        self._backend: Any = dynamodb_backends[template.ACCOUNT][region]

    def load(self, tables: list[template.Table]) -> None:
        """Make the tables and put their kept items into them."""
        for table in tables:
            definition = table.definition
            self._backend.create_table(
                table.name,
                schema=definition["KeySchema"],
                throughput=None,
                attr=definition["AttributeDefinitions"],
                global_indexes=definition.get("GlobalSecondaryIndexes", []),
                indexes=definition.get("LocalSecondaryIndexes", []),
                streams=None,
                billing_mode="PAY_PER_REQUEST",
                sse_specification=None,
                tags=[],
                deletion_protection_enabled=False,
                warm_throughput=None,
            )
            if table.time_to_live:
                self._backend.tables[table.name].ttl = {
                    "TimeToLiveStatus": "ENABLED",
                    "AttributeName": table.time_to_live,
                }
        lives = {table.name: table.time_to_live for table in tables}
        now = time.time()
        kept = self._journal.open(lambda entry: not _expired(entry["item"], lives.get(entry["table"]), now))
        for entry in kept.values():
            if entry["table"] in self._backend.tables:
                _restore(self._backend.tables[entry["table"]], entry["item"])

    def answer(self, operation: str, body: bytes) -> Response | None:
        """A usual operation that succeeds; None for any other, which moto's own way answers. The lock is held."""
        method = _SHORT_WAY.get(operation)
        if method is None or b'"B"' in body or b'"BS"' in body:  # binary values come and go in another form
            return None
        handler = DynamoHandler()
        handler.current_account, handler.region = template.ACCOUNT, self._region
        handler.body = handler.params = json.loads(body)
        try:
            result = getattr(handler, method)().result
            content = json.dumps(result, default=_plain, separators=(",", ":")).encode()
        except Exception:
            # Nothing has changed, or would not change once more: moto knows how to say what was wrong.
            return None
        checksum = ("x-amz-crc32", str(binascii.crc32(content)))
        identity = ("x-amzn-requestid", uuid.uuid4().hex)
        return Response(200, content, [("Content-Type", "application/x-amz-json-1.0"), checksum, identity])

    def written(self, operation: str, body: bytes) -> None:
        """Keep what a successful request has changed. Called with the lock held."""
        if operation in _WRITES:
            self._journal.write(
                self._entry(table, key) for table, key in dict(self._keys(operation, json.loads(body))).values()
            )

    def _keys(self, operation: str, request: dict[str, Any]) -> Iterator[tuple[str, tuple[Table, dict[str, Any]]]]:
        """The items that a request may have changed, by their names in the journal."""
        match operation:
            case "PutItem":
                touched = [(request["TableName"], request["Item"])]
            case "UpdateItem" | "DeleteItem":
                touched = [(request["TableName"], request["Key"])]
            case "BatchWriteItem":
                touched = [
                    (name, next(iter(write.values())).get("Item") or next(iter(write.values()))["Key"])
                    for name, writes in request["RequestItems"].items()
                    for write in writes
                ]
            case _:
                touched = [
                    (action["TableName"], action.get("Item") or action["Key"])
                    for write in request["TransactItems"]
                    for kind, action in write.items()
                    if kind != "ConditionCheck"
                ]
        for name, attributes in touched:
            table = self._backend.get_table(name)
            key = {attribute: attributes[attribute] for attribute in table.table_key_attrs}
            yield json.dumps([table.name, *key.values()], separators=(",", ":")), (table, key)

    @staticmethod
    def _entry(table: Any, key: dict[str, Any]) -> tuple[str, Any]:
        name = json.dumps([table.name, *key.values()], separators=(",", ":"))
        values = [_key_value(key[attribute]) for attribute in table.table_key_attrs]
        item = table.get_item(*values)
        return name, {"table": table.name, "item": item.to_json()["Attributes"]} if item else None


def _plain(value: Any) -> Any:
    if isinstance(value, DynamoType):
        return value.to_json()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(type(value).__name__)


def _key_value(attribute: dict[str, Any]) -> DynamoType:
    ((kind, value),) = attribute.items()
    return DynamoType({kind: base64.b64decode(value) if kind == "B" else value})


def _restore(table: Any, attributes: dict[str, Any]) -> None:
    """Put an item back without checking once more what was checked when it was written."""
    hash_key = DynamoType(attributes[table.hash_key_attr])
    range_key = DynamoType(attributes[table.range_key_attr]) if table.range_key_attr else None
    item = Item(hash_key, range_key, {})
    item.attrs = LimitedSizeDict({name: DynamoType(value) for name, value in attributes.items()})
    if range_key is None:
        table.items[hash_key] = item
    else:
        table.items[hash_key][range_key] = item


def _expired(item: dict[str, Any], time_to_live: str | None, now: float) -> bool:
    at = item.get(time_to_live, {}).get("N") if time_to_live else None
    return at is not None and float(at) < now

"""DynamoDB: moto's tables, with real indexes and a journal of every changed item.

moto sorts the whole table for each query, copies it for each transaction, and needs 10 KB a row. Its general parser and
serializer take ten times as long as the operation. A ledger of some thousand rows would make every call slow. So here a
table reads only the items of a query, stores them as bytes, and has a fast path for the usual operations.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import RESULT_SIZE_LIMIT, Table
from moto.dynamodb.responses import DynamoHandler

from scripts.dev.http_server import Response
from scripts.dev.moto_aws.journal import Journal
from scripts.dev.moto_aws.rows import Rows, plain
from scripts.project import template

_WRITES = {
    "PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems", "ExecuteStatement",
    "BatchExecuteStatement", "ExecuteTransaction",
}  # fmt: skip


class PackedTable(Table):
    """A table that reads only the items of a query, and stores items as bytes. Used under one lock."""

    items: Any
    in_transaction = False
    _narrowed: list[Item] | None = None

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.items = Rows(self.hash_key_attr, self.range_key_attr)

    def query(
        self,
        hash_key: Any,
        range_comparison: Any,
        range_objs: Any,
        limit: Any,
        exclusive_start_key: Any,
        scan_index_forward: Any,
        projection_expressions: Any,
        index_name: str | None = None,
        *more: Any,
        **options: Any,
    ) -> Any:
        if index_name is None:
            keys = self.items.keys(hash_key)[:: 1 if scan_index_forward else -1]
            if self.range_key_type and range_comparison:
                fits = [_typed(self.range_key_type, key[1]).compare(range_comparison, range_objs) for key in keys]
                # And the next one: its existence makes moto return a LastEvaluatedKey.
                keys = [key for key, *of in zip(keys, fits, [False, *fits], strict=False) if any(of)]
            # moto's legacy filter parameters need the items.
            others = options.keys() - {"hash_key_conditions", "range_key_conditions"}
            self._narrowed = self._page(keys, exclusive_start_key, None if others else limit, scan_index_forward)
        else:
            wanted = [(name, value.type, value.value) for name, value in options.get("hash_key_conditions") or ()]
            text = next((value for _, kind, value in wanted if kind == "S"), None)
            self._narrowed = [item for item in self.items.every(text) if _has(item, wanted)]
        try:
            return super().query(
                hash_key, range_comparison, range_objs, limit, exclusive_start_key, scan_index_forward,
                projection_expressions, index_name, *more, **options,
            )  # fmt: skip
        finally:
            self._narrowed = None

    def scan(
        self,
        filters: Any,
        limit: Any,
        exclusive_start_key: Any,
        filter_expression: Any = None,
        index_name: str | None = None,
        *more: Any,
        **options: Any,
    ) -> Any:
        if index_name is None and not filters and options.get("segments", (None, None)) == (None, None):
            self._narrowed = self._page(self.items.keys(), exclusive_start_key, limit, forward=True)
        try:
            return super().scan(filters, limit, exclusive_start_key, filter_expression, index_name, *more, **options)
        finally:
            self._narrowed = None

    def _page(self, keys: list[Any], start: dict[str, Any] | None, limit: int | None, forward: bool) -> list[Item]:
        """The items of some keys after `start`, one more than a page can have."""
        names = (self.hash_key_attr, self.range_key_attr)
        behind = tuple(plain(DynamoType(start[name])) if name else None for name in names) if start else None
        found: list[Item] = []
        size = 0
        for key in keys:
            if behind is not None and (key <= behind if forward else key >= behind):
                continue
            found.append(item := self.items.copy(key))
            size += item.size()
            if size > RESULT_SIZE_LIMIT or len(found) == (limit or 0) + 1 > 1:
                break
        return found

    def all_items(self) -> list[Item]:
        # A query sorts its own result.
        return sorted(self.items.every(), key=_order) if self._narrowed is None else self._narrowed

    def has_idx_items(self, index_name: str) -> list[Item]:
        names = {key["AttributeName"] for key in self.get_index(index_name).schema}
        return [item for item in self.items.every() if names <= item.attrs.keys()]

    def __len__(self) -> int:
        return len(self.items.keys())

    def __deepcopy__(self, memo: dict[int, Any]) -> PackedTable:
        # moto copies a table to restore it if a transaction fails. Here failed changes are discarded anyway.
        if not self.in_transaction:
            raise NotImplementedError("the embedded AWS does not support backups")
        return self


def _typed(kind: str, value: Any) -> DynamoType:
    return DynamoType({kind: str(value) if kind == "N" else value})


def _order(item: Item) -> tuple[Any, Any]:
    return plain(item.hash_key), plain(item.range_key)


def _has(item: Item, wanted: list[tuple[str, str, Any]]) -> bool:
    for name, kind, value in wanted:
        attribute = item.attrs.get(name)
        if attribute is None or attribute.type != kind or attribute.value != value:
            return False
    return True


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
    """The items of all tables, stored in a journal."""

    def __init__(self, path: Path, region: str):
        self._lock = threading.RLock()
        self._region = region
        self._journal = Journal(path)
        self._backend: Any = dynamodb_backends[template.ACCOUNT][region]

    def load(self, tables: list[template.Table]) -> None:
        """Create the tables and load their stored items."""
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

        def restore(_: str, entry: Any) -> bool:
            if _expired(entry["item"], lives.get(entry["table"]), now):
                return False
            if entry["table"] in self._backend.tables:
                self._backend.tables[entry["table"]].items.restore(entry["item"])
            return True

        self._journal.open(restore)

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Hold the lock on the tables. Changes that are not committed by `written` are discarded."""
        with self._lock:
            try:
                yield
            finally:
                self._forget()

    def _forget(self) -> None:
        for table in self._backend.tables.values():
            table.items.forget()

    def answer(self, operation: str, body: bytes) -> Response | None:
        """The fast path: a usual operation that succeeds; None for any other, which moto answers. The lock is held."""
        method = _SHORT_WAY.get(operation)
        if method is None or b'"B"' in body or b'"BS"' in body:  # binary values have another wire format
            return None
        handler = DynamoHandler()
        handler.current_account, handler.region = template.ACCOUNT, self._region
        handler.body = handler.params = json.loads(body)
        try:
            result = getattr(handler, method)().result
            content = json.dumps(result, default=_plain, separators=(",", ":")).encode()
        except Exception:
            self._forget()  # moto produces the error response
            return None
        checksum = ("x-amz-crc32", str(binascii.crc32(content)))
        identity = ("x-amzn-requestid", uuid.uuid4().hex)
        return Response(200, content, [("Content-Type", "application/x-amz-json-1.0"), checksum, identity])

    def written(self, operation: str) -> None:
        """Write a successful request's changes to the journal, then commit them. Raises OSError."""
        if operation not in _WRITES:
            return
        changes = [
            (table, named, key, attributes)
            for table in self._backend.tables.values()
            for named, key, attributes in table.items.changed()
        ]
        self._journal.write(
            (
                json.dumps([table.name, *named.values()], separators=(",", ":")),
                None if attributes is None else {"table": table.name, "item": attributes},
            )
            for table, named, _, attributes in changes
        )
        for table, _, key, attributes in changes:
            table.items.keep(key, attributes)


def _plain(value: Any) -> Any:
    if isinstance(value, DynamoType):
        return value.to_json()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(type(value).__name__)


def _expired(item: dict[str, Any], time_to_live: str | None, now: float) -> bool:
    at = item.get(time_to_live, {}).get("N") if time_to_live else None
    return at is not None and float(at) < now

"""Rows of the ledger in DynamoDB's format, without a DynamoDB."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from gateway.aws.dynamodb import usage_rows
from gateway.usage.ledger import SHARDS, Partition
from gateway.usage.records import RequestId, UsageRecord
from tests.fakes import InMemoryLedger

Item = dict[str, dict[str, Any]]


def item(record: UsageRecord) -> Item:
    """A row in the table's format."""
    row: Item = usage_rows.to_item(record, timedelta(days=400))
    if record.is_open:
        return row
    del row["open_shard"]
    update = usage_rows.settlement("usage", record)
    values, names = update["ExpressionAttributeValues"], update["ExpressionAttributeNames"]
    return row | {names[f"#{name[1:]}"]: value for name, value in values.items() if f"#{name[1:]}" in names}


def page(items: Iterable[Item]) -> bytes:
    rows = list(items)
    return json.dumps({"Count": len(rows), "Items": rows, "ScannedCount": len(rows)}, separators=(",", ":")).encode()


class PagedLedger(InMemoryLedger):
    """The ledger in memory, with the pages that DynamoDB would return. `broken` has rows that no writer wrote."""

    def __init__(self, rows_of_a_page: int = 7) -> None:
        super().__init__()
        self.rows_of_a_page = rows_of_a_page
        self.broken: list[tuple[Partition, Item]] = []

    def items(self, partition: Partition) -> list[Item]:
        broken = [row for place, row in self.broken if place == partition]
        keys = {row["sk"]["S"] for row in broken}
        good = [row for row in map(item, self.read(partition)) if row["sk"]["S"] not in keys]
        return sorted([*good, *broken], key=lambda row: str(row["sk"]["S"]))

    def pages(self, partition: Partition) -> Iterator[bytes]:
        rows = self.items(partition)
        for first in range(0, max(len(rows), 1), self.rows_of_a_page):
            yield page(rows[first : first + self.rows_of_a_page])

    def hours_with_rows(self, hours: Collection[str]) -> set[str]:
        return ({record.hour for record in self.rows.values()} | {place.hour for place, _ in self.broken}) & set(hours)

    def count(self, hour: str) -> int:
        return sum(len(self.items(Partition(hour, shard))) for shard in range(SHARDS))

    def inspect(self, partition: Partition, not_after: datetime) -> Iterator[Any]:
        return (usage_rows.inspect(row, partition.hour, not_after) for row in self.items(partition))

    def break_row(self, record: UsageRecord, **changes: dict[str, Any] | None) -> Item:
        """Add a row that no writer would have written (None: an attribute is missing)."""
        row = {name: value for name, value in (item(record) | changes).items() if value is not None}
        self.broken.append((Partition.of(record), row))
        return row

    def mend_rows(self) -> None:
        """Correct the broken rows."""
        for _, row in self.broken:
            record = usage_rows.from_item(row)
            self.rows[(RequestId(record.request_id), record.attempt)] = record
        self.broken.clear()

"""The lake's costs and statements, as files for `gateway.statements.close_month`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from gateway.aws.lake.parquet import CLOSED, COSTS, open_file
from gateway.aws.s3.objects import Objects
from gateway.costs.cost_lines import ORIGINAL, CostLine

_COLUMNS = [name for name in COSTS.names if name != "team_id"]


class CostFiles:
    """`gateway.statements.chain.Costs`, from one file per day."""

    def __init__(self, objects: Objects):
        self._objects = objects
        self._keys: dict[str, list[str]] | None = None

    def days(self) -> list[str]:
        return sorted(self._files())

    def counts(self, day: str) -> Counter[tuple[str, str]]:
        counts: Counter[tuple[str, str]] = Counter()
        for key in self._files().get(day, ()):
            table = self._read(key, ["tenant_id", "line_kind"])
            grouped = table.group_by(["tenant_id", "line_kind"], use_threads=False)
            groups = grouped.aggregate([([], "count_all")]).to_pylist()
            counts.update({(row["tenant_id"], row["line_kind"]): row["count_all"] for row in groups})
        return counts

    def lines(self, day: str, first: str = "", last: str | None = None) -> Iterator[CostLine]:
        for key in self._files().get(day, ()):
            table = self._read(key, _COLUMNS)
            table = table.filter(pc.greater_equal(table["tenant_id"], first))
            if last is not None:
                table = table.filter(pc.less_equal(table["tenant_id"], last))
            for batch in table.to_batches(10_000):
                yield from (CostLine(**row) for row in batch.to_pylist())

    def is_closed(self, day: str) -> bool:
        return all(self._is_closed(key) for key in self._files().get(day, ()))

    def _is_closed(self, key: str) -> bool:
        with open_file(self._objects.open(key)) as file:
            return bool((file.schema_arrow.metadata or {}).get(CLOSED) == b"True")

    def _files(self) -> dict[str, list[str]]:
        """The files by day, listed once: a day whose first costs come during a closing belongs to an open month."""
        if self._keys is None:
            self._keys = {}
            for key in self._objects.list("costs/"):
                self._keys.setdefault(key.split("/")[1].removeprefix("dt="), []).append(key)
        return self._keys

    def _read(self, key: str, columns: list[str]) -> pa.Table:
        with open_file(self._objects.open(key)) as file:
            there = file.schema_arrow.names
            table = file.read([name for name in columns if name in there], use_threads=False)
            # Files from before restatements and list prices lack these columns: all lines are original, at list price.
            if "line_kind" in columns and "line_kind" not in there:
                table = table.append_column("line_kind", pa.repeat(ORIGINAL, len(table)))
            if "list_cost" in columns and "list_cost" not in there:
                table = table.append_column("list_cost", table["cost"])
        return table


class StatementFiles:
    """`gateway.statements.chain.Files`: an existing file is never overwritten."""

    def __init__(self, objects: Objects):
        self._objects = objects

    def names(self, prefix: str) -> list[str]:
        return list(self._objects.list(prefix))

    def read(self, name: str) -> bytes:
        return self._objects.open(name).read()

    def add(self, name: str, content: bytes) -> bool:
        return self._objects.put(name, [content], None)

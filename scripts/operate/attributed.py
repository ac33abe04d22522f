"""Divides a statement by user or by key, from the usage of its month: `gateway statements statement --by user`.

A statement itself names no user: it never changes, and a name must be able to go (decision 35). The lines here add up
to its usage; one more line has the difference, if usage came after the statement's lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from gateway.aws.lake.parquet import open_file
from gateway.aws.s3.objects import Objects
from gateway.pricing.price_book import ZERO
from gateway.statements.statement import Statement, days_of, exact_money
from gateway.usage.records import Outcome
from scripts.operate.tables import Table

BY = {"user": ("user_id", "user_source"), "key": ("key_id",)}
_COUNTED = ("input_tokens", "output_tokens")
_CALLS = pa.array([Outcome.SUCCEEDED.value, Outcome.INTERRUPTED.value])
LATER = "(not in the statement)"


class Share(NamedTuple):
    """The usage of one user or key in a month. `name` has the values of the columns of BY."""

    name: tuple[str, ...]
    invocations: int
    input_tokens: int
    output_tokens: int
    cost: Decimal

    def plus(self, other: Share) -> Share:
        return Share(
            self.name,
            self.invocations + other.invocations,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost + other.cost,
        )


Shares = dict[tuple[str, ...], Share]


def shares_of(month: str, by: str, objects: Objects) -> dict[str, Shares]:
    """The shares of each tenant, from the usage files of the month; a file of an earlier release names no user."""
    found: dict[str, Shares] = {}
    for day in days_of(month):
        for key in objects.list(f"usage/dt={day}/"):
            with open_file(objects.open(key)) as file:
                for place in range(file.num_row_groups):
                    for tenant, share in _of_rows(file, place, BY[by]):
                        shares = found.setdefault(tenant, {})
                        shares[share.name] = shares[share.name].plus(share) if share.name in shares else share
    return found


def _of_rows(file: Any, place: int, names: tuple[str, ...]) -> Iterator[tuple[str, Share]]:
    columns = ("tenant_id", *names, "outcome", *_COUNTED, "cost")
    there = [name for name in columns if name in file.schema_arrow.names]
    table = file.read_row_group(place, columns=there, use_threads=False)
    for name in set(names) - set(there):
        table = table.append_column(name, pa.repeat("", len(table)))
    table = table.append_column("invocations", pc.is_in(table["outcome"], value_set=_CALLS).cast(pa.int64()))
    summed = ("invocations", *_COUNTED, "cost")
    groups = table.group_by(["tenant_id", *names], use_threads=False).aggregate([(name, "sum") for name in summed])
    for row in groups.to_pylist():
        calls, read, made = (row[f"{name}_sum"] or 0 for name in summed[:-1])
        yield row["tenant_id"], Share(tuple(row[n] or "" for n in names), calls, read, made, row["cost_sum"] or ZERO)


def divided(statement: Statement, by: str, shares: Shares) -> list[Share]:
    """The shares, dearest first, and the difference to the statement's usage, so that they add up to it."""
    lines = sorted(shares.values(), key=lambda share: (-share.cost, share.name))
    total = statement.usage
    rest = Share(
        (LATER, *[""] * (len(BY[by]) - 1)),
        total.invocations - sum(share.invocations for share in lines),
        total.input_tokens - sum(share.input_tokens for share in lines),
        total.output_tokens - sum(share.output_tokens for share in lines),
        (total.cost or ZERO) - sum((share.cost for share in lines), ZERO),
    )
    return [*lines, rest] if any(rest[1:]) else lines


def divided_table(statement: Statement, by: str, shares: Shares) -> Table:
    total = statement.usage
    last = ("total", *[""] * (len(BY[by]) - 1), str(total.invocations), str(total.input_tokens))
    return Table(
        (*BY[by], "invocations", *_COUNTED, "cost"),
        [
            (*share.name, *map(str, share[1:4]), exact_money(share.cost) or "")
            for share in divided(statement, by, shares)
        ],
        (*last, str(total.output_tokens), exact_money(total.cost or ZERO) or ""),
        f"by {by}",
    )


def divided_as_json(statement: Statement, by: str, shares: Shares) -> list[dict[str, Any]]:
    return [
        dict(zip(BY[by], share.name, strict=True)) | {name: getattr(share, name) for name in Share._fields[1:]}
        for share in divided(statement, by, shares)
    ]

"""Converts a page of the ledger, from DynamoDB's JSON to priced columns, without a Python object for each row.

This fast path takes pages of ordinary rows. If a page has any other row, it is `Unusual`: the slow path reads the whole
page row by row, to find what is wrong with which row. Both paths give the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce
from itertools import compress
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from gateway.aws.dynamodb.usage_rows import inspect, items
from gateway.aws.lake.parquet import USAGE, WHOLE, money_of, usage_table
from gateway.costs.cost_lines import TOKENS
from gateway.costs.pricer import PRICED, UNPRICED, Pricer, Rates
from gateway.costs.stores import QuarantinedRow
from gateway.pricing.price_book import INPUT_UNITS, LONG_CONTEXTS, PriceBook
from gateway.usage.records import (
    KeyId,
    ModelId,
    Outcome,
    PriceStatus,
    RequestId,
    TenantId,
    TokenUsage,
    UsageRecord,
    UserSource,
)
from gateway.usage.tags import NO_TAGS, is_tags_text

_INTS = pa.int64()
_MICROSECONDS = pa.timestamp("us", tz="UTC")
_TEXT = pa.struct([("S", pa.string())])
_NUMBER = pa.struct([("N", pa.string())])
_NEEDED = (
    "pk", "sk", "request_id", "tenant_id", "cost_centre", "key_id", "operation", "model_id", "model_used", "region",
    "started_at", "lease_until", "outcome",
)  # fmt: skip
# Attributes that a row may omit, and their defaults.
_OTHERWISE = {
    "image_class": "", "service_tier": TokenUsage().service_tier, "usage_source": TokenUsage().source, "error_code": "",
    "raw": "", "asked_model": "", "routing": "", "user_id": "", "user_source": "", "tags": NO_TAGS,
}  # fmt: skip
_ITEM = pa.struct(
    [(name, _TEXT) for name in (*_NEEDED, *_OTHERWISE, "settled_at")]
    + [(name, _NUMBER) for name in ("attempt", *TOKENS)]
)
_AS_JSON = pj.ParseOptions(
    explicit_schema=pa.schema([("Items", pa.list_(_ITEM))]),
    newlines_in_values=True,
    unexpected_field_behavior="ignore",
)
_OUTCOMES = pa.array([outcome.value for outcome in Outcome])
_SOURCES = pa.array([source.value for source in UserSource])
_MOST_TAGS = 10_000  # checked texts in memory
_THRESHOLDS = tuple(threshold for threshold, _ in LONG_CONTEXTS)
_CONTEXT = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
_PARTS = (*TOKENS, "seconds")
# An ARN may have its own prices, so several names can price the calls of one model id.
_PRICED_BY = ("model_id", "model_used", "region", "service_tier", "image_class", "outcome", "usage_source")

Columns = dict[str, Any]


def priced_otherwise(table: pa.Table, pricer: Pricer) -> bool:
    """Would any of these rows of the lake (`parquet.usage_tables`) have another cost under this price book?

    The lake's times are in milliseconds: a call that is billed by the second may seem a second shorter than it was.
    """
    if not table.num_rows:
        return False
    columns: Columns = {name: table[name].combine_chunks() for name in table.column_names}
    nothing = pa.repeat("", table.num_rows)
    columns |= {name: nothing for name in (*_NEEDED, *_OTHERWISE) if name not in columns}
    # An older file may lack a count that was added later.
    columns |= {name: pa.repeat(pa.scalar(0, _INTS), table.num_rows) for name in TOKENS if name not in columns}
    for name in ("started_at", "settled_at"):
        columns[name] = columns[name].cast(_MICROSECONDS)
    columns["lease_until"] = columns["started_at"]
    columns["attempt"] = pa.repeat(pa.scalar(1, pa.int32()), table.num_rows)
    columns["seconds"] = _seconds(columns)
    try:
        PricedPages("", pricer, datetime.max.replace(tzinfo=UTC))._price(columns)
    except (Unusual, pa.ArrowInvalid, OverflowError):
        return True  # undecidable here: the hour is done again, row by row
    return any(
        not columns[name].cast(table.schema.field(name).type).equals(table[name].combine_chunks())
        for name in ("input_cost", "output_cost", "cost", "list_cost", "price_status", "price_rows")
    )


class Unusual(Exception):
    """A page must be read row by row."""


@dataclass
class PricedPages:
    """Converts the pages of an hour to tables of the lake; unreadable rows are added to `quarantined`."""

    hour: str
    pricer: Pricer
    not_after: datetime
    rows: int = 0
    quarantined: list[QuarantinedRow] = field(default_factory=list)
    _kinds: dict[Any, _Kind] = field(default_factory=dict)
    _tags: set[str] = field(default_factory=set)

    def table(self, page: bytes) -> pa.Table:
        try:
            table = self._quick(page)
        except (Unusual, pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError):
            table = self._slow(page)
        self.rows += table.num_rows
        return table

    def _slow(self, page: bytes) -> pa.Table:
        found = [inspect(item, self.hour, self.not_after) for item in items(page)]
        self.quarantined += [row for row in found if isinstance(row, QuarantinedRow)]
        good = [self.pricer.price(row) for row in found if not isinstance(row, QuarantinedRow)]
        return usage_table(good, self.pricer.book.version)

    def _quick(self, page: bytes) -> pa.Table:
        columns = _read(page)
        if not columns:
            return USAGE.empty_table()
        _check(columns, self.hour, self.not_after)
        self._check_tags(columns["tags"])
        self._price(columns)
        columns["started_at"] = columns["started_at"].cast(USAGE.field("started_at").type, safe=False)
        columns["settled_at"] = columns["settled_at"].cast(USAGE.field("settled_at").type, safe=False)
        columns["price_version"] = pa.repeat(self.pricer.book.version, len(columns["sk"]))
        columns["provider_usage"] = columns["raw"]
        return pa.table([columns[name] for name in USAGE.names], schema=USAGE)

    def _check_tags(self, tags: Any) -> None:
        """Raise Unusual for tags in any other form than the ledger writes; each text is read once."""
        new = set(pc.unique(tags).to_pylist()) - self._tags
        if not all(map(is_tags_text, new)):
            raise Unusual("tags")
        if len(self._tags) + len(new) > _MOST_TAGS:
            self._tags.clear()
        self._tags |= new

    def _price(self, columns: Columns) -> None:
        """Add each row's costs, computed per kind of row, since a page has few kinds."""
        which, kinds = self._kinds_of(columns)
        columns["price_status"] = pa.array([kind.status for kind in kinds]).take(which)
        columns["price_rows"] = pa.array([kind.names for kind in kinds]).take(which)
        sides: dict[bool, Any] = {}
        for side in (True, False):
            sides[side] = _costs(columns, which, [None if k.charge is None else k.charge[side] for k in kinds])
        columns["input_cost"], columns["output_cost"] = (_money(sides[True]), _money(sides[False]))
        total = pc.add_checked(sides[True], sides[False])
        columns["cost"] = columns["list_cost"] = _money(total)
        if any(kind.listed is not kind.charge for kind in kinds):
            listed = [
                _costs(columns, which, [None if k.listed is None else k.listed[side] for k in kinds])
                for side in (True, False)
            ]
            columns["list_cost"] = _money(pc.add_checked(*listed))

    def _kinds_of(self, columns: Columns) -> tuple[Any, list[_Kind]]:
        """The kinds of rows with the same prices, and the index of each row's kind."""
        views: dict[int, int] = {}
        books: list[PriceBook] = []
        tenants = columns["tenant_id"].dictionary_encode()
        view_of = []
        for tenant in tenants.dictionary.to_pylist():
            book = self.pricer.view(tenant)
            if id(book) not in views:
                views[id(book)] = len(books)
                books.append(book)
            view_of.append(views[id(book)])
        code = pa.array(view_of, _INTS).take(tenants.indices)
        texts = []
        for name in _PRICED_BY:
            encoded = columns[name].dictionary_encode()
            texts.append(encoded.dictionary.to_pylist())
            if len(texts[-1]) > 1:
                code = pc.add_checked(pc.multiply_checked(code, len(texts[-1])), encoded.indices.cast(_INTS))
        context = reduce(pc.add_checked, [columns[name] for name in _CONTEXT])
        highest = pc.max(context).as_py()
        passed = [pc.greater(context, threshold).cast(_INTS) for threshold in _THRESHOLDS if highest > threshold]
        for bit in passed:
            code = pc.add_checked(pc.multiply_checked(code, 2), bit)
        used = [name for name in _PARTS if pc.max(columns[name]).as_py() > 0]
        for name in used:
            code = pc.add_checked(pc.multiply_checked(code, 2), pc.greater(columns[name], 0).cast(_INTS))
        which = code.dictionary_encode()
        kinds = []
        for number in which.dictionary.to_pylist():
            left, bits = divmod(number, 2 ** len(used))
            left, contexts = divmod(left, 2 ** len(passed))
            said = []
            for words in reversed(texts):
                left, place = divmod(left, len(words))
                said.append(words[place])
            names = tuple(compress(used, (bits >> n & 1 for n in reversed(range(len(used))))))
            key = (id(books[left]), *said, contexts.bit_count(), names)
            if key not in self._kinds:
                first = pc.index(code, pa.scalar(number, _INTS)).as_py()
                self._kinds[key] = self._kind(books[left], _record(columns, first))
            kinds.append(self._kinds[key])
        return which.indices, kinds

    def _kind(self, book: PriceBook, record: UsageRecord) -> _Kind:
        """The kind of a row, with its prices."""
        if record.price_status is PriceStatus.FREE:
            return _Kind(PRICED, "", _FREE, _FREE)
        if record.price_status is not PriceStatus.PRICEABLE:
            return _Kind(record.price_status.value, "", None, None)
        parts, rates = self.pricer.rates(book, record)
        listed_book = self.pricer.book.listed
        charge = _by_column(parts, rates)
        listed = charge if book is listed_book else _by_column(*self.pricer.rates(listed_book, record))
        return _Kind(UNPRICED if rates is None else PRICED, rates.names if rates else "", charge, listed)


Sides = Mapping[bool, Mapping[str, int]]
_FREE: Sides = {True: {}, False: {}}


class _Kind(NamedTuple):
    """The prices of rows of a kind: per unit of each column, for the input side (True) and the output side (False)."""

    status: str
    names: str
    charge: Sides | None
    listed: Sides | None


def _by_column(parts: list[tuple[str, int]], rates: Rates | None) -> Sides | None:
    if rates is None:
        return None
    sides: dict[bool, dict[str, int]] = {True: {}, False: {}}
    for (unit, _), each in zip(parts, rates.each, strict=True):
        column = _COLUMN_OF.get(unit.partition(":")[0])
        if column is None:
            raise Unusual(unit)
        sides[unit in INPUT_UNITS][column] = each
    return sides


_COLUMN_OF = {name: name for name in _CONTEXT} | {
    "output_tokens": "output_tokens", "image": "images", "input_image": "input_images", "second": "seconds",
}  # fmt: skip


def _costs(columns: Columns, which: Any, rates: list[Mapping[str, int] | None]) -> Any:
    """One side of the costs of all rows, in whole 10^-12 USD; null if a kind has no price."""
    total = pa.array([None if rate is None else 0 for rate in rates], _INTS).take(which)
    for name in _PARTS:
        each = [rate.get(name, 0) if rate else 0 for rate in rates]
        if any(each):
            cost = pc.multiply_checked(pa.array(each, _INTS).take(which), columns[name])
            total = pc.add_checked(total, cost)
    return total


def _money(whole: Any) -> Any:
    return money_of(whole.cast(WHOLE))


def _read(page: bytes) -> Columns:
    """A page as columns; empty if it has no rows. Raises if an attribute has the wrong type."""
    options = pj.ReadOptions(use_threads=False, block_size=len(page) + 1)
    found = pj.read_json(pa.BufferReader(page), read_options=options, parse_options=_AS_JSON)["Items"].combine_chunks()
    items = found.flatten()
    if not len(items):
        return {}
    if found.null_count or items.null_count:
        raise Unusual("a row is null")
    columns: Columns = {}
    for name in (*_NEEDED, "attempt"):
        columns[name] = _content(items, name)
        if columns[name].null_count:
            raise Unusual(name)
    for name, otherwise in _OTHERWISE.items():
        columns[name] = _content(items, name)
        if columns[name].null_count:
            columns[name] = columns[name].fill_null(otherwise)
    columns["attempt"] = columns["attempt"].cast(pa.int32())
    for name in TOKENS:
        column = _content(items, name)
        if column.null_count == len(column):
            columns[name] = pa.repeat(pa.scalar(0, _INTS), len(column))
        else:
            columns[name] = column.cast(_INTS).fill_null(0)
    columns["lease_until"] = columns["lease_until"].cast(_MICROSECONDS)
    columns["started"] = columns["started_at"]
    columns["started_at"] = columns["started_at"].cast(_MICROSECONDS)
    columns["settled_at"] = _content(items, "settled_at").cast(_MICROSECONDS)
    return columns


def _content(items: Any, name: str) -> Any:
    """The values of an attribute; null if a row lacks it."""
    attribute = items.field(name)
    content = attribute.field(0)
    if content.null_count != attribute.null_count:
        raise Unusual(name)
    return content


def _check(columns: Columns, hour: str, not_after: datetime) -> None:
    """Raise Unusual for any row that `implausible_reason` would reject; add the duration of each call."""
    started = columns.pop("started")
    attempts = pc.utf8_lpad(columns["attempt"].cast(pa.string()), 4, "0")
    usual = [
        pc.all(pc.is_in(columns["outcome"], value_set=_OUTCOMES)),
        pc.all(pc.is_in(columns["user_source"], value_set=_SOURCES)),
        pc.all(pc.starts_with(started, f"{hour}:")),
        pc.all(pc.ends_with(started, "Z")),
        pc.all(pc.equal(columns["sk"], pc.binary_join_element_wise(columns["request_id"], attempts, "#"))),
    ]
    took = _microseconds(columns)
    if not (
        all(answer.as_py() for answer in usual)
        and pc.max(columns["started_at"]).as_py() <= not_after
        and pc.min(columns["attempt"]).as_py() > 0
        and all(pc.min(columns[name]).as_py() >= 0 for name in TOKENS)
        and pc.min(took).as_py() >= -1_000_000
    ):
        raise Unusual("a row is implausible")
    columns["seconds"] = _seconds(columns)


def _microseconds(columns: Columns) -> Any:
    """The duration of each call."""
    return pc.subtract(columns["settled_at"].cast(_INTS), columns["started_at"].cast(_INTS)).fill_null(0)


def _seconds(columns: Columns) -> Any:
    """The duration of each call, rounded up to whole seconds."""
    return pc.divide(pc.add(_microseconds(columns), 999_999), 1_000_000)


def _record(columns: Columns, place: int) -> UsageRecord:
    """One row of a page."""
    said = {name: columns[name][place].as_py() for name in (*_NEEDED, *_OTHERWISE, "settled_at", "attempt", *TOKENS)}
    return UsageRecord(
        request_id=RequestId(said["request_id"]),
        attempt=said["attempt"],
        tenant_id=TenantId(said["tenant_id"]),
        cost_centre=said["cost_centre"],
        key_id=KeyId(said["key_id"]),
        operation=said["operation"],
        model_id=ModelId(said["model_id"]),
        model_used=said["model_used"],
        region=said["region"],
        started_at=said["started_at"],
        lease_until=said["lease_until"],
        outcome=Outcome(said["outcome"]),
        settled_at=said["settled_at"],
        usage=TokenUsage(
            **{name: said[name] for name in (*TOKENS, "image_class", "service_tier", "raw")},
            source=said["usage_source"],
        ),
        error_code=said["error_code"],
    )

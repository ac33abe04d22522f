"""The first step of a run: price the rows of an hour and write them as files of the lake."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain

from gateway.core.times import hour_of
from gateway.costs.cost_lines import TOKENS
from gateway.costs.pricer import Pricer
from gateway.costs.stores import Lake, Source, WrittenFile
from gateway.costs.usage_files import UsageFile
from gateway.pricing.price_book import PriceBook
from gateway.usage.records import Outcome, UsageRecord


def implausible_reason(record: UsageRecord, hour: str, not_after: datetime) -> str:
    """The reason why a readable row cannot be true; empty if it can."""
    for name in TOKENS:
        if not 0 <= getattr(record.usage, name) < 2**63:
            return f"{name} is {getattr(record.usage, name)}"
    if not 0 < record.attempt < 2**31:
        return f"attempt is {record.attempt}"
    if record.started_at > not_after:
        return "started_at is in the future"
    if hour_of(record.started_at) != hour:
        return f"started_at is not in the hour {hour}"
    settled_at = record.settled_at
    if settled_at and record.outcome is not Outcome.UNSETTLED and settled_at < record.started_at - timedelta(seconds=1):
        return "settled_at is before started_at"
    return ""


def price_usage(file: UsageFile, source: Source, lake: Lake, book: PriceBook, not_after: datetime) -> WrittenFile:
    """Price every row of a file's shards and write them as that file."""

    def pages() -> Iterator[bytes]:
        return chain.from_iterable(map(source.pages, file.partitions()))

    return lake.replace_usage(file, Pricer(book), pages, not_after)

"""The last step of a run: ledger == usage == costs, priced a second way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from gateway.costs.cost_lines import (
    CHARGED,
    COUNTS,
    LISTED,
    MONEY,
    RESTATEMENT,
    TOKENS,
    CostLine,
    CostsDoNotMatch,
    Group,
    lines_by_group,
)
from gateway.costs.pricer import prices_of
from gateway.costs.stores import Lake, QuarantinedRow, Source
from gateway.costs.usage_files import NOTHING, UsageFile, check_division, file_digest
from gateway.pricing.price_book import INPUT_UNITS, ZERO, PriceBook
from gateway.usage.records import Outcome, PriceStatus, UsageRecord


# ---------------------------------------------------------------------------------------------------------------- proof
class VerifiedFile(NamedTuple):
    """A proven usage file: does it have open rows, does it have unpriced rows, how many rows are unreadable.

    `proof` has the proven version of the file and the version of the price book: `<digest>@<book version>`.
    """

    open: bool
    unpriced: bool
    quarantined: int
    proof: str


def verify_usage(
    file: UsageFile, closed_until: str, source: Source, lake: Lake, book: PriceBook, not_after: datetime
) -> VerifiedFile:
    """Prove that a usage file matches its shards of the ledger. Raises CostsDoNotMatch.

    A row that was open when the file was written may have settled since, so only its presence is compared. An hour that
    is not over may have new rows.
    """
    expected_keys = {UsageFile(file.hour, part, file.parts).key for part in range(file.parts)}
    # List before reading: if a later version replaces the file, its digest differs and the next run notices.
    files = lake.usage_files(file.hour)
    if unexpected := files.keys() - expected_keys:
        raise CostsDoNotMatch(file.hour, [f"{key} is not one of its usage files" for key in sorted(unexpected)])
    complete = file.hour <= closed_until
    was_open = lake.rows(file, only_open=True)
    present = None if complete else lake.rows(file, only_open=False)
    found_open = 0
    unread: set[tuple[str, str]] = set()

    def settled() -> Iterator[UsageRecord]:
        nonlocal found_open
        for partition in file.partitions():
            for record in source.inspect(partition, not_after):
                if isinstance(record, QuarantinedRow):
                    unread.add((record.pk, record.sk))
                    continue
                key = (str(record.request_id), record.attempt)
                if key in was_open:
                    found_open += 1
                elif present is None or key in present:
                    yield record

    of_ledger = price_by_kind(settled(), book)
    if found_open != len(was_open):
        raise CostsDoNotMatch(file.hour, [f"usage has {len(was_open)} open rows; the ledger has {found_open} of them"])
    if complete and (differing := unread ^ lake.quarantined(file)):
        raise CostsDoNotMatch(
            file.hour, [f"{sk} of {pk} is wrongly in quarantine or missing from it" for pk, sk in sorted(differing)]
        )
    _compare(file.hour, "ledger", of_ledger, "usage", lines_by_group(lake.settled_usage(file)))
    digest = file_digest(file.key, files[file.key]) if file.key in files else NOTHING
    unpriced = any(line.unpriced_invocations for line in of_ledger.values())
    return VerifiedFile(bool(was_open), unpriced, len(unread), f"{digest}@{book.version}")


def verify_day(day: str, lake: Lake) -> list[CostLine]:
    """Prove that the costs of a day match its usage files, and return them. Raises CostsDoNotMatch."""
    check_division(day, lake.usage_files(day))
    lines = list(lake.costs_of_day(day))
    if lake.is_whole(day):
        restated = frozenset(line.group for line in lines if line.line_kind == RESTATEMENT)
        _compare(day, "usage", lines_by_group(lake.usage_of_day(day)), "costs", lines_by_group(lines), restated)
    return lines


class _Kind(NamedTuple):
    """The key of rows that have the same prices."""

    group: Group
    name: str  # the name that prices them
    region: str
    tier: str
    on: date
    units: tuple[str, ...]
    listed: bool


def price_by_kind(records: Iterable[UsageRecord], book: PriceBook) -> dict[Group, CostLine]:
    """Compute the costs a second way: sum the tokens of each kind first, then price each sum once, with Decimal."""
    sums: dict[Group, dict[str, Any]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    used: dict[_Kind, list[int]] = {}
    rows: dict[_Kind, int] = defaultdict(int)

    def add(record: UsageRecord, group: Group, view: PriceBook, listed: bool) -> None:
        parts = list(view.parts(record))
        name, on = view.pricing_name(record), record.started_at.date()
        tier = view.tier(name, record.region, record.usage)
        kind = _Kind(group, name, record.region, tier, on, tuple([unit for unit, _ in parts]), listed)
        rows[kind] += 1
        totals = used.setdefault(kind, [0] * len(parts))
        for place, (_, quantity) in enumerate(parts):
            totals[place] += quantity

    for record in records:
        usage = record.usage
        group = (str(record.tenant_id), record.cost_centre, str(record.model_id))
        line = sums[group]
        line["invocations"] += record.outcome in (Outcome.SUCCEEDED, Outcome.INTERRUPTED)
        for name in TOKENS:
            line[name] += getattr(usage, name)
        match record.price_status:
            case PriceStatus.OPEN:
                line["open_invocations"] += 1
            case PriceStatus.FREE:
                line["failed_invocations"] += 1
                _charge(line, MONEY)
            case PriceStatus.UNSETTLED:
                line["unsettled_invocations"] += 1
            case PriceStatus.PRICEABLE:
                view = book.for_tenant(group[0])
                add(record, group, view, listed=False)
                if view is not book.listed:
                    add(record, group, book.listed, listed=True)
    for kind, totals in used.items():
        line = sums[kind.group]
        view = book.listed if kind.listed else book.for_tenant(kind.group[0])
        prices = prices_of(view, kind.name, kind.region, kind.tier, kind.on, kind.units)
        if prices is None:
            line["unpriced_invocations"] += 0 if kind.listed else rows[kind]
            continue
        kinds_of_money = LISTED if kind.listed else MONEY if view is book.listed else CHARGED
        _charge(line, kinds_of_money)
        for unit, price, quantity in zip(kind.units, prices, totals, strict=True):
            other_side = "output_cost" if unit in INPUT_UNITS else "input_cost"
            _charge(line, [name for name in kinds_of_money if name != other_side], price.of(quantity))
    return {group: CostLine(*group, **line) for group, line in sums.items()}


def _charge(line: dict[str, Any], names: Iterable[str], usd: Decimal = ZERO) -> None:
    """Add to costs; a cost that was unknown (absent) becomes known, even if it is 0."""
    for name in names:
        line[name] = line.get(name, ZERO) + usd


def _compare(
    period: str,
    one: str,
    ones: Mapping[Group, CostLine],
    other: str,
    others: Mapping[Group, CostLine],
    restated: frozenset[Group] = frozenset(),
) -> None:
    """Raise CostsDoNotMatch on any difference; for a restated group, a sum of 0 equals no line."""
    differences = [
        f"{name} of {'/'.join(group)} is {left} in {one} and {right} in {other}"
        for group in sorted(ones.keys() | others.keys())
        for name in (*COUNTS, *MONEY)
        if (left := getattr(ones.get(group), name, None)) != (right := getattr(others.get(group), name, None))
        and not (group in restated and not left and not right)
    ]
    if differences:
        raise CostsDoNotMatch(period, differences)

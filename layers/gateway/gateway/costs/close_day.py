"""The second step of a run: sum a day's usage into its costs; once its hours are over, restate them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from gateway.costs.cost_lines import RESTATEMENT, CostLine, CostsDoNotMatch, DayCosts, Group, RowKey, lines_by_group
from gateway.costs.periods import past_retention
from gateway.costs.price_usage import price_usage
from gateway.costs.stores import CorruptPart, Lake, Source
from gateway.costs.usage_files import UsageFile, check_division, older_hour
from gateway.pricing.price_book import PriceBook

# Neither the ledger nor the usage files still have the day's usage.
LOST_TWICE = "they differ from their proof, and usage of the day is lost: restore the version that the bucket keeps"


class ClosedDay(NamedTuple):
    """A day's number of lines, the unreadable files that were rebuilt (`mended`), and those lost permanently."""

    lines: int
    mended: list[str]
    lost: list[str]


def close_day(
    day: str,
    complete: bool,
    scheduled: datetime,
    source: Source,
    lake: Lake,
    book: PriceBook,
    not_after: datetime,
    retention: timedelta = timedelta(days=400),
    *,
    rebuild: bool = False,
) -> ClosedDay:
    """Sum the usage of a day into its costs.

    Until all hours of a day are done, each run replaces its lines. `complete` closes the day: from then on, every
    difference (a late row, another price) becomes a separate line, restated at the run's scheduled time.

    A file that cannot be read is rebuilt from the ledger. If the ledger has dropped its rows, they are lost and the
    costs stay unchanged. Set `rebuild` if the costs are lost or differ from their proof: they are rebuilt from the
    usage, unless an unfinished run wrote them, since a closed day only gains lines. Raises CostsDoNotMatch if they
    cannot be rebuilt.
    """
    mended, lost = list[str](), list[str]()

    def is_kept(hour: str) -> bool:
        return not past_retention(hour, scheduled, retention)

    for hour in filter(is_kept, _hours_in_both_layouts(lake.usage_files(day))):
        _migrate_hour(hour, source, lake, book, not_after)
    check_division(day, lake.usage_files(day))
    while True:
        try:
            sums = lines_by_group(lake.usage_of_day(day))
            break
        except CorruptPart as part:
            if part.key in {*mended, *lost}:
                raise
            if part.older_hour and is_kept(part.older_hour):
                _migrate_hour(part.older_hour, source, lake, book, not_after)
                mended.append(part.key)
                continue
            file = part.usage_file
            known = file is not None and is_kept(file.hour)
            if not (file and known and price_usage(file, source, lake, book, not_after).rows):
                lake.set_aside(part, lost=not known)
            (mended if known else lost).append(part.key)
    whole = lake.is_whole(day)
    if rebuild and not lake.has_costs_as_written(day):
        if not whole:
            raise CostsDoNotMatch(day, [LOST_TWICE])
        for key in lake.costs_files(day):
            lake.set_aside(CorruptPart(key), lost=False)
        mended.append(f"costs/dt={day}/part-0.parquet")

    def costs(existing: DayCosts | None) -> DayCosts:
        if existing is None or (whole and not existing.closed):
            return DayCosts(tuple(line for _, line in sorted(sums.items())), complete)
        return _restated(existing, sums, scheduled) if whole else existing

    try:
        return ClosedDay(lake.replace_costs(day, costs), mended, lost)
    except CorruptPart as part:
        if not whole:
            raise CostsDoNotMatch(day, [LOST_TWICE]) from part
        lake.set_aside(part, lost=False)
        return ClosedDay(lake.replace_costs(day, costs), [*mended, part.key], lost)


def _hours_in_both_layouts(keys: Iterable[str]) -> list[str]:
    """The hours that have files in today's layout and still have files of the older one, a file for each shard."""
    known = list(keys)
    older = {hour for key in known if (hour := older_hour(key))}
    return sorted(older & {file.hour for key in known if (file := UsageFile.at(key))})


def _migrate_hour(hour: str, source: Source, lake: Lake, book: PriceBook, not_after: datetime) -> None:
    """Rewrite an hour of the older layout in today's, prove that no row is missing, and drop its older files.

    Raises CostsDoNotMatch.
    """
    keys = lake.usage_files(hour)
    older = {key for key in keys if older_hour(key)}
    parts = min((file.parts for key in keys if (file := UsageFile.at(key))), default=1)
    files = [UsageFile(hour, part, parts) for part in range(parts)]
    found = set[RowKey]()
    for file in files:
        price_usage(file, source, lake, book, not_after)
        found |= lake.rows(file, only_open=False)
        found |= {(name, int(attempt)) for name, _, attempt in (sk.rpartition("#") for _, sk in lake.quarantined(file))}
    if missing := lake.older_rows(older) - found:
        differences = [f"{name}#{attempt} is in the older files, and not in the ledger" for name, attempt in missing]
        raise CostsDoNotMatch(hour, sorted(differences))
    lake.drop_older(hour)


def _restated(existing: DayCosts, sums: Mapping[Group, CostLine], at: datetime) -> DayCosts:
    """The closed costs of a day, plus a restatement for each difference from the current sums."""
    so_far, nothing = lines_by_group(existing.lines), CostLine("", "", "")
    lines = list(existing.lines)
    for group in sorted(sums.keys() | so_far.keys()):
        empty = replace(nothing, tenant_id=group[0], cost_centre=group[1], model_id=group[2])
        now = sums.get(group, empty)
        if difference := now + -so_far.get(group, empty):
            lines.append(replace(difference, price_version=now.price_version, line_kind=RESTATEMENT, restated_at=at))
    return DayCosts(tuple(lines), existing.closed)

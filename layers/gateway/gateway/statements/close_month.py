"""Closes a month: writes every tenant's statement once, when all its lines are known and verified.

If a run is interrupted, the next one continues and keeps the files that exist. A run takes about 30 microseconds of CPU
a line of the costs and three writes a tenant. It keeps one page of lines in memory, plus all restatements of earlier
months: the 15 minutes of a Lambda suffice for some thousands of tenants and ten million lines a month.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime, timedelta
from typing import Any

from gateway.costs.cost_lines import RESTATEMENT
from gateway.costs.periods import Periods
from gateway.statements.chain import (
    CSV,
    LATE,
    MANIFEST,
    PAGE,
    Chain,
    Costs,
    Files,
    Link,
    closed_months,
    digest,
    folder,
    month_manifest,
    sealed,
    tenant_manifest,
)
from gateway.statements.html import to_html
from gateway.statements.statement import (
    DatedLine,
    Statement,
    StatementError,
    closes_at,
    days_of,
    exact_money,
    from_csv,
    month_after,
    month_of_day,
    timestamp,
    to_csv,
)

Holes = Callable[[Sequence[str]], Sequence[str]]

# Lines of the costs in memory at a time, unless a single tenant has more.
PAGE_LINES = 100_000


class MonthNotComplete(StatementError):
    """The month cannot be closed yet, since some of its costs are not final; a later run closes it."""

    def __init__(self, month: str, why: str):
        super().__init__(f"{month} cannot be closed yet: {why}")


class MonthBeforeChain(StatementError):
    """The month is before the first closed month; each statement is linked to the month before it."""

    def __init__(self, month: str, first: str):
        super().__init__(
            f"{month} cannot be closed any more: {first} is the first closed month, and a statement before it would "
            f"break the chain. The next statement includes the usage of {month}"
        )


class MonthHasHoles(MonthNotComplete):
    """No run has proven that the usage of some of the month's hours is in the costs."""

    def __init__(self, month: str, holes: Sequence[str]):
        days = sorted({hole[:10] for hole in holes})
        super().__init__(
            month,
            f"{len(holes)} of its hours or days are not proven to be in the costs, the first is {holes[0]}. The hourly "
            f"run will do them; to do them at once, run `gateway backfill {days[0]} {days[-1]}`",
        )


class StatementDiffers(StatementError):
    """A closed month no longer matches the costs: one of the two was changed."""

    def __init__(self, where: str, difference: str):
        super().__init__(f"{where} differs: {difference}")


# ------------------------------------------------------------------------------------------------------------- closing
def months_due(at: datetime, costs: Costs, files: Files, delay_days: int) -> list[str]:
    """The months past their closing time without statements, following the last closed month without a gap."""
    closed = closed_months(files)
    days = [] if closed else costs.days()
    if not closed and not days:
        return []
    month, due = month_after(closed[-1]) if closed else month_of_day(days[0]), []
    while closes_at(month, delay_days) <= at:
        due.append(month)
        month = month_after(month)
    return due


def close_month(
    month: str,
    at: datetime,
    periods: Periods,
    holes: Holes,
    costs: Costs,
    files: Files,
    delay_days: int,
    page_lines: int = PAGE_LINES,
    retention: timedelta = timedelta(days=400),
    name_of: Callable[[str], str] = lambda tenant_id: "",
) -> dict[str, Any]:
    """Write the statements of a month; for a closed month, only prove that they match the costs.

    `holes` returns the hours of these days that are not proven to be in the costs (`gateway.costs.proofs`); `name_of`
    returns a tenant's display name.
    Raises MonthNotComplete, MonthBeforeChain, and StatementDiffers if an existing file differs.
    """
    closed = closed_months(files)
    if closed and month < closed[0]:
        raise MonthBeforeChain(month, closed[0])
    chain = Chain.read(files, before=month)
    if (name := folder(month) + MANIFEST) in files.names(folder(month)):
        _prove_closed(month, chain, costs, files, delay_days, page_lines)
        return {"month": month, "tenants": len(json.loads(files.read(name))["tenants"]), "closed": False}
    _must_be_complete(month, at, periods, holes, costs, chain, delay_days, retention)
    closes = closes_at(month, delay_days)
    existing = set(files.names(folder(month)))
    manifests: dict[str, bytes] = {}
    for tenant, lines in lines_by_tenant(month, chain, costs, files, delay_days, page_lines):
        place = folder(month, tenant)
        if place + MANIFEST in existing:
            *_, manifests[tenant] = sealed(month, tenant, None, files, StatementDiffers)
        else:
            statement = Statement.of(tenant, month, closes, lines)
            manifests[tenant] = _write(statement, chain.tenants.get(tenant), files, name_of(tenant))
    content = month_manifest(month, closes, manifests, chain.last)
    _add(files, name, content)
    return {"month": month, "tenants": len(manifests), "closed": True}


def _must_be_complete(
    month: str,
    at: datetime,
    periods: Periods,
    holes: Holes,
    costs: Costs,
    chain: Chain,
    delay_days: int,
    retention: timedelta,
) -> None:
    """Check that every hour is aggregated and verified (the watermark moves after both), and none is to be done again.

    Raises MonthNotComplete.
    """
    if at < (closes := closes_at(month, delay_days)):
        raise MonthNotComplete(month, f"its books close at {timestamp(closes)}")
    days = days_of(month)
    if (watermark := periods.watermark() or "") < f"{days[-1]}T23":
        raise MonthNotComplete(month, f"its costs are complete only up to {watermark or 'no hour'}")
    if again := [hour for hour in sorted({*periods.dirty(), *periods.stale()}) if hour[:10] in set(days)]:
        raise MonthNotComplete(month, f"{len(again)} hours must be aggregated again, the first is {again[0]}")
    # A run may still rewrite a day that is not closed, unless the ledger has dropped its rows by now.
    kept = (at - retention).date().isoformat()
    if rewritable := [day for day in costs.days() if day in set(days) and day > kept and not costs.is_closed(day)]:
        raise MonthNotComplete(month, f"{rewritable[0]} is not closed; aggregate all its 24 hours again")
    if found := holes(days):
        raise MonthHasHoles(month, found)
    if chain.last and month_after(chain.last.month) != month:
        raise MonthNotComplete(month, f"close {month_after(chain.last.month)} first")
    if not chain.last and (earlier := [day for day in costs.days() if month_of_day(day) < month]):
        raise MonthNotComplete(month, f"close {month_of_day(earlier[0])} first")


def _write(statement: Statement, previous: Link | None, files: Files, name: str) -> bytes:
    """Write a tenant's three files; the manifest comes last and marks them as complete."""
    place = folder(statement.month, statement.tenant_id)
    csv = to_csv(statement)
    if not files.add(place + CSV, csv) and (existing := files.read(place + CSV)) != csv:
        # An interrupted run has stated the lines of its time; later lines wait for the next statement.
        kept = _existing_lines(statement, existing, place + CSV)
        statement = Statement.of(statement.tenant_id, statement.month, statement.closes_at, kept)
        csv = existing
    page = to_html(statement, digest(csv), name)
    if not files.add(place + PAGE, page):
        # Keep the page of an interrupted run, even if the tenant's name or the page's layout has changed since.
        if digest(csv).encode() not in (existing := files.read(place + PAGE)):
            raise StatementDiffers(place + PAGE, _first_difference(existing, page))
        page = existing
    manifest = tenant_manifest(statement, csv, page, previous)
    _add(files, place + MANIFEST, manifest)
    return manifest


def _add(files: Files, name: str, content: bytes) -> None:
    if not files.add(name, content) and (existing := files.read(name)) != content:
        raise StatementDiffers(name, _first_difference(existing, content))


def _first_difference(existing: bytes, made: bytes) -> str:
    for number, (left, right) in enumerate(zip(existing.splitlines(), made.splitlines(), strict=False), 1):
        if left != right:
            return f"line {number} is {left.decode()!r} and should be {right.decode()!r}"
    return f"it has {len(existing)} bytes and should have {len(made)}"


def _existing_lines(statement: Statement, content: bytes, where: str) -> list[DatedLine]:
    """The lines of an existing file, which may lack later restatements. Raises StatementDiffers."""
    try:
        kept = from_csv(content)
    except StatementError as error:
        raise StatementDiffers(where, str(error)) from error
    now = Counter(dated.identity for dated in statement.lines)
    existing = Counter(dated.identity for dated in kept)
    if surplus := [dated for dated in kept if existing[dated.identity] > now[dated.identity]]:
        raise StatementDiffers(where, f"the costs have no such line: {_described(surplus[0])}")
    new = [d for d in statement.used if now[d.identity] > existing[d.identity] and not d.is_restatement]
    if new:
        raise StatementDiffers(where, f"it lacks a line of the costs: {_described(new[0])}")
    return kept


def _described(dated: DatedLine) -> str:
    line = dated.line
    group = f"{line.tenant_id}/{line.cost_centre}/{line.model_id}"
    return f"{dated.day} {group} {line.line_kind} at {exact_money(line.cost)} USD"


def _prove_closed(month: str, chain: Chain, costs: Costs, files: Files, delay_days: int, page_lines: int) -> None:
    """Check that a closed month matches the costs, apart from later restatements. Raises StatementDiffers."""
    recorded = json.loads(files.read(folder(month) + MANIFEST))
    closes = datetime.fromisoformat(recorded["closes_at"])
    missing = set(recorded["tenants"])
    for tenant, lines in lines_by_tenant(month, chain, costs, files, delay_days, page_lines, closes):
        if tenant in missing:
            missing.remove(tenant)
            csv, _, _ = sealed(month, tenant, recorded["tenants"][tenant]["sha256"], files, StatementDiffers)
            _existing_lines(Statement.of(tenant, month, closes, lines), csv, folder(month, tenant) + CSV)
        elif new := [dated for dated in lines if not dated.is_restatement and month_of_day(dated.day) == month]:
            raise StatementDiffers(folder(month) + MANIFEST, f"it lacks a line of the costs: {_described(new[0])}")
    if missing:
        raise StatementDiffers(folder(month) + MANIFEST, f"the costs have no line of {min(missing)}")


def lines_by_tenant(
    month: str,
    chain: Chain,
    costs: Costs,
    files: Files,
    delay_days: int,
    page_lines: int,
    closes: datetime | None = None,
) -> Iterator[tuple[str, list[DatedLine]]]:
    """The lines of each tenant's statement: those of the month's days, and restatements of earlier months.

    The next statement also includes usage from before the first closed month, if it is found later.

    Tenants come in pages, so that memory has at most one page of lines, and each file is read once per page.
    """
    closing = chain.closing(delay_days)

    def closed_by(of: str) -> datetime:
        return closes if closes and of == month else closing(of)

    def due(dated: DatedLine) -> bool:
        return dated.due_in(closed_by) <= month

    all_days = costs.days()
    days = [day for day in all_days if month_of_day(day) == month]
    restated: dict[str, list[DatedLine]] = defaultdict(list)
    for day in all_days:
        if month_of_day(day) in chain.months:
            for dated in filter(due, _new_restatements(day, chain, costs, files)):
                restated[dated.line.tenant_id].append(dated)
        elif chain.months and month_of_day(day) < min(chain.months):
            for dated in _new_late_lines(day, chain, costs, files):
                restated[dated.line.tenant_id].append(dated)
    sizes = dict.fromkeys(restated, 0)
    for day in days:
        for (tenant, _), number in costs.counts(day).items():
            sizes[tenant] = sizes.get(tenant, 0) + number
    for page in _pages(sizes, page_lines):
        found: dict[str, list[DatedLine]] = {tenant: restated.pop(tenant, []) for tenant in page}
        for day in days:
            for line in costs.lines(day, page[0], page[-1]):
                if due(dated := DatedLine(day, line)):
                    found[line.tenant_id].append(dated)
        yield from ((tenant, lines) for tenant, lines in found.items() if lines)


def _pages(sizes: Mapping[str, int], page_lines: int) -> Iterator[list[str]]:
    page: list[str] = []
    held = 0
    for tenant in sorted(sizes):
        if page and held + sizes[tenant] > page_lines:
            yield page
            page, held = [], 0
        page.append(tenant)
        held += sizes[tenant]
    if page:
        yield page


def _new_late_lines(day: str, chain: Chain, costs: Costs, files: Files) -> list[DatedLine]:
    """The lines of a day before the first closed month that are not in any statement yet."""
    counts = costs.counts(day)
    stated = chain.late_lines(day) + chain.restatement_lines(day)
    if sum(counts.values()) == stated:
        return []
    known = _stated_elsewhere(day, chain, files, {tenant for tenant, _ in counts})
    return _without_known(known, (DatedLine(day, line) for line in costs.lines(day)))


def _stated_elsewhere(day: str, chain: Chain, files: Files, tenants: Set[str]) -> Counter[tuple[Any, ...]]:
    """The lines of a day that are in statements of other months."""
    known: Counter[tuple[Any, ...]] = Counter()
    for month, recorded in chain.months.items():
        if day in recorded["restatement_lines"] or day in recorded.get(LATE, {}):
            for tenant in tenants & recorded["tenants"].keys():
                lines = from_csv(files.read(folder(month, tenant) + CSV))
                known.update(dated.identity for dated in lines if dated.day == day)
    return known


def _without_known(known: Counter[tuple[Any, ...]], lines: Iterable[DatedLine]) -> list[DatedLine]:
    new = []
    for dated in lines:
        if known[dated.identity]:
            known[dated.identity] -= 1
        else:
            new.append(dated)
    return new


def _new_restatements(day: str, chain: Chain, costs: Costs, files: Files) -> list[DatedLine]:
    """The lines that restate a day of a closed month and are not in any statement yet."""
    tenants = {tenant: number for (tenant, kind), number in costs.counts(day).items() if kind == RESTATEMENT}
    stated = chain.restatement_lines(day)
    if sum(tenants.values()) == stated:
        return []
    if sum(tenants.values()) < stated:
        raise StatementDiffers(f"costs of {day}", f"statements have {stated} restatements of it, but it has fewer")
    known = _stated_elsewhere(day, chain, files, tenants.keys())
    lines = (DatedLine(day, line) for line in costs.lines(day, min(tenants), max(tenants)))
    return _without_known(known, (dated for dated in lines if dated.is_restatement))

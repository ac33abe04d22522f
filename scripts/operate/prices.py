"""Keeps the price book up to date, by rows that are appended: no row of it is ever edited or removed: `gateway prices`.

A list is read from offer files of the AWS Price List, or from litellm's wheel or a snapshot of it: alone it is the list
that is read, beside an offer it is what the offer is checked against. A price that changes by more than a factor is
refused, and so is a new one that far from what litellm says: more often a unit was misread than a price moved. A
changed price counts from a day that is named, a new one from the day that its list states, and one of which the book
says that nobody states it from the day after that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from gateway.pricing.model_names import OWN_ARN
from gateway.pricing.price_book import EVERYONE, Markup, Price, PriceBook
from gateway.pricing.price_csv import read_overlay, read_prices
from scripts.generate.price_book import (
    FACTS,
    HOME_REGIONS,
    PriceRefusedError,
    Row,
    as_csv,
    book,
    hides,
    in_force,
    legacy_rows,
    litellm_rows,
    read_rows,
    read_snapshot,
    regional_first,
)
from scripts.operate.price_offers import Left, Offered, load, offered, rows_of
from scripts.operate.profile_prices import Place, read_places
from scripts.operate.profile_prices import rows_of as profile_rows
from scripts.project.words import counted

APPENDED = FACTS / "appended.csv"
LEGACY = FACTS / "legacy-2024.json"
FACTOR = Decimal(2)
BY_KEY = attrgetter("key")


class Change(NamedTuple):
    """A row that the book does not have, what it replaces, and what another list says of the same."""

    row: Row
    before: Row | None
    other: Row | None

    @property
    def factor(self) -> Decimal | None:
        """To the price before it; to the other list's where nobody stated one. Over 1 is dearer."""
        base = self.before.each if self.before and self.before.each is not None else self.other and self.other.each
        return self.row.each / base if self.row.each is not None and base else None

    def too_far(self, factor: Decimal) -> bool:
        return self.factor is not None and not 1 / factor <= self.factor <= factor

    @property
    def as_json(self) -> dict[str, Any]:
        other = {"before_usd": self.before and self.before.usd, "litellm_usd": self.other and self.other.usd}
        return self.row._asdict() | other | {"factor": self.factor}

    def __str__(self) -> str:
        row, before, other = self.row, self.before, self.other
        old = f"{_usd(before)} -> " if before and before.usd is not None else "new "
        by = f" x{self.factor.quantize(Decimal('0.001')).normalize():f}" if old != "new " and self.factor else ""
        says = f"  litellm {_usd(other)}" if other and other.each != row.each else ""
        return f"{row.model_id} {row.region} {row.tier} {row.unit}: {old}{_usd(row)}{by}{says}  [{row.source}]"


def _usd(row: Row) -> str:
    return "nobody's" if row.usd is None else f"{row.usd.normalize():f}/{row.per}"


def changes(known: Sequence[Row], listed: Iterable[Row], other: Iterable[Row], since: date) -> list[Change]:
    """What a list says that the book does not. Raises PriceRefusedError for a change of a day that has its price."""
    newest, theirs = in_force(known), in_force(other)
    found = []
    for row in listed:
        before = newest.get(row.key[:4])
        if before and (before.each == row.each or hides(row, before)):
            continue
        if before and before.usd is not None:
            if before.effective_from >= since.isoformat():
                raise PriceRefusedError(f"{before} holds from that day on: give a later --effective-from")
            dated = row._replace(effective_from=since.isoformat())
        elif before:
            # Usage since that day is unpriced, and gets this price.
            later = date.fromisoformat(before.effective_from) + timedelta(days=1)
            dated = row._replace(effective_from=max(row.effective_from, later.isoformat()))
        else:
            dated = row
        home = row.key[:4] if row.key[:4] in theirs else (row.model_id, HOME_REGIONS[0], row.tier, row.unit)
        found.append(Change(dated, before, theirs.get(home)))
    # The book takes no image model of which some class would have no price.
    whole = set(book([*known, *(change.row for change in found)]))
    if missing := set(known) - whole:
        raise PriceRefusedError(
            f"with these rows the book would lose {len(missing)}, such as {min(missing, key=BY_KEY)}"
        )
    return [change for change in found if change.row in whole]


def litellm(path: Path, since: date) -> list[Row]:
    legacy = list(legacy_rows(json.loads(LEGACY.read_text(encoding="utf-8"))))
    snapshot = read_snapshot(path, None, since.isoformat())._replace(effective_from=since.isoformat())
    return list(regional_first(legacy, litellm_rows(snapshot)))


def append(path: Path, appended: Path, rows: Sequence[Row]) -> None:
    """Write rows into the book, and among those that were appended to what made it."""
    more = read_rows(appended) if appended.exists() else []
    whole = as_csv(book([*read_rows(path), *rows]))
    appended.write_text(as_csv(sorted([*more, *rows], key=BY_KEY)), encoding="utf-8", newline="\n")
    path.write_text(whole, encoding="utf-8", newline="\n")


# ------------------------------------------------------------------------------------------------------- the operations
class Comparison(NamedTuple):
    """What a list says that the book does not, what of it is refused, and what makes no row."""

    read: int
    found: Sequence[Change]
    refused: Sequence[Change]
    left: Sequence[Left]


class Profiles(NamedTuple):
    """Prices of profiles that the book does not have, and the places that stay without."""

    rows: Sequence[Row]
    unpriced: Sequence[Place]


class Checked(NamedTuple):
    """What is wrong with the book or the overlay, and how much there is of both."""

    wrong: Sequence[str]
    rows: int
    models: int
    version: str
    overlay: str


def compare(
    book_file: Path,
    offers: Sequence[str],
    litellm_file: Path | None,
    factor: Decimal,
    since: date,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Comparison:
    """Read the lists and compare them with the book. `progress` gets how many offers are read, and of how many."""
    known = read_rows(book_file)
    other = litellm(litellm_file, since) if litellm_file else []
    listed, left = other, list[Left]()
    if offers:
        prices: list[Offered] = []
        for number, place in enumerate(offers):
            progress(number, len(offers))
            prices += offered(load(place))
        listed, left = rows_of(prices, known)
    found = changes(known, listed, other if offers else (), since)
    return Comparison(len(listed), found, [change for change in found if change.too_far(factor)], left)


def left_by_reason(left: Sequence[Left]) -> list[tuple[str, int, list[str]]]:
    """Each reason with its count and the models or usage types that it is for, so that nothing vanishes."""
    reasons: dict[str, list[Left]] = {}
    for one in left:
        reasons.setdefault(one.why, []).append(one)
    return [(why, len(ones), sorted({_name(one) for one in ones})) for why, ones in sorted(reasons.items())]


def _name(left: Left) -> str:
    it = left.offered
    return f"{it.offer} {it.model}" if left.why == "model not in the map" else it.name


def profiles(book_file: Path, places: Path, since: date) -> Profiles:
    return Profiles(*profile_rows(read_places(places), read_rows(book_file), since.isoformat()))


def check(book_file: Path, appended: Path, since: Path | None, overlay_file: Path | None) -> Checked:
    """Read the book and what was appended to it; prove an older book in it, and read an overlay beside it."""
    wrong, overlay_said = [], ""
    with book_file.open(encoding="utf-8", newline="") as lines:
        priced = PriceBook(read_prices(lines))
    rows = read_rows(book_file)
    if as_csv(book(rows)) != book_file.read_text(encoding="utf-8"):
        wrong.append("the book is not sorted, or not written as it should be")
    if appended.exists():
        lost = sorted(set(read_rows(appended)) - set(rows), key=BY_KEY)
        wrong += [f"appended, and not in the book: {row}" for row in lost]
    if since:
        wrong += [f"edited or removed: {row}" for row in sorted(set(read_rows(since)) - set(rows), key=BY_KEY)]
    if overlay_file:
        with overlay_file.open(encoding="utf-8-sig", newline="") as lines:
            overlay = list(read_overlay(lines))
        wrong += dead(overlay, priced)
        overlay_said = overlay_text(overlay, priced)
    return Checked(wrong, len(rows), len({row.model_id for row in rows}), priced.version, overlay_said)


def dead(overlay: Iterable[Price | Markup], priced: PriceBook) -> list[str]:
    """What of an overlay looks like a model of Bedrock and is none of the public list: most often a typing error."""
    known = {price.model_id for price in priced.prices()}
    found = {row.model_id for row in overlay if isinstance(row, Price)} - known
    return [
        f"overlay: no model of the list is named {name}"
        for name in sorted(found)
        if not OWN_ARN.match(name) and re.match(r"[a-z0-9-]+\.[a-z]", name)
    ]


def overlay_text(overlay: Sequence[Price | Markup], priced: PriceBook) -> str:
    """What was found of an overlay: agreed prices, those that are for models of one's own, and factors."""
    prices = [row for row in overlay if isinstance(row, Price)]
    listed = {price.model_id for price in priced.prices()}
    own = {row.model_id for row in prices} - listed
    markups = [row for row in overlay if isinstance(row, Markup)]
    for_all = sum(row.target == EVERYONE for row in markups)
    return (
        f"overlay: {counted(len(overlay), 'row')}: {counted(len(prices), 'price')} of "
        f"{counted(len({row.model_id for row in prices}), 'model')} ({len(own)} of them not of the public list), "
        f"{counted(len(markups), 'markup')} ({for_all} for every tenant)"
    )

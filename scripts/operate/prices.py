"""Updates the price book by appending rows; no row is ever edited or removed: `gateway prices`.

A list comes from offer files of the AWS Price List, or from litellm's wheel or a snapshot of it. With an offer,
litellm's list only checks the offer; alone, it is the source. A price that changes by more than a factor is refused,
and so is a new price that far from litellm's: a misread unit is likelier than such a change. A changed price is valid
from the given day, a new one from its list's day. A price after a withdrawn one is valid from the day after the
withdrawal.
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
    """A row that the book lacks, the row it replaces, and another list's price for the same."""

    row: Row
    before: Row | None
    other: Row | None

    @property
    def factor(self) -> Decimal | None:
        """The ratio to the price before it, or to the other list's if none was stated. Above 1 means dearer."""
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
    """A list's prices that the book lacks. Raises PriceRefusedError for a change on a day that already has a price."""
    newest, theirs = in_force(known), in_force(other)
    found = []
    for row in listed:
        before = newest.get(row.key[:4])
        if before and (before.each == row.each or hides(row, before)):
            continue
        if before and before.usd is not None:
            if before.effective_from >= since.isoformat():
                raise PriceRefusedError(f"{before} is valid from that day on: give a later --effective-from")
            dated = row._replace(effective_from=since.isoformat())
        elif before:
            # Usage since that day is unpriced, and gets this price.
            later = date.fromisoformat(before.effective_from) + timedelta(days=1)
            dated = row._replace(effective_from=max(row.effective_from, later.isoformat()))
        else:
            dated = row
        home = row.key[:4] if row.key[:4] in theirs else (row.model_id, HOME_REGIONS[0], row.tier, row.unit)
        found.append(Change(dated, before, theirs.get(home)))
    # The book accepts an image model only with a price for each class.
    whole = set(book([*known, *(change.row for change in found)]))
    if missing := set(known) - whole:
        raise PriceRefusedError(
            f"these rows would make the book lose {len(missing)} rows, such as {min(missing, key=BY_KEY)}"
        )
    return [change for change in found if change.row in whole]


def litellm(path: Path, since: date) -> list[Row]:
    legacy = list(legacy_rows(json.loads(LEGACY.read_text(encoding="utf-8"))))
    snapshot = read_snapshot(path, None, since.isoformat())._replace(effective_from=since.isoformat())
    return list(regional_first(legacy, litellm_rows(snapshot)))


def append(path: Path, appended: Path, rows: Sequence[Row]) -> None:
    """Write rows into the book, and into the file of appended rows."""
    more = read_rows(appended) if appended.exists() else []
    whole = as_csv(book([*read_rows(path), *rows]))
    appended.write_text(as_csv(sorted([*more, *rows], key=BY_KEY)), encoding="utf-8", newline="\n")
    path.write_text(whole, encoding="utf-8", newline="\n")


# ------------------------------------------------------------------------------------------------------- the operations
class Comparison(NamedTuple):
    """A list's prices that the book lacks, its refused prices, and its prices without a row."""

    read: int
    found: Sequence[Change]
    refused: Sequence[Change]
    left: Sequence[Left]


class Profiles(NamedTuple):
    """Prices of profiles that the book lacks, and the places that stay unpriced."""

    rows: Sequence[Row]
    unpriced: Sequence[Place]


class Checked(NamedTuple):
    """The faults of the book or the overlay, and the size of both."""

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
    """Read the lists and compare them with the book. `progress` gets the numbers of read and of all offers."""
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
    """Each reason with its count and its models or usage types, so that no price is dropped silently."""
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
    """Check the book and its appended rows; prove that it contains an older book; check an overlay with it."""
    wrong, overlay_said = [], ""
    with book_file.open(encoding="utf-8", newline="") as lines:
        priced = PriceBook(read_prices(lines))
    rows = read_rows(book_file)
    if as_csv(book(rows)) != book_file.read_text(encoding="utf-8"):
        wrong.append("the book is not sorted, or not in the canonical format")
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
    """The overlay's names that look like Bedrock models but are not in the public list: usually typos."""
    known = {price.model_id for price in priced.prices()}
    found = {row.model_id for row in overlay if isinstance(row, Price)} - known
    return [
        f"overlay: the public list has no model {name}"
        for name in sorted(found)
        if not OWN_ARN.match(name) and re.match(r"[a-z0-9-]+\.[a-z]", name)
    ]


def overlay_text(overlay: Sequence[Price | Markup], priced: PriceBook) -> str:
    """An overlay's content: agreed prices, prices of custom models, and factors."""
    prices = [row for row in overlay if isinstance(row, Price)]
    listed = {price.model_id for price in priced.prices()}
    own = {row.model_id for row in prices} - listed
    markups = [row for row in overlay if isinstance(row, Markup)]
    for_all = sum(row.target == EVERYONE for row in markups)
    return (
        f"overlay: {counted(len(overlay), 'row')}: {counted(len(prices), 'price')} of "
        f"{counted(len({row.model_id for row in prices}), 'model')} ({len(own)} of them not in the public list), "
        f"{counted(len(markups), 'markup')} ({for_all} for every tenant)"
    )

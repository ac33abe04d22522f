"""Keeps the price book up to date, by rows that are appended: no row of it is ever edited or removed.

    python -m scripts.operate.prices diff    --offer index.json …     what a price list says that the book does not
    python -m scripts.operate.prices refresh --offer index.json …     and append it
    python -m scripts.operate.prices profiles --places FILE [--append]     profiles that only their model's price has
    python -m scripts.operate.prices check   [--since FILE] [--overlay FILE]

`--offer` takes offer files of the AWS Price List, as paths or https addresses, or the answers of `aws pricing
get-products`; both codes matter, AmazonBedrock and AmazonBedrockFoundationModels. `--litellm` takes litellm's wheel, or
a snapshot of it: alone it is the list that is read, beside an offer it is what the offer is checked against.

A price that changes by more than a factor (2 either way; `--allow-factor` says another) is refused, and so is a new one
that far from what litellm says: more often a unit was misread than a price moved. A changed price counts from
`--effective-from` (today, where it is not said), a new one from the day that its list states, and one of which the
book says that nobody states it from the day after that.

`profiles` takes AWS's own list of inference profiles and of the regions each may be called from, and gives those that
the book does not price the price of their model in that region (`scripts.operate.profile_prices`). It names what stays
without.

`check` reads the book and what was appended to it, and with `--since` proves that an older book is wholly in it; with
`--overlay` it reads a private overlay, and names what in it can never price a call.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from gateway.pricing.model_names import OWN_ARN
from gateway.pricing.price_book import EVERYONE, Markup, Price, PriceBook
from gateway.pricing.price_csv import read_overlay, read_prices
from scripts.generate.price_book import (
    BOOK,
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
from scripts.operate.price_offers import Left, load, offered, rows_of
from scripts.operate.profile_prices import read_places
from scripts.operate.profile_prices import rows_of as profile_rows
from scripts.project.command import run

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


# --------------------------------------------------------------------------------------------------------- the commands
def compare(given: argparse.Namespace) -> int:
    """`diff`, and `refresh` where nothing is refused."""
    known = read_rows(given.book)
    other = litellm(given.litellm, given.effective_from) if given.litellm else []
    listed, left = other, list[Left]()
    if given.offer:
        prices = [price for place in given.offer for price in offered(load(place))]
        listed, left = rows_of(prices, known)
    found = changes(known, listed, other if given.offer else (), given.effective_from)
    far = [change for change in found if change.too_far(given.allow_factor)]
    for change in found:
        print(("REFUSED " if change in far else "") + str(change))
    tell_left(left)
    told = f"{len(listed)} prices read, {len(found)} the book does not have, {len(left)} left out"
    if far:
        print(f"{told}; {len(far)} change by more than {given.allow_factor}: see --allow-factor", file=sys.stderr)
        return 1
    if given.command == "refresh" and found:
        append(given.book, given.appended, [change.row for change in found])
        told += f"; {len(found)} rows appended"
    print(told)
    return 0


def tell_left(left: Sequence[Left]) -> None:
    """Each reason with the models or usage types that it is for, so that nothing vanishes."""
    for why, count in sorted(Counter(one.why for one in left).items()):
        of_models = why == "model not in the map"
        names = {
            f"{o.offer} {o.model}" if of_models else o.name for o in (one.offered for one in left if one.why == why)
        }
        print(f"left out, {why} ({count}): {', '.join(sorted(names))}")


def profiles(given: argparse.Namespace) -> int:
    known = read_rows(given.book)
    rows, left = profile_rows(read_places(given.places), known, given.effective_from.isoformat())
    for row in rows:
        print(Change(row, None, None))
    for place in left:
        print(f"unpriced, no list states its model there: {place.profile} {place.region}")
    if given.append and rows:
        append(given.book, given.appended, rows)
    print(f"{len(rows)} prices {'appended' if given.append else 'that the book does not have'}, {len(left)} unpriced")
    return 0


def check(given: argparse.Namespace) -> int:
    wrong = []
    with given.book.open(encoding="utf-8", newline="") as lines:
        priced = PriceBook(read_prices(lines))
    rows = read_rows(given.book)
    if as_csv(book(rows)) != given.book.read_text(encoding="utf-8"):
        wrong.append("the book is not sorted, or not written as it should be")
    if given.appended.exists():
        wrong += [
            f"appended, and not in the book: {row}"
            for row in sorted(set(read_rows(given.appended)) - set(rows), key=BY_KEY)
        ]
    if given.since:
        wrong += [f"edited or removed: {row}" for row in sorted(set(read_rows(given.since)) - set(rows), key=BY_KEY)]
    if given.overlay:
        with given.overlay.open(encoding="utf-8-sig", newline="") as lines:
            overlay = list(read_overlay(lines))
        wrong += dead(overlay, priced)
        print(overlay_text(overlay, priced))
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"{len(rows)} rows of {len({row.model_id for row in rows})} models, version {priced.version}")
    return 1 if wrong else 0


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
        f"overlay: {len(overlay)} rows: {len(prices)} prices of {len({row.model_id for row in prices})} models "
        f"({len(own)} of them not of the public list), {len(markups)} markups ({for_all} for every tenant)"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Keep the price book up to date.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("diff", "refresh"):
        lists = commands.add_parser(name)
        lists.add_argument("--offer", nargs="+", default=[], help="offer files: paths, or https addresses")
        lists.add_argument("--litellm", type=Path, help="the wheel of litellm, or a snapshot of it")
        lists.add_argument("--allow-factor", type=Decimal, default=FACTOR)
        today = datetime.now(UTC).date()
        lists.add_argument("--effective-from", type=date.fromisoformat, default=today)
        lists.set_defaults(run=compare)
    places = commands.add_parser("profiles")
    places.add_argument("--places", type=Path, required=True, help="a CSV of profiles and the regions of a request")
    places.add_argument("--effective-from", type=date.fromisoformat, default=datetime.now(UTC).date())
    places.add_argument("--append", action="store_true")
    places.set_defaults(run=profiles)
    checks = commands.add_parser("check")
    checks.add_argument("--since", type=Path, help="an older book, all of which must be in this one")
    checks.add_argument("--overlay", type=Path, help="a private overlay")
    checks.set_defaults(run=check)
    for command in commands.choices.values():
        command.add_argument("--book", type=Path, default=BOOK)
        command.add_argument("--appended", type=Path, default=APPENDED)
    given = parser.parse_args(arguments)
    if given.run is compare and not (given.offer or given.litellm):
        parser.error("name a list: --offer, or --litellm")
    try:
        status: int = given.run(given)
    except (PriceRefusedError, ValueError, KeyError, OSError) as refused:
        print(f"refused: {refused}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(run(main))

"""Prices inference profiles if the price lists name only their model.

A geographic profile is charged at its source Region: "the price is calculated based on the Region from which you call"
(Amazon Bedrock User Guide, cross-Region inference). AWS's own list (ListInferenceProfiles) has places: a profile, and a
Region that it may be called from. A place without a row in the book gets the price that a list states for the model in
that Region. A price that was only assumed for the Region is not copied. Without a stated price the place stays
unpriced, with the reason. A global profile has its own rows.

No list has the models of an `in.` profile. Their providers charge the same price in each geography
(`generate_price_book.ALIKE`), so it costs the same as the model's profile of another geography.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from gateway.pricing.model_names import split_profile
from scripts.generate.price_book import ALIKE, HOME_REGIONS, UN_REGIONAL, Row, in_force

RULE = "; a geographic profile costs what its source Region does"


class Place(NamedTuple):
    """A profile, and a Region that a request may call it from."""

    profile: str
    region: str


def read_places(path: Path) -> list[Place]:
    """The places of AWS's list: columns `profile` and `regions`, the latter separated by spaces."""
    with path.open(encoding="utf-8", newline="") as lines:
        return [Place(line["profile"], region) for line in csv.DictReader(lines) for region in line["regions"].split()]


def unpriced(places: Iterable[Place], known: Iterable[Row]) -> list[Place]:
    """The places where a call of the default tier has no valid price."""
    in_tier = (row for row in in_force(known).values() if row.tier == "default" and row.usd is not None)
    priced = {(row.model_id, row.region) for row in in_tier}
    return [place for place in places if place not in priced]


def rows_of(places: Iterable[Place], known: Iterable[Row], since: str) -> tuple[list[Row], list[Place]]:
    """The rows that the rule makes for unpriced places, and the places that stay unpriced."""
    known = list(known)
    by_place: dict[tuple[str, str], list[Row]] = {}
    for row in in_force(known).values():
        if is_stated(row):
            by_place.setdefault((row.model_id, row.region), []).append(row)
    made: list[Row] = []
    left: list[Place] = []
    for place in unpriced(places, known):
        rows = [_copied(row, place, since) for row in _of_model(place, by_place)]
        if any(row.tier == "default" for row in rows):
            made += rows
        else:
            left.append(place)
    return sorted(made), left


def is_stated(row: Row) -> bool:
    """Does a list state it for the row's Region? A price without a Region is for the home Regions."""
    return row.usd is not None and (UN_REGIONAL not in row.source or row.region in HOME_REGIONS)


def _of_model(place: Place, known: Mapping[tuple[str, str], list[Row]]) -> Iterator[Row]:
    prefix, base = split_profile(place.profile)
    if prefix == "global":
        return iter(())
    if prefix == "in" and base.partition(".")[0] in ALIKE:
        return iter(known.get((f"us.{base}", HOME_REGIONS[0]), ()))
    return iter(known.get((base, place.region), ()))


def _copied(row: Row, place: Place, since: str) -> Row:
    source = row.source.replace(UN_REGIONAL, "")
    return row._replace(
        model_id=place.profile, region=place.region, effective_from=since, source=f"{source}{RULE} ({row.model_id})"
    )

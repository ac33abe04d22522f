"""Reads prices from CSV: the built-in price book, and an operator's overlay over it."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from importlib import resources

from gateway.pricing.price_book import EVERYONE, INPUT_UNITS, MARKUP, SCALE, WITHDRAWN, ZERO, Markup, Price, PriceBook

COLUMNS = ("model_id", "region", "tier", "unit", "usd", "per", "effective_from", "source")
IMAGE_CLASSES = tuple(
    f"image:{size}:{quality}" for size in ("512x512", "larger") for quality in ("standard", "premium")
)
# `second` is a second of a call's duration; `video_second`, a second of a generated video.
UNITS = frozenset(
    {*INPUT_UNITS, "output_tokens", "output_audio_tokens", "image", *IMAGE_CLASSES, "video_second", "second"}
)
AMAZONS_LIST = "AWS Price List"  # a 0 in it is a price; other lists write 0 for unknown prices
_TIER = re.compile(r"(default|batch|flex|priority|optimized|ultrafast|reserved)(_above_(100|128|200|272)k)?")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")


def read_prices(lines: Iterable[str]) -> Iterator[Price]:
    """Rows of the public list in CSV. Raises ValueError, with the line, on a price that is inexact or invalid."""
    table = csv.reader(lines)
    if tuple(next(table, ())) != COLUMNS:
        raise ValueError(f"price book line 1: the columns must be {','.join(COLUMNS)}")
    # A book repeats few prices and fewer days many times, and a cold start reads it: parse each only once.
    known: dict[tuple[str, str], tuple[Decimal, int]] = {(WITHDRAWN, "1"): (ZERO, 1)}
    days: dict[str, date] = {}
    for number, (model_id, region, tier, unit, usd, per, since, source) in enumerate(table, start=2):
        amount = known.get((usd, per))
        if amount is None:
            amount = _public(usd, per, source, number)
            if amount[0]:  # a 0 is checked each time: it depends on the source
                known[usd, per] = amount
        if since not in days:
            days[since] = date.fromisoformat(since)
        yield Price(model_id, region, tier, unit, *amount, days[since], source, stated=usd != WITHDRAWN)


def _public(usd: str, per: str, source: str, number: int) -> tuple[Decimal, int]:
    if usd == WITHDRAWN:
        raise ValueError(f"price book line {number}: a row that withdraws a price must have per 1, not per {per}")
    amount, units = Decimal(usd), int(per)
    each = amount / units
    if each < 0 or each != round(each, SCALE):
        raise ValueError(f"price book line {number}: {usd} per {per} is not exact to {SCALE} decimals")
    if not each and not source.startswith(AMAZONS_LIST):
        raise ValueError(f"price book line {number}: a public price of 0 must come from the AWS Price List")
    return amount, units


def read_overlay(lines: Iterable[str]) -> Iterator[Price | Markup]:
    """Rows of a private overlay in CSV. Raises ValueError, with the line, on a row that prices nothing or wrongly."""
    table, seen = csv.DictReader(lines), set()
    if tuple(table.fieldnames or ()) != COLUMNS:
        raise ValueError(f"price overlay line 1: the columns must be {','.join(COLUMNS)}")
    for number, row in enumerate(table, start=2):
        try:
            made = _overlay_row(row)
        except (ValueError, ArithmeticError, TypeError) as error:
            raise ValueError(f"price overlay line {number}: {error}") from error
        key = tuple(row[name] for name in ("model_id", "region", "tier", "unit", "effective_from"))
        if key in seen:
            raise ValueError(f"price overlay line {number}: a second row for the same price and day")
        seen.add(key)
        yield made


def _overlay_row(row: Mapping[str, str]) -> Price | Markup:
    if not all(isinstance(value, str) and value.strip() for value in row.values()):
        raise ValueError("every column needs a value, and no row may have more columns")
    since, usd, per = date.fromisoformat(row["effective_from"]), Decimal(row["usd"]), int(row["per"])
    if not usd.is_finite() or usd < 0 or per < 1:
        raise ValueError(f"{row['usd']} per {row['per']} is not a valid price")
    if row["unit"] == MARKUP:
        if (row["region"], row["tier"], per) != (EVERYONE, EVERYONE, 1) or not usd:
            raise ValueError("a markup must be a factor above 0 per 1, with * as region and tier")
        if row["model_id"] != EVERYONE and not row["model_id"].startswith("tenant:"):
            raise ValueError("a markup's model_id must be tenant:<id> or *")
        return Markup(row["model_id"], usd, since, row["source"])
    if row["unit"] not in UNITS:
        raise ValueError(f"unknown unit {row['unit']}; known are {', '.join(sorted(UNITS))}")
    if not _TIER.fullmatch(row["tier"]):
        raise ValueError(f"unknown tier {row['tier']}")
    if not _REGION.fullmatch(row["region"]):
        raise ValueError(f"unknown region {row['region']}")
    each = round(usd / per, SCALE)
    if row["unit"] == "second":
        usd, per = each, 1
    elif each * per != usd:
        raise ValueError(f"{row['usd']} per {row['per']} is not exact to {SCALE} decimals")
    return Price(row["model_id"], row["region"], row["tier"], row["unit"], usd, per, since, row["source"], "+overlay")


@cache
def price_book() -> PriceBook:
    """The book that ships with the gateway."""
    with resources.files("gateway.pricing").joinpath("price_book.csv").open(encoding="utf-8") as file:
        return PriceBook(read_prices(file))

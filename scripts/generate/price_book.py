"""Generates the price book, `layers/gateway/gateway/pricing/price_book.csv`, from published facts.

    F=scripts/generate/price_facts
    python -m scripts.generate.price_book --legacy $F/legacy-2024.json --rows $F/appended.csv \
        --litellm-map $F/litellm-bedrock-1.109.1.json $F/litellm-bedrock-1.110.2.json

The snapshots in `scripts/generate/price_facts/` suffice to rebuild the committed book offline. A new litellm (its
wheel, or the bare map with `--litellm-version`) first writes its own snapshot there. Name it after the older ones with a
later `--effective-from`, so that a day already billed retains its price. `gateway prices` appends prices of AWS's own
list to the book, and records them in `appended.csv`.

The script guesses no price. It leaves these out, so that their calls are listed as unpriced and not billed wrongly:
- ids that bedrock-runtime does not accept: `bedrock_mantle/…` (another endpoint with its own ids),
  `claude_platform/…`, ids without a provider or with `@`, guardrails, SageMaker examples;
- provisioned throughput (`…-month-commitment/…`, USD per second): a commitment is not the price of a call;
- prices of 0 (litellm writes 0 for "not applicable") and web-search fees;
- an image model in a region where some size and quality would have no price.
The book also has units that the gateway does not count yet (seconds of video and audio input, tokens of speech). A call
of such a model is listed as unpriced until the gateway counts the unit (`gateway.pricing.price_book`).
"""

import argparse
import csv
import io
import json
import re
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from gateway.pricing.price_book import WITHDRAWN
from gateway.pricing.price_csv import IMAGE_CLASSES, UNITS

FACTS = Path("scripts/generate/price_facts")
BOOK = Path("layers/gateway/gateway/pricing/price_book.csv")
MAP_FILE = "model_prices_and_context_window_backup.json"
LEGACY_FROM = "2024-01-01"
LITELLM_FROM = "2026-01-01"

UN_REGIONAL = " un-regional list price"

# An un-regional price applies to these. Until AWS's own list contradicted that for many models, it applied to six
# regions. Since then the book withdraws the price in the other four wherever no list states one.
HOME_REGIONS = ("us-east-1", "us-west-2")
SIX_REGIONS_BEFORE = "2026-11-25"
SIX_REGIONS = ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-northeast-1", "ap-southeast-2")
# The source regions of an inference profile, by the profile's prefix. A global profile has one price everywhere, except
# Nova 2 Lite's, by Amazon's own list.
GEOGRAPHIES = {
    "global": (
        *SIX_REGIONS, "us-east-2", "us-west-1", "ca-central-1", "sa-east-1", "eu-west-2", "eu-west-3", "eu-north-1",
        "eu-south-1", "eu-south-2", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2", "ap-southeast-1",
        "ap-southeast-4",
    ),
    "us": ("us-east-1", "us-east-2", "us-west-2"),
    "eu": ("eu-west-1", "eu-central-1"),
    "apac": ("ap-northeast-1", "ap-southeast-2"),
    "jp": ("ap-northeast-1",),
    "au": ("ap-southeast-2",),
    "in": ("ap-south-1", "ap-south-2"),
    "us-gov": ("us-gov-east-1", "us-gov-west-1"),
}  # fmt: skip
# A geographic profile costs what its model costs in the region of the request ("the price is calculated based on the
# Region from which you call", Amazon Bedrock User Guide, cross-Region inference). These providers' models cost the same
# in each region of a geography: a tenth more than the global profile, by each model's card in that guide and by AWS's
# own list. Other providers' models may differ, so only the few regions apply; AWS's list has the rest
# (`scripts.profile_prices`).
ALIKE = frozenset({"anthropic", "openai", "xai", "moonshotai", "zai"})
WIDE_GEOGRAPHIES = GEOGRAPHIES | {
    "us": ("us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1"),
    "eu": ("eu-west-1", "eu-central-1", "eu-west-2", "eu-west-3", "eu-north-1", "eu-south-1", "eu-south-2"),
    "apac": (
        "ap-northeast-1", "ap-southeast-2", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2",
        "ap-southeast-1", "ap-southeast-4",
    ),
    "jp": ("ap-northeast-1", "ap-northeast-3"),
    "au": ("ap-southeast-2", "ap-southeast-4"),
}  # fmt: skip

TOKEN_UNITS = {
    "input_cost_per_token": "input_tokens",
    "output_cost_per_token": "output_tokens",
    "cache_read_input_token_cost": "cache_read_tokens",
    "cache_creation_input_token_cost": "cache_write_5m_tokens",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h_tokens",
}
PIECE_UNITS = {
    "output_cost_per_image": "image",
    "input_cost_per_image": "input_image",
    "input_cost_per_query": "query",
    "input_cost_per_video_per_second": "input_video_second",
    "input_cost_per_audio_per_second": "input_audio_second",
}
# Pictures or speech at the price of text count as text, and have no row.
SPOKEN_UNITS = {
    "input_cost_per_audio_token": "input_audio_tokens",
    "output_cost_per_audio_token": "output_audio_tokens",
}
TIERS = {
    None: "default", "batches": "batch", "flex": "flex", "priority": "priority", "ultrafast": "ultrafast",
}  # fmt: skip

TOKEN_FIELD = re.compile(rf"({'|'.join(TOKEN_UNITS)})(?:_above_(\d+k)_tokens)?(?:_(batches|flex|priority|ultrafast))?")
FIELD_LEFT_OUT = re.compile(r"search_context_cost_per_query|(?:input_)?cost_per_second|input_cost_per_image_token")
KEY = re.compile(
    r"(?:(?P<size>\w+-x-\w+)/(?P<steps>50|max)-steps/)?"
    r"(?:bedrock/|bedrock_converse/)?(?:(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)/|invoke/|converse/)?"
    r"(?P<model>[a-z0-9-]+\.[a-z0-9.:-]+)"
)

# The map's one Titan price is the price of the smallest class, as the list of 2024 shows; it does not apply to the others.
PRICED_AS_SMALLEST_CLASS = "amazon.titan-image-generator-"
TITAN_IMAGE_INPUT = "amazon.titan-embed-image-v1-image"
# The list of 2024 names these by a family or by a line of the bill; a caller uses the ids on the right.
LEGACY_IDS = {
    "stability.stable-diffusion-xl": tuple(
        f"stability.stable-diffusion-xl-{version}" for version in ("v0", "v1", "v1:0")
    ),
    TITAN_IMAGE_INPUT: (TITAN_IMAGE_INPUT.removesuffix("-image"),),
}
SAME_MODEL = {"stability.stable-diffusion-xl-v1": "stability.stable-diffusion-xl-v1:0"}

Fact = dict[str, Any]


class PriceRefusedError(ValueError):
    """A fact that cannot become a price without guessing; the message names it."""


class Row(NamedTuple):
    """One line of the book, fields in the order of its columns. Without `usd`, no list states the price from this day on."""

    model_id: str
    region: str
    tier: str
    unit: str
    usd: Decimal | None
    per: int
    effective_from: str
    source: str

    @property
    def each(self) -> Decimal | None:
        return None if self.usd is None else self.usd / self.per

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        return self.model_id, self.region, self.tier, self.unit, self.effective_from


class Stated(NamedTuple):
    """The price of `per` units by one key of the litellm map."""

    usd: Decimal
    per: int
    source: str


class Snapshot(NamedTuple):
    """The facts of one version of litellm, and the day from which they apply."""

    version: str
    effective_from: str
    facts: dict[str, Fact]

    @property
    def file_name(self) -> str:
        return f"litellm-bedrock-{self.version}.json"


def exact(stated: Decimal, per: int, what: str) -> Decimal:
    """`stated` USD per `per` units without float noise, at most 12 decimals per unit."""
    if stated < 0:
        raise PriceRefusedError(f"negative price {stated}: {what}")
    usd = round(stated / per, 12) * per
    if abs(usd - stated) > stated * Decimal("1e-9"):
        raise PriceRefusedError(f"{stated} USD per {per} is not exact at 12 decimals per unit: {what}")
    return usd


def read_snapshot(path: Path, version: str | None, effective_from: str) -> Snapshot:
    """A committed snapshot unchanged, or the trimmed Bedrock facts of a litellm wheel or map."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            document = json.loads(wheel.read(f"litellm/{MAP_FILE}"))
        version = path.name.split("-")[1]
    else:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.get("name") == "litellm":
            return Snapshot(document["version"], document["effective_from"], document["facts"])
    if version is None:
        raise PriceRefusedError(f"{path} has no version: add --litellm-version")
    facts = {
        key: fact
        for key, entry in document.items()
        if entry.get("litellm_provider") in {"bedrock", "bedrock_converse"} and (fact := trimmed(key, entry))
    }
    return Snapshot(version, effective_from, facts)


def trimmed(key: str, entry: Mapping[str, Any]) -> Fact:
    """The prices of `entry` that the book can represent, and their source; empty for an excluded entry."""
    prices: Fact = {}
    if not KEY.fullmatch(key):
        return prices
    for field, price in entry.items():
        if TOKEN_FIELD.fullmatch(field) or field in PIECE_UNITS:
            if price:
                prices[field] = price
        elif field in SPOKEN_UNITS:
            if price and price != entry.get(field.replace("audio_", "")):
                prices[field] = price
        elif "cost" in field and not FIELD_LEFT_OUT.fullmatch(field):
            raise PriceRefusedError(f"unknown unit {field}: {key}")
        elif field == "input_cost_per_image_token" and price != entry["input_cost_per_token"]:
            raise PriceRefusedError(f"{field} is not the price of a token of text: {key}")
    return {**prices, "source": entry["source"]} if prices and "source" in entry else prices


def write_snapshot(snapshot: Snapshot) -> None:
    document = {
        "name": "litellm",
        "version": snapshot.version,
        "licence": "MIT",
        "file": MAP_FILE,
        "effective_from": snapshot.effective_from,
        "facts": snapshot.facts,
    }
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    (FACTS / snapshot.file_name).write_text(text, encoding="utf-8", newline="\n")


def litellm_rows(snapshot: Snapshot) -> Iterator[Row]:
    """Every price of the map in every region where it applies; a region's own entry replaces the un-regional one entirely."""
    stated: dict[tuple[str, str | None], dict[tuple[str, str], Stated]] = defaultdict(dict)
    # Shortest first: of two keys with the same price of one id, the plain one is the source.
    for key, fact in sorted(snapshot.facts.items(), key=lambda item: (len(item[0]), item[0])):
        parts = KEY.fullmatch(key)
        if parts is None:
            raise PriceRefusedError(f"not a Bedrock id: {key}")
        for tier, unit, usd, per in prices_of(key, parts, fact):
            source = f'litellm {snapshot.version} (MIT) key "{key}"'
            if parts["region"] is None:
                source += UN_REGIONAL
            price = Stated(usd, per, " ".join(filter(None, (source, fact.get("source")))))
            told = stated[parts["model"], parts["region"]]
            # A class at the price of the whole model adds nothing.
            before = told.get((tier, unit)) or (told.get((tier, "image")) if unit in IMAGE_CLASSES else None)
            if before and before.usd != usd:
                raise PriceRefusedError(
                    f"{key} states {usd} USD per {per} {unit}, but {before.source} states {before.usd}"
                )
            if not before:
                told[tier, unit] = price

    providers = {model.split(".")[0] for model, _ in stated} - GEOGRAPHIES.keys()
    for (model, region), prices in stated.items():
        if region:
            regions: Iterable[str] = (region,)
        else:
            named = places(model, providers, snapshot.effective_from)
            regions = (place for place in named if (model, place) not in stated)
        for place in regions:
            for (tier, unit), price in prices.items():
                yield Row(model, place, tier, unit, price.usd, price.per, snapshot.effective_from, price.source)
                if other := SAME_MODEL.get(model):
                    source = f"{price.source} (the same model as {model})"
                    yield Row(other, place, tier, unit, price.usd, price.per, snapshot.effective_from, source)


def prices_of(key: str, parts: re.Match[str], fact: Fact) -> Iterator[tuple[str, str, Decimal, int]]:
    """(tier, unit, usd, per) of each field of one entry."""
    for field, price in fact.items():
        if field == "source":
            continue
        what = f"{key} {field}"
        if token := TOKEN_FIELD.fullmatch(field):
            kind, above, tier = token.groups()
            name = TIERS[tier] + (f"_above_{above}" if above else "")
            yield name, TOKEN_UNITS[kind], exact(Decimal(repr(price)) * 10**6, 10**6, what), 10**6
        elif field in SPOKEN_UNITS:
            yield "default", SPOKEN_UNITS[field], exact(Decimal(repr(price)) * 10**6, 10**6, what), 10**6
        elif field in PIECE_UNITS:
            unit = PIECE_UNITS[field]
            if parts["size"]:
                size = "512x512" if parts["size"] == "512-x-512" else "larger"
                unit = f"image:{size}:{'standard' if parts['steps'] == '50' else 'premium'}"
            elif parts["model"].startswith(PRICED_AS_SMALLEST_CLASS):
                unit = IMAGE_CLASSES[0]
            yield "default", unit, exact(Decimal(repr(price)), 1, what), 1
        else:
            raise PriceRefusedError(f"unknown unit {field}: {key}")


def places(model: str, providers: set[str], since: str) -> tuple[str, ...]:
    """The source regions of a request for `model`, if a map of that day does not list them."""
    first, second = model.split(".")[:2]
    if first not in GEOGRAPHIES and second in providers:
        raise PriceRefusedError(f"unknown geography {first}: {model}")
    without = SIX_REGIONS if since < SIX_REGIONS_BEFORE else HOME_REGIONS
    return (WIDE_GEOGRAPHIES if second in ALIKE else GEOGRAPHIES).get(first, without)


def legacy_rows(regions: Mapping[str, Any]) -> Iterator[Row]:
    """The list of 2024: USD per 1,000 tokens and per image, by region."""
    for region, kinds in regions.items():
        for listed, prices in (item for models in kinds.values() for item in models.items()):
            for unit, per, price in legacy_prices(listed, prices):
                if not price:
                    continue
                usd = exact(Decimal(repr(price)), per, f"{listed} {region} {unit}")
                for model in (listed, *LEGACY_IDS.get(listed, ())):
                    source = "legacy price list 2024" + (f" (listed as {listed})" if model != listed else "")
                    yield Row(model, region, "default", unit, usd, per, LEGACY_FROM, source)


def legacy_prices(listed: str, prices: Mapping[str, Any]) -> Iterator[tuple[str, int, float]]:
    if listed == TITAN_IMAGE_INPUT:
        yield "input_image", 1, prices["input_cost"]
    elif "input_cost" in prices:
        yield "input_tokens", 1000, prices["input_cost"]
        yield "output_tokens", 1000, prices["output_cost"]
    else:
        for size, qualities in prices.items():
            for quality, price in qualities.items():
                yield f"image:{size}:{quality}", 1, price


def regional_first(legacy: list[Row], listed: Iterable[Row]) -> Iterator[Row]:
    """The newer rows, without un-regional rows that would replace a region's own price by the US price."""
    regional = {(row.model_id, row.region, row.unit) for row in legacy if row.region not in HOME_REGIONS}
    for row in listed:
        if UN_REGIONAL not in row.source or (row.model_id, row.region, row.unit) not in regional:
            yield row


def in_force(rows: Iterable[Row]) -> dict[tuple[str, ...], Row]:
    """The newest row of each price."""
    newest: dict[tuple[str, ...], Row] = {}
    for row in rows:
        if row.key[:4] not in newest or newest[row.key[:4]].effective_from < row.effective_from:
            newest[row.key[:4]] = row
    return newest


def news(known: Iterable[Row], listed: Iterable[Row]) -> Iterator[Row]:
    """The prices of a newer snapshot that the known rows lack.

    A new price replaces none, so it applies from the first day and prices earlier unpriced usage.
    """
    latest = in_force(known)
    for row in listed:
        before = latest.get(row.key[:4])
        if before is None:
            yield row._replace(effective_from=LITELLM_FROM)
        elif before.each != row.each and not hides(row, before):
            yield row


def hides(row: Row, before: Row) -> bool:
    """Whether a price without a region would replace the region's own known price."""
    replaced = row.region in HOME_REGIONS and before.effective_from < SIX_REGIONS_BEFORE
    return UN_REGIONAL in row.source and UN_REGIONAL not in before.source and not replaced


def book(rows: Iterable[Row]) -> list[Row]:
    """The sorted book; refuses two rows for one price, and a row whose unit the gateway does not know."""
    unique: dict[tuple[str, str, str, str, str], Row] = {}
    images: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.usd is not None:
            exact(row.usd, row.per, str(row))
        if row.unit not in UNITS:
            raise PriceRefusedError(f"unknown unit {row.unit}: {row}")
        if row.key in unique:
            raise PriceRefusedError(f"two prices for {row.key}: {unique[row.key].source} and {row.source}")
        unique[row.key] = row
        if row.unit == "image" or row.unit in IMAGE_CLASSES:
            images[row.model_id, row.region].append(row)
    for lines in images.values():
        units = {row.unit for row in lines}
        # A generic price would silently replace the older prices of all classes.
        if "image" in units and len(units) > 1:
            raise PriceRefusedError(f"a price for all images conflicts with prices by class: {lines[0]}")
        # Prices do not expire, so a model that is complete on its first day stays complete.
        first = min(row.effective_from for row in lines)
        if units != {"image"} and {row.unit for row in lines if row.effective_from == first} != set(IMAGE_CLASSES):
            for row in lines:
                del unique[row.key]
    return [unique[key] for key in sorted(unique)]


def read_rows(path: Path) -> list[Row]:
    """The rows of a book in CSV, unchanged."""
    with path.open(encoding="utf-8", newline="") as lines:
        return [
            Row(model_id, region, tier, unit, Decimal(usd) if usd else None, int(per), since, source)
            for model_id, region, tier, unit, usd, per, since, source in islice(csv.reader(lines), 1, None)
        ]


def as_csv(rows: Iterable[Row]) -> str:
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(Row._fields)
    for row in rows:
        usd = WITHDRAWN if row.usd is None else f"{row.usd.normalize():f}"
        table.writerow((*row[:4], usd, *row[5:]))
    return text.getvalue()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Generate the price book from published facts.")
    parser.add_argument("--litellm-map", type=Path, nargs="+", required=True, help="snapshots, wheels or bare maps")
    parser.add_argument("--litellm-version", help="the version of a bare map, which contains none")
    parser.add_argument("--effective-from", default=LITELLM_FROM, help="the day from which a new map applies")
    parser.add_argument("--legacy", type=Path, required=True)
    parser.add_argument("--rows", type=Path, help="rows appended since by `gateway prices`")
    parser.add_argument("--out", type=Path, default=BOOK)
    given = parser.parse_args(arguments)
    try:
        legacy = list(legacy_rows(json.loads(given.legacy.read_text(encoding="utf-8"))))
        rows = list(legacy)
        appended = read_rows(given.rows) if given.rows else []
        for number, path in enumerate(given.litellm_map):
            snapshot = read_snapshot(path, given.litellm_version, given.effective_from)
            listed = regional_first(legacy, litellm_rows(snapshot))
            known = [row for row in appended if row.effective_from <= snapshot.effective_from]
            rows += news([*rows, *known], listed) if number else listed
            if path.name != snapshot.file_name:
                write_snapshot(snapshot)
        priced = book([*rows, *appended])
    except PriceRefusedError as refused:
        print(f"refused: {refused}", file=sys.stderr)
        return 1
    given.out.write_text(as_csv(priced), encoding="utf-8", newline="\n")
    print(f"{len(priced)} prices of {len({row.model_id for row in priced})} models in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Reads AWS's own price list of Bedrock into rows of the price book.

Bedrock's prices are in several offers. In `AmazonBedrock` (Amazon's and open models) the usage type contains the model;
in `AmazonBedrockFoundationModels` (the marketplace's) the service's name is the model. No offer has model ids, so each
model must be in the table that reads the bill (`gateway.reconciliation.bill_usage_types`); any other model is listed,
never guessed. The same holds for a usage type with an unknown word, and for a price without a stated quantity. One
offer is per thousand tokens, the other per million, so a wrong guess is wrong by a factor of a thousand.

The plain price of a region applies to the model's own id there, and to the book's profiles of the region's geographies.
For a model that the table marks `geographic`, it applies to the profiles only. A price marked global applies to the
`global.` profile.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

from gateway.pricing.model_names import split_profile
from gateway.reconciliation.bill_usage_types import is_geographic, model_named
from scripts.generate.price_book import WIDE_GEOGRAPHIES, PriceRefusedError, Row, exact

MARKETPLACE = "AmazonBedrockFoundationModels"
# Prices that AWS states as free: Nova's cache is charged when it is read.
FREE_UNITS = {"cache_write_5m_tokens"}
_PREFIX = re.compile(r"^[A-Z]{2,4}\d?-(?:MP:[A-Z]{2,4}\d?_)?")
# The end of the model's part of a usage type.
_KIND = re.compile(
    r"-(?=(?:text-|image-|speech-|audio-|video-)?(?:input|output)-|cache-|T2I|I2I|T2V|I2V|search-|latency)"
)
# Not prices of calls: capacity by time, training, storage, other features, and another endpoint's ids.
_NO_CALL = re.compile(
    r"reserved|provisioned|custom|model-?units?|tpm|commit|training|storage|distill|guardrail|agent|knowledge|flow|eval"
    r"|mantle|fine-?tun|import|prompt-?(?:optimi|router)|data-?automation",
    re.IGNORECASE,
)
_VIDEO = re.compile(r"[TI]2V(?:-(?:Std|Med|High)fps)?(?:-(?:Std|SD|HD)Res)?")
_SCOPES = {"global": "global", "geo": "geo"}
_TIERS = {"batch": "batch", "flex": "flex", "priority": "priority", "optimized": "optimized"}
_LONG = {("long", "ctx"), ("long", "context"), ("lctx",)}
_IDLE = {
    *(
        "tokens",
        "token",
        "count",
        "million",
        "text",
        "standard",
        "regional",
        "cross",
        "region",
        "units",
        "unit",
        "read",
    ),
    *("write", "5m", "latency", "long", "ctx", "context", "lctx", "on", "demand"),
}


class Offered(NamedTuple):
    """One price of an offer: its name, its region, and the cost of one unit."""

    offer: str
    model: str
    kind: str
    region: str
    usd: Decimal
    unit: str
    description: str
    effective_from: str
    name: str  # the usage type, as on the bill

    @property
    def source(self) -> str:
        return f"AWS Price List {self.offer} {self.effective_from} {self.name}"


@dataclass(frozen=True)
class Left:
    """A price without a row, and the reason."""

    why: str
    offered: Offered


def load(place: str) -> dict[str, Any]:
    """An offer file, from a path or an https address."""
    if place.startswith("https://"):
        with urlopen(place, timeout=120) as response:
            found = json.load(response)
    else:
        found = json.loads(Path(place).read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise PriceRefusedError(f"{place} is not an offer file of the AWS Price List")
    return found


def offered(document: Mapping[str, Any]) -> Iterator[Offered]:
    """Every on-demand price of a bulk offer file, or of GetProducts responses."""
    if "PriceList" in document:
        products = [json.loads(one) if isinstance(one, str) else one for one in document["PriceList"]]
        pairs = [(one.get("serviceCode", ""), one["product"], one["terms"].get("OnDemand", {})) for one in products]
    elif "products" in document:
        terms = document["terms"].get("OnDemand", {})
        code = document.get("offerCode", "")
        pairs = [(code, product, terms.get(sku, {})) for sku, product in document["products"].items()]
    else:
        raise PriceRefusedError("not an offer file of the AWS Price List: it has neither products nor PriceList")
    for code, product, terms in pairs:
        attributes = product["attributes"]
        usage_type = attributes.get("usagetype", "")
        rest = _PREFIX.sub("", usage_type)
        if code == MARKETPLACE:
            model, kind = attributes.get("servicename", "").removesuffix(" (Amazon Bedrock Edition)"), rest
        else:
            model, *kinds = _KIND.split(rest, maxsplit=1)
            kind = kinds[0] if kinds else ""
        for term in terms.values():
            for dimension in term["priceDimensions"].values():
                yield Offered(
                    code, model, kind, attributes.get("regionCode", ""), Decimal(dimension["pricePerUnit"]["USD"]),
                    dimension.get("unit", ""), dimension.get("description", ""), term.get("effectiveDate", "")[:10],
                    usage_type,
                )  # fmt: skip


def quantity(unit: str, description: str) -> int | None:
    """The quantity of a price, from its unit, else from its description. None if neither states one.

    Raises PriceRefusedError if they contradict each other.
    """
    said = {number for text in (unit, description) if (number := _number(text))}
    if len(said) > 1:
        raise PriceRefusedError(f"the unit says {unit!r} and the description {description!r}")
    return said.pop() if said else None


def _number(text: str) -> int | None:
    text = text.lower()
    if re.search(r"\b1?\s?m(?:illion)?\b.*tokens?|\bmillion\b|1,000,000|\bmtok", text):
        return 1_000_000
    if re.search(r"\b1?\s?k\b.*tokens?|\bthousand\b|\b1,?000\b|\bktok", text):
        return 1_000
    return None


def words(kind: str) -> list[str]:
    """`CacheWrite1hInputTokenCount_Global-Units` -> cache write 1h input token count global units."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[a-z])(?=\d[hm])|(?<=\d[hm])(?=[A-Z])", "-", kind)
    return [word for word in re.split(r"[-_\s.]+", spaced.lower()) if word]


@dataclass(frozen=True)
class Kind:
    """A parsed usage type: the book's unit, the tier, whether the context is long, and the profiles."""

    unit: str
    tier: str
    long: bool
    scope: str


def kind_of(text: str, measure: str = "") -> Kind | None:
    """None if it has an unknown word. `measure` is the price's unit: a video may be priced as a whole."""
    if _VIDEO.fullmatch(text):
        return Kind("video_second", "default", long=False, scope="regional") if "second" in measure.lower() else None
    said = words(text)
    left = set(said) - _IDLE - _SCOPES.keys() - _TIERS.keys()
    tier = [name for word, name in _TIERS.items() if word in said]
    scope = next((name for word, name in _SCOPES.items() if word in said), "geo" if "cross" in said else "regional")
    long = any(set(one) <= set(said) for one in _LONG)
    if "cache" in said:
        hour = not left.isdisjoint({"1h", "1hr"})
        unit = "cache_read_tokens" if "read" in said else f"cache_write_{'1h' if hour else '5m'}_tokens"
        left -= {"cache", "input", "1h", "1hr"}
        known = "read" in said or "write" in said
    elif not {"input", "output"}.isdisjoint(said):
        side = "input" if "input" in said else "output"
        spoken = not left.isdisjoint({"speech", "audio"})
        unit = f"{side}_audio_tokens" if spoken else f"{side}_tokens"
        left -= {side, "speech", "audio"}
        known = not {"token", "tokens"}.isdisjoint(said)
    else:
        unit, known = "query", {"search", "units"} <= set(said)
        left -= {"search"}
    if left or not known or len(tier) > 1:
        return None
    return Kind(unit, tier[0] if tier else "default", long, scope)


def rows_of(prices: Iterable[Offered], book: Iterable[Row]) -> tuple[list[Row], list[Left]]:
    """The rows that an offer states, and its other prices, each with the reason."""
    known = list(book)
    ids = {row.model_id for row in known}
    long_tiers = {(row.model_id, row.tier.partition("_above_")[2]) for row in known if "_above_" in row.tier}
    made: dict[tuple[str, ...], tuple[Row, Offered]] = {}
    refused: set[tuple[str, ...]] = set()
    left: list[Left] = []
    for price in prices:
        try:
            found = _rows(price, ids, long_tiers)
        except PriceRefusedError as why:
            left.append(Left(str(why), price))
            continue
        for row in found:
            before = made.get(row.key[:4])
            if before and before[0].each != row.each:
                refused.add(row.key[:4])
                left += [Left("two prices of one thing", price), Left("two prices of one thing", before[1])]
            made[row.key[:4]] = (row, price)
    return sorted(row for key, (row, _) in made.items() if key not in refused), left


def _rows(price: Offered, ids: set[str], long_tiers: set[tuple[str, str]]) -> list[Row]:
    if _NO_CALL.search(price.name):
        raise PriceRefusedError("not the price of a call")
    base = model_named(price.model)
    if base is None:
        raise PriceRefusedError("model not in the map")
    kind = kind_of(price.kind, price.unit)
    if kind is None:
        raise PriceRefusedError("usage type not understood")
    if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", price.region):
        raise PriceRefusedError("no region")
    if not price.usd and kind.unit not in FREE_UNITS:
        raise PriceRefusedError("a price of 0")
    per = quantity(price.unit, price.description) if kind.unit.endswith("_tokens") else 1
    if per is None:
        raise PriceRefusedError("neither unit nor description states a quantity")
    # The book has all tokens per million, except in the list of 2024.
    usd, per = (price.usd * 1_000_000 / per, 1_000_000) if kind.unit.endswith("_tokens") else (price.usd, 1)
    rows = []
    for model_id in _priced(base, kind.scope, price.region, ids):
        tier = kind.tier
        if kind.long:
            above = [name for known, name in long_tiers if known == model_id]
            if len(above) != 1:
                raise PriceRefusedError("a long context without a known threshold in the book")
            tier = f"{tier}_above_{above[0]}"
        usd = exact(usd, per, price.name)
        rows.append(Row(model_id, price.region, tier, kind.unit, usd, per, price.effective_from, price.source))
    if not rows:
        raise PriceRefusedError("a profile that is not in the book")
    return rows


def _priced(base: str, scope: str, region: str, ids: set[str]) -> list[str]:
    if scope == "global":
        return [f"global.{base}"] if f"global.{base}" in ids else []
    of_geographies = [
        name
        for name in sorted(ids)
        if (found := split_profile(name))[1] == base and found[0] not in ("", "global")
        and region in WIDE_GEOGRAPHIES.get(found[0], ())
    ]  # fmt: skip
    own = [base] if scope == "regional" and not is_geographic(base) else []
    return [*own, *of_geographies]

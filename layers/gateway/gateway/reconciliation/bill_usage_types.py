"""Maps the bill's names to the ledger's: a usage type, and a product for marketplace models, give a `Kind`.

AWS has several spellings for one kind, all found in bills and in the public price list:

    USE1-NovaLite-input-tokens                                     has the model; tier as a suffix (-flex, -batch …)
    USE1-Claude4.6Sonnet-cache-read-input-token-count-cross-region-global
    USE1-anthropic.claude-opus-5-mantle-output-tokens-global-standard
    USE1-MP:USE1_InputTokenCount_Global-Units                      the model is the product's name
    USE1-MP:USE1_cache_write_tokens_1h_global_standard-Units

`usage_types.json` lists each model name once, for the bill and for the tool that reads the price list. The lookup
ignores blanks, dots and dashes, since AWS uses them inconsistently ("Claude 3.5 Haiku", "Claude3-5Haiku").

An unknown word (`custom-model`, `reserved` …) makes the usage type unmapped: listed, never guessed.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

_GEO = re.compile(r"(us|us-gov|eu|apac|jp|au|ca|in|sa|me|uk)\.(?=[a-z0-9]+\.)")
_MARKETPLACE = re.compile(r"(?:(?P<region>[A-Z0-9]+)-)?(?:MP:)?(?P<code>[A-Z]{2,3}[A-Z]?\d?)_(?P<body>\w+)-Units")
_OWN = re.compile(r"(?P<region>[A-Z0-9]+)-(?P<model>.+?)[-_](?P<body>(?:mantle[-_])?(?:input|output|cache)[-_].+)")
_EDITION = re.compile(r"\s*\(Amazon Bedrock Edition\)\s*$")
_ID = re.compile(r"[a-z0-9]+\.[a-z]")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[0-9]h)(?=[A-Z])")
_COMMON_WORDS = {
    "mantle", "input", "output", "token", "tokens", "count", "cache", "read", "write", "text", "prompt", "response",
    "5m", "30m", "1h", "standard", "cross", "region", "global", "geo", "regional", "us", "eu", "apac", "jp", "au", "ca",
    "in", "long", "lctx", "ctx",
}  # fmt: skip
_TIERS = {"flex": "flex", "priority": "priority", "batch": "batch", "latency": "optimized", "optimized": "optimized"}


class Kind(NamedTuple):
    """A separately billed quantity: a unit of a model, in a region, at a service tier."""

    model_id: str
    region: str
    tier: str
    unit: str


@cache
def names() -> dict[str, Any]:
    """The name table: `models` by name, the `geographic` model ids, and `regions` by code."""
    with resources.files("gateway.reconciliation").joinpath("usage_types.json").open(encoding="utf-8") as file:
        table: dict[str, Any] = json.load(file)
    return table


@cache
def _models() -> dict[str, str]:
    return {_plain(name): model_id for name, model_id in names()["models"].items()}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9+]", "", name.lower())


def model_named(name: str) -> str | None:
    """The id of a model, from AWS's name for it or from the id itself; None if unknown."""
    name = _EDITION.sub("", name)
    return _models().get(_plain(name)) or (name if _ID.match(name) else None)


def is_geographic(model_id: str) -> bool:
    """Does a region's plain price apply only to profiles of its geographies?"""
    return model_id in names()["geographic"]


def billed_model(model_id: str) -> str:
    """The model's name on the bill: a geographic profile is billed as its model, a global one separately."""
    return _GEO.sub("", model_id, count=1) if _GEO.match(model_id) else model_id


def billed_tier(tier: str) -> str:
    """The tier on the bill: long contexts have no separate usage type."""
    return tier.partition("_above_")[0] or "default"


def kind_of(usage_type: str, product: str = "", region: str = "") -> Kind | None:
    """The kind that a usage type bills, or None if unmapped; `product` is the product's name.

    `region` is the product's region, if the bill has it; otherwise the usage type's prefix gives the region.
    """
    if found := _MARKETPLACE.fullmatch(usage_type):
        name = product
    elif found := _OWN.fullmatch(usage_type):
        name = found["model"]
    else:
        return None
    code = found["region"] or found.groupdict().get("code") or ""
    where = region or names()["regions"].get(code, "")
    model_id = model_named(name)
    words = _words(found["body"])
    unit = _unit(words)
    if not (model_id and where and unit):
        return None
    tiers = {tier for word, tier in _TIERS.items() if word in words}
    if len(tiers) > 1 or (words - _COMMON_WORDS - _TIERS.keys() and unit not in ("image", "input_image")):
        return None
    if "global" in words and not model_id.startswith("global."):
        model_id = f"global.{model_id}"
    return Kind(model_id, where, tiers.pop() if tiers else "default", unit)


def units_per(pricing_unit: str, usage_type: str, unit: str) -> int | None:
    """The number of tokens or images in one billed unit; None if the bill's unit is unknown.

    The marketplace bills tokens by the million as `Units`. If the export lacks the column, the usage type decides.
    """
    billed_unit = pricing_unit.strip().lower()
    known = {"1k tokens": 1_000, "1k token": 1_000, "1m tokens": 1_000_000, "1m token": 1_000_000}
    if unit in ("image", "input_image"):
        return (
            1 if billed_unit in {"", "units", "unit", "image", "images", "images processed", "input images"} else None
        )
    if billed_unit in {"", "units", "unit"}:
        return 1_000_000 if _MARKETPLACE.fullmatch(usage_type) else 1_000 if not billed_unit else None
    return known.get(billed_unit, 1 if billed_unit in {"token", "tokens"} else None)


def _words(body: str) -> set[str]:
    return {word.lower() for part in re.split(r"[-_]", body) for word in _CAMEL.split(part) if word}


def _unit(words: set[str]) -> str | None:
    if "image" in words:
        return "image" if "created" in words else "input_image" if words == {"input", "image"} else None
    if "cache" in words or "cached" in words:
        if "write" in words:
            return "cache_write_1h_tokens" if "1h" in words else "cache_write_5m_tokens"
        return "cache_read_tokens" if "read" in words else None
    if "input" in words or "prompt" in words:
        return "input_tokens"
    return "output_tokens" if words & {"output", "response"} else None

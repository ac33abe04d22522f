"""How AWS's bill names what the ledger counts: a usage type, and for marketplace models a product, become a kind.

AWS spells one thing in several ways, all of them met in bills and in the public price list:

    USE1-NovaLite-input-tokens                                     model within, tier as a suffix (-flex, -batch …)
    USE1-Claude4.6Sonnet-cache-read-input-token-count-cross-region-global
    USE1-anthropic.claude-opus-5-mantle-output-tokens-global-standard
    USE1-MP:USE1_InputTokenCount_Global-Units                      the model is the product's name
    USE1-MP:USE1_cache_write_tokens_1h_global_standard-Units

Each name of a model stands once, in `usage_types.json`, for the bill and for the tool that reads the price list. One
thing is spelt with and without blanks, dots and dashes ("Claude 3.5 Haiku", "Claude3-5Haiku"): those spellings are one.

A word that is not known here (`custom-model`, `reserved` …) makes the usage type unmapped: listed, never guessed.
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
_SAID_BY_ALL = {
    "mantle", "input", "output", "token", "tokens", "count", "cache", "read", "write", "text", "prompt", "response",
    "5m", "30m", "1h", "standard", "cross", "region", "global", "geo", "regional", "us", "eu", "apac", "jp", "au", "ca",
    "in", "long", "lctx", "ctx",
}  # fmt: skip
_TIERS = {"flex": "flex", "priority": "priority", "batch": "batch", "latency": "optimized", "optimized": "optimized"}


class Kind(NamedTuple):
    """What is counted and billed on its own: a unit of a model, in a region, at a service tier."""

    model_id: str
    region: str
    tier: str
    unit: str


@cache
def names() -> dict[str, Any]:
    """The table: `models` by name, the ids that are `geographic`, and `regions` by code."""
    with resources.files("gateway.reconciliation").joinpath("usage_types.json").open(encoding="utf-8") as file:
        table: dict[str, Any] = json.load(file)
    return table


@cache
def _models() -> dict[str, str]:
    return {_plain(name): model_id for name, model_id in names()["models"].items()}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9+]", "", name.lower())


def model_named(name: str) -> str | None:
    """The id of the model that AWS calls so: by the table, or the id itself; None for one that is not known."""
    name = _EDITION.sub("", name)
    return _models().get(_plain(name)) or (name if _ID.match(name) else None)


def is_geographic(model_id: str) -> bool:
    """Is the plain price of a region that of the profiles of its geographies alone?"""
    return model_id in names()["geographic"]


def billed_model(model_id: str) -> str:
    """The model as the bill tells models apart: a geographic profile is billed as its model, a global one is not."""
    return _GEO.sub("", model_id, count=1) if _GEO.match(model_id) else model_id


def billed_tier(tier: str) -> str:
    """The tier as the bill tells tiers apart: long contexts have no usage type of their own."""
    return tier.partition("_above_")[0] or "default"


def kind_of(usage_type: str, product: str = "", region: str = "") -> Kind | None:
    """What a usage type counts; `product` is the product's name, `region` its region where the bill has it."""
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
    if len(tiers) > 1 or (words - _SAID_BY_ALL - _TIERS.keys() and unit not in ("image", "input_image")):
        return None
    if "global" in words and not model_id.startswith("global."):
        model_id = f"global.{model_id}"
    return Kind(model_id, where, tiers.pop() if tiers else "default", unit)


def units_per(pricing_unit: str, usage_type: str, unit: str) -> int | None:
    """How many tokens or images one billed unit is; None where the bill says a unit that is not known.

    The marketplace bills tokens by the million as `Units`. An export without the column leaves it to the usage type.
    """
    said = pricing_unit.strip().lower()
    known = {"1k tokens": 1_000, "1k token": 1_000, "1m tokens": 1_000_000, "1m token": 1_000_000}
    if unit in ("image", "input_image"):
        return 1 if said in {"", "units", "unit", "image", "images", "images processed", "input images"} else None
    if said in {"", "units", "unit"}:
        return 1_000_000 if _MARKETPLACE.fullmatch(usage_type) else 1_000 if not said else None
    return known.get(said, 1 if said in {"token", "tokens"} else None)


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

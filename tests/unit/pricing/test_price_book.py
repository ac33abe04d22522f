"""The price book has exactly the prices of its sources, and each build gives the same book."""

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.pricing.model_names import split_profile
from gateway.pricing.price_book import Price, PriceBook
from gateway.pricing.price_csv import UNITS, read_prices
from scripts.generate import price_book as generate_price_book
from scripts.generate.price_book import ALIKE, PriceRefusedError, Row, book, legacy_rows, litellm_rows
from scripts.operate import profile_prices

ROOT = Path(__file__).parents[3]
FACTS = ROOT / "scripts/generate/price_facts"
LITELLM = FACTS / "litellm-bedrock-1.109.1.json"
NEWER = FACTS / "litellm-bedrock-1.110.2.json"
LEGACY = FACTS / "legacy-2024.json"
APPENDED = FACTS / "appended.csv"
BOOK = ROOT / "layers/gateway/gateway/pricing/price_book.csv"

MILLION = 1_000_000
CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
CLASSES = ("512x512:standard", "512x512:premium", "larger:standard", "larger:premium")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with BOOK.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def prices() -> list[Price]:
    with BOOK.open(encoding="utf-8", newline="") as lines:
        return list(read_prices(lines))


@pytest.fixture(scope="module")
def in_force(prices: list[Price]) -> PriceBook:
    return PriceBook(prices)


@pytest.fixture(scope="module")
def facts() -> dict[str, dict[str, Any]]:
    return dict(json.loads(LITELLM.read_text(encoding="utf-8"))["facts"])


@pytest.fixture(scope="module")
def stated() -> dict[str, dict[str, dict[str, Any]]]:
    """The facts by the version of litellm that states them."""
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in (LITELLM, NEWER)]
    return {document["version"]: document["facts"] for document in documents}


def snapshot(**facts: dict[str, Any]) -> generate_price_book.Snapshot:
    """One made-up litellm; `_` and `__` of a keyword stand for `-` and `.` of a model id."""
    named = {key.replace("__", ".").replace("_", "-"): fact for key, fact in facts.items()}
    return generate_price_book.Snapshot("0", "2026-01-01", named)


def row(**changes: Any) -> Row:
    stated = Row("amazon.model", "us-east-1", "default", "input_tokens", Decimal(1), MILLION, "2026-01-01", "a list")
    return stated._replace(**changes)


# The book and its facts


def test_the_committed_facts_make_the_committed_book_byte_for_byte(tmp_path: Path) -> None:
    made = tmp_path / "price_book.csv"
    arguments = ["--litellm-map", str(LITELLM), str(NEWER), "--legacy", str(LEGACY), "--rows", str(APPENDED)]
    arguments += ["--out", str(made)]
    before = LITELLM.read_bytes()

    assert generate_price_book.main(arguments) == 0

    assert made.read_bytes() == BOOK.read_bytes()
    assert LITELLM.read_bytes() == before


def test_the_book_is_sorted_in_plain_decimals_and_plain_lines(rows: list[dict[str, str]]) -> None:
    content = BOOK.read_bytes()
    assert content.startswith(b"model_id,region,tier,unit,usd,per,effective_from,source\n")
    assert b"\r" not in content
    keys = [(r["model_id"], r["region"], r["tier"], r["unit"], r["effective_from"]) for r in rows]
    assert keys == sorted(set(keys))
    assert [r["usd"] for r in rows if not re.fullmatch(r"((0|[1-9]\d*)(\.\d*[1-9])?)?", r["usd"])] == []


def test_every_price_is_exact_dated_and_sourced(prices: list[Price], rows: list[dict[str, str]]) -> None:
    assert len(prices) == len(rows) > 13_000
    for price in prices:
        each = price.usd / price.per
        assert each == round(each, 12), price.name
        assert price.unit in UNITS, price.name
        if not price.stated:
            assert (price.usd, price.per, price.effective_from) == (Decimal(0), 1, date(2026, 11, 25)), price.name
            assert price.source.startswith("stated by no list that could be read"), price.name
            continue
        assert (price.per == 1) == (not price.unit.endswith("_tokens")), price.name
        assert price.per in {1, 1000, MILLION}, price.name
        if price.effective_from == date(2024, 1, 1):
            assert price.source.startswith("legacy price list 2024"), price.name
        elif price.effective_from == date(2024, 10, 20):
            assert price.source.startswith("price list of October 2024 of aws-solutions-library-samples"), price.name
        elif price.effective_from >= date(2026, 11, 25):
            lists = (
                *("AWS Price List AmazonBedrock 2026-08-20", "AWS Price List AmazonBedrockFoundationModels 2026-08-20"),
                *("AWS Price List 2026-10-06", "aws.amazon.com/bedrock/pricing of 2026-07-24"),
                *("platform.claude.com/docs/en/about-claude/pricing", "AWS Marketplace offer 2026-10-08"),
                "price list of October 2024 of aws-solutions-library-samples",  # where a mark was wrong
            )
            assert price.source.startswith(lists), price.name
        elif price.effective_from == date(2026, 10, 6):
            rule = profile_prices.RULE in price.source
            assert rule or price.source.startswith(("AWS Price List 2026-10-06", "genai-prices 0.2.3")), price.name
        else:
            assert price.effective_from in {date(2026, 1, 1), date(2026, 11, 24)}, price.name
            stated = re.match(r'litellm 1\.(109\.1|110\.2) \(MIT\) key "[^"]+"', price.source)
            assert stated or price.source.startswith("aws.amazon.com/bedrock/pricing (US East)"), price.name


def test_a_price_without_a_region_is_not_taken_for_that_of_a_region_abroad_any_more() -> None:
    facts = snapshot(amazon__model={"input_cost_per_token": 1e-06}, eu__amazon__model={"input_cost_per_token": 1e-06})
    made = {row[:2] for row in litellm_rows(facts._replace(effective_from="2026-11-25"))}
    assert made == {
        *(("amazon.model", region) for region in ("us-east-1", "us-west-2")),
        *(("eu.amazon.model", region) for region in ("eu-west-1", "eu-central-1")),
    }
    before = {row.region for row in litellm_rows(facts) if row.model_id == "amazon.model"}
    assert before == {"us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-northeast-1", "ap-southeast-2"}


def test_a_newer_list_changed_one_price_and_the_days_before_keep_theirs(prices: list[Price]) -> None:
    changed = [price for price in prices if price.effective_from == date(2026, 11, 24)]
    assert [price.name for price in changed] == [
        "amazon.titan-embed-text-v2:0/us-gov-east-1/default/input_tokens@2026-11-24"
    ]


def test_nothing_is_free(prices: list[Price]) -> None:
    """But for what Amazon's own list gives for nothing: the writes to Nova's cache."""
    free = [price for price in prices if price.stated and price.usd <= 0]
    assert {(price.unit, price.model_id.partition("amazon.nova-")[1]) for price in free} == {
        ("cache_write_5m_tokens", "amazon.nova-")
    }
    assert all(price.source.startswith("AWS Price List") for price in free)


def test_an_embedding_has_no_output_to_pay_for(prices: list[Price]) -> None:
    assert [price.name for price in prices if "embed" in price.model_id and price.unit == "output_tokens"] == []


def test_a_model_priced_by_tokens_has_both_of_its_sides(prices: list[Price]) -> None:
    """A missing side would leave every call of the model unpriced."""
    units = defaultdict(set)
    for price in prices:
        units[price.model_id, price.region, price.tier].add(price.unit)
    for (model_id, *_), known in units.items():
        if "embed" not in model_id and "pegasus" not in model_id and any(unit.endswith("_tokens") for unit in known):
            assert {"input_tokens", "output_tokens"} <= known, model_id


def test_only_ids_that_a_caller_can_name_are_priced(prices: list[Price]) -> None:
    strange = {p.model_id for p in prices if not re.fullmatch(r"[a-z0-9-]+\.[a-z0-9.:-]+", p.model_id)}
    assert strange == set()
    assert not any("mantle" in p.source or "commitment" in p.source or "claude_platform" in p.source for p in prices)


@pytest.mark.parametrize(
    ("profile", "regions"),
    [
        ("us.", {"us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1"}),
        ("ca.", {"ca-central-1"}),
        ("eu.", {"eu-west-1", "eu-west-2", "eu-west-3", "eu-central-1", "eu-north-1", "eu-south-1", "eu-south-2"}),
        (
            "apac.",
            {
                *("ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2"),
                *("ap-southeast-1", "ap-southeast-2", "ap-southeast-4"),
            },
        ),
        ("jp.", {"ap-northeast-1", "ap-northeast-3"}),
        ("au.", {"ap-southeast-2", "ap-southeast-4"}),
        ("in.", {"ap-south-1", "ap-south-2"}),
        ("us-gov.", {"us-gov-east-1", "us-gov-west-1"}),
    ],
)
def test_a_profile_is_priced_only_where_it_can_be_called(prices: list[Price], profile: str, regions: set[str]) -> None:
    assert {price.region for price in prices if price.model_id.startswith(profile)} == regions
    # Of a few providers the prices are known to be the same in a whole geography; of others a list says it by region.
    others = [p for p in prices if p.model_id.startswith(profile) and p.model_id.split(".")[1] not in ALIKE]
    narrow = {p.region for p in others if generate_price_book.UN_REGIONAL in p.source}
    assert narrow <= set(generate_price_book.GEOGRAPHIES.get(profile.rstrip("."), ()))


def test_a_long_context_has_its_price_wherever_its_model_has_one(in_force: PriceBook) -> None:
    """Else it would be charged as a short one."""
    today, long, short = date(2026, 12, 1), set(), set()
    for price in in_force.prices():
        if price.unit == "input_tokens" and in_force.price(*price[:4], today):
            model = split_profile(price.model_id)[1]
            if price.tier.startswith("default_above_"):
                long.add((model, price.model_id, price.region))
            elif price.tier == "default":
                short.add((model, price.model_id, price.region))
    models = {model for model, *_ in long}
    assert {place for place in short if place[0] in models} - long == set()


def test_a_global_profile_is_priced_in_every_region_at_one_price(prices: list[Price]) -> None:
    """Nova 2 Lite's alone goes by the region of the request."""
    found = defaultdict(set)
    for price in prices:
        if price.model_id.startswith("global.") and price.model_id != "global.amazon.nova-2-lite-v1:0":
            found[price.model_id, price.tier, price.unit].add((price.region, price.usd / price.per))
    assert len(found) > 200
    for places in found.values():
        assert len(places) == len(generate_price_book.GEOGRAPHIES["global"])
        assert len({usd for _, usd in places}) == 1


FIELDS = {
    "input_tokens": "input_cost_per_token",
    "output_tokens": "output_cost_per_token",
    "cache_read_tokens": "cache_read_input_token_cost",
    "cache_write_5m_tokens": "cache_creation_input_token_cost",
    "cache_write_1h_tokens": "cache_creation_input_token_cost_above_1hr",
    "image": "output_cost_per_image",
    "input_image": "input_cost_per_image",
    "query": "input_cost_per_query",
    "input_video_second": "input_cost_per_video_per_second",
    "input_audio_second": "input_cost_per_audio_per_second",
}
SUFFIXES = {"default": "", "batch": "_batches", "flex": "_flex", "priority": "_priority", "ultrafast": "_ultrafast"}


def test_a_profile_costs_what_its_own_entry_states(
    prices: list[Price], stated: dict[str, dict[str, dict[str, Any]]]
) -> None:
    """Nothing is carried over from the base model or from another geography, but by the rule of the source Region."""
    profiles = ("us.", "eu.", "apac.", "jp.", "au.", "in.", "us-gov.", "global.")
    checked = 0
    for price in prices:
        copied = profile_prices.RULE in price.source
        if price.model_id.startswith(profiles) and price.source.startswith("litellm") and not copied:
            key = price.source.split('"')[1]
            tier, _, above = price.tier.partition("_above_")
            field = FIELDS[price.unit] + (f"_above_{above}_tokens" if above else "") + SUFFIXES[tier]
            assert key == price.model_id
            assert float(price.usd / price.per) == stated[price.source.split()[1]][key][field], price.name
            checked += 1
    assert checked > 8000


def test_every_price_that_the_snapshot_states_is_in_the_book(
    prices: list[Price], facts: dict[str, dict[str, Any]]
) -> None:
    """Except of entries that say once more what another says, and of images that would be priced in part."""
    sources = {price.source.split('"')[1] for price in prices if '"' in price.source}
    assert facts.keys() - sources == {
        "1024-x-1024/50-steps/bedrock/amazon.nova-canvas-v1:0",
        "bedrock/invoke/anthropic.claude-3-5-sonnet-20240620-v1:0",
        "bedrock/moonshotai.kimi-k2.5",
        "bedrock/us.anthropic.claude-3-5-haiku-20241022-v1:0",
        "minimax.minimax-m2.5",  # each of the six regions has an entry of its own
    }


def test_an_image_model_has_a_price_for_every_class_on_every_day_it_has_one(
    prices: list[Price], in_force: PriceBook
) -> None:
    days = defaultdict(set)
    for price in prices:
        if price.unit.startswith("image"):
            days[price.model_id, price.region].add(price.effective_from)
    assert ("amazon.titan-image-generator-v1", "us-east-1") in days
    ended = {(p.model_id, p.region, p.effective_from) for p in prices if not p.stated}
    for (model_id, region), changes in days.items():
        for on in changes:
            found = {bool(in_force.price(model_id, region, "default", f"image:{name}", on)) for name in CLASSES}
            assert found == {(model_id, region, on) not in ended}, (model_id, region, on)


@pytest.mark.parametrize(
    ("model_id", "region"),
    [
        ("amazon.titan-image-generator-v2:0", "eu-west-1"),  # one price, of one class of four
        ("stability.stable-diffusion-xl-v1", "eu-central-1"),  # no price for 512x512
        (f"us.{CLAUDE}", "eu-west-1"),  # a profile of another geography
        (f"ca.{CLAUDE}", "ca-central-1"),  # no source states a price of this profile
    ],
)
def test_what_cannot_be_priced_whole_is_not_priced_at_all(prices: list[Price], model_id: str, region: str) -> None:
    assert [price.name for price in prices if (price.model_id, price.region) == (model_id, region)] == []


# What the generator does and what it refuses


def made(rows: Iterator[Row]) -> dict[tuple[str, str], str]:
    return {(r.region, r.unit): f"{r.usd.normalize():f}" for r in rows if r.usd}


def test_float_noise_is_taken_out_of_a_price() -> None:
    found = made(litellm_rows(snapshot(jp__amazon__model={"input_cost_per_token": 3.3000000000000004e-07})))
    assert found == {("ap-northeast-1", "input_tokens"): "0.33"}


def test_a_region_with_an_entry_of_its_own_takes_nothing_from_the_unregional_one() -> None:
    stated = snapshot(amazon__model={"input_cost_per_token": 1e-06, "output_cost_per_token_flex": 5e-06})
    stated.facts["bedrock/eu-west-1/amazon.model"] = {"input_cost_per_token": 2e-06}
    found = made(litellm_rows(stated))
    assert found["us-east-1", "input_tokens"] == "1"
    assert found["eu-west-1", "input_tokens"] == "2"
    assert ("us-east-1", "output_tokens") in found
    assert ("eu-west-1", "output_tokens") not in found


def test_a_bare_map_is_trimmed_to_the_prices_of_bedrock(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    entry = {"litellm_provider": "bedrock", "input_cost_per_token": 1e-06, "output_cost_per_token": 0.0}
    extras = {"max_tokens": 1, "search_context_cost_per_query": {}, "source": "a page"}
    document = {
        "amazon.model": entry | extras,
        "bedrock/us-east-1/1-month-commitment/amazon.model": {"litellm_provider": "bedrock", "cost_per_second": 1},
        "bedrock_mantle/amazon.model": entry | {"litellm_provider": "bedrock_mantle"},
        "amazon.free": {"litellm_provider": "bedrock", "input_cost_per_token": 0.0, "output_cost_per_token": 0.0},
        "model": entry,
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    found = generate_price_book.read_snapshot(path, "1", "2026-01-01")
    assert found.facts == {"amazon.model": {"input_cost_per_token": 1e-06, "source": "a page"}}


def test_a_newer_map_leaves_the_prices_of_days_already_billed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / generate_price_book.FACTS).mkdir(parents=True)
    newer = tmp_path / "map.json"
    entry = {"litellm_provider": "bedrock", "input_cost_per_token": 9e-06}
    newer.write_text(json.dumps({f"us.{CLAUDE}": entry}), encoding="utf-8")
    arguments = [
        "--legacy",
        str(LEGACY),
        "--out",
        "book.csv",
        "--litellm-version",
        "2",
        "--effective-from",
        "2026-07-01",
    ]

    assert generate_price_book.main([*arguments, "--litellm-map", str(LITELLM), "map.json"]) == 0

    with open("book.csv", encoding="utf-8", newline="") as lines:
        found = PriceBook(read_prices(lines))
    before = found.price(f"us.{CLAUDE}", "us-east-1", "default", "input_tokens", date(2026, 6, 30))
    after = found.price(f"us.{CLAUDE}", "us-east-1", "default", "input_tokens", date(2026, 7, 1))
    assert before
    assert after
    assert (before.usd, after.usd) == (Decimal("3.3"), Decimal(9))
    assert (tmp_path / generate_price_book.FACTS / "litellm-bedrock-2.json").is_file()


@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        ({"input_cost_per_token": 1.23456789e-07}, "not exact at 12 decimals"),
        ({"input_cost_per_token": -1e-06}, "negative price"),
        ({"input_cost_per_smell": 1.0}, "unknown unit"),
    ],
)
def test_a_fact_that_is_no_exact_price_is_refused(fact: dict[str, float], reason: str) -> None:
    with pytest.raises(PriceRefusedError, match=reason):
        list(litellm_rows(snapshot(amazon__model=fact)))


def test_a_new_kind_of_price_in_the_map_is_refused_not_skipped() -> None:
    with pytest.raises(PriceRefusedError, match="unknown unit input_cost_per_smell"):
        generate_price_book.trimmed("amazon.model", {"input_cost_per_smell": 1.0})


def test_two_entries_that_disagree_are_refused() -> None:
    stated = snapshot(amazon__model={"input_cost_per_token": 1e-06})
    stated.facts["bedrock/amazon.model"] = {"input_cost_per_token": 2e-06}
    with pytest.raises(PriceRefusedError, match=r"bedrock/amazon\.model states 2"):
        list(litellm_rows(stated))


def test_a_profile_of_an_unknown_geography_is_refused() -> None:
    price = {"input_cost_per_token": 1e-06}
    with pytest.raises(PriceRefusedError, match="unknown geography ca"):
        list(litellm_rows(snapshot(amazon__model=price, ca__amazon__model=price)))


def test_a_legacy_price_that_12_decimals_cannot_hold_is_refused() -> None:
    prices = {"text": {"amazon.model": {"input_cost": 1.23456789012e-3, "output_cost": 0.01}}}
    with pytest.raises(PriceRefusedError, match="not exact"):
        list(legacy_rows({"us-east-1": prices}))


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (row(usd=Decimal(2)), "two prices for"),
        (row(unit="smells"), "unknown unit"),
        (row(unit="output_tokens", usd=Decimal(-1)), "negative price"),
    ],
)
def test_a_row_that_the_book_cannot_hold_is_refused(second: Row, reason: str) -> None:
    with pytest.raises(PriceRefusedError, match=reason):
        book([row(), second])


def test_one_price_for_all_images_never_replaces_prices_by_class() -> None:
    classes = [row(unit=f"image:{name}", per=1, effective_from="2024-01-01") for name in CLASSES]
    with pytest.raises(PriceRefusedError, match="conflicts with prices by class"):
        book([*classes, row(unit="image", per=1)])


def test_an_image_model_priced_for_some_classes_only_is_left_out() -> None:
    assert book([row(), row(unit="image:larger:standard", per=1)]) == [row()]

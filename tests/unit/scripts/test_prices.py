"""The price list is parsed by its units and names, compared, and appended to the book, which is never edited."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.pricing.price_csv import COLUMNS
from scripts.generate.price_book import Row, as_csv, book, read_rows
from scripts.operate import prices
from scripts.operate.cli.gateway import main
from scripts.operate.price_offers import Kind, kind_of, offered, quantity

ROOT = Path(__file__).parents[3]
BOOK = ROOT / "layers/gateway/gateway/pricing/price_book.csv"
LITELLM = ROOT / "scripts/generate/price_facts/litellm-bedrock-1.110.2.json"
SONNET = "anthropic.claude-sonnet-4-6"
MARKETPLACE = "AmazonBedrockFoundationModels"


def offer(code: str, *products: tuple[str, str, str, str, str], region: str = "us-east-1") -> dict[str, Any]:
    """A bulk offer file, in its real shape: (usage type, name, unit, USD, description) of each product."""
    skus = {f"SKU{number}": product for number, product in enumerate(products)}
    return {
        "formatVersion": "v1.0",
        "offerCode": code,
        "version": "20261120000000",
        "publicationDate": "2026-11-20T00:00:00Z",
        "products": {
            sku: {
                "sku": sku,
                "attributes": {
                    "servicecode": code,
                    "usagetype": usage_type,
                    "regionCode": region,
                    "servicename": name if code == MARKETPLACE else "Amazon Bedrock",
                    **({} if code == MARKETPLACE else {"model": name}),
                },
            }
            for sku, (usage_type, name, *_) in skus.items()
        },
        "terms": {
            "OnDemand": {
                sku: {
                    f"{sku}.JRTCKXETXF": {
                        "offerTermCode": "JRTCKXETXF",
                        "sku": sku,
                        "effectiveDate": "2026-11-01T00:00:00Z",
                        "priceDimensions": {
                            f"{sku}.JRTCKXETXF.6YS6EN2CT7": {
                                "unit": unit,
                                "beginRange": "0",
                                "endRange": "Inf",
                                "description": description,
                                "pricePerUnit": {"USD": usd},
                            }
                        },
                    }
                }
                for sku, (_, _, unit, usd, description) in skus.items()
            }
        },
    }


def nova(usd: str = "0.0008000000", unit: str = "1K tokens", kind: str = "input-tokens", description: str = "") -> Any:
    return (f"USE1-NovaPro-{kind}", "Nova Pro", unit, usd, description)


def sonnet(kind: str, usd: str, unit: str = "Units", description: str = "$ per Million Tokens") -> Any:
    return (f"USE1-MP:USE1_{kind}-Units", "Claude Sonnet 4.6 (Amazon Bedrock Edition)", unit, usd, description)


Run = Callable[..., int]


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the book."""
    (tmp_path / "book.csv").write_bytes(BOOK.read_bytes())
    return tmp_path


@pytest.fixture
def run(house: Path) -> Run:
    def run(command: str, *documents: dict[str, Any], more: tuple[str, ...] = ()) -> int:
        arguments = [command, "--book", str(house / "book.csv"), "--appended", str(house / "appended.csv"), *more]
        for number, document in enumerate(documents):
            (house / f"offer-{number}.json").write_text(json.dumps(document), encoding="utf-8")
        if documents:
            files = [str(house / f"offer-{number}.json") for number in range(len(documents))]
            arguments += [word for file in files for word in ("--offer", file)]
            arguments += [] if "--effective-from" in more else ["--effective-from", "2026-11-25"]
        return main(["prices", *arguments])

    return run


def added(house: Path) -> list[Row]:
    return sorted(set(read_rows(house / "book.csv")) - set(read_rows(BOOK)), key=prices.BY_KEY)


# What a price list says


@pytest.mark.parametrize(
    ("usage_type", "kind"),
    [
        ("input-tokens", Kind("input_tokens", "default", False, "regional")),
        ("output-tokens-batch", Kind("output_tokens", "batch", False, "regional")),
        ("input-tokens-latency-optimized", Kind("input_tokens", "optimized", False, "regional")),
        ("output-tokens-flex", Kind("output_tokens", "flex", False, "regional")),
        ("cache-read-input-token-count", Kind("cache_read_tokens", "default", False, "regional")),
        ("cache-write-tokens-5m-long-ctx-flex", Kind("cache_write_5m_tokens", "flex", True, "regional")),
        ("input-tokens-cross-region-global-batch", Kind("input_tokens", "batch", False, "global")),
        ("text-input-tokens-priority-cross-region-global", Kind("input_tokens", "priority", False, "global")),
        ("output-tokens-long-context-cross-region-global", Kind("output_tokens", "default", True, "global")),
        ("InputTokenCount-Units", Kind("input_tokens", "default", False, "regional")),
        ("InputTokenCount_Global_Batch-Units", Kind("input_tokens", "batch", False, "global")),
        ("CacheReadInputTokenCount-Units", Kind("cache_read_tokens", "default", False, "regional")),
        ("CacheWrite1hInputTokenCount_Global-Units", Kind("cache_write_1h_tokens", "default", False, "global")),
        ("MillionBatchInputTokens-Units", Kind("input_tokens", "batch", False, "regional")),
        ("input_tokens_global_standard-Units", Kind("input_tokens", "default", False, "global")),
        ("speech-input-tokens", Kind("input_audio_tokens", "default", False, "regional")),
        ("search-units", Kind("query", "default", False, "regional")),
    ],
)
def test_a_usage_type_says_unit_tier_and_scope(usage_type: str, kind: Kind) -> None:
    assert kind_of(usage_type) == kind


@pytest.mark.parametrize("usage_type", ["smell-input-tokens", "image-input-tokens", "input", "T2I-512-Standard", ""])
def test_a_usage_type_with_a_word_that_nobody_knows_says_nothing(usage_type: str) -> None:
    assert kind_of(usage_type) is None


def test_a_video_is_priced_by_the_second_only_where_the_unit_says_so() -> None:
    assert kind_of("T2V-Medfps-HDRes", "seconds") == Kind("video_second", "default", False, "regional")
    assert kind_of("T2V-Medfps-HDRes", "video") is None


@pytest.mark.parametrize(
    ("unit", "description", "per"),
    [
        ("1K tokens", "", 1000),
        ("1K tokens", "$0.0008 per 1,000 input tokens", 1000),
        ("1M tokens", "", 1_000_000),
        ("Units", "AWS Marketplace software usage|us-east-1|Million Input Tokens Regional", 1_000_000),
        ("Units", "$0.003 per 1K input tokens", 1000),
        ("Units", "Input tokens", None),
        ("", "", None),
    ],
)
def test_of_how_many_a_price_is_stands_in_its_unit_or_its_description(
    unit: str, description: str, per: int | None
) -> None:
    assert quantity(unit, description) == per


def test_the_answers_of_get_products_are_read_as_the_bulk_file_is() -> None:
    bulk = offer("AmazonBedrock", nova())
    term = bulk["terms"]["OnDemand"]["SKU0"]
    answer = {"serviceCode": "AmazonBedrock", "product": bulk["products"]["SKU0"], "terms": {"OnDemand": term}}
    assert list(offered({"PriceList": [json.dumps(answer)]})) == list(offered(bulk))


# Against the book


def test_a_list_that_says_what_the_book_says_appends_nothing(house: Path, run: Run) -> None:
    assert run("refresh", offer("AmazonBedrock", nova())) == 0
    assert (house / "book.csv").read_bytes() == BOOK.read_bytes()


def test_a_thousand_and_a_million_are_told_apart(house: Path, run: Run) -> None:
    """By hand: Nova Pro 0.8 a million; Claude Sonnet 4.6 3.3 a million in us-east-1, and 3 global. The book has both."""
    per_thousand = offer("AmazonBedrock", nova("0.0008"), nova("0.8", "1M tokens"))
    per_million = offer(
        MARKETPLACE, sonnet("InputTokenCount", "3.3"), sonnet("InputTokenCount_Global", "3", "1M tokens")
    )
    assert run("refresh", per_thousand, per_million) == 0
    assert added(house) == []


def test_a_changed_price_is_appended_from_the_day_that_is_said_for_every_name_it_is_of(house: Path, run: Run) -> None:
    assert run("refresh", offer("AmazonBedrock", nova("0.0009"))) == 0
    assert [(row.model_id, row.region, row.usd, row.effective_from) for row in added(house)] == [
        ("amazon.nova-pro-v1:0", "us-east-1", Decimal("0.9"), "2026-11-25"),
        ("us.amazon.nova-pro-v1:0", "us-east-1", Decimal("0.9"), "2026-11-25"),
    ]
    assert set(read_rows(BOOK)) <= set(read_rows(house / "book.csv"))
    assert added(house) == read_rows(house / "appended.csv")
    assert added(house)[0].source == "AWS Price List AmazonBedrock 2026-11-01 USE1-NovaPro-input-tokens"


def test_a_regional_price_of_a_newer_claude_is_of_the_region_and_its_geography(house: Path, run: Run) -> None:
    regional, everywhere = sonnet("InputTokenCount", "4.4"), sonnet("InputTokenCount_Global", "4")
    assert run("refresh", offer(MARKETPLACE, regional, everywhere), more=("--effective-from", "2026-11-27")) == 0
    assert [(row.model_id, row.usd) for row in added(house)] == [
        (SONNET, Decimal("4.4")),
        (f"global.{SONNET}", Decimal(4)),
        (f"us.{SONNET}", Decimal("4.4")),
    ]


def test_a_price_that_the_book_did_not_know_counts_from_the_day_that_its_list_states(house: Path, run: Run) -> None:
    optimized = [
        nova("0.001", kind="input-tokens-latency-optimized"),
        nova("0.004", kind="output-tokens-latency-optimized"),
    ]
    assert run("refresh", offer("AmazonBedrock", *optimized)) == 0
    assert {(row.tier, row.unit, row.usd, row.effective_from) for row in added(house)} == {
        ("optimized", "input_tokens", Decimal(1), "2026-11-01"),
        ("optimized", "output_tokens", Decimal(4), "2026-11-01"),
    }


def test_a_price_that_nobody_stated_counts_from_the_day_after_the_book_says_so(
    house: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    known = ("amazon.nova-pro-v1:0", "us-east-1", "default", "input_tokens")
    rows = [*read_rows(BOOK), Row(*known, None, 1, "2026-11-10", "nobody states it")]
    (house / "book.csv").write_text(as_csv(book(rows)), encoding="utf-8")
    assert "amazon.nova-pro-v1:0,us-east-1,default,input_tokens,,1,2026-11-10,nobody states it\n" in (
        house / "book.csv"
    ).read_text(encoding="utf-8")
    assert run("check") == 0
    capsys.readouterr()
    litellm = ("--litellm", str(LITELLM))
    assert run("refresh", offer("AmazonBedrock", nova("0.8")), more=litellm) == 1  # per million, misread
    assert "REFUSED" in capsys.readouterr().out
    assert run("refresh", offer("AmazonBedrock", nova("0.0008")), more=litellm) == 0
    assert [row[4:7] for row in added(house) if row.key[:4] == known and row.usd] == [
        (Decimal("0.8"), 1_000_000, "2026-11-11")
    ]


def test_a_price_without_a_region_takes_no_regions_own_away(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither what Amazon's list states of the region, nor that nobody states it."""
    run("diff", more=("--litellm", str(LITELLM), "--effective-from", "2026-12-01"))
    shown = capsys.readouterr().out
    assert "claude-instant-v1" in shown
    assert "un-regional" not in shown


def test_what_amazon_gives_for_nothing_has_its_row(house: Path, run: Run) -> None:
    rows = [row for row in read_rows(BOOK) if row.unit != "cache_write_5m_tokens"]
    (house / "book.csv").write_text(as_csv(rows), encoding="utf-8")
    assert run("refresh", offer("AmazonBedrock", nova("0.0000000000", kind="cache-write-input-token-count"))) == 0
    found = [row for row in read_rows(house / "book.csv") if row.unit == "cache_write_5m_tokens"]
    assert [(row.model_id, row.region, row.usd) for row in found] == [
        ("amazon.nova-pro-v1:0", "us-east-1", Decimal(0)),
        ("us.amazon.nova-pro-v1:0", "us-east-1", Decimal(0)),
    ]
    assert run("check") == 0


@pytest.mark.parametrize("usd", ["0.0017", "0.00039", "0.8"])
def test_a_change_above_the_factor_is_refused_and_nothing_is_written(
    house: Path, run: Run, usd: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("refresh", offer("AmazonBedrock", nova(usd), nova("0.0033", kind="output-tokens"))) == 1
    assert (house / "book.csv").read_bytes() == BOOK.read_bytes()
    assert not (house / "appended.csv").exists()
    assert "REFUSED amazon.nova-pro-v1:0 us-east-1 default input_tokens: 0.8/1000000 -> " in capsys.readouterr().out


def test_a_greater_factor_may_be_allowed(house: Path, run: Run) -> None:
    assert run("refresh", offer("AmazonBedrock", nova("0.0017")), more=("--allow-factor", "3")) == 0
    assert len(added(house)) == 2


def test_a_new_price_is_checked_against_litellm(house: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row for row in read_rows(BOOK) if row.model_id != "amazon.nova-pro-v1:0"]
    (house / "book.csv").write_text(as_csv(rows), encoding="utf-8")
    assert run("refresh", offer("AmazonBedrock", nova("0.8")), more=("--litellm", str(LITELLM))) == 1
    shown = capsys.readouterr().out
    assert "REFUSED amazon.nova-pro-v1:0 us-east-1 default input_tokens: new 800/1000000  litellm 0.8/1000000" in shown


def test_diff_shows_and_writes_nothing(house: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("diff", offer("AmazonBedrock", nova("0.0009"))) == 0
    assert (
        "amazon.nova-pro-v1:0 us-east-1 default input_tokens: 0.8/1000000 -> 0.9/1000000 x1.125"
        in capsys.readouterr().out
    )
    assert (house / "book.csv").read_bytes() == BOOK.read_bytes()


@pytest.mark.parametrize(
    ("product", "why"),
    [
        (("USE1-NovaNext-input-tokens", "Nova Next", "1K tokens", "1", ""), "model not in the map (1): AmazonBedrock NovaNext"),
        (nova(kind="input-tokens-smelled"), "usage type not understood (1): USE1-NovaPro-input-tokens-smelled"),
        (nova(unit="Units"), "neither unit nor description states a quantity (1): USE1-NovaPro-input-tokens"),
        (nova(description="per million tokens"), "the unit says '1K tokens' and the description 'per million tokens' (1)"),
        (nova(kind="input-tokens-custom-model"), "not the price of a call (1)"),
        (nova("0.0000000000"), "a price of 0 (1)"),
        (nova(kind="input-tokens-long-context"), "a long context without a known threshold in the book (1)"),
        (nova(kind="input-tokens-cross-region-global"), "a profile that is not in the book (1)"),
    ],
)  # fmt: skip
def test_what_makes_no_row_is_named_with_its_reason(
    house: Path, run: Run, product: Any, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("refresh", offer("AmazonBedrock", product)) == 0
    assert f"left out, {why}" in capsys.readouterr().out
    assert added(house) == []


def test_two_prices_of_one_thing_make_none(house: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("refresh", offer("AmazonBedrock", nova("0.0009"), nova("0.00095"))) == 0
    assert added(house) == []
    assert "two prices of one thing" in capsys.readouterr().out


def test_a_price_list_of_another_shape_is_refused(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("refresh", {"prices": []}) == 1
    assert "not an offer file" in capsys.readouterr().err


def test_a_day_that_has_its_price_cannot_get_another(house: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("refresh", offer("AmazonBedrock", nova("0.0009"))) == 0
    assert run("refresh", offer("AmazonBedrock", nova("0.001"))) == 1
    assert "give a later --effective-from" in capsys.readouterr().err


# The check


def test_the_shipped_book_passes_the_check_and_holds_what_was_appended(run: Run) -> None:
    assert run("check", more=("--since", str(BOOK))) == 0


@pytest.mark.parametrize("changed", ["edited", "removed"])
def test_a_row_that_was_edited_or_removed_is_found(house: Path, run: Run, changed: str) -> None:
    rows = read_rows(BOOK)
    first = [rows[0]._replace(usd=Decimal(7))] if changed == "edited" else []
    (house / "book.csv").write_text(as_csv([*first, *rows[1:]]), encoding="utf-8")
    assert run("check", more=("--since", str(BOOK))) == 1


def test_a_model_of_an_overlay_that_nobody_knows_is_named(
    house: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    overlay = house / "overlay.csv"
    rows = ["our-llama,us-east-1,default,second,1,3600,2026-01-01,x", "*,*,*,markup,1.1,1,2026-01-01,x"]
    overlay.write_text("\n".join([",".join(COLUMNS), *rows]), encoding="utf-8")
    assert run("check", more=("--overlay", str(overlay))) == 0
    found = "overlay: 2 rows: 1 price of 1 model (1 of them not in the public list), 1 markup (1 for every tenant)"
    assert found in capsys.readouterr().out
    rows.append(f"{SONNET}x,us-east-1,default,input_tokens,1,1000000,2026-01-01,x")
    overlay.write_text("\n".join([",".join(COLUMNS), *rows]), encoding="utf-8")
    assert run("check", more=("--overlay", str(overlay))) == 1
    assert f"the public list has no model {SONNET}x" in capsys.readouterr().err

"""A charge is exact, dated, and never a guess."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from gateway.pricing import Charge, Price, PriceBook, read_prices
from gateway.usage import TokenUsage

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def price(unit: str, usd: str, *, per: int = 1_000_000, since: str = "2026-01-01", tier: str = "default") -> Price:
    return Price("m", "us-east-1", tier, unit, Decimal(usd), per, date.fromisoformat(since), "test")


BOOK = PriceBook(
    [
        price("input_tokens", "0.25"),
        price("input_tokens", "0.00025", per=1000, since="2024-01-01"),
        price("input_tokens", "0.5", since="2026-12-01"),
        price("output_tokens", "1.25"),
        price("cache_read_tokens", "0.03"),
        price("cache_write_5m_tokens", "0.3125"),
        price("cache_write_1h_tokens", "0.5"),
        price("input_tokens", "0.5", tier="default_above_200k"),
        price("output_tokens", "2.5", tier="default_above_200k"),
        price("image:512x512:standard", "0.018", per=1, since="2024-01-01"),
        price("image", "0.04", per=1),
    ]
)


def charge(usage: TokenUsage, at: datetime = NOW) -> Charge | None:
    return BOOK.charge("m", "us-east-1", usage, at)


def test_each_kind_of_token_has_its_own_price() -> None:
    made = charge(TokenUsage(1000, 200, 5000, 300, 100))
    assert made is not None
    # by hand: 1000*0.25 + 5000*0.03 + 300*0.3125 + 100*0.5 = 543.75; 200*1.25 = 250; all per million
    assert (made.input_cost, made.output_cost) == (Decimal("0.00054375"), Decimal("0.00025"))
    assert made.cost == Decimal("0.00079375")
    assert len(made.prices) == 5


@pytest.mark.parametrize(("day", "usd"), [(datetime(2024, 1, 1, tzinfo=UTC), "0.00000025"), (NOW, "0.00000025"), (datetime(2026, 12, 1, tzinfo=UTC), "0.0000005")])  # fmt: skip
def test_the_price_of_the_day_counts(day: datetime, usd: str) -> None:
    made = charge(TokenUsage(input_tokens=1), day)
    assert made is not None
    assert made.cost == Decimal(usd)


def test_before_the_first_price_there_is_none() -> None:
    assert charge(TokenUsage(input_tokens=1), datetime(2023, 12, 31, 23, 59, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    "usage",
    [TokenUsage(1, service_tier="flex"), TokenUsage(1, input_images=1), TokenUsage(300_000, 1, cache_read_tokens=1)],
)
def test_a_part_without_a_price_leaves_the_whole_unpriced(usage: TokenUsage) -> None:
    assert charge(usage) is None


@pytest.mark.parametrize(
    ("model", "region"), [("other", "us-east-1"), ("m", "eu-west-1"), ("M", "us-east-1"), ("m:0", "us-east-1")]
)
def test_a_price_is_found_by_the_exact_model_and_region(model: str, region: str) -> None:
    assert BOOK.charge(model, region, TokenUsage(1), NOW) is None


@pytest.mark.parametrize(("tokens", "usd"), [(200_000, "0.05"), (200_001, "0.1000005")])
def test_a_long_context_prices_all_its_tokens(tokens: int, usd: str) -> None:
    made = charge(TokenUsage(input_tokens=tokens))
    assert made is not None
    assert made.cost == Decimal(usd)


@pytest.mark.parametrize(
    ("price_class", "at", "usd"),
    [
        ("512x512:standard", datetime(2025, 1, 1, tzinfo=UTC), "0.036"),
        ("512x512:standard", NOW, "0.08"),
        ("larger:premium", NOW, "0.08"),
    ],
)
def test_images_are_charged_by_number_and_class(price_class: str, at: datetime, usd: str) -> None:
    made = charge(TokenUsage(images=2, image_class=price_class), at)
    assert made is not None
    assert (made.input_cost, made.output_cost) == (Decimal(0), Decimal(usd))


def test_a_class_that_nobody_prices_is_unpriced() -> None:
    assert charge(TokenUsage(images=1, image_class="larger:premium"), datetime(2025, 1, 1, tzinfo=UTC)) is None


def test_equal_books_have_equal_versions_and_another_price_another() -> None:
    prices = list(BOOK.prices())
    assert PriceBook(reversed(prices)).version == BOOK.version
    assert PriceBook([*prices, price("input_image", "1", per=1)]).version != BOOK.version


def test_a_price_that_money_cannot_hold_is_refused_with_its_line() -> None:
    header = "model_id,region,tier,unit,usd,per,effective_from,source"
    with pytest.raises(ValueError, match="line 3"):
        list(
            read_prices(
                [
                    header,
                    "m,r,default,input_tokens,0.1,1000,2026-01-01,x",
                    "m,r,default,output_tokens,0.0000001,1000000,2026-01-01,x",
                ]
            )
        )

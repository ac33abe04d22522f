"""A charge is exact, dated, and never a guess."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from gateway.pricing.price_book import Charge, Price, PriceBook
from gateway.pricing.price_csv import COLUMNS, price_book, read_overlay, read_prices
from gateway.usage.records import KeyId, ModelId, Outcome, RequestId, TenantId, TokenUsage, UsageRecord

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


def test_from_the_day_that_nobody_states_a_price_there_is_none() -> None:
    header = "model_id,region,tier,unit,usd,per,effective_from,source"
    lines = ["m,r,default,input_tokens,0.5,1000,2026-01-01,x", "m,r,default,input_tokens,,1,2026-11-01,nobody"]
    book = PriceBook(read_prices([header, *lines]))
    used = TokenUsage(input_tokens=1000)
    october = book.charge("m", "r", used, datetime(2026, 10, 31, 23, 59, tzinfo=UTC))
    assert october is not None
    assert october.cost == Decimal("0.5")
    assert book.charge("m", "r", used, NOW) is None
    assert book.for_tenant("acme").price("m", "r", "default", "input_tokens", NOW.date()) is None
    assert PriceBook(read_prices([header, lines[0]])).version != book.version
    again = PriceBook(read_prices([header, *lines, "m,r,default,input_tokens,0.6,1000,2026-11-02,a list"]))
    found = again.charge("m", "r", used, NOW)
    assert found is not None
    assert found.cost == Decimal("0.6")
    agreed = read_overlay([header, "m,eu-west-1,default,input_tokens,0.4,1000,2026-02-01,contract"])
    stated = [price._replace(region="eu-west-1") for price in book.prices()]
    charged = PriceBook(stated).with_overlay(agreed).charge("m", "eu-west-1", used, NOW)
    assert charged is not None
    assert charged.cost == Decimal("0.4")


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


# The private overlay


def overlaid(*rows: str) -> PriceBook:
    return BOOK.with_overlay(read_overlay([",".join(COLUMNS), *rows]))


def row(model: str = "m", seconds: float = 2, input_tokens: int = 0, output_tokens: int = 0) -> UsageRecord:
    record = UsageRecord(
        RequestId("r"), 1, TenantId("acme"), "cc", KeyId("k"), "text", ModelId(model), model, "us-east-1", NOW, NOW
    )
    used = TokenUsage(input_tokens, output_tokens)
    return record.settle(Outcome.SUCCEEDED, used, NOW + timedelta(seconds=seconds))


def cost(book: PriceBook, record: UsageRecord) -> Decimal | None:
    charge = book.charge_record(record)
    return charge.cost if charge else None


def test_no_row_is_no_overlay() -> None:
    assert overlaid() is BOOK
    assert BOOK.listed is BOOK
    assert BOOK.for_tenant("acme") is BOOK


def test_a_negotiated_price_counts_from_its_day_on_before_every_listed_one() -> None:
    book = overlaid("m,us-east-1,default,input_tokens,0.2,1000000,2026-11-01,contract 7")
    used = TokenUsage(input_tokens=100_000, output_tokens=100_000)

    def on(month: int, day: int) -> Decimal:
        charge = book.charge("m", "us-east-1", used, datetime(2026, month, day, tzinfo=UTC))
        assert charge
        return charge.cost

    # by hand, a tenth of: listed input 0.25, output 1.25; the list raises its input to 0.5 in December, the contract holds
    assert [on(10, 31), on(11, 1), on(12, 24)] == [Decimal("0.15"), Decimal("0.145"), Decimal("0.145")]
    listed = book.listed.charge("m", "us-east-1", used, NOW)
    assert listed
    assert listed.cost == Decimal("0.15")
    assert book.listed is BOOK
    assert book.listed.version == BOOK.version != book.version


def test_a_charge_names_the_negotiated_price_and_the_markup_it_was_made_with() -> None:
    book = overlaid(
        "m,us-east-1,default,input_tokens,0.2,1000000,2026-11-01,contract 7", "*,*,*,markup,1.15,1,2026-01-01,board"
    )
    charge = book.charge_record(row(input_tokens=1, output_tokens=1))
    assert charge
    assert [p.name for p in charge.prices] == [
        "m/us-east-1/default/input_tokens@2026-11-01+overlay*1.15",
        "m/us-east-1/default/output_tokens@2026-01-01*1.15",
    ]


def test_a_tenants_own_markup_stands_before_that_of_all() -> None:
    book = overlaid(
        "*,*,*,markup,1.15,1,2026-01-01,board",
        "tenant:acme,*,*,markup,1.1,1,2026-11-24,contract 8",
        "tenant:other,*,*,markup,2,1,2026-01-01,contract 9",
    )
    tenth = row(input_tokens=100_000)
    # by hand: 0.025 listed; times 1.1 from the 24th, times 1.15 before it; times 1.15 for whom nothing else is said
    assert cost(book, tenth) == Decimal("0.0275")
    assert cost(book, replace(tenth, started_at=NOW - timedelta(days=1))) == Decimal("0.02875")
    assert cost(book, replace(tenth, tenant_id=TenantId("somebody"))) == Decimal("0.02875")
    assert cost(book.for_tenant("acme"), tenth) == Decimal("0.0275")  # a view is not marked up twice
    assert cost(book.listed, tenth) == Decimal("0.025")
    assert book.for_tenant("acme").listed is BOOK


def test_a_marked_up_price_is_rounded_half_even_to_twelve_decimals() -> None:
    book = overlaid(
        "m,us-east-1,default,input_tokens,0.000001,1000000,2026-01-01,x",  # 1e-12 a token
        "m,us-east-1,default,output_tokens,0.000003,1000000,2026-01-01,x",
        "*,*,*,markup,1.5,1,2026-01-01,x",
    )
    assert cost(book, row(input_tokens=1)) == Decimal("2E-12")  # 1.5 goes to the even 2
    assert cost(book, row(output_tokens=1)) == Decimal("4E-12")  # 4.5 goes to the even 4
    assert book.for_tenant("acme").dearest("output_tokens", "us-east-1", NOW.date()) == Decimal("0.00000375")


def test_capacity_that_is_paid_for_elsewhere_costs_nothing_where_the_overlay_says_so() -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc"
    book = overlaid(
        f"{arn},us-east-1,default,input_tokens,0,1,2026-01-01,commitment 5",
        f"{arn},us-east-1,default,output_tokens,0,1,2026-01-01,commitment 5",
    )
    assert cost(book, row(arn, input_tokens=5, output_tokens=5)) == Decimal(0)
    assert cost(BOOK, row(arn, input_tokens=5, output_tokens=5)) is None


@pytest.mark.parametrize(
    ("usd", "per", "seconds", "expected"),
    [
        ("1.41", 3600, 2, "0.000783333334"),  # by hand: 1.41/3600 = 0.000391666667 a second
        ("1.41", 3600, 2.001, "0.001175000001"),  # each begun second is whole
        ("0.0005", 1, 10, "0.005"),
        ("3", 60, 1, "0.05"),
    ],
)
def test_an_endpoint_by_the_hour_or_second_is_paid_by_the_time_of_its_calls(
    usd: str, per: int, seconds: float, expected: str
) -> None:
    book = overlaid(f"our-llama,us-east-1,default,second,{usd},{per},2026-01-01,instance list")
    assert cost(book, row("our-llama", seconds, input_tokens=100, output_tokens=9)) == Decimal(expected)
    assert list(book.parts(row("our-llama", seconds, input_tokens=100))) == [("second", -int(-seconds // 1))]


def test_an_endpoint_may_be_paid_by_its_tokens_or_by_both() -> None:
    tokens = "our-llama,us-east-1,default,{}_tokens,0.001,1000,2026-01-01,ours"
    by_tokens = overlaid(tokens.format("input"), tokens.format("output"))
    assert cost(by_tokens, row("our-llama", input_tokens=1000, output_tokens=500)) == Decimal("0.0015")
    both = overlaid(tokens.format("output"), "our-llama,us-east-1,default,second,0.01,1,2026-01-01,ours")
    assert cost(both, row("our-llama", 2, input_tokens=1000, output_tokens=500)) == Decimal("0.0205")


def test_rows_before_an_endpoints_first_price_are_unpriced() -> None:
    book = overlaid("our-llama,us-east-1,default,second,1,1,2026-12-01,ours")
    assert cost(book, row("our-llama", input_tokens=1)) is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("m,us-east-1,default,input_token,1,1000,2026-01-01,x", "unknown unit"),
        ("m,us-east-1,fast,input_tokens,1,1000,2026-01-01,x", "unknown tier"),
        ("m,everywhere,default,input_tokens,1,1000,2026-01-01,x", "unknown region everywhere"),
        ("m,us-east-1,default,input_tokens,-1,1000,2026-01-01,x", "not a valid price"),
        ("m,us-east-1,default,input_tokens,NaN,1000,2026-01-01,x", "not a valid price"),
        ("m,us-east-1,default,input_tokens,1,0,2026-01-01,x", "not a valid price"),
        ("m,us-east-1,default,input_tokens,1,3,2026-01-01,x", "not exact"),
        ("m,us-east-1,default,input_tokens,cheap,1000,2026-01-01,x", "ConversionSyntax"),
        ("m,us-east-1,default,input_tokens,1,1000,soon,x", "isoformat"),
        ("m,us-east-1,default,input_tokens,0,1000,2026-01-01,", "needs a value"),
        ("m,us-east-1,default,input_tokens,1,1000,2026-01-01,x,y", "more columns"),
        ("tenant:acme,us-east-1,*,markup,1.1,1,2026-01-01,x", "a markup"),
        ("acme,*,*,markup,1.1,1,2026-01-01,x", "tenant:<id>"),
        ("*,*,*,markup,0,1,2026-01-01,x", "factor above 0"),
    ],
)
def test_an_overlay_row_that_would_price_nothing_or_wrongly_is_refused_with_its_line(line: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"line 3.*{reason}"):
        overlaid("m,us-east-1,default,input_tokens,1,1000,2026-01-01,x", line)


def test_two_overlay_rows_for_one_price_and_day_are_refused() -> None:
    line = "m,us-east-1,default,input_tokens,1,1000,2026-01-01,x"
    with pytest.raises(ValueError, match="line 3.*second row"):
        overlaid(line, line)


def test_an_overlay_of_other_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="the columns must be"):
        list(read_overlay(["model,usd", "m,1"]))


def test_a_public_price_of_nothing_is_refused_unless_amazon_states_it() -> None:
    row = "m,us-east-1,default,cache_write_5m_tokens,0,1000,2026-01-01"
    with pytest.raises(ValueError, match="line 3.*must come from the AWS Price List"):
        list(read_prices([",".join(COLUMNS), f"{row},AWS Price List 2026", f"{row},x"]))
    book = PriceBook(read_prices([",".join(COLUMNS), f"{row},AWS Price List 2026"]))
    free = book.charge("m", "us-east-1", TokenUsage(cache_write_5m_tokens=10), NOW)
    assert free is not None
    assert (free.cost, len(free.prices)) == (Decimal(0), 1)


def test_the_version_covers_overlay_and_markups() -> None:
    negotiated, markup = "m,us-east-1,default,image,1,1,2026-01-01,x", "*,*,*,markup,1.1,1,2026-01-01,x"
    books = [BOOK, overlaid(negotiated), overlaid(markup), overlaid(negotiated, markup)]
    books += [overlaid(negotiated, markup.replace("1.1,", "1.2,"))]
    assert len({book.version for book in books}) == len(books)
    assert overlaid(markup, negotiated).version == overlaid(negotiated, markup).version
    assert overlaid(markup).for_tenant("acme").version == overlaid(markup).version
    assert price_book().version == price_book().listed.version

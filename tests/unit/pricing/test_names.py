"""Exact rules map every model name to one price or to none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

import pytest

from gateway.calls.catalog import Catalog
from gateway.pricing.model_names import OWN_ARN, id_in
from gateway.pricing.price_book import Price, PriceBook
from gateway.pricing.price_csv import COLUMNS, price_book, read_overlay
from gateway.usage.records import KeyId, ModelId, Outcome, RequestId, TenantId, TokenUsage, UsageRecord

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ACCOUNT = "arn:aws:bedrock:us-east-1:111122223333:"
SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
HAIKU_3 = "anthropic.claude-3-haiku-20240307-v1:0"
PROVISIONED = f"{ACCOUNT}provisioned-model/abc"
MILLION = TokenUsage(input_tokens=100_000)  # a tenth of one: a million is a long context


def cost(model_id: str, called: str, region: str = "us-east-1", book: PriceBook | None = None) -> Decimal | None:
    opened = UsageRecord(
        RequestId("r"), 1, TenantId("acme"), "cc", KeyId("k"), "text", ModelId(model_id), called, region, NOW, NOW
    )
    charge = (book or price_book()).charge_record(opened.settle(Outcome.SUCCEEDED, MILLION, NOW))
    return charge.cost if charge else None


def named(name: str, behind: Callable[[str], str | None] = lambda _: None) -> str:
    return Catalog({"our-llama": "endpoint-7"}).named(name, behind).id


# By hand from litellm 1.109.1, USD per million input tokens: the model 3, global. 3, us. eu. jp. au. 3.3
BY_GEOGRAPHY = [
    (SONNET, "us-east-1", "3"),
    (f"global.{SONNET}", "us-east-1", "3"),
    (f"global.{SONNET}", "eu-west-3", "3"),
    (f"us.{SONNET}", "us-east-1", "3.3"),
    (f"us.{SONNET}", "us-east-2", "3.3"),
    (f"eu.{SONNET}", "eu-north-1", "3.3"),
    (f"jp.{SONNET}", "ap-northeast-3", "3.3"),
    (f"au.{SONNET}", "ap-southeast-4", "3.3"),
]


@pytest.mark.parametrize(("name", "region", "usd"), BY_GEOGRAPHY)
def test_a_geography_has_its_own_price(name: str, region: str, usd: str) -> None:
    assert cost(named(name), name, region) == Decimal(usd) / 10


@pytest.mark.parametrize(("name", "region", "usd"), BY_GEOGRAPHY[1:])
def test_the_arn_of_a_profile_is_priced_as_the_profile_in_it_whatever_stands_beside_it(
    name: str, region: str, usd: str
) -> None:
    arn = f"arn:aws:bedrock:{region}:111122223333:inference-profile/{name}"
    assert named(arn) == name
    assert cost(name, arn, region) == Decimal(usd) / 10
    assert cost(SONNET, arn, region) == Decimal(usd) / 10  # model_id=the base model, model_arn=the profile


@pytest.mark.parametrize(
    ("name", "region"),
    [
        (f"ca.{SONNET}", "ca-central-1"),  # nobody states a price of this geography
        (f"us.{SONNET}", "eu-west-1"),  # a geography of other regions
        (f"eu.{SONNET}", "us-east-1"),
        (f"sa.{HAIKU_3}", "sa-east-1"),
        (f"us.{HAIKU_3}", "sa-east-1"),
        (SONNET.removesuffix("-v1:0"), "us-east-1"),  # a part of an id
        (SONNET.upper(), "us-east-1"),
    ],
)
def test_a_name_without_a_row_of_its_own_is_unpriced_never_the_price_of_another(name: str, region: str) -> None:
    assert cost(named(name), name, region) is None


def test_the_arn_of_a_foundation_model_is_priced_as_the_model_in_it() -> None:
    arn = f"arn:aws:bedrock:us-east-1::foundation-model/{SONNET}"
    assert named(arn) == SONNET
    assert cost(SONNET, arn) == Decimal("0.3")


def test_an_application_profile_is_priced_as_what_it_was_made_from() -> None:
    arn = f"{ACCOUNT}application-inference-profile/abc"
    assert named(arn, lambda _: f"us.{SONNET}") == f"us.{SONNET}"
    assert cost(f"us.{SONNET}", arn) == Decimal("0.33")
    assert named(arn) == arn  # nobody knows what it was made from
    assert cost(arn, arn) is None


def test_an_application_profile_beside_a_model_is_never_priced_as_what_the_caller_says_that_it_is() -> None:
    """It may lead to a dearer one."""
    arn = f"{ACCOUNT}application-inference-profile/abc"
    model = Catalog({}).find(HAIKU_3, arn)
    assert (model.id, model.target, model.counted_as) == (HAIKU_3, arn, arn)
    assert cost(model.counted_as, model.target) is None
    profile = Catalog({}).find(HAIKU_3, f"{ACCOUNT}inference-profile/us.{HAIKU_3}")
    assert profile.counted_as == HAIKU_3
    assert Catalog({}).named(arn, lambda _: HAIKU_3).counted_as == HAIKU_3  # looked up


def test_a_quote_goes_by_the_same_name_as_the_charge() -> None:
    assert price_book().name_of(HAIKU_3, PROVISIONED, "us-east-1") == PROVISIONED
    assert price_book().name_of(HAIKU_3, HAIKU_3, "us-east-1") == HAIKU_3


@pytest.mark.parametrize(
    "arn",
    [
        f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU_3}",
        f"{ACCOUNT}inference-profile/us.{HAIKU_3}",
        f"{ACCOUNT}provisioned-model/abc",
    ],
)
def test_an_arn_ends_with_its_last_letter(arn: str) -> None:
    """Behind it an allow-list's wildcard would let anything pass."""
    assert id_in(arn) or OWN_ARN.match(arn)
    for more in ("\n", "/../x\n", " "):
        assert (id_in(arn + more), OWN_ARN.match(arn + more)) == (None, None)


@pytest.mark.parametrize("kind", ["provisioned-model", "custom-model-deployment", "imported-model", "custom-model"])
def test_what_an_account_owns_has_no_public_price(kind: str) -> None:
    arn = f"{ACCOUNT}{kind}/abc"
    assert named(arn) == arn
    assert cost(arn, arn) is None
    # model_id=the base model, model_arn=one's own: AWS bills its time, not the base model's tokens.
    assert cost(HAIKU_3, arn) is None
    assert cost(f"us.{SONNET}", arn) is None


def test_the_overlay_alone_prices_what_an_account_owns_and_never_the_model_named_beside_it() -> None:
    rows = [f"{PROVISIONED},us-east-1,default,input_tokens,0,1,2026-01-01,commitment 5"]
    book = price_book().with_overlay(read_overlay([",".join(COLUMNS), *rows]))
    assert cost(PROVISIONED, PROVISIONED, book=book) == 0
    assert cost(HAIKU_3, PROVISIONED, book=book) == 0
    assert cost(HAIKU_3, PROVISIONED, book=book.listed) is None  # at public prices it is unknown, as without an overlay
    assert cost(HAIKU_3, HAIKU_3, book=book) == Decimal("0.025")
    assert cost(HAIKU_3, PROVISIONED, "us-west-2", book) is None  # a commitment of one region


def test_an_endpoint_is_priced_by_its_public_name() -> None:
    rows = ["our-llama,us-east-1,default,input_tokens,0.001,1000,2026-01-01,ours"]
    book = price_book().with_overlay(read_overlay([",".join(COLUMNS), *rows]))
    assert cost(named("our-llama"), "endpoint-7", book=book) == Decimal("0.1")
    assert cost("our-llama", "endpoint-7") is None


def test_no_row_of_the_book_is_dead() -> None:
    """Each is in force on its first day for a name that can be called, or ends one; and a usage can be in its tier."""
    book = price_book()
    assert {name for name in {p.model_id for p in book.prices()} if named(name) != name} == set()
    dead = [price.name for price in book.prices() if not alive(book, price)]
    assert dead == []


def alive(book: PriceBook, price: Price) -> bool:
    found = book.price(price.model_id, price.region, price.tier, price.unit, price.effective_from)
    tier, _, above = price.tier.partition("_above_")
    tokens = int(above.removesuffix("k")) * 1000 + 1 if above else 1
    usage = TokenUsage(input_tokens=tokens, service_tier=tier)
    if not price.stated:
        before = price.effective_from - timedelta(days=1)
        return found is None and book.price(price.model_id, price.region, price.tier, price.unit, before) is not None
    return found is price and book.tier(price.model_id, price.region, usage) == price.tier


def test_the_book_prices_equally_in_any_order_of_its_rows() -> None:
    rows = list(price_book().prices())
    backwards = PriceBook(reversed(rows))
    assert backwards.version == price_book().version
    for price in rows[::97]:
        at = datetime.combine(price.effective_from, time(12), UTC)
        usage = TokenUsage(1000, 100, 10, 10, 10, service_tier=price.tier.partition("_above_")[0])
        asked = (price.model_id, price.region, usage, at)
        assert backwards.charge(*asked) == price_book().charge(*asked)

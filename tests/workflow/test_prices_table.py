"""The lake has the price book of its costs."""

from __future__ import annotations

import io
from datetime import date
from decimal import Decimal

import pyarrow.parquet as pq

from gateway.aws.lake.prices import KEY, PRICES, prices_file, write_prices
from gateway.aws.s3.objects import S3Objects
from gateway.core.settings import settings
from gateway.pricing.price_book import Price, PriceBook
from gateway.pricing.price_csv import price_book
from tests.workflow.machine import Workflow, row

NEW = Price("maker.new", "us-east-1", "default", "input_tokens", Decimal(3), 1_000_000, date(2026, 1, 1), "test")
AGREED = Price(
    "maker.new", "us-east-1", "default", "input_tokens", Decimal(2), 1_000, date(2026, 1, 1), "us", "+overlay"
)


def test_a_run_puts_the_book_into_the_lake(workflow: Workflow) -> None:
    workflow.keep(row("a"), input_tokens=1000, output_tokens=100)
    workflow.run(2.2)
    prices = {price["price_name"]: price for price in workflow.read("prices/")}
    assert prices.keys() == {price.name for price in price_book().prices()}
    (used,) = workflow.read("usage/")
    each = [prices[name]["usd_each"] for name in used["price_rows"].split(" ")]
    assert used["cost"] == each[0] * 1000 + each[1] * 100


def test_the_book_is_written_again_only_where_it_is_another(workflow: Workflow) -> None:
    lake = S3Objects(settings().lake_bucket)
    assert write_prices(lake, PriceBook([NEW]))
    assert not write_prices(lake, PriceBook([NEW]))
    assert write_prices(lake, PriceBook([]).with_overlay([AGREED]))
    assert workflow.files("prices/") == [KEY]


def test_agreed_prices_and_those_that_nobody_states_stand_beside_the_listed_ones() -> None:
    nobodys = Price(
        "maker.old", "us-east-1", "default", "input_tokens", Decimal(0), 1, NEW.effective_from, "", stated=False
    )
    table = pq.read_table(io.BytesIO(prices_file(PriceBook([NEW, nobodys]).with_overlay([AGREED]))))
    assert table.schema.equals(PRICES)
    assert [(r["price_name"], r["usd"], r["usd_each"], r["is_listed"]) for r in table.to_pylist()] == [
        (NEW.name, 3, Decimal("0.000003"), True),
        (AGREED.name, 2, Decimal("0.002"), False),
        (nobodys.name, None, None, True),
    ]

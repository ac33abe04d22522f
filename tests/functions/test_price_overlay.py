"""The private price overlay: an S3 object over the shipped list, read once and again only after a change."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import boto3
import pytest
from moto import mock_aws

from gateway.aws.s3 import price_overlay
from gateway.aws.s3.price_overlay import PricesUnavailable, current_book
from gateway.core.settings import settings
from gateway.pricing.price_csv import COLUMNS, price_book
from gateway.usage.records import TokenUsage
from scripts.project.template import ROOT, Template
from tests.contract.contract import FUNCTIONS, settings_read

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
HEADER = ",".join(COLUMNS)
NEGOTIATED = f"{HAIKU},us-east-1,default,input_tokens,0.2,1000000,2026-11-01,contract 7"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("PRICE_OVERLAY", "s3://lake/prices/overlay.csv")
    settings.cache_clear()
    price_overlay._overlay.cache_clear()
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket="lake")
        yield "lake"
    price_overlay._overlay.cache_clear()


def put(*rows: str) -> None:
    text = "\n".join([HEADER, *rows]) + "\n"
    boto3.client("s3").put_object(Bucket="lake", Key="prices/overlay.csv", Body=text.encode())


def cost(max_age: float = 0) -> Decimal:
    charge = current_book(max_age).charge(HAIKU, "us-east-1", TokenUsage(input_tokens=1_000_000), NOW)
    assert charge
    return charge.cost


def test_without_an_overlay_the_list_counts_and_nothing_is_asked_of_s3() -> None:
    assert current_book(0) is price_book()


def test_what_the_object_says_stands_before_the_list(bucket: str) -> None:
    put(NEGOTIATED)
    assert cost() == Decimal("0.2")
    assert current_book(0).version != price_book().version
    assert current_book(0).listed is price_book()


def test_a_new_object_counts_at_once_where_it_is_asked_for_and_else_within_minutes(bucket: str) -> None:
    put(NEGOTIATED)
    assert cost(max_age=300) == Decimal("0.2")
    put(NEGOTIATED.replace("0.2,", "0.1,"))
    assert cost(max_age=300) == Decimal("0.2")
    assert cost(max_age=0) == Decimal("0.1")


def test_the_same_object_is_not_parsed_again(bucket: str) -> None:
    put(NEGOTIATED)
    assert current_book(0) is current_book(0)


def test_an_object_that_is_missing_is_an_error_and_never_the_list_price(bucket: str) -> None:
    with pytest.raises(PricesUnavailable):
        current_book(300)


@pytest.mark.parametrize("broken", ["m,us-east-1,default,smells,1,1,2026-01-01,x", "m,us-east-1,default,input_tokens"])
def test_a_broken_object_leaves_calls_with_the_last_good_one_and_stops_what_finance_reads(
    bucket: str, broken: str
) -> None:
    put(NEGOTIATED)
    assert cost(max_age=300) == Decimal("0.2")
    put(broken)
    assert cost(max_age=1e-9) == Decimal("0.2")
    with pytest.raises(PricesUnavailable):
        current_book(0)


def test_a_file_saved_by_a_spreadsheet_is_read(bucket: str) -> None:
    text = "\ufeff" + "\r\n".join([HEADER, NEGOTIATED]) + "\r\n"
    boto3.client("s3").put_object(Bucket="lake", Key="prices/overlay.csv", Body=text.encode())
    assert cost() == Decimal("0.2")


@pytest.mark.parametrize(
    ("setting", "variable", "parameter", "condition", "least"),
    [
        ("price_overlay", "PRICE_OVERLAY", "PriceOverlayUri", "HasPriceOverlay", 8),
        ("model_routes_uri", "MODEL_ROUTES_URI", "ModelRoutesUri", "HasRoutesObject", 4),
    ],
)
def test_each_function_that_reads_an_object_may_read_exactly_that_and_only_where_there_is_one(
    setting: str, variable: str, parameter: str, condition: str, least: int
) -> None:
    said = Template(ROOT / "template.yaml", {f"GATEWAY_PARAM_{parameter}": "s3://prices/a/b.csv"})
    nothing = Template(ROOT / "template.yaml", {})
    readers = [function for function in FUNCTIONS.values() if setting in settings_read(function)]
    assert len(readers) >= least
    for function in readers:
        statements = function.properties["Policies"][0]["Statement"]
        [choice] = [s for s in statements if "Fn::If" in s and s["Fn::If"][0] == condition]
        assert said.resolve(choice) == {
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::prices/a/b.csv",
        }
        assert choice["Fn::If"][2] == {"Ref": "AWS::NoValue"}
        assert nothing.resolve(function.environment[variable]) == ""

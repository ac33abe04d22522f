"""Every inference profile of AWS's own list has a price in every Region that it may be called from.

The list, `tests/data/inference_profiles.csv`, has the ListInferenceProfiles results of all Regions on 2026-10-06, from
data/profiles.json of https://github.com/YutaOkoshi/aws-bedrock-quick-reference 5396040: the profiles, and for each the
Regions of a request.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.pricing.model_names import split_profile
from gateway.pricing.price_csv import price_book
from gateway.usage.records import TokenUsage
from scripts.generate.price_book import ALIKE, UN_REGIONAL, Row, as_csv
from scripts.operate.cli.gateway import main
from scripts.operate.profile_prices import Place, read_places, rows_of

PLACES = read_places(Path(__file__).parents[2] / "data/inference_profiles.csv")
ON = datetime(2026, 12, 1, tzinfo=UTC)
# No list of the Region states them. The list of October 2024 has the US price in each Region, and Amazon's own list has
# another one in the two neighbours.
UNPRICED = {
    Place("eu.meta.llama3-2-1b-instruct-v1:0", "eu-west-3"),
    Place("eu.meta.llama3-2-3b-instruct-v1:0", "eu-west-3"),
}
MILLION = 1_000_000


@pytest.fixture(scope="module")
def costs() -> dict[Place, dict[str, Decimal]]:
    book = price_book()
    found: dict[Place, dict[str, Decimal]] = {}
    for price in book.prices():
        if price.tier == "default" and (now := book.price(*price[:4], ON.date())):
            found.setdefault(Place(price.model_id, price.region), {})[price.unit] = now.of(1)
    return found


def test_every_profile_is_priced_from_every_region_that_it_may_be_called_from(
    costs: dict[Place, dict[str, Decimal]],
) -> None:
    assert (len({place.profile for place in PLACES}), len(PLACES)) == (155, 926)
    assert {place for place in PLACES if place not in costs} == UNPRICED


def test_a_text_call_of_every_profile_is_charged_whole(costs: dict[Place, dict[str, Decimal]]) -> None:
    """Else it would be priced in the list above and unpriced on the bill: a side without a price leaves all of it so."""
    for place in PLACES:
        known = costs.get(place, {})
        if "input_tokens" in known and "output_tokens" in known:
            charge = price_book().charge(*place, TokenUsage(1000, 100), ON)
            assert charge, place
            assert charge.cost == 1000 * known["input_tokens"] + 100 * known["output_tokens"]
        elif known and "pegasus" not in place.profile and "embed" not in place.profile:
            assert "image" in known, place


def test_a_geographic_profile_costs_what_its_model_costs_in_the_source_region(
    costs: dict[Place, dict[str, Decimal]],
) -> None:
    """Compares rows that a list states for both. Claude Sonnet 5.5's Region prices of cache reads differ from its profile's."""
    compared = 0
    for place in PLACES:
        prefix, base = split_profile(place.profile)
        if prefix == "global" or base.partition(".")[0] in ALIKE:
            continue
        own, model = costs.get(place, {}), costs.get(Place(base, place.region), {})
        for unit in own.keys() & model.keys():
            assert own[unit] == model[unit], (place, unit)
            compared += 1
    assert compared > 100


def test_where_a_provider_asks_one_price_its_profile_costs_a_tenth_more_than_the_global_one_everywhere(
    costs: dict[Place, dict[str, Decimal]],
) -> None:
    compared = 0
    for place in PLACES:
        prefix, base = split_profile(place.profile)
        everywhere = costs.get(Place(f"global.{base}", place.region), {})
        if prefix != "global" and base.partition(".")[0] in ALIKE and base != "anthropic.claude-sonnet-4-20250514-v1:0":
            for unit in costs[place].keys() & everywhere.keys():
                assert costs[place][unit] == everywhere[unit] * Decimal("1.1"), (place, unit)
                compared += 1
    assert compared > 600


def row(name: str, region: str, source: str = "a list", usd: str | None = "1") -> Row:
    amount = Decimal(usd) if usd else None
    return Row(name, region, "default", "input_tokens", amount, MILLION if usd else 1, "2026-01-01", source)


def test_a_place_without_a_price_gets_that_of_its_model_in_the_region_and_no_other() -> None:
    known = [
        row("amazon.x", "eu-west-3", usd="3"),
        row("eu.amazon.x", "eu-west-1"),
        row("amazon.x", "us-west-1", usd="9"),
    ]
    places = [Place("eu.amazon.x", "eu-west-3"), Place("eu.amazon.x", "eu-west-1"), Place("eu.amazon.x", "eu-north-1")]
    made, left = rows_of(places, known, "2026-10-06")
    assert [(r.model_id, r.region, r.usd, r.effective_from) for r in made] == [
        ("eu.amazon.x", "eu-west-3", Decimal(3), "2026-10-06")
    ]
    assert made[0].source.startswith("a list; a geographic profile costs what its source Region does")
    assert left == [Place("eu.amazon.x", "eu-north-1")]


@pytest.mark.parametrize(
    ("known", "place"),
    [
        (row("amazon.x", "eu-west-3", f"a map{UN_REGIONAL}"), Place("eu.amazon.x", "eu-west-3")),  # taken from the US
        (row("amazon.x", "eu-west-3", usd=None), Place("eu.amazon.x", "eu-west-3")),  # since then nobody states it
        (row("amazon.x", "eu-west-3"), Place("global.amazon.x", "eu-west-3")),  # a global profile has prices of its own
        (row("us.amazon.x", "us-east-1"), Place("in.amazon.x", "ap-south-1")),  # a provider whose regions differ
    ],
)
def test_what_no_list_states_of_a_region_stays_unpriced(known: Row, place: Place) -> None:
    assert rows_of([place], [known], "2026-10-06") == ([], [place])


def test_a_provider_of_one_price_asks_it_in_india_too() -> None:
    made, _ = rows_of([Place("in.openai.x", "ap-south-1")], [row("us.openai.x", "us-east-1", usd="2.2")], "2026-10-06")
    assert [(r.model_id, r.region, r.usd) for r in made] == [("in.openai.x", "ap-south-1", Decimal("2.2"))]


def test_the_tool_names_what_stays_unpriced_and_appends_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book, appended = tmp_path / "book.csv", tmp_path / "appended.csv"
    book.write_text(as_csv([row("amazon.x", "eu-west-3")]))
    places = tmp_path / "places.csv"
    places.write_text("profile,regions\neu.amazon.x,eu-west-3 eu-west-1\n")
    arguments = ["profiles", "--places", str(places), "--append", "--book", str(book), "--appended", str(appended)]
    assert main(["prices", *arguments]) == 0
    assert "unpriced, no list has its model in this region: eu.amazon.x eu-west-1" in capsys.readouterr().out
    assert main(["prices", *arguments]) == 0
    assert "0 prices appended, 1 unpriced" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "region", "usd"),
    [
        ("eu.anthropic.claude-opus-5", "eu-west-2", "5.5"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "ca-central-1", "3.3"),
        ("us.openai.gpt-6-sol", "us-west-1", "2.2"),
        ("us.xai.grok-4.7", "ca-central-1", "2.2"),
        ("us.amazon.nova-premier-v1:0", "us-east-1", "2.5"),
        ("us.amazon.nova-2-lite-v1:0", "us-west-1", "0.429"),
        ("ca.amazon.nova-lite-v1:0", "ca-central-1", "0.064"),
        ("eu.cohere.embed-v4:0", "eu-north-1", "0.12"),
        ("in.anthropic.claude-opus-5", "ap-south-1", "5.5"),
        ("apac.anthropic.claude-3-haiku-20240307-v1:0", "ap-south-1", "0.25"),
        ("global.anthropic.claude-fable-5-2", "ap-south-1", "8"),
        ("us.anthropic.claude-mythos-5-2", "us-east-2", "8.8"),
        ("openai.gpt-6-sol", "us-east-1", "2.2"),
        ("openai.gpt-6-luna", "us-west-2", "0.11"),
    ],
)
def test_what_people_read_in_the_lists(name: str, region: str, usd: str) -> None:
    price = price_book().price(name, region, "default", "input_tokens", date(2026, 12, 1))
    assert price
    assert price.of(MILLION) == Decimal(usd)

"""Each row of the price book charges the price that a person read in a price list, whatever wrote the row.

The sheet, `tests/data/`, is written by hand, and never generated from the book or its sources:

- `list_prices.csv` has USD per 1M tokens of a model, in a tier, from a day on. It is the price in the places `at_list`;
  the places of `plus_10` and `plus_20` add a tenth or a fifth. `rules` names the other tiers that follow it
  (`price_rules.csv`, factors by unit); a tier without a rule has its own line.
- `list_prices_by_piece.csv` has USD per picture, second or query, and per 1M tokens of speech.
- A place is a region, for calls by the model's own id, or one of `price_places.csv`: several regions, or the
  model's profile of a geography in all of its regions, or in one (`eu@eu-west-1`).
- No list has a price for `abroad`, or for a place with a `?`: the US price applied to them until UNSTATED_SINCE. From
  then on the book marks them as withdrawn, unless a line has a price.
- `source` is the number's source (`price_sources.csv`), `checked_against` a second source, or the reason why there is
  none.
"""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.pricing.model_names import split_profile
from gateway.pricing.price_book import Price
from gateway.pricing.price_csv import price_book
from gateway.usage.provider_counts import echoed_tier
from gateway.usage.records import KeyId, ModelId, Outcome, RequestId, TenantId, TokenUsage, UsageRecord

DATA = Path(__file__).parents[2] / "data"
MILLION = 1_000_000
SURCHARGES = {"at_list": Decimal(1), "plus_10": Decimal("1.1"), "plus_20": Decimal("1.2")}
COLUMNS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "write_5m": "cache_write_5m_tokens",
    "write_1h": "cache_write_1h_tokens",
}
# The providers whose models cost the same in each region of a geography.
ALIKE = ("anthropic.", "openai.", "xai.", "moonshotai.", "zai.")
ABROAD, TAKEN = "abroad", "?"
UNSTATED_SINCE = "2026-11-25"
ONE_SOURCE = ("price map only", "list of 2024 only", "no second source", "none")
# Each one list at two dates: neither is a second source for the other.
EDITIONS = {"aws-list", "aws-list-10"}, {"legacy", "legacy-10"}
# Only these say what is paid in GovCloud.
OF_GOVCLOUD = {"portkey", "gov-table"}
# No count of a call has these parts, so nothing is charged by their rows yet.
UNCOUNTED = {
    "input_audio_tokens",
    "output_audio_tokens",
    "input_audio_second",
    "input_video_second",
    "video_second",
    "query",
}
# Speech or video that nobody counts came in beside the tokens: such a call is unpriced as a whole.
HEARD = {
    "amazon.nova-2-sonic-v1:0",
    "amazon.nova-2-5-sonic",
    "twelvelabs.pegasus-1-2-v1:0",
    "twelvelabs.pegasus-1-5-v1:0",
}


class Key(NamedTuple):
    """The key of one row of the book."""

    name: str
    region: str
    tier: str
    unit: str
    since: str


class Said(NamedTuple):
    """The sheet's price of one unit, its source, and why no second list confirms it; empty if one does."""

    each: Decimal
    line: str
    doubt: str
    place: str

    @property
    def is_taken(self) -> bool:
        """Not stated of this region: taken from the US."""
        return is_taken(self.place)


def table(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, strict=True))


RULES = {rule["rule"]: rule for rule in table("price_rules.csv")}
PLACES = {place["place"]: place for place in table("price_places.csv")}
SOURCES = {source["source"] for source in table("price_sources.csv")}
BY_TOKEN, BY_PIECE = table("list_prices.csv"), table("list_prices_by_piece.csv")


def is_taken(place: str) -> bool:
    return place.startswith(TAKEN) or place.partition("@")[0] == ABROAD


def called_in(place: str, model: str) -> Iterator[tuple[str, str]]:
    """(name, region) of the calls in a place of the sheet."""
    known, _, region = place.removeprefix(TAKEN).partition("@")
    found = PLACES.get(known, {"profile": "", "regions": known, "regions_alike": ""})
    regions = (model.startswith(ALIKE) and found["regions_alike"]) or found["regions"]
    for one in [region] if region else regions.split():
        yield (f"{found['profile']}.{model}" if found["profile"] else model), one


def by_token(line: dict[str, str]) -> Iterator[tuple[str, str, Decimal]]:
    """(tier, unit, USD per 1M) of a line and of the rules that it follows."""
    listed = {unit: Decimal(line[column]) for column, unit in COLUMNS.items() if line[column]}
    for unit, usd in listed.items():
        yield line["tier"], unit, usd
    for rule in (RULES[name] for name in line["rules"].split()):
        for column, unit in COLUMNS.items():
            if rule[column] and unit in listed:
                yield rule["tier"], unit, listed[unit] * Decimal(rule[column])


def doubt(line: dict[str, str], place: str, surcharge: str) -> str:
    """Most lists are of the US: what they confirm is the price at home, and not that abroad or in GovCloud."""
    for why in ONE_SOURCE:
        if line["checked_against"].startswith(why):
            return why
    if is_taken(place):
        return ABROAD
    if any({line["source"], line["checked_against"]} <= editions for editions in EDITIONS):
        return "no second source"
    of_govcloud = not OF_GOVCLOUD.isdisjoint({line["source"], line["checked_against"]})
    return "" if of_govcloud or surcharge != "plus_20" else "GovCloud"


def stated() -> Iterator[tuple[Key, Said]]:
    for number, line in enumerate(BY_TOKEN, start=2):
        where = f"list_prices.csv:{number} ({line['source']}; {line['checked_against']})"
        for surcharge, factor in SURCHARGES.items():
            for place in line[surcharge].split():
                why = doubt(line, place, surcharge)
                for name, region in called_in(place, line["model"]):
                    for tier, unit, usd in by_token(line):
                        key = Key(name, region, tier, unit, line["since"])
                        yield key, Said(usd * factor / MILLION, where, why, place)
    for number, line in enumerate(BY_PIECE, start=2):
        where = f"list_prices_by_piece.csv:{number} ({line['source']}; {line['checked_against']})"
        each = Decimal(line["usd"]) / (MILLION if line["unit"].endswith("_tokens") else 1)
        for place in line["places"].split():
            said = Said(each, where, doubt(line, place, "at_list"), place)
            for name, region in called_in(place, line["model"]):
                yield Key(name, region, "default", line["unit"], line["since"]), said


SHEET = dict(stated())
ROWS = {Key(p.model_id, p.region, p.tier, p.unit, p.effective_from.isoformat()): p for p in price_book().prices()}
BOOK = {key: price for key, price in ROWS.items() if price.stated}
NEWEST = {key[:4]: key for key in sorted(SHEET)}
MODELS: dict[str, list[Key]] = defaultdict(list)
for _key in sorted(SHEET.keys() | BOOK.keys()):
    MODELS[split_profile(_key.name)[1]].append(_key)


def usage(tier: str, unit: str, quantity: int) -> TokenUsage:
    """A call that used so much of one unit; made words of a long context are read from a million others."""
    tier, long, _ = tier.partition("_above_")
    if unit.startswith("image"):
        return TokenUsage(images=quantity, image_class=unit.partition(":")[2] or "larger:premium", service_tier=tier)
    if unit == "input_image":
        return TokenUsage(input_images=quantity, service_tier=tier)
    read = MILLION if long and unit == "output_tokens" else 0
    return TokenUsage(**{"input_tokens": read, unit: quantity}, service_tier=tier)  # type: ignore[arg-type]


def call(key: Key, used: TokenUsage) -> UsageRecord:
    """A settled row of the ledger on the first day of a price, called by the ARN that Bedrock gives the name."""
    at = datetime.combine(date.fromisoformat(key.since), datetime.min.time(), UTC)
    kind = ":123456789012:inference-profile" if split_profile(key.name)[0] else "::foundation-model"
    record = UsageRecord(
        RequestId("r"), 1, TenantId("acme"), "cc", KeyId("k"), "text", ModelId("another"),
        f"arn:aws:bedrock:{key.region}{kind}/{key.name}", key.region, at, at,
    )  # fmt: skip
    return record.settle(Outcome.SUCCEEDED, used, at + timedelta(seconds=1))


def charged(key: Key, quantity: int) -> tuple[Decimal | None, list[Price]]:
    """The cost of a quantity of one unit, and the rows of the book that give it."""
    if key.unit in UNCOUNTED or split_profile(key.name)[1] in HEARD:
        price = price_book().price(*key[:4], date.fromisoformat(key.since))
        return (price.of(quantity), [price]) if price else (None, [])
    charge = price_book().charge_record(call(key, usage(key.tier, key.unit, quantity)))
    if charge is None:
        return None, []
    return charge.output_cost if key.unit == "output_tokens" else charge.cost, list(charge.prices)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_a_call_costs_what_its_price_list_says(model: str) -> None:
    """Every row of the book is used by one call, and every price of the sheet has its row."""
    wrong = []
    for key in MODELS[model]:
        row = "/".join(key)
        if key not in SHEET:
            wrong.append(
                f"{row}: {BOOK[key].usd} USD per {BOOK[key].per} in the book, and no line of the sheet says so"
            )
            continue
        each, line, *_ = SHEET[key]
        if key not in BOOK:
            wrong.append(f"{row}: no row in the book, and {line} says {each.normalize():f} USD for one")
            continue
        # A long context begins above 100,000 tokens at the earliest, and a million is one for every model that has it.
        quantity = MILLION if "_above_" in key.tier else 100_000 if key.unit.endswith("_tokens") else 10
        cost, rows = charged(key, quantity)
        if cost != each * quantity or BOOK[key] not in rows:
            wrong.append(f"{row}: {quantity} cost {cost} USD, and {line} says {(each * quantity).normalize():f}")
    assert not wrong, "\n".join(wrong)


def test_no_price_in_force_is_one_that_was_taken_from_the_us() -> None:
    """Only calls in regions without a stated price are unpriced."""
    taken = {Key(*key[:4], UNSTATED_SINCE) for key in NEWEST.values() if SHEET[key].is_taken}
    marks = {key for key, price in ROWS.items() if not price.stated}
    assert {mark for mark in marks if NEWEST[mark[:4]].since < mark.since} == taken  # but for those stated since
    assert taken
    for key in taken:
        assert price_book().price(*key[:4], date.fromisoformat(UNSTATED_SINCE)) is None, key
        before = date.fromisoformat(UNSTATED_SINCE) - timedelta(days=1)
        assert price_book().price(*key[:4], before) == BOOK[NEWEST[key[:4]]]


def test_the_sheet_says_nothing_twice() -> None:
    said = Counter(key for key, _ in stated())
    assert [key for key, times in said.items() if times > 1] == []


def test_each_line_of_the_sheet_is_needed() -> None:
    """Prices of the sheet have their rows; here: no line without a price, no rule, place or source that none uses."""
    lines = {said.line.partition(" ")[0] for said in SHEET.values()}
    assert len(lines) == len(BY_TOKEN) + len(BY_PIECE)
    assert {rule for line in BY_TOKEN for rule in line["rules"].split()} == RULES.keys()
    places = [place for line in BY_TOKEN for column in SURCHARGES for place in line[column].split()]
    places += [place for line in BY_PIECE for place in line["places"].split()]
    assert PLACES.keys() <= {place.removeprefix(TAKEN).partition("@")[0] for place in places}
    assert {line["source"] for line in (*BY_TOKEN, *BY_PIECE)} <= SOURCES
    text = "".join((DATA / name).read_text(encoding="utf-8") for name in ("price_places.csv", "price_rules.csv"))
    text += "".join(line["source"] + line["checked_against"] for line in (*BY_TOKEN, *BY_PIECE))
    assert [source for source in SOURCES if source not in text] == []
    checks = {line["checked_against"] for line in (*BY_TOKEN, *BY_PIECE)}
    strange = {
        check for check in checks if not check.startswith(ONE_SOURCE) and re.split(r"[ :]", check)[0] not in SOURCES
    }
    assert strange == set()


def test_the_page_of_prices_says_how_much_is_confirmed_and_why_the_rest_is_not() -> None:
    text = (DATA.parents[1] / "docs/books/prices.md").read_text(encoding="utf-8")
    page = " ".join(text.split())
    in_force = [key for key in NEWEST.values() if not SHEET[key].is_taken]
    doubts = Counter(SHEET[key].doubt for key in in_force)
    sure = doubts.pop("")
    confirmed = {split_profile(key.name)[1] for key in in_force if not SHEET[key].doubt}
    by_rule = [key for key in in_force if " (anthropic; no second source" in SHEET[key].line]
    compared = [key for key in SHEET if key.unit in UNCOUNTED or split_profile(key.name)[1] in HEARD]
    assert (
        f"The book has {len(BOOK):,} rows for {len({key.name for key in BOOK})} names, of which {len(in_force):,} are"
        in page
    )
    assert f"another {len(ROWS) - len(BOOK)} rows, without a price" in page
    assert f"{len(compared)} rows (speech, video, queries)" in page
    assert f"two sources agree on {sure:,} of the {len(in_force):,} prices in force" in page
    assert f"{sure:,} of the prices in force stand in two" in page
    assert f"{len(confirmed)} of the {len(MODELS)} models have a second source" in page
    assert f"The other {doubts.total():,} rest on one" in page
    assert f"for {len(by_rule)} of Claude's newest" in page
    assert [f"{why}: {rows}" for why, rows in doubts.items() if f"\n| {rows:,} | " not in text] == []


@pytest.mark.parametrize(
    ("name", "tokens", "usd"),
    [
        ("us.anthropic.claude-haiku-5-5", 100_000, "0.011"),
        ("us.anthropic.claude-haiku-5-5", 100_001, "0.05500055"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", 200_000, "0.66"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", 200_001, "1.3200066"),
        ("us.openai.gpt-6-astra", 272_000, "2.992"),
        ("us.openai.gpt-6-astra", 272_001, "5.984022"),
    ],
)
def test_a_long_context_begins_where_its_list_says(name: str, tokens: int, usd: str) -> None:
    key = Key(name, "us-east-1", "default", "input_tokens", "2026-11-24")
    assert charged(key, tokens)[0] == Decimal(usd)


def test_a_call_of_many_parts_costs_their_sum() -> None:
    """By hand, per million: 1000 at 5, 5000 at 0.50, 300 at 6.25, 100 at 10; 200 made at 25."""
    key = Key("global.anthropic.claude-opus-5", "ap-south-1", "default", "input_tokens", "2026-11-24")
    charge = price_book().charge_record(call(key, TokenUsage(1000, 200, 5000, 300, 100)))
    assert charge
    assert (charge.input_cost, charge.output_cost) == (Decimal("0.010375"), Decimal("0.005"))


@pytest.mark.parametrize("model", sorted(HEARD))
def test_what_was_heard_or_seen_and_not_counted_leaves_a_call_unpriced(model: str) -> None:
    keys = [key for key in MODELS[model] if key.unit not in UNCOUNTED]
    assert keys
    assert [key for key in keys if price_book().charge_record(call(key, usage(key.tier, key.unit, 1)))] == []


def test_each_tier_of_the_book_is_one_that_an_answer_can_echo() -> None:
    """Else its calls would be charged at the default's price. A batch's price is there to compare with, not to charge."""
    tiers = {key.tier.partition("_above_")[0] for key in BOOK} - {"batch"}
    assert {echoed_tier(tier) for tier in tiers} == tiers

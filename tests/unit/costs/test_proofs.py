"""The next run restores lost or altered files of the lake from the ledger, or fails and names them."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.aws.lake.parquet import no_usage
from gateway.core.times import hour_of
from gateway.costs import periods, proofs
from gateway.costs.cost_lines import CostsDoNotMatch
from gateway.costs.periods import hours_between
from gateway.costs.proofs import DayProof, find_days, holes
from gateway.costs.stores import CorruptPart
from gateway.costs.usage_files import UsageFile
from gateway.pricing.price_book import Markup, Price, PriceBook
from tests.unit.costs.test_aggregation import (
    BOOK,
    DAY,
    RETENTION,
    SONNET,
    UNHEARD_OF,
    House,
    MemoryProofs,
    at,
    price,
    row,
    settled,
)

NOW, AN_HOUR_LATER = at(31.2), at(32.2)
FIRST, SECOND = "2026-11-24T19", "2026-11-25T01"
Damage = Callable[[bytes], bytes | None]


@pytest.fixture
def house() -> House:
    """Two days with calls in four hours each; the first day is closed."""
    made = House()
    for n in range(8):
        made.add(settled(row(f"r{n}", 18 + n * 1.5 + 0.25), input_tokens=1000 + n, output_tokens=n))
        made.add(settled(row(f"s{n}", 18 + n * 1.5 + 0.3, tenant="zeta"), input_tokens=10 + n))
    made.run(NOW)
    hold_sums(made)
    return made


def sums_of_ledger(house: House) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for record in house.ledger.rows.values():
        charge = house.book.charge_record(record)
        sums[record.hour[:10]] += charge.cost if charge else 0
    return dict(sums)


def sums_of_lake(house: House) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for key, content in house.files.content.items():
        if key.startswith("costs/"):
            lines = pq.read_table(io.BytesIO(content))["cost"].to_pylist()
            sums[key.split("/")[1].removeprefix("dt=")] += sum(cost or 0 for cost in lines)
    return dict(sums)


def rows_of_lake(house: House) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for key, content in house.files.content.items():
        if key.startswith("usage/"):
            costs = pq.read_table(io.BytesIO(content))["cost"].to_pylist()
            sums[key.split("/")[1].removeprefix("dt=")] += sum(cost or 0 for cost in costs)
    return dict(sums)


def hold_sums(house: House) -> None:
    assert sums_of_lake(house) == rows_of_lake(house) == sums_of_ledger(house)


# ------------------------------------------------------------------------------------------------- lost and altered
def lost(content: bytes) -> None:
    return None


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def emptied(content: bytes) -> bytes:
    return no_usage()


def _edited(content: bytes, change: Callable[[list[dict[str, object]]], list[dict[str, object]]]) -> bytes:
    table = pq.read_table(io.BytesIO(content))
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(change(table.to_pylist()), table.schema), sink)
    return sink.getvalue()


def a_row_less(content: bytes) -> bytes:
    return _edited(content, lambda rows: rows[1:])


def a_row_more(content: bytes) -> bytes:
    return _edited(content, lambda rows: [*rows, rows[0]])


def another_cost(content: bytes) -> bytes:
    return _edited(content, lambda rows: [{**rows[0], "cost": Decimal("0.5")}, *rows[1:]])


def another_tenant(content: bytes) -> bytes:
    return _edited(content, lambda rows: [{**rows[0], "tenant_id": "nobody"}, *rows[1:]])


DAMAGES: list[Damage] = [lost, truncated, emptied, a_row_less, a_row_more, another_cost, another_tenant]


def do_damage(house: House, key: str, damage: Damage) -> None:
    if (content := damage(house.files.content[key])) is None:
        del house.files.content[key]
    else:
        house.files.content[key] = content


@pytest.mark.parametrize(
    ("damage", "hour", "next_run"),
    [
        *((damage, FIRST, "idle") for damage in DAMAGES),
        *((damage, SECOND, run) for damage in (lost, another_cost) for run in ("idle", "later", "of another hour")),
        (lost, FIRST, "of another hour"),
    ],
)
def test_a_usage_file_that_is_not_what_was_proven_is_made_again_by_the_next_run(
    house: House, damage: Damage, hour: str, next_run: str
) -> None:
    do_damage(house, UsageFile(hour).key, damage)
    if next_run == "of another hour":
        planned, _ = house.run(NOW, hours=[f"{hour[:10]}T21" if hour == FIRST else f"{hour[:10]}T03"])
    else:
        planned, _ = house.run(NOW if next_run == "idle" else AN_HOUR_LATER)
    assert planned.mended == (hour,)
    hold_sums(house)
    assert house.run(AN_HOUR_LATER)[0].mended == ()


@pytest.mark.parametrize("damage", [lost, truncated, a_row_less, another_cost, another_tenant])
@pytest.mark.parametrize("day", ["2026-11-24", "2026-11-25"])
def test_the_costs_of_a_day_that_are_not_what_was_proven_are_made_anew(house: House, damage: Damage, day: str) -> None:
    key = f"costs/dt={day}/part-0.parquet"
    kept = house.files.content[key]
    do_damage(house, key, damage)
    planned, _ = house.run(NOW)
    assert (planned.hours, planned.rebuilt) == ((), (day,))
    assert house.closed[0].mended == [key]
    assert house.files.content[key] == kept
    hold_sums(house)


def test_costs_are_not_summed_over_a_file_that_changed_while_the_run_went_on(house: House) -> None:
    """Neither are they written, nor is anything noted."""
    before, steps = dict(house.files.content), iter(range(100))
    house.add(settled(row("late", 27.5), input_tokens=5))

    def meanwhile() -> None:
        if next(steps) == 1:  # planned and priced; the day is next
            do_damage(house, UsageFile(SECOND).key, another_cost)

    with pytest.raises(CostsDoNotMatch, match="usage of 2026-11-25T01 differs from its proof"):
        house.run(NOW, meanwhile, hours=["2026-11-25T03"])
    assert house.files.content["costs/dt=2026-11-25/part-0.parquet"] == before["costs/dt=2026-11-25/part-0.parquet"]
    house.run(AN_HOUR_LATER)
    hold_sums(house)


def test_a_file_in_an_hour_that_had_no_call_fails_the_run_by_its_name(house: House) -> None:
    some = house.files.content[UsageFile(FIRST).key]
    house.files.content[UsageFile("2026-11-24T20").key] = some
    with pytest.raises(CostsDoNotMatch, match="2026-11-24T20"):
        house.run(NOW)
    del house.files.content[UsageFile("2026-11-24T20").key]
    house.run(NOW)
    hold_sums(house)


@pytest.mark.parametrize("place", [f"{DAY}/hour=01", f"{DAY}/hour=24", f"{DAY}/hour=3", "2026-11-20/hour=05"])
def test_a_file_where_the_ledger_has_no_hour_fails_the_run_by_its_name(house: House, place: str) -> None:
    """Its rows would be summed with those of its day, or of the month."""
    key = f"usage/dt={place}/part-00-of-01.parquet"
    house.files.content[key] = house.files.content[UsageFile(FIRST).key]
    do_damage(house, f"costs/dt={DAY}/part-0.parquet", lost)
    with pytest.raises(CostsDoNotMatch, match=f"{key}|costs of {place.replace('/hour=', 'T')} do not match"):
        house.run(NOW)
    del house.files.content[key]
    house.run(AN_HOUR_LATER)
    costs = {day: usd for day, usd in sums_of_lake(house).items() if usd}
    assert costs == rows_of_lake(house) == sums_of_ledger(house)


@pytest.mark.parametrize("name", ["copy.parquet", "part-00-of-02.parquet", "part-03.parquet"])
def test_a_file_beside_those_of_an_hour_fails_the_run_by_its_name(house: House, name: str) -> None:
    key = f"usage/dt={DAY}/hour=19/{name}"
    house.files.content[key] = house.files.content[UsageFile(FIRST).key]
    if name == "part-03.parquet":  # of the older layout: its rows are proven to be in the newer, and it goes
        house.run(NOW)
    else:
        with pytest.raises(CostsDoNotMatch, match=name):
            house.run(NOW)
        del house.files.content[key]
        house.run(NOW)
    assert key not in house.files.content
    hold_sums(house)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_damaged_the_sums_are_the_ledgers_after_the_next_run_or_it_fails_by_name(
    house: House, seed: int
) -> None:
    random, scheduled = Random(seed), 31.2
    for turn in range(4):
        keys = [key for key in house.files.content if key.startswith(("usage/", "costs/"))]
        for key in random.sample(keys, random.randint(1, 4)):
            do_damage(house, key, random.choice(DAMAGES if key.startswith("usage/") else [lost, truncated, a_row_less]))
        if random.random() < 0.5:
            house.add(settled(row(f"new{turn}", scheduled + 0.3), input_tokens=random.randint(1, 9)))
        scheduled += random.choice([0.0, 1.0])
        asked: dict[str, Any] = {"hours": [hour_of(at(random.randrange(18, 30)))]} if random.random() < 0.3 else {}
        house.run(at(scheduled), **asked)
        if asked:  # of other days nothing is said
            house.run(at(scheduled))
        damaged = house.plan(at(scheduled))
        assert (damaged.mended, damaged.rebuilt, damaged.left) == ((), (), 0)
        house.run(at(scheduled + 1))
        scheduled += 1
        hold_sums(house)


def test_what_the_ledger_has_dropped_and_the_lake_has_lost_is_told_by_every_run(house: House) -> None:
    later = at(0) + timedelta(days=500)
    house.periods.mark = hour_of(later - timedelta(hours=3))
    costs = sums_of_lake(house)
    do_damage(house, UsageFile(FIRST).key, another_cost)
    for _ in range(2):
        planned = house.plan(later)
        assert (planned.lost, planned.mended) == ((FIRST,), ())
    assert sums_of_lake(house) == costs


def test_costs_from_before_the_ledger_begins_that_nobody_knows_are_set_aside(house: House) -> None:
    key = "costs/dt=2026-11-20/part-0.parquet"
    house.files.content[key] = content = house.files.content[f"costs/dt={DAY}/part-0.parquet"]
    house.run(NOW)
    assert house.files.content[f"corrupt/{key}"] == content
    house.run(AN_HOUR_LATER)
    assert {day: usd for day, usd in sums_of_lake(house).items() if usd} == sums_of_ledger(house)


def test_what_lay_in_the_lake_before_the_first_run_of_this_release_is_known(house: House) -> None:
    """Also costs whose usage is not kept any more, and files older than the ledger's rows."""
    upgraded(house)
    later = at(0) + timedelta(days=500)
    house.periods.mark = hour_of(later - timedelta(hours=3))
    for key in house.files.list(f"usage/dt={DAY}/"):
        del house.files.content[key]
    before = dict(house.files.content)
    for _ in range(2):
        planned = house.plan(later)
        assert (planned.lost, planned.mended) == ((), ())
    assert house.files.content == before


def test_costs_that_nothing_is_left_of_fail_the_run_by_their_name(house: House) -> None:
    house.lake.set_aside(CorruptPart(UsageFile(FIRST).key), lost=True)
    house.proofs.note(DayProof(DAY, {FIRST: house.listing().hours[FIRST]}))
    do_damage(house, f"costs/dt={DAY}/part-0.parquet", lost)
    with pytest.raises(CostsDoNotMatch, match="restore the version that the bucket keeps"):
        house.run(NOW)


# --------------------------------------------------------------------------------------------------------- prices
def test_a_price_that_is_added_later_reprices_every_hour_from_its_day_on(house: House) -> None:
    """Not only the hours that held a row without a price: of two equal calls of a day none costs more."""
    house.add(settled(row("parked", 28.5, UNHEARD_OF), input_tokens=1000))
    house.run(NOW, hours=["2026-11-25T04"])
    dearer = price(SONNET, "input_tokens", "4")._replace(effective_from=date(2026, 11, 25))
    house.book = PriceBook([*BOOK.prices(), dearer, price(UNHEARD_OF, "input_tokens", "2")])
    planned, _ = house.run(NOW)
    assert planned.mended == ()
    assert {hour[:10] for hour in planned.hours} == {"2026-11-25"}
    assert len(planned.hours) == 4  # those that have a file
    hold_sums(house)
    assert house.run(NOW)[0].hours == ()


@pytest.mark.parametrize(
    "overlay",
    [
        [Markup("tenant:zeta", Decimal("1.5"), date(2024, 1, 1), "test")],
        [Markup("*", Decimal("1.1"), date(2026, 11, 24), "test")],
        [price(SONNET, "input_tokens", "1")._replace(note="+overlay")],
    ],
)
def test_an_overlay_that_comes_or_goes_reprices_what_it_is_about(house: House, overlay: list[Price | Markup]) -> None:
    before = sums_of_lake(house)
    house.book = BOOK.with_overlay(overlay)
    house.run(NOW)
    hold_sums(house)
    assert sums_of_lake(house) != before
    house.book = BOOK
    house.run(NOW)
    hold_sums(house)
    assert sums_of_lake(house) == before


def test_a_price_that_is_edited_under_its_old_name_reprices_as_well(house: House) -> None:
    def agreed(usd: str) -> PriceBook:
        return BOOK.with_overlay([price(SONNET, "input_tokens", usd)._replace(note="+overlay")])

    for usd in ("1", "2"):
        house.book = agreed(usd)
        house.run(NOW)
        hold_sums(house)


def test_a_book_that_says_nothing_new_of_what_was_used_is_looked_up_and_changes_no_file(house: House) -> None:
    house.files.put_keys.clear()
    house.book = PriceBook([*BOOK.prices(), price("maker.other", "input_tokens", "9")])
    assert house.run(NOW)[0].hours == ()
    assert house.files.put_keys == []
    assert {proof.book_version for proof in house.proofs.kept.values()} == {house.book.version}


def test_hours_that_a_run_has_no_room_for_are_counted_and_done_by_the_next(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(periods, "MAX_HOURS", 3)
    house.book = BOOK.with_overlay([Markup("*", Decimal("1.1"), date(2024, 1, 1), "test")])
    assert [house.run(NOW)[0].left for _ in range(3)] == [5, 2, 0]
    hold_sums(house)
    monkeypatch.setattr(proofs, "MAX_DAYS", 1)
    doubts = find_days(house.proofs, house.periods, house.ledger, house.listing, NOW, RETENTION, "another")
    assert (doubts.days, doubts.left) == ([{"day": "2026-11-25"}], 1)


def test_what_the_ledger_has_dropped_keeps_the_price_it_has(house: House) -> None:
    """Its retention may have been shorter once."""
    gone = [key for key, record in house.ledger.rows.items() if record.hour == FIRST]
    del house.ledger.rows[gone[0]]
    before = rows_of_lake(house)
    house.book = BOOK.with_overlay([Markup("*", Decimal("1.1"), date(2024, 1, 1), "test")])
    planned, _ = house.run(NOW)
    assert (FIRST in planned.hours, SECOND in planned.hours) == (False, True)
    assert rows_of_lake(house)[DAY] > before[DAY]
    assert house.usage()["r1"]["price_rows"].endswith("2024-01-01")  # and not marked up


def test_a_run_that_is_asked_for_an_hour_prices_its_day_by_one_book(house: House) -> None:
    house.book = BOOK.with_overlay([Markup("*", Decimal("1.1"), date(2024, 1, 1), "test")])
    house.run(NOW, hours=["2026-11-25T03"])
    assert sums_of_lake(house)["2026-11-25"] == sums_of_ledger(house)["2026-11-25"]
    assert sums_of_lake(house)["2026-11-24"] != sums_of_ledger(house)["2026-11-24"]
    house.run(NOW)
    hold_sums(house)


# ------------------------------------------------------------------------------------------------- an earlier release
def upgraded(house: House) -> House:
    house.proofs = MemoryProofs()
    house.files.put_keys.clear()
    return house


def test_what_an_earlier_release_has_aggregated_is_taken_over_at_once_and_no_file_is_written(house: House) -> None:
    planned, _ = upgraded(house).run(NOW)
    assert (planned.hours, planned.left, house.files.put_keys) == ((), 0, [])
    kept = house.proofs.days()
    since = hours_between(at(18), at(30))
    assert {hour for proof in kept.values() for hour in proof.hours} == set(since)
    assert holes([DAY], house.proofs, house.listing()) == []
    do_damage(house, UsageFile(FIRST).key, a_row_less)
    assert house.run(NOW)[0].mended == (FIRST,)
    hold_sums(house)


@pytest.mark.parametrize("damage", [lost, truncated, a_row_less, another_cost])
def test_what_was_damaged_under_an_earlier_release_is_done_again(house: House, damage: Damage) -> None:
    do_damage(upgraded(house), UsageFile(FIRST).key, damage)
    assert FIRST in house.run(NOW)[0].hours
    hold_sums(house)


def test_hours_that_an_earlier_release_never_aggregated_are_found_behind_its_watermark(house: House) -> None:
    """It began two days before its first run, whatever the ledger had."""
    upgraded(house).add(settled(row("older", -300.5), input_tokens=1_000_000))
    planned, _ = house.run(NOW)
    assert planned.hours == (hour_of(at(-300.5)),)
    hold_sums(house)


def test_prices_that_an_earlier_release_left_behind_are_found(house: House) -> None:
    upgraded(house).book = BOOK.with_overlay([Markup("tenant:zeta", Decimal("2"), date(2026, 11, 25), "test")])
    house.run(NOW)
    hold_sums(house)


def test_a_month_has_holes_until_a_run_has_looked_at_the_lake(house: House) -> None:
    days = ["2026-11-24", "2026-11-25"]
    assert holes(days, upgraded(house).proofs, house.listing()) == ["2026-11-24T00"]
    house.run(at(48.2))
    assert holes(days, house.proofs, house.listing()) == []
    house.add(replace(row("x", 49)))
    do_damage(house, UsageFile(SECOND).key, another_cost)
    do_damage(house, "costs/dt=2026-11-24/part-0.parquet", a_row_less)
    assert holes(days, house.proofs, house.listing()) == [SECOND, DAY]

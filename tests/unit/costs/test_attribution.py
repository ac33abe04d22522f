"""The sum over users, keys and tags is the tenant's, to the last digit: in the report, the lake, the views and FOCUS."""

from __future__ import annotations

import io
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.aws.lake.parquet import USAGE
from gateway.aws.lake.prices import KEY, prices_file
from gateway.core.errors import BadRequestError
from gateway.core.times import hour_of
from gateway.costs.usage_files import UsageFile
from gateway.costs.usage_report import MAX_LINES, add_up, own_rows
from gateway.costs.verify import verify_day
from gateway.pricing.price_book import PriceBook
from gateway.usage.records import Attribution, KeyId, Outcome, TokenUsage, UsageRecord, UserSource
from gateway.usage.tags import NO_TAGS, is_tags_text, tags_from_text, tags_to_text
from scripts.analytics.duckdb_athena import open_lake
from scripts.analytics.duckdb_athena import rows as asked
from tests.unit.costs.test_aggregation import BOOKS, DAY, House, at, callers, row, rows, settled

ZERO = Decimal(0)
NEW = ("user_id", "user_source", "tags")
HOURS = [hour_of(at(hour)) for hour in (22, 23, 24)]


@contextmanager
def lake_of(house: House) -> Iterator[duckdb.DuckDBPyConnection]:
    """The files of the house, as Athena reads them."""
    with tempfile.TemporaryDirectory() as folder:
        for key, content in {**house.files.content, KEY: prices_file(house.book)}.items():
            (Path(folder) / key).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / key).write_bytes(content)
        with open_lake(Path(folder)) as engine:
            yield engine


def by_group(records: list[UsageRecord], group_by: str, book: PriceBook) -> dict[tuple[str, ...], Decimal]:
    lines = add_up(records, group_by, book).lines
    with_source = group_by == "user"
    return {
        (group.key, group.user_source.value)[: 1 + with_source]: totals.cost
        for group, totals in lines.items()
        if totals.cost
    }


def in_view(engine: duckdb.DuckDBPyConnection, text: str) -> dict[tuple[str, ...], Decimal]:
    found: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for line in asked(engine, text):
        *group, cost = line.values()
        found[tuple(group)] += cost or ZERO
    return {group: cost for group, cost in found.items() if cost}


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.tuples(rows(), st.sampled_from(["key-1", "key-2"])), min_size=1, max_size=30),
    st.sampled_from([BOOKS[0], BOOKS[3]]),
)
def test_every_way_to_divide_a_tenants_costs_gives_the_same_sum(
    history: list[tuple[tuple[UsageRecord, Outcome, TokenUsage, int], str]], book: PriceBook
) -> None:
    house = House()
    house.book, house.periods.mark = book, hour_of(at(21))
    for (record, outcome, usage, _), key in history:
        house.add(replace(record, key_id=KeyId(key)).settle(outcome, usage, at(25)))
    house.run(at(26.2), hours=HOURS)
    ledger = list(house.ledger.rows.values())
    with lake_of(house) as engine:
        for tenant in {record.tenant_id for record in ledger}:
            of_tenant = [record for record in ledger if record.tenant_id == tenant]
            owed = add_up(of_tenant, "model", book).total.cost
            assert sum((line["cost"] or ZERO for line in house.costs() if line["tenant_id"] == tenant), ZERO) == owed
            names = sorted({name for record in of_tenant for name, _ in record.attribution.tags})
            for group_by, text in {
                "user": "SELECT user_id, user_source, cost FROM user_cost WHERE tenant_id = '{}'",
                "key": "SELECT key_id, cost FROM key_cost WHERE tenant_id = '{}'",
            }.items():
                reported = by_group(of_tenant, group_by, book)
                assert sum(reported.values()) == owed
                assert in_view(engine, text.format(tenant)) == reported
            tagged = in_view(engine, f"SELECT tag_name, tag_value, dt, cost FROM tag_cost WHERE tenant_id = '{tenant}'")
            for name in names:
                # A day without the tag has no line of it.
                days = {day for (found, _, day) in tagged if found == name}
                those = [record for record in of_tenant if record.hour[:10] in days]
                values: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
                for (found, value, _), cost in tagged.items():
                    if found == name:
                        values[(value,)] += cost
                assert dict(values) == by_group(those, f"tag:{name}", book)
            focus = in_view(
                engine,
                "SELECT x_KeyId, coalesce(x_UserId, '') AS u, coalesce(x_UserSource, '') AS s, ChargeCategory, BilledCost "
                f"FROM focus WHERE SubAccountId = '{tenant}'",
            )
            assert sum(focus.values(), ZERO) == owed
            if book is BOOKS[0]:  # each of its prices times a quantity is the cost, so that no Adjustment is needed
                assert {category for *_, category in focus} <= {"Usage"}
                users: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
                for (_, user, source, _), cost in focus.items():
                    users[user, source if user else ""] += cost
                expected: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
                for (user, source), cost in by_group(of_tenant, "user", book).items():
                    expected[user, source if user else ""] += cost
                assert users == expected


def test_files_of_earlier_releases_are_read_beside_todays() -> None:
    """Their rows are nobody's, and nothing is priced, closed or proven again for it."""
    house = House()
    house.periods.mark = "2026-11-23T23"
    by = Attribution("alice", UserSource.TOKEN, (("project", "apollo"),))
    house.add(*(settled(replace(row(f"r{n}", n % 2 + 0.5), attribution=by), input_tokens=1000) for n in range(10)))
    house.run(at(2.2))
    key = UsageFile(f"{DAY}T00").key
    new = pq.read_table(io.BytesIO(house.files.content[key]))
    older = io.BytesIO()
    pq.write_table(new.drop_columns(list(NEW)), older)
    house.files.content[key] = older.getvalue()

    house.verify(f"{DAY}T00", f"{DAY}T01")
    costs = house.costs()
    house.close(DAY, complete=False, scheduled=at(2.3))
    assert (house.costs(), house.closed[0].mended) == (costs, [])
    verify_day(DAY, house.lake)
    with lake_of(house) as engine:
        assert in_view(engine, "SELECT user_id, user_source, cost FROM user_cost") == {
            ("", ""): Decimal("0.015"), ("alice", "token"): Decimal("0.015"),
        }  # fmt: skip
        assert in_view(engine, "SELECT tag_name, tag_value, cost FROM tag_cost") == {
            ("project", ""): Decimal("0.015"), ("project", "apollo"): Decimal("0.015"),
        }  # fmt: skip
        assert in_view(engine, "SELECT Tags, BilledCost FROM focus") == {
            ('{"cost_centre":"research"}',): Decimal("0.015"),
            ('{"cost_centre":"research","user_id":"alice","user_source":"token","project":"apollo"}',): Decimal(
                "0.015"
            ),
        }

    house.run(at(2.4), hours=[f"{DAY}T00"])  # as a backfill does: the ledger has had them all along
    assert house.files.table("usage/")["user_id"].to_pylist() == ["alice"] * 10
    assert house.costs() == costs


def test_new_columns_come_last_so_that_tables_of_earlier_deployments_stay_valid() -> None:
    assert USAGE.names[-3:] == list(NEW)


# ------------------------------------------------------------------------------------------------------- the ledger's text
@given(callers)
def test_tags_come_back_from_their_text(by: Attribution) -> None:
    text = tags_to_text(by.tags)
    assert tags_from_text(text) == by.tags
    assert is_tags_text(text)
    assert (text == NO_TAGS) == (not by.tags)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", '{"a":null}', '{"a":{"b":"c"}}', '{"a":"\\ud800"}', "{", "[" * 99_999]
)
def test_what_is_no_object_of_texts_is_not_tags(text: str) -> None:
    assert not is_tags_text(text)
    with pytest.raises(ValueError, match="."):
        tags_from_text(text)


def test_a_report_of_too_many_users_is_refused_rather_than_cut() -> None:
    """API Gateway could not return it."""
    claimed = [
        replace(row(f"r{n}"), attribution=Attribution(f"user-{n}", UserSource.CLAIMED)) for n in range(MAX_LINES + 1)
    ]
    with pytest.raises(BadRequestError, match="would have 8001 lines") as refused:
        add_up(claimed, "user", BOOKS[0])
    assert refused.value.code == "time_range_too_long"
    assert len(add_up(claimed[1:], "user", BOOKS[0]).lines) == MAX_LINES
    assert len(add_up(claimed, "key", BOOKS[0]).lines) == 1


def test_a_claim_to_be_a_user_gives_that_user_no_row() -> None:
    rows_of: list[Any] = [
        replace(row(source.value or "none"), attribution=Attribution("alice", source)) for source in UserSource
    ]
    found = own_rows([*rows_of, object(), replace(row("b"), attribution=Attribution("bob", UserSource.KEY))], "alice")
    assert [record.request_id for record in found] == ["token", "key"]

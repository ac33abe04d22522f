"""Every cent of the ledger is in the lake once, whatever breaks and however often a run is repeated."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.aws.lake import parquet
from gateway.aws.lake.priced_pages import PricedPages
from gateway.aws.lake.usage_and_costs import ParquetLake
from gateway.aws.s3.objects import Overtaken
from gateway.core.times import hour_of
from gateway.costs.close_day import ClosedDay, close_day
from gateway.costs.cost_lines import CostLine, CostsDoNotMatch
from gateway.costs.periods import GRACE, MAX_HOURS, PeriodRefused, Plan, commit, hours_between, plan, start_of
from gateway.costs.price_usage import price_usage
from gateway.costs.pricer import PRICED, UNPRICED, UNSETTLED, Pricer
from gateway.costs.proofs import MAX_DAYS, DayProof, Listing, check_day, check_rest, find_days, look, proven
from gateway.costs.usage_files import UsageFile, digest_of, file_digest, usage_files
from gateway.costs.verify import verify_day, verify_usage
from gateway.pricing.price_book import Markup, Price, PriceBook
from gateway.pricing.price_csv import price_book
from gateway.usage.ledger import SHARDS, Partition, sweep
from gateway.usage.records import (
    NOBODY,
    UNKNOWN,
    Attribution,
    KeyId,
    ModelId,
    Outcome,
    RequestId,
    TenantId,
    TokenUsage,
    UsageRecord,
    UserSource,
)
from gateway.usage.tags import tags_from_text, tags_to_text
from tests.rows import PagedLedger, item, page

LAYER = Path(__file__).parents[3] / "layers/gateway"
MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)
DAY = "2026-11-24"
RETENTION = timedelta(days=400)
SONNET, PAINTER, UNHEARD_OF = "maker.sonnet", "maker.painter", "maker.unheard-of"


def at(hour: float) -> datetime:
    return MIDNIGHT + timedelta(hours=hour)


def price(model: str, unit: str, usd: str, per: int = 1_000_000, tier: str = "default") -> Price:
    return Price(model, "us-east-1", tier, unit, Decimal(usd), per, date(2024, 1, 1), "test")


BOOK = PriceBook(
    [
        price(SONNET, "input_tokens", "3"),
        price(SONNET, "output_tokens", "15.1"),
        price(SONNET, "cache_read_tokens", "0.3"),
        price(SONNET, "cache_write_5m_tokens", "3.75"),
        price(SONNET, "cache_write_1h_tokens", "6"),
        price(SONNET, "input_tokens", "6", tier="default_above_200k"),
        price(SONNET, "output_tokens", "22.65", tier="default_above_200k"),
        price(SONNET, "input_tokens", "0.000001", per=1, tier="flex"),
        price(PAINTER, "image:512x512:standard", "0.018", per=1),
        price(PAINTER, "image", "0.04", per=1),
        price(PAINTER, "input_tokens", "0.8"),
        price(PAINTER, "input_image", "0.00006", per=1),
    ]
)


def row(
    name: str, hour: float = 0.5, model: str = SONNET, tenant: str = "acme", centre: str = "research"
) -> UsageRecord:
    return UsageRecord(
        request_id=RequestId(name),
        attempt=1,
        tenant_id=TenantId(tenant),
        cost_centre=centre,
        key_id=KeyId("key-1"),
        operation="Converse",
        model_id=ModelId(model),
        model_used=f"us.{model}",
        region="us-east-1",
        started_at=at(hour),
        lease_until=at(hour) + timedelta(minutes=15),
    )


def settled(record: UsageRecord, outcome: Outcome = Outcome.SUCCEEDED, **usage: Any) -> UsageRecord:
    return record.settle(outcome, TokenUsage(**usage), record.started_at + timedelta(seconds=2))


class Files:
    """A store of files as a dict; like S3, it can refuse to replace a version that no longer exists."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.before_put: Callable[[str], None] = lambda key: None
        self.put_keys: list[str] = []

    def list(self, prefix: str) -> dict[str, str]:
        return {key: self.etag(key) for key in sorted(self.content) if key.startswith(prefix)}

    def sizes(self, prefix: str) -> dict[str, int]:
        return {key: len(content) for key, content in self.content.items() if key.startswith(prefix)}

    def etag(self, key: str) -> str:
        return hashlib.md5(self.content[key]).hexdigest()

    def get(self, key: str) -> bytes:
        return self.content[key]

    def open(self, key: str) -> BinaryIO:
        return io.BytesIO(self.content[key])

    def put(self, key: str, parts: Iterable[bytes], replaces: str | None) -> bool:
        content = b"".join(parts)
        self.before_put(key)
        if (self.etag(key) if key in self.content else None) != replaces:
            return False
        self.content[key] = content
        self.put_keys.append(key)
        return True

    def delete(self, key: str) -> None:
        del self.content[key]

    def table(self, prefix: str) -> pa.Table:
        tables = [pq.read_table(io.BytesIO(self.content[key])) for key in self.list(prefix)]
        return pa.concat_tables(tables)


class MemoryPeriods:
    def __init__(self, watermark: str | None = None, dirty: tuple[str, ...] = ()) -> None:
        self.mark, self.marked = watermark, set(dirty)
        self.lacking: dict[str, str] = {}
        self.parts: dict[str, int] = {}

    def watermark(self) -> str | None:
        return self.mark

    def dirty(self) -> list[str]:
        return sorted(self.marked)

    def stale(self) -> list[str]:
        return sorted(self.lacking)

    def mark_dirty(self, hour: str) -> None:
        self.mark_clean(hour)
        self.marked.add(hour)

    def mark_stale(self, hour: str, book_version: str) -> None:
        self.mark_clean(hour)
        self.lacking[hour] = book_version

    def mark_clean(self, hour: str) -> None:
        self.marked.discard(hour)
        self.lacking.pop(hour, None)

    def advance(self, watermark: str) -> None:
        self.mark = max(self.mark or "", watermark)

    def files(self, hour: str, wanted: int) -> int:
        return self.parts.setdefault(hour, wanted)


class MemoryProofs:
    def __init__(self) -> None:
        self.first: str | None = None
        self.kept: dict[str, DayProof] = {}

    def begin(self) -> str | None:
        return self.first

    def begin_at(self, hour: str) -> None:
        self.first = hour

    def days(self, first: str = "0", last: str = "9999") -> dict[str, DayProof]:
        return {day: proof for day, proof in sorted(self.kept.items()) if first <= day <= last}

    def note(self, proof: DayProof, *, whole: bool = False) -> None:
        held = self.kept.get(proof.day)
        same = whole or held is None or held.book_version == proof.book_version
        held = held or DayProof(proof.day)
        self.kept[proof.day] = DayProof(
            proof.day,
            {**held.hours, **proof.hours},
            held.costs if proof.costs is None else proof.costs,
            proof.book_version if same else "",
        )


class House:
    """Ledger, lake and periods, and the state machine's story told in Python; `step` may break it anywhere."""

    def __init__(self) -> None:
        self.ledger, self.files, self.periods = PagedLedger(), Files(), MemoryPeriods()
        self.proofs = MemoryProofs()
        self.lake, self.book = ParquetLake(self.files), BOOK
        self.quarantined = 0
        self.closed: list[ClosedDay] = []

    def add(self, *records: UsageRecord) -> None:
        for record in records:
            self.ledger.rows[(record.request_id, record.attempt)] = record

    def run(
        self, scheduled: datetime, step: Callable[[], None] = lambda: None, **wanted: Any
    ) -> tuple[Plan, list[str]]:
        planned = self.plan(scheduled, **wanted)
        files = usage_files(planned.hours, self.periods, lambda day: self.files.sizes(f"usage/dt={day}/"))
        for file in files:
            step()
            price_usage(file, self.ledger, self.lake, self.book, scheduled + GRACE)
        self.closed = []
        for day in planned.days():
            step()
            check_rest(day, planned.days()[day], self.proofs, self.lake)
            rebuild = day in planned.rebuilt
            self.closed.append(self.close(day, planned.completes(day), scheduled, rebuild=rebuild))
        open_hours, proofs, costs = list[str](), list[tuple[str, str]](), dict[str, str]()
        self.quarantined = 0
        for file in files:
            step()
            verified = verify_usage(file, planned.closed_until, self.ledger, self.lake, self.book, scheduled + GRACE)
            self.quarantined += verified.quarantined
            open_hours += [file.hour] * verified.open
            proofs.append((file.hour, verified.proof))
        for day in planned.days():
            step()
            costs[day] = digest_of(self.lake.costs_files(day))
            verify_day(day, self.lake)
            check_rest(day, planned.days()[day], self.proofs, self.lake)
        step()
        for proof, whole in proven(planned, proofs, costs):
            self.proofs.note(proof, whole=whole)
        commit(planned, open_hours, self.periods)
        return planned, open_hours

    def plan(self, scheduled: datetime, **wanted: Any) -> Plan:
        """After a look into the days that need one."""
        version = self.book.version
        doubts = find_days(
            self.proofs, self.periods, self.ledger, self.listing, scheduled, RETENTION, version, wanted.get("hours", ())
        )
        for doubt in doubts.days:
            check_day(doubt["day"], scheduled, RETENTION, self.proofs, self.periods, self.ledger, self.lake, self.book)
        begin, mark = self.proofs.begin(), self.periods.watermark()
        found = look(self.proofs.days(), begin, mark, self.listing(), scheduled, RETENTION)
        return plan(self.periods, scheduled, book_version=version, begin=begin, found=found, **wanted)

    def listing(self) -> Listing:
        return Listing.of(self.files.list("usage/"), self.files.list("costs/"))

    def close(self, day: str, complete: bool, scheduled: datetime, *, rebuild: bool = False) -> ClosedDay:
        return close_day(
            day, complete, scheduled, self.ledger, self.lake, self.book, scheduled + GRACE, RETENTION, rebuild=rebuild
        )

    def verify(self, *hours: str) -> None:
        """Files first, as the state machine does."""
        for hour in hours:
            for part in range(parts := self.periods.parts.get(hour, 1)):
                file = UsageFile(hour, part, parts)
                verify_usage(file, max(hours), self.ledger, self.lake, self.book, at(100))
        verify_day(DAY, self.lake)

    def costs(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.files.table("costs/").to_pylist()
        return rows

    def usage(self) -> dict[str, dict[str, Any]]:
        return {row["request_id"]: row for row in self.files.table("usage/").to_pylist()}


@pytest.fixture
def house() -> House:
    return House()


# ---------------------------------------------------------------------------------------------------------- what to do
def test_the_first_run_begins_at_the_first_hour_that_the_ledger_has(house: House) -> None:
    """However late it comes: the schedule may have been off for days, or a step have failed."""
    house.add(settled(row("a", -100.5), input_tokens=1000), settled(row("b"), input_tokens=1))
    planned, _ = house.run(at(10.2))
    assert (planned.hours[0], planned.hours[-1]) == (hour_of(at(-100.5)), "2026-11-24T09")
    assert planned.closed_until == house.periods.mark == "2026-11-24T09"
    assert sum(line["input_tokens"] for line in house.costs()) == 1001


def test_a_first_run_over_an_empty_ledger_begins_with_the_hour_that_is_over(house: House) -> None:
    assert house.run(at(10.2))[0].hours == ("2026-11-24T09",)
    assert house.periods.mark == "2026-11-24T09"


def test_a_run_that_does_not_know_where_the_ledger_begins_aggregates_nothing() -> None:
    planned = plan(MemoryPeriods(), at(10.2), include_current_hour=True)
    assert (planned.hours, planned.after) == (("2026-11-24T10",), "")


def test_a_run_goes_on_from_the_watermark() -> None:
    assert plan(MemoryPeriods("2026-11-24T06"), at(10.2)).hours == ("2026-11-24T07", "2026-11-24T08", "2026-11-24T09")


def test_a_run_with_nothing_new_does_nothing() -> None:
    assert plan(MemoryPeriods("2026-11-24T09"), at(10.2)).hours == ()


def test_an_hour_is_complete_only_when_no_writer_can_still_be_writing_to_it() -> None:
    assert plan(MemoryPeriods("2026-11-24T08"), at(10) + timedelta(minutes=4)).hours == ()
    assert plan(MemoryPeriods("2026-11-24T08"), at(10) + timedelta(minutes=5)).hours == ("2026-11-24T09",)


def test_dirty_hours_are_done_again() -> None:
    planned = plan(MemoryPeriods("2026-11-24T08", dirty=("2026-11-23T23",)), at(10.2))
    assert planned.hours == ("2026-11-23T23", "2026-11-24T09")
    assert planned.days() == {"2026-11-23": ["2026-11-23T23"], "2026-11-24": ["2026-11-24T09"]}


def test_the_hour_that_runs_is_covered_where_it_is_asked_for() -> None:
    assert plan(MemoryPeriods("2026-11-24T09"), at(10.2), include_current_hour=True).hours == ("2026-11-24T10",)
    just_begun = plan(MemoryPeriods("2026-11-24T08"), at(10.01), include_current_hour=True)
    assert just_begun.hours == ("2026-11-24T09", "2026-11-24T10")
    assert just_begun.closed_until == "2026-11-24T08"


def test_a_long_gap_is_done_in_several_runs(house: House) -> None:
    house.periods.mark = "2026-11-10T00"
    house.add(settled(row("a"), input_tokens=1))
    first = plan(house.periods, at(10.2), include_current_hour=True)
    assert len(first.hours) == MAX_HOURS
    assert first.hours[-1] == "2026-11-24T10"
    assert first.hours[-2] == hour_of(start_of("2026-11-10T00") + timedelta(hours=MAX_HOURS - 1))
    for _ in range(3):
        house.run(at(10.2))
    assert house.periods.mark == "2026-11-24T09"
    assert house.costs()[0]["input_tokens"] == 1


def test_a_backfill_covers_what_it_names() -> None:
    planned = plan(MemoryPeriods("2026-11-24T09"), at(10.2), hours=["2026-11-20T03", "2026-11-20T01"])
    assert planned.hours == ("2026-11-20T01", "2026-11-20T03")


@pytest.mark.parametrize("hour", ["2026-11-24T12", "2025-10-20T00", "yesterday", "2026-11-24T1", "2026-11-24"])
def test_a_backfill_of_what_cannot_be_read_is_refused(hour: str) -> None:
    with pytest.raises(PeriodRefused, match=hour):
        plan(MemoryPeriods(), at(10.2), hours=[hour])


def test_a_backfill_that_is_too_long_is_refused() -> None:
    with pytest.raises(PeriodRefused, match="169"):
        plan(MemoryPeriods(), at(10.2), hours=hours_between(at(-168), at(0)))


def test_usage_without_a_price_is_priced_when_a_book_has_one(house: House) -> None:
    house.add(settled(row("a"), input_tokens=10), settled(row("parked", model=UNHEARD_OF), input_tokens=1000))
    house.run(at(1.2))
    assert house.usage()["parked"]["price_status"] == "unpriced"
    assert house.run(at(2.2))[0].hours == ("2026-11-24T01",)  # the same book knows no more
    house.book = PriceBook([*BOOK.prices(), price(SONNET, "images", "1")])  # a newer one, and not for this model
    assert house.run(at(3.2))[0].hours == ("2026-11-24T02",)
    assert house.usage()["parked"]["cost"] is None
    house.book = PriceBook([*house.book.prices(), price(UNHEARD_OF, "input_tokens", "2")])
    assert house.run(at(4.2))[0].hours == ("2026-11-24T00", "2026-11-24T03")
    assert (house.usage()["parked"]["price_status"], house.usage()["parked"]["cost"]) == ("priced", Decimal("0.002"))
    assert sum(line["cost"] for line in house.costs()) == Decimal("0.00203")
    assert house.periods.lacking == {}
    house.book = BOOK  # the price was a mistake: what was priced is not any more
    assert house.run(at(5.2))[0].hours == ("2026-11-24T00", "2026-11-24T04")
    assert house.usage()["parked"]["price_status"] == "unpriced"


def test_an_hour_with_open_rows_is_done_again_whatever_else_is_wrong_with_it(house: House) -> None:
    house.add(row("late"), settled(row("parked", model=UNHEARD_OF), input_tokens=1000))
    house.run(at(1.2))
    assert (house.periods.marked, house.periods.lacking) == ({"2026-11-24T00"}, {})
    house.book = PriceBook([*BOOK.prices(), price(UNHEARD_OF, "input_tokens", "2")])
    house.run(at(1.3))
    assert (house.periods.marked, house.usage()["parked"]["cost"]) == ({"2026-11-24T00"}, Decimal("0.002"))


def test_what_has_another_price_waits_for_what_is_new_and_goes_with_its_rows() -> None:
    periods = MemoryPeriods("2026-11-23T09")
    periods.lacking = dict.fromkeys(hours_between(at(-400), at(-60)), "new") | {"2025-10-01T00": "new"}
    planned = plan(periods, at(10.2), book_version="new")
    assert len(planned.hours) == MAX_HOURS
    assert planned.hours[-24:] == tuple(hours_between(at(-14), at(9)))
    assert planned.hours[0] == hour_of(at(-400))
    assert planned.left == 341 + 24 - MAX_HOURS
    assert not planned.completes(planned.waiting[0])


def test_the_watermark_never_jumps_over_an_hour(house: House) -> None:
    house.periods.mark = "2026-11-24T03"
    house.run(at(10.2), hours=["2026-11-24T04", "2026-11-24T06"])
    assert house.periods.mark == "2026-11-24T04"


def test_a_backfill_before_the_first_run_sets_no_watermark(house: House) -> None:
    house.run(at(10.2), hours=["2026-11-24T04"])
    assert house.periods.mark is None


def test_the_state_of_the_longest_run_stays_far_below_what_step_functions_carries() -> None:
    planned, periods = plan(MemoryPeriods("2025-01-01T00"), at(10.2), book_version="x" * 20), MemoryPeriods()
    planned = replace(planned, mended=planned.hours, lost=planned.hours)
    periods.parts = dict.fromkeys(planned.hours, SHARDS)
    files = [asdict(file) for file in usage_files(planned.hours, periods, lambda day: {})]
    assert len(files) == MAX_HOURS * SHARDS
    # Seven events for each step of a Map; every file is written in one Map and proven in another.
    assert len(files) * 2 * 7 + MAX_DAYS * 7 < 25_000 * 0.9
    verified = {"hour": "2026-11-24T00", "open": False, "unpriced": False, "quarantined": 10**5}
    verified["proof"] = f"{file_digest('a', 'b')}@{BOOK.version}"
    days = [{"day": day, "hours": hours, "complete": True, "rebuild": True} for day, hours in planned.days().items()]
    work = {"plan": asdict(planned), "files": files, "days": days}
    closed: list[dict[str, list[str]]] = [{"mended": [], "lost": []} for _ in days]
    state = {
        "scheduledTime": "2026-11-24T10:12:00Z",
        "work": work,
        "closed": closed,
        "verified": [verified] * len(files),
        "proven": [{"day": DAY, "costs": "0" * 16}] * len(days),
        "doubts": {"days": [{"day": DAY}] * MAX_DAYS, "left": 10**4},
    }
    assert len(json.dumps(state, separators=(",", ":"))) < 262_144 * 0.95


# ----------------------------------------------------------------------------------------------------------- what it is
def test_each_row_is_priced_by_its_kind(house: House) -> None:
    house.add(
        settled(row("plain"), input_tokens=1000, output_tokens=10, raw='{"inputTokens":1000}'),
        settled(row("cached"), cache_read_tokens=7, cache_write_5m_tokens=5, cache_write_1h_tokens=3, output_tokens=1),
        settled(row("long"), input_tokens=200_001, output_tokens=1),
        settled(row("flex"), input_tokens=9, service_tier="flex"),
        settled(row("small", model=PAINTER), images=5, image_class="512x512:standard"),
        settled(row("large", model=PAINTER), images=2, image_class="larger:premium", input_images=1),
        settled(row("nothing")),
        settled(row("unpriced", model=UNHEARD_OF), input_tokens=10, output_tokens=20),
        settled(row("half-priced"), input_tokens=10, images=1),
        settled(row("failed"), Outcome.FAILED),
        settled(row("broken-off"), Outcome.INTERRUPTED, input_tokens=10, source="estimated:bytes"),
        settled(row("cut"), Outcome.INTERRUPTED, source=UNKNOWN),
        settled(row("lost"), Outcome.UNSETTLED, source=UNKNOWN),
        row("running"),
    )
    house.run(at(1.2))
    found = {name: (row["price_status"], row["input_cost"], row["output_cost"]) for name, row in house.usage().items()}
    money = Decimal
    assert found == {
        "plain": ("priced", money("0.003"), money("0.000151")),
        "cached": ("priced", money("0.00003885"), money("0.0000151")),
        "long": ("priced", money("1.200006"), money("0.00002265")),
        "flex": ("priced", money("0.000009"), money(0)),
        "small": ("priced", money(0), money("0.09")),
        "large": ("priced", money("0.00006"), money("0.08")),
        "nothing": ("priced", money(0), money(0)),
        "unpriced": ("unpriced", None, None),
        "half-priced": ("unpriced", None, None),
        "failed": ("priced", money(0), money(0)),
        "broken-off": ("priced", money("0.00003"), money(0)),
        "cut": ("unsettled", None, None),
        "lost": ("unsettled", None, None),
        "running": ("open", None, None),
    }


def test_a_usage_row_says_what_was_priced_and_by_what(house: House) -> None:
    house.add(settled(row("a"), input_tokens=1000, output_tokens=10, raw='{"inputTokens":1000}'))
    house.run(at(1.2))
    found = house.usage()["a"]
    assert list(found)[:9] == parquet.USAGE.names[:9]
    assert found["cost"] == Decimal("0.003151")
    assert found["price_rows"] == (
        "maker.sonnet/us-east-1/default/input_tokens@2024-01-01 maker.sonnet/us-east-1/default/output_tokens@2024-01-01"
    )
    assert found["price_version"] == BOOK.version
    assert found["provider_usage"] == '{"inputTokens":1000}'
    assert found["started_at"] == at(0.5)
    assert found["settled_at"] == at(0.5) + timedelta(seconds=2)
    assert (found["model_id"], found["model_used"]) == (SONNET, f"us.{SONNET}")


def test_usage_without_a_price_is_listed_never_free(house: House) -> None:
    house.add(settled(row("a", model=UNHEARD_OF), input_tokens=10), settled(row("b", model=UNHEARD_OF), Outcome.UNSETTLED, source=UNKNOWN))  # fmt: skip
    house.run(at(1.2))
    (line,) = house.costs()
    assert (line["cost"], line["input_cost"], line["output_cost"]) == (None, None, None)
    assert (line["invocations"], line["unpriced_invocations"], line["unsettled_invocations"]) == (1, 1, 1)
    assert line["input_tokens"] == 10


def test_costs_are_by_tenant_cost_centre_and_model(house: House) -> None:
    house.add(
        settled(row("a"), input_tokens=1000),
        settled(row("b", hour=0.7), input_tokens=500, output_tokens=1),
        settled(row("c"), Outcome.FAILED),
        settled(row("d", centre="ops"), input_tokens=1),
        settled(row("e", tenant="zeta"), input_tokens=1),
        row("f"),
    )
    house.run(at(1.2))
    lines = house.costs()
    assert [(line["tenant_id"], line["team_id"]) for line in lines] == [("acme", "ops"), ("acme", "research"), ("zeta", "research")]  # fmt: skip
    assert lines[1] | {"price_version": ""} == {
        **dict.fromkeys(parquet.COSTS.names, 0),
        "tenant_id": "acme",
        "cost_centre": "research",
        "team_id": "research",
        "model_id": SONNET,
        "invocations": 2,
        "failed_invocations": 1,
        "open_invocations": 1,
        "input_tokens": 1500,
        "output_tokens": 1,
        "input_cost": Decimal("0.0045"),
        "output_cost": Decimal("0.0000151"),
        "cost": Decimal("0.0045151"),
        "list_cost": Decimal("0.0045151"),
        "price_version": "",
        "line_kind": "original",
        "restated_at": None,
    }


def test_a_day_priced_by_two_books_says_so() -> None:
    one = CostLine("t", "c", "m", invocations=1, cost=Decimal(1), price_version="b")
    two = CostLine("t", "c", "m", invocations=2, price_version="a")
    both = one + two
    assert (both.invocations, both.cost, both.price_version) == (3, Decimal(1), "a+b")
    assert (both + one).price_version == "a+b"


def test_rows_are_sorted_by_tenant_and_start(house: House) -> None:
    same_shard = [f"r{n}" for n in range(200) if Partition.of(row(f"r{n}")).shard == 0][:6]
    for place, name in enumerate(same_shard):
        house.add(settled(row(name, hour=0.9 - place / 10, tenant="ab"[place % 2])))
    house.run(at(1.2))
    (key,) = house.files.list("usage/")
    assert key == "usage/dt=2026-11-24/hour=00/part-00-of-01.parquet"
    rows = pq.read_table(io.BytesIO(house.files.get(key))).select(["tenant_id", "started_at"]).to_pylist()
    assert rows == sorted(rows, key=lambda r: (r["tenant_id"], r["started_at"]))


def test_an_hour_is_divided_where_it_is_larger_than_a_file_should_be(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the hour before and the same hour of the day before; and once it is there it stays as it is."""
    house.periods.mark = "2026-11-23T23"
    house.add(*(settled(row(f"r{n}", hour), input_tokens=n) for n in range(40) for hour in [0.5]))
    house.add(*(settled(row(f"s{n}", hour), input_tokens=n) for n in range(40) for hour in [1.5]))
    house.run(at(1.2))
    (whole,) = house.files.list("usage/")
    monkeypatch.setattr("gateway.costs.usage_files.LARGEST_FILE", len(house.files.content[whole]) // 3)
    house.run(at(2.2), hours=["2026-11-24T00", "2026-11-24T01"])
    assert list(house.files.list("usage/")) == [
        "usage/dt=2026-11-24/hour=00/part-00-of-01.parquet",
        *(f"usage/dt=2026-11-24/hour=01/part-{part:02}-of-04.parquet" for part in range(4)),
    ]
    rows_of = [pq.read_table(io.BytesIO(house.files.content[key])).num_rows for key in house.files.list("usage/")]
    assert (rows_of[0], sum(rows_of[1:]), min(rows_of) > 0) == (40, 40, True)
    monkeypatch.setattr("gateway.costs.usage_files.LARGEST_FILE", 1)
    again = usage_files(["2026-11-24T00", "2026-11-24T01", "2026-11-26T00"], house.periods, lambda day: {})
    assert [file.parts for file in again] == [1, 4, 4, 4, 4, 1]
    assert [UsageFile.at(file.key) for file in again] == again

    def sizes(day: str) -> dict[str, int]:
        return house.files.sizes(f"usage/dt={day}/")

    assert len(usage_files(["2026-11-24T23"], house.periods, sizes)) == 1
    most = usage_files(["2026-11-25T01"], house.periods, sizes)
    assert [file.parts for file in most] == [SHARDS] * SHARDS
    assert {p.shard for file in most for p in file.partitions()} == set(range(SHARDS))


def test_a_file_of_another_division_fails_the_proof(house: House) -> None:
    house.add(*(settled(row(f"r{n}"), Outcome.FAILED) for n in range(20)))
    house.run(at(1.2))
    strange = UsageFile("2026-11-24T00", 1, 2)
    price_usage(strange, house.ledger, house.lake, BOOK, at(100))
    with pytest.raises(CostsDoNotMatch, match=f"{strange.key} is not one of its usage files"):
        house.verify("2026-11-24T00")


@pytest.mark.parametrize("key", [UsageFile("2026-11-24T01", 1, 2).key, "usage/dt=2026-11-24/hour=01/part-0.parquet"])
def test_a_day_with_a_file_of_another_division_is_not_summed(house: House, key: str) -> None:
    """Whichever hour of it is done again: no cost of it is told before somebody has looked."""
    house.periods.mark = "2026-11-23T23"
    house.add(*(settled(row(f"r{n}", n % 2 + 0.5), input_tokens=n) for n in range(20)))
    house.run(at(2.2))
    costs = house.costs()
    house.files.content[key] = house.files.content[UsageFile("2026-11-24T01").key]
    house.add(settled(row("late", 0.7), input_tokens=1000))
    with pytest.raises(CostsDoNotMatch, match=f"{DAY} do not match: {key} does not match the layout"):
        house.run(at(3.2), hours=["2026-11-24T00"])
    assert house.costs() == costs
    with pytest.raises(CostsDoNotMatch, match=key):
        verify_day(DAY, house.lake)


# -------------------------------------------------------------------------------- the layout before 2026-11-25: by shard
def lay_out_by_shard(house: House, hour: str) -> list[str]:
    """Divide an hour as it was before an hour was one file: into the same rows, a file for each shard."""
    for file in [file for key in house.files.list("usage/") if (file := UsageFile.at(key)) and file.hour == hour]:
        house.files.delete(file.key)
    keys = []
    for shard in range(SHARDS):
        file = UsageFile(hour, shard, SHARDS)
        price_usage(file, house.ledger, house.lake, BOOK, at(100))
        for kind in ("usage", "quarantine"):
            if content := house.files.content.pop(f"{kind}/{file.place}", None):
                key = f"{kind}/dt={hour[:10]}/hour={hour[11:]}/part-{shard:02}.parquet"
                house.files.content[key] = content
                keys += [key]
    return keys


@pytest.fixture
def older(house: House) -> House:
    """A day whose hour 0 is stored by shard, with a row in quarantine, and whose hour 1 has today's layout."""
    house.periods.mark = "2026-11-23T23"
    house.add(*(settled(row(f"r{n}", n % 2 + 0.5), input_tokens=n + 1) for n in range(20)))
    house.ledger.break_row(settled(row("broken")), outcome={"S": "exploded"})
    house.run(at(2.2))
    assert len(lay_out_by_shard(house, f"{DAY}T00")) > 3
    house.periods.parts.clear()
    house.proofs = MemoryProofs()  # which that release did not keep
    return house


def older_keys(house: House) -> list[str]:
    return [key for key in house.files.content if "/hour=00/part-" in key and "-of-" not in key]


def test_hours_of_the_older_layout_are_summed_with_later_hours_and_stay_as_they_lie(older: House) -> None:
    costs, lying = older.costs(), older_keys(older)
    older.add(settled(row("later", 2.5), input_tokens=100_000))
    older.run(at(3.2))
    (before,), (after,) = costs, older.costs()
    assert after["cost"] - before["cost"] == Decimal("0.3")
    assert older_keys(older) == lying
    older.run(at(24.2))
    assert older.closed == [ClosedDay(1, [], [])]
    assert older.costs()[0]["cost"] == after["cost"]


def test_an_hour_of_the_older_layout_that_is_done_again_is_written_in_todays_and_its_older_files_go(
    older: House,
) -> None:
    older.add(settled(row("late", 0.7), input_tokens=1_000_000))
    older.run(at(3.2), hours=[f"{DAY}T00"])
    assert list(older.files.list(f"usage/dt={DAY}/hour=00/")) == [UsageFile(f"{DAY}T00").key]
    assert (older_keys(older), older.quarantined) == ([], 1)
    assert older.costs()[0]["input_tokens"] == sum(range(1, 21)) + 1_000_000
    older.verify(f"{DAY}T00")


def test_an_hour_that_a_failed_run_left_in_both_layouts_is_mended_by_the_next(older: House) -> None:
    """As the release did that knew no older layout: it wrote beside what was there, and its run failed."""
    file = UsageFile(f"{DAY}T00")
    older.add(settled(row("late", 0.7), input_tokens=1_000_000))
    price_usage(file, older.ledger, older.lake, BOOK, at(100))
    older.files.content[file.key] = parquet.no_usage()  # it may have been cut off at any moment
    older.run(at(3.2))
    assert list(older.files.list(f"usage/dt={DAY}/hour=00/")) == [file.key]
    assert older.costs()[0]["input_tokens"] == sum(range(1, 21)) + 1_000_000


def test_an_older_file_that_cannot_be_read_is_made_again_in_todays_layout(older: House) -> None:
    costs, (key, *_) = older.costs(), older_keys(older)
    older.files.content[key] = b"nothing that is Parquet"
    older.run(at(3.2), hours=[f"{DAY}T01"])
    assert older.closed == [ClosedDay(1, [key], [])]
    assert (older.costs(), older_keys(older)) == (costs, [])


def test_older_files_stay_where_the_ledger_lacks_one_of_their_rows(older: House) -> None:
    del older.ledger.rows[RequestId("r0"), 1]
    costs, lying = older.costs(), older_keys(older)
    with pytest.raises(CostsDoNotMatch, match="r0#1 is in the older files, and not in the ledger"):
        older.run(at(3.2), hours=[f"{DAY}T00"])
    assert (older.costs(), older_keys(older)) == (costs, lying)


def test_an_hour_whose_division_is_forgotten_stays_as_it_lies(house: House) -> None:
    house.periods.mark = "2026-11-23T23"
    house.periods.parts["2026-11-24T00"] = 4
    house.add(*(settled(row(f"r{n}"), input_tokens=n) for n in range(40)))
    house.run(at(1.2))
    there = list(house.files.list("usage/"))
    assert len(there) == 4
    house.periods.parts.clear()
    house.run(at(2.2), hours=["2026-11-24T00"])
    assert list(house.files.list("usage/")) == there


def test_a_day_that_was_priced_by_two_books_is_of_neither_and_is_looked_into_again(house: House) -> None:
    """A newer one may come while a run goes on, of a file that was done before."""
    house.add(settled(row("a"), input_tokens=1000), settled(row("b", 1), input_tokens=1000))
    house.run(at(1.2))
    planned = Plan(("2026-11-24T01",), "2026-11-24T01", "2026-11-24T00", BOOK.version)
    ((proof, whole),) = proven(planned, [("2026-11-24T01", "d1@newer"), ("2026-11-24T01", "-@newer")], {})
    assert (proof, whole) == (DayProof(DAY, {"2026-11-24T01": "d1"}), False)
    house.proofs.note(proof)
    doubts = find_days(house.proofs, house.periods, house.ledger, house.listing, at(1.2), RETENTION, BOOK.version)
    assert doubts.days == [{"day": DAY}]


def test_an_empty_hour_leaves_no_file(house: House) -> None:
    house.periods.mark = "2026-11-21T23"
    house.run(at(1.2))
    # These say that the days are closed.
    assert list(house.files.content) == ["costs/dt=2026-11-22/part-0.parquet", "costs/dt=2026-11-23/part-0.parquet"]
    assert house.files.table("costs/").num_rows == 0
    assert house.periods.mark == "2026-11-24T00"


def test_many_rows_are_written_in_row_groups_that_a_query_can_skip(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "BATCH", 7)
    monkeypatch.setattr(parquet, "PART", 1)
    pages = [page(item(settled(row(f"r{n:03}"), input_tokens=n)) for n in some) for some in (range(9), range(9, 20))]
    priced = PricedPages("2026-11-24T00", Pricer(BOOK), at(1))
    parts = list(parquet.usage_parts(map(priced.table, pages)))
    assert (priced.rows, len(parts) > 2) == (20, True)
    file = pq.ParquetFile(io.BytesIO(b"".join(parts)))
    assert [file.metadata.row_group(place).num_rows for place in range(file.num_row_groups)] == [7, 7, 6]
    assert sum(file.read()["input_tokens"].to_pylist()) == 190
    for column in map(file.metadata.row_group(0).column, range(len(parquet.USAGE))):
        assert column.compression == "ZSTD"
        if column.path_in_schema in {"tenant_id", "started_at", "model_id", "cost", "input_tokens"}:
            assert column.statistics.has_min_max
        assert column.has_offset_index
    assert file.metadata.row_group(0).sorting_columns[0].column_index == parquet.USAGE.names.index("tenant_id")


def test_no_more_than_one_batch_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "BATCH", 2_000)
    monkeypatch.setattr(parquet, "PART", 1)
    rows = page(item(settled(row(f"r{n:03}"), input_tokens=n)) for n in range(500))
    priced = PricedPages("2026-11-24T00", Pricer(BOOK), at(1))
    before, held = pa.total_allocated_bytes(), []

    def pages() -> Iterator[pa.Table]:
        for _ in range(16):
            held.append(pa.total_allocated_bytes() - before)
            yield priced.table(rows)

    assert len(list(parquet.usage_parts(pages()))) == 5  # four row groups and the end
    first, *others = (max(held[start : start + 4]) for start in range(0, 16, 4))
    assert max(others) < first * 1.5


def test_sums_are_exact_where_floats_are_not(house: House) -> None:
    house.add(
        settled(row("huge"), input_tokens=10**15), *(settled(row(f"s{n}"), cache_read_tokens=1) for n in range(9))
    )
    house.run(at(1.2))
    assert house.costs()[0]["cost"] == Decimal("6000000000.0000027")
    assert sum(r["cost"] for r in house.usage().values()) == house.costs()[0]["cost"]


# ---------------------------------------------------------------------------------------------- done again, and proven
def test_doing_it_again_writes_the_same_bytes(house: House) -> None:
    house.add(*(settled(row(f"r{n}"), input_tokens=n) for n in range(50)))
    house.run(at(1.2))
    before = dict(house.files.content)
    house.run(at(1.2), hours=["2026-11-24T00"])
    assert house.files.content == before


def test_a_row_that_settles_late_is_written_again(house: House) -> None:
    house.add(settled(row("a"), input_tokens=1000), row("late"))
    _, open_hours = house.run(at(1.2))
    assert open_hours == ["2026-11-24T00"]
    assert (house.periods.mark, house.periods.marked) == ("2026-11-24T00", {"2026-11-24T00"})
    house.ledger.settle(settled(row("late"), input_tokens=500))
    planned, open_hours = house.run(at(2.2))
    assert planned.hours == ("2026-11-24T00", "2026-11-24T01")
    assert (open_hours, house.periods.marked) == ([], set())
    assert house.costs()[0]["cost"] == Decimal("0.0045")


def test_a_row_that_settles_between_two_steps_breaks_nothing(house: House) -> None:
    house.add(row("late"))
    steps = iter(range(1000))

    def settle_after_pricing() -> None:
        if next(steps) == 1:
            house.ledger.settle(settled(row("late"), input_tokens=500))

    _, open_hours = house.run(at(1.2), settle_after_pricing)
    assert open_hours == ["2026-11-24T00"]
    house.run(at(1.3))
    assert house.costs()[0]["cost"] == Decimal("0.0015")


def test_the_hour_that_runs_may_get_rows_meanwhile(house: House) -> None:
    house.periods.mark = "2026-11-23T23"
    house.add(settled(row("a"), input_tokens=1))
    steps = iter(range(1000))

    def new_row() -> None:
        if next(steps) == 1:
            house.add(settled(row("b", hour=0.6), input_tokens=2))

    house.run(at(0.7), new_row, include_current_hour=True)
    assert house.costs()[0]["input_tokens"] == 1
    assert (house.periods.mark, house.periods.marked) == ("2026-11-23T23", set())
    house.run(at(1.2))
    assert house.costs()[0]["input_tokens"] == 3


def test_a_row_that_comes_to_a_complete_hour_is_seen(house: House) -> None:
    house.add(settled(row("a"), input_tokens=1))
    steps = iter(range(1000))

    def new_row() -> None:
        if next(steps) == 1:
            house.add(settled(row("b", hour=0.6), input_tokens=2))

    with pytest.raises(CostsDoNotMatch, match="2026-11-24T00"):
        house.run(at(1.2), new_row)
    assert house.periods.mark is None


def tampered(content: bytes, column: str, change: Callable[[Any], Any]) -> bytes:
    table = pq.read_table(io.BytesIO(content))
    place = table.schema.get_field_index(column)
    values = table[column].to_pylist()
    values[0] = change(values[0])
    sink = io.BytesIO()
    pq.write_table(
        table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type)), sink
    )
    return sink.getvalue()


@pytest.mark.parametrize("prefix", ["usage/", "costs/"])
@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("cost", lambda cost: cost + Decimal("0.000000000001")),
        ("input_cost", lambda cost: cost - Decimal("0.000000000001")),
        ("input_tokens", lambda tokens: tokens + 1),
        ("cache_read_tokens", lambda tokens: tokens + 1),
        ("cost", lambda cost: None),
        ("tenant_id", lambda tenant: "zeta"),
        ("model_id", lambda model: "maker.other"),
    ],
)
def test_one_changed_number_is_found(house: House, prefix: str, column: str, change: Callable[[Any], Any]) -> None:
    house.add(*(settled(row(f"r{n}"), input_tokens=n, output_tokens=n) for n in range(1, 21)))
    house.run(at(1.2))
    key = next(iter(house.files.list(f"{prefix}dt={DAY}")))
    house.files.content[key] = tampered(house.files.content[key], column, change)
    with pytest.raises(CostsDoNotMatch, match=DAY) as raised:
        house.verify("2026-11-24T00")
    assert column in {"tenant_id", "model_id"} or column in str(raised.value)


def test_a_lost_and_a_doubled_file_are_found(house: House) -> None:
    house.add(*(settled(row(f"r{n}"), Outcome.FAILED) for n in range(20)), row("open"))
    house.run(at(1.2))
    kept = dict(house.files.content)

    def verify() -> None:
        house.verify("2026-11-24T00")

    verify()
    for key in house.files.list("usage/"):
        house.files.content = {name: content for name, content in kept.items() if name != key}
        with pytest.raises(CostsDoNotMatch):
            verify()
        house.files.content = kept | {key.replace("part-", "part-x"): kept[key]}
        with pytest.raises(CostsDoNotMatch):
            verify()
    del house.ledger.rows[(RequestId("open"), 1)]
    house.files.content = kept
    with pytest.raises(CostsDoNotMatch, match="1 open rows"):
        verify()


def test_a_difference_says_where_and_how_much(house: House) -> None:
    house.add(settled(row("a"), input_tokens=1000))
    house.run(at(1.2))
    house.ledger.rows[(RequestId("a"), 1)] = settled(row("a"), input_tokens=1001)
    with pytest.raises(CostsDoNotMatch) as raised:
        house.verify("2026-11-24T00")
    assert str(raised.value).startswith(
        "costs of 2026-11-24T00 do not match: input_tokens of acme/research/maker.sonnet is 1001 in ledger and 1000 in usage; "
        "input_cost of acme/research/maker.sonnet is 0.003003 in ledger and 0.003000000000 in usage"
    )


def test_a_run_never_overwrites_what_a_later_one_wrote(house: House) -> None:
    """Two runs overlap: the slow one read the row open, the quick one wrote it settled. What is newer stays."""
    house.add(row("a"))
    file = UsageFile("2026-11-24T00")

    def the_other_run_is_quicker(_key: str) -> None:
        house.files.before_put = lambda key: None
        house.ledger.settle(settled(row("a"), input_tokens=1000))
        price_usage(file, house.ledger, house.lake, BOOK, at(100))

    house.files.before_put = the_other_run_is_quicker
    price_usage(file, house.ledger, house.lake, BOOK, at(100))
    assert house.usage()["a"]["outcome"] == "succeeded"


def test_a_file_that_others_keep_writing_is_left_for_a_retry(house: House) -> None:
    house.add(row("a"))
    counter = iter(range(100))

    def somebody_else_wrote(key: str) -> None:
        house.files.content[key] = str(next(counter)).encode()

    house.files.before_put = somebody_else_wrote
    with pytest.raises(Overtaken, match="part-"):
        price_usage(UsageFile("2026-11-24T00"), house.ledger, house.lake, BOOK, at(100))


# -------------------------------------------------------------------------------------------- restated, line by line
def lines_of(house: House) -> list[tuple[str, datetime | None, str, int, Decimal | None]]:
    return [
        (line["line_kind"], line["restated_at"], line["model_id"], line["input_tokens"], line["cost"])
        for line in house.costs()
    ]


def test_a_late_row_of_a_closed_day_is_a_line_of_its_own(house: House) -> None:
    house.periods.mark = "2026-11-23T23"
    house.add(settled(row("a", 1), input_tokens=1000), row("late", 2), settled(row("b", model=PAINTER), images=1))
    house.run(at(24.2))
    closed = house.costs()
    house.ledger.settle(settled(row("late", 2), input_tokens=500))
    house.run(at(25.2))
    assert house.costs()[: len(closed)] == closed
    (restated,) = house.costs()[len(closed) :]
    assert restated | {"price_version": ""} == {
        **dict.fromkeys(parquet.COSTS.names, 0),
        "tenant_id": "acme",
        "cost_centre": "research",
        "team_id": "research",
        "model_id": SONNET,
        "invocations": 1,
        "open_invocations": -1,
        "input_tokens": 500,
        "input_cost": Decimal("0.0015"),
        "output_cost": Decimal(0),
        "cost": Decimal("0.0015"),
        "list_cost": Decimal("0.0015"),
        "price_version": "",
        "line_kind": "restatement",
        "restated_at": at(25.2),
    }


def test_a_day_that_is_not_over_is_written_anew(house: House) -> None:
    house.periods.mark = "2026-11-23T23"
    house.add(settled(row("a"), input_tokens=1000), row("late"))
    house.run(at(22.2))
    house.ledger.settle(settled(row("late"), input_tokens=500))
    house.run(at(23.2))
    assert lines_of(house) == [("original", None, SONNET, 1500, Decimal("0.0045"))]


def test_a_new_price_for_a_closed_day_is_a_line_and_the_sum_is_what_is_true(house: House) -> None:
    house.periods.mark = "2026-11-23T23"
    house.add(settled(row("a"), input_tokens=1000), settled(row("b", model=UNHEARD_OF), input_tokens=10))
    house.run(at(24.2))
    dearer = price(SONNET, "input_tokens", "4")._replace(effective_from=date(2024, 1, 2))
    house.book = PriceBook([*BOOK.prices(), dearer, price(UNHEARD_OF, "input_tokens", "2")])
    house.run(at(25.2), hours=hours_between(at(0), at(23)))
    assert lines_of(house) == [
        ("original", None, SONNET, 1000, Decimal("0.003")),
        ("original", None, UNHEARD_OF, 10, None),
        ("restatement", at(25.2), SONNET, 0, Decimal("0.001")),
        ("restatement", at(25.2), UNHEARD_OF, 0, Decimal("0.00002")),
    ]
    assert [line["unpriced_invocations"] for line in house.costs()] == [0, 1, 0, -1]
    house.book = BOOK  # the price was a mistake: what was priced is not any more
    house.run(at(26.2), hours=hours_between(at(0), at(23)))
    assert lines_of(house)[4:] == [
        ("restatement", at(26.2), SONNET, 0, Decimal("-0.001")),
        ("restatement", at(26.2), UNHEARD_OF, 0, Decimal("-0.00002")),
    ]


def test_runs_that_find_nothing_new_leave_the_costs_of_a_closed_day_alone(house: House) -> None:
    house.periods.mark = "2026-11-23T23"
    house.add(*(settled(row(f"r{n}", n % 24), input_tokens=n) for n in range(50)))
    house.run(at(24.2))
    before, house.files.put_keys = dict(house.files.content), []
    for scheduled in (at(24.2), at(30)):
        house.run(scheduled, hours=hours_between(at(0), at(23)))
    house.run(at(31), hours=[hour_of(at(5))])
    assert house.files.content == before
    assert not [key for key in house.files.put_keys if key.startswith("costs/")]


def test_a_day_is_closed_by_the_run_that_ends_its_last_hour_and_has_done_all_others() -> None:
    whole = tuple(hours_between(at(0), at(23)))
    assert Plan(whole, "2026-11-24T23", "").completes(DAY)
    assert Plan(whole[-1:], "2026-11-24T23", "2026-11-24T22").completes(DAY)
    assert Plan(whole[3:4], "2026-11-25T10", "2026-11-25T09").completes(DAY)
    assert not Plan(whole[-1:], "2026-11-24T23", "").completes(DAY)
    assert not Plan(whole[:-1], "2026-11-24T22", "").completes(DAY)
    assert not Plan(whole, "2026-11-24T22", "2026-11-23T23").completes(DAY)
    assert not Plan(whole[1:], "2026-11-24T23", "2026-11-23T23").completes(DAY)


def test_usage_that_comes_to_a_day_that_was_closed_empty_is_a_restatement(house: House) -> None:
    house.periods.mark = "2026-11-23T23"
    house.run(at(24.2))
    house.add(settled(row("a"), input_tokens=1000))
    house.run(at(30), hours=[hour_of(at(0))])
    assert lines_of(house) == [("restatement", at(30), SONNET, 1000, Decimal("0.003"))]


def test_markups_are_charged_and_the_list_stands_beside_them(house: House) -> None:
    house.book = BOOK.with_overlay(
        [
            Markup("tenant:zeta", Decimal("1.1"), date(2024, 1, 1), "test"),
            price(UNHEARD_OF, "second", "0.5", per=1)._replace(note="+overlay"),
        ]
    )
    house.add(
        settled(row("a"), input_tokens=1000),
        settled(row("b", tenant="zeta"), input_tokens=1000),
        settled(row("c", tenant="zeta", model=UNHEARD_OF), input_tokens=9),
        settled(row("d", tenant="zeta", model="maker.other"), input_tokens=9),
    )
    house.run(at(1.2))
    found = {name: (r["cost"], r["list_cost"]) for name, r in house.usage().items()}
    assert found == {
        "a": (Decimal("0.003"), Decimal("0.003")),
        "b": (Decimal("0.0033"), Decimal("0.003")),
        "c": (Decimal("1.1"), None),  # two seconds
        "d": (None, None),
    }
    assert sum(line["list_cost"] or 0 for line in house.costs()) == Decimal("0.006")


# --------------------------------------------------------------------------------------------------- what is not usable
NEGATIVE: dict[str, Any] = {"N": "-1"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"outcome": {"S": "exploded"}}, "outcome is 'exploded'"),
        ({"outcome": None}, "outcome is missing"),
        ({"tenant_id": None}, "tenant_id is missing"),
        ({"attempt": None}, "attempt is missing"),
        ({"input_tokens": {"N": "-1"}}, "input_tokens is -1"),
        ({"cache_write_1h_tokens": {"N": "-7"}}, "cache_write_1h_tokens is -7"),
        ({"output_tokens": {"N": "1.5"}}, "output_tokens is 1.5"),
        ({"output_tokens": {"N": str(2**63)}}, f"output_tokens is {2**63}"),
        ({"output_tokens": {"S": "5"}}, "output_tokens is not a number"),
        ({"output_tokens": {"NULL": True}}, "output_tokens is not a number"),
        ({"model_id": {"N": "5"}}, "model_id is not a text"),
        ({"raw": {"M": {}}}, "raw is not a text"),
        ({"started_at": {"S": "2026-11-23T23:30:00.000000Z"}}, "started_at is not in the hour 2026-11-24T00"),
        ({"started_at": {"S": "2027-11-24T00:30:00.000000Z"}}, "started_at is in the future"),
        ({"started_at": {"S": "2026-11-24T00:30:00"}}, "a time is invalid"),
        ({"lease_until": {"S": "soon"}}, "a time is invalid"),
        ({"settled_at": {"S": "2026-11-24T00:29:58.000000Z"}}, "settled_at is before started_at"),
        ({"user_id": {"N": "5"}}, "user_id is not a text"),
        ({"user_source": {"S": "guessed"}}, "user_source is 'guessed'"),
        ({"tags": {"M": {}}}, "tags is not a text"),
        ({"tags": {"S": "project=apollo"}}, "tags is not a JSON object of texts"),
        ({"tags": {"S": '{"project":1}'}}, "tags is not a JSON object of texts"),
        ({"tags": {"S": '{"project":"\\ud800"}'}}, "tags is not a JSON object of texts"),
        ({"tags": {"S": "[" * 100_000}}, "tags is not a JSON object of texts"),
        ({"attempt": {"N": "2"}}, "its key belongs to another attempt"),
        ({"attempt": {"N": "0"}, "sk": {"S": "broken#0000"}}, "attempt is 0"),
    ],
)
def test_a_row_that_makes_no_sense_is_put_into_quarantine_and_the_rest_is_right(
    house: House, changes: dict[str, Any], reason: str
) -> None:
    house.add(*(settled(row(f"r{n}"), input_tokens=1000) for n in range(20)))
    broken = house.ledger.break_row(settled(row("broken"), input_tokens=1000, output_tokens=1), **changes)
    house.run(at(1.2))
    assert (house.quarantined, len(house.usage())) == (1, 20)
    assert house.costs()[0]["cost"] == Decimal("0.06")
    (found,) = house.files.table("quarantine/").to_pylist()
    assert (found["pk"], found["sk"], found["reason"]) == (broken["pk"]["S"], broken["sk"]["S"], reason)
    assert json.loads(found["item"]) == broken


def test_a_row_that_was_corrected_leaves_the_quarantine(house: House) -> None:
    house.periods.mark = "2026-11-23T23"
    house.ledger.break_row(settled(row("broken"), input_tokens=1000), input_tokens={"N": "-1000"})
    house.run(at(24.2))
    assert (house.quarantined, house.files.list("usage/")) == (1, {})
    house.ledger.broken[0][1]["input_tokens"] = {"N": "1000"}
    house.ledger.mend_rows()
    house.run(at(25.2), hours=["2026-11-24T00"])
    assert house.quarantined == 0
    assert house.files.table("quarantine/").num_rows == 0
    assert lines_of(house) == [("restatement", at(25.2), SONNET, 1000, Decimal("0.003"))]


def test_a_row_that_breaks_later_is_taken_out_of_its_file(house: House) -> None:
    house.add(settled(row("a"), input_tokens=1000))
    house.run(at(1.2))
    house.ledger.break_row(settled(row("a"), input_tokens=1000), model_id=None)
    house.run(at(2.2), hours=["2026-11-24T00"])
    assert (house.quarantined, house.files.table("usage/").num_rows, house.costs()) == (1, 0, [])


def test_a_row_that_breaks_while_it_is_open_stops_nothing(house: House) -> None:
    house.periods.mark = "2026-11-23T23"
    house.add(row("a"), settled(row("b"), input_tokens=1000))
    house.run(at(1.2))
    house.ledger.break_row(row("a"), model_id=None)
    house.run(at(2.2))
    assert (house.quarantined, house.periods.marked) == (1, set())
    assert [line["cost"] for line in house.costs()] == [Decimal("0.003")]


def test_a_quarantine_that_is_not_that_of_the_ledger_fails_the_proof(house: House) -> None:
    house.ledger.break_row(settled(row("broken"), input_tokens=1), input_tokens=NEGATIVE)
    house.run(at(1.2))
    (key,) = house.files.list("quarantine/")
    for content in (house.files.content.pop(key), parquet.quarantine_file([])):
        with pytest.raises(
            CostsDoNotMatch, match="broken#0001 of 2026-11-24T00#.. is wrongly in quarantine or missing"
        ):
            house.verify("2026-11-24T00")
        house.files.content[key] = content if content == parquet.quarantine_file([]) else parquet.quarantine_file([])


@pytest.mark.parametrize("when", ["before the run", "amid the run"])
def test_a_file_that_cannot_be_read_is_made_again_from_the_ledger(house: House, when: str) -> None:
    """By the plan, which finds that it is not what was proven; or by the step that sums its day."""
    house.periods.mark = "2026-11-23T23"
    house.add(*(settled(row(f"r{n}", n / 10), input_tokens=1000) for n in range(20)))
    house.periods.parts["2026-11-24T00"] = 4
    house.run(at(2.2))
    house.run(at(3.2))
    before = dict(house.files.content)
    first, second = list(house.files.list("usage/dt=2026-11-24/hour=00/"))[:2]
    damaged = {first: before[first][:-20], second: b"PAR1" + bytes(1000) + before[second][-50:]}
    planned = run_over(house, damaged, when)
    assert planned.mended == (("2026-11-24T00",) if when == "before the run" else ())
    assert house.closed == [(house.closed[0].lines, [first, second] if when == "amid the run" else [], [])]
    assert house.files.content == before
    assert damaged.keys() <= set(house.files.put_keys)


def run_over(house: House, damaged: dict[str, bytes], when: str) -> Plan:
    """A run over files of the day's first hour that are damaged before it, or when it has priced that hour itself."""
    house.files.put_keys.clear()
    if when == "before the run":
        house.files.content |= damaged
        return house.run(at(3.2))[0]
    files = len(house.files.list("usage/dt=2026-11-24/hour=00/"))
    steps = iter(range(100))

    def step() -> None:
        if next(steps) == files:  # all of them are priced, and the day is next
            house.files.content |= damaged

    return house.run(at(3.2), step, hours=["2026-11-24T00"])[0]


@pytest.mark.parametrize("when", ["before the run", "amid the run"])
@pytest.mark.parametrize("column", ["tenant_id", "model_id", "input_tokens", "cost", "price_status"])
def test_one_changed_bit_inside_of_a_file_is_found_before_anything_is_summed(
    house: House, column: str, when: str
) -> None:
    house.periods.mark = "2026-11-23T23"
    house.add(*(settled(row(f"r{n}"), input_tokens=n) for n in range(500)))
    house.run(at(3.2))
    before = dict(house.files.content)
    key = next(iter(house.files.list("usage/")))
    content = bytearray(before[key])
    chunk = pq.ParquetFile(io.BytesIO(before[key])).metadata.row_group(0).column(parquet.USAGE.names.index(column))
    content[(chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size - 5] ^= 1
    written = list[bytes]()
    house.files.before_put = lambda key: written.append(house.files.content[key]) if "costs/" in key else None
    planned = run_over(house, {key: bytes(content)}, when)
    assert planned.mended == (("2026-11-24T00",) if when == "before the run" else ())
    assert house.closed[0].mended == ([key] if when == "amid the run" else [])
    assert written == []  # the costs were never anything else
    assert house.files.content == before


def test_a_file_that_is_lost_with_its_rows_leaves_the_costs_as_they_are_and_is_told(house: House) -> None:
    house.periods.mark = "2026-11-23T23"
    house.add(*(settled(row(f"r{n}", n % 24), input_tokens=1000) for n in range(96)))
    house.run(at(24.2))
    costs = house.costs()
    key = next(iter(house.files.list("usage/dt=2026-11-24/hour=02/")))
    house.files.content[key] = b"PAR1 nothing PAR1"
    late = start_of("2026-11-24T03") + RETENTION  # the rows of hour 2 may be gone by now
    for record in [r for r in house.ledger.rows.values() if r.hour <= "2026-11-24T02"]:
        del house.ledger.rows[(record.request_id, record.attempt)]
    for lost in ([key], []):
        house.run(late, hours=["2026-11-25T04"])
        house.closed = [house.close(DAY, True, late)]
        assert (house.closed[0].lost, house.closed[0].mended) == (lost, [])
        assert house.costs()[: len(costs)] == costs
        house.verify("2026-11-24T05")
    assert house.files.content[f"corrupt/{key}"] == b"PAR1 nothing PAR1"
    assert pq.read_table(io.BytesIO(house.files.content[key])).num_rows == 0
    (found,) = house.files.table("quarantine/").to_pylist()
    assert (found["pk"], found["reason"]) == (key, "an unreadable file whose rows the ledger has dropped")


def test_costs_that_cannot_be_read_are_made_again_from_the_usage(house: House) -> None:
    house.periods.mark = "2026-11-23T23"
    house.add(settled(row("a"), input_tokens=1000))
    house.run(at(24.2))
    key = f"costs/dt={DAY}/part-0.parquet"
    before, house.files.content[key] = house.files.content[key], b"nothing"
    house.run(at(25.2), hours=["2026-11-24T05"])
    assert house.closed[0].mended == [key]
    assert house.files.content[key] == before
    assert house.files.content[f"corrupt/{key}"] == b"nothing"


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_a_run_that_dies_after_it_has_closed_a_day_leaves_what_was_closed(house: House, steps: int) -> None:
    """Its costs are not what was proven, and yet no damage: what is closed, and what was restated, stays as it is."""
    house.periods.mark = "2026-11-23T23"
    house.add(settled(row("a"), input_tokens=1000))
    house.run(at(24.2))
    expected = lines_of(house)
    for hour, name, tokens in ((25.2, "b", 50), (26.2, "c", 7)):
        house.add(settled(row(name), input_tokens=tokens))
        left = iter(range(steps))

        def step(left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise Crash

        with pytest.raises(Crash):
            house.run(at(hour), step, hours=["2026-11-24T00"])
        house.run(at(hour))
        expected += [("restatement", at(hour), SONNET, tokens, Decimal(tokens * 3).scaleb(-6))]
        assert lines_of(house) == expected
        assert not house.files.list("corrupt/")
    house.run(at(27.2), hours=["2026-11-24T00"])
    assert lines_of(house) == expected


def test_costs_of_another_day_are_not_taken_for_those_of_a_run_that_died(house: House) -> None:
    house.periods.mark = "2026-11-23T23"
    house.add(settled(row("a"), input_tokens=1000), settled(row("b", 24.5), input_tokens=1))
    house.run(at(48.2))
    first, second = (f"costs/dt={day}/part-0.parquet" for day in (DAY, "2026-11-25"))
    before = house.files.content[first]
    house.files.content[first] = house.files.content[second]
    house.run(at(49.2))
    assert house.files.content[first] == before
    assert list(house.files.list("corrupt/")) == [f"corrupt/{first}"]


# ------------------------------------------------------------------------------------------------------ for any history
counts = st.integers(0, 400_000)
usages = st.builds(
    TokenUsage,
    input_tokens=counts,
    output_tokens=counts,
    cache_read_tokens=st.sampled_from([0, 0, 1, 12_345]),
    cache_write_5m_tokens=st.sampled_from([0, 0, 7]),
    cache_write_1h_tokens=st.sampled_from([0, 0, 9]),
    images=st.sampled_from([0, 0, 0, 3]),
    image_class=st.sampled_from(["", "512x512:standard", "larger:premium"]),
    service_tier=st.sampled_from(["default", "default", "flex"]),
    source=st.sampled_from(["provider", "provider", "estimated:bytes", UNKNOWN]),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9)
callers = st.one_of(
    st.just(NOBODY),
    st.builds(
        Attribution,
        user_id=st.sampled_from(["", "alice", "bob"]) | texts,
        user_source=st.sampled_from(UserSource),
        tags=st.dictionaries(st.sampled_from(["project", "stage"]) | texts, texts, max_size=3).map(
            lambda tags: tuple(sorted(tags.items()))
        ),
    ),
)
endings = st.tuples(st.sampled_from([Outcome.SUCCEEDED, Outcome.FAILED, Outcome.INTERRUPTED]), usages)


@st.composite
def rows(draw: st.DrawFn) -> tuple[UsageRecord, Outcome, TokenUsage, int]:
    """A row, how it ends, and after how many steps of the whole history."""
    record = row(
        draw(st.uuids()).hex,
        hour=draw(st.integers(0, 3 * 3600 - 1)) / 3600 + 22,
        model=draw(st.sampled_from([SONNET, SONNET, PAINTER, UNHEARD_OF])),
        tenant=draw(st.sampled_from(["acme", "zeta"])),
        centre=draw(st.sampled_from(["ops", "research"])),
    )
    record = replace(
        record,
        model_used=draw(st.sampled_from([record.model_id, record.model_used, *STANDING_FOR])),
        attribution=draw(callers),
    )
    outcome, usage = draw(endings)
    return record, outcome, TokenUsage() if outcome is Outcome.FAILED else usage, draw(st.integers(0, 200))


class Crash(Exception):
    """The process died."""


# What may be called for any of the models, and is priced by a name of its own: by the overlay, by the id in it, or not.
STANDING_FOR = [
    PROVISIONED := "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abcdef123456",
    "arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdef123456",
    f"arn:aws:bedrock:us-east-1::foundation-model/{PAINTER}",
    "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdef123456",
]
BOOKS = [
    BOOK,
    PriceBook([*BOOK.prices(), price(UNHEARD_OF, "input_tokens", "2"), price(UNHEARD_OF, "output_tokens", "0.7")]),
    PriceBook([p._replace(usd=p.usd * 3) for p in BOOK.prices() if p.unit != "cache_read_tokens"]),
    BOOK.with_overlay(
        [
            Markup("tenant:zeta", Decimal("1.2345678901"), date(2024, 1, 1), "test"),
            Markup("*", Decimal("0.9"), date(2026, 11, 24), "test"),
            price(PAINTER, "second", "0.000300000001", per=1)._replace(note="+overlay"),
            price(PROVISIONED, "input_tokens", "0")._replace(note="+overlay"),
            price(PROVISIONED, "output_tokens", "0")._replace(note="+overlay"),
        ]
    ),
]


@settings(max_examples=25)
@given(
    st.lists(rows(), max_size=25),
    st.lists(st.integers(0, 60), max_size=2),
    st.booleans(),
    st.lists(st.sampled_from(range(len(BOOKS))), min_size=4, max_size=4),
    st.sets(st.integers(0, 24), max_size=2),
    st.integers(1, 9),
    st.lists(st.sampled_from([1, 1, 2, 8]), min_size=4, max_size=4),
)
def test_the_lake_is_the_ledger_whatever_happens(
    history: list[tuple[UsageRecord, Outcome, TokenUsage, int]],
    crashes: list[int],
    current: bool,
    books: list[int],
    odd: set[int],
    rows_of_a_page: int,
    parts: list[int],
) -> None:
    """Rows settle at any step, come twice, or make no sense; prices change; runs die at any step and are done again.

    In the end every cent is there, once, and what was closed has only been added to.
    """
    house = House()
    house.ledger.rows_of_a_page = rows_of_a_page
    house.periods.mark = hour_of(at(21))
    house.periods.parts = {hour_of(at(22 + n)): some for n, some in enumerate(parts)}
    clock = 0
    broken = {record.request_id for place, (record, *_) in enumerate(history) if place in odd}

    def live(now: datetime) -> None:
        nonlocal clock
        clock += 1
        for record, outcome, usage, when in history:
            if record.started_at > now or record.request_id in broken:
                continue
            if (record.request_id, 1) not in house.ledger.rows:
                house.ledger.reserve(record)
                house.ledger.reserve(record)
            if when <= clock:
                house.ledger.settle(record.settle(outcome, usage, record.started_at + timedelta(seconds=1)))
                house.ledger.settle(record.settle(Outcome.FAILED, TokenUsage(), now))

    for record, _, usage, _ in history:
        if record.request_id in broken:
            house.ledger.break_row(record.settle(Outcome.SUCCEEDED, usage, record.started_at), output_tokens=NEGATIVE)
    closed: list[dict[str, Any]] = []
    for now, book in zip((at(23.2), at(24.2), at(25.2)), books, strict=False):
        house.book = BOOKS[book]
        for crash in [*crashes, None]:
            left = iter(range(crash)) if crash is not None else None

            def step(left: Iterator[int] | None = left, now: datetime = now) -> None:
                live(now)
                if left is not None and next(left, None) is None:
                    raise Crash

            try:
                live(now)
                house.run(now, step, include_current_hour=current)
            except Crash:
                continue
        if now == at(24.2):  # the day is closed, and the next one has begun
            closed = house.files.table(f"costs/dt={DAY}/").to_pylist()
    sweep(house.ledger, at(48))
    house.book = BOOKS[books[-1]]
    house.run(at(26.2), hours=[hour_of(at(hour)) for hour in (22, 23, 24)])
    house.run(at(26.3))
    assert house.periods.marked == set()

    ledger = list(house.ledger.rows.values())
    charges = [house.book.charge_record(record) for record in ledger]
    listed = [house.book.listed.charge_record(record) for record in ledger]
    owed = sum((charge.cost for charge in charges if charge), Decimal(0))
    at_list = sum((charge.cost for charge in listed if charge), Decimal(0))
    assert (
        sorted(row["sk"] for row in house.files.table("quarantine/").to_pylist())
        == sorted(f"{name}#0001" for name in broken)
        if broken
        else not house.files.list("quarantine/")
    )
    assert house.files.table(f"costs/dt={DAY}/").to_pylist()[: len(closed)] == closed
    if not ledger:
        assert house.files.list("usage/") == {}
        return
    found, costs = house.usage(), house.costs()
    assert sorted(found) == sorted(record.request_id for record in ledger)
    for name, sum_of_ledger in (("cost", owed), ("list_cost", at_list)):
        assert sum((r[name] for r in found.values() if r[name] is not None), Decimal(0)) == sum_of_ledger
        assert sum((line[name] for line in costs if line[name] is not None), Decimal(0)) == sum_of_ledger
    assert sum(line["input_tokens"] for line in costs) == sum(r.usage.input_tokens for r in ledger)
    assert sum(line["unpriced_invocations"] for line in costs) == sum(
        r["price_status"] == UNPRICED for r in found.values()
    )
    # And it has settled: once more, by hand, gives the same bytes.
    before = dict(house.files.content)
    house.run(at(26.3), hours=[hour_of(at(hour)) for hour in (22, 23, 24)])
    assert house.files.content == before


@settings(max_examples=40)
@given(st.lists(rows(), max_size=30), st.sampled_from(BOOKS), st.randoms(), st.integers(1, 12))
def test_a_page_read_as_columns_is_the_same_as_row_by_row_in_whatever_order(
    history: list[tuple[UsageRecord, Outcome, TokenUsage, int]], book: PriceBook, random: Random, size: int
) -> None:
    records = [
        replace(record, started_at=at(22) + timedelta(microseconds=when * 8_999_999)).settle(outcome, usage, at(23))
        for record, outcome, usage, when in history
    ]

    def priced(one_by_one: bool) -> pa.Table:
        pages = PricedPages(hour_of(at(22)), Pricer(book), at(30))
        way = pages._slow if one_by_one else pages._quick
        shuffled = random.sample(records, len(records))
        tables = [way(page(map(item, shuffled[n : n + size]))) for n in range(0, len(shuffled), size)]
        return pa.concat_tables([parquet.USAGE.empty_table(), *tables]).sort_by("request_id")

    columns, rows_ = priced(one_by_one=False), priced(one_by_one=True)
    assert columns.to_pylist() == rows_.to_pylist()
    assert columns.schema == rows_.schema
    for found, record in zip(columns.to_pylist(), sorted(records, key=lambda r: r.request_id), strict=True):
        charge, listed = book.charge_record(record), book.listed.charge_record(record)
        assert (found["cost"], found["list_cost"]) == (charge and charge.cost, listed and listed.cost)
        source = UserSource(found["user_source"])
        assert Attribution(found["user_id"], source, tags_from_text(found["tags"])) == record.attribution


@pytest.mark.parametrize(
    "written", ['{ "project": "apollo" }', '{"stage":"a","project":"apollo"}', '{"project":"\\u0061"}']
)
def test_tags_that_another_writer_formats_otherwise_are_in_the_lake_as_the_ledger_writes_them(
    house: House, written: str
) -> None:
    """Else the views would have two lines for equal tags."""
    house.ledger.break_row(settled(row("a"), input_tokens=1), tags={"S": written}, user_id={"S": "alice"})
    house.run(at(1.2))
    (found,) = house.files.table("usage/").to_pylist()
    assert found["tags"] == tags_to_text(tags_from_text(written))
    assert (found["user_id"], found["user_source"]) == ("alice", "")


@pytest.mark.parametrize("book", BOOKS)
def test_calls_of_one_model_by_several_arns_pay_each_by_its_own_name(book: PriceBook) -> None:
    records = [
        settled(replace(row(f"{number}{model}", model=model), model_used=called), input_tokens=9, output_tokens=9)
        for model in (SONNET, PAINTER)
        for number, called in enumerate([model, f"us.{model}", *STANDING_FOR])
    ]
    table = PricedPages("2026-11-24T00", Pricer(book), at(1)).table(page(map(item, records)))
    charges = [book.charge_record(record) for record in records]
    assert table["cost"].to_pylist() == [charge and charge.cost for charge in charges]
    assert len({charge and charge.prices for charge in charges}) > 1


def test_costs_that_64_bits_cannot_hold_are_exact() -> None:
    record = settled(row("a"), input_tokens=10**15)
    pages = PricedPages("2026-11-24T00", Pricer(BOOK), at(1))
    assert pages.table(page([item(record)]))["cost"].to_pylist() == [Decimal(6_000_000_000)]


@settings(max_examples=300)
@given(st.sampled_from(sorted({(p.model_id, p.region) for p in price_book().prices()})), endings)
def test_the_quick_way_to_price_a_row_is_the_slow_way(
    model: tuple[str, str], ending: tuple[Outcome, TokenUsage]
) -> None:
    book = price_book()
    record = replace(row("a", model=model[0]), region=model[1])
    record = record.settle(ending[0], ending[1], at(1))
    priced, charge = Pricer(book).price(record), book.charge_record(record)
    if charge is None:
        assert priced.price_status in (UNPRICED, UNSETTLED)
        assert (priced.input_cost, priced.output_cost) == (None, None)
    else:
        assert priced.price_status == PRICED
        assert Decimal(priced.input_cost or 0).scaleb(-12) == charge.input_cost
        assert Decimal(priced.output_cost or 0).scaleb(-12) == charge.output_cost
        assert priced.price_rows == " ".join(used.name for used in charge.prices)


def test_parquet_is_written_without_numpy_and_pandas() -> None:
    """They would add half a second to every cold start of a step."""
    story = (
        "import sys\n"
        "sys.modules['numpy'] = sys.modules['pandas'] = None\n"
        "from gateway.aws.lake import parquet, usage_and_costs\n"
        "from gateway.costs.cost_lines import CostLine\n"
        "from gateway.costs.cost_lines import DayCosts\n"
        "costs = DayCosts((CostLine('t', 'c', 'm'),), True)\n"
        "print(parquet.day_costs(parquet.costs_file(costs)) == costs)\n"
    )
    assert told(story) == "True\n"


@pytest.mark.skipif(sys.platform != "linux", reason="threads of other systems are not to be seen in /proc")
def test_no_thread_of_arrows_takes_part_in_reading() -> None:
    """One that outlives the interpreter by a moment aborts a process whose work is done."""
    story = (
        "import io, os\n"
        "from gateway.aws.lake import parquet\n"
        "from gateway.costs.cost_lines import CostLine, DayCosts\n"
        "from gateway.costs.stores import QuarantinedRow\n"
        "costs = parquet.costs_file(DayCosts((CostLine('t', 'c', 'm'),) * 9, True))\n"
        "quarantined, usage = parquet.quarantine_file([QuarantinedRow('p', 's', 'r', 'i')]), parquet.no_usage()\n"
        "before = os.listdir('/proc/self/task')\n"
        "assert len(parquet.day_costs(costs).lines) == 9\n"
        "assert list(parquet.quarantined_keys(io.BytesIO(quarantined))) == [('p', 's')]\n"
        "assert list(parquet.usage_lines(io.BytesIO(usage))) == list(parquet.usage_lines(usage)) == []\n"
        "print(os.listdir('/proc/self/task') == before)\n"
    )
    assert told(story) == "True\n"


def told(story: str) -> str:
    """The output of a Python program with only the layer on its path."""
    done = subprocess.run([sys.executable, "-c", story], check=False, cwd=LAYER, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout

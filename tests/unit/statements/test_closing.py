"""Closing months: each cost line is in one statement, written once, and a chain reveals every change."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.costs.cost_lines import RESTATEMENT, CostLine
from gateway.statements.chain import ChainBroken, closed_months, verify
from gateway.statements.close_month import MonthBeforeChain, MonthNotComplete, StatementDiffers, close_month, months_due
from gateway.statements.statement import DatedLine, closes_at, days_of, from_csv, month_after

DELAY = 3
BOOK = "book-1"


@dataclass
class Aggregated:
    """The end of the aggregated costs."""

    until: str = "9999-12-31T23"
    again: list[str] = field(default_factory=list)
    repriced: list[str] = field(default_factory=list)
    holes: list[str] = field(default_factory=list)

    def watermark(self) -> str | None:
        return self.until

    def dirty(self) -> list[str]:
        return self.again

    def stale(self) -> list[str]:
        return self.repriced

    def mark_dirty(self, hour: str) -> None: ...

    def mark_stale(self, hour: str, book_version: str) -> None: ...

    def mark_clean(self, hour: str) -> None: ...

    def advance(self, watermark: str) -> None: ...


class CutOff(Exception):
    """The run ended here."""


class Lake:
    """Costs and statements in memory; `breath` is the number of files that can still be written."""

    def __init__(self, *lines: DatedLine) -> None:
        self.costs: dict[str, list[CostLine]] = defaultdict(list)
        self.there: dict[str, bytes] = {}
        self.breath = 10**9
        self.most_held = 0
        self.open_days: set[str] = set()
        self.put(*lines)

    def put(self, *lines: DatedLine) -> None:
        for day, line in lines:
            self.costs[day].append(line)

    def days(self) -> list[str]:
        return sorted(self.costs)

    def counts(self, day: str) -> Mapping[tuple[str, str], int]:
        return Counter((line.tenant_id, line.line_kind) for line in self.costs[day])

    def lines(self, day: str, first: str = "", last: str | None = None) -> Iterator[CostLine]:
        found = [
            line for line in self.costs[day] if first <= line.tenant_id and (last is None or line.tenant_id <= last)
        ]
        self.most_held = max(self.most_held, len(found))
        return iter(found)

    def is_closed(self, day: str) -> bool:
        return day not in self.open_days

    def names(self, prefix: str) -> list[str]:
        return sorted(name for name in self.there if name.startswith(prefix))

    def read(self, name: str) -> bytes:
        return self.there[name]

    def add(self, name: str, content: bytes) -> bool:
        if self.breath == 0:
            raise CutOff
        self.breath -= 1
        return self.there.setdefault(name, content) is content

    def close(self, month: str, at: datetime | None = None, page_lines: int = 100, **done: Any) -> dict[str, Any]:
        when = at or closes_at(month, DELAY) + timedelta(hours=6)
        aggregated = Aggregated(**done)
        return close_month(month, when, aggregated, lambda days: aggregated.holes, self, self, DELAY, page_lines)

    def stated(self) -> list[DatedLine]:
        return [dated for name in self.there if name.endswith(".csv") for dated in from_csv(self.there[name])]

    def manifest(self, place: str) -> Any:
        return json.loads(self.there[f"statements/{place}/manifest.json"])

    def forge(self, place: str, change: Callable[[Any], Any]) -> None:
        name = f"statements/{place}/manifest.json"
        said = json.loads(self.there[name])
        change(said)
        self.there[name] = (json.dumps(said, indent=2) + "\n").encode()


def line(day: str, cost: str = "1", tenant: str = "acme", model: str = "sonnet") -> DatedLine:
    amount = Decimal(cost)
    counts = {"invocations": 1, "input_tokens": 100, "price_version": BOOK}
    return DatedLine(day, CostLine(tenant, "research", model, **counts, cost=amount, list_cost=amount))  # type: ignore[arg-type]


def restated(day: str, at: str, cost: str = "0.5", tenant: str = "acme") -> DatedLine:
    when = datetime.fromisoformat(at).replace(tzinfo=UTC)
    return DatedLine(day, replace(line(day, cost, tenant).line, line_kind=RESTATEMENT, restated_at=when))


def two_months() -> Lake:
    """October and November closed; an October day was restated in between."""
    lake = Lake(line("2026-10-01"), line("2026-10-02", "2", "beta"), line("2026-11-05", "4"))
    lake.close("2026-10")
    lake.put(restated("2026-10-01", "2026-11-20T05:10"))
    lake.close("2026-11")
    return lake


# ----------------------------------------------------------------------------------------------------------- closing
def test_a_closed_month_has_three_files_for_each_tenant_and_one_for_all() -> None:
    lake = Lake(line("2026-10-01"), line("2026-10-02", "2", "beta"))
    assert lake.close("2026-10") == {"month": "2026-10", "tenants": 2, "closed": True}
    names = ("statement.csv", "statement.html", "manifest.json")
    assert set(lake.there) == {
        "statements/month=2026-10/manifest.json",
        *(f"statements/month=2026-10/tenant={tenant}/{name}" for tenant in ("acme", "beta") for name in names),
    }
    whole = lake.manifest("month=2026-10")
    assert (whole["total"]["cost"], whole["lines"], whole["price_versions"]) == ("3.000000000000", 2, [BOOK])
    assert whole["previous"] is None


def test_what_is_restated_before_a_month_closes_is_part_of_it_and_later_of_the_month_it_was_restated_in() -> None:
    lake = Lake(line("2026-10-01"), restated("2026-10-01", "2026-11-03T05:10", "0.5"), line("2026-11-05", "4"))
    lake.put(restated("2026-10-01", "2026-11-04T05:10", "0.25"))  # an hour before the run, after the books closed
    lake.close("2026-10")
    assert lake.manifest("month=2026-10/tenant=acme")["total"]["cost"] == "1.500000000000"
    lake.close("2026-11")
    said = lake.manifest("month=2026-11/tenant=acme")
    assert (said["usage"]["cost"], said["restatements"]["cost"]) == ("4.000000000000", "0.250000000000")
    assert said["restatement_lines"] == {"2026-10-01": 1}


def test_a_tenant_with_nothing_but_a_restatement_has_a_statement_linked_to_its_last() -> None:
    lake = Lake(line("2026-09-01", "2", "beta"))
    lake.close("2026-09")
    lake.close("2026-10")
    lake.put(restated("2026-09-01", "2026-11-20T05:10", tenant="beta"))
    lake.close("2026-11")
    assert lake.manifest("month=2026-10")["tenants"] == {}
    assert lake.manifest("month=2026-11/tenant=beta")["previous"]["month"] == "2026-09"
    assert lake.manifest("month=2026-11")["previous"]["month"] == "2026-10"
    assert verify(lake, lake).statements == 2


def test_closing_again_changes_nothing_even_when_days_were_restated_since() -> None:
    lake = two_months()
    before = dict(lake.there)
    for month in ("2026-10", "2026-11"):
        assert lake.close(month)["closed"] is False
    lake.put(restated("2026-10-02", "2026-12-20T05:10", tenant="gamma"))
    assert lake.close("2026-10") == {"month": "2026-10", "tenants": 2, "closed": False}
    assert lake.there == before


def test_closing_again_names_what_differs() -> None:
    lake = two_months()
    lake.costs["2026-10-01"][0] = line("2026-10-01", "1.01").line
    with pytest.raises(
        StatementDiffers, match=r"tenant=acme/statement.csv differs: the costs have no such line: .* 1.0000"
    ):
        lake.close("2026-10")
    lake = two_months()
    lake.put(line("2026-10-31"))
    with pytest.raises(
        StatementDiffers, match="it lacks a line of the costs: 2026-10-31 acme/research/sonnet original"
    ):
        lake.close("2026-10")
    lake = two_months()
    lake.put(line("2026-10-31", tenant="gamma"))
    with pytest.raises(StatementDiffers, match="it lacks a line of the costs: 2026-10-31 gamma"):
        lake.close("2026-10")
    lake = two_months()
    del lake.costs["2026-10-02"]
    with pytest.raises(StatementDiffers, match="the costs have no line of beta"):
        lake.close("2026-10")
    lake = two_months()
    lake.there["statements/month=2026-10/tenant=beta/statement.html"] += b" "
    with pytest.raises(StatementDiffers, match="tenant=beta/statement.html"):
        lake.close("2026-10")


@pytest.mark.parametrize("name", ["statement.csv", "statement.html", "manifest.json"])
def test_another_file_in_the_place_of_a_statement_is_never_overwritten(name: str) -> None:
    lake = Lake(line("2026-10-01"))
    lake.breath = 2
    with pytest.raises(CutOff):
        lake.close("2026-10")
    lake.breath = 100
    place = f"statements/month=2026-10/tenant=acme/{name}"
    lake.there[place] = b"{}"
    with pytest.raises(StatementDiffers, match="tenant=acme/statement"):
        lake.close("2026-10")
    assert lake.there[place] == b"{}"
    assert closed_months(lake) == []


@pytest.mark.parametrize("files", range(8))
def test_a_run_that_was_cut_off_is_gone_on_with(files: int) -> None:
    lines = line("2026-10-01"), line("2026-10-02", "2", "beta"), restated("2026-10-02", "2026-11-01T05:10", "3", "beta")
    whole, cut = Lake(*lines), Lake(*lines)
    whole.close("2026-10")
    cut.breath = files
    if files < 7:
        with pytest.raises(CutOff):
            cut.close("2026-10")
        assert closed_months(cut) == []
    cut.breath = 100
    cut.close("2026-10", closes_at("2026-10", DELAY) + timedelta(days=2))
    assert cut.there == whole.there


@pytest.mark.parametrize("files", range(7))
def test_what_an_overdue_run_restates_while_a_month_is_closed_is_stated_once_in_it_or_in_the_next(files: int) -> None:
    """Its moment is that of its schedule, which may be before the books closed."""
    lake = Lake(line("2026-10-01"), line("2026-10-02", "2", "beta"))
    lake.breath = files
    with pytest.raises(CutOff):
        lake.close("2026-10")
    lake.breath = 100
    late = [restated("2026-10-01", "2026-11-03T23:10", tenant=tenant) for tenant in ("acme", "beta")]
    lake.put(*late)
    lake.close("2026-10")
    lake.close("2026-10")
    lake.close("2026-11")
    assert sorted(dated for dated in map(str, lake.stated()) if RESTATEMENT in dated) == sorted(
        map(str, map(exact, late))
    )
    assert verify(lake, lake).waiting == 0


def exact(dated: DatedLine) -> DatedLine:
    amounts = {name: round(getattr(dated.line, name), 12) for name in ("cost", "list_cost")}
    return DatedLine(dated.day, replace(dated.line, **amounts))


def test_a_month_is_closed_only_when_all_of_it_is_known() -> None:
    lake = Lake(line("2026-10-01"))
    for reason, wrong in {
        "its books close at 2026-11-04": {"at": datetime(2026, 11, 3, 23, 59, tzinfo=UTC)},
        "complete only up to 2026-10-31T22": {"until": "2026-10-31T22"},
        "complete only up to no hour": {"until": ""},
        "1 hours must be aggregated again, the first is 2026-10-07T11": {"again": ["2026-10-07T11", "2026-11-01T00"]},
        "1 hours must be aggregated again, the first is 2026-10-08T09": {"repriced": ["2026-10-08T09"]},
        "2 of its hours or days are not proven": {"holes": ["2026-10-09T01", "2026-10-10"]},
    }.items():
        with pytest.raises(MonthNotComplete, match=reason):
            lake.close("2026-10", **wrong)  # type: ignore[arg-type]
    assert lake.there == {}


def test_a_day_that_may_still_be_written_anew_keeps_its_month_open_as_long_as_the_ledger_has_its_rows() -> None:
    lake = Lake(line("2026-10-01"))
    lake.open_days.add("2026-10-01")
    with pytest.raises(MonthNotComplete, match="2026-10-01 is not closed"):
        lake.close("2026-10")
    lake.close("2026-10", datetime(2027, 12, 1, tzinfo=UTC))


def test_months_are_closed_in_order() -> None:
    lake = Lake(line("2026-08-31"), line("2026-10-01"))
    with pytest.raises(MonthNotComplete, match="close 2026-08 first"):
        lake.close("2026-09")
    lake.close("2026-08")
    with pytest.raises(MonthNotComplete, match="close 2026-09 first"):
        lake.close("2026-10")


def test_a_month_before_the_first_closed_one_is_refused_by_name_and_leaves_the_chain_whole() -> None:
    lake = two_months()
    lake.put(line("2026-08-31", "7"))
    before = dict(lake.there)
    for month in ("2026-08", "2026-09"):
        with pytest.raises(MonthBeforeChain, match=f"{month} cannot be closed any more: 2026-10 is the first closed"):
            lake.close(month)
    assert lake.there == before
    assert verify(lake, lake).waiting == 1


def test_what_was_used_before_the_first_closed_month_stands_once_in_the_next_statement() -> None:
    """Found late, as by a backfill. What comes later still, and what restates it, stands in a later one."""
    lake = two_months()
    late, later = line("2026-08-31", "7"), line("2026-08-31", "9", model="haiku")
    lake.put(late, line("2026-09-01", "3", "gamma"))
    lake.close("2026-12")
    assert lake.manifest("month=2026-12")["late_lines"] == {"2026-08-31": 1, "2026-09-01": 1}
    assert lake.manifest("month=2026-12")["total"]["cost"] == "10.000000000000"
    lake.put(later, restated("2026-08-31", "2027-01-02T05:00", "-1"))
    assert verify(lake, lake).waiting == 2
    assert lake.close("2026-12")["closed"] is False  # it holds, whatever was found since
    lake.close("2027-01")
    assert Counter(lake.stated()) == Counter(DatedLine(day, one) for day in lake.days() for one in lake.costs[day])
    assert verify(lake, lake).waiting == 0
    assert "late_lines" not in lake.manifest("month=2026-11")  # as it was before there were any


def test_a_late_line_that_was_changed_or_lost_breaks_the_chain() -> None:
    lake = two_months()
    lake.put(line("2026-08-31", "7"))
    lake.close("2026-12")
    lake.costs["2026-08-31"] = [line("2026-08-31", "8").line]
    with pytest.raises(ChainBroken, match="costs of 2026-08-31"):
        verify(lake, lake)


def test_a_tenants_name_stands_on_its_page() -> None:
    lake = Lake(line("2026-10-01"), line("2026-10-02", tenant="beta"))
    names = {"acme": "Acme & Sons"}
    at = closes_at("2026-10", DELAY)
    close_month(
        "2026-10", at, Aggregated(), lambda _: [], lake, lake, DELAY, name_of=lambda tenant: names.get(tenant, "")
    )
    page = lake.there["statements/month=2026-10/tenant=acme/statement.html"].decode()
    assert '<h1>acme</h1><p class="name">Acme &amp; Sons</p>' in page
    assert '<p class="name">' not in lake.there["statements/month=2026-10/tenant=beta/statement.html"].decode()
    verify(lake, lake)


def test_the_page_of_a_run_that_was_cut_off_stays_though_the_tenant_was_renamed_since() -> None:
    lake = Lake(line("2026-10-01"))
    at, name = closes_at("2026-10", DELAY), ["Acme"]
    lake.breath = 2  # the file and the page
    with pytest.raises(CutOff):
        close_month("2026-10", at, Aggregated(), lambda _: [], lake, lake, DELAY, name_of=lambda _: name[0])
    lake.breath, name[0] = 10, "Apex"
    close_month("2026-10", at, Aggregated(), lambda _: [], lake, lake, DELAY, name_of=lambda _: name[0])
    assert b">Acme<" in lake.there["statements/month=2026-10/tenant=acme/statement.html"]
    verify(lake, lake)


def test_months_that_were_missed_are_due_one_after_the_other() -> None:
    lake = Lake(line("2026-08-31"), line("2026-10-01"))
    at = datetime(2026, 11, 4, tzinfo=UTC)
    assert months_due(at, lake, lake, DELAY) == ["2026-08", "2026-09", "2026-10"]
    assert months_due(at - timedelta(seconds=1), lake, lake, DELAY) == ["2026-08", "2026-09"]
    lake.close("2026-08")
    assert months_due(at, lake, lake, DELAY) == ["2026-09", "2026-10"]
    assert months_due(at, Lake(), Lake(), DELAY) == []


def test_tenants_come_in_pages() -> None:
    lines = [line(day, tenant=f"t{n}") for n in range(20) for day in ("2026-10-01", "2026-10-02")]
    small, large = Lake(*lines), Lake(*lines)
    small.close("2026-10", page_lines=5)
    large.close("2026-10", page_lines=10**6)
    assert small.there == large.there
    assert (small.most_held, large.most_held) == (2, 20)


# ---------------------------------------------------------------------------------------------------- the whole of it
months = ["2026-09", "2026-10", "2026-11"]
happened = st.tuples(
    st.sampled_from([day for month in months for day in (*days_of(month)[:2], days_of(month)[-1])]),
    st.sampled_from(["acme", "beta", "gamma"]),
    st.sampled_from(["sonnet", "haiku"]),
    st.integers(-(10**13), 10**13),
    st.integers(-1, 100),  # days from its day to its restatement; below 0 it is an original
    st.sampled_from([0, 0, 0, 1, 40]),  # days by which the run that restated it was overdue
)


@settings(max_examples=60)
@given(st.lists(happened, max_size=14), st.integers(1, 6))
def test_statements_add_up_to_the_costs_line_by_line(what: list[Any], page_lines: int) -> None:
    appearing: list[tuple[datetime, DatedLine]] = []
    for day, tenant, model, units, after, overdue in what:
        dated = line(day, str(Decimal(units).scaleb(-12)), tenant, model)
        known = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1)
        if after >= 0:
            known += timedelta(days=after)
            dated = DatedLine(day, replace(dated.line, line_kind=RESTATEMENT, restated_at=known))
            known += timedelta(days=overdue)
        appearing.append((known, dated))
    lake, month, statements = Lake(), "2026-09", dict[str, bytes]()
    lake.costs["2026-09-01"] = []
    while month < "2027-06":
        at = closes_at(month, DELAY) + timedelta(hours=6)
        lake.put(*(dated for known, dated in appearing if known <= at))
        appearing = [(known, dated) for known, dated in appearing if known > at]
        lake.close(month, at, page_lines)
        assert statements.items() <= lake.there.items()
        statements = dict(lake.there)
        month = month_after(month)
    costs = Counter(DatedLine(day, one).identity for day, lines in lake.costs.items() for one in lines)
    assert Counter(dated.identity for dated in lake.stated()) == costs
    said = [lake.manifest(f"month={month}")["total"]["cost"] for month in closed_months(lake)]
    assert sum(Decimal(cost or 0) for cost in said) == sum(
        one.cost or 0 for lines in lake.costs.values() for one in lines
    )
    found = verify(lake, lake)
    assert (found.lines, found.waiting) == (costs.total(), 0)
    for month in closed_months(lake):
        assert lake.close(month)["closed"] is False


# ------------------------------------------------------------------------------------------------------------ verifying
def test_a_chain_that_nobody_touched_holds() -> None:
    lake = two_months()
    found = verify(lake, lake)
    assert (found.months, found.statements, found.lines, found.waiting) == (("2026-10", "2026-11"), 3, 4, 0)
    lake.put(restated("2026-10-01", "2026-12-20T05:10"))
    assert verify(lake, lake).waiting == 1
    assert verify(Lake(), Lake()).months == ()


def _change_cost(lake: Lake) -> None:
    lake.costs["2026-10-01"][0] = line("2026-10-01", "1.01").line


def _swap_costs_of_tenants(lake: Lake) -> None:
    lake.costs["2026-10-02"][0] = replace(lake.costs["2026-10-02"][0], tenant_id="gamma")


def _edit(name: str, old: bytes, new: bytes) -> Callable[[Lake], None]:
    def edit(lake: Lake) -> None:
        content = lake.there[f"statements/{name}"]
        assert old in content
        lake.there[f"statements/{name}"] = content.replace(old, new, 1)

    return edit


def _forged_from_the_csv_up(lake: Lake) -> None:
    """Somebody who rewrites a statement and every manifest of its month is found by the next month's link."""
    from hashlib import sha256

    place = "statements/month=2026-10/tenant=acme/statement.csv"
    lake.there[place] = lake.there[place].replace(b"1.000000000000", b"0.900000000000")
    csv = {"sha256": sha256(lake.there[place]).hexdigest(), "bytes": len(lake.there[place])}
    lake.forge("month=2026-10/tenant=acme", lambda said: said["files"].update({"statement.csv": csv}))
    manifest = sha256(lake.there["statements/month=2026-10/tenant=acme/manifest.json"]).hexdigest()
    lake.forge("month=2026-10", lambda said: said["tenants"]["acme"].update({"sha256": manifest}))


@pytest.mark.parametrize(
    ("change", "first_break"),
    [
        (
            _edit("month=2026-10/tenant=acme/statement.csv", b"1.0", b"2.0"),
            "2026-10/tenant=acme/statement.csv: its hash",
        ),
        (
            _edit("month=2026-10/tenant=beta/statement.html", b"beta", b"Beta"),
            "2026-10/tenant=beta/statement.html: its hash",
        ),
        (
            _edit("month=2026-10/tenant=beta/manifest.json", b"2.0", b"1.0"),
            "2026-10/tenant=beta/manifest.json: its hash",
        ),
        (_edit("month=2026-10/manifest.json", b'"cost": "3.0', b'"cost": "2.0'), "2026-10/manifest.json: its usage is"),
        (
            _edit("month=2026-11/manifest.json", b'"2026-10"', b'"2026-09"'),
            "2026-11/manifest.json: its link does not match",
        ),
        (_edit("month=2026-10/manifest.json", b"{", b""), "2026-10/manifest.json: it is not valid JSON"),
        (_forged_from_the_csv_up, "2026-10/tenant=acme/manifest.json: its usage is"),
        (
            lambda lake: lake.there.pop("statements/month=2026-10/tenant=beta/statement.csv"),
            "statement.csv: it is missing",
        ),
        (
            lambda lake: lake.there.update({"statements/month=2026-10/tenant=x/statement.csv": b""}),
            "no manifest names it",
        ),
        (_change_cost, "costs of 2026-10-01: acme has 1 lines, 1.010000000000 USD there, but 1 lines, 1.0000"),
        (_swap_costs_of_tenants, "costs of 2026-10-02: beta has 0 lines"),
        (lambda lake: lake.put(line("2026-10-31")), "costs of 2026-10-31: acme has 1 lines"),
        (lambda lake: lake.costs.pop("2026-10-02"), "costs of 2026-10-02: they are missing, but beta has 1 lines"),
        (lambda lake: lake.costs["2026-10-01"].pop(), "they lack a restatement of acme that is in a statement"),
    ],
)
def test_the_first_break_is_named(change: Callable[[Lake], Any], first_break: str) -> None:
    lake = two_months()
    change(lake)
    with pytest.raises(ChainBroken, match=first_break):
        verify(lake, lake)


def test_a_month_that_is_gone_is_named() -> None:
    lake = two_months()
    lake.close("2026-12")
    for name in lake.names("statements/month=2026-11/"):
        del lake.there[name]
    with pytest.raises(ChainBroken, match="month=2026-11/manifest.json: it is missing"):
        verify(lake, lake)


def test_a_month_that_was_rewritten_in_all_its_files_breaks_the_link_of_the_next() -> None:
    lake, other = two_months(), Lake(line("2026-10-01", "0.9"), line("2026-10-02", "2", "beta"))
    other.close("2026-10")
    lake.there |= other.there
    lake.costs["2026-10-01"][0] = other.costs["2026-10-01"][0]
    with pytest.raises(ChainBroken, match="month=2026-11/manifest.json: its link does not match 2026-10"):
        verify(lake, lake)


def test_a_day_without_restatements_is_not_read_again_for_later_months() -> None:
    lake = Lake(line("2026-10-01"), line("2026-11-01"))
    lake.close("2026-10")
    read: list[str] = []
    lines = lake.lines
    lake.lines = lambda day, *tenants: (read.append(day), lines(day, *tenants))[1]  # type: ignore[method-assign, func-returns-value]
    lake.close("2026-11")
    assert read == ["2026-11-01"]

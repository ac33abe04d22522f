"""A statement: its lines per month, their sums, its file and its page."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.costs.cost_lines import RESTATEMENT, CostLine
from gateway.statements.html import to_html
from gateway.statements.statement import (
    COLUMNS,
    DatedLine,
    Statement,
    StatementError,
    closes_at,
    days_of,
    from_csv,
    month_after,
    to_csv,
    total,
)

SONNET = "anthropic.claude-3-sonnet-20240229-v1:0"
CLOSES = closes_at("2026-10", 3)


def used(
    day: str, cost: str | None = "1.5", centre: str = "research", model: str = SONNET, calls: int = 1
) -> DatedLine:
    amount = None if cost is None else Decimal(cost)
    half = None if amount is None else amount / 2
    line = CostLine("acme", centre, model, calls, input_tokens=1000, output_tokens=10, price_version="book-1")
    return DatedLine(day, replace(line, input_cost=half, output_cost=half, cost=amount, list_cost=amount))


def restated(day: str, at: str, cost: str = "0.25", model: str = SONNET) -> DatedLine:
    line = replace(used(day, cost, model=model).line, line_kind=RESTATEMENT, restated_at=datetime.fromisoformat(at))
    return DatedLine(day, line)


def statement(*lines: DatedLine) -> Statement:
    return Statement.of("acme", "2026-10", CLOSES, lines)


def page(*lines: DatedLine) -> str:
    return to_html(statement(*lines), "0" * 64).decode()


amounts = st.none() | st.integers(-(10**15), 10**15).map(lambda units: Decimal(units).scaleb(-12))
cost_lines = st.builds(
    CostLine,
    tenant_id=st.just("acme"),
    cost_centre=st.sampled_from(["research", "checkout", "=1+1"]),
    model_id=st.sampled_from([SONNET, 'maker, "quoted"', "@odd\nmodel", "'"]),
    invocations=st.integers(-5, 5),
    unpriced_invocations=st.integers(0, 2),
    input_tokens=st.integers(-(10**12), 10**12),
    images=st.integers(0, 3),
    input_cost=amounts,
    output_cost=amounts,
    cost=amounts,
    list_cost=amounts,
    price_version=st.sampled_from(["", "a", "a+b", "c"]),
    line_kind=st.sampled_from(["original", RESTATEMENT]),
    restated_at=st.none() | st.just(datetime(2026, 11, 3, 5, 10, tzinfo=UTC)),
)
dated_lines = st.builds(DatedLine, st.sampled_from([*days_of("2026-10"), "2026-09-30", "2026-02-01"]), cost_lines)


# ------------------------------------------------------------------------------------------------------- which month
def test_the_books_of_a_month_close_some_days_after_its_end() -> None:
    assert closes_at("2026-10", 3) == datetime(2026, 11, 4, tzinfo=UTC)
    assert closes_at("2026-12", 1) == datetime(2027, 1, 2, tzinfo=UTC)


def test_months_follow_each_other_over_the_year() -> None:
    assert [month_after(month) for month in ("2026-01", "2026-09", "2026-12")] == ["2026-02", "2026-10", "2027-01"]
    assert len(days_of("2028-02")) == 29


@pytest.mark.parametrize("wrong", ["2026", "2026-13", "2026-1", "october", ""])
def test_what_is_no_month_is_refused(wrong: str) -> None:
    with pytest.raises(StatementError, match="is not a month"):
        days_of(wrong)


@pytest.mark.parametrize(
    ("dated", "month"),
    [
        (used("2026-10-31"), "2026-10"),
        (restated("2026-10-31", "2026-11-03T23:59:59.999+00:00"), "2026-10"),
        (restated("2026-10-31", "2026-11-04T00:00+00:00"), "2026-11"),
        (restated("2026-10-01", "2026-12-02T00:00+00:00"), "2026-12"),
        (restated("2026-11-30", "2026-12-02T00:00+00:00"), "2026-11"),
    ],
    ids=["original", "before its month closes", "as its month closes", "while another month is open", "of that month"],
)
def test_a_line_stands_in_its_month_until_that_closes_and_then_in_that_of_its_restatement(
    dated: DatedLine, month: str
) -> None:
    assert dated.due_in(lambda of: closes_at(of, 3)) == month


# ------------------------------------------------------------------------------------------------------------- sums
@given(st.lists(dated_lines, max_size=12))
def test_the_parts_add_up_to_the_total(lines: list[DatedLine]) -> None:
    made = statement(*lines)
    assert made.total == total(dated.line for dated in lines)
    assert total((made.usage, made.restatements)) == made.total
    for parts in (made.by_cost_centre, made.by_model, made.by_day):
        assert total(parts.values()) == made.usage
    assert list(made.by_day) == days_of("2026-10")


def test_a_cost_that_nobody_knows_is_not_nought() -> None:
    assert statement(used("2026-10-01", None)).total.cost is None
    assert statement(used("2026-10-01", None), used("2026-10-02", "0")).total.cost == 0


def test_days_of_earlier_months_are_restatements_and_nothing_else_is() -> None:
    own = restated("2026-10-31", "2026-11-02T00:00+00:00")
    earlier = restated("2026-09-30", "2026-10-20T00:00+00:00")
    made = statement(earlier, own)
    assert (made.used, made.restated) == ((own,), (earlier,))


# -------------------------------------------------------------------------------------------------------------- csv
@given(st.lists(dated_lines, max_size=8), st.randoms())
def test_a_file_holds_every_line_exactly_whatever_order_they_come_in(lines: list[DatedLine], random: object) -> None:
    made = statement(*lines)
    content = to_csv(made)
    assert [dated.identity for dated in from_csv(content)] == [dated.identity for dated in made.lines]
    random.shuffle(lines)  # type: ignore[attr-defined]
    assert to_csv(statement(*lines)) == content


def test_a_file_is_plain_for_spreadsheets() -> None:
    content = to_csv(statement(used("2026-10-01", "0.0045", model="=HYPERLINK(1)"))).decode()
    assert content.startswith(",".join(COLUMNS) + "\r\n")
    (row,) = csv.DictReader(io.StringIO(content))
    assert (row["cost"], row["restated_at"], row["month"]) == ("0.004500000000", "", "2026-10")
    assert row["model_id"] == "'=HYPERLINK(1)"  # no formula


def test_an_amount_finer_than_money_is_refused() -> None:
    with pytest.raises(StatementError, match="not exact"):
        to_csv(statement(used("2026-10-01", "0.0000000000001")))


@pytest.mark.parametrize("broken", [b"", b"a,b\r\n1,2\r\n", b"\xff", to_csv(statement(used("2026-10-01")))[:-30]])
def test_what_is_no_statement_is_refused(broken: bytes) -> None:
    with pytest.raises(StatementError):
        from_csv(broken)


# ------------------------------------------------------------------------------------------------------------- page
class _Text(HTMLParser):
    """The text of a page's tables, row by row, and whether every tag is closed in order."""

    def __init__(self, html: str):
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in {"meta", "path", "rect"}:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"path", "rect"}:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def test_a_page_has_the_totals_that_finance_looks_for() -> None:
    rows = _Text(page(used("2026-10-01", "1234.5"), used("2026-10-02", "0.0046", "checkout"))).rows
    assert ["research", "1", "1,000", "10", "617.2500", "617.2500", "1,234.5000", "100.0\u2009%"] in rows
    assert ["checkout", "1", "1,000", "10", "0.0023", "0.0023", "0.0046", "0.0\u2009%"] in rows
    assert rows.count(["Total", "2", "2,000", "20", "617.2523", "617.2523", "1,234.5046", "100.0\u2009%"]) == 2


def test_a_page_names_what_is_restated_and_by_how_much() -> None:
    html = page(used("2026-10-01"), restated("2026-09-30", "2026-10-20T05:10+00:00", "-0.5"))
    assert ["30 Sep 2026", "research", SONNET, "20 Oct 2026", "+1", "+1,010", "\u22120.50"] in _Text(html).rows
    assert "<dt>Restatements of earlier months</dt><dd>\u22120.50</dd>" in html
    assert "<dt>Total</dt><dd>1.00</dd>" in html


def test_a_page_says_what_is_not_in_the_total() -> None:
    unpriced = DatedLine("2026-10-01", replace(used("2026-10-01", None).line, unpriced_invocations=12))
    assert "<b>12 calls</b>: no price in the price book yet;" in page(unpriced)
    assert 'class="notes"' not in page(used("2026-10-01"))


def test_a_sum_without_some_of_its_calls_says_that_it_is_partial() -> None:
    known = used("2026-10-01", "3", "checkout")
    some = DatedLine("2026-10-01", replace(used("2026-10-01").line, unpriced_invocations=2))
    rows = _Text(page(known, some)).rows
    assert [row[0] for row in rows if row and row[0].startswith(("research", "checkout", SONNET, "Total"))] == [
        "checkout", "research partial", "Total partial", f"{SONNET} partial", "Total partial",
    ]  # fmt: skip
    assert "<dt>Total <span" in page(some)
    assert "A sum marked <b>partial</b> is of its other calls alone." in page(some)
    assert "partial" not in page(known).partition("</style>")[2]


def test_a_page_of_a_month_that_is_not_closed_says_draft_and_never_that_it_closed() -> None:
    html = to_html(statement(used("2026-10-01")), "0" * 64, draft=True).decode()
    said = "The books of October 2026 are not closed: they close on 4 Nov 2026 or later"
    assert html.count(said) == 2  # at the head and at the foot
    assert "<b>Draft.</b>" in html
    assert "<title>Statement: Draft, acme, October 2026</title>" in html
    assert "closed on" not in html
    assert "Draft" not in page(used("2026-10-01"))
    assert "The books of October 2026 closed on 4 Nov 2026;" in page(used("2026-10-01"))


def test_a_page_needs_nothing_from_elsewhere_and_believes_no_name() -> None:
    odd = '</style><script src="http://x">'
    lines = [used("2026-10-01", centre=odd, model=odd), restated("2026-09-30", "2026-10-20T05:10+00:00", model=odd)]
    html = to_html(Statement.of(odd, "2026-10", CLOSES, lines), "0" * 64).decode()
    assert html.count("<style>") == html.count("</style>") == 1
    for outside in ("<script", "<link", "<img", "src=", "url(", "@import", "href"):
        assert outside not in html.replace("src=&quot;http", "")
    _Text(html)


@settings(max_examples=40)
@given(st.lists(dated_lines, max_size=6), st.randoms())
def test_equal_statements_give_equal_pages(lines: list[DatedLine], random: object) -> None:
    html = page(*lines)
    random.shuffle(lines)  # type: ignore[attr-defined]
    assert page(*lines) == html
    _Text(html)


def test_large_amounts_are_shown_without_fractions_of_cents() -> None:
    html = page(used("2026-10-01", "1234567.123456"))
    assert "1,234,567.12<" in html
    assert "rounded to two decimals" in html
    assert "rounded" not in page(used("2026-10-01", "1234567.12"))


@pytest.mark.parametrize("cost", ["0", "0.000000000002", "0.07", "99", "100", "101", "-3", "123456789.1"])
@pytest.mark.parametrize("other", ["0", "0.000000000002", "-1000", "7"])
def test_the_plot_has_a_bar_within_its_frame_for_each_day_with_a_cost(cost: str, other: str) -> None:
    html = page(used("2026-10-01", cost), used("2026-10-31", other))
    assert html.count("<rect") == (Decimal(cost) != 0) + (Decimal(other) != 0)
    assert 2 <= html.count("<path") <= 7
    for part in html.split('<rect x="')[1:]:
        x, y, width, height = _numbers(part)
        assert 0 <= x <= x + width <= 680
        assert 0 <= y <= y + height <= 128


def _numbers(rect: str) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    values = rect.split('"')
    return Decimal(values[0]), Decimal(values[2]), Decimal(values[4]), Decimal(values[6])

"""A statement as a page made for printing: one file, nothing from elsewhere, equal statements give equal bytes.

Amounts have as many decimals as they need, up to six (fewer where they are large), and all the same number, so that
columns line up and add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import ROUND_CEILING, Decimal
from html import escape
from pathlib import Path
from typing import NamedTuple

from gateway.costs.cost_lines import MONEY, CostLine
from gateway.pricing.price_book import ZERO
from gateway.statements.statement import DatedLine, Statement, days_of

# The most decimals that are shown, by what the largest amount is below.
MOST_DECIMALS = {Decimal(10_000): 6, Decimal(1_000_000): 4, Decimal("Infinity"): 2}
_WORDS = {2: "two", 4: "four", 6: "six"}
# What is not in the total, and why.
NOTES = {
    "unpriced_invocations": "no price in the price book yet; a later statement restates them once there is one.",
    "unsettled_invocations": "nobody knows what was used, so it is not charged.",
    "open_invocations": "still open when the day was closed; a later statement restates what was used.",
}

# Behind a sum that is not of all its calls.
PARTIAL = ' <span class="sub">partial</span>'

STYLE = Path(__file__).with_name("statement.css")


def to_html(statement: Statement, csv_sha256: str, name: str = "", *, draft: bool = False) -> bytes:
    """The page. It names the hash of the statement's CSV file, which has every line and every decimal.

    `name` is what the tenant is called beside its id. A `draft` is of a month that is not closed, and says so.
    """
    shown = _Amounts.of(statement)
    title = f"{'Draft, ' if draft else ''}{statement.tenant_id}, {month_name(statement.month)}"
    corners = f"@top-left {{ content: {_css_text(statement.tenant_id)}; }}"
    right = f"{month_name(statement.month)}{', draft' if draft else ''}"
    corners += f" @top-right {{ content: {_css_text(right)}; }}"
    style = f"@page {{ {corners} }}\n{STYLE.read_text(encoding='utf-8')}"
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
        '<meta name="viewport" content="width=device-width">\n',
        f"<title>Statement: {escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n",
        _head(statement, name, draft=draft),
        _summary(statement, shown),
        _plot(statement, shown),
        _table("By cost centre", "Cost centre", statement.by_cost_centre, statement.usage, shown),
        _table("By model", "Model", statement.by_model, statement.usage, shown),
        _quantities(statement),
        _restatements(statement, shown),
        _notes(statement),
        _foot(statement, shown, csv_sha256, draft=draft),
        "</main>\n</body>\n</html>\n",
    ]
    return "".join(parts).encode()


def is_partial(line: CostLine) -> bool:
    """Is its cost that of some of its calls only, since others have no price or are of unknown usage?"""
    return any(getattr(line, name) > 0 for name in NOTES)


# -------------------------------------------------------------------------------------------------------------- blocks
def _head(statement: Statement, name: str, *, draft: bool) -> str:
    first, last = (_date(day) for day in (days_of(statement.month)[0], days_of(statement.month)[-1]))
    what = "Draft of a statement of model usage" if draft else "Statement of model usage"
    called = f'<p class="name">{escape(name)}</p>' if name not in ("", statement.tenant_id) else ""
    warning = f'<p class="draft"><b>Draft.</b> {_closing(statement, draft=True)}</p>\n' if draft else ""
    return (
        f'<header>\n<div><p class="what">{what}</p><h1>{escape(statement.tenant_id)}</h1>{called}</div>\n'
        f'<p class="when">{month_name(statement.month)}<small>{first} to {last}, UTC</small></p>\n</header>\n{warning}'
    )


def _closing(statement: Statement, *, draft: bool) -> str:
    books, day = f"The books of {month_name(statement.month)}", _date(statement.closes_at.date().isoformat())
    if draft:
        return f"{books} are not closed: they close on {day} or later, and until then every figure here may change."
    return f"{books} closed on {day}; what is restated later stands in a later statement."


def _summary(statement: Statement, shown: _Amounts) -> str:
    usage, total = statement.usage, statement.total
    rows = [
        ("", f"Usage of {month_name(statement.month)}", usage.cost if statement.used else ZERO),
        ("", "Restatements of earlier months", statement.restatements.cost if statement.restated else ZERO),
        ("total", f"Total{PARTIAL if is_partial(total) else ''}", total.cost),
    ]
    if total.list_cost != total.cost:
        rows.append(("aside", "At public list prices", total.list_cost))
    lines = "".join(
        f'<div class="{kind}"><dt>{name}</dt><dd>{shown.html(amount)}</dd></div>\n'
        if kind
        else f"<div><dt>{name}</dt><dd>{shown.html(amount)}</dd></div>\n"
        for kind, name, amount in rows
    )
    return (
        f'<section class="sum">\n<div><p class="what">Total</p>\n'
        f'<p class="due"><span class="cur">USD</span>{shown.html(total.cost)}</p></div>\n'
        f"<dl>\n{lines}</dl>\n</section>\n"
    )


def _plot(statement: Statement, shown: _Amounts) -> str:
    """A bar for each day. All coordinates are decimals of two places, worked out without floats."""
    costs = {day: line.cost or ZERO for day, line in statement.by_day.items()}
    most, least = max(ZERO, *costs.values()), min(ZERO, *costs.values())
    step = _step(most - least)
    top, floor = _whole(most / step) * step or step * (not least), -_whole(-least / step) * step
    width, height, left, base = Decimal(680), Decimal(128), Decimal(46), Decimal(18)

    def y(amount: Decimal) -> Decimal:
        return 6 + (height - base - 6) * (top - amount) / (top - floor)

    each = (width - left) / len(costs)
    marks = []
    tick = floor
    while tick <= top:
        weight = "#9aa3ab" if tick == 0 else "#e4e8ea"
        marks.append(
            f'<path d="M{_at(left)} {_at(y(tick))}H{_at(width)}" stroke="{weight}" stroke-width=".7"/>'
            f'<text x="{_at(left - 6)}" y="{_at(y(tick) + Decimal("2.6"))}" text-anchor="end">'
            f"{_tick(tick, step)}</text>\n"
        )
        tick += step
    for number, (day, cost) in enumerate(costs.items()):
        x = left + each * number
        if cost:
            high, low = y(max(cost, ZERO)), y(min(cost, ZERO))
            marks.append(
                f'<rect x="{_at(x + each * Decimal("0.14"))}" y="{_at(high)}" width="{_at(each * Decimal("0.72"))}" '
                f'height="{_at(max(low - high, Decimal("0.6")))}" fill="#1f5f73">'
                f"<title>{_date(day)}: {shown.text(cost)} USD</title></rect>\n"
            )
        marks.append(
            f'<text x="{_at(x + each / 2)}" y="{_at(height - 5)}" text-anchor="middle">{int(day[8:])}</text>\n'
        )
    return (
        '<figure>\n<h2 style="margin-top:0">By day<small>USD</small></h2>\n'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Cost of each day in US dollars">\n'
        f"{''.join(marks)}</svg>\n</figure>\n"
    )


def _table(title: str, what: str, groups: Mapping[str, CostLine], whole: CostLine, shown: _Amounts) -> str:
    if not groups:
        return ""
    order = sorted(groups.items(), key=lambda item: (-(item[1].cost or ZERO), item[0]))
    rows = [_cells(name, line, whole, shown) for name, line in order]
    heads = (what, "Calls", "Input tokens", "Output tokens", "Input cost", "Output cost", "Cost", "Share")
    foot = _cells("Total", whole, whole, shown)
    return f"<section>\n<h2>{title}</h2>\n{_rows(heads, rows, foot)}</section>\n"


def _cells(name: str, line: CostLine, whole: CostLine, shown: _Amounts) -> list[str]:
    share = f"{100 * (line.cost or ZERO) / whole.cost:.1f}&#8201;%" if whole.cost else "&ndash;"
    amounts = [shown.html(amount) for amount in (line.input_cost, line.output_cost, line.cost)]
    return [
        f"{escape(name)}{PARTIAL if is_partial(line) else ''}",
        *(count(n) for n in (line.invocations, line.input_tokens, line.output_tokens)),
        *amounts,
        share,
    ]


def _quantities(statement: Statement) -> str:
    """What else was used of each model, where there is any: the prompt cache and images."""
    kinds: dict[str, Callable[[CostLine], int]] = {
        "Cache read": lambda line: line.cache_read_tokens,
        "Cache write, 5 min": lambda line: line.cache_write_5m_tokens,
        "Cache write, 1 h": lambda line: line.cache_write_1h_tokens,
        "Images made": lambda line: line.images,
        "Images read": lambda line: line.input_images,
        "Failed calls": lambda line: line.failed_invocations,
    }
    used = {name: of for name, of in kinds.items() if any(of(line) for line in statement.by_model.values())}
    groups = {name: line for name, line in statement.by_model.items() if any(of(line) for of in used.values())}
    if not used:
        return ""
    nothing = '<span class="sub">&ndash;</span>'
    rows = [
        [escape(n), *(count(of(line)) if of(line) else nothing for of in used.values())] for n, line in groups.items()
    ]
    foot = ["Total", *(count(of(statement.usage)) for of in used.values())]
    heads = ("Model", *used)
    return (
        "<section>\n<h2>Prompt cache, images, failed calls"
        "<small>in the costs above; failed calls cost nothing</small></h2>\n"
        f"{_rows(heads, rows, foot)}</section>\n"
    )


def _restatements(statement: Statement, shown: _Amounts) -> str:
    title = "<h2>Restatements of earlier months"
    if not statement.restated:
        return f'<section>\n{title}</h2>\n<p class="none">None.</p>\n</section>\n'
    rows = [_restated(dated, shown) for dated in statement.restated]
    whole = statement.restatements
    foot = ["Total", "", "", "", *_changes(whole, shown)]
    heads = ("Day", "Cost centre", "Model", "Restated on", "Calls", "Tokens", "Cost")
    text = f"{title}<small>what changed in months closed before; their statements stay as they are</small></h2>\n"
    return f"<section>\n{text}{_rows(heads, rows, foot, texts=('day', 'text', 'text', 'day'))}</section>\n"


def _restated(dated: DatedLine, shown: _Amounts) -> list[str]:
    line = dated.line
    when = _date(line.restated_at.date().isoformat()) if line.restated_at else ""
    return [_date(dated.day), escape(line.cost_centre), escape(line.model_id), when, *_changes(line, shown)]


def _changes(line: CostLine, shown: _Amounts) -> list[str]:
    tokens = line.input_tokens + line.output_tokens + line.cache_read_tokens
    tokens += line.cache_write_5m_tokens + line.cache_write_1h_tokens
    return [count(line.invocations, signed=True), count(tokens, signed=True), shown.html(line.cost, signed=True)]


def _rows(
    heads: Sequence[str], rows: Iterable[Sequence[str]], foot: Sequence[str], texts: Sequence[str] = ("text",)
) -> str:
    kinds = [f' class="{kind}"' for kind in texts] + [""] * (len(heads) - len(texts))

    def cells(tag: str, values: Sequence[str]) -> str:
        return "".join(f"<{tag}{kind}>{value}</{tag}>" for kind, value in zip(kinds, values, strict=True))

    body = "".join(f"<tr>{cells('td', row)}</tr>\n" for row in rows)
    return (
        f"<table>\n<thead><tr>{cells('th', heads)}</tr></thead>\n<tbody>\n{body}</tbody>\n"
        f"<tfoot><tr>{cells('td', foot)}</tr></tfoot>\n</table>\n"
    )


def _notes(statement: Statement) -> str:
    """What the total does not hold."""
    said = [
        f"<p><b>{count(number)} {'call' if number == 1 else 'calls'}</b>: {text}</p>\n"
        for name, text in NOTES.items()
        if (number := getattr(statement.total, name)) > 0
    ]
    if said:
        said.append("<p>A sum marked <b>partial</b> is of its other calls alone.</p>\n")
    return f'<section class="notes">\n{"".join(said)}</section>\n' if said else ""


def _foot(statement: Statement, shown: _Amounts, csv_sha256: str, *, draft: bool) -> str:
    rounded = f"Amounts are rounded to {_WORDS[shown.decimals]} decimals here. " if shown.rounded else ""
    versions = ", ".join(f"<code>{escape(version)}</code>" for version in statement.price_versions) or "none"
    return (
        f"<footer>\n<p>{_closing(statement, draft=draft)} {rounded}"
        f"Every line, with every decimal, is in statement.csv.</p>\n"
        f"<p>Price book {versions}</p>\n<p>statement.csv, SHA-256 <code>{csv_sha256}</code></p>\n</footer>\n"
    )


# ------------------------------------------------------------------------------------------------- numbers and dates
class _Amounts(NamedTuple):
    """How the amounts of one statement are written."""

    decimals: int
    rounded: bool

    @classmethod
    def of(cls, statement: Statement) -> _Amounts:
        lines = [dated.line for dated in statement.lines]
        found = [amount for line in lines for name in MONEY if (amount := getattr(line, name)) is not None]
        needed = max((2, *map(_decimals, found)))
        sums = (statement.usage.cost, statement.usage.list_cost, statement.restatements.cost)
        largest = max(abs(amount or ZERO) for amount in sums)
        most = next(decimals for below, decimals in MOST_DECIMALS.items() if largest < below)
        return cls(min(needed, most), needed > most)

    def text(self, amount: Decimal, *, signed: bool = False) -> str:
        shown = f"{amount:+,.{self.decimals}f}" if signed else f"{amount:,.{self.decimals}f}"
        return shown.replace("-", "\u2212")

    def html(self, amount: Decimal | None, *, signed: bool = False) -> str:
        """With what is less than a cent set back, so that the eye finds the dollars."""
        if amount is None:
            return '<span class="sub">unknown</span>'
        shown = self.text(amount, signed=signed)
        cents = shown.index(".") + 3
        return f'{shown[:cents]}<span class="sub">{shown[cents:]}</span>' if shown[cents:] else shown


def _decimals(amount: Decimal) -> int:
    exponent = amount.normalize().as_tuple().exponent
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0


def count(number: int, *, signed: bool = False) -> str:
    return (f"{number:+,}" if signed and number else f"{number:,}").replace("-", "\u2212")


def _step(span: Decimal) -> Decimal:
    """The distance between lines, of 1, 2 or 5, so that there are three to seven of them."""
    unit = Decimal(1).scaleb(span.adjusted() - 1) if span else Decimal(1)
    return next(unit * times for times in (1, 2, 5, 10, 20, 50) if unit * times * 5 >= span)


def _whole(number: Decimal) -> Decimal:
    return number.to_integral_value(ROUND_CEILING)


def _tick(amount: Decimal, step: Decimal) -> str:
    return f"{amount:,.{_decimals(step)}f}".replace("-", "\u2212")


def _at(coordinate: Decimal) -> str:
    return f"{coordinate:.2f}"


def month_name(month: str) -> str:
    return f"{_MONTHS[int(month[5:]) - 1]} {month[:4]}"


def _date(day: str) -> str:
    parsed = date.fromisoformat(day)
    return f"{parsed.day} {_MONTHS[parsed.month - 1][:3]} {parsed.year}"


# Not from the locale: a page is the same wherever it is made.
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def _css_text(text: str) -> str:
    """Any text as a string of CSS that cannot end the style it stands in."""
    return '"' + "".join(c if c.isalnum() or c in " .,-" else f"\\{ord(c):06x}" for c in text) + '"'

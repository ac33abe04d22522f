"""Renders a statement as one printable, self-contained HTML page; equal statements give equal bytes.

All amounts have the same number of decimals, so that columns line up and add up: as many as needed, up to six (fewer
if they are large).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, Decimal
from functools import cache
from html import escape
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gateway.costs.cost_lines import MONEY, CostLine
from gateway.pricing.price_book import ZERO
from gateway.statements.statement import Statement, days_of

if TYPE_CHECKING:
    from jinja2 import Template

# Upper bound of the largest amount -> most decimals shown.
MOST_DECIMALS = {Decimal(10_000): 6, Decimal(1_000_000): 4, Decimal("Infinity"): 2}
# Counts of calls that are not in the total, and the reason.
NOTES = {
    "unpriced_invocations": "no price in the price book yet; a later statement restates them once there is one.",
    "unsettled_invocations": "nobody knows what was used, so it is not charged.",
    "open_invocations": "still open when the day was closed; a later statement restates what was used.",
}

TEMPLATE = Path(__file__).with_name("statement.html.jinja")
STYLE = Path(__file__).with_name("statement.css")


def to_html(statement: Statement, csv_sha256: str, name: str = "", *, draft: bool = False) -> bytes:
    """Render the page. It shows the hash of the statement's CSV file, which has every line and every decimal.

    `name` is the tenant's display name. Set `draft` for a month that is not closed; the page then says so.
    """
    shown = _Amounts.of(statement)
    page = _template().render(
        statement=statement,
        csv_sha256=csv_sha256,
        name=name,
        draft=draft,
        shown=shown,
        month=month_name(statement.month),
        days=days_of(statement.month),
        style=STYLE.read_text(encoding="utf-8"),
        plot=_plot(statement, shown),
        quantities=_Quantities.of(statement),
        notes=[(number, text) for note, text in NOTES.items() if (number := getattr(statement.total, note)) > 0],
    )
    return page.encode()


@cache
def _template() -> Template:
    # Only the function that closes months ships it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415
    from markupsafe import Markup  # noqa: PLC0415

    def escaped(value: object) -> Markup:
        # Jinja escapes quotes with other entities than `html`, and earlier pages have those of `html`.
        return value if isinstance(value, Markup) else Markup(escape(str(value)))  # noqa: S704

    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent), autoescape=True, undefined=StrictUndefined, finalize=escaped,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {
        "css": _css_text,
        "day": _date,
        "dearest_first": _dearest_first,
        "is_partial": is_partial,
        "number": count,
        "share": _share,
        "tokens": _tokens,
    }
    return environment.get_template(TEMPLATE.name)


def is_partial(line: CostLine) -> bool:
    """Does the cost cover only some of the calls, since others have no price or unknown usage?"""
    return any(getattr(line, name) > 0 for name in NOTES)


# -------------------------------------------------------------------------------------------------------------- blocks
def _plot(statement: Statement, shown: _Amounts) -> str:
    """An SVG bar chart, one bar per day. Coordinates are computed as Decimal, with two places and no floats."""
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
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Cost of each day in US dollars">\n'
        f"{''.join(marks)}</svg>"
    )


def _dearest_first(groups: Mapping[str, CostLine]) -> list[tuple[str, CostLine]]:
    return sorted(groups.items(), key=lambda item: (-(item[1].cost or ZERO), item[0]))


def _share(line: CostLine, whole: CostLine) -> str:
    """The share of a cost in percent; `whole` must have a cost other than 0."""
    return f"{100 * (line.cost or ZERO) / (whole.cost or ZERO):.1f}"


@dataclass(frozen=True)
class _Quantities:
    """Other usage: prompt cache, images and failed calls; only kinds and models with a count are listed."""

    kinds: Sequence[str]
    models: Mapping[str, Sequence[int]]
    total: Sequence[int]

    @classmethod
    def of(cls, statement: Statement) -> _Quantities | None:
        used = {kind: of for kind, of in _KINDS.items() if any(map(of, statement.by_model.values()))}
        if not used:
            return None
        counts = {model: [of(line) for of in used.values()] for model, line in statement.by_model.items()}
        models = {model: found for model, found in counts.items() if any(found)}
        return cls(list(used), models, [of(statement.usage) for of in used.values()])


_KINDS: dict[str, Callable[[CostLine], int]] = {
    "Cache read": attrgetter("cache_read_tokens"),
    "Cache write, 5 min": attrgetter("cache_write_5m_tokens"),
    "Cache write, 1 h": attrgetter("cache_write_1h_tokens"),
    "Images made": attrgetter("images"),
    "Images read": attrgetter("input_images"),
    "Failed calls": attrgetter("failed_invocations"),
}


def _tokens(line: CostLine) -> int:
    tokens = line.input_tokens + line.output_tokens + line.cache_read_tokens
    return tokens + line.cache_write_5m_tokens + line.cache_write_1h_tokens


# ------------------------------------------------------------------------------------------------- numbers and dates
class _Amounts(NamedTuple):
    """The format of the amounts in one statement."""

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

    def parts(self, amount: Decimal, *, signed: bool = False) -> tuple[str, str]:
        """The text up to its cents, and the rest."""
        shown = self.text(amount, signed=signed)
        cents = shown.index(".") + 3
        return shown[:cents], shown[cents:]

    @property
    def decimals_in_words(self) -> str:
        return {2: "two", 4: "four", 6: "six"}[self.decimals]


def _decimals(amount: Decimal) -> int:
    exponent = amount.normalize().as_tuple().exponent
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0


def count(number: int, *, signed: bool = False) -> str:
    return (f"{number:+,}" if signed and number else f"{number:,}").replace("-", "\u2212")


def _step(span: Decimal) -> Decimal:
    """The distance between grid lines, a multiple of 1, 2 or 5, so that there are three to seven of them."""
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


def _date(day: str | date) -> str:
    parsed = date.fromisoformat(day) if isinstance(day, str) else day
    return f"{parsed.day} {_MONTHS[parsed.month - 1][:3]} {parsed.year}"


# Not from the locale: a page has the same bytes wherever it is made.
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def _css_text(text: str) -> str:
    """Escape text as a CSS string that cannot end the surrounding style."""
    return '"' + "".join(c if c.isalnum() or c in " .,-" else f"\\{ord(c):06x}" for c in text) + '"'

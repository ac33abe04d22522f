"""`gateway prices`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scripts.operate.cli.commands import FILE, Day, Decorated, Group, with_json
from scripts.operate.cli.terminal import Bar, print_json, print_line
from scripts.project.command import CommandFailedError
from scripts.project.words import counted

if TYPE_CHECKING:
    from scripts.operate.prices import Comparison


class Factor(click.ParamType):
    """A factor by which a price may change."""

    name = "NUMBER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            factor = Decimal(value)
        except InvalidOperation:
            factor = Decimal(0)
        if not factor.is_finite() or factor < 1:
            self.fail(f"{value!r} is not a factor: write a number of 1 or more, such as 2.", param, ctx)
        return factor


with_book = click.option("--book", type=FILE, help="Price book; the project's by default.")
with_appended = click.option("--appended", type=FILE, help="Rows appended to it; the project's by default.")
with_day = click.option(
    "--effective-from", type=Day(), metavar="DAY", help="First day of a changed price; today by default."
)


def of_lists(command: Decorated) -> Decorated:
    """The options that name price lists."""
    options: tuple[Callable[[Any], Any], ...] = (
        click.option(
            "--offer", "offers", metavar="FILE|URL", multiple=True,
            help="Offer file of the AWS Price List, or output of `aws pricing get-products`; repeatable. Name"
            " both AmazonBedrock and AmazonBedrockFoundationModels.",
        ),
        click.option(
            "--litellm", type=FILE, help="Wheel or snapshot of litellm: a price list, or a check of the offers."
        ),
        click.option(
            "--allow-factor", type=Factor(), default="2", show_default=True, help="Refuse a change beyond this factor."
        ),
        with_day, with_book, with_appended, with_json,
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.group(cls=Group, example="gateway prices check --overlay overlay.csv")
def prices() -> None:
    """Keep the price book up to date.

    The commands append rows; they never edit or remove one.
    """


@prices.command(example="gateway prices diff --offer index.json")
@of_lists
def diff(
    offers: tuple[str, ...], litellm: Path | None, allow_factor: Decimal, effective_from: date | None,
    book: Path | None, appended: Path | None, as_json: bool,
) -> int:  # fmt: skip
    """Print the prices of a list that the book lacks.

    Exit code 1: a price changes by more than the factor, or a file is unreadable.
    """
    return _compare(offers, litellm, allow_factor, effective_from, book, appended, as_json, append=False)


@prices.command(example="gateway prices refresh --offer index.json --effective-from 2026-12-01")
@of_lists
def refresh(
    offers: tuple[str, ...], litellm: Path | None, allow_factor: Decimal, effective_from: date | None,
    book: Path | None, appended: Path | None, as_json: bool,
) -> int:  # fmt: skip
    """Append the prices of a list that the book lacks.

    If one price is refused, the command appends nothing. Exit code 1: as for `diff`.
    """
    return _compare(offers, litellm, allow_factor, effective_from, book, appended, as_json, append=True)


@prices.command(example="gateway prices profiles --places scripts/generate/price_facts/inference-profiles.csv")
@click.option("--places", type=FILE, required=True, help="CSV of inference profiles and their source regions.")
@click.option("--append", is_flag=True, help="Append the prices to the book.")
@with_day
@with_book
@with_appended
@with_json
def profiles(
    places: Path, append: bool, effective_from: date | None, book: Path | None, appended: Path | None, as_json: bool
) -> None:
    """Price inference profiles as their model in each region.

    The command lists profiles whose model has no price in a region.
    """
    with read():
        from scripts.generate.price_book import BOOK
        from scripts.operate import prices as operation

        book, appended = book or BOOK, appended or operation.APPENDED
        with Bar("pricing profiles"):
            found = operation.profiles(book, places, effective_from or _today())
        if append and found.rows:
            operation.append(book, appended, found.rows)
    if as_json:
        left = [{"profile": place.profile, "region": place.region} for place in found.unpriced]
        print_json({"prices": [row._asdict() for row in found.rows], "unpriced": left, "appended": append})
        return
    for row in found.rows:
        print_line(str(operation.Change(row, None, None)))
    for place in found.unpriced:
        print_line(f"unpriced, no list has its model in this region: {place.profile} {place.region}", "yellow")
    new = "appended" if append else "missing from the book"
    print_line(f"{len(found.rows)} prices {new}, {len(found.unpriced)} unpriced")


@prices.command(example="gateway prices check --overlay overlay.csv")
@click.option("--since", type=FILE, help="Older book: each of its rows must be in this one.")
@click.option("--overlay", type=FILE, help="Private overlay: list its rows that can never price a call.")
@with_book
@with_appended
@with_json
def check(since: Path | None, overlay: Path | None, book: Path | None, appended: Path | None, as_json: bool) -> int:
    """Check the book and a private overlay.

    Every appended row must be in the book. Exit code 1: the command found a fault and printed it.
    """
    with read():
        from scripts.generate.price_book import BOOK
        from scripts.operate import prices as operation

        with Bar("reading prices"):
            found = operation.check(book or BOOK, appended or operation.APPENDED, since, overlay)
    if as_json:
        print_json(found._asdict())
        return 1 if found.wrong else 0
    if found.overlay:
        print_line(found.overlay)
    for line in found.wrong:
        print_line(line, "red", err=True)
    print_line(f"{counted(found.rows, 'row')} of {counted(found.models, 'model')}, version {found.version}")
    return 1 if found.wrong else 0


# ---------------------------------------------------------------------------------------------------------- in between
def _compare(
    offers: tuple[str, ...], litellm: Path | None, factor: Decimal, since: date | None,
    book: Path | None, appended: Path | None, as_json: bool, *, append: bool,
) -> int:  # fmt: skip
    if not (offers or litellm):
        raise click.UsageError("Name a list with --offer or --litellm.", click.get_current_context())
    with read():
        from scripts.generate.price_book import BOOK
        from scripts.operate import prices as operation

        book, appended = book or BOOK, appended or operation.APPENDED
        with Bar("reading price lists") as bar:
            found = operation.compare(book, offers, litellm, factor, since or _today(), bar.update)
        added = 0
        if append and not found.refused and found.found:
            operation.append(book, appended, [change.row for change in found.found])
            added = len(found.found)
    if as_json:
        print_json(_comparison_as_json(found, added))
    else:
        _print_comparison(found, factor, added)
    return 1 if found.refused else 0


def _comparison_as_json(found: Comparison, added: int) -> dict[str, Any]:
    from scripts.operate.prices import left_by_reason

    left = [{"reason": why, "count": count, "names": names} for why, count, names in left_by_reason(found.left)]
    changes = [change.as_json | {"refused": change in found.refused} for change in found.found]
    return {"read": found.read, "changes": changes, "left_out": left, "appended": added}


def _print_comparison(found: Comparison, factor: Decimal, added: int) -> None:
    from scripts.operate.prices import left_by_reason

    for change in found.found:
        if change in found.refused:
            print_line(f"REFUSED {change}", "red")
        else:
            print_line(str(change))
    for why, count, names in left_by_reason(found.left):
        print_line(f"left out, {why} ({count}): {', '.join(names)}", "dim")
    told = f"{counted(found.read, 'price')} read, {len(found.found)} missing from the book, {len(found.left)} left out"
    if found.refused:
        print_line(f"{told}; {len(found.refused)} change by more than {factor}: see --allow-factor", "red", err=True)
    else:
        print_line(told + (f"; {counted(added, 'row')} appended" if added else ""))


@contextmanager
def read() -> Iterator[None]:
    """Ends the command with exit code 1 if a list, a book or an overlay is unreadable."""
    from scripts.generate.price_book import PriceRefusedError

    try:
        yield
    except (PriceRefusedError, ValueError, KeyError, OSError) as error:
        raise CommandFailedError(f"refused: {error}") from error


def _today() -> date:
    return datetime.now(UTC).date()

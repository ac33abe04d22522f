"""`gateway statements`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from scripts.operate.cli.commands import FILE, Group, Month, with_json, with_region
from scripts.operate.cli.terminal import Bar, print_json, print_page
from scripts.project.command import CommandFailedError


@click.group(cls=Group, example="gateway statements verify .dev/lake")
def statements() -> None:
    """Print usage and its cost, and prove both.

    LAKE is a folder, or s3://BUCKET for `statement` and `verify`. Amounts have all their decimals.
    """


@statements.command(example="gateway statements days .dev/lake")
@click.argument("lake", type=FILE)
@with_json
def days(lake: Path, as_json: bool) -> None:
    """Print the costs of each day by cost centre and model."""
    with proven():
        from scripts.operate.statements import costs_in, day_tables, days_as_json

        with Bar("reading costs"):
            found = costs_in(lake)
        if as_json:
            print_json({"days": days_as_json(found)})
        else:
            print_page(day_tables(found))


@statements.command(example="gateway statements statement .dev/lake --month 2026-10 --out statements")
@click.argument("lake")
@click.option("--month", type=Month(), required=True, help="Month of the statements.")
@click.option("--tenant", metavar="TENANT_ID", help="Print the statement of this tenant only.")
@click.option("--out", type=FILE, help="Also write statement.csv and statement.html of each tenant below this folder.")
@click.option("--by", type=click.Choice(["user", "key"]), help="Also divide each statement's usage by user or by key.")
@click.option(
    "--delay-days", type=click.IntRange(min=0), default=3, show_default=True, help="Days until an open month closes."
)
@with_region
@with_json
def statement(
    lake: str, month: str, tenant: str | None, out: Path | None, by: str | None, delay_days: int, as_json: bool
) -> None:
    """Print each tenant's statement of a month.

    An open month appears as a draft.
    """
    with proven():
        from scripts.operate import attributed
        from scripts.operate import statements as operation

        with Bar("reading statements"):
            found = [
                (one, closed)
                for one, closed in operation.statements_of(month, operation.objects_of(lake), delay_days)
                if tenant in (None, one.tenant_id)
            ]
        shares = attributed.shares_of(month, by, operation.objects_of(lake)) if by and found else {}
        for one, closed in found if out else ():
            assert out is not None
            operation.write_statement(one, out, closed=closed)
        if as_json:
            shown = [
                operation.statement_as_json(one, closed=closed)
                | ({f"by_{by}": attributed.divided_as_json(one, by, shares.get(one.tenant_id, {}))} if by else {})
                for one, closed in found
            ]
            print_json({"month": month, "statements": shown})
            return
        for one, closed in found:
            page = operation.statement_tables(one, closed=closed)
            if by:
                page = [*page, attributed.divided_table(one, by, shares.get(one.tenant_id, {}))]
            print_page(page)
            print()
        if not found:
            print(f"Nothing was metered in {month}.")


@statements.command(example="gateway statements verify s3://BUCKET")
@click.argument("lake")
@with_region
@with_json
def verify(lake: str, as_json: bool) -> None:
    """Prove all closed months against the costs.

    The command checks every file, link and sum. Exit code 1: a check failed; the message names the first.
    """
    with proven():
        from scripts.operate.statements import in_words, objects_of, verified

        with Bar("verifying every closed month"):
            found = verified(objects_of(lake))
        if as_json:
            print_json(asdict(found))
        else:
            print(in_words(found), end="")


@contextmanager
def proven() -> Iterator[None]:
    """Ends the command with exit code 1 if the lake is missing or fails a check."""
    from gateway.statements.statement import StatementError
    from scripts.operate.statements import NoLake, UnreadableFileError

    try:
        yield
    except (StatementError, NoLake, UnreadableFileError) as error:
        raise CommandFailedError(str(error)) from error

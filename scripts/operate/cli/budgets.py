"""`gateway budgets`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from scripts.operate.cli.commands import Decorated, Group
from scripts.operate.cli.tenants import admin_api, answered, of_an_api
from scripts.operate.cli.terminal import print_json, print_line


def of_a_budget(command: Decorated) -> Decorated:
    """The argument and options that name one budget."""
    for option in (
        click.option(
            "--window", type=click.Choice(["day", "week", "month", "total"]), required=True, help="Its window."
        ),
        click.option("--model", metavar="MODEL", help="Its model, or the pattern in its scope."),
        click.option("--cost-centre", metavar="NAME", help="Its cost centre."),
        click.option("--key", metavar="KEY_ID", help="Its key."),
        click.option("--user", metavar="USER", help="Its user."),
        click.argument("tenant"),
    ):
        command = option(command)
    return command


@click.group(cls=Group, example="gateway budgets reset my-team --user alice --window day --local")
def budgets() -> None:
    """Lend to a budget, or begin it anew.

    Both call the admin API, signed with your AWS credentials, and are audited. The tenants file sets the limits.
    """


@budgets.command(example='gateway budgets lend my-team --user alice --window day --usd 50 --until "2026-12-04 18:00"')
@of_a_budget
@click.option("--usd", metavar="USD", required=True, help="USD above its limit; 0 ends a loan.")
@click.option(
    "--until", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%SZ"]), required=True,
    metavar="TIME", help="End of the loan, in UTC, such as 2026-12-04 18:00.",
)  # fmt: skip
@of_an_api
def lend(
    tenant: str, user: str | None, key: str | None, cost_centre: str | None, model: str | None, window: str,
    usd: str, until: datetime, stack: str | None, url: str | None, region: str | None, local: str | None,
    as_json: bool,
) -> int:  # fmt: skip
    """Lend USD to one budget until a time."""
    loan = {"usd": usd, "until": f"{until.replace(tzinfo=UTC):%Y-%m-%dT%H:%M:%SZ}"}
    body = {"scope": _scope(user, key, cost_centre, model), "window": window} | loan
    with answered():
        made = admin_api(stack, url, region, local).change_budget(tenant, "loans", body)
    _print(made, f"{usd} USD lent to {tenant} until {loan['until']}", as_json)
    return 0


@budgets.command(example="gateway budgets reset my-team --user alice --window day --local")
@of_a_budget
@of_an_api
def reset(
    tenant: str, user: str | None, key: str | None, cost_centre: str | None, model: str | None, window: str,
    stack: str | None, url: str | None, region: str | None, local: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Begin one budget anew within its period."""
    body = {"scope": _scope(user, key, cost_centre, model), "window": window}
    with answered():
        made = admin_api(stack, url, region, local).change_budget(tenant, "resets", body)
    _print(made, f"the budget of {tenant} begins anew", as_json)
    return 0


def _scope(user: str | None, key: str | None, cost_centre: str | None, model: str | None) -> dict[str, str]:
    named = {"user": user, "key": key, "cost_centre": cost_centre, "model": model}
    return {name: text for name, text in named.items() if text}


def _print(tenant: dict[str, Any], sentence: str, as_json: bool) -> None:
    if as_json:
        print_json({name: tenant.get(name, []) for name in ("tenant_id", "version", "loans", "resets")})
    else:
        print_line(f"{sentence}; the record is at version {tenant['version']}", "green")

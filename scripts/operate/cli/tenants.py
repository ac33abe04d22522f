"""`gateway tenants`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scripts.operate.cli.commands import (
    FILE,
    Decorated,
    Group,
    local_data,
    with_json,
    with_local,
    with_region,
    with_stack,
)
from scripts.operate.cli.terminal import Bar, print_json, print_line, print_yaml
from scripts.project.command import CommandFailedError, WrongUse

if TYPE_CHECKING:
    from scripts.operate.admin_api import AdminApi
    from scripts.operate.tenants import Change

STYLES = {"+": "green", "~": "yellow", "-": "red", "!": "bold"}


def of_an_api(command: Decorated) -> Decorated:
    """The options that name an admin API."""
    options: tuple[Callable[[Any], Any], ...] = (
        with_stack("ApiUrl", default=None),
        click.option("--url", metavar="URL", help="Address of the API with its stage, instead of a stack."),
        click.option(
            "--region", metavar="REGION", help="Region of the API; by default from its address, or AWS_REGION."
        ),
        with_local,
        with_json,
    )
    for option in reversed(options):
        command = option(command)
    return command


def of_a_table(command: Decorated) -> Decorated:
    """The options that name a tenants table."""
    options: tuple[Callable[[Any], Any], ...] = (
        click.option("--label", metavar="TEXT", default="first key", show_default=True, help="Label of the key."),
        with_stack("TenantsTableName", default=None),
        click.option("--table", metavar="TABLE", help="Tenants table, instead of a stack; TENANTS_TABLE by default."),
        with_region,
        with_json,
    )
    for option in reversed(options):
        command = option(command)
    return command


with_prune = click.option(
    "--prune", is_flag=False, flag_value="suspend", type=click.Choice(["suspend", "delete"]),
    metavar="[suspend|delete]",
    help="Also suspend (or delete) tenants and users missing from FILE, and revoke keys that it does not list.",
)  # fmt: skip


@click.group(cls=Group, example="gateway tenants plan -f examples/tenants.yaml --local")
def tenants() -> None:
    """Apply a file of tenants, users and keys, or add one.

    plan, apply and show call the admin API, signed with your AWS credentials. add and key write to the tenants table.
    """


@tenants.command(example="gateway tenants plan -f examples/tenants.yaml --local")
@click.option("-f", "--file", type=FILE, required=True, help="Tenants, as in examples/tenants.yaml.")
@with_prune
@of_an_api
def plan(
    file: Path,
    prune: str | None,
    stack: str | None,
    url: str | None,
    region: str | None,
    local: str | None,
    as_json: bool,
) -> int:
    """Print what `apply` would change."""
    with answered():
        found = _changes(admin_api(stack, url, region, local), file, prune)
        if as_json:
            print_json(_as_json(found))
        else:
            _print_changes(found)
    return 0


@tenants.command(example="gateway tenants apply -f examples/tenants.yaml --local --keys-out new-keys.jsonl")
@click.option("-f", "--file", type=FILE, required=True, help="Tenants, as in examples/tenants.yaml.")
@click.option("--keys-out", type=FILE, help="Append new keys to this file instead of printing them to stdout.")
@with_prune
@of_an_api
def apply(
    file: Path, keys_out: Path | None, prune: str | None,
    stack: str | None, url: str | None, region: str | None, local: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Bring the gateway's tenants to the state of the file.

    The command prints a new key once, as one line of JSON; nothing can read it again. Exit code 1: some changes failed;
    apply again.
    """
    from scripts.operate import tenants as operation

    made: list[dict[str, str]] = []
    faults: list[str] = []
    with answered():
        api = admin_api(stack, url, region, local)
        found = _changes(api, file, prune)
        if not as_json:
            _print_changes(found)
        sink = made.append if as_json else _print_key
        if keys_out and any(change.make for change in found):
            sink = operation.key_file(keys_out)
        try:
            # The command prints keys as they are created, so it shows a bar only if they go elsewhere.
            with _bar("applying", shown=as_json or keys_out is not None or not sys.stdout.isatty()) as progress:
                faults = operation.apply(api, found, operation.Keys(sink), progress)
        finally:
            if as_json:  # also on Ctrl-C, so that no new key is lost
                print_json(_as_json(found) | {"keys": made, "faults": faults})
        for fault in faults:
            print_line(fault, "red", err=True)
    return 1 if faults else 0


@tenants.command(example="gateway tenants show --local")
@click.option("-f", "--file", type=FILE, help="Show only this file's tenants.")
@of_an_api
def show(
    file: Path | None, stack: str | None, url: str | None, region: str | None, local: str | None, as_json: bool
) -> int:
    """Print the gateway's tenants in the form of the file (YAML)."""
    with answered():
        from scripts.operate.tenants import current
        from scripts.operate.tenants_file import read

        named = {tenant.tenant_id for tenant in read(file)} if file else None
        with _bar("reading tenants") as progress:
            found = current(admin_api(stack, url, region, local), named, progress)
        if as_json:
            print_json(found)
        else:
            print_yaml(found)
    return 0


@tenants.command(example="gateway tenants add my-team --cost-centre research --stack model-gateway")
@click.argument("tenant_id")
@click.option("--name", metavar="TEXT", default="", help="Display name; the tenant's id by default.")
@click.option(
    "--cost-centre", "cost_centres", metavar="ID", multiple=True, help="Repeatable; the first is the default."
)
@of_a_table
def add(
    tenant_id: str,
    name: str,
    cost_centres: tuple[str, ...],
    label: str,
    stack: str | None,
    table: str | None,
    as_json: bool,
) -> int:
    """Add one tenant, and print its first key once."""
    with answered():
        from scripts.operate import tenants as operation

        made = operation.add(operation.table_of(stack, table), tenant_id, name, cost_centres, label)
        _print_one(made, tenant_id, label, as_json)
    return 0


@tenants.command(example="gateway tenants key my-team --label ci --stack model-gateway")
@click.argument("tenant_id")
@of_a_table
def key(tenant_id: str, label: str, stack: str | None, table: str | None, as_json: bool) -> int:
    """Create one more key of a tenant and print it once."""
    with answered():
        from scripts.operate import tenants as operation

        made = operation.another_key(operation.table_of(stack, table), tenant_id, label)
        _print_one(made, tenant_id, label, as_json)
    return 0


# ---------------------------------------------------------------------------------------------------------- in between
@contextmanager
def answered() -> Iterator[None]:
    """Ends the command with the message of a faulty file or of the gateway's refusal."""
    from gateway.core.errors import BadRequestError
    from scripts.operate.admin_api import Refused
    from scripts.operate.tenants_file import WrongFile

    try:
        yield
    except (WrongFile, BadRequestError) as error:
        raise WrongUse(str(error)) from error
    except Refused as error:
        raise CommandFailedError(str(error)) from error


def admin_api(stack: str | None, url: str | None, region: str | None, local: str | None) -> AdminApi:
    from dataclasses import replace

    from scripts.operate.tenants import deployed_api, local_api

    if local is None:
        return deployed_api(stack, url, region)
    found = local_api(local_data(local))
    return replace(found, url=url or found.url, region=region or found.region)


def _changes(api: AdminApi, file: Path, prune: str | None) -> list[Change]:
    from scripts.operate.tenants import changes, issuer_changes
    from scripts.operate.tenants_file import read, read_issuers

    wanted, issuers = read(file), read_issuers(file)
    with _bar("comparing tenants") as progress:
        return [*changes(api, wanted, prune, progress), *issuer_changes(api, issuers)]


@contextmanager
def _bar(what: str, *, shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    if not shown:
        yield lambda _done, _total: None
        return
    with Bar(what) as bar:
        yield bar.update


def _print_changes(found: Sequence[Change]) -> None:
    """Prints the difference for people, to stderr: stdout is for keys."""
    from scripts.operate.tenants import summary

    for change in found:
        for line in change.lines:
            print_line(line, STYLES[line[0]], err=True)
    print_line(summary(found), "bold", err=True)


def _as_json(found: Sequence[Change]) -> dict[str, Any]:
    from scripts.operate.tenants import counted

    return {"changes": [change.as_json for change in found], "counts": counted(found)}


def _print_key(made: dict[str, str]) -> None:
    print(json.dumps(made), flush=True)


def _print_one(made: str, tenant_id: str, label: str, as_json: bool) -> None:
    if as_json:
        print_json({"tenant_id": tenant_id, "label": label, "key": made})
    else:
        print(made, flush=True)

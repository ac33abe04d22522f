"""`gateway migrate`."""

from __future__ import annotations

from pathlib import Path

import click

from scripts.operate.cli.commands import FILE, Command, with_json
from scripts.operate.cli.terminal import print_json, print_line


@click.command(cls=Command, example="gateway migrate setup/configs.json --team-ids team-ids.json")
@click.argument("configs", type=FILE)
@click.option("--team-ids", type=FILE, help='JSON with the team ids of each unit: {"STACK_PREFIX": ["id", ...]}.')
@click.option("--gateway", metavar="NAME", default="", help="Gateway's stack, for units that name an API by its id.")
@with_json
def migrate(configs: Path, team_ids: Path | None, gateway: str, as_json: bool) -> int:
    """Turn the 2024 sample's setup into deployments.

    CONFIGS is its setup/configs.json. The command prints environments of samconfig.toml and the commands that deploy
    them. It lists settings without a counterpart. Exit code 1: a file or a unit is unreadable; the command still prints
    the others.
    """
    from scripts.operate.migrate_2024 import read_and_migrate

    found = read_and_migrate(configs, team_ids, gateway)
    if as_json:
        print_json({"samconfig": found.samconfig, "commands": found.commands, "fault": found.fault or None})
        return int(bool(found.fault))
    if found.samconfig:
        print("# Append this to samconfig.toml:\n\n" + found.samconfig)
    if found.commands:
        print("# Then run:\n\n" + "\n".join(found.commands))
    if found.fault:
        print_line(found.fault, "red", err=True)
    return int(bool(found.fault))

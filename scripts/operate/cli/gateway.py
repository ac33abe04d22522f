"""The group `gateway`, its handling of usage errors, and the completion of shells."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click
from click.shell_completion import get_completion_class, shell_complete

from scripts.operate.cli.backfill import backfill
from scripts.operate.cli.budgets import budgets
from scripts.operate.cli.commands import Group
from scripts.operate.cli.connect import connect, token
from scripts.operate.cli.costs import costs
from scripts.operate.cli.focus import focus
from scripts.operate.cli.migrate import migrate
from scripts.operate.cli.prices import prices
from scripts.operate.cli.redrive import redrive
from scripts.operate.cli.statements import statements
from scripts.operate.cli.tenants import tenants
from scripts.operate.cli.verification import verify_deployment
from scripts.project.command import TO_BE_PUT_RIGHT, WrongUse, run

NAME = "gateway"
COMPLETE = "_GATEWAY_COMPLETE"  # click's name of the variable with which a shell requests completions


@click.group(
    NAME,
    cls=Group,
    example="gateway tenants plan -f examples/tenants.yaml --local",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def gateway() -> None:
    """Operate the model gateway: its tenants, prices, costs and statements.

    Figures go to stdout, progress to stderr. Exit codes: 0 done; 1 the command found a fault or failed; 2 correct the
    arguments, your credentials or the network; 130 interrupted. NO_COLOR turns colours off.
    """


for command in (
    tenants, budgets, prices, costs, statements, backfill, redrive, migrate, verify_deployment, focus, connect, token,
):  # fmt: skip
    gateway.add_command(command)


@gateway.command(example="gateway completion bash > ~/.gateway-completion; echo '. ~/.gateway-completion' >> ~/.bashrc")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    For zsh, append to ~/.zshrc instead; for fish, write to ~/.config/fish/completions/gateway.fish. It completes
    `gateway` and `.venv/bin/gateway`.
    """
    found = get_completion_class(shell)
    if found is None:
        raise WrongUse(f"click has no completion for {shell}.")
    print(found(gateway, {}, NAME, COMPLETE).source())


def main(arguments: Sequence[str]) -> int:
    """Run the arguments after `gateway`, and return the exit code."""
    return run(lambda: _typed(arguments))


def _typed(arguments: Sequence[str]) -> int:
    if instruction := os.environ.get(COMPLETE):
        return shell_complete(gateway, {}, NAME, COMPLETE, instruction)
    # click's own main would turn Ctrl-C and a closed pipe into exit codes of its own.
    try:
        with gateway.make_context(NAME, list(arguments)) as context:
            return int(gateway.invoke(context) or 0)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else NAME
        click.echo(f"{path}: {error.format_message()} See: {path} --help", err=True)
        return TO_BE_PUT_RIGHT

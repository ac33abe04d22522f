"""Parses a `gateway` command line in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from scripts.operate.cli.commands import WithExample
from scripts.operate.cli.gateway import gateway


def parsed(words: Sequence[str]) -> click.Context:
    """The command of the words after `gateway`, with parsed arguments, not run. Raises click.UsageError."""
    context = gateway.make_context("gateway", list(words))
    while isinstance(group := context.command, click.Group):
        name, command, rest = group.resolve_command(context, [*context.protected_args, *context.args])
        assert command is not None
        context = command.make_context(name, rest, parent=context)
    return context


def commands(command: click.Command = gateway, path: tuple[str, ...] = ()) -> Iterator[tuple[str, WithExample]]:
    """Every command with its path, groups before their commands."""
    assert isinstance(command, WithExample)
    yield " ".join(path), command
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from commands(below, (*path, name))

"""A command with its example, and the options that commands share.

Modules of commands import only click; a command imports everything else when it runs, so help is immediate.
"""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

ROOT = Path(__file__).parents[3]
STACK = "model-gateway"
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


# ------------------------------------------------------------------------------------------------------------- commands
class WithExample(click.Command):
    """A command whose help ends in an example that runs unchanged."""

    def __init__(self, *arguments: Any, example: str, **options: Any):
        super().__init__(*arguments, **options)
        self.example = example

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Example"):
            formatter.write(f"{' ' * formatter.current_indent}{self.example}\n")


class Command(WithExample):
    """One command."""


class Group(WithExample, click.Group):
    """Commands of one subject. For a mistyped name it suggests the nearest one."""

    command_class = Command

    def __init__(self, *arguments: Any, no_args_is_help: bool = False, **options: Any):
        super().__init__(*arguments, no_args_is_help=no_args_is_help, **options)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of the source, which is the order of use."""
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not self.no_args_is_help and not ctx.resilient_parsing:
            ctx.fail(f"Name a command: {', '.join(self.list_commands(ctx))}.")
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        names = self.list_commands(ctx)
        if args and args[0] not in names and not ctx.resilient_parsing:
            near = difflib.get_close_matches(args[0], names, 1)
            advice = f"Did you mean {near[0]!r}?" if near else f"Name one of: {', '.join(names)}."
            ctx.fail(f"No such command {args[0]!r}. {advice}")
        return super().resolve_command(ctx, args)


Group.group_class = Group


# --------------------------------------------------------------------------------------------------------------- values
class Day(click.ParamType):
    """A day of the calendar."""

    name = "YYYY-MM-DD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day: write it like 2026-10-31.", param, ctx)


class Month(click.ParamType):
    """A month, as text."""

    name = "YYYY-MM"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return f"{datetime.strptime(value, '%Y-%m').replace(tzinfo=UTC):%Y-%m}"
        except ValueError:
            self.fail(f"{value!r} is not a month: write it like 2026-10.", param, ctx)


class Moment(click.ParamType):
    """A moment; without a zone it is in UTC."""

    name = "MOMENT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time: write it like 2026-10-31T09:30Z.", param, ctx)
        return at if at.tzinfo else at.replace(tzinfo=UTC)


FILE = click.Path(path_type=Path)


# -------------------------------------------------------------------------------------------------------------- options
with_json: Callable[[Decorated], Decorated] = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document; amounts are strings."
)


def with_region(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --region, which applies to every AWS client of the command."""

    @functools.wraps(command)
    def in_region(*arguments: Any, region: str | None, **options: Any) -> Any:
        if region:
            os.environ["AWS_REGION"] = os.environ["AWS_DEFAULT_REGION"] = region
        return command(*arguments, **options)

    return click.option("--region", metavar="REGION", help="AWS region; AWS_REGION by default.")(in_region)


def with_stack(needed_for: str = "", default: str | None = STACK) -> Callable[[Decorated], Decorated]:
    """Adds --stack, the name of the gateway's stack; `needed_for` is the output that the command reads."""
    read = f"; the command reads its output {needed_for}" if needed_for else ""
    help_text = f"CloudFormation stack of the gateway{read}."
    return click.option("--stack", metavar="NAME", default=default, show_default=bool(default), help=help_text)


with_local: Callable[[Decorated], Decorated] = click.option(
    "--local", is_flag=False, flag_value="", default=None, metavar="[FOLDER]", type=str,
    help="Use the local stack in .dev, or in FOLDER.",
)  # fmt: skip


def local_data(folder: str | None = None) -> Path:
    """The folder of the local stack's data: the named one, else .dev here, else the project's .dev."""
    named = folder or os.environ.get("GATEWAY_DEV_DIR")
    if named:
        return Path(named)
    here = Path(".dev")
    return here if here.is_dir() else ROOT / ".dev"

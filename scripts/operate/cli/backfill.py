"""`gateway backfill`."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import click

from scripts.operate.cli.commands import Command, Day, Moment, local_data, with_json
from scripts.operate.cli.terminal import Bar, notice, print_json
from scripts.project.command import CommandFailedError, WrongUse


@click.command(cls=Command, example="gateway backfill 2026-10-01 2026-10-31")
@click.argument("first", type=Day())
@click.argument("last", type=Day())
@click.option(
    "--state-machine", metavar="ARN", help="Output BackfillCostsArn of a deployed gateway; the local stack by default."
)
@click.option("--as-of", type=Moment(), help="Time of an earlier command: retry only its failed windows.")
@click.option("--days", type=click.IntRange(1, 7), default=7, show_default=True, help="Days per run.")
@with_json
def backfill(
    first: date, last: date, state_machine: str | None, as_of: datetime | None, days: int, as_json: bool
) -> None:
    """Aggregate the costs of the days FIRST to LAST again.

    The run reads them from the ledger. It restates a closed day line by line and never rewrites it. Exit code 1: some
    windows failed; the message names the --as-of that retries only these.
    """
    if last < first:
        raise click.UsageError("The last day is before the first.", click.get_current_context())
    from scripts.operate.backfill import BackfillFailed, line_of, region_of

    as_of = as_of or datetime.now(UTC).replace(second=0, microsecond=0)
    with Bar("aggregating windows") as bar:

        def progress(done: int, total: int) -> None:
            bar.update(done, total)
            if not bar.is_shown:
                notice(f"{done} of {total} windows are done")

        try:
            if state_machine:
                import boto3

                states = boto3.client("stepfunctions", region_name=region_of(state_machine))
                done = _run(states, state_machine, first, last, as_of, days, progress)
            else:
                done = _in_local_stack(first, last, as_of, days, progress)
        except BackfillFailed as failed:
            again = f"repeat the command with --as-of {as_of:%Y-%m-%dT%H:%MZ}"
            said = f"{failed}\nTo retry only the failed windows: {again}"
            raise CommandFailedError(said) from failed
    if as_json:
        print_json({"as_of": as_of, "windows": done})
        return
    for window in done:
        print(line_of(window), flush=True)
    if not done:
        print("Nothing left to do.")


def _run(states: Any, machine: str, first: date, last: date, as_of: datetime, days: int, progress: Any) -> list[Any]:
    from scripts.operate import backfill as operation

    return operation.backfill(states, machine, first, last, as_of, days, tell=notice, progress=progress)


def _in_local_stack(first: date, last: date, as_of: datetime, days: int, progress: Any) -> list[Any]:
    from scripts.dev.stack import StackError, attach_or_start

    try:
        with attach_or_start(local_data()) as stack:
            machine = stack.info["state_machines"]["BackfillCosts"]
            return _run(stack.client("stepfunctions"), machine, first, last, as_of, days, progress)
    except StackError as error:
        raise WrongUse(f"The local stack: {error}") from error

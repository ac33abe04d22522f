"""`gateway costs`."""

from __future__ import annotations

import click

from scripts.operate.cli.commands import Command, local_data, with_json
from scripts.operate.cli.terminal import Bar, print_json, print_page
from scripts.project.command import WrongUse


@click.command(cls=Command, example="gateway costs --json")
@with_json
def costs(as_json: bool) -> None:
    """Aggregate and print the local stack's costs.

    The command uses the running stack of `make dev`, or starts one over the data in .dev.
    """
    from datetime import UTC, datetime

    from scripts.dev.stack import StackError, attach_or_start, is_running
    from scripts.operate import costs as operation
    from scripts.operate.statements import costs_in

    data = local_data()
    alone = not is_running(data)
    try:
        with Bar("starting the local stack" if alone else "aggregating") as bar, attach_or_start(data) as stack:

            def progress(done: int, total: int) -> None:
                bar.update(done, total, "aggregating hours")

            notes = operation.aggregate(stack, datetime.now(UTC), alone=alone, progress=progress)
            days, lake = costs_in(stack.lake), stack.lake
    except StackError as error:
        raise WrongUse(f"The local stack: {error}") from error
    if as_json:
        print_json(operation.as_json(days, notes, lake))
    else:
        print_page(operation.page(days, notes, lake))

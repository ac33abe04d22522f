"""`gateway redrive`."""

from __future__ import annotations

import click

from scripts.operate.cli.commands import Group, with_json, with_region, with_stack
from scripts.operate.cli.terminal import Bar, print_json, print_line


@click.group(cls=Group, example="gateway redrive list --stack model-gateway")
def redrive() -> None:
    """Retry failed work in a deployed gateway.

    You may repeat every command: a call settles only once, and a run of the costs covers every open hour.
    """


@redrive.command("list", example="gateway redrive list --stack model-gateway")
@with_stack()
@with_region
@with_json
def show(stack: str, as_json: bool) -> None:
    """Count dead letters, and show the newest cost run."""
    from scripts.operate.redrive import Gateway, failures

    with Bar("reading queues and runs"):
        found = failures(Gateway.of(stack))
    run = found.newest_run
    if as_json:
        print_json({"dead_letters": found.dead_letters, "newest_run": run and run._asdict()})
        return
    for what, count in found.dead_letters.items():
        print_line(f"{what}: {count} dead letters", "bold red" if count else "")
    if run is None:
        print_line("The costs have no run yet.")
    else:
        said = f"newest run of the costs: {run.status}, {run.began_at:%Y-%m-%d %H:%M}"
        print_line(said, "" if run.status in {"SUCCEEDED", "RUNNING"} else "bold red")


@redrive.command(example="gateway redrive jobs --stack model-gateway")
@with_stack()
@with_region
@with_json
def jobs(stack: str, as_json: bool) -> None:
    """Move submitted calls back to their queue, to run again."""
    from scripts.operate import redrive as operation

    count = operation.jobs(operation.Gateway.of(stack))
    if as_json:
        print_json({"moved": count})
    else:
        print(f"{count} submitted calls are moving back to their queue")


@redrive.command(example="gateway redrive aggregation --stack model-gateway")
@with_stack()
@with_region
@with_json
def aggregation(stack: str, as_json: bool) -> None:
    """Start the cost aggregations that the scheduler missed."""
    _make_starts(stack, "aggregation", as_json)


@redrive.command(example="gateway redrive reconciliation --stack model-gateway")
@with_stack()
@with_region
@with_json
def reconciliation(stack: str, as_json: bool) -> None:
    """Start the reconciliations that the scheduler missed."""
    _make_starts(stack, "reconciliation", as_json)


@redrive.command(example="gateway redrive failed --stack model-gateway")
@with_stack()
@with_region
@with_json
def failed(stack: str, as_json: bool) -> None:
    """Repeat the last failed cost aggregation."""
    from scripts.operate import redrive as operation

    started = operation.failed(operation.Gateway.of(stack))
    if as_json:
        print_json({"started": started and started._asdict()})
    elif started is None:
        print("No run has failed.")
    else:
        print(f"started {started.execution_arn}, for {started.scheduled_time}")


def _make_starts(stack: str, what: str, as_json: bool) -> None:
    from scripts.operate.redrive import Gateway, starts

    made = []
    with Bar(f"starting {what}") as bar:
        for arn in starts(Gateway.of(stack), what):
            made.append(arn)
            if not as_json:  # immediately, so that the line is out even if a later start fails
                with bar.hidden():
                    print(f"started {arn}", flush=True)
    if as_json:
        print_json({"started": made})
    else:
        print(f"{len(made)} started")

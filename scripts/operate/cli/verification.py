"""`gateway verify-deployment`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from scripts.operate.cli.commands import Command, with_json, with_region, with_stack
from scripts.operate.cli.terminal import Bar, notice, print_json, print_spans
from scripts.project.command import INTERRUPTED, WrongUse

if TYPE_CHECKING:
    from scripts.operate.verify.steps import Result, Step

STYLES = {"ok": "green", "failed": "bold red", "not asked": "yellow"}


class Steps(click.ParamType):
    """Names of steps, separated by commas."""

    name = "STEP,…"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Completes the steps that are not named yet, each after those that are."""
        from scripts.operate.verify.verification import NAMES

        named, comma, begun = incomplete.rpartition(",")
        left = (name for name in NAMES if name not in named.split(",") and name.startswith(begun))
        return [CompletionItem(f"{named}{comma}{name}") for name in left]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        from scripts.operate.verify.verification import NAMES, unknown

        names = [name.strip() for name in value.split(",")] if isinstance(value, str) else list(value)
        if wrong := unknown(names):
            self.fail(f"unknown step {', '.join(wrong)}: name one of {', '.join(NAMES)}.", param, ctx)
        return names


@click.command("verify-deployment", cls=Command, example="gateway verify-deployment --stack model-gateway --import")
@with_stack()
@click.option("--api-url", metavar="URL", default="", help="Address of the API; the stack's output ApiUrl by default.")
@click.option("--key", default="", help="Tenant's key to call with, instead of a tenant created for this run.")
@click.option(
    "--model", metavar="MODEL_ID", default="", help="Model to call; a cheap model of the gateway's list by default."
)
@click.option("--import", "with_import", is_flag=True, help="Also import openapi.yaml into API Gateway, as a trial.")
@click.option("--only", type=Steps(), help="Run these steps only; separate their names with commas.")
@click.option("--without", type=Steps(), help="Run all steps except these.")
@click.option(
    "--alarm-wait",
    type=float,
    metavar="SECONDS",
    default=180,
    show_default=True,
    help="How long alarms must stay quiet.",
)
@with_region
@with_json
def verify_deployment(
    stack: str, api_url: str, key: str, model: str, with_import: bool,
    only: list[str] | None, without: list[str] | None, alarm_wait: float, as_json: bool,
) -> int:  # fmt: skip
    """Verify that a deployed gateway works as it must.

    Each line is a step of docs/run/first-deployment.md. The command creates tenants, keys, a usage plan, a queue and a
    subscription while it runs, and removes them again, also on Ctrl-C. Exit code 1: a step failed; 2: the command could
    verify nothing.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    from scripts.operate.verify import verification as operation
    from scripts.operate.verify.deployment import Deployment
    from scripts.operate.verify.steps import Verdict, results

    steps = [step for step in operation.STEPS if only is None or step.name in only]
    found: list[Result] = []
    try:
        # The command blocks signals at times; a thread of the bar would undo that.
        with operation.taking_away() as undo, Bar("verifying", threads=False) as bar:
            deployment = Deployment(stack, undo, api_url, key, model, with_import, alarm_wait)
            operation.must_answer(deployment, steps)
            if only is None:
                notice(operation.COSTS)
            table = None if as_json else Lines(steps)
            for result in results(steps, deployment, frozenset(without or ())):
                found.append(result)
                if table:
                    with bar.hidden():
                        table.print_result(result)
                bar.update(len(found), len(steps))
    except KeyboardInterrupt:
        notice("Stopped; everything created for this run is removed.")
        return INTERRUPTED
    except (ClientError, BotoCoreError, operation.NoGatewayError) as error:
        raise WrongUse(f"Nothing verified: {operation.no_stack(error, stack).rstrip('.')}.") from error
    if as_json:
        print_json([result.as_json for result in found])
    return int(any(result.verdict is Verdict.FAILED for result in found))


class Lines:
    """Prints a line for each result as it arrives, under one head."""

    def __init__(self, steps: Sequence[Step]):
        self._widths = [2, max(len(it.name) for it in steps), max(len(it.proves) for it in steps), len("not asked")]
        print_spans((self._line("", "step", "what it proves", "outcome", "detail"), "bold"))

    def print_result(self, result: Result) -> None:
        line = self._line(f"{result.number:2}", result.name, result.proves, result.verdict.value, result.detail)
        before, verdict = line[: self._outcome_at], result.verdict.value
        print_spans((before, ""), (verdict, STYLES[verdict]), (line[len(before) + len(verdict) :], ""))

    @property
    def _outcome_at(self) -> int:
        return sum(width + 2 for width in self._widths[:3])

    def _line(self, *cells: str) -> str:
        fitted = [cell.ljust(width) for cell, width in zip(cells, self._widths, strict=False)]
        return "  ".join([*fitted, *cells[len(fitted) :]]).rstrip()

"""Asks a deployed gateway whether it is what it has to be: `make verify-deployment ARGS="--stack NAME"`.

Each line is a step of docs/run/first-deployment.md: what it proves, and ok, failed, or not asked with the reason. It
makes tenants, keys, a usage plan, a queue and a subscription for as long as it runs, and takes them away again, also
on Ctrl-C; it touches nothing that it did not make. The rows of its calls stay in the ledger, as all rows do.
Exit code: 0, 1 where a step failed, 2 where nothing could be asked.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from scripts.operate.verify.books import aggregation, athena, events
from scripts.operate.verify.calls import admin, arns, call, hang_up, stream, throttle
from scripts.operate.verify.deployment import Deployment, unbroken
from scripts.operate.verify.edge import (
    account,
    alarms,
    authorization,
    environment,
    imported,
    model_enabled,
    stage,
    strangers,
)
from scripts.operate.verify.steps import RUNBOOK, NotAskedError, Result, Step, Verdict, code_of, results, sentence


def by_hand(_: Deployment) -> str:
    raise NotAskedError(f"by hand: {RUNBOOK}")


STEPS = (
    Step(1, "account", "Lambda has room for it", account, needs_stack=False),
    Step(1, "model", "the account has enabled the model", model_enabled),
    Step(2, "import", "API Gateway takes openapi.yaml", imported, needs_stack=False),
    Step(3, "authorization", "each method is guarded as the spec says", authorization),
    Step(4, "stage", "there is one way in", stage),
    Step(4, "environment", "functions are up, their JSON is whole", environment),
    Step(5, "strangers", "no key, no answer", strangers),
    Step(6, "admin", "a signed path with odd letters is read right", admin),
    Step(6, "call", "a call is answered, metered and charged", call),
    Step(7, "arns", "an ARN with %2F finds its route", arns),
    Step(8, "stream", "a stream comes over time", stream),
    Step(8, "hang-up", "whoever hangs up is charged in full", hang_up),
    Step(9, "long calls", "no answer is charged and lost", by_hand),
    Step(10, "throttle", "a usage plan holds one tenant back", throttle),
    Step(11, "aggregation", "the costs are in the lake", aggregation),
    Step(12, "events", "a failed run is told to people", events),
    Step(13, "athena", "finance can read every view", athena),
    Step(14, "release", "a bad release rolls back", by_hand),
    Step(15, "private network", "it runs in a private network, and goes again", by_hand),
    Step(5, "alarms", "wrong keys raise no alarm", alarms),
)
NAMES = [step.name for step in STEPS]
COSTS = (
    "It calls a cheap model four times (some 1,000 tokens), runs AggregateCosts twice and 15 small queries:"
    " a few cents. One run of AggregateCosts fails on purpose: subscribers of the alarm topic get its message."
)


class NoGatewayError(Exception):
    """The stack is of something else."""

    def __init__(self, stack: str):
        super().__init__(f"{stack} is no gateway: the stack has no output ApiId")


class Table:
    """Lines as they come, under one head."""

    def __init__(self, steps: Sequence[Step]):
        self._widths = [2, max(len(it.name) for it in steps), max(len(it.proves) for it in steps), len("not asked")]
        self.line("", "step", "what it proves", "outcome", "detail")

    def line(self, *cells: str) -> None:
        fitted = [cell.ljust(width) for cell, width in zip(cells, self._widths, strict=False)]
        print("  ".join([*fitted, *cells[len(fitted) :]]).rstrip(), flush=True)

    def result(self, result: Result) -> None:
        self.line(f"{result.number:2}", result.name, result.proves, result.verdict, result.detail)


def parsed(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(
        prog="verify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stack", default="model-gateway", help="the gateway's stack (model-gateway)")
    parser.add_argument("--api-url", default="", help="an address of the API to call; the stack's output without it")
    parser.add_argument("--key", default="", help="a tenant's key to call with, instead of a tenant made for this run")
    parser.add_argument("--model", default="", help="the model to call; without it a cheap one that the gateway lists")
    parser.add_argument("--import", dest="with_import", action="store_true", help="import openapi.yaml on trial")
    parser.add_argument("--only", type=steps_of, help="these steps alone, with commas between")
    parser.add_argument("--without", type=steps_of, default=[], help="all but these steps")
    parser.add_argument("--alarm-wait", type=float, default=180, help="seconds that alarms must stay quiet (180)")
    parser.add_argument("--json", action="store_true", help="the results as JSON, and no table")
    return parser.parse_args(arguments)


def steps_of(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in NAMES]:
        raise argparse.ArgumentTypeError(f"there is no step {', '.join(unknown)}: there are {', '.join(NAMES)}")
    return names


def main(arguments: Sequence[str] | None = None) -> int:
    given = parsed(arguments)
    if region := os.environ.get("AWS_REGION"):  # boto3 reads another name, and SAM CLI both
        os.environ.setdefault("AWS_DEFAULT_REGION", region)
    steps = [step for step in STEPS if given.only is None or step.name in given.only]
    try:
        with taking_away() as undo:
            deployment = Deployment(
                given.stack, undo, given.api_url, given.key, given.model, given.with_import, given.alarm_wait
            )
            found = asked(deployment, steps, given)
    except KeyboardInterrupt:
        print("Stopped; what was made for this run is taken away.", file=sys.stderr)
        return 130
    except (ClientError, BotoCoreError, NoGatewayError) as error:
        print(f"Nothing is verified: {no_stack(error, given.stack)}.", file=sys.stderr)
        return 2
    if given.json:
        print(json.dumps([result.as_json for result in found], indent=1))
    return int(any(result.verdict is Verdict.FAILED for result in found))


@contextmanager
def taking_away() -> Iterator[ExitStack]:
    """What is put on it is undone however this ends, and a second Ctrl-C waits until it is."""
    with unbroken(), ExitStack() as undo:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            yield undo
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})


def asked(deployment: Deployment, steps: Sequence[Step], given: Any) -> list[Result]:
    """All results. Raises what boto3 raises where there is no stack to ask, or no way to AWS."""
    if any(step.needs_stack for step in steps):
        if "ApiId" not in deployment.outputs:
            raise NoGatewayError(deployment.stack)
    else:
        deployment.client("sts").get_caller_identity()
    if given.only is None:
        deployment.tell(COSTS)
    table = None if given.json else Table(steps)
    found = []
    for result in results(steps, deployment, frozenset(given.without)):
        found.append(result)
        if table:
            table.result(result)
    return found


def no_stack(error: Exception, stack: str) -> str:
    if isinstance(error, ClientError) and code_of(error) == "ValidationError" and "does not exist" in str(error):
        return f"there is no stack {stack} in this account and region: name it by --stack"
    return sentence(error)


def stop(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    sys.exit(main())

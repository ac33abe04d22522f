"""All steps that verify a deployed gateway, and their run: `gateway verify-deployment`.

Each is a step of docs/run/first-deployment.md. They create temporary tenants, keys, a usage plan, a queue and a
subscription, and delete them at the end, also after Ctrl-C; they change no other resources. The rows of their calls
stay in the ledger, as all rows do.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from botocore.exceptions import ClientError

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
from scripts.operate.verify.steps import RUNBOOK, NotAskedError, Step, code_of, sentence


def by_hand(_: Deployment) -> str:
    raise NotAskedError(f"by hand: {RUNBOOK}")


STEPS = (
    Step(1, "account", "Lambda's concurrency is sufficient", account, needs_stack=False),
    Step(1, "model", "the account has enabled the model", model_enabled),
    Step(2, "import", "API Gateway accepts openapi.yaml", imported, needs_stack=False),
    Step(3, "authorization", "each method's authorization matches the spec", authorization),
    Step(4, "stage", "the API has one stage", stage),
    Step(4, "environment", "functions are active with valid JSON settings", environment),
    Step(5, "strangers", "calls without a valid key get 401", strangers),
    Step(6, "admin", "a signed path with special characters works", admin),
    Step(6, "call", "a call is answered, metered and charged", call),
    Step(7, "arns", "an ARN with %2F reaches its route", arns),
    Step(8, "stream", "a stream arrives over time", stream),
    Step(8, "hang-up", "a hang-up is charged in full", hang_up),
    Step(9, "long calls", "no charged answer is lost", by_hand),
    Step(10, "throttle", "a usage plan throttles one tenant", throttle),
    Step(11, "aggregation", "the costs are in the lake", aggregation),
    Step(12, "events", "a failed run is reported", events),
    Step(13, "athena", "finance can read every view", athena),
    Step(14, "release", "a bad release rolls back", by_hand),
    Step(15, "private network", "it runs in a private network, and can be deleted", by_hand),
    Step(5, "alarms", "wrong keys raise no alarm", alarms),
)
NAMES = [step.name for step in STEPS]
COSTS = (
    "It calls a cheap model four times (some 1,000 tokens), runs AggregateCosts twice and 15 small queries:"
    " a few cents. One run of AggregateCosts fails on purpose: subscribers of the alarm topic get its message."
)


class NoGatewayError(Exception):
    """The stack is not a gateway."""

    def __init__(self, stack: str):
        super().__init__(f"{stack} is not a gateway: the stack has no output ApiId")


def unknown(names: Sequence[str]) -> list[str]:
    return [name for name in names if name not in NAMES]


@contextmanager
def taking_away() -> Iterator[ExitStack]:
    """Runs the registered callbacks however this ends; a second Ctrl-C waits until they are done."""
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        with unbroken(), ExitStack() as undo:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
            try:
                yield undo
            finally:
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def must_answer(deployment: Deployment, steps: Sequence[Step]) -> None:
    """Raises boto3's errors if the stack is missing or AWS unreachable; NoGatewayError for another stack."""
    if any(step.needs_stack for step in steps):
        if "ApiId" not in deployment.outputs:
            raise NoGatewayError(deployment.stack)
    else:
        deployment.client("sts").get_caller_identity()


def no_stack(error: Exception, stack: str) -> str:
    if isinstance(error, ClientError) and code_of(error) == "ValidationError" and "does not exist" in str(error):
        return f"this account and region have no stack {stack}: name it with --stack"
    return sentence(error)

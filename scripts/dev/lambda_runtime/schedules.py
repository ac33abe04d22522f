"""Runs functions that are scheduled at a rate. `make costs` runs the scheduled state machine."""

from __future__ import annotations

import json
import logging
import re
import threading
from typing import Any

from scripts.dev.lambda_runtime.pool import FunctionHost
from scripts.project.template import Function, StateMachine

logger = logging.getLogger(__name__)
_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_SECONDS = {"minute": 60, "hour": 3600, "day": 86400}
_KINDS = {"ScheduleV2": "ScheduleExpression", "Schedule": "Schedule"}


def interval(expression: str) -> int | None:
    """The seconds of a rate expression; None for any other."""
    match = _RATE.fullmatch(expression.strip())
    return int(match[1]) * _SECONDS[match[2]] if match else None


class Schedules:
    """Runs due schedules until stopped."""

    def __init__(self, functions: FunctionHost):
        self._functions = functions
        self._stopped = threading.Event()

    def start(self, functions: dict[str, Function], machines: dict[str, StateMachine]) -> None:
        for logical_id, function in functions.items():
            for source in function.events:
                if source.kind in _KINDS:
                    expression = str(source.properties[_KINDS[source.kind]])
                    if (seconds := interval(expression)) is None:
                        logger.warning("%s: the local stack does not run %s", logical_id, expression)
                        continue
                    event = json.loads(source.properties.get("Input") or "{}")
                    threading.Thread(target=self._run, args=(logical_id, seconds, event), daemon=True).start()
        for logical_id, machine in machines.items():
            for source in machine.events:
                if source.kind in _KINDS:
                    other_way = "; `make costs` runs it" if logical_id == "AggregateCosts" else ""
                    logger.warning("%s: not run on its schedule here%s", logical_id, other_way)

    def stop(self) -> None:
        self._stopped.set()

    def _run(self, function: str, seconds: int, event: Any) -> None:
        while not self._stopped.wait(seconds):
            try:
                self._functions.invoke(function, event)
            except Exception as error:
                logger.warning("%s: a scheduled run failed: %s", function, type(error).__name__)

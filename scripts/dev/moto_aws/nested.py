"""State machines that start others and wait for them: moto knows how, but not that botocore writes names otherwise."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any


def mend_nested_executions() -> None:
    """Let `states:startExecution.sync:2` run in this process."""
    # Imports an interpreter of state machines: a second, which only who needs it pays.
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_sfn

    service = state_task_service_sfn.StateTaskServiceSfn
    normalise = service._normalise_parameters
    if normalise.__module__ == __name__:
        return

    def parameters(self: Any, parameters: dict[str, Any], *more: Any, **named: Any) -> None:
        normalise(self, parameters, *more, **named)
        _rename(parameters, str.lower)

    def response(self: Any, response: Any, *_: Any, **__: Any) -> None:
        _rename(response, str.upper)

    for mended in (parameters, response):
        setattr(service, f"_normalise_{mended.__name__}", mended)


def _rename(names: dict[str, Any], first: Callable[[str], str]) -> None:
    for name in list(names):
        value = names.pop(name)
        names[first(name[0]) + name[1:]] = value.isoformat() if isinstance(value, datetime) else value

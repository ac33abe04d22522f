"""The state machines; that of the costs with every hour before 2026-11-24 done."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from moto.awslambda.models import LambdaFunction
from moto.core.config import default_user_config

from tests.workflow.machine import Machine, Workflow


@pytest.fixture
def behind_lambda(aws: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[Machine], None]:
    """Let a machine's handlers be what runs when the AWS of this process invokes a function."""
    monkeypatch.setitem(default_user_config, "stepfunctions", {"execute_state_machine": True})

    def put(machine: Machine) -> None:
        monkeypatch.setattr(LambdaFunction, "_invoke_lambda", lambda self, event=None: machine.invoke(self, event))

    return put


@pytest.fixture
def workflow(behind_lambda: Callable[[Machine], None]) -> Workflow:
    made = Workflow()
    made.periods.advance("2026-11-23T23")
    behind_lambda(made)
    return made

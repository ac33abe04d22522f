"""The workflow, with every hour before 2026-11-24 done."""

from __future__ import annotations

import pytest
from moto.awslambda.models import LambdaFunction
from moto.core.config import default_user_config

from tests.workflow.machine import Workflow


@pytest.fixture
def workflow(aws: None, monkeypatch: pytest.MonkeyPatch) -> Workflow:
    monkeypatch.setitem(default_user_config, "stepfunctions", {"execute_state_machine": True})
    made = Workflow()
    made.periods.advance("2026-11-23T23")
    monkeypatch.setattr(LambdaFunction, "_invoke_lambda", lambda self, event=None: made.invoke(self, event))
    return made

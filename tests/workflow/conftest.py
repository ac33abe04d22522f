"""The state machines; in the one for costs every hour before 2026-11-24 is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import boto3
import pytest
from moto.awslambda.models import LambdaFunction
from moto.core.config import default_user_config

from gateway.aws.s3 import price_overlay
from gateway.core.settings import settings
from gateway.pricing.price_csv import COLUMNS
from tests.workflow.machine import SONNET, Machine, Workflow

Agree = Callable[[str], None]


@pytest.fixture
def behind_lambda(aws: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[Machine], None]:
    """Make this process's AWS run a machine's handlers when it invokes a function."""
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


@pytest.fixture
def agree(aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agree]:
    """Set an agreed price of Sonnet's input, in USD a million, in an overlay for every step."""
    boto3.client("s3").create_bucket(Bucket="prices")

    def agree(usd: str) -> None:
        text = f"{','.join(COLUMNS)}\n{SONNET},us-east-1,default,input_tokens,{usd},1000000,2020-01-01,contract 7\n"
        boto3.client("s3").put_object(Bucket="prices", Key="ours.csv", Body=text.encode())

    agree("2")
    monkeypatch.setenv("PRICE_OVERLAY", "s3://prices/ours.csv")
    settings.cache_clear()
    price_overlay._overlay.cache_clear()
    yield agree
    price_overlay._overlay.cache_clear()

"""`gateway costs`, against the state machine in this process."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from gateway.usage.records import Outcome, TokenUsage
from scripts.operate.costs import aggregate
from scripts.operate.statements import costs_in, report
from tests.rows import item
from tests.workflow.machine import MIDNIGHT, Workflow, row


class Stack:
    """The workflow as a local stack."""

    def __init__(self, workflow: Workflow, folder: Path):
        self.workflow, self.lake = workflow, folder
        self.info: dict[str, Any] = {"tables": {"UsageTable": "usage"}}

    def client(self, service: str) -> Any:
        return boto3.client(service)

    def run_state_machine(self, name: str, payload: dict[str, Any]) -> dict[str, Any]:
        assert name == "AggregateCosts"
        output: dict[str, Any] = self.workflow.run_with(payload)
        for key in self.workflow.files():
            (self.lake / key).parent.mkdir(parents=True, exist_ok=True)
            boto3.client("s3").download_file("lake", key, str(self.lake / key))
        return output


@pytest.fixture
def stack(workflow: Workflow, tmp_path: Path) -> Stack:
    return Stack(workflow, tmp_path)


def test_costs_are_printed_as_finance_reads_them(stack: Stack) -> None:
    keep = stack.workflow.keep
    keep(row("yesterday", -20), input_tokens=1_000_000)
    keep(row("a", 0.1), input_tokens=1000, output_tokens=7)
    keep(row("b", 1.1), input_tokens=500, cache_read_tokens=0)
    keep(row("c", 2.1, model="maker.unheard-of"), input_tokens=5)
    keep(row("d", 2.1), Outcome.FAILED)
    keep(row("e", 2.15), outcome=None)
    aggregate(stack, MIDNIGHT + timedelta(hours=2.2), alone=True)
    assert report(costs_in(stack.lake)) == (
        "2026-11-23\n"
        "team_id   model_id                                 input_tokens  output_tokens  invocations  input_cost  output_cost\n"
        "--------  ---------------------------------------  ------------  -------------  -----------  ----------  -----------\n"
        "research  anthropic.claude-3-sonnet-20240229-v1:0       1000000              0            1        3.00         0.00\n"
        "--------  ---------------------------------------  ------------  -------------  -----------  ----------  -----------\n"
        "total                                                   1000000              0            1        3.00         0.00\n"
        "\n"
        "2026-11-24\n"
        "team_id   model_id                                 input_tokens  output_tokens  invocations  input_cost  output_cost\n"
        "--------  ---------------------------------------  ------------  -------------  -----------  ----------  -----------\n"
        "research  anthropic.claude-3-sonnet-20240229-v1:0          1500              7            2      0.0045     0.000105\n"
        "research  maker.unheard-of                                    5              0            1     unknown      unknown\n"
        "--------  ---------------------------------------  ------------  -------------  -----------  ----------  -----------\n"
        "total                                                      1505              7            3      0.0045     0.000105\n"
        "  1 failed: without usage and without cost\n"
        "  1 unsettled: their usage is unknown, so they are not in the costs\n"
        "  1 unpriced: the price book has no price for them, so they are not in the costs\n"
    )


def test_an_open_row_of_a_running_stack_stays_open(stack: Stack) -> None:
    stack.workflow.keep(row("a", 0.1), outcome=None)
    aggregate(stack, MIDNIGHT + timedelta(hours=0.2), alone=False)
    assert "1 still open: not in the costs yet" in report(costs_in(stack.lake))


def test_rows_in_quarantine_are_told_beside_the_costs(stack: Stack) -> None:
    stack.workflow.keep(row("a", 0.1), input_tokens=1000)
    for name in ("b", "c"):
        spoiled = row(name, 0.1).settle(Outcome.SUCCEEDED, TokenUsage(input_tokens=5), row(name, 0.1).started_at)
        boto3.client("dynamodb").put_item(TableName="usage", Item=item(spoiled) | {"input_tokens": {"N": "-5"}})
    (told,) = aggregate(stack, MIDNIGHT + timedelta(hours=0.2), alone=True)
    assert told.startswith("2 rows are unreadable or implausible: they are in no sum")


def test_days_without_a_row_are_counted_and_have_no_table(stack: Stack) -> None:
    """As a long backfill leaves them: closed, with nothing in them."""
    stack.workflow.keep(row("a"), input_tokens=1000)
    range_of_days = {"first": "2026-11-22T00", "last": "2026-11-24T23"}
    stack.run_state_machine("AggregateCosts", {"scheduledTime": "2026-11-26T00:12:00Z"} | range_of_days)
    printed = report(costs_in(stack.lake))
    assert printed.endswith("\n\nNothing was metered on 2 more days from 2026-11-22 to 2026-11-23.\n")
    assert ("unknown" in printed, printed.count("total")) == (False, 1)


def test_nothing_is_nothing(stack: Stack) -> None:
    aggregate(stack, MIDNIGHT, alone=True)
    assert report(costs_in(stack.lake)) == "Nothing was metered yet.\n"

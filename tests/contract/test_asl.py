"""Every state machine is valid Amazon States Language without unhandled failures; cfn-lint does not check this."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from jsonschema import Draft7Validator

from scripts.check.roles import named, of_state_machines
from scripts.project import quick_yaml
from scripts.project.template import ROOT, STATE_MACHINE, of_type
from tests.contract.contract import TEMPLATE

SCHEMA = json.loads((files("cfnlint") / "data/schemas/other/step_functions/statemachine.json").read_text())
MACHINES = of_type(TEMPLATE, STATE_MACHINE)
ENDS = {"Succeed", "Fail"}
each_machine = pytest.mark.parametrize("name", MACHINES)


def text_of(name: str) -> str:
    uri: str = MACHINES[name]["DefinitionUri"]
    return (ROOT / uri).read_text()


def definition(name: str) -> dict[str, Any]:
    said: dict[str, Any] = quick_yaml.read(re.sub(r"\$\{(\w+)\}", r"\1", text_of(name)))
    return said


def scopes(machine: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The machine, and each nested one of a Map or a Parallel."""
    yield machine
    for state in machine["States"].values():
        for part in within(state):
            yield from scopes(part)


def within(state: dict[str, Any]) -> list[dict[str, Any]]:
    return [*(state[key] for key in ("ItemProcessor", "Iterator") if key in state), *state.get("Branches", ())]


def targets(state: dict[str, Any]) -> set[str]:
    parts = (state, *state.get("Choices", ()), *state.get("Catch", ()))
    return {part[key] for part in parts for key in ("Next", "Default") if key in part}


def test_every_definition_belongs_to_a_state_machine() -> None:
    there = {str(path.relative_to(ROOT)) for path in ROOT.glob("functions/**/*.asl.*")}
    assert there == {machine["DefinitionUri"] for machine in MACHINES.values()}


@each_machine
def test_a_definition_is_one_of_its_schema(name: str) -> None:
    faults = Draft7Validator(SCHEMA).iter_errors(definition(name))
    assert not [f"{'/'.join(map(str, fault.absolute_path))}: {fault.message}" for fault in faults]


@each_machine
def test_every_state_is_reached_and_leads_to_one_that_there_is(name: str) -> None:
    for scope in scopes(definition(name)):
        reached, waiting = set(), [scope["StartAt"]]
        while waiting:
            at = waiting.pop()
            assert at in scope["States"], f"there is no state {at}"
            if at not in reached:
                reached.add(at)
                waiting += targets(scope["States"][at])
        assert reached == scope["States"].keys()


@each_machine
def test_every_state_goes_on_or_ends(name: str) -> None:
    for scope in scopes(definition(name)):
        for at, state in scope["States"].items():
            ways = [key for key in ("Next", "End", "Choices") if key in state]
            assert len(ways) == (0 if state["Type"] in ENDS else 1), f"{at} has {ways}"


@each_machine
def test_every_task_is_tried_again_and_its_failure_is_caught(name: str) -> None:
    for scope in scopes(definition(name)):
        for at, state in scope["States"].items():
            if state["Type"] == "Task":
                assert state.get("Retry"), f"{at} is not tried again"
                assert "States.ALL" in [error for caught in state["Catch"] for error in caught["ErrorEquals"]], at
            inner = [
                one["Type"] for part in within(state) for scope in scopes(part) for one in scope["States"].values()
            ]
            if "Fail" in inner:
                assert state.get("Catch"), f"a failure within {at} is not caught"


@each_machine
def test_what_a_definition_leaves_open_is_what_the_template_fills_in(name: str) -> None:
    left_open = set(re.findall(r"\$\{(\w+)\}", text_of(name)))
    assert left_open == MACHINES[name]["DefinitionSubstitutions"].keys()


@each_machine
def test_a_machine_may_invoke_and_start_what_it_names_and_nothing_else(name: str) -> None:
    machine, text = MACHINES[name], text_of(name)
    called = {
        (action, named(machine["DefinitionSubstitutions"][key]))
        for action, key in [
            *(("lambda:InvokeFunction", key) for key in re.findall(r'FunctionName: "?\$\{(\w+)\}', text)),
            *(("states:StartExecution", key) for key in re.findall(r'StateMachineArn: "?\$\{(\w+)\}', text)),
        ]
    }
    if "Mode: DISTRIBUTED" in text:  # each of its parts is an execution of the machine itself
        arn = f"arn:aws:states:us-east-1:123456789012:stateMachine:{named(machine['Name'])}"
        called.add(("states:StartExecution", arn))
    allowed = {(grant.action, grant.resource) for grant in of_state_machines(TEMPLATE)[name]}
    assert {
        (action, what) for action, what in allowed if action in {"lambda:InvokeFunction", "states:StartExecution"}
    } == called

"""events/: every function and every operation of the spec has one, and each equals the local stack's event."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.deploy.events import Case, cases, folder_of
from scripts.dev.api_gateway.events import Call, authorizer_event, proxy_event
from scripts.dev.api_gateway.routes import Spec
from scripts.dev.http_server import Request
from scripts.dev.lambda_runtime.sqs_events import sqs_event
from scripts.project import quick_yaml
from scripts.project.template import ROOT, DeclaredFunction, Template
from tests.contract.contract import FUNCTIONS, OPERATIONS, Operation

SPEC = Spec(ROOT / "openapi.yaml", Template(ROOT / "template.yaml", {}).resolve)
CASES = cases()
OF_THE_API = [case for case in CASES if "requestContext" in case.event]
PROXIED = [case for case in OF_THE_API if "methodArn" not in case.event]
AUTHORIZED = [case for case in OF_THE_API if "methodArn" in case.event]
SENT = {"x-amzn-trace-id", "x-forwarded-for", "x-forwarded-port", "x-forwarded-proto"}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=list(FUNCTIONS))
def test_a_function_has_an_event(function: DeclaredFunction) -> None:
    assert [case for case in CASES if case.folder == folder_of(function)]


def test_an_event_is_of_a_function() -> None:
    assert {case.folder for case in CASES} == {folder_of(function) for function in FUNCTIONS.values()}


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_an_operation_has_an_event(operation: Operation) -> None:
    if operation.said["x-amazon-apigateway-integration"]["type"] == "mock":
        return  # no function hears of it
    asked = [(case.event["httpMethod"].lower(), case.event["resource"]) for case in PROXIED]
    assert (operation.method, operation.path) in asked


def call(event: dict[str, Any]) -> Call:
    """An event's request, as the local stack processes it."""
    query = "&".join(f"{name}={value}" for name, value in (event["queryStringParameters"] or {}).items())
    headers = [(name, value) for name, value in event["headers"].items() if name.lower() not in SENT]
    target, body = event["path"] + (f"?{query}" if query else ""), (event.get("body") or "").encode()
    request = Request(event["httpMethod"], target, headers, body, client="203.0.113.7")
    found = SPEC.find(request.method, request.path)
    assert found, f"{request.method} {request.path} is no operation"
    context, told = event["requestContext"], event["requestContext"]["identity"]
    made = Call(request, "v1", "us-east-1", *found, authorizer=context.get("authorizer"))
    made.api_key_id, made.api_key = told["apiKeyId"], told["apiKey"]
    made.identity = {name: told[name] for name in ("accessKey", "accountId", "caller", "user", "userArn") if told[name]}
    return made


def shape(value: Any) -> Any:
    """Names and types, without values."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    return [shape(part) for part in value] if isinstance(value, list) else type(value).__name__


@pytest.mark.parametrize("case", PROXIED, ids=str)
def test_an_event_of_the_api_is_what_api_gateway_sends(case: Case) -> None:
    made = proxy_event(call(case.event))
    assert shape(case.event) == shape(made)
    told = ("resource", "path", "httpMethod", "queryStringParameters", "pathParameters", "body", "isBase64Encoded")
    assert {name: case.event[name] for name in told} == {name: made[name] for name in told}


@pytest.mark.parametrize("case", AUTHORIZED, ids=str)
def test_an_event_of_the_authorizer_is_what_api_gateway_sends(case: Case) -> None:
    made = authorizer_event(call(case.event))
    assert shape(case.event) == shape(made)
    assert case.event["methodArn"].split("/", 1)[1] == made["methodArn"].split("/", 1)[1]


@pytest.mark.parametrize("case", [case for case in PROXIED if case.folder != "manage_tenants"], ids=str)
def test_an_event_of_a_tenants_call_says_who_calls(case: Case) -> None:
    authorizer = case.event["requestContext"]["authorizer"]
    assert json.loads(authorizer["tenant"])["tenant_id"] == authorizer["tenant_id"] == authorizer["principalId"]


def test_an_event_of_the_queue_is_what_sqs_sends() -> None:
    (case,) = (case for case in CASES if case.folder == "complete_invocation")
    (record,) = case.event["Records"]
    message = {
        "MessageId": record["messageId"],
        "ReceiptHandle": record["receiptHandle"],
        "Body": record["body"],
        "MD5OfBody": record["md5OfBody"],
        "Attributes": record["attributes"],
    }
    assert case.event == sqs_event([message], record["eventSourceARN"], record["awsRegion"])


def selected(states: dict[str, Any]) -> set[tuple[str, frozenset[str]]]:
    """The functions called inside a Map, and each one's input."""
    return {
        (inner["Parameters"]["FunctionName"], frozenset(name.removesuffix(".$") for name in state["ItemSelector"]))
        for state in states.values()
        if state["Type"] == "Map"
        for inner in state["ItemProcessor"]["States"].values()
        if "FunctionName" in inner.get("Parameters", ())
    }


@pytest.mark.parametrize("machine", sorted(ROOT.glob("functions/*/statemachine.asl.yaml")), ids=str)
def test_the_event_of_a_step_is_what_its_state_machine_hands_to_it(machine: Path) -> None:
    given = selected(quick_yaml.read(machine.read_text())["States"])
    shown = set()
    for case in CASES:
        folder, _, step = case.folder.partition("/")
        function = f"${{{step.title().replace('_', '')}Function}}"
        if folder == machine.parent.name and function in dict(given):
            shown.add((function, frozenset(case.event)))
    assert shown == given

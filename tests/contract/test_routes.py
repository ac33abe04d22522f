"""From the spec to the template to the handler: every route leads to the only function that handles it."""

from __future__ import annotations

import json
import re
from types import ModuleType
from typing import Any

import pytest
from aws_lambda_powertools.event_handler import APIGatewayRestResolver

from gateway.core.settings import Settings
from gateway.tenancy.rights import RIGHTS
from gateway.web.asgi import Asgi
from scripts.check.roles import of_functions
from scripts.project.template import of_type
from tests.contract.contract import ANY, DELEGATED, FUNCTIONS, MADE, OPERATIONS, SPEC, TEMPLATE, Operation, import_app
from tests.contract.expanded import stack

INVOKE = (
    "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${%s.Arn}${LiveAlias}/invocations"
)
STREAM = (
    "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2021-11-15/functions/${%s.Arn}${LiveAlias}"
    "/response-streaming-invocations"
)
BY_ROUTE = {
    (event["Path"], event["Method"].lower()): name
    for name, function in FUNCTIONS.items()
    for event in function.events("Api")
}
each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=str)


@each_operation
def test_an_operation_leads_to_a_function_of_the_template(operation: Operation) -> None:
    (name,) = re.findall(r"/functions/\$\{(\w+)\.Arn\}\$\{LiveAlias\}/", operation.uri)
    assert name in FUNCTIONS
    assert operation.uri == (STREAM if operation.streams else INVOKE) % name
    integration = operation.said["x-amazon-apigateway-integration"]
    assert (integration["type"], integration["httpMethod"]) == ("aws_proxy", "POST")


@each_operation
def test_the_function_of_an_operation_may_be_called_by_it(operation: Operation) -> None:
    """The event is what gives API Gateway the permission; without it the route answers 500."""
    assert f"${{{BY_ROUTE[operation.path, operation.method]}.Arn}}" in operation.uri


def test_no_function_has_an_event_that_the_spec_does_not_know() -> None:
    assert BY_ROUTE.keys() == {(o.path, o.method) for o in OPERATIONS} | {(DELEGATED, "any")}
    for function in FUNCTIONS.values():
        assert all(event["RestApiId"] == {"Ref": "Api"} for event in function.events("Api"))


@pytest.mark.parametrize("name", sorted(set(BY_ROUTE.values())))
def test_a_handler_knows_exactly_the_routes_of_its_events(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBS_QUEUE_URL", "http://127.0.0.1/jobs")
    module = import_app(FUNCTIONS[name])
    declared = {(method, in_python(path)) for (path, method), owner in BY_ROUTE.items() if owner == name}
    assert known(module) == declared - {("any", in_python(DELEGATED))}


def test_an_operation_has_one_name_in_the_spec_and_in_the_table_of_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    """A role is judged by the name of the route that answers."""
    app = import_app(FUNCTIONS["ManageTenantsFunction"]).app
    named = {(operation.method, in_python(operation.path)): operation.said["operationId"] for operation in OPERATIONS}
    judged = {
        (method.lower(), re.sub(r"<(\w+)>", r"{\1}", route.path)): route.operation_id
        for route in routes(app)
        for method in methods(route)
    }
    assert judged == {place: named[place] for place in judged}
    assert set(RIGHTS) == set(judged.values())


def test_what_is_delegated_leads_to_the_function_of_the_operators_and_only_with_a_key() -> None:
    said, made = SPEC["paths"][DELEGATED], MADE[DELEGATED, "ANY"]
    assert list(said) == [ANY]
    assert made.authorizer is not None
    assert (made.authorization, made.authorizer.name, made.api_key_required) == ("CUSTOM", "TenantKey", True)
    assert said[ANY]["x-amazon-apigateway-integration"] == {
        "type": "aws_proxy",
        "httpMethod": "POST",
        "uri": {"Fn::Sub": INVOKE % "ManageTenantsFunction"},
    }
    assert BY_ROUTE[DELEGATED, "any"] == "ManageTenantsFunction"


def known(module: ModuleType) -> set[tuple[str, str]]:
    """The routes of a function's resolver; the streaming function has it behind its server's application."""
    resolver = module.api if isinstance(module.app, Asgi) else module.app
    assert isinstance(resolver, APIGatewayRestResolver)
    return {
        (method.lower(), re.sub(r"<(\w+)>", r"{\1}", route.path))
        for route in routes(resolver)
        for method in methods(route)
    }


def in_python(path: str) -> str:
    """A path of the spec with Python names for its parameters: `{modelId}` becomes `{model_id}`."""
    return re.sub(r"\{\w+\}", lambda match: re.sub(r"(?=[A-Z])", "_", match[0]).lower(), path)


def routes(app: Any) -> list[Any]:
    """Powertools has no public way to list a resolver's routes."""
    return [*app._static_routes, *app._dynamic_routes]


def methods(route: Any) -> list[str]:
    method = route.method
    return [method] if isinstance(method, str) else list(method)


@pytest.mark.parametrize("operation", [operation for operation in OPERATIONS if operation.streams], ids=str)
def test_an_operation_that_streams_may_take_as_long_as_a_function(operation: Operation) -> None:
    """Without a timeout of its own API Gateway cuts it after 29 seconds."""
    assert operation.said["x-amazon-apigateway-integration"] == {
        "type": "aws_proxy",
        "httpMethod": "POST",
        "responseTransferMode": "STREAM",
        "timeoutInMillis": 900_000,
        "uri": {"Fn::Sub": STREAM % "StreamModelFunction"},
    }


def _timeout(given: dict[str, str]) -> Any:
    """The timeout of /invoke_model's integration in the spec that API Gateway gets."""
    body = stack(**given)["Api"]["Properties"]["Body"]
    return body["paths"]["/invoke_model"]["post"]["x-amazon-apigateway-integration"]["timeoutInMillis"]


def test_api_gateway_waits_for_a_call_as_long_as_its_parameter_says() -> None:
    """By default a number, as the extension's page asks for: CloudFormation makes text of every parameter."""
    assert _timeout({}) == 29_000
    assert isinstance(_timeout({}), int)
    assert _timeout({"IntegrationTimeoutSeconds": "120"}) == "120000"


def test_the_function_behind_it_knows_how_long_that_is() -> None:
    def known(**given: str) -> str | None:
        environment: dict[str, str] = stack(**given)["InvokeModelFunction"]["Properties"]["Environment"]["Variables"]
        return environment.get("INTEGRATION_TIMEOUT_SECONDS")

    assert known() is None
    assert Settings({}).sure_integration_timeout == 29
    assert known(IntegrationTimeoutSeconds="120") == "120"


MODELS = {"bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream", "sagemaker:InvokeEndpoint"}
# What may go on behind a buffered integration after API Gateway has sent the client away, in seconds.
BUFFERED = {
    "ListModelsFunction": 30,
    "ReportUsageFunction": 30,
    "ManageTenantsFunction": 60,
    "InvokeModelFunction": 600,
}


def test_what_a_client_may_be_sent_away_from_is_free_but_for_the_calls_whose_answer_is_kept() -> None:
    resources = stack(InvocationTimeoutSeconds="600")
    behind = {re.findall(r"\$\{(\w+)\.Arn\}", operation.uri)[0] for operation in OPERATIONS if not operation.streams}
    timeouts = {name: int(resources[name]["Properties"]["Timeout"]) for name in behind}
    assert timeouts == BUFFERED
    granted = of_functions(TEMPLATE)
    assert [name for name in behind if {grant.action for grant in granted[name]} & MODELS] == ["InvokeModelFunction"]


def test_a_function_either_streams_on_every_route_or_on_none() -> None:
    """Lambda has one mode for a function: a buffered integration to a streaming one answers 502."""
    by_function: dict[str, set[bool]] = {}
    for operation in OPERATIONS:
        (name,) = re.findall(r"/functions/\$\{(\w+)\.Arn\}\$\{LiveAlias\}/", operation.uri)
        by_function.setdefault(name, set()).add(operation.streams)
    assert all(kinds == {FUNCTIONS[name].serves_http} for name, kinds in by_function.items())


def test_the_authorizer_of_the_spec_is_a_function_that_may_be_called() -> None:
    for scheme in SPEC["components"]["securitySchemes"].values():
        if authorizer := scheme.get("x-amazon-apigateway-authorizer"):
            uri = authorizer["authorizerUri"]["Fn::Sub"]
            (name,) = [name for name in FUNCTIONS if uri == INVOKE % name]
            permissions = of_type(TEMPLATE, "AWS::Lambda::Permission").values()
            assert [
                p["FunctionName"] for p in permissions if p["SourceArn"]["Fn::Sub"].endswith("${Api}/authorizers/*")
            ] == [
                {"Fn::GetAtt": [name, "Arn"]},
                {"Ref": f"{name}.Alias"},
            ]


# ------------------------------------------------------------------------------------------------ what is not there
def test_every_path_that_tenants_call_says_that_it_lacks_a_method() -> None:
    """API Gateway itself would say 403 missing_signature, and a request would not fall to a greedy path beside it."""
    lacking = [path for path, item in SPEC["paths"].items() if ANY not in item]
    assert all(path.startswith("/admin/") for path in lacking)
    assert {"/v1/{proxy+}", "/model/{modelId}/{proxy+}"} <= SPEC["paths"].keys()


@pytest.mark.parametrize("path", [path for path, item in SPEC["paths"].items() if ANY in item and path != DELEGATED])
def test_what_is_not_there_runs_nothing(path: str) -> None:
    """It is open to strangers, so it may lead nowhere."""
    said, made = SPEC["paths"][path][ANY], MADE[path, "ANY"]
    assert said["security"] == []
    assert (made.authorization, made.authorizer, made.api_key_required) == ("NONE", None, False)
    assert made.integration is not None
    assert (made.integration.kind, made.integration.uri) == ("mock", None)
    assert said["x-amazon-apigateway-integration"]["passthroughBehavior"] == "never"
    # By its body's type, of which one that is not named would be 415: those that clients and SDKs send.
    types = said["x-amazon-apigateway-integration"]["requestTemplates"]
    assert {"application/json", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain"} <= set(types)
    assert {"application/octet-stream", "application/vnd.amazon.eventstream"} <= set(types)
    assert {json.loads(template)["statusCode"] for template in types.values()} == {404}


def test_what_is_not_there_is_told_in_the_words_of_each_sdk() -> None:
    (answer,) = SPEC["paths"]["/v1/{proxy+}"][ANY]["x-amazon-apigateway-integration"]["responses"].values()
    told = json.loads(answer["responseTemplates"]["application/json"])
    assert (answer["statusCode"], told["type"], told["code"]) == ("404", "error", "route_not_found")
    assert told["error"]["type"] == "not_found_error"
    assert told["request_id"] == "$context.requestId"
    assert answer["responseParameters"] == {"method.response.header.x-amzn-errortype": "'UnknownOperationException'"}

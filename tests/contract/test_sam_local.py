"""What `sam local` is given is the same spec and the same functions, in the form that SAM CLI can serve."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from samcli.commands.local.lib.swagger.parser import SwaggerParser

from scripts import sam_local
from scripts.dev.template import Template, load_yaml
from scripts.template import FUNCTION, ROOT
from tests.contract.contract import OPERATIONS, Operation

SPEC = load_yaml(ROOT / "openapi.yaml")
DERIVED = sam_local.derive_spec(SPEC)
EDGE = ROOT / "scripts/sam_local_layer/python"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    target = tmp_path_factory.mktemp("local") / "template.yaml"
    return sam_local.derive_template(ROOT / "template.yaml", SPEC, target, {})


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(EDGE)
    monkeypatch.setenv("LOCAL_HEADERS", " ".join(sam_local.underscored(SPEC)))
    monkeypatch.setenv("LOCAL_UNAUTHORIZED", '{"code": "unauthorized", "request_id": "$context.requestId"}')
    sys.modules.pop("local_edge", None)
    import local_edge

    yield local_edge
    sys.modules.pop("local_edge", None)


def test_sam_cli_mounts_every_operation_with_its_function_and_its_authorizer() -> None:
    routes = {(route.methods[0].lower(), route.path): route for route in SwaggerParser("", DERIVED).get_routes()}
    asked = [
        operation for operation in OPERATIONS if operation.said["x-amazon-apigateway-integration"]["type"] != "mock"
    ]
    assert routes.keys() == {(operation.method, operation.path) for operation in asked}
    for operation in asked:
        route = routes[operation.method, operation.path]
        assert f"{route.function_name}." in operation.uri
        signed = operation.made.authorization == "AWS_IAM"
        assert route.authorizer_name == (None if signed else "TenantKey")
        assert route.use_default_authorizer is not signed
    assert SwaggerParser("", DERIVED).get_default_authorizer("Api") is None
    (authorizer,) = SwaggerParser("", DERIVED).get_authorizers().values()
    assert authorizer.lambda_name == "AuthorizeTenantFunction"


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_what_a_client_sees_of_an_operation_stays(operation: Operation) -> None:
    derived, said = (spec["paths"][operation.path][operation.method] for spec in (DERIVED, SPEC))
    for name in ("operationId", "parameters", "requestBody", "responses"):
        assert derived.get(name) == said.get(name)
    assert "responseTransferMode" not in derived["x-amazon-apigateway-integration"]


def test_a_function_keeps_its_code_its_layers_and_every_variable(template: dict[str, Any]) -> None:
    known = Template(ROOT / "template.yaml", {}).functions()
    found = {name: said["Properties"] for name, said in template["Resources"].items() if said["Type"] == FUNCTION}
    assert found.keys() == known.keys()
    for name, function in known.items():
        variables = found[name]["Environment"]["Variables"]
        assert function.environment.keys() - sam_local.OF_THE_ADAPTER <= variables.keys()
        assert all(isinstance(value, str) for value in variables.values())
        assert {"Ref": "ParquetLayer"} in found[name].get("Layers", []) or "layers/parquet" not in str(function.layers)
        assert found[name]["CodeUri"].endswith(str(function.code.relative_to(ROOT)))
    assert template["Globals"]["Function"]["Layers"][-1] == {"Ref": sam_local.EDGE}


def test_a_name_is_that_of_the_embedded_aws(template: dict[str, Any]) -> None:
    tables = {table.name for table in Template(ROOT / "template.yaml", {}).tables()}
    for resource in template["Resources"].values():
        if resource["Type"] == FUNCTION:
            variables = resource["Properties"]["Environment"]["Variables"]
            assert {value for name, value in variables.items() if name.endswith("_TABLE")} <= tables


def test_plain_sam_local_finds_what_make_build_built() -> None:
    told = tomllib.loads((ROOT / "samconfig.toml").read_text())["default"]
    for command in ("local_start_api", "local_invoke", "local_start_lambda"):
        parameters = told[command]["parameters"]
        assert ROOT / parameters["template_file"] == sam_local.BUILT / "template.yaml"
        assert parameters["add_host"] == [f"{sam_local.HOST}:host-gateway"]
        assert parameters["region"] == sam_local.REGION


def test_the_layer_of_sam_local_is_in_no_template_that_is_deployed() -> None:
    for path in (ROOT / "template.yaml", *(ROOT / "templates").glob("*.yaml")):
        assert "sam_local" not in path.read_text()


def test_the_edge_gives_each_request_its_own_id_and_time_and_restores_its_headers(edge: ModuleType) -> None:
    sent = {
        "headers": {"Team-Id": "ops", "Messages-Api": "true", "X-Api-Key": "k"},
        "multiValueHeaders": {"Team-Id": ["ops"]},
        "requestContext": {"requestId": "same", "requestTimeEpoch": 1},
    }
    first, second = edge.as_received(sent), edge.as_received(sent)
    assert first["headers"] == {"team_id": "ops", "messages_api": "true", "X-Api-Key": "k"}
    assert first["multiValueHeaders"] == {"team_id": ["ops"]}
    assert first["requestContext"]["requestId"] != second["requestContext"]["requestId"]
    assert first["requestContext"]["requestTimeEpoch"] > 1_700_000_000_000


def test_whom_the_authorizer_refuses_gets_a_401_and_reaches_no_function(
    edge: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "refusing.py").write_text("def handler(event, context):\n    raise Exception('Unauthorized')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LOCAL_HANDLER", "refusing.handler")
    arn = "arn:aws:execute-api:us-east-1:123456789012:1234567890/v1/GET/usage"
    asked = {"methodArn": arn, "requestContext": {"apiId": edge.START_API}}
    said = edge.authorizer(asked, None)
    answer = edge.handler({"requestContext": {"apiId": edge.START_API, "authorizer": said["context"]}}, None)
    assert answer["statusCode"] == 401
    assert json.loads(answer["body"]) == {"code": "unauthorized", "request_id": answer["headers"]["x-request-id"]}
    with pytest.raises(Exception, match="^Unauthorized$"):  # an event from a file: the function's own answer
        edge.authorizer(asked | {"requestContext": {"apiId": "a1b2c3d4e5"}}, None)

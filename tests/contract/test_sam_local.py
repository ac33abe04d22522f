"""`sam local` gets the same spec and the same functions, in the form that SAM CLI can serve."""

from __future__ import annotations

import json
import socket
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from samcli.commands.local.lib.swagger.parser import SwaggerParser
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider
from samcli.lib.utils.codeuri import resolve_code_path

from bundle import recipe
from scripts.deploy.sam_local import overlay as sam_local_overlay
from scripts.project.template import FUNCTION, LAYER, ROOT, Template, load, of_type
from tests.contract.contract import DELEGATED, OPERATIONS

SPEC = load(ROOT / "openapi.yaml")
DERIVED = sam_local_overlay.derive_spec(SPEC)
EDGE = ROOT / "scripts/deploy/sam_local/layer/python"


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    """The template that samconfig.toml gives `sam local`."""
    written: dict[str, Any] = load(ROOT / "local/template.yaml")
    return written


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(EDGE)
    monkeypatch.setenv("LOCAL_HEADERS", " ".join(sam_local_overlay.underscored(SPEC)))
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
    delegated = routes.pop(("get", DELEGATED))
    assert (delegated.authorizer_name, delegated.function_name) == ("TenantKey", "ManageTenantsFunction")
    assert {"GET", "POST", "PUT", "DELETE"} <= set(delegated.methods)
    assert routes.keys() == {(operation.method, operation.path) for operation in asked}
    for operation in asked:
        route = routes[operation.method, operation.path]
        assert f"{route.function_name}." in operation.uri
        signed = operation.made.authorization == "AWS_IAM"
        assert route.authorizer_name == (None if signed else "TenantKey")
        assert route.use_default_authorizer is not signed
        assert route.operation_name == operation.said["operationId"]
    assert SwaggerParser("", DERIVED).get_default_authorizer("Api") is None
    (authorizer,) = SwaggerParser("", DERIVED).get_authorizers().values()
    assert authorizer.lambda_name == "AuthorizeTenantFunction"


def test_what_is_written_is_what_template_and_spec_say() -> None:
    assert (ROOT / "local/template.yaml").read_text() == sam_local_overlay.overlay()


def test_a_function_keeps_its_code_its_layers_and_every_variable(template: dict[str, Any]) -> None:
    known = Template(ROOT / "template.yaml", {}).functions()
    found = {name: said["Properties"] for name, said in template["Resources"].items() if said["Type"] == FUNCTION}
    assert found.keys() == known.keys()
    for name, function in known.items():
        variables = found[name]["Environment"]["Variables"]
        assert function.environment.keys() - sam_local_overlay.OF_THE_ADAPTER <= variables.keys()
        assert all(isinstance(value, str) for value in variables.values())
        *layers, edge = (
            template["Resources"][layer["Ref"]]["Properties"]["ContentUri"] for layer in found[name]["Layers"]
        )
        own = {path: logical_id for logical_id, path in layer_folders().items()}
        assert [Path(layer).name for layer in layers] == [own[path] for path in function.layers]
        assert edge == "../scripts/deploy/sam_local/layer"
        assert found[name]["CodeUri"] == f"../.aws-sam/build/{name}"
        assert (found[name]["Timeout"], found[name]["MemorySize"]) == (function.timeout, function.memory)


def layer_folders() -> dict[str, Path]:
    return {name: ROOT / said["ContentUri"] for name, said in of_type(load(ROOT / "template.yaml"), LAYER).items()}


def test_a_layer_of_wheels_is_that_of_this_machine_and_the_package_is_what_is_deployed(
    template: dict[str, Any],
) -> None:
    for name, folder in layer_folders().items():
        has_wheels = (folder / recipe.REQUIREMENTS).exists()
        built = ".aws-sam/local" if has_wheels else ".aws-sam/build"
        assert template["Resources"][name]["Properties"]["ContentUri"] == f"../{built}/{name}"
    assert template["Globals"]["Function"]["Architectures"] == [{"Ref": "Machine"}]


def test_a_name_is_that_of_the_embedded_aws(template: dict[str, Any]) -> None:
    tables = {table.name for table in Template(ROOT / "template.yaml", {}).tables()}
    for resource in template["Resources"].values():
        if resource["Type"] == FUNCTION:
            variables = resource["Properties"]["Environment"]["Variables"]
            assert {value for name, value in variables.items() if name.endswith("_TABLE")} <= tables


@pytest.mark.parametrize("machine", ["x86_64", "arm64"])
def test_sam_cli_itself_takes_code_and_layers_from_what_was_built_and_the_cpu_from_the_file(machine: str) -> None:
    """As `sam local` resolves it: samcli/commands/local/cli_common/invoke_context.py."""
    stacks, _ = SamLocalStackProvider.get_stacks(
        str(sam_local_overlay.TARGET), parameter_overrides={"Machine": machine}
    )
    here, found = str(sam_local_overlay.TARGET.parent), list(SamFunctionProvider(stacks, True).get_all())
    assert {function.name for function in found} == Template(ROOT / "template.yaml", {}).functions().keys()
    wheels = {name for name, folder in layer_folders().items() if (folder / recipe.REQUIREMENTS).exists()}
    for function in found:
        assert function.architecture == machine
        assert Path(resolve_code_path(here, function.codeuri)) == sam_local_overlay.BUILT / function.name
        for layer in function.layers[:-1]:
            built = recipe.LOCAL if layer.name in wheels else sam_local_overlay.BUILT
            assert Path(resolve_code_path(here, layer.codeuri)) == built / layer.name


def test_plain_sam_local_runs_what_plain_sam_build_built() -> None:
    told = tomllib.loads(sam_local_overlay.SAMCONFIG.read_text())["default"]
    assert "template_file" not in told["build"]["parameters"]
    for command in ("local_start_api", "local_invoke", "local_start_lambda"):
        parameters = told[command]["parameters"]
        assert ROOT / parameters["template_file"] == sam_local_overlay.TARGET
        assert parameters["parameter_overrides"] == [f"file://{recipe.MACHINE.relative_to(ROOT)}"]
        assert parameters["add_host"] == [f"{sam_local_overlay.HOST}:host-gateway"]
        assert parameters["region"] == sam_local_overlay.REGION


def test_the_cache_of_layers_is_that_of_the_recipe() -> None:
    """SAM's key is the layer's folder: after a change of bundle/ it would give what the former recipe built."""
    assert sam_local_overlay.SAMCONFIG.read_text() == sam_local_overlay.samconfig()


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


@pytest.fixture
def nobody_listens(edge: ModuleType, monkeypatch: pytest.MonkeyPatch) -> str:
    """An AWS address without a listener."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: a connection is refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    return url


def test_a_call_without_make_sam_local_is_told_to_run_it(edge: ModuleType, nobody_listens: str) -> None:
    arn = "arn:aws:execute-api:us-east-1:123456789012:1234567890/v1/GET/usage"
    said = edge.authorizer({"methodArn": arn, "requestContext": {"apiId": edge.START_API}}, None)
    answer = edge.handler({"requestContext": {"apiId": edge.START_API, "authorizer": said["context"]}}, None)
    assert answer["statusCode"] == 503
    problem = json.loads(answer["body"])
    assert nobody_listens in problem["message"]
    assert "Run `make sam-local`" in problem["message"]
    assert problem["request_id"] == answer["headers"]["x-request-id"]


def test_an_event_without_make_sam_local_fails_with_the_same_sentence(edge: ModuleType, nobody_listens: str) -> None:
    with pytest.raises(edge.NothingBehindError, match="Run `make sam-local`"):
        edge.handler({"Records": []}, None)
    with pytest.raises(edge.NothingBehindError, match="Run `make sam-local`"):
        edge.authorizer({"methodArn": "arn", "requestContext": {"apiId": "a1b2c3d4e5"}}, None)


def test_where_an_aws_listens_the_function_answers(
    edge: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "answering.py").write_text("def handler(event, context):\n    return 'its own'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LOCAL_HANDLER", "answering.handler")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert edge.handler({"requestContext": {}}, None) == "its own"

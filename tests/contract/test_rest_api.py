"""The project's API Gateway import: each rule does what its table says, and has a source and a test."""

from __future__ import annotations

import ast
import copy
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.session import get_session

from scripts.dev.rest_api.importing import GATEWAY_RESPONSES, ImportRefused, Quotas, RestApi, import_rest_api
from scripts.dev.rest_api.rules import RULES
from scripts.project import quick_yaml
from scripts.project.template import ROOT

Json = dict[str, Any]
Break = Callable[[Json], object]
URI = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/arn:aws:lambda:us-east-1:1:function:f/invocations"
AUTHORIZED = {"type": "request", "authorizerResultTtlInSeconds": 0, "authorizerUri": URI}
SPEC: Json = {
    "openapi": "3.0.3",
    "info": {"title": "Pets", "version": "1"},
    "x-amazon-apigateway-request-validators": {"all": {"validateRequestBody": True, "validateRequestParameters": True}},
    "x-amazon-apigateway-request-validator": "all",
    "paths": {
        "/pets/{pet}": {
            "put": {
                "operationId": "putPet",
                "security": [{"Key": [], "Plan": []}],
                "parameters": [{"name": "pet", "in": "path", "required": True, "schema": {"type": "string"}}],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}},
                },
                "responses": {"200": {"description": "A pet."}},
                "x-amazon-apigateway-integration": {"type": "aws_proxy", "httpMethod": "POST", "uri": URI},
            }
        }
    },
    "components": {
        "schemas": {"Pet": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}},
        "securitySchemes": {
            "Key": {"type": "apiKey", "name": "Authorization", "in": "header",
                    "x-amazon-apigateway-authtype": "custom", "x-amazon-apigateway-authorizer": AUTHORIZED},
            "Plan": {"type": "apiKey", "name": "x-api-key", "in": "header"},
        },
    },
    "x-amazon-apigateway-gateway-responses": {"UNAUTHORIZED": {"statusCode": 401}},
}  # fmt: skip


def spec(change: Break = lambda _: None) -> Json:
    changed = copy.deepcopy(SPEC)
    change(changed)
    return changed


def imported(change: Break = lambda _: None, **quotas: int) -> RestApi:
    return import_rest_api(spec(change), quotas=Quotas(**quotas))


def put(spec: Json) -> Json:
    operation: Json = spec["paths"]["/pets/{pet}"]["put"]
    return operation


def integration(**said: Any) -> Break:
    return lambda spec: put(spec)["x-amazon-apigateway-integration"].update(said)


def pet(**said: Any) -> Break:
    return lambda spec: spec["components"]["schemas"]["Pet"].update(said)


def name(**said: Any) -> Break:
    return lambda spec: spec["components"]["schemas"]["Pet"]["properties"]["name"].update(said)


def scheme(**said: Any) -> Break:
    return lambda spec: spec["components"]["securitySchemes"].update(Other=said)


def path(text: str) -> Break:
    return lambda spec: spec["paths"].update({text: spec["paths"]["/pets/{pet}"]})


def another(text: str) -> Break:
    """One more path with an operation of its own."""
    return lambda spec: spec["paths"].update({text: {"put": put(spec) | {"operationId": f"put{len(spec['paths'])}"}}})


def authorizer(**said: Any) -> Break:
    return scheme(
        type="apiKey", name="a", **{"in": "header"}, **{"x-amazon-apigateway-authorizer": AUTHORIZED | said}
    )  # fmt: skip


def ten_more(spec: Json) -> None:
    for number in range(10):
        authorizer()(spec)
        spec["components"]["securitySchemes"][f"Other{number}"] = spec["components"]["securitySchemes"].pop("Other")


def trace(spec: Json) -> None:
    spec["paths"]["/pets/{pet}"]["trace"] = put(spec)


def of_iam(spec: Json) -> None:
    scheme(type="apiKey", name="Authorization", **{"in": "header", "x-amazon-apigateway-authtype": "awsSigv4"})(spec)
    put(spec)["security"][0]["Other"] = []


OF_ANOTHER_FILE = {"$ref": "pets.yaml#/Pet"}
OTHER_PET = {"$ref": "#/components/schemas/Pet"}
# Each rule that refuses, warns of, changes or ignores something: a definition that meets it.
BROKEN: dict[str, list[Break]] = {
    "version": [lambda spec: spec.update(openapi="3.1.0"), lambda spec: spec.update(openapi="2.0")],
    "document size": [lambda spec: spec["info"].update(description="x" * 6 * 1024 * 1024)],
    "other files": [name(**OF_ANOTHER_FILE), lambda spec: put(spec).update(requestBody=OF_ANOTHER_FILE)],
    "root security": [lambda spec: spec.update(security=[{"Key": []}])],
    "servers": [lambda spec: spec.update(servers=[{"url": "https://pets.example/v1"}])],
    "operation ids": [path("/cats/{pet}")],
    "deprecated": [lambda spec: put(spec).update(deprecated=True), name(deprecated=True)],
    "path segment": [another("/pets/a{pet}"), another("/pets~/a"), another("/pets/{pet}b")],
    "greedy parameter": [another("/cats/{rest+}/food")],
    "sibling parameters": [another("/pets/{name}/food")],
    "reserved path": [another("/ping"), another("/sping")],
    "resources": [lambda spec: [another(f"/cats/c{number}")(spec) for number in range(297)]],
    "method": [trace],
    "parameter attributes": [lambda spec: put(spec)["parameters"][0]["schema"].update(maxLength=3)],
    "parameter place": [lambda spec: put(spec)["parameters"].append({"name": "a", "in": "cookie"})],
    "validator": [lambda spec: put(spec).update({"x-amazon-apigateway-request-validator": "some"})],
    "response reference": [lambda spec: put(spec)["responses"].update({"404": {"$ref": "#/components/responses/No"}})],
    "response schema": [
        lambda spec: put(spec)["responses"]["200"].update(content={"text/plain": {"schema": {"type": "string"}}})
    ],
    "model reference": [name(**{"$ref": "#/components/schemas/Dog"})],
    "scheme type": [scheme(type="http", scheme="bearer"), scheme(type="oauth2", flows={})],
    "scheme without authorizer": [scheme(type="apiKey", name="a", **{"x-amazon-apigateway-authtype": "custom"})],
    "authorizer": [authorizer(type="jwt"), authorizer(authorizerUri={"Fn::Sub": "${F}"})],
    "authorizer cache": [authorizer(authorizerResultTtlInSeconds=4000), authorizer(authorizerResultTtlInSeconds=60)],
    "authorizers": [ten_more],
    "unknown scheme": [lambda spec: put(spec).update(security=[{"None": []}])],
    "scheme without effect": [
        lambda spec: (scheme(type="apiKey", name="a", **{"in": "query"})(spec), put(spec)["security"][0].update(Other=[]))
    ],
    "one authorizer": [of_iam],
    "no integration": [lambda spec: put(spec).pop("x-amazon-apigateway-integration")],
    "malformed integration": [integration(uri={"Fn::Sub": "${F.Arn}"}), integration(type=None)],
    "integration method": [integration(httpMethod="PUT")],
    "timeout": [integration(timeoutInMillis=49), integration(timeoutInMillis=29_001), integration(timeoutInMillis="1 s")],
    "stream timeout": [integration(responseTransferMode="STREAM", timeoutInMillis=900_001)],
    "timeout as text": [integration(timeoutInMillis="1000")],
    "stream type": [integration(type="aws", responseTransferMode="STREAM")],
    "model name": [lambda spec: spec["components"]["schemas"].update(A_pet={"type": "object"})],
    "model size": [pet(description="x" * 400 * 1024)],
    "schema keyword": [
        name(discriminator={"propertyName": "a"}), name(nullable=True), name(readOnly=True), name(writeOnly=True),
        name(xml={}), name(externalDocs={}), name(examples=[]), name(const="a"),
    ],
    "schema example": [name(example="Rex")],
    "exclusive bound": [name(exclusiveMinimum=True), name(exclusiveMaximum=True)],
    "combined reference": [name(oneOf=[OTHER_PET]), name(anyOf=[OTHER_PET]), name(allOf=[{"items": OTHER_PET}])],
    "number format": [name(type="number", format="int64"), name(type="number", format="int32"), name(format="decimal")],
    "empty required": [pet(required=[])],
    "repeated enum": [name(enum=["a", "a"]), name(enum=[])],
    "default": [name(default="Rex")],
    "number of items": [name(type="array", minItems=1), name(type="array", maxItems=1)],
    "gateway response": [lambda spec: spec["x-amazon-apigateway-gateway-responses"].update(TEAPOT={})],
    "request too large": [lambda spec: spec["x-amazon-apigateway-gateway-responses"].update(REQUEST_TOO_LARGE={})],
}  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        pytest.param(rule, change, id=f"{rule} {n}")
        for rule, changes in BROKEN.items()
        for n, change in enumerate(changes)
    ],
)
def test_a_rule_of_the_import_does_what_it_says(rule: str, change: Break) -> None:
    if RULES[rule].outcome == "refuses":
        with pytest.raises(ImportRefused) as refused:
            imported(change)
        assert [finding.rule.name for finding in refused.value.findings] == [rule] * len(refused.value.findings)
    else:
        assert imported(change).summary().keys() == {rule}


def test_a_definition_without_a_fault_is_taken_whole() -> None:
    api = imported()
    assert not api.findings
    (method,) = api.methods
    assert (method.path, method.http_method) == ("/pets/{pet}", "PUT")
    assert api.resources == {"/", "/pets", "/pets/{pet}"}
    assert (method.authorization, method.api_key_required) == ("CUSTOM", True)
    assert method.authorizer is not None
    assert (method.authorizer.name, method.authorizer.kind) == ("Key", "request")
    assert (method.validator.body, method.validator.parameters) == (True, True)
    assert method.request_parameters == {"method.request.path.pet": True}
    assert (method.request_models, method.body_required) == ({"application/json": "Pet"}, True)
    assert api.document == SPEC


def test_every_reason_is_told_at_once() -> None:
    def change(spec: Json) -> None:
        name(example="Rex", nullable=True)(spec)
        integration(timeoutInMillis=1)(spec)

    with pytest.raises(ImportRefused) as refused:
        imported(change)
    assert {finding.rule.name for finding in refused.value.findings} == {"schema example", "schema keyword", "timeout"}
    assert "PUT /pets/{pet}: 1" in str(refused.value)


# ------------------------------------------------------------------------------------------------ what is made instead
def test_security_of_the_root_reaches_no_method() -> None:
    def only_the_root(spec: Json) -> None:
        spec["security"] = put(spec).pop("security")

    api = imported(only_the_root)
    assert (api.methods[0].authorization, api.methods[0].api_key_required) == ("NONE", False)
    assert "security" not in api.document


def test_signed_and_open_methods_are_what_they_say() -> None:
    def signed(spec: Json) -> None:
        of_iam(spec)
        put(spec)["security"] = [{"Other": []}]

    assert imported(signed).methods[0].authorization == "AWS_IAM"
    assert imported(lambda spec: put(spec).update(security=[])).methods[0].authorization == "NONE"
    assert imported(of_iam).methods[0].authorization == "CUSTOM"  # the first of two


def test_a_model_lacks_what_api_gateway_does_not_take() -> None:
    def change(spec: Json) -> None:
        name(type="array", minItems=1, maxItems=2, default=[], items={"type": "string", "minLength": 1})(spec)

    schema = imported(change).models.by_name["Pet"]
    assert schema["properties"]["name"] == {"type": "array", "items": {"type": "string", "minLength": 1}}


def test_a_timeout_is_the_default_the_number_or_the_text_of_one() -> None:
    for said, timeout in (({}, 29_000), ({"timeoutInMillis": 50}, 50), ({"timeoutInMillis": "1000"}, 1000)):
        made = imported(integration(**said)).methods[0].integration
        assert made is not None
        assert made.timeout == timeout
    streaming = integration(responseTransferMode="STREAM", timeoutInMillis=900_000)
    made = imported(streaming).methods[0].integration
    assert made is not None
    assert (made.streams, made.timeout) == (True, 900_000)


def test_a_raised_quota_takes_a_longer_timeout() -> None:
    made = imported(integration(timeoutInMillis=120_000), integration_timeout=120_000).methods[0].integration
    assert made is not None
    assert made.timeout == 120_000


def test_what_cloudformation_resolves_is_judged_by_its_value() -> None:
    chosen = integration(timeoutInMillis={"Fn::Sub": "${Seconds}000"}, uri={"Fn::Sub": "${F}"})

    def resolve(node: Any) -> Any:
        if isinstance(node, dict) and "Fn::Sub" in node:
            return node["Fn::Sub"].replace("${Seconds}", "7").replace("${F}", URI)
        return {key: resolve(part) for key, part in node.items()} if isinstance(node, dict) else node

    made = import_rest_api(spec(chosen), resolve).methods[0].integration
    assert made is not None
    assert (made.timeout, made.uri) == (7000, {"Fn::Sub": "${F}"})
    with pytest.raises(ImportRefused, match="malformed integration"):
        imported(chosen)


def test_any_method_binary_types_anchors_and_an_inline_schema_are_taken() -> None:
    def change(spec: Json) -> None:
        spec["paths"]["/cats"] = {"x-amazon-apigateway-any-method": put(spec) | {"operationId": "anyCat"}}
        spec["x-amazon-apigateway-binary-media-types"] = ["image/png"]
        put(spec)["requestBody"] = {"content": {"application/json": {"schema": {"type": "object"}}}}

    api = imported(change)
    assert {(method.path, method.http_method) for method in api.methods} == {("/pets/{pet}", "PUT"), ("/cats", "ANY")}
    assert api.binary_media_types == ("image/png",)
    assert [method.request_models["application/json"] for method in api.methods] == ["MODEL1", "Pet"]
    anchored = quick_yaml.read("a: &it {type: object}\nb: *it")
    both = imported(lambda spec: spec["components"]["schemas"].update(A=anchored["a"], B=anchored["b"]))
    assert both.models.by_name["A"] == both.models.by_name["B"] == {"type": "object"}


def test_gateway_responses_are_those_that_api_gateway_has() -> None:
    service = get_session().get_service_model("apigateway")
    assert set(service.shape_for("GatewayResponseType").enum) == GATEWAY_RESPONSES


# ------------------------------------------------------------------------------------------------------------ the table
OTHERS = {"anchors", "binary media types", "any method", "api key", "default timeout"}  # what is taken, tested above


def test_every_rule_of_the_import_has_a_definition_that_meets_it() -> None:
    assert BROKEN.keys() | OTHERS == {rule.name for rule in RULES.values() if rule.at != "call"}
    assert {RULES[name].outcome for name in OTHERS} == {"takes"}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_names_a_source_and_a_test_that_is_there(rule: Any) -> None:
    known = ("API Gateway Developer Guide, ", "API Gateway API Reference, ", "CloudFormation", "github.com/")
    assert rule.source.startswith(known)
    assert rule.what.endswith(".")
    file, _, test = rule.test.partition("::")
    functions = [node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)]
    assert test in functions


def test_the_rules_are_printed_with_source_and_test() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "scripts.dev.rest_api", "--rules"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    blocks: Mapping[str, str] = {block.partition(" (at ")[0]: block for block in said.strip().split("\n\n")}
    assert blocks.keys() == RULES.keys()
    assert all(rule.source in blocks[rule.name] and rule.test in blocks[rule.name] for rule in RULES.values())


def test_the_import_needs_nothing_but_the_standard_library() -> None:
    """The embedded AWS imports by it in an environment of its own."""
    code = "import sys; import scripts.dev.rest_api.importing; print(*{m.partition('.')[0] for m in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert {module for module in loaded if module not in sys.stdlib_module_names} <= {"scripts", "__main__"}

"""openapi.yaml is a good spec, keeps its own promises, and is one that API Gateway can import."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import OpenAPIV30SpecValidator

from gateway.http.schemas import Problem
from tests.contract.contract import OPERATIONS, SPEC, Operation, everywhere, resolve, schema_of

each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=str)
PROBLEM = {"$ref": "#/components/schemas/Problem"}
GATEWAY_RESPONSES = SPEC["x-amazon-apigateway-gateway-responses"]
# What a client can meet on any route, whoever answers it.
MET_ON_EVERY_ROUTE = {"400", "401", "403", "429", "500"}
# API Gateway makes JSON Schema draft 4 of a schema; a keyword of this list fails the import, or is dropped from it.
REFUSED = {
    "oneOf", "anyOf", "allOf", "not", "discriminator", "readOnly", "writeOnly", "example", "examples", "deprecated",
    "exclusiveMinimum", "exclusiveMaximum", "nullable", "xml", "externalDocs",
}  # fmt: skip


def test_it_is_openapi_3_0() -> None:
    assert SPEC["openapi"].startswith("3.0.")  # API Gateway does not import 3.1
    OpenAPIV30SpecValidator(SPEC).validate()


# ---------------------------------------------------------------------------------------------------------- operations
@each_operation
def test_an_operation_says_what_it_is(operation: Operation) -> None:
    assert re.fullmatch(r"[a-z][A-Za-z]+", operation.said["operationId"])
    assert operation.said["summary"].endswith(".")
    assert set(operation.said["tags"]) <= {tag["name"] for tag in SPEC["tags"]}


def test_no_two_operations_have_one_id() -> None:
    ids = [operation.said["operationId"] for operation in OPERATIONS]
    assert len(ids) == len(set(ids))


@each_operation
def test_an_operation_is_closed_to_strangers(operation: Operation) -> None:
    security = operation.said.get("security", SPEC["security"])
    assert security, f"{operation} is open"
    for alternative in security:
        assert alternative.keys() <= SPEC["components"]["securitySchemes"].keys()
        # The authorizer says who calls; the usage plan's key throttles, and is no identity.
        assert {"TenantKey", "UsagePlanKey"} <= alternative.keys() or "AdminSignature" in alternative


@each_operation
def test_an_operation_shows_examples(operation: Operation) -> None:
    for parameter in operation.said.get("parameters", ()):
        assert "example" in resolve(parameter), f"{parameter['name']} of {operation} has no example"
    shown = [operation.said["requestBody"]] if "requestBody" in operation.said else []
    shown += [resolve(response) for response in operation.said["responses"].values()]
    for place in shown:
        for media in place.get("content", {}).values():
            assert media.keys() & {"example", "examples"}, f"{place['description']} of {operation} has no example"


@each_operation
def test_what_goes_wrong_is_a_problem(operation: Operation) -> None:
    responses = operation.said["responses"]
    assert responses.keys() >= MET_ON_EVERY_ROUTE
    for status, response in responses.items():
        told = resolve(response)
        assert "x-request-id" in told["headers"], f"{status} of {operation} names no request"
        if int(status) >= 400:
            assert told["content"]["application/json"]["schema"] == PROBLEM, f"{status} of {operation} is no problem"


# ------------------------------------------------------------------------------------------------------------ examples
def examples() -> Iterator[Any]:
    for where, part in everywhere({name: SPEC[name] for name in ("paths", "components")}):
        if "schema" not in part:
            continue
        given = [part["example"]] if "example" in part else []
        given += [resolve(example)["value"] for example in part.get("examples", {}).values()]
        for number, value in enumerate(given):
            yield pytest.param(part["schema"], value, id=f"{where}-{number}")


@pytest.mark.parametrize(("schema", "value"), list(examples()))
def test_an_example_is_one_of_its_schema(schema: dict[str, Any], value: Any) -> None:
    OAS30Validator(schema_of(schema)).validate(value)


# --------------------------------------------------------------------------------------------------- gateway responses
@pytest.mark.parametrize("kind", GATEWAY_RESPONSES)
def test_what_api_gateway_itself_answers_is_a_problem(kind: str) -> None:
    response = GATEWAY_RESPONSES[kind]
    assert ("statusCode" in response) != kind.startswith("DEFAULT_")
    assert response["responseParameters"]["gatewayresponse.header.x-request-id"] == "context.requestId"
    (template,) = response["responseTemplates"].values()
    template = template.replace("$context.authorizer.reason", "")  # where IAM denies, there is none
    rendered = json.loads(template.replace("$context.requestId", "6f2c9a6e-0e5b-4a57-9d51-1b8f0c2d7f10"))
    assert "$" not in json.dumps(rendered)
    OAS30Validator(schema_of(PROBLEM)).validate(rendered)
    assert Problem.model_validate(rendered).request_id == "6f2c9a6e-0e5b-4a57-9d51-1b8f0c2d7f10"


def test_nothing_that_api_gateway_answers_is_left_to_its_own_shape() -> None:
    assert GATEWAY_RESPONSES.keys() >= {"DEFAULT_4XX", "DEFAULT_5XX"}


def test_a_client_told_to_wait_is_told_how_long() -> None:
    assert "gatewayresponse.header.Retry-After" in GATEWAY_RESPONSES["THROTTLED"]["responseParameters"]


# ------------------------------------------------------------------------------------------------ API Gateway's limits
def schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema that API Gateway makes a model of, and every part of one."""
    for where, part in everywhere({name: SPEC[name] for name in ("paths", "components")}):
        if "schema" in part and "content" in where:
            yield from everywhere(part["schema"], f"{where}/schema")
    for name, schema in SPEC["components"]["schemas"].items():
        yield from everywhere(schema, f"#/components/schemas/{name}")


def test_no_schema_has_a_keyword_that_api_gateway_refuses() -> None:
    refused = {
        f"{where}: {keyword}"
        for where, schema in schemas()
        if not where.endswith("/properties")  # there the keys are names of fields
        for keyword in schema.keys() & REFUSED
    }
    assert not refused


def test_a_schema_is_a_schema_and_has_a_name_for_a_model() -> None:
    for name, schema in SPEC["components"]["schemas"].items():
        OAS30Validator.check_schema(schema)
        assert re.fullmatch(r"[A-Za-z0-9]+", name), "API Gateway's names of models are alphanumeric"


def test_a_reference_beside_other_words_is_not_used() -> None:
    """What stands beside a `$ref` is ignored in OpenAPI 3.0."""
    assert not [where for where, part in everywhere(SPEC) if "$ref" in part and len(part) > 1]


def test_no_word_but_the_security_schemes_that_api_gateway_knows() -> None:
    assert {scheme["type"] for scheme in SPEC["components"]["securitySchemes"].values()} == {"apiKey"}
    assert SPEC["x-amazon-apigateway-api-key-source"] == "AUTHORIZER"
    tenant_key = SPEC["components"]["securitySchemes"]["TenantKey"]
    authorizer = tenant_key["x-amazon-apigateway-authorizer"]
    # With a cache, each named source must be sent; a key comes in one header or in the other.
    assert (authorizer["type"], authorizer["authorizerResultTtlInSeconds"]) == ("request", 0)
    assert "identitySource" not in authorizer
    plan_key = SPEC["components"]["securitySchemes"]["UsagePlanKey"]
    assert (plan_key["in"], plan_key["name"]) == ("header", "x-api-key")


def test_the_included_file_has_only_long_intrinsics() -> None:
    """AWS::Include does not know `!Sub`; and safe YAML would not have loaded it."""
    subs = [part["Fn::Sub"] for _, part in everywhere(SPEC) if "Fn::Sub" in part]
    assert len(subs) == len(OPERATIONS) + 1

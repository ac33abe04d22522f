"""openapi.yaml is a valid spec, matches its own examples, and is importable by API Gateway."""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import OpenAPIV30SpecValidator

from gateway.web.generated.bodies import BY_OPERATION
from gateway.web.generated.schemas import Problem
from scripts.dev.api_gateway.gateway_responses import GatewayResponses
from scripts.dev.api_gateway.judging import EVENTS
from tests.contract.contract import API, OPERATIONS, SPEC, Operation, everywhere, resolve, schema_of

each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=str)


def ref(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}


# Which error a client of these routes reads; on others it is a Problem.
ERRORS = {
    "/v1/chat/": "OpenAIError", "/v1/embeddings": "OpenAIError", "/v1/models": "OpenAIError",
    "/v1/responses": "OpenAIError", "/v1/messages": "AnthropicError", "/model/": "BedrockError",
    "/foundation-models": "BedrockError", "/inference-profiles": "BedrockError", "/scim/": "ScimError",
}  # fmt: skip
STREAMS = ("text/event-stream", "application/vnd.amazon.eventstream")
GATEWAY_RESPONSES = SPEC["x-amazon-apigateway-gateway-responses"]
# What a client can meet on any route, whoever answers it.
MET_ON_EVERY_ROUTE = {"400", "401", "403", "429", "500"}
# The import takes these without a `$ref` to another schema; SDKs of API Gateway are not generated from them.
NOT_OF_THE_HOUSE = {"oneOf", "anyOf", "allOf", "not", "deprecated"}
# What the import says of the spec: each is known, and none of it changes what a client meets.
KNOWN = {"servers", "default", "number of items", "parameter attributes", "response reference"}


def test_it_is_openapi_3_0() -> None:
    assert SPEC["openapi"].startswith("3.0.")  # API Gateway does not import 3.1
    OpenAPIV30SpecValidator(SPEC).validate()


# ---------------------------------------------------------------------------------------------------------- operations
@each_operation
def test_an_operation_says_what_it_is(operation: Operation) -> None:
    assert re.fullmatch(r"[a-z][A-Za-z]+", operation.said["operationId"])
    assert operation.said["summary"].endswith(".")
    assert set(operation.said["tags"]) <= {tag["name"] for tag in SPEC["tags"]}


def test_a_tag_is_one_that_an_operation_has() -> None:
    assert {tag["name"] for tag in SPEC["tags"]} == {tag for operation in OPERATIONS for tag in operation.said["tags"]}


def test_every_component_is_used_or_named_in_text() -> None:
    """As the events of streams are, and what is null for a while, which a schema of API Gateway's cannot say."""
    parts = SPEC["components"]
    there = {f"#/components/{kind}/{name}" for kind in parts if kind != "securitySchemes" for name in parts[kind]}
    used = {part["$ref"] for _, part in everywhere(SPEC) if isinstance(part.get("$ref"), str)}
    in_text = {f"#/components/schemas/{name}" for name in {*EVENTS.values(), "StreamedUsage", "ResponseUsage"}}
    assert there - used == in_text


def test_who_is_told_to_wait_is_told_how_long() -> None:
    for operation in OPERATIONS:
        for status in {"429", "503"} & operation.said["responses"].keys():
            told = resolve(operation.said["responses"][status])
            assert "Retry-After" in told["headers"], f"{status} of {operation}"


def test_no_two_operations_have_one_id() -> None:
    ids = [operation.said["operationId"] for operation in OPERATIONS]
    assert len(ids) == len(set(ids))


@each_operation
def test_an_operation_is_closed_to_strangers(operation: Operation) -> None:
    """As API Gateway makes it: the root's `security` closes nothing there."""
    made = operation.made
    if operation.path.startswith("/admin/"):
        assert (made.authorization, made.authorizer, made.api_key_required) == ("AWS_IAM", None, False)
        return
    # The authorizer says who calls; the usage plan's key throttles, and is no identity.
    assert made.authorizer is not None, f"{operation} is open"
    assert (made.authorization, made.authorizer.name, made.api_key_required) == ("CUSTOM", "TenantKey", True)


@each_operation
def test_an_operation_says_its_own_security_in_one_alternative(operation: Operation) -> None:
    """Of several alternatives API Gateway would take the parts of one."""
    (alternative,) = operation.said["security"]
    assert set(alternative) in ({"TenantKey", "UsagePlanKey"}, {"AdminSignature"})
    assert "security" not in SPEC


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
def test_what_goes_wrong_is_told_as_the_clients_of_the_route_expect(operation: Operation) -> None:
    responses = operation.said["responses"]
    assert responses.keys() >= MET_ON_EVERY_ROUTE
    (error,) = [schema for prefix, schema in ERRORS.items() if operation.path.startswith(prefix)] or ["Problem"]
    for status, response in responses.items():
        if status == "413":
            assert response == {"$ref": "#/components/responses/TooLarge"}
            continue
        told = resolve(response)
        assert "x-request-id" in told["headers"], f"{status} of {operation} names no request"
        if int(status) >= 400:
            assert told["content"]["application/json"]["schema"] == ref(error), f"{status} of {operation}"
            assert ("x-amzn-errortype" in told["headers"]) == (error == "BedrockError")


def test_a_request_that_is_too_large_is_told_in_api_gateway_s_words() -> None:
    """A gateway response of one's own for it is not sent: neither a code nor an x-request-id can be promised."""
    told = SPEC["components"]["responses"]["TooLarge"]
    assert told["headers"].keys() == {"x-amzn-RequestId"}
    media = told["content"]["application/json"]
    answer = GatewayResponses(API.gateway_responses).render("REQUEST_TOO_LARGE", {})
    assert answer.status == 413
    assert [json.loads(answer.body)] == [example["value"] for example in media["examples"].values()]
    assert "REQUEST_TOO_LARGE" not in GATEWAY_RESPONSES
    assert not [line for line in SPEC["components"]["responses"] if line.endswith("TooLarge") and line != "TooLarge"]


@pytest.mark.parametrize("name", sorted({"Problem", *ERRORS.values()}))
def test_every_error_says_what_a_problem_says(name: str) -> None:
    schema = SPEC["components"]["schemas"][name]
    problem = SPEC["components"]["schemas"]["Problem"]
    assert set(schema["required"]) >= {"code", "message", "request_id"} == set(problem["required"])
    for field in ("code", "message", "details"):
        assert schema["properties"][field] == problem["properties"][field]


@pytest.mark.parametrize("operation", [operation for operation in OPERATIONS if operation.streams], ids=str)
def test_a_model_s_operation_declares_how_a_model_fails(operation: Operation) -> None:
    responses = operation.said["responses"].keys()
    assert responses >= {"502", "503"}
    if "requestBody" in operation.said:
        # The function checks the body, so that it can name the field.
        assert operation.said["x-amazon-apigateway-request-validator"] == "parameters"
        assert responses >= {"404", "408", "413", "415"}
    else:
        assert not responses & {"413", "415"}
    charged = "team_id" in {parameter["name"] for parameter in operation.said.get("parameters", ())}
    assert charged == ("424" in responses)


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


def streamed(media: str) -> Iterator[Any]:
    """The examples of streams, with their operation."""
    for operation in OPERATIONS:
        content = resolve(operation.said["responses"].get("200", {})).get("content", {})
        for name, example in content.get(media, {}).get("examples", {}).items():
            yield pytest.param(operation.said["operationId"], resolve(example)["value"], id=f"{operation}-{name}")


@pytest.mark.parametrize(("operation_id", "text"), list(streamed("text/event-stream")))
def test_an_example_of_events_is_of_events_that_fit_their_schema(operation_id: str, text: str) -> None:
    *events, rest = text.split("\n\n")
    assert not rest
    for event in events:
        fields = dict(line.split(": ", 1) for line in event.split("\n"))
        if fields["data"] == "[DONE]":
            assert event == events[-1]
            continue
        schema = "StreamedUsage" if fields.get("event") == "usage" else EVENTS[operation_id]
        data = json.loads(fields["data"])
        OAS30Validator(schema_of(ref(schema))).validate(data)
        assert fields.get("event") in (None, "usage", data.get("type"))


@pytest.mark.parametrize(("operation_id", "text"), list(streamed("application/vnd.amazon.eventstream")))
def test_an_example_of_frames_is_what_an_aws_sdk_reads(operation_id: str, text: str) -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(base64.b64decode(text, validate=True))
    read = [(message.headers[":event-type"], json.loads(message.payload)) for message in buffer]  # checks their CRCs
    if operation_id == "converseStream":
        assert read[-1][0] == "metadata"
        OAS30Validator(schema_of(ref("ConverseUsage"))).validate(read[-1][1]["usage"])
    else:
        assert {kind for kind, _ in read} == {"chunk"}
        assert "amazon-bedrock-invocationMetrics" in json.loads(base64.b64decode(read[-1][1]["bytes"]))


def test_every_stream_shows_an_example() -> None:
    shown = {operation_id for media in STREAMS for operation_id, _ in (case.values for case in streamed(media))}
    assert shown == {*EVENTS, "converseStream", "invokeBedrockModelWithResponseStream"}


def bodies() -> Iterator[Any]:
    for operation in OPERATIONS:
        for media in operation.said.get("requestBody", {}).get("content", {}).values() if operation.streams else ():
            for name, example in media["examples"].items():
                yield pytest.param(operation.said["operationId"], resolve(example)["value"], id=f"{operation}-{name}")


@pytest.mark.parametrize(("operation_id", "value"), list(bodies()))
def test_an_example_of_a_body_passes_its_compiled_check_unchanged(operation_id: str, value: Any) -> None:
    sent = copy.deepcopy(value)
    BY_OPERATION[operation_id](sent)
    assert sent == value


# --------------------------------------------------------------------------------------------------- gateway responses
# Which exceptions the AWS SDKs raise, and which error the Anthropic SDKs read, for a status of API Gateway's own.
KINDS = {
    400: ("ValidationException", "invalid_request_error"),
    401: ("AccessDeniedException", "authentication_error"),
    403: ("AccessDeniedException", "permission_error"),
    404: ("ResourceNotFoundException", "not_found_error"),
    415: ("ValidationException", "invalid_request_error"),
    429: ("ThrottlingException", "rate_limit_error"),
    500: ("InternalServerException", "api_error"),
    502: ("InternalServerException", "api_error"),
    504: ("ServiceUnavailableException", "api_error"),
}


@pytest.mark.parametrize("kind", GATEWAY_RESPONSES)
def test_what_api_gateway_itself_answers_is_an_error_to_every_client(kind: str) -> None:
    response = GATEWAY_RESPONSES[kind]
    assert ("statusCode" in response) != kind.startswith("DEFAULT_")
    headers = response["responseParameters"]
    assert headers["gatewayresponse.header.x-request-id"] == "context.requestId"
    (template,) = response["responseTemplates"].values()
    template = template.replace("$context.authorizer.reason", "")  # where IAM denies, there is none
    rendered = json.loads(template.replace("$context.requestId", "6f2c9a6e-0e5b-4a57-9d51-1b8f0c2d7f10"))
    assert "$" not in json.dumps(rendered)
    for schema in ("Problem", *ERRORS.values()):
        OAS30Validator(schema_of(ref(schema))).validate(rendered)
    assert Problem.model_validate(rendered).request_id == "6f2c9a6e-0e5b-4a57-9d51-1b8f0c2d7f10"
    exception, error_type = KINDS[response.get("statusCode", 400 if kind == "DEFAULT_4XX" else 500)]
    assert headers["gatewayresponse.header.x-amzn-ErrorType"] == f"'{exception}'"
    assert rendered["error"] == {"type": error_type, "code": rendered["code"], "message": rendered["message"]}


@pytest.mark.parametrize("kind", sorted(GATEWAY_RESPONSES.keys() - {"DEFAULT_4XX", "DEFAULT_5XX"}))
def test_the_local_gateway_answers_as_the_spec_says(kind: str) -> None:
    said = GATEWAY_RESPONSES[kind]
    answer = GatewayResponses(API.gateway_responses).render(
        kind, {"requestId": "6f2c9a6e", "authorizer": {"reason": "No."}}
    )
    names = [name.lower() for name, _ in answer.headers]
    assert (answer.status, len(names)) == (said["statusCode"], len(set(names)))
    headers = {name.lower(): value for name, value in answer.headers}
    assert f"'{headers['x-amzn-errortype']}'" == said["responseParameters"]["gatewayresponse.header.x-amzn-ErrorType"]
    assert json.loads(answer.body)["request_id"] == headers["x-request-id"] == "6f2c9a6e"


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


def test_the_import_leaves_nothing_out_that_is_not_known() -> None:
    """A refused definition would have raised already."""
    assert API.summary().keys() == KNOWN
    assert API.models.by_name.keys() == SPEC["components"]["schemas"].keys()


def test_no_schema_has_a_keyword_that_is_not_of_the_house() -> None:
    refused = {
        f"{where}: {keyword}"
        for where, schema in schemas()
        if not where.endswith("/properties")  # there the keys are names of fields
        for keyword in schema.keys() & NOT_OF_THE_HOUSE
    }
    assert not refused


def test_a_schema_is_a_schema() -> None:
    for schema in SPEC["components"]["schemas"].values():
        OAS30Validator.check_schema(schema)


def test_a_reference_beside_other_words_is_not_used() -> None:
    """OpenAPI 3.0 ignores siblings of a `$ref`."""
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
    uris = [part["Fn::Sub"] for _, part in everywhere(SPEC) if str(part.get("Fn::Sub", "")).startswith("arn:")]
    assert len(uris) == len(OPERATIONS) + 2  # the authorizer's, and that of /delegated

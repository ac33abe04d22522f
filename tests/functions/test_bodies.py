"""The code generated from openapi.yaml checks each declared body, and its refusal names the field."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from openapi_schema_validator import OAS30Validator

from gateway.web.asgi import Asgi
from gateway.web.generated import bodies, schemas
from scripts.dev.fake_models import FakeModels
from scripts.generate.bodies import generate, sentence
from tests.contract.contract import FUNCTIONS, OPERATIONS, Operation, resolve, schema_of

from .conftest import event
from .test_invoke_model import rows
from .test_manage_tenants import Admin
from .test_stream_model import HAIKU, ask

Json = dict[str, Any]
Load = Callable[[str], Any]
WITH_BODY = [operation for operation in OPERATIONS if "requestBody" in operation.said]
# A directory's bodies are read by SCIM's own rules, which ignore what they do not know (test_scim).
WITH_BODY = [operation for operation in WITH_BODY if not operation.path.startswith("/scim/")]
OF_FUNCTION = {
    (event["Path"], event["Method"].lower()): function
    for function in FUNCTIONS.values()
    for event in function.events("Api")
}


def schema_name(operation: Operation) -> str:
    reference: str = operation.said["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    return reference.rpartition("/")[2]


def example(operation: Operation) -> Json:
    shown = operation.said["requestBody"]["content"]["application/json"]["examples"]
    body: Json = copy.deepcopy(resolve(next(iter(shown.values())))["value"])
    return body


def wrong(schema: Json) -> Any:
    """A value of a type that the schema does not have."""
    return 7 if schema["type"] == "string" else "x"


def sound(schema: Json) -> Any:
    """A minimal value that the schema accepts."""
    said = resolve(schema)
    if "enum" in said:
        return said["enum"][0]
    match said.get("type"):
        case "object":
            return {name: sound(said["properties"][name]) for name in said.get("required", ())}
        case "array":
            return [sound(said["items"])]
        case "integer" | "number":
            return said.get("minimum", 1)
        case "boolean":
            return True
    return "x" * max(said.get("minLength", 1), 1)


def spoiled(schema: Json) -> Iterator[tuple[str, Any]]:
    """Values that the schema forbids, each with the path of the wrong field, for every part with a type."""
    said = resolve(schema)
    if "type" in said:
        yield "", wrong(said)
    for name, inner in said.get("properties", {}).items():
        for way, value in spoiled(inner):
            yield f".{name}{way}", {**sound(said), name: value}
    if said.get("type") == "array":
        for way, value in spoiled(said["items"]):
            yield f".0{way}", [value]


def cases() -> Iterator[Any]:
    """For each operation: a body of a wrong type, a field of it, and a field within a field."""
    for operation in WITH_BODY:
        body = example(operation)
        found: dict[int, tuple[str, Any]] = {}
        schema = operation.said["requestBody"]["content"]["application/json"]["schema"]
        for way, value in spoiled(schema):
            found.setdefault(min(way.count("."), 2), (way, value))
        for way, value in found.values():
            sent = {**body, **value} if isinstance(value, dict) else value
            yield pytest.param(operation, sent, way.lstrip("."), id=f"{operation} {way}")


@pytest.fixture
def send(load: Load, models: FakeModels) -> Callable[[Operation, Any], tuple[int, Json]]:
    """Status and JSON of an operation's answer, from the real function."""

    def send(operation: Operation, body: Any) -> tuple[int, Json]:
        function = OF_FUNCTION[operation.path, operation.method].code.rpartition("/")[2]
        module = load(function)
        path = operation.path.format(modelId=HAIKU, tenant_id="acme", key_id="key_1", user_id="ann", issuer_id="idp")
        if isinstance(module.app, Asgi):
            status, answer, _ = ask(module.app, path, body, query=f"model_id={HAIKU}")
            return status, json.loads(answer)
        if path.startswith("/admin/"):
            return Admin(module)(operation.method.upper(), path, json.dumps(body))
        asked = event(path, json.dumps(body), query={"model_id": HAIKU}) | {"httpMethod": operation.method.upper()}
        asked["requestContext"]["authorizer"] |= {"role": "tenant-admin", "user_id": "eve", "user_source": "key"}
        answered = module.handler(asked, None)
        return answered["statusCode"], json.loads(answered["body"])

    return send


@pytest.mark.parametrize("operation", WITH_BODY, ids=str)
def test_an_operation_s_body_has_a_generated_check(operation: Operation) -> None:
    if operation.streams:
        assert operation.said["operationId"] in bodies.BY_OPERATION
    else:
        assert hasattr(schemas, schema_name(operation))


def test_there_is_no_check_without_an_operation() -> None:
    assert bodies.BY_OPERATION.keys() == {o.said["operationId"] for o in WITH_BODY if o.streams}


@pytest.mark.parametrize(("operation", "body", "way"), list(cases()))
def test_a_body_that_the_spec_forbids_is_refused_by_the_field_s_name(
    send: Callable[[Operation, Any], tuple[int, Json]], operation: Operation, body: Any, way: str
) -> None:
    status, answer = send(operation, body)
    assert status == 400, answer
    message = re.sub(r"\[(\d+)\]", r".\1", answer["message"])
    assert re.match(rf"(body\.)?{re.escape(way)}\b" if way else r"body|The body|Send a JSON object", message), message
    refusal = resolve(operation.said["responses"]["400"])["content"]["application/json"]["schema"]
    OAS30Validator(schema_of(refusal)).validate(answer)
    assert rows() == []


@pytest.mark.parametrize(
    ("path", "body", "message", "code"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi", "name": 7}]},
         "messages[0].name must be a string.", "invalid_type"),
        ("/v1/chat/completions", {"messages": [{}]}, "messages[0].role is missing.", "missing_required_parameter"),
        ("/v1/responses", {"input": "hi", "reasoning": {"effort": 7}}, "reasoning.effort must be a string.", "invalid_type"),
        ("/v1/messages", {"max_tokens": 9, "messages": [{"role": "x", "content": ""}]},
         "messages.0.role: must be one of user, assistant, system.", "invalid_field"),
        (f"/model/{HAIKU}/converse", {"messages": [{"role": "user", "content": [{"text": 7}]}]},
         "messages[0].content[0].text: must be a string.", "invalid_body"),
        ("/stream_model", {"text_prompts": [7]}, "text_prompts[0]: must be an object.", "invalid_body"),
    ],
)  # fmt: skip
def test_a_refusal_speaks_the_format_of_its_path(
    streaming: Any, path: str, body: Json, message: str, code: str
) -> None:
    status, answer, _ = ask(streaming, path, {"model": HAIKU, **body}, query=f"model_id={HAIKU}")
    told = json.loads(answer)
    assert (status, told["message"], told["code"]) == (400, message, code)


# --------------------------------------------------------------------------------------------- what the checks are like
@pytest.mark.parametrize("operation", [operation for operation in WITH_BODY if operation.streams], ids=str)
def test_what_is_not_required_may_be_null_and_what_is_unknown_passes(operation: Operation) -> None:
    schema = resolve(operation.said["requestBody"]["content"]["application/json"]["schema"])
    optional = schema.get("properties", {}).keys() - set(schema.get("required", ()))
    body = {**example(operation), **dict.fromkeys(optional), "unknown": 7}
    sent = copy.deepcopy(body)
    bodies.BY_OPERATION[operation.said["operationId"]](sent)
    assert sent == body  # and nothing is put in


def test_a_sentence_says_what_the_field_must_be() -> None:
    assert sentence("type", {"type": ["string", "null"]}) == "must be a string."
    assert sentence("enum", {"enum": ["a", "b", None]}) == "must be one of a, b."
    assert sentence("minimum", {"type": "number", "minimum": 0, "maximum": 2}) == "must be between 0 and 2."
    assert sentence("type", {"type": "integer", "minimum": 1}) == "must be a positive integer."
    assert sentence("minLength", {"minLength": 1}) == "must not be empty."


def test_a_word_that_no_check_is_made_of_is_an_error_and_not_left_out() -> None:
    with pytest.raises(ValueError, match="oneOf"):
        generate({"A": {"type": "object", "properties": {"a": {"oneOf": []}}}}, {"makeA": "A"})


def test_the_checks_import_nothing_of_their_compiler() -> None:
    assert not [name for name in vars(bodies) if "fastjsonschema" in str(getattr(vars(bodies)[name], "__module__", ""))]

"""API Gateway's rules for calls besides routing, listed in scripts/dev/rest_api/rules.py, on the local stack.

Each promise holds for an ordinary function and, if possible, for a streaming one.
"""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from scripts.dev.rest_api.headers import NOT_FROM_A_FUNCTION, NOT_TO_A_FUNCTION, RENAMED_FROM_A_FUNCTION
from scripts.dev.stack import LocalStack
from scripts.dev.supervisor import ROOT

TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Runtime: python3.13, Handler: app.handler, Timeout: 20, MemorySize: 256}
Resources:
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: v1
      DefinitionBody: {Fn::Transform: {Name: AWS::Include, Parameters: {Location: openapi.yaml}}}
  AuthorizeFunction: {Type: AWS::Serverless::Function, Properties: {CodeUri: authorize}}
  EchoFunction: {Type: AWS::Serverless::Function, Properties: {CodeUri: echo}}
  StreamFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: stream
      Handler: run.sh
      Environment: {Variables: {AWS_LAMBDA_EXEC_WRAPPER: /opt/bootstrap, AWS_LWA_PORT: "8080"}}
"""
_FUNCTIONS = "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/%s/functions/${%s.Arn}/%s"
_ECHO = "{type: aws_proxy, httpMethod: POST, uri: {Fn::Sub: '" + _FUNCTIONS % ("2015-03-31", "EchoFunction", "invocations") + "'}}"  # fmt: skip
_STREAM = (
    "{type: aws_proxy, httpMethod: POST, responseTransferMode: STREAM, timeoutInMillis: 15000, uri: {Fn::Sub: '"
    + _FUNCTIONS % ("2021-11-15", "StreamFunction", "response-streaming-invocations") + "'}}"
)  # fmt: skip
_OPERATION = """
      security: [{Key: []}]
      parameters: [{name: name, in: path, required: true, schema: {type: string}}]
      responses: {"200": {description: yes}}
      x-amazon-apigateway-integration: %s
"""
SPEC = f"""
openapi: 3.0.3
info: {{title: Echo, version: "1"}}
security: [{{Key: []}}]
x-amazon-apigateway-binary-media-types: [image/png]
paths:
  /echo/{{name}}:
    get:
{_OPERATION % _ECHO}
    post:
{_OPERATION % _ECHO}
  /stream/{{name}}:
    get:
{_OPERATION % _STREAM}
    post:
{_OPERATION % _STREAM}
  /open:
    post:
      responses: {{"200": {{description: yes}}}}
      x-amazon-apigateway-integration: {_ECHO}
components:
  securitySchemes:
    Key:
      type: apiKey
      name: x-api-key
      in: header
      x-amazon-apigateway-authtype: custom
      x-amazon-apigateway-authorizer:
        type: request
        authorizerResultTtlInSeconds: 0
        authorizerUri: {{Fn::Sub: '{_FUNCTIONS % ("2015-03-31", "AuthorizeFunction", "invocations")}'}}
x-amazon-apigateway-gateway-responses:
  REQUEST_TOO_LARGE: {{statusCode: 418, responseTemplates: {{application/json: '{{"code": "too_large"}}'}}}}
  DEFAULT_4XX: {{responseTemplates: {{application/json: '{{"code": "refused"}}'}}}}
  DEFAULT_5XX: {{responseTemplates: {{application/json: '{{"code": "failed"}}'}}}}
"""
AUTHORIZE = """
def handler(event, context):
    if {name.lower(): value for name, value in event["headers"].items()}.get("x-api-key") != "good":
        raise Exception("Unauthorized")
    statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": "*"}
    return {"principalId": "t", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
"""
# Both answer with what they were sent; the query parameter `answer` names headers of theirs.
ECHO = """
import json

def handler(event, context):
    query = event["queryStringParameters"] or {}
    own = {name: "own" for name in query.get("answer", "").split()}
    seen = {"path": event["path"], "parameters": event["pathParameters"], "method": event["httpMethod"], "query": query,
            "all": event["multiValueQueryStringParameters"], "headers": event["multiValueHeaders"],
            "body": event["body"], "is_base64": event["isBase64Encoded"]}
    return {"statusCode": 200, "headers": {"Content-Type": "application/json", **own}, "body": json.dumps(seen)}
"""
STREAM = """
import json
from urllib.parse import parse_qsl

async def app(scope, receive, send):
    query = dict(parse_qsl(scope["query_string"].decode()))
    headers = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode(), []).append(value.decode())
    seen = {"path": scope["raw_path"].decode(), "method": scope["method"], "query": query, "headers": headers}
    own = [(name.encode(), b"own") for name in query.get("answer", "").split()]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json"), *own]})
    await send({"type": "http.response.body", "body": json.dumps(seen).encode()})
"""
WAYS = ("echo", "stream")
both_ways = pytest.mark.parametrize("way", WAYS)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def said(self) -> Any:
        return json.loads(self.body)

    @property
    def received(self) -> Mapping[str, list[str]]:
        """The headers that the function received, by their names in lower case."""
        return {name.lower(): values for name, values in self.said["headers"].items()}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    folder = tmp_path_factory.mktemp("project")
    for name, text in {
        "template.yaml": TEMPLATE,
        "openapi.yaml": SPEC,
        "authorize/app.py": AUTHORIZE,
        "echo/app.py": ECHO,
        "stream/app.py": STREAM,
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    shutil.copy(ROOT / "functions/stream_model/run.sh", folder / "stream/run.sh")
    with LocalStack(tmp_path_factory.mktemp("edge"), template=folder / "template.yaml") as stack:
        yield stack


def send(
    stack: LocalStack,
    target: str,
    *headers: tuple[str, str],
    method: str = "POST",
    body: Any = b"{}",
    key: str | None = "good",
    **more: Any,
) -> Answer:
    """Send one request with exactly these bytes."""
    connection = http.client.HTTPConnection(urlsplit(stack.url or "").netloc, timeout=30)
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in (*headers, *([("x-api-key", key)] if key else [])):
        connection.putheader(name, value)
    if not more:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body, **more)
    answer = connection.getresponse()
    read = Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    connection.close()
    return read


# ------------------------------------------------------------------------------------------------------- who is let in
def test_security_of_the_root_closes_nothing(stack: LocalStack) -> None:
    assert send(stack, "/open", key=None).status == 200
    assert send(stack, "/echo/me", key=None).status == 401


@pytest.mark.parametrize("target", ["/nowhere", "/echo", "/echo/me/", "/echo/me/again", "/Echo/me"])
def test_a_path_that_is_not_there_answers_as_a_missing_signature(stack: LocalStack, target: str) -> None:
    answer = send(stack, target)
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (403, "MissingAuthenticationTokenException")
    assert send(stack, "/echo/me", method="PUT").status == 403


@both_ways
def test_a_path_that_makes_a_method_s_arn_too_long_is_refused(stack: LocalStack, way: str) -> None:
    assert send(stack, f"/{way}/{'x' * 1400}").status == 200
    answer = send(stack, f"/{way}/{'x' * 1600}")
    assert (answer.status, answer.said) == (414, {"message": "Request URI too long"})


# ----------------------------------------------------------------------------------------------------------- the target
@both_ways
@pytest.mark.parametrize("name", ["a b/c", "arn:aws:bedrock:us-east-1::model/a.b-v1:0", "é", "100%"])
def test_a_path_reaches_a_function_as_it_was_sent(stack: LocalStack, way: str, name: str) -> None:
    sent = quote(name, safe="")
    said = send(stack, f"/{way}/{sent}?q={sent}").said
    assert (said["path"], said["query"]) == (f"/{way}/{sent}", {"q": name})
    assert said.get("parameters", {"name": sent}) == {"name": sent}


@both_ways
def test_a_header_overrides_the_method(stack: LocalStack, way: str) -> None:
    said = send(stack, f"/{way}/me", ("X-HTTP-Method-Override", "GET")).said
    assert said["method"] == "GET"
    assert send(stack, f"/{way}/me", ("X-HTTP-Method-Override", "DELETE")).status == 403


@pytest.mark.parametrize("character", "|{}")
def test_a_query_string_with_a_plain_pipe_or_brace_is_refused(stack: LocalStack, character: str) -> None:
    assert send(stack, f"/echo/me?a={character}").status == 400
    assert send(stack, f"/echo/me?a={quote(character)}").said["query"] == {"a": character}


def test_a_semicolon_parts_two_parameters(stack: LocalStack) -> None:
    assert send(stack, "/echo/me?a=1;b=2").said["query"] == {"a": "1", "b": "2"}
    assert send(stack, "/echo/me?a=1%3Bb=2").said["query"] == {"a": "1;b=2"}


def test_what_comes_twice_is_there_once_and_whole(stack: LocalStack) -> None:
    said = send(stack, "/echo/me?a=1&a=2", ("X-A", "1"), ("X-A", "2")).said
    assert (said["query"], said["all"]) == ({"a": "2"}, {"a": ["1", "2"]})
    assert said["headers"]["X-A"] == ["1", "2"]  # spelled as it was sent


# -------------------------------------------------------------------------------------------------------------- headers
@both_ways
def test_a_header_of_the_connection_does_not_reach_the_function(stack: LocalStack, way: str) -> None:
    dropped = NOT_TO_A_FUNCTION - {"connection"}  # which would end this one
    passed = {"Accept-Encoding": "gzip", "Via": "me", "Date": "today", "Pragma": "none", "team_id": "ops"}
    answer = send(stack, f"/{way}/me", *((name, "sent") for name in dropped), *passed.items())
    assert not dropped & answer.received.keys()
    assert {name: answer.received[name.lower()] for name in passed} == {name: [value] for name, value in passed.items()}


@both_ways
def test_a_signature_does_not_reach_the_function(stack: LocalStack, way: str) -> None:
    signed = "AWS4-HMAC-SHA256 Credential=A/20261130/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=0"
    assert "authorization" not in send(stack, f"/{way}/me", ("Authorization", signed)).received
    bearer = send(stack, f"/{way}/me", ("Authorization", "Bearer good")).received
    assert bearer["authorization"] == ["Bearer good"]


@both_ways
def test_a_header_of_a_function_s_answer_is_remapped(stack: LocalStack, way: str) -> None:
    renamed = RENAMED_FROM_A_FUNCTION - ({"connection"} if way == "stream" else set())  # the server's own there
    answer = send(stack, f"/{way}/me?answer={'+'.join((*renamed, 'x-own', 'age'))}")
    assert {name: answer.headers[f"x-amzn-remapped-{name}"] for name in renamed} == dict.fromkeys(renamed, "own")
    assert (answer.headers["x-own"], answer.headers["age"]) == ("own", "own")
    assert not {name for name in renamed if answer.headers.get(name) == "own"}


@both_ways
def test_a_header_of_the_connection_does_not_come_from_a_function(stack: LocalStack, way: str) -> None:
    named = NOT_FROM_A_FUNCTION - {"transfer-encoding", "upgrade"}  # with these a server would not frame its answer
    answer = send(stack, f"/{way}/me?answer={'+'.join(named)}")
    assert answer.status == 200
    assert not {name for name in named if answer.headers.get(name) == "own"}


def test_more_than_ten_kilobytes_of_headers_are_refused(stack: LocalStack) -> None:
    assert send(stack, "/echo/me", ("X-A", "x" * 10_000)).status == 200
    assert send(stack, "/echo/me", ("X-A", "x" * 5_200), ("X-B", "x" * 5_200)).status == 431


# --------------------------------------------------------------------------------------------------------------- bodies
@both_ways
def test_a_body_in_chunks_is_refused(stack: LocalStack, way: str) -> None:
    chunks, header = iter([b'{"a":', b"1}"]), ("Transfer-Encoding", "chunked")
    answer = send(stack, f"/{way}/me", header, body=chunks, encode_chunked=True)
    assert (answer.status, answer.said) == (500, {"code": "failed"})
    assert send(stack, f"/{way}/me", header, key=None, body=iter([b"{}"]), encode_chunked=True).status == 401


@both_ways
def test_a_request_above_six_megabytes_is_refused_in_api_gateway_s_words(stack: LocalStack, way: str) -> None:
    answer = send(stack, f"/{way}/me", body=b"x" * 6_400_000)
    assert (answer.status, answer.said) == (413, {"message": "Request Too Long"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-amzn-errortype"] == "BadRequestException"
    assert answer.headers["x-amzn-requestid"]
    assert send(stack, f"/{way}/me", body=b"x" * 6_400_000, key=None).status == 401


def test_a_body_above_ten_megabytes_is_refused_before_the_api_is_known(stack: LocalStack) -> None:
    answer = send(stack, "/nowhere", body=b"x" * (10 * 1024 * 1024 + 1), key=None)
    assert (answer.status, answer.body) == (413, b"HTTP content length exceeded 10485760 bytes.")
    assert answer.headers["content-type"].startswith("text")
    assert "x-amzn-requestid" not in answer.headers


def test_a_body_is_base64_only_where_the_api_says_that_it_is_binary(stack: LocalStack) -> None:
    for kind, is_base64 in (("image/png", True), ("IMAGE/PNG; q=1", True), ("text/plain", False)):
        assert send(stack, "/echo/me", ("Content-Type", kind), body=b"hello").said["is_base64"] is is_base64
    assert send(stack, "/echo/me", ("Content-Type", "image/jpeg"), body=b"\xff").said["body"] == "\ufffd"

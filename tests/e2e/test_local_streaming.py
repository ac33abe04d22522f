"""The local stack's promises about streams and TLS, with the test's own template, spec and ASGI app."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import os
import shlex
import shutil
import signal
import ssl
import stat
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import boto3
import pytest
import requests
from botocore.config import Config

from scripts.dev.certificate import certificate
from scripts.dev.lambda_runtime.web_adapter import Chunks
from scripts.dev.stack import LocalStack
from scripts.dev.supervisor import ROOT

from .processes import alive, eventually

_A_DAY = dt.timedelta(days=1)

TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Parameters:
  Marks: {Type: String}
Globals:
  Function: {Runtime: python3.13, Handler: app.handler, Timeout: 20, MemorySize: 256}
Resources:
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: v1
      DefinitionBody: {Fn::Transform: {Name: AWS::Include, Parameters: {Location: openapi.yaml}}}
  Plan: {Type: AWS::ApiGateway::UsagePlan, Properties: {Throttle: {RateLimit: 1000, BurstLimit: 1000}}}
  PlanKey: {Type: AWS::ApiGateway::ApiKey, Properties: {Value: plan-key}}
  PlanMembership: {Type: AWS::ApiGateway::UsagePlanKey, Properties: {KeyId: !Ref PlanKey, UsagePlanId: !Ref Plan}}
  AuthorizeFunction: {Type: AWS::Serverless::Function, Properties: {CodeUri: authorize}}
  StreamFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: stream
      Handler: run.sh
      Environment: {Variables: {AWS_LAMBDA_EXEC_WRAPPER: /opt/bootstrap, AWS_LWA_PORT: "8080", MARKS: !Ref Marks}}
"""

_URI = "{Fn::Sub: 'arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2021-11-15/functions/${StreamFunction.Arn}/response-streaming-invocations'}"
_STREAM = "{type: aws_proxy, httpMethod: POST, responseTransferMode: STREAM, timeoutInMillis: %d, uri: " + _URI + "}"
_RESPONSES = '{"200": {description: yes, content: {application/json: {schema: {type: object, required: [path]}}}}}'
_OPERATION = f"""
      security: [{{Key: [], Plan: []}}]
      requestBody: {{content: {{application/json: {{schema: {{type: object}}}}}}}}
      responses: {_RESPONSES}
"""

SPEC = f"""
openapi: 3.0.3
info: {{title: Streams, version: "1"}}
x-amazon-apigateway-request-validators: {{all: {{validateRequestBody: true, validateRequestParameters: true}}}}
x-amazon-apigateway-request-validator: all
paths:
  /do:
    post:
      operationId: do
{_OPERATION}
      x-amazon-apigateway-integration: {_STREAM % 15000}
  /impatient:
    post:
      operationId: impatient
{_OPERATION}
      x-amazon-apigateway-integration: {_STREAM % 500}
  /model/{{modelId}}/converse:
    post:
      operationId: converse
      parameters: [{{name: modelId, in: path, required: true, schema: {{type: string}}}}]
{_OPERATION}
      x-amazon-apigateway-integration: {_STREAM % 15000}
components:
  securitySchemes:
    Key:
      type: apiKey
      name: Authorization
      in: header
      x-amazon-apigateway-authtype: custom
      x-amazon-apigateway-authorizer:
        type: request
        authorizerResultTtlInSeconds: 0
        authorizerUri: {{Fn::Sub: 'arn:${{AWS::Partition}}:apigateway:${{AWS::Region}}:lambda:path/2015-03-31/functions/${{AuthorizeFunction.Arn}}/invocations'}}
    Plan: {{type: apiKey, name: x-api-key, in: header}}
x-amazon-apigateway-gateway-responses:
  INTEGRATION_TIMEOUT: {{statusCode: 504, responseTemplates: {{application/json: '{{"code": "still_running"}}'}}}}
  INTEGRATION_FAILURE: {{statusCode: 502, responseTemplates: {{application/json: '{{"code": "gateway_failed", "request_id": "$context.requestId"}}'}}}}
"""

AUTHORIZE = """
def handler(event, context):
    headers = {name.lower(): value for name, value in event["headers"].items()}
    if headers.get("authorization") != "Bearer good":
        raise Exception("Unauthorized")
    statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": "*"}
    return {"principalId": "t", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
            "context": {"tenant_id": "tenant-1"}, "usageIdentifierKey": "plan-key"}
"""

# Says what it was asked, or counts slowly. What it has said to its end leaves a mark, whoever listened.
STREAM = """
import asyncio, json, os, signal, time

async def body_of(receive):
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body

async def app(scope, receive, send):
    async def start(kind, length=None):
        headers = [(b"content-type", kind), (b"x-own", b"1"), (b"x-own", b"2")]
        headers += [(b"content-length", str(length).encode())] if length is not None else []
        await send({"type": "http.response.start", "status": 201 if kind != b"application/json" else 200, "headers": headers})

    async def say(part, more=True):
        await send({"type": "http.response.body", "body": part, "more_body": more})

    if scope["path"] == "/":
        await start(b"text/plain", 2)
        await say(b"ok", False)
        return
    asked = json.loads(await body_of(receive) or b"{}")
    if asked.get("do") == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if asked.get("do") == "count":
        await asyncio.sleep(asked.get("silent", 0))
        await start(b"text/event-stream")
        told = asyncio.ensure_future(receive())
        for number in range(asked["times"]):
            await say(b"data: %d %.6f\\n\\n" % (number, time.time()))
            if number == asked.get("die_after"):
                await asyncio.sleep(0.1)
                os.kill(os.getpid(), signal.SIGKILL)
            await asyncio.sleep(asked["every"])
        if "mark" in asked:
            with open(os.path.join(os.environ["MARKS"], asked["mark"] + ".new"), "w") as mark:
                mark.write("told" if told.done() else "never told")
            os.rename(mark.name, mark.name[:-4])
        await say(b"data: done\\n\\n", False)
        return
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
    said = {"path": scope["raw_path"].decode(), "query": scope["query_string"].decode(), "headers": headers,
            "environment": dict(os.environ), "folder": os.getcwd(), "pid": os.getpid(),
            "output": {"message": {"role": "assistant", "content": [{"text": "hello"}]}}, "stopReason": "end_turn",
            "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}, "metrics": {"latencyMs": 1}}
    if asked.get("do") == "misfit":
        del said["path"]
    content = json.dumps(said).encode()
    await start(b"application/json", len(content))
    await say(content, False)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for name, text in {
        "template.yaml": TEMPLATE,
        "openapi.yaml": SPEC,
        "authorize/app.py": AUTHORIZE,
        "stream/app.py": STREAM,
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    shutil.copy(ROOT / "functions/stream_model/run.sh", folder / "stream/run.sh")
    (folder / "marks").mkdir()
    return folder


def make_stack(project: Path, data: Path) -> LocalStack:
    return LocalStack(
        data, template=project / "template.yaml", environment={"GATEWAY_PARAM_Marks": str(project / "marks")}
    )


@pytest.fixture(scope="module")
def stack(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with make_stack(project, tmp_path_factory.mktemp("streams")) as stack:
        yield stack


def call(
    stack: LocalStack, path: str = "/do", headers: dict[str, str] | None = None, **asked: Any
) -> requests.Response:
    return requests.post(
        f"{stack.url}{path}",
        json=asked,
        headers={"Authorization": "Bearer good", **(headers or {})},
        timeout=20,
        stream=True,
    )


def lines(answer: requests.Response) -> Iterator[tuple[float, str]]:
    for line in answer.iter_lines(chunk_size=None):
        if line:
            yield time.time(), line.decode()


# ------------------------------------------------------------------------------------------------------------ streams
def test_each_part_arrives_when_it_is_sent(stack: LocalStack) -> None:
    began = time.time()
    answer = call(stack, do="count", times=30, every=0.02)
    assert (answer.status_code, answer.headers["transfer-encoding"]) == (201, "chunked")
    assert answer.headers["x-own"] == "1, 2"
    assert answer.headers["x-amzn-RequestId"]
    arrived = list(lines(answer))
    assert [line.split()[1] for _, line in arrived] == [*map(str, range(30)), "done"]
    late = [at - float(line.split()[2]) for at, line in arrived[:-1]]
    assert statistics.median(late) < 0.01
    assert arrived[0][0] - began < 0.5 * 30 * 0.02, "the first came long before the last was sent"


def test_chunks_are_read_however_they_are_cut() -> None:
    body = b"3\r\nabc\r\n10;x=y\r\n" + b"d" * 14 + b"\r\n" + b"\r\n1\r\n\n\r\n0\r\n\r\n"
    whole = b"abc" + b"d" * 14 + b"\r\n\n"
    for size in range(1, len(body) + 1):
        chunks = Chunks()
        assert b"".join(chunks.feed(body[at : at + size]) for at in range(0, len(body), size)) == whole
        assert chunks.over
    unfinished = Chunks()
    assert unfinished.feed(body[: body.index(b"0\r\n\r\n")]) == whole
    assert not unfinished.over


def test_fifty_stream_at_a_time(stack: LocalStack) -> None:
    def count(_: int) -> tuple[int, float]:
        arrived = list(lines(call(stack, do="count", times=20, every=0.05)))
        return len(arrived), max(at - float(line.split()[2]) for at, line in arrived[:-1])

    began = time.monotonic()
    with ThreadPoolExecutor(50) as many:
        counted = list(many.map(count, range(50)))
    assert [number for number, _ in counted] == [21] * 50
    assert time.monotonic() - began < 6, "one after the other would take fifty seconds"


def test_a_function_gets_what_the_adapter_would_give_it(stack: LocalStack) -> None:
    forged = {
        "x-amzn-request-context": '{"authorizer": {"tenant_id": "other"}}',
        "X-Amzn-Lambda-Context": "{}",
        "team_id": "ops",
    }
    answer = call(stack, "/do?a=%2F&a=b%20c", forged)
    said = answer.json()
    headers: dict[str, list[str]] = {}
    for name, value in said["headers"]:
        headers.setdefault(name, []).append(value)
    ((context,), (of_lambda,)) = headers["x-amzn-request-context"], headers["x-amzn-lambda-context"]
    context, of_lambda = json.loads(context), json.loads(of_lambda)
    assert context["authorizer"]["tenant_id"] == "tenant-1"
    assert context["requestId"] == answer.headers["x-amzn-RequestId"]
    assert (context["resourcePath"], context["identity"]["apiKeyId"]) == ("/do", "local-PlanKey")
    assert 15_000 < of_lambda["deadline"] - time.time() * 1000 <= 20_000
    assert of_lambda["request_id"]
    assert (headers["team_id"], headers["host"]) == (["ops"], [urlsplit(stack.url).netloc])
    assert said["query"] == "a=%2F&a=b%20c"
    environment = said["environment"]
    assert environment["AWS_ENDPOINT_URL"] == stack.aws_endpoint
    assert environment["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"] == stack.model_stand_in_url
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == "local-StreamFunction"
    assert "GATEWAY_DEV_DIR" not in environment, "nothing of whoever started the stack"
    assert said["folder"] == environment["LAMBDA_TASK_ROOT"]
    assert answer.headers["content-length"] == str(len(answer.content))


@pytest.mark.parametrize(
    "model", ["anthropic.claude-3-haiku-20240307-v1:0", "arn:aws:bedrock:us-east-1::foundation-model/a.b-v1:0"]
)
def test_a_path_is_passed_on_as_it_came(stack: LocalStack, model: str) -> None:
    path = f"/model/{quote(model, safe='')}/converse"
    assert call(stack, path).json()["path"] == path


def test_a_stranger_does_not_reach_the_function(stack: LocalStack) -> None:
    answer = requests.post(f"{stack.url}/do", json={}, headers={"Authorization": "Bearer bad"}, timeout=10)
    assert answer.status_code == 401
    wrong = requests.post(f"{stack.url}/do", json=[], headers={"Authorization": "Bearer good"}, timeout=10)
    assert wrong.status_code == 400


def test_a_function_is_not_told_that_the_client_has_gone(stack: LocalStack, project: Path) -> None:
    answer = call(stack, do="count", times=20, every=0.03, mark="hung-up")
    next(lines(answer))
    answer.close()
    mark = project / "marks/hung-up"
    eventually(mark.exists)
    assert mark.read_text() == "never told"


def test_a_function_that_dies_is_a_problem_and_the_next_call_is_served(stack: LocalStack) -> None:
    before = call(stack).json()["pid"]
    died = call(stack, do="die")
    assert (died.status_code, died.headers["content-type"]) == (502, "application/json")
    assert died.json() == {"code": "gateway_failed", "request_id": died.headers["x-amzn-RequestId"]}
    assert call(stack).json()["pid"] != before


def test_a_stream_that_breaks_off_does_not_look_finished(stack: LocalStack) -> None:
    answer = call(stack, do="count", times=5, every=0, die_after=2)
    assert answer.status_code == 201
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)):
        list(lines(answer))


def test_api_gateways_patience_ends_and_the_function_goes_on(stack: LocalStack, project: Path) -> None:
    silent = call(stack, "/impatient", do="count", times=1, every=0, silent=0.9, mark="silent")
    assert (silent.status_code, silent.json()) == (504, {"code": "still_running"})
    slow = call(stack, "/impatient", do="count", times=10, every=0.1, mark="slow")
    assert slow.status_code == 201
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)):
        list(lines(slow))
    eventually((project / "marks/silent").exists)
    eventually((project / "marks/slow").exists)


def test_a_stream_is_one_line_of_the_access_log(stack: LocalStack) -> None:
    answer = call(stack, do="count", times=5, every=0.1)
    size = len(answer.content)
    request_id = answer.headers["x-amzn-RequestId"]
    log = stack.data / "logs/access.log"
    (line,) = eventually(lambda: [line for line in map(json.loads, log.open()) if line["request_id"] == request_id])
    assert (line["status"], line["bytes"], line["route"], line["tenant_id"]) == (201, size, "/do", "tenant-1")
    assert line["latency_ms"] - line["first_byte_ms"] > 200


def test_json_that_does_not_fit_the_spec_is_noted(stack: LocalStack) -> None:
    request_id = call(stack, "/model/a/converse", do="misfit").headers["x-amzn-RequestId"]
    eventually(lambda: request_id in (stack.data / "logs/contract.log").read_text())


# ---------------------------------------------------------------------------------------------------------------- TLS
def test_tls_serves_the_same_to_whoever_trusts_the_authority(stack: LocalStack) -> None:
    assert stack.tls_url.startswith("https://127.0.0.1:")
    answer = requests.post(
        f"{stack.tls_url}/do",
        json={"do": "count", "times": 3, "every": 0},
        headers={"Authorization": "Bearer good"},
        verify=str(stack.ca),
        timeout=10,
    )
    assert answer.content.endswith(b"data: done\n\n")
    with pytest.raises(requests.exceptions.SSLError):
        requests.post(f"{stack.tls_url}/do", json={}, timeout=10)
    strict = ssl.create_default_context(cafile=str(stack.ca))
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    connection = http.client.HTTPSConnection("localhost", urlsplit(stack.tls_url).port, context=strict, timeout=10)
    for _ in range(2):  # over one connection
        connection.request("POST", "/do", b"{}", {"Authorization": "Bearer good", "content-type": "application/json"})
        assert json.loads(connection.getresponse().read())["path"] == "/do"
    connection.close()


def test_boto3_calls_with_a_bearer_token(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(stack.ca))
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", stack.tls_url)
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "good")
    client = boto3.client("bedrock-runtime", region_name="us-east-1", config=Config(retries={"total_max_attempts": 1}))
    said = client.converse(
        modelId="arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.a.b-v1:0",
        messages=[{"role": "user", "content": [{"text": "hello"}]}],
    )
    assert said["output"]["message"]["content"] == [{"text": "hello"}]


def test_a_certificate_is_kept_until_it_expires_and_its_key_is_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = certificate(tmp_path / "tls")
    first = made.server.read_bytes()
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600
    assert {path.name for path in made.key.parent.iterdir()} == {"ca.pem", "server.pem", "server.key"}
    assert certificate(tmp_path / "tls").server.read_bytes() == first
    made.ca.write_bytes(certificate(tmp_path / "other").ca.read_bytes())  # of another authority
    assert certificate(tmp_path / "tls").server.read_bytes() != first
    monkeypatch.setattr("scripts.dev.certificate._VALID", _A_DAY)
    made.server.unlink()
    expiring = certificate(tmp_path / "tls").server.read_bytes()
    assert certificate(tmp_path / "tls").server.read_bytes() != expiring


def test_it_prints_how_boto3_is_made_to_call_it(stack: LocalStack, tmp_path: Path) -> None:
    """It starts this very project beside another stack. The printed call, run as printed, is answered."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.dev", "--exit-with-parent"],
        cwd=ROOT,
        env=os.environ | {"PORT": "0", "GATEWAY_DEV_DIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = [process.stdout.readline().rstrip("\n") for _ in range(10)]
    assert said[0], process.communicate(timeout=20)[1]
    info, tenants = (json.loads((tmp_path / name).read_text()) for name in ("stack.json", "tenants.json"))
    curl, *words = shlex.split(said[1].removeprefix("  Call a model: "))
    assert (curl, words[0], words[1::2][:2], words[-2]) == ("curl", "-s", ["-H", "-H"], "-d")
    headers = dict(header.split(": ") for header in words[2:5:2])
    answer = requests.post(words[5], data=words[-1], headers=headers, timeout=20)
    rest, _ = process.communicate(timeout=20)
    assert (process.returncode, rest) == (0, "")
    assert answer.status_code == 200, answer.text
    assert said[0] == f"ready {info['url']}"
    assert words[5].startswith(info["url"])
    assert said[2:] == [
        "  Or use boto3, over TLS:",
        f"    export AWS_DEFAULT_REGION={info['region']}",
        f"    export AWS_CA_BUNDLE={tmp_path}/tls/ca.pem",
        f"    export AWS_ENDPOINT_URL_BEDROCK_RUNTIME={info['tls_url']}",
        f"    export AWS_BEARER_TOKEN_BEDROCK={tenants['tenants'][0]['key']}",
        f"  Identity provider: {info['identity_provider']}. Sign in: gateway connect openai --local",
        f"  Keys of the demo tenants: {tmp_path}/tenants.json. Report of their costs: make costs",
        "  Docs: README.md, docs/ and openapi.yaml. Ctrl-C stops the stack; its data stays.",
    ]


# ------------------------------------------------------------------------------------------------------ life and death
def test_a_stream_outlives_a_killed_gateway(project: Path, tmp_path: Path) -> None:
    stack = make_stack(project, tmp_path).start()
    mark, processes = project / "marks/outlived", stack.info["processes"]
    try:
        answer = call(stack, do="count", times=30, every=0.05, mark=mark.name)
        arriving = lines(answer)
        next(arriving)
        stack.kill_gateway()
        with pytest.raises(requests.exceptions.RequestException):
            list(arriving)
        assert not mark.exists()
        stack.restart()
        assert call(stack).status_code == 200, "a new one serves beside the old"
        eventually(mark.exists)
        eventually(lambda: not any(map(alive, processes.values())))
    finally:
        stack.stop()


def test_a_stop_lets_a_stream_end(project: Path, tmp_path: Path) -> None:
    stack = make_stack(project, tmp_path).start()
    pids = [stack.info["pid"], *stack.info["processes"].values(), call(stack).json()["pid"]]
    answer = call(stack, do="count", times=10, every=0.1)
    os.kill(stack.info["pid"], signal.SIGTERM)
    assert list(lines(answer))[-1][1] == "data: done"
    assert stack.stop() == 0
    assert not any(map(alive, pids))

"""The local stack's promises, with the test's own template, spec and functions."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from scripts.dev.stack import LocalStack, StackError, WorkflowFailed, attach_or_start, is_running
from scripts.dev.supervisor import ROOT

from .processes import alive, eventually

TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Parameters:
  Marks: {Type: String}
  StageName: {Type: String, Default: v1}
  IntegrationTimeoutSeconds: {Type: Number, Default: 20}
Globals:
  Function: {Runtime: python3.13, Handler: app.handler, Timeout: 5, MemorySize: 256}
Resources:
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: !Ref StageName
      DefinitionBody: {Fn::Transform: {Name: AWS::Include, Parameters: {Location: openapi.yaml}}}
  Plan: {Type: AWS::ApiGateway::UsagePlan, Properties: {Throttle: {RateLimit: 1000, BurstLimit: 1000}}}
  PlanKey: {Type: AWS::ApiGateway::ApiKey, Properties: {Value: plan-key}}
  PlanMembership: {Type: AWS::ApiGateway::UsagePlanKey, Properties: {KeyId: !Ref PlanKey, UsagePlanId: !Ref Plan}}
  SlowPlan: {Type: AWS::ApiGateway::UsagePlan, Properties: {Throttle: {RateLimit: 0.01, BurstLimit: 2}}}
  SlowKey: {Type: AWS::ApiGateway::ApiKey, Properties: {Value: slow-key}}
  SlowMembership: {Type: AWS::ApiGateway::UsagePlanKey, Properties: {KeyId: !Ref SlowKey, UsagePlanId: !Ref SlowPlan}}
  AuthorizeFunction: {Type: AWS::Serverless::Function, Properties: {CodeUri: authorize}}
  EchoFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: echo
      Environment: {Variables: {MARKS: !Ref Marks, TABLE: !Ref Things, QUEUE: !Ref Jobs, NAME: !Sub "${AWS::StackName}-x"}}
  WorkFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: work
      Environment: {Variables: {MARKS: !Ref Marks}}
      Events:
        Jobs: {Type: SQS, Properties: {Queue: !GetAtt Jobs.Arn, BatchSize: 1, FunctionResponseTypes: [ReportBatchItemFailures]}}
  Things:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: pk, AttributeType: S}, {AttributeName: sk, AttributeType: N}, {AttributeName: colour, AttributeType: S}]
      KeySchema: [{AttributeName: pk, KeyType: HASH}, {AttributeName: sk, KeyType: RANGE}]
      GlobalSecondaryIndexes:
        - {IndexName: by_colour, KeySchema: [{AttributeName: colour, KeyType: HASH}, {AttributeName: sk, KeyType: RANGE}], Projection: {ProjectionType: ALL}}
      TimeToLiveSpecification: {AttributeName: expires_at, Enabled: true}
  LakeBucket: {Type: AWS::S3::Bucket, Properties: {VersioningConfiguration: {Status: Enabled}}}
  OtherBucket: {Type: AWS::S3::Bucket}
  Jobs: {Type: AWS::SQS::Queue, Properties: {VisibilityTimeout: 1}}
  Parked: {Type: AWS::SQS::Queue, Properties: {VisibilityTimeout: 30}}
  Machine:
    Type: AWS::Serverless::StateMachine
    Properties:
      DefinitionUri: machine.asl.yaml
      DefinitionSubstitutions: {Echo: !GetAtt EchoFunction.Arn}
"""

MACHINE = """
StartAt: Each
States:
  Each:
    Type: Map
    ItemsPath: $.items
    ItemProcessor:
      ProcessorConfig: {Mode: INLINE}
      StartAt: Ask
      States:
        Ask:
          Type: Task
          Resource: arn:aws:states:::lambda:invoke
          Parameters: {FunctionName: "${Echo}", Payload.$: $}
          ResultSelector: {said.$: $.Payload.said}
          Catch:
            - {ErrorEquals: [Overtaken], ResultPath: null, Next: Late}
          End: true
        Late: {Type: Pass, Result: {said: late}, End: true}
    End: true
"""

_FUNCTION = "{type: aws_proxy, httpMethod: POST, timeoutInMillis: {Fn::Sub: '${IntegrationTimeoutSeconds}000'}, uri: {Fn::Sub: 'arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${EchoFunction.Arn}/invocations'}}"
_PROBLEM = """{statusCode: %d, responseParameters: {gatewayresponse.header.x-request-id: context.requestId}, responseTemplates: {application/json: '{"code": "%s", "request_id": "$context.requestId", "who": "$context.authorizer.tenant_id"}'}}"""

SPEC = f"""
openapi: 3.0.3
info: {{title: Echo, version: "1"}}
x-amazon-apigateway-request-validators: {{all: {{validateRequestBody: true, validateRequestParameters: true}}}}
x-amazon-apigateway-request-validator: all
x-amazon-apigateway-binary-media-types: [application/octet-stream, image/png]
paths:
  /echo/{{name}}:
    post:
      operationId: echo
      security: [{{Key: [], Plan: []}}]
      parameters:
        - {{name: name, in: path, required: true, schema: {{type: string}}}}
        - {{name: colour, in: query, required: true, schema: {{type: string, enum: [red, blue]}}}}
        - {{name: size, in: query, schema: {{type: integer}}}}
      requestBody:
        required: true
        content:
          application/json: {{schema: {{type: object, required: [do], properties: {{do: {{type: string}}}}}}}}
      responses:
        "200": {{description: yes, content: {{application/json: {{schema: {{type: object, required: [event]}}}}}}}}
      x-amazon-apigateway-integration: {_FUNCTION}
  /open:
    get:
      operationId: open
      security: []
      responses: {{"200": {{description: yes}}}}
      x-amazon-apigateway-integration: {_FUNCTION}
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
        authorizerUri: {{Fn::Sub: 'arn:${{AWS::Partition}}:apigateway:${{AWS::Region}}:lambda:path/2015-03-31/functions/${{AuthorizeFunction.Arn}}/invocations'}}
    Plan: {{type: apiKey, name: x-api-key, in: header}}
x-amazon-apigateway-gateway-responses:
  UNAUTHORIZED: {_PROBLEM % (401, "unauthorized")}
  ACCESS_DENIED: {_PROBLEM % (403, "denied")}
  INVALID_API_KEY: {_PROBLEM % (403, "no_plan")}
  MISSING_AUTHENTICATION_TOKEN: {_PROBLEM % (404, "route_not_found")}
  BAD_REQUEST_BODY: {_PROBLEM % (400, "invalid_body")}
  BAD_REQUEST_PARAMETERS: {_PROBLEM % (400, "invalid_parameters")}
  UNSUPPORTED_MEDIA_TYPE: {_PROBLEM % (415, "media_type")}
  INTEGRATION_TIMEOUT: {_PROBLEM % (504, "still_running")}
  INTEGRATION_FAILURE: {_PROBLEM % (502, "gateway_failed")}
  THROTTLED: {{statusCode: 429, responseParameters: {{gatewayresponse.header.Retry-After: "'1'"}}, responseTemplates: {{application/json: '{{"code": "throttled", "request_id": "$context.requestId"}}'}}}}
  DEFAULT_5XX: {_PROBLEM % (500, "internal_error")}
"""

AUTHORIZE = """
def handler(event, context):
    key = {name.lower(): value for name, value in event["headers"].items()}.get("x-api-key", "")
    if key == "broken":
        raise ValueError("a secret")
    if key not in ("good", "denied", "slow", "unplanned"):
        raise Exception("Unauthorized")
    effect = "Deny" if key == "denied" else "Allow"
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": event["methodArn"].split("/")[0] + "/v1/*"}
    said = {
        "principalId": "tenant-1",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": {"tenant_id": "tenant-1", "key_id": "key-1", "count": 3, "flag": True},
    }
    if key != "unplanned":
        said["usageIdentifierKey"] = "slow-key" if key == "slow" else "plan-key"
    return said
"""

ECHO = """
import base64, json, os, sys, time

class Overtaken(Exception):
    pass

def answer(body, **more):
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": json.dumps(body), **more}

def handler(event, context):
    if "httpMethod" not in event:
        if event.get("n") == 2:
            raise Overtaken("again")
        if event.get("n") == 3:
            raise KeyError("lost")
        return {"said": event.get("n")}
    asked = json.loads(event["body"]) if event["body"] and not event["isBase64Encoded"] else {}
    do = asked.get("do")
    if do == "sleep":
        began = time.monotonic()
        time.sleep(asked["seconds"])
        with open(os.path.join(os.environ["MARKS"], asked["mark"]), "w") as mark:
            json.dump([began, time.monotonic()], mark)
    if do == "exit":
        os._exit(9)
    if do == "raise":
        raise RuntimeError("a secret of the function")
    if do == "malformed":
        return {"nothing": "here"}
    if do == "unfit":
        return answer({"other": 1})
    if do == "binary":
        return {"statusCode": 201, "isBase64Encoded": True, "body": base64.b64encode(bytes(range(256))).decode(),
                "multiValueHeaders": {"Content-Type": ["image/png"], "Set-Cookie": ["a=1", "b=2"]}}
    if do == "context":
        return answer({"event": {"id": context.aws_request_id, "name": context.function_name, "memory": context.memory_limit_in_mb,
            "left": context.get_remaining_time_in_millis(), "environment": dict(os.environ), "path": sys.path, "folder": os.getcwd()}})
    return answer({"event": event})
"""

WORK = """
import json, os

def handler(event, context):
    failed = []
    for record in event["Records"]:
        asked = json.loads(record["body"])
        with open(os.path.join(os.environ["MARKS"], asked["mark"]), "a") as file:
            file.write(json.dumps(record) + "\\n")
        received = int(record["attributes"]["ApproximateReceiveCount"])
        if asked["do"] == "raise" and received == 1:
            raise RuntimeError("no")
        if asked["do"] == "exit" and received == 1:
            os._exit(1)
        if asked["do"] == "fail" and received == 1:
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("project"))


def make_project(folder: Path) -> Path:
    """A minimal project: a template, a spec, a state machine, three functions."""
    for name, text in {
        "template.yaml": TEMPLATE,
        "openapi.yaml": SPEC,
        "machine.asl.yaml": MACHINE,
        "authorize/app.py": AUTHORIZE,
        "echo/app.py": ECHO,
        "work/app.py": WORK,
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "marks").mkdir()
    return folder


def make_stack(project: Path, data: Path, **environment: str) -> LocalStack:
    chosen = {"GATEWAY_PARAM_Marks": str(project / "marks"), "GATEWAY_DEV_CONCURRENCY": "8"} | environment
    return LocalStack(data, template=project / "template.yaml", environment=chosen)


@pytest.fixture(scope="module")
def stack(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with make_stack(project, tmp_path_factory.mktemp("shared")) as stack:
        yield stack


def call(stack: LocalStack, do: str = "echo", key: str = "good", **more: Any) -> requests.Response:
    return requests.post(
        f"{stack.url}/echo/me?colour=red", json={"do": do, **more}, headers={"x-api-key": key}, timeout=30
    )


# ------------------------------------------------------------------------------------------------- API Gateway
def test_a_function_gets_the_event_that_api_gateway_sends(stack: LocalStack) -> None:
    answer = requests.post(
        f"{stack.url}/echo/a%20b%2Fc?colour=red&colour=blue&empty=",
        data='{"do": "é"}'.encode(),
        headers={"x-api-key": "good", "Content-Type": "application/json", "team_id": "ops", "User-Agent": "me/1"},
        timeout=10,
    )
    event = answer.json()["event"]
    context = event["requestContext"]
    assert answer.headers["x-amzn-RequestId"] == context["requestId"]
    assert (event["resource"], event["path"], event["httpMethod"]) == ("/echo/{name}", "/echo/a%20b%2Fc", "POST")
    assert event["pathParameters"] == {"name": "a%20b%2Fc"}
    assert event["queryStringParameters"] == {"colour": "blue", "empty": ""}
    assert event["multiValueQueryStringParameters"] == {"colour": ["red", "blue"], "empty": [""]}
    assert event["headers"]["team_id"] == "ops"
    assert event["multiValueHeaders"]["team_id"] == ["ops"]
    assert (event["body"], event["isBase64Encoded"], event["stageVariables"]) == ('{"do": "é"}', False, None)
    assert context["authorizer"].pop("integrationLatency") >= 0
    assert context["authorizer"] == {
        "principalId": "tenant-1",
        "tenant_id": "tenant-1",
        "key_id": "key-1",
        "count": "3",
        "flag": "true",
    }
    assert context["identity"]["sourceIp"] == "127.0.0.1"
    assert context["identity"]["userAgent"] == "me/1"
    assert context["identity"]["apiKeyId"] == "local-PlanKey"
    assert (context["stage"], context["path"], context["resourcePath"]) == (
        "v1", "/v1/echo/a%20b%2Fc", "/echo/{name}",
    )  # fmt: skip
    assert abs(context["requestTimeEpoch"] / 1000 - time.time()) < 30


def test_a_function_runs_as_in_lambda(stack: LocalStack) -> None:
    seen = call(stack, "context").json()["event"]
    assert (seen["name"], seen["memory"]) == ("local-EchoFunction", "256")
    assert 0 < seen["left"] <= 5000
    environment = seen["environment"]
    assert environment["TABLE"] == "local-Things"
    assert environment["QUEUE"] == f"{stack.aws_endpoint}/123456789012/local-Jobs"
    assert environment["NAME"] == "local-x"
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == "local-EchoFunction"
    assert environment["AWS_ENDPOINT_URL"] == stack.aws_endpoint
    assert environment["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"] == stack.model_stand_in_url
    assert "PYTHONPATH" not in environment
    assert str(ROOT) not in seen["path"]
    assert seen["folder"].endswith("/echo")


def test_binary_goes_both_ways(stack: LocalStack) -> None:
    answer = call(stack, "binary")
    assert (answer.status_code, answer.content) == (201, bytes(range(256)))
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Set-Cookie"] == "a=1, b=2"
    headers = {"Content-Type": "application/octet-stream"}
    sent = requests.get(f"{stack.url}/open", data=b"\xff\x00", headers=headers, timeout=10).json()["event"]
    assert (sent["isBase64Encoded"], base64.b64decode(sent["body"])) == (True, b"\xff\x00")
    assert "authorizer" not in sent["requestContext"]


@pytest.mark.parametrize(
    ("key", "status", "code", "who"),
    [
        ("", 401, "unauthorized", ""),
        ("wrong", 401, "unauthorized", ""),
        ("denied", 403, "denied", "tenant-1"),
        ("unplanned", 403, "no_plan", "tenant-1"),
        ("broken", 500, "internal_error", ""),
    ],
)
def test_who_may_not_call_is_told_so(stack: LocalStack, key: str, status: int, code: str, who: str) -> None:
    answer = call(stack, key=key)
    assert (answer.status_code, answer.json()["code"], answer.json()["who"]) == (status, code, who)
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == answer.headers["x-amzn-RequestId"]
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("path", "body", "content_type", "status", "code"),
    [
        ("/nowhere", b"{}", "application/json", 404, "route_not_found"),
        ("/echo/me", b'{"do": "echo"}', "application/json", 400, "invalid_parameters"),
        ("/echo/me?colour=red", b'{"do": 1}', "application/json", 400, "invalid_body"),
        ("/echo/me?colour=red", b"{}", "application/json", 400, "invalid_body"),
        ("/echo/me?colour=red", b'{"do', "application/json", 400, "invalid_body"),
        ("/echo/me?colour=red", b"", "application/json", 400, "invalid_body"),
        ("/echo/me?colour=red", b"\xff", "application/json", 400, "invalid_body"),
        # Of a content type that has no model it looks at no body.
        ("/echo/me?colour=red", b'{"do": "echo"}', "text/plain", 200, None),
        ("/echo/me?colour=red", b'{"do": "echo"}', "application/x-www-form-urlencoded", 200, None),
        ("/echo/me?colour=red", b'{"do": "' + b"x" * 6_400_000 + b'"}', "application/json", 413, None),
        # API Gateway looks for required parameters, not at their values.
        ("/echo/me?colour=green&size=x", b'{"do": "echo"}', "application/json", 200, None),
        ("/echo/me?colour=red", b'{"do": "echo"}', None, 200, None),
        ("/echo/me?colour=red", b'{"do": "echo"}', "Application/JSON; charset=utf-8", 200, None),
    ],
)
def test_a_request_is_checked_as_api_gateway_checks_it(
    stack: LocalStack, path: str, body: bytes, content_type: str | None, status: int, code: str | None
) -> None:
    headers = {"x-api-key": "good"} | ({"Content-Type": content_type} if content_type else {})
    answer = requests.post(stack.url + path, data=body, headers=headers, timeout=30)
    assert (answer.status_code, answer.json().get("code")) == (status, code)


def test_the_authorizer_comes_before_the_check_of_the_request(stack: LocalStack) -> None:
    assert requests.post(f"{stack.url}/echo/me", data=b"{", timeout=10).status_code == 401


def test_a_usage_plan_throttles_its_key(stack: LocalStack) -> None:
    answers = [call(stack, key="slow") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].headers["Retry-After"] == "1"
    assert call(stack).status_code == 200


def test_what_outlives_the_integration_timeout_goes_on(project: Path, tmp_path: Path) -> None:
    with make_stack(project, tmp_path, GATEWAY_PARAM_IntegrationTimeoutSeconds="1") as stack:
        answer = call(stack, "sleep", seconds=4, mark="late")
        assert (answer.status_code, answer.json()["code"]) == (504, "still_running")
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert not (project / "marks" / "late").exists()
        eventually((project / "marks" / "late").exists, 20)


def test_a_function_over_its_timeout_is_ended(project: Path, tmp_path: Path) -> None:
    with make_stack(project, tmp_path) as stack:
        began = time.monotonic()
        answer = call(stack, "sleep", seconds=30, mark="never")
        assert (answer.status_code, answer.json()["code"]) == (502, "gateway_failed")
        assert time.monotonic() - began < 25  # it would have slept for 30
        assert call(stack).status_code == 200


@pytest.mark.parametrize("do", ["exit", "raise", "malformed"])
def test_a_function_that_fails_is_a_problem_without_a_trace(stack: LocalStack, do: str) -> None:
    answer = call(stack, do)
    assert (answer.status_code, answer.json()["code"]) == (502, "gateway_failed")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "secret" not in answer.text
    assert call(stack).status_code == 200


def test_calls_run_side_by_side_and_more_wait_their_turn(stack: LocalStack, project: Path) -> None:
    marks = [f"beside-{n}" for n in range(24)]
    with ThreadPoolExecutor(24) as many:
        answers = list(many.map(lambda mark: call(stack, "sleep", seconds=0.5, mark=mark), marks))
    assert {answer.status_code for answer in answers} == {200}
    spans = [json.loads((project / "marks" / mark).read_text()) for mark in marks]
    beside = [sum(began <= start < ended for began, ended in spans) for start, _ in spans]
    assert 2 <= max(beside) <= 8  # GATEWAY_DEV_CONCURRENCY


def test_three_hundred_connections_are_served(stack: LocalStack) -> None:
    host, port = stack.url.removeprefix("http://").split(":")
    request = b"GET /open HTTP/1.1\r\nHost: x\r\n\r\n"
    connections = [socket.create_connection((host, int(port)), 10) for _ in range(320)]
    try:
        for connection in connections:
            connection.sendall(request)
        assert all(connection.recv(15).startswith(b"HTTP/1.1 200") for connection in connections)
    finally:
        for connection in connections:
            connection.close()


def test_an_answer_that_does_not_fit_the_spec_is_sent_and_noted(stack: LocalStack) -> None:
    answer = call(stack, "unfit")
    assert (answer.status_code, answer.json()) == (200, {"other": 1})
    log = stack.data / "logs" / "contract.log"
    eventually(lambda: answer.headers["x-amzn-RequestId"] in log.read_text())


def test_the_access_log_names_the_tenant_and_no_key_or_body(stack: LocalStack) -> None:
    answer = call(stack, secret="do not log this")
    log = stack.data / "logs" / "access.log"
    eventually(lambda: answer.headers["x-amzn-RequestId"] in log.read_text())
    (line,) = [entry for entry in log.read_text().splitlines() if answer.headers["x-amzn-RequestId"] in entry]
    entry = json.loads(line)
    assert (entry["tenant_id"], entry["key_id"], entry["status"]) == ("tenant-1", "key-1", 200)
    assert entry["route"] == "/echo/{name}"
    assert not {"good", "plan-key", "do not log this"} & set(map(str, entry.values()))
    assert "do not log" not in log.read_text()


# ------------------------------------------------------------------------------------------------ queues, workflows
def received_twice(mark: Path) -> bool:
    return mark.exists() and len(mark.read_text().splitlines()) == 2


def test_a_message_that_failed_comes_again(stack: LocalStack, project: Path) -> None:
    sqs, queue = stack.client("sqs"), stack.info["queues"]["Jobs"]
    marks = {do: project / "marks" / f"job-{do}" for do in ("fail", "raise", "exit")}
    sent = {
        do: sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"do": do, "mark": mark.name}))["MessageId"]
        for do, mark in marks.items()
    }
    for do, mark in marks.items():
        eventually(partial(received_twice, mark))
        records = [json.loads(line) for line in mark.read_text().splitlines()]
        assert [record["messageId"] for record in records] == [sent[do]] * 2
        assert [record["attributes"]["ApproximateReceiveCount"] for record in records] == ["1", "2"]
        assert records[0]["eventSourceARN"] == "arn:aws:sqs:us-east-1:123456789012:local-Jobs"
    time.sleep(1.3)
    assert all(map(received_twice, marks.values())), "what was done is deleted"


def test_a_state_machine_runs_functions_and_catches_their_errors_by_name(stack: LocalStack) -> None:
    assert stack.run_state_machine("Machine", {"items": [{"n": 1}, {"n": 2}]}) == [{"said": 1}, {"said": "late"}]
    with pytest.raises(WorkflowFailed, match="KeyError"):
        stack.run_state_machine("Machine", {"items": [{"n": 3}]})


def test_a_function_can_be_invoked_by_its_name(stack: LocalStack) -> None:
    assert stack.invoke("EchoFunction", {"n": 7}) == {"said": 7}
    with pytest.raises(StackError, match="Overtaken: again"):
        stack.invoke("EchoFunction", {"n": 2})


# ------------------------------------------------------------------------------------------------------ embedded AWS
def test_conditional_writes_are_atomic(stack: LocalStack) -> None:
    table = {"TableName": "local-Things"}
    key = {"pk": {"S": "counter"}, "sk": {"N": "0"}}
    dynamodb = stack.client("dynamodb")

    def take(_: int) -> bool:
        try:
            dynamodb.update_item(
                **table,
                Key=key,
                UpdateExpression="ADD n :one",
                ConditionExpression="attribute_not_exists(n) OR n < :most",
                ExpressionAttributeValues={":one": {"N": "1"}, ":most": {"N": "50"}},
            )
        except dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    with ThreadPoolExecutor(12) as many:
        assert sum(many.map(take, range(120))) == 50
    assert dynamodb.get_item(**table, Key=key)["Item"]["n"] == {"N": "50"}


def test_a_query_pages_sorts_and_uses_indexes(stack: LocalStack) -> None:
    dynamodb = stack.client("dynamodb")
    for number in (10, 9, 100, 1):
        colour = {"S": "red" if number > 9 else "blue"}
        dynamodb.put_item(TableName="local-Things", Item={"pk": {"S": "p"}, "sk": {"N": str(number)}, "colour": colour})
    dynamodb.put_item(TableName="local-Things", Item={"pk": {"S": "q"}, "sk": {"N": "5"}, "colour": {"S": "red"}})
    values = {":p": {"S": "p"}}
    pages = dynamodb.get_paginator("query").paginate(
        TableName="local-Things",
        KeyConditionExpression="pk = :p",
        ExpressionAttributeValues=values,
        PaginationConfig={"PageSize": 3},
    )
    assert [item["sk"]["N"] for page in pages for item in page["Items"]] == ["1", "9", "10", "100"]
    red = dynamodb.query(
        TableName="local-Things",
        IndexName="by_colour",
        KeyConditionExpression="colour = :red AND sk BETWEEN :low AND :high",
        ExpressionAttributeValues={":red": {"S": "red"}, ":low": {"N": "5"}, ":high": {"N": "10"}},
        ScanIndexForward=False,
    )
    assert [item["sk"]["N"] for item in red["Items"]] == ["10", "5"]


def test_a_transaction_that_fails_leaves_nothing(stack: LocalStack) -> None:
    dynamodb = stack.client("dynamodb")
    one = {"pk": {"S": "t"}, "sk": {"N": "1"}}
    dynamodb.put_item(TableName="local-Things", Item=one | {"a": {"S": "old"}})
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as failed:
        dynamodb.transact_write_items(
            TransactItems=[
                {
                    "Update": {
                        "TableName": "local-Things",
                        "Key": one,
                        "UpdateExpression": "SET a = :new",
                        "ExpressionAttributeValues": {":new": {"S": "new"}},
                    }
                },
                {"Put": {"TableName": "local-Things", "Item": {"pk": {"S": "t"}, "sk": {"N": "2"}}}},
                {
                    "Delete": {
                        "TableName": "local-Things",
                        "Key": {"pk": {"S": "t"}, "sk": {"N": "3"}},
                        "ConditionExpression": "attribute_exists(pk)",
                    }
                },
            ]
        )
    reasons = [reason["Code"] for reason in failed.value.response["CancellationReasons"]]
    assert reasons == ["None", "None", "ConditionalCheckFailed"]
    found = dynamodb.query(
        TableName="local-Things", KeyConditionExpression="pk = :t", ExpressionAttributeValues={":t": {"S": "t"}}
    )
    assert found["Items"] == [one | {"a": {"S": "old"}}]


def kept_item(number: int, **more: Any) -> dict[str, Any]:
    return {"pk": {"S": "kept"}, "sk": {"N": str(number)}} | more


def write_everything(stack: LocalStack) -> None:
    dynamodb, s3, sqs = stack.client("dynamodb"), stack.client("s3"), stack.client("sqs")
    item = kept_item
    dynamodb.put_item(
        TableName="local-Things", Item=item(1, raw={"B": b"\x00\xff"}, deep={"M": {"l": {"L": [{"S": "é"}]}}})
    )
    dynamodb.batch_write_item(RequestItems={"local-Things": [{"PutRequest": {"Item": item(n)}} for n in (2, 3, 4)]})
    dynamodb.update_item(
        TableName="local-Things",
        Key=item(2),
        UpdateExpression="SET a = :a",
        ExpressionAttributeValues={":a": {"NS": ["1", "2"]}},
    )
    dynamodb.delete_item(TableName="local-Things", Key=item(3))
    put, delete = {"TableName": "local-Things", "Item": item(5)}, {"TableName": "local-Things", "Key": item(4)}
    dynamodb.transact_write_items(TransactItems=[{"Put": put}, {"Delete": delete}])
    dynamodb.put_item(TableName="local-Things", Item=item(6, expires_at={"N": "1"}))
    s3.put_object(Bucket="local-lakebucket", Key="usage/dt=2026-11-24/hour=01/part-0.parquet", Body=b"new" * 1000)
    s3.put_object(Bucket="local-lakebucket", Key="usage/dt=2026-11-24/gone.parquet", Body=b"old")
    s3.delete_object(Bucket="local-lakebucket", Key="usage/dt=2026-11-24/gone.parquet")
    for name in ("../a b/c%d", "many/1", "many/2"):
        s3.put_object(Bucket="local-otherbucket", Key=name, Body=name.encode())
    s3.delete_objects(Bucket="local-otherbucket", Delete={"Objects": [{"Key": "many/1"}]})
    s3.copy_object(
        Bucket="local-otherbucket", Key="copied", CopySource={"Bucket": "local-otherbucket", "Key": "many/2"}
    )
    parked = stack.info["queues"]["Parked"]
    for body in ("visible", "deleted", "hidden"):
        sqs.send_message(
            QueueUrl=parked, MessageBody=body, MessageAttributes={"of": {"DataType": "String", "StringValue": body}}
        )
    for message in sqs.receive_message(QueueUrl=parked, MaxNumberOfMessages=3)["Messages"]:
        if message["Body"] == "deleted":
            sqs.delete_message(QueueUrl=parked, ReceiptHandle=message["ReceiptHandle"])
        if message["Body"] == "visible":
            sqs.change_message_visibility(QueueUrl=parked, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)


def assert_everything_is_there(stack: LocalStack) -> None:
    dynamodb, s3, sqs = stack.client("dynamodb"), stack.client("s3"), stack.client("sqs")
    found = dynamodb.query(
        TableName="local-Things", KeyConditionExpression="pk = :k", ExpressionAttributeValues={":k": {"S": "kept"}}
    )["Items"]
    assert [item.pop("sk")["N"] for item in found] == ["1", "2", "5"], "of item 6 the time to live is over"
    assert found[0] == {"pk": {"S": "kept"}, "raw": {"B": b"\x00\xff"}, "deep": {"M": {"l": {"L": [{"S": "é"}]}}}}
    assert sorted(found[1]["a"]["NS"]) == ["1", "2"]

    def keys(bucket: str) -> list[str]:
        return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]]

    assert keys("local-lakebucket") == ["usage/dt=2026-11-24/hour=01/part-0.parquet"]
    assert keys("local-otherbucket") == ["../a b/c%d", "copied", "many/2"]
    assert s3.get_object(Bucket="local-otherbucket", Key="copied")["Body"].read() == b"many/2"
    (file,) = [path for path in stack.lake.rglob("*") if path.is_file()]
    assert file == stack.lake / "usage/dt=2026-11-24/hour=01/part-0.parquet"
    assert file.read_bytes() == b"new" * 1000
    assert sorted(path.name for path in stack.data.rglob("c%25d")) == ["c%25d"], "an odd key stays in its folder"
    received = sqs.receive_message(
        QueueUrl=stack.info["queues"]["Parked"],
        MaxNumberOfMessages=10,
        MessageAttributeNames=["All"],
        MessageSystemAttributeNames=["All"],
        VisibilityTimeout=0,
    )["Messages"]
    assert [message["Body"] for message in received] == ["visible"]
    assert received[0]["MessageAttributes"]["of"]["StringValue"] == "visible"
    assert int(received[0]["Attributes"]["ApproximateReceiveCount"]) >= 2


def test_what_was_written_survives_a_kill_of_everything(project: Path, tmp_path: Path) -> None:
    stack = make_stack(project, tmp_path).start()
    try:
        write_everything(stack)
        pids = [stack.info["pid"], *stack.info["processes"].values()]
        url = stack.url
        stack.kill_everything()
        eventually(lambda: not any(map(alive, pids)), 10)
        for _ in range(2):  # the second time from a compacted journal
            stack.restart()
            assert stack.url == url
            assert_everything_is_there(stack)
        assert call(stack).status_code == 200
    finally:
        stack.stop()


# ------------------------------------------------------------------------------------------------------- life and death
def test_a_killed_gateway_takes_its_idle_children_along(project: Path, tmp_path: Path) -> None:
    stack = make_stack(project, tmp_path).start()
    children = list(stack.info["processes"].values())
    stack.kill_gateway()
    eventually(lambda: not any(map(alive, children)), 10)
    assert not is_running(stack.data)


def test_a_call_outlives_a_killed_gateway_and_a_new_one_starts_beside_it(project: Path, tmp_path: Path) -> None:
    stack = make_stack(project, tmp_path).start()
    mark = project / "marks" / "outlived"
    try:
        with ThreadPoolExecutor(1) as aside:
            calling = aside.submit(call, stack, "sleep", seconds=3.5, mark=mark.name)
            time.sleep(0.3)
            before = stack.info
            stack.kill_gateway()
            with pytest.raises(requests.ConnectionError):
                calling.result(5)
        stack.restart()
        assert call(stack).status_code == 200
        assert stack.info["aws_endpoint"] == before["aws_endpoint"], "where the old worker still writes to"
        eventually(mark.exists)
        eventually(lambda: not any(map(alive, before["processes"].values())))
    finally:
        stack.stop()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_stop_is_clean(project: Path, tmp_path: Path, name: str) -> None:
    stack = make_stack(project, tmp_path).start()
    pids = [stack.info["pid"], *stack.info["processes"].values()]
    with ThreadPoolExecutor(1) as aside:
        calling = aside.submit(call, stack, "sleep", seconds=0.8, mark=f"stop-{name}")
        time.sleep(0.3)
        os.kill(stack.info["pid"], getattr(signal, name))
        assert calling.result(10).status_code == 200, "what runs may finish"
    assert stack.stop() == 0
    assert not any(map(alive, pids))
    with pytest.raises(requests.ConnectionError):
        call(stack)


def test_a_taken_port_is_named_in_one_line(project: Path, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        began = subprocess.run(
            [sys.executable, "-m", "scripts.dev"],
            cwd=ROOT,
            env=os.environ | {"PORT": str(port), "GATEWAY_DEV_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
    assert (began.returncode, began.stdout) == (1, "")
    assert len(began.stderr.splitlines()) == 1
    assert f"port {port} is taken" in began.stderr


def test_a_data_folder_has_one_stack(stack: LocalStack) -> None:
    with pytest.raises(StackError, match="running in .* already"):
        LocalStack(stack.data).start()


def test_a_tool_attaches_to_the_running_stack_or_starts_its_own(
    stack: LocalStack, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with attach_or_start(stack.data) as attached:
        assert attached.info["pid"] == stack.info["pid"]
    assert is_running(stack.data)
    monkeypatch.setenv("GATEWAY_DEV_TEMPLATE", str(project / "template.yaml"))
    monkeypatch.setenv("GATEWAY_PARAM_Marks", str(project / "marks"))
    with attach_or_start(tmp_path) as own:
        assert own.info["url"] is None
        assert own.invoke("EchoFunction", {"n": 1}) == {"said": 1}
    assert not is_running(tmp_path)


# ------------------------------------------------------------------------------------------------- this very project
def test_the_gateway_itself_answers_a_call_and_keeps_its_keys(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path).start()
    try:
        tenants = stack.tenants
        assert [(tenant["tenant_id"], tenant["cost_centres"]) for tenant in tenants] == [
            ("demo-research", ["research", "ops"]),
            ("demo-marketing", ["marketing"]),
        ]
        answer = requests.post(
            f"{stack.url}/invoke_model?model_id=anthropic.claude-3-haiku-20240307-v1:0",
            json={"inputs": "What is a ledger?"},
            headers={"x-api-key": tenants[0]["key"]},
            timeout=30,
        )
        assert answer.status_code == 200
        assert answer.json()[0]["generated_text"]
        stack.kill_everything()
        stack.restart()
        assert stack.tenants == tenants
        usage = requests.get(
            f"{stack.url}/usage", headers={"Authorization": f"Bearer {tenants[0]['key']}"}, timeout=30
        ).json()
        assert usage["totals"]["invocations"] == 1
    finally:
        stack.stop()

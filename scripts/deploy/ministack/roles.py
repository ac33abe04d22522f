"""Proves the limits of a deployed stack's roles: each is refused every request that its policies do not allow.

The probes cover all resources of the stack and the targets of a thief. They skip requests that a role's policies allow:
the calls through the gateway prove those.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from scripts.deploy.ministack.cloud import ACCOUNT, REGION, Cloud

Json = Any
STRANGER = "tenant-of-nobody"  # no role's policy has the partitions of this key
# The probed actions that AWS's own policies, which SAM gives to functions, allow.
OF_AWS: Mapping[str, list[str]] = {
    "AmazonAPIGatewayPushToCloudWatchLogs": [],
    "AWSLambdaBasicExecutionRole": [],
    "AWSLambdaVPCAccessExecutionRole": [],
    "AWSXrayWriteOnlyAccess": [],
    "AWSXRayDaemonWriteAccess": [],
}
PREFIXES = ("usage", "costs", "statements")
INVOKED = ("ManageTenantsFunction", "InvokeModelFunction", "PriceUsageFunction")  # all alike for a role


@dataclass(frozen=True)
class Probe:
    """One request in the SDK's form, with the resource and the condition keys that IAM evaluates."""

    service: str
    method: str
    resource: str
    said: Mapping[str, Json]
    conditions: Mapping[str, str] = field(default_factory=dict)

    @property
    def action(self) -> str:
        """IAM's name for it, in lower case, since IAM ignores case."""
        service = {"stepfunctions": "states", "bedrock-runtime": "bedrock"}.get(self.service, self.service)
        method = {"invoke": "invoke_function", "list_objects_v2": "list_bucket"}.get(self.method, self.method)
        return f"{service}:{method.replace('_', '')}"


@dataclass(frozen=True)
class Resource:
    logical: str
    physical: str
    kind: str


class Allowed(Exception):
    """A role succeeded with a request that its policies do not allow."""

    def __init__(self, role: str, probe: Probe, how: str):
        super().__init__(f"{role} is not refused {probe.action} on {probe.resource}: {how}")


def resources(cloud: Cloud, stack: str) -> list[Resource]:
    found = cloud.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
    return [Resource(it["LogicalResourceId"], it["PhysicalResourceId"], it["ResourceType"]) for it in found]


def probes(stack: list[Resource]) -> Iterator[Probe]:
    for it in stack:
        if it.kind == "AWS::DynamoDB::Table":
            yield from _of_table(it.physical)
        elif it.kind == "AWS::S3::Bucket":
            yield from _of_bucket(it.physical)
        elif it.kind == "AWS::SQS::Queue":
            arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{it.physical.rpartition('/')[2]}"
            yield Probe("sqs", "send_message", arn, {"QueueUrl": it.physical, "MessageBody": "-"})
            yield Probe("sqs", "receive_message", arn, {"QueueUrl": it.physical})
        elif it.kind == "AWS::SNS::Topic":
            yield Probe("sns", "publish", it.physical, {"TopicArn": it.physical, "Message": "-"})
        elif it.kind == "AWS::StepFunctions::StateMachine":
            started = {"stateMachineArn": it.physical, "input": "{}"}
            yield Probe("stepfunctions", "start_execution", it.physical, started)
        elif it.logical in INVOKED:
            arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{it.physical}"
            yield Probe("lambda", "invoke", arn, {"FunctionName": it.physical, "Payload": b"{}"})
    model = "anthropic.claude-3-haiku-20240307-v1:0"
    arn = f"arn:aws:bedrock:{REGION}::foundation-model/{model}"
    yield Probe("bedrock-runtime", "invoke_model", arn, {"modelId": model, "body": b"{}"})
    entry = {"Source": "proof", "DetailType": "-", "Detail": "{}"}
    yield Probe("events", "put_events", f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default", {"Entries": [entry]})
    role = f"arn:aws:iam::{ACCOUNT}:role/administrator"
    yield Probe("sts", "assume_role", role, {"RoleArn": role, "RoleSessionName": "thief"})
    yield Probe("iam", "create_user", f"arn:aws:iam::{ACCOUNT}:user/thief", {"UserName": "thief"})


def _of_table(name: str) -> Iterator[Probe]:
    arn = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"
    table, key = {"TableName": name}, {"pk": {"S": STRANGER}, "sk": {"S": "-"}}
    query = {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": key["pk"]}}
    asked: dict[str, dict[str, Json]] = {"put_item": {"Item": key}, "query": query}
    asked |= {method: {"Key": key} for method in ("get_item", "update_item", "delete_item")}
    for method, said in asked.items():
        yield Probe("dynamodb", method, arn, {**table, **said}, {"dynamodb:LeadingKeys": STRANGER})
    yield Probe("dynamodb", "scan", arn, table)


def _of_bucket(name: str) -> Iterator[Probe]:
    arn = f"arn:aws:s3:::{name}"
    yield Probe("s3", "list_objects_v2", arn, {"Bucket": name, "Prefix": "-"}, {"s3:prefix": "-"})
    for prefix in PREFIXES:
        there = {"Bucket": name, "Key": f"{prefix}/{STRANGER}"}
        for method in ("get_object", "put_object", "delete_object"):
            yield Probe("s3", method, f"{arn}/{there['Key']}", there)


# ----------------------------------------------------------------------------------------------- grants of the policies
def statements(cloud: Cloud, role: str) -> list[Json]:
    """The grants of a role's policies, its own and AWS's."""
    iam = cloud.client("iam")
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    documents = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names]
    for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        documents.append(
            {"Statement": [{"Effect": "Allow", "Action": OF_AWS[attached["PolicyName"]], "Resource": "*"}]}
        )
    return [said for document in documents for said in _many(document["Statement"]) if said["Effect"] == "Allow"]


def is_named(probe: Probe, allowed: list[Json]) -> bool:
    return any(
        any(fnmatchcase(probe.action, action.lower()) for action in _many(said["Action"]))
        and any(fnmatchcase(probe.resource, resource) for resource in _many(said["Resource"]))
        and all(_meets(probe, keys) for keys in said.get("Condition", {}).values())
        for said in allowed
    )


def _meets(probe: Probe, keys: Mapping[str, Json]) -> bool:
    """A condition on a key that the probe lacks counts as met, so the probe is skipped."""
    return all(
        key not in probe.conditions or any(fnmatchcase(probe.conditions[key], pattern) for pattern in _many(patterns))
        for key, patterns in keys.items()
    )


def _many(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]


# ------------------------------------------------------------------------------------------------------------ the proof
def refuse_unnamed(cloud: Cloud, stack: str) -> tuple[int, int]:
    """Every role of a stack is refused all requests it does not allow; returns the numbers of roles and refusals.

    Raises Allowed.
    """
    found = resources(cloud, stack)
    asked = list(probes(found))
    roles = [it for it in found if it.kind == "AWS::IAM::Role"]

    def refuse(role: Resource) -> int:
        allowed, send = statements(cloud, role.physical), _sender(cloud, role.physical)
        unnamed = [probe for probe in asked if not is_named(probe, allowed)]
        for probe in unnamed:
            _refuse(role.logical, probe, send)
        return len(unnamed)

    with ThreadPoolExecutor(3) as threads:
        return len(roles), sum(threads.map(refuse, roles))


def _sender(cloud: Cloud, role: str) -> Callable[[Probe], object]:
    arn = cloud.client("iam").get_role(RoleName=role)["Role"]["Arn"]
    taken = cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="proof")["Credentials"]
    session = boto3.Session(taken["AccessKeyId"], taken["SecretAccessKey"], taken["SessionToken"], REGION)
    clients: dict[str, Any] = {}

    def send(probe: Probe) -> object:
        if probe.service not in clients:
            once = Config(retries={"total_max_attempts": 1})
            clients[probe.service] = session.client(probe.service, endpoint_url=cloud.url, config=once)
        return getattr(clients[probe.service], probe.method)(**probe.said)

    return send


def _refuse(role: str, probe: Probe, send: Callable[[Probe], object]) -> None:
    try:
        answer = send(probe)
    except ClientError as error:
        code: str = error.response["Error"]["Code"]
        if not code.startswith("AccessDenied") and code != "AuthorizationError":
            raise Allowed(role, probe, json.dumps(error.response["Error"])) from error
    else:
        raise Allowed(role, probe, str(answer)[:200])

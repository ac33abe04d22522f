"""template.yaml for the local stack: every name, environment, table, queue and schedule resolved.

It covers only CloudFormation's part for the resources that run locally. The stack is named `local`: the table
`UsageTable` becomes `local-UsageTable`.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.project.template.declared import (
    LAYER,
    ROOT,
    STATE_MACHINE,
    DeclaredFunction,
    functions,
    load,
    of_type,
    refusal,
    starts_a_server,
)

ACCOUNT = "123456789012"
STACK = "local"
PARTITION = "aws"
API_ID = "localgateway"
STACK_UUID = "1b4db7eb-4057-4f5b-8a35-9f1a3f0c6d52"

# After a worker's death its job stays hidden in the queue for this long: two minutes are enough on a laptop.
LOCAL_PARAMETERS = {
    "InvocationTimeoutSeconds": "120",
    # Two demo endpoints; the model stand-in serves any name.
    "SageMakerEndpoints": '{"demo-text": "demo-text-endpoint", "demo-embeddings": "demo-embed-endpoint"}',
}


class TemplateError(Exception):
    """The template has an expression that the local stack cannot resolve."""


@dataclass(frozen=True)
class EventSource:
    """A trigger of a function or a state machine, other than a request."""

    kind: str
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class Function:
    logical_id: str
    name: str
    arn: str
    code: Path
    layers: tuple[Path, ...]
    handler: str
    timeout: float
    memory: int
    environment: Mapping[str, str]
    events: tuple[EventSource, ...]

    @property
    def serves_http(self) -> bool:
        return starts_a_server(self.environment)


@dataclass(frozen=True)
class Table:
    """`definition` is the request of CreateTable."""

    logical_id: str
    name: str
    definition: Mapping[str, Any]
    time_to_live: str | None


@dataclass(frozen=True)
class Bucket:
    logical_id: str
    name: str
    versioned: bool


@dataclass(frozen=True)
class Queue:
    logical_id: str
    name: str
    arn: str
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class StateMachine:
    logical_id: str
    name: str
    arn: str
    definition: str
    kind: str
    events: tuple[EventSource, ...]


@dataclass(frozen=True)
class UsagePlanKey:
    """An API key's value, and the throttling of its plan. Without a rate it is not throttled."""

    key_id: str
    value: str = field(repr=False)
    plan_id: str
    rate: float | None
    burst: int


_MISSING = object()


class Template:
    """The template with its intrinsic functions resolved. `endpoint` is the embedded AWS's URL."""

    def __init__(self, path: Path, environment: Mapping[str, str], endpoint: str = ""):
        self.path = path.resolve()
        self.folder = self.path.parent
        self.region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"
        self._endpoint = endpoint
        document = load(self.path)
        self._conditions: dict[str, Any] = document.get("Conditions") or {}
        self._mappings: dict[str, Any] = document.get("Mappings") or {}
        self.parameters = {
            name: self._parameter(name, declared, environment)
            for name, declared in (document.get("Parameters") or {}).items()
        }
        self.resources: dict[str, dict[str, Any]] = {
            logical_id: resource
            for logical_id, resource in (document.get("Resources") or {}).items()
            if "Condition" not in resource or self._condition(resource["Condition"])
        }
        self._document = document | {"Resources": self.resources}

    @staticmethod
    def _parameter(name: str, declared: Mapping[str, Any], environment: Mapping[str, str]) -> Any:
        chosen = environment.get(f"GATEWAY_PARAM_{name}", LOCAL_PARAMETERS.get(name, declared.get("Default")))
        if chosen is None:
            raise TemplateError(f"parameter {name} has no default: set GATEWAY_PARAM_{name}")
        if why := refusal(declared, str(chosen)):
            raise TemplateError(f"GATEWAY_PARAM_{name} {why}")
        if declared.get("Type") == "CommaDelimitedList" or str(declared.get("Type", "")).startswith("List<"):
            return [part.strip() for part in str(chosen).split(",")] if str(chosen) else []
        return str(chosen)

    # ------------------------------------------------------------------------------------------------ resources
    def _of(self, kind: str) -> dict[str, dict[str, Any]]:
        return of_type(self._document, kind)

    def functions(self) -> dict[str, Function]:
        """By logical id."""
        found = {}
        for logical_id, declared in functions(self._document).items():
            properties = declared.properties
            variables = self.resolve(declared.environment)
            found[logical_id] = Function(
                logical_id=logical_id,
                name=self.ref(logical_id),
                arn=self.attribute(logical_id, "Arn"),
                code=self.folder / self.resolve(declared.code),
                layers=tuple(self._layers(declared)),
                handler=self.resolve(properties.get("Handler", "app.handler")),
                timeout=float(self.resolve(properties.get("Timeout", 3))),
                memory=int(self.resolve(properties.get("MemorySize", 128))),
                environment={name: str(value) for name, value in variables.items()},
                events=(*self._events(properties), *self._queues_of(logical_id)),
            )
        return found

    def _layers(self, function: DeclaredFunction) -> Iterator[Path]:
        """The folders of its layers, without AWS's own layers."""
        layers = self._of(LAYER)
        for name in function.layers:
            if name in layers:
                yield self.folder / str(self.resolve(layers[name]["ContentUri"]))

    def _events(self, properties: Mapping[str, Any]) -> tuple[EventSource, ...]:
        return tuple(
            EventSource(event["Type"], self.resolve(event.get("Properties") or {}))
            for event in (properties.get("Events") or {}).values()
        )

    def _queues_of(self, function: str) -> Iterator[EventSource]:
        for _, properties in self._of("AWS::Lambda::EventSourceMapping").items():
            if properties["FunctionName"] == {"Ref": function}:
                given = self.resolve(properties)
                yield EventSource("SQS", given | {"Queue": given["EventSourceArn"]})

    def tables(self) -> list[Table]:
        accepted = {
            "AttributeDefinitions",
            "KeySchema",
            "GlobalSecondaryIndexes",
            "LocalSecondaryIndexes",
            "BillingMode",
        }
        found = []
        for logical_id, properties in self._of("AWS::DynamoDB::Table").items():
            resolved = self.resolve({name: value for name, value in properties.items() if name in accepted})
            # Capacity does not matter here, so both billing modes give the same table.
            definition = resolved | {"TableName": self.ref(logical_id), "BillingMode": "PAY_PER_REQUEST"}
            ttl = self.resolve(properties.get("TimeToLiveSpecification") or {})
            found.append(Table(logical_id, self.ref(logical_id), definition, ttl.get("AttributeName")))
        return found

    def buckets(self) -> list[Bucket]:
        return [
            Bucket(
                logical_id,
                self.ref(logical_id),
                (self.resolve(properties.get("VersioningConfiguration") or {})).get("Status") == "Enabled",
            )
            for logical_id, properties in self._of("AWS::S3::Bucket").items()
        ]

    def queues(self) -> list[Queue]:
        accepted = {
            "VisibilityTimeout", "MessageRetentionPeriod", "DelaySeconds", "ReceiveMessageWaitTimeSeconds",
            "RedrivePolicy", "FifoQueue", "ContentBasedDeduplication", "MaximumMessageSize",
        }  # fmt: skip
        found = []
        for logical_id, properties in self._of("AWS::SQS::Queue").items():
            resolved = self.resolve({name: value for name, value in properties.items() if name in accepted})
            attributes = {
                name: json.dumps(value) if isinstance(value, dict) else _text(value) for name, value in resolved.items()
            }
            arn = self.attribute(logical_id, "Arn")
            found.append(Queue(logical_id, arn.rpartition(":")[2], arn, attributes))
        # A queue's dead-letter queue must exist before the queue.
        return sorted(found, key=lambda queue: "RedrivePolicy" in queue.attributes)

    def state_machines(self) -> dict[str, StateMachine]:
        """By logical id."""
        found = {}
        for logical_id, properties in self._of(STATE_MACHINE).items():
            if "DefinitionUri" in properties:
                definition = load(self.folder / self.resolve(properties["DefinitionUri"]))
            else:
                definition = self.resolve(properties["Definition"])
            text = json.dumps(definition)
            for name, value in self.resolve(properties.get("DefinitionSubstitutions") or {}).items():
                text = text.replace("${" + name + "}", json.dumps(_text(value))[1:-1])
            found[logical_id] = StateMachine(
                logical_id,
                self.attribute(logical_id, "Name"),
                self.ref(logical_id),
                text,
                self.resolve(properties.get("Type", "STANDARD")),
                self._events(properties),
            )
        return found

    def usage_plan_keys(self) -> list[UsagePlanKey]:
        keys = self._of("AWS::ApiGateway::ApiKey")
        plans = self._of("AWS::ApiGateway::UsagePlan")
        found = []
        for _, membership in self._of("AWS::ApiGateway::UsagePlanKey").items():
            key_id, plan_id = membership["KeyId"]["Ref"], membership["UsagePlanId"]["Ref"]
            throttle = self.resolve(plans[plan_id].get("Throttle") or {})
            rate = throttle.get("RateLimit")
            found.append(
                UsagePlanKey(
                    self.ref(key_id),
                    str(self.resolve(keys[key_id]["Value"])),
                    self.ref(plan_id),
                    float(rate) if rate is not None else None,
                    int(float(throttle.get("BurstLimit") or rate or 0)),
                )
            )
        return found

    def api_definition(self) -> Path | None:
        """The file that the API's DefinitionBody includes."""
        for _, properties in self._of("AWS::Serverless::Api").items():
            body = properties.get("DefinitionBody") or {}
            if location := ((body.get("Fn::Transform") or {}).get("Parameters") or {}).get("Location"):
                return self.folder / str(self.resolve(location))
        return None

    def stage(self) -> str:
        stages = (str(self.resolve(api["StageName"])) for api in self._of("AWS::Serverless::Api").values())
        return next(stages, "local")

    # ---------------------------------------------------------------------------------------------- names
    def ref(self, name: str) -> Any:
        """The value of `Ref`."""
        if name in self.parameters:
            return self.parameters[name]
        pseudo = {
            "AWS::Region": self.region,
            "AWS::AccountId": ACCOUNT,
            "AWS::Partition": PARTITION,
            "AWS::StackName": STACK,
            "AWS::StackId": f"arn:{PARTITION}:cloudformation:{self.region}:{ACCOUNT}:stack/{STACK}/{STACK_UUID}",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::NoValue": _MISSING,
            "AWS::NotificationARNs": [],
        }
        if name in pseudo:
            return pseudo[name]
        resource = self.resources.get(name)
        properties = (resource or {}).get("Properties") or {}
        own = f"{STACK}-{name}"
        match (resource or {}).get("Type"):
            case "AWS::DynamoDB::Table":
                return self.resolve(properties.get("TableName", own))
            case "AWS::S3::Bucket":
                return self.resolve(properties.get("BucketName", own.lower()))
            case "AWS::SQS::Queue":
                return f"{self._endpoint}/{ACCOUNT}/{self._queue_name(name)}"
            case "AWS::Serverless::Function" | "AWS::Lambda::Function":
                return self.resolve(properties.get("FunctionName", own))
            case "AWS::Serverless::StateMachine" | "AWS::StepFunctions::StateMachine":
                return f"arn:{PARTITION}:states:{self.region}:{ACCOUNT}:stateMachine:{self.attribute(name, 'Name')}"
            case "AWS::Serverless::Api" | "AWS::ApiGateway::RestApi":
                return API_ID
            case "AWS::Glue::Database":
                return self.resolve((properties.get("DatabaseInput") or {}).get("Name", own))
            case _:
                return own

    def _queue_name(self, logical_id: str) -> str:
        properties = self.resources[logical_id].get("Properties") or {}
        name = self.resolve(properties.get("QueueName", f"{STACK}-{logical_id}"))
        return f"{name}.fifo" if properties.get("FifoQueue") and not str(name).endswith(".fifo") else str(name)

    def attribute(self, name: str, attribute: str) -> Any:
        """The value of `Fn::GetAtt`."""
        resource = self.resources.get(name) or {}
        properties = resource.get("Properties") or {}
        where = f"{self.region}:{ACCOUNT}"
        match resource.get("Type"), attribute:
            case "AWS::DynamoDB::Table", "Arn":
                return f"arn:{PARTITION}:dynamodb:{where}:table/{self.ref(name)}"
            case "AWS::S3::Bucket", "Arn":
                return f"arn:{PARTITION}:s3:::{self.ref(name)}"
            case "AWS::SQS::Queue", "Arn":
                return f"arn:{PARTITION}:sqs:{where}:{self._queue_name(name)}"
            case "AWS::SQS::Queue", "QueueName":
                return self._queue_name(name)
            case "AWS::SQS::Queue", "QueueUrl":
                return self.ref(name)
            case (("AWS::Serverless::Function" | "AWS::Lambda::Function"), "Arn"):
                return f"arn:{PARTITION}:lambda:{where}:function:{self.ref(name)}"
            case (("AWS::Serverless::StateMachine" | "AWS::StepFunctions::StateMachine"), "Name"):
                return self.resolve(properties.get("Name", f"{STACK}-{name}"))
            case (("AWS::Serverless::StateMachine" | "AWS::StepFunctions::StateMachine"), "Arn"):
                return self.ref(name)
            case _, "Arn":
                return f"arn:{PARTITION}:local:{where}:{self.ref(name)}"
            case _:
                return f"{self.ref(name)}.{attribute}"

    # ----------------------------------------------------------------------------------- intrinsic functions
    def resolve(self, node: Any) -> Any:
        """The value of a node, without intrinsic functions."""
        if isinstance(node, dict):
            if len(node) == 1:
                ((name, argument),) = node.items()
                if name == "Ref":
                    return self.ref(argument)
                if name == "Condition" and isinstance(argument, str) and argument in self._conditions:
                    return self._condition(argument)
                if str(name).startswith("Fn::"):
                    return self._intrinsic(name, argument)
            resolved = ((name, self.resolve(value)) for name, value in node.items())
            return {name: value for name, value in resolved if value is not _MISSING}
        if isinstance(node, list):
            return [value for value in map(self.resolve, node) if value is not _MISSING]
        return node

    def _intrinsic(self, name: str, argument: Any) -> Any:
        functions: dict[str, Callable[[Any], Any]] = {
            "Fn::Sub": self._sub,
            "Fn::GetAtt": self._get_att,
            "Fn::Join": lambda given: _text(given[0]).join(_text(part) for part in self.resolve(given[1])),
            "Fn::Split": lambda given: _text(self.resolve(given[1])).split(given[0]),
            "Fn::Select": lambda given: self.resolve(given[1])[int(self.resolve(given[0]))],
            "Fn::If": lambda given: self.resolve(given[1] if self._condition(given[0]) else given[2]),
            "Fn::Equals": lambda given: _text(self.resolve(given[0])) == _text(self.resolve(given[1])),
            "Fn::Not": lambda given: not self._truth(given[0]),
            "Fn::And": lambda given: all(self._truth(part) for part in given),
            "Fn::Or": lambda given: any(self._truth(part) for part in given),
            "Fn::FindInMap": self._find_in_map,
            "Fn::Base64": self.resolve,
            "Fn::Cidr": self._cidr,
            "Fn::GetAZs": lambda _: [f"{self.region}{zone}" for zone in "abc"],
            "Fn::ImportValue": lambda given: f"imported-{self.resolve(given)}",
            "Fn::Transform": lambda given: {"Fn::Transform": given},
            "Fn::Length": lambda given: len(self.resolve(given)),
            "Fn::ToJsonString": lambda given: json.dumps(self.resolve(given)),
        }
        if name not in functions:
            raise TemplateError(f"the local stack does not support {name}")
        return functions[name](argument)

    def _truth(self, node: Any) -> bool:
        if isinstance(node, dict) and set(node) == {"Condition"}:
            return self._condition(node["Condition"])
        return bool(self.resolve(node))

    def _condition(self, name: str) -> bool:
        if name not in self._conditions:
            raise TemplateError(f"the template has no condition {name}")
        return self._truth(self._conditions[name])

    def _get_att(self, argument: Any) -> Any:
        name, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
        return self.attribute(name, self.resolve(attribute))

    def _find_in_map(self, argument: list[Any]) -> Any:
        mapping, first, second = (self.resolve(part) for part in argument[:3])
        try:
            return self._mappings[mapping][first][second]
        except KeyError:
            if len(argument) > 3:
                return self.resolve(argument[3]["DefaultValue"])
            raise TemplateError(f"the mapping {mapping} has no {first}.{second}") from None

    def _cidr(self, argument: list[Any]) -> list[str]:
        block, count, bits = (self.resolve(part) for part in argument)
        network = ipaddress.ip_network(block)
        parts = network.subnets(new_prefix=network.max_prefixlen - int(bits))
        return [str(part) for part in itertools.islice(parts, int(count))]

    def _sub(self, argument: Any) -> str:
        text, own = (argument, {}) if isinstance(argument, str) else (argument[0], self.resolve(argument[1]))

        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in own:
                return _text(own[name])
            if "." in name:
                return _text(self._get_att(name))
            return _text(self.ref(name))

        return re.sub(r"\$\{([^}]+)\}", value, text)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def project_template(environment: Mapping[str, str] = os.environ, endpoint: str = "") -> Template:
    """This project's template, or the file named by GATEWAY_DEV_TEMPLATE."""
    chosen = environment.get("GATEWAY_DEV_TEMPLATE")
    path = Path(chosen) if chosen else ROOT / "template.yaml"
    return Template(path, environment, endpoint)

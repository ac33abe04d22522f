"""AWS's limits for a deployment, each with its source, and a template's measured values.

A source is a page of AWS's documentation, or `botocore SERVICE SHAPE`: the service's model, whose figure a test compares.
Sizes are in bytes of JSON without spaces, unless the page differs.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.project.template import ROOT
from tests.contract.largest import LargestStack, largest

Resources = Mapping[str, Mapping[str, Any]]
Found = Iterator[tuple[str, int]]


@dataclass(frozen=True)
class Deployed:
    """An expanded template, and its stack of a given name with the largest parameters."""

    document: Mapping[str, Any]
    given: Mapping[str, str]
    resources: Resources
    file: str

    @classmethod
    def of(cls, document: Mapping[str, Any], file: str, name: str, given: Mapping[str, str]) -> Deployed:
        told = dict(given) | largest(document["Parameters"])
        # What a deployment leaves empty stays so: conditions hang on it.
        told = {k: v for k, v in told.items() if given.get(k) or document["Parameters"].get(k, {}).get("Default") != ""}
        return cls(document, told, LargestStack(document, name, told).resolved(), file)

    def each(self, kind: str, *way: str) -> Iterator[tuple[str, Any]]:
        """A property of every resource of a type that has it, by logical id; `*` iterates over a list."""
        for logical_id, resource in self.resources.items():
            if resource["Type"] == kind:
                yield from ((logical_id, found) for found in _down(resource["Properties"], way))


def _down(part: Any, way: Sequence[str]) -> Iterator[Any]:
    if not way:
        yield part
    elif way[0] == "*":
        for inner in part:
            yield from _down(inner, way[1:])
    elif way[0] in part:
        yield from _down(part[way[0]], way[1:])


@dataclass(frozen=True)
class Limit:
    """`measure` returns the measured values, by a name that shows their place."""

    name: str
    most: int
    source: str
    measure: Callable[[Deployed], Found]

    def faults(self, deployed: Deployed) -> list[str]:
        over = [(where, size) for where, size in self.measure(deployed) if size > self.most]
        return [f"{where}: {self.name} is {size:,}, at most {self.most:,} ({self.source})" for where, size in over]


def size(part: Any) -> int:
    return len(
        (part if isinstance(part, str) else json.dumps(part, separators=(",", ":"), ensure_ascii=False)).encode()
    )


def _property(kind: str, *way: str, by: Callable[[Any], int] = size) -> Callable[[Deployed], Found]:
    return lambda deployed: ((where, by(found)) for where, found in deployed.each(kind, *way))


def _declared(section: str, *way: str) -> Callable[[Deployed], Found]:
    """How long a text is, of each declaration of a section of the template."""
    return lambda deployed: (
        (name, size(text)) for name, said in deployed.document.get(section, {}).items() for text in _down(said, way)
    )


def _count(section: str) -> Callable[[Deployed], Found]:
    return lambda deployed: iter([(section, len(deployed.document.get(section, {})))])


# ------------------------------------------------------------------------------------------------------ what is summed up
def _environments(deployed: Deployed) -> Found:
    """The text that Lambda measures: the variables as JSON, in which a value's quotation mark takes two bytes."""
    for where, variables in deployed.each("AWS::Lambda::Function", "Environment", "Variables"):
        yield where, size({name: str(text) for name, text in variables.items()})


def _inline_policies(deployed: Deployed) -> Found:
    """All inline policies of a role together; white space does not count."""
    for where, policies in deployed.each("AWS::IAM::Role", "Policies"):
        yield where, sum(len(re.sub(r"\s", "", json.dumps(policy["PolicyDocument"]))) for policy in policies)


def _function_policies(deployed: Deployed) -> Found:
    """The sum of the permissions of a function and of each of its aliases."""
    sums: Counter[str] = Counter()
    for where, said in deployed.each("AWS::Lambda::Permission"):
        statement = {
            "Sid": f"{'s' * 64}-{where}-{'X' * 13}",
            "Effect": "Allow",
            "Principal": {"Service": said["Principal"]},
            "Action": said["Action"],
            "Resource": f"arn:aws-us-gov:lambda:ap-southeast-1:123456789012:function:{'f' * 64}:live",
            "Condition": {"ArnLike": {"AWS:SourceArn": said.get("SourceArn", "")}},
        }
        sums[said["FunctionName"]] += size(statement) + 1
    empty = size({"Version": "2012-10-17", "Id": "default", "Statement": []})
    return ((function, total + empty) for function, total in sums.items())


def _api_resources(deployed: Deployed) -> Found:
    """Every path prefix is one resource."""
    for where, paths in deployed.each("AWS::ApiGateway::RestApi", "Body", "paths"):
        parts = [path.strip("/").split("/") for path in paths]
        yield where, len({tuple(path[:depth]) for path in parts for depth in range(len(path) + 1)})


def _authorizers(deployed: Deployed) -> Found:
    for where, schemes in deployed.each("AWS::ApiGateway::RestApi", "Body", "components", "securitySchemes"):
        yield where, sum("x-amazon-apigateway-authorizer" in scheme for scheme in schemes.values())


def _widgets(deployed: Deployed, of: Callable[[list[Any]], Iterator[int]]) -> Found:
    for where, body in deployed.each("AWS::CloudWatch::Dashboard", "DashboardBody"):
        metrics = [len(widget["properties"].get("metrics", ())) for widget in json.loads(body)["widgets"]]
        yield from ((where, number) for number in of(metrics))


def _queries(deployed: Deployed, member: str) -> Found:
    for where, queries in deployed.each("AWS::CloudWatch::Alarm", "Metrics"):
        yield where, sum(member in query for query in queries)


def _definitions(deployed: Deployed) -> Found:
    for where, said in deployed.each("AWS::StepFunctions::StateMachine"):
        text = said.get("DefinitionString", said.get("Definition"))
        yield where, size(text) + sum(size(str(value)) for value in said.get("DefinitionSubstitutions", {}).values())


def _targets(deployed: Deployed) -> Found:
    return ((where, len(targets)) for where, targets in deployed.each("AWS::Events::Rule", "Targets"))


def _statements(deployed: Deployed) -> Found:
    for where, statements in deployed.each("AWS::SQS::QueuePolicy", "PolicyDocument", "Statement"):
        yield where, len(statements)


def _attributes(deployed: Deployed) -> Found:
    return ((name, len(said)) for name, said in deployed.document.get("Mappings", {}).items())


def _body(deployed: Deployed) -> Found:
    yield deployed.file, max(size(dict(deployed.document)), len((ROOT / deployed.file).read_bytes()))


def _small_bodies(deployed: Deployed) -> Found:
    """The templates that `sam deploy` sends in the request: samconfig.toml names a bucket only for the gateway's own."""
    if deployed.file != "template.yaml":
        yield from _body(deployed)


def _parameter_values(deployed: Deployed) -> Found:
    return ((name, size(text)) for name, text in deployed.given.items() if name in deployed.document["Parameters"])


def _key_value(deployed: Deployed) -> Found:
    return ((where, size(value)) for where, value in deployed.each("AWS::ApiGateway::ApiKey", "Value"))


def _kinds(kind: str) -> Callable[[Deployed], Found]:
    return lambda deployed: iter([(kind, sum(r["Type"] == kind for r in deployed.resources.values()))])


# ------------------------------------------------------------------------------------------------------------- the table
CFN = "CloudFormation user guide, Understand CloudFormation quotas"
PARAMETERS = "CloudFormation user guide, Parameters"
LAMBDA = "Lambda developer guide, Lambda quotas"
IAM = "IAM user guide, IAM and AWS STS quotas"
REST = "API Gateway developer guide, Quotas for configuring and running a REST API"
WATCH = "CloudWatch user guide, CloudWatch service quotas"
MATH = "CloudWatch user guide, Limits that apply to alarms based on metric math expressions; API reference, MetricDataQuery"
EVENTS = "EventBridge user guide, Amazon EventBridge quotas"
SQS = "SQS developer guide, Amazon SQS policy quotas"
CLOUDFRONT = "CloudFront developer guide, Quotas"

LIMITS = (
    # The template.
    Limit("the template's body", 1_000_000, f"{CFN}: 1 MB in S3", _body),
    Limit("a template's body that is sent as it is", 51_200, CFN, _small_bodies),
    Limit("the number of resources", 500, CFN, _count("Resources")),
    Limit("the number of parameters", 200, CFN, _count("Parameters")),
    Limit("the number of mappings", 200, CFN, _count("Mappings")),
    Limit("the number of a mapping's attributes", 200, CFN, _attributes),
    Limit("the number of outputs", 200, CFN, _count("Outputs")),
    Limit("the template's description", 1_024, CFN, lambda d: iter([(d.file, size(d.document.get("Description", "")))])),
    Limit("a parameter's value", 4_096, CFN, _parameter_values),
    Limit("a parameter's description", 4_000, PARAMETERS, _declared("Parameters", "Description")),
    Limit("a parameter's explanation", 4_000, PARAMETERS, _declared("Parameters", "ConstraintDescription")),
    # Functions and their roles.
    Limit("the environment", 4_096, f"{LAMBDA}; as JSON by the message of the refusal (github-aws-runners/terraform-aws-github-runner#3594)", _environments),
    Limit("a function's description", 256, "botocore lambda Description", _property("AWS::Lambda::Function", "Description")),
    Limit("a layer's description", 256, "botocore lambda Description", _property("AWS::Lambda::LayerVersion", "Description")),
    Limit("the number of layers", 5, LAMBDA, _property("AWS::Lambda::Function", "Layers", by=len)),
    Limit("a function's timeout", 900, LAMBDA, _property("AWS::Lambda::Function", "Timeout", by=int)),
    Limit("a function's policy", 20_480, f"{LAMBDA}: 20 KB", _function_policies),
    Limit("the batch of a queue", 10, "Lambda developer guide, Using Lambda with Amazon SQS: 10 without a window", _property("AWS::Lambda::EventSourceMapping", "BatchSize", by=int)),
    Limit("a role's inline policies", 10_240, IAM, _inline_policies),
    Limit("a role's managed policies", 10, f"{IAM}: 10, by request 20", _property("AWS::IAM::Role", "ManagedPolicyArns", by=len)),
    Limit("a role's trust policy", 2_048, IAM, _property("AWS::IAM::Role", "AssumeRolePolicyDocument")),
    # API Gateway.
    Limit("the number of an API's resources", 300, REST, _api_resources),
    Limit("the number of an API's authorizers", 10, REST, _authorizers),
    Limit("an API's resource policy", 8_192, REST, _property("AWS::ApiGateway::RestApi", "Policy")),
    Limit("the number of stages", 10, REST, _kinds("AWS::ApiGateway::Stage")),
    Limit("the number of usage plans", 300, REST, _kinds("AWS::ApiGateway::UsagePlan")),
    Limit("an access log's format", 3_072, f"{REST}: 3 KB", _property("AWS::ApiGateway::Stage", "AccessLogSetting", "Format")),
    Limit("the value of an API key", 128, "API Gateway developer guide, API key file format: 20 to 128", _key_value),
    # Watching and telling.
    Limit("the number of an alarm's metrics", 10, MATH, lambda d: _queries(d, "MetricStat")),
    Limit("the number of an alarm's expressions", 10, MATH, lambda d: _queries(d, "Expression")),
    Limit("the number of an alarm's actions", 5, WATCH, _property("AWS::CloudWatch::Alarm", "AlarmActions", by=len)),
    Limit("an alarm's description", 1_024, "botocore cloudwatch AlarmDescription", _property("AWS::CloudWatch::Alarm", "AlarmDescription")),
    Limit("an alarm's namespace", 255, "botocore cloudwatch Namespace", _property("AWS::CloudWatch::Alarm", "Namespace")),
    Limit("the number of a dashboard's widgets", 500, WATCH, lambda d: _widgets(d, lambda metrics: iter([len(metrics)]))),
    Limit("the number of a widget's metrics", 500, WATCH, lambda d: _widgets(d, iter)),
    Limit("the number of a dashboard's metrics", 2_500, WATCH, lambda d: _widgets(d, lambda metrics: iter([sum(metrics)]))),
    Limit("an event pattern", 2_048, EVENTS, _property("AWS::Events::Rule", "EventPattern")),
    Limit("the number of a rule's targets", 5, EVENTS, _targets),
    Limit("a rule's description", 512, "botocore events RuleDescription", _property("AWS::Events::Rule", "Description")),
    Limit("a schedule's expression", 256, "botocore scheduler ScheduleExpression", _property("AWS::Scheduler::Schedule", "ScheduleExpression")),
    Limit("a queue's policy", 8_192, SQS, _property("AWS::SQS::QueuePolicy", "PolicyDocument")),
    Limit("the number of a queue policy's statements", 20, SQS, _statements),
    Limit("a topic's policy", 30_720, "SNS developer guide, AddPermission: 30 KB", _property("AWS::SNS::TopicPolicy", "PolicyDocument")),
    # What is kept, and what is asked of it.
    Limit("a bucket's policy", 20_480, "S3 user guide, Bucket policies: 20 KB", _property("AWS::S3::BucketPolicy", "PolicyDocument")),
    Limit("a key's policy", 32_768, "KMS developer guide, Quotas: 32 KB", _property("AWS::KMS::Key", "KeyPolicy")),
    Limit("a state machine's definition", 1_048_576, "botocore stepfunctions Definition", _definitions),
    Limit("a named query", 262_144, "botocore athena QueryString", _property("AWS::Athena::NamedQuery", "QueryString")),
    Limit("a view's text", 409_600, "botocore glue ViewTextString", _property("AWS::Glue::Table", "TableInput", "ViewOriginalText")),
    Limit("a table's description", 2_048, "botocore glue DescriptionString", _property("AWS::Glue::Table", "TableInput", "Description")),
    # Network and edge.
    Limit("an endpoint's policy", 20_480, "PrivateLink guide, AWS PrivateLink quotas", _property("AWS::EC2::VPCEndpoint", "PolicyDocument", by=lambda policy: len(json.dumps(policy, indent=2)))),
    Limit("the code of a function of CloudFront", 10_240, f"{CLOUDFRONT}: 10 KB", _property("AWS::CloudFront::Function", "FunctionCode")),
    Limit("a distribution's comment", 128, "CloudFront API reference, DistributionConfig", _property("AWS::CloudFront::Distribution", "DistributionConfig", "Comment")),
)  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ the names
@dataclass(frozen=True)
class Name:
    """A name that the template sets: its place, its maximum length, and its allowed characters."""

    kind: str
    way: tuple[str, ...]
    most: int
    pattern: str
    source: str


NAMES = (
    Name("AWS::ApiGateway::RestApi", ("Name",), 1_024, r".+", "API Gateway API reference, RestApi"),
    Name("AWS::ApiGateway::Deployment", ("StageName",), 128, r"\w+", "API Gateway API reference, Stage"),
    Name("AWS::ApiGateway::Stage", ("StageName",), 128, r"\w+", "API Gateway API reference, Stage"),
    Name("AWS::Athena::NamedQuery", ("Name",), 128, r".+", "botocore athena NameString"),
    Name("AWS::Athena::WorkGroup", ("Name",), 128, r"[a-zA-Z0-9._-]+", "Athena API reference, WorkGroup"),
    Name("AWS::CloudFront::Function", ("Name",), 64, r"[a-zA-Z0-9-_]+", "botocore cloudfront FunctionName"),
    Name("AWS::CloudFront::ResponseHeadersPolicy", ("ResponseHeadersPolicyConfig", "Name"), 128, r"[a-zA-Z0-9-_]+", f"{CLOUDFRONT}, taken as that of its other policies"),
    Name("AWS::CloudWatch::Dashboard", ("DashboardName",), 255, r"[a-zA-Z0-9-_]+", "CloudWatch API reference, PutDashboard"),
    Name("AWS::Glue::Database", ("DatabaseInput", "Name"), 255, r"[a-z0-9_]+", "botocore glue NameString; Athena user guide, Name databases, tables, and columns"),
    Name("AWS::Glue::Table", ("TableInput", "Name"), 255, r"[a-z0-9_]+", "botocore glue NameString"),
    Name("AWS::Lambda::Alias", ("Name",), 128, r"[a-zA-Z0-9-_]+", "botocore lambda Alias"),
    Name("AWS::Lambda::LayerVersion", ("LayerName",), 140, r"[a-zA-Z0-9-_]+", "botocore lambda LayerName"),
    Name("AWS::Logs::LogGroup", ("LogGroupName",), 512, r"[.\-_/#A-Za-z0-9]+", "botocore logs LogGroupName"),
    Name("AWS::StepFunctions::StateMachine", ("StateMachineName",), 80, r"[a-zA-Z0-9-_]+", "botocore stepfunctions Name"),
)  # fmt: skip


def name_faults(deployed: Deployed) -> Iterator[str]:
    for name in NAMES:
        for where, text in deployed.each(name.kind, *name.way):
            if len(text) > name.most or not re.fullmatch(name.pattern, text):
                yield f"{where}: {text!r} has {len(text)} characters, at most {name.most} of {name.pattern} ({name.source})"
    for where, said in deployed.document.get("Outputs", {}).items():
        for text in _down(said, ("Export", "Name", "Fn::Sub")):
            if len(text) - len("${AWS::StackName}") + 128 > 255:
                yield f"{where}: an export's name has at most 255 characters ({CFN})"

"""Parameters and names of a deployment stay within AWS's limits; `tests/contract/quotas.py` is their table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import botocore.session
import pytest

from scripts.check.expand import DEPLOYMENTS, TEMPLATES, expand
from scripts.project.template import ROOT, load, refusal
from tests.contract.contract import FUNCTIONS, TEMPLATE, everywhere
from tests.contract.largest import largest
from tests.contract.quotas import LIMITS, NAMES, Deployed, Limit, name_faults, size

LONGEST, LONGEST_WITH_CORS = 65, 39
each_template = pytest.mark.parametrize("file", [str(path.relative_to(ROOT)) for path in TEMPLATES])
each_deployment = pytest.mark.parametrize("deployment", DEPLOYMENTS)
PUBLIC = "public, with everything"


def longest_name(given: Mapping[str, str]) -> int:
    has_cors = "CorsOrigin" in given and given.get("Network") != "private"
    return LONGEST_WITH_CORS if has_cors else LONGEST


@cache
def deployed(file: str, deployment: str, length: int = 0) -> Deployed:
    given = DEPLOYMENTS[deployment]
    return Deployed.of(expand(ROOT / file, given), file, "s" * (length or longest_name(given)), given)


# ------------------------------------------------------------------------------------------------------------ the limits
@each_template
@each_deployment
def test_a_deployment_stays_within_every_limit_at_its_largest(file: str, deployment: str) -> None:
    made = deployed(file, deployment)
    assert [fault for limit in LIMITS for fault in limit.faults(made)] == []


@each_template
@each_deployment
def test_every_name_is_one_that_aws_takes_for_the_longest_name_of_a_stack(file: str, deployment: str) -> None:
    assert list(name_faults(deployed(file, deployment))) == []


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: str(limit.name))
def test_a_limit_is_held_against_something(limit: Limit) -> None:
    files = [str(path.relative_to(ROOT)) for path in TEMPLATES]
    assert [found for file in files for one in DEPLOYMENTS for found in limit.measure(deployed(file, one))]


def text(size: int) -> str:
    return "x" * size


def document(size: int, around: int = 0) -> dict[str, str]:
    """An object whose JSON has this size, or this size minus its surroundings."""
    return {"a": text(size - around - len('{"a":""}'))}


def one(kind: str, **properties: Any) -> Deployed:
    return Deployed({}, {}, {"One": {"Type": kind, "Properties": properties}}, "template.yaml")


def several(kind: str, number: int) -> Deployed:
    return Deployed({}, {}, {str(n): {"Type": kind, "Properties": {}} for n in range(number)}, "template.yaml")


def said(file: str = "template.yaml", **sections: Any) -> Deployed:
    return Deployed(sections, {}, {}, file)


def permission(size_of_all: int) -> Deployed:
    def of(arn: str) -> Deployed:
        return one("AWS::Lambda::Permission", FunctionName="f", Principal="p", Action="a", SourceArn=arn)

    ((_, empty),) = next(limit for limit in LIMITS if limit.name == "a function's policy").measure(of(""))
    return of(text(size_of_all - empty))


def dashboard(widgets: list[int]) -> Deployed:
    body = {"widgets": [{"properties": {"metrics": [["m"]] * metrics}} for metrics in widgets]}
    return one("AWS::CloudWatch::Dashboard", DashboardBody=json.dumps(body))


def api(**body: Any) -> Deployed:
    return one("AWS::ApiGateway::RestApi", Body=body)


def numbered(number: int, each: Any = "") -> dict[str, Any]:
    return {f"n{n}": each for n in range(number)}


ALARM, RULE, ROLE, FUNCTION = "AWS::CloudWatch::Alarm", "AWS::Events::Rule", "AWS::IAM::Role", "AWS::Lambda::Function"
AUTHORIZER: dict[str, Any] = {"x-amazon-apigateway-authorizer": {}}
# A deployment that is as large as is said in the one respect, by the name of its limit.
AS_LARGE_AS: dict[str, Callable[[int], Deployed]] = {
    "the template's body": lambda n: said(Metadata=text(n - len('{"Metadata":""}'))),
    "a template's body that is sent as it is": lambda n: said("templates/key.yaml", Metadata=text(n - len('{"Metadata":""}'))),
    "the number of resources": lambda n: said(Resources=numbered(n)),
    "the number of parameters": lambda n: said(Parameters=numbered(n)),
    "the number of mappings": lambda n: said(Mappings=numbered(n)),
    "the number of a mapping's attributes": lambda n: said(Mappings={"m": numbered(n)}),
    "the number of outputs": lambda n: said(Outputs=numbered(n)),
    "the template's description": lambda n: said(Description=text(n)),
    "a parameter's value": lambda n: Deployed({"Parameters": {"p": {}}}, {"p": text(n)}, {}, "template.yaml"),
    "a parameter's description": lambda n: said(Parameters={"p": {"Description": text(n)}}),
    "a parameter's explanation": lambda n: said(Parameters={"p": {"ConstraintDescription": text(n)}}),
    "the environment": lambda n: one(FUNCTION, Environment={"Variables": {"A": '"' * 100 + text(n - len('{"A":""}') - 200)}}),
    "a function's description": lambda n: one(FUNCTION, Description=text(n)),
    "a layer's description": lambda n: one("AWS::Lambda::LayerVersion", Description=text(n)),
    "the number of layers": lambda n: one(FUNCTION, Layers=["arn"] * n),
    "a function's timeout": lambda n: one(FUNCTION, Timeout=n),
    "a function's policy": permission,
    "the batch of a queue": lambda n: one("AWS::Lambda::EventSourceMapping", BatchSize=n),
    "a role's inline policies": lambda n: one(ROLE, Policies=[
        {"PolicyDocument": document(4_000)}, {"PolicyDocument": {"a b": text(n - 4_000 - len('{"ab":""}'))}}]),
    "a role's managed policies": lambda n: one(ROLE, ManagedPolicyArns=["arn"] * n),
    "a role's trust policy": lambda n: one(ROLE, AssumeRolePolicyDocument=document(n)),
    "the number of an API's resources": lambda n: api(paths={f"/part/{number}": {} for number in range(n - 2)}),
    "the number of an API's authorizers": lambda n: api(components={"securitySchemes": numbered(n, AUTHORIZER) | {"key": {}}}),
    "an API's resource policy": lambda n: one("AWS::ApiGateway::RestApi", Policy=document(n)),
    "the number of stages": lambda n: several("AWS::ApiGateway::Stage", n),
    "the number of usage plans": lambda n: several("AWS::ApiGateway::UsagePlan", n),
    "an access log's format": lambda n: one("AWS::ApiGateway::Stage", AccessLogSetting={"Format": text(n)}),
    "the value of an API key": lambda n: one("AWS::ApiGateway::ApiKey", Value=text(n)),
    "the number of an alarm's metrics": lambda n: one(ALARM, Metrics=[{"MetricStat": {}}] * n + [{"Expression": ""}] * 10),
    "the number of an alarm's expressions": lambda n: one(ALARM, Metrics=[{"Expression": ""}] * n + [{"MetricStat": {}}] * 10),
    "the number of an alarm's actions": lambda n: one(ALARM, AlarmActions=["arn"] * n),
    "an alarm's description": lambda n: one(ALARM, AlarmDescription=text(n)),
    "an alarm's namespace": lambda n: one(ALARM, Namespace=text(n)),
    "the number of a dashboard's widgets": lambda n: dashboard([1] * n),
    "the number of a widget's metrics": lambda n: dashboard([1, n]),
    "the number of a dashboard's metrics": lambda n: dashboard([500] * 4 + [n - 2_000]),
    "an event pattern": lambda n: one(RULE, EventPattern=document(n)),
    "the number of a rule's targets": lambda n: one(RULE, Targets=[{}] * n),
    "a rule's description": lambda n: one(RULE, Description=text(n)),
    "a schedule's expression": lambda n: one("AWS::Scheduler::Schedule", ScheduleExpression=text(n)),
    "a queue's policy": lambda n: one("AWS::SQS::QueuePolicy", PolicyDocument={"Statement": [], **document(n, len('"Statement":[],'))}),
    "the number of a queue policy's statements": lambda n: one("AWS::SQS::QueuePolicy", PolicyDocument={"Statement": [{}] * n}),
    "a topic's policy": lambda n: one("AWS::SNS::TopicPolicy", PolicyDocument=document(n)),
    "a bucket's policy": lambda n: one("AWS::S3::BucketPolicy", PolicyDocument=document(n)),
    "a key's policy": lambda n: one("AWS::KMS::Key", KeyPolicy=document(n)),
    "a state machine's definition": lambda n: one("AWS::StepFunctions::StateMachine", DefinitionString=text(n - 10),
                                                 DefinitionSubstitutions={"arn": text(10)}),
    "a named query": lambda n: one("AWS::Athena::NamedQuery", QueryString=text(n)),
    "a view's text": lambda n: one("AWS::Glue::Table", TableInput={"ViewOriginalText": text(n)}),
    "a table's description": lambda n: one("AWS::Glue::Table", TableInput={"Description": text(n)}),
    "an endpoint's policy": lambda n: one("AWS::EC2::VPCEndpoint", PolicyDocument={"a": text(n - len('{\n  "a": ""\n}'))}),
    "the code of a function of CloudFront": lambda n: one("AWS::CloudFront::Function", FunctionCode=text(n)),
    "a distribution's comment": lambda n: one("AWS::CloudFront::Distribution", DistributionConfig={"Comment": text(n)}),
}  # fmt: skip


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: str(limit.name))
def test_what_reaches_a_limit_is_taken_and_what_passes_it_is_named(limit: Limit) -> None:
    make = AS_LARGE_AS[limit.name]
    of_others = {other.name for other in LIMITS for _ in other.faults(make(limit.most))} - {limit.name}
    assert limit.faults(make(limit.most)) == [], of_others
    (fault,) = limit.faults(make(limit.most + 1))
    assert f"{limit.name} is {limit.most + 1:,}, at most {limit.most:,} ({limit.source})" in fault


@pytest.mark.parametrize(
    "limit", [*LIMITS, *NAMES], ids=lambda limit: str(getattr(limit, "name", getattr(limit, "kind", "")))
)
def test_a_figure_of_botocore_is_its(limit: Any) -> None:
    session = botocore.session.get_session()
    for service, shape in re.findall(r"botocore (\w+) (\w+)", limit.source):
        found = session.get_service_model(service).shape_for(shape).metadata
        if "max" in found:
            assert found["max"] == limit.most


# ------------------------------------------------------------------------------------------------------------- the names
def test_a_longer_name_of_a_stack_is_refused_by_what_is_named_after_it() -> None:
    (fault,) = name_faults(deployed("template.yaml", "by default", LONGEST + 1))
    assert "-backfill-costs" in fault
    (fault,) = name_faults(deployed("template.yaml", PUBLIC, LONGEST_WITH_CORS + 1))
    assert "-preflight" in fault


def test_the_page_of_deploying_says_how_long_a_stacks_name_may_be() -> None:
    sentence = f"has at most {LONGEST} characters, {LONGEST_WITH_CORS} with `CorsOrigin`"
    assert sentence in (ROOT / "docs/run/deploy.md").read_text()


NAMING = re.compile(
    r"(Name|(LogGroup|Table|Bucket|Queue|Topic|Role|Dashboard|Alarm|StateMachine|Layer|Stage|Group|Policy)Name)"
)
REFERENCES = {("AWS::EC2::FlowLog", "LogGroupName")}


def test_every_name_that_a_template_gives_is_held_against_its_limit() -> None:
    held = {(name.kind, name.way[-1]) for name in NAMES} | REFERENCES
    for path in TEMPLATES:
        for logical_id, resource in expand(path, DEPLOYMENTS[PUBLIC])["Resources"].items():
            if resource["Type"].startswith("AWS::"):
                for place in _that_may_name(resource.get("Properties", {})):
                    given = {(resource["Type"], key) for key in place if NAMING.fullmatch(key)}
                    assert given <= held, logical_id


def test_functions_are_named_by_cloudformation() -> None:
    functions = [r for r in expand(ROOT / "template.yaml")["Resources"].values() if r["Type"] == FUNCTION]
    assert functions
    assert not [function for function in functions if "FunctionName" in function["Properties"]]


def _that_may_name(properties: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield properties
    yield from (properties.get(part, {}) for part in ("DatabaseInput", "TableInput", "ResponseHeadersPolicyConfig"))


# -------------------------------------------------------------------------------------------------------- the parameters
@each_template
def test_the_largest_parameters_are_those_that_the_template_takes_and_no_longer_ones(file: str) -> None:
    parameters = load(ROOT / file)["Parameters"]
    for name, value in largest(parameters).items():
        assert refusal(parameters[name], value) is None, name
        if parameters[name]["Type"] == "String":
            assert refusal(parameters[name], value + value[-1]), name
            assert len(value) == parameters[name].get("MaxLength", len(value)), name


def test_a_text_that_reaches_an_environment_ends_somewhere() -> None:
    bounded = set(largest(TEMPLATE["Parameters"]))
    for function in FUNCTIONS.values():
        for _, part in everywhere({"v": dict(function.environment)}):
            parameter = TEMPLATE["Parameters"].get(part.get("Ref"))
            assert parameter is None or "AllowedValues" in parameter or part["Ref"] in bounded, function.logical_id


def test_the_page_of_routes_says_how_long_they_may_be() -> None:
    most = [TEMPLATE["Parameters"][name]["MaxLength"] for name in ("SageMakerEndpoints", "ModelRoutes")]
    page = (ROOT / "docs/run/routes-and-fallbacks.md").read_text()
    assert f"of at most {most[0]} and {most[1]} characters" in " ".join(page.split())


def test_a_longer_text_of_routes_would_not_fit_a_functions_environment() -> None:
    """The bound is no guess: half as much again is named by the limit."""
    document = json.loads(json.dumps(expand(ROOT / "template.yaml", DEPLOYMENTS[PUBLIC])))
    document["Parameters"]["ModelRoutes"]["MaxLength"] *= 2
    made = Deployed.of(document, "template.yaml", "s" * LONGEST_WITH_CORS, DEPLOYMENTS[PUBLIC])
    (environment,) = [limit for limit in LIMITS if limit.name == "the environment"]
    assert any("InvokeModelFunction: the environment is" in fault for fault in environment.faults(made))
    assert size({"A": '"'}) == len(r'{"A":"\""}')

"""Network: the API's callers, the functions' subnets, their outgoing traffic, and the address range."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from typing import Any

import pytest

from scripts.project.template import ROOT, refusal
from tests.contract import sam_cli
from tests.contract.contract import OPERATIONS, TEMPLATE, Operation
from tests.contract.expanded import of_kind, outputs, stack
from tests.contract.rules import refusals

PRIVATE = {"Network": "private"}
IN_VPC = {"Network": "functions-in-vpc"}
OWN_VPC = {"VpcId": "vpc-0123456789abcdef0", "SubnetIds": "subnet-01234567,subnet-89abcdef"}
TENANT_ROLE = {"TenantRoleArn": "arn:aws:iam::210987654321:role/tenants"}
in_any_vpc = pytest.mark.parametrize("network", [PRIVATE, IN_VPC], ids=lambda said: said["Network"])
# Ids of tenants and keys, and names of models, that look like a part of another path.
ADVERSARIAL = (
    "v1", "model", "usage", "POST", "invoke_model", "v1/models", "v1/POST/v1/x", "a/GET/v1/models", "../v1/models", "*", "..", "quote", "delegated", "a/delegated/b",
)  # fmt: skip
STAGES = ("v1", "prod", "admin", "POST")


# --------------------------------------------------------------------------------------------------------------- the API
def admits(stage: str) -> list[str]:
    """The IAM patterns that a private API's resource policy allows every caller: an asterisk matches slashes."""
    policy = stack(**PRIVATE, StageName=stage)["Api"]["Properties"]["Policy"]
    (allow,) = [said for said in policy["Statement"] if said["Effect"] == "Allow"]
    assert (allow["Principal"], allow["Action"]) == ("*", "execute-api:Invoke")
    return [re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".") for pattern in allow["Resource"]]


def paths(operation: Operation) -> set[str]:
    """The paths of an operation, with adversarial values in all of its parameters."""
    names = re.findall(r"\{(\w+)\}", operation.path)
    made = set()
    for values in itertools.product(ADVERSARIAL, repeat=len(names)):
        path = operation.path
        for name, value in zip(names, values, strict=True):
            path = path.replace(f"{{{name}}}", value)
        made.add(path)
    return made


@pytest.mark.parametrize("stage", STAGES)
def test_no_path_of_an_operator_is_open_whatever_a_tenant_is_called(stage: str) -> None:
    """For IAM within an account either policy is enough: what is open here asks for no rights on execute-api."""
    patterns = admits(stage)
    for operation in OPERATIONS:
        is_open = not operation.path.startswith("/admin")
        for path in paths(operation):
            arn = f"execute-api:/{stage}/{operation.method.upper()}{path}"
            assert any(re.fullmatch(pattern, arn) for pattern in patterns) == is_open, arn
            if not is_open:  # the same for a caller with a key, whom the authorizer identifies
                delegated = f"execute-api:/{stage}/{operation.method.upper()}/delegated{path}"
                assert any(re.fullmatch(pattern, delegated) for pattern in patterns), delegated


def test_no_other_stage_and_no_other_method_is_open() -> None:
    patterns = admits("v1")
    for arn in (
        "execute-api:/Stage/GET/usage",
        "execute-api:/v1/DELETE/v1/models",
        "execute-api:/v1/PUT/model/m/converse",
    ):
        assert not [pattern for pattern in patterns if re.fullmatch(pattern, arn)], arn


# ----------------------------------------------------------------------------- functions in a VPC, and the API public
def deployed(**parameters: str) -> dict[str, Any]:
    """The stack with a fixed name for the API's deployment: SAM generates another one each time."""
    named: dict[str, Any] = json.loads(
        re.sub(r"ApiDeployment[0-9a-f]{10}", "ApiDeployment", json.dumps(stack(**parameters)))
    )
    named["ApiDeployment"]["Properties"].pop("Description", None)
    return named


@pytest.mark.parametrize("more", [{}, TENANT_ROLE], ids=["", "tenants' role"])
def test_functions_in_a_vpc_have_the_network_of_a_private_gateway_but_for_the_way_to_its_api(
    more: dict[str, str],
) -> None:
    public, private, ours = deployed(**more), deployed(**PRIVATE, **more), deployed(**IN_VPC, **more)
    assert private.keys() - ours.keys() == {"ApiEndpoint"}
    beside = {name for name in ours.keys() - public.keys() if ours[name] != private[name]}
    assert beside == {"EndpointsSecurityGroup"}
    for name, function in of_kind(ours, "AWS::Lambda::Function").items():
        assert function == private[name]["Properties"]
        assert function["VpcConfig"]["SubnetIds"] == ["model-gateway/FirstSubnet", "model-gateway/SecondSubnet"]


@pytest.mark.parametrize("more", [{}, {"EnableWaf": "true", "CorsOrigin": "https://a.example", "AccessLog": "on"}])
def test_its_api_and_all_that_lies_before_it_are_those_of_a_public_gateway(more: dict[str, str]) -> None:
    public, ours = deployed(**more), deployed(**IN_VPC, **more)
    assert ours["Api"]["Properties"]["EndpointConfiguration"] == {"Types": ["REGIONAL"]}
    assert "Policy" not in ours["Api"]["Properties"]
    for name, resource in public.items():
        if resource["Type"].startswith(("AWS::ApiGateway::", "AWS::WAFv2::", "AWS::CloudFront::")):
            assert ours[name] == resource, name
    assert outputs("g", **IN_VPC, **more) == outputs("g", **more)


def test_nobody_but_the_functions_reaches_the_endpoints_of_a_public_api() -> None:
    def sources(**parameters: str) -> list[str]:
        rules = stack(**parameters)["EndpointsSecurityGroup"]["Properties"]["SecurityGroupIngress"]
        return [rule.get("CidrIp") or rule["SourceSecurityGroupId"] for rule in rules]

    assert sources(**IN_VPC) == ["model-gateway/FunctionsSecurityGroup"]
    assert sources(**PRIVATE) == ["model-gateway/FunctionsSecurityGroup", "10.0.0.0/8"]


def test_in_a_vpc_of_yours_functions_need_a_security_group_and_nothing_else() -> None:
    ours = stack(**IN_VPC, **OWN_VPC)
    made = {name for name, said in ours.items() if said["Type"].startswith("AWS::EC2::")}
    assert made == {"FunctionsSecurityGroup"}
    assert ours["FunctionsSecurityGroup"]["Properties"]["VpcId"] == OWN_VPC["VpcId"]
    for function in of_kind(ours, "AWS::Lambda::Function").values():
        assert function["VpcConfig"] == {
            "SecurityGroupIds": ["model-gateway/FunctionsSecurityGroup"],
            "SubnetIds": OWN_VPC["SubnetIds"].split(","),
        }


def test_the_endpoint_of_a_private_api_in_a_vpc_of_yours_has_its_security_group() -> None:
    ours = stack(**PRIVATE, **OWN_VPC)
    assert ours["ApiEndpoint"]["Properties"]["SecurityGroupIds"] == ["model-gateway/EndpointsSecurityGroup"]
    assert ours["EndpointsSecurityGroup"]["Properties"]["VpcId"] == OWN_VPC["VpcId"]
    assert "EndpointsSecurityGroup" not in stack(**PRIVATE, **OWN_VPC, ApiEndpointId="vpce-0123456789abcdef0")


# ------------------------------------------------------------------------------------------------------- what leaves it
@in_any_vpc
@pytest.mark.parametrize(("region", "bucket"), [("eu-west-1", "euwest1")])
def test_a_custom_resource_reaches_cloudformation_and_nobody_elses_bucket(
    network: dict[str, str], region: str, bucket: str
) -> None:
    """It answers into AWS's bucket, by an address that is signed by AWS: of neither is the account this one."""
    statements = stack(**network)["S3Endpoint"]["Properties"]["PolicyDocument"]["Statement"]
    open_to_others = [said for said in statements if "Condition" not in said]
    assert open_to_others == [
        {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": f"arn:aws:s3:::cloudformation-custom-resource-response-{bucket}/*",
        }
    ]


def test_the_flow_log_may_do_what_its_service_does() -> None:
    """VPC guide, "IAM role for publishing flow logs to CloudWatch Logs", but for making the group, which the stack does."""
    (policy,) = stack(**PRIVATE)["FlowLogsRole"]["Properties"]["Policies"]
    allowed: dict[str, Any] = {}
    for said in policy["PolicyDocument"]["Statement"]:
        actions = said["Action"] if isinstance(said["Action"], list) else [said["Action"]]
        allowed |= dict.fromkeys(actions, said["Resource"])
    group = "model-gateway/FlowLogs.Arn"
    assert allowed == {
        "logs:CreateLogStream": group,
        "logs:PutLogEvents": group,
        "logs:DescribeLogStreams": group,
        "logs:DescribeLogGroups": "*",
    }


# ------------------------------------------------------------------------------------------------------------ its zones
def zones(network: dict[str, str], **parameters: str) -> list[str]:
    made = of_kind(stack(**network, **parameters), "AWS::EC2::Subnet")
    return [made[name]["AvailabilityZone"] for name in ("FirstSubnet", "SecondSubnet")]


@in_any_vpc
def test_the_zones_of_a_new_network_can_be_chosen(network: dict[str, str]) -> None:
    """The first two of an account may be such as Lambda, or an endpoint's service, is not in."""
    assert zones(network) == ["eu-west-1a", "eu-west-1b"]
    assert zones(network, FirstZone="eu-west-1c", SecondZone="eu-west-1a") == ["eu-west-1c", "eu-west-1a"]


@pytest.mark.parametrize(
    ("first", "second", "good"),
    [("", "", True), ("us-east-1b", "us-east-1d", True), ("us-east-1b", "", False), ("", "us-east-1b", False),
     ("us-east-1b", "us-east-1b", False)],
)  # fmt: skip
def test_zones_are_two_different_ones_or_none(first: str, second: str, good: bool) -> None:
    assert (refusals(TEMPLATE, "us-east-1", FirstZone=first, SecondZone=second) == []) == good


@pytest.mark.parametrize("zone", ["us-east-1a", "ap-southeast-4c", "us-gov-west-1b", "eusc-de-east-1a"])
def test_a_zone_is_named_as_aws_names_it(zone: str) -> None:
    for name in ("FirstZone", "SecondZone"):
        pattern = TEMPLATE["Parameters"][name]["AllowedPattern"]
        assert re.fullmatch(pattern, zone)
        assert not re.fullmatch(pattern, zone[:-1])  # a region
        assert not re.fullmatch(pattern, "use1-az4")  # a zone's id, which a subnet does not take here


# ------------------------------------------------------------------------------------------------------------ its page
PAGE = (ROOT / "docs/run/network-and-encryption.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## A private network")[2].partition("\n## ")[0]


def test_the_page_names_each_endpoint_that_a_vpc_of_yours_must_have() -> None:
    made = of_kind(stack(**PRIVATE, **TENANT_ROLE), "AWS::EC2::VPCEndpoint").values()
    names = {
        endpoint["ServiceName"].removeprefix("com.amazonaws.eu-west-1.")
        for endpoint in made
        if endpoint["VpcEndpointType"] == "Interface"
    }
    assert len(names) == 8
    assert [name for name in sorted(names) if f"`{name}`" not in SECTION] == []


def test_the_page_names_each_parameter_of_the_network_and_where_clients_call() -> None:
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    (names,) = [group["Parameters"] for group in groups if group["Label"]["default"] == "Network"]
    assert [name for name in [*names, "ApiUrl", "PrivateApiUrl"] if not re.search(rf"`{name}[`=]", SECTION)] == []
    for name in ("ClientCidr", "VpcCidr"):
        assert f"`{name}` (`{TEMPLATE['Parameters'][name]['Default']}`)" in SECTION


def test_its_commands_set_what_the_template_takes() -> None:
    commands = [shlex.split(line) for line in SECTION.splitlines() if line.startswith("sam deploy ")]
    assert len(commands) == 2
    for command in commands:
        told = sam_cli.deployed(ROOT / "samconfig.toml", *command[2:])["parameter_overrides"]
        assert told.keys() == {word.partition("=")[0] for word in command[3:]}
        assert [refusal(TEMPLATE["Parameters"][name], value) for name, value in told.items()] == [None] * len(told)
        assert refusals(TEMPLATE, "us-east-1", **told) == []

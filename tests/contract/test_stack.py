"""A deployed stack has everything that its predecessor had, by default and in every variant of a parameter."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from fnmatch import fnmatch
from typing import Any

import pytest

from scripts.project.template import ROOT, load, of_type
from tests.contract.contract import DELEGATED, OPERATIONS, TEMPLATE
from tests.contract.expanded import of_kind, outputs, plain, stack
from tests.contract.rules import refusals
from tests.recorded import POLLED

KEY = "arn:aws:kms:eu-west-1:123456789012:key/1b4db7eb-4057-4f5b-8a35-9f1a3f0c6d52"
INTERFACE = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]
PRIVATE = {"Network": "private"}
IN_VPC = {"Network": "functions-in-vpc"}
OWN_VPC = PRIVATE | {"VpcId": "vpc-0123456789abcdef0", "SubnetIds": "subnet-01234567,subnet-89abcdef"}

# What the predecessor's stack had, and where it is in ours: a type, how many of it at least, and under which parameters.
PREDECESSOR: dict[str, tuple[dict[str, int], dict[str, str]]] = {
    "VPC with isolated subnets": (
        {"AWS::EC2::VPC": 1, "AWS::EC2::Subnet": 2, "AWS::EC2::RouteTable": 1, "AWS::EC2::VPCEndpoint": 8}, IN_VPC),
    "REST API with a stage": ({"AWS::ApiGateway::RestApi": 1, "AWS::ApiGateway::Stage": 1}, {}),
    "usage plan and key": ({"AWS::ApiGateway::UsagePlan": 1, "AWS::ApiGateway::ApiKey": 1, "AWS::ApiGateway::UsagePlanKey": 1}, {}),
    "store of answers to poll": ({"AWS::DynamoDB::Table": 5, "AWS::SQS::Queue": 2}, {}),
    "cost aggregation": ({"AWS::StepFunctions::StateMachine": 1}, {}),
    "its schedule": ({"AWS::Scheduler::Schedule": 1}, {}),
    "buckets": ({"AWS::S3::Bucket": 2, "AWS::S3::BucketPolicy": 2}, {}),
    "logs": ({"AWS::Logs::LogGroup": 13}, {}),
    "a table of costs to query": ({"AWS::Glue::Database": 1, "AWS::Glue::Table": 2, "AWS::Athena::WorkGroup": 1}, {}),
}  # fmt: skip
FUNCTIONS_OF_PREDECESSOR = {
    "lists models": "ListModelsFunction", "calls one": "InvokeModelFunction", "streams one": "StreamModelFunction",
    "runs a submitted call": "CompleteInvocationFunction", "aggregates costs": "PriceUsageFunction",
}  # fmt: skip
PARAMETERS_OF_PREDECESSOR = {"SageMakerEndpoints", "RateLimit", "BurstLimit", "Network", "VpcCidr"}


# ------------------------------------------------------------------------------------------------------- the predecessor
@pytest.mark.parametrize("what", PREDECESSOR)
def test_what_the_predecessor_deployed_is_deployed(what: str) -> None:
    needed, parameters = PREDECESSOR[what]
    there = Counter(resource["Type"] for resource in stack(**parameters).values())
    assert not {kind: count for kind, count in needed.items() if there[kind] < count}


@pytest.mark.parametrize("what", FUNCTIONS_OF_PREDECESSOR)
def test_a_function_of_the_predecessor_has_one_that_does_its_work(what: str) -> None:
    assert stack()[FUNCTIONS_OF_PREDECESSOR[what]]["Type"] == "AWS::Lambda::Function"


def test_what_the_predecessor_could_be_told_ours_can() -> None:
    assert TEMPLATE["Parameters"].keys() >= PARAMETERS_OF_PREDECESSOR
    (plan,) = of_kind(stack(RateLimit="7", BurstLimit="9"), "AWS::ApiGateway::UsagePlan").values()
    assert plan["Throttle"] == {"RateLimit": "7", "BurstLimit": "9"}
    endpoints = '{"my-llama": "llama-endpoint"}'
    said = stack(SageMakerEndpoints=endpoints)["InvokeModelFunction"]["Properties"]["Environment"]["Variables"]
    assert said["SAGEMAKER_ENDPOINTS"] == endpoints


def test_functions_can_run_in_a_vpc_behind_an_api_that_anybody_reaches() -> None:
    """The predecessor's shape: its API was regional, and its functions in isolated subnets."""
    there = stack(**IN_VPC)
    assert there["Api"]["Properties"]["EndpointConfiguration"] == {"Types": ["REGIONAL"]}
    assert all("VpcConfig" in function for function in of_kind(there, "AWS::Lambda::Function").values())


def test_a_tenant_alone_can_be_deployed() -> None:
    """The predecessor's second way: one more API key beside a gateway that is there."""
    assert "AWS::ApiGateway::ApiKey" in (ROOT / "templates/tenant.yaml").read_text()


# ------------------------------------------------------------------------------------------------------------ parameters
def test_every_parameter_stands_in_one_group_with_a_label_and_a_word_about_it() -> None:
    grouped = [name for group in INTERFACE["ParameterGroups"] for name in group["Parameters"]]
    assert sorted(grouped) == sorted(TEMPLATE["Parameters"])
    assert INTERFACE["ParameterLabels"].keys() == TEMPLATE["Parameters"].keys()
    assert all(declared["Description"].endswith((".", "}.")) for declared in TEMPLATE["Parameters"].values())


def test_every_parameter_has_a_default_that_it_allows() -> None:
    for name, declared in TEMPLATE["Parameters"].items():
        assert "Default" in declared, name
        assert re.fullmatch(declared.get("AllowedPattern", ".*"), str(declared["Default"])), name
        assert declared["Default"] in declared.get("AllowedValues", [declared["Default"]]), name


def test_the_default_has_no_network_of_its_own_no_firewall_and_no_key() -> None:
    kinds = {resource["Type"] for resource in stack().values()}
    assert not {kind for kind in kinds if kind.startswith(("AWS::EC2::", "AWS::WAFv2::", "AWS::CodeDeploy::"))}
    assert "KmsKeyArn" not in stack()["InvokeModelFunction"]["Properties"]


# ----------------------------------------------------------------------------------------------------------------- units
WITHIN_ANOTHER = {"AWS::Glue::Table", "AWS::Lambda::Alias", "AWS::Athena::NamedQuery"}


def physical(unit: str, **parameters: str) -> set[str]:
    resources = stack(unit, **parameters)
    found = set()
    for logical_id, resource in resources.items():
        properties = resource["Properties"]
        for place in (properties, properties.get("DatabaseInput", {})):
            for name in ("LogGroupName", "FunctionName", "TableName", "BucketName", "QueueName", "TopicName", "RoleName",
                         "DashboardName", "AlarmName", "StateMachineName", "Name", "GroupName", "PolicyName"):  # fmt: skip
                # Within another that is named: tables in their database, aliases in their function, queries in their workgroup.
                if name in place and resource["Type"] not in WITHIN_ANOTHER:
                    found.add(f"{resource['Type']} {place[name]}")
        assert "PolicyName" not in properties, logical_id
    found |= {f"export {said['Export']['Name']}" for said in outputs(unit, **parameters).values() if "Export" in said}
    variables = resources["InvokeModelFunction"]["Properties"]["Environment"]["Variables"]
    return found | {f"metrics {variables['POWERTOOLS_METRICS_NAMESPACE']}", f"gateway {variables['GATEWAY_ARN']}"}


def test_two_units_of_an_account_share_no_name() -> None:
    one = physical("unit-a", EnableWaf="true", PayloadLogging="on", CorsOrigin="https://a.example")
    other = physical("unit-b", **PRIVATE, KmsKeyArn=KEY, RateLimit="5")
    assert len(one) > 20
    assert not one & other


def test_the_units_of_samconfig_are_stacks_of_their_own_that_say_what_the_template_takes() -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    default = config["default"]["deploy"]["parameters"]
    units = {name: said["deploy"]["parameters"] for name, said in config.items() if name.startswith("unit-")}
    assert (
        len({unit["stack_name"] for unit in units.values()} | {config["default"]["global"]["parameters"]["stack_name"]})
        == 3
    )
    deployed = []
    for unit in units.values():
        assert {name: unit[name] for name in default.keys() - {"s3_prefix"}} == {
            name: said for name, said in default.items() if name != "s3_prefix"
        }
        parameters = dict(said.split("=", 1) for said in unit["parameter_overrides"])
        assert parameters.keys() <= TEMPLATE["Parameters"].keys()
        deployed.append(physical(unit["stack_name"], **parameters))
    assert not deployed[0] & deployed[1]


def test_the_alarms_and_rules_of_a_unit_are_deaf_to_the_others() -> None:
    for alarm in of_kind(stack("unit-a"), "AWS::CloudWatch::Alarm").values():
        assert "unit-a" in json.dumps([alarm.get("Namespace"), alarm.get("Dimensions"), alarm.get("Metrics")])
    for rule in of_kind(stack("unit-a"), "AWS::Events::Rule").values():
        assert "unit-a" in json.dumps(rule["EventPattern"])


# --------------------------------------------------------------------------------------------------------------- network
def test_in_a_private_network_every_function_runs_in_both_subnets() -> None:
    for function in of_kind(stack(**PRIVATE), "AWS::Lambda::Function").values():
        assert function["VpcConfig"] == {
            "SecurityGroupIds": ["model-gateway/FunctionsSecurityGroup"],
            "SubnetIds": ["model-gateway/FirstSubnet", "model-gateway/SecondSubnet"],
        }
    assert not [name for name, f in of_kind(stack(), "AWS::Lambda::Function").items() if "VpcConfig" in f]


def test_a_private_network_has_no_way_out() -> None:
    kinds = {resource["Type"] for resource in stack(**PRIVATE).values()}
    assert not kinds & {"AWS::EC2::InternetGateway", "AWS::EC2::NatGateway", "AWS::EC2::Route", "AWS::EC2::EIP"}
    zones = {subnet["AvailabilityZone"] for subnet in of_kind(stack(**PRIVATE), "AWS::EC2::Subnet").values()}
    assert len(zones) == 2


# How the SDK names a service -> the name of its endpoint.
ENDPOINTS = {
    "bedrock": "bedrock", "bedrock-runtime": "bedrock-runtime", "sagemaker-runtime": "sagemaker.runtime", "events": "events",
    "sqs": "sqs", "sts": "sts", "s3": "s3", "dynamodb": "dynamodb", "cloudwatch": "monitoring", "athena": "athena",
    "glue": "glue", "lambda": "lambda", "stepfunctions": "states", "kms": "kms", "logs": "logs",
}  # fmt: skip


def test_there_is_an_endpoint_for_each_service_that_a_function_calls_and_for_no_other() -> None:
    code = [*(ROOT / "layers/gateway/gateway").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]
    called = {name for path in code for name in re.findall(r'\bclient\(\s*"([a-z0-9-]+)"', path.read_text())}
    resources = stack(**PRIVATE, TenantRoleArn="arn:aws:iam::210987654321:role/tenants")
    made = [endpoint["ServiceName"] for endpoint in of_kind(resources, "AWS::EC2::VPCEndpoint").values()]
    assert sorted(made) == sorted(
        f"com.amazonaws.eu-west-1.{name}" for name in [*(ENDPOINTS[name] for name in called), "execute-api"]
    )


def test_an_endpoint_lets_through_what_the_roles_allow_and_not_to_other_accounts() -> None:
    resources = stack(**PRIVATE, TenantRoleArn="arn:aws:iam::210987654321:role/tenants")
    allowed = {
        action
        for role in of_kind(resources, "AWS::IAM::Role").values()
        if "states.amazonaws.com" not in json.dumps(role["AssumeRolePolicyDocument"])  # which is not in the network
        for policy in role.get("Policies", ())
        for statement in policy["PolicyDocument"]["Statement"]
        for action in (statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]])
    }
    for name, endpoint in of_kind(resources, "AWS::EC2::VPCEndpoint").items():
        if name == "ApiEndpoint":  # keys are no principals
            continue
        statement, *more = endpoint["PolicyDocument"]["Statement"]
        assert not more or name == "S3Endpoint"  # see test_private_network.py
        assert "aws:PrincipalAccount" in statement["Condition"]["StringEquals"]
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        if endpoint["VpcEndpointType"] == "Gateway":
            assert "aws:ResourceAccount" in statement["Condition"]["StringEquals"]
            continue
        services = {action.partition(":")[0] for action in actions}
        needed = {action for action in allowed - POLLED if action.partition(":")[0] in services}
        if services == {"bedrock"}:  # two endpoints share the name
            assert set(actions) <= needed
        else:
            assert set(actions) == needed, name


def test_the_two_endpoints_of_bedrock_let_through_all_that_is_allowed() -> None:
    endpoints = of_kind(stack(**PRIVATE), "AWS::EC2::VPCEndpoint")
    through = {
        action
        for name in ("BedrockEndpoint", "BedrockRuntimeEndpoint")
        for statement in endpoints[name]["PolicyDocument"]["Statement"]
        for action in statement["Action"]
    }
    policies = json.dumps([role.get("Policies") for role in of_kind(stack(**PRIVATE), "AWS::IAM::Role").values()])
    assert through == set(re.findall(r"bedrock:[A-Z]\w+", policies))


def test_a_private_api_answers_its_endpoint_only() -> None:
    api = stack(**PRIVATE)["Api"]["Properties"]
    assert api["EndpointConfiguration"] == {"Types": ["PRIVATE"], "VpcEndpointIds": ["model-gateway/ApiEndpoint"]}
    deny = api["Policy"]["Statement"][0]
    assert (deny["Effect"], deny["Principal"], deny["Resource"]) == ("Deny", "*", "execute-api:/*")
    assert deny["Condition"] == {"StringNotEquals": {"aws:SourceVpce": "model-gateway/ApiEndpoint"}}
    public = stack()["Api"]["Properties"]
    assert "Policy" not in public
    assert public["EndpointConfiguration"] == {"Types": ["REGIONAL"]}


def test_a_private_api_lets_in_who_has_a_key_and_leaves_operators_to_iam() -> None:
    """An allow for all would be enough for whoever signs: in one account either policy is."""
    allow = stack(**PRIVATE)["Api"]["Properties"]["Policy"]["Statement"][1]
    patterns = [re.escape(resource).replace(r"\*", ".*") for resource in allow["Resource"]]
    used = set()
    for operation in OPERATIONS:
        arn = f"execute-api:/v1/{operation.method.upper()}{operation.path}"
        matched = [pattern for pattern in patterns if re.fullmatch(pattern, arn)]
        is_signed = operation.made.authorization == "AWS_IAM"
        assert bool(matched) != is_signed, operation
        used |= set(matched)
    delegated = {operation.method.upper() for operation in OPERATIONS if operation.path.startswith("/admin/")}
    for method in delegated:
        arn = f"execute-api:/v1/{method}{DELEGATED.replace('{proxy+}', 'admin/tenants')}"
        matched = [pattern for pattern in patterns if re.fullmatch(pattern, arn)]
        assert matched, method
        used |= set(matched)
    assert used == set(patterns)


def test_a_vpc_of_the_customers_is_used_as_it_is() -> None:
    resources = stack(**OWN_VPC)
    made = {name for name, resource in resources.items() if resource["Type"].startswith("AWS::EC2::")}
    assert made == {"FunctionsSecurityGroup", "EndpointsSecurityGroup", "ApiEndpoint"}
    config = resources["StreamModelFunction"]["Properties"]["VpcConfig"]
    assert config["SubnetIds"] == ["subnet-01234567", "subnet-89abcdef"]
    assert resources["ApiEndpoint"]["Properties"]["VpcId"] == "vpc-0123456789abcdef0"
    given = stack(**OWN_VPC, ApiEndpointId="vpce-0123456789abcdef0")
    assert "ApiEndpoint" not in given
    assert given["Api"]["Properties"]["EndpointConfiguration"]["VpcEndpointIds"] == ["vpce-0123456789abcdef0"]


# -------------------------------------------------------------------------------------------------------------- security
def test_every_bucket_is_closed_encrypted_and_reached_by_tls_only() -> None:
    resources = stack(PayloadLogging="on", S3AccessLogsBucket="logs-of-all")
    policies = {policy["Bucket"]: policy for policy in of_kind(resources, "AWS::S3::BucketPolicy").values()}
    buckets = of_kind(resources, "AWS::S3::Bucket")
    assert len(buckets) == len(policies) == 3
    for name, bucket in buckets.items():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert bucket["BucketEncryption"]
        assert bucket["LifecycleConfiguration"]["Rules"]
        assert bucket["LoggingConfiguration"]["DestinationBucketName"] == "logs-of-all"
        deny = policies[f"model-gateway/{name}"]["PolicyDocument"]["Statement"][0]
        assert (deny["Effect"], deny["Principal"], deny["Action"]) == ("Deny", "*", "s3:*")
        assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        assert len(deny["Resource"]) == 2


def test_every_queue_is_reached_by_tls_only() -> None:
    (policy,) = of_kind(stack(), "AWS::SQS::QueuePolicy").values()
    assert set(policy["Queues"]) == {f"model-gateway/{name}" for name in of_kind(stack(), "AWS::SQS::Queue")}
    assert policy["PolicyDocument"]["Statement"][0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def keys_of(resource: dict[str, Any]) -> Any:
    properties = resource["Properties"]
    match resource["Type"]:
        case "AWS::DynamoDB::Table":
            return properties["SSESpecification"].get("KMSMasterKeyId")
        case "AWS::S3::Bucket":
            (rule,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
            return rule["ServerSideEncryptionByDefault"].get("KMSMasterKeyID")
        case "AWS::SQS::Queue" | "AWS::SNS::Topic":
            return properties.get("KmsMasterKeyId")
        case "AWS::Logs::LogGroup":
            return properties.get("KmsKeyId")
        case "AWS::Lambda::Function":
            return properties.get("KmsKeyArn")
        case "AWS::Athena::WorkGroup":
            return properties["WorkGroupConfiguration"]["ResultConfiguration"]["EncryptionConfiguration"].get("KmsKey")
    return "nothing is kept"


def test_whatever_is_kept_is_kept_with_the_customers_key() -> None:
    with_key = stack(KmsKeyArn=KEY, PayloadLogging="on", EnableWaf="true")
    private = stack(KmsKeyArn=KEY, **PRIVATE)
    for resources in (with_key, private):
        assert {name: keys_of(r) for name, r in resources.items() if keys_of(r) not in (KEY, "nothing is kept")} == {}
    without = stack(PayloadLogging="on")
    assert {name: keys_of(r) for name, r in without.items() if keys_of(r) not in (None, "nothing is kept")} == {}


def test_the_key_that_its_template_makes_may_be_used_by_whatever_keeps_something() -> None:
    (key,) = of_type(load(ROOT / "templates/key.yaml"), "AWS::KMS::Key").values()
    said = {statement["Sid"]: statement for statement in key["KeyPolicy"]["Statement"] if "Sid" in statement}
    arns = said["Logs"]["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    patterns = [arn["Fn::Sub"].split(":log-group:")[1].replace("${GatewayStack}", "model-gateway") for arn in arns]
    for parameters in ({"EnableWaf": "true"}, PRIVATE):
        for group in of_kind(stack(**parameters), "AWS::Logs::LogGroup").values():
            assert any(fnmatch(group["LogGroupName"], pattern) for pattern in patterns), group["LogGroupName"]
    through = {
        via["Fn::Sub"].partition(".")[0]
        for via in said["ThroughTheServicesThatKeep"]["Condition"]["StringEquals"]["kms:ViaService"]
    }
    assert through == {"dynamodb", "s3", "sqs", "sns", "lambda"}


def test_what_money_rests_on_outlives_the_stack_and_can_be_put_back() -> None:
    resources = stack()
    for name in ("UsageTable", "TenantsTable", "BudgetsTable", "LakeBucket"):
        assert (resources[name]["DeletionPolicy"], resources[name]["UpdateReplacePolicy"]) == (
            "RetainExceptOnCreate",
            "Retain",
        )
    for name in ("UsageTable", "TenantsTable", "BudgetsTable"):
        said = resources[name]["Properties"]["PointInTimeRecoverySpecification"]
        assert said == {"PointInTimeRecoveryEnabled": True}
    assert resources["LakeBucket"]["Properties"]["VersioningConfiguration"] == {"Status": "Enabled"}


def test_every_log_ends_when_it_is_said_to() -> None:
    for parameters in ({"EnableWaf": "true"}, PRIVATE):
        groups = of_kind(stack(LogRetentionDays="30", **parameters), "AWS::Logs::LogGroup")
        assert {group["RetentionInDays"] for group in groups.values()} == {"30"}


def test_the_firewall_counts_what_it_finds_in_a_prompt_and_blocks_nothing_for_it() -> None:
    resources = stack(EnableWaf="true")
    (acl,) = of_kind(resources, "AWS::WAFv2::WebACL").values()
    rules = {rule["Name"]: rule for rule in acl["Rules"]}
    assert rules["LongBodies"]["Action"] == {"Count": {}}
    assert rules["TooManyFromOneAddress"]["Statement"]["RateBasedStatement"]["Limit"] == "2000"

    def counted(name: str) -> set[str]:
        group = rules[name]["Statement"]["ManagedRuleGroupStatement"]
        return {said["Name"] for said in group["RuleActionOverrides"] if said["ActionToUse"] == {"Count": {}}}

    bodies = {"SizeRestrictions_BODY", "CrossSiteScripting_BODY", "GenericLFI_BODY", "GenericRFI_BODY"}
    assert counted("CommonRules") > bodies
    assert counted("KnownBadInputs") == {"Log4JRCE_BODY", "JavaDeserializationRCE_BODY", "ReactJSRCE_BODY"}
    (logging,) = of_kind(resources, "AWS::WAFv2::LoggingConfiguration").values()
    hidden = {field["SingleHeader"]["Name"] for field in logging["RedactedFields"]}
    assert hidden == {"authorization", "x-api-key"}
    assert "WebAcl" not in stack(EnableWaf="true", **PRIVATE)


def test_payloads_are_kept_only_where_asked_and_by_bedrock_alone() -> None:
    assert "PayloadLogsBucket" not in stack()
    assert "PayloadLoggingCommand" not in outputs("model-gateway")
    policy = stack(PayloadLogging="on", PayloadRetentionDays="3")["PayloadLogsBucketPolicy"]["Properties"][
        "PolicyDocument"
    ]
    (allow,) = [statement for statement in policy["Statement"] if statement["Effect"] == "Allow"]
    assert allow["Principal"] == {"Service": "bedrock.amazonaws.com"}
    assert allow["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}
    command = outputs("model-gateway", PayloadLogging="on")["PayloadLoggingCommand"]["Value"]
    assert "model-gateway/PayloadLogsBucket" in command
    json.loads(command[command.index("{") : command.rindex("}") + 1])


def test_a_browser_may_call_where_its_page_is_named_and_nowhere_else() -> None:
    def edge(**parameters: str) -> set[str]:
        return {r["Type"] for r in stack(**parameters).values() if r["Type"].startswith("AWS::CloudFront::")}

    page = {"CorsOrigin": "https://chat.example.com"}
    assert edge() == edge(**page, **PRIVATE) == set()
    resources = stack(**page)
    assert "value: 'https://chat.example.com'" in resources["Preflight"]["Properties"]["FunctionCode"]
    policy = resources["CorsHeaders"]["Properties"]["ResponseHeadersPolicyConfig"]["CorsConfig"]
    assert policy["AccessControlAllowOrigins"] == {"Items": ["https://chat.example.com"]}
    assert policy["AccessControlAllowCredentials"] is False
    pattern = TEMPLATE["Parameters"]["CorsOrigin"]["AllowedPattern"]
    for origin in ("*", "https://a.example/'; x", "https://a.example/path", "null"):
        assert not re.fullmatch(pattern, origin)  # it stands in a script


# ------------------------------------------------------------------------------------------------------------ operations
def test_the_access_log_is_json_and_has_no_key() -> None:
    stage = stack()["ApiStage"]["Properties"]
    said = json.loads(stage["AccessLogSetting"]["Format"])
    assert {
        "requestId",
        "tenant",
        "keyId",
        "route",
        "status",
        "latencyMs",
        "timeToFirstContentMs",
        "error",
    } <= said.keys()
    assert "apiKey" not in json.dumps(said)
    assert "AccessLogSetting" not in stack(AccessLog="off")["ApiStage"]["Properties"]


def test_the_role_that_writes_access_logs_is_made_where_asked_and_outlives_the_stack() -> None:
    made = stack()["AccessLogsAccount"]
    assert made["DeletionPolicy"] == stack()["AccessLogsRole"]["DeletionPolicy"] == "Retain"
    for choice in ("on", "off"):
        assert "AccessLogsAccount" not in stack(AccessLog=choice)
    # The stage waits for its log, and that for the role.
    assert "AccessLogsAccount" in json.dumps(plain()["Resources"]["AccessLogs"]["Properties"])


def test_the_dashboard_is_one_that_cloudwatch_can_read() -> None:
    (dashboard,) = of_kind(stack(), "AWS::CloudWatch::Dashboard").values()
    widgets = json.loads(dashboard["DashboardBody"])["widgets"]
    assert len(widgets) >= 10
    assert all(widget["x"] + widget["width"] <= 24 for widget in widgets)
    for place in (
        "5XXError",
        "TimeToFirstToken",
        "OldestOpenRowAge",
        "UnpricedUsage",
        '"DayCostUsd", "service"',
        'model_id} MetricName=\\"DayCostUsd\\"',
        "ApproximateNumberOfMessagesVisible",
    ):
        assert place in dashboard["DashboardBody"]


def test_every_dead_letter_queue_and_every_function_has_an_alarm() -> None:
    resources = stack()
    watched = json.dumps(list(of_kind(resources, "AWS::CloudWatch::Alarm").values()))
    for name in of_kind(resources, "AWS::SQS::Queue"):
        if "DeadLetter" in name:
            assert f"model-gateway/{name}.QueueName" in watched, name
    told_otherwise = {"EmptyPayloadsFunction"}  # the stack that asks it is told, and fails
    for name in of_kind(resources, "AWS::Lambda::Function").keys() - told_otherwise:
        assert f'"model-gateway/{name}"' in watched, name


def test_a_call_is_late_only_after_it_could_have_ended() -> None:
    declared = TEMPLATE["Parameters"]
    longest = max(declared[name]["MaxValue"] for name in ("InvocationTimeoutSeconds", "StreamTimeoutSeconds"))
    assert declared["AlarmPendingSeconds"]["MinValue"] >= longest


# ---------------------------------------------------------------------------------------------------------- releases
API_FUNCTIONS = sorted(
    {re.findall(r"\$\{(\w+)\.Arn\}", operation.uri)[0] for operation in OPERATIONS} | {"AuthorizeTenantFunction"}
)


@pytest.mark.parametrize("function", API_FUNCTIONS)
def test_a_function_of_the_api_may_be_called_as_deployed_and_as_released(function: str) -> None:
    """By every route that leads to it; else the route answers 500 under one value of LiveAlias."""
    permissions = of_kind(stack(), "AWS::Lambda::Permission").values()
    routes = [o for o in OPERATIONS if f"${{{function}.Arn}}" in o.uri]
    needed = [re.sub(r"\{\w+\}", "any", f"v1/{o.method.upper()}{o.path}") for o in routes] or ["authorizers/x"]
    if any(route.path.startswith("/admin/") for route in routes):
        needed.append("v1/PUT/delegated/any")
    for called in (f"model-gateway/{function}.Arn", f"model-gateway/{function}Aliaslive"):
        sources = [p["SourceArn"] for p in permissions if p["FunctionName"] == called]
        patterns = [re.escape(source.split("/Api/")[1]).replace(r"\*", ".*") for source in sources]
        assert not [arn for arn in needed if not any(re.fullmatch(pattern, arn) for pattern in patterns)], called
        assert not [p for p in patterns if not any(re.fullmatch(p, arn) for arn in needed)], called


def version_of(function: str, **parameters: str) -> str:
    alias: str = stack(**parameters)[f"{function}Aliaslive"]["Properties"]["FunctionVersion"]
    return alias


@pytest.mark.parametrize("function", API_FUNCTIONS)
def test_a_release_is_published_with_its_name_and_only_then(function: str) -> None:
    assert version_of(function) == version_of(function, ModelRoutes='{"fast": {"model": "m"}}', KeyCacheSeconds="0")
    assert version_of(function, Release="a1b2c3d") != version_of(function)
    # What was not changed could not be published again.
    said = stack(Release="a1b2c3d")[function]["Properties"]["Description"]
    assert said.endswith("a1b2c3d")


def test_a_gradual_deployment_moves_every_function_of_the_api_and_errors_bring_the_old_release_back() -> None:
    assert not [name for name, resource in plain()["Resources"].items() if "UpdatePolicy" in resource]
    for how in TEMPLATE["Parameters"]["Deployment"]["AllowedValues"]:
        assert TEMPLATE["Mappings"]["Deployments"][how]["Gradual"] == (how != "AllAtOnce")
    document = plain(Deployment="Canary10Percent10Minutes")["Resources"]
    groups = of_kind(document, "AWS::CodeDeploy::DeploymentGroup").values()
    for function in API_FUNCTIONS:
        assert "CodeDeployLambdaAliasUpdate" in document[f"{function}Aliaslive"]["UpdatePolicy"]
    assert len(groups) == len(API_FUNCTIONS)
    for group in groups:
        assert "Canary10Percent10Minutes" in json.dumps(group["DeploymentConfigName"])
        watched = [alarm["Name"]["Ref"] for alarm in group["AlarmConfiguration"]["Alarms"]]
        assert watched == ["ApiErrorsAlarm", "RequestErrorsAlarm"]
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]


def test_snapshots_are_taken_where_asked_and_not_of_what_streams() -> None:
    taken = {
        name
        for name, function in of_kind(stack(SnapStart="PublishedVersions"), "AWS::Lambda::Function").items()
        if function.get("SnapStart") == {"ApplyOn": "PublishedVersions"}
    }
    assert taken == {"AuthorizeTenantFunction", "ListModelsFunction", "InvokeModelFunction", "ReportUsageFunction"}


@pytest.mark.parametrize(
    ("function", "parameter"),
    [
        ("StreamModelFunction", "StreamConcurrency"),
        ("InvokeModelFunction", "InvokeConcurrency"),
        ("CompleteInvocationFunction", "JobsConcurrency"),
    ],
)
def test_concurrency_is_reserved_where_it_is_given(function: str, parameter: str) -> None:
    assert "ReservedConcurrentExecutions" not in stack()[function]["Properties"]
    assert stack(**{parameter: "7"})[function]["Properties"]["ReservedConcurrentExecutions"] == "7"


def test_no_more_is_taken_from_the_queue_than_there_is_room_for() -> None:
    """Lambda guide, "Configuring scaling behavior for SQS event source mappings": the poller does not look at what is reserved."""
    assert "ScalingConfig" not in stack()["CompleteInvocationFunctionJobs"]["Properties"]
    mapping = stack(JobsConcurrency="7")["CompleteInvocationFunctionJobs"]["Properties"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": "7"}
    declared = TEMPLATE["Parameters"]["JobsConcurrency"]
    assert (declared["MinValue"], declared["MaxValue"]) == (0, 1000)
    refused = {number for number in ("0", "1", "2", "1000") if refusals(TEMPLATE, "eu-west-1", JobsConcurrency=number)}
    assert refused == {"1"}  # a poller takes two at least


WITHOUT_THE_LAYER = ("us-gov-west-1", "us-gov-east-1", "cn-north-1", "cn-northwest-1", "me-south-1", "eusc-de-east-1")


@pytest.mark.parametrize("region", [*WITHOUT_THE_LAYER, "us-east-1", "eu-central-2", "ap-southeast-7", "me-central-1"])
def test_a_region_without_the_adapters_layer_asks_for_a_copy(region: str) -> None:
    copy = "arn:aws:lambda:me-south-1:123456789012:layer:adapter:1"
    assert bool(refusals(TEMPLATE, region)) == (region in WITHOUT_THE_LAYER)
    assert refusals(TEMPLATE, region, LambdaWebAdapterLayerArn=copy) == []


def test_what_a_parameter_needs_beside_it_is_asked_for() -> None:
    own = {"VpcId": "vpc-0123456789abcdef0"}
    assert refusals(TEMPLATE, "eu-west-1", **own) == ["Set SubnetIds together with VpcId."]
    assert refusals(TEMPLATE, "eu-west-1", **own, SubnetIds="subnet-01234567,subnet-89abcdef") == []
    assert refusals(TEMPLATE, "eu-west-1", SnapStart="PublishedVersions")
    assert refusals(TEMPLATE, "eu-west-1", SnapStart="PublishedVersions", LiveAlias=":live") == []


def test_everything_is_traced() -> None:
    resources = stack()
    assert resources["ApiStage"]["Properties"]["TracingEnabled"] is True
    assert {f["TracingConfig"]["Mode"] for f in of_kind(resources, "AWS::Lambda::Function").values()} == {"Active"}
    machines = of_kind(resources, "AWS::StepFunctions::StateMachine").values()
    assert [machine["TracingConfiguration"] for machine in machines] == [{"Enabled": True}] * len(machines)

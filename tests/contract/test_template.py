"""Every function of the template has exactly the settings its code needs, one role, and a log with a retention."""

from __future__ import annotations

import os
import re
from pathlib import Path

import grimp
import pytest
import yaml

from bundle import recipe
from gateway.aws.decoys import METRIC
from gateway.core.telemetry import (
    AGGREGATION_LAG,
    AUTHORIZER_FAILED,
    OLDEST_OPEN_ROW_AGE,
    QUARANTINED_ROWS,
    RECONCILIATION_OFF,
    UNPRICED_USAGE,
)
from scripts.project.template import LAYER, ROOT, DeclaredFunction, of_type
from tests.contract.contract import FUNCTIONS, TEMPLATE, settings_read, variables_of

each_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=list(FUNCTIONS))
MODULES = grimp.build_graph("gateway", include_external_packages=True)
TEXT = (ROOT / "template.yaml").read_text()
GIVEN_BY_LAMBDA = {"AWS_REGION"}
ONLY_LOCAL = {"LOOPBACK_ISSUERS"}  # allows http, so no deployed function may have it
READ_BY_THE_ADAPTER = {"AWS_LAMBDA_EXEC_WRAPPER", "AWS_LWA_INVOKE_MODE", "AWS_LWA_PORT", "AWS_LWA_READINESS_CHECK_PATH"}
# Actions that name no resource; each stands with its reason as a comment in the template.
WITHOUT_RESOURCE = {
    "bedrock:ListFoundationModels", "bedrock:ListInferenceProfiles", "cloudwatch:ListMetrics", "cloudwatch:GetMetricData",
}  # fmt: skip


@each_function
def test_a_function_is_told_every_setting_that_its_code_reads(function: DeclaredFunction) -> None:
    needed = {variable for name in settings_read(function) for variable in variables_of(name)} - GIVEN_BY_LAMBDA
    needed -= ONLY_LOCAL
    assert needed <= function.environment.keys()


@each_function
def test_a_function_is_told_nothing_that_its_code_does_not_read(function: DeclaredFunction) -> None:
    read = {variable for name in settings_read(function) for variable in variables_of(name)}
    common = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"].keys()
    assert function.environment.keys() - common - READ_BY_THE_ADAPTER <= read


def test_no_deployed_function_has_a_setting_of_the_local_stack() -> None:
    assert not [name for name in ONLY_LOCAL if name in TEXT]


@each_function
def test_a_value_of_the_environment_is_text(function: DeclaredFunction) -> None:
    assert all(isinstance(value, str | dict) for value in function.environment.values())


@each_function
def test_a_function_has_one_role_that_names_its_resources(function: DeclaredFunction) -> None:
    assert "Role" not in function.properties  # SAM makes it, from these statements alone
    for statement in function.statements:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert statement["Effect"] == "Allow"
        assert not [action for action in actions if "*" in action]
        if statement["Resource"] == "*":
            assert set(actions) <= WITHOUT_RESOURCE
            reason = rf"^ *# .*\n.*{re.escape(actions[0])}"
            assert re.search(reason, TEXT, re.MULTILINE), f"{actions[0]} on * without a word why"


@each_function
def test_a_function_keeps_its_log_as_long_as_is_said(function: DeclaredFunction) -> None:
    group = function.properties["LoggingConfig"]["LogGroup"]["Ref"]
    assert of_type(TEMPLATE, "AWS::Logs::LogGroup")[group]["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    name = of_type(TEMPLATE, "AWS::Logs::LogGroup")[group]["LogGroupName"]["Fn::Sub"]
    assert name == "/${AWS::StackName}/" + function.code.rpartition("/")[2]


@each_function
def test_a_function_has_its_code_and_its_handler(function: DeclaredFunction) -> None:
    if (name := function.properties["Handler"]) == "run.sh":
        starts_a_server(ROOT / function.code)
        return
    module, _, handler = name.partition(".")
    assert f"\ndef {handler}(" in (ROOT / function.code / f"{module}.py").read_text()


def starts_a_server(code: Path) -> None:
    """The Lambda Web Adapter's script: it replaces itself with a server of the app."""
    script = code / "run.sh"
    assert os.access(script, os.X_OK)
    text = script.read_bytes()
    assert text.startswith(b"#!/")
    assert text.endswith(b"\n")
    assert b"\r" not in text
    assert re.search(rb"^exec .*\bapp:app\b", text.replace(b"\\\n", b" "), re.MULTILINE)
    assert re.search(r"^(app\b.*=|(async )?def app\()", (code / "app.py").read_text(), re.MULTILINE)


@each_function
def test_only_what_writes_or_reads_parquet_carries_it(function: DeclaredFunction) -> None:
    code = (ROOT / function.code / "app.py").read_text()
    used = set(re.findall(r"^from (gateway[\w.]*) import", code, re.MULTILINE))
    needs_it = any(MODULES.find_shortest_chain(module, "pyarrow") for module in used)
    assert ("ParquetLayer" in function.layers) == needs_it
    assert function.layers[:2] == ("DependenciesLayer", "GatewayLayer")


@each_function
def test_what_serves_http_runs_behind_the_adapter_in_its_streaming_mode(function: DeclaredFunction) -> None:
    """And nothing else has any of it: one mode holds for all routes of a function."""
    said = {name: function.environment.get(name) for name in READ_BY_THE_ADAPTER - {"AWS_LWA_PORT"}}
    adapter = [layer for layer in function.properties.get("Layers", ()) if "LambdaAdapterLayerArm64" in str(layer)]
    if function.serves_http:
        assert said["AWS_LAMBDA_EXEC_WRAPPER"] == "/opt/bootstrap"
        assert said["AWS_LWA_INVOKE_MODE"] == "response_stream"
        assert len(adapter) == 1
    else:
        assert set(said.values()) == {None}
        assert not adapter


def test_every_layer_is_built_for_what_the_functions_run_on() -> None:
    common = TEMPLATE["Globals"]["Function"]
    for name, layer in of_type(TEMPLATE, LAYER).items():
        metadata = TEMPLATE["Resources"][name]["Metadata"]
        assert metadata["BuildMethod"] == "makefile"
        assert [metadata["BuildArchitecture"]] == common["Architectures"] == layer["CompatibleArchitectures"]
        assert layer["CompatibleRuntimes"] == [common["Runtime"]]


@pytest.mark.parametrize("logical_id", [*FUNCTIONS, *of_type(TEMPLATE, LAYER)])
def test_what_is_deployed_is_built_by_the_recipe_that_ships_bytecode(logical_id: str) -> None:
    metadata = TEMPLATE["Resources"][logical_id]["Metadata"]
    assert (metadata["BuildMethod"], metadata["ContextPath"]) == ("makefile", "bundle")


def test_the_recipe_builds_for_what_the_functions_run_on() -> None:
    common = TEMPLATE["Globals"]["Function"]
    assert common["Architectures"] == [recipe.ARCHITECTURE]
    assert common["Runtime"] == f"python{recipe.LAMBDA[0]}.{recipe.LAMBDA[1]}"


def test_a_message_or_a_schedule_that_fails_is_kept() -> None:
    queues = of_type(TEMPLATE, "AWS::SQS::Queue")
    assert queues["JobsQueue"]["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": ["JobsDeadLetterQueue", "Arn"]}
    for machine in of_type(TEMPLATE, "AWS::Serverless::StateMachine").values():
        assert all("DeadLetterConfig" in event["Properties"] for event in machine.get("Events", {}).values())
    kept = {"Fn::GetAtt": ["CloseMonthDeadLetterQueue", "Arn"]}
    close_month = FUNCTIONS["CloseMonthFunction"]
    assert close_month.properties["DeadLetterQueue"]["TargetArn"] == kept  # what failed
    assert [event["DeadLetterConfig"]["Arn"] for event in close_month.events("ScheduleV2")] == [
        kept
    ]  # what never began


def test_an_alarm_watches_a_metric_that_the_code_counts_or_aws_does_and_tells_the_topic() -> None:
    own = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]["POWERTOOLS_METRICS_NAMESPACE"]
    alarms = of_type(TEMPLATE, "AWS::CloudWatch::Alarm").values()
    watched = [
        *alarms,
        *(one["MetricStat"]["Metric"] for alarm in alarms for one in alarm.get("Metrics", ()) if "MetricStat" in one),
    ]
    counted = {metric["MetricName"] for metric in watched if metric.get("Namespace") == own}
    assert counted == {
        METRIC,
        AUTHORIZER_FAILED,
        UNPRICED_USAGE,
        OLDEST_OPEN_ROW_AGE,
        QUARANTINED_ROWS,
        AGGREGATION_LAG,
        RECONCILIATION_OFF,
    }
    for alarm in alarms:
        assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}]
        assert alarm["AlarmDescription"].endswith(".")
        assert alarm.get("Namespace") == own or str(alarm.get("Namespace", "AWS/Lambda")).startswith("AWS/")


def test_a_run_that_fails_tells_the_topic_and_the_topic_lets_it() -> None:
    rule = of_type(TEMPLATE, "AWS::Events::Rule")["ReconciliationFailures"]
    assert rule["EventPattern"]["detail"] == {
        "status": ["FAILED", "TIMED_OUT", "ABORTED"],
        "stateMachineArn": [{"Ref": "ReconcileCosts"}],
    }
    assert [target["Arn"] for target in rule["Targets"]] == [{"Ref": "AlarmTopic"}]
    statements = of_type(TEMPLATE, "AWS::SNS::TopicPolicy")["AlarmTopicPolicy"]["PolicyDocument"]["Statement"]
    (said,) = [said for said in statements if "events.amazonaws.com" in str(said)]
    assert (said["Effect"], said["Action"], said["Resource"]) == ("Allow", "sns:Publish", {"Ref": "AlarmTopic"})


def test_the_gateways_roles_are_those_of_every_function_that_may_call_a_model() -> None:
    callers = {
        logical_id
        for logical_id, function in FUNCTIONS.items()
        if any("bedrock:InvokeModel" in str(statement["Action"]) for statement in function.statements)
    }
    known = str(FUNCTIONS["ReconcileDayFunction"].environment["GATEWAY_ROLES"])
    assert {name for name in FUNCTIONS if f"'{name}Role'" in known} == callers


def test_a_run_of_the_costs_that_fails_tells_the_topic_which_period_it_was() -> None:
    rule = TEMPLATE["Resources"]["FailedAggregations"]["Properties"]
    assert rule["EventPattern"]["detail"] == {
        "stateMachineArn": [{"Ref": "AggregateCosts"}],
        "status": ["FAILED", "TIMED_OUT", "ABORTED"],
    }
    (target,) = rule["Targets"]
    assert target["Arn"] == {"Ref": "AlarmTopic"}
    assert target["InputPath"] == "$.detail"  # its input and its cause, which say the period
    policy = TEMPLATE["Resources"]["AlarmTopicPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert "events.amazonaws.com" in {statement["Principal"]["Service"] for statement in policy}


def test_a_job_is_shown_again_only_when_its_worker_has_ended() -> None:
    visibility = of_type(TEMPLATE, "AWS::SQS::Queue")["JobsQueue"]["VisibilityTimeout"]
    assert visibility == FUNCTIONS["CompleteInvocationFunction"].properties["Timeout"]


def test_the_template_has_no_yaml_aliases() -> None:
    """CloudFormation does not promise to read them."""
    assert not [event for event in yaml.parse(TEXT) if isinstance(event, yaml.NodeEvent) and event.anchor]

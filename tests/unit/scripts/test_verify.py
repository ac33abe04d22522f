"""`gateway verify-deployment` reports each fault of a gateway by name, without a traceback."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
import requests
from botocore.exceptions import ClientError, NoCredentialsError, NoRegionError
from botocore.stub import Stubber
from moto import mock_aws

from gateway.usage.records import KeyId, ModelId, Outcome, RequestId, TenantId, TokenUsage, UsageRecord
from scripts.operate.admin_api import Refused
from scripts.operate.cli.gateway import main
from scripts.operate.verify import books, calls, edge
from scripts.operate.verify import verification as command
from scripts.operate.verify.deployment import Deployment, unbroken
from scripts.operate.verify.steps import NotAskedError, Step, StepError, Verdict, judged
from scripts.project.template import ROOT, load

Json = Any
WANTED = Deployment("gateway", ExitStack()).wanted


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def deployment(told: list[str]) -> Iterator[Deployment]:
    with ExitStack() as undo:
        made = Deployment("gateway", undo, "https://api.example.com/v1", tell=told.append)
        made.__dict__["wanted"] = WANTED
        yield made


def outputs(deployment: Deployment, **said: str) -> None:
    deployment.__dict__["outputs"] = {"ApiId": "a1", "StageName": "v1", **said}


def step(ask: Callable[[Deployment], str]) -> Step:
    return Step(0, "a step", "something", ask)


def answer(status: int, body: Json = None, **headers: str) -> requests.Response:
    made = requests.Response()
    made.status_code = status
    made.raw = io.BytesIO(json.dumps(body).encode())
    made.headers.update({name.replace("_", "-"): text for name, text in headers.items()})
    return made


def row(outcome: Outcome = Outcome.SUCCEEDED, usage: TokenUsage = TokenUsage()) -> UsageRecord:  # noqa: B008
    now, model = datetime.now(UTC), ModelId("m")
    named = (RequestId("r"), 1, TenantId("t"), "c", KeyId("k"), "text", model, model, "us-east-1")
    return UsageRecord(*named, now, now, outcome, now, usage)


def refusal(code: str, operation: str = "GetStages") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, operation)


# --------------------------------------------------------------------------------------------------- what a step comes to
@pytest.mark.parametrize(
    ("raised", "verdict", "words"),
    [
        (NotAskedError("no flag"), Verdict.NOT_ASKED, "no flag"),
        (StepError("it is red"), Verdict.FAILED, "it is red"),
        (refusal("AccessDeniedException"), Verdict.NOT_ASKED, "may not call GetStages"),
        (refusal("UnknownOperationException"), Verdict.NOT_ASKED, "does not support GetStages"),
        (refusal("BadRequestException"), Verdict.FAILED, "BadRequestException: no"),
        (Refused(403, {"code": "access_denied"}), Verdict.NOT_ASKED, "execute-api:Invoke"),
        (Refused(500, {"code": "internal_error"}), Verdict.FAILED, "500 internal_error"),
        (requests.ConnectionError("away"), Verdict.FAILED, "--api-url"),
        (KeyError("totals"), Verdict.FAILED, "shape"),
    ],
)
def test_whatever_a_step_meets_is_a_verdict(
    deployment: Deployment, raised: Exception, verdict: Verdict, words: str
) -> None:
    def ask(_: Deployment) -> str:
        raise raised

    found, detail = judged(step(ask), deployment)
    assert (found, words in detail) == (verdict, True), detail


# ---------------------------------------------------------------------------------------------------------- who guards it
def methods() -> list[dict[str, Any]]:
    """The API's resources in API Gateway's format, matching the spec."""
    found: dict[str, dict[str, Any]] = {}
    for it in WANTED:
        guarded = {"authorizationType": it.authorization, "apiKeyRequired": it.api_key_required}
        there = found.setdefault(it.path, {"path": it.path, "resourceMethods": {}})["resourceMethods"]
        there[it.http_method] = {"httpMethod": it.http_method, **guarded}
    return [{"path": "/"}, *found.values()]


def faults(change: Callable[[dict[str, Any]], object], path: str) -> list[str]:
    resources = methods()
    (resource,) = [it for it in resources if it["path"] == path]
    change(resource["resourceMethods"])
    return edge.faults_of_methods(WANTED, resources)


def test_each_method_is_guarded_as_its_operation_says() -> None:
    assert edge.faults_of_methods(WANTED, methods()) == []
    guards = {(it.http_method, it.path): (it.authorization, it.api_key_required) for it in WANTED}
    admin = {where for where in guards if where[1].startswith("/admin")}
    assert {guards[where] for where in admin} == {("AWS_IAM", False)}
    mocks = {(it.http_method, it.path) for it in WANTED if it.integration and it.integration.kind.upper() == "MOCK"}
    assert {guards[where] for where in mocks} == {("NONE", False)}
    assert {guards[where] for where in guards.keys() - admin - mocks} == {("CUSTOM", True)}


def test_a_method_that_is_open_or_asks_for_no_key_is_named() -> None:
    def opened(there: dict[str, Any]) -> None:
        there["POST"] |= {"authorizationType": "NONE", "apiKeyRequired": False}

    open_to_all = faults(opened, "/invoke_model")
    assert open_to_all == ["POST /invoke_model is NONE, not CUSTOM", "POST /invoke_model requires no API key"]
    assert faults(lambda there: there["GET"].update(apiKeyRequired=False), "/usage") == [
        "GET /usage requires no API key"
    ]
    unsigned = faults(lambda there: there["GET"].update(authorizationType="NONE"), "/admin/tenants")
    assert unsigned == ["GET /admin/tenants is NONE, not AWS_IAM"]


def test_a_method_that_is_not_there_or_in_no_spec_is_named() -> None:
    assert faults(lambda there: there.pop("GET"), "/usage") == ["GET /usage is missing"]
    assert faults(lambda there: there.update(PUT={}), "/usage") == ["PUT /usage is not in the spec"]


def test_a_method_that_its_definition_leaves_open_is_a_fault_even_where_the_api_agrees() -> None:
    runs = next(it for it in WANTED if it.authorization == "CUSTOM")
    left_open = [replace(runs, authorization="NONE", api_key_required=False)]
    where = f"{runs.http_method} {runs.path}"
    found = [{"path": runs.path, "resourceMethods": {runs.http_method: {"authorizationType": "NONE"}}}]
    assert edge.faults_of_methods(left_open, found) == [f"{where} is left open by its definition"]


def test_methods_are_read_back_page_by_page(deployment: Deployment) -> None:
    outputs(deployment)
    api = deployment.client("apigateway")
    pages, wanted = methods(), {"restApiId": "a1", "embed": ["methods"], "limit": 500}
    with Stubber(api) as stub:
        stub.add_response("get_resources", {"items": pages[:9], "position": "9"}, wanted)
        stub.add_response("get_resources", {"items": pages[9:]}, wanted | {"position": "9"})
        detail = edge.authorization(deployment)
        stub.assert_no_pending_responses()
    assert "20 by IAM; " in detail
    assert detail.endswith("open, which have no backend and return 404")


def test_a_second_stage_is_named(deployment: Deployment) -> None:
    outputs(deployment)
    with Stubber(deployment.client("apigateway")) as stub:
        for names in (["v1"], ["v1", "Stage"], ["Stage"]):
            stub.add_response("get_stages", {"item": [{"stageName": name} for name in names]}, {"restApiId": "a1"})
        assert edge.stage(deployment) == "v1"
        with pytest.raises(StepError, match="the stage Stage, without WAF"):
            edge.stage(deployment)
        with pytest.raises(StepError, match="no stage v1"):
            edge.stage(deployment)


# ------------------------------------------------------------------------------------------------------------- the import
def test_the_import_is_asked_for_by_a_flag_and_leaves_nothing(deployment: Deployment) -> None:
    with pytest.raises(NotAskedError, match="--import"):
        edge.imported(deployment)
    deployment.with_import = True
    api = deployment.client("apigateway")
    with Stubber(api) as stub:
        stub.add_client_error("import_rest_api", "BadRequestException", "Unsupported keyword: default")
        stub.add_response("import_rest_api", {"id": "trial"})
        stub.add_response("get_resources", {"items": methods()})
        assert "warnings: Unsupported keyword: default" in edge.imported(deployment)
        stub.add_response("delete_rest_api", {}, {"restApiId": "trial"})
        deployment.undo.close()
        stub.assert_no_pending_responses()


def test_a_refused_import_fails_with_api_gateways_reasons(deployment: Deployment) -> None:
    deployment.with_import = True
    with Stubber(deployment.client("apigateway")) as stub:
        for _ in range(2):
            stub.add_client_error("import_rest_api", "BadRequestException", "Invalid model schema")
        with pytest.raises(StepError, match="refused: Invalid model schema"):
            edge.imported(deployment)


def test_an_import_that_leaves_a_method_open_fails(deployment: Deployment) -> None:
    deployment.with_import = True
    found = methods()
    found[-1]["resourceMethods"]["GET"] = {"authorizationType": "NONE", "apiKeyRequired": False}
    with Stubber(deployment.client("apigateway")) as stub:
        stub.add_response("import_rest_api", {"id": "trial"})
        stub.add_response("get_resources", {"items": found})
        stub.add_response("delete_rest_api", {}, {"restApiId": "trial"})
        with pytest.raises(StepError):
            edge.imported(deployment)
        deployment.undo.close()


# ------------------------------------------------------------------------------------------------- account, environment
def test_an_account_without_room_and_a_model_without_an_agreement_fail(deployment: Deployment) -> None:
    with Stubber(deployment.client("lambda")) as stub:
        stub.add_response("get_account_settings", {"AccountLimit": {"ConcurrentExecutions": 10}})
        with pytest.raises(StepError, match="10 functions at a time"):
            edge.account(deployment)
    found = {
        "agreementAvailability": {"status": "NOT_AVAILABLE"},
        "authorizationStatus": "AUTHORIZED",
        "entitlementAvailability": "AVAILABLE",
        "regionAvailability": "AVAILABLE",
    }
    with pytest.raises(StepError, match="x is not enabled: agreement is NOT_AVAILABLE"):
        edge.availability("x", found)
    assert edge.availability("x", found | {"agreementAvailability": {"status": "AVAILABLE"}}) == "x"


def test_json_that_the_shell_has_cut_is_named() -> None:
    def function(routes: str) -> dict[str, Any]:
        return {"State": "Active", "Environment": {"Variables": {"MODEL_ROUTES": routes, "SAGEMAKER_ENDPOINTS": "{}"}}}

    assert edge.must_be_whole("invoke", function('{"fast": {"model": "x"}}')) == 1
    for text in ("{", "[]", "null"):
        with pytest.raises(StepError, match="MODEL_ROUTES of invoke is not a JSON object"):
            edge.must_be_whole("invoke", function(text))
    with pytest.raises(StepError, match="invoke is Failed"):
        edge.must_be_whole("invoke", {"State": "Failed"})


# -------------------------------------------------------------------------------------------------------------- strangers
def test_a_stranger_who_is_answered_or_told_nothing_fails() -> None:
    said = {"code": "unauthorized"}
    edge.must_be_refused(answer(401, said, x_request_id="r"), "a call")
    for odd in (answer(200, said, x_request_id="r"), answer(401, {}, x_request_id="r"), answer(401, said)):
        with pytest.raises(StepError):
            edge.must_be_refused(odd, "a call")


def test_an_alarm_counts_that_went_off_in_this_run() -> None:
    began = datetime.now(UTC)
    before = {"StateValue": "ALARM", "StateUpdatedTimestamp": began - timedelta(minutes=1)}
    after = {"StateValue": "ALARM", "StateUpdatedTimestamp": began + timedelta(minutes=1)}
    assert [edge.rose(alarm, began) for alarm in (before, after, after | {"StateValue": "OK"})] == [False, True, False]


# ------------------------------------------------------------------------------------------------------------------ calls
def test_a_call_must_show_in_the_report_at_a_price() -> None:
    before = {"invocations": 1, "unpriced_invocations": 0, "cost": "1"}
    assert "0.5 USD" in calls.costs_more(before, {**before, "invocations": 2, "cost": "1.5"}, "m")
    for after, words in (
        ({}, "does not show the call"),
        ({"invocations": 2}, "reports 0 USD"),
        ({"invocations": 2, "unpriced_invocations": 1}, "no price for m"),
    ):
        with pytest.raises(StepError, match=words):
            calls.costs_more(before, {**before, **after}, "m")


def test_a_row_that_ended_otherwise_or_without_tokens_fails() -> None:
    calls.must_be_charged(row(usage=TokenUsage(1, 1)))
    for odd in (row(outcome=Outcome.INTERRUPTED, usage=TokenUsage(1, 1)), row(usage=TokenUsage(1, 0))):
        with pytest.raises(StepError):
            calls.must_be_charged(odd)


def heard(*parts: tuple[float, bytes], kind: str = "text/event-stream") -> calls.Heard:
    return calls.Heard("r", kind, parts)


def test_a_stream_must_come_over_time_and_to_its_end() -> None:
    assert "2 parts" in calls.over_time(heard((0.2, b"data: x"), (1.0, b"data: [DONE]")))
    for odd, words in (
        (heard((1.0, b"data: x data: [DONE]")), "one piece"),
        (heard((1.0, b"data: x"), (1.01, b"data: [DONE]")), "one piece"),
        (heard((0.2, b"data: x"), (1.0, b"data: y")), "incomplete"),
        (heard((0.2, b"data: x"), (1.0, b"data: [DONE]"), kind="application/json"), "application/json"),
    ):
        with pytest.raises(StepError, match=words):
            calls.over_time(odd)


def test_a_throttle_must_refuse_some_in_the_gateways_words() -> None:
    fine, refused = answer(200, {}), answer(429, {"code": "throttled"}, retry_after="1")
    calls.must_be_throttled([fine, refused])
    for odd in (
        [fine],
        [refused, answer(502)],
        [answer(429, {}, retry_after="1")],
        [answer(429, {"code": "throttled"})],
    ):
        with pytest.raises(StepError):
            calls.must_be_throttled(odd)


@pytest.mark.usefixtures("aws")
def test_the_plan_of_a_throttle_goes_and_no_other(deployment: Deployment) -> None:
    api = deployment.client("apigateway")
    rest = api.create_rest_api(name="x")["id"]
    (root,) = api.get_resources(restApiId=rest)["items"]
    api.put_method(restApiId=rest, resourceId=root["id"], httpMethod="GET", authorizationType="NONE")
    api.put_integration(restApiId=rest, resourceId=root["id"], httpMethod="GET", type="MOCK")
    api.create_deployment(restApiId=rest, stageName="v1")
    outputs(deployment, ApiId=rest)
    api.create_usage_plan(name="theirs")
    calls.plan_of(deployment, "a" * 40)
    assert len(api.get_usage_plans()["items"]) == 2
    (key,) = api.get_api_keys(includeValues=True)["items"]
    assert key["value"] == "a" * 40
    deployment.undo.close()
    assert [plan["name"] for plan in api.get_usage_plans()["items"]] == ["theirs"]
    assert api.get_api_keys()["items"] == []


def test_a_plan_leaves_its_stage_before_it_goes(deployment: Deployment) -> None:
    """API Gateway deletes no plan that a stage hangs on; moto does."""
    outputs(deployment)
    with Stubber(deployment.client("apigateway")) as stub:
        stub.add_response("create_usage_plan", {"id": "p1"})
        stub.add_response("create_api_key", {"id": "k1"})
        stub.add_response("create_usage_plan_key", {})
        calls.plan_of(deployment, "a" * 40)
        stub.add_response("delete_api_key", {}, {"apiKey": "k1"})
        off = {"op": "remove", "path": "/apiStages", "value": "a1:v1"}
        stub.add_response("update_usage_plan", {}, {"usagePlanId": "p1", "patchOperations": [off]})
        stub.add_response("delete_usage_plan", {}, {"usagePlanId": "p1"})
        deployment.undo.close()
        stub.assert_no_pending_responses()


# ------------------------------------------------------------------------------------------------------------------ books
@pytest.mark.usefixtures("aws")
def test_a_queue_hears_the_topic_and_goes_with_its_subscription(deployment: Deployment) -> None:
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    topic = sns.create_topic(Name="alarms")["TopicArn"]
    url = books.listening(deployment, topic)
    sns.publish(TopicArn=topic, Message="a run failed")
    assert "a run failed" in sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"]
    (policy,) = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"].values()
    (allowed,) = json.loads(policy)["Statement"]
    assert (allowed["Principal"], allowed["Action"]) == ({"Service": "sns.amazonaws.com"}, "sqs:SendMessage")
    assert allowed["Condition"] == {"ArnEquals": {"aws:SourceArn": topic}}
    deployment.undo.close()
    assert sns.list_subscriptions()["Subscriptions"] == []
    assert url not in sqs.list_queues().get("QueueUrls", [])


def test_a_view_that_athena_cannot_read_is_named() -> None:
    assert books.must_succeed({name: {"State": "SUCCEEDED"} for name in ("usage", "costs", "focus")}) == (
        "1 views and 2 tables return results"
    )
    with pytest.raises(StepError, match="focus FAILED: HIVE_BAD_DATA"):
        books.must_succeed({"focus": {"State": "FAILED", "StateChangeReason": "HIVE_BAD_DATA"}})


@pytest.mark.parametrize(
    ("run", "files", "verdict"),
    [
        ({"status": "SUCCEEDED"}, 1, Verdict.OK),
        ({"status": "SUCCEEDED"}, 0, Verdict.NOT_ASKED),
        ({"status": "FAILED", "error": "CostsDoNotMatch"}, 1, Verdict.FAILED),
    ],
)
def test_a_run_of_the_costs_must_succeed_and_leave_files(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, run: Json, files: int, verdict: Verdict
) -> None:
    monkeypatch.setattr(books, "ended", lambda *_: run)
    monkeypatch.setattr(books, "parquet_below", lambda *_: files)
    assert judged(step(books.aggregation), deployment)[0] is verdict


# ------------------------------------------------------------------------------------------------------------ taken away
def test_what_cannot_be_taken_away_is_told_and_the_rest_is(deployment: Deployment, told: list[str]) -> None:
    gone: list[str] = []

    def stuck(_: str) -> None:
        raise refusal("AccessDenied", "DeleteQueue")

    deployment.make("the first", lambda: "1", gone.append)
    deployment.make("the second", lambda: "2", stuck)
    deployment.undo.close()
    assert gone == ["1"]
    assert len(told) == 1
    assert told[0].startswith("Delete by hand: the second")


def test_ctrl_c_waits_until_what_is_made_is_noted_and_takes_it_away() -> None:
    gone: list[str] = []
    with pytest.raises(KeyboardInterrupt), command.taking_away() as undo:
        Deployment("gateway", undo).make("a thing", interrupted, gone.append)
    assert gone == ["made"]


def interrupted() -> str:
    signal.raise_signal(signal.SIGINT)
    return "made"


def test_a_second_ctrl_c_does_not_stop_the_taking_away() -> None:
    gone: list[str] = []

    def remove(what: str) -> None:
        signal.raise_signal(signal.SIGINT)
        gone.append(what)

    def run() -> None:
        with command.taking_away() as undo:
            for what in ("one", "two"):
                Deployment("gateway", undo).make(what, lambda what=what: str(what), remove)  # type: ignore[misc]

    with pytest.raises(KeyboardInterrupt):
        run()
    assert gone == ["two", "one"]
    with unbroken():  # signals are taken again afterwards
        pass


# ---------------------------------------------------------------------------------------------------------- the command
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoCredentialsError(), "AWS credentials are missing"),
        (NoRegionError(), "Set AWS_REGION"),
        (refusal("AccessDenied", "DescribeStacks"), "may not call DescribeStacks"),
        (refusal("ExpiredToken", "DescribeStacks"), "Log in again"),
    ],
)
def test_where_nothing_can_be_asked_it_ends_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, words: str
) -> None:
    def refuse(_: Deployment) -> None:
        raise error

    monkeypatch.setattr(Deployment, "outputs", property(refuse))
    assert main(["verify-deployment", "--stack", "x"]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


@mock_aws
def test_a_stack_that_is_not_there_or_is_no_gateway_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify-deployment", "--stack", "nowhere"]) == 2
    assert "no stack nowhere" in capsys.readouterr().err
    topic = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})
    boto3.client("cloudformation").create_stack(StackName="other", TemplateBody=topic)
    assert main(["verify-deployment", "--stack", "other"]) == 2
    assert "other is not a gateway" in capsys.readouterr().err


@pytest.mark.parametrize(("ask", "code"), [(lambda _: "fine", 0), (command.by_hand, 0), (edge.imported, 0), (None, 1)])
def test_one_failed_step_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ask: Any, code: int
) -> None:
    def fail(_: Deployment) -> str:
        raise StepError("it is red")

    monkeypatch.setattr(Deployment, "outputs", {"ApiId": "a1"})
    steps = (step(lambda _: "fine"), step(ask or fail))
    monkeypatch.setattr(command, "STEPS", steps)
    assert main(["verify-deployment", "--json"]) == code
    results = json.loads(capsys.readouterr().out)
    assert [set(result) for result in results] == [{"number", "name", "proves", "verdict", "detail"}] * 2
    assert main(["verify-deployment"]) == code
    assert ("it is red" in capsys.readouterr().out) == bool(code)


@mock_aws
def test_a_step_that_is_left_out_or_unknown_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Deployment, "outputs", {"ApiId": "a1"})
    assert main(["verify-deployment", "--only", "import", "--without", "import", "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["detail"] == "left out by --without"
    assert main(["verify-deployment", "--only", "nothing"]) == 2
    assert "unknown step nothing" in capsys.readouterr().err


def test_what_it_names_is_in_the_template() -> None:
    template = load(ROOT / "template.yaml")
    assert {"FailedAggregations", *edge.ALARMS} <= template["Resources"].keys()
    named = {
        "ApiUrl", "ApiId", "StageName", "UsageTableName", "LakeBucketName", "AggregateCostsArn", "AlarmTopicArn",
        "AnalyticsDatabaseName", "AnalyticsWorkGroupName",
    }  # fmt: skip
    assert named <= template["Outputs"].keys()

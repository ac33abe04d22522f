"""Deploys template.yaml into an embedded AWS and proves that it meters: `make deploy-local`.

It takes the steps of a real deployment:

1. `sam build`, `sam deploy` of a former release, a tenant and usage, the data that earlier releases wrote
   (tests/data/written-by), and `sam deploy` of this release over it;
2. calls through API Gateway's data plane with its authorizer and usage plan, and every role's refusals;
3. the schedule that starts the state machine, Parquet, and an Athena query. The lake's rows must equal the counts that
   the models' stand-in served, priced by the price book;
4. a night's reconciliation, and the close of an earlier month;
5. one more tenant as its own stack (templates/tenant.yaml): created, changed, called, throttled, deleted;
6. the former release again, over all of that data;
7. the output of `gateway migrate` for the 2024 sample, called as the sample's clients call;
8. the deletion of the stack.

Exit code 0 means that all of it holds.

tests/e2e/test_deploy.py lists where AWS differs and this proves nothing.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.message import Message
from pathlib import Path
from typing import Any

from botocore.credentials import Credentials

from bundle.recipe import VARIABLE, this_machine
from scripts.deploy import artifact_sizes
from scripts.deploy.contract import misfits
from scripts.deploy.ministack import earlier, migrated
from scripts.deploy.ministack.books import a_month, a_night
from scripts.deploy.ministack.cloud import ENVIRONMENT, LOCK, REGION, Cloud, NotStarted, running
from scripts.deploy.ministack.definitions import hold_import_strict, hold_methods_closed
from scripts.deploy.ministack.deployed import Broken, ended, hold, rows_below
from scripts.deploy.ministack.derive import MODELS, derive
from scripts.deploy.ministack.generation import Generation
from scripts.deploy.ministack.generation import kept as generations
from scripts.deploy.ministack.removal import LARGE, remove
from scripts.deploy.ministack.roles import Allowed, refuse_unnamed, resources
from scripts.operate.admin_api import AdminApi, Refused, of
from scripts.operate.backfill import BackfillFailed, backfill
from scripts.project import quick_yaml, sam
from scripts.project.environments import NotSetUp, set_up

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".aws-sam/embedded"
RUN = WORK / "run"
STACK = "model-gateway"
TENANT = "demo-research"
STACKED = "demo-stacked"  # a tenant with its own stack, and the name of that stack
TEXT_MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
EMBEDDING_MODEL = "amazon.titan-embed-text-v1"
PRICE_BOOK = ROOT / "layers/gateway/gateway/pricing/price_book.csv"
WAITING = {"QUEUED", "RUNNING"}
# Steps that `gateway verify-deployment` cannot take here: the embedded AWS does not know the stand-in's models, and it
# lacks AWS's layer, which streams need.
UNASKED = {"model", "arns", "stream", "hang-up"}
BY_HAND = {"long calls", "release", "private network"}
COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")

Json = Any


class Steps:
    """The log for people: each step and its duration in seconds."""

    def __init__(self, write: Callable[[str], None]):
        self._write = write
        self._begun = time.monotonic()

    @contextmanager
    def step(self, what: str) -> Iterator[list[str]]:
        """Time a step; the notes in the list are printed beside it."""
        begun, notes = time.monotonic(), list[str]()
        try:
            yield notes
        except BaseException:
            self._write(f"{time.monotonic() - begun:7.1f} s  FAILED: {what}")
            raise
        self._write(f"{time.monotonic() - begun:7.1f} s  {what}{': ' if notes else ''}{', '.join(notes)}")

    def end(self) -> None:
        self._write(f"{time.monotonic() - self._begun:7.1f} s  in total")


# ------------------------------------------------------------------------------------------------------------ deploying
def build() -> Path:
    """`sam build` of the template for this machine; returns the folder of the build."""
    template, built = WORK / "template.yaml", WORK / "build"
    derive(ROOT / "template.yaml", template)
    folders = ["--build-dir", str(built), "--cache-dir", str(WORK / "cache")]
    run_sam("build", "--template", str(template), *folders, "--cached", "--parallel", **{VARIABLE: this_machine()})
    return built


def hold_package(layer: Path) -> None:
    """The layer has exactly the package and its bytecode: the recipe copies every file of its folder."""
    shipped = {path.relative_to(layer).parts[:2] for path in layer.rglob("*") if path.is_file()}
    hold(shipped == {("python", "gateway")}, f"the gateway layer ships {shipped}")
    hold((layer / "python/gateway/pricing" / PRICE_BOOK.name).is_file(), "the gateway layer has no price book")
    compiled = {path.parents[1] / f"{path.name.partition('.')[0]}.py" for path in layer.rglob("*.pyc")}
    hold(compiled == {*layer.rglob("*.py")}, "the gateway layer's bytecode is not that of its sources")


def former(built: Path) -> Path:
    """A former release, as far as an upgrade can see: another package, another setting, and no dashboard.

    It is the same code under another hash: an upgrade must replace the code and keep the data.
    """
    template = quick_yaml.read((built / "template.yaml").read_text())
    older = built / "FormerGatewayLayer"
    shutil.rmtree(older, ignore_errors=True)
    shutil.copytree(built / "GatewayLayer", older)
    with (older / "python/gateway/__init__.py").open("a") as module:
        module.write("# a former release\n")
    template["Resources"]["GatewayLayer"]["Properties"]["ContentUri"] = older.name
    template["Globals"]["Function"]["Environment"]["Variables"]["LOG_LEVEL"] = "WARNING"
    del template["Resources"]["Dashboard"], template["Outputs"]["DashboardName"]
    written = built / "former.yaml"
    written.write_text(json.dumps(template))  # JSON is YAML
    return written


def deploy(cloud: Cloud, template: Path) -> dict[str, str]:
    """`sam deploy`; returns the stack's outputs."""
    told = ["--stack-name", STACK, "--s3-bucket", "artifacts", "--no-confirm-changeset", "--no-progressbar"]
    told += ["--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    told += ["--parameter-overrides", f"{MODELS}={cloud.models_url}"]
    run_sam("deploy", "--template", str(template), *told, **cloud.environment)
    return outputs_of(cloud, STACK)


def api_of(cloud: Cloud, outputs: Mapping[str, str], key: str) -> Api:
    stage = outputs["ApiUrl"].rpartition("/")[2]
    return Api(f"{cloud.url}/_aws/execute-api/{outputs['ApiId']}/{stage}", key)


def deploy_migrated(cloud: Cloud, template: Path, url: str) -> str:
    def over(told: list[str]) -> None:
        run_sam("deploy", "--template", str(template), *told, **cloud.environment)

    return migrated.hold_migrated(cloud, STACK, RUN, url, over, {MODELS: cloud.models_url})


def outputs_of(cloud: Cloud, stack: str) -> dict[str, str]:
    (found,) = cloud.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}


def lambda_python() -> Path:
    python = sam.find_python()
    if python is None:
        raise Broken(sam.NONE_FOUND)
    return python


def run_sam(*arguments: str, **environment: str) -> None:
    environment["SAM_CLI_POLL_DELAY"] = "0.3"  # the default is 5 seconds between two polls
    with sam.environment(lambda_python(), arguments[0]) as changed:
        command = [sys.executable, "-m", "samcli", *arguments]
        done = subprocess.run(
            command, cwd=WORK, env={**changed, **environment}, capture_output=True, text=True, check=False
        )
    hold(done.returncode == 0, f"sam {arguments[0]} failed:\n{(done.stdout + done.stderr)[-4000:]}")


@dataclass(frozen=True)
class Release:
    """The marks of a deployed release: its functions' package, one of their settings, its dashboard."""

    package: str
    log_level: str
    has_dashboard: bool


def release_of(cloud: Cloud) -> Release:
    stack = {it.logical: it.physical for it in resources(cloud, STACK)}
    functions = cloud.client("lambda")
    told = functions.get_function_configuration(FunctionName=stack["InvokeModelFunction"])
    (package,) = [layer["Arn"] for layer in told["Layers"] if "GatewayLayer" in layer["Arn"].split(":")[6]]
    content = functions.get_layer_version_by_arn(Arn=package)["Content"]
    return Release(content["CodeSha256"], told["Environment"]["Variables"]["LOG_LEVEL"], "Dashboard" in stack)


@dataclass(frozen=True)
class Kept:
    """The data that no deployment may change: every item of the tables, every file of the lake."""

    items: Mapping[str, Json]
    files: Mapping[str, str]


def kept(cloud: Cloud, outputs: Mapping[str, str]) -> Kept:
    dynamodb, s3 = cloud.client("dynamodb"), cloud.client("s3")
    items = {
        f"{table} {item['pk']['S']} {item['sk']['S']}": item
        for table in (outputs["TenantsTableName"], outputs["UsageTableName"])
        for page in dynamodb.get_paginator("scan").paginate(TableName=table)
        for item in page["Items"]
    }
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=outputs["LakeBucketName"])
    return Kept(items, {entry["Key"]: entry["ETag"] for page in pages for entry in page.get("Contents", ())})


# -------------------------------------------------------------------------------------------------------------- calling
@dataclass(frozen=True)
class Answer:
    status: int
    body: Json
    headers: Message

    @property
    def request_id(self) -> str:
        return self.headers.get("x-request-id", "")


@dataclass(frozen=True)
class Api:
    """The deployed API, as API Gateway's data plane serves it, for one key."""

    url: str
    key: str = ""

    def call(self, method: str, path: str, body: Json = None, **headers: str) -> Answer:
        sent = {"content-type": "application/json", **({"x-api-key": self.key} if self.key else {}), **headers}
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, content, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                status, answer, said = response.status, response.read(), response.headers
        except urllib.error.HTTPError as error:
            status, answer, said = error.code, error.read(), error.headers
        # What the gateway itself refuses is an embedded AWS's, and not judged.
        where = misfits(method, path, status, answer, said.items()) if status < 400 else ""
        hold(not where, f"{method} {path} answers {status}, and not as openapi.yaml says: {where}")
        try:
            return Answer(status, json.loads(answer), said)
        except ValueError:
            return Answer(status, answer.decode(errors="replace"), said)

    def invoke(self, prompt: Json, model_id: str = TEXT_MODEL, **headers: str) -> Answer:
        return self.call("POST", f"/invoke_model?model_id={model_id}", {"inputs": prompt}, **headers)

    def poll(self, request_id: str) -> Json:
        """Wait for the response to a submitted call."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            polled = self.call("POST", f"/invoke_model?requestId={request_id}", {})
            hold(polled.status == 200, f"polling returns {polled.status} {polled.body}")
            if "request_id" not in polled.body[0]:
                return polled.body
            time.sleep(0.3)
        raise Broken(f"{request_id} has no response after a minute")


def hold_earlier(cloud: Cloud, outputs: Mapping[str, str], generation: Generation) -> str:
    """The tenant of an earlier release keeps its key, its usage and its answers, and so do the costs."""
    api = api_of(cloud, outputs, generation.manifest["key"])
    report = api.call("GET", "/usage?start=2026-11-24&end=2026-11-25")
    hold(report.status == 200, f"GET /usage with a key of an earlier release returns {report.status} {report.body}")
    earlier.reported(report.body, generation)
    hold(api.poll("job-done")[0]["generated_text"] == "It is what was.", "an answer of an earlier release is gone")
    return earlier.aggregated(cloud, STACK, outputs, generation)


def add_tenant(cloud: Cloud, table: str) -> str:
    """Create a tenant with the project's own command; returns its key."""
    command = [
        sys.executable,
        "-m",
        "scripts.operate.cli",
        "tenants",
        "add",
        TENANT,
        "--cost-centre",
        "research",
        "--cost-centre",
        "lab",
    ]
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT / "layers/gateway"), str(ROOT)])}
    environment = os.environ | dict(cloud.environment) | paths
    done = subprocess.run(
        [*command, "--table", table], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    hold(done.returncode == 0, f"gateway tenants add failed: {done.stderr}")
    return done.stdout.strip()


def refuse_strangers(api: Api, cloud: Cloud) -> None:
    served = len(cloud.models_ledger.read_text().splitlines())
    for stranger in (Api(api.url), Api(api.url, "mgw_" + "0" * 46), Api(api.url, api.key[:-1] + "!")):
        refused = stranger.invoke("hello")
        hold(refused.status in {401, 403}, f"a call without a key gets {refused.status} {refused.body}")
    hold(len(cloud.models_ledger.read_text().splitlines()) == served, "a call without a key reached a model")


def call_models(api: Api) -> list[str]:
    """Call in every way; returns the request ids of calls that reached a model, the failed one included."""
    plain = api.invoke("What is a ledger?")
    hold(plain.status == 200 and bool(plain.body[0]["generated_text"]), f"a call returns {plain.status} {plain.body}")
    hold(bool(plain.request_id), "a response has no x-request-id")
    bearer = Api(api.url).invoke("What is a tenant?", authorization=f"Bearer {api.key}", team_id="lab")
    hold(bearer.status == 200, f"a call with a bearer key returns {bearer.status} {bearer.body}")
    converse = api.invoke([{"role": "user", "content": [{"text": "What is a price?"}]}], messages_api="true")
    hold(converse.status == 200, f"a call with messages returns {converse.status} {converse.body}")
    vector = api.invoke("a vector, please", EMBEDDING_MODEL, type="embeddings")
    hold(vector.status == 200 and bool(vector.body[0]["embedding"]), f"embedding returns {vector.status} {vector.body}")
    failed = api.invoke("[[throttle]]")
    hold(failed.status == 429, f"a throttled model returns {failed.status} {failed.body}")
    return [answer.request_id for answer in (plain, bearer, converse, vector, failed)]


def submit_and_poll(api: Api) -> str:
    submitted = api.invoke("What is a queue? [[delay=0.5]]", streaming="true")
    hold(submitted.status == 200, f"submitting returns {submitted.status} {submitted.body}")
    request_id: str = submitted.body[0]["request_id"]
    hold(bool(api.poll(request_id)[0]["generated_text"]), "a submitted call has no text")
    return request_id


def too_fast(own: Api, cloud: Cloud) -> str:
    """API Gateway refuses calls above the tenant's usage plan with the gateway's error body; no model runs."""
    served, answered = len(served_by_models(cloud)), 0
    for _ in range(50):
        answer = own.invoke("How fast?")
        if answer.status != 200:
            break
        answered += 1
    hold(answer.status == 429, f"of 50 calls at once {answered} succeed, then one is {answer.status} {answer.body}")
    said = {name: answer.body[name] for name in ("code", "request_id")}
    hold(said == {"code": "throttled", "request_id": answer.request_id}, f"a throttled call returns {answer.body}")
    hold(bool(answer.request_id) and answer.headers["retry-after"] == "1", f"its headers are {answer.headers.items()}")
    hold(len(served_by_models(cloud)) == served + answered, "a throttled call reached a model")
    return f"429 after {answered}"


# ------------------------------------------------------------------------------------------- a tenant as its own stack
def deploy_tenant(cloud: Cloud, monthly_usd: str, burst: int) -> dict[str, str]:
    """`sam deploy` templates/tenant.yaml, attached to the gateway by its exports; returns the stack's outputs."""
    told = ["--stack-name", STACKED, "--no-confirm-changeset", "--no-progressbar", "--parameter-overrides"]
    said = [f"GatewayStack={STACK}", f"TenantId={STACKED}", "CostCentres=research,lab", f"MonthlyUsd={monthly_usd}"]
    said += ["RateLimit=1", f"BurstLimit={burst}"]
    run_sam("deploy", "--template", str(ROOT / "templates/tenant.yaml"), *told, *said, **cloud.environment)
    return outputs_of(cloud, STACKED)


def admin_of(cloud: Cloud, api: Api) -> AdminApi:
    return AdminApi(api.url, REGION, Credentials("test", "test"))


def refuse_unsigned(api: Api) -> None:
    """A call without a signature is refused, whatever key it has."""
    refused = api.call("GET", of(STACKED))
    hold(refused.status in {401, 403}, f"a call without a signature gets {refused.status}")


def hold_tenant(admin: AdminApi, monthly_usd: str) -> None:
    """The stack's custom resource wrote the tenant that the template declares."""
    tenant = admin.call("GET", of(STACKED))
    written = {"cost_centres": ["research", "lab"], "name": STACKED, "suspended": False}
    hold(written.items() <= tenant.items(), f"the stack created {tenant}")
    hold(tenant["budget"]["monthly_usd"] == monthly_usd and tenant["budget"]["hard"], f"its budget is {tenant}")
    hold(len(tenant["usage_plan_key"]) >= 20, "it has no usage plan")


def call_as_stacked(api: Api, admin: AdminApi) -> Api:
    """A key from the admin API makes a metered call under the tenant's budget."""
    made = admin.call("POST", f"{of(STACKED)}/keys", {"label": "proof"})
    own = Api(api.url, made["key"])
    answer = own.invoke("What is a stack?", team_id="lab")
    hold(answer.status == 200, f"its call returns {answer.status} {answer.body}")
    usage = own.call("GET", f"/usage?start={datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}")
    hold(usage.body["totals"]["invocations"] == 1, f"its usage is {usage.body}")
    (budget,) = own.call("GET", "/budget").body["budgets"]
    hold(Decimal(budget["spent"]) == Decimal(usage.body["totals"]["cost"]) > 0, f"its budget is {budget}")
    return own


def sweep(cloud: Cloud) -> None:
    """The sweep, in its own role, reads the accounts and the tenants whose thresholds they may have crossed."""
    stack = cloud.client("cloudformation").describe_stack_resource(
        StackName=STACK, LogicalResourceId="SweepOpenRowsFunction"
    )
    function = stack["StackResourceDetail"]["PhysicalResourceId"]
    answer = cloud.client("lambda").invoke(FunctionName=function, Payload=b"{}")
    said = json.load(answer["Payload"])
    hold("FunctionError" not in answer, f"the sweep fails: {said}")
    hold(said == {"swept": 0, "released": 0, "told": 0}, f"the sweep reports {said}")


def delete_tenant_stack(cloud: Cloud, admin: AdminApi, own: Api) -> None:
    """Deleting its stack deletes the tenant and revokes its key."""
    stacks = cloud.client("cloudformation")
    stacks.delete_stack(StackName=STACKED)
    stacks.get_waiter("stack_delete_complete").wait(StackName=STACKED, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    try:
        hold(False, f"after its stack is deleted, the tenant is {admin.call('GET', of(STACKED))}")
    except Refused as refused:
        hold(refused.status == 404, f"after its stack is deleted, the tenant gets {refused}")
    end = time.monotonic() + 10  # KeyCacheSeconds, and a margin
    while (answer := own.invoke("hello")).status in {200, 429}:
        hold(time.monotonic() < end, "its key outlives the tenant")
        time.sleep(0.5)
    hold(answer.status in {401, 403}, f"its key gets {answer.status} {answer.body}")


# ------------------------------------------------------------------------------------------------------------ the money
def let_aggregate(cloud: Cloud, table: str, hours: set[str]) -> None:
    """Limit the next scheduled run to these hours, as after a run that found an open call in them."""
    dynamodb, closed = cloud.client("dynamodb"), datetime.now(UTC) - timedelta(hours=1, minutes=5)
    mark = {"pk": {"S": "periods"}, "sk": {"S": "watermark"}, "hour": {"S": f"{closed:%Y-%m-%dT%H}"}}
    for item in (mark, *({"pk": {"S": "periods"}, "sk": {"S": hour}} for hour in hours)):
        dynamodb.put_item(TableName=table, Item=item)


def fire_schedule(cloud: Cloud, machine: str) -> str:
    """The deployed schedule starts the state machine: only its time is changed; target, role and input are its own."""
    scheduler, states = cloud.client("scheduler"), cloud.client("stepfunctions")
    (name,) = [it.physical for it in resources(cloud, STACK) if it.logical == "AggregateCostsHourly"]
    deployed = scheduler.get_schedule(Name=name)
    role = deployed["Target"]["RoleArn"].rpartition("/")[2]
    trusted = cloud.client("iam").get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]["Statement"]
    services = [said["Principal"]["Service"] for said in trusted]
    hold(services in (["scheduler.amazonaws.com"], [["scheduler.amazonaws.com"]]), f"its role trusts {services}")
    known = {run["executionArn"] for run in states.list_executions(stateMachineArn=machine)["executions"]}
    own = {said: deployed[said] for said in ("Name", "GroupName", "FlexibleTimeWindow", "Target")}
    moment = f"{datetime.now(UTC) + timedelta(seconds=2):%Y-%m-%dT%H:%M:%S}"
    scheduler.update_schedule(**own, ScheduleExpression=f"at({moment})")
    end = time.monotonic() + 30
    while not (
        started := [
            run["executionArn"]
            for run in states.list_executions(stateMachineArn=machine)["executions"]
            if run["executionArn"] not in known
        ]
    ):
        hold(time.monotonic() < end, "the schedule starts nothing")
        time.sleep(0.2)
    run = ended(cloud, started[0], "the aggregation")
    scheduler.update_schedule(**own, ScheduleExpression=deployed["ScheduleExpression"])
    hold(json.loads(run["input"]) == {"scheduledTime": f"{moment}Z"}, f"it starts it with {run['input']}")
    return f"at {moment}Z"


def ask_athena(cloud: Cloud, outputs: Mapping[str, str], text: str) -> list[dict[str, str]]:
    """A query's result, in the deployed workgroup over the deployed database."""
    athena = cloud.client("athena")
    asked = athena.start_query_execution(
        QueryString=text,
        WorkGroup=outputs["AnalyticsWorkGroupName"],
        QueryExecutionContext={"Database": outputs["AnalyticsDatabaseName"]},
    )["QueryExecutionId"]
    end = time.monotonic() + 30
    while (run := athena.get_query_execution(QueryExecutionId=asked)["QueryExecution"]["Status"])["State"] in WAITING:
        hold(time.monotonic() < end, "a query takes more than 30 seconds")
        time.sleep(0.05)
    hold(run["State"] == "SUCCEEDED", f"a query {run['State']}: {run.get('StateChangeReason')}")
    names, *lines = [
        [cell.get("VarCharValue", "") for cell in row["Data"]]
        for row in athena.get_query_results(QueryExecutionId=asked)["ResultSet"]["Rows"]
    ]
    return [dict(zip(names, line, strict=True)) for line in lines]


def compare_with_athena(cloud: Cloud, outputs: Mapping[str, str], rows: list[dict[str, Any]]) -> str:
    """A deployed table and a deployed view equal the rows' sum for each model, to the last decimal."""
    costs: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        costs[row["model_id"]] += row["cost"]
    asked = {
        "usage": "SELECT model_id, sum(cost) AS cost FROM usage GROUP BY model_id",
        "daily_cost": "SELECT model_id, sum(cost) AS cost FROM daily_cost GROUP BY model_id",
    }
    for name, text in asked.items():
        said = {line["model_id"]: Decimal(line["cost"]) for line in ask_athena(cloud, outputs, text)}
        hold(said == costs, f"{name} has {said} in Athena, the rows sum to {dict(costs)}")
    return " and ".join(asked)


def backfill_of_two_days(cloud: Cloud, machine: str) -> str:
    """A day passes through the Distributed Map; a day before the ledger's retention fails alone, and is named."""
    states, yesterday = cloud.client("stepfunctions"), datetime.now(UTC) - timedelta(days=1)
    as_of = yesterday.replace(hour=2, minute=10)
    done = backfill(states, machine, yesterday.date(), yesterday.date(), as_of, seconds=0.5)
    hold([window["found"]["hours"] for window in done] == [2], f"a backfill of two hours reports {done}")
    gone = yesterday.date() - timedelta(days=500)
    try:
        backfill(states, machine, gone, gone, as_of, seconds=0.5)
        said = "nothing"
    except BackfillFailed as failed:
        said = str(failed)
    hold(f"{gone}T00 is older than the ledger's retention" in said, f"a backfill of {gone} fails with {said}")
    return "2 hours"


def served_by_models(cloud: Cloud) -> list[dict[str, Any]]:
    """The counts that the models' stand-in billed, from its own ledger."""
    lines = map(json.loads, cloud.models_ledger.read_text().splitlines())
    return [line for line in lines if line["billed"]]


def price(model_id: str, unit: str) -> Decimal:
    """USD for one unit, read from the price book without the gateway's own reader, which is under test."""
    with PRICE_BOOK.open() as lines:
        today = datetime.now(UTC).date().isoformat()
        found = [
            row
            for row in csv.DictReader(lines)
            if (row["model_id"], row["region"], row["tier"], row["unit"]) == (model_id, REGION, "default", unit)
            and row["effective_from"] <= today
        ]
    hold(bool(found), f"the price book has no {unit} of {model_id} in {REGION}")
    newest = max(found, key=lambda row: row["effective_from"])
    return Decimal(newest["usd"]) / Decimal(newest["per"])


def cost_of(line: Mapping[str, Any]) -> Decimal:
    used = {name: line[name] for name in COUNTS if line[name]}
    return sum((price(line["model_id"], unit) * quantity for unit, quantity in used.items()), Decimal(0))


def compare_with_models(rows: list[dict[str, Any]], request_ids: list[str], served: list[dict[str, Any]]) -> Decimal:
    """The lake has exactly the calls made, each with the counts that the models billed and their price."""
    made, held = Counter(request_ids), Counter(row["request_id"] for row in rows)
    hold(made == held, f"the lake does not match the calls: {dict(made - held)} missing, {dict(held - made)} extra")
    ran = [row for row in rows if row["outcome"] == "succeeded"]
    counted = [
        Counter((line["model_id"], *(line[name] for name in COUNTS)) for line in lines) for lines in (ran, served)
    ]
    hold(counted[0] == counted[1], f"the lake has {counted[0]}, the models billed {counted[1]}")
    for row in rows:
        expected = cost_of(row) if row["outcome"] == "succeeded" else Decimal(0)
        hold(row["tenant_id"] == TENANT, f"a row belongs to {row['tenant_id']}")
        hold(row["cost"] == expected, f"{row['request_id']} costs {row['cost']}, but {expected} by the price book")
    return sum((row["cost"] for row in rows), Decimal(0))


def compare_with_logs(cloud: Cloud, rows: list[dict[str, Any]]) -> str:
    """The functions' logs have each attempt and its tokens, in its trace, and the day's cost as a metric."""

    def told(function: str, word: str) -> list[Json]:
        (group,) = [it.physical for it in resources(cloud, STACK) if it.logical == f"{function}Logs"]
        found = cloud.client("logs").filter_log_events(logGroupName=group, filterPattern=f'"{word}"')["events"]
        return [json.loads(event["message"]) for event in found]

    calls = [line for name in ("InvokeModel", "CompleteInvocation") for line in told(name, "model_call")]
    hold(all(line["xray_trace_id"].startswith("1-") for line in calls), f"a line has no trace: {calls}")
    tokens = "gen_ai.usage.output_tokens"
    logged = Counter((line["gateway.request_id"], line.get(tokens, 0)) for line in calls)
    held = Counter((row["request_id"], row["output_tokens"]) for row in rows)
    hold(logged == held, f"the logs have {logged}, the lake {held}")
    costs = [line for line in told("VerifyCosts", "DayCostUsd") if "service" in line]
    days: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        days[f"{row['started_at']:%Y-%m-%d}"] += row["cost"]
    said = {f"{datetime.fromtimestamp(it['_aws']['Timestamp'] / 1000, UTC):%Y-%m-%d}": it["DayCostUsd"] for it in costs}
    hold(all(said.get(day) == float(usd) for day, usd in days.items()), f"DayCostUsd is {said}, in the lake {days}")
    return f"{len(calls)} calls"


def compare_with_report(report: Answer, rows: list[dict[str, Any]]) -> None:
    hold(report.status == 200, f"GET /usage returns {report.status} {report.body}")
    totals = report.body["totals"]
    for name in COUNTS:
        hold(totals[name] == sum(row[name] for row in rows), f"GET /usage returns {totals[name]} {name}")
    cost = sum((row["cost"] for row in rows), Decimal(0))
    hold(Decimal(totals["cost"]) == cost, f"GET /usage returns {totals['cost']} USD, the lake {cost}")


# ----------------------------------------------------------------------------------------------- the operator's command
def verify(cloud: Cloud, api: Api) -> str:
    """The operator's own command passes every step that is possible here; the others are listed by name."""
    command = [
        sys.executable,
        "-m",
        "scripts.operate.cli",
        "verify-deployment",
        "--stack",
        STACK,
        "--api-url",
        api.url,
        "--json",
        "--import",
    ]
    command += ["--model", TEXT_MODEL, "--alarm-wait", "0", "--without", ",".join(UNASKED)]
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT / "layers/gateway"), str(ROOT)])}
    environment = os.environ | dict(cloud.environment) | paths
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    (RUN / "verify.json").write_text(done.stdout)
    hold(done.returncode in {0, 1} and bool(done.stdout), f"it prints {done.stderr[-2000:]}")
    found = json.loads(done.stdout)
    failed = [f"{it['name']}: {it['detail']}" for it in found if it["verdict"] == "failed"]
    hold(not failed, f"steps fail: {'; '.join(failed)}")
    hold("Delete by hand" not in done.stderr, f"it leaves resources behind: {done.stderr[-2000:]}")
    unasked = {it["name"] for it in found if it["verdict"] == "not asked"}
    hold(unasked == UNASKED | BY_HAND, f"the skipped steps differ from the list by {unasked ^ (UNASKED | BY_HAND)}")
    return f"{len(found) - len(unasked)} steps; not {', '.join(it['name'] for it in found if it['name'] in unasked)}"


# -------------------------------------------------------------------------------------------------------- the whole run
def empty(folder: Path) -> Path:
    """The folder of this run: its logs stay until the next run."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def prove(steps: Steps) -> None:
    python = lambda_python()
    with steps.step("environment of the embedded AWS (.venv-embedded)"):
        set_up(ENVIRONMENT, LOCK, python)
    with steps.step("sam build"):
        built = build()
        hold_package(built / "GatewayLayer")
        _, weighed = artifact_sizes.measure(built)
        heaviest = max(sum(parts.values()) for parts in weighed.values())
        hold(heaviest < artifact_sizes.LIMIT, "a function is above Lambda's size limit")
    with ExitStack() as started:
        with steps.step("start of the embedded AWS and the model stand-in") as notes:
            cloud = started.enter_context(running(empty(RUN)))
            notes.append(cloud.url)
        with steps.step("sam deploy of a former release"):
            cloud.client("s3").create_bucket(Bucket="artifacts")
            outputs = deploy(cloud, older := former(built))
            before = release_of(cloud)
        with steps.step("gateway tenants add: a tenant and its key"):
            key = add_tenant(cloud, outputs["TenantsTableName"])
        hours = {f"{datetime.now(UTC):%Y-%m-%dT%H}"}
        with steps.step("a call is submitted, run from the queue, and polled"):
            request_ids = [submit_and_poll(api_of(cloud, outputs, key))]
        *oldest, newest = generations()
        with earlier.beside(cloud, STACK, newest):
            with steps.step("sam deploy of this release over it loses no data") as notes:
                written = kept(cloud, outputs)
                outputs = deploy(cloud, built / "template.yaml")
                now = release_of(cloud)
                hold(now.has_dashboard and not before.has_dashboard, "the upgrade creates no dashboard")
                hold(
                    (now.package, now.log_level) != (before.package, before.log_level),
                    f"{before} is still deployed after the upgrade",
                )
                hold(kept(cloud, outputs) == written, "the upgrade changes the ledger, the tenants or the lake")
                notes.append(f"{len(written.items)} items")
            with steps.step("keys, answers, costs and closed months of earlier releases stay valid") as notes:
                notes.append(hold_earlier(cloud, outputs, newest))
                earlier.prove_months(cloud, STACK, newest)
        for generation in oldest:
            with steps.step("so do those of older releases") as notes, earlier.beside(cloud, STACK, generation):
                notes.append(hold_earlier(cloud, outputs, generation))
        api = api_of(cloud, outputs, key)
        with steps.step("every role is refused the requests it does not allow") as notes:
            roles, refused = refuse_unnamed(cloud, STACK)
            notes.append(f"{roles} roles, {refused} refusals")
        with steps.step("API Gateway authorizes the API's methods, and refuses a faulty definition") as notes:
            notes.append(hold_methods_closed(cloud, STACK))
            notes.append(hold_import_strict(cloud))
        with steps.step("no key, no call"):
            refuse_strangers(api, cloud)
        with steps.step("GET /list_foundation_models") as notes:
            listed = api.call("GET", "/list_foundation_models")
            hold(listed.status == 200, f"listing models returns {listed.status} {listed.body}")
            notes.append(f"{len(listed.body[0]['modelSummaries'])} models")
        with steps.step("POST /invoke_model in every way") as notes:
            request_ids += call_models(api)
            notes.append(f"{len(request_ids)} calls")
        hours.add(f"{datetime.now(UTC):%Y-%m-%dT%H}")
        with steps.step("the schedule starts the state machine AggregateCosts") as notes:
            let_aggregate(cloud, outputs["UsageTableName"], hours)
            notes.append(fire_schedule(cloud, outputs["AggregateCostsArn"]))
        with steps.step("state machine BackfillCosts") as notes:
            notes.append(backfill_of_two_days(cloud, outputs["BackfillCostsArn"]))
        with steps.step("the lake has exactly these calls, with the models' counts and list prices") as notes:
            rows = rows_below(cloud, outputs["LakeBucketName"], "usage/")
            total = compare_with_models(rows, request_ids, served_by_models(cloud))
            notes.append(f"{len(rows)} rows, {total:f} USD")
        with steps.step("Athena returns the same in the deployed workgroup") as notes:
            notes.append(compare_with_athena(cloud, outputs, rows))
        with steps.step("the logs have each call and the day's cost") as notes:
            notes.append(compare_with_logs(cloud, rows))
        with steps.step("GET /usage returns the same"):
            start = f"{min(hours)[:10]}"
            compare_with_report(api.call("GET", f"/usage?start={start}"), rows)
        with steps.step("ReconcileCosts finds the calls that only CloudWatch counted") as notes:
            notes.append(a_night(cloud, outputs, served_by_models(cloud)))
        with steps.step("an earlier month passes from the ledger to a closed statement with a valid chain") as notes:
            row = next(row for row in rows if row["outcome"] == "succeeded")
            notes.append(a_month(cloud, STACK, outputs, row, RUN / "lake"))
        admin = admin_of(cloud, api)
        with steps.step("sam deploy of templates/tenant.yaml creates a tenant, and changes it") as notes:
            notes.append(deploy_tenant(cloud, "1.5", 20)["UsagePlanId"])
            hold_tenant(admin, "1.5")
            deploy_tenant(cloud, "2", 6)
            hold_tenant(admin, "2")
        with steps.step("the tenant makes a metered call with a key from the admin API"):
            own = call_as_stacked(api, admin)
            refuse_unsigned(api)
            sweep(cloud)
        with steps.step("its usage plan throttles it") as notes:
            notes.append(too_fast(own, cloud))
        with steps.step("deleting its stack deletes the tenant"):
            delete_tenant_stack(cloud, admin, own)
        with steps.step("gateway verify-deployment checks the deployed stack") as notes:
            notes.append(verify(cloud, api))
        with steps.step("sam deploy of the former release again loses no data, and calls succeed"):
            earlier.forget_proofs(cloud, STACK)
            earlier.load(cloud, STACK, newest)
            written = kept(cloud, outputs)
            outputs = deploy(cloud, older)
            hold(release_of(cloud) == before, f"{release_of(cloud)} is deployed after the rollback, not {before}")
            hold(kept(cloud, outputs) == written, "the rollback changes the ledger, the tenants or the lake")
            api = api_of(cloud, outputs, key)
            again = api.invoke("What is a rollback?")
            hold(again.status == 200, f"after the rollback a call returns {again.status} {again.body}")
            hold_earlier(cloud, outputs, newest)  # except for its months: this stack has its own statements by now
            usage = api.call("GET", f"/usage?start={start}").body["totals"]["invocations"]
            hold(usage == sum(row["outcome"] == "succeeded" for row in rows) + 1, f"GET /usage returns {usage} calls")
        with steps.step(
            "a migrated configuration of the 2024 sample: its shape, its tenant, its client's calls"
        ) as notes:
            notes.append(deploy_migrated(cloud, built / "template.yaml", api.url))
        with steps.step("sam delete deletes the stack, and retained resources stay") as notes:
            large = api.invoke("x" * LARGE, streaming="true")
            hold(large.status == 200, f"submitting a large request returns {large.status} {large.body}")
            notes.append(remove(cloud, STACK, outputs))


def main() -> int:
    steps = Steps(lambda line: print(line, flush=True))
    try:
        prove(steps)
    except (Allowed, Broken, NotSetUp, NotStarted) as broken:
        print(f"{broken}\nThe logs are in {RUN.relative_to(ROOT)}.", file=sys.stderr)
        return 1
    steps.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())

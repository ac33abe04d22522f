"""The state machines in this process's AWS, with real handlers and real DynamoDB rows."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
from moto.awslambda.models import LambdaFunction

from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.aws.dynamodb.periods import DynamoPeriods
from gateway.aws.dynamodb.proofs import DynamoProofs
from gateway.costs.periods import HOUR, hours_between, start_of
from gateway.costs.proofs import DayProof
from gateway.costs.usage_files import NOTHING
from gateway.pricing.price_csv import price_book
from gateway.usage.records import KeyId, ModelId, Outcome, RequestId, TenantId, TokenUsage, UsageRecord
from scripts.project import quick_yaml

FUNCTIONS = Path(__file__).parents[2] / "functions"
MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)
SONNET = "anthropic.claude-3-sonnet-20240229-v1:0"


def steps(folder: str) -> dict[str, Path]:
    """The handlers of a state machine's functions, by the names that its template has for them."""
    return {
        re.sub("(^|_)([a-z])", lambda found: found[2].upper(), app.parent.name): app
        for app in (FUNCTIONS / folder).glob("*/app.py")
    }


def definition(folder: str) -> str:
    return (FUNCTIONS / folder / "statemachine.asl.yaml").read_text(encoding="utf-8")


def make_state_machine(folder: str, names: Mapping[str, str]) -> str:
    """Its ARN. The definition is spaced as CloudFormation writes what it made of YAML."""
    given = {"Partition": "aws", **names}
    body = quick_yaml.read(re.sub(r"\$\{(\w+)\}", lambda found: given[found[1]], definition(folder)))
    written = json.dumps(body, indent=2, separators=(",", " : "))
    role = "arn:aws:iam::123456789012:role/any"
    made = boto3.client("stepfunctions").create_state_machine(name=folder, definition=written, roleArn=role)
    return str(made["stateMachineArn"])


def row(name: str, hour: float = 0.5, model: str = SONNET) -> UsageRecord:
    return row_at(name, MIDNIGHT + timedelta(hours=hour), model)


def row_at(name: str, started: datetime, model: str) -> UsageRecord:
    return UsageRecord(
        request_id=RequestId(name),
        attempt=1,
        tenant_id=TenantId("acme"),
        cost_centre="research",
        key_id=KeyId("key-1"),
        operation="Converse",
        model_id=ModelId(model),
        model_used=model,
        region="us-east-1",
        started_at=started,
        lease_until=started + timedelta(days=365 * 50),
    )


class RunFailed(Exception):
    """The execution ended as FAILED."""


class Machine:
    """A state machine, with its steps' own handlers behind it."""

    def __init__(self, folder: str) -> None:
        self.handlers: dict[str, Callable[[Any, object], Any]] = {
            name: load(app) for name, app in steps(folder).items()
        }
        self.calls: list[tuple[str, Any]] = []
        self._one_at_a_time = threading.Lock()  # what stands in for DynamoDB and S3 here is not made for threads
        self._steps = boto3.client("stepfunctions")
        iam = boto3.client("iam")
        role = iam.create_role(RoleName="any", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        names = {}
        for step in self.handlers:
            made = boto3.client("lambda").create_function(
                FunctionName=step, Runtime="python3.13", Role=role, Handler="app.handler", Code={"ZipFile": b""}
            )
            names[f"{step}Function"] = made["FunctionArn"]
        self.arn = make_state_machine(folder, names)

    def invoke(self, function: LambdaFunction, event: Any = None) -> tuple[str, bool, str]:
        event = json.loads(event) if isinstance(event, (str, bytes)) else event
        self.calls.append((function.function_name, event))
        try:
            with self._one_at_a_time:
                return json.dumps(self.handlers[function.function_name](event, None)), False, ""
        except Exception as error:
            return json.dumps({"errorMessage": str(error), "errorType": type(error).__name__}), True, ""

    def run_with(self, run_input: dict[str, Any], name: str = "") -> Any:
        execution = self._steps.start_execution(
            stateMachineArn=self.arn, name=name or str(uuid.uuid4()), input=json.dumps(run_input)
        )["executionArn"]
        while (found := self._steps.describe_execution(executionArn=execution))["status"] == "RUNNING":
            time.sleep(0.02)
        if found["status"] != "SUCCEEDED":
            raise RunFailed(found.get("error"), found.get("cause"))
        return json.loads(found["output"])


class Workflow(Machine):
    """The state machine of the costs, and what it reads and writes."""

    def __init__(self) -> None:
        super().__init__("aggregate_costs")
        self.ledger, self.periods = DynamoLedger("usage"), DynamoPeriods("usage")
        self.proofs = DynamoProofs("usage")

    def run(self, hour: float, **more: Any) -> Any:
        scheduled = (MIDNIGHT + timedelta(hours=hour)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self.run_with({"scheduledTime": scheduled} | more)

    def done_until(self, last: str) -> None:
        """As if every hour until then had been aggregated, and had no row."""
        days: dict[str, dict[str, str]] = {}
        for hour in hours_between(start_of(self.periods.watermark() or last) + HOUR, start_of(last)):
            days.setdefault(hour[:10], {})[hour] = NOTHING
        for day, hours in days.items():
            self.proofs.note(DayProof(day, hours, None, price_book().version))
        self.periods.advance(last)

    def keep(self, record: UsageRecord, outcome: Outcome | None = Outcome.SUCCEEDED, **counts: Any) -> None:
        self.ledger.reserve(record)
        if outcome:
            self.settle(record, outcome, **counts)

    def settle(self, record: UsageRecord, outcome: Outcome = Outcome.SUCCEEDED, **counts: Any) -> None:
        assert self.ledger.settle(record.settle(outcome, TokenUsage(**counts), record.started_at))

    def files(self, prefix: str = "") -> list[str]:
        return [o["Key"] for o in boto3.client("s3").list_objects_v2(Bucket="lake", Prefix=prefix).get("Contents", [])]

    def read(self, prefix: str) -> list[dict[str, Any]]:
        bodies = [boto3.client("s3").get_object(Bucket="lake", Key=key)["Body"].read() for key in self.files(prefix)]
        rows: list[dict[str, Any]] = pa.concat_tables([pq.read_table(io.BytesIO(body)) for body in bodies]).to_pylist()
        return rows


def load(app: Path) -> Callable[[Any, object], Any]:
    spec = importlib.util.spec_from_file_location(f"{app.parent.name}_app", app)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler: Callable[[Any, object], Any] = module.handler
    return handler

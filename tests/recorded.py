"""Records every function's AWS calls during the tests, and compares them with its role.

A call belongs to the function whose code is on the stack at the time; the tests' own calls belong to none. After the last
test, a call without a grant fails the run. An unused grant also fails it, if all tests of `FOLDERS` ran, unless `UNSEEN`
has its reason. Each message says how to fix the fault.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from botocore import handlers
from urllib3.connectionpool import HTTPConnectionPool

from scripts.check.roles import Ask, Grant, of_functions
from scripts.project.template import ROOT, DeclaredFunction, functions, load

FUNCTIONS = f"{ROOT}/functions/"
FOLDERS = ("tests/functions", "tests/workflow")
CALLS = "calls of AWS"
_ITEMS = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
_HTTP = {
    "converse": "InvokeModel",
    "converse-stream": "InvokeModelWithResponseStream",
    "invoke": "InvokeModel",
    "invoke-with-response-stream": "InvokeModelWithResponseStream",
    "count-tokens": "CountTokens",
}
_BEDROCK = "arn:aws:bedrock:us-east-1"
_PROFILE = re.compile(r"(us|us-gov|eu|apac|au|jp|ca|global)\.")


@dataclass(frozen=True)
class Unseen:
    """A grant that no test uses, and its reason; names are patterns."""

    function: str
    action: str
    resource: str
    why: str

    def explains(self, function: str, grant: Grant) -> bool:
        said = (self.function, function), (self.action, grant.action), (self.resource, grant.resource)
        return all(fnmatchcase(text, pattern) for pattern, text in said)


_PARTS = (
    "Only a file that is uploaded in parts and breaks off is given up so; tests/workflow/test_aggregate_costs.py does it "
    "to the adapter itself, since it takes more rows than a test should price."
)
# What Lambda does with the role of a function whose queue it polls, from outside of the function's network.
POLLED = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
_POLLED = "No code of ours calls it; the calls that tests/e2e/test_deploy.py submits are run from the queue by it."
UNSEEN = [
    Unseen("PriceUsageFunction", "s3:AbortMultipartUpload", "LakeBucket/usage/*", _PARTS),
    Unseen("CloseDayFunction", "s3:AbortMultipartUpload", "LakeBucket/usage/*", _PARTS),
    *(Unseen("CompleteInvocationFunction", action, "JobsQueue", _POLLED) for action in sorted(POLLED)),
]
# A call that a test makes on purpose where no role leads, by the end of its resource.
ON_PURPOSE = {
    ("sqs:SendMessage", "/jobs-gone"): "The queue that is lost is another one in that test.",
}


# -------------------------------------------------------------------------------------------- what a call asks of a role
def dynamodb(operation: str, request: Mapping[str, Any]) -> Iterator[Ask]:
    """Table by table and item by item: a transaction needs the permission of each of its parts."""
    if operation == "TransactWriteItems":
        for item in request["TransactItems"]:
            ((kind, action),) = item.items()
            yield from dynamodb(_ITEMS[kind], action)
        return
    if operation in {"BatchGetItem", "BatchWriteItem"}:
        for table, asked in request["RequestItems"].items():
            keys = asked["Keys"] if operation == "BatchGetItem" else ()
            yield Ask(f"dynamodb:{operation}", variable(table), _leading(*(key.get("pk") for key in keys)))
        return
    index = f"/index/{request['IndexName']}" if "IndexName" in request else ""
    yield Ask(f"dynamodb:{operation}", variable(request["TableName"]) + index, _leading(_hash_key(request)))


def _hash_key(request: Mapping[str, Any]) -> Any:
    if found := re.search(r"\bpk = (:\w+)", request.get("KeyConditionExpression", "")):
        return request["ExpressionAttributeValues"][found[1]]
    return (request.get("Key") or request.get("Item") or {}).get("pk")


def _leading(*keys: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    said = tuple(key["S"] for key in keys if key)
    return (("dynamodb:LeadingKeys", said),) if said else ()


def s3(operation: str, request: Mapping[str, Any]) -> Iterator[Ask]:
    bucket = variable(request["Bucket"], under(f"s3://{request['Bucket']}") or request["Bucket"])
    if operation.startswith("ListObjects"):
        yield Ask("s3:ListBucket", bucket, (("s3:prefix", (request.get("Prefix", ""),)),))
        return
    if operation == "GetBucketPolicy":
        yield Ask(f"s3:{operation}", bucket)
        return
    if operation == "DeleteObjects":
        for entry in request["Delete"]["Objects"]:
            yield Ask("s3:DeleteObject", f"{bucket}/{entry['Key']}")
        return
    where = under(f"s3://{request['Bucket']}/{request['Key']}") or f"{bucket}/{request['Key']}"
    in_parts = operation in {"CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"}
    yield Ask("s3:PutObject" if in_parts else f"s3:{operation}", where)
    if "IfMatch" in request:
        yield Ask("s3:GetObject", where)  # S3 reads the version that the write replaces


def sts(operation: str, request: Mapping[str, Any]) -> Iterator[Ask]:
    yield Ask(f"sts:{operation}", variable(request["RoleArn"]))
    if request.get("Tags"):
        yield Ask("sts:TagSession", variable(request["RoleArn"]))


def events(operation: str, request: Mapping[str, Any]) -> Iterator[Ask]:
    for entry in request["Entries"]:
        bus = entry.get("EventBusName", "default")
        yield Ask(f"events:{operation}", f"arn:aws:events:us-east-1:123456789012:event-bus/{bus}")


def bedrock(operation: str, request: Mapping[str, Any]) -> Iterator[Ask]:
    yield Ask(f"bedrock:{operation}", request.get("inferenceProfileIdentifier", "*"))


def sagemaker(operation: str, request: Mapping[str, Any]) -> Iterator[Ask]:
    where = f"arn:aws:sagemaker:us-east-1:123456789012:endpoint/{request['EndpointName']}"
    yield Ask(f"sagemaker:{operation}", where)


def sqs(operation: str, request: Mapping[str, Any]) -> Iterator[Ask]:
    yield Ask(f"sqs:{operation}", variable(request["QueueUrl"]))


SERVICES: dict[str, Callable[[str, Mapping[str, Any]], Iterator[Ask]]] = {
    "bedrock": bedrock, "dynamodb": dynamodb, "eventbridge": events, "s3": s3, "sagemaker-runtime": sagemaker,
    "sqs": sqs, "sts": sts,
}  # fmt: skip


def model_call(path: str, body: bytes, headers: Mapping[str, str]) -> Iterator[Ask]:
    """A call of bedrock-runtime, which is sent without a client of boto3."""
    if not (found := re.fullmatch(r"/model/([^/]+)/([a-z-]+)", path)):
        return
    model, action = unquote(found[1]), f"bedrock:{_HTTP[found[2]]}"
    if model.startswith("arn:"):
        yield Ask(action, model)
    elif _PROFILE.match(model):
        yield Ask(action, f"{_BEDROCK}:123456789012:inference-profile/{model}")
        # The profile leads to models in other regions, and they need to be named as well.
        yield Ask(action, f"arn:aws:bedrock:us-west-2::foundation-model/{model.partition('.')[2]}")
        if model.startswith("global."):
            yield Ask(action, f"arn:aws:bedrock:::foundation-model/{model.partition('.')[2]}")
    else:
        yield Ask(action, f"{_BEDROCK}::foundation-model/{model}")
    guardrail = (json.loads(body or b"{}").get("guardrailConfig") or {}).get("guardrailIdentifier")
    guardrail = guardrail or {k.lower(): v for k, v in headers.items()}.get("x-amzn-bedrock-guardrailidentifier")
    if guardrail:
        own = guardrail.startswith("arn:")
        yield Ask("bedrock:ApplyGuardrail", guardrail if own else f"{_BEDROCK}:123456789012:guardrail/{guardrail}")
        # Any may be one with cross-Region inference, as all of the Standard tier are: then its profile is asked for as
        # well, in the own region and in those that it leads to (Bedrock guide, "Permissions for using cross-Region
        # inference with Amazon Bedrock Guardrails").
        for region in ("us-east-1", "us-east-2", "us-west-2"):
            profile = f"arn:aws:bedrock:{region}:123456789012:guardrail-profile/us.guardrail.v1:0"
            yield Ask("bedrock:ApplyGuardrail", profile)


def variable(name: str, otherwise: str = "") -> str:
    """The environment variable with a table, a bucket, a queue, a role or a file."""
    found = [key for key, text in os.environ.items() if text == name and key != "PYTEST_CURRENT_TEST"]
    return found[0] if found else otherwise or name


def under(uri: str) -> str:
    """The same by the variable that tells where in S3 something of others lies; `CUR_URI:bucket` for its bucket."""
    for key, text in os.environ.items():
        if text.startswith("s3://") and f"{uri}/".startswith(f"{text}/"):
            return key + uri.removeprefix(text)
        if text.startswith(f"{uri}/") and "/" not in uri.removeprefix("s3://"):
            return f"{key}:bucket"
    return ""


# ----------------------------------------------------------------------------------------------------------- the record
def caller() -> str | None:
    """The folder of the function whose code is on the stack."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith(FUNCTIONS):
            return str(Path(frame.f_code.co_filename).parent.relative_to(ROOT))
        frame = frame.f_back  # type: ignore[assignment]
    return None


class Recorder:
    """Records every call of the functions' code in this process; a pytest plugin for both sides of xdist."""

    def __init__(self) -> None:
        self.calls: set[tuple[str, Ask]] = set()
        self.ran: set[str] = set()
        self.whole = True
        self.faults: list[str] = []
        self.summary = ""

    def note(self, asks: Callable[[], Iterator[Ask]]) -> None:
        if function := caller():
            self.calls |= {(function, ask) for ask in asks()}

    def install(self) -> None:
        """Into every client made from now on, before what stands in for AWS, and below the clients."""
        ours: list[Any] = [
            ("before-parameter-build", self._built),
            ("before-send.dynamodb", self._sent),
        ]
        handlers.BUILTIN_HANDLERS[:0] = ours
        sends = HTTPConnectionPool.urlopen
        recorder = self

        def urlopen(
            pool: Any, method: str, url: str, body: Any = None, headers: Any = None, *rest: Any, **more: Any
        ) -> Any:
            recorder.note(lambda: model_call(url.partition("?")[0], body, headers or {}))
            return sends(pool, method, url, body, headers, *rest, **more)

        HTTPConnectionPool.urlopen = urlopen  # type: ignore[assignment,method-assign]

    def _built(self, params: Mapping[str, Any], event_name: str, **_: Any) -> None:
        service, operation = event_name.split(".")[1:]
        if service == "dynamodb":
            return  # it is written to without a client too, and both ways lead through before-send
        if service in SERVICES:
            self.note(lambda: SERVICES[service](operation, params))
        else:
            self.note(lambda: iter([Ask(f"{service}:{operation}", "?")]))

    def _sent(self, request: Any, event_name: str, **_: Any) -> None:
        self.note(lambda: dynamodb(event_name.rpartition(".")[2], json.loads(request.body)))

    # ------------------------------------------------------------------------------------------------ pytest's hooks
    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        told = getattr(node, "workeroutput", {}).get(CALLS)
        if told is None:
            self.whole = False  # it crashed, and what it saw is lost
        self.calls |= {(function, _read(ask)) for function, ask in told or ()}

    def pytest_deselected(self) -> None:
        self.whole = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.ran.add(report.nodeid.partition("::")[0])
        self.whole = self.whole and not report.failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if (output := getattr(session.config, "workeroutput", None)) is not None:
            output[CALLS] = [(function, _written(ask)) for function, ask in self.calls]
            return
        there = {str(path.relative_to(ROOT)) for folder in FOLDERS for path in ROOT.glob(f"{folder}/test_*.py")}
        chosen = session.config.option.keyword or any("::" in part for part in session.config.args)
        whole = self.whole and there <= self.ran and not chosen
        self.faults = sorted(faults(load(ROOT / "template.yaml"), self.calls, whole=whole))
        if self.faults:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self.calls:
            callers = len({function for function, _ in self.calls})
            grants = "and the grants with them" if whole else f"not the grants with them: that takes all of {FOLDERS}"
            self.summary = f"{len(self.calls)} kinds of calls of AWS by {callers} functions held against their roles, "
            self.summary += grants

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.summary:
            terminalreporter.section("roles and recorded calls")
            terminalreporter.line(self.summary)
            for fault in self.faults:
                terminalreporter.line(fault, red=True)


def _written(ask: Ask) -> list[Any]:
    return [ask.action, ask.resource, [[key, list(values)] for key, values in ask.context]]


def _read(said: list[Any]) -> Ask:
    action, resource, context = said
    return Ask(action, resource, tuple((key, tuple(values)) for key, values in context))


# ------------------------------------------------------------------------------------------------------------ the verdict
def faults(template: Mapping[str, Any], calls: set[tuple[str, Ask]], *, whole: bool) -> Iterator[str]:
    """Calls without a grant; and unused grants, if `whole` means that all tests ran."""
    held = of_functions(template)
    unused: set[tuple[str, Grant]] = set()
    folders = {name: function.code.rstrip("/") for name, function in functions(template).items()}
    for stranger in {folder for folder, _ in calls} - set(folders.values()):
        yield f"{stranger} calls AWS, and is the CodeUri of no function in template.yaml"
    for name, function in functions(template).items():
        made = [_of_template(ask, function) for folder, ask in calls if folder == folders[name]]
        for ask in made:
            on_purpose = any(ask.action == action and ask.resource.endswith(end) for action, end in ON_PURPOSE)
            if not on_purpose and not any(_allows(grant, ask) for grant in held[name]):
                where = f"{ask.resource} {dict(ask.context) or ''}".strip()
                yield f"{name} calls {ask.action} on {where}, which its role does not allow: add it to its Policies"
        unused |= {(name, grant) for grant in held[name] if not any(_allows(grant, ask) for ask in made)}
    if not whole:
        return
    for name, grant in unused:
        if not any(entry.explains(name, grant) for entry in UNSEEN):
            yield (
                f"{name} may {grant}, and no test made it do so: test what needs it in one of {FOLDERS}, or take it "
                "out of its Policies, or say in UNSEEN of tests/recorded.py why neither can be"
            )
    for entry in UNSEEN:
        if not any(entry.explains(name, grant) for name, grant in unused):
            yield f"UNSEEN explains {entry.function}: {entry.action} on {entry.resource}, which is gone or was seen"


def _allows(grant: Grant, ask: Ask) -> bool:
    return grant.covers(ask) or (ask.resource == "?" and ask.action == grant.action)


def _of_template(ask: Ask, function: DeclaredFunction) -> Ask:
    """The same with the logical id in place of the variable that tells it."""
    found = re.match(r"(\w+)(.*)", ask.resource)
    said = function.environment.get(found[1]) if found else None
    if not found or not isinstance(said, dict) or "Ref" not in said:
        return ask
    return replace(ask, resource=said["Ref"] + found[2])

"""A failing command prints a sentence with the remedy, never a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
import requests
from botocore.exceptions import ClientError, UnauthorizedSSOTokenError
from moto import mock_aws

from scripts.operate.tenants import output
from scripts.project.command import TO_BE_PUT_RIGHT, WrongUse, run
from scripts.project.template import ROOT, load

MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:backfill-costs"
API = "https://127.0.0.1:1/v1"
REACHING_AWS = {
    "redrive": ["redrive", "list"],
    "redrive jobs": ["redrive", "jobs"],
    "redrive aggregation": ["redrive", "aggregation"],
    "redrive reconciliation": ["redrive", "reconciliation"],
    "redrive failed": ["redrive", "failed"],
    "statements": ["statements", "verify", "s3://some-lake"],
    "a statement": ["statements", "statement", "s3://some-lake", "--month", "2026-10"],
    "backfill": ["backfill", "2026-10-01", "2026-10-31", "--state-machine", MACHINE],
    "tenants": ["tenants", "show", "--url", API, "--region", "us-east-1"],
    "tenants by stack": ["tenants", "show", "--stack", "model-gateway"],
    "a plan": ["tenants", "plan", "-f", "examples/tenants.yaml", "--url", API, "--region", "us-east-1"],
    "an apply": ["tenants", "apply", "-f", "examples/tenants.yaml", "--stack", "model-gateway"],
    "a tenant": ["tenants", "add", "my-team", "--cost-centre", "research", "--table", "tenants"],
    "a tenant by stack": ["tenants", "add", "my-team", "--cost-centre", "research", "--stack", "model-gateway"],
    "a key": ["tenants", "key", "my-team", "--stack", "model-gateway"],
    "a verification": ["verify-deployment", "--stack", "model-gateway"],
}
BESIDE_AWS = {
    "statements of nowhere": (["statements", "verify", "/nonexistent"], 1, "/nonexistent is not a folder"),
    "a statement of nowhere": (["statements", "statement", "/no", "--month", "2026-10"], 1, "/no is not a folder"),
    "a report of nowhere": (["statements", "days", "/nonexistent"], 1, "/nonexistent is not a folder"),
    "no month": (["statements", "statement", "/no", "--month", "11"], 2, "'11' is not a month: write it like 2026-10."),
    "tenants of nowhere": (["tenants", "show"], 2, "name the gateway with --stack or --url"),
    "a file of nowhere": (["tenants", "plan", "-f", "/nonexistent", "--local"], 2, "no local stack has run"),
    "a local stack of nowhere": (["tenants", "show", "--local", "/nonexistent"], 2, "`make dev` starts one"),
    "a tenant of nowhere": (["tenants", "add", "x", "--cost-centre", "y"], 2, "with --stack, or its output"),
    "a key of nowhere": (["tenants", "key", "x"], 2, "with --stack, or its output"),
    "a machine that is none": (["backfill", "2026-10-01", "2026-10-02", "--state-machine", "x"], 2, "BackfillCostsArn"),
    "a day that is none": (["backfill", "2026-10-01", "x"], 2, "'x' is not a day: write it like 2026-10-31."),
    "days backwards": (["backfill", "2026-10-02", "2026-10-01"], 2, "The last day is before the first."),
    "a local backfill": (["backfill", "2026-10-01", "2026-10-01"], 2, "/dev/null/nothing: Not a directory"),
    "prices of nowhere": (["prices", "check", "--overlay", "/nonexistent"], 1, "refused: "),
    "a list of nowhere": (["prices", "diff", "--offer", "https://127.0.0.1:1/index.json"], 1, "refused: "),
    "a file that is no list": (["prices", "refresh", "--offer", "README.md", "--book", "/nonexistent"], 1, "refused: "),
    "no list": (["prices", "diff"], 2, "Name a list with --offer or --litellm."),
    "a factor that is none": (["prices", "diff", "--litellm", "x", "--allow-factor", "0"], 2, "'0' is not a factor"),
    "profiles of nowhere": (["prices", "profiles", "--places", "/nonexistent"], 1, "refused: "),
    "a migration": (["migrate", "/nonexistent"], 1, "/nonexistent: "),
    "an export": (["focus", "export", "--lake", "/nonexistent", "--out", "costs.csv"], 1, "name the folder of a lake"),
    "an export of a kind": (["focus", "export", "--lake", "/nonexistent", "--out", "costs.xls"], 1, "name a .csv or"),
    "a step that is none": (["verify-deployment", "--only", "nothing"], 2, "unknown step nothing: name one of "),
    "a shell that is none": (["completion", "tcsh"], 2, "'tcsh' is not one of 'bash', 'zsh', 'fish'."),
    "the costs": (["costs"], 2, "/dev/null/nothing: Not a directory"),
    "a command that is none": (["tenant"], 2, "gateway: No such command 'tenant'. Did you mean 'tenants'? See: "),
    "no command": (["tenants"], 2, "gateway tenants: Name a command: plan, apply, show, add, key. See: "),
    "an option that is none": (["costs", "--jsn"], 2, "gateway costs: No such option: --jsn"),
    "no file": (["tenants", "plan"], 2, "gateway tenants plan: Missing option '-f' / '--file'. See: "),
}
Answer = tuple[int, str]


def typed(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command from the project's root, with nothing in its environment: no PYTHONPATH either."""
    bare = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true"}
    command = [sys.executable, "-m", "scripts.operate.cli", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=bare | environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("arguments", REACHING_AWS.values(), ids=REACHING_AWS)
def test_without_credentials_and_region_a_command_says_what_is_missing(arguments: list[str]) -> None:
    done = typed(*arguments)
    assert "Traceback" not in done.stderr
    assert any(said in done.stderr for said in ("No AWS region is named", "AWS credentials are missing"))
    assert (done.returncode, len(done.stderr.splitlines()), done.stdout) == (TO_BE_PUT_RIGHT, 1, "")


@pytest.mark.parametrize(("arguments", "code", "said"), BESIDE_AWS.values(), ids=BESIDE_AWS)
def test_what_is_not_there_is_named(arguments: list[str], code: int, said: str) -> None:
    done = typed(*arguments, GATEWAY_DEV_DIR="/dev/null/nothing")
    assert "Traceback" not in done.stderr
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert (len(done.stderr.splitlines()), done.stdout) == (1, "")


def test_views_need_no_python_path() -> None:
    command = [sys.executable, "-m", "scripts.analytics.views", "--check"]
    done = subprocess.run(command, cwd=ROOT, env={}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


class StandIn:
    """An AWS with one response for everything; it records its requests."""

    def __init__(self, answer: Callable[[], Answer]):
        self.asked = threading.Event()
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                stand_in.asked.set()
                status, body = answer()
                self.send_response(status)
                kind = "application/x-amz-json-1.0" if body.startswith("{") else "text/xml"
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            do_POST = do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        given = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
        return given | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server.server_port}", "AWS_MAX_ATTEMPTS": "1"}


@pytest.fixture
def aws_that() -> Iterator[Callable[[Callable[[], Answer]], StandIn]]:
    made: list[StandIn] = []

    def make(answer: Callable[[], Answer]) -> StandIn:
        made.append(StandIn(answer))
        return made[-1]

    yield make
    for stand_in in made:
        stand_in.server.shutdown()
        stand_in.server.server_close()


def xml(code: str, message: str) -> str:
    return f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"


REFUSALS = {
    "expired": ("redrive", 403, xml("ExpiredToken", "The security token is expired"), "have expired. Log in again"),
    "unknown": ("redrive", 403, xml("InvalidClientTokenId", "invalid"), "AWS does not recognize these credentials"),
    "denied": ("redrive", 403, xml("AccessDenied", "User x is not authorized"), "may not call DescribeStackResource: User"),
    "no stack": ("redrive", 400, xml("ValidationError", "Stack 'x' does not exist"), "Stack 'x' does not exist. Check the name"),
    "no bucket": ("statements", 404, "<Error><Code>NoSuchBucket</Code><Message>No such</Message></Error>", "no such resource"),
    "no table": ("a tenant", 400, '{"__type": "x#ResourceNotFoundException", "message": "no table"}', "found no such resource"),
    "no machine": ("backfill", 400, '{"__type": "StateMachineDoesNotExist", "message": "none"}', "Check the name, the region"),
    "another": ("redrive", 400, xml("Strange", "What is this?"), "AWS refused DescribeStackResource: Strange: What"),
}  # fmt: skip


@pytest.mark.parametrize(("command", "status", "body", "said"), REFUSALS.values(), ids=REFUSALS)
def test_what_aws_refuses_is_a_sentence(
    aws_that: Callable[[Callable[[], Answer]], StandIn], command: str, status: int, body: str, said: str
) -> None:
    done = typed(*REACHING_AWS[command], **aws_that(lambda: (status, body)).environment)
    assert "Traceback" not in done.stderr
    assert (done.returncode, said in done.stderr) == (TO_BE_PUT_RIGHT, True), done.stderr


def test_an_aws_that_does_not_answer_is_named_with_its_address(
    aws_that: Callable[[Callable[[], Answer]], StandIn],
) -> None:
    nobody = aws_that(lambda: (200, "")).environment | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    done = typed(*REACHING_AWS["redrive"], **nobody)
    assert (done.returncode, "Traceback" in done.stderr) == (TO_BE_PUT_RIGHT, False)
    assert 'AWS does not respond: Could not connect to the endpoint URL: "http://127.0.0.1:1/"' in done.stderr
    done = typed(*REACHING_AWS["tenants"], **nobody)
    assert (done.returncode, "Traceback" in done.stderr) == (TO_BE_PUT_RIGHT, False)
    assert f"The gateway at {API}" in done.stderr


def test_tenants_finds_what_it_needs_by_the_gateways_stack() -> None:
    outputs = {"Tenants": {"Value": "t-1", "Export": {"Name": "x"}}, "TenantsTableName": {"Value": "tenants-1"}}
    body = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}, "Outputs": outputs}
    with mock_aws():
        boto3.client("cloudformation").create_stack(StackName="unit-a", TemplateBody=json.dumps(body))
        assert output("unit-a", "TenantsTableName") == "tenants-1"
        with pytest.raises(WrongUse, match="unit-a has no output ApiUrl"):
            output("unit-a", "ApiUrl")
    declared = load(ROOT / "template.yaml")["Outputs"]
    assert {"TenantsTableName", "ApiUrl"} <= declared.keys()


def test_control_c_ends_a_command_quietly(aws_that: Callable[[Callable[[], Answer]], StandIn]) -> None:
    over = threading.Event()

    def hang() -> Answer:
        over.wait(30)
        return 500, ""

    stand_in = aws_that(hang)
    command = [sys.executable, "-m", "scripts.operate.cli", "redrive", "list"]
    environment = {"PATH": os.environ["PATH"], "AWS_EC2_METADATA_DISABLED": "true"} | stand_in.environment
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as running:
        assert stand_in.asked.wait(60)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)
    over.set()
    assert (running.returncode, said.strip()) == (130, "stopped")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UnauthorizedSSOTokenError(), "Log in again: `aws sso login`"),
        (requests.exceptions.InvalidURL("no host"), "The request failed: no host"),
        (ClientError({"Error": {"Code": "ThrottlingException"}}, "ListExecutions"), "Wait a minute, then retry"),
    ],
)
def test_other_refusals_say_what_to_do(error: Exception, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        raise error

    assert run(main) == TO_BE_PUT_RIGHT
    assert said in capsys.readouterr().err


def test_a_mistake_of_the_program_keeps_its_traceback() -> None:
    def main() -> int:
        raise KeyError("nobody thought of this")

    with pytest.raises(KeyError):
        run(main)

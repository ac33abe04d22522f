"""Proves that `sam local` serves the gateway: `make sam-local-check`, which needs a Docker engine.

It uses the local base image of Lambda's Python, pulls it, or builds a stand-in (scripts/deploy/sam_local/image.py).
Then the plain SAM CLI runs with samconfig.toml: `sam local start-api` gets calls as tenants make them, and
`sam local invoke` gets every event of events/. The embedded AWS and the models' stand-in serve the functions. Exit code
0 means that everything holds, or that Docker is missing; the last line says which.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from scripts.deploy.events import REFUSED, Case, cases, folder_of
from scripts.deploy.ministack.cloud import free_ports
from scripts.deploy.sam_local import image as sam_local_image
from scripts.deploy.sam_local import overlay as sam_local_overlay
from scripts.deploy.sam_local import serve as sam_local
from scripts.dev.lambda_runtime.sqs_events import sqs_event
from scripts.dev.stack import LocalStack, StackError
from scripts.project import sam
from scripts.project.template import ROOT, functions, load

RUN = ROOT / ".aws-sam/local/run"
PORT_VARIABLE = "SAM_LOCAL_PORT"
START = 120.0
PATIENCE = 120.0
AT_ONCE = 3
TEXT, EMBEDDING, IMAGE = (
    "anthropic.claude-3-haiku-20240307-v1:0",
    "amazon.titan-embed-text-v1",
    "amazon.titan-image-generator-v1",
)
CONTAINERS = ("--filter", "label=sam.cli.container.type=lambda")
NOT_RUN = "sam-local-check did not run: no Docker engine responds (`docker info` fails). Nothing was proven."

Json = Any


class Broken(Exception):
    """A claim that had to hold does not."""


def hold(truth: bool, sentence: str) -> None:
    if not truth:
        raise Broken(sentence)


@dataclass
class Table:
    """The attempted checks and their results, printed line by line."""

    failed: list[str] = field(default_factory=list)

    def row(self, what: str, check: Callable[[], str]) -> None:
        begun = time.monotonic()
        try:
            said, mark = check(), "ok"
        except (Broken, OSError, ValueError, LookupError, TypeError) as error:
            said, mark = f"{type(error).__name__}: {error}", "FAILED"
            self.failed.append(what)
        print(f"{mark:7}{time.monotonic() - begun:6.1f} s  {what:58} {said[:600]}", flush=True)


# ------------------------------------------------------------------------------------------------------------ processes
def docker_runs() -> bool:
    return shutil.which("docker") is not None and sam_local_image.docker("info").returncode == 0


def sweep_containers(known: set[str]) -> None:
    """Remove the warm containers that SAM CLI leaves behind, but only those started during this run."""
    for container in containers() - known:
        sam_local_image.docker("rm", "--force", container)


def containers() -> set[str]:
    return set(sam_local_image.docker("ps", "--all", "--quiet", *CONTAINERS).stdout.split())


@contextmanager
def start_api(port: int) -> Iterator[str]:
    """`sam local start-api` with samconfig.toml, until the end of the `with`."""
    log = RUN / "start-api.log"
    python = sam.find_python() or Path(sys.executable)
    with sam.environment(python, "local") as environment, log.open("wb") as output:
        command = [sys.executable, "-m", "samcli", "local", "start-api", "--port", str(port)]
        process = subprocess.Popen(command, cwd=ROOT, env=dict(environment), stdout=output, stderr=output)
        try:
            wait_for(lambda: b"Running on" in log.read_bytes(), process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            raise Broken(f"sam local start-api did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)


def invoke(logical_id: str, sent: Json) -> Json:
    """Run `sam local invoke`; returns the function's response."""
    path = RUN / f"{uuid.uuid4()}.json"
    path.write_text(json.dumps(sent))
    python = sam.find_python() or Path(sys.executable)
    with sam.environment(python, "local") as environment:
        command = [sys.executable, "-m", "samcli", "local", "invoke", logical_id, "-e", str(path)]
        done = subprocess.run(command, cwd=ROOT, env=dict(environment), capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    hold(bool(lines), f"sam local invoke prints nothing:\n{done.stderr[-1500:]}")
    return json.loads(lines[-1])


# -------------------------------------------------------------------------------------------------------------- calling
@dataclass(frozen=True)
class Api:
    """`sam local start-api`, for one key."""

    url: str
    key: str

    def call(self, path: str, body: Json = None, **headers: str) -> tuple[int, Any]:
        sent = {"x-api-key": self.key, "content-type": "application/json", "accept": "*/*"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, content, sent)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                status, answer = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, answer = error.code, error.read()
        try:
            return status, json.loads(answer)
        except ValueError:
            return status, answer

    def good(self, path: str, body: Json = None, **headers: str) -> Any:
        status, answer = self.call(path, body, **headers)
        hold(status == 200, f"{status} {answer}")
        return answer

    def invoke(self, inputs: Json, model_id: str, parameters: Json = None, **headers: str) -> Any:
        body = {"inputs": inputs} | ({"parameters": parameters} if parameters else {})
        return self.good(f"/invoke_model?model_id={model_id}", body, **headers)


def refused(api: Api, path: str, body: Json, status: int, code: str, **headers: str) -> str:
    got, problem = api.call(path, body, **headers)
    hold(got == status and problem.get("code") == code, f"{got} {problem}")
    return f"{got} {code}"


def submit(api: Api, stack: LocalStack) -> str:
    """Submit a call, receive it from the queue, run the worker in a container, and poll."""
    (submitted,) = api.invoke("What is a queue?", TEXT, streaming="true")
    request_id = submitted["request_id"]
    poll = f"/invoke_model?requestId={request_id}"
    hold("generated_text" not in api.good(poll, {})[0], "it has a result before its worker ran")
    queue, sqs = stack.info["queues"]["JobsQueue"], stack.client("sqs")
    while True:
        received = sqs.receive_message(QueueUrl=queue, AttributeNames=["All"], WaitTimeSeconds=2).get("Messages")
        hold(bool(received), "the queue has no message for it")
        if json.loads(received[0]["Body"])["request_id"] == request_id:
            break
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    worked = invoke("CompleteInvocationFunction", sqs_event(received, arn, sam_local_overlay.REGION))
    hold(worked == {"batchItemFailures": []}, f"the worker returns {worked}")
    return str(api.good(poll, {})[0]["generated_text"])


def call_everything(table: Table, api: Api, stack: LocalStack) -> None:
    chat = [{"role": "user", "content": "What is a ledger?"}]
    blocks = [{"role": "user", "content": [{"text": "What is a ledger?"}]}]
    said = f"/invoke_model?model_id={TEXT}"
    image = {"taskType": "TEXT_IMAGE", "imageGenerationConfig": {"numberOfImages": 1, "width": 512, "height": 512}}
    bedrock = f"/model/{TEXT}"
    stranger = Api(api.url, "mgw_" + "0" * 46)
    rows: dict[str, Callable[[], str]] = {
        "GET /list_foundation_models": lambda: (
            f"{len(api.good('/list_foundation_models')[0]['modelSummaries'])} models"
        ),
        "POST /invoke_model: text": lambda: api.invoke("What is a ledger?", TEXT)[0]["generated_text"],
        "POST /invoke_model: embeddings": lambda: (
            f"{len(api.invoke('What is a ledger?', EMBEDDING, type='embeddings')[0]['embedding'])} numbers"
        ),
        "POST /invoke_model: image": lambda: (
            f"{len(api.invoke('A ledger', IMAGE, image, type='image')[0]['images'])} image"
        ),
        "POST /invoke_model: Converse": lambda: api.invoke(blocks, TEXT, {"maxTokens": 50}, messages_api="true")[0][
            "generated_text"
        ],
        "POST /invoke_model: submitted, run, polled": lambda: submit(api, stack),
        "POST /stream_model": lambda: str(api.good(f"/stream_model?model_id={TEXT}", {"inputs": "hi"}))[:90],
        "POST /v1/chat/completions": lambda: api.good("/v1/chat/completions", {"model": TEXT, "messages": chat})[
            "choices"
        ][0]["message"]["content"],
        "POST /v1/chat/completions, stream": lambda: streamed(
            api, "/v1/chat/completions", {"model": TEXT, "messages": chat, "stream": True}, b"data: [DONE]"
        ),
        "POST /v1/responses": lambda: api.good("/v1/responses", {"model": TEXT, "input": "hi"})["status"],
        "POST /v1/messages": lambda: api.good("/v1/messages", {"model": TEXT, "messages": chat, "max_tokens": 50})[
            "stop_reason"
        ],
        "GET /v1/models": lambda: f"{len(api.good('/v1/models')['data'])} models",
        "POST /model/{modelId}/converse": lambda: api.good(f"{bedrock}/converse", {"messages": blocks})["output"][
            "message"
        ]["content"][0]["text"],
        "POST /model/{modelId}/converse-stream": lambda: streamed(
            api, f"{bedrock}/converse-stream", {"messages": blocks}, b"metadata"
        ),
        "GET /usage": lambda: metered(api.good("/usage?group_by=model")),
        "GET /budget": lambda: api.good("/budget")["month"],
        "POST /quote": lambda: str(api.good(f"/quote?model_id={TEXT}", {"inputs": "hi"}))[:90],
        "GET /admin/tenants (SAM CLI checks no signature)": lambda: (
            f"{len(api.good('/admin/tenants')['tenants'])} tenants"
        ),
        "a wrong key": lambda: refused(stranger, said, {"inputs": "hi"}, 401, "unauthorized"),
        "a wrong key, /v1": lambda: refused(
            stranger, "/v1/chat/completions", {"model": TEXT, "messages": chat}, 401, "unauthorized"
        ),
        "another tenant's cost centre": lambda: refused(
            api, said, {"inputs": "hi"}, 403, "cost_centre_not_owned", team_id="marketing"
        ),
    }
    for what, check in rows.items():
        table.row(what, check)


def streamed(api: Api, path: str, body: Json, last: bytes) -> str:
    answer = api.good(path, body)
    hold(isinstance(answer, bytes) and last in answer, f"incomplete stream: {answer!r}")
    return f"{len(answer)} bytes, in one piece"


def metered(report: Json) -> str:
    totals = report["totals"]
    hold(totals["invocations"] > 0 and not totals["open_invocations"], f"{totals}")
    return f"{totals['invocations']} invocations, {totals['cost']} USD"


# --------------------------------------------------------------------------------------------------------------- events
def invoke_everything(table: Table) -> None:
    """Invoke every event: those of one function in order, several functions in parallel."""
    by_folder = {folder_of(function): name for name, function in functions(load(ROOT / "template.yaml")).items()}
    found: dict[str, list[Case]] = {}
    for case in cases():
        found.setdefault(case.folder, []).append(case)

    def of_function(folder: str) -> None:
        for case in found[folder]:
            table.row(f"invoke -e events/{case}.json", partial(answered, by_folder[folder], case))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(of_function, found))


def answered(logical_id: str, case: Case) -> str:
    sent = case.event
    with ExitStack() as during:
        if "ResponseURL" in sent:
            told = during.enter_context(stack_that_listens())
            sent |= {"ResponseURL": f"http://{sam_local_overlay.HOST}:{told.server_port}/answer"}
        answer = invoke(logical_id, sent)
    if str(case) in REFUSED:
        hold(answer.get("errorMessage") == "Unauthorized", f"{answer}")
    elif "httpMethod" in sent and "methodArn" not in sent:
        hold(answer["statusCode"] < 300, f"{answer['statusCode']} {answer.get('body')}")
        return f"{answer['statusCode']} {answer.get('body') or ''}"[:90]
    else:
        hold("errorMessage" not in answer and answer.get("Status", "SUCCESS") == "SUCCESS", f"{answer}")
    return json.dumps(answer)[:90]


@contextmanager
def stack_that_listens() -> Iterator[HTTPServer]:
    """The endpoint where a custom resource reports its result to CloudFormation."""

    class Stack(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer((sam_local.bridge(), 0), Stack) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


# ----------------------------------------------------------------------------------------------------------------- all
def prove(table: Table) -> None:
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir(parents=True)
    begun = time.monotonic()
    print(f"base image {sam_local_image.IMAGE}: {sam_local_image.ready(ROOT / '.aws-sam/local/image')}", flush=True)
    hold(sam.run("build") == 0, "sam build failed")
    port = int(os.environ.get(PORT_VARIABLE) or free_ports(1)[0])
    known = containers()
    try:
        # Nothing polls the queue here: its worker has to run in a container too.
        with sam_local.backing_stack(RUN / "stack", GATEWAY_DEV_EVENTS="off") as stack, start_api(port) as url:
            print(f"{time.monotonic() - begun:6.1f} s  image, build, start", flush=True)
            call_everything(table, Api(url, stack.tenants[0]["key"]), stack)
            invoke_everything(table)
    finally:
        sweep_containers(known)
    print(f"{time.monotonic() - begun:6.1f} s  in total", flush=True)


def main() -> int:
    if not docker_runs():
        print(NOT_RUN)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what this run started has to end
    table = Table()
    try:
        prove(table)
    except (Broken, StackError, sam_local_image.NoImage) as error:
        print(error, file=sys.stderr)
        return 1
    if table.failed:
        print(
            f"{len(table.failed)} failed; the log of the API is {(RUN / 'start-api.log').relative_to(ROOT)}",
            file=sys.stderr,
        )
    return 1 if table.failed else 0


if __name__ == "__main__":
    sys.exit(main())

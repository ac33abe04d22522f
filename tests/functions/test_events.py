"""Every event of events/, run through its function, as `sam local invoke -e` would."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from gateway.aws.dynamodb.issuer_register import IssuerRegister
from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.aws.dynamodb.tenant_register import TenantRegister
from gateway.aws.dynamodb.tenants import TenantTable
from gateway.core.settings import settings
from gateway.tenancy.administration import Actor
from gateway.tenancy.budgets import Scope, ScopedBudget, Window
from gateway.tenancy.issuers import Issuer, IssuerAdministration, IssuerId
from gateway.usage.records import TenantId
from scripts.deploy.events import REFUSED, Case, cases, job_table, seed
from scripts.dev.fake_models import FakeModels
from tests.workflow.machine import row

from .conftest import ROOT, context

Load = Callable[[str], Any]
CASES = {str(case): case for case in cases()}
EDGE = ROOT / "scripts/deploy/sam_local/layer/python"
STREAM = ROOT / "functions/stream_model"
STATUS = {"manage_tenants/put_tenant": 201, "manage_tenants/make_key": 201, "manage_tenants/make_decoy": 201,
          "manage_tenants/rotate_key": 201, "manage_tenants/delete_tenant": 204, "manage_tenants/revoke_key": 204,
          "manage_tenants/create_scim_user": 201, "manage_tenants/delete_scim_user": 204, "manage_tenants/delete_user": 204,
          "manage_tenants/make_own_key": 201, "manage_tenants/rotate_own_key": 201, "manage_tenants/revoke_own_key": 204,
          "manage_tenants/delete_issuer": 204}  # fmt: skip
# Of cases whose answer has to say something: what it has, at these keys.
SAYS: dict[str, tuple[Any, ...]] = {
    "authorize_tenant/key": ("context", "tenant_id"),
    "authorize_tenant/bearer": ("context", "tenant_id"),
    "list_models/list": (0, "modelSummaries", 0, "modelId"),
    "invoke_model/text": (0, "generated_text"),
    "invoke_model/converse": (0, "generated_text"),
    "invoke_model/embeddings": (0, "embedding", 0),
    "invoke_model/embeddings_image": (0, "embedding", 0),
    "invoke_model/image": (0, "images", 0),
    "invoke_model/submit": (0, "request_id"),
    "report_usage/usage": ("totals",),
    "report_usage/budget": ("month",),
    "manage_tenants/get_tenant": ("cost_centres", 0),
    "manage_tenants/make_key": ("key",),
    "stream_model/chat_completions": ("choices", 0, "message", "content"),
    "stream_model/responses": ("output", 0, "content", 0, "text"),
    "stream_model/messages": ("content", 0, "text"),
    "stream_model/converse": ("output", "message", "content", 0, "text"),
    "stream_model/embeddings": ("data", 0, "embedding", 0),
    "stream_model/count_message_tokens": ("input_tokens",),
    "stream_model/count_tokens": ("inputTokens",),
    "aggregate_costs/plan_periods/hourly": ("plan", "closed_until"),
    "aggregate_costs/commit_periods/verified": ("watermark",),
}


@pytest.fixture
def seeded(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ROLES", "arn:aws:iam::111122223333:role/model-gateway-InvokeModelFunctionRole")
    told = settings()
    seed(told.tenants_table, job_table(told.results_table, told.usage_table, told.jobs_queue_url, told.payloads_bucket))
    tenants, demo = TenantTable(told.tenants_table), TenantId("demo-research")
    tenant = tenants.tenant(demo)
    assert tenant is not None
    tenants.put_tenant(replace(tenant, budgets=(ScopedBudget(Scope(user="*"), Window.DAY, Decimal(1)),)))
    issuer = Issuer(IssuerId("our-idp"), "https://idp.example.com", ("model-gateway",), ("RS256",), (demo,))
    IssuerAdministration(IssuerRegister(TenantRegister(told.tenants_table))).put(
        issuer, Actor("arn:aws:iam::1:user/ann")
    )


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The edge before a function in SAM CLI's containers."""
    for folder in (EDGE, STREAM):
        monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("LOCAL_HEADERS", "team_id messages_api")
    yield
    for name in ("local_edge", "local_adapter", *(path.stem for path in STREAM.glob("*.py"))):
        sys.modules.pop(name, None)


@pytest.fixture
def run(load: Load, seeded: None, edge: None) -> Callable[[Case], Any]:
    def run(case: Case) -> Any:
        from local_edge import as_received

        sent = as_received(case.event) if "requestContext" in case.event else case.event
        module = load(case.folder)
        return served(module.app, sent) if case.folder == "stream_model" else module.handler(sent, context())

    return run


def served(app: Any, event: dict[str, Any]) -> dict[str, Any]:
    """The response of the function's server to its adapter."""
    from local_adapter import headers, target

    told = {"Lambda-Runtime-Aws-Request-Id": "1", "Lambda-Runtime-Deadline-Ms": "99999999999999"}
    sent = headers(event, told | {"Lambda-Runtime-Invoked-Function-Arn": "arn"})
    path, _, query = target(event).partition("?")
    scope = {
        "type": "http", "method": event["httpMethod"], "path": path, "raw_path": path.encode(),
        "query_string": query.encode(), "headers": [(name.lower().encode(), text.encode()) for name, text in sent.items()],
    }  # fmt: skip
    said: list[Mapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": (event["body"] or "").encode(), "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        said.append(message)

    asyncio.run(app(scope, receive, send))
    return {"statusCode": said[0]["status"], "body": b"".join(message.get("body", b"") for message in said)}


def at(answer: Any, way: tuple[Any, ...]) -> Any:
    for step in way:
        answer = answer[step]
    return answer


OF_STACKS = [name for name, case in CASES.items() if "ResponseURL" in case.event]


@pytest.mark.parametrize("name", [name for name in CASES if name not in (*REFUSED, *OF_STACKS)])
def test_an_event_is_answered(name: str, run: Callable[[Case], Any], models: FakeModels) -> None:
    answer = run(CASES[name])
    if "httpMethod" in CASES[name].event and "methodArn" not in CASES[name].event:
        assert answer["statusCode"] == STATUS.get(name, 200), answer["body"]
        answer = json.loads(answer["body"]) if name in SAYS else answer["body"]
    if name in SAYS:
        assert at(answer, SAYS[name]) not in (None, "", [])


@pytest.mark.parametrize("name", REFUSED)
def test_an_event_of_a_stranger_is_unauthorized(name: str, run: Callable[[Case], Any]) -> None:
    with pytest.raises(Exception, match="^Unauthorized$"):
        run(CASES[name])


def test_a_streamed_event_is_answered_to_its_end(run: Callable[[Case], Any]) -> None:
    assert run(CASES["stream_model/chat_completions_streamed"])["body"].endswith(b"data: [DONE]\n\n")
    for name in ("converse_stream", "invoke_with_response_stream"):
        assert b"application/json" in run(CASES[f"stream_model/{name}"])["body"]  # a frame's content type


def test_the_submitted_call_of_the_queues_event_is_the_one_that_is_polled(run: Callable[[Case], Any]) -> None:
    poll = CASES["invoke_model/poll"]
    assert "request_id" in json.loads(run(poll)["body"])[0]
    assert run(CASES["complete_invocation/sqs"]) == {"batchItemFailures": []}
    assert json.loads(run(poll)["body"])[0]["generated_text"]


def test_the_steps_of_the_costs_hand_on_what_their_events_have(run: Callable[[Case], Any]) -> None:
    DynamoLedger(settings().usage_table).reserve(row("called", 1.5))
    run(CASES["aggregate_costs/find_days/hourly"])
    planned = run(CASES["aggregate_costs/plan_periods/hourly"])
    run(CASES["aggregate_costs/price_usage/file"])
    steps = ("price_usage/file", "verify_costs/file", "commit_periods/verified")
    price, verify, commit = (CASES[f"aggregate_costs/{step}"].event for step in steps)
    for file in (price, verify):
        assert {name: file[name] for name in ("hour", "part", "parts")} in planned["files"]
    assert verify["closedUntil"] == planned["plan"]["closed_until"]
    assert commit["plan"].keys() == planned["plan"].keys()
    assert commit["verified"][0].keys() == run(CASES["aggregate_costs/verify_costs/file"]).keys()


@pytest.mark.parametrize("name", OF_STACKS)
def test_the_event_of_a_stack_is_done_and_told_to_the_stack(name: str, load: Load) -> None:
    told: list[Any] = []

    class Stack(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Stack) as stack:
        Thread(target=stack.serve_forever, daemon=True).start()
        sent = CASES[name].event | {"ResponseURL": f"http://127.0.0.1:{stack.server_port}/"}
        answer = load(CASES[name].folder).handler(sent, context())
        stack.shutdown()
    assert (answer["Status"], told) == ("SUCCESS", [answer])

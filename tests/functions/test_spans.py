"""A call's data for X-Ray's daemon and the log: everything that operators need, and no message content."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scripts.dev.fake_models import FakeModels

from .conftest import context, event
from .test_invoke_model import rows
from .test_stream_model import HAIKU, NOVA, TRACE, ask

TRACE_ID, PARENT = "1-5bef4de7-ad49b0e87f6ef6c87fc2e700", "9a9197af755a6419"
SECRET = "a-word-that-only-the-prompt-has"
ASKED = [{"role": "user", "content": SECRET}]
LISTENING = 0.5  # seconds: more than a datagram takes on one machine


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A UDP socket in place of Lambda's X-Ray daemon."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(LISTENING)
        monkeypatch.setenv("AWS_XRAY_DAEMON_ADDRESS", f"127.0.0.1:{listening.getsockname()[1]}")
        monkeypatch.setenv("_X_AMZN_TRACE_ID", f"{TRACE};Lineage=1:0123abcd:0")
        yield listening


def received(daemon: socket.socket) -> list[dict[str, Any]]:
    """The received subsegments in the daemon's format: a header, a line feed, a document."""
    documents: list[dict[str, Any]] = []
    while True:
        try:
            header, _, document = daemon.recv(65536).partition(b"\n")
        except TimeoutError:
            return documents
        assert json.loads(header) == {"format": "json", "version": 1}
        assert SECRET.encode() not in document
        documents.append(json.loads(document))


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The log lines about model calls."""
    out = capsys.readouterr().out
    assert SECRET not in out
    return [json.loads(line) for line in out.splitlines() if '"model_call"' in line]


def invoke(app: Any, prompt: str, model_id: str = HAIKU) -> tuple[int, Any]:
    sent = event("/invoke_model", {"inputs": prompt}, query={"model_id": model_id}, team_id="ops")
    answer = app.handler(sent, context())
    return answer["statusCode"], json.loads(answer["body"])


def test_a_call_is_a_subsegment_of_its_trace(
    load: Callable[[str], Any], daemon: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    status, body = invoke(load("invoke_model"), SECRET)
    ((span,), (row,), (line,)) = received(daemon), rows(), lines(capsys)
    assert status == 200
    said = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "aws.bedrock",
        "gen_ai.request.model": HAIKU,
        "gen_ai.response.model": HAIKU,
        "gen_ai.response.finish_reasons": ["end_turn"],
        "gen_ai.usage.input_tokens": row.usage.input_tokens,
        "gen_ai.usage.output_tokens": row.usage.output_tokens,
        "gateway.tenant_id": "acme",
        "gateway.cost_centre": "ops",
        "gateway.key_id": "key_acme",
        "gateway.request_id": row.request_id,
        "gateway.attempt": 1,
        "gateway.outcome": "succeeded",
    }
    assert span["metadata"] == {"gen_ai": said}
    assert said.items() <= line.items()
    assert line["xray_trace_id"] == span["trace_id"] == TRACE_ID
    assert (span["parent_id"], span["type"], span["namespace"]) == (PARENT, "subsegment", "remote")
    assert span["name"] == f"chat {HAIKU}"
    assert len(span["id"]) == 16
    assert int(span["id"], 16) >= 0
    assert row.started_at.timestamp() <= span["start_time"] <= span["end_time"]
    assert row.settled_at is not None
    assert span["end_time"] == row.settled_at.timestamp()
    assert span["annotations"] == {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": "aws.bedrock",
        "gen_ai_request_model": HAIKU,
        "gateway_tenant_id": "acme",
        "gateway_cost_centre": "ops",
        "gateway_outcome": "succeeded",
    }
    assert not {"error", "fault", "throttle"} & span.keys()
    answered = body[0]["generated_text"]
    assert answered not in json.dumps([span, line])


@pytest.mark.parametrize(
    ("path", "body", "finish_reasons"),
    [
        (f"/model/{NOVA}/converse-stream", {"messages": [{"role": "user", "content": [{"text": SECRET}]}]}, ["end_turn"]),
        ("/v1/chat/completions", {"model": NOVA, "messages": ASKED, "stream": True}, ["end_turn"]),
        ("/v1/messages", {"model": HAIKU, "messages": ASKED, "max_tokens": 9, "stream": True}, None),
    ],
)  # fmt: skip
def test_a_stream_tells_when_its_first_chunk_came(
    streaming: Any,
    daemon: socket.socket,
    capsys: pytest.CaptureFixture[str],
    path: str,
    body: Any,
    finish_reasons: list[str] | None,
) -> None:
    status, _, _ = ask(streaming, path, body)
    ((span,), (row,), (line,)) = received(daemon), rows(), lines(capsys)
    said = span["metadata"]["gen_ai"]
    assert (status, span["trace_id"], said["gen_ai.request.stream"]) == (200, TRACE_ID, True)
    assert said.get("gen_ai.response.finish_reasons") == finish_reasons
    assert said["gen_ai.usage.input_tokens"] == row.usage.input_tokens > 0
    assert said["gen_ai.usage.output_tokens"] == row.usage.output_tokens > 0
    first, whole = said["gen_ai.response.time_to_first_chunk"], span["end_time"] - span["start_time"]
    assert 0 < first <= whole + 0.001
    assert line["TimeToFirstToken"] == pytest.approx(first * 1000)
    assert line["CallDuration"] == pytest.approx(whole * 1000, abs=1)
    assert line["TimePerOutputToken"] == pytest.approx(
        (line["CallDuration"] - first * 1000) / (row.usage.output_tokens - 1)
    )
    (metrics,) = line["_aws"]["CloudWatchMetrics"]
    assert (metrics["Namespace"], metrics["Dimensions"]) == ("ModelGateway", [["model_id"]])
    assert {metric["Name"] for metric in metrics["Metrics"]} == {
        "CallDuration",
        "TimeToFirstToken",
        "TimePerOutputToken",
    }
    assert line["model_id"] == row.model_id


def test_what_the_cache_gave_and_took_is_in_the_input_as_the_convention_has_it(
    streaming: Any, daemon: socket.socket
) -> None:
    content = [
        {"text": f"{uuid.uuid4()} is a prefix of this test alone " * 50},
        {"cachePoint": {"type": "default"}},
        {"text": SECRET},
    ]
    body = {"messages": [{"role": "user", "content": content}]}
    for _ in range(2):
        ask(streaming, "/model/anthropic.claude-3-5-sonnet-20241022-v2:0/converse", body)
    wrote, read = [span["metadata"]["gen_ai"] for span in received(daemon)]
    cached = wrote["gen_ai.usage.cache_creation.input_tokens"]
    assert cached == read["gen_ai.usage.cache_read.input_tokens"] > 0
    for said in (wrote, read):
        assert said["gen_ai.usage.input_tokens"] > cached
    first, second = sorted(rows(), key=lambda row: row.started_at)
    assert [wrote["gen_ai.usage.input_tokens"], read["gen_ai.usage.input_tokens"]] == [
        first.usage.context_tokens,
        second.usage.context_tokens,
    ]


def test_a_throttled_call_says_so_and_makes_no_metric_of_a_name_that_a_caller_chose(
    load: Callable[[str], Any], daemon: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _ = invoke(load("invoke_model"), f"[[throttle]] {SECRET}")
    ((span,), (line,)) = received(daemon), lines(capsys)
    assert status == 429
    assert (span["error"], span["throttle"], "fault" in span) == (True, True, False)
    assert span["annotations"]["error_type"] == span["metadata"]["gen_ai"]["error.type"] == line["error.type"]
    assert line["gateway.outcome"] == "failed"
    assert "gen_ai.usage.input_tokens" not in line
    assert "_aws" not in line


def test_each_try_is_a_span_of_its_own(
    load: Callable[[str], Any], daemon: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_ROUTES", json.dumps({"fast": {"model": HAIKU, "retries": 0, "fallbacks": [NOVA]}}))
    status, _ = invoke(load("invoke_model"), f"[[throttle_times=1:{PARENT}]] {SECRET}", "fast")
    first, second = [span["metadata"]["gen_ai"] for span in received(daemon)]
    assert status == 200
    assert [first["gateway.attempt"], second["gateway.attempt"]] == [1, 2]
    assert (first["gen_ai.request.model"], second["gen_ai.request.model"]) == (HAIKU, NOVA)
    assert (second["gateway.asked_model"], second["gateway.routing"]) == ("fast", "fallback:model_throttled")


@pytest.mark.parametrize("trace", ["", TRACE.replace("Sampled=1", "Sampled=0"), f"Root={TRACE_ID}", '"}{'])
def test_a_request_that_is_not_traced_sends_nothing_and_still_writes_its_line(
    load: Callable[[str], Any],
    daemon: socket.socket,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    trace: str,
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", trace)
    assert invoke(load("invoke_model"), SECRET)[0] == 200
    assert received(daemon) == []
    assert len(lines(capsys)) == 1


@pytest.mark.parametrize("address", [None, "", "nowhere", "127.0.0.1:1"])
def test_a_daemon_that_is_not_there_fails_no_call(
    load: Callable[[str], Any],
    daemon: socket.socket,
    models: FakeModels,
    monkeypatch: pytest.MonkeyPatch,
    address: str | None,
) -> None:
    if address is None:
        monkeypatch.delenv("AWS_XRAY_DAEMON_ADDRESS")
    else:
        monkeypatch.setenv("AWS_XRAY_DAEMON_ADDRESS", address)
    app = load("invoke_model")
    # The second send is told that nobody listens where the first went.
    assert [invoke(app, SECRET)[0] for _ in range(3)] == [200, 200, 200]
    assert len(models.ledger.after()) == 3
    assert received(daemon) == []

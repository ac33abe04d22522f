"""What is found of an answer that does not fit the spec, and that nothing of the answer is told."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from gateway.core.errors import GatewayError
from gateway.formats.openai.fields import problem
from gateway.web.exchange import Reply, late
from scripts.dev.api_gateway.judging import judge_of
from scripts.dev.http_server import Response
from scripts.project.template import ROOT, load

JUDGE = judge_of(ROOT / "openapi.yaml")
EXAMPLES: dict[str, Any] = load(ROOT / "openapi.yaml")["components"]["examples"]
JSON, EVENTS, FRAMES = "application/json", "text/event-stream; charset=utf-8", "application/vnd.amazon.eventstream"
CHAT, CONVERSE = "/v1/chat/completions", "/model/m/converse-stream"
STREAM = EXAMPLES["ChatCompletionStream"]["value"].encode()
BINARY = base64.b64decode(EXAMPLES["ConverseFrames"]["value"])


def faults(path: str, body: bytes, kind: str = JSON, status: int = 200, *, whole: bool = True) -> list[str]:
    operation = {CHAT: "createChatCompletion", CONVERSE: "converseStream"}.get(path)
    headers = [("Content-Type", kind), ("x-request-id", "r")]
    return JUDGE.faults("POST", path, Response(status, body, headers), operation, whole=whole)


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        (CHAT, STREAM, EVENTS),
        (CHAT, b": ping\n\n" + STREAM, EVENTS),
        (CHAT, b'data: {"error": {"type": "api_error", "message": "m"}}\n\n', EVENTS),
        (CONVERSE, BINARY, FRAMES),
        ("/model/arn:aws:bedrock:us-east-1::foundation-model%2Fm/converse-stream", BINARY, FRAMES),
        ("/nowhere", b"x", JSON),
    ],
)
def test_what_the_spec_says_has_no_fault(path: str, body: bytes, kind: str) -> None:
    assert faults(path, body, kind) == []


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "found"),
    [
        (CHAT, b'{"object": "secret"}', JSON, 200, "InvalidSchemaValue"),
        (CHAT, b"secret", JSON, 200, "MediaTypeDeserializeError"),
        (CHAT, b"{}", JSON, 299, "ResponseNotFound"),
        (CHAT, b"{}", "text/plain", 200, "MediaTypeNotFound"),
        (CHAT, b'data: {"secret": 1}\n\n', EVENTS, 200, "event 0 ChatCompletionChunk $ required"),
        (CHAT, STREAM + b"data: secret\n\n", EVENTS, 200, "is no JSON"),
        (CHAT, STREAM + b"data: {", EVENTS, 200, "the last event has no end"),
        (CHAT, b"secret: 1\n\n", EVENTS, 200, "none of server-sent events"),
        (CONVERSE, BINARY[:-1], FRAMES, 200, "a frame is broken"),
        (CONVERSE, BINARY[:-1] + b"\0", FRAMES, 200, "a frame is broken"),
    ],
)  # fmt: skip
def test_a_fault_is_told_by_its_place_and_not_by_what_stands_there(
    path: str, body: bytes, kind: str, status: int, found: str
) -> None:
    said = "; ".join(faults(path, body, kind, status))
    assert found in said
    assert "secret" not in said


def test_of_a_stream_that_broke_off_what_came_is_judged() -> None:
    assert faults(CHAT, STREAM[:-9], EVENTS, whole=False) == []
    assert faults(CHAT, b'data: {"a": 1}\n\n' + STREAM[:-9], EVENTS, whole=False)
    assert faults(CONVERSE, BINARY[:-9], FRAMES, whole=False) == []


def test_a_problem_that_came_late_is_judged_by_the_status_that_it_names() -> None:
    error = GatewayError("No.", code="model_error", status=424)
    body = json.dumps(problem(error, "r")).encode()
    assert faults(CHAT, b"   " + late(Reply(body, 424))) == []
    assert faults(CHAT, b"   " + late(Reply(b'{"message": "No."}', 424)))

"""Each documented field of each format, sent to the real API, is handled as docs/call/compatibility.md describes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.calls.eventstream import frames
from scripts.dev.fake_models import FakeModels
from scripts.generate.fields import FORMATS, MODELS, PAGE, Format, body_of, outcome, page

from .test_stream_model import ask


@pytest.fixture
def app(streaming: Any) -> Any:
    return streaming


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_a_field_becomes_what_the_page_says(app: Any, models: FakeModels, form: Format) -> None:
    for field in form.fields:
        for model in MODELS:
            expected, said = outcome(form, field, model)
            status, body, headers = ask(app, form.path.format(model=model), body_of(form, field, model))
            if expected == "refused":
                assert (status, said in json.loads(body)["message"]) == (400, True), (field, model, body)
                continue
            assert status == 200, (field, model, body)
            assert headers.get("x-gateway-warning", "") == said, (field, model)
    assert models.ledger.after()


LLAMA = "us.meta.llama3-1-8b-instruct-v1:0"
GET = {"name": "get", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}


def test_a_model_that_streams_no_calls_of_tools_is_asked_for_the_whole_and_told_as_a_stream(
    app: Any, models: FakeModels
) -> None:
    said = [{"role": "user", "content": "[[tool=get]] which city?"}]
    asked = {"model": LLAMA, "messages": said, "tools": [{"type": "function", "function": GET}], "stream": True}
    status, body, _ = ask(app, "/v1/chat/completions", asked | {"stream_options": {"include_usage": True}})
    assert (status, body[-14:]) == (200, b"data: [DONE]\n\n")
    chunks = [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: {")]
    calls = [call for chunk in chunks for each in chunk["choices"] for call in each["delta"].get("tool_calls", ())]
    assert calls[0]["function"]["name"] == "get"
    assert json.loads("".join(call["function"]["arguments"] for call in calls)).keys() == {"city"}
    (served,) = models.ledger.after()
    assert (served["operation"], chunks[-1]["usage"]["completion_tokens"]) == ("Converse", served["output_tokens"])


def test_its_frames_are_those_of_a_stream(app: Any, models: FakeModels) -> None:
    spec = {"toolSpec": {"name": "get", "inputSchema": {"json": GET["parameters"]}}}
    said = [{"role": "user", "content": [{"text": "[[tool=get]] which city?"}]}]
    body = {"messages": said, "toolConfig": {"tools": [spec]}}
    status, sent, headers = ask(app, f"/model/{LLAMA}/converse-stream", body)
    assert (status, headers["content-type"]) == (200, "application/vnd.amazon.eventstream")
    kinds = [each.kind for each in frames([sent])]
    assert kinds == [
        "messageStart",
        "contentBlockStart",
        "contentBlockDelta",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]


def test_the_page_is_made_of_what_the_gateway_does() -> None:
    assert PAGE.read_text(encoding="utf-8") == "\n".join(page()) + "\n", "run `make generate`"

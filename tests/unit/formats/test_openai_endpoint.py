"""A container with OpenAI's own chat format is asked for its counts, and its chunks pass unchanged."""

from __future__ import annotations

import json

from gateway.calls.catalog import Catalog
from gateway.calls.eventstream import Frame
from gateway.calls.streaming import MeteredUsage
from gateway.core.errors import GatewayError
from gateway.formats.openai.endpoint import EndpointChatStream, read_endpoint_chat
from gateway.usage.records import TokenUsage

MODEL = Catalog({"our-llama": "llama-endpoint"}).find("our-llama")
BODY = {"model": "our-llama", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9, "top_k": 3}
DELTA = b'{"choices": [{"index": 0, "delta": {"content": "hi"}}]}'
COUNTS = b'{"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}'


def test_the_body_passes_but_for_the_name_that_is_the_gateways() -> None:
    call = read_endpoint_chat(BODY, MODEL)
    assert (call.api, call.body) == ("InvokeEndpoint", {name: BODY[name] for name in BODY if name != "model"})
    assert (call.model.target, call.max_output_tokens) == ("llama-endpoint", 9)


def test_a_stream_is_always_counted() -> None:
    call = read_endpoint_chat(BODY | {"stream": True}, MODEL)
    assert call.api == "InvokeEndpointWithResponseStream"
    assert call.body["stream_options"] == {"include_usage": True}


def test_counts_are_shown_to_whoever_asked_for_them_only() -> None:
    plain, counting = EndpointChatStream({}), EndpointChatStream({"stream_options": {"include_usage": True}})
    frames = [Frame("line", DELTA), Frame("line", COUNTS)]
    assert [plain.write(frame) for frame in frames] == [b"data: " + DELTA + b"\n\n", b""]
    assert [counting.write(frame) for frame in frames][1] == b"data: " + COUNTS + b"\n\n"
    assert plain.end(MeteredUsage(TokenUsage())) == b"data: [DONE]\n\n"


def test_an_error_is_an_event_that_the_sdk_raises() -> None:
    said = EndpointChatStream({}).error(GatewayError("it broke", code="model_error", status=424))
    assert json.loads(said.removeprefix(b"data: "))["error"]["code"] == "model_error"

"""A response without readable counts is estimated, and costs no more than its hold."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gateway.aws import clients
from gateway.aws.models.bedrock import BedrockRuntime
from gateway.aws.models.sagemaker import SageMakerRuntime
from gateway.calls.call import ModelAnswer, ModelCall
from gateway.calls.catalog import Catalog
from gateway.calls.streaming import UsageCollector
from gateway.core.errors import UpstreamError
from gateway.formats.bedrock import read_converse
from gateway.formats.openai.endpoint import read_endpoint_chat

HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
CATALOG = Catalog({"ours": "endpoint"})
PICTURE = "iVBORw0KGgo" + "A" * 400_000
Answer = Callable[[Any], None]


@pytest.fixture
def answer(aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answer]:
    """Set both services' response from now on: bytes, or JSON."""
    said: list[bytes] = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", str(len(said[-1])))
            self.end_headers()
            self.wfile.write(said[-1])

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for service in ("BEDROCK_RUNTIME", "SAGEMAKER_RUNTIME"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", f"http://127.0.0.1:{server.server_port}")
    clients.client.cache_clear()
    yield lambda body: said.append(body if isinstance(body, bytes) else json.dumps(body).encode())
    clients.client.cache_clear()
    server.shutdown()
    server.server_close()


def converse(*content: Any) -> ModelCall:
    body = {"messages": [{"role": "user", "content": [{"text": "hi"}, *content]}], "inferenceConfig": {"maxTokens": 3}}
    return read_converse(CATALOG.find(HAIKU), body, streaming=False)


def chat(*content: Any, **more: Any) -> ModelCall:
    said = [{"role": "user", "content": [{"type": "text", "text": "hi"}, *content]}]
    return read_endpoint_chat({"messages": said, "max_tokens": 3, **more}, CATALOG.find("ours"))


def ask(call: ModelCall) -> ModelAnswer:
    service = SageMakerRuntime(60) if call.api.startswith("InvokeEndpoint") else BedrockRuntime(60)
    return service.call(call)


SHOWN = {"image": {"format": "png", "source": {"bytes": PICTURE}}}
LINKED = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PICTURE}}


@pytest.mark.parametrize("call", [converse(), converse(SHOWN), chat(), chat(LINKED)])
def test_an_estimate_is_never_more_than_was_held(answer: Answer, call: ModelCall) -> None:
    blocks = [{"text": "some words that are longer"}]
    message = {"role": "assistant", "content": "some words that are longer"}
    answer({"output": {"message": {"content": blocks}}, "choices": [{"index": 0, "message": message}]})
    usage, most = ask(call).usage, call.bound.usage
    assert usage.source.startswith("estimated")
    assert 0 < usage.input_tokens <= most.input_tokens
    assert usage.output_tokens == most.output_tokens == 3


def test_the_estimate_of_a_stream_is_never_more_than_was_held() -> None:
    call = chat(LINKED, stream=True)
    assert UsageCollector(call, {}).usage().input_tokens <= call.bound.usage.input_tokens


def test_an_estimate_has_no_bound_where_nobody_named_one(answer: Answer) -> None:
    answer([{"generated_text": "word " * 10_000}])
    call = ModelCall(CATALOG.find("ours"), "text", "InvokeEndpoint", {"inputs": "hi"})
    assert ask(call).usage.output_tokens == 12_500


@pytest.mark.parametrize("odd", ["1e999", "-1e999", "NaN", "true", "5.5"])
@pytest.mark.parametrize("call", [converse(), chat()])
def test_a_count_that_is_no_number_of_tokens_is_estimated(answer: Answer, call: ModelCall, odd: str) -> None:
    counts = f'{{"inputTokens": {odd}, "outputTokens": 1, "prompt_tokens": {odd}, "completion_tokens": 1}}'
    answer(f'{{"output": {{}}, "choices": [], "usage": {counts}}}'.encode())
    assert ask(call).usage.source.startswith("estimated")


@pytest.mark.parametrize("call", [converse(), chat()])
def test_an_answer_nested_beyond_measure_is_the_services_failure(answer: Answer, call: ModelCall) -> None:
    answer(b"[" * 100_000)
    with pytest.raises(UpstreamError) as unreadable:
        ask(call)
    assert (unreadable.value.status, unreadable.value.ran) == (502, True)


# ------------------------------------------------------------------------------------------------- many answers of one
def details(read: int, made: int, **more: Any) -> Any:
    return {"generated_text": "a", "details": {"input_length": read, "generated_tokens": made, **more}}


def test_every_answer_of_a_container_is_counted(answer: Answer) -> None:
    call = ModelCall(CATALOG.find("ours"), "text", "InvokeEndpoint", {"inputs": ["hi", "ho"]})
    answer([details(3, 5), details(4, 7)])
    usage = ask(call).usage
    assert (usage.input_tokens, usage.output_tokens, usage.source) == (7, 12, "provider")
    assert len(json.loads(usage.raw)) == 2
    answer([details(3, 5), {"generated_text": "a"}])  # a part is no count of the whole
    assert ask(call).usage.source.startswith("estimated")


def test_the_answers_that_a_container_made_and_left_out_are_counted(answer: Answer) -> None:
    call = ModelCall(CATALOG.find("ours"), "text", "InvokeEndpoint", {"inputs": "hi", "parameters": {"best_of": 3}})
    answer([details(3, 5, best_of_sequences=[{"generated_tokens": 6}, {"generated_tokens": 7}])])
    assert ask(call).usage.output_tokens == 18

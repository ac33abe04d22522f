"""The model stand-in, called over a real socket by the production SDK."""

import base64
import http.client
import itertools
import json
import struct
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError, HTTPClientError, ResponseStreamingError
from urllib3.exceptions import HTTPError

from scripts.dev.fake_models import FakeModels

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "amazon.nova-lite-v1:0"
METRICS = "amazon-bedrock-invocationMetrics"
PICTURE = base64.b64encode(b"any picture").decode()
CUT = (HTTPError, HTTPClientError, ResponseStreamingError)
_numbers = itertools.count()


class Clients(NamedTuple):
    """A caller's tools: three SDK clients, and the stand-in with its ledger."""

    runtime: Any
    control: Any
    sagemaker: Any
    stand_in: FakeModels

    def served(self, response: Any) -> dict[str, Any]:
        """The ledger's line of a response."""
        request_id = response["ResponseMetadata"]["RequestId"]
        (line,) = [line for line in self.stand_in.ledger.after() if line["request_id"] == request_id]
        return line

    def invoke(self, model_id: str, body: dict[str, Any], **more: Any) -> tuple[Any, dict[str, str], dict[str, Any]]:
        """Body, headers and ledger line of InvokeModel."""
        response = self.runtime.invoke_model(modelId=model_id, body=json.dumps(body), **more)
        return json.loads(response["body"].read()), response["ResponseMetadata"]["HTTPHeaders"], self.served(response)

    def stream(self, model_id: str, body: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Chunks and ledger line of InvokeModelWithResponseStream."""
        response = self.runtime.invoke_model_with_response_stream(modelId=model_id, body=json.dumps(body))
        return [json.loads(event["chunk"]["bytes"]) for event in response["body"]], self.served(response)

    def converse(self, text: str, model_id: str = NOVA, **more: Any) -> Any:
        return self.runtime.converse(modelId=model_id, messages=[user(text)], **more)

    def converse_stream(self, text: str, model_id: str = NOVA, **more: Any) -> Any:
        return self.runtime.converse_stream(modelId=model_id, messages=[user(text)], **more)


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"text": part} if isinstance(part, str) else part for part in content]}


def unique(text: str) -> str:
    return f"{text} {next(_numbers)}"


def connect(stand_in: FakeModels) -> Clients:
    config = Config(retries={"total_max_attempts": 1}, read_timeout=10, max_pool_connections=32)
    known = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "endpoint_url": stand_in.url}
    session = boto3.Session(region_name="eu-west-1")
    names = ("bedrock-runtime", "bedrock", "sagemaker-runtime")
    runtime, control, endpoints = (session.client(name, config=config, **known) for name in names)
    return Clients(runtime, control, endpoints, stand_in)


@pytest.fixture(scope="module")
def clients() -> Iterator[Clients]:
    with FakeModels() as stand_in:
        yield connect(stand_in)


# --- InvokeModel: text ----------------------------------------------------------------------------------------------


class Shape(NamedTuple):
    """A provider's request format, and the place of the text and the counts in its response (None: in headers only)."""

    model_id: str
    body: Callable[[str, int], dict[str, Any]]
    text: Callable[[Any], str]
    counts: Callable[[Any], tuple[int, int]] | None
    stop: Callable[[Any], str]
    stops: tuple[str, str]
    stream_text: Callable[[Any], str | None] | None


def _claude_body(prompt: str, most: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    return {"anthropic_version": "bedrock-2023-05-31", "max_tokens": most, "messages": messages}


def _chat_body(prompt: str, most: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": prompt}], "max_tokens": most}


def _nova_body(prompt: str, most: int) -> dict[str, Any]:
    return {"schemaVersion": "messages-v1", "messages": [user(prompt)], "inferenceConfig": {"max_new_tokens": most}}


def _openai(name: str, prompt: str) -> Shape:
    return Shape(
        name,
        _chat_body,
        lambda body: body["choices"][0]["message"]["content"],
        lambda body: (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]),
        lambda body: body["choices"][0]["finish_reason"],
        ("stop", "length"),
        lambda chunk: chunk["choices"][0]["delta"].get("content"),
    )


SHAPES = {
    "titan": Shape(
        "amazon.titan-text-express-v1",
        lambda prompt, most: {"inputText": prompt, "textGenerationConfig": {"maxTokenCount": most}},
        lambda body: body["results"][0]["outputText"],
        lambda body: (body["inputTextTokenCount"], body["results"][0]["tokenCount"]),
        lambda body: body["results"][0]["completionReason"],
        ("FINISH", "LENGTH"),
        lambda chunk: chunk["outputText"],
    ),
    "claude v2": Shape(
        "anthropic.claude-v2:1",
        lambda prompt, most: {"prompt": f"\n\nHuman: {prompt}\n\nAssistant:", "max_tokens_to_sample": most},
        lambda body: body["completion"],
        None,
        lambda body: body["stop_reason"],
        ("stop_sequence", "max_tokens"),
        lambda chunk: chunk["completion"],
    ),
    "claude messages": Shape(
        CLAUDE,
        _claude_body,
        lambda body: "".join(block["text"] for block in body["content"]),
        lambda body: (body["usage"]["input_tokens"], body["usage"]["output_tokens"]),
        lambda body: body["stop_reason"],
        ("end_turn", "max_tokens"),
        lambda chunk: chunk.get("delta", {}).get("text"),
    ),
    "jurassic": Shape(
        "ai21.j2-mid-v1",
        lambda prompt, most: {"prompt": prompt, "maxTokens": most},
        lambda body: body["completions"][0]["data"]["text"],
        lambda body: (len(body["prompt"]["tokens"]), len(body["completions"][0]["data"]["tokens"])),
        lambda body: body["completions"][0]["finishReason"]["reason"],
        ("endoftext", "length"),
        None,
    ),
    "jamba": _openai("ai21.jamba-1-5-mini-v1:0", "chat"),
    "mistral chat": _openai("mistral.mistral-large-2407-v1:0", "chat"),
    "deepseek": _openai("us.deepseek.r1-v1:0", "chat"),
    "command": Shape(
        "cohere.command-text-v14",
        lambda prompt, most: {"prompt": prompt, "max_tokens": most},
        lambda body: body["generations"][0]["text"],
        None,
        lambda body: body["generations"][0]["finish_reason"],
        ("COMPLETE", "MAX_TOKENS"),
        lambda chunk: chunk.get("text"),
    ),
    "command r": Shape(
        "cohere.command-r-v1:0",
        lambda prompt, most: {"message": prompt, "max_tokens": most},
        lambda body: body["text"],
        None,
        lambda body: body["finish_reason"],
        ("COMPLETE", "MAX_TOKENS"),
        lambda chunk: chunk.get("text"),
    ),
    "llama": Shape(
        "meta.llama3-8b-instruct-v1:0",
        lambda prompt, most: {"prompt": prompt, "max_gen_len": most},
        lambda body: body["generation"],
        lambda body: (body["prompt_token_count"], body["generation_token_count"]),
        lambda body: body["stop_reason"],
        ("stop", "length"),
        lambda chunk: chunk["generation"],
    ),
    "mistral": Shape(
        "mistral.mistral-7b-instruct-v0:2",
        lambda prompt, most: {"prompt": f"<s>[INST] {prompt} [/INST]", "max_tokens": most},
        lambda body: body["outputs"][0]["text"],
        None,
        lambda body: body["outputs"][0]["stop_reason"],
        ("stop", "length"),
        lambda chunk: chunk["outputs"][0]["text"],
    ),
    "nova": Shape(
        NOVA,
        _nova_body,
        lambda body: "".join(block["text"] for block in body["output"]["message"]["content"]),
        lambda body: (body["usage"]["inputTokens"], body["usage"]["outputTokens"]),
        lambda body: body["stopReason"],
        ("end_turn", "max_tokens"),
        lambda chunk: chunk.get("contentBlockDelta", {}).get("delta", {}).get("text"),
    ),
}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


@every_shape
def test_body_headers_and_ledger_tell_the_same_tokens(clients: Clients, shape: Shape) -> None:
    body, headers, line = clients.invoke(shape.model_id, shape.body("How are you?", 500))

    assert shape.text(body)
    assert shape.stop(body) == shape.stops[0]
    counted = (line["input_tokens"], line["output_tokens"])
    assert (
        int(headers["x-amzn-bedrock-input-token-count"]),
        int(headers["x-amzn-bedrock-output-token-count"]),
    ) == counted
    assert int(headers["x-amzn-bedrock-invocation-latency"]) >= 0
    assert shape.counts is None or shape.counts(body) == counted
    assert line["model_id"] == shape.model_id
    assert line["operation"] == "InvokeModel"
    assert line["region"] == "eu-west-1"
    assert line["billed"]
    assert line["completed"]


@every_shape
def test_an_answer_is_never_longer_than_it_may_be(clients: Clients, shape: Shape) -> None:
    body, _, line = clients.invoke(shape.model_id, shape.body("Tell me all. [[tokens_out=90]]", 7))

    assert line["output_tokens"] == 7
    assert len(shape.text(body).encode()) <= 28
    assert shape.stop(body) == shape.stops[1]


@pytest.mark.parametrize("shape", [shape for shape in SHAPES.values() if shape.stream_text], ids=lambda s: s.model_id)
def test_a_stream_says_and_counts_what_a_buffered_answer_does(clients: Clients, shape: Shape) -> None:
    asked = shape.body("Tell me a story.", 500)
    whole, _, once = clients.invoke(shape.model_id, asked)
    chunks, line = clients.stream(shape.model_id, asked)

    assert shape.stream_text
    assert "".join(shape.stream_text(chunk) or "" for chunk in chunks) == shape.text(whole)
    assert [METRICS in chunk for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    metrics = chunks[-1][METRICS]
    assert (metrics["inputTokenCount"], metrics["outputTokenCount"]) == (line["input_tokens"], line["output_tokens"])
    assert {"invocationLatency", "firstByteLatency"} < metrics.keys()
    assert (line["input_tokens"], line["output_tokens"]) == (once["input_tokens"], once["output_tokens"])
    assert line["completed"]


def test_claude_streams_messages_in_the_order_of_its_own_events(clients: Clients) -> None:
    chunks, line = clients.stream(CLAUDE, _claude_body("Think. [[reasoning=6]] [[chunks=2]]", 500))

    assert [chunk["type"] for chunk in chunks] == [
        "message_start",
        *("content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"),
        *("content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop"),
    ]
    assert chunks[2]["delta"]["type"] == "thinking_delta"
    assert chunks[3]["delta"]["type"] == "signature_delta"
    assert chunks[0]["message"]["usage"]["input_tokens"] == line["input_tokens"]
    assert chunks[-2]["usage"]["output_tokens"] == line["output_tokens"]


def test_claude_tells_what_its_cache_read_and_wrote_by_time_to_live(clients: Clients) -> None:
    hour = {
        "type": "text",
        "text": unique("A long rule book. ") * 40,
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
    }
    turn = {"type": "text", "text": "A question.", "cache_control": {"type": "ephemeral"}}
    body = {**_claude_body("", 50), "system": [hour], "messages": [{"role": "user", "content": [turn]}]}

    first, headers, written = clients.invoke(CLAUDE, body)
    again, _, read = clients.invoke(CLAUDE, body)
    chunks, streamed = clients.stream(CLAUDE, body)

    assert written["cache_write_1h_tokens"] > 100
    assert first["usage"]["cache_creation"] == {
        "ephemeral_5m_input_tokens": written["cache_write_5m_tokens"],
        "ephemeral_1h_input_tokens": written["cache_write_1h_tokens"],
    }
    both = written["cache_write_5m_tokens"] + written["cache_write_1h_tokens"]
    assert first["usage"]["cache_creation_input_tokens"] == both
    assert int(headers["x-amzn-bedrock-cache-write-input-token-count"]) == both
    assert int(headers["x-amzn-bedrock-cache-read-input-token-count"]) == 0
    assert again["usage"]["cache_read_input_tokens"] == read["cache_read_tokens"] == both
    assert read["input_tokens"] == again["usage"]["input_tokens"] == 0
    assert chunks[-1][METRICS]["cacheReadInputTokenCount"] == streamed["cache_read_tokens"] == both
    assert chunks[-1][METRICS]["cacheWriteInputTokenCount"] == 0


def test_claude_asks_for_a_tool_in_its_own_words(clients: Clients) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
    body = _claude_body("Weather? [[tool=weather]]", 500) | {"tools": [{"name": "weather", "input_schema": schema}]}

    answer, _, _ = clients.invoke(CLAUDE, body)
    chunks, _ = clients.stream(CLAUDE, body)

    assert answer["stop_reason"] == "tool_use"
    assert answer["content"][-1]["name"] == "weather"
    assert answer["content"][-1]["input"].keys() == {"city", "days"}
    said = "".join(chunk["delta"].get("partial_json", "") for chunk in chunks if chunk["type"] == "content_block_delta")
    assert json.loads(said) == answer["content"][-1]["input"]


@pytest.mark.parametrize(
    ("model_id", "body", "message"),
    [
        ("amazon.titan-text-express-v1", {"prompt": "?"}, "required key"),
        ("anthropic.claude-v2:1", {"prompt": "no turns", "max_tokens_to_sample": 5}, "must start with"),
        (CLAUDE, {"messages": [{"role": "user", "content": "?"}], "max_tokens": 5}, "anthropic_version"),
        (CLAUDE, {"anthropic_version": "x", "max_tokens": 5, "messages": ["?"]}, "Malformed input request"),
        ("meta.llama3-8b-instruct-v1:0", {"prompt": "?", "max_gen_len": "many"}, "not a valid number of tokens"),
        ("amazon.titan-image-generator-v1", {"textToImageParams": {"text": "?"}}, "taskType"),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", _claude_body("?", 5), "on-demand throughput"),
        ("amazon.nothing-v1", {"inputText": "?"}, "The provided model identifier is invalid."),
    ],
)
def test_a_malformed_invocation_is_refused_and_never_billed(
    clients: Clients, model_id: str, body: dict[str, Any], message: str
) -> None:
    with pytest.raises(clients.runtime.exceptions.ValidationException, match=message) as refused:
        clients.invoke(model_id, body)

    line = clients.served(refused.value.response)
    assert (line["status"], line["error_type"], line["billed"]) == (400, "ValidationException", False)


@pytest.mark.parametrize("model_id", ["ai21.j2-mid-v1", "amazon.titan-embed-text-v2:0", "stability.sd3-large-v1:0"])
def test_what_cannot_stream_says_so(clients: Clients, model_id: str) -> None:
    with pytest.raises(clients.runtime.exceptions.ValidationException, match="unsupported for streaming"):
        clients.stream(model_id, {"prompt": "?", "inputText": "?"})


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("custom-model/amazon.titan-text-express-v1:0:8k/abcdef123456", "titan"),
        ("provisioned-model/abcdef123456", "claude v2"),
        ("provisioned-model/abcdef123456", "claude messages"),
        ("imported-model/abcdef123456", "jamba"),
        ("imported-model/abcdef123456", "llama"),
        ("provisioned-model/my-cohere-command", "command"),
        (f"inference-profile/{CLAUDE}", "claude messages"),
        ("application-inference-profile/abcdef123456", "nova"),
    ],
)
def test_an_arn_is_answered_in_the_shape_it_was_asked_in(clients: Clients, name: str, shape: str) -> None:
    arn = f"arn:aws:bedrock:eu-west-1:123456789012:{name}"

    body, _, line = clients.invoke(arn, SHAPES[shape].body("How are you?", 50))

    assert SHAPES[shape].text(body)
    assert line["model_id"] == arn


def test_the_service_tier_is_echoed_and_metadata_kept(clients: Clients) -> None:
    body, headers, line = clients.invoke(
        NOVA, _nova_body("?", 5), serviceTier="flex", requestMetadata='{"tenant": "blue"}'
    )

    assert body["stopReason"] == "max_tokens"
    assert headers["x-amzn-bedrock-service-tier"] == line["service_tier"] == "flex"
    assert line["request_metadata"] == {"tenant": "blue"}


# --- InvokeModel: embeddings and images -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model_id", "body", "size", "images"),
    [
        ("amazon.titan-embed-text-v1", {"inputText": "some words"}, 1536, 0),
        ("amazon.titan-embed-text-v2:0", {"inputText": "some words", "dimensions": 256}, 256, 0),
        ("amazon.titan-embed-image-v1", {"inputText": "some words", "inputImage": PICTURE}, 1024, 1),
    ],
)
def test_titan_embeds_and_counts_its_text(
    clients: Clients, model_id: str, body: dict[str, Any], size: int, images: int
) -> None:
    answer, headers, line = clients.invoke(model_id, body)

    assert len(answer["embedding"]) == size
    assert answer["inputTextTokenCount"] == line["input_tokens"] == 3
    assert headers["x-amzn-bedrock-input-token-count"] == "3"
    assert "x-amzn-bedrock-output-token-count" not in headers
    assert (line["input_images"], line["output_tokens"]) == (images, 0)


def test_cohere_embeds_one_vector_a_text_and_counts_in_the_header_only(clients: Clients) -> None:
    body = {"texts": ["one text", "two texts"], "input_type": "search_document"}

    answer, headers, line = clients.invoke("cohere.embed-english-v3", body)
    typed, _, _ = clients.invoke("cohere.embed-english-v3", body | {"embedding_types": ["float", "int8"]})
    seen, _, looked = clients.invoke("cohere.embed-english-v3", {"images": [PICTURE], "input_type": "image"})

    assert [len(vector) for vector in answer["embeddings"]] == [1024, 1024]
    assert answer["embeddings"][0] != answer["embeddings"][1]
    assert answer["response_type"] == "embeddings_floats"
    assert typed["embeddings"]["float"] == answer["embeddings"]
    assert typed["response_type"] == "embeddings_by_type"
    assert len(typed["embeddings"]["int8"]) == 2
    assert len(seen["embeddings"]) == looked["input_images"] == 1
    assert int(headers["x-amzn-bedrock-input-token-count"]) == line["input_tokens"] == 5
    assert "x-amzn-bedrock-output-token-count" not in headers
    assert not any("oken" in key for key in answer)


def png_size(image: str) -> tuple[int, int]:
    """An image's width and height, after every check that a decoder makes."""
    data = base64.b64decode(image)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, place = {}, 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", data, place + 8 + length)[0] == zlib.crc32(kind + body)
        chunks[kind], place = body, place + 12 + length
    width, height = struct.unpack_from(">II", chunks[b"IHDR"])
    assert len(zlib.decompress(chunks[b"IDAT"])) == ((width + 7) // 8 + 1) * height
    assert b"IEND" in chunks
    return width, height


@pytest.mark.parametrize(
    ("model_id", "config", "count", "size", "image_class"),
    [
        ("amazon.titan-image-generator-v1", {}, 1, (1024, 1024), "larger:standard"),
        ("amazon.titan-image-generator-v2:0", {"width": 512, "height": 512}, 1, (512, 512), "512x512:standard"),
        ("amazon.nova-canvas-v1:0", {"numberOfImages": 3, "quality": "premium"}, 3, (1024, 1024), "larger:premium"),
    ],
)
def test_titan_paints_every_image_asked_for_and_sends_no_token_header(
    clients: Clients, model_id: str, config: dict[str, Any], count: int, size: tuple[int, int], image_class: str
) -> None:
    task = {"taskType": "TEXT_IMAGE", "textToImageParams": {"text": "a tree"}, "imageGenerationConfig": config}

    body, headers, line = clients.invoke(model_id, task)

    assert [png_size(image) for image in body["images"]] == [size] * count
    assert (line["images"], line["image_class"], line["input_tokens"]) == (count, image_class, 0)
    assert not [name for name in headers if name.endswith("token-count")]
    assert "x-amzn-bedrock-invocation-latency" in headers


@pytest.mark.parametrize(
    ("body", "count", "image_class"),
    [
        ({}, 1, "larger:standard"),
        ({"steps": 51, "width": 512, "height": 512}, 1, "512x512:premium"),
        ({"samples": 2, "steps": 50}, 2, "larger:standard"),
    ],
)
def test_stable_diffusion_paints_artifacts_classed_by_size_and_steps(
    clients: Clients, body: dict[str, Any], count: int, image_class: str
) -> None:
    asked = {"text_prompts": [{"text": "a tree"}], **body}

    answer, headers, line = clients.invoke("stability.stable-diffusion-xl-v1", asked)

    assert [artifact["finishReason"] for artifact in answer["artifacts"]] == ["SUCCESS"] * count
    assert all(png_size(artifact["base64"]) for artifact in answer["artifacts"])
    assert (line["images"], line["image_class"]) == (count, image_class)
    assert "x-amzn-bedrock-output-token-count" not in headers


def test_stable_image_answers_images_with_seeds(clients: Clients) -> None:
    answer, _, line = clients.invoke("stability.sd3-5-large-v1:0", {"prompt": "a tree", "aspect_ratio": "16:9"})

    assert png_size(answer["images"][0]) == (1024, 576)
    assert answer["finish_reasons"] == [None]
    assert len(answer["seeds"]) == line["images"] == 1


# --- Converse -------------------------------------------------------------------------------------------------------


def test_converse_counts_text_images_and_documents(clients: Clients) -> None:
    image = {"image": {"format": "png", "source": {"bytes": b"pixels"}}}
    document = {"document": {"format": "txt", "name": "notes", "source": {"bytes": b"x" * 400}}}

    response = clients.runtime.converse(
        modelId=NOVA,
        system=[{"text": "Be kind."}],
        messages=[user("Look.", image, document)],
        inferenceConfig={"maxTokens": 300, "temperature": 0.5, "topP": 0.9},
        additionalModelRequestFields={"anything": {"goes": 1}},
        requestMetadata={"tenant": "blue"},
        serviceTier={"type": "priority"},
    )

    line = clients.served(response)
    usage = response["usage"]
    assert response["stopReason"] == "end_turn"
    assert response["output"]["message"]["content"][0]["text"]
    assert usage["inputTokens"] == line["input_tokens"] == 2 + 2 + 258 + 100
    assert usage["outputTokens"] == line["output_tokens"]
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]
    assert response["serviceTier"] == {"type": "priority"}
    assert (line["service_tier"], line["request_metadata"], line["input_images"]) == ("priority", {"tenant": "blue"}, 1)


def test_converse_writes_a_prefix_to_the_cache_and_reads_it_the_next_time(clients: Clients) -> None:
    asked = {
        "modelId": CLAUDE,
        "system": [{"text": unique("A long rule book. ") * 30}, {"cachePoint": {"type": "default", "ttl": "1h"}}],
        "messages": [user("Chapter one. " * 20, {"cachePoint": {"type": "default"}}, "And a question.")],
    }

    first, again = clients.runtime.converse(**asked), clients.runtime.converse(**asked)
    *_, last = clients.runtime.converse_stream(**asked)["stream"]

    line = clients.served(first)
    cached = line["cache_write_1h_tokens"] + line["cache_write_5m_tokens"]
    assert min(line["cache_write_1h_tokens"], line["cache_write_5m_tokens"]) > 0
    assert first["usage"]["cacheWriteInputTokens"] == cached
    assert first["usage"]["cacheReadInputTokens"] == 0
    assert first["usage"]["cacheDetails"] == [
        {"ttl": "1h", "inputTokens": line["cache_write_1h_tokens"]},
        {"ttl": "5m", "inputTokens": line["cache_write_5m_tokens"]},
    ]
    assert first["usage"]["inputTokens"] == line["input_tokens"] == 4
    assert again["usage"]["cacheReadInputTokens"] == clients.served(again)["cache_read_tokens"] == cached
    assert again["usage"]["cacheWriteInputTokens"] == 0
    assert again["usage"]["totalTokens"] == 4 + cached + again["usage"]["outputTokens"]
    assert last["metadata"]["usage"] == again["usage"]


def test_converse_stream_sends_its_events_in_order_and_usage_last(clients: Clients) -> None:
    whole = clients.converse("Tell me a story. [[chunks=4]]")
    response = clients.converse_stream("Tell me a story. [[chunks=4]]", serviceTier={"type": "flex"})
    events = list(response["stream"])

    assert [next(iter(event)) for event in events] == [
        "messageStart",
        *["contentBlockDelta"] * 4,
        *("contentBlockStop", "messageStop", "metadata"),
    ]
    said = "".join(event["contentBlockDelta"]["delta"]["text"] for event in events[1:5])
    assert said == whole["output"]["message"]["content"][0]["text"]
    metadata, line = events[-1]["metadata"], clients.served(response)
    assert metadata["usage"] == whole["usage"]
    assert metadata["usage"]["outputTokens"] == line["output_tokens"]
    assert metadata["serviceTier"] == {"type": "flex"}
    assert metadata["metrics"]["latencyMs"] >= 0
    assert line["service_tier"] == "flex"


def test_converse_asks_for_a_tool_and_reads_its_result(clients: Clients) -> None:
    schema = {"json": {"type": "object", "properties": {"city": {"type": "string"}}}}
    tools = {"tools": [{"toolSpec": {"name": "weather", "inputSchema": schema}}]}

    response = clients.converse("Weather? [[tool=weather]]", toolConfig=tools)
    events = list(clients.converse_stream("Weather? [[tool=weather]]", toolConfig=tools)["stream"])

    asked = response["output"]["message"]["content"][-1]["toolUse"]
    assert response["stopReason"] == "tool_use"
    assert asked["name"] == "weather"
    starts = [event["contentBlockStart"] for event in events if "contentBlockStart" in event]
    assert [start["start"]["toolUse"]["name"] for start in starts] == ["weather"]
    said = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    assert json.loads("".join(delta["toolUse"]["input"] for delta in said)) == asked["input"]

    result = {"toolResult": {"toolUseId": asked["toolUseId"], "content": [{"json": {"sun": True}}]}}
    turns = [user("Weather?"), {"role": "assistant", "content": [{"toolUse": asked}]}, user(result)]
    assert clients.runtime.converse(modelId=NOVA, messages=turns, toolConfig=tools)["stopReason"] == "end_turn"
    with pytest.raises(clients.runtime.exceptions.ValidationException, match="toolConfig field must be defined"):
        clients.runtime.converse(modelId=NOVA, messages=turns)


def test_a_model_uses_the_tool_for_what_it_is_asked_about(clients: Clients) -> None:
    properties = {"city": {"type": "string"}, "days": {"type": "integer"}}
    schema = {"json": {"type": "object", "properties": properties}}
    tools = {"tools": [{"toolSpec": {"name": name, "inputSchema": schema}} for name in ("get_time", "get_weather")]}

    asked = clients.converse("What is the weather in 'Köln' for 3 days?", toolConfig=tools)["output"]["message"]
    assert asked["content"][-1]["toolUse"]["name"] == "get_weather"
    assert asked["content"][-1]["toolUse"]["input"] == {"city": "Köln", "days": 3}
    assert clients.converse("Tell me a joke.", toolConfig=tools)["stopReason"] == "end_turn"


def test_claude_takes_its_own_tool_choice_in_converse_but_not_twice(clients: Clients) -> None:
    tools = {"tools": [{"toolSpec": {"name": "joke", "inputSchema": {"json": {"type": "object"}}}}]}

    def stop(kind: str, **more: Any) -> str:
        own = {"tool_choice": {"type": kind, **more}}
        answer = clients.converse("Hello.", CLAUDE, toolConfig=tools, additionalModelRequestFields=own)
        return str(answer["stopReason"])

    assert stop("any", disable_parallel_tool_use=True) == stop("tool", name="joke") == "tool_use"
    assert stop("none") == stop("auto") == "end_turn"
    tools["toolChoice"] = {"any": {}}  # type: ignore[assignment]
    with pytest.raises(clients.runtime.exceptions.ValidationException, match="conflicts"):
        stop("any")


def test_an_answer_fits_the_schema_that_it_is_bound_to(clients: Clients) -> None:
    closed = {"type": "object", "additionalProperties": False}
    city = closed | {"properties": {"name": {"type": "string"}, "kind": {"enum": ["big", "small"]}}}
    schema = closed | {
        "properties": {"city": {"$ref": "#/$defs/City"}, "sunny": {"anyOf": [{"type": "boolean"}]}},
    }
    text = json.dumps({**schema, "$defs": {"City": city}})
    form = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": text}}}}

    response = clients.converse("Say 'Bonn'.", CLAUDE, outputConfig=form)
    events = list(clients.converse_stream("Say 'Bonn'.", CLAUDE, outputConfig=form)["stream"])
    body = _claude_body("Say 'Bonn'.", 500) | {"output_config": {"format": {"type": "json_schema", "schema": city}}}
    answer, _, _ = clients.invoke(CLAUDE, body)

    said = response["output"]["message"]["content"][0]["text"]
    assert json.loads(said) == {"city": {"name": "Bonn", "kind": "big"}, "sunny": True}
    deltas = [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]
    assert "".join(deltas) == said
    assert json.loads(answer["content"][0]["text"]) == {"name": "Bonn", "kind": "big"}
    form["textFormat"]["structure"] = {"jsonSchema": {"schema": "no"}}
    with pytest.raises(clients.runtime.exceptions.ValidationException, match="must be a JSON schema"):
        clients.converse("Say.", CLAUDE, outputConfig=form)


def test_converse_thinks_aloud_when_asked_to_and_counts_its_thoughts(clients: Clients) -> None:
    response = clients.converse("Think. [[reasoning=10]] [[tokens_out=30]]")
    events = list(clients.converse_stream("Think. [[reasoning=10]] [[tokens_out=30]]")["stream"])

    thought, text = response["output"]["message"]["content"]
    assert thought["reasoningContent"]["reasoningText"]["signature"]
    assert response["usage"]["outputTokens"] == 30
    assert len(text["text"]) == 20 * 4
    deltas = [event["contentBlockDelta"] for event in events if "contentBlockDelta" in event]
    assert deltas[0]["delta"]["reasoningContent"]["text"] == thought["reasoningContent"]["reasoningText"]["text"]
    assert "signature" in deltas[1]["delta"]["reasoningContent"]
    assert {delta["contentBlockIndex"] for delta in deltas} == {0, 1}


def test_a_stop_sequence_ends_the_answer(clients: Clients) -> None:
    response = clients.converse("Go on.", inferenceConfig={"stopSequences": ["answers"]})

    assert response["stopReason"] == "stop_sequence"
    assert response["output"]["message"]["content"][0]["text"] == f"{NOVA} "
    assert clients.served(response)["output_tokens"] == response["usage"]["outputTokens"]


ASSISTANT = {"role": "assistant", "content": [{"text": "Yes?"}]}


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "must start with a user message"),
        ([ASSISTANT, user("?")], "must start with a user message"),
        ([user("?"), user("??")], "must alternate between user and assistant"),
        ([{"role": "user", "content": []}], "is empty"),
        ([user(" ")], "is blank"),
    ],
)
def test_a_conversation_that_bedrock_refuses_is_refused(clients: Clients, messages: Any, message: str) -> None:
    with pytest.raises(clients.runtime.exceptions.ValidationException, match=message):
        clients.runtime.converse(modelId=NOVA, messages=messages)


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": [{"song": "la"}]}]},
        {"messages": [{"role": "user", "content": "not a list"}]},
        {"messages": [user("?")], "inferenceConfig": {"maxTokens": "many"}},
        {"messages": [user("?")], "serviceTier": {"type": "golden"}},
        {"messages": ["?"]},
        ["not an object"],
    ],
)
def test_fields_of_unknown_kinds_are_refused(clients: Clients, body: Any) -> None:
    status, answer = post(clients.stand_in, f"/model/{NOVA}/converse", body)

    assert status == 400
    assert answer["message"]


def test_a_model_without_chat_cannot_converse(clients: Clients) -> None:
    with pytest.raises(clients.runtime.exceptions.ValidationException, match="doesn't support the model"):
        clients.converse("?", "amazon.titan-embed-text-v2:0")


def post(stand_in: FakeModels, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", stand_in.port, timeout=5)
    connection.request("POST", path, json.dumps(body), headers)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def test_a_bearer_key_and_a_percent_encoded_id_are_accepted(clients: Clients) -> None:
    path = f"/model/{CLAUDE.replace(':', '%3A')}/converse"

    status, answer = post(clients.stand_in, path, {"messages": [user("?")]}, Authorization="Bearer key")

    assert status == 200
    line = clients.stand_in.ledger.after()[-1]
    assert (line["model_id"], line["region"]) == (CLAUDE, None)
    assert answer["usage"]["inputTokens"] == line["input_tokens"]


# --- What a prompt asks of the stand-in -----------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["converse", "converse_stream", "invoke", "invoke_stream"])
@pytest.mark.parametrize(
    ("directive", "status", "error"),
    [
        ("throttle", 429, "ThrottlingException"),
        ("denied", 403, "AccessDeniedException"),
        ("notenabled", 403, "AccessDeniedException"),
        ("noform", 404, "ResourceNotFoundException"),
        ("notfound", 404, "ResourceNotFoundException"),
        ("invalid", 400, "ValidationException"),
        ("quota", 400, "ServiceQuotaExceededException"),
        ("timeout", 408, "ModelTimeoutException"),
        ("modelerror", 424, "ModelErrorException"),
        ("notready", 429, "ModelNotReadyException"),
        ("internal", 500, "InternalServerException"),
        ("unavailable", 503, "ServiceUnavailableException"),
    ],
)
def test_every_error_of_bedrock_can_be_asked_for(
    clients: Clients, operation: str, directive: str, status: int, error: str
) -> None:
    calls: dict[str, Callable[[str], Any]] = {
        "converse": clients.converse,
        "converse_stream": clients.converse_stream,
        "invoke": lambda text: clients.invoke(NOVA, _nova_body(text, 9)),
        "invoke_stream": lambda text: clients.stream(NOVA, _nova_body(text, 9)),
    }

    with pytest.raises(getattr(clients.runtime.exceptions, error)) as raised:
        calls[operation](f"Please fail: [[{directive}]]")

    line = clients.served(raised.value.response)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == line["status"] == status
    assert raised.value.response["Error"]["Code"] == line["error_type"] == error
    assert not line["billed"]
    assert line["input_tokens"] == line["output_tokens"] == 0


def test_the_first_calls_with_a_label_are_throttled_and_the_next_succeeds(clients: Clients) -> None:
    asked = f"Again. [[throttle_times=2:{unique('label')}]]"

    for _ in range(2):
        with pytest.raises(clients.runtime.exceptions.ThrottlingException):
            clients.converse(asked)

    assert clients.converse(asked)["stopReason"] == "end_turn"


def test_a_misspelt_value_of_a_directive_is_refused_rather_than_ignored(clients: Clients) -> None:
    with pytest.raises(clients.runtime.exceptions.ValidationException, match="tokens_out"):
        clients.converse("[[tokens_out=many]]")


def test_tokens_and_deltas_can_be_set_exactly(clients: Clients) -> None:
    response = clients.converse_stream("[[tokens_out=123]] [[chunks=11]]")
    events = list(response["stream"])

    assert sum("contentBlockDelta" in event for event in events) == 11
    assert events[-1]["metadata"]["usage"]["outputTokens"] == clients.served(response)["output_tokens"] == 123


def test_counts_can_be_hidden_from_the_caller_but_not_from_the_ledger(clients: Clients) -> None:
    converse = clients.converse("[[nocount]]")
    *_, last = clients.converse_stream("[[nocount]]")["stream"]
    body, headers, line = clients.invoke(NOVA, _nova_body("[[nocount]]", 90))
    chunks, _ = clients.stream(CLAUDE, _claude_body("[[nocount]]", 90))

    assert "usage" not in converse
    assert "usage" not in last["metadata"]
    assert "usage" not in body
    assert not [name for name in headers if name.endswith("token-count")]
    assert "TokenCount" not in json.dumps(chunks)
    assert "usage" not in json.dumps(chunks)
    assert line["output_tokens"] > 0


def test_counts_can_be_overridden_everywhere_at_once(clients: Clients) -> None:
    wish = (
        '[[usage={"input_tokens": 1000000, "output_tokens": 77, "cache_read_tokens": 5, "cache_write_1h_tokens": 6}]]'
    )

    response = clients.converse(wish)
    _, headers, line = clients.invoke(NOVA, _nova_body(wish, 9))

    assert response["usage"]["inputTokens"] == 1000000
    assert response["usage"]["totalTokens"] == 1000000 + 77 + 5 + 6
    assert headers["x-amzn-bedrock-output-token-count"] == "77"
    assert headers["x-amzn-bedrock-cache-write-input-token-count"] == "6"
    assert (line["input_tokens"], line["cache_read_tokens"], line["cache_write_1h_tokens"]) == (1000000, 5, 6)


def test_a_stream_arrives_while_the_model_still_speaks(clients: Clients) -> None:
    started = time.monotonic()
    events = iter(clients.converse_stream("[[delay=0.05]] [[chunks=4]] [[chunk_delay=0.05]]")["stream"])
    next(events)
    first = time.monotonic() - started
    list(events)

    assert first >= 0.05
    assert time.monotonic() - started >= first + 0.18


def test_an_error_in_the_middle_of_a_stream_bills_what_was_said(clients: Clients) -> None:
    for wish, code in (("streamerror", "modelStreamErrorException"), ("streamthrottle", "throttlingException")):
        response = clients.converse_stream(f"[[chunks=10]] [[tokens_out=100]] [[{wish}=4]]")
        with pytest.raises(EventStreamError, match=code):
            list(response["stream"])
        line = clients.served(response)
        assert (line["status"], line["error_type"], line["completed"], line["billed"]) == (200, code, False, True)
        assert line["output_tokens"] == 30
        assert line["input_tokens"] > 0

    broken = clients.runtime.invoke_model_with_response_stream(
        modelId=CLAUDE, body=json.dumps(_claude_body("[[streamerror=3]]", 9))
    )
    with pytest.raises(EventStreamError, match="modelStreamErrorException"):
        list(broken["body"])


@pytest.mark.parametrize("events", [0, 2, 100])
def test_a_cut_connection_loses_the_answer_but_not_the_bill(clients: Clients, events: int) -> None:
    response = clients.converse_stream(f"[[chunks=5]] [[tokens_out=50]] [[cut={events}]]")
    seen: list[Any] = []

    with pytest.raises(CUT):
        seen.extend(response["stream"])

    line = clients.served(response)
    assert len(seen) == min(events, 9)
    assert (line["output_tokens"], line["completed"], line["billed"]) == (50, False, True)


def test_a_buffered_answer_can_be_lost_after_the_model_ran(clients: Clients) -> None:
    with pytest.raises(CUT):
        clients.converse("[[cut=0]] [[tokens_out=50]]")

    line = clients.stand_in.ledger.after()[-1]
    assert (line["output_tokens"], line["completed"], line["billed"]) == (50, False, True)


def test_a_client_that_hangs_up_is_billed_for_the_whole_answer(clients: Clients) -> None:
    response = clients.converse_stream("[[chunks=50]] [[tokens_out=200]] [[chunk_delay=0.02]]")
    next(iter(response["stream"]))
    response["stream"].close()

    for _ in range(200):
        if lines := [line for line in clients.stand_in.ledger.after() if line["output_tokens"] == 200]:
            break
        time.sleep(0.01)
    assert [(line["completed"], line["billed"]) for line in lines] == [(False, True)]


# --- CountTokens, SageMaker, the catalogue --------------------------------------------------------------------------


def test_tokens_are_counted_as_a_call_would_count_them_and_cost_nothing(clients: Clients) -> None:
    asked = {"messages": [user("How many tokens are these?")], "system": [{"text": "Count."}]}
    ran = clients.runtime.converse(modelId=NOVA, **asked)
    body = _claude_body("How many tokens are these?", 9)
    _, _, invoked = clients.invoke(CLAUDE, body)

    counted = clients.runtime.count_tokens(modelId=NOVA, input={"converse": asked})
    raw = clients.runtime.count_tokens(modelId=CLAUDE, input={"invokeModel": {"body": json.dumps(body)}})

    assert counted["inputTokens"] == ran["usage"]["inputTokens"]
    assert raw["inputTokens"] == invoked["input_tokens"]
    line = clients.served(counted)
    assert (line["operation"], line["billed"]) == ("CountTokens", False)


def sagemaker(clients: Clients, endpoint: str, body: Any, **more: Any) -> tuple[Any, dict[str, Any]]:
    response = clients.sagemaker.invoke_endpoint(EndpointName=endpoint, Body=json.dumps(body), **more)
    return json.loads(response["Body"].read()), clients.served(response)


def test_a_text_endpoint_generates_text(clients: Clients) -> None:
    body = {"inputs": "Hello there", "parameters": {"max_new_tokens": 6}}

    answer, line = sagemaker(clients, "my-llm", body, InferenceComponentName="adapter-1")

    assert len(answer[0]["generated_text"]) == 24
    assert (line["operation"], line["model_id"]) == ("InvokeEndpoint", "my-llm")
    assert (line["input_tokens"], line["output_tokens"]) == (3, 6)
    assert line["inference_component"] == "adapter-1"


def test_a_chat_endpoint_answers_choices_with_usage(clients: Clients) -> None:
    answer, line = sagemaker(clients, "my-llm", _chat_body("Hello there", 6))

    assert answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"] == {"prompt_tokens": line["input_tokens"], "completion_tokens": 6, "total_tokens": 9}


def test_an_embedding_endpoint_embeds(clients: Clients) -> None:
    answer, line = sagemaker(clients, "my-embedder", {"inputs": "Hello there"})
    many, _ = sagemaker(clients, "my-embedder", {"text_inputs": ["one", "two"]})

    assert all(isinstance(value, float) for value in answer["embedding"])
    assert (line["input_tokens"], line["output_tokens"]) == (3, 0)
    assert len(many["embedding"]) == 2


@pytest.mark.parametrize("chat", [False, True])
def test_an_endpoint_streams_lines_that_parts_cut_where_they_like(clients: Clients, chat: bool) -> None:
    body = _chat_body("Tell me.", 40) if chat else {"inputs": "Tell me.", "parameters": {"max_new_tokens": 40}}
    whole, _ = sagemaker(clients, "my-llm", body)

    response = clients.sagemaker.invoke_endpoint_with_response_stream(EndpointName="my-llm", Body=json.dumps(body))
    parts = [event["PayloadPart"]["Bytes"] for event in response["Body"]]

    assert not all(part.endswith(b"\n") for part in parts)
    lines = [json.loads(line) for line in b"".join(parts).splitlines()]
    if chat:
        said = "".join(line["choices"][0]["delta"].get("content", "") for line in lines)
        assert said == whole["choices"][0]["message"]["content"]
        assert lines[-1]["usage"]["completion_tokens"] == clients.served(response)["output_tokens"]
    else:
        said = "".join(line["token"]["text"] for line in lines)
        assert said == whole[0]["generated_text"] == lines[-1]["generated_text"]
        assert lines[-1]["details"]["generated_tokens"] == clients.served(response)["output_tokens"]


@pytest.mark.parametrize(
    ("endpoint", "prompt", "code", "status"),
    [
        ("missing-one", "?", "ValidationError", 400),
        ("my-llm", "[[modelerror]]", "ModelError", 424),
        ("my-llm", "[[throttle]]", "ThrottlingException", 400),
        ("my-llm", "[[unavailable]]", "ServiceUnavailable", 503),
        ("my-llm", "[[internal]]", "InternalFailure", 500),
        ("my-llm", "[[notready]]", "ModelNotReadyException", 429),
        ("my-embedder", "[[invalid]]", "ValidationError", 400),
    ],
)
def test_an_endpoint_fails_in_sagemakers_words(
    clients: Clients, endpoint: str, prompt: str, code: str, status: int
) -> None:
    with pytest.raises(ClientError) as raised:
        sagemaker(clients, endpoint, {"inputs": prompt})

    assert raised.value.response["Error"]["Code"] == code
    assert raised.value.response["Error"]["Message"]
    line = clients.served(raised.value.response)
    assert (line["status"], line["billed"]) == (status, False)


def test_an_endpoints_stream_can_break(clients: Clients) -> None:
    body = json.dumps({"inputs": "[[streamerror=2]]"})
    response = clients.sagemaker.invoke_endpoint_with_response_stream(EndpointName="my-llm", Body=body)

    with pytest.raises(EventStreamError, match="ModelStreamError"):
        list(response["Body"])


def test_the_catalogue_lists_models_as_bedrock_does(clients: Clients) -> None:
    models = clients.control.list_foundation_models()["modelSummaries"]

    assert len({model["modelId"] for model in models}) == len(models) > 60
    assert all(
        {"modelArn", "modelName", "providerName", "inputModalities", "outputModalities", "inferenceTypesSupported"}
        | {"responseStreamingSupported", "customizationsSupported", "modelLifecycle"}
        < model.keys()
        for model in models
    )
    assert {model["modelArn"].split(":")[3] for model in models} == {"eu-west-1"}
    for filters, known in (
        ({"byProvider": "anthropic"}, "anthropic.claude-v2:1"),
        ({"byOutputModality": "EMBEDDING"}, "cohere.embed-english-v3"),
        ({"byInferenceType": "ON_DEMAND", "byOutputModality": "IMAGE"}, "amazon.nova-canvas-v1:0"),
        ({"byCustomizationType": "FINE_TUNING"}, "amazon.titan-text-lite-v1"),
    ):
        found = [model["modelId"] for model in clients.control.list_foundation_models(**filters)["modelSummaries"]]
        assert known in found
        assert len(found) < len(models)

    known = clients.control.get_foundation_model(modelIdentifier="anthropic.claude-v2:1")["modelDetails"]
    assert known in models
    with pytest.raises(clients.control.exceptions.ValidationException):
        clients.control.get_foundation_model(modelIdentifier="amazon.nothing-v1")


def test_inference_profiles_lead_to_their_models(clients: Clients) -> None:
    pages = clients.control.get_paginator("list_inference_profiles").paginate(PaginationConfig={"PageSize": 20})
    profiles = [profile for page in pages for profile in page["inferenceProfileSummaries"]]
    profile = clients.control.get_inference_profile(inferenceProfileIdentifier=CLAUDE)
    own = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abcdef123456"

    assert len({one["inferenceProfileId"] for one in profiles}) == len(profiles) > 40
    assert profile["status"] == "ACTIVE"
    assert all(model["modelArn"].endswith(CLAUDE.removeprefix("us.")) for model in profile["models"])
    assert clients.control.get_inference_profile(inferenceProfileIdentifier=own)["type"] == "APPLICATION"
    with pytest.raises(clients.control.exceptions.ResourceNotFoundException):
        clients.control.get_inference_profile(inferenceProfileIdentifier="us.nothing")


# --- The ledger -----------------------------------------------------------------------------------------------------


def test_the_ledger_is_what_all_clients_saw_when_many_call_at_once(clients: Clients) -> None:
    def call(number: int) -> tuple[str, int, int]:
        text = f"Call {number}. [[tokens_out={number % 17 + 1}]]"
        match number % 5:
            case 0:
                response = clients.converse(text)
                usage = response["usage"]
            case 1:
                response = clients.converse_stream(text)
                *_, last = response["stream"]
                usage = last["metadata"]["usage"]
            case 2:
                response = clients.runtime.invoke_model(modelId=CLAUDE, body=json.dumps(_claude_body(text, 99)))
                body = json.loads(response["body"].read())["usage"]
                usage = {"inputTokens": body["input_tokens"], "outputTokens": body["output_tokens"]}
            case 3:
                response = clients.runtime.invoke_model_with_response_stream(
                    modelId="meta.llama3-8b-instruct-v1:0", body=json.dumps({"prompt": text})
                )
                *_, end = response["body"]
                metrics = json.loads(end["chunk"]["bytes"])[METRICS]
                usage = {"inputTokens": metrics["inputTokenCount"], "outputTokens": metrics["outputTokenCount"]}
            case _:
                try:
                    response = clients.converse("[[throttle]]")
                    raise AssertionError("not throttled")
                except clients.runtime.exceptions.ThrottlingException as error:
                    response, usage = error.response, {"inputTokens": 0, "outputTokens": 0}
        return response["ResponseMetadata"]["RequestId"], usage["inputTokens"], usage["outputTokens"]

    before = clients.stand_in.ledger.after()[-1]["seq"]
    with ThreadPoolExecutor(16) as pool:
        seen = list(pool.map(call, range(200)))

    lines = clients.stand_in.ledger.after(before)
    assert [line["seq"] for line in lines] == list(range(before + 1, before + 201))
    assert sorted(seen) == sorted((line["request_id"], line["input_tokens"], line["output_tokens"]) for line in lines)
    assert sum(line["billed"] for line in lines) == 160
    assert all(line["completed"] for line in lines)


def fetch(url: str, method: str = "GET") -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5) as response:
        return json.load(response)


def test_the_ledger_survives_a_restart_and_can_be_read_over_http(tmp_path: Path) -> None:
    path = tmp_path / "served.jsonl"
    asked = {"messages": [user("?")]}
    with FakeModels(ledger=path) as stand_in:
        post(stand_in, f"/model/{NOVA}/converse", asked)
        assert [json.loads(line)["seq"] for line in path.read_text().splitlines()] == [1]

    with FakeModels(ledger=path) as stand_in:
        post(stand_in, f"/model/{NOVA}/converse", asked)
        post(stand_in, "/model/amazon.nothing-v1/converse", asked)
        lines = [json.loads(line) for line in path.read_text().splitlines()]

        assert fetch(f"{stand_in.url}/_health")["status"] == "ok"
        assert fetch(f"{stand_in.url}/_ledger")["records"] == lines
        assert [line["seq"] for line in fetch(f"{stand_in.url}/_ledger?after=1")["records"]] == [2, 3]
        totals = fetch(f"{stand_in.url}/_ledger/summary")["models"]
        assert totals[NOVA]["billed"] == totals[NOVA]["calls"] == 2
        assert totals[NOVA]["output_tokens"] == sum(line["output_tokens"] for line in lines)
        assert (totals["amazon.nothing-v1"]["billed"], totals["amazon.nothing-v1"]["refused"]) == (0, 1)

        assert fetch(f"{stand_in.url}/_ledger", "DELETE") == {"records": []}
        assert path.read_text() == ""
        post(stand_in, f"/model/{NOVA}/converse", asked)
        assert [line["seq"] for line in stand_in.ledger.after()] == [4]


def test_the_program_says_where_it_listens_and_ends_with_its_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.dev.fake_models", "--exit-with-parent", "--ledger", "served.jsonl"]
    root = Path(__file__).parents[2]
    command[-1] = str(tmp_path / command[-1])
    running = [
        subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    by_parent, by_signal = running
    for process in running:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("model stand-in ready http://127.0.0.1:")
        assert fetch(line.split()[-1] + "/_health")["status"] == "ok"

    by_signal.terminate()
    assert by_signal.wait(5) == 0
    assert by_parent.poll() is None
    by_parent.communicate()
    assert by_parent.wait(5) == 0
    by_signal.communicate()


# --- A real model behind it -----------------------------------------------------------------------------------------


class FakeOpenAI(BaseHTTPRequestHandler):
    """A small OpenAI-compatible server; the prompt tells it how to fail."""

    protocol_version = "HTTP/1.1"
    asked: list[dict[str, Any]] = []

    def do_GET(self) -> None:
        self._answer(200, {"object": "list", "data": [{"id": "tiny-model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        FakeOpenAI.asked.append(body)
        prompt = json.dumps(body["messages"])
        usage: dict[str, Any] = {"prompt_tokens": 31, "completion_tokens": 7, "total_tokens": 38}
        if "cached" in prompt:
            usage |= {"prompt_tokens_details": {"cached_tokens": 11}}
        if "fail" in prompt:
            self._answer(int(prompt.split("fail ")[1][:3]), {"error": {"message": "no luck"}})
        elif not body["stream"]:
            choice = {"index": 0, "message": {"role": "assistant", "content": "Truly said."}, "finish_reason": "length"}
            self._answer(200, {"choices": [choice]} | ({} if "uncounted" in prompt else {"usage": usage}))
        else:
            chunks: list[Any] = [{"choices": [{"delta": {"content": text}}]} for text in ("Truly ", "said.")]
            chunks.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
            chunks += [] if "uncounted" in prompt else [{"choices": [], "usage": usage}]
            events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
            self._send(200, events.encode(), "text/event-stream")

    def _answer(self, status: int, body: Any) -> None:
        self._send(status, json.dumps(body).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name that the base class has)
        pass


@pytest.fixture(scope="module")
def upstream() -> Iterator[Clients]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeOpenAI)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    with FakeModels(upstream=f"openai:http://127.0.0.1:{server.server_address[1]}/v1") as stand_in:
        yield connect(stand_in)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "name",
    ["titan", "claude v2", "claude messages", "llama", "mistral", "mistral chat", "nova", "command", "command r"],
)
def test_an_upstream_model_answers_with_its_true_counts(upstream: Clients, name: str) -> None:
    shape = SHAPES[name]
    body, headers, line = upstream.invoke(shape.model_id, shape.body("Say it.", 64))
    chunks, streamed = upstream.stream(shape.model_id, shape.body("Say it.", 64))

    assert shape.text(body) == "Truly said."
    assert shape.stop(body) == shape.stops[1]
    assert (line["input_tokens"], line["output_tokens"]) == (31, 7)
    assert headers["x-amzn-bedrock-output-token-count"] == "7"
    assert shape.counts is None or shape.counts(body) == (31, 7)
    assert shape.stream_text
    assert "".join(shape.stream_text(chunk) or "" for chunk in chunks) == "Truly said."
    assert (chunks[-1][METRICS]["inputTokenCount"], chunks[-1][METRICS]["outputTokenCount"]) == (31, 7)
    assert (streamed["input_tokens"], streamed["output_tokens"]) == (31, 7)
    assert FakeOpenAI.asked[-1]["model"] == "tiny-model"
    assert FakeOpenAI.asked[-1]["max_tokens"] == 64
    assert FakeOpenAI.asked[-1]["stream_options"] == {"include_usage": True}


def test_an_upstream_converses_and_its_cached_tokens_are_kept_apart(upstream: Clients) -> None:
    image = {"image": {"format": "jpeg", "source": {"bytes": b"pixels"}}}
    response = upstream.runtime.converse(
        modelId=NOVA, system=[{"text": "Be brief."}], messages=[user("cached", image)], inferenceConfig={"maxTokens": 9}
    )
    *_, last = upstream.converse_stream("cached")["stream"]

    assert response["output"]["message"]["content"] == [{"text": "Truly said."}]
    assert response["usage"] == last["metadata"]["usage"]
    assert (response["usage"]["inputTokens"], response["usage"]["cacheReadInputTokens"]) == (20, 11)
    assert response["usage"]["totalTokens"] == 38
    assert upstream.served(response)["cache_read_tokens"] == 11
    system, turn = FakeOpenAI.asked[-2]["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert turn["content"][1]["image_url"]["url"].startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize(
    ("prompt", "error"),
    [
        ("fail 429", "ThrottlingException"),
        ("fail 400", "ValidationException"),
        ("fail 500", "ModelErrorException"),
        ("fail 503", "ServiceUnavailableException"),
        ("uncounted", "ModelErrorException"),
        ("[[denied]]", "AccessDeniedException"),
    ],
)
def test_an_upstreams_error_is_bedrocks_error(upstream: Clients, prompt: str, error: str) -> None:
    with pytest.raises(getattr(upstream.runtime.exceptions, error)) as raised:
        upstream.converse(prompt)

    assert not upstream.served(raised.value.response)["billed"]


def test_an_upstream_stream_without_a_count_breaks(upstream: Clients) -> None:
    with pytest.raises(EventStreamError, match="modelStreamErrorException"):
        list(upstream.converse_stream("uncounted")["stream"])


def test_an_upstream_that_is_not_there_is_never_replaced() -> None:
    with FakeModels(upstream="openai:http://127.0.0.1:9/v1", upstream_model="tiny-model") as stand_in:
        clients = connect(stand_in)
        with pytest.raises(clients.runtime.exceptions.ServiceUnavailableException, match="cannot be reached"):
            clients.converse("?")

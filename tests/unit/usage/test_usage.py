"""Every provider's counts become the same disjoint counts."""

from __future__ import annotations

import json
from math import inf, nan
from typing import Any

import pytest

from gateway.usage.provider_counts import (
    echoed_tier,
    estimate_tokens,
    from_anthropic,
    from_converse,
    from_invoke_model,
    from_openai,
)
from gateway.usage.records import TokenUsage, image_class, is_label
from gateway.usage.stream_counts import ConverseStreamUsage, EndpointUsage, InvokeStreamUsage


def counts(usage: TokenUsage | None) -> tuple[int, ...]:
    assert usage is not None
    return (
        usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_5m_tokens,
        usage.cache_write_1h_tokens,
    )  # fmt: skip


def test_converse_input_excludes_the_cache_and_writes_are_split_by_ttl() -> None:
    usage = {
        "inputTokens": 10, "outputTokens": 5, "totalTokens": 345, "cacheReadInputTokens": 300,
        "cacheWriteInputTokens": 30, "cacheDetails": [{"ttl": "1h", "inputTokens": 20}, {"ttl": "5m", "inputTokens": 10}],
    }  # fmt: skip
    assert counts(from_converse(usage, "")) == (10, 5, 300, 10, 20)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"inputTokens": 10, "outputTokens": 5}, (10, 5, 0, 0, 0)),
        ({"inputTokens": 10, "outputTokens": 5, "cacheReadInputTokens": None, "cacheDetails": None}, (10, 5, 0, 0, 0)),
        ({"inputTokens": 10, "outputTokens": 5, "cacheWriteInputTokens": 30}, (10, 5, 0, 30, 0)),
        ({"inputTokens": 10, "outputTokens": 5, "cacheDetails": [{"ttl": "1h", "inputTokens": 20}]}, (10, 5, 0, 0, 20)),
    ],
)
def test_what_converse_leaves_out_is_nothing_and_no_count_is_ever_negative(
    usage: dict[str, Any], expected: tuple[int, ...]
) -> None:
    assert counts(from_converse(usage, "")) == expected


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        # anthropic's Messages: the body's usage, its cache apart
        ({"usage": {"input_tokens": 7, "output_tokens": 3, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 50,
                    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30}}}, {}, (7, 3, 100, 20, 30)),
        # OpenAI's shape: prompt_tokens includes what the cache gave
        ({"usage": {"prompt_tokens": 120, "completion_tokens": 8, "prompt_tokens_details": {"cached_tokens": 100}}}, {}, (20, 8, 100, 0, 0)),
        # what it wrote to the cache stands in a header only
        ({"usage": {"prompt_tokens": 150, "completion_tokens": 8, "prompt_tokens_details": {"cached_tokens": 100}}},
         {"x-amzn-bedrock-cache-write-input-token-count": "30"}, (20, 8, 100, 30, 0)),
        ({"usage": {"prompt_tokens": 120, "completion_tokens": 8, "prompt_tokens_details": None}}, {}, (120, 8, 0, 0, 0)),
        ({"usage": {"prompt_tokens": 150, "completion_tokens": 8, "prompt_tokens_details": {"cached_tokens": None}}},
         {"x-amzn-bedrock-cache-read-input-token-count": "100", "x-amzn-bedrock-cache-write-input-token-count": "30"}, (20, 8, 100, 30, 0)),
        # what a usage leaves out stands in the headers
        ({"usage": {"input_tokens": 7, "cache_read_input_tokens": None}},
         {"x-amzn-bedrock-output-token-count": "3", "x-amzn-bedrock-cache-read-input-token-count": "100"}, (7, 3, 100, 0, 0)),
        ({"usage": {"inputTokens": 4, "outputTokens": 2, "cacheReadInputTokenCount": None}},
         {"x-amzn-bedrock-cache-write-input-token-count": "30"}, (4, 2, 0, 30, 0)),
        # a usage that cannot be read is none
        ({"usage": {"prompt_tokens": "many"}}, {"x-amzn-bedrock-input-token-count": "13"}, (13, 0, 0, 0, 0)),
        ({"usage": {"input_tokens": 7}}, {"x-amzn-bedrock-input-token-count": "7", "x-amzn-bedrock-output-token-count": "14"}, (7, 14, 0, 0, 0)),
        # nothing in the body, and more in a header: the larger of each count
        ({"usage": {"input_tokens": 0, "output_tokens": 3}}, {"x-amzn-bedrock-input-token-count": "812"}, (812, 3, 0, 0, 0)),
        ({"usage": {"input_tokens": 7, "output_tokens": 3, "cache_read_input_tokens": 0}},
         {"x-amzn-bedrock-cache-read-input-token-count": "100", "x-amzn-bedrock-output-token-count": "4"}, (7, 4, 100, 0, 0)),
        ({"usage": {"input_tokens": 7, "output_tokens": 3, "cache_creation": {"ephemeral_1h_input_tokens": 30}}},
         {"x-amzn-bedrock-cache-write-input-token-count": "50"}, (7, 3, 0, 20, 30)),
        ({"usage": {"prompt_tokens": 0, "completion_tokens": 0}},
         {"x-amzn-bedrock-input-token-count": "812", "x-amzn-bedrock-output-token-count": "8"}, (812, 8, 0, 0, 0)),
        ({"usage": {"prompt_tokens": 170, "completion_tokens": 8, "prompt_tokens_details": {"cached_tokens": 0}}},
         {"x-amzn-bedrock-input-token-count": "70", "x-amzn-bedrock-cache-read-input-token-count": "100"}, (70, 8, 100, 0, 0)),
        ({"usage": {"inputTokens": 0, "outputTokens": 2, "cacheReadInputTokenCount": 0}},
         {"x-amzn-bedrock-input-token-count": "812", "x-amzn-bedrock-cache-read-input-token-count": "100"}, (812, 2, 100, 0, 0)),
        ({"usage": {"inputTokens": 4, "outputTokens": 2, "cacheReadInputTokens": 0, "cacheReadInputTokenCount": 9}}, {}, (4, 2, 9, 0, 0)),
        ({"inputTextTokenCount": 0, "results": [{"tokenCount": 3}]}, {"x-amzn-bedrock-input-token-count": "812"}, (812, 3, 0, 0, 0)),
        ({"prompt_token_count": 11, "generation_token_count": 0}, {"x-amzn-bedrock-output-token-count": "12"}, (11, 12, 0, 0, 0)),
        # a header that counts the cache, or a part of it, a second time is not taken
        ({"usage": {"input_tokens": 7, "output_tokens": 3, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 50}},
         {"x-amzn-bedrock-input-token-count": "157"}, (7, 3, 100, 50, 0)),
        ({"usage": {"prompt_tokens": 170, "completion_tokens": 8, "prompt_tokens_details": {"cached_tokens": 100}}},
         {"x-amzn-bedrock-input-token-count": "170"}, (70, 8, 100, 0, 0)),
        ({"usage": {"inputTokens": 4, "outputTokens": 2, "cacheReadInputTokenCount": 9}},
         {"x-amzn-bedrock-input-token-count": "13"}, (4, 2, 9, 0, 0)),
        # nor is one that cannot be read, or is smaller
        ({"usage": {"input_tokens": 7, "output_tokens": 3}},
         {"x-amzn-bedrock-input-token-count": "many", "x-amzn-bedrock-output-token-count": "0"}, (7, 3, 0, 0, 0)),
        # writes by their time to live, and no sum of them
        ({"usage": {"input_tokens": 7, "output_tokens": 3,
                    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30}}}, {}, (7, 3, 0, 20, 30)),
        # Nova's
        ({"usage": {"inputTokens": 4, "outputTokens": 2, "totalTokens": 6, "cacheReadInputTokenCount": 9, "cacheWriteInputTokenCount": 8}}, {}, (4, 2, 9, 8, 0)),
        # Titan's: a list of results
        ({"inputTextTokenCount": 6, "results": [{"tokenCount": 3}, {"tokenCount": 4}]}, {}, (6, 7, 0, 0, 0)),
        # Llama's
        ({"prompt_token_count": 11, "generation_token_count": 12}, {}, (11, 12, 0, 0, 0)),
        # the body says nothing: the headers
        ({"completion": "hi"}, {"x-amzn-bedrock-input-token-count": "13", "x-amzn-bedrock-output-token-count": "14"}, (13, 14, 0, 0, 0)),
        ({"embeddings": [[0.1]]}, {"x-amzn-bedrock-input-token-count": "5"}, (5, 0, 0, 0, 0)),
        ({}, {"x-amzn-bedrock-input-token-count": "1", "x-amzn-bedrock-cache-read-input-token-count": "2",
              "x-amzn-bedrock-cache-write-input-token-count": "3"}, (1, 0, 2, 3, 0)),
    ],
)  # fmt: skip
def test_invoke_model_is_counted_by_the_service(body: Any, headers: dict[str, str], expected: tuple[int, ...]) -> None:
    assert counts(from_invoke_model(body, headers, "")) == expected


@pytest.mark.parametrize("body", [{}, {"completion": "hi"}, [], "text", {"usage": {"unheard_of": 3}}])
def test_where_nobody_counted_there_is_no_count(body: Any) -> None:
    assert from_invoke_model(body, {}, "") is None


def test_the_echoed_service_tier_is_kept() -> None:
    usage = from_invoke_model({"prompt_token_count": 1}, {"x-amzn-bedrock-service-tier": "flex"}, "")
    assert usage is not None
    assert usage.service_tier == "flex"


@pytest.mark.parametrize(
    ("places", "tier"),
    [
        (({"type": "flex"}, None), "flex"), (("priority",), "priority"), ((None, "reserved"), "reserved"),
        ((None, "default"), "default"), (("standard", "flex"), "flex"), (({"type": "default"},), "default"),
        (([], 3, {"type": None}), "default"), (("auto", "standard_only"), "default"), ((), "default"),
        (("ultrafast",), "ultrafast"),
    ],
)  # fmt: skip
def test_a_tier_is_the_first_that_is_echoed_and_else_the_default(places: tuple[Any, ...], tier: str) -> None:
    assert echoed_tier(*places) == tier


def test_a_tier_may_be_echoed_by_a_body_a_chunk_or_a_header_alone() -> None:
    openai = {"prompt_tokens": 1, "completion_tokens": 1}
    in_body = from_invoke_model({"service_tier": "flex", "usage": openai}, {}, "")
    converse, chunked = ConverseStreamUsage(), InvokeStreamUsage()
    converse.see({"usage": {"inputTokens": 1, "outputTokens": 1}})
    chunked.see({"choices": [], "usage": openai, "service_tier": "flex"})
    for usage in (in_body, converse.usage("flex"), chunked.usage()):
        assert usage is not None
        assert usage.service_tier == "flex"


def test_an_answer_of_claude_is_whole_once_it_says_so() -> None:
    claude, llama = InvokeStreamUsage(), InvokeStreamUsage()
    claude.see(STARTED)
    llama.see({"generation": "a", "prompt_token_count": 11, "generation_token_count": 2})
    assert (claude.is_complete, llama.is_complete) == (False, True)  # Llama's stream says nothing of its end
    claude.read(b'{"type":"message_stop"}')
    assert claude.is_complete


def test_an_answer_of_nova_is_whole_before_it_is_counted() -> None:
    nova = InvokeStreamUsage()
    nova.read(b'{"messageStart":{"role":"assistant"}}')
    assert not nova.is_complete
    nova.read(b'{"messageStop":{"stopReason":"end_turn"}}')
    assert (nova.is_complete, nova.complete) == (True, False)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"usage": {"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": None}}, (5, 7, 0, 0, 0)),
        ({"details": {"input_length": 5, "generated_tokens": 7}}, (5, 7, 0, 0, 0)),
        ({"details": {"prefill": [{"id": 1}] * 5, "tokens": [{"id": 2}] * 7, "generated_tokens": 7}}, (5, 7, 0, 0, 0)),
        (
            {"details": {"input_length": 5, "generated_tokens": 7, "best_of_sequences": [{"generated_tokens": 9}]}},
            (5, 16, 0, 0, 0),
        ),
    ],
)
def test_an_endpoint_is_counted_by_its_container(line: dict[str, Any], expected: tuple[int, ...]) -> None:
    endpoint = EndpointUsage()
    endpoint.see(line)
    usage = endpoint.usage()
    assert counts(usage) == expected
    assert usage is not None
    assert "prefill" not in usage.raw


def test_a_container_whose_last_line_counts_nothing_is_counted_by_the_lines_before() -> None:
    endpoint = EndpointUsage()
    for made in (3, 7, 0):
        endpoint.see({"usage": {"prompt_tokens": 5 if made else 0, "completion_tokens": made}})
    assert counts(endpoint.usage()) == (5, 7, 0, 0, 0)


def test_a_container_that_counts_only_its_answer_has_counted_nothing() -> None:
    endpoint = EndpointUsage()
    endpoint.see({"token": {"text": "word"}, "details": {"prefill": [], "generated_tokens": 7}})
    assert (endpoint.usage(), endpoint.said) == (None, "word")


def test_an_estimate_is_by_bytes_since_characters_are_no_measure() -> None:
    assert (estimate_tokens(""), estimate_tokens("a"), estimate_tokens("abcde"), estimate_tokens("日本")) == (
        0,
        1,
        2,
        2,
    )


@pytest.mark.parametrize(
    ("width", "height", "premium", "expected"),
    [(512, 512, False, "512x512:standard"), (256, 256, True, "512x512:premium"), (512, 513, False, "larger:standard")],
)
def test_an_image_is_classed_by_size_and_quality(width: int, height: int, premium: bool, expected: str) -> None:
    assert image_class(width, height, premium) == expected


def test_a_label_cannot_smuggle_anything() -> None:
    assert is_label("team-a.eu@acme")
    assert not any(is_label(text) for text in ("", "-x", "a\nb", "a\n", "a/b", 'a"b', "x" * 200))


def metrics(read: int, made: int, **cache: int) -> dict[str, Any]:
    counts = {"inputTokenCount": read, "outputTokenCount": made, **cache, "invocationLatency": 9, "firstByteLatency": 1}
    return {"amazon-bedrock-invocationMetrics": counts}


CACHE = {"cacheReadInputTokenCount": 100, "cacheWriteInputTokenCount": 50}
STARTED: dict[str, Any] = {
    "type": "message_start",
    "message": {"usage": {
        "input_tokens": 7, "output_tokens": 1, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 50,
        "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30},
    }},
}  # fmt: skip


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        # Anthropic's own words tell the cache's TTLs apart; thinking is inside output_tokens
        ([STARTED, {"type": "message_delta", "usage": {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 5}}},
          {"type": "message_stop", **metrics(7, 9, **CACHE)}], (7, 9, 100, 20, 30)),
        # cumulative counts replace the first ones
        ([STARTED, {"type": "message_delta", "usage": {"input_tokens": 8, "output_tokens": 4}},
          {"type": "message_delta", "usage": {"output_tokens": 9}}, {"type": "message_stop"}], (8, 9, 100, 20, 30)),
        # all of it at the end, and Bedrock's count left out
        ([{"type": "message_start", "message": {}}, {"type": "message_delta", "usage": {"input_tokens": 8, "output_tokens": 9,
           "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3}}}, {"type": "message_stop"}], (8, 9, 0, 2, 3)),
        # the output at the end, the input in Bedrock's count only
        ([{"type": "message_start", "message": {}}, {"type": "message_delta", "usage": {"output_tokens": 9}},
          {"type": "message_stop", **metrics(7, 9, **CACHE)}], (7, 9, 100, 50, 0)),
        # what the events leave out stands in Bedrock's count
        ([{"type": "message_start", "message": {}}, {"type": "message_stop", **metrics(7, 9, **CACHE)}], (7, 9, 100, 50, 0)),
        ([STARTED, {"type": "message_delta", "delta": {}}, {"type": "message_stop", **metrics(7, 9, **CACHE)}], (7, 9, 100, 20, 30)),
        ([{"type": "message_start", "message": {"usage": {"input_tokens": 7, "output_tokens": 1, "cache_read_input_tokens": None}}},
          {"type": "message_stop", **metrics(7, 9, **CACHE)}], (7, 9, 100, 50, 0)),
        # Nova's metadata
        ([{"contentBlockDelta": {"delta": {"text": "usage"}}},
          {"metadata": {"usage": {"inputTokens": 4, "outputTokens": 2, "totalTokens": 6, **CACHE}}, **metrics(4, 2, **CACHE)}], (4, 2, 100, 50, 0)),
        # OpenAI's shape, whose prompt_tokens include the cache
        ([{"choices": [], "usage": None},
          {"choices": [], "usage": {"prompt_tokens": 170, "completion_tokens": 8, "prompt_tokens_details": {"cached_tokens": 100}},
           **metrics(20, 8, **CACHE)}], (20, 8, 100, 50, 0)),
        # which count on in every chunk, and whose cache stands in Bedrock's count only, in a chunk of its own
        ([{"choices": [{"delta": {"content": "a"}}], "usage": {"prompt_tokens": 170, "completion_tokens": 1}},
          {"choices": [], "usage": {"prompt_tokens": 170, "completion_tokens": 8, "prompt_tokens_details": None}},
          {**metrics(20, 8, **CACHE)}], (20, 8, 100, 50, 0)),
        # Llama counts on, Titan at the end, Mistral and Cohere not at all
        ([{"generation": "a", "prompt_token_count": 11, "generation_token_count": 1},
          {"generation": "", "prompt_token_count": None, "generation_token_count": 2, **metrics(11, 2)}], (11, 2, 0, 0, 0)),
        ([{"outputText": "a", "inputTextTokenCount": 6, "totalOutputTextTokenCount": None},
          {"outputText": "", "inputTextTokenCount": None, "totalOutputTextTokenCount": 3, **metrics(6, 3)}], (6, 3, 0, 0, 0)),
        ([{"outputs": [{"text": "a"}]}, {"outputs": [], **metrics(5, 4, **CACHE)}], (5, 4, 100, 50, 0)),
        # the cache's counts in the last event only
        ([{"type": "message_start", "message": {"usage": {"input_tokens": 7, "output_tokens": 1}}},
          {"type": "message_delta", "usage": {"output_tokens": 9}},
          {"type": "message_stop", "usage": {"cache_read_input_tokens": 100, "cache_creation_input_tokens": 50}}], (7, 9, 100, 50, 0)),
        # an input that only Bedrock's count tells; one that counts the cache twice is not taken
        ([{"type": "message_start", "message": {"usage": {"input_tokens": 0, "output_tokens": 1}}},
          {"type": "message_stop", **metrics(812, 9)}], (812, 9, 0, 0, 0)),
        ([STARTED, {"type": "message_stop", **metrics(157, 9, **CACHE)}], (7, 9, 100, 20, 30)),
        ([{"type": "message_start", "message": {"usage": {"input_tokens": 7, "output_tokens": 1, "cache_read_input_tokens": 0}}},
          {"type": "message_stop", **metrics(157, 9, **CACHE)}], (7, 9, 100, 50, 0)),
        ([{"metadata": {"usage": {"inputTokens": 0, "outputTokens": 2, "cacheReadInputTokens": 0}},
           **metrics(812, 2, cacheReadInputTokenCount=100)}], (812, 2, 100, 0, 0)),
        ([{"metadata": {"usage": {"inputTokens": 4, "outputTokens": 2, "cacheReadInputTokens": 100}},
           **metrics(104, 2, cacheReadInputTokenCount=100)}], (4, 2, 100, 0, 0)),
        ([{"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}, **metrics(812, 8)}], (812, 8, 0, 0, 0)),
        # counts never shrink, whoever says them
        ([{"generation": "a", "prompt_token_count": 11, "generation_token_count": 2},
          {"generation": "", "prompt_token_count": 0, "generation_token_count": 0, **metrics(0, 0)}], (11, 2, 0, 0, 0)),
        ([{"outputText": "a", "inputTextTokenCount": 6, "totalOutputTextTokenCount": 3}, {**metrics(0, 812)}], (6, 812, 0, 0, 0)),
        ([STARTED, {"type": "message_delta", "usage": {"input_tokens": 0, "output_tokens": 9, "cache_read_input_tokens": 0}},
          {"type": "message_stop", "usage": {"output_tokens": 0}}], (7, 9, 100, 20, 30)),
    ],
)  # fmt: skip
def test_an_invoke_stream_is_counted_by_its_last_chunks(chunks: list[Any], expected: tuple[int, ...]) -> None:
    seen, read = InvokeStreamUsage(), InvokeStreamUsage()
    for chunk in chunks:
        assert not seen.complete or chunk["type"] in ("message_delta", "message_stop")
        seen.see(chunk)
        read.read(json.dumps(chunk).encode())
    assert seen.complete
    assert counts(seen.usage()) == expected
    assert seen.usage("priority") == read.usage("priority")


def test_an_invoke_stream_that_breaks_off_is_counted_as_far_as_it_came() -> None:
    cut = InvokeStreamUsage()
    cut.see({"type": "ping"})
    assert cut.usage() is None
    cut.see(STARTED)
    assert not cut.complete
    assert counts(cut.usage()) == (7, 1, 100, 20, 30)
    llama = InvokeStreamUsage()
    llama.see({"generation": "a", "prompt_token_count": 11, "generation_token_count": 2})
    assert (counts(llama.usage()), llama.complete) == ((11, 2, 0, 0, 0), False)


def test_a_call_that_was_served_with_optimised_latency_is_in_a_tier_of_its_own() -> None:
    """Bedrock may serve it as any other where its quota is spent, and says which it did."""
    stream = ConverseStreamUsage()
    counted = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}
    stream.see({"usage": counted, "performanceConfig": {"latency": "optimized"}})
    streamed = stream.usage()
    headers = {"x-amzn-bedrock-performanceconfig-latency": "optimized"}
    invoked = from_invoke_model({"usage": counted}, headers, "{}")
    assert streamed is not None
    assert invoked is not None
    assert streamed.service_tier == invoked.service_tier == "optimized"
    assert echoed_tier({"latency": "standard"}, {"type": "flex"}) == "flex"
    assert echoed_tier(None, {}) == "default"


def test_an_invoke_stream_keeps_what_the_provider_said_and_the_tier_of_its_header() -> None:
    stream = InvokeStreamUsage()
    stream.see(STARTED)
    stream.see({"type": "message_stop", **metrics(7, 9)})
    usage = stream.usage("flex")
    assert usage is not None
    assert usage.service_tier == "flex"
    raw = json.loads(usage.raw)
    assert raw["usage"] == STARTED["message"]["usage"]
    assert raw["amazon-bedrock-invocationMetrics"]["outputTokenCount"] == 9


@pytest.mark.parametrize(
    "chunk",
    [
        {}, [], "usage", 3, {"usage": 3}, {"metadata": []}, {"usage": {"unheard_of": 3}},
        {"type": "message_start", "message": {"usage": {"input_tokens": "x"}}}, {"usage": {"inputTokens": 3}},
        {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"invocationLatency": 9}},
    ],
)  # fmt: skip
def test_a_chunk_of_any_shape_is_no_count(chunk: Any) -> None:
    stream = InvokeStreamUsage()
    stream.see(chunk)
    stream.read(json.dumps(chunk).encode())
    stream.read(b"usage")
    assert stream.usage() is None


def test_a_converse_stream_is_counted_by_its_metadata() -> None:
    stream = ConverseStreamUsage()
    assert (stream.complete, stream.usage()) == (False, None)
    said = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 345, "cacheReadInputTokens": 300,
            "cacheWriteInputTokens": 30, "cacheDetails": [{"ttl": "1h", "inputTokens": 20}]}  # fmt: skip
    stream.see({"usage": said, "serviceTier": {"type": "priority"}})
    assert stream.complete
    usage = stream.usage()
    assert counts(usage) == (10, 5, 300, 10, 20)
    assert usage is not None
    assert (usage.service_tier, json.loads(usage.raw)) == ("priority", said)


@pytest.mark.parametrize("metadata", [{}, [], {"usage": None}, {"usage": {"inputTokens": 1}}, {"usage": {"x": 1}}])
def test_metadata_of_any_shape_is_no_count(metadata: Any) -> None:
    stream = ConverseStreamUsage()
    stream.see(metadata)
    assert stream.usage() is None


@pytest.mark.parametrize("odd", [-1, -4_000_000, "-5", 2**63, "many", [], 1e30, inf, nan, True, 5.5])
def test_a_count_below_nothing_or_beyond_all_measure_is_no_count(odd: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        from_converse({"inputTokens": odd, "outputTokens": 1}, "")
    with pytest.raises((ValueError, TypeError)):
        from_anthropic({"input_tokens": 1, "output_tokens": odd}, "")
    with pytest.raises((ValueError, TypeError)):
        from_openai({"prompt_tokens": odd, "completion_tokens": 1}, "")
    stream = InvokeStreamUsage()
    stream.see({"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1}}})
    stream.see({"type": "message_delta", "usage": {"output_tokens": odd}})
    assert stream.usage() is None
    native = ConverseStreamUsage()
    native.see({"usage": {"inputTokens": 5, "outputTokens": odd}})
    assert native.usage() is None

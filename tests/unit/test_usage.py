"""Every provider's way of counting becomes the same disjoint counts."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.usage import TokenUsage, estimate_tokens, from_converse, from_invoke_model, image_class, is_label


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
    ("body", "headers", "expected"),
    [
        # anthropic's Messages: the body's usage, its cache apart
        ({"usage": {"input_tokens": 7, "output_tokens": 3, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 50,
                    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30}}}, {}, (7, 3, 100, 20, 30)),
        # OpenAI's shape: prompt_tokens includes what the cache gave
        ({"usage": {"prompt_tokens": 120, "completion_tokens": 8, "prompt_tokens_details": {"cached_tokens": 100}}}, {}, (20, 8, 100, 0, 0)),
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
    assert not any(is_label(text) for text in ("", "-x", "a\nb", "a/b", 'a"b', "x" * 200))

"""Embeddings in OpenAI's format: each model family's request, and the client's response."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from gateway.calls.catalog import Catalog
from gateway.core.errors import BadRequestError, GatewayError
from gateway.formats.openai.embeddings import EmbeddingsRequest, read_embeddings, write_embeddings
from gateway.formats.openai.fields import misfit
from gateway.usage.records import TokenUsage
from gateway.web.generated.bodies import create_embeddings
from tests.checked import checked

CATALOG = Catalog({"our-embedder": "endpoint"})
TITAN = "amazon.titan-embed-text-v2:0"
COHERE = "cohere.embed-v4:0"
NOVA = "amazon.nova-2-multimodal-embeddings-v1:0"


def read(model_id: str, value: Any, **more: Any) -> EmbeddingsRequest:
    return read_embeddings({"model": "alias", "input": value, **more}, CATALOG.find(model_id))


def nova(text: str, **more: Any) -> dict[str, Any]:
    params = {"embeddingPurpose": "GENERIC_INDEX", "text": {"truncationMode": "NONE", "value": text}, **more}
    return {
        "schemaVersion": "nova-multimodal-embed-v1",
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": params,
    }


@pytest.mark.parametrize(
    ("model_id", "value", "more", "bodies"),
    [
        (TITAN, "a", {}, [{"inputText": "a"}]),
        (TITAN, ["a", "b"], {"dimensions": 256}, [{"inputText": "a", "dimensions": 256}, {"inputText": "b", "dimensions": 256}]),
        ("amazon.titan-embed-image-v1", "a", {"dimensions": 384}, [{"inputText": "a", "embeddingConfig": {"outputEmbeddingLength": 384}}]),
        (COHERE, ["a", "b"], {"dimensions": 512}, [{"texts": ["a", "b"], "input_type": "search_document", "output_dimension": 512}]),
        ("us.cohere.embed-v4:0", "a", {"input_type": "search_query"}, [{"texts": ["a"], "input_type": "search_query"}]),
        (NOVA, ["a", "b"], {"dimensions": 384}, [nova("a", embeddingDimension=384), nova("b", embeddingDimension=384)]),
    ],
)  # fmt: skip
def test_each_family_is_asked_in_its_own_words(
    model_id: str, value: Any, more: dict[str, Any], bodies: list[Any]
) -> None:
    request = read(model_id, value, **more)
    assert [call.body for call in request.calls] == bodies
    assert {(call.operation, call.api) for call in request.calls} == {("embeddings", "InvokeModel")}


def test_a_long_list_goes_to_cohere_in_as_many_calls_as_it_takes() -> None:
    request = read(COHERE, ["x"] * 100)
    assert [len(call.body["texts"]) for call in request.calls] == [96, 4]
    answers = [{"embeddings": {"float": [[1.0]] * 96}}, {"embeddings": [[2.0]] * 4}]
    data = write_embeddings(request, answers, [TokenUsage(96), TokenUsage(4)])["data"]
    assert [one["index"] for one in data] == list(range(100))
    assert data[99]["embedding"] == [2.0]


@pytest.mark.parametrize(
    ("model_id", "answer"),
    [(TITAN, {"embedding": [0.5, -1.0]}), (COHERE, {"embeddings": [[0.5, -1.0]]}), (COHERE, {"embeddings": {"float": [[0.5, -1.0]]}}),
     (NOVA, {"embeddings": [{"embeddingType": "TEXT", "embedding": [0.5, -1.0]}]})],
)  # fmt: skip
def test_vectors_are_listed_with_what_they_used(model_id: str, answer: Any) -> None:
    assert write_embeddings(read(model_id, "a"), [answer], [TokenUsage(3)]) == {
        "object": "list",
        "model": "alias",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}],
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }


def test_base64_is_of_little_endian_floats() -> None:
    request = read(TITAN, "a", encoding_format="base64")
    encoded = write_embeddings(request, [{"embedding": [0.5, -1]}], [TokenUsage(3)])["data"][0]["embedding"]
    assert struct.unpack("<2f", base64.b64decode(encoded)) == (0.5, -1.0)


@pytest.mark.parametrize(
    ("model_id", "body", "param"),
    [
        (TITAN, {"input": [1, 2]}, "input"),
        (TITAN, {"input": [[1, 2]]}, "input"),
        (TITAN, {"input": []}, "input"),
        (TITAN, {"input": ["a", ""]}, "input[1]"),
        (TITAN, {"input": ["x"] * 91}, "input"),
        (TITAN, {}, "input"),
        (TITAN, {"input": "a", "encoding_format": "int8"}, "encoding_format"),
        (TITAN, {"input": "a", "dimensions": 0}, "dimensions"),
        (TITAN, {"input": "a", "input_type": "search_query"}, "input_type"),
        (TITAN, {"input": "a", "truncate": "END"}, "truncate"),
        ("amazon.titan-embed-text-v1", {"input": "a", "dimensions": 256}, "dimensions"),
        ("cohere.embed-english-v3", {"input": "a", "dimensions": 256}, "dimensions"),
        ("anthropic.claude-3-haiku-20240307-v1:0", {"input": "a"}, "model"),
        ("our-embedder", {"input": "a"}, "model"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(model_id: str, body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        read_embeddings(checked({"model": "alias", **body}, create_embeddings, misfit), CATALOG.find(model_id))
    assert caught.value.param == param
    assert param in caught.value.message


def test_an_answer_of_another_shape_is_upstreams_fault() -> None:
    with pytest.raises(GatewayError) as caught:
        write_embeddings(read(COHERE, "a"), [{"embeddings": {}}], [TokenUsage(3)])
    assert caught.value.status == 502
    with pytest.raises(GatewayError, match="fewer embeddings"):
        write_embeddings(read(COHERE, ["a", "b"]), [{"embeddings": [[1.0]]}], [TokenUsage(3)])

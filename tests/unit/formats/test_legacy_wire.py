"""Each provider's bodies match the old contract exactly."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.calls.call import ModelAnswer, ModelCall
from gateway.calls.catalog import Catalog, Service
from gateway.core.errors import BadRequestError, GatewayError
from gateway.formats.legacy.requests import LegacyRequest, flag, misfit
from gateway.usage.records import TokenUsage
from gateway.web.generated.bodies import stream_model
from gateway.web.generated.schemas import InvokeModelRequest
from tests.checked import checked
from tests.fakes import translated

CATALOG = Catalog({"our-llama": "llama-endpoint"})


def made(model_id: str, body: dict[str, Any], **more: Any) -> tuple[ModelCall, ...]:
    return translated(LegacyRequest(body, model_id, **more), CATALOG).calls


def body_of(model_id: str, inputs: Any, parameters: dict[str, Any] | None = None, **more: Any) -> Any:
    (call,) = made(model_id, {"inputs": inputs, "parameters": parameters or {}}, **more)
    return call.body


@pytest.mark.parametrize(
    ("model_id", "parameters", "body"),
    [
        ("amazon.titan-text-express-v1", {"maxTokenCount": 5}, {"inputText": "hi", "textGenerationConfig": {"maxTokenCount": 5}}),
        ("anthropic.claude-v2:1", {}, {"prompt": "\n\nHuman: hi\n\nAssistant:", "max_tokens_to_sample": 256}),
        ("anthropic.claude-v2", {"max_tokens_to_sample": 9}, {"prompt": "\n\nHuman: hi\n\nAssistant:", "max_tokens_to_sample": 9}),
        ("anthropic.claude-3-haiku-20240307-v1:0", {"max_tokens": 7, "temperature": 0},
         {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 7, "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}),
        ("us.anthropic.claude-3-haiku-20240307-v1:0", {"max_tokens_to_sample": 8},
         {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 8, "messages": [{"role": "user", "content": "hi"}]}),
        ("ai21.j2-ultra-v1", {"maxTokens": 5}, {"prompt": "hi", "maxTokens": 5}),
        ("ai21.jamba-instruct-v1:0", {"max_tokens": 5}, {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}),
        ("cohere.command-light-text-v14", {"max_tokens": 5}, {"prompt": "hi", "max_tokens": 5}),
        ("cohere.command-r-plus-v1:0", {"max_tokens": 5}, {"message": "hi", "max_tokens": 5}),
        ("eu.meta.llama3-8b-instruct-v1:0", {"max_gen_len": 5}, {"prompt": "hi", "max_gen_len": 5}),
        ("mistral.mixtral-8x7b-instruct-v0:1", {"max_tokens": 5}, {"prompt": "hi", "max_tokens": 5}),
        ("amazon.nova-pro-v1:0", {"max_new_tokens": 5, "top_p": 0.5, "system": "be brief", "top_k": 3},
         {"messages": [{"role": "user", "content": [{"text": "hi"}]}], "system": [{"text": "be brief"}],
          "inferenceConfig": {"maxTokens": 5, "topP": 0.5}, "additionalModelRequestFields": {"top_k": 3}}),
    ],
)  # fmt: skip
def test_each_provider_gets_its_own_body(model_id: str, parameters: dict[str, Any], body: Any) -> None:
    assert body_of(model_id, "hi", parameters) == body


def test_a_prompt_that_is_a_dialogue_already_is_not_wrapped_again() -> None:
    assert body_of("anthropic.claude-v2", "\n\nHuman: a\n\nAssistant:")["prompt"] == "\n\nHuman: a\n\nAssistant:"


def test_messages_go_to_models_that_take_them() -> None:
    messages = [{"role": "user", "content": "hi"}]
    assert body_of("anthropic.claude-3-haiku-20240307-v1:0", messages)["messages"] == messages
    (call,) = made("meta.llama3-8b-instruct-v1:0", {"inputs": [{"role": "user", "content": [{"text": "hi"}]}]})
    assert call.api == "Converse"


def test_converse_is_what_the_caller_wrote() -> None:
    inputs = [{"role": "user", "content": [{"image": {"format": "png", "source": {"bytes": "aGVsbG8="}}}]}]
    body = {"inputs": inputs, "parameters": {"maxTokens": 5, "system": "brief"}, "additional_model_fields": {"k": 1}}
    (call,) = made("anthropic.claude-3-haiku-20240307-v1:0", body, messages_api=True)
    assert call.body == {
        "messages": [{"role": "user", "content": [{"image": {"format": "png", "source": {"bytes": "aGVsbG8="}}}]}],
        "system": [{"text": "brief"}],
        "inferenceConfig": {"maxTokens": 5},
        "additionalModelRequestFields": {"k": 1},
    }
    assert inputs[0]["content"][0]["image"]["source"]["bytes"] == "aGVsbG8="  # type: ignore[index]


@pytest.mark.parametrize(
    ("model_id", "inputs", "operation", "bodies"),
    [
        ("cohere.embed-english-v3", "a", "embeddings", [{"texts": ["a"], "input_type": "search_document"}]),
        ("cohere.embed-english-v3", ["a", "b"], "embeddings", [{"texts": ["a", "b"], "input_type": "search_document"}]),
        ("amazon.titan-embed-text-v1", "a", "embeddings", [{"inputText": "a"}]),
        ("amazon.titan-embed-text-v1", ["a", "b"], "embeddings", [{"inputText": "a"}, {"inputText": "b"}]),
        ("amazon.titan-embed-image-v1", "aGk=", "embeddings-image", [{"inputImage": "aGk="}]),
    ],
)
def test_embeddings_are_asked_for_as_each_model_wants(
    model_id: str, inputs: Any, operation: str, bodies: list[Any]
) -> None:
    assert [call.body for call in made(model_id, {"inputs": inputs}, operation=operation)] == bodies


@pytest.mark.parametrize(
    ("model_id", "sent", "body", "price_class"),
    [
        ("stability.stable-diffusion-xl-v1", {"text_prompts": [{"text": "a"}], "parameters": {"steps": 50}},
         {"text_prompts": [{"text": "a"}], "steps": 50}, "larger:standard"),
        ("stability.stable-diffusion-xl-v1", {"text_prompts": [{"text": "a"}], "parameters": {"steps": 51, "width": 512, "height": 512}},
         {"text_prompts": [{"text": "a"}], "steps": 51, "width": 512, "height": 512}, "512x512:premium"),
        ("stability.sd3-large-v1:0", {"text_prompts": [{"text": "a"}]}, {"prompt": "a"}, "larger:standard"),
        ("amazon.titan-image-generator-v1", {"textToImageParams": {"text": "a"}, "parameters": {"imageGenerationConfig": {"quality": "premium"}}},
         {"taskType": "TEXT_IMAGE", "textToImageParams": {"text": "a"}, "imageGenerationConfig": {"quality": "premium"}}, "larger:premium"),
        ("amazon.titan-image-generator-v1", {"taskType": "INPAINTING", "inPaintingParams": {"text": "a"}},
         {"taskType": "INPAINTING", "inPaintingParams": {"text": "a"}}, "larger:standard"),
    ],
)  # fmt: skip
def test_images_are_asked_for_and_classed(model_id: str, sent: dict[str, Any], body: Any, price_class: str) -> None:
    (call,) = made(model_id, sent, operation="image")
    assert (call.body, call.image_class) == (body, price_class)


def test_an_endpoint_gets_its_component_apart() -> None:
    (call,) = made("our-llama", {"inputs": "hi", "parameters": {"t": 1, "InferenceComponentName": "c"}})
    assert (call.model.service, call.model.target, call.inference_component) == (
        Service.SAGEMAKER,
        "llama-endpoint",
        "c",
    )
    assert call.body == {"inputs": "hi", "parameters": {"t": 1}}
    assert body_of("our-llama", {"a": 1}, {"t": 1}) == {"a": 1, "t": 1}
    assert body_of("our-llama", [{"role": "user", "content": "x"}], {"t": 1}, messages_api=True) == {
        "messages": [{"role": "user", "content": "x"}],
        "t": 1,
    }


@pytest.mark.parametrize("answer", [{}, {"generation": None, "x": 1}, [], "text", None, {"content": "no"}])
def test_an_answer_of_another_shape_is_a_problem_not_a_crash(answer: Any) -> None:
    translation = translated(LegacyRequest({"inputs": "hi"}, "anthropic.claude-3-haiku-20240307-v1:0"), CATALOG)
    with pytest.raises(GatewayError) as raised:
        translation.answer([ModelAnswer(answer, TokenUsage())])
    assert (raised.value.status, raised.value.code) == (502, "upstream_unreadable")


TOOLS = {"tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": {"type": "object"}}}}]}


@pytest.mark.parametrize("name", ["tool_config", "toolConfig"])
@pytest.mark.parametrize("messages_api", [True, False])
@pytest.mark.parametrize("model_id", ["amazon.nova-lite-v1:0", "anthropic.claude-3-haiku-20240307-v1:0"])
def test_tools_are_told_and_their_calls_come_back(model_id: str, messages_api: bool, name: str) -> None:
    use = {"toolUse": {"name": "t", "toolUseId": "1", "input": {}}}
    turns = [
        {"role": "user", "content": [{"text": "hi"}]}, {"role": "assistant", "content": [use]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "1", "content": [{"text": "9"}]}}]},
    ]  # fmt: skip
    sent = {"inputs": turns, name: TOOLS, "parameters": {"maxTokens": 9}}
    translation = translated(LegacyRequest(sent, model_id, messages_api=messages_api), CATALOG)
    (call,) = translation.calls
    assert call.api == "Converse"
    assert call.body == {"messages": turns, "inferenceConfig": {"maxTokens": 9}, "toolConfig": TOOLS}
    body = {"output": {"message": {"content": [{"text": "I look."}, use]}}}
    assert translation.answer([ModelAnswer(body, TokenUsage())]) == [{"generated_text": [use]}]
    assert translation.warnings == ()


@pytest.mark.parametrize("said", [[[0.5, 1.5], [2.5, 3.5]], [[0.5, 1.5]], [0.5, 1.5], [[[0.5], [1.5]]], [0.5]], ids=str)
def test_an_endpoint_s_vectors_come_as_its_container_said_them(said: Any) -> None:
    request = LegacyRequest({"inputs": {"text_inputs": ["a", "b"]}}, "our-llama", operation="embeddings")
    (found,) = translated(request, CATALOG).answer([ModelAnswer({"embedding": said}, TokenUsage())])
    assert found["embedding"] == said
    assert found.get("embeddings") == (said if len(said) > 1 and isinstance(said[0], list) else None)


def test_what_a_call_does_not_read_is_named() -> None:
    request = LegacyRequest({"inputs": "hi", "system": "be brief", "tool_choice": "x"}, "amazon.nova-lite-v1:0")
    assert [one.split(" ")[0] for one in translated(request, CATALOG).warnings] == ["system", "tool_choice"]


@pytest.mark.parametrize("name", ["guardrailConfig", "serviceTier", "performanceConfig"])
def test_what_would_make_a_call_less_safe_or_dearer_unseen_is_refused(name: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        translated(LegacyRequest({"inputs": "hi", name: {}}, "amazon.nova-lite-v1:0"), CATALOG)
    assert refused.value.param == name


@pytest.mark.parametrize(
    "name", ["parameters", "additional_model_fields", "tool_config", "toolConfig", "textToImageParams", "text_prompts"]
)
@pytest.mark.parametrize("value", [[1], "x", 5, True, {"a": 1}, []], ids=str)
@pytest.mark.parametrize("model_id", ["amazon.nova-lite-v1:0", "our-llama"])
def test_what_streams_refuses_the_same_bodies_and_reads_all_others(model_id: str, name: str, value: Any) -> None:
    """/stream_model has the compiled check before it, in the place of the generated classes."""
    sent = {"inputs": "hi", name: value}
    try:
        InvokeModelRequest.model_validate(sent, strict=True)
    except ValidationError:
        with pytest.raises(BadRequestError) as refused:
            checked(sent, stream_model, misfit)
        assert refused.value.param is not None
        assert refused.value.param.partition("[")[0] == name
    else:
        translated(LegacyRequest(checked(sent, stream_model, misfit), model_id), CATALOG)


def test_a_request_survives_the_queue() -> None:
    request = LegacyRequest({"inputs": "hi"}, "m", None, "embeddings", True)
    assert LegacyRequest.from_json(request.to_json()) == request


@pytest.mark.parametrize(
    ("text", "expected"), [("true", True), ("TRUE", True), (" True ", True), ("yes", False), ("", False), (None, False)]
)
def test_a_header_is_true_in_any_case(text: str | None, expected: bool) -> None:
    assert flag(text) is expected


@pytest.mark.parametrize(
    ("body", "more"),
    [
        ({"inputs": ["x"] * 91}, {"operation": "embeddings"}),
        ({"inputs": 5}, {"messages_api": True}),
        ({"inputs": [{"role": "user", "content": [{"image": {"source": {"bytes": "?"}}}]}]}, {"messages_api": True}),
        ({}, {"operation": "image"}),
    ],
)
def test_what_no_model_could_take_is_refused_before_a_row_is_made(body: dict[str, Any], more: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError):
        made("amazon.titan-embed-text-v1", body, **more)


CLAUDE_BODY = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 64_000,
    "messages": [{"role": "user", "content": "hi"}],
}


@pytest.mark.parametrize(
    ("model_id", "body", "operation"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", {"parameters": CLAUDE_BODY}, "image"),
        ("anthropic.claude-3-haiku-20240307-v1:0", CLAUDE_BODY, "image"),
        ("anthropic.claude-3-haiku-20240307-v1:0", {"inputs": CLAUDE_BODY}, "embeddings"),
        ("anthropic.claude-3-haiku-20240307-v1:0", {"inputs": CLAUDE_BODY}, "embeddings-image"),
        ("amazon.nova-canvas-v1:0", {"inputs": {"taskType": "TEXT_IMAGE"}}, "embeddings"),
        ("amazon.titan-embed-text-v2:0", {"parameters": {"inputText": "a"}}, "image"),
    ],
)
def test_a_model_of_one_kind_is_not_called_as_another(model_id: str, body: dict[str, Any], operation: str) -> None:
    """An image has no tokens to pay, and a vector no answer to hold for: text must not pass as either."""
    with pytest.raises(BadRequestError) as refused:
        made(model_id, body, operation=operation)
    assert refused.value.code == "invalid_type"


def test_a_profile_of_one_model_is_not_called_at_the_price_of_another() -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-4-20250514-v1:0"
    assert CATALOG.find("anthropic.claude-opus-4-20250514-v1:0", arn).target == arn
    with pytest.raises(BadRequestError) as refused:
        CATALOG.find("amazon.nova-micro-v1:0", arn)
    assert refused.value.code == "invalid_model_arn"


def test_a_foundation_models_arn_is_that_model_and_no_other() -> None:
    model_id = "anthropic.claude-opus-4-20250514-v1:0"
    arn = f"arn:aws:bedrock:us-east-1::foundation-model/{model_id}"
    for named in (model_id, f"us.{model_id}"):  # what is called is what has to be allowed
        found = CATALOG.find(named, arn)
        assert (found.id, found.target, found.own_arn) == (model_id, arn, False)
    with pytest.raises(BadRequestError) as refused:
        CATALOG.find("amazon.nova-micro-v1:0", arn)
    assert refused.value.code == "invalid_model_arn"


def test_an_endpoint_of_sagemaker_is_called_by_its_name_whatever_arn_stands_beside_it() -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc123"
    catalog = Catalog({"our-llama": "llama-endpoint"})
    assert catalog.find("our-llama", arn) == catalog.find("our-llama")


@pytest.mark.parametrize(("asked", "images"), [("5", 5), (5.0, 5), (float("nan"), 1), (True, 1), (None, 1)])
def test_images_are_counted_however_their_number_is_written(asked: Any, images: int) -> None:
    sent = {"textToImageParams": {"text": "a"}, "imageGenerationConfig": {"numberOfImages": asked}}
    (call,) = made("amazon.titan-image-generator-v1", sent, operation="image")
    assert call.images == images

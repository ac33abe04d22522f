"""The two oldest operations' wire format: one body for every model, an array of one object back.

`translate` turns a request into model calls in each provider's own shape; `Translation.answer` turns the models'
answers into the array. A provider's shape stands once: in `TEXT`, by the first rule that fits the model's id.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from gateway.calls.call import ModelAnswer, ModelCall
from gateway.calls.catalog import Model, Service
from gateway.core.errors import BadRequestError, GatewayError, SchemaError
from gateway.formats.embeddings import embedding_calls, vectors_of
from gateway.formats.fitting.calls import fitted
from gateway.formats.image_models import IMAGE_MODELS, Json, number, stability_class, titan_class
from gateway.formats.legacy.text_bodies import INFERENCE, TEXT, as_converse

OPERATIONS = ("text", "embeddings", "embeddings-image", "image")


@dataclass(frozen=True)
class LegacyRequest:
    """What a tenant sent, as plain JSON values, fit to be queued."""

    body: Json
    model_id: str | None = None
    model_arn: str | None = None
    operation: str = "text"
    messages_api: bool = False

    def to_json(self) -> Json:
        return {
            "body": self.body,
            "model_id": self.model_id,
            "model_arn": self.model_arn,
            "operation": self.operation,
            "messages_api": self.messages_api,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LegacyRequest:
        return cls(**values)


@dataclass(frozen=True)
class Translation:
    """The calls that a request asks for, how their answers read, and what of the request was left out."""

    calls: tuple[ModelCall, ...]
    read: Callable[[Sequence[Any]], Json]
    warnings: tuple[str, ...] = ()

    @property
    def all_warnings(self) -> tuple[str, ...]:
        """What was left out of the request, and adapted in its calls."""
        return (*self.warnings, *(warning for call in self.calls for warning in call.warnings))

    def answer(self, answers: Sequence[ModelAnswer]) -> list[Json]:
        """The array of one object. Raises a 502 problem where a model's answer has not the shape of its kind."""
        try:
            return [self.read([answer.body for answer in answers])]
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            raise GatewayError(
                "The model's response has an unexpected format.", code="upstream_unreadable", status=502
            ) from error


def flag(text: str | None) -> bool:
    """A header that is `true` in any case."""
    return (text or "").strip().lower() == "true"


def operation_of(said: str | None) -> str:
    """What the header `type` asks for. Any word that is none of OPERATIONS is text: the first clients send such."""
    word = (said or "").strip().lower()
    return word if word in OPERATIONS else "text"


def misfit(error: SchemaError) -> BadRequestError:
    """The refusal of a body that openapi.yaml forbids."""
    if not error.where:
        return BadRequestError("The body must be a JSON object.", code="invalid_body")
    return BadRequestError(f"{error.where}: {error.sentence}", code="invalid_body", param=error.where)


def translate(request: LegacyRequest, model: Model) -> Translation:
    """The calls of one model that a request asks for. Raises BadRequestError with what to do."""
    if request.operation not in OPERATIONS:
        raise BadRequestError(f"The header type must be one of {', '.join(OPERATIONS)}.", code="invalid_type")
    return replace(_translated(model, request), warnings=_left_out(request, model))


# What the body may have, beside what an image model reads.
_READ = ("inputs", "parameters", "additional_model_fields")
_TOOLS = ("tool_config", "toolConfig")
# To leave these out in silence would make a call less safe, or dearer, than its sender believes.
_NOT_LEFT_OUT = frozenset(
    {"guardrailConfig", "guardrail_config", "guardrailIdentifier", "serviceTier", "service_tier", "performanceConfig"}
)


def _left_out(request: LegacyRequest, model: Model) -> tuple[str, ...]:
    """Warnings of what no part of the call reads. Raises BadRequestError for what must not be left out in silence."""
    if request.operation == "image":
        return ()  # an image model gets all of it
    with_tools = request.operation == "text" and model.service is Service.BEDROCK
    read = (*_READ, *(_TOOLS if with_tools else ()))
    others = sorted(name for name in request.body if name not in read)
    for name in _NOT_LEFT_OUT.intersection(others):
        message = f"{name} is not supported here. Use /model/…/converse, or ask the gateway operators for a guardrail."
        raise BadRequestError(message, code="unsupported_field", param=name)
    return tuple(f"{name} is ignored: this operation does not support it" for name in others)


def _translated(model: Model, request: LegacyRequest) -> Translation:
    parameters = request.body.get("parameters") or {}
    if model.service is Service.SAGEMAKER:
        return _sagemaker(model, request, parameters)
    # What a call may cost, and how it is counted, goes by its kind: no model is called as one of another kind.
    if request.operation == "image":
        if not IMAGE_MODELS.match(model.base):
            raise BadRequestError("This model creates no images. Send the header type: text.", code="invalid_type")
        return _images(model, request, parameters)
    if request.operation != "text":
        if "embed" not in model.base:
            raise BadRequestError("This model creates no embeddings. Send the header type: text.", code="invalid_type")
        return _embeddings(model, request, parameters)
    additional = request.body.get("additional_model_fields") or {}
    tools = request.body.get("tool_config") or request.body.get("toolConfig") or {}
    if request.messages_api:
        return _converse(model, _inputs(request), parameters, additional, tools)
    if tools:  # a family's own body has other tools, or none
        return _converse(model, _inputs(request), *as_converse(parameters, additional), tools)
    return _text(model, _inputs(request), parameters, additional)


def translations(request: LegacyRequest, models: Sequence[Model]) -> list[Translation]:
    """The request for each model that may be called. Raises BadRequestError for the first choice.

    A fallback that cannot read the request is left out.
    """
    found = [translate(request, models[0])]
    for model in models[1:]:
        with suppress(BadRequestError):
            found.append(translate(request, model))
    return found


def _inputs(request: LegacyRequest) -> Any:
    inputs = request.body.get("inputs")
    if inputs in (None, "", [], {}):
        raise BadRequestError("Send the prompt in inputs.", code="inputs_missing")
    return inputs


def _text(model: Model, inputs: Any, parameters: Json, additional: Json) -> Translation:
    shape = next((shape for shape in TEXT if shape.ids.match(model.base)), None)
    if shape is None or not (isinstance(inputs, str) or (shape.lists and isinstance(inputs, list))):
        return _converse(model, inputs, *as_converse(parameters, additional))
    body = shape.body(inputs, parameters)
    answers = number(body.get(shape.answers), 1)
    call = ModelCall(model, "text", "InvokeModel", body, output_path=shape.output, answers=max(answers, 1))
    return Translation((fitted(call),), lambda bodies: {"generated_text": shape.text(bodies[0])})


# --------------------------------------------------------------------------------------------------------- Converse
def _checked(value: Any) -> Any:
    """Converse content, whose every `source.bytes` is base64."""
    if isinstance(value, list):
        for item in value:
            _checked(item)
    elif isinstance(value, dict):
        source = value.get("source")
        if isinstance(source, dict) and isinstance(source.get("bytes"), str):
            _must_be_base64(source["bytes"])
        for item in value.values():
            _checked(item)
    return value


def _must_be_base64(text: str) -> None:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequestError("source.bytes must be base64.", code="invalid_base64") from error


def _converse(model: Model, inputs: Any, parameters: Json, additional: Json, tools: Json | None = None) -> Translation:
    if isinstance(inputs, str):
        inputs = [{"role": "user", "content": [{"text": inputs}]}]
    if not isinstance(inputs, list):
        raise BadRequestError("inputs must be a string or a list of Converse messages.", code="invalid_inputs")
    inference = {INFERENCE.get(name, name): value for name, value in parameters.items()}
    system = inference.pop("system", None)
    body: Json = {"messages": _checked(inputs)}
    if system:
        body["system"] = [{"text": system}] if isinstance(system, str) else system
    if inference:
        body["inferenceConfig"] = inference
    if additional:
        body["additionalModelRequestFields"] = additional
    if tools:
        body["toolConfig"] = tools
    call = ModelCall(model, "text", "Converse", body, output_path=("inferenceConfig", "maxTokens"))
    return Translation((fitted(call),), lambda bodies: {"generated_text": _converse_text(bodies[0])})


def _converse_text(body: Json) -> str | list[Json]:
    """The text of an answer; where the model calls tools, its calls alone."""
    blocks = body["output"]["message"]["content"]
    if calls := [{"toolUse": block["toolUse"]} for block in blocks if "toolUse" in block]:
        return calls
    return "".join(block.get("text", "") for block in blocks)


# ------------------------------------------------------------------------------------------------------- embeddings
def _embedding_result(vectors: list[Any], many: bool) -> Json:
    return {"embedding": vectors[0]} | ({"embeddings": vectors} if many else {})


def _embeddings(model: Model, request: LegacyRequest, parameters: Json) -> Translation:
    inputs = _inputs(request)
    items = inputs if isinstance(inputs, list) else [inputs]
    many = len(items) > 1
    calls = embedding_calls(model, request.operation, items, parameters)
    return Translation(calls, lambda answers: _embedding_result(vectors_of(model, answers), many))


# ----------------------------------------------------------------------------------------------------------- images
def _images(model: Model, request: LegacyRequest, parameters: Json) -> Translation:
    own = {
        name: value
        for name, value in request.body.items()
        if name not in ("inputs", "parameters", "additional_model_fields")
    }
    prompt = request.body.get("inputs")
    if model.provider == "stability":
        body = _stability(model, own, prompt) | parameters
        return _image_call(model, request, body, stability_class(body), "artifacts")
    if prompt and "textToImageParams" not in own:
        own["textToImageParams"] = {"text": prompt} if isinstance(prompt, str) else prompt
    if not own and not parameters:
        raise BadRequestError("Send the prompt in textToImageParams.", code="inputs_missing")
    body = {"taskType": "TEXT_IMAGE"} | own | parameters if "textToImageParams" in own else own | parameters
    return _image_call(model, request, body, titan_class(body), "images")


def _stability(model: Model, own: Json, prompt: Any) -> Json:
    diffusion_xl = "stable-diffusion-xl" in model.base
    if diffusion_xl and prompt and "text_prompts" not in own:
        own["text_prompts"] = [{"text": prompt}] if isinstance(prompt, str) else prompt
    if not diffusion_xl and "prompt" not in own:
        prompts = own.pop("text_prompts", None)
        text = prompts[0].get("text") if prompts and isinstance(prompts[0], dict) else prompt
        if text:
            own["prompt"] = text
    if not own:
        raise BadRequestError("Send the prompt in text_prompts.", code="inputs_missing")
    return own


def _image_call(model: Model, request: LegacyRequest, body: Json, price_class: str, name: str) -> Translation:
    config = body.get("imageGenerationConfig") or {}
    asked = body.get("samples") if name == "artifacts" else isinstance(config, dict) and config.get("numberOfImages")
    images = max(number(asked, 1), 1)
    call = ModelCall(model, request.operation, "InvokeModel", body, image_class=price_class, images=images)
    return Translation(
        (call,), lambda bodies: {name: _artifacts(bodies[0]) if name == "artifacts" else bodies[0]["images"]}
    )


def _artifacts(body: Json) -> list[Json]:
    """Stable Diffusion XL answers artifacts; the models after it answer bare images."""
    if "artifacts" in body:
        return list(body["artifacts"])
    return [{"base64": image} for image in body["images"]]


# -------------------------------------------------------------------------------------------------------- SageMaker
def _sagemaker(model: Model, request: LegacyRequest, parameters: Json) -> Translation:
    if request.operation == "image":
        raise BadRequestError("SageMaker endpoints support text and embeddings here, not images.", code="invalid_type")
    inputs = _inputs(request)
    rest = dict(parameters)
    component = rest.pop("InferenceComponentName", "")
    body: Json
    if request.messages_api:
        body = {"messages": inputs, **rest}
    elif isinstance(inputs, dict):
        body = {**inputs, **rest}
    else:
        body = {"inputs": inputs, "parameters": rest}
    call = ModelCall(
        model, request.operation, "InvokeEndpoint", body, inference_component=component, answers=_answers_of(body)
    )
    if request.operation != "text":
        return Translation((call,), lambda bodies: _endpoint_embedding(bodies[0]))
    return Translation((call,), lambda bodies: {"generated_text": endpoint_text(bodies[0])})


def _answers_of(body: Json) -> int:
    """How many answers a container makes at least: one for each prompt, of text or of tokens, in a list of them."""
    lists = [part for name in ("inputs", "prompt", "text_inputs") if isinstance(part := body.get(name), list)]
    return max([1, *(sum(isinstance(prompt, str | list) for prompt in part) for part in lists)])


def endpoint_text(body: Any) -> Any:
    """The text of an endpoint's answer: `[0].generated_text`, or the first choice's message."""
    first = body[0] if isinstance(body, list) else body
    if "choices" in first:
        return first["choices"][0]["message"]["content"] or ""
    return first["generated_text"]


def _endpoint_embedding(body: Any) -> Json:
    """What the container said: one vector, or all of them, nested as it nests them."""
    said = body["embedding"]
    if not isinstance(said, list):
        raise TypeError("no vectors")
    return {"embedding": said} | ({"embeddings": said} if len(said) > 1 and isinstance(said[0], list) else {})

"""The two oldest operations' wire format: one body for every model, an array of one object back.

`translate` turns a request into model calls in each provider's own shape; `Translation.answer` turns the models'
answers into the array. A provider's shape stands once: in `_TEXT`, by the first rule that fits the model's id.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from gateway.attempts import permitted
from gateway.catalog import Catalog, Model, Service
from gateway.errors import BadRequest, GatewayError
from gateway.invocation import ModelAnswer, ModelCall
from gateway.routing import Route
from gateway.tenants import Tenant
from gateway.token_bounds import count_of
from gateway.usage import image_class
from gateway.wire.embeddings import embedding_calls, vectors_of
from gateway.wire.fitting.calls import fitted

Json = dict[str, Any]

DEFAULT_MAX_TOKENS = 1024
OPERATIONS = ("text", "embeddings", "embeddings-image", "image")
IMAGE_MODELS = re.compile(r"stability\.|amazon\.(titan-image|nova-canvas)")


@dataclass(frozen=True)
class CompatRequest:
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
    def from_json(cls, values: Mapping[str, Any]) -> CompatRequest:
        return cls(**values)


@dataclass(frozen=True)
class Translation:
    """The calls that a request asks for, and how their answers read."""

    calls: tuple[ModelCall, ...]
    read: Callable[[Sequence[Any]], Json]

    def answer(self, answers: Sequence[ModelAnswer]) -> list[Json]:
        """The array of one object. Raises a 502 problem where a model's answer has not the shape of its kind."""
        try:
            return [self.read([answer.body for answer in answers])]
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise GatewayError(
                "The model's answer has not the expected shape.", code="upstream_unreadable", status=502
            ) from error


def flag(text: str | None) -> bool:
    """A header that is `true` in any case."""
    return (text or "").strip().lower() == "true"


def translate(request: CompatRequest, catalog: Catalog) -> Translation:
    """The model calls of a request. Raises BadRequest with what to do."""
    model = catalog.find(request.model_id, request.model_arn)
    if request.operation not in OPERATIONS:
        raise BadRequest(f"The header type must be one of {', '.join(OPERATIONS)}.", code="invalid_type")
    parameters = {} if request.body.get("parameters") is None else request.body["parameters"]
    if not isinstance(parameters, dict):
        raise BadRequest("parameters must be an object.", code="invalid_parameters")
    if model.service is Service.SAGEMAKER:
        return _sagemaker(model, request, parameters)
    # What a call may cost, and how it is counted, goes by its kind: no model is called as one of another kind.
    if request.operation == "image":
        if not IMAGE_MODELS.match(model.base):
            raise BadRequest("This model makes no images. Send the header type: text.", code="invalid_type")
        return _images(model, request, parameters)
    if request.operation != "text":
        if "embed" not in model.base:
            raise BadRequest("This model makes no embeddings. Send the header type: text.", code="invalid_type")
        return _embeddings(model, request, parameters)
    if request.messages_api:
        return _converse(model, _inputs(request), parameters, request.body.get("additional_model_fields") or {})
    return _text(model, _inputs(request), parameters, request.body.get("additional_model_fields") or {})


def translations(
    request: CompatRequest, route: Route, catalog: Catalog, tenant: Tenant, *, by_default: bool
) -> list[Translation]:
    """The request for each model of its route that the tenant may call. Raises GatewayError for the first choice.

    `model_arn` stands for the first alone. A fallback that cannot read the request is left out.
    """
    arn = {route.models[0]: request.model_arn}
    models = permitted(
        route, tenant, request.operation, lambda name: catalog.find(name, arn.get(name)), by_default=by_default
    )
    first, *others = (replace(request, model_id=model.id, model_arn=arn.get(model.id)) for model in models)
    found = [translate(first, catalog)]
    for other in others:
        with suppress(BadRequest):
            found.append(translate(other, catalog))
    return found


def _inputs(request: CompatRequest) -> Any:
    inputs = request.body.get("inputs")
    if inputs in (None, "", [], {}):
        raise BadRequest("Send what the model is to read in inputs.", code="inputs_missing")
    return inputs


# ------------------------------------------------------------------------------------------------------------- text


def _claude_v2(inputs: str, parameters: Json) -> Json:
    prompt = inputs if "\n\nHuman:" in inputs else f"\n\nHuman: {inputs}\n\nAssistant:"
    return {"prompt": prompt, "max_tokens_to_sample": 256, **parameters}


def _claude(inputs: str | list[Any], parameters: Json) -> Json:
    messages = [{"role": "user", "content": inputs}] if isinstance(inputs, str) else inputs
    rest = dict(parameters)
    max_tokens = rest.pop("max_tokens_to_sample", DEFAULT_MAX_TOKENS)
    return {"anthropic_version": "bedrock-2023-05-31", "max_tokens": max_tokens, "messages": messages, **rest}


def _jamba(inputs: str | list[Any], parameters: Json) -> Json:
    messages = [{"role": "user", "content": inputs}] if isinstance(inputs, str) else inputs
    return {"messages": messages, **parameters}


def _prompt(inputs: str, parameters: Json) -> Json:
    return {"prompt": inputs, **parameters}


def _claude_text(body: Json) -> str:
    return "".join(block.get("text", "") for block in body["content"])


@dataclass(frozen=True)
class TextShape:
    """How one family of models is asked for text, and where the text is."""

    ids: re.Pattern[str]
    body: Callable[[Any, Json], Json]
    text: Callable[[Json], Any]
    output: tuple[str, ...] = ("max_tokens",)  # where its body says how many tokens it may make
    answers: str = ""  # where its body says how many answers
    lists: bool = False  # does its own body take a list of messages?


_TEXT = (
    TextShape(
        re.compile(r"amazon\.titan-t"),
        lambda inputs, parameters: {"inputText": inputs, "textGenerationConfig": parameters},
        lambda body: body["results"][0]["outputText"],
        ("textGenerationConfig", "maxTokenCount"),
    ),
    TextShape(
        re.compile(r"anthropic\.claude-(v1|v2|instant)"),
        _claude_v2,
        lambda body: body["completion"],
        ("max_tokens_to_sample",),
    ),
    TextShape(re.compile(r"anthropic\."), _claude, _claude_text, lists=True),
    TextShape(
        re.compile(r"ai21\.jamba"),
        _jamba,
        lambda body: body["choices"][0]["message"]["content"] or "",
        answers="n",
        lists=True,
    ),
    TextShape(
        re.compile(r"ai21\.j"),
        _prompt,
        lambda body: body["completions"][0]["data"]["text"],
        ("maxTokens",),
        answers="numResults",
    ),
    TextShape(
        re.compile(r"cohere\.command-(text|light)"),
        _prompt,
        lambda body: body["generations"][0]["text"],
        answers="num_generations",
    ),
    TextShape(
        re.compile(r"cohere\.command-r"),
        lambda inputs, parameters: {"message": inputs, **parameters},
        lambda body: body["text"],
    ),
    TextShape(re.compile(r"meta\."), _prompt, lambda body: body["generation"], ("max_gen_len",)),
    TextShape(
        re.compile(r"mistral\.(mistral-7b|mixtral|mistral-large-2402|mistral-small-2402)"),
        _prompt,
        lambda body: body["outputs"][0]["text"],
    ),
)


def _text(model: Model, inputs: Any, parameters: Json, additional: Json) -> Translation:
    shape = next((shape for shape in _TEXT if shape.ids.match(model.base)), None)
    if shape is None or not (isinstance(inputs, str) or (shape.lists and isinstance(inputs, list))):
        return _converse(model, inputs, *_as_converse(parameters, additional))
    body = shape.body(inputs, parameters)
    answers = number(body.get(shape.answers), 1)
    call = ModelCall(model, "text", "InvokeModel", body, output_path=shape.output, answers=max(answers, 1))
    return Translation((fitted(call),), lambda bodies: {"generated_text": shape.text(bodies[0])})


# Parameters by the names that providers' own bodies use, as Converse has them.
_INFERENCE = {
    "max_tokens": "maxTokens", "max_new_tokens": "maxTokens", "max_gen_len": "maxTokens", "maxTokens": "maxTokens",
    "temperature": "temperature", "top_p": "topP", "topP": "topP",
    "stop": "stopSequences", "stop_sequences": "stopSequences", "stopSequences": "stopSequences", "system": "system",
}  # fmt: skip


def _as_converse(parameters: Json, additional: Json) -> tuple[Json, Json]:
    """A provider's parameters as Converse's; those that Converse has no name for go along as additional fields."""
    known = {_INFERENCE[name]: value for name, value in parameters.items() if name in _INFERENCE}
    return known, {name: value for name, value in parameters.items() if name not in _INFERENCE} | additional


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
        raise BadRequest("source.bytes must be base64.", code="invalid_base64") from error


def _converse(model: Model, inputs: Any, parameters: Json, additional: Json) -> Translation:
    if isinstance(inputs, str):
        inputs = [{"role": "user", "content": [{"text": inputs}]}]
    if not isinstance(inputs, list):
        raise BadRequest("inputs must be a string or Converse's list of messages.", code="invalid_inputs")
    inference = dict(parameters)
    system = inference.pop("system", None)
    body: Json = {"messages": _checked(inputs)}
    if system:
        body["system"] = [{"text": system}] if isinstance(system, str) else system
    if inference:
        body["inferenceConfig"] = inference
    if additional:
        body["additionalModelRequestFields"] = additional
    call = ModelCall(model, "text", "Converse", body, output_path=("inferenceConfig", "maxTokens"))
    return Translation((fitted(call),), lambda bodies: {"generated_text": _converse_text(bodies[0])})


def _converse_text(body: Json) -> str:
    return "".join(block.get("text", "") for block in body["output"]["message"]["content"])


# ------------------------------------------------------------------------------------------------------- embeddings


def _embedding_result(vectors: list[Any], many: bool) -> Json:
    return {"embedding": vectors[0]} | ({"embeddings": vectors} if many else {})


def _embeddings(model: Model, request: CompatRequest, parameters: Json) -> Translation:
    inputs = _inputs(request)
    items = inputs if isinstance(inputs, list) else [inputs]
    many = len(items) > 1
    calls = embedding_calls(model, request.operation, items, parameters)
    return Translation(calls, lambda answers: _embedding_result(vectors_of(model, answers), many))


# ----------------------------------------------------------------------------------------------------------- images


def _images(model: Model, request: CompatRequest, parameters: Json) -> Translation:
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
        raise BadRequest("Send the prompt in textToImageParams.", code="inputs_missing")
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
        raise BadRequest("Send the prompt in text_prompts.", code="inputs_missing")
    return own


def number(value: Any, default: int) -> int:
    """A number of a request, rounded up; what is none counts as the default and is the model's to refuse."""
    count = None if isinstance(value, bool) else count_of(value)
    return default if count is None else count


def stability_class(body: Json) -> str:
    """Stable Diffusion's class: its size (1024 by default) and its steps, premium above 50."""
    size = number(body.get("width"), 1024), number(body.get("height"), 1024)
    return image_class(*size, premium=number(body.get("steps"), 30) > 50)


def titan_class(body: Json) -> str:
    """Titan's and Nova's class: size (1024 by default) and quality of imageGenerationConfig."""
    config = body.get("imageGenerationConfig")
    config = config if isinstance(config, dict) else {}
    size = number(config.get("width"), 1024), number(config.get("height"), 1024)
    return image_class(*size, premium=config.get("quality") == "premium")


def _image_call(model: Model, request: CompatRequest, body: Json, price_class: str, name: str) -> Translation:
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


def _sagemaker(model: Model, request: CompatRequest, parameters: Json) -> Translation:
    if request.operation == "image":
        raise BadRequest("A SageMaker endpoint makes text or embeddings here, no images.", code="invalid_type")
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
    call = ModelCall(model, request.operation, "InvokeEndpoint", body, inference_component=component)
    if request.operation != "text":
        return Translation((call,), lambda bodies: _endpoint_embedding(bodies[0], isinstance(inputs, list)))
    return Translation((call,), lambda bodies: {"generated_text": endpoint_text(bodies[0])})


def endpoint_text(body: Any) -> Any:
    """The text of an endpoint's answer: `[0].generated_text`, or the first choice's message."""
    first = body[0] if isinstance(body, list) else body
    if "choices" in first:
        return first["choices"][0]["message"]["content"] or ""
    return first["generated_text"]


def _endpoint_embedding(body: Any, many: bool) -> Json:
    vector = body["embedding"]
    nested = bool(vector) and isinstance(vector[0], list)
    return _embedding_result(vector if nested else [vector], many and nested and len(vector) > 1)

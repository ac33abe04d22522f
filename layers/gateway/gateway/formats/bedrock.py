"""Bedrock's own operations: what boto3 sends goes on as it came, and what the service answers comes back so.

Of a request only what it may cost is read: which part of its body bounds the answer, and what it makes; and what the
family of its model is known to refuse is left out or adapted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.calls.call import ModelCall
from gateway.calls.catalog import Model, Service
from gateway.calls.claims import Claim, claimed_labels
from gateway.calls.eventstream import CONTENT_TYPE, Frame, encode, exception
from gateway.calls.streaming import MeteredUsage
from gateway.core.errors import BadRequestError, GatewayError, SchemaError, UpstreamError
from gateway.formats.anthropic.claims import claim_of_message
from gateway.formats.embeddings import pictures_in
from gateway.formats.fitting.calls import fitted
from gateway.formats.image_models import IMAGE_MODELS, number, stability_class, titan_class

Json = dict[str, Any]

# Where a family's body says how many tokens the answer may have; the first that fits an id. Others: as OpenAI.
_OUTPUT: tuple[tuple[re.Pattern[str], tuple[tuple[str, ...], ...]], ...] = (
    (re.compile(r"anthropic\."), (("max_tokens",), ("max_tokens_to_sample",))),
    (re.compile(r"amazon\.nova"), (("inferenceConfig", "maxTokens"), ("inferenceConfig", "max_new_tokens"))),
    (re.compile(r"amazon\.titan-t"), (("textGenerationConfig", "maxTokenCount"),)),
    (re.compile(r"ai21\.j2"), (("maxTokens",),)),
    (re.compile(r"meta\."), (("max_gen_len",),)),
    (re.compile(r"openai\."), (("max_completion_tokens",), ("max_tokens",))),
)
# What a client may say beside the body, and the service says beside its answer.
_TOLD = "x-amzn-bedrock-"
_METADATA = "x-amzn-bedrock-request-metadata"

# Bedrock's name of a fault for each status that the gateway itself answers.
_TYPES = {
    400: "ValidationException",
    401: "AccessDeniedException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    409: "ConflictException",
    413: "ValidationException",
    415: "ValidationException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}
# Bedrock's own statuses where ours for the same fault is another. Source: the service model of bedrock-runtime.
_STATUSES = {"InternalServerException": 500, "ModelNotReadyException": 429, "ServiceUnavailableException": 503}


def read_converse(model: Model, body: Json, *, streaming: bool) -> ModelCall:
    """A Converse request that fits openapi.yaml, as a call. Raises BadRequestError for a model that is no Bedrock's."""
    api = "ConverseStream" if streaming else "Converse"
    return fitted(ModelCall(_bedrock(model), "text", api, body, output_path=("inferenceConfig", "maxTokens")))


def read_invoke(model: Model, body: Json, headers: Mapping[str, str], *, streaming: bool) -> ModelCall:
    """An InvokeModel request as a call. Raises BadRequestError."""
    base = _bedrock(model).base
    told = {name: text for name, text in headers.items() if name.startswith(_TOLD) and name != _METADATA}
    accept = headers.get("accept", "*/*")
    if "*/*" not in accept and "json" not in accept:
        # An answer that is no JSON cannot be metered, and the model would have run.
        raise BadRequestError("Accept must be application/json: usage is read from JSON.", code="invalid_accept")
    told |= {"accept": "application/json"} if "accept" in headers else {}
    api = "InvokeModelWithResponseStream" if streaming else "InvokeModel"
    if IMAGE_MODELS.match(base):
        stability = base.startswith("stability.")
        config = body.get("imageGenerationConfig")
        asked = body.get("samples") if stability else config.get("numberOfImages") if isinstance(config, dict) else 1
        price_class = stability_class(body) if stability else titan_class(body)
        made = max(number(asked, 1), 1)
        return ModelCall(model, "image", api, body, image_class=price_class, images=made, headers=told)
    if "embed" in base:
        shown = pictures_in(model, body)
        return ModelCall(
            model, "embeddings-image" if shown else "embeddings", api, body, input_images=shown, headers=told
        )
    return fitted(ModelCall(model, "text", api, body, output_path=output_path(base, body), headers=told))


def claim_of_converse(body: Json) -> Claim:
    return claimed_labels("requestMetadata", body.get("requestMetadata"))


def claim_of_invoke(body: Json, headers: Mapping[str, str]) -> Claim:
    """The labels of the header, which is JSON; and the user of a body of Claude's. Other text in the header is none."""
    try:
        labels = json.loads(headers.get(_METADATA) or "{}")
    except (ValueError, RecursionError):
        labels = None
    return claimed_labels(_METADATA, labels) | claim_of_message(body)


# ---------------------------------------------------------------------------------------------------------- the lists
# What a list may be asked by, and where a model says it. Source: the service model of bedrock, ListFoundationModels.
_FILTERS: Mapping[str, tuple[str, frozenset[str]]] = {
    "byOutputModality": ("outputModalities", frozenset({"TEXT", "IMAGE", "EMBEDDING"})),
    "byInferenceType": ("inferenceTypesSupported", frozenset({"ON_DEMAND", "PROVISIONED"})),
    "byCustomizationType": (
        "customizationsSupported",
        frozenset({"FINE_TUNING", "CONTINUED_PRE_TRAINING", "DISTILLATION"}),
    ),
}
_PROVIDER = re.compile(r"[A-Za-z0-9- ]{1,63}\Z")
_MOST_PROFILES = 1000


def model_filter(query: Mapping[str, str]) -> Callable[[Json], bool]:
    """Which models of the list are asked for. Raises BadRequestError."""
    provider = query.get("byProvider")
    if provider is not None and not _PROVIDER.match(provider):
        raise _invalid("byProvider", "must be the name of a provider.")
    wanted = {}
    for name, (place, words) in _FILTERS.items():
        if (word := query.get(name)) is not None:
            if word not in words:
                raise _invalid(name, f"must be one of {', '.join(sorted(words))}.")
            wanted[place] = word

    def fits(model: Json) -> bool:
        if provider is not None and str(model.get("providerName", "")).lower() != provider.lower():
            return False
        return all(word in (model.get(place) or ()) for place, word in wanted.items())

    return fits


@dataclass(frozen=True)
class ProfilePage:
    """Which inference profiles are asked for: those of a type, `most` of them, from one on."""

    kind: str | None
    most: int
    begin: int

    @classmethod
    def read(cls, query: Mapping[str, str]) -> ProfilePage:
        """Raises BadRequestError."""
        kind = query.get("type", query.get("typeEquals"))  # boto3 sends its parameter typeEquals as `type`
        if kind not in (None, "SYSTEM_DEFINED", "APPLICATION"):
            raise _invalid("type", "must be SYSTEM_DEFINED or APPLICATION.")
        most, token = query.get("maxResults", str(_MOST_PROFILES)), query.get("nextToken", "from-0")
        if not (_is_count(most) and 1 <= int(most) <= _MOST_PROFILES):
            raise _invalid("maxResults", f"must be a whole number from 1 to {_MOST_PROFILES}.")
        if not (token.startswith("from-") and _is_count(token[5:])):
            raise _invalid("nextToken", "must be the nextToken of the previous page.")
        return cls(kind, int(most), int(token[5:]))

    def of(self, profiles: list[Json]) -> Json:
        asked = [profile for profile in profiles if self.kind in (None, profile.get("type"))]
        end = self.begin + self.most
        more = {"nextToken": f"from-{end}"} if end < len(asked) else {}
        return {"inferenceProfileSummaries": asked[self.begin : end], **more}


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 6


def _invalid(name: str, message: str) -> BadRequestError:
    return BadRequestError(f"{name} {message}", code="invalid_parameters", param=name)


def read_count_tokens(model: Model, body: Json) -> ModelCall:
    return ModelCall(_bedrock(model), "text", "CountTokens", body)


def output_path(base: str, body: Json) -> tuple[str, ...]:
    """Where a body of this family says, or would say, how many tokens the answer may have."""
    paths = next((paths for ids, paths in _OUTPUT if ids.match(base)), (("max_tokens",), ("max_completion_tokens",)))
    return next((path for path in paths if _has(body, path)), paths[0])


def _has(body: Any, path: tuple[str, ...]) -> bool:
    for name in path:
        if not isinstance(body, Mapping) or name not in body:
            return False
        body = body[name]
    return body is not None


def misfit(error: SchemaError) -> BadRequestError:
    """The refusal of a body that openapi.yaml forbids."""
    if not error.where:
        return BadRequestError("The body must be a JSON object.", code="invalid_body")
    return BadRequestError(f"{error.where}: {error.sentence}", code="invalid_body", param=error.where)


def _bedrock(model: Model) -> Model:
    if model.service is not Service.BEDROCK:
        message = "This model is a SageMaker endpoint. Use /invoke_model, /stream_model or /v1/chat/completions."
        raise BadRequestError(message, code="invalid_model_id")
    return model


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """Of a service's headers those that a client of Bedrock reads."""
    return {name: text for name, text in headers.items() if name.startswith(_TOLD)}


def problem(error: GatewayError, request_id: str) -> tuple[int, Json, dict[str, str]]:
    """Status, body and headers of an error, as boto3 makes its typed exceptions of."""
    status = error.status
    kind = _TYPES.get(status, "InternalServerException")
    if isinstance(error, UpstreamError) and error.error_type.endswith("Exception"):
        kind = error.error_type
        status = _STATUSES.get(kind, status)
    return (
        status,
        {"message": error.message, "code": error.code, "request_id": request_id},
        {"x-amzn-errortype": kind},
    )


class EventStream:
    """Frames as they came: `application/vnd.amazon.eventstream`."""

    content_type = CONTENT_TYPE
    # An event of a kind that no service model has. Clients should not fail at one (Smithy 2.0, "Event streams", "Client
    # behavior"): botocore and the SDK for JavaScript (aws/aws-sdk-js-v3#1325) leave it out, others call it unknown.
    ping = encode({":event-type": "ping", ":content-type": "application/json", ":message-type": "event"}, b"{}")

    def __init__(self, *, converses: bool = False):
        self._converses = converses

    def write(self, frame: Frame) -> bytes:
        return frame.raw

    def end(self, metered: MeteredUsage) -> bytes:
        return b""

    def error(self, error: GatewayError) -> bytes:
        return event_stream_error(error, converses=self._converses)


# The error events that a stream of Bedrock may have. Source: the service model of bedrock-runtime.
_EVENTS = {
    400: "validationException",
    408: "modelTimeoutException",
    424: "modelStreamErrorException",
    429: "throttlingException",
    503: "serviceUnavailableException",
}


def event_stream_error(error: GatewayError, *, converses: bool = False) -> bytes:
    """The service's own frame, where it sent one; else one of ours."""
    if isinstance(error, UpstreamError) and error.raw:
        return error.raw
    kind = _EVENTS.get(error.status, "internalServerException")
    if converses and kind == "modelTimeoutException":
        kind = "modelStreamErrorException"  # ConverseStream lacks the other, and boto3 would say nothing of it
    return exception(kind, error.message)

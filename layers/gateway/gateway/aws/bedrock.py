"""Amazon Bedrock: the models that can be named, and calling one of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from gateway.aws.clients import client, models_config
from gateway.aws.upstream import refused, unreachable
from gateway.errors import UpstreamError
from gateway.invocation import ModelAnswer, ModelCall
from gateway.usage import TokenUsage, estimate_tokens, from_converse, from_invoke_model


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), default=str)


class BedrockRuntime:
    """`gateway.invocation.Models` on bedrock-runtime."""

    def __init__(self, seconds: float):
        self._bedrock = client("bedrock-runtime", models_config(seconds))

    def call(self, call: ModelCall) -> ModelAnswer:
        try:
            return self._converse(call) if call.api == "Converse" else self._invoke_model(call)
        except ClientError as error:
            raise refused(error) from error
        except BotoCoreError as error:
            raise unreachable(error) from error

    def _converse(self, call: ModelCall) -> ModelAnswer:
        answer = self._bedrock.converse(modelId=call.model.target, **call.body)
        answer.pop("ResponseMetadata", None)
        usage, tier = answer.get("usage") or {}, (answer.get("serviceTier") or {}).get("type")
        return ModelAnswer(answer, measured(call, answer, lambda: from_converse(usage, compact(usage), tier)))

    def _invoke_model(self, call: ModelCall) -> ModelAnswer:
        response = self._bedrock.invoke_model(
            modelId=call.model.target,
            body=json.dumps(call.body),
            contentType="application/json",
            accept="application/json",
        )
        body = _read_json(response["body"].read())
        headers = response["ResponseMetadata"]["HTTPHeaders"]
        return ModelAnswer(body, measured(call, body, lambda: _usage(call, body, headers)))


def measured(call: ModelCall, body: Any, read: Callable[[], TokenUsage | None]) -> TokenUsage:
    """The service's own counts, or an estimate that says so where it gave none that can be read."""
    try:
        usage = read()
    except (KeyError, TypeError, ValueError, AttributeError):
        usage = None
    return usage or _estimated(call, body)


def _read_json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise UpstreamError(
            "The model's answer is not JSON.", code="upstream_unreadable", status=502, error_type="NotJson", ran=True
        ) from error


def _usage(call: ModelCall, body: Any, headers: dict[str, str]) -> TokenUsage | None:
    """What an InvokeModel used. Images are counted in the answer; tokens are the service's own count."""
    counts = {name: value for name, value in headers.items() if name.startswith("x-amzn-bedrock-")}
    if call.operation == "image":
        made = body.get("artifacts") or body.get("images") or () if isinstance(body, dict) else ()
        return TokenUsage(images=len(made), image_class=call.image_class, raw=compact(counts))
    raw = compact({"usage": body.get("usage") if isinstance(body, dict) else None, "headers": counts})
    usage = from_invoke_model(body, headers, raw)
    return replace(usage, input_images=call.input_images) if usage else None


def _estimated(call: ModelCall, body: Any) -> TokenUsage:
    """For a model that reports nothing. Vectors are no text: only what was read is estimated for embeddings."""
    if call.operation != "text":
        return TokenUsage(
            input_tokens=estimate_tokens(compact(call.body)),
            input_images=call.input_images,
            source="estimated:utf8_bytes/4",
        )
    return TokenUsage(
        input_tokens=estimate_tokens(compact(call.body)),
        output_tokens=estimate_tokens(compact(body)),
        source="estimated:utf8_bytes/4",
    )


class BedrockCatalog:
    """The models of this region, as ListFoundationModels gives them."""

    def __init__(self) -> None:
        self._bedrock = client("bedrock")

    def summaries(self) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = self._bedrock.list_foundation_models()["modelSummaries"]
        except ClientError as error:
            raise refused(error) from error
        except BotoCoreError as error:
            raise unreachable(error) from error
        return found

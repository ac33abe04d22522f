"""Amazon Bedrock: the models that can be named, and calling one of them."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from gateway.aws.clients import MODELS, client
from gateway.aws.upstream import refused, unreachable
from gateway.errors import UpstreamError
from gateway.invocation import ModelAnswer, ModelCall
from gateway.usage import TokenUsage, estimate_tokens, from_converse, from_invoke_model


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), default=str)


class BedrockRuntime:
    """`gateway.invocation.Models` on bedrock-runtime."""

    def __init__(self) -> None:
        self._bedrock = client("bedrock-runtime", MODELS)

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
        tier = (answer.get("serviceTier") or {}).get("type")
        return ModelAnswer(answer, from_converse(answer["usage"], compact(answer["usage"]), tier))

    def _invoke_model(self, call: ModelCall) -> ModelAnswer:
        response = self._bedrock.invoke_model(
            modelId=call.model.target,
            body=json.dumps(call.body),
            contentType="application/json",
            accept="application/json",
        )
        body = _read_json(response["body"].read())
        headers = response["ResponseMetadata"]["HTTPHeaders"]
        return ModelAnswer(body, _usage(call, body, headers))


def _read_json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise UpstreamError(
            "The model's answer is not JSON.", code="upstream_unreadable", status=502, error_type="NotJson", ran=True
        ) from error


def _usage(call: ModelCall, body: Any, headers: dict[str, str]) -> TokenUsage:
    """What an InvokeModel used. Images are counted in the answer; tokens are the service's own count."""
    counts = {name: value for name, value in headers.items() if name.startswith("x-amzn-bedrock-")}
    if call.operation == "image":
        made = body.get("artifacts") or body.get("images") or () if isinstance(body, dict) else ()
        return TokenUsage(images=len(made), image_class=call.image_class, raw=compact(counts))
    raw = compact({"usage": body.get("usage") if isinstance(body, dict) else None, "headers": counts})
    usage = from_invoke_model(body, headers, raw)
    if usage is None:
        return _estimated(call, body)
    if call.input_images:
        return TokenUsage(**(vars(usage) | {"input_images": call.input_images}))
    return usage


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

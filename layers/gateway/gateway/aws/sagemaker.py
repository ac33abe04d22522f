"""Amazon SageMaker: calling an endpoint."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from gateway.aws.clients import client, models_config
from gateway.aws.upstream import refused, unreachable
from gateway.errors import UpstreamError
from gateway.invocation import ModelAnswer, ModelCall
from gateway.usage import TokenUsage, estimate_tokens, from_openai


class SageMakerRuntime:
    """`gateway.invocation.Models` on sagemaker-runtime."""

    def __init__(self, seconds: float):
        self._sagemaker = client("sagemaker-runtime", models_config(seconds))

    def call(self, call: ModelCall) -> ModelAnswer:
        component = {"InferenceComponentName": call.inference_component} if call.inference_component else {}
        try:
            response = self._sagemaker.invoke_endpoint(
                EndpointName=call.model.target, Body=json.dumps(call.body), ContentType="application/json", **component
            )
            content = response["Body"].read()
        except ClientError as error:
            raise refused(error) from error
        except BotoCoreError as error:
            raise unreachable(error) from error
        try:
            body = json.loads(content)
        except ValueError as error:
            raise UpstreamError(
                "The endpoint's answer is not JSON.",
                code="upstream_unreadable",
                status=502,
                error_type="NotJson",
                ran=True,
            ) from error
        return ModelAnswer(body, _usage(call, body))


def _usage(call: ModelCall, body: Any) -> TokenUsage:
    """An endpoint's own `usage` where its container gives one; else an estimate, and the row says so."""
    usage = body.get("usage") if isinstance(body, dict) else None
    if isinstance(usage, dict):
        with suppress(KeyError, TypeError, ValueError):
            return from_openai(usage, json.dumps(usage))
    made = _texts(body) if call.operation == "text" else ""
    return TokenUsage(
        input_tokens=estimate_tokens(_texts(call.body)),
        output_tokens=estimate_tokens(made),
        source="estimated:utf8_bytes/4",
    )


def _texts(value: Any) -> str:
    """All strings of a JSON value that a model may have read or written."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "".join(_texts(item) for name, item in value.items() if name not in ("parameters", "role"))
    if isinstance(value, list):
        return "".join(_texts(item) for item in value)
    return ""

"""The old contract's body as a stream: the text while it is being said, then what it used and cost, then `[DONE]`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.calls.call import ModelCall
from gateway.calls.catalog import Model
from gateway.calls.eventstream import Frame
from gateway.calls.streaming import SSE_PING, MeteredUsage
from gateway.core.errors import BadRequestError, GatewayError
from gateway.formats.legacy.requests import LegacyRequest, translations
from gateway.pricing.price_book import money
from gateway.usage.records import TokenUsage
from gateway.usage.stream_counts import endpoint_delta

Json = dict[str, Any]

_STREAMS = {
    "Converse": "ConverseStream",
    "InvokeModel": "InvokeModelWithResponseStream",
    "InvokeEndpoint": "InvokeEndpointWithResponseStream",
}


def as_streams(request: LegacyRequest, models: Sequence[Model]) -> tuple[list[ModelCall], tuple[str, ...]]:
    """A text request as a stream of each model that may be called, and warnings of what was left out.

    Raises BadRequestError for the first choice.
    """
    if request.body.get("tool_config") or request.body.get("toolConfig"):
        message = "This operation streams text only, not tool calls. Send tool_config to /invoke_model."
        raise BadRequestError(message, code="unsupported_field", param="tool_config")
    found = translations(request, models)
    return [_as_stream(*translation.calls) for translation in found], found[0].warnings


def _as_stream(call: ModelCall) -> ModelCall:
    body = call.body
    if call.api == "InvokeEndpoint":
        # Containers stream only when they are asked to; those that speak OpenAI's chat then count on request.
        chat = {"stream_options": {"include_usage": True}} if "messages" in body else {}
        body = {**body, "stream": True, **chat}
    if call.api == "InvokeModel" and call.model.provider == "cohere":
        body = {**body, "stream": True}
    return replace(call, api=_STREAMS[call.api], body=body)


def text_of(frame: Frame) -> str:
    """The text in a frame of any service, wherever its family of models puts it."""
    if frame.kind == "contentBlockDelta":
        return str(frame.json["delta"].get("text") or "")
    if frame.kind == "chunk":
        return _family_text(json.loads(frame.chunk))
    return endpoint_delta(frame.json) if frame.kind == "line" else ""


def _family_text(said: Mapping[str, Any]) -> str:
    if "type" in said:  # Claude's events
        return str((said.get("delta") or {}).get("text") or "")
    if "contentBlockDelta" in said:  # Nova's
        return str(said["contentBlockDelta"]["delta"].get("text") or "")
    if said.get("is_finished") or said.get("event_type") == "stream-end":  # Cohere's last says all of it again
        return ""
    if said.get("outputs"):
        return str(said["outputs"][0].get("text") or "")
    if said.get("choices"):
        first = said["choices"][0]
        return str((first.get("delta") or first.get("message") or {}).get("content") or "")
    return str(next((said[name] for name in ("outputText", "completion", "generation", "text") if said.get(name)), ""))


class LegacyStream:
    """Server-sent events: `{"delta": …}` again and again, then `usage`, then `[DONE]`."""

    content_type = "text/event-stream; charset=utf-8"
    ping = SSE_PING

    def __init__(self, request_id: str):
        self._request_id = request_id

    def write(self, frame: Frame) -> bytes:
        text = text_of(frame)
        return b"data: " + _json({"delta": text}) + b"\n\n" if text else b""

    def end(self, metered: MeteredUsage) -> bytes:
        cost = None if metered.cost is None else money(metered.cost)
        said = {"usage": usage_json(metered.usage), "cost": cost, "request_id": self._request_id}
        return b"event: usage\ndata: " + _json(said) + b"\n\ndata: [DONE]\n\n"

    def error(self, error: GatewayError) -> bytes:
        return b"event: error\ndata: " + _json(problem_json(error, self._request_id)) + b"\n\n"


def usage_json(usage: TokenUsage) -> Json:
    names = (
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_5m_tokens",
        "cache_write_1h_tokens",
        "service_tier",
        "source",
    )
    return {name: getattr(usage, name) for name in names}


def problem_json(error: GatewayError, request_id: str) -> Json:
    return {"code": error.code, "message": error.message, "request_id": request_id}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()

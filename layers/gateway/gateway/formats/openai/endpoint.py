"""Chat completions of a SageMaker endpoint whose container speaks them itself (vLLM, TGI): passed on as they are."""

from __future__ import annotations

import json
from typing import Any

from gateway.calls.call import ModelCall
from gateway.calls.catalog import Model
from gateway.calls.eventstream import Frame
from gateway.calls.streaming import MeteredUsage
from gateway.core.errors import GatewayError
from gateway.formats.openai.chat import ChatStream
from gateway.formats.openai.fields import error_json


def read_endpoint_chat(body: dict[str, Any], model: Model) -> ModelCall:
    """The request as the container reads it. A stream is asked to count, whether or not the client wants to see it."""
    given = {name: value for name, value in body.items() if name != "model"}
    place = ("max_completion_tokens",) if given.get("max_completion_tokens") is not None else ("max_tokens",)
    if not given.get("stream"):
        return ModelCall(model, "text", "InvokeEndpoint", given, output_path=place)
    options = given.get("stream_options")
    counted = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    given["stream_options"] = counted
    return ModelCall(model, "text", "InvokeEndpointWithResponseStream", given, output_path=place)


class EndpointChatStream:
    """The container's own chunks as server-sent events, without the one that only counts where nobody asked for it."""

    content_type, ping = ChatStream.content_type, ChatStream.ping

    def __init__(self, body: dict[str, Any]):
        options = body.get("stream_options")
        self._shows_usage = isinstance(options, dict) and bool(options.get("include_usage"))

    def write(self, frame: Frame) -> bytes:
        if not self._shows_usage and b'"usage"' in frame.payload and not frame.json.get("choices"):
            return b""
        return b"data: " + frame.payload + b"\n\n"

    def end(self, metered: MeteredUsage) -> bytes:
        return b"data: [DONE]\n\n"

    def error(self, error: GatewayError) -> bytes:
        return f"data: {json.dumps({'error': error_json(error)})}\n\n".encode()

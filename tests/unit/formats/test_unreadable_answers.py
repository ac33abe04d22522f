"""A response that violates its service model is the service's failure (502), not the gateway's."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest

from gateway.calls.eventstream import Frame
from gateway.calls.streaming import _read
from gateway.core.errors import GatewayError
from gateway.formats.legacy.streams import LegacyStream
from gateway.formats.openai.chat import ChatStream, read_chat
from gateway.formats.openai.response_answers import ResponsesStream
from gateway.formats.openai.responses import read_response

HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
CHAT = read_chat({"model": HAIKU, "messages": [{"role": "user", "content": "hi"}]}, HAIKU)
RESPONSE = read_response({"model": HAIKU, "input": "hi"}, HAIKU)
WRITERS: dict[str, Any] = {
    "chat": ChatStream(CHAT, "i", 0),
    "responses": ResponsesStream(RESPONSE, "resp_1", 0),
    "compat": LegacyStream("r"),
}


@pytest.mark.parametrize("payload", [[], {"delta": 7}, {"contentBlockIndex": 0, "delta": {"text": 7}}, 7], ids=str)
@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_frame_of_no_known_shape_is_the_service_s_failure(writer: Any, payload: Any) -> None:
    with suppress(GatewayError):  # and no other error: what can be read all the same, may be
        _read(writer, Frame("contentBlockDelta", json.dumps(payload).encode()))


def test_a_frame_that_is_no_json_is_the_service_s_failure() -> None:
    with pytest.raises(GatewayError) as failed:
        _read(WRITERS["chat"], Frame("contentBlockDelta", b"{"))
    assert failed.value.status == 502

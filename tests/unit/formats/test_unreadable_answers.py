"""A response that violates its service model is the service's failure (502), not the gateway's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.calls.eventstream import Frame
from gateway.calls.streaming import StreamWriter, _read
from gateway.core.errors import GatewayError
from gateway.formats.anthropic.messages import read_messages
from gateway.formats.anthropic.streams import TranslatedStream
from gateway.formats.legacy.streams import LegacyStream
from gateway.formats.openai.chat import ChatStream, read_chat
from gateway.formats.openai.response_answers import ResponsesStream
from gateway.formats.openai.responses import read_response

HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
CHAT = read_chat({"model": HAIKU, "messages": [{"role": "user", "content": "hi"}]}, HAIKU)
RESPONSE = read_response({"model": HAIKU, "input": "hi"}, HAIKU)
MESSAGE = read_messages({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]})
WRITERS: dict[str, Callable[[], StreamWriter]] = {
    "chat": lambda: ChatStream(CHAT, "i", 0),
    "responses": lambda: ResponsesStream(RESPONSE, "resp_1", 0),
    "messages": lambda: TranslatedStream(MESSAGE, "msg_1", "r"),
    "compat": lambda: LegacyStream("r"),
}
UNKNOWN = [[], 7, {"delta": 7}, {"contentBlockIndex": 0}]
# OpenAI's streams tell texts alone; the other two pass on the value that they are told.
NO_TEXTS = [{"contentBlockIndex": 0, "delta": delta} for delta in ({"text": 7}, {"toolUse": {"input": 7}})]
CASES = [(name, payload) for name in WRITERS for payload in UNKNOWN]
CASES += [(name, payload) for name in ("chat", "responses") for payload in NO_TEXTS]


@pytest.mark.parametrize(("name", "payload"), CASES, ids=str)
def test_a_frame_of_no_known_shape_is_the_service_s_failure(name: str, payload: Any) -> None:
    with pytest.raises(GatewayError) as failed:
        _read(WRITERS[name](), Frame("contentBlockDelta", json.dumps(payload).encode()))
    assert (failed.value.status, failed.value.code) == (502, "upstream_unreadable")


def test_a_frame_that_is_no_json_is_the_service_s_failure() -> None:
    with pytest.raises(GatewayError) as failed:
        _read(WRITERS["chat"](), Frame("contentBlockDelta", b"{"))
    assert failed.value.status == 502

"""The distance from a function's app.py to the call of Bedrock: the files whose functions call one another on the way.

The streaming transport (gateway/web) comes before app.py and is not counted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.aws.models.bedrock import BedrockRuntime

from .conftest import context, event
from .test_stream_model import HAIKU, ask

ROOT = Path(__file__).parents[2]
MOST_FILES = 5
CHAT = {"model": HAIKU, "messages": [{"role": "user", "content": "hi"}]}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """For each call of Bedrock the files on the way to it, the last first."""
    seen: list[list[str]] = []

    def watched(name: str) -> None:
        real = getattr(BedrockRuntime, name)

        def watch(self: Any, call: Any) -> Any:
            files, frame = ["aws/models/bedrock.py"], sys._getframe(1)
            while frame is not None:
                path = Path(frame.f_code.co_filename)
                if path.is_relative_to(ROOT / "layers") or path.is_relative_to(ROOT / "functions"):
                    name = path.relative_to(ROOT).as_posix().removeprefix("layers/gateway/gateway/")
                    if not name.startswith("web/") and name not in files:
                        files.append(name)
                frame = frame.f_back  # type: ignore[assignment]
            seen.append(files)
            return real(self, call)

        monkeypatch.setattr(BedrockRuntime, name, watch)

    watched("call")
    watched("open")
    return seen


def test_a_buffered_call(load: Callable[[str], Any], trips: list[list[str]]) -> None:
    app = load("invoke_model")
    sent = event("/invoke_model", {"inputs": "hi", "parameters": {}}, query={"model_id": HAIKU})
    assert app.handler(sent, context())["statusCode"] == 200
    [trip] = trips
    assert len(trip) <= 3, trip


@pytest.mark.parametrize(
    ("routes", "path", "body"),
    [
        ("openai", "/v1/chat/completions", CHAT),
        ("openai", "/v1/chat/completions", CHAT | {"stream": True}),
        ("anthropic", "/v1/messages", CHAT | {"max_tokens": 9}),
        ("anthropic", "/v1/messages", CHAT | {"max_tokens": 9, "stream": True}),
        ("bedrock", f"/model/{HAIKU}/converse", CONVERSE),
        ("bedrock", f"/model/{HAIKU}/converse-stream", CONVERSE),
    ],
)
def test_a_call_of_the_streaming_function(
    streaming: Any, trips: list[list[str]], routes: str, path: str, body: Any
) -> None:
    assert ask(streaming, path, body)[0] == 200
    [trip] = trips
    # The handler and its format have returned by then: what they gave is pulled by the transport.
    files = {*trip, "functions/stream_model/app.py", f"routes/{routes}.py"}
    assert len(files) <= MOST_FILES, files

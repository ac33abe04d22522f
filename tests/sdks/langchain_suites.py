"""Shared parts of langchain-tests' suites: the models' capabilities, the files, the tests that cannot pass and why."""

from __future__ import annotations

import functools
import operator
import types
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from under_test import PNG

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
OTHER = "anthropic.claude-3-haiku-20240307-v1:0"
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
STABLE = "What does not change comes first. " * 200
RECORDED = "measures a client against a recording of its traffic; here it calls a real socket"

Suite = TypeVar("Suite", bound=type)


class Capable:
    """All features that the suites test on a model behind the gateway; a table names those that LangChain or Bedrock lack."""

    supports_anthropic_inputs = True
    supports_audio_inputs = True
    supports_image_inputs = True
    supports_image_tool_message = True
    supports_json_mode = True
    supports_pdf_inputs = True
    supports_pdf_tool_message = True
    enable_vcr_tests = True
    model_override_value = OTHER
    supported_usage_metadata_details = {
        "invoke": ["cache_read_input", "cache_creation_input"],
        "stream": ["cache_read_input", "cache_creation_input"],
    }

    def cacheable(self, text: str) -> list[dict[str, Any]]:
        """Content that is marked for the prompt cache, as this API marks it."""
        raise NotImplementedError

    def invoke_with_cache_creation_input(self, *, stream: bool = False) -> AIMessage:
        return self._say(f"{uuid.uuid4()} {STABLE}", stream)

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        text = f"{uuid.uuid4()} {STABLE}"
        self._say(text, stream)
        answer = self._say(text, stream)
        assert answer.usage_metadata["input_token_details"]["cache_read"] > 0
        return answer

    def _say(self, text: str, stream: bool) -> AIMessage:
        suite: Any = self
        chat = suite.chat_model_class(**suite.chat_model_params)
        asked = [HumanMessage(self.cacheable(text))]
        return functools.reduce(operator.add, chat.stream(asked)) if stream else chat.invoke(asked)

    @pytest.fixture(autouse=True)
    def _without_internet(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Serve the picture and the document that the suites load from the web."""

        def get(url: str, **_: Any) -> httpx.Response:
            return httpx.Response(200, content=PDF if url.endswith(".pdf") else PNG)

        monkeypatch.setattr(httpx, "get", get)


def cannot_pass(reasons: Mapping[str, str]) -> Callable[[Suite], Suite]:
    """Mark standard tests as failing, each with its reason; one that passes after all fails the run."""

    def mark(suite: Suite) -> Suite:
        for name, reason in reasons.items():
            test = getattr(suite, name)
            # A copy, since a mark on the standard test itself would mark it for every suite.
            copy = types.FunctionType(test.__code__, test.__globals__, name, test.__defaults__, test.__closure__)
            copy.__kwdefaults__, copy.__doc__, copy.__annotations__ = (
                test.__kwdefaults__,
                test.__doc__,
                test.__annotations__,
            )
            marks = [*getattr(test, "pytestmark", ()), pytest.mark.xfail(strict=True, reason=reason).mark]
            copy.pytestmark = marks  # type: ignore[attr-defined]
            setattr(suite, name, copy)
        return suite

    return mark

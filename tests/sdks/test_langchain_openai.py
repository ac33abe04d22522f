"""langchain-openai: ChatOpenAI over chat completions and over responses, and OpenAIEmbeddings."""

from __future__ import annotations

import os
from typing import Any

import httpx
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_suites import CLAUDE, RECORDED, Capable, cannot_pass
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from under_test import TITAN_EMBED

IN_WORDS = "Bedrock enforces a JSON schema and no bare JSON, so the gateway asks for it in words; the model stand-in heeds none"


def connection() -> dict[str, Any]:
    """A pool per model, since ChatOpenAI shares one among event loops and each test has its own."""
    return {
        "base_url": f"{os.environ['GATEWAY_URL']}/v1",
        "api_key": os.environ["GATEWAY_KEY"],
        "http_async_client": httpx.AsyncClient(),
    }


class Chat(Capable):
    chat_model_class = ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": CLAUDE, "stream_usage": True, **connection()}

    def cacheable(self, text: str) -> list[dict[str, Any]]:
        return [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]


class TestChatOffline(Chat, ChatModelUnitTests):
    chat_model_params = {"model": CLAUDE, "base_url": "https://gateway.example/v1", "api_key": "key"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        known = {"OPENAI_API_KEY": "key", "OPENAI_API_BASE": "https://gateway.example/v1"}
        return known, {"model": CLAUDE}, {name.lower(): value for name, value in known.items()}


@cannot_pass(
    {
        "test_audio_inputs": "Converse takes audio from few models and Claude is none: the gateway refuses the part by its name",
        "test_json_mode": IN_WORDS,
        "test_stream_time": RECORDED,
    }
)
class TestChat(Chat, ChatModelIntegrationTests):
    pass


@cannot_pass({"test_json_mode": IN_WORDS, "test_stream_time": RECORDED})
class TestResponses(Chat, ChatModelIntegrationTests):
    """LangChain leaves audio and marks of the cache out of such a request, so that there is nothing of theirs to count."""

    supported_usage_metadata_details: dict[str, list[str]] = {"invoke": [], "stream": []}

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": CLAUDE, "use_responses_api": True, **connection()}


class TestEmbeddings(EmbeddingsIntegrationTests):
    embeddings_class = OpenAIEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        # Its own cutting into tokens is OpenAI's; without it texts are sent as texts.
        return {"model": TITAN_EMBED, "check_embedding_ctx_length": False, **connection()}

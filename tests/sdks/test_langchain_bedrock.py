"""langchain-aws: ChatBedrockConverse with a signature plus the key, embeddings with a bearer token over TLS."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from langchain_aws import BedrockEmbeddings, ChatBedrockConverse
from langchain_suites import CLAUDE, RECORDED, Capable, cannot_pass
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from under_test import TITAN_EMBED

ONE_MODEL = "ChatBedrockConverse takes no model in a call, only when it is made"


@pytest.fixture(scope="module", autouse=True)
def _models_are_read_once() -> Iterator[None]:
    """Cache boto3's own files: the suites create two clients per test, and reading the files takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", functools.cache(botocore.session.create_loader))
        yield


class Converse(Capable):
    chat_model_class = ChatBedrockConverse
    # Names of its own for what the suites call stop; it takes no timeout and no max_retries.
    standard_chat_model_params = {"temperature": 0, "max_tokens": 100, "stop_sequences": []}

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": CLAUDE,
            "base_url": os.environ["GATEWAY_URL"],
            "region_name": "us-east-1",
            "aws_access_key_id": "anybody",
            "aws_secret_access_key": "anything",
            "default_headers": {"x-api-key": os.environ["GATEWAY_KEY"]},
        }

    def cacheable(self, text: str) -> list[dict[str, Any]]:
        return [{"type": "text", "text": text}, {"cachePoint": {"type": "default"}}]


class TestConverseOffline(Converse, ChatModelUnitTests):
    chat_model_params = {"model": CLAUDE, "base_url": "https://gateway.example", "region_name": "us-east-1"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        known = {"AWS_ACCESS_KEY_ID": "anybody", "AWS_SECRET_ACCESS_KEY": "anything"}
        return known, dict(self.chat_model_params), {name.lower(): value for name, value in known.items()}


@cannot_pass(
    {
        "test_invoke_with_model_override": ONE_MODEL,
        "test_ainvoke_with_model_override": ONE_MODEL,
        "test_stream_with_model_override": ONE_MODEL,
        "test_astream_with_model_override": ONE_MODEL,
        "test_audio_inputs": "ChatBedrockConverse knows images, files and video, and no audio",
        "test_stream_time": RECORDED,
    }
)
class TestConverse(Converse, ChatModelIntegrationTests):
    pass


class TestEmbeddings(EmbeddingsIntegrationTests):
    embeddings_class = BedrockEmbeddings
    embedding_model_params = {"model_id": TITAN_EMBED, "region_name": "us-east-1"}

    @pytest.fixture(autouse=True)
    def _by_bearer_token(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", os.environ["GATEWAY_KEY"])
        monkeypatch.setenv("AWS_CA_BUNDLE", os.environ["GATEWAY_CA"])
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", os.environ["GATEWAY_TLS_URL"])


def test_a_chat_by_bearer_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", os.environ["GATEWAY_CA"])
    where = {"base_url": os.environ["GATEWAY_TLS_URL"], "api_key": os.environ["GATEWAY_KEY"]}
    chat = ChatBedrockConverse(model=CLAUDE, region_name="us-east-1", **where)
    answer = chat.invoke("Hello [[tokens_out=9]]")
    assert answer.usage_metadata["output_tokens"] == 9
    assert "".join(part.text for part in chat.stream("Hello [[tokens_out=9]]")) == answer.text

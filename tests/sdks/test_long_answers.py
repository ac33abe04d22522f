"""Answers that exceed every idle timeout on the way: SDKs get them, and a late failure raises once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anthropic
import boto3
import openai
import pytest
from botocore.exceptions import EventStreamError
from under_test import CLAUDE, NOVA, Gateway

SLOW = "[[delay=2.6]] hi"  # longer than the stack lets a stream be silent
LATE = "[[delay=1.4]] [[timeout]] hi"
SAID = {"max_tokens": 9, "anthropic_version": "bedrock-2023-05-31"}


def bedrock(gateway: Gateway) -> Any:
    where = {"endpoint_url": gateway.tls_url, "verify": gateway.ca}
    return boto3.client("bedrock-runtime", region_name="us-east-1", **where)


def converse(gateway: Gateway, prompt: str) -> Any:
    messages = [{"role": "user", "content": [{"text": prompt}]}]
    return bedrock(gateway).converse(modelId=NOVA, messages=messages)["output"]["message"]["content"][0]["text"]


def invoke(gateway: Gateway, prompt: str) -> Any:
    body = json.dumps({**SAID, "messages": [{"role": "user", "content": prompt}]})
    return json.loads(bedrock(gateway).invoke_model(modelId=CLAUDE, body=body)["body"].read())["content"][0]["text"]


def converse_stream(gateway: Gateway, prompt: str) -> Any:
    messages = [{"role": "user", "content": [{"text": prompt}]}]
    events = list(bedrock(gateway).converse_stream(modelId=NOVA, messages=messages)["stream"])
    assert next(iter(events[0])) == "messageStart"  # and no event that nobody knows
    return "".join(event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event)


def invoke_stream(gateway: Gateway, prompt: str) -> Any:
    body = json.dumps({**SAID, "messages": [{"role": "user", "content": prompt}]})
    events = list(bedrock(gateway).invoke_model_with_response_stream(modelId=CLAUDE, body=body)["body"])
    parts = [json.loads(event["chunk"]["bytes"]) for event in events]
    return "".join(part["delta"]["text"] for part in parts if part["type"] == "content_block_delta")


def chat(gateway: Gateway, prompt: str) -> Any:
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key)
    made = client.chat.completions.create(model=CLAUDE, messages=[{"role": "user", "content": prompt}])
    return made.choices[0].message.content


def responses(gateway: Gateway, prompt: str) -> Any:
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key)
    return client.responses.create(model=CLAUDE, input=prompt).output_text


def messages(gateway: Gateway, prompt: str) -> Any:
    client = anthropic.Anthropic(base_url=gateway.url, api_key=gateway.key)
    made = client.messages.create(model=CLAUDE, max_tokens=9, messages=[{"role": "user", "content": prompt}])
    return made.content[0].text


def chat_stream(gateway: Gateway, prompt: str) -> Any:
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key)
    said = [{"role": "user", "content": prompt}]
    parts = client.chat.completions.create(model=CLAUDE, messages=said, stream=True)
    return "".join(part.choices[0].delta.content or "" for part in parts if part.choices)


def message_stream(gateway: Gateway, prompt: str) -> Any:
    client = anthropic.Anthropic(base_url=gateway.url, api_key=gateway.key)
    with client.messages.stream(model=CLAUDE, max_tokens=9, messages=[{"role": "user", "content": prompt}]) as stream:
        return stream.get_final_text()


Ask = Callable[[Gateway, str], Any]
ANSWERS: list[Ask] = [chat, responses, messages, converse, invoke]
STREAMS: list[Ask] = [converse_stream, invoke_stream]


@pytest.fixture(autouse=True)
def bearer(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", gateway.key)


@pytest.mark.parametrize("ask", [*ANSWERS, *STREAMS, chat_stream, message_stream], ids=lambda ask: ask.__name__)
def test_an_answer_that_takes_long_arrives(gateway: Gateway, ask: Ask) -> None:
    with gateway.asked():
        assert isinstance(ask(gateway, SLOW), str)


@pytest.mark.parametrize("ask", ANSWERS, ids=lambda ask: ask.__name__)
def test_what_fails_late_raises_and_is_not_asked_for_again(gateway: Gateway, ask: Ask) -> None:
    """It was paid for, perhaps; and an SDK repeats what it takes for a broken connection."""
    with gateway.asked(), pytest.raises(ValueError, match="codec can't decode"):
        ask(gateway, LATE)


@pytest.mark.parametrize(
    ("ask", "event"), [(converse_stream, "modelStreamErrorException"), (invoke_stream, "modelTimeoutException")]
)
def test_a_stream_that_is_refused_late_raises_its_error(gateway: Gateway, ask: Ask, event: str) -> None:
    with gateway.asked(), pytest.raises(EventStreamError, match=f"{event}.*did not answer in time"):
        ask(gateway, LATE)

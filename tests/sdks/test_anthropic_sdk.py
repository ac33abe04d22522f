"""anthropic: Anthropic and AnthropicBedrock, and the cause of each of their errors."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import anthropic
import pytest
from anthropic import Anthropic, AnthropicBedrock, AsyncAnthropic, AsyncAnthropicBedrock
from under_test import ALIAS, CLAUDE, CLAUDE_ARN, NOVA, PNG, SCHEMA, Gateway

WEATHER: Any = {"name": "weather", "description": "The weather of a city.", "input_schema": SCHEMA}
HELLO: Any = [{"role": "user", "content": "hello"}]
EVERY = pytest.mark.parametrize("model", [CLAUDE, NOVA, ALIAS])


def client_of(gateway: Gateway, key: str | None = None, retries: int = 0) -> Anthropic:
    return Anthropic(base_url=gateway.url, api_key=key or gateway.key, max_retries=retries)


def bedrock_of(gateway: Gateway, key: str | None = None, retries: int = 0) -> AnthropicBedrock:
    return AnthropicBedrock(
        base_url=gateway.url, api_key=key or gateway.key, aws_region="us-east-1", max_retries=retries
    )


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[Anthropic]:
    with client_of(gateway) as client:
        yield client


@pytest.fixture(scope="module")
def bedrock(gateway: Gateway) -> Iterator[AnthropicBedrock]:
    with bedrock_of(gateway) as client:
        yield client


def saying(*content: Any) -> Any:
    return [{"role": "user", "content": content[0] if len(content) == 1 and isinstance(content[0], str) else content}]


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


# ----------------------------------------------------------------------------------------------------------- messages
@EVERY
def test_messages(client: Anthropic, gateway: Gateway, model: str) -> None:
    with gateway.asked():
        message = client.messages.create(model=model, max_tokens=50, messages=HELLO, system="Be brief.")
    assert (message.type, message.role, message.stop_reason) == ("message", "assistant", "end_turn")
    assert "answers" in text_of(message)
    assert min(message.usage.input_tokens, message.usage.output_tokens) > 0
    assert message._request_id


@EVERY
def test_messages_stream_what_they_answer(client: Anthropic, model: str) -> None:
    asked = saying("[[chunks=9]] one")
    whole = client.messages.create(model=model, max_tokens=100, messages=asked)
    with client.messages.stream(model=model, max_tokens=100, messages=asked) as stream:
        said = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(said) == 9
    assert "".join(said) == text_of(final) == text_of(whole)
    assert final.usage.input_tokens == whole.usage.input_tokens or model == NOVA  # told at the end there
    assert (final.usage.output_tokens, final.stop_reason) == (whole.usage.output_tokens, "end_turn")


@EVERY
def test_a_streams_events_come_in_their_order(client: Anthropic, model: str) -> None:
    stream = client.messages.create(model=model, max_tokens=100, messages=saying("[[chunks=2]]"), stream=True)
    events = list(stream)
    kinds = [event.type for event in events]
    delta = "content_block_delta"
    assert kinds == [
        "message_start", "content_block_start", delta, delta, "content_block_stop", "message_delta", "message_stop"
    ]  # fmt: skip
    last: Any = events[-2]
    assert last.usage.output_tokens > 0


@EVERY
def test_a_tool_is_called_and_its_result_read(client: Anthropic, model: str) -> None:
    asked = saying("What is the weather? [[tool=weather]]")
    called = client.messages.create(model=model, max_tokens=200, messages=asked, tools=[WEATHER])
    assert called.stop_reason == "tool_use"
    use: Any = called.content[-1]
    assert (use.type, use.name, use.input.keys()) == ("tool_use", "weather", {"city", "days"})
    result = {"type": "tool_result", "tool_use_id": use.id, "content": [{"type": "text", "text": "clear"}]}
    then = {"type": "text", "text": "Now answer. [[tool=none]]"}
    talk: Any = [*asked, {"role": "assistant", "content": called.content}, *saying(result, then)]
    answer = client.messages.create(model=model, max_tokens=200, messages=talk, tools=[WEATHER])
    assert answer.stop_reason == "end_turn"
    assert text_of(answer)


@EVERY
@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "weather"}])
def test_a_tool_may_be_forced_in_a_stream(client: Anthropic, model: str, choice: Any) -> None:
    with client.messages.stream(
        model=model, max_tokens=200, messages=HELLO, tools=[WEATHER], tool_choice=choice
    ) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        use: Any = stream.get_final_message().content[-1]
    assert pieces
    assert use.input.keys() == {"city", "days"}


@EVERY
def test_images_and_documents(client: Anthropic, gateway: Gateway, model: str) -> None:
    image = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PNG).decode()},
    }
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "once " * 50}}
    alone = client.messages.create(model=model, max_tokens=50, messages=saying({"type": "text", "text": "What?"}))
    seen = client.messages.create(
        model=model, max_tokens=50, messages=saying(image, document, {"type": "text", "text": "What?"})
    )
    assert gateway.served()[-1]["input_images"] == 1
    assert seen.usage.input_tokens > alone.usage.input_tokens + 250 // 4


@pytest.mark.parametrize("stream", [False, True])
def test_claude_thinks(client: Anthropic, stream: bool) -> None:
    asked: Any = {
        "model": CLAUDE, "max_tokens": 2000, "messages": saying("[[reasoning=30]]"),
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }  # fmt: skip
    if stream:
        with client.messages.stream(**asked) as told:
            message = told.get_final_message()
    else:
        message = client.messages.create(**asked)
    thought: Any = message.content[0]
    assert thought.type == "thinking"
    assert thought.thinking.startswith("Thinking")
    assert thought.signature
    talk = [*asked["messages"], {"role": "assistant", "content": message.content}, *saying("And now?")]
    assert client.messages.create(**asked | {"messages": talk}).content


@pytest.mark.parametrize("model", [CLAUDE, NOVA])
@pytest.mark.parametrize("stream", [False, True])
def test_the_caches_counts_are_told_apart(client: Anthropic, model: str, stream: bool) -> None:
    def ask() -> Any:
        name = f"{model} {stream}"
        long: Any = {"type": "text", "text": f"{name} hour " * 100, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
        short: Any = {"type": "text", "text": f"{name} minutes " * 50, "cache_control": {"type": "ephemeral"}}
        asked: Any = {"model": model, "max_tokens": 50, "system": [long], "messages": saying(short, {"type": "text", "text": "?"})}  # fmt: skip
        if not stream:
            return client.messages.create(**asked).usage
        with client.messages.stream(**asked) as told:
            return told.get_final_message().usage

    written, read = ask(), ask()
    if not (stream and model == NOVA):  # of a stream's last event the SDK keeps the sums only
        assert (written.cache_creation.ephemeral_1h_input_tokens > 100) == (model == CLAUDE)  # Nova keeps for 5 minutes
        assert written.cache_creation.ephemeral_5m_input_tokens > 100
    assert written.cache_creation_input_tokens > 200
    assert (written.cache_read_input_tokens, read.cache_creation_input_tokens) == (0, 0)
    assert read.cache_read_input_tokens == written.cache_creation_input_tokens


@EVERY
def test_counting_tokens_is_free_and_right(client: Anthropic, gateway: Gateway, model: str) -> None:
    asked: Any = {"model": model, "messages": HELLO, "system": "Be brief.", "tools": [WEATHER]}
    with gateway.asked(models=0):
        counted = client.messages.count_tokens(**asked).input_tokens
    assert counted == client.messages.create(**asked, max_tokens=50).usage.input_tokens


@pytest.mark.parametrize("model", [CLAUDE, NOVA])
def test_an_answer_stops_where_it_is_told_to(client: Anthropic, model: str) -> None:
    stopped = client.messages.create(model=model, max_tokens=50, messages=HELLO, stop_sequences=["answers"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "answers")
    cut = client.messages.create(model=model, max_tokens=5, messages=saying("[[tokens_out=40]]"))
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 5)


@EVERY
def test_an_answer_in_a_form(client: Anthropic, model: str) -> None:
    form: Any = {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert text_of(client.messages.create(model=model, max_tokens=50, messages=HELLO, output_config=form))[0] == "{"


def test_the_async_clients(gateway: Gateway) -> None:
    async def ask() -> list[str]:
        async with (
            AsyncAnthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0) as own,
            AsyncAnthropicBedrock(
                base_url=gateway.url, api_key=gateway.key, aws_region="us-east-1", max_retries=0
            ) as bedrock,
        ):
            said = []
            for client in (own, bedrock):
                said.append(text_of(await client.messages.create(model=CLAUDE, max_tokens=50, messages=HELLO)))
                async with client.messages.stream(model=CLAUDE, max_tokens=50, messages=HELLO) as stream:
                    said.append("".join([text async for text in stream.text_stream]))
            return said

    with gateway.asked(requests=4, models=4):
        assert len(set(asyncio.run(ask()))) == 1


# ---------------------------------------------------------------------------------------------------- AnthropicBedrock
@pytest.mark.parametrize("model", [CLAUDE, ALIAS, CLAUDE_ARN])
def test_bedrocks_messages(bedrock: AnthropicBedrock, gateway: Gateway, model: str) -> None:
    asked = saying("[[chunks=6]] two")
    with gateway.asked():
        whole = bedrock.messages.create(model=model, max_tokens=100, messages=asked)
    with gateway.asked(), bedrock.messages.stream(model=model, max_tokens=100, messages=asked) as stream:
        assert "".join(stream.text_stream) == text_of(whole)
        final = stream.get_final_message()
    assert final.usage.output_tokens == whole.usage.output_tokens > 0
    assert final.usage.input_tokens == whole.usage.input_tokens > 0


def test_bedrocks_messages_signed_with_a_key_beside(gateway: Gateway) -> None:
    signing = AnthropicBedrock(
        base_url=gateway.url, aws_access_key="AKIAANYBODY000000000", aws_secret_key="any", aws_region="us-east-1",
        default_headers={"x-api-key": gateway.key}, max_retries=0,
    )  # fmt: skip
    assert signing.messages.create(model=CLAUDE, max_tokens=50, messages=HELLO).content
    with signing.messages.stream(
        model=CLAUDE, max_tokens=200, messages=HELLO, tools=[WEATHER], tool_choice={"type": "any"}
    ) as stream:
        use: Any = stream.get_final_message().content[-1]
    assert use.input.keys() == {"city", "days"}


# ------------------------------------------------------------------------------------------------------------- errors
Maker = Callable[..., Any]  # makes a client of either kind: gateway, key, retries
BOTH = pytest.mark.parametrize("make", [client_of, bedrock_of])


def refused(
    gateway: Gateway,
    kind: type[anthropic.APIStatusError],
    client: Any,
    text: str = "hello",
    models: int = 0,
    **more: Any,
) -> Any:
    """The error that a message raises, after a single request that made so many calls to models."""
    asked: Any = {"model": CLAUDE, "max_tokens": 50, "messages": saying(text)} | more
    with gateway.asked(models=models), pytest.raises(kind) as raised:
        client.messages.create(**asked)
    assert type(raised.value) is kind
    body: Any = raised.value.body
    assert body["request_id"] == raised.value.response.headers["x-request-id"]
    assert raised.value.error_code in (None, body["code"])
    return raised.value


def code_of(error: Any) -> str:
    return str(error.body["code"])


@BOTH
def test_400_names_the_field(gateway: Gateway, make: Maker) -> None:
    client = make(gateway)
    if make is client_of:
        error = refused(gateway, anthropic.BadRequestError, client, extra_body={"inference_geo": "us"})
        assert (error.error_code, error.type) == ("unsupported_field", "invalid_request_error")
        assert "inference_geo" in error.api_message
    error = refused(gateway, anthropic.BadRequestError, client, "[[invalid]]", models=1)
    assert code_of(error) == "model_rejected_request"


@BOTH
def test_401_for_a_wrong_key(gateway: Gateway, make: Maker) -> None:
    error = refused(gateway, anthropic.AuthenticationError, make(gateway, "mgw_wrong"))
    assert (code_of(error), error.type) == ("unauthorized", "authentication_error")


@BOTH
def test_403_for_a_model_that_is_not_allowed(gateway: Gateway, make: Maker) -> None:
    error = refused(gateway, anthropic.PermissionDeniedError, make(gateway, gateway.narrow_key))
    assert code_of(error) == "model_not_allowed"
    error = refused(gateway, anthropic.PermissionDeniedError, make(gateway), "[[denied]]", models=1)
    assert code_of(error) == "model_access_denied"


@BOTH
def test_404_for_a_model_that_there_is_not(gateway: Gateway, make: Maker) -> None:
    error = refused(gateway, anthropic.NotFoundError, make(gateway), "[[notfound]]", models=1)
    assert code_of(error) == "model_not_found"


@BOTH
@pytest.mark.parametrize("stream", [False, True])
def test_429_for_a_throttle_says_when_to_come_back(gateway: Gateway, make: Maker, stream: bool) -> None:
    error = refused(gateway, anthropic.RateLimitError, make(gateway), "[[throttle]]", models=1, stream=stream)
    assert code_of(error) == "model_throttled"
    assert int(error.response.headers["retry-after"]) >= 1


@BOTH
def test_429_for_a_spent_budget_is_not_tried_again(gateway: Gateway, make: Maker) -> None:
    error = refused(gateway, anthropic.RateLimitError, make(gateway, gateway.poor_key, retries=3))
    assert code_of(error) == "budget_exceeded"


@BOTH
@pytest.mark.parametrize("fault", ["internal", "unavailable"])
@pytest.mark.parametrize("stream", [False, True])
def test_5xx_for_a_service_that_fails(gateway: Gateway, make: Maker, fault: str, stream: bool) -> None:
    own_500 = make is bedrock_of and fault == "internal"  # Bedrock's own status there, 503 elsewhere
    kind = anthropic.InternalServerError if own_500 else anthropic.ServiceUnavailableError
    error = refused(gateway, kind, make(gateway), f"[[{fault}]]", models=1, stream=stream)
    assert code_of(error) == "model_unavailable"


FAULTS = pytest.mark.parametrize(
    ("fault", "code"),
    [("streamerror=5", "model_error"), ("streamthrottle=5", "model_throttled"), ("cut=5", "model_error")],
)


@pytest.mark.parametrize("model", [CLAUDE, NOVA])
@FAULTS
def test_a_stream_that_breaks_raises(client: Anthropic, gateway: Gateway, model: str, fault: str, code: str) -> None:
    said: list[str] = []
    asked = saying(f"[[chunks=9]] [[{fault}]]")
    with (
        gateway.asked(),
        pytest.raises(anthropic.APIStatusError) as raised,
        client.messages.stream(model=model, max_tokens=100, messages=asked) as stream,
    ):
        said.extend(stream.text_stream)
    assert said
    assert (raised.value.error_code, raised.value.type) == (code, "rate_limit_error" if "throttle" in fault else "api_error")  # fmt: skip


@FAULTS
def test_a_stream_of_bedrocks_that_breaks_raises(
    bedrock: AnthropicBedrock, gateway: Gateway, fault: str, code: str
) -> None:
    said: list[str] = []
    asked = saying(f"[[chunks=9]] [[{fault}]]")
    with (
        gateway.asked(),
        pytest.raises(anthropic.APIStatusError) as raised,
        bedrock.messages.stream(model=CLAUDE, max_tokens=100, messages=asked) as stream,
    ):
        said.extend(stream.text_stream)
    assert said
    kind = "throttlingException" if code == "model_throttled" else "modelStreamErrorException"
    assert raised.value.type == kind


@BOTH
def test_the_sdks_own_retry_gets_through_a_throttle(gateway: Gateway, make: Maker) -> None:
    text = f"[[throttle_times=1:{uuid4()}]]"
    with gateway.asked(requests=2, models=2):
        message = make(gateway, retries=2).messages.create(model=CLAUDE, max_tokens=50, messages=saying(text))
    assert text_of(message)


@BOTH
def test_an_answer_that_was_cut_is_not_paid_twice(gateway: Gateway, make: Maker) -> None:
    client = make(gateway, retries=2)
    error = refused(gateway, anthropic.ServiceUnavailableError, client, "[[cut=0]]", models=1)
    assert code_of(error) == "model_unavailable"


def test_a_client_that_leaves_is_billed_for_the_whole_answer(client: Anthropic, gateway: Gateway) -> None:
    with gateway.asked():
        stream = client.messages.create(
            model=CLAUDE, max_tokens=100, messages=saying("[[chunks=20]] [[chunk_delay=0.01]]"), stream=True
        )
        next(iter(stream))
        stream.close()
    assert gateway.served()[-1]["completed"]

"""openai: chat completions, responses, embeddings, models, and the cause of each of its errors."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel
from under_test import ALIAS, CLAUDE, COHERE_EMBED, NOVA, PNG, SCHEMA, TITAN_EMBED, UNKNOWN, Gateway

WEATHER: Any = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather of a city.", "parameters": SCHEMA},
}
WEATHER_FLAT: Any = {"type": "function", "strict": False, "name": "weather", "parameters": SCHEMA}
HELLO: Any = [{"role": "user", "content": "hello"}]
EVERY = pytest.mark.parametrize("model", [CLAUDE, NOVA, ALIAS])


class Trip(BaseModel):
    city: str
    days: int


def client_of(gateway: Gateway, key: str | None = None, retries: int = 0) -> OpenAI:
    return OpenAI(base_url=f"{gateway.url}/v1", api_key=key or gateway.key, max_retries=retries)


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[OpenAI]:
    with client_of(gateway) as client:
        yield client


def saying(text: str) -> Any:
    return [{"role": "user", "content": text}]


# --------------------------------------------------------------------------------------------------- chat completions
@EVERY
def test_chat(client: OpenAI, gateway: Gateway, model: str) -> None:
    with gateway.asked():
        answer = client.chat.completions.create(model=model, messages=HELLO, max_completion_tokens=50)
    choice, usage = answer.choices[0], answer.usage
    assert (answer.model, choice.finish_reason, choice.message.role) == (model, "stop", "assistant")
    assert "answers" in (choice.message.content or "")
    assert usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0
    assert answer._request_id


@EVERY
def test_chat_streams_what_it_answers(client: OpenAI, model: str) -> None:
    whole = client.chat.completions.create(model=model, messages=saying("[[chunks=9]] one"))
    stream = client.chat.completions.create(
        model=model, messages=saying("[[chunks=9]] one"), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    told = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in told) == whole.choices[0].message.content
    assert told[0].delta.role == "assistant"
    assert [choice.finish_reason for choice in told if choice.finish_reason] == ["stop"]
    assert sum(bool(choice.delta.content) for choice in told) == 9
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)
    assert not any(chunk.usage for chunk in chunks[:-1])


def test_a_stream_without_include_usage_tells_none(client: OpenAI) -> None:
    chunks = list(client.chat.completions.create(model=NOVA, messages=HELLO, stream=True))
    assert not any(chunk.usage for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_the_sdks_own_accumulator_of_a_stream(client: OpenAI) -> None:
    with client.chat.completions.stream(model=CLAUDE, messages=saying("[[tool=weather]]"), tools=[WEATHER]) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert calls
    assert json.loads(calls[0].function.arguments).keys() == {"city", "days"}
    assert "tool_calls.function.arguments.done" in kinds


@EVERY
def test_a_tool_is_called_and_its_result_read(client: OpenAI, model: str) -> None:
    asked = saying("What is the weather? [[tool=weather]]")
    called = client.chat.completions.create(model=model, messages=asked, tools=[WEATHER]).choices[0]
    assert called.finish_reason == "tool_calls"
    assert called.message.tool_calls
    call = called.message.tool_calls[0]
    assert (call.type, call.function.name) == ("function", "weather")
    assert json.loads(call.function.arguments).keys() == {"city", "days"}
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": '{"sky": "clear"}'}
    talk = [*asked, called.message, result, *saying("Now answer. [[tool=none]]")]
    answer = client.chat.completions.create(model=model, messages=talk, tools=[WEATHER]).choices[0]
    assert answer.finish_reason == "stop"
    assert answer.message.content


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_tool_may_be_forced(client: OpenAI, choice: Any) -> None:
    chunks = client.chat.completions.create(
        model=NOVA, messages=HELLO, tools=[WEATHER], tool_choice=choice, stream=True
    )
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    calls = [call for delta in deltas for call in delta.tool_calls or ()]
    assert calls[0].id
    assert calls[0].function
    assert calls[0].function.name == "weather"
    arguments = "".join((call.function.arguments if call.function else "") or "" for call in calls)
    assert json.loads(arguments).keys() == {"city", "days"}


@EVERY
def test_an_answer_is_parsed_into_its_type(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.parse(model=model, messages=HELLO, response_format=Trip)
    assert isinstance(answer.choices[0].message.parsed, Trip)
    with client.chat.completions.stream(model=model, messages=HELLO, response_format=Trip) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == answer.choices[0].message.parsed


def test_images_go_as_data_urls(client: OpenAI, gateway: Gateway) -> None:
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    parts: Any = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    client.chat.completions.create(model=NOVA, messages=[{"role": "user", "content": parts}])
    assert gateway.served()[-1]["input_images"] == 1


def test_an_answer_stops_where_it_is_told_to(client: OpenAI) -> None:
    stopped = client.chat.completions.create(model=CLAUDE, messages=HELLO, stop=["answers", "never"]).choices[0]
    assert stopped.finish_reason == "stop"
    assert "answers" not in (stopped.message.content or "")
    cut = client.chat.completions.create(model=CLAUDE, messages=saying("[[tokens_out=40]]"), max_tokens=5)
    assert cut.choices[0].finish_reason == "length"
    assert cut.usage
    assert cut.usage.completion_tokens == 5


def test_what_does_nothing_is_said_in_a_header(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model=NOVA, messages=HELLO, seed=7)
    assert "seed" in raw.headers["x-gateway-warning"]
    assert raw.parse().choices


def test_a_model_thinks_as_hard_as_it_is_told_to(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=CLAUDE, messages=saying("[[reasoning]]"), reasoning_effort="low", max_completion_tokens=4000
    )
    assert answer.choices[0].message.model_extra
    assert answer.choices[0].message.model_extra["reasoning_content"].startswith("Thinking")


def test_what_a_cache_gave_is_told(client: OpenAI) -> None:
    stable: Any = {"type": "text", "text": "openai stable " * 200, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    messages: Any = [{"role": "system", "content": [stable]}, *HELLO]
    usages = [client.chat.completions.create(model=CLAUDE, messages=messages).usage for _ in range(2)]
    details = [usage.prompt_tokens_details for usage in usages if usage and usage.prompt_tokens_details]
    assert (details[0].cached_tokens or 0) == 0
    assert (details[1].cached_tokens or 0) > 500
    assert usages[0]
    assert usages[1]
    assert usages[0].prompt_tokens == usages[1].prompt_tokens > (details[1].cached_tokens or 0)


def test_the_async_client(gateway: Gateway) -> None:
    async def ask() -> tuple[list[Any], str]:
        async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
            answers = await asyncio.gather(
                *(client.chat.completions.create(model=NOVA, messages=saying(f"number {n}")) for n in range(5))
            )
            stream = await client.chat.completions.create(model=CLAUDE, messages=HELLO, stream=True)
            said = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
            return list(answers), "".join(said)

    with gateway.asked(requests=6, models=6):
        answers, said = asyncio.run(ask())
    assert len({answer.choices[0].message.content for answer in answers}) == 5
    assert "answers" in said


# ---------------------------------------------------------------------------------------------- embeddings and models
@pytest.mark.parametrize("model", [TITAN_EMBED, COHERE_EMBED])
def test_embeddings_are_the_same_however_they_are_encoded(client: OpenAI, model: str) -> None:
    texts = ["one", "two", "three"]
    plain = client.embeddings.create(model=model, input=texts, encoding_format="float")
    packed = client.embeddings.create(model=model, input=texts)  # the SDK asks for base64 where numpy is there
    assert [item.index for item in plain.data] == [0, 1, 2]
    assert len({tuple(item.embedding) for item in plain.data}) == 3
    for one, other in zip(plain.data, packed.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    assert plain.usage.prompt_tokens == packed.usage.prompt_tokens > 0
    alone = client.embeddings.create(model=model, input="two", encoding_format="float")
    assert alone.data[0].embedding == plain.data[1].embedding


def test_embeddings_have_the_dimensions_that_are_asked_for(client: OpenAI) -> None:
    made = client.embeddings.create(model=TITAN_EMBED, input="one", dimensions=256, encoding_format="base64")
    packed: Any = made.data[0].embedding
    assert len(base64.b64decode(packed)) == 256 * 4


def test_models_are_those_that_the_tenant_may_use(client: OpenAI, gateway: Gateway) -> None:
    names = {model.id for model in client.models.list()}
    assert {CLAUDE, NOVA, ALIAS, TITAN_EMBED} <= names
    assert client.models.retrieve(NOVA).owned_by == "amazon"
    assert client.models.retrieve(ALIAS).id == ALIAS
    narrow = client_of(gateway, gateway.narrow_key)
    assert {model.id for model in narrow.models.list()} == {NOVA}
    for who, name in ((narrow, CLAUDE), (client, UNKNOWN)):
        with pytest.raises(openai.NotFoundError) as refused:
            who.models.retrieve(name)
        assert refused.value.code == "model_not_found"


# ---------------------------------------------------------------------------------------------------------- responses
@EVERY
def test_responses(client: OpenAI, gateway: Gateway, model: str) -> None:
    with gateway.asked():
        answer = client.responses.create(model=model, instructions="Be brief.", input="hello", store=False)
    assert (answer.status, answer.error) == ("completed", None)
    assert "answers" in answer.output_text
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


@EVERY
def test_responses_stream_what_they_answer(client: OpenAI, model: str) -> None:
    whole = client.responses.create(model=model, input="[[chunks=7]] two")
    with client.responses.stream(model=model, input="[[chunks=7]] two") as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert final.output_text == whole.output_text
    assert final.usage == whole.usage
    kinds = [event.type for event in events]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert kinds.count("response.output_text.delta") == 7
    assert [event.sequence_number for event in events] == sorted({event.sequence_number for event in events})


def test_responses_call_tools(client: OpenAI) -> None:
    talk: Any = [{"role": "user", "content": "weather? [[tool=weather]]"}]
    called = client.responses.create(model=CLAUDE, input=talk, tools=[WEATHER_FLAT], store=False)
    call = called.output[-1]
    assert call.type == "function_call"
    assert json.loads(call.arguments).keys() == {"city", "days"}
    talk += [item.model_dump(exclude_none=True) for item in called.output]
    talk += [{"type": "function_call_output", "call_id": call.call_id, "output": "clear"}]
    talk += [{"role": "user", "content": "Now answer. [[tool=none]]"}]
    assert client.responses.create(model=CLAUDE, input=talk, tools=[WEATHER_FLAT]).output_text
    with client.responses.stream(model=NOVA, input="weather?", tools=[WEATHER_FLAT], tool_choice="required") as stream:
        done = [event for event in stream if event.type == "response.function_call_arguments.done"]
    assert json.loads(done[0].arguments).keys() == {"city", "days"}


def test_a_response_is_parsed_into_its_type(client: OpenAI) -> None:
    assert isinstance(client.responses.parse(model=NOVA, input="hello", text_format=Trip).output_parsed, Trip)


# ------------------------------------------------------------------------------------------------------------- errors
def refused(gateway: Gateway, kind: type[openai.APIStatusError], asked: Any, models: int = 0) -> Any:
    """The error of what `asked` makes: raised after a single request, which made so many calls to models."""
    with gateway.asked(models=models), pytest.raises(kind) as raised:
        asked()
    assert type(raised.value) is kind
    assert raised.value.request_id
    return raised.value


def test_400_names_the_parameter(client: OpenAI, gateway: Gateway) -> None:
    def ask(**more: Any) -> Any:
        return lambda: client.chat.completions.create(model=CLAUDE, messages=HELLO, **more)

    error = refused(gateway, openai.BadRequestError, ask(extra_body={"moderation": {}}))
    assert (error.code, error.param, error.type) == ("unsupported_parameter", "moderation", "invalid_request_error")
    error = refused(gateway, openai.BadRequestError, ask(n=2))
    assert (error.code, error.param) == ("unsupported_value", "n")
    rejected = lambda: client.chat.completions.create(model=CLAUDE, messages=saying("[[invalid]]"))  # noqa: E731
    assert refused(gateway, openai.BadRequestError, rejected, 1).code == "model_rejected_request"


def test_401_for_a_wrong_key(gateway: Gateway) -> None:
    wrong = client_of(gateway, "mgw_wrong")
    error = refused(
        gateway, openai.AuthenticationError, lambda: wrong.chat.completions.create(model=NOVA, messages=HELLO)
    )
    assert (error.code, error.type) == ("unauthorized", "authentication_error")


def test_403_for_a_model_that_is_not_allowed(client: OpenAI, gateway: Gateway) -> None:
    narrow = client_of(gateway, gateway.narrow_key)
    assert narrow.chat.completions.create(model=NOVA, messages=HELLO).choices
    error = refused(
        gateway, openai.PermissionDeniedError, lambda: narrow.chat.completions.create(model=CLAUDE, messages=HELLO)
    )
    assert (error.code, error.type) == ("model_not_allowed", "permission_error")
    denied = lambda: client.responses.create(model=NOVA, input="[[denied]]")  # noqa: E731
    assert refused(gateway, openai.PermissionDeniedError, denied, 1).code == "model_access_denied"


def test_404_for_a_model_that_there_is_not(client: OpenAI, gateway: Gateway) -> None:
    missing = lambda: client.chat.completions.create(model=NOVA, messages=saying("[[notfound]]"))  # noqa: E731
    error = refused(gateway, openai.NotFoundError, missing, 1)
    assert (error.code, error.type) == ("model_not_found", "not_found_error")


def test_429_for_a_throttle_says_when_to_come_back(client: OpenAI, gateway: Gateway) -> None:
    for stream in (False, True):
        throttled = lambda stream=stream: client.chat.completions.create(  # noqa: E731
            model=NOVA, messages=saying("[[throttle]]"), stream=stream
        )
        error = refused(gateway, openai.RateLimitError, throttled, 1)
        assert (error.code, error.type) == ("model_throttled", "rate_limit_error")
        assert int(error.response.headers["retry-after"]) >= 1


def test_429_for_a_spent_budget_is_not_tried_again(gateway: Gateway) -> None:
    poor = client_of(gateway, gateway.poor_key, retries=3)
    error = refused(gateway, openai.RateLimitError, lambda: poor.chat.completions.create(model=CLAUDE, messages=HELLO))
    assert (error.code, error.type) == ("budget_exceeded", "insufficient_quota")


@pytest.mark.parametrize("fault", ["internal", "unavailable"])
@pytest.mark.parametrize("stream", [False, True])
def test_5xx_for_a_service_that_fails(client: OpenAI, gateway: Gateway, fault: str, stream: bool) -> None:
    asked = lambda: client.chat.completions.create(  # noqa: E731
        model=CLAUDE, messages=saying(f"[[{fault}]]"), stream=stream
    )
    error = refused(gateway, openai.InternalServerError, asked, 1)
    assert (error.status_code, error.code) == (503, "model_unavailable")


@pytest.mark.parametrize(("fault", "code"), [("streamerror=4", "model_error"), ("streamthrottle=4", "model_throttled"), ("cut=4", "model_error")])  # fmt: skip
def test_a_stream_that_breaks_raises(client: OpenAI, gateway: Gateway, fault: str, code: str) -> None:
    with gateway.asked():
        stream = client.chat.completions.create(model=NOVA, messages=saying(f"[[chunks=9]] [[{fault}]]"), stream=True)
        said: list[Any] = []
        with pytest.raises(openai.APIError) as raised:
            said.extend(stream)
    assert raised.value.code == code
    assert raised.value.message
    assert any(chunk.choices[0].delta.content for chunk in said)


def test_a_response_that_breaks_tells_so(client: OpenAI, gateway: Gateway) -> None:
    events: list[Any] = []
    with gateway.asked():
        stream = client.responses.create(model=NOVA, input="[[chunks=9]] [[streamerror=4]]", stream=True)
        with pytest.raises(openai.APIError) as raised:
            events.extend(stream)
    assert raised.value.code == "model_error"
    assert events[-1].type == "response.failed"
    assert events[-1].response.status == "failed"


def test_an_answer_that_was_cut_is_not_paid_twice(gateway: Gateway) -> None:
    eager = client_of(gateway, retries=2)
    cut = lambda: eager.chat.completions.create(model=NOVA, messages=saying("[[cut=0]]"))  # noqa: E731
    assert refused(gateway, openai.InternalServerError, cut, 1).code == "model_unavailable"


def test_the_sdks_own_retry_gets_through_a_throttle(gateway: Gateway) -> None:
    eager = client_of(gateway, retries=2)
    with gateway.asked(requests=2, models=2):
        answer = eager.chat.completions.create(model=NOVA, messages=saying(f"[[throttle_times=1:{uuid4()}]]"))
    assert answer.choices[0].message.content


def test_a_client_that_leaves_is_billed_for_the_whole_answer(client: OpenAI, gateway: Gateway) -> None:
    with gateway.asked():
        stream = client.chat.completions.create(
            model=CLAUDE, messages=saying("[[chunks=20]] [[chunk_delay=0.01]]"), stream=True
        )
        next(iter(stream))
        stream.close()
    assert gateway.served()[-1]["completed"]

"""openai-agents: its Runner, which uses the Responses API by default."""

from __future__ import annotations

from typing import Any

from agents import Agent, OpenAIProvider, RunConfig, Runner, function_tool, set_tracing_disabled
from protocol import GOODBYE, HELLO, LONG, TRIP, URL, WEATHER, Cell, Told, play, used, weather
from pydantic import BaseModel

set_tracing_disabled(True)


class Trip(BaseModel):
    city: str
    days: int


def agent(cell: Cell, **more: Any) -> Agent:
    return Agent(name="guide", instructions="Answer briefly.", model=cell.model, **more)


def at(cell: Cell) -> RunConfig:
    return RunConfig(model_provider=OpenAIProvider(base_url=f"{URL}/v1", api_key=cell.key))


def count(*results: Any) -> dict[str, int]:
    usages = [result.context_wrapper.usage for result in results]
    return used(sum(usage.input_tokens for usage in usages), sum(usage.output_tokens for usage in usages))


async def plain(cell: Cell) -> Told:
    result = await Runner.run(agent(cell), HELLO, run_config=at(cell))
    return Told(text=result.final_output, usage=count(result))


async def streamed(cell: Cell) -> Told:
    result = Runner.run_streamed(agent(cell), HELLO, run_config=at(cell))
    text = ""
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            text += event.data.delta
    return Told(text=text, usage=count(result))


async def conversation(cell: Cell) -> Told:
    first = await Runner.run(agent(cell), HELLO, run_config=at(cell))
    history = [*first.to_input_list(), {"role": "user", "content": GOODBYE}]
    second = await Runner.run(agent(cell), history, run_config=at(cell))
    return Told(text=second.final_output, usage=count(first, second))


async def tools(cell: Cell) -> Told:
    seen: list[str] = []
    result = await Runner.run(agent(cell, tools=[function_tool(weather(seen))]), WEATHER, run_config=at(cell))
    return Told(text=result.final_output, tool=seen, usage=count(result))


async def structured(cell: Cell) -> Told:
    result = await Runner.run(agent(cell, output_type=Trip), TRIP, run_config=at(cell))
    return Told(object=result.final_output.model_dump(), usage=count(result))


async def hang_up(cell: Cell) -> Told:
    result = Runner.run_streamed(agent(cell), LONG, run_config=at(cell))
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            result.cancel()
            return Told(text=event.data.delta)
    return Told()


play(plain=plain, streamed=streamed, conversation=conversation, tools=tools, structured=structured, hang_up=hang_up)

"""strands-agents: the same program whichever of its models answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from protocol import GOODBYE, HELLO, LONG, TRIP, WEATHER, Cell, Told, play, used, weather
from pydantic import BaseModel
from strands import Agent, tool


class Trip(BaseModel):
    """A trip to a city."""

    city: str
    days: int


def play_with(of: Callable[[Cell], Any]) -> None:
    """Play the scenarios on the model that `of` makes of a cell."""

    def agent(cell: Cell, **more: Any) -> Agent:
        return Agent(model=of(cell), callback_handler=None, **more)

    def count(result: Any) -> dict[str, int]:
        usage = result.metrics.accumulated_usage
        return used(usage["inputTokens"], usage["outputTokens"])

    async def plain(cell: Cell) -> Told:
        result = await agent(cell).invoke_async(HELLO)
        return Told(text=str(result), usage=count(result))

    async def streamed(cell: Cell) -> Told:
        text, result = "", None
        async for event in agent(cell).stream_async(HELLO):
            text += event.get("data", "")
            result = event.get("result", result)
        return Told(text=text, usage=count(result))

    async def conversation(cell: Cell) -> Told:
        guide = agent(cell)
        await guide.invoke_async(HELLO)
        second = await guide.invoke_async(GOODBYE)
        return Told(text=str(second), usage=count(second))

    async def tools(cell: Cell) -> Told:
        seen: list[str] = []
        result = await agent(cell, tools=[tool(weather(seen))]).invoke_async(WEATHER)
        return Told(text=str(result), tool=seen, usage=count(result))

    async def structured(cell: Cell) -> Told:
        result = await agent(cell).invoke_async(TRIP, structured_output_model=Trip)
        return Told(object=result.structured_output.model_dump(), usage=count(result))

    async def hang_up(cell: Cell) -> Told:
        guide, text = agent(cell), ""
        async for event in guide.stream_async(LONG):
            if not text and (text := event.get("data", "")):
                guide.cancel()
        return Told(text=text)

    play(plain=plain, streamed=streamed, conversation=conversation, tools=tools, structured=structured, hang_up=hang_up)

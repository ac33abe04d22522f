"""pydantic-ai: the same program whichever of its models answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from protocol import GOODBYE, HELLO, LONG, TRIP, WEATHER, Cell, Told, play, used, weather
from pydantic import BaseModel
from pydantic_ai import Agent


class Trip(BaseModel):
    city: str
    days: int


def count(*results: Any) -> dict[str, int]:
    usages = [result.usage for result in results]
    return used(sum(usage.input_tokens for usage in usages), sum(usage.output_tokens for usage in usages))


def play_with(of: Callable[[Cell], Any]) -> None:
    """Play the scenarios on the model that `of` makes of a cell."""

    async def plain(cell: Cell) -> Told:
        result = await Agent(of(cell)).run(HELLO)
        return Told(text=result.output, usage=count(result))

    async def streamed(cell: Cell) -> Told:
        async with Agent(of(cell)).run_stream(HELLO) as result:
            text = "".join([piece async for piece in result.stream_text(delta=True)])
            return Told(text=text, usage=count(result))

    async def conversation(cell: Cell) -> Told:
        agent = Agent(of(cell), instructions="Answer briefly.")
        first = await agent.run(HELLO)
        second = await agent.run(GOODBYE, message_history=first.all_messages())
        return Told(text=second.output, usage=count(first, second))

    async def tools(cell: Cell) -> Told:
        seen: list[str] = []
        result = await Agent(of(cell), tools=[weather(seen)]).run(WEATHER)
        return Told(text=result.output, tool=seen, usage=count(result))

    async def structured(cell: Cell) -> Told:
        result = await Agent(of(cell), output_type=Trip).run(TRIP)
        return Told(object=result.output.model_dump(), usage=count(result))

    async def hang_up(cell: Cell) -> Told:
        async with Agent(of(cell)).run_stream(LONG) as result:
            async for piece in result.stream_text(delta=True):
                await result.cancel()
                return Told(text=piece)
        return Told()

    play(plain=plain, streamed=streamed, conversation=conversation, tools=tools, structured=structured, hang_up=hang_up)

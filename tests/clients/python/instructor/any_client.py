"""instructor: the same program on either client. It asks for objects, so a tool is one that the model fills in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from protocol import GOODBYE, HELLO, LONG, TRIP, WEATHER, Cell, Told, play, used, weather
from pydantic import BaseModel


class Trip(BaseModel):
    """A trip to a city."""

    city: str
    days: int


class Said(BaseModel):
    """What to say."""

    text: str


class GetWeather(BaseModel):
    """The weather of a city."""

    city: str


def says(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def count(*completions: Any) -> dict[str, int]:
    usages = [completion.usage.model_dump() for completion in completions]
    inputs = sum(usage.get("prompt_tokens") or usage.get("input_tokens") for usage in usages)
    return used(inputs, sum(usage.get("completion_tokens") or usage.get("output_tokens") for usage in usages))


def play_with(of: Callable[[Cell], Any]) -> None:
    """Play the scenarios on the client that `of` makes of a cell."""

    async def ask(cell: Cell, wanted: type[BaseModel], *messages: Any) -> tuple[Any, Any]:
        made: tuple[Any, Any] = await of(cell).create_with_completion(response_model=wanted, messages=list(messages))
        return made

    async def plain(cell: Cell) -> Told:
        said, completion = await ask(cell, Said, says(HELLO))
        return Told(text=said.text, usage=count(completion))

    async def streamed(cell: Cell) -> Told:
        text = ""
        async for said in of(cell).create_partial(response_model=Said, messages=[says(HELLO)]):
            text = said.text or text
        return Told(text=text)  # no count is kept of a stream

    async def conversation(cell: Cell) -> Told:
        said, first = await ask(cell, Said, says(HELLO))
        answered = {"role": "assistant", "content": said.text}
        said, second = await ask(cell, Said, says(HELLO), answered, says(GOODBYE))
        return Told(text=said.text, usage=count(first, second))

    async def tools(cell: Cell) -> Told:
        seen: list[str] = []
        call, first = await ask(cell, GetWeather, says(WEATHER))
        result = weather(seen)(call.city)
        asked = {"role": "assistant", "content": f"get_weather({call.city})"}
        said, second = await ask(cell, Said, says(WEATHER), asked, says(result))
        return Told(text=said.text, tool=seen, usage=count(first, second))

    async def structured(cell: Cell) -> Told:
        trip, completion = await ask(cell, Trip, says(TRIP))
        return Told(object=trip.model_dump(), usage=count(completion))

    async def hang_up(cell: Cell) -> Told:
        async for said in of(cell).create_partial(response_model=Said, messages=[says(LONG)]):
            if said.text:
                return Told(text=said.text)
        return Told()

    play(plain=plain, streamed=streamed, conversation=conversation, tools=tools, structured=structured, hang_up=hang_up)

"""litellm as a library: the same program whichever provider its model is named for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import litellm
from protocol import GOODBYE, HELLO, LONG, TRIP, WEATHER, Cell, Told, play, used, weather
from pydantic import BaseModel

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Trip(BaseModel):
    city: str
    days: int


def says(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def count(*answers: Any) -> dict[str, int]:
    usages = [answer.usage for answer in answers]
    return used(sum(usage.prompt_tokens for usage in usages), sum(usage.completion_tokens for usage in usages))


def play_with(of: Callable[[Cell], dict[str, Any]]) -> None:
    """Play the scenarios with the arguments that `of` makes of a cell."""

    async def ask(cell: Cell, *messages: Any, **more: Any) -> Any:
        return await litellm.acompletion(messages=list(messages), **of(cell), **more)

    async def plain(cell: Cell) -> Told:
        answer = await ask(cell, says(HELLO))
        return Told(text=answer.choices[0].message.content, usage=count(answer))

    async def streamed(cell: Cell) -> Told:
        told = {"stream": True, "stream_options": {"include_usage": True}}
        pieces = [piece async for piece in await ask(cell, says(HELLO), **told)]
        text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
        return Told(text=text, usage=count(*(piece for piece in pieces if getattr(piece, "usage", None))))

    async def conversation(cell: Cell) -> Told:
        first = await ask(cell, says(HELLO))
        second = await ask(cell, says(HELLO), first.choices[0].message, says(GOODBYE))
        return Told(text=second.choices[0].message.content, usage=count(first, second))

    async def tools(cell: Cell) -> Told:
        seen: list[str] = []
        history: list[Any] = [says(WEATHER)]
        first = await ask(cell, *history, tools=[TOOL])
        history.append(first.choices[0].message)
        for call in first.choices[0].message.tool_calls or []:
            result = weather(seen)(**json.loads(call.function.arguments))
            history.append({"role": "tool", "tool_call_id": call.id, "name": "get_weather", "content": result})
        second = await ask(cell, *history, tools=[TOOL])
        return Told(text=second.choices[0].message.content, tool=seen, usage=count(first, second))

    async def structured(cell: Cell) -> Told:
        answer = await ask(cell, says(TRIP), response_format=Trip)
        return Told(object=json.loads(answer.choices[0].message.content), usage=count(answer))

    async def hang_up(cell: Cell) -> Told:
        pieces = await ask(cell, says(LONG), stream=True)
        async for piece in pieces:
            if text := piece.choices[0].delta.content:
                await pieces.aclose()
                return Told(text=text)
        return Told()

    play(plain=plain, streamed=streamed, conversation=conversation, tools=tools, structured=structured, hang_up=hang_up)

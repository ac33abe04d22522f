"""llama-index: OpenAILike, which its users choose for their own gateway."""

from __future__ import annotations

from typing import Any

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from protocol import GOODBYE, HELLO, LONG, TRIP, URL, WEATHER, Cell, Told, play, used, weather
from pydantic import BaseModel


class Trip(BaseModel):
    """A trip to a city."""

    city: str
    days: int


def model(cell: Cell, **more: Any) -> OpenAILike:
    chats = {"is_chat_model": True, "is_function_calling_model": True}
    return OpenAILike(model=cell.model, api_base=f"{URL}/v1", api_key=cell.key, **chats, **more)


def count(*answers: Any) -> dict[str, int]:
    usages = [answer.raw.usage for answer in answers]
    return used(sum(usage.prompt_tokens for usage in usages), sum(usage.completion_tokens for usage in usages))


async def plain(cell: Cell) -> Told:
    answer = await model(cell).achat([ChatMessage(HELLO)])
    return Told(text=answer.message.content, usage=count(answer))


async def streamed(cell: Cell) -> Told:
    told = {"stream_options": {"include_usage": True}}
    text, last = "", None
    async for last in await model(cell, additional_kwargs=told).astream_chat([ChatMessage(HELLO)]):
        text += last.delta or ""
    return Told(text=text, usage=count(last))


async def conversation(cell: Cell) -> Told:
    history = [ChatMessage(HELLO)]
    first = await model(cell).achat(history)
    second = await model(cell).achat([*history, first.message, ChatMessage(GOODBYE)])
    return Told(text=second.message.content, usage=count(first, second))


async def tools(cell: Cell) -> Told:
    seen: list[str] = []
    tool = FunctionTool.from_defaults(weather(seen))
    llm, history = model(cell), [ChatMessage(WEATHER)]
    first = await llm.achat_with_tools([tool], chat_history=history)
    history.append(first.message)
    for call in llm.get_tool_calls_from_response(first):
        result = tool(**call.tool_kwargs)
        history.append(ChatMessage(str(result), role="tool", additional_kwargs={"tool_call_id": call.tool_id}))
    second = await llm.achat_with_tools([tool], chat_history=history)
    return Told(text=second.message.content, tool=seen, usage=count(first, second))


async def structured(cell: Cell) -> Told:
    answer = await model(cell).as_structured_llm(Trip).achat([ChatMessage(TRIP)])
    return Told(object=answer.raw.model_dump())  # the library keeps no count here


async def hang_up(cell: Cell) -> Told:
    pieces = await model(cell).astream_chat([ChatMessage(LONG)])
    async for piece in pieces:
        if piece.delta:
            await pieces.aclose()
            return Told(text=piece.delta)
    return Told()


play(plain=plain, streamed=streamed, conversation=conversation, tools=tools, structured=structured, hang_up=hang_up)

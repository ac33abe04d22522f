"""A real model behind the stand-in: any server with OpenAI's chat completions. The call is billed by its counts.

Its errors become Bedrock's. There is no fallback to the deterministic model, since that would invalidate a proof.
"""

import http.client
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from scripts.dev.fake_models.calls import StreamBroke
from scripts.dev.fake_models.errors import BEDROCK, Refusal
from scripts.dev.fake_models.generation import Ask, Delta, Generation, Stop
from scripts.dev.fake_models.ledger import Usage

_TIMEOUT_SECONDS = 300
_STOP: dict[str, Stop] = {"length": "length", "tool_calls": "tool", "function_call": "tool"}
_REFUSALS = {
    400: "invalid",
    401: "denied",
    403: "denied",
    404: "notfound",
    408: "timeout",
    413: "invalid",
    422: "invalid",
    429: "throttle",
    503: "unavailable",
    504: "timeout",
}


class OpenAIUpstream:
    """Calls `openai:http://host:port/v1`; without a model's name, the first model that the server lists."""

    def __init__(self, address: str, model: str | None = None) -> None:
        kind, _, url = address.partition(":")
        if kind != "openai" or not url.startswith("http"):
            raise ValueError(f"an upstream must be openai:http://host:port/v1, not {address!r}")
        self._url = urlsplit(url.rstrip("/"))
        self._model = model

    def generate(self, ask: Ask, usage: Usage, stream: bool) -> Generation:
        """Call upstream. The response's status is known when this returns, its tokens when the answer is done."""
        body: dict[str, Any] = {"model": self._name(), "messages": _messages(ask), "stream": stream}
        options = {
            "max_tokens": ask.max_tokens,
            "temperature": ask.temperature,
            "top_p": ask.top_p,
            "stop": list(ask.stop_sequences) or None,
            "tools": [_function(tool.name, tool.schema, tool.description) for tool in ask.tools] or None,
            "tool_choice": _choice(ask) if ask.tools else None,
            "response_format": _form(ask.form),
            "stream_options": {"include_usage": True} if stream else None,
        }
        body.update({name: value for name, value in options.items() if value is not None})
        response = self._send("POST", "/chat/completions", body)
        generation = Generation(iter(()), Usage())
        generation.say(_streamed(response, generation) if stream else _whole(response, generation))
        return generation

    def _name(self) -> str:
        if self._model is None:
            models = json.loads(self._send("GET", "/models").read()).get("data") or []
            if not models:
                raise BEDROCK["notready"]
            self._model = str(models[0]["id"])
        return self._model

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> http.client.HTTPResponse:
        secure = self._url.scheme == "https"
        connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = connect(self._url.netloc, timeout=_TIMEOUT_SECONDS)
        data = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, self._url.path + path, data, {"Content-Type": "application/json"})
            response = connection.getresponse()
        except TimeoutError as error:
            raise BEDROCK["timeout"] from error
        except (OSError, http.client.HTTPException) as error:
            raise replace(BEDROCK["unavailable"], message=f"The upstream model cannot be reached: {error}") from error
        if response.status != 200:
            raise _refusal(response.status, response.read())
        return response


def _whole(response: http.client.HTTPResponse, generation: Generation) -> Iterator[Delta]:
    try:
        answer = json.loads(response.read())
        choice = answer["choices"][0]
    except (OSError, ValueError, LookupError, http.client.HTTPException) as error:
        raise replace(BEDROCK["modelerror"], message=f"The upstream model's answer is broken: {error}") from error
    _take_usage(answer, generation)
    message = choice.get("message") or {}
    if message.get("reasoning_content"):
        yield Delta("reasoning", message["reasoning_content"])
    if message.get("content"):
        yield Delta("text", message["content"])
    for call in message.get("tool_calls") or ():
        generation.tool = call["function"]["name"]
        yield Delta("tool", call["function"].get("arguments") or "{}")
        break
    generation.stop = _STOP.get(choice.get("finish_reason"), "end")


def _streamed(response: http.client.HTTPResponse, generation: Generation) -> Iterator[Delta]:
    counted = False
    try:
        for line in response:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                break
            chunk = json.loads(data)
            if chunk.get("usage"):
                _take_usage(chunk, generation)
                counted = True
            for choice in chunk.get("choices") or ():
                yield from _delta(choice.get("delta") or {}, generation)
                if choice.get("finish_reason"):
                    generation.stop = _STOP.get(choice["finish_reason"], "end")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise StreamBroke("modelStreamErrorException") from error
    if not counted:
        # An answer without a count cannot be billed, so it is an error, never a guess.
        raise StreamBroke("modelStreamErrorException")


def _delta(delta: dict[str, Any], generation: Generation) -> Iterator[Delta]:
    if delta.get("reasoning_content"):
        yield Delta("reasoning", delta["reasoning_content"])
    if delta.get("content"):
        yield Delta("text", delta["content"])
    for call in delta.get("tool_calls") or ():
        function = call.get("function") or {}
        if function.get("name"):
            generation.tool = function["name"]
        yield Delta("tool", function.get("arguments") or "")


def _take_usage(answer: dict[str, Any], generation: Generation) -> None:
    usage = answer.get("usage")
    if not usage:
        raise replace(BEDROCK["modelerror"], message="The upstream model answered without a token count.")
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    generation.usage = Usage(
        input_tokens=usage["prompt_tokens"] - cached,
        output_tokens=usage.get("completion_tokens", 0),
        cache_read_tokens=cached,
    )


def _messages(ask: Ask) -> list[dict[str, Any]]:
    return [
        {**message, "content": _content(message["content"])}
        for message in ask.prompt.chat
        if message["content"] or "tool_calls" in message or message["role"] == "tool"
    ]


def _content(parts: list[dict[str, Any]]) -> Any:
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _function(name: str, schema: Any, description: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": description, "parameters": dict(schema)}}


def _choice(ask: Ask) -> Any:
    if ask.must_use_tool:
        return {"type": "function", "function": {"name": ask.must_use_tool}}
    return None if ask.may_use_tools else "none"


def _form(schema: Any) -> dict[str, Any] | None:
    return schema and {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(schema)}}


def _refusal(status: int, body: bytes) -> Refusal:
    refusal = BEDROCK[_REFUSALS.get(status, "modelerror")]
    try:
        error = json.loads(body)["error"]
        message = error["message"] if isinstance(error, dict) else str(error)
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace")[:200]
    return replace(refusal, message=f"upstream {status}: {message}")

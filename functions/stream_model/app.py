"""What streams, as one ASGI application: it says back what it was asked."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    if (scope["method"], scope["path"]) == ("GET", "/"):
        await answer(send, "text/plain", b"ok")
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    said = {
        "method": scope["method"],
        "path": scope["raw_path"].decode("ascii"),
        "query": scope["query_string"].decode("ascii"),
        "context": json.loads(headers.get("x-amzn-request-context", "{}")),
        "lambda": json.loads(headers.get("x-amzn-lambda-context", "{}")),
        "body": body.decode(errors="replace"),
    }
    await answer(send, "application/json", json.dumps(said).encode())


async def answer(send: Callable[[Message], Awaitable[None]], kind: str, body: bytes) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

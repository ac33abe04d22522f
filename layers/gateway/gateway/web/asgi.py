"""The transport of streaming functions: an ASGI application that runs a resolver for each request, in a thread.

It knows no route. A handler returns a `Reply`, a `StreamedReply`, whose bytes are sent as they arrive, or a
`PendingReply`, which later makes one of the two. The transport always reads a stream to its end: if the client hangs
up, it drops the bytes, and the call still settles. If Lambda would end first, it aborts the stream in time to settle.

Intermediaries close a connection that is silent for too long: API Gateway after five minutes (developer guide, "Stream
the integration response"), CloudFront after its OriginReadTimeout, an SDK after its own timeout (boto3: 60 s). So a
pending answer begins after a while, with status 200 and white space as keep-alive, which may precede JSON.
An answer that fails later has no status of its own. Its problem is then written in a form that every JSON parser
refuses, and the connection ends cleanly: SDKs retry a call whose connection broke, and the retry would be charged.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol
from urllib.parse import parse_qsl

from gateway.core.errors import GatewayError
from gateway.web.exchange import Answer, PendingReply, Reply, Request, StreamedReply
from gateway.web.failures import as_gateway_error
from gateway.web.pipe import KEEP_ALIVE, PATIENCE, SETTLING, Pipe, Receive, Scope, Send

THREADS = 256


class Resolver(Protocol):
    """Answers requests."""

    def answer(self, request: Request) -> Answer: ...

    def problem(self, error: GatewayError, request: Request) -> Reply: ...


class Asgi:
    """The application. GET / is the health check; the resolver answers everything else."""

    def __init__(self, resolver: Resolver, patience: float = PATIENCE):
        self._resolver = resolver
        self._patience = patience
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="call")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read(receive)
        if body is None:
            return
        path = scope.get("raw_path", b"").decode("latin-1").partition("?")[0] or scope["path"]
        if path == "/" and scope["method"] == "GET":
            await _send(send, Reply(b"ok", content_type="text/plain"), {})
            return
        headers = {name.decode("latin-1").lower(): text.decode("latin-1") for name, text in scope["headers"]}
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        request = Request.received(scope["method"], path, query, headers, body)
        pipe = Pipe(asyncio.get_running_loop(), request.deadline)
        self._threads.submit(_run, self._resolver, request, pipe)
        try:
            await _pass_on(pipe, send, request, self._patience)
        except BaseException:
            pipe.drop()
            raise


def _run(resolver: Resolver, request: Request, pipe: Pipe) -> None:
    """In a thread: answer a request, and pass its parts to the pipe, to the end."""
    head: Answer | None = None
    try:
        head = made = resolver.answer(request)
        if isinstance(head, PendingReply):
            pipe.offer(head)
            made = head.make()
        pipe.offer(_written(made) if isinstance(made, Reply) else made)
        if isinstance(made, StreamedReply):
            for part in made.parts:
                pipe.put(part)
    except Exception as error:
        said = as_gateway_error(error, request.request_id)
        reply = _written(resolver.problem(said, request))
        pipe.fail(reply, _last(head, said, reply))
    finally:
        pipe.end()


def _last(head: Answer | None, error: GatewayError, problem: Reply) -> bytes:
    """The last bytes of an answer that fails after its status was sent."""
    if isinstance(head, PendingReply):
        return head.failed(error, problem)
    return head.error(error) if isinstance(head, StreamedReply) else b""


def _written(reply: Reply) -> Reply:
    """The reply with its body as bytes. The handler's thread serializes it, so a failure still becomes a problem."""
    if isinstance(reply.body, bytes):
        return reply
    return replace(reply, body=json.dumps(reply.body, separators=(",", ":")).encode())


async def _read(receive: Receive) -> bytes | None:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _pass_on(pipe: Pipe, send: Send, request: Request, patience: float) -> None:
    """Send the parts from the handler's thread, with keep-alives between them."""
    begun = False
    ends, interval = time.monotonic() + patience, min(KEEP_ALIVE, patience)
    watch: asyncio.TimerHandle | None = None
    common = {"x-request-id": request.request_id}
    try:
        while True:
            try:
                left = ends - time.monotonic()
                head, data, ended = await pipe.take(min(interval, left) if left > 0 and not begun else interval)
            except TimeoutError:
                if silent := pipe.commit(patient=time.monotonic() < ends):
                    if not begun:
                        begun = True
                        await _start(send, 200, silent.content_type, {**common, **silent.headers})
                    await send({"type": "http.response.body", "body": silent.ping, "more_body": True})
                continue
            if isinstance(head, Reply):
                await _send(send, head, common)
                return
            if head is None:
                continue
            if watch is None and isinstance(head, StreamedReply):
                left = max(request.deadline - SETTLING - time.time(), 0)
                watch = asyncio.get_running_loop().call_later(left, head.abort)
            if not begun:
                begun = True
                await _start(send, 200, head.content_type, {**common, **head.headers})
            if data or ended:
                await send({"type": "http.response.body", "body": data, "more_body": not ended})
            if ended:
                return
    finally:
        if watch:
            watch.cancel()


async def _send(send: Send, reply: Reply, headers: Mapping[str, str]) -> None:
    length = {"content-length": str(len(reply.body))}
    await _start(send, reply.status, reply.content_type, {**headers, **reply.headers, **length})
    await send({"type": "http.response.body", "body": reply.body})


async def _start(send: Send, status: int, content_type: str, headers: Mapping[str, str]) -> None:
    said = {"content-type": content_type, **headers}
    sent = [(name.encode("latin-1"), text.encode("latin-1", "replace")) for name, text in said.items() if text]
    await send({"type": "http.response.start", "status": status, "headers": sent})

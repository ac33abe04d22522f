"""The server's messages: requests, responses, the reply to a client, and the server's own problems."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from typing import Protocol

Headers = Sequence[tuple[str, str]]
MOST_HEADERS = 200
# RFC 9110, 5.6.2 and 5.5; a value excludes the whitespace around it.
NAME = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
VALUE = rb"[\t\x20-\x7e\x80-\xff]*"
_SENDABLE = re.compile(NAME + rb":" + VALUE)
# Headers of one connection, which only the server itself sets.
_OF_THE_CONNECTION = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}


@dataclass
class Request:
    """One request. `too_large`: its body was discarded."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    client: str = "127.0.0.1"
    too_large: bool = False
    version: str = "HTTP/1.1"

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        """The last header of that name, ignoring case."""
        name = name.lower()
        return next((value for key, value in reversed(self.headers) if key.lower() == name), None)


@dataclass
class Response:
    """One response. A `stream` is a body in pieces; the server reads it to its end even after a hang-up.

    It may raise an OSError: the response then breaks off, so that the client notices the loss.
    """

    status: int
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    stream: Iterator[bytes] | None = None


class ClientGone(ConnectionError):
    """The client hung up, or reads no more."""


class Reply(Protocol):
    """The reply to one request. Each method except the last two raises ClientGone if the client has gone."""

    def begin(self, status: int, headers: Headers) -> None:
        """Send the head."""

    def part(self, content: bytes) -> None:
        """Send a part of the body at once, unless this kind of response has no body."""

    def end(self) -> None:
        """Mark the body as complete."""

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        """Send head and body together."""

    def cut(self) -> None:
        """Break off, so that the client notices the loss."""

    def gone(self) -> bool:
        """Has the client hung up? It sends nothing before it has its response, so silence means that it waits."""


Answer = Callable[[Request], Response]
Handler = Callable[[Request, Reply], None]


def deliver(response: Response, reply: Reply) -> None:
    """Send a response. Its stream is read to the end even after a hang-up, since its last event may have the usage."""
    if response.stream is None:
        reply.send(response.status, response.headers, response.body)
        return
    gone: ClientGone | None = None
    try:
        reply.begin(response.status, response.headers)
    except ClientGone as error:
        gone = error
    try:
        for part in response.stream:
            if part and gone is None:
                try:
                    reply.part(part)
                except ClientGone as error:
                    gone = error
    except OSError:
        reply.cut()
        return
    if gone is not None:
        raise gone
    reply.end()


def sendable(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """The headers to send, with a date. A header that would break the head is left out."""
    sent = []
    dated = False
    for name, value in headers:
        key, content = name.encode("latin-1", "replace"), f"{value}".strip().encode("latin-1", "replace")
        low = key.lower()
        if low in _OF_THE_CONNECTION or not _SENDABLE.fullmatch(b"%b:%b" % (key, content)):
            continue
        dated = dated or low == b"date"
        sent.append((key, content))
    if not dated:
        sent.append((b"Date", _date(int(time.time()))))
    return sent


@lru_cache(1)
def _date(now: int) -> bytes:
    return formatdate(now, usegmt=True).encode()


def says_length(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name.lower() == b"content-length" for name, _ in headers)


class Malformed(Exception):
    """The bytes are no HTTP request, or an incomplete one; carries the status and the problem for the client."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code = status, code

    def response(self) -> Response:
        return problem(self.status, self.code, str(self))


def problem(status: int, code: str, message: str) -> Response:
    """The server's own problem with a request, in the common shape of all problems."""
    request_id = str(uuid.uuid4())
    said = {"code": code, "message": message, "request_id": request_id}
    return Response(
        status, json.dumps(said).encode(), [("Content-Type", "application/json"), ("x-request-id", request_id)]
    )


def busy(what: str) -> Response:
    """The server is at its limit."""
    response = problem(
        503,
        "too_many_connections" if what == "connections" else "too_many_calls",
        f"This server is at its limit of {what}. Close some, or retry in a second.",
    )
    response.headers.append(("Retry-After", "1"))
    return response


def not_in_time(what: str) -> Malformed:
    return Malformed(408, "request_timeout", f"{what} did not arrive in time. Send the complete request again.")


def too_many_headers() -> Malformed:
    return Malformed(431, "headers_too_large", f"The request has more than {MOST_HEADERS} headers. Send fewer.")

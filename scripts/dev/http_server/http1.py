"""A conversation in HTTP/1.1: an ambiguous request is refused, and its connection closed.

h11 parses the requests. Nine of ten are plain, though: the head arrives in one piece, matches a strict pattern, and has
at most one length. The pattern alone parses those at an eighth of the cost; h11 decides every doubtful case.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import h11

from scripts.dev.http_server.connections import Limits
from scripts.dev.http_server.messages import (
    MOST_HEADERS,
    NAME,
    VALUE,
    ClientGone,
    Handler,
    Headers,
    Malformed,
    Reply,
    Request,
    deliver,
    not_in_time,
    says_length,
    sendable,
    too_many_headers,
)
from scripts.dev.http_server.transport import Transport

LARGEST_HEAD = 65536
_DRAINED = 64 * 1024 * 1024  # bytes read of a too large body, so that its sender sees the response
_FAREWELL = 1.0
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_PLAIN = re.compile(rb"(%b) ([\x21-\x7e]+) HTTP/1\.1\r\n((?:%b:%b\r\n)+)\r\n" % (NAME, NAME, VALUE))
_FIELD = re.compile((rb"(%b):(%b)\r\n" % (NAME, VALUE)).decode("latin-1"))
_LENGTH = re.compile(r"[0-9]{1,15}")
_DOUBTFUL = {"transfer-encoding", "expect", "upgrade"}


@dataclass(frozen=True)
class Terms:
    """The server's services and limits for a conversation."""

    limits: Limits
    largest_body: int
    client: str
    one_only: bool = False  # end after one request


class Http1:
    """One connection's requests, one after another."""

    def __init__(self, transport: Transport, terms: Terms, handle: Handler):
        self._transport, self._terms, self._handle = transport, terms, handle
        self._came = b""  # and belongs to no request yet
        self._began = 0.0
        self._last = False  # end after the running request

    @property
    def begun(self) -> bool:
        """Has a part of the next request arrived?"""
        return bool(self._came)

    def stop(self) -> None:
        """Make the running request the last one."""
        self._last = True

    def goodbye(self) -> None:
        """HTTP/1.1 has no message for it."""

    def over(self) -> None:
        """The connection has ended: no thread waits for it."""

    def looked_at(self) -> bool:
        """No work is in progress between two requests."""
        return True

    def received(self, content: bytes, began: float) -> bool:
        """Read the available bytes and serve complete requests. False if the connection must close."""
        self._began = began
        self._came = content.lstrip(b"\r\n")  # some clients send an empty line after a body
        if not content:
            return False
        while self._came:
            if not self._serve():
                return False
            self._came = self._came.lstrip(b"\r\n")
            self._began = time.monotonic()
        return True

    def _serve(self) -> bool:
        """Serve the request that has begun. False if it was the last one."""
        try:
            request = self._plain() or self._doubtful()
        except Malformed as malformed:
            self._last = True
            deliver(malformed.response(), Http1Reply(self._transport, self._terms.limits, "GET", lambda: True))
            self._transport.farewell(_FAREWELL)
            return False
        self._last = self._last or self._terms.one_only or request.too_large
        modern = request.version == "HTTP/1.1"
        reply = Http1Reply(self._transport, self._terms.limits, request.method, lambda: self._last, modern)
        try:
            self._handle(request, reply)
        except ClientGone:
            return False
        if request.too_large and not reply.broken:
            self._transport.farewell(_FAREWELL)
        return not (self._last or reply.broken or reply.closes)

    # ------------------------------------------------------------------------------------------------------ requests
    def _plain(self) -> Request | None:
        """A request with a complete, unambiguous head; None for any other. Raises Malformed."""
        head = _PLAIN.match(self._came)
        if head is None:
            return None
        fields = _FIELD.findall(head[3].decode("latin-1"))
        headers = [(name, value.strip(" \t")) for name, value in fields]
        lengths, hosts, closes = list[int](), 0, False
        for name, value in headers:
            match name.lower():
                case "host":
                    hosts += 1
                case "content-length":
                    if lengths or not _LENGTH.fullmatch(value):
                        return None
                    lengths.append(int(value))
                case "connection":
                    closes = closes or "close" in value.lower()
                case low if low in _DOUBTFUL:
                    return None
        length = sum(lengths)
        if hosts != 1 or len(headers) > MOST_HEADERS or length > self._terms.largest_body:
            return None
        request = Request(head[1].decode(), head[2].decode(), headers, client=self._terms.client)
        self._came = self._came[head.end() :]
        self._last = self._last or closes
        if length:
            request.body = self._body(length)
        return request

    def _body(self, length: int) -> bytes:
        until = time.monotonic() + self._terms.limits.body
        parts, left = [self._came[:length]], length - len(self._came)
        self._came = self._came[length:]
        while left > 0:
            part = self._receive(until, "The body of a request")
            if not part:
                raise Malformed(400, "malformed_request", "The body ended early.")
            parts.append(part[:left])
            self._came = part[left:]
            left -= len(part)
        return b"".join(parts)

    def _doubtful(self) -> Request:
        """Any request, by h11. Raises Malformed."""
        reader = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)
        reader.receive_data(self._came)
        try:
            head = self._event(reader, self._began + self._terms.limits.head, "The head of a request")
            assert isinstance(head, h11.Request)
            request = self._head_of(head)
            if not request.too_large:
                self._read_body(reader, request)
        except h11.RemoteProtocolError as error:
            raise _malformed(error) from error
        self._came = reader.trailing_data[0]
        self._last = self._last or reader.their_state is not h11.DONE
        return request

    def _event(self, reader: h11.Connection, until: float, what: str) -> object:
        while (event := reader.next_event()) is h11.NEED_DATA:
            # Else it would be read as long as the client sends; h11 reports the size only after the first byte.
            if getattr(reader._reader, "_bytes_in_chunk", 0) > _DRAINED:
                raise Malformed(400, "malformed_request", "A chunk of the body is larger than any body may be.")
            reader.receive_data(self._receive(until, what))
        return event

    def _receive(self, until: float, what: str) -> bytes:
        try:
            return self._transport.receive(until)
        except TimeoutError:
            raise not_in_time(what) from None

    def _head_of(self, head: h11.Request) -> Request:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers.raw_items()]
        if len(headers) > MOST_HEADERS:
            raise too_many_headers()
        if head.http_version not in (b"1.0", b"1.1"):
            raise Malformed(400, "malformed_request", "This is not HTTP/1.1.")
        chunked, length = (
            next((value for name, value in head.headers if name == wanted), None)
            for wanted in (b"transfer-encoding", b"content-length")
        )
        if chunked is not None and (length is not None or head.http_version < b"1.1"):
            # A proxy in between may have used the other length.
            raise Malformed(400, "malformed_request", "A body has one length: by Content-Length, or in chunks.")
        request = Request(head.method.decode(), head.target.decode("latin-1"), headers, client=self._terms.client)
        request.version = "HTTP/" + head.http_version.decode()
        request.too_large = length is not None and int(length) > max(self._terms.largest_body, _DRAINED)
        return request

    def _read_body(self, reader: h11.Connection, request: Request) -> None:
        until = time.monotonic() + self._terms.limits.body
        if reader.they_are_waiting_for_100_continue:
            self._transport.send(_CONTINUE, until)
        parts: list[bytes] = []
        size = 0
        while not isinstance(event := self._event(reader, until, "The body of a request"), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                raise Malformed(400, "malformed_request", "The body ended early.")
            size += len(event.data)
            if size <= self._terms.largest_body:
                parts.append(bytes(event.data))
                continue
            parts.clear()
            request.too_large = True
            if size > _DRAINED:
                return
        request.body = b"".join(parts)


class Http1Reply(Reply):
    """The reply over HTTP/1.1. `last`: this is the connection's last response. `modern`: the client accepts chunks."""

    def __init__(
        self, transport: Transport, limits: Limits, method: str, last: Callable[[], bool], modern: bool = True
    ):
        self._transport, self._limits = transport, limits
        self._head_only = method == "HEAD"
        self._last, self._modern = last, modern
        self._chunked = self._bodyless = False
        self.broken = False
        self.closes = False

    def begin(self, status: int, headers: Headers) -> None:
        sent = sendable(headers)
        self._bodyless = self._head_only or status in (204, 304)
        framed = says_length(sent) or status in (204, 304)
        self._chunked = self._modern and not framed
        self.closes = not framed and not self._modern
        if self._chunked:
            sent.append((b"Transfer-Encoding", b"chunked"))
        self._write(self._head(status, sent))

    def part(self, content: bytes) -> None:
        if not self._bodyless:
            self._write(b"%x\r\n%b\r\n" % (len(content), content) if self._chunked else content)

    def end(self) -> None:
        if self._chunked and not self._bodyless:
            self._write(b"0\r\n\r\n")

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        sent = sendable(headers)
        self._bodyless = self._head_only or status in (204, 304)
        if status not in (204, 304) and not says_length(sent):
            sent.append((b"Content-Length", b"%d" % len(body)))
        head = self._head(status, sent)
        if self._bodyless or not body:
            self._write(head)
        elif len(body) < 65536:
            self._write(head + body)
        else:
            self._write(head)
            self._write(body)

    def cut(self) -> None:
        self.broken = True
        self._transport.hang_up()

    def gone(self) -> bool:
        return self.broken or self._transport.gone()

    def _head(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        self.closes = self.closes or self._last()
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}".encode()]
        lines += [b"%b: %b" % header for header in headers]
        lines.append(b"Connection: close\r\n\r\n" if self.closes else b"Connection: keep-alive\r\n\r\n")
        return b"\r\n".join(lines)

    def _write(self, content: bytes) -> None:
        if self.broken:
            raise ClientGone
        try:
            self._transport.send(content, time.monotonic() + self._limits.stalled)
        except OSError as error:
            self.broken = True
            raise ClientGone from error


def _malformed(error: h11.RemoteProtocolError) -> Malformed:
    if error.error_status_hint == 431:
        return Malformed(431, "headers_too_large", f"The head of a request may have at most {LARGEST_HEAD} bytes.")
    reason = str(error).partition(":")[0]  # h11 appends the received bytes
    return Malformed(error.error_status_hint, "malformed_request", f"This is not HTTP/1.1: {reason}.")

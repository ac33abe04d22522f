"""A conversation in HTTP/2: many concurrent requests over one connection, each answered by its own thread.

h2 has the protocol's state, under this conversation's lock. Its output collects in `_outbox`, and the first free thread
sends it: no thread holds the lock while it waits for the network.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from scripts.dev.http_server.http1 import LARGEST_HEAD, Terms
from scripts.dev.http_server.messages import (
    MOST_HEADERS,
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

logger = logging.getLogger(__name__)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MOST_STREAMS = 100
_WINDOW = 1 << 20  # bytes of a stream in flight to this server
_CONNECTION_WINDOW = 1 << 23
_FULL = 1 << 18  # bytes waiting to be sent: above it a stream waits before it adds more
_PIECE = 1 << 14
_SETTINGS = {
    h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: MOST_STREAMS,
    h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
    h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: LARGEST_HEAD,
    h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 0,
}


class _State(h2.connection.H2ConnectionStateMachine):
    """GOAWAY stops new streams and lets open ones finish (RFC 9113, 6.8). h2 treats it as the end."""

    _transitions = h2.connection.H2ConnectionStateMachine._transitions | {
        (state, heard): (None, state)
        for state in (h2.connection.ConnectionState.IDLE, h2.connection.ConnectionState.SERVER_OPEN)
        for heard in (h2.connection.ConnectionInputs.RECV_GOAWAY, h2.connection.ConnectionInputs.SEND_GOAWAY)
    }


@dataclass
class Stream:
    """One stream: a request that arrives, and its response."""

    number: int
    request: Request
    until: float  # the deadline for the body
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    whole: bool = False
    gone: bool = False  # it accepts no more data


class Http2:
    """One connection's requests."""

    def __init__(
        self, transport: Transport, terms: Terms, handle: Handler, spawn: Callable[[Callable[[], None]], bool]
    ):
        self._transport, self._terms, self._handle, self._spawn = transport, terms, handle, spawn
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        self._h2.state_machine = _State()
        self._h2.local_settings = h2.settings.Settings(client=False, initial_values=_SETTINGS)
        self._h2.max_inbound_frame_size = self._h2.local_settings.max_frame_size
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._streams: dict[int, Stream] = {}
        self._running = 0  # requests in progress, including reset streams
        self._outbox = bytearray()
        self._closed = False
        self._leaving = False
        self._half_since: float | None = None  # an incomplete frame has arrived
        with self._changed:
            self._h2.initiate_connection()
            self._h2.increment_flow_control_window(_CONNECTION_WINDOW)
            self._collect()
        self._flush()

    @property
    def begun(self) -> bool:
        """Is a request in progress, or has a part of one arrived?"""
        return bool(self._streams) or self._running > 0

    # --------------------------------------------------------------------------------------------- incoming bytes
    def received(self, content: bytes, began: float) -> bool:
        """Read the available bytes. False if the connection must close."""
        whole: list[Stream] = []
        with self._changed:
            if self._closed or not content:
                return self._end()
            try:
                events = self._h2.receive_data(content)
            except h2.exceptions.ProtocolError as error:
                logger.debug("no HTTP/2: %s", error)
                self._collect()
                self._last_words()
                return self._end()
            except (ValueError, KeyError, IndexError) as error:  # from the header decoder
                logger.debug("no HTTP/2: %r", error)
                return self._end()
            if events:
                self._half_since = None
            elif self._half_since is None:
                self._half_since = began
            for event in events:
                if (stream := self._taken(event)) is not None:
                    whole.append(stream)
            self._collect()
            self._changed.notify_all()
        for stream in whole:
            if not stream.gone:  # reset in the same batch
                self._answer(stream)
        self._flush(wait=len(self._outbox) > 4 * _FULL)
        with self._changed:
            return not self._closed and not (self._leaving and not self._streams)

    def looked_at(self) -> bool:
        """End overdue requests. False if the connection must close."""
        now = time.monotonic()
        with self._changed:
            if self._closed:
                return False
            late = [stream for stream in self._streams.values() if not stream.whole and stream.until < now]
            for stream in late:
                stream.whole = True
            half = self._half_since
        for stream in late:
            self._answer(stream, not_in_time("The body of a request"))
        if half is not None and not self.begun and now - half > self._terms.limits.head:
            self.goodbye()
            return False
        return not (self._leaving and not self.begun)

    def _taken(self, event: h2.events.Event) -> Stream | None:
        """Handle an event; returns a stream whose request it completes. Called with the lock held."""
        match event:
            case h2.events.RequestReceived(stream_id=int(number), headers=list(headers)):
                return self._opened(number, headers, event.stream_ended is not None)
            case h2.events.DataReceived(stream_id=int(number)):
                self._fed(number, event.data or b"", event.flow_controlled_length or 0)
            case h2.events.StreamEnded(stream_id=int(number)):
                stream = self._streams.get(number)
                if stream is not None and not stream.whole:
                    stream.whole = True
                    return stream
            case h2.events.StreamReset(stream_id=int(number)):
                if (stream := self._streams.pop(number, None)) is not None:
                    stream.gone = True
            case h2.events.ConnectionTerminated():
                self._leaving = True
        return None

    def _opened(self, number: int, headers: Iterable[tuple[bytes, bytes]], ended: bool) -> Stream | None:
        if self._leaving or self._running >= MOST_STREAMS:
            # The client can retry it elsewhere: this server has not begun it.
            self._h2.reset_stream(number, h2.errors.ErrorCodes.REFUSED_STREAM)
            return None
        limits = self._terms.limits
        stream = Stream(number, _request(headers, self._terms.client), time.monotonic() + limits.body)
        self._streams[number] = stream
        if not ended and (stream.request.header("expect") or "").lower() == "100-continue":
            self._h2.send_headers(number, [(b":status", b"100")])
        return None  # its end is a separate event

    def _fed(self, number: int, content: bytes, counted: int) -> None:
        stream = self._streams.get(number)
        if stream is None or stream.whole:
            with suppress(h2.exceptions.ProtocolError):
                self._h2.acknowledge_received_data(counted, number)
            return
        stream.size += len(content)
        if stream.size <= self._terms.largest_body:
            stream.parts.append(content)
        else:
            stream.parts.clear()
            stream.request.too_large = True
        with suppress(h2.exceptions.ProtocolError):
            self._h2.acknowledge_received_data(counted, number)

    # ----------------------------------------------------------------------------------------------------- answers
    def _answer(self, stream: Stream, late: Malformed | None = None) -> None:
        stream.request.body, stream.parts = b"".join(stream.parts), []
        reply = Http2Reply(self, stream)

        def answer() -> None:
            try:
                if late is not None:
                    deliver(late.response(), reply)
                    self.reset(stream, h2.errors.ErrorCodes.NO_ERROR)  # the rest of the request is not read
                elif len(stream.request.headers) > MOST_HEADERS:
                    deliver(too_many_headers().response(), reply)
                else:
                    self._handle(stream.request, reply)
            except ClientGone:
                pass
            finally:
                self.done(stream)

        with self._changed:
            self._running += 1
            self._leaving = self._leaving or self._terms.one_only
        if not self._spawn(answer):
            self.reset(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
            self.done(stream)

    def done(self, stream: Stream) -> None:
        """The stream's request was answered, or its client has gone."""
        with self._changed:
            self._running -= 1
            self._streams.pop(stream.number, None)
            over = self._leaving and not self._running and not self._streams
        if over:
            self._flush(wait=True)
            self._transport.hang_up()

    def head(self, stream: Stream, headers: list[tuple[bytes, bytes]], *, last: bool) -> None:
        with self._changed:
            self._check(stream)
            try:
                self._h2.send_headers(stream.number, headers, end_stream=last)
            except h2.exceptions.ProtocolError as error:
                stream.gone = True
                raise ClientGone from error
            self._collect()
        self._flush()

    def data(self, stream: Stream, content: bytes, *, last: bool) -> None:
        """Send a part of a body as the client's window allows. Raises ClientGone if it stays closed too long."""
        left = memoryview(content)
        while True:
            with self._changed:
                room = self._wait_for_room(stream) if left else 0
                piece, left = left[:room], left[room:]
                if room or not content:
                    self._send(stream, bytes(piece), last=last and not left)
            self._flush()
            if stream.gone:
                raise ClientGone
            if not left:
                return

    def _wait_for_room(self, stream: Stream) -> int:
        """The bytes that the client accepts now; 0 if the window stays closed too long and the stream is abandoned."""
        until = time.monotonic() + self._terms.limits.stalled
        while (room := self._room(stream)) <= 0:
            if not self._changed.wait(until - time.monotonic()):
                self._abandon(stream, h2.errors.ErrorCodes.CANCEL)
                return 0
        return room

    def _send(self, stream: Stream, content: bytes, *, last: bool) -> None:
        self._check(stream)
        try:
            self._h2.send_data(stream.number, content, end_stream=last)
        except h2.exceptions.ProtocolError as error:
            stream.gone = True
            raise ClientGone from error
        self._collect()

    def reset(self, stream: Stream, code: h2.errors.ErrorCodes) -> None:
        with self._changed:
            self._abandon(stream, code)
        self._flush()

    def is_gone(self, stream: Stream) -> bool:
        return stream.gone or self._closed

    def _room(self, stream: Stream) -> int:
        self._check(stream)
        if len(self._outbox) >= _FULL:
            return 0
        return min(self._h2.local_flow_control_window(stream.number), self._h2.max_outbound_frame_size, _PIECE)

    def _check(self, stream: Stream) -> None:
        if stream.gone or self._closed:
            raise ClientGone

    def _abandon(self, stream: Stream, code: h2.errors.ErrorCodes) -> None:
        if stream.gone or self._closed:
            return
        stream.gone = True
        with suppress(h2.exceptions.ProtocolError):
            self._h2.reset_stream(stream.number, code)
            self._collect()

    # -------------------------------------------------------------------------------------------- outgoing bytes
    def _collect(self) -> None:
        self._outbox += self._h2.data_to_send()

    def _flush(self, wait: bool = False) -> None:
        """Send the outbox. A thread that is already sending sends this part too; `wait` until it is done."""
        while self._outbox:
            if not self._writing.acquire(blocking=wait):
                return
            try:
                while True:
                    with self._changed:
                        content = bytes(self._outbox)
                        self._outbox.clear()
                        self._changed.notify_all()
                    if not content or self._closed:
                        break
                    self._transport.send(content, time.monotonic() + self._terms.limits.stalled)
            except OSError:
                with self._changed:
                    self._end()
                self._transport.hang_up()
            finally:
                self._writing.release()

    def over(self) -> None:
        """The connection has ended: wake every thread that waits to send."""
        with self._changed:
            self._end()

    def _end(self) -> bool:
        """Mark the connection as ended in both directions. Called with the lock held."""
        self._closed = True
        for stream in self._streams.values():
            stream.gone = True
        self._streams = {number: stream for number, stream in self._streams.items() if stream.whole}
        self._changed.notify_all()
        return False

    def _last_words(self) -> None:
        with suppress(OSError):
            self._transport.send(bytes(self._outbox), time.monotonic() + 1)
            self._outbox.clear()

    # ------------------------------------------------------------------------------------------------------------ end
    def stop(self) -> None:
        """Accept no more requests, and end when the running ones are answered."""
        with self._changed:
            self._leave()
            over = not self.begun
        self._flush()
        if over:
            self._transport.hang_up()

    def goodbye(self) -> None:
        """Send GOAWAY, if it can be sent at once."""
        with self._changed:
            self._leave()
            content = bytes(self._outbox)
            self._outbox.clear()
        with suppress(OSError):
            self._transport.send(content, 0.0)

    def _leave(self) -> None:
        self._leaving = True
        with suppress(h2.exceptions.ProtocolError):
            self._h2.close_connection()
            self._collect()


class Http2Reply(Reply):
    """The reply on one stream."""

    def __init__(self, conversation: Http2, stream: Stream):
        self._conversation, self._stream = conversation, stream
        self._bodyless = stream.request.method == "HEAD"

    def begin(self, status: int, headers: Headers) -> None:
        self._bodyless = self._bodyless or status in (204, 304)
        self._conversation.head(self._stream, _head(status, headers), last=False)

    def part(self, content: bytes) -> None:
        if self._bodyless:
            return
        self._conversation.data(self._stream, content, last=False)

    def end(self) -> None:
        self._conversation.data(self._stream, b"", last=True)

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        sent = _head(status, headers)
        if status not in (204, 304) and not says_length(sent):
            sent.append((b"content-length", b"%d" % len(body)))
        shown = b"" if self._bodyless or status in (204, 304) else body
        self._conversation.head(self._stream, sent, last=not shown)
        if shown:
            self._conversation.data(self._stream, shown, last=True)

    def cut(self) -> None:
        self._conversation.reset(self._stream, h2.errors.ErrorCodes.INTERNAL_ERROR)

    def gone(self) -> bool:
        return self._conversation.is_gone(self._stream)


def _head(status: int, headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(b":status", b"%d" % status), *((name.lower(), value) for name, value in sendable(headers))]


def _request(headers: Iterable[tuple[bytes, bytes]], client: str) -> Request:
    """A request in the form of HTTP/1.1. h2 has verified that each pseudo-header occurs once."""
    pseudo: dict[str, str] = {}
    plain: list[tuple[str, str]] = []
    cookies: list[str] = []
    for raw, content in headers:
        name, value = raw.decode("latin-1"), content.decode("latin-1")
        if name.startswith(":"):
            pseudo[name] = value
        elif name == "cookie":
            cookies.append(value)  # may be split (RFC 9113, 8.2.3)
        else:
            plain.append((name, value))
    if cookies:
        plain.append(("cookie", "; ".join(cookies)))
    if ":authority" in pseudo and not any(name == "host" for name, _ in plain):
        plain.insert(0, ("host", pseudo[":authority"]))
    return Request(pseudo[":method"], pseudo.get(":path", "/"), plain, client=client, version="HTTP/2.0")

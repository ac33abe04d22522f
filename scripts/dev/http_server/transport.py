"""The bytes of one connection, with a deadline for every wait. Several threads may send, while one receives.

Deadlines (`until`) are in time.monotonic; a wait past its deadline raises TimeoutError.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from typing import cast

PIECE = 65536


class Transport:
    """A plain connection. The receiving thread closes its socket, and never while another thread sends."""

    protocol: str | None = None  # negotiated by ALPN

    def __init__(self, connection: socket.socket):
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._incoming_poll = select.poll()
        self._incoming_poll.register(connection, select.POLLIN)
        self._sending = threading.RLock()

    def fileno(self) -> int:
        return self._socket.fileno()

    def open(self, until: float) -> None:
        """Do the steps that precede the first byte of a request."""

    def readable(self, seconds: float) -> bool:
        """Wait at most this long for data or the end."""
        return self.buffered() or bool(self._incoming_poll.poll(max(seconds, 0) * 1000))

    def buffered(self) -> bool:
        """Has data left the socket that is not yet read?"""
        return False

    def receive(self, until: float) -> bytes:
        """The available data; empty at the end."""
        while True:
            try:
                return self._socket.recv(PIECE)
            except BlockingIOError:
                if not self._incoming_poll.poll(max(until - time.monotonic(), 0) * 1000):
                    raise TimeoutError from None

    def send(self, content: bytes, until: float) -> None:
        with self._sending:
            self._send(content, until)

    def _send(self, content: bytes, until: float) -> None:
        try:
            sent = self._socket.send(content)
        except BlockingIOError:
            sent = 0
        if sent == len(content):
            return
        left = memoryview(content)[sent:]
        while left:
            outgoing = select.poll()
            outgoing.register(self._socket, select.POLLOUT)
            if not outgoing.poll(max(until - time.monotonic(), 0) * 1000):
                raise TimeoutError
            with contextlib.suppress(BlockingIOError):
                left = left[self._socket.send(left) :]

    def gone(self) -> bool:
        """Has the other end closed?"""
        try:
            return self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def hang_up(self) -> None:
        """End both directions, which wakes every thread that waits for this connection."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def farewell(self, seconds: float) -> None:
        """Send the end, and discard incoming data for this long: a reset would destroy the response."""
        end = time.monotonic() + seconds
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            while Transport.receive(self, end):
                pass

    def close(self) -> None:
        self.hang_up()
        with self._sending:
            self._socket.close()


class TlsTransport(Transport):
    """The same over TLS, through OpenSSL's memory BIOs: its sockets do not support two threads."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext):
        super().__init__(connection)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._state = threading.Lock()  # of the three

    def open(self, until: float) -> None:
        """Do the TLS handshake. Raises an OSError (an SSLError is one) if it fails."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush(until)
                received = super().receive(until)
                if not received:
                    raise ConnectionError("the client left while shaking hands") from None
                self._incoming.write(received)
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self._flush(until)  # the alert that says why
                raise
            else:
                self._flush(until)
                self.protocol = self._tls.selected_alpn_protocol()
                return

    def buffered(self) -> bool:
        return self._incoming.pending > 0 or self._tls.pending() > 0

    def receive(self, until: float) -> bytes:
        while True:
            with self._state:
                try:
                    content = cast(bytes | None, self._tls.read(PIECE))
                except ssl.SSLWantReadError:
                    content = None
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    content = b""
            if self._outgoing.pending:
                self._flush(until)
            if content is not None:
                return content
            received = super().receive(until)
            with self._state:
                if received:
                    self._incoming.write(received)
                else:
                    self._incoming.write_eof()

    def send(self, content: bytes, until: float) -> None:
        with self._sending:
            with self._state:
                self._tls.write(content)
            self._flush(until)

    def _flush(self, until: float) -> None:
        with self._sending:  # sends OpenSSL's output in its order
            with self._state:
                written = self._outgoing.read()
            if written:
                self._send(written, until)

"""A small HTTP/1.1 server: keep-alive, one thread a connection, headers exactly as they were sent.

WSGI would fold `team_id` and `Team-Id` into one name; API Gateway hands a header on as the client wrote it. And a call
through the stack passes four of these, so each must cost a fraction of a millisecond.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import IO

logger = logging.getLogger(__name__)
_LARGEST_LINE = 65536
_MOST_HEADERS = 200
_HANDSHAKE = 10.0  # seconds
_STALLED = 300.0  # so long a client may take nothing of a stream
_DRAINED = 64 * 1024 * 1024  # of a body that is too large this much is read, so that its sender sees the answer

_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Malformed(Exception):
    """What came is no HTTP request."""


@dataclass
class Request:
    """One request. `too_large` says that its body was thrown away."""

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
        """The last header of that name, in any case."""
        name = name.lower()
        return next((value for key, value in reversed(self.headers) if key.lower() == name), None)


@dataclass
class Response:
    """One response. A `stream` is its body as it comes, and is read to its end even where the client has gone.

    It may raise an OSError: the connection then closes, so that the client sees that something is missing.
    """

    status: int
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    stream: Iterator[bytes] | None = None


Answer = Callable[[Request], Response]


class HttpServer:
    """Listens from the moment it is made, answers from `start` to `stop`. With `tls`, over TLS."""

    _answer: Answer

    def __init__(self, host: str, port: int, largest_body: int = 1 << 40, tls: ssl.SSLContext | None = None):
        self._largest_body = largest_body
        self._tls = tls
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._listener.bind((host, port))
            self._listener.listen(1024)
        except OSError:
            self._listener.close()
            raise
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}"
        self._connections: set[socket.socket] = set()
        self._stopping = False

    def start(self, answer: Answer) -> None:
        self._answer = answer
        threading.Thread(target=self._accept, name="accept", daemon=True).start()

    def stop(self, grace: float) -> None:
        """Take no more requests; let the running ones end for `grace` seconds."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._connections):
            # Who waits for a next request reads the end; who is answering still may.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RD)  # that of an SSLSocket would end TLS as well
        end = time.monotonic() + grace
        while self._connections and time.monotonic() < end:
            time.sleep(0.01)

    def _accept(self) -> None:
        while not self._stopping:
            try:
                connection, (client, _) = self._listener.accept()
            except OSError:
                if self._stopping:
                    return
                time.sleep(0.05)  # out of file descriptors: some will be free again
                continue
            self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection, client), daemon=True).start()

    def _serve(self, connection: socket.socket, client: str) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                connection = self._shake_hands(connection, self._tls)
            with connection, connection.makefile("rb") as reader:
                while not self._stopping:
                    try:
                        request, keep_alive = self._read(reader, connection, client)
                    except Malformed:
                        _send(connection, Response(400), keep_alive=False, bodyless=False)
                        return
                    if request is None:
                        return
                    try:
                        response = self._answer(request)
                    except Exception:
                        logger.exception("%s %s failed", request.method, request.path)
                        response = Response(500)
                    keep_alive = keep_alive and not self._stopping
                    bodyless = request.method == "HEAD"
                    if response.stream is not None:
                        chunked = request.version != "HTTP/1.0"
                        _send_stream(connection, response, keep_alive=keep_alive, bodyless=bodyless, chunked=chunked)
                    else:
                        _send(connection, response, keep_alive=keep_alive, bodyless=bodyless)
                    if not keep_alive:
                        return
        except (OSError, ValueError):
            pass  # the client has gone
        finally:
            self._connections.discard(connection)

    def _shake_hands(self, connection: socket.socket, tls: ssl.SSLContext) -> socket.socket:
        connection.settimeout(_HANDSHAKE)
        secured = tls.wrap_socket(connection, server_side=True)
        secured.settimeout(None)
        self._connections.add(secured)
        self._connections.discard(connection)
        return secured

    def _read(self, reader: IO[bytes], connection: socket.socket, client: str) -> tuple[Request | None, bool]:
        line = reader.readline(_LARGEST_LINE)
        while line in (b"\r\n", b"\n"):
            line = reader.readline(_LARGEST_LINE)
        if not line:
            return None, False
        try:
            method, target, version = line.decode("latin-1").split()
        except ValueError as error:
            raise Malformed from error
        if not version.startswith("HTTP/1."):
            raise Malformed
        headers = list(_headers(reader))
        request = Request(method, target, headers, client=client, version=version)
        keep_alive = version != "HTTP/1.0" and (request.header("connection") or "").lower() != "close"
        if (request.header("expect") or "").lower() == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in (request.header("transfer-encoding") or "").lower():
            parts = _chunks(reader)
        else:
            parts = _parts(reader, _content_length(request))
        body: list[bytes] = []
        size = 0
        for part in parts:
            size += len(part)
            if size > self._largest_body:
                body.clear()
                request.too_large = True
                keep_alive = False
                if size > _DRAINED:
                    break
            else:
                body.append(part)
        request.body = b"".join(body)
        return request, keep_alive


def _content_length(request: Request) -> int:
    try:
        length = int(request.header("content-length") or 0)
    except ValueError as error:
        raise Malformed from error
    if length < 0:
        raise Malformed
    return length


def _headers(reader: IO[bytes]) -> Iterator[tuple[str, str]]:
    for _ in range(_MOST_HEADERS):
        line = reader.readline(_LARGEST_LINE)
        if line in (b"\r\n", b"\n"):
            return
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not name or name != name.strip():
            raise Malformed
        yield name, value.strip()
    raise Malformed


def _parts(reader: IO[bytes], length: int) -> Iterator[bytes]:
    while length:
        part = reader.read(min(length, 1 << 20))
        if not part:
            raise ConnectionError("the body ended early")
        length -= len(part)
        yield part


def _chunks(reader: IO[bytes]) -> Iterator[bytes]:
    while True:
        try:
            size = int(reader.readline(_LARGEST_LINE).split(b";")[0], 16)
        except ValueError as error:
            raise Malformed from error
        if size == 0:
            break
        yield from _parts(reader, size)
        reader.readline(_LARGEST_LINE)
    while reader.readline(_LARGEST_LINE) not in (b"\r\n", b"\n", b""):
        pass


def _head(response: Response, *more: str) -> bytes:
    lines = [f"HTTP/1.1 {response.status} {_REASONS.get(response.status, '')}"]
    lines += [
        f"{name}: {value}" for name, value in response.headers if "\n" not in f"{value}" and "\r" not in f"{value}"
    ]
    if not _has(response, "date"):
        lines.append(f"Date: {formatdate(usegmt=True)}")
    return ("\r\n".join([*lines, *more]) + "\r\n\r\n").encode("latin-1", "replace")


def _has(response: Response, wanted: str) -> bool:
    return any(name.lower() == wanted for name, _ in response.headers)


def _send(connection: socket.socket, response: Response, *, keep_alive: bool, bodyless: bool) -> None:
    more = ["Connection: keep-alive" if keep_alive else "Connection: close"]
    if not _has(response, "content-length") and response.status >= 200 and response.status != 204:
        more.insert(0, f"Content-Length: {len(response.body)}")
    head = _head(response, *more)
    if bodyless or not response.body:
        connection.sendall(head)
    elif len(response.body) < 65536:
        connection.sendall(head + response.body)
    else:
        connection.sendall(head)
        connection.sendall(response.body)


def _send_stream(
    connection: socket.socket, response: Response, *, keep_alive: bool, bodyless: bool, chunked: bool
) -> None:
    """Send each part as soon as it is there. Raises an OSError at the end where the client has gone."""
    assert response.stream is not None
    chunked = chunked and not _has(response, "content-length") and response.status not in (204, 304)
    more = ["Transfer-Encoding: chunked"] if chunked else []
    gone: OSError | None = None
    connection.settimeout(_STALLED)

    def send(content: bytes) -> None:
        nonlocal gone
        if gone is None:
            try:
                connection.sendall(content)
            except OSError as error:
                gone = error

    send(_head(response, *more, "Connection: keep-alive" if keep_alive else "Connection: close"))
    for part in response.stream:
        if part and not bodyless:
            send(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
    if chunked and not bodyless:
        send(b"0\r\n\r\n")
    if gone is not None:
        raise gone
    connection.settimeout(None)

"""Listens, admits connections up to the limit, passes their requests to handlers, and stops.

accepted ── room? ──no──> 503, and the end
    │yes
TLS, if configured ── HTTP/1.1 or HTTP/2, by ALPN or by the first bytes
    │
a thread serves its requests; after a moment of silence the connection is parked without a thread
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable

from scripts.dev.http_server.connections import Connections, Limits, Parkable
from scripts.dev.http_server.http1 import Http1, Terms
from scripts.dev.http_server.http2 import PREFACE, Http2
from scripts.dev.http_server.messages import (
    Answer,
    ClientGone,
    Handler,
    Reply,
    Request,
    busy,
    deliver,
    problem,
)
from scripts.dev.http_server.transport import TlsTransport, Transport

logger = logging.getLogger(__name__)
_REFUSING = 16  # so many connections are refused at a time; others wait
_REFUSAL = Limits(handshake=2.0, head=2.0, body=2.0, idle=0.0, stalled=2.0, linger=2.0)
_PROTOCOLS = ["h2", "http/1.1"]


class HttpServer:
    """Listens from its creation, and answers from `start` to `stop`. With `tls`, over TLS.

    Servers may share `connections`, and with them the limit on their number.
    """

    _handler: Handler

    def __init__(
        self,
        host: str,
        port: int,
        largest_body: int = 1 << 40,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        connections: Connections | None = None,
    ):
        self.limits = limits or Limits()
        self.largest_body = largest_body
        self.tls = tls
        if tls is not None:
            tls.set_alpn_protocols(_PROTOCOLS)
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
        self._shares = connections is not None
        self.connections = Connections() if connections is None else connections
        self._refusing = threading.BoundedSemaphore(_REFUSING)
        self._changed = threading.Condition()
        self._calls = 0
        self.stopping = False

    def start(self, answer: Answer) -> None:
        """Answer each request with the result of a function."""
        self.serve(lambda request, reply: deliver(answer(request), reply))

    def serve(self, handler: Handler) -> None:
        """The same for a function that writes the response piece by piece."""
        self._handler = handler
        threading.Thread(target=self._accept, name="accept", daemon=True).start()

    def stop(self, grace: float) -> None:
        """Accept no more requests; give the running ones `grace` seconds to end."""
        end = time.monotonic() + grace
        if not self.stopping:
            self.stopping = True
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self.connections.dismiss(self._is_own)
            for connection in self._own():
                connection.stop()
        with self._changed:
            while self._calls and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
        while self._own() and time.monotonic() < end:
            time.sleep(0.005)  # a response is being sent
        if not self._shares:
            self.connections.close()

    def hang_up(self) -> None:
        """End all open connections, answered or not."""
        for connection in self._own():
            connection.goodbye()

    def _is_own(self, connection: Parkable) -> bool:
        return isinstance(connection, Connection) and connection.server is self

    def _own(self) -> list[Connection]:
        return [each for each in self.connections.those(self._is_own) if isinstance(each, Connection)]

    # ------------------------------------------------------------------------------------------------- connections
    def _accept(self) -> None:
        while not self.stopping:
            try:
                accepted, (client, _) = self._listener.accept()
            except OSError:
                if self.stopping:
                    return
                self.connections.make_room()  # out of file descriptors: wait until some are free
                time.sleep(0.05)
                continue
            connection = Connection(self, accepted, client)
            if self._admitted(connection):
                connection.wake()

    def _admitted(self, connection: Connection) -> bool:
        """Wait for room, or for a thread that refuses the connection; returns whether there is room."""
        while not self.connections.admit(connection):
            if self._refusing.acquire(timeout=0.05):
                connection.refuse(self._refusing.release)
                return False
            if self.stopping:
                connection.close()
                return False
        return True

    # ------------------------------------------------------------------------------------------------------ requests
    def handle(self, request: Request, reply: Reply) -> None:
        """Answer one request, whatever happens. Raises ClientGone."""
        if not self.connections.begin_call():
            deliver(busy("calls"), reply)
            return
        with self._changed:
            self._calls += 1
        try:
            self._handler(request, reply)
        except ClientGone:
            raise
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            self._failed(reply)
        finally:
            self.connections.end_call()
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()

    @staticmethod
    def _failed(reply: Reply) -> None:
        response = problem(500, "internal_error", "The local server failed. Its log has the reason.")
        try:
            deliver(response, reply)
        except ClientGone:
            raise
        except Exception:
            reply.cut()  # the response had begun


class Connection:
    """One client's connection, from its acceptance to its end."""

    def __init__(self, server: HttpServer, accepted: socket.socket, client: str):
        self.server = server
        self._limits = server.limits
        self._transport = TlsTransport(accepted, server.tls) if server.tls is not None else Transport(accepted)
        self._client = client
        self._conversation: Http1 | Http2 | None = None
        self._refused: Callable[[], None] | None = None

    def fileno(self) -> int:
        return self._transport.fileno()

    def wake(self) -> None:
        """Serve the connection's requests in a thread."""
        if not spawn(self._run):
            self.close()

    def refuse(self, refused: Callable[[], None]) -> None:
        """Refuse one request for lack of room, and call `refused`."""
        self._limits, self._refused = _REFUSAL, refused
        self.wake()

    def stop(self) -> None:
        """Make the running requests the last ones."""
        if self._conversation is not None:
            self._conversation.stop()

    def goodbye(self) -> None:
        if self._conversation is not None:
            self._conversation.goodbye()
        self._transport.hang_up()

    def close(self) -> None:
        self.server.connections.discard(self)
        if self._conversation is not None:
            self._conversation.over()
        self._transport.close()
        if self._refused is not None:
            self._refused()
            self._refused = None

    # ------------------------------------------------------------------------------------------------------- its thread
    def _run(self) -> None:
        parked = False
        try:
            while self._next():
                pass
            parked = self._parks
        except (OSError, ValueError) as error:
            logger.debug("a connection ended: %r", error)
        except Exception:
            logger.exception("a connection failed")
        finally:
            if parked:
                self.server.connections.park(self, time.monotonic() + self._limits.idle)
            else:
                self.close()

    _parks = False

    def _next(self) -> bool:
        """Wait for the next request and serve it. False at the end, or if the connection should be parked."""
        self._parks = False
        conversation = self._conversation
        busy_still = conversation is not None and conversation.begun
        if not busy_still and not self._may_rest():
            self.goodbye()
            return False
        if not self._transport.readable(self._limits.linger):
            if conversation is not None and not conversation.looked_at():
                return False
            self._parks = not busy_still and self._refused is None
            return busy_still
        if not busy_still and not self._may_work():
            return False
        if conversation is None:
            return self._begin()
        try:
            content = self._transport.receive(time.monotonic() + self._limits.head)
        except TimeoutError:
            return True  # the bytes were TLS's own
        return conversation.received(content, time.monotonic()) and conversation.looked_at()

    def _may_rest(self) -> bool:
        return not self.server.stopping and (self._refused is not None or self.server.connections.rest(self))

    def _may_work(self) -> bool:
        return self._refused is not None or self.server.connections.work(self)

    def _begin(self) -> bool:
        """Do the TLS handshake, and detect the protocol."""
        self._transport.open(time.monotonic() + self._limits.handshake)
        began = time.monotonic()
        terms = Terms(self._limits, self.server.largest_body, self._client, one_only=self._refused is not None)
        handle = self.server.handle if self._refused is None else _no_room
        first = b""
        if self._transport.protocol is None:
            # Without ALPN the first bytes decide: HTTP/1.1 has no method PRI.
            with contextlib.suppress(TimeoutError):  # the HTTP/1.1 code answers it
                while PREFACE.startswith(first[: len(PREFACE)]) and len(first) < len(PREFACE):
                    received = self._transport.receive(began + self._limits.head)
                    if not received:
                        break
                    first += received
            if not first:
                return False
        if self._transport.protocol == "h2" or first.startswith(PREFACE):
            self._conversation = Http2(self._transport, terms, handle, spawn)
        else:
            self._conversation = Http1(self._transport, terms, handle)
        return self._conversation.received(first, began) if first else True


def _no_room(request: Request, reply: Reply) -> None:
    deliver(busy("connections"), reply)


def spawn(work: Callable[[], None]) -> bool:
    """Run it in a thread; False if the system refuses one."""
    try:
        threading.Thread(target=work, daemon=True).start()
    except RuntimeError:
        return False
    return True

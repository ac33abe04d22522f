"""Lambda behind the Lambda Web Adapter on this machine: the function is an HTTP server, one process for many calls.

It works as on AWS. It polls the server at `/` until it responds, sends the event's context in headers, and does not
report a client's hang-up. It passes the response on as it arrives, and reads it to the end even after a hang-up.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from scripts.project.template import Function

logger = logging.getLogger(__name__)
_KEEPER = Path(__file__).with_name("keeper.py")
_HOST = "127.0.0.1"
_START_TIMEOUT = 60.0
_LOOK = 0.01  # between two readiness checks
IDLE = 300.0  # seconds; API Gateway's idle timeout of a stream (developer guide, "Stream the integration response")
_AFTERLIFE = 5.0  # seconds beyond its timeout for a call to end after its supervisor has died
_PIECE = 65536
_LARGEST_HEAD = 1 << 20


class FunctionFailed(Exception):
    """The server cannot be started, has died, or sent a response that is not HTTP."""


class Reply:
    """The server's response: the head first, then the body as it arrives. Reading raises OSErrors."""

    def __init__(
        self,
        connection: socket.socket,
        ends: float,
        patience: float,
        bodyless: bool = False,
        broken: Callable[[], None] = lambda: None,
        idle: float = IDLE,
    ):
        self._connection, self._broken = connection, broken
        self._ends, self._patience = ends, patience  # the function's and the caller's deadline (monotonic)
        self._idle = idle
        head, self._rest = self._read_head()
        lines = head.decode("latin-1").split("\r\n")
        try:
            self.status = int(lines[0].split(" ")[1])
            pairs = (line.partition(":") for line in lines[1:])
            self.headers = [(name, value.strip()) for name, _, value in pairs]
        except (IndexError, ValueError) as error:
            raise FunctionFailed from error
        self._named = {name.lower(): value for name, value in self.headers}
        self._bodyless = bodyless or self.status in (204, 304)

    def _read_head(self) -> tuple[bytes, bytes]:
        read = b""
        while b"\r\n\r\n" not in read:
            more = self._receive()
            if not more or len(read) > _LARGEST_HEAD:
                self._broken()
                raise FunctionFailed
            read += more
        head, _, rest = read.partition(b"\r\n\r\n")
        return head, rest

    def _receive(self) -> bytes:
        left = min(self._patience - time.monotonic(), self._idle)
        try:
            self._connection.settimeout(max(left, 0.001))
            return self._connection.recv(_PIECE)
        except ConnectionError:
            self._broken()
            raise
        except TimeoutError:
            # The caller gets a timeout; the function runs on.
            threading.Thread(target=self._drain, args=(self._connection.dup(),), daemon=True).start()
            raise

    def _drain(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while (left := self._ends - time.monotonic()) > 0:
                connection.settimeout(left)
                if not connection.recv(_PIECE):
                    return

    @property
    def length(self) -> int | None:
        """The body's length, if the function sent it."""
        said = self._named.get("content-length", "")
        return int(said) if said.isdigit() else None

    def parts(self) -> Iterator[bytes]:
        """The body. Raises ConnectionError if it ends early, TimeoutError after the deadline."""
        with self._connection:
            if self._bodyless:
                return
            chunks = Chunks() if "chunked" in self._named.get("transfer-encoding", "").lower() else None
            left = self.length
            read = self._rest or self._receive()
            while read:
                part = chunks.feed(read) if chunks else read
                if part:
                    yield part
                if left is not None:
                    left -= len(part)
                if left == 0 or (chunks and chunks.over):
                    return
                read = self._receive()
            if left or chunks:
                self._broken()
                raise ConnectionError("the function's response is incomplete")


class Chunks:
    """Decodes a chunked body from the pieces as they arrive."""

    def __init__(self) -> None:
        self._left = 0  # bytes of a chunk, including the line end after it
        self._held = b""
        self.over = False

    def feed(self, read: bytes) -> bytes:
        read, self._held = self._held + read, b""
        content, at = [], 0
        while at < len(read) and not self.over:
            if self._left:
                piece = read[at : at + self._left]
                content.append(piece[: max(self._left - 2, 0)])
                self._left -= len(piece)
                at += len(piece)
                continue
            end = read.find(b"\r\n", at)
            if end < 0:
                self._held = read[at:]
                break
            try:
                size = int(read[at:end].split(b";")[0], 16)
            except ValueError as error:
                raise ConnectionError("the function's response is not chunked correctly") from error
            self.over = size == 0
            self._left, at = size + 2, end + 2
        return b"".join(content)


class WebFunction:
    """One function's server: started on demand, and restarted after it died."""

    def __init__(
        self, function: Function, environment: Mapping[str, str], log: Path, lifeline: int, idle: float = IDLE
    ):
        self.function = function
        self._environment = dict(environment)
        self._log = log
        self._lifeline = lifeline
        self._idle = idle
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._supervisor: int | None = None  # our end of the keeper's pipe
        self._port = 0
        self._suspected = False  # suspected dead, since a call broke off
        self._closed = False

    # ------------------------------------------------------------------------------------------------- one call
    def ask(self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes, patience: float) -> Reply:
        """Forward a request. Raises FunctionFailed, and TimeoutError after `patience` seconds."""
        began = time.monotonic()
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        if body or method in ("POST", "PUT", "PATCH"):
            lines.append(f"content-length: {len(body)}")
        lines.append("connection: close")
        request = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace") + body
        connection = self._connect()
        ends = began + self.function.timeout
        try:
            connection.settimeout(patience)
            connection.sendall(request)
            return Reply(connection, ends, min(ends, began + patience), method == "HEAD", self._suspect, self._idle)
        except TimeoutError:
            connection.close()
            raise
        except OSError as error:
            connection.close()
            raise FunctionFailed from error
        except FunctionFailed:
            connection.close()
            raise

    def _connect(self) -> socket.socket:
        for _ in range(2):
            port = self._ready_port()
            try:
                connection = socket.create_connection((_HOST, port), 5)
            except ConnectionError:
                self._forget(port)
                continue
            except OSError as error:
                raise FunctionFailed from error
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        raise FunctionFailed

    # ---------------------------------------------------------------------------------------------- its process
    def warm(self) -> bool:
        """Start it if necessary; False if that fails."""
        try:
            self._ready_port()
        except FunctionFailed:
            return False
        return True

    @property
    def pid(self) -> int | None:
        """The keeper, which leads the server's process group."""
        return self._process.pid if self._process else None

    def _ready_port(self) -> int:
        with self._lock:
            if self._closed:
                raise FunctionFailed
            if (
                self._process is None
                or self._process.poll() is not None
                or (self._suspected and self._answers(5) is False)
            ):
                self._start()
            self._suspected = False
            return self._port

    def _suspect(self) -> None:
        self._suspected = True

    def _answers(self, seconds: float) -> bool | None:
        """Poll `/`, as the adapter does. None means no response in time, which a busy server may cause."""
        end = time.monotonic() + seconds
        try:
            with socket.create_connection((_HOST, self._port), seconds) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
                return Reply(connection, end, end).status < 500
        except TimeoutError:
            return None
        except (OSError, FunctionFailed):
            return False

    def _forget(self, port: int) -> None:
        """Its port is closed: end the rest of that process."""
        with self._lock:
            if self._port == port:
                self._kill()

    def _start(self) -> None:
        self._kill()
        self._port = _free_port()
        own = os.pathsep.join(map(str, (self.function.code, *self.function.layers)))
        path = os.pathsep.join((str(Path(sys.executable).parent), self._environment.get("PATH", os.defpath)))
        environment = self._environment | {"AWS_LWA_PORT": str(self._port), "PYTHONPATH": own, "PATH": path}
        theirs, self._supervisor = os.pipe()
        try:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [
                        sys.executable, "-I", str(_KEEPER), str(theirs), str(self.function.timeout + _AFTERLIFE),
                        str(self.function.code / self.function.handler),
                    ],
                    pass_fds=(theirs, self._lifeline),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.function.code,
                    env=environment,
                    start_new_session=True,  # a Ctrl-C is for the supervisor
                )  # fmt: skip
        finally:
            os.close(theirs)
        self._await()

    def _await(self) -> None:
        assert self._process is not None
        end = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < end and self._process.poll() is None and not self._closed:
            if self._answers(1):
                return
            time.sleep(_LOOK)
        if self._closed:
            self._kill()
            raise FunctionFailed
        logger.warning("%s does not become ready: see %s", self.function.logical_id, self._log)
        self._kill()
        raise FunctionFailed

    def _kill(self) -> None:
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._supervisor is not None:
            os.close(self._supervisor)
            self._supervisor = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def close(self, end: float) -> None:
        """Let calls finish until `end` (monotonic), then kill the rest."""
        self._closed = True  # a thread that is starting it sees this, and gives up
        if not self._lock.acquire(timeout=max(end - time.monotonic(), 2)):
            return  # the process notices the end of this pipe
        try:
            if self._process is not None:
                self._signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(max(end - time.monotonic(), 0.2))
            self._kill()
        finally:
            self._lock.release()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])

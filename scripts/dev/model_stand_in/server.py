"""The socket: HTTP/1.1 with keep-alive, one thread a connection, by hand because a call must cost well under 1 ms."""

import contextlib
import logging
import socket
import socketserver
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from scripts.dev.model_stand_in.bedrock import Bedrock
from scripts.dev.model_stand_in.catalog import answer_catalog
from scripts.dev.model_stand_in.errors import Refusal
from scripts.dev.model_stand_in.exchange import ClientGone, Exchange, refuse
from scripts.dev.model_stand_in.generation import DeterministicModel, Model
from scripts.dev.model_stand_in.ledger import Ledger
from scripts.dev.model_stand_in.sagemaker import SageMaker
from scripts.dev.model_stand_in.upstream_openai import OpenAIUpstream

logger = logging.getLogger(__name__)
_LARGEST_HEAD = 65536


class _Connection(socketserver.BaseRequestHandler):
    """One client's connection: read a request, answer it, and wait for the next."""

    server: "_Server"

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.connections.add(self.request)
        try:
            with self.request.makefile("rb") as reader, contextlib.suppress(ConnectionError, ClientGone, ValueError):
                while (exchange := self._read(reader)) is not None:
                    self._answer(exchange)
                    if not exchange.keep_alive:
                        return
        finally:
            self.server.connections.discard(self.request)

    def _answer(self, exchange: Exchange) -> None:
        try:
            self.server.stand_in.answer(exchange)
        except ClientGone:
            exchange.keep_alive = False
        except Exception:
            # A fault of the stand-in must look like one, and not like a model's error that a test waits for.
            logger.exception("model stand-in failed on %s %s", exchange.method, exchange.path)
            if exchange.answered:
                exchange.cut()
            else:
                exchange.send(599, traceback.format_exc().encode(), {"Content-Type": "text/plain"})

    def _read(self, reader: BinaryIO) -> Exchange | None:
        line = reader.readline(_LARGEST_HEAD)
        if not line or line == b"\r\n":
            return None
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers: dict[str, str] = {}
        while (line := reader.readline(_LARGEST_HEAD)) not in (b"\r\n", b"\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("expect", "").lower() == "100-continue":
            self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = b"".join(_chunks(reader))
        else:
            body = reader.read(int(headers.get("content-length") or 0))
        return Exchange(self.request, method, target, headers, body)


class _Server(socketserver.ThreadingTCPServer):
    """The listening socket, which also knows the open connections, so that stopping closes them."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], stand_in: "ModelStandIn") -> None:
        self.stand_in = stand_in
        self.connections: set[socket.socket] = set()
        super().__init__(address, _Connection)


class ModelStandIn:
    """The stand-in as a context manager: it listens on `url` inside the `with`, and `ledger` holds what it served."""

    def __init__(
        self,
        port: int = 0,
        ledger: Path | str | None = None,
        *,
        host: str = "127.0.0.1",
        upstream: str | None = None,
        upstream_model: str | None = None,
    ) -> None:
        self.ledger = Ledger(ledger)
        model: Model = OpenAIUpstream(upstream, upstream_model) if upstream else DeterministicModel()
        self._bedrock = Bedrock(self.ledger, model)
        self._sagemaker = SageMaker(self.ledger, model)

        self._server = _Server((host, port), self)
        self.port: int = self._server.server_address[1]
        self.url = f"http://{host}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._started = time.monotonic()

    def start(self) -> "ModelStandIn":
        """Begin to answer."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close the port and every connection; the ledger's lines were all written before."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        for connection in list(self._server.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.ledger.close()

    def __enter__(self) -> "ModelStandIn":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def answer(self, exchange: Exchange) -> None:
        """Find who answers a path."""
        match exchange.method, exchange.segments:
            case "POST", ["model", model_id, operation]:
                self._bedrock.answer(exchange, model_id, operation)
            case "POST", ["endpoints", endpoint, operation]:
                self._sagemaker.answer(exchange, endpoint, operation)
            case "GET", ["foundation-models" | "inference-profiles", *_]:
                answer_catalog(exchange)
            case "GET", ["_ledger"]:
                exchange.send_json(200, {"records": self.ledger.after(int(exchange.query.get("after", 0)))})
            case "GET", ["_ledger", "summary"]:
                exchange.send_json(200, {"models": self.ledger.summary()})
            case "DELETE", ["_ledger"]:
                self.ledger.clear()
                exchange.send_json(200, {"records": []})
            case "GET", ["_health"]:
                exchange.send_json(200, {"status": "ok", "seconds": int(time.monotonic() - self._started)})
            case _:
                refuse(exchange, Refusal(404, "UnknownOperationException", f"No operation at {exchange.path}"))


def _chunks(reader: BinaryIO) -> Iterator[bytes]:
    while size := int(reader.readline(64).split(b";")[0], 16):
        yield reader.read(size)
        reader.readline(8)
    while reader.readline(_LARGEST_HEAD) not in (b"\r\n", b"\n", b""):
        pass

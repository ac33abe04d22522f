"""One HTTP request and the way back to whoever sent it."""

import contextlib
import json
import socket
import uuid
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote

from scripts.dev.model_stand_in.errors import Refusal


class ClientGone(Exception):
    """The other end closed the connection."""


class Exchange:
    """One request and the way back to whoever sent it."""

    def __init__(
        self, connection: socket.socket, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> None:
        self._connection = connection
        self.method = method
        self.raw_path, _, query = target.partition("?")
        self.path = unquote(self.raw_path)
        self.segments = [unquote(segment) for segment in self.raw_path.split("/") if segment]
        self.query = dict(parse_qsl(query))
        self.headers = headers
        self.body = body
        self.request_id = str(uuid.uuid4())
        self.keep_alive = headers.get("connection", "").lower() != "close"
        self.answered = False

    def json(self) -> Any:
        """The body as JSON; whoever asks decides what a malformed one is."""
        return json.loads(self.body or b"{}")

    @property
    def region(self) -> str | None:
        """The region this call was signed for; a bearer token does not say."""
        _, found, scope = self.headers.get("authorization", "").partition("Credential=")
        parts = scope.split(",")[0].split("/")
        return parts[-3] if found and len(parts) >= 5 else None

    def gone(self) -> bool:
        """Whether the client hung up; it has nothing to send before it has its answer, so silence means it waits."""
        try:
            return self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Answer at once."""
        head = self._head(status, {**headers, "Content-Length": str(len(body))})
        self._write(head + (b"" if self.method == "HEAD" else body))

    def send_json(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """Answer with JSON."""
        self.send(status, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})

    def begin(self, headers: Mapping[str, str]) -> None:
        """Begin a stream."""
        self._write(self._head(200, {**headers, "Transfer-Encoding": "chunked"}))

    def event(self, data: bytes) -> None:
        """Send one event of a stream in a chunk of its own."""
        if self.gone():
            raise ClientGone
        self._write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self, last: bytes = b"") -> None:
        """Send the last event, if any, and end the stream."""
        chunk = b"%x\r\n%b\r\n" % (len(last), last) if last else b""
        self._write(chunk + b"0\r\n\r\n")

    def cut(self) -> None:
        """Break the connection as a failing network would: nothing says that the answer is not whole."""
        self.keep_alive = False
        self.answered = True
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _head(self, status: int, headers: Mapping[str, str]) -> bytes:
        self.answered = True
        lines = [f"HTTP/1.1 {status} {_phrase(status)}", f"Date: {formatdate(usegmt=True)}"]
        lines.append(f"x-amzn-RequestId: {self.request_id}")
        lines.append("Connection: " + ("keep-alive" if self.keep_alive else "close"))
        lines.extend(f"{name}: {value}" for name, value in headers.items())
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def _write(self, data: bytes) -> None:
        try:
            self._connection.sendall(data)
        except OSError as error:
            self.keep_alive = False
            raise ClientGone from error


def refuse(exchange: Exchange, refusal: Refusal) -> None:
    """Answer an error as AWS does: the type in a header, the sentence in the body."""
    if exchange.segments[:1] == ["endpoints"]:
        body: dict[str, Any] = {"Message": refusal.message}
        if refusal.type == "ModelError":
            body.update(OriginalStatusCode=500, OriginalMessage=refusal.message, LogStreamArn="")
        exchange.send_json(refusal.status, body, {"x-amzn-ErrorType": refusal.type})
        return
    kind = f"{refusal.type}:http://internal.amazon.com/coral/com.amazon.bedrock/"
    exchange.send_json(refusal.status, {"message": refusal.message}, {"x-amzn-ErrorType": kind})


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Stand-in Fault"

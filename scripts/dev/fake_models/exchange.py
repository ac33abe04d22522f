"""One HTTP request and the connection back to its client."""

import json
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from scripts.dev.fake_models.errors import Refusal
from scripts.dev.http_server import ClientGone, Reply, Request

__all__ = ["ClientGone", "Exchange", "refuse"]


class Exchange:
    """One request and the connection back to its client."""

    def __init__(self, request: Request, reply: Reply) -> None:
        self._reply = reply
        self.method = request.method
        self.raw_path = request.path
        self.path = unquote(self.raw_path)
        self.segments = [unquote(segment) for segment in self.raw_path.split("/") if segment]
        self.query = dict(parse_qsl(request.query))
        self.headers = {name.lower(): value for name, value in request.headers}
        self.body = request.body
        self.request_id = str(uuid.uuid4())
        self.answered = False

    def json(self) -> Any:
        """The body as JSON; the caller decides how to handle a malformed one."""
        return json.loads(self.body or b"{}")

    @property
    def region(self) -> str | None:
        """The region of this call's signature; a bearer token has none."""
        _, found, scope = self.headers.get("authorization", "").partition("Credential=")
        parts = scope.split(",")[0].split("/")
        return parts[-3] if found and len(parts) >= 5 else None

    def gone(self) -> bool:
        """Has the client hung up?"""
        return self._reply.gone()

    def send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Answer at once."""
        self.answered = True
        self._reply.send(status, self._named(headers), body)

    def send_json(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """Answer with JSON."""
        self.send(status, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})

    def begin(self, headers: Mapping[str, str]) -> None:
        """Begin a stream."""
        self.answered = True
        self._reply.begin(200, self._named(headers))

    def event(self, data: bytes) -> None:
        """Send one event of a stream in its own chunk."""
        if self.gone():
            raise ClientGone
        self._reply.part(data)

    def end(self, last: bytes = b"") -> None:
        """Send the last event, if any, and end the stream."""
        if last:
            self._reply.part(last)
        self._reply.end()

    def cut(self) -> None:
        """Break the connection as a failing network would, without marking the response as incomplete."""
        self.answered = True
        self._reply.cut()

    def _named(self, headers: Mapping[str, str]) -> list[tuple[str, str]]:
        return [("x-amzn-RequestId", self.request_id), *headers.items()]


def refuse(exchange: Exchange, refusal: Refusal) -> None:
    """Answer with an error as AWS does: the type in a header, the message in the body."""
    if exchange.segments[:1] == ["endpoints"]:
        body: dict[str, Any] = {"Message": refusal.message}
        if refusal.type == "ModelError":
            body.update(OriginalStatusCode=500, OriginalMessage=refusal.message, LogStreamArn="")
        exchange.send_json(refusal.status, body, {"x-amzn-ErrorType": refusal.type})
        return
    kind = f"{refusal.type}:http://internal.amazon.com/coral/com.amazon.bedrock/"
    exchange.send_json(refusal.status, {"message": refusal.message}, {"x-amzn-ErrorType": kind})

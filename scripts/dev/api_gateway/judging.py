"""Answers against the spec, by openapi-core: status, headers, content type, body, and the events of a stream.

API Gateway checks no answer. A stack notes one that does not fit in contract.log, and sends it as it is. Under load it
looks at a sample, since the look costs more than the call. Where `GATEWAY_DEV_VERDICTS` names a file, it judges every
answer before the last byte is out of its hands, and writes a line of JSON for each as it begins and as it is judged.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import re
import threading
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.templating.paths.exceptions import PathError
from openapi_schema_validator import OAS30Validator

from scripts.dev.api_gateway.events import Call
from scripts.dev.api_gateway.routes import Spec
from scripts.dev.http_server import Response
from scripts.project.template import load

VERDICTS = "GATEWAY_DEV_VERDICTS"
# The schema of an event's data where it is JSON, by operation. A schema of API Gateway's cannot say it; the text does.
EVENTS = {
    "streamModel": "StreamedText", "createChatCompletion": "ChatCompletionChunk", "createResponse": "ResponseEvent",
    "createMessage": "MessageEvent",
}  # fmt: skip
NAMED_EVENTS = {("streamModel", "usage"): "StreamedUsage", ("streamModel", "error"): "Problem"}
_SCIM = "application/scim+json"
_ERROR_ALONE = "ErrorBody"  # the schema of `error` in a chunk that has nothing else
# A problem that came after the status was sent, as `gateway.web.exchange.late` writes it.
_LATE = re.compile(rb"\s*HTTP ([1-5]\d\d) (.*)\xff", re.DOTALL)
_MOST_WAITING = 200
_SLASH = re.compile("%2f", re.IGNORECASE)
DELEGATED = re.compile("/delegated(?=/admin/)")
_PAUSE = 0.1  # seconds between two looks at answers of one kind
_LOOKED_AT = 1 << 20  # bytes of a streamed answer up to which a sample is taken of it


def as_admin(path: str) -> str:
    """The path of the operation that a path names: below /delegated are those of /admin."""
    return DELEGATED.sub("", path, count=1) if DELEGATED.match(path) else path


class _Asked:
    """A request as openapi-core wants it."""

    def __init__(self, host_url: str, method: str, path: str):
        self.parameters = RequestParameters()
        self.host_url = host_url
        self.path = unquote(_SLASH.sub("%252F", path))  # one in a parameter (an ARN's) parts no path
        self.method = method.lower()
        self.body, self.content_type = b"", ""  # no part in what is judged


class _Answered:
    """A response as openapi-core wants it."""

    def __init__(self, response: Response):
        self.status_code = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers}
        self.content_type = self.headers.get("content-type", "").lower()
        text = self.content_type.startswith("text/")
        self.data: Any = response.body.decode(errors="replace") if text else response.body


class Judge:
    """Says in which places an answer does not fit a spec, never with what: an answer stays out of every log."""

    def __init__(self, document: Mapping[str, Any]):
        config = Config(spec_validator_cls=None, extra_media_type_deserializers={_SCIM: json.loads})
        self._openapi = OpenAPI.from_dict(dict(document), config=config)
        self._host = str((document.get("servers") or [{"url": ""}])[0]["url"]).rstrip("/")
        self._schemas = (document.get("components") or {}).get("schemas") or {}
        self._validators: dict[str, OAS30Validator] = {}
        self._lock = threading.Lock()  # openapi-core makes its validators as it goes

    def faults(
        self, method: str, path: str, response: Response, operation: str | None = None, *, whole: bool = True
    ) -> list[str]:
        """`operation` is the id of the one that was asked for. Of an answer that broke off only what came is judged.

        An answer to no operation has no schema, and no faults.
        """
        if late := _LATE.fullmatch(response.body):
            response = Response(int(late[1]), late[2], response.headers)
        asked, answered = _Asked(self._host, method, path), _Answered(response)
        kind = answered.content_type.split(";")[0].strip()
        streamed = response.status == 200 and kind in _STREAMS
        if not whole and not streamed:
            return []
        with self._lock:
            try:
                self._openapi.validate_response(asked, answered)
            except PathError:
                return []
            except Exception as error:
                cause = error.__cause__ or error
                places = [f"{each.json_path} {each.validator}" for each in getattr(cause, "schema_errors", ())]
                return [f"{type(cause).__name__} {'; '.join(places)}".strip()]
            return list(_STREAMS[kind](self, operation, response.body, whole)) if streamed else []

    def _server_sent(self, operation: str | None, body: bytes, whole: bool) -> Iterator[str]:
        *complete, rest = body.decode(errors="replace").replace("\r\n", "\n").split("\n\n")
        if rest and whole:
            yield "the last event has no end"
        for number, event in enumerate(complete):
            lines = [line.partition(":") for line in event.split("\n") if line and not line.startswith(":")]
            if strange := {name for name, _, _ in lines} - {"event", "data", "id", "retry"}:
                yield f"event {number} has {len(strange)} lines that are none of server-sent events"
            name = next((value.strip() for field, _, value in lines if field == "event"), "")
            data = "\n".join(value.removeprefix(" ") for field, _, value in lines if field == "data")
            if data and data != "[DONE]":
                yield from (f"event {number} {fault}" for fault in self._event(operation, name, data))

    def _event(self, operation: str | None, name: str, data: str) -> Iterator[str]:
        schema = NAMED_EVENTS.get((operation or "", name)) or EVENTS.get(operation or "")
        if schema is None:
            return
        try:
            said = json.loads(data)
        except ValueError:
            yield "is no JSON"
            return
        if isinstance(said, dict) and said.keys() == {"error"}:
            said, schema = said["error"], _ERROR_ALONE
        for error in self._validator(schema).iter_errors(said):
            yield f"{schema} {error.json_path} {error.validator}"

    def _validator(self, schema: str) -> OAS30Validator:
        if schema not in self._validators:
            part = {"$ref": f"#/components/schemas/{schema}", "components": {"schemas": self._schemas}}
            self._validators[schema] = OAS30Validator(part)
        return self._validators[schema]

    def _framed(self, operation: str | None, body: bytes, whole: bool) -> Iterator[str]:
        from gateway.calls.eventstream import BrokenFrameError, frames

        try:
            for number, frame in enumerate(frames([body])):
                if not isinstance(frame.json, dict):
                    yield f"frame {number} has no object"
        except BrokenFrameError:
            if whole:
                yield "a frame is broken"
        except ValueError:
            yield "a frame has no JSON"


@cache
def judge_of(spec: Path) -> Judge:
    return Judge(load(spec))


_STREAMS = {"text/event-stream": Judge._server_sent, "application/vnd.amazon.eventstream": Judge._framed}


class ContractLog:
    """Notes the answers that do not fit the spec: a sample of them, aside from the calls, or all."""

    def __init__(self, spec: Spec, path: Path):
        self._spec = spec
        self._judge = Judge(spec.document)
        self._logger = logging.getLogger("contract")
        self._logger.propagate = False
        handler = logging.FileHandler(path, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._logger.handlers = [handler]
        self._waiting: queue.Queue[tuple[Call, Response]] = queue.Queue(_MOST_WAITING)
        self._looked: dict[tuple[Any, ...], float] = {}
        self._verdicts: int | None = None
        if named := os.environ.get(VERDICTS):
            self._verdicts = os.open(named, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        else:
            threading.Thread(target=self._run, daemon=True).start()

    def begins(self, call: Call) -> None:
        """A request has come whose answer will be judged."""
        self._write({"request_id": call.request_id})

    def ends(self, call: Call, response: Response, *, whole: bool = True) -> None:
        """The whole answer, or what came of it before it broke off."""
        if self._verdicts is not None:
            route, faults = self._judged(call, response, whole)
            self._write({"request_id": call.request_id, "route": route, "status": response.status, "faults": faults})
        elif whole:
            self._sample(call, response)

    def takes(self, response: Response) -> bool:
        """Is a streamed answer to be collected, so that it can be judged at its end?"""
        if self._verdicts is not None:
            return True
        named = {name.lower(): value for name, value in response.headers}
        return "json" in named.get("content-type", "") and int(named.get("content-length", _LOOKED_AT)) < _LOOKED_AT

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._verdicts is not None:
            with contextlib.suppress(OSError):  # on a full disk
                noted = {"pid": os.getpid(), "spec": str(self._spec.path.resolve()), **line}
                os.write(self._verdicts, json.dumps(noted).encode() + b"\n")

    def _sample(self, call: Call, response: Response) -> None:
        route = call.route
        kind, now = (route and route.path, route and route.method, response.status), time.monotonic()
        if now - self._looked.get(kind, 0.0) < _PAUSE:
            return
        self._looked[kind] = now
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait((call, response))

    def _run(self) -> None:
        while True:
            self._judged(*self._waiting.get(), whole=True)

    def _judged(self, call: Call, response: Response, whole: bool) -> tuple[str | None, list[str]]:
        """The operation that was asked for, and the faults of its answer, which are noted. Of no operation none are."""
        path = as_admin(call.request.path)
        found = self._spec.find(call.request.method, path)
        if found is None or found[0].method == "any":
            return None, []
        asked, operation = f"{call.request.method} {found[0].path}", found[0].imported.operation.get("operationId")
        faults = self._judge.faults(call.request.method, path, response, operation, whole=whole)
        for fault in faults:
            self._logger.warning("%s %s %s: %s", call.request_id, asked, response.status, fault)
        return asked, faults

"""The one socket of the embedded AWS: finds a request's service, and passes the request to moto."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
import urllib.request
import uuid
from collections.abc import Iterable
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote

from moto.core.config import default_user_config
from moto.core.request import (
    PRESERVED_HEADER_NAMES_ENVIRON_KEY,
    environ_key_for_header,
    should_preserve_original_header_name,
)
from moto.core.request import Request as MotoRequest
from moto.dynamodb.responses import DynamoHandler
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.sqs.responses import SQSResponse

from scripts.dev.http_server import Request, Response
from scripts.dev.moto_aws.files import Objects
from scripts.dev.moto_aws.queues import Queues
from scripts.dev.moto_aws.tables import Tables

logger = logging.getLogger(__name__)
_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/([^/]+)/([^/]+)/aws4_request")
_INVOKE = re.compile(r"^/2015-03-31/functions/([^/]+)/invocations$")

default_user_config["stepfunctions"] = {"execute_state_machine": True}


class _ServedRequest(MotoRequest):
    from_wsgi_server = True


class EmbeddedAws:
    """Answers any AWS request. `control` is the URL that invokes functions."""

    def __init__(self, tables: Tables, queues: Queues, objects: Objects, control: str | None):
        self._tables = tables
        self._queues = queues
        self._objects = objects
        self._control = control
        self._others = DomainDispatcherApplication(create_backend_app)
        self._s3 = create_backend_app("s3")
        self.workflows_ready = threading.Event()

    def answer(self, request: Request) -> Response:
        try:
            return self._answer(request)
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            problem = {"__type": "InternalServerError", "message": "The embedded AWS failed. Its log has the reason."}
            return Response(500, json.dumps(problem).encode(), [("Content-Type", "application/x-amz-json-1.0")])

    def _answer(self, request: Request) -> Response:
        scope = _SCOPE.search(request.header("authorization") or "")
        target = request.header("x-amz-target") or ""
        service = scope[2] if scope else ""
        if service == "dynamodb" and target.startswith("DynamoDB_20120810."):
            return self._dynamodb(request, target.partition(".")[2])
        if service == "sqs" and target.startswith("AmazonSQS."):
            return self._sqs(request, target.partition(".")[2])
        if service == "s3":
            return self._s3_request(request)
        if service == "lambda" and request.method == "POST" and (match := _INVOKE.match(unquote(request.path))):
            return self._lambda(request, match[1])
        if service == "states":
            self.workflows_ready.wait(60)
            if target.endswith(".StartExecution"):
                # moto would name every unnamed execution `None`.
                request.body = json.dumps({"name": str(uuid.uuid4())} | json.loads(request.body)).encode()
        return self.through_moto(request)

    def through_moto(self, request: Request) -> Response:
        """Any other service, by moto's own rules."""
        return _through_wsgi(self._others, request)

    def _dynamodb(self, request: Request, operation: str) -> Response:
        with self._tables.request():
            response = self._tables.answer(operation, request.body) or _dispatched(DynamoHandler, request)
            if response.status == 200:
                self._tables.written(operation)
            return response

    def _sqs(self, request: Request, operation: str) -> Response:
        body = json.loads(request.body or b"{}")
        queue = str(body.get("QueueUrl", "")).rstrip("/").rpartition("/")[2]
        if operation == "ReceiveMessage":
            # moto would hold the lock while it waited.
            self._queues.wait(queue, self._queues.patience(queue, body.get("WaitTimeSeconds")))
            request.body = json.dumps(body | {"WaitTimeSeconds": 0}).encode()
        with self._queues.request(queue):
            response = _dispatched(SQSResponse, request)
            if response.status == 200:
                self._queues.written(operation, queue)
            return response

    def _s3_request(self, request: Request) -> Response:
        if request.method in {"GET", "HEAD"}:
            return _through_wsgi(self._s3, request)
        with self._objects.request(request.method, request.path, request.query, request.body):
            response = _through_wsgi(self._s3, request)
            if response.status < 300:
                self._objects.written(request.method, request.path, request.query, request.body)
            return response

    def _lambda(self, request: Request, name: str) -> Response:
        """Invoke a function through the supervisor, which runs them; Step Functions' tasks use it too."""
        if self._control is None:
            return Response(503, b'{"Type":"Service","Message":"No functions are running"}')
        url = f"{self._control}/2015-03-31/functions/{name}/invocations"
        headers = {"X-Amz-Invocation-Type": request.header("x-amz-invocation-type") or "RequestResponse"}
        try:
            with urllib.request.urlopen(urllib.request.Request(url, request.body, headers, method="POST")) as answer:
                return Response(answer.status, answer.read(), _relevant(answer.headers.items()))
        except HTTPError as error:
            return Response(error.code, error.read(), _relevant(error.headers.items()))


def _relevant(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower().startswith(("x-amz", "content-type"))]


def _dispatched(handler: Any, request: Request) -> Response:
    """Call a service's own dispatcher directly, without Flask."""
    moto_request = _ServedRequest(_environ(request))
    response = handler()._dispatch(moto_request, moto_request.raw_url, moto_request.headers)
    status, headers, body = (
        response if len(response) == 3 else (response[1].get("status", 200), response[1], response[0])
    )
    sent = [(name, str(value)) for name, value in headers.items() if name.lower() not in {"status", "content-length"}]
    return Response(int(status), body.encode() if isinstance(body, str) else bytes(body), sent)


def _through_wsgi(application: Any, request: Request) -> Response:
    response = Response(500)

    def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
        response.status = int(status.split(" ", 1)[0])
        # A HEAD response has the object's length, not the empty body's.
        keep_length = request.method == "HEAD"
        response.headers = [
            (name, value)
            for name, value in headers
            if name.lower() not in {"connection", "transfer-encoding", *(() if keep_length else ("content-length",))}
        ]

    parts = application(_environ(request), start_response)
    try:
        response.body = b"".join(parts)
    finally:
        if hasattr(parts, "close"):
            parts.close()
    return response


def _environ(request: Request) -> dict[str, Any]:
    """The request as a WSGI environment."""
    host, _, port = (request.header("host") or "127.0.0.1:80").partition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(request.path, "latin-1"),
        "QUERY_STRING": request.query,
        "RAW_URI": request.target,
        "REQUEST_URI": request.target,
        "SERVER_NAME": host,
        "SERVER_PORT": port or "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": request.client,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    preserved: dict[str, str] = {}
    for name, value in request.headers:
        key = environ_key_for_header(name)
        if key in {"HTTP_TRANSFER_ENCODING", "HTTP_EXPECT"}:
            continue
        if "_" in name:
            if not should_preserve_original_header_name(name):
                continue
            preserved[key] = name
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    environ["CONTENT_LENGTH"] = str(len(request.body))
    environ[PRESERVED_HEADER_NAMES_ENVIRON_KEY] = preserved
    return environ

"""The Lambda Web Adapter's stand-in under SAM CLI: starts a function's server and forwards events. Never deployed.

A streamed response arrives in one piece: SAM CLI and the runtime's emulator in its images cannot stream.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import subprocess
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from local_edge import as_received, refusal

PORT = int(os.environ.get("AWS_LWA_PORT", "8080"))
RUNTIME = os.environ.get("AWS_LAMBDA_RUNTIME_API", "")
INVOCATIONS = "/2018-06-01/runtime/invocation"
PATIENCE = 60.0
EVENT_STREAM = "application/vnd.amazon.eventstream"
NOT_FORWARDED = {"connection", "content-length", "transfer-encoding", "host", "expect"}
NOT_ANSWERED = {"connection", "content-length", "transfer-encoding", "keep-alive"}


def main() -> None:
    server = subprocess.Popen([os.path.join(os.environ["LAMBDA_TASK_ROOT"], os.environ["_HANDLER"])])
    wait_for(server)
    runtime = http.client.HTTPConnection(RUNTIME)
    while True:
        runtime.request("GET", f"{INVOCATIONS}/next")
        said = runtime.getresponse()
        event = json.loads(said.read())
        request_id = said.headers["Lambda-Runtime-Aws-Request-Id"]
        try:
            way, answer = "response", answered(event, dict(said.headers))
        except Exception as error:  # the runtime's emulator needs a response to every event
            way, answer = "error", {"errorType": type(error).__name__, "errorMessage": str(error)}
        runtime.request("POST", f"{INVOCATIONS}/{request_id}/{way}", json.dumps(answer).encode())
        runtime.getresponse().read()


def wait_for(server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=PATIENCE)
        try:
            connection.request("GET", os.environ.get("AWS_LWA_READINESS_CHECK_PATH", "/"))
            if connection.getresponse().status < 500:
                return
        except OSError:
            time.sleep(0.02)
        finally:
            connection.close()
    raise SystemExit("the function's server does not become ready")


def answered(event: dict[str, Any], invocation: Mapping[str, str]) -> dict[str, Any]:
    """The proxy response to a proxy event."""
    event = as_received(event)
    if refused := refusal(event):
        return refused
    connection = http.client.HTTPConnection("127.0.0.1", PORT)
    body = event.get("body") or ""
    sent = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
    connection.request(event["httpMethod"], target(event), sent, headers(event, invocation))
    response = connection.getresponse()
    kept = {name: value for name, value in response.getheaders() if name.lower() not in NOT_ANSWERED}
    kept = {name.title() if name.lower() == "content-type" else name: value for name, value in kept.items()}
    content = response.read()
    is_text = response.headers.get_content_type() != EVENT_STREAM
    packed = content.decode() if is_text else base64.b64encode(content).decode()
    return {"statusCode": response.status, "headers": kept, "body": packed, "isBase64Encoded": not is_text}


def target(event: Mapping[str, Any]) -> str:
    query = event.get("multiValueQueryStringParameters") or {}
    path = quote(event["path"], safe="/:@!$&'()*+,;=-._~%")
    return path + ("?" + urlencode(query, doseq=True) if query else "")


def headers(event: Mapping[str, Any], invocation: Mapping[str, str]) -> dict[str, str]:
    """The request's headers, plus the caller and the deadline, as the adapter adds them."""
    sent = {name: value for name, value in event["headers"].items() if name.lower() not in NOT_FORWARDED}
    context = {
        "request_id": invocation["Lambda-Runtime-Aws-Request-Id"],
        "deadline": int(invocation["Lambda-Runtime-Deadline-Ms"]),
        "invoked_function_arn": invocation["Lambda-Runtime-Invoked-Function-Arn"],
    }
    own = {"x-amzn-request-context": event["requestContext"], "x-amzn-lambda-context": context}
    return sent | {name: json.dumps(value) for name, value in own.items()}


if __name__ == "__main__":
    main()

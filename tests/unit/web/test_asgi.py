"""The streaming edge, called as a server calls it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

from gateway.core.errors import BadRequestError, GatewayError
from gateway.web.asgi import Asgi
from gateway.web.exchange import Dialect, Reply
from gateway.web.stream_resolver import StreamResolver

CONTEXT = {
    "requestId": "request-1",
    "authorizer": {"tenant_id": "research", "key_id": "key-1", "tenant": '{"tenant_id": "research"}'},
}


def problem(error: GatewayError, request_id: str) -> Reply:
    return Reply({"code": error.code, "request_id": request_id}, error.status)


def ask(answer: Reply) -> tuple[int, Any]:
    """Status and JSON of the response for a handler's result."""

    api = StreamResolver(lambda _: Dialect(problem, lambda error: BadRequestError(str(error))))

    @api.get("/models")
    def list_models() -> Reply:
        return answer

    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/models",
        "query_string": b"",
        "headers": [(b"x-amzn-request-context", json.dumps(CONTEXT).encode())],
    }
    asyncio.run(Asgi(api)(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_an_answer_is_sent_as_json() -> None:
    assert ask(Reply({"models": []})) == (200, {"models": []})


def test_an_answer_that_is_no_json_is_a_problem_with_a_code() -> None:
    status, body = ask(Reply({"created": datetime.now(UTC)}))
    assert (status, body) == (500, {"code": "internal_error", "request_id": "request-1"})

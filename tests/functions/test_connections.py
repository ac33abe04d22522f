"""Every connection of a model call has keep-alive, read from the open sockets themselves."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from urllib3.util import connection

from gateway.aws import clients
from gateway.aws.dynamodb.writes import Writes
from gateway.aws.models.bedrock import BedrockRuntime
from gateway.aws.models.credentials import Sessions
from gateway.aws.models.sagemaker import SageMakerRuntime
from gateway.calls.call import ModelCall
from gateway.calls.catalog import Catalog

DROPPED = 350  # seconds of silence after which a NAT gateway and an interface endpoint forget a flow
IDLE: int = getattr(socket, "TCP_KEEPIDLE", 0) or getattr(socket, "TCP_KEEPALIVE", 0)


class Refusing(BaseHTTPRequestHandler):
    """A service that accepts connections and refuses every request."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(403)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Its URL, set as the endpoint of every service."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    clients.client.cache_clear()
    yield url
    clients.client.cache_clear()
    server.shutdown()
    server.server_close()


def converse(api: str) -> ModelCall:
    body = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    return ModelCall(Catalog({}).find("amazon.nova-lite-v1:0"), "text", api, body)


def endpoint() -> ModelCall:
    return ModelCall(Catalog({"llama": "llama-endpoint"}).find("llama"), "text", "InvokeEndpoint", {"inputs": "hi"})


CALLS: dict[str, Callable[[], Any]] = {
    "an answer of Bedrock": lambda: BedrockRuntime(60).call(converse("Converse")),
    "a stream of Bedrock": lambda: BedrockRuntime(60).open(converse("ConverseStream")),
    "an answer of an endpoint": lambda: SageMakerRuntime(60).call(endpoint()),
    "a stream of an endpoint": lambda: SageMakerRuntime(60).open(endpoint()),
    "a write of the ledger": lambda: Writes().put_item(TableName="usage", Item={"pk": {"S": "x"}}),
    "a read of a table": lambda: clients.client("dynamodb").get_item(TableName="t", Key={"pk": {"S": "x"}}),
    "a session of a tenant": lambda: Sessions("arn:aws:iam::123456789012:role/t").credentials({"tenant_id": "acme"}),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_connection_is_probed_before_the_network_forgets_it(
    service: str, monkeypatch: pytest.MonkeyPatch, call: Callable[[], Any]
) -> None:
    connect, seen = connection.create_connection, []

    def watched(*how: Any, **more: Any) -> socket.socket:
        made = connect(*how, **more)
        of_tcp = [made.getsockopt(socket.IPPROTO_TCP, o) for o in (IDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)]
        seen.append((made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0, *of_tcp))
        return made

    monkeypatch.setattr(connection, "create_connection", watched)
    with suppress(Exception):  # it is refused
        call()
    assert seen == [(True, 60, 30, 5)]
    _, idle, between, times = seen[0]
    assert idle + between * times < DROPPED

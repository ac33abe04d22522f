"""boto3 clients, and connections for requests sent without them, made once per execution environment."""

from __future__ import annotations

import os
import socket
import ssl
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.httpsession import get_cert_path
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool, connection_from_url
from urllib3.util import create_urllib3_context

SETTLING = 10.0  # seconds
USER_AGENT = "model-gateway"  # boto3 would build its own for each request, in a sixth of the request's time

# A model may be silent for longer than 350 s, after which a NAT gateway or an interface endpoint drops a flow (VPC
# guide, "Internet connection drops after 350 seconds"). Linux sends its first probe after two hours, and botocore has
# no option for it (boto/botocore#2916). macOS has another name for the first of the three.
_IDLE: int = getattr(socket, "TCP_KEEPIDLE", 0) or getattr(socket, "TCP_KEEPALIVE", 0)
PROBES: list[tuple[int, int, int]] = [
    (socket.IPPROTO_TCP, _IDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 5),
]

# Our own stores: retried, since every write to them is conditional or idempotent.
STORES = Config(
    retries={"mode": "standard", "total_max_attempts": 6},
    connect_timeout=2,
    read_timeout=10,
    max_pool_connections=50,
    tcp_keepalive=True,
    user_agent=USER_AGENT,
)


def models_config(seconds: float) -> Config:
    """The config of model clients: no retries, since each attempt is a ledger row and only the gateway may add one.

    `seconds` is the function's time limit; the read timeout is shorter by SETTLING, the time to settle the call's row.
    """
    return Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=5,
        read_timeout=max(seconds - SETTLING, 1),
        max_pool_connections=50,
        tcp_keepalive=True,
        user_agent=USER_AGENT,
    )


@cache
def connections(endpoint_url: str) -> HTTPConnectionPool:
    """Persistent connections to one service, without retries."""
    secure = {"ssl_context": trust()} if endpoint_url.startswith("https:") else {}
    alive = [*HTTPConnection.default_socket_options, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), *PROBES]
    return connection_from_url(endpoint_url, maxsize=200, retries=False, socket_options=alive, **secure)


@cache
def trust() -> ssl.SSLContext:
    """The TLS context of all connections, made once: loading the certificate authorities takes 20 ms."""
    context = create_urllib3_context()
    context.load_verify_locations(os.environ.get("AWS_CA_BUNDLE") or get_cert_path(True))
    return context


@cache
def client(service: str, config: Config = STORES) -> Any:
    made = boto3.client(service, config=config)
    made._endpoint.http_session._socket_options.extend(PROBES)  # before its first connection
    return made

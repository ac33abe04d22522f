"""boto3 clients, made once per execution environment."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3
from botocore.config import Config

# Our own stores: retried, since every write to them is conditional or idempotent.
STORES = Config(
    retries={"mode": "standard", "total_max_attempts": 6},
    connect_timeout=2,
    read_timeout=10,
    max_pool_connections=50,
    tcp_keepalive=True,
)
# Models: never retried here. An attempt is a row of the ledger, so only the gateway may make one.
MODELS = Config(
    retries={"mode": "standard", "total_max_attempts": 1},
    connect_timeout=5,
    read_timeout=890,
    max_pool_connections=50,
    tcp_keepalive=True,
)


@cache
def client(service: str, config: Config = STORES) -> Any:
    return boto3.client(service, config=config)

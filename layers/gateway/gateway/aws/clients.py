"""boto3 clients, made once per execution environment."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3
from botocore.config import Config

SETTLING = 10.0  # seconds

# Our own stores: retried, since every write to them is conditional or idempotent.
STORES = Config(
    retries={"mode": "standard", "total_max_attempts": 6},
    connect_timeout=2,
    read_timeout=10,
    max_pool_connections=50,
    tcp_keepalive=True,
)


def models_config(seconds: float) -> Config:
    """For models: never retried here, since an attempt is a row of the ledger and only the gateway may make one.

    A call is given up in time for its row to be settled: `seconds` is what the function has, less what settling takes.
    """
    return Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=5,
        read_timeout=max(seconds - SETTLING, 1),
        max_pool_connections=50,
        tcp_keepalive=True,
    )


@cache
def client(service: str, config: Config = STORES) -> Any:
    return boto3.client(service, config=config)

"""Serves the backends of `sam local`: `python -m scripts.deploy.sam_local.serve`, which is `make sam-local`.

These are the embedded AWS, the models' stand-in and the queue's worker, at an address that containers reach. The
functions themselves are those of local/template.yaml: see scripts/deploy/sam_local/overlay.py.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.deploy.events import job_table, seed
from scripts.deploy.sam_local.overlay import AWS_PORT, MODELS_PORT, REGION
from scripts.dev.bell import Bell
from scripts.dev.stack import LocalStack, StackError
from scripts.project.template import ROOT

LOOPBACK = "127.0.0.1"
DATA = ROOT / ".dev/sam-local"


def bridge() -> str:
    """This machine's address for containers: Docker's bridge; with Docker Desktop the machine's own."""
    if sys.platform != "linux":
        return LOOPBACK
    with socket.socket() as probe:
        try:
            asked = struct.pack("256s", b"docker0")
            return socket.inet_ntoa(fcntl.ioctl(probe, 0x8915, asked)[20:24])  # SIOCGIFADDR
        except OSError:
            return LOOPBACK


def backing() -> dict[str, str]:
    """The environment for a local stack that containers reach."""
    return {
        "GATEWAY_DEV_HOST": bridge(),
        "GATEWAY_DEV_AWS_PORT": str(AWS_PORT),
        "GATEWAY_DEV_MODELS_PORT": str(MODELS_PORT),
        "AWS_REGION": REGION,
    }


@contextmanager
def backing_stack(data: Path, **environment: str) -> Iterator[LocalStack]:
    """A local stack without an API, with the tenants and keys of events/."""
    with LocalStack(data, port=None, environment=backing() | environment) as stack:
        os.environ |= {"AWS_ENDPOINT_URL": stack.aws_endpoint, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
        os.environ |= {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
        tables, buckets = stack.info["tables"], stack.info["buckets"]
        queue = stack.info["queues"]["JobsQueue"]
        jobs = job_table(tables["ResultsTable"], tables["UsageTable"], queue, buckets["PayloadsBucket"])
        seed(tables["TenantsTable"], jobs)
        yield stack


def main() -> int:
    """Serve until a signal."""
    over = Bell()
    over.ring_at(signal.SIGINT, signal.SIGTERM)
    if sys.platform == "linux" and bridge() == LOOPBACK:
        print("docker0 does not exist: start Docker first, or containers will not reach this stack", file=sys.stderr)
    try:
        with backing_stack(DATA) as stack:
            print(f"ready: an AWS at {stack.aws_endpoint}, models at {stack.model_stand_in_url}")
            print("  in another terminal: sam build && sam local start-api  (or .venv/bin/sam)")
            key = stack.tenants[0]["key"]
            print(f"  then: curl -s -H 'x-api-key: {key}' http://127.0.0.1:3000/list_foundation_models", flush=True)
            over.wait()
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

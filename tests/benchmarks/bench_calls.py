"""CPU of a metered call compared with a bare boto3 call.

The gateway's side is the real handler with a real boto3, reserving and settling in a real DynamoDB wire format; store and
models are stand-ins in other processes, so that only the caller's CPU counts.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.benchmarks import quiet

ROOT = Path(__file__).parents[2]
ROUNDS, CALLS = 7, 150
MODEL = "anthropic.claude-3-haiku-20240307-v1:0"


class Accepting(BaseHTTPRequestHandler):
    """A DynamoDB that accepts every write: the minimum cost of a store to its caller."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        # One write: two would wait for the client's delayed acknowledgement.
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: 2\r\n\r\n{}")

    def log_message(self, *_: Any) -> None:
        """Silent."""


def serve_store() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Accepting)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def started(*command: str) -> tuple[subprocess.Popen[str], str]:
    """A helper process and the first line it prints."""
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def cpu_of(work: Callable[[], object]) -> float:
    """CPU milliseconds of one call of `work`, over CALLS of them."""
    before = time.process_time()
    for _ in range(CALLS):
        work()
    return (time.process_time() - before) / CALLS * 1000


def warm(store: str, models: str) -> None:
    from tests.conftest import ENVIRONMENT

    endpoints = {
        "AWS_ENDPOINT_URL": store,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": models,
        "JOBS_QUEUE_URL": f"{store}/1/jobs",
    }
    os.environ |= ENVIRONMENT | endpoints | {"LOG_LEVEL": "ERROR"}
    import boto3

    spec = importlib.util.spec_from_file_location("bench_app", ROOT / "functions/invoke_model/app.py")
    assert spec is not None
    assert spec.loader is not None
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    event = json.loads((ROOT / "events/invoke_model/text.json").read_text())
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)
    messages = [{"role": "user", "content": [{"text": "What is a ledger?"}]}]
    converse = json.loads(json.dumps(event)) | {"body": json.dumps({"inputs": messages})}
    converse["headers"]["messages_api"] = "true"
    event["requestContext"]["requestTimeEpoch"] = converse["requestContext"]["requestTimeEpoch"] = int(
        time.time() * 1000
    )
    bedrock = boto3.client("bedrock-runtime")
    body = json.dumps(
        {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 200,
            "messages": [{"role": "user", "content": "What is a ledger?"}],
        }
    )
    daemon = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    daemon.bind(("127.0.0.1", 0))
    traced = {
        "AWS_XRAY_DAEMON_ADDRESS": f"127.0.0.1:{daemon.getsockname()[1]}",
        "_X_AMZN_TRACE_ID": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
    }

    def with_its_trace() -> None:
        os.environ |= traced
        app.handler(converse, context)
        for name in traced:
            del os.environ[name]

    ways: dict[str, Callable[[], object]] = {
        "bare boto3 converse": lambda: bedrock.converse(modelId=MODEL, messages=messages),
        "bare boto3 invoke_model": lambda: json.load(bedrock.invoke_model(modelId=MODEL, body=body)["body"]),
        "gateway, Converse": lambda: app.handler(converse, context),
        "gateway, Converse, traced": with_its_trace,
        "gateway, InvokeModel": lambda: app.handler(event, context),
    }
    rounds: dict[str, list[float]] = {name: [] for name in ways}
    with quiet():
        for work in ways.values():
            for _ in range(20):
                work()
        assert app.handler(event, context)["statusCode"] == 200
        assert app.handler(converse, context)["statusCode"] == 200
        assert daemon.recv(1 << 16)
        for _ in range(ROUNDS):
            for name, work in ways.items():
                rounds[name].append(cpu_of(work))
    base = statistics.median(rounds["bare boto3 converse"])
    print(f"\nCPU per warm call (median of {ROUNDS} rounds of {CALLS})")
    for name, values in rounds.items():
        middle = statistics.median(values)
        print(f"  {name:28} {middle:6.2f} ms   x {middle / base:4.2f}")


def main() -> None:
    store, port = started("-c", "from tests.benchmarks.bench_calls import serve_store; serve_store()")
    models, ready = started("-m", "scripts.dev.fake_models", "--port", "0", "--ledger", os.devnull)
    try:
        warm(f"http://127.0.0.1:{port}", ready.rpartition(" ")[2])
    finally:
        for process in (store, models):
            process.terminate()
            threading.Thread(target=process.wait).start()


if __name__ == "__main__":
    main()

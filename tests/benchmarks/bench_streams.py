"""The streaming function's cost: time added to each event, CPU per event and per call, memory of a long stream.

The server is the real one, as run.sh starts it. The models' stand-in writes the time into each event just before it
sends it; the store accepts every write. Each has its own process, so CPU and memory are the server's. Both sides read
the machine's monotonic clock.
"""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from gateway.calls.eventstream import CONTENT_TYPE, encode
from tests.benchmarks import quiet
from tests.benchmarks.bench_calls import MODEL, ROOT, started

ROUNDS, EVENTS, PAUSE = 5, 150, 0.004  # an event each 4 ms is a fast model
CALLS = 150
SHORT, LONG = 1_000, 100_000  # chunks of a stream
SLOW = 5_000_000  # bytes a second that a slow client reads
WORD = b"ledger;"
_ASKED = re.compile(rb"events=(\d+) pause=([\d.]+)")
_STAMP = re.compile(rb"@(\d+)@")
_BEGAN = re.compile(rb"!(\d+)!")


# -------------------------------------------------------------------------------------------------------- the stand-in
def _frame(kind: str, event: Any) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return encode(headers, json.dumps(event, separators=(",", ":")).encode())


def _chunk(kind: str, **event: Any) -> bytes:
    return _frame(
        "chunk",
        {"bytes": base64.b64encode(json.dumps({"type": kind, **event}, separators=(",", ":")).encode()).decode()},
    )


class ConverseEvents:
    """The frames of a ConverseStream."""

    start = _frame("messageStart", {"role": "assistant"})
    end = (
        _frame("contentBlockStop", {"contentBlockIndex": 0})
        + _frame("messageStop", {"stopReason": "end_turn"})
        + _frame("metadata", {"usage": {"inputTokens": 9, "outputTokens": 9, "totalTokens": 18}, "metrics": {}})
    )

    @staticmethod
    def text(text: str) -> bytes:
        return _frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}})


class ClaudeEvents:
    """The chunks of Claude's InvokeModelWithResponseStream."""

    start = _chunk(
        "message_start",
        message={
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "content": [],
            "usage": {"input_tokens": 9, "output_tokens": 1},
        },
    ) + _chunk("content_block_start", index=0, content_block={"type": "text", "text": ""})
    end = (
        _chunk("content_block_stop", index=0)
        + _chunk("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9})
        + _chunk("message_stop")
    )

    @staticmethod
    def text(text: str) -> bytes:
        # With its type first, as Claude sends it.
        return _chunk("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


class Models(BaseHTTPRequestHandler):
    """Models that answer as fast as the prompt asks."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/converse"):
            answer = {
                "output": {"message": {"role": "assistant", "content": [{"text": "A book of accounts."}]}},
                "stopReason": "end_turn",
                "usage": {"inputTokens": 9, "outputTokens": 9, "totalTokens": 18},
                "metrics": {"latencyMs": 1},
            }
            self._begin("application/json", f"Content-Length: {len(json.dumps(answer))}", json.dumps(answer).encode())
            return
        asked = _ASKED.search(body)
        assert asked is not None
        count, pause = int(asked[1]), float(asked[2])
        events = ConverseEvents if "converse" in self.path else ClaudeEvents
        self._begin(CONTENT_TYPE, "Transfer-Encoding: chunked")
        for part in _paced(events, count, pause) if pause else _at_once(events, count):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def _begin(self, content_type: str, length: str, body: bytes = b"") -> None:
        self.wfile.write(f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n{length}\r\n\r\n".encode() + body)

    def log_message(self, *_: Any) -> None:
        """Silent."""


def _paced(events: Any, count: int, pause: float) -> Iterator[bytes]:
    began = time.monotonic_ns()
    yield events.start
    first = f"!{began}!"
    for _ in range(count):
        time.sleep(pause)
        yield events.text(f"{first}@{time.monotonic_ns()}@")
        first = ""
    yield events.end


def _at_once(events: Any, count: int) -> Iterator[bytes]:
    many = events.text(WORD.decode()) * 100
    yield events.start
    for _ in range(count // 100):
        yield many
    yield events.end


def serve_models() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Models)
    print(server.server_address[1], flush=True)
    server.serve_forever()


# -------------------------------------------------------------------------------------------------- the server, clients
FORMATS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "converse-stream": (
        f"/model/{MODEL}/converse-stream",
        lambda said: {"messages": [{"role": "user", "content": [{"text": said}]}]},
    ),
    "/v1/messages": (
        "/v1/messages",
        lambda said: {
            "model": MODEL,
            "max_tokens": 200,
            "stream": True,
            "messages": [{"role": "user", "content": said}],
        },
    ),
    "/v1/chat/completions": (
        "/v1/chat/completions",
        lambda said: {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": said}]},
    ),
    "/v1/responses": ("/v1/responses", lambda said: {"model": MODEL, "stream": True, "input": said}),
}


class Server:
    """The function, as the Lambda Web Adapter has it started."""

    def __init__(self, store: int, models: int):
        from tests.conftest import ENVIRONMENT

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        function = ROOT / "functions/stream_model"
        environment = ENVIRONMENT | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "layers/gateway"),
            "LAMBDA_TASK_ROOT": str(function),
            "AWS_LWA_PORT": str(self.port),
            "LOG_LEVEL": "ERROR",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{store}",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": f"http://127.0.0.1:{models}",
        }
        self.process = subprocess.Popen(
            [str(function / "run.sh")], env=environment, cwd=function, stdout=subprocess.DEVNULL
        )
        while not self._listens():
            assert self.process.poll() is None, "the server does not start"
            time.sleep(0.01)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def cpu(self) -> float:
        """CPU seconds so far, of all its threads."""
        return time.clock_gettime((~self.process.pid << 3) | 2)  # Linux's clock of another process

    @property
    def peak(self) -> float:
        """The largest resident set since `forget_peak`, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")


def _request(path: str, body: Any) -> bytes:
    tenant = json.dumps({"tenant_id": "acme", "cost_centres": ["research"]})
    context = json.dumps({"requestId": os.urandom(8).hex(), "authorizer": {"tenant": tenant, "key_id": "k1"}})
    content = json.dumps(body)
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nx-amzn-request-context: {context}\r\n"
    return f"{head}content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n{content}".encode()


def parts(port: int, path: str, body: Any, *, rate: float = 0) -> Iterator[tuple[int, bytes]]:
    """The data that a plain client receives, each read with its time, up to the end of a chunked response."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(_request(path, body))
        tail, began, got = b"", time.monotonic(), 0
        while not tail.endswith(b"\r\n0\r\n\r\n"):
            read = connection.recv(1 << 16)
            at = time.monotonic_ns()
            assert read, f"the stream broke off: {tail!r}"
            tail = (tail + read)[-200:]
            yield at, read
            got += len(read)
            if rate and (ahead := got / rate - (time.monotonic() - began)) > 0:
                time.sleep(ahead)


# ---------------------------------------------------------------------------------------------------- latency of events
def _delays(came: list[tuple[int, bytes]]) -> tuple[float, list[float]]:
    """Milliseconds from the model's writing to the client's reading: of the first byte, and of each event."""
    whole = b"".join(read for _, read in came)
    assert whole.startswith(b"HTTP/1.1 200"), whole[:300]
    ends, length = [], 0
    for at, read in came:
        length += len(read)
        ends.append((length, at))

    def arrival(offset: int) -> int:
        return next(at for end, at in ends if end > offset)

    began = _BEGAN.search(whole)
    assert began is not None
    first = (arrival(whole.index(b"\r\n\r\n") + 4) - int(began[1])) / 1e6
    each = [(arrival(found.end() - 1) - int(found[1])) / 1e6 for found in _STAMP.finditer(whole)]
    assert len(each) >= EVENTS
    return first, each[:EVENTS]  # what was said may be told again at the end


def _boto3_delays(bedrock: Any) -> tuple[float, list[float]]:
    stream = bedrock.converse_stream(modelId=MODEL, **FORMATS["converse-stream"][1](_prompt(EVENTS, PAUSE)))["stream"]
    arrived, began, each = 0, 0, []
    for event in stream:
        at = time.monotonic_ns()
        arrived = arrived or at
        if text := event.get("contentBlockDelta", {}).get("delta", {}).get("text", "").encode():
            if found := _BEGAN.search(text):
                began = int(found[1])
            stamp = _STAMP.search(text)
            assert stamp is not None
            each.append((at - int(stamp[1])) / 1e6)
    return (arrived - began) / 1e6, each


def _prompt(events: int, pause: float) -> str:
    return f"events={events} pause={pause}"


def latency(server: Server, models: int, bedrock: Any) -> None:
    def plain(port: int, name: str) -> Callable[[], tuple[float, list[float]]]:
        path, body = FORMATS[name]
        return lambda: _delays(list(parts(port, path, body(_prompt(EVENTS, PAUSE)))))

    ways: dict[str, Callable[[], tuple[float, list[float]]]] = {
        "straight to the model": plain(models, "converse-stream"),
        "boto3, straight to the model": lambda: _boto3_delays(bedrock),
        **{f"gateway, {name}": plain(server.port, name) for name in FORMATS},
    }
    firsts: dict[str, list[float]] = {name: [] for name in ways}
    eaches: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, float] = dict.fromkeys(ways, 0.0)
    for number in range(ROUNDS + 1):
        for name, way in ways.items():
            before = server.cpu
            first, each = way()
            if number:  # the first round opens connections
                cpu[name] += server.cpu - before
                firsts[name].append(first)
                eaches[name] += each
    base = statistics.median(eaches["straight to the model"])
    print(
        f"\nFrom the model's write to the client's read, ms ({ROUNDS} streams of {EVENTS} events, {PAUSE * 1000:.0f} ms apart)"
    )
    print(f"  {'':34} {'event: median':>14} {'p99':>6} {'added':>6} {'first byte':>11}   CPU of an event")
    for name, values in eaches.items():
        middle, worst = statistics.median(values), statistics.quantiles(values, n=100)[98]
        each_cpu = cpu[name] / len(values) * 1e6
        spent = f"{each_cpu:5.0f} us" if name.startswith("gateway") else ""
        first = statistics.median(firsts[name])
        print(f"  {name:34} {middle:14.2f} {worst:6.2f} {middle - base:6.2f} {first:11.2f}   {spent}")


# ------------------------------------------------------------------------------------------------- memory of long streams
def _read_all(port: int, name: str, chunks: int, rate: float = 0) -> None:
    """Read a stream, and count that nothing of it is lost."""
    path, body = FORMATS[name]
    found, carried = 0, b""
    for _, read in parts(port, path, body(_prompt(chunks, 0)), rate=rate):
        seen = carried + read
        found += seen.count(WORD)
        cut = seen.rfind(WORD)
        carried = seen[max(cut + len(WORD) if cut >= 0 else 0, len(seen) - len(WORD) + 1) :]
    told = 5 * chunks if name == "/v1/responses" else chunks  # what was said is told again at its end
    assert chunks <= found <= told, f"{name}: {found} of {chunks} chunks"


def memory(server: Server) -> None:
    print(f"\nStreams of {SHORT:,} and of {LONG:,} chunks: the server's peak memory, and CPU of a chunk sent at once")
    print("  (/v1/responses tells its whole output again in its last events, so it holds that)")
    for name in FORMATS:
        _read_all(server.port, name, SHORT)
        for client, rate in (("fast", 0.0), ("slow", SLOW)):
            peaks = []
            for chunks in (SHORT, LONG):
                server.forget_peak()
                before = server.cpu
                _read_all(server.port, name, chunks, rate)
                spent = server.cpu - before
                peaks.append(server.peak)
            print(
                f"  {name:22} {client} client   {peaks[0]:6.1f} -> {peaks[1]:6.1f} MB   {peaks[1] - peaks[0]:+5.1f}"
                f"   {spent / LONG * 1e6:5.1f} us a chunk"
            )


# --------------------------------------------------------------------------------------------------------- CPU of a call
def _metered(messages: Any) -> Callable[[], float]:
    """Reserve, call and settle in this process: the gateway without its edge."""
    from gateway.aws.dynamodb.accounts import AccountTable
    from gateway.aws.dynamodb.circuits import Circuits
    from gateway.aws.dynamodb.ledger import DynamoLedger
    from gateway.aws.models.bedrock import BedrockRuntime
    from gateway.calls.attempts import AttemptPlan
    from gateway.calls.call import Context, ModelCall
    from gateway.calls.catalog import Catalog
    from gateway.calls.invoke import answered
    from gateway.calls.metering import Meter
    from gateway.calls.model_routes import Route
    from gateway.pricing.price_csv import price_book
    from gateway.tenancy.caller import Caller
    from gateway.tenancy.tenant import Tenant
    from gateway.usage.records import KeyId, RequestId, TenantId

    caller = Caller(Tenant(TenantId("acme"), "Acme", ("research",)), KeyId("k1"))
    model = Catalog.from_json("{}").named(MODEL, lambda _: None)
    models, circuits, route = BedrockRuntime(60), Circuits("idempotency"), Route(MODEL, (MODEL,))
    meter = Meter(DynamoLedger("usage"), AccountTable("budgets"), price_book, lambda _: None)

    def metered() -> float:
        before = time.process_time()
        with quiet():
            for _ in range(CALLS):
                now = datetime.now(UTC)
                context = Context(
                    RequestId(os.urandom(8).hex()), caller, "research", "us-east-1", now + timedelta(minutes=1)
                )
                attempts = AttemptPlan(route, context, meter, circuits)
                answered([ModelCall(model, "text", "Converse", {"messages": messages})], attempts, models)
        return time.process_time() - before

    return metered


def calls(server: Server, bedrock: Any) -> None:
    messages = [{"role": "user", "content": [{"text": "What is a ledger?"}]}]
    path = f"/model/{MODEL}/converse"

    def through_the_gateway() -> float:
        before = server.cpu
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(CALLS):
                connection.sendall(_request(path, {"messages": messages}))
                answer = connection.recv(1 << 16)
                assert answer.startswith(b"HTTP/1.1 200"), answer
                while not answer.endswith(b"}"):
                    answer += connection.recv(1 << 16)
        return server.cpu - before

    def bare() -> float:
        before = time.process_time()
        for _ in range(CALLS):
            bedrock.converse(modelId=MODEL, messages=messages)
        return time.process_time() - before

    ways = {
        "bare boto3 converse": bare,
        "the same call, metered": _metered(messages),
        "gateway, converse": through_the_gateway,
    }
    rounds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS + 1):
        for name, way in ways.items():
            spent = way() / CALLS * 1000
            if number:
                rounds[name].append(spent)
    base = statistics.median(rounds["bare boto3 converse"])
    print(
        f"\nCPU per warm call: reserve, call, settle; then with the server before it (median of {ROUNDS} rounds of {CALLS})"
    )
    for name, values in rounds.items():
        middle = statistics.median(values)
        print(f"  {name:28} {middle:6.2f} ms   x {middle / base:4.2f}")


def cold(store: int, models: int) -> None:
    spent = []
    for number in range(4):
        server = Server(store, models)
        try:
            up = server.cpu
            _read_all(server.port, "converse-stream", 100)
            if number:  # the first compiles, as a deployed package is
                spent.append((up * 1000, server.cpu * 1000))
        finally:
            server.process.terminate()
            server.process.wait()
    up, first = (statistics.median(values) for values in zip(*spent, strict=True))
    print(f"\nCPU of a cold start: {up:.0f} ms until it listens, {first:.0f} ms until its first stream has ended")


def main() -> None:
    store, store_port = started("-c", "from tests.benchmarks.bench_calls import serve_store; serve_store()")
    models, models_port = started("-c", "from tests.benchmarks.bench_streams import serve_models; serve_models()")
    server: Server | None = None
    try:
        from tests.conftest import ENVIRONMENT

        os.environ |= ENVIRONMENT | {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{store_port}",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": f"http://127.0.0.1:{models_port}",
        }
        import boto3

        bedrock = boto3.client("bedrock-runtime")
        cold(int(store_port), int(models_port))
        server = Server(int(store_port), int(models_port))
        latency(server, int(models_port), bedrock)
        calls(server, bedrock)
        memory(server)
    finally:
        for process in (store, models, server and server.process):
            if process:
                process.terminate()
                process.wait()


if __name__ == "__main__":
    main()

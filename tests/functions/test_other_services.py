"""Services with wire formats that Bedrock may use and the stand-in does not: all give the same counts."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.aws.models.bedrock import BedrockRuntime
from gateway.calls.attempts import AttemptPlan
from gateway.calls.call import Context, ModelCall
from gateway.calls.catalog import Catalog
from gateway.calls.eventstream import encode
from gateway.calls.invoke import answered
from gateway.calls.metering import Meter
from gateway.calls.model_routes import Circuit, Route
from gateway.calls.streaming import open_stream
from gateway.core.errors import UpstreamError
from gateway.formats.bedrock import EventStream
from gateway.pricing.price_csv import price_book
from gateway.tenancy.caller import Caller
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import KeyId, Outcome, RequestId, TenantId, UsageRecord
from tests.fakes import InMemoryAccounts, InMemoryLedger

HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
Script = Callable[[socket.socket], None]


class Service:
    """A service on a socket: the next of its scripts answers each request, on any connection."""

    def __init__(self, scripts: Sequence[Script]):
        self._scripts = list(scripts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while self._read(connection):
                self._scripts.pop(0)(connection)

    @staticmethod
    def _read(connection: socket.socket) -> bytes:
        read = b""
        while b"\r\n\r\n" not in read:
            if not (part := connection.recv(1 << 16)):
                return b""
            read += part
        head, _, body = read.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(body) < length:
            body += connection.recv(1 << 16)
        return read

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def service(aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., BedrockRuntime]]:
    started: list[Service] = []

    def start(*scripts: Script) -> BedrockRuntime:
        started.append(Service(scripts))
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", started[-1].url)
        return BedrockRuntime(60)

    yield start
    for one in started:
        one.close()


class Books:
    """Consecutive calls through attempts, each in its own ledger."""

    def __init__(self, runtime: BedrockRuntime):
        self._runtime = runtime

    def guard(self, model_id: str, circuit: Circuit) -> AbstractContextManager[None]:
        return nullcontext()

    def make(self, api: str) -> tuple[UsageRecord, bytes]:
        """Make a call; returns its row and its client's data. Raises the call's error if it has no row by then."""
        ledger = InMemoryLedger()
        who = Caller(Tenant(TenantId("acme"), "Acme", ()), KeyId("key_1"))
        until = datetime.now(UTC) + timedelta(seconds=60)
        context = Context(RequestId("r1"), who, "research", "us-east-1", until)
        meter = Meter(ledger, InMemoryAccounts(), price_book, lambda _: None)
        attempts = AttemptPlan(Route(HAIKU, (HAIKU,)), context, meter, self)
        call = ModelCall(Catalog({}).find(HAIKU), "text", api, {"messages": []})
        read = b""
        with suppress(UpstreamError):
            if "Stream" in api:
                read = b"".join(open_stream([call], attempts, self._runtime).deliver(EventStream()))
            else:
                read = answered([call], attempts, self._runtime)[1].content
        (row,) = ledger.rows.values()
        return row, read


# ----------------------------------------------------------------------------------------------------- what it sends
def event(kind: str, payload: Any) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return encode(headers, json.dumps(payload).encode())


def chunk(said: Any) -> bytes:
    return event("chunk", {"bytes": base64.b64encode(json.dumps(said).encode()).decode()})


def fault(name: str) -> bytes:
    return encode({":message-type": "error", ":error-code": name, ":error-message": "no"}, b"")


DELTA = event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "word"}})
STOP = event("messageStop", {"stopReason": "end_turn"})
BEGUN = event("messageStart", {"role": "assistant"}) + DELTA
TOLD = event("metadata", {"usage": {"inputTokens": 5, "outputTokens": 7, "cacheReadInputTokens": None}})
WHOLE = BEGUN + STOP + TOLD
CLAUDE = b"".join(
    map(chunk, (
        {"type": "message_start", "message": {"usage": None}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word"}},
        {"type": "message_delta", "usage": {"input_tokens": 5, "output_tokens": 7}},
        {"type": "message_stop"},
    ))
)  # fmt: skip


def head(*headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", "content-type: application/vnd.amazon.eventstream", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def chunked(data: bytes, size: int, *, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%X;note=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces(data, size)) + end


def sends(data: bytes, size: int = 1 << 20, *, close: bool = False) -> Script:
    def script(connection: socket.socket) -> None:
        for piece in pieces(data, size):
            connection.sendall(piece)
            if size < 1000:
                time.sleep(0.0005)
        if close:
            connection.shutdown(socket.SHUT_WR)

    return script


CHUNKED = "TRANSFER-ENCODING: chunked"
STREAMS: dict[str, tuple[str, Script]] = {
    "chunks that end where no frame does": ("ConverseStream", sends(head(CHUNKED) + chunked(WHOLE, 37))),
    "packets of seven bytes": ("ConverseStream", sends(head(CHUNKED) + chunked(WHOLE, 61), 7)),
    "one chunk for all": ("ConverseStream", sends(head(CHUNKED) + chunked(WHOLE, 1 << 20))),
    "a length, and no chunks": ("ConverseStream", sends(head(f"Content-Length: {len(WHOLE)}") + WHOLE, 50)),
    "no length, and the connection's end": ("ConverseStream", sends(head("Connection: close") + WHOLE, 50, close=True)),
    "metadata before the stop": ("ConverseStream", sends(head(CHUNKED) + chunked(BEGUN + TOLD + STOP, 99))),
    "metadata in two events": (
        "ConverseStream",
        sends(head(CHUNKED) + chunked(BEGUN + STOP + TOLD + event("metadata", {"metrics": {}}), 99)),
    ),
    "no metrics, and all counts at the end": (
        "InvokeModelWithResponseStream", sends(head(CHUNKED) + chunked(CLAUDE, 99)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("habit", STREAMS)
def test_a_stream_is_counted_whatever_its_habits(service: Callable[..., BedrockRuntime], habit: str) -> None:
    api, script = STREAMS[habit]
    row, read = Books(service(script)).make(api)
    assert (row.outcome, row.usage.input_tokens, row.usage.output_tokens) == (Outcome.SUCCEEDED, 5, 7)
    assert (row.usage.cache_read_tokens, row.usage.service_tier) == (0, "default")
    sent = CLAUDE if api.startswith("Invoke") else BEGUN
    assert read.startswith(sent)


BROKEN: dict[str, tuple[bytes, bytes]] = {
    # what the service sends after its first events, and what the client reads of it
    "an error without an exception": (chunked(BEGUN + fault("InternalServerException"), 99), b"InternalServerException"),
    "an error with a longer name": (chunked(BEGUN + fault("com.amazon#ThrottlingException"), 99), b"ThrottlingException"),
    "an end in good order": (chunked(BEGUN, 99), b":exception-type"),
    "a cut inside a frame": (chunked(BEGUN + TOLD[:-9], 99), b":exception-type"),
    "a cut inside a chunk": (chunked(BEGUN, 99, end=b"99\r\nx"), b":exception-type"),
    "garbage": (chunked(BEGUN + b"<html>503 Service Unavailable</html>", 99), b":exception-type"),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_a_stream_that_breaks_says_so_and_costs_what_is_known(service: Callable[..., BedrockRuntime], how: str) -> None:
    sent, told = BROKEN[how]
    row, read = Books(service(sends(head(CHUNKED) + sent, close=True))).make("ConverseStream")
    assert (row.outcome, row.usage.source) == (Outcome.INTERRUPTED, "unknown")
    assert read.startswith(BEGUN)
    assert told in read[len(BEGUN) :]


def test_what_is_left_of_a_broken_stream_is_never_read_as_the_next_answer(
    service: Callable[..., BedrockRuntime],
) -> None:
    def breaks_and_ends_later(connection: socket.socket) -> None:
        connection.sendall(head(CHUNKED) + chunked(BEGUN + fault("ThrottlingException"), 1 << 20, end=b""))
        time.sleep(0.3)
        connection.sendall(b"0\r\n\r\n")

    books = Books(service(breaks_and_ends_later, *[sends(head(CHUNKED) + chunked(WHOLE, 99))] * 3))
    assert books.make("ConverseStream")[0].outcome is Outcome.INTERRUPTED
    assert [books.make("ConverseStream")[0].outcome for _ in range(3)] == [Outcome.SUCCEEDED] * 3


def test_an_error_as_the_first_event_is_a_refusal(service: Callable[..., BedrockRuntime]) -> None:
    row, read = Books(service(sends(head(CHUNKED) + chunked(fault("ThrottlingException"), 99)))).make("ConverseStream")
    assert (row.outcome, row.error_code, read) == (Outcome.FAILED, "model_throttled", b"")


@pytest.mark.parametrize("api", ["ConverseStream", "InvokeModelWithResponseStream"])
def test_the_tier_may_stand_in_a_header_alone_written_in_any_case(
    service: Callable[..., BedrockRuntime], api: str
) -> None:
    data = WHOLE if api == "ConverseStream" else CLAUDE
    row, _ = Books(service(sends(head(CHUNKED, "X-AMZN-BEDROCK-SERVICE-TIER: flex") + chunked(data, 99)))).make(api)
    assert row.usage.service_tier == "flex"


def answer(body: Any, *headers: str, status: str = "200 OK") -> Script:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return sends(head(*headers, f"CONTENT-LENGTH: {len(content)}", status=status) + content)


@pytest.mark.parametrize(
    ("api", "script"),
    [
        ("InvokeModel", answer({"text": "hi"}, "X-AMZN-BEDROCK-INPUT-TOKEN-COUNT: 5", "x-amzn-bedrock-output-token-count: 7")),
        ("InvokeModel", answer({"usage": {"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": None}})),
        ("InvokeModel", answer({"usage": None, "prompt_token_count": 5, "generation_token_count": 7})),
        ("Converse", answer({"usage": {"inputTokens": 5, "outputTokens": 7, "cacheDetails": None}, "serviceTier": "default"})),
    ],
)  # fmt: skip
def test_an_answer_is_counted_wherever_its_counts_stand(
    service: Callable[..., BedrockRuntime], api: str, script: Script
) -> None:
    row, _ = Books(service(script)).make(api)
    assert (row.outcome, row.usage.source) == (Outcome.SUCCEEDED, "provider")
    assert (row.usage.input_tokens, row.usage.output_tokens) == (5, 7)


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [("429 Slow", "RETRY-AFTER: 7", 7), ("503 Gone", "Retry-After: soon", 1), ("429 Slow", "x-a: b", 1), ("400 Bad", "Retry-After: 7", None)],
)  # fmt: skip
def test_a_client_waits_as_long_as_the_service_asks(
    service: Callable[..., BedrockRuntime], status: str, header: str, seconds: int | None
) -> None:
    call = ModelCall(Catalog({}).find(HAIKU), "text", "Converse", {"messages": []})
    with pytest.raises(UpstreamError) as refused:
        service(answer({"message": "no"}, header, status=status)).call(call)
    assert refused.value.retry_after == seconds


@pytest.mark.parametrize("api", ["Converse", "ConverseStream"])
@pytest.mark.parametrize(
    ("script", "code"),
    [
        (answer({"__type": "com.amazon.coral.service#ThrottlingException", "Message": "no"}, status="400 Bad"), "model_throttled"),
        (answer({"__type": "ThrottlingException:http://internal"}, status="400 Bad"), "model_throttled"),
        (answer(b"", status="429 Too Many Requests"), "model_throttled"),
        (answer(b"<html>", status="503 Gone"), "model_unavailable"),
        (answer({"message": "no"}, "X-AMZN-ERRORTYPE: ValidationException:http://internal", status="400 Bad"), "model_rejected_request"),
        (answer([1], status="403 No"), "model_access_denied"),
    ],
)  # fmt: skip
def test_a_refusal_is_read_wherever_its_kind_stands(
    service: Callable[..., BedrockRuntime], api: str, script: Script, code: str
) -> None:
    row, read = Books(service(script)).make(api)
    assert (row.outcome, row.error_code, row.usage.input_tokens, read) == (Outcome.FAILED, code, 0, b"")

"""The streaming edge, driven as a server drives it: silent models, slow clients, hang-ups, timeouts."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from gateway.core.errors import BadRequestError, GatewayError
from gateway.web import asgi, pipe
from gateway.web.asgi import Asgi
from gateway.web.exchange import Answer, Dialect, PendingReply, Reply, Request, StreamedReply
from gateway.web.stream_resolver import StreamResolver

T = TypeVar("T")
PING, ERROR = b": ping\n\n", b"event: error\n\n"
SILENCE = 0.05  # seconds after which a stream shows that it lives


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "KEEP_ALIVE", SILENCE)
    for module in (asgi, pipe):
        monkeypatch.setattr(module, "SETTLING", 0.2)


def problem(error: GatewayError, request_id: str) -> Reply:
    return Reply({"code": error.code, "request_id": request_id}, error.status, {"retry-after": "7"})


def app_of(handler: Callable[[Request], Answer], patience: float = 2 * SILENCE) -> Asgi:
    api = StreamResolver(lambda _: Dialect(problem, lambda error: BadRequestError(str(error))))

    @api.post("/say/<word>")
    def say(word: str) -> Answer:
        return handler(api.received())

    return Asgi(api, patience)


def streamed(parts: Iterator[bytes], ping: bytes = PING, abort: Callable[[], None] = lambda: None) -> StreamedReply:
    return StreamedReply(parts, "text/event-stream", ping, lambda _: ERROR, abort, {"x-own": "1"})


@dataclass
class Client:
    """The server's side of one request. `gate` may delay its writes; after `gone_after` writes the client has gone."""

    gone_after: int = 1 << 30
    gate: Callable[[], Coroutine[Any, Any, None]] | None = None
    sent: list[MutableMapping[str, Any]] = field(default_factory=list)

    async def call(self, app: Asgi, *, path: str = "/say/hello", seconds: float = 60, method: str = "POST") -> None:
        context = {"requestId": "r1", "authorizer": {"tenant": json.dumps({"tenant_id": "acme"}), "key_id": "key_1"}}
        headers = {
            "x-amzn-request-context": json.dumps(context),
            "x-amzn-lambda-context": json.dumps({"deadline": int((time.time() + seconds) * 1000)}),
        }
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"a=1",
            "headers": [(name.encode(), text.encode()) for name, text in headers.items()],
        }  # fmt: skip
        came: Iterator[MutableMapping[str, Any]] = iter(
            [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.request", "body": b"}"}]
        )

        async def receive() -> MutableMapping[str, Any]:
            return next(came)

        await app(scope, receive, self._send)

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if len(self.sent) >= self.gone_after:
            raise OSError("nobody is there")
        self.sent.append(message)
        if self.gate:
            await self.gate()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): text.decode() for name, text in self.sent[0]["headers"]}

    @property
    def parts(self) -> list[bytes]:
        return [bytes(message["body"]) for message in self.sent[1:]]

    @property
    def ended(self) -> bool:
        return not self.sent[-1].get("more_body", False)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 10))


def called(handler: Callable[[Request], Answer], **options: Any) -> Client:
    client = Client()
    run(client.call(app_of(handler), **options))
    return client


def eventually(holds: Callable[[], bool]) -> None:
    for _ in range(300):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never held")


# ------------------------------------------------------------------------------------------------------ replies, problems
@pytest.mark.parametrize("path", ["/say/a%2Fb", "/say/a/b"])
def test_a_reply_has_its_length_and_the_requests_id(path: str) -> None:
    """AWS's notes say that parameters come decoded, what people have captured is a path as it was sent: both are taken."""
    api, client = StreamResolver(lambda _: Dialect(problem, lambda error: BadRequestError(str(error)))), Client()

    @api.post("/say/<word>")
    def say(word: str) -> Reply:
        return Reply({"word": word})

    run(client.call(Asgi(api), path=path))
    assert (client.status, client.parts) == (200, [b'{"word":"a/b"}'])
    assert (client.headers["content-length"], client.headers["x-request-id"]) == ("14", "r1")


def test_a_problem_is_a_status_of_its_own_format_with_its_headers() -> None:
    def refuse(_: Request) -> Reply:
        raise BadRequestError("no", code="bad_request")

    client = called(refuse)
    assert (client.status, client.headers["retry-after"]) == (400, "7")
    assert json.loads(client.parts[0]) == {"code": "bad_request", "request_id": "r1"}


def test_requests_at_once_are_told_apart() -> None:
    """Powertools keeps one request at a time; here each thread has its own."""
    both = threading.Barrier(2, timeout=5)
    api = StreamResolver(lambda _: Dialect(problem, lambda error: BadRequestError(str(error))))

    @api.post("/say/<word>")
    def say(word: str) -> Reply:
        both.wait()
        return Reply({"word": word, "path": api.received().path})

    async def together() -> list[Client]:
        app, clients = Asgi(api), [Client(), Client()]
        await asyncio.gather(*(client.call(app, path=f"/say/{n}") for n, client in enumerate(clients)))
        return clients

    answers = [json.loads(client.parts[0]) for client in run(together())]
    assert answers == [{"word": "0", "path": "/say/0"}, {"word": "1", "path": "/say/1"}]


def test_a_fault_of_ours_tells_no_client_what_it_was() -> None:
    def fail(_: Request) -> Reply:
        raise RuntimeError("the prompt was: secret")

    client = called(fail)
    assert client.status == 500
    assert b"secret" not in b"".join(client.parts)


def test_what_is_no_operation_is_not_found_and_the_root_says_that_it_is_up() -> None:
    assert called(lambda _: Reply(), path="/nothing").status == 404
    assert called(lambda _: Reply(), path="/say/hello", method="PUT").status == 404
    assert called(lambda _: Reply(), path="/", method="GET").parts == [b"ok"]


def test_whoever_leaves_before_the_request_is_whole_asked_for_nothing() -> None:
    asked: list[Request] = []

    async def leave() -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}

    client = Client()

    def hear(request: Request) -> Reply:
        asked.append(request)
        return Reply()

    app = app_of(hear)
    run(app({"type": "http", "method": "POST", "path": "/say/x", "headers": []}, leave, client._send))
    assert (client.sent, asked) == ([], [])


# ------------------------------------------------------------------------------------------------------------- silence
def after(seconds: float, *parts: bytes, error: Exception | None = None) -> Iterator[bytes]:
    time.sleep(seconds)
    yield from parts
    if error:
        raise error


def test_a_silent_stream_shows_that_it_lives_until_it_speaks() -> None:
    client = called(lambda _: streamed(after(4 * SILENCE, b"one", b"two")))
    assert (client.status, client.headers["content-type"], client.headers["x-own"]) == (200, "text/event-stream", "1")
    pings = client.parts.count(PING)
    assert pings >= 2
    assert client.parts[:pings] == [PING] * pings
    assert (b"".join(client.parts[pings:]), client.ended) == (b"onetwo", True)


def test_a_stream_that_speaks_is_not_disturbed() -> None:
    client = called(lambda _: streamed(part for word in (b"a", b"b", b"c") for part in after(SILENCE / 10, word)))
    assert b"".join(client.parts) == b"abc"


def test_a_format_without_signs_of_life_waits_for_its_first_part_and_keeps_its_status() -> None:
    late = BadRequestError("no", code="bad_request")
    silent = called(lambda _: streamed(after(3 * SILENCE, b"one"), ping=b""))
    refused = called(lambda _: streamed(after(3 * SILENCE, error=late), ping=b""))
    assert (silent.status, b"".join(silent.parts)) == (200, b"one")
    assert refused.status == 400


def test_a_problem_before_the_first_part_is_a_status() -> None:
    client = called(lambda _: streamed(after(0, error=BadRequestError("no", code="bad_request"))))
    assert (client.status, client.headers["retry-after"], len(client.parts)) == (400, "7", 1)


@pytest.mark.parametrize("before", [(), (b"one",)])
def test_a_problem_after_a_sign_of_life_or_a_part_is_the_last_event(before: tuple[bytes, ...]) -> None:
    pause = 0 if before else 3 * SILENCE
    client = called(lambda _: streamed(after(pause, *before, error=BadRequestError("no", code="bad_request"))))
    assert (client.status, client.ended) == (200, True)
    assert b"".join(client.parts).replace(PING, b"") == b"".join(before) + ERROR


# ---------------------------------------------------------------------------------------------- answers that take long
ANSWER = {"word": "hello"}
FRAME_PING = b"a frame that says nothing"


def pending(seconds: float, fault: Exception | None = None, **head: Any) -> Callable[[Request], PendingReply]:
    """A response, or a failure, after a delay."""

    def make() -> Reply:
        time.sleep(seconds)
        if fault:
            raise fault
        return Reply(ANSWER, headers={"x-early": "1", "x-at-the-end": "2"})

    return lambda _: PendingReply(make, {"x-early": "1"}, **head)


def test_an_answer_in_time_has_its_length_and_all_its_headers() -> None:
    client = called(pending(0))
    assert (client.status, client.parts) == (200, [b'{"word":"hello"}'])
    assert client.headers["content-length"] == "16"
    assert (client.headers["x-early"], client.headers["x-at-the-end"]) == ("1", "2")


def test_an_answer_that_takes_long_begins_with_white_space_and_is_the_same_json() -> None:
    client = called(pending(6 * SILENCE))
    assert (client.status, client.headers["content-type"]) == (200, "application/json")
    assert (client.headers["x-request-id"], client.headers["x-early"]) == ("r1", "1")
    assert not {"content-length", "x-at-the-end"} & client.headers.keys()
    spaces = client.parts.count(b" ")
    assert spaces >= 3
    assert client.parts[:spaces] == [b" "] * spaces
    assert json.loads(b"".join(client.parts)) == ANSWER
    assert client.ended


def test_an_answer_begins_no_earlier_than_patience_asks_and_then_never_falls_silent() -> None:
    sent: list[float] = []

    class Watched(Client):
        async def _send(self, message: MutableMapping[str, Any]) -> None:
            sent.append(time.monotonic())
            await super()._send(message)

    began, client = time.monotonic(), Watched()
    run(client.call(app_of(pending(20 * SILENCE), patience=4 * SILENCE)))
    assert 4 * SILENCE <= sent[0] - began < 12 * SILENCE
    assert max(after - before for before, after in itertools.pairwise(sent)) < 10 * SILENCE


def test_a_problem_before_patience_ends_has_its_status() -> None:
    client = called(pending(SILENCE, BadRequestError("no", code="bad_request")))
    assert (client.status, client.headers["retry-after"]) == (400, "7")
    assert json.loads(client.parts[0]) == {"code": "bad_request", "request_id": "r1"}


@pytest.mark.parametrize("read", [json.loads, lambda body: json.loads(body.decode())])
def test_a_problem_after_it_is_no_answer_to_any_parser_and_no_connection_that_broke(
    read: Callable[[bytes], Any],
) -> None:
    client = called(pending(4 * SILENCE, BadRequestError("no", code="bad_request")))
    body = b"".join(client.parts)
    assert (client.status, client.ended) == (200, True)
    assert body.strip(b" ") == b'HTTP 400 {"code":"bad_request","request_id":"r1"}\xff'
    with pytest.raises(ValueError, match="codec"):
        read(body)
    with pytest.raises(json.JSONDecodeError):
        json.loads(body.decode(errors="replace"))


def test_a_stream_that_is_not_opened_for_long_shows_that_it_lives_in_its_own_format() -> None:
    def make() -> StreamedReply:
        time.sleep(4 * SILENCE)
        return streamed(after(3 * SILENCE, b"one", b"two"), ping=FRAME_PING)

    client = called(
        lambda _: PendingReply(make, content_type="application/frames", ping=FRAME_PING, error=lambda _: ERROR)
    )
    assert (client.status, client.headers["content-type"]) == (200, "application/frames")
    pings = client.parts.count(FRAME_PING)
    assert pings >= 3  # before it was opened, and after
    assert (b"".join(client.parts[pings:]), client.ended) == (b"onetwo", True)


def test_a_stream_that_is_refused_late_ends_with_its_own_error() -> None:
    refused = pending(4 * SILENCE, BadRequestError("no", code="bad_request"), ping=FRAME_PING, error=lambda _: ERROR)
    client = called(refused)
    assert (client.status, client.ended) == (200, True)
    assert b"".join(client.parts).replace(FRAME_PING, b"") == ERROR
    assert client.parts[0] == FRAME_PING


def test_an_answer_is_made_to_its_end_whoever_has_gone() -> None:
    made = threading.Event()

    def make() -> Reply:
        time.sleep(6 * SILENCE)
        made.set()
        return Reply(ANSWER)

    with pytest.raises(OSError, match="nobody"):
        run(Client(gone_after=2).call(app_of(lambda _: PendingReply(make))))
    assert made.wait(2)


# -------------------------------------------------------------------------------------------- slow clients, gone clients
def test_a_slow_client_gets_all_and_the_model_is_read_no_faster_than_it_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    part, many = b"x" * 1000, 400
    monkeypatch.setattr(pipe, "MOST_WAITING", 20 * len(part))
    made: list[int] = []

    def parts() -> Iterator[bytes]:
        for number in range(many):
            made.append(number)
            yield part

    async def slowly() -> tuple[int, Client]:
        opened = asyncio.Event()
        client = Client(gate=opened.wait)  # type: ignore[arg-type]
        call = asyncio.create_task(client.call(app_of(lambda _: streamed(parts()))))
        await asyncio.sleep(0.3)
        waiting = len(made)
        opened.set()
        await call
        return waiting, client

    waiting, client = run(slowly())
    assert waiting <= 50  # what waits, and what was on its way when the client stopped to read
    assert b"".join(client.parts) == part * many


def test_a_client_that_reads_no_more_does_not_keep_a_call_from_settling_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipe, "MOST_WAITING", 1000)
    ended = threading.Event()

    def parts() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 1000
        ended.set()

    async def never() -> bool:
        client = Client(gate=asyncio.Event().wait)  # type: ignore[arg-type]
        call = asyncio.create_task(client.call(app_of(lambda _: streamed(parts())), seconds=0.5))
        in_time = await asyncio.to_thread(ended.wait, 0.5)
        call.cancel()
        return in_time

    assert run(never())


@pytest.mark.parametrize("how", ["its connection breaks", "the server gives up"])
def test_a_stream_is_read_to_its_end_whoever_has_gone(how: str) -> None:
    made: list[int] = []

    def parts() -> Iterator[bytes]:
        for number in range(20):
            time.sleep(0.01)
            made.append(number)
            yield b"x" * 100_000

    async def leave() -> None:
        client = Client(gone_after=3 if "breaks" in how else 1 << 30)
        call = asyncio.create_task(client.call(app_of(lambda _: streamed(parts()))))
        if "breaks" in how:
            with pytest.raises(OSError, match="nobody"):
                await call
            return
        while len(client.sent) < 3:
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    run(leave())
    eventually(lambda: made == list(range(20)))


# ---------------------------------------------------------------------------------------------------------- ends of time
def test_a_stream_is_broken_off_in_time_to_settle_and_says_so() -> None:
    aborted = threading.Event()

    def parts() -> Iterator[bytes]:
        yield b"one"
        aborted.wait(5)
        raise BadRequestError("the time is up", code="model_timeout")

    began = time.monotonic()
    client = called(lambda _: streamed(parts(), abort=aborted.set), seconds=0.5)
    assert 0.2 < time.monotonic() - began < 0.5
    assert b"".join(client.parts).replace(PING, b"") == b"one" + ERROR
    assert client.ended


@pytest.mark.parametrize(("ago", "left"), [(0, 600), (200, 600), (400, 500), (890, 10)])
def test_the_end_is_that_of_the_function_or_of_api_gateway_whichever_comes_first(ago: float, left: float) -> None:
    """API Gateway lets a stream take 15 minutes, and a cold start takes from them and not from Lambda's."""
    now = time.time()
    headers = {
        "x-amzn-request-context": json.dumps({"requestTimeEpoch": (now - ago) * 1000}),
        "x-amzn-lambda-context": json.dumps({"deadline": (now + 600) * 1000}),
    }
    assert Request.received("POST", "/", {}, headers, b"").deadline - now == pytest.approx(left, abs=0.1)


def test_a_stream_that_ends_in_time_is_never_broken_off() -> None:
    aborted = threading.Event()

    async def then_wait() -> None:
        await Client().call(app_of(lambda _: streamed(iter([b"one"]), abort=aborted.set)), seconds=0.3)
        await asyncio.sleep(0.3)

    run(then_wait())
    assert not aborted.is_set()

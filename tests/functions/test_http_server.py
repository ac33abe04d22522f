"""The local stack's own HTTP server: unambiguous HTTP/1.1 only, and a deadline for every wait."""

from __future__ import annotations

import json
import os
import resource
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from scripts.dev.certificate import certificate
from scripts.dev.fake_models import FakeModels
from scripts.dev.http_server import Connections, HttpServer, Limits, Request, Response

ROOT = Path(__file__).parents[2]
QUICK = Limits(handshake=0.5, head=0.4, body=0.6, idle=0.6, stalled=0.5, linger=0.2)
POST = b"POST /echo?a=1 HTTP/1.1\r\nHost: here\r\n"


def echo(request: Request) -> Response:
    """Echo the request, or do as the path says."""
    if request.path == "/fail":
        raise ValueError("a secret")
    if request.path == "/sleep":
        time.sleep(float(request.query))
    said = {
        "method": request.method,
        "target": request.target,
        "headers": request.headers,
        "body": request.body.decode("latin-1"),
        "version": request.version,
        "too_large": request.too_large,
    }
    return Response(200, json.dumps(said).encode(), [("Content-Type", "application/json")])


@contextmanager
def serving(answer: Callable[[Request], Response] = echo, **more: Any) -> Iterator[HttpServer]:
    server = HttpServer("127.0.0.1", 0, **{"limits": QUICK, **more})
    server.start(answer)
    try:
        yield server
    finally:
        server.stop(2)


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    with serving(largest_body=100_000) as server:
        yield server


def connected(server: HttpServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def answered(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One response with a length: status, headers in lower case, body."""
    read = b""
    while b"\r\n\r\n" not in read:
        more = connection.recv(65536)
        assert more, f"closed after {read!r}"
        read += more
    head, _, body = read.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return int(first.split()[1]), headers, body


def sent(server: HttpServer, *parts: bytes) -> tuple[int, dict[str, str], bytes, bool]:
    """The response to some bytes, and whether the connection then ends."""
    with connected(server) as connection:
        for part in parts:
            connection.sendall(part)
        status, headers, body = answered(connection)
        connection.settimeout(2)
        try:
            ends = connection.recv(1) == b""
        except TimeoutError:
            ends = False
        return status, headers, body, ends


# ------------------------------------------------------------------------------------------------------------ requests
def test_headers_come_as_they_were_sent_and_a_connection_is_kept(server: HttpServer) -> None:
    with connected(server) as connection:
        for number in range(3):
            body = b"x" * number
            connection.sendall(POST + b"team_id: ops\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: %d\r\n\r\n" % number + body)
            status, headers, read = answered(connection)
            said = json.loads(read)
            assert (status, said["target"], said["body"]) == (200, "/echo?a=1", body.decode())
            assert [pair for pair in said["headers"] if pair[0] != "Content-Length"] == [
                ["Host", "here"], ["team_id", "ops"], ["X-A", "1"], ["x-a", "2"],
            ]  # fmt: skip
            assert headers["connection"] == "keep-alive"


def test_a_body_in_chunks_is_read_and_requests_in_one_piece_are_answered_in_turn(server: HttpServer) -> None:
    one = POST + b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX-Trailer: 1\r\n\r\n"
    with connected(server) as connection:
        connection.sendall(one + one + b"GET /last HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        read = b""
        while more := connection.recv(65536):
            read += more
    assert read.count(b"HTTP/1.1 200") == 3
    assert read.count(b'"body": "hello!"') == 2
    assert read.index(b"hello!") < read.index(b"/last")


def test_whoever_expects_to_be_told_to_go_on_is_told(server: HttpServer) -> None:
    with connected(server) as connection:
        connection.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"ok")
        assert json.loads(answered(connection)[2])["body"] == "ok"


def test_a_head_has_no_body_and_http_1_0_no_chunks(server: HttpServer) -> None:
    with connected(server) as connection:
        connection.sendall(
            b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\nGET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
        )
        read = b""
        while more := connection.recv(65536):
            read += more
    assert read.count(b"HTTP/1.1 200") == 2
    assert read.count(b'"method"') == 1
    with serving(lambda _: Response(200, b"", [], iter([b"a", b"b"]))) as streaming, connected(streaming) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        read = b""
        while more := connection.recv(65536):
            read += more
    assert read.endswith(b"\r\n\r\nab")


@pytest.mark.parametrize(
    "request_",
    [
        b"GET\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: here\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\nHost: here\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: here\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS at the plain port
        b"GET / HTTP/1.1\r\n\r\n",  # for no host
        b"GET / HTTP/1.1\r\nHost: here\r\nHost: there\r\n\r\n",
        POST + b"no colon\r\n\r\n",
        POST + b"X-A : 1\r\n\r\n",
        POST + b"X-A: \x001\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: +1\r\n\r\nx",
        POST + b"Content-Length: 1_0\r\n\r\nx",
        POST + b"Content-Length: 0x1\r\n\r\nx",
        POST + b"Content-Length: 1e1\r\n\r\nx",
        POST + b"Content-Length: \r\n\r\nx",
        POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\nx",
        POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        POST + b"Content-Length: 0\r\nContent-Length: 3\r\n\r\nabc",
        POST + b"Content-Length: 3\r\nContent-Length: 0\r\n\r\nabc",
        POST + b"Content-Length: 2, 3\r\n\r\nabc",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        *(
            POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk
            for chunk in (
                b"-1\r\nabc",
                b"+1\r\na\r\n",
                b"0x1\r\na\r\n",
                b"1_0\r\na\r\n",
                b" 1\r\na\r\n",
                b"\r\na\r\n",
                b"zz\r\na\r\n",
                b"1\r\nabc\r\n",  # longer than it says
                b"7fffffffffffffff\r\nabc",
                b"ffffffffffffffff\r\nabc",
                b"f" * 40 + b"\r\nabc",
                b"1" * 100_000,
            )
        ),
    ],
)
def test_what_is_no_request_or_could_be_read_in_two_ways_is_refused_and_ends(
    server: HttpServer, request_: bytes
) -> None:
    status, headers, body, ends = sent(server, request_ + b"GET /smuggled HTTP/1.1\r\nHost: here\r\n\r\n")
    assert (status, headers["connection"], ends) == (400, "close", True)
    problem = json.loads(body)
    assert (problem["code"], headers["content-type"]) == ("malformed_request", "application/json")
    assert problem["request_id"] == headers["x-request-id"]
    assert b"smuggled" not in body


def test_no_head_takes_long_to_be_refused(server: HttpServer) -> None:
    began = time.monotonic()
    status, *_ = sent(server, POST + (b"X-A:" + b" \t" * 100 + b"\r\n") * 100 + b"X-B: \x00\r\n\r\n")
    assert (status, time.monotonic() - began < 1) == (400, True)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nabc", 400),
        (b"GET /_health HTTP/1.1\r\nHost: here\r\n\r\n", 200),
    ],
)
def test_the_model_stand_in_is_as_strict(request_: bytes, expected: int) -> None:
    with FakeModels() as models, socket.create_connection(("127.0.0.1", models.port), timeout=10) as connection:
        connection.sendall(request_)
        assert answered(connection)[0] == expected


@pytest.mark.parametrize("encoding", [b"gzip", b"xchunked", b"chunked, chunked", b"identity, chunked"])
def test_a_transfer_encoding_that_is_not_known_is_refused_and_ends(server: HttpServer, encoding: bytes) -> None:
    status, _, _, ends = sent(server, POST + b"Transfer-Encoding: " + encoding + b"\r\n\r\n0\r\n\r\n")
    assert (status, ends) == (501, True)


@pytest.mark.parametrize("flood", [b"X-A: 1\r\n" * 300, b"X-A: " + b"x" * 200_000, b"GET /" + b"x" * 200_000])
def test_a_flood_of_headers_is_refused_and_ends(server: HttpServer, flood: bytes) -> None:
    status, _, body, ends = sent(server, (b"" if flood.startswith(b"GET") else POST) + flood + b"\r\n\r\n")
    assert (status, json.loads(body)["code"], ends) == (431, "headers_too_large", True)


def test_a_body_that_is_too_large_is_not_kept_and_its_sender_reads_why(server: HttpServer) -> None:
    for length in (200_000, 10**15):
        with connected(server) as connection:
            connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % length)
            connection.sendall(b"x" * 200_000)
            status, headers, body = answered(connection)
            said = json.loads(body)
            assert (status, headers["connection"]) == (200, "close")
            assert (said["too_large"], said["body"]) == (True, "")


def test_a_failure_is_a_problem_without_its_reason(server: HttpServer) -> None:
    status, _, body, _ = sent(server, b"GET /fail HTTP/1.1\r\nHost: here\r\n\r\n")
    assert (status, json.loads(body)["code"]) == (500, "internal_error")
    assert b"secret" not in body


def test_an_empty_line_between_two_requests_is_nothing(server: HttpServer) -> None:
    with connected(server) as connection:
        for _ in range(2):
            connection.sendall(b"\r\nGET / HTTP/1.1\r\nHost: here\r\n\r\n")
            assert answered(connection)[0] == 200
            connection.sendall(b"\r\n")


# ----------------------------------------------------------------------------------------------------------------- time
@pytest.mark.parametrize(
    ("begun", "every"),
    [
        (b"P", 0),
        (b"PRI * HT", 0),
        (POST + b"X-A: ", 0),
        (POST, 0.1),  # a header, letter by letter
        (POST + b"Content-Length: 1000\r\n\r\nabc", 0.1),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n3e8\r\nabc", 0),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", 0.1),
    ],
)
def test_a_request_that_does_not_come_to_its_end_is_ended(server: HttpServer, begun: bytes, every: float) -> None:
    began = time.monotonic()
    with connected(server) as connection:
        connection.sendall(begun)
        connection.settimeout(every or 5)
        read = b""
        while b"\r\n\r\n" not in read and time.monotonic() < began + 5:
            try:
                read += connection.recv(65536)
            except TimeoutError:
                connection.sendall(b"1")
        assert b" 408 " in read.partition(b"\r\n")[0]
        assert b'"code": "request_timeout"' in read
    assert time.monotonic() - began < 2


def test_a_connection_that_is_silent_is_closed_without_a_word(server: HttpServer) -> None:
    for request in (b"", b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"):
        with connected(server) as connection:
            if request:
                connection.sendall(request)
                assert answered(connection)[0] == 200
            began = time.monotonic()
            connection.settimeout(5)
            assert connection.recv(1) == b""
            assert 0.3 < time.monotonic() - began < 3


def test_a_parked_connection_has_no_thread_and_is_served_again() -> None:
    with serving(limits=Limits(linger=0.05)) as server, ExitStack() as open_ones:
        before = threading.active_count()
        connections = [open_ones.enter_context(connected(server)) for _ in range(50)]
        for connection in connections:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            assert answered(connection)[0] == 200
        time.sleep(0.5)
        assert threading.active_count() <= before + 2
        for connection in connections:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            assert answered(connection)[0] == 200


# ------------------------------------------------------------------------------------------------------------- streams
def test_a_stream_is_read_to_its_end_whoever_has_gone() -> None:
    told: list[str] = []

    def count(_: Request) -> Response:
        def parts() -> Iterator[bytes]:
            for number in range(20):
                time.sleep(0.02)
                yield b"data: %d\n\n" % number
            told.append("to the end")

        return Response(200, b"", [("Content-Type", "text/event-stream")], parts())

    with serving(count) as server:
        connection = connected(server)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert b"200 OK" in connection.recv(65536)
        connection.close()
        server.stop(3)
        assert told == ["to the end"]


def test_a_stream_that_breaks_off_has_no_end() -> None:
    def broken(_: Request) -> Response:
        def parts() -> Iterator[bytes]:
            yield b"one"
            raise ConnectionError

        return Response(200, b"", [], parts())

    with serving(broken) as server, connected(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        read = b""
        while more := connection.recv(65536):
            read += more
        assert read.endswith(b"3\r\none\r\n")


def test_a_client_that_takes_nothing_does_not_hold_up_a_stream() -> None:
    ended = threading.Event()

    def endless(_: Request) -> Response:
        def parts() -> Iterator[bytes]:
            for _ in range(300):
                yield b"x" * 100_000
            ended.set()

        return Response(200, b"", [], parts())

    with serving(endless) as server, connected(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert ended.wait(10)


# --------------------------------------------------------------------------------------------------------------- bounds
def test_at_its_bound_a_server_says_so_and_does_not_hang() -> None:
    with serving(connections=Connections(4), limits=Limits()) as server, ExitStack() as open_ones:
        busy = [open_ones.enter_context(connected(server)) for _ in range(4)]
        for connection in busy:
            connection.sendall(b"GET /sleep?1.5 HTTP/1.1\r\nHost: here\r\n\r\n")
        time.sleep(0.2)
        for _ in range(50):
            began = time.monotonic()
            status, headers, body, ends = sent(server, b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            assert (status, headers["connection"], headers["retry-after"], ends) == (503, "close", "1", True)
            assert json.loads(body)["code"] == "too_many_connections"
            assert time.monotonic() - began < 1
        assert [answered(connection)[0] for connection in busy] == [200] * 4
        time.sleep(1.2)
        assert sent(server, b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")[0] == 200


def test_the_connection_that_is_silent_for_longest_makes_room() -> None:
    with serving(connections=Connections(3), limits=Limits(linger=0.1)) as server, ExitStack() as open_ones:
        first, second, third = (open_ones.enter_context(connected(server)) for _ in range(3))
        for connection in (first, second, third):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            assert answered(connection)[0] == 200
            time.sleep(0.05)
        time.sleep(1)
        first.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert answered(first)[0] == 200
        assert sent(server, b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")[0] == 200
        second.settimeout(2)
        assert second.recv(1) == b""
        for connection in (first, third):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            assert answered(connection)[0] == 200


RAISED = """
import resource
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
from scripts.dev.http_server.connections import descriptors, room
before = room()
given = descriptors()
print(given, resource.getrlimit(resource.RLIMIT_NOFILE)[0], before)
"""


def test_the_soft_limit_of_open_files_is_raised_as_far_as_it_may_be() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 < hard < 1024:
        pytest.skip("the hard limit leaves nothing to raise")
    ran = subprocess.run([sys.executable, "-c", RAISED], cwd=ROOT, capture_output=True, text=True, check=True)
    given, soft, most = map(int, ran.stdout.split())
    assert given == soft >= 1024
    assert most > 256, "there is room for as many as the raised limit allows"


FLOODED = """
import os, resource, socket, sys, time
limit, kept = int(sys.argv[1]), int(sys.argv[2])
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
ready, told = os.pipe()
server = os.fork()
if server == 0:
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    from scripts.dev.http_server import HttpServer, Response
    http = HttpServer("127.0.0.1", 0)
    http.start(lambda request: Response(200, b"ok"))
    os.write(told, b"%d %d\\n" % (http.port, http.connections.most))
    time.sleep(60)
    os._exit(0)
port, most = map(int, os.read(ready, 100).split())
connections = []
def call(connection):
    connection.settimeout(10)
    connection.sendall(b"GET / HTTP/1.1\\r\\nHost: here\\r\\n\\r\\n")
    return connection.recv(65536).split()[1]
began, slowest, statuses = time.monotonic(), 0.0, {}
for number in range(kept):
    before = time.monotonic()
    connections.append(socket.create_connection(("127.0.0.1", port), timeout=10))
    try:
        status = call(connections[-1])
    except OSError as error:
        status = type(error).__name__.encode()
    statuses[status] = statuses.get(status, 0) + 1
    slowest = max(slowest, time.monotonic() - before)
os.kill(server, 9)
print(most, dict(statuses), round(slowest, 2))
"""


@pytest.mark.parametrize("limit", [1024, 256])
def test_two_thousand_kept_connections_under_few_files_hang_nothing(limit: int) -> None:
    """A newcomer's limits. Each connection makes a call, and is kept by its caller; the silent ones make room."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    kept = min(2000, hard - 100)
    code = "import resource; _, hard = resource.getrlimit(resource.RLIMIT_NOFILE);"
    code += "resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))\n" + FLOODED
    ran = subprocess.run(
        [sys.executable, "-c", code, str(limit), str(kept)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    print(limit, ran.stdout)
    most, rest = ran.stdout.split(" ", 1)
    assert 32 <= int(most) < limit
    statuses, slowest = rest.rsplit(" ", 1)
    counted = eval(statuses)
    assert set(counted) <= {b"200", b"503"}, counted
    assert counted[b"200"] > 100
    assert float(slowest) < 3


# ------------------------------------------------------------------------------------------------------------------ TLS
def test_tls_speaks_http_1_1_to_whoever_asks_for_it_and_a_stalled_handshake_ends(tmp_path: Path) -> None:
    own = certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=str(own.ca))
    with serving(tls=own.context()) as server:
        for protocol in (None, "http/1.1"):
            if protocol:
                trusting.set_alpn_protocols([protocol])
            with trusting.wrap_socket(connected(server), server_hostname="localhost") as connection:
                assert connection.selected_alpn_protocol() == protocol
                for size in (0, 70_000):
                    connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % size + b"x" * size)
                    assert len(json.loads(answered(connection)[2])["body"]) == size
        for begun in (b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"):
            with connected(server) as connection:
                connection.sendall(begun)
                connection.settimeout(5)
                while connection.recv(100):
                    pass

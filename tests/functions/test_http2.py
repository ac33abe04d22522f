"""The local stack's HTTP/2, with an h2 client: concurrent requests, flow control both ways, an orderly end."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest

from scripts.dev.certificate import certificate
from scripts.dev.http_server import Connections, HttpServer, Limits, Request, Response

from .test_http_server import echo, serving

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Client:
    """A client that does one step at a time, and stores received events by stream."""

    def __init__(self, server: HttpServer, tls: ssl.SSLContext | None = None, acknowledges: bool = True):
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
            assert self.socket.selected_alpn_protocol() == "h2"
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.acknowledges = acknowledges
        self.statuses: dict[int, list[int]] = {}
        self.headers: dict[int, dict[str, str]] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: dict[int, Any] = {}  # None is an orderly end, else the code of a reset
        self.left: h2.events.ConnectionTerminated | None = None
        self.closed = False
        self.flush()

    def flush(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # a server that has left may have said why
            self.socket.sendall(self.h2.data_to_send())

    def send(
        self, path: str, body: bytes | None = None, *headers: tuple[str, str], method: str = "POST", end: bool = True
    ) -> int:
        number = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "http"), (":authority", "here"), (":path", path), *headers]
        self.h2.send_headers(number, head, end_stream=body is None and end)
        if body is not None:
            left = memoryview(body)
            while left:
                self.flush()
                while not (room := min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)):
                    self.read()
                self.h2.send_data(number, bytes(left[:room]))
                left = left[room:]
            if end:
                self.h2.end_stream(number)
        self.flush()
        return number

    def read(self, seconds: float = 10) -> bool:
        """Read the available bytes. False at the end."""
        self.socket.settimeout(seconds)
        content = self.socket.recv(65536)
        if not content:
            self.closed = True
            return False
        for event in self.h2.receive_data(content):
            match event:
                case h2.events.InformationalResponseReceived() | h2.events.ResponseReceived():
                    named = {str(name): str(value) for name, value in event.headers}
                    self.statuses.setdefault(event.stream_id, []).append(int(named[":status"]))
                    self.headers[event.stream_id] = named
                case h2.events.DataReceived():
                    self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                    if self.acknowledges:
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.StreamEnded():
                    self.ended.setdefault(event.stream_id, None)
                case h2.events.StreamReset():
                    self.ended.setdefault(event.stream_id, event.error_code)
                case h2.events.ConnectionTerminated():
                    self.left = event
                    self.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN  # h2 takes it for the end
        self.flush()
        return True

    def until(self, number: int) -> tuple[int, bytes]:
        """The response of a stream, after its end."""
        while number not in self.ended:
            assert self.read(), "closed"
        return self.statuses.get(number, [0])[-1], self.bodies.get(number, b"")

    def call(
        self, path: str, body: bytes | None = None, *headers: tuple[str, str], method: str = "POST"
    ) -> tuple[int, bytes]:
        return self.until(self.send(path, body, *headers, method=method))

    def rest(self) -> None:
        """Everything until the end."""
        while not self.closed:
            try:
                self.read(5)
            except ConnectionError:
                return


@contextmanager
def speaking(server: HttpServer, **more: Any) -> Iterator[Client]:
    client = Client(server, **more)
    try:
        yield client
    finally:
        client.socket.close()


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    with serving(largest_body=2_000_000) as server:
        yield server


def counting(times: int, every: float, told: list[str] | None = None, part: bytes = b"data: x\n\n") -> Any:
    def answer(_: Request) -> Response:
        def parts() -> Iterator[bytes]:
            for _ in range(times):
                yield part
                time.sleep(every)
            if told is not None:
                told.append("to the end")

        return Response(200, b"", [("Content-Type", "text/event-stream"), ("Connection", "close")], parts())

    return answer


# ------------------------------------------------------------------------------------------------------------ requests
def test_a_request_comes_as_by_http_1_1(server: HttpServer) -> None:
    with speaking(server) as client:
        crumbs = (("cookie", "a=1"), ("cookie", "b=2"))
        status, body = client.call("/echo?a=1%2F", b"hello", ("team_id", "ops"), ("x-a", "1"), ("x-a", "2"), *crumbs)
        said = json.loads(body)
        assert (status, said["method"], said["target"], said["body"]) == (200, "POST", "/echo?a=1%2F", "hello")
        assert said["headers"] == [
            ["host", "here"], ["team_id", "ops"], ["x-a", "1"], ["x-a", "2"], ["cookie", "a=1; b=2"],
        ]  # fmt: skip
        assert said["version"] == "HTTP/2.0"
        number = client.send("/", None, method="HEAD")
        assert client.until(number) == (200, b"")
        assert int(client.headers[number]["content-length"]) > 0
        assert not {"connection", "transfer-encoding", "keep-alive"} & client.headers[number].keys()


def test_many_requests_share_a_connection_and_the_slow_holds_up_nobody(server: HttpServer) -> None:
    with speaking(server) as client:
        slow = client.send("/sleep?0.6", b"")
        quick = [client.send(f"/{number}", b"x" * number) for number in range(40)]
        for number, stream in enumerate(quick):
            status, body = client.until(stream)
            assert (status, len(json.loads(body)["body"])) == (200, number)
        assert slow not in client.ended
        assert client.until(slow)[0] == 200


def test_bodies_of_any_size_pass_both_ways(server: HttpServer) -> None:
    with speaking(server) as client:
        for size in (0, 1, 70_000, 1_900_000):
            status, body = client.call("/echo", b"x" * size)
            assert (status, len(json.loads(body)["body"])) == (200, size)


def test_a_body_that_is_too_large_is_not_kept(server: HttpServer) -> None:
    with speaking(server) as client:
        said = json.loads(client.call("/echo", b"x" * 3_000_000)[1])
        assert (said["too_large"], said["body"]) == (True, "")
        assert client.call("/echo", b"ok")[0] == 200


def test_whoever_expects_to_be_told_to_go_on_is_told(server: HttpServer) -> None:
    with speaking(server) as client:
        number = client.send("/echo", None, ("expect", "100-continue"), end=False)
        while number not in client.statuses:
            client.read()
        assert client.statuses[number] == [100]
        client.h2.send_data(number, b"ok", end_stream=True)
        client.flush()
        assert json.loads(client.until(number)[1])["body"] == "ok"


def test_a_failure_is_a_problem_of_its_stream_alone(server: HttpServer) -> None:
    with speaking(server) as client:
        status, body = client.call("/fail", b"")
        assert (status, json.loads(body)["code"]) == (500, "internal_error")
        status, body = client.call("/echo", None, *((f"x-{number}", "1") for number in range(300)))
        assert (status, json.loads(body)["code"]) == (431, "headers_too_large")
        assert client.call("/echo", b"ok")[0] == 200


def test_by_tls_it_is_chosen_by_alpn(tmp_path: Path) -> None:
    own = certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=str(own.ca))
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    with serving(tls=own.context()) as server, speaking(server, tls=trusting) as client:
        streams = [client.send("/echo", b"x" * 100_000) for _ in range(10)]
        assert [len(json.loads(client.until(stream)[1])["body"]) for stream in streams] == [100_000] * 10


# ------------------------------------------------------------------------------------------------------------- streams
def test_each_part_arrives_when_it_is_sent() -> None:
    with serving(counting(20, 0.03)) as server, speaking(server) as client:
        began = time.monotonic()
        number = client.send("/", b"{}")
        while not client.bodies.get(number):
            client.read()
        assert time.monotonic() - began < 0.3
        assert client.until(number) == (200, b"data: x\n\n" * 20)


def test_a_client_that_resets_a_stream_is_gone_and_the_stream_is_read_to_its_end() -> None:
    told: list[str] = []
    with serving(counting(20, 0.02, told)) as server, speaking(server) as client:
        number = client.send("/", b"{}")
        while not client.bodies.get(number):
            client.read()
        client.h2.reset_stream(number, h2.errors.ErrorCodes.CANCEL)
        client.flush()
        other = client.send("/", b"{}")
        assert client.until(other) == (200, b"data: x\n\n" * 20)
        server.stop(3)
        assert told == ["to the end"] * 2


def test_a_stream_that_breaks_off_is_reset_and_the_others_go_on() -> None:
    def broken(request: Request) -> Response:
        def parts() -> Iterator[bytes]:
            yield b"one"
            raise ConnectionError

        return Response(200, b"", [], parts()) if request.path == "/broken" else echo(request)

    with serving(broken) as server, speaking(server) as client:
        number = client.send("/broken", b"")
        client.until(number)
        assert client.ended[number] == h2.errors.ErrorCodes.INTERNAL_ERROR
        assert client.call("/", b"")[0] == 200


def test_no_more_is_sent_than_the_client_has_room_for() -> None:
    told: list[str] = []
    large = counting(100, 0, told, b"x" * 10_000)
    with serving(large, limits=Limits()) as server, speaking(server, acknowledges=False) as client:
        number = client.send("/", b"{}")
        while len(client.bodies.get(number, b"")) < 65_535:
            client.read()
        time.sleep(0.2)
        assert (len(client.bodies[number]), told) == (65_535, [])
        client.acknowledges = True
        client.h2.acknowledge_received_data(65_535, number)
        client.flush()
        assert client.until(number) == (200, b"x" * 1_000_000)


def test_a_client_that_takes_nothing_loses_its_stream_and_holds_up_nobody() -> None:
    told: list[str] = []
    with serving(counting(100, 0, told, b"x" * 10_000)) as server, speaking(server, acknowledges=False) as client:
        number = client.send("/", b"{}")
        client.until(number)
        assert client.ended[number] == h2.errors.ErrorCodes.CANCEL
        time.sleep(0.1)
        assert told == ["to the end"]


def test_a_client_whose_connection_breaks_is_gone_at_once() -> None:
    told: list[str] = []
    large = counting(100, 0, told, b"x" * 10_000)
    with serving(large, limits=Limits()) as server, speaking(server, acknowledges=False) as client:
        number = client.send("/", b"{}")
        while len(client.bodies.get(number, b"")) < 65_535:
            client.read()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # by a reset
        client.socket.close()
        end = time.monotonic() + 5
        while not told and time.monotonic() < end:
            time.sleep(0.01)
        assert told == ["to the end"]


# ---------------------------------------------------------------------------------------------------- bounds, the end
def test_a_hundred_streams_are_answered_at_a_time_those_that_were_reset_among_them() -> None:
    begun, go_on = [], threading.Event()

    def slow(request: Request) -> Response:
        begun.append(request.path)
        go_on.wait(20)
        return Response(200)

    with serving(slow) as server, speaking(server) as client:
        for number in range(100):
            stream = client.send(f"/{number}", b"")
            while len(begun) <= number:
                time.sleep(0.001)
            client.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
            client.flush()
        refused = client.send("/", b"")
        client.until(refused)
        assert client.ended[refused] == h2.errors.ErrorCodes.REFUSED_STREAM
        go_on.set()
        time.sleep(0.2)
        assert client.call("/", b"")[0] == 200
        assert len(begun) == 101


def test_what_is_reset_in_the_same_breath_is_never_begun() -> None:
    begun: list[str] = []

    def noted(request: Request) -> Response:
        begun.append(request.path)
        return Response(200)

    with serving(noted) as server, speaking(server) as client:
        head = [(":method", "GET"), (":scheme", "http"), (":authority", "here"), (":path", "/never")]
        client.h2.send_headers(1, head, end_stream=True)
        client.h2.reset_stream(1)
        client.flush()
        assert client.call("/", b"")[0] == 200
        assert begun == ["/"]


def test_calls_beyond_the_bound_are_told_so() -> None:
    with serving(connections=Connections(3)) as server, speaking(server) as client:
        streams = [client.send("/sleep?0.5", b"") for _ in range(3)]
        time.sleep(0.2)
        status, body = client.call("/", b"")
        assert (status, json.loads(body)["code"]) == (503, "too_many_calls")
        assert [client.until(stream)[0] for stream in streams] == [200] * 3


def test_at_the_bound_of_connections_a_client_is_told_so() -> None:
    with serving(connections=Connections(1)) as server, speaking(server) as first:
        slow = first.send("/sleep?1", b"")
        time.sleep(0.2)
        with speaking(server) as second:
            status, body = second.call("/", b"")
            assert (status, json.loads(body)["code"]) == (503, "too_many_connections")
            second.rest()
            assert second.closed
        assert first.until(slow)[0] == 200


def test_a_half_sent_request_is_ended_and_the_connection_goes_on(server: HttpServer) -> None:
    with speaking(server) as client:
        half = client.send("/echo", b"half", end=False)
        whole = client.send("/sleep?2", b"")
        for _ in range(10):  # whoever is heard of all the time is not forgotten either
            time.sleep(0.1)
            client.h2.ping(b"12345678")
            client.flush()
        status, body = client.until(half)
        assert (status, json.loads(body)["code"]) == (408, "request_timeout")
        assert client.until(whole)[0] == 200


@pytest.mark.parametrize(
    "begun",
    [
        PREFACE[:10],
        PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + b"\x00\x00\x40\x01",
        # A head without its end: CONTINUATION frames would have to follow.
        PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + b"\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82",
        PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    ],
)
def test_what_is_half_sent_or_silent_is_ended(server: HttpServer, begun: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(begun)
        began = time.monotonic()
        while connection.recv(65536):
            pass
        assert time.monotonic() - began < 4


def test_a_head_that_comes_drop_by_drop_is_ended(server: HttpServer) -> None:
    """Each drop is a sign of life, so the idle time alone would never end it."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(
            PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + b"\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82"
        )
        began = time.monotonic()
        with suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() - began < 6:
                connection.sendall(b"\x00\x00\x01\x09\x00\x00\x00\x00\x01\x82")  # CONTINUATION
                time.sleep(0.1)
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "wrong",
    [
        b"\x00\x00\x01\x01\x05\x00\x00\x00\x02\x82",  # a stream of the server's
        b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\xff",  # no header
        b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00",  # a window that grows by nothing
        b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",  # a frame that is too large
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
    ],
)
def test_what_is_no_http_2_ends_the_connection(server: HttpServer, wrong: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + wrong)
        began = time.monotonic()
        while connection.recv(65536):
            pass
        assert time.monotonic() - began < 4


def test_a_flood_of_headers_ends_the_connection(server: HttpServer) -> None:
    with speaking(server) as client:
        client.send("/", None, ("x-a", "x" * 70_000))
        client.rest()
        assert client.left is not None or client.closed


def test_a_client_that_takes_its_leave_still_has_its_answer(server: HttpServer) -> None:
    with speaking(server) as client:
        number = client.send("/sleep?0.3", b"")
        client.h2.close_connection()
        client.flush()
        client.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN  # h2 takes it for the end
        assert client.until(number)[0] == 200


def test_a_stop_says_goodbye_and_lets_streams_end() -> None:
    with serving(counting(10, 0.05), limits=Limits()) as server, speaking(server) as busy, speaking(server) as idle:
        number = busy.send("/", b"{}")
        while not busy.bodies.get(number):
            busy.read()
        idle.read()
        stopping = threading.Thread(target=server.stop, args=(3,))
        stopping.start()
        idle.rest()
        assert idle.left is not None
        while number not in busy.ended:
            assert busy.read()
        assert len(busy.bodies[number]) == 90
        began = time.monotonic()
        stopping.join()
        assert time.monotonic() - began < 1


def test_a_parked_connection_is_served_again() -> None:
    with serving(limits=Limits(linger=0.05)) as server, speaking(server) as client:
        for _ in range(3):
            assert client.call("/", b"")[0] == 200
            time.sleep(0.3)
            assert not any("_run" in str(thread) for thread in threading.enumerate())

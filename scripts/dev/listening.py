"""Where the stack listens: ports that were chosen, those from before, or any; and the lock of its data folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import socket
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from scripts.dev.http_server import Connections, HttpServer

HOST = "127.0.0.1"
_PATIENCE = 1.0
_TLS_PORT = 8443
_LARGEST_BODY = 10 * 1024 * 1024  # API Gateway's payload


class CannotStart(Exception):
    """One sentence for whoever typed the command."""


def lock(data: Path) -> IO[str]:
    """Hold the data folder for as long as this process lives."""
    file = (data / "lock").open("a+")
    end = time.monotonic() + _PATIENCE  # for a stack that is just ending
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() < end:
                time.sleep(0.05)
                continue
            owner = read_json(data / "stack.json").get("pid", "unknown")
            raise CannotStart(f"a local stack is running in {data} already (process {owner})") from None
        return file


def listen(
    port: int, connections: Connections, variable: str = "PORT", tls: ssl.SSLContext | None = None
) -> HttpServer:
    end = time.monotonic() + _PATIENCE  # for the process before this one to let go
    while True:
        try:
            return HttpServer(HOST, port, largest_body=_LARGEST_BODY, tls=tls, connections=connections)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < end:
                time.sleep(0.1)
                continue
            reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
            raise CannotStart(f"port {port} {reason}; choose another with {variable}={port + 1}") from None


def listen_for_tls(chosen: int | None, connections: Connections, tls: ssl.SSLContext, before: Any) -> HttpServer:
    """At the port that was chosen; without a choice at that from before, at the usual one, or at any."""
    if chosen is not None:
        return listen(chosen, connections, "PORT_TLS", tls)
    for port in (before, _TLS_PORT):
        if isinstance(port, int):
            with contextlib.suppress(OSError):
                return HttpServer(HOST, port, largest_body=_LARGEST_BODY, tls=tls, connections=connections)
    return listen(0, connections, "PORT_TLS", tls)


def chosen_port(environment: Mapping[str, str], variable: str) -> int:
    """A port that the environment names; 0 is any."""
    port = environment.get(variable) or "0"
    if not port.isdigit() or int(port) > 65535:
        raise CannotStart(f"{port} is no port: set {variable} to a number up to 65535")
    return int(port)


def free_port(preferred: Any) -> int:
    """The port from before, where it can be had: calls that outlived a killed stack find the new one there."""
    for port in (preferred, 0):
        if isinstance(port, int):
            with contextlib.suppress(OSError), socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((HOST, port))
                return int(probe.getsockname()[1])
    raise CannotStart("there is no free port")


def read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content

"""Limits the number of connections; one thread waits for all silent ones.

A connection that is silent for a moment is parked: it costs a descriptor and a few hundred bytes, but no thread. At the
limit, the connection that has been silent longest is closed for a new one.
"""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_MOST_DESCRIPTORS = 16384  # enough, even if the hard limit allows more
_MOST = 4096  # connections, and calls: each call has a thread
_SPARED = 1.0  # seconds; a connection that was busy so recently is likely to be used again
_SPARE = 32  # descriptors for short-lived files, pipes, probes


@dataclass(frozen=True)
class Limits:
    """Seconds."""

    handshake: float = 10.0  # of the TLS handshake
    head: float = 10.0  # of a request, from its first byte
    body: float = 60.0  # from the end of the head
    idle: float = 75.0  # between two requests
    stalled: float = 300.0  # while a client reads nothing of a response
    linger: float = 1.0  # before a connection without a next request is parked


def descriptors() -> int:
    """Raise this process's limit of open files as far as allowed and useful; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # macOS reports no hard limit, but has one.
        for limit in (wanted, 10240):
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
                break
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else min(soft, _MOST_DESCRIPTORS)


def room(reserved: int = 0) -> int:
    """How many more connections this process can have if each has a call that opens another descriptor."""
    free = descriptors() - _open() - reserved - _SPARE
    return max(min(free // 2, _MOST), 8)


def _open() -> int:
    for folder in (Path("/proc/self/fd"), Path("/dev/fd")):
        with contextlib.suppress(OSError):
            return len(os.listdir(folder))
    return 64


class Parkable(Protocol):
    """The part of a connection that waiting needs."""

    def fileno(self) -> int: ...
    def goodbye(self) -> None:
        """Tell the client, if the protocol can, that no more requests are read, and end both directions."""

    def wake(self) -> None:
        """Data or the end has arrived."""


class Connections:
    """The connections of one or more servers. Each idle one has the time since which it is idle."""

    def __init__(self, most: int | None = None, reserved: int = 0):
        self.most = room(reserved) if most is None else most
        self._lock = threading.Lock()
        self._resting: dict[Parkable, float] = {}  # the longest idle first
        self._all: set[Parkable] = set()
        self._calls = 0
        self._closed = False
        self._arriving: deque[tuple[Parkable, float]] = deque()
        self._bell_out, self._bell_in = os.pipe()
        os.set_blocking(self._bell_out, False)
        os.set_blocking(self._bell_in, False)
        threading.Thread(target=self._wait, name="parked", daemon=True).start()

    def __len__(self) -> int:
        return len(self._all)

    def close(self) -> None:
        """Stop waiting; dismiss the parked connections before this."""
        self._closed = True
        self._ring()

    # -------------------------------------------------------------------------------------------------- admission
    def admit(self, connection: Parkable) -> bool:
        """Is there room for one more? The longest idle connection may be closed for it."""
        with self._lock:
            if len(self._all) >= self.most and not self._evict():
                return False
            self._all.add(connection)
            return True

    def make_room(self) -> bool:
        with self._lock:
            return self._evict()

    def _evict(self) -> bool:
        longest, since = next(iter(self._resting.items()), (None, 0.0))
        if longest is None or time.monotonic() - since < _SPARED:
            return False
        del self._resting[longest]
        self._all.discard(longest)
        longest.goodbye()
        return True

    def discard(self, connection: Parkable) -> None:
        with self._lock:
            self._resting.pop(connection, None)
            self._all.discard(connection)

    # ---------------------------------------------------------------------------------------------- rest and work
    def rest(self, connection: Parkable) -> bool:
        """The connection waits for a request from now on; False if it was dismissed."""
        with self._lock:
            if connection not in self._all:
                return False
            self._resting.setdefault(connection, time.monotonic())
            return True

    def work(self, connection: Parkable) -> bool:
        """A request has begun to arrive; False if the connection was dismissed before."""
        with self._lock:
            self._resting.pop(connection, None)
            return connection in self._all

    def begin_call(self) -> bool:
        with self._lock:
            if self._calls >= self.most:
                return False
            self._calls += 1
            return True

    def end_call(self) -> None:
        with self._lock:
            self._calls -= 1

    def dismiss(self, which: Callable[[Parkable], bool]) -> None:
        """Dismiss the idle connections."""
        with self._lock:
            for connection in [connection for connection in self._resting if which(connection)]:
                del self._resting[connection]
                self._all.discard(connection)
                connection.goodbye()

    def those(self, which: Callable[[Parkable], bool]) -> list[Parkable]:
        with self._lock:
            return [connection for connection in self._all if which(connection)]

    # ------------------------------------------------------------------------------------------------------ parked
    def park(self, connection: Parkable, until: float) -> None:
        """Wait for it without a thread, until that time at most."""
        self._arriving.append((connection, until))
        self._ring()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):  # full, so the thread wakes anyway; or closed
            os.write(self._bell_in, b"!")

    def _wait(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self._bell_out, selectors.EVENT_READ)
        ends: dict[Parkable, float] = {}
        swept = time.monotonic()
        while not (self._closed and not ends and not self._arriving):
            for key, _ in selector.select(1.0 if ends else None):
                if key.data is None:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._bell_out, 4096)
                    continue
                selector.unregister(key.fileobj)
                del ends[key.data]
                key.data.wake()
            while self._arriving:
                connection, until = self._arriving.popleft()
                selector.register(connection.fileno(), selectors.EVENT_READ, connection)
                ends[connection] = until
            now = time.monotonic()
            if now - swept < 1:
                continue
            swept = now
            for connection in [connection for connection, until in ends.items() if until < now]:
                # This makes it readable, and its thread then ends it like any other.
                self.discard(connection)
                connection.goodbye()
        selector.close()
        os.close(self._bell_in)
        os.close(self._bell_out)

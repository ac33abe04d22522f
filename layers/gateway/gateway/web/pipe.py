"""The bounded way of a stream from the thread that makes it to the connection, and what happens when either ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from gateway.web.exchange import PendingReply, Reply, StreamedReply

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

KEEP_ALIVE = 15.0  # seconds of silence after which a stream shows that it lives
PATIENCE = 45.0  # seconds after which a pending answer begins; less than CloudFront's 60, a cold start included
SETTLING = 5.0  # seconds before the end of Lambda's time at which a stream is aborted
MOST_WAITING = 1 << 20  # bytes that may wait for a slow client before the model is read no further


class Pipe:
    """Bytes on their way from a handler's thread to the event loop: joined while they wait, and not without bound.

    A head is `live` once its status must be sent: with the first part, or after so long a silence that it had to be.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, deadline: float):
        self._loop = loop
        self._deadline = deadline
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._parts: deque[bytes] = deque()
        self._size = 0
        self._ready = asyncio.Event()
        self._woken = False  # the loop has been told that there is something to take
        self._silent = False
        self._head: Reply | StreamedReply | PendingReply | None = None
        self._live = False
        self._ended = False
        self._dropping = False

    # ------------------------------------------------------------------------------------------- the handler's thread
    def offer(self, head: Reply | StreamedReply | PendingReply) -> None:
        with self._lock:
            if self._live and isinstance(head, Reply):
                self._parts.append(head.body)  # it was pending for so long that it has begun
            else:
                self._head = head
                self._live = self._live or isinstance(head, Reply)
            wake = self._must_wake()
        self._wake(wake)

    def fail(self, problem: Reply, last: bytes) -> None:
        """The problem as a status of its own, or as the last part where another was sent already."""
        with self._lock:
            if self._live:
                self._parts.append(last)
            else:
                self._head = problem
                self._live = True
            wake = self._must_wake()
        self._wake(wake)

    def put(self, part: bytes) -> None:
        """Hand a part on; wait while too many wait, though not past the time at which the call must settle."""
        with self._lock:
            while self._size > MOST_WAITING and not self._dropping:
                left = self._deadline - SETTLING - time.time()
                if left <= 0:
                    self._dropping = True
                self._room.wait(max(left, 0))
            self._live = True
            if self._dropping:
                return
            self._parts.append(part)
            self._size += len(part)
            wake = self._must_wake()
        self._wake(wake)

    def end(self) -> None:
        with self._lock:
            self._live = self._ended = True
            wake = self._must_wake()
        self._wake(wake)

    def _must_wake(self) -> bool:
        first, self._woken = not self._woken, True
        return first

    def _wake(self, must: bool) -> None:
        if must:
            with suppress(RuntimeError):  # the loop has gone, with whoever listened
                self._loop.call_soon_threadsafe(self._ready.set)

    # ------------------------------------------------------------------------------------------------- the event loop
    async def take(self, seconds: float) -> tuple[Reply | StreamedReply | PendingReply | None, bytes, bool]:
        """What has come: the head once it is live, bytes, and whether that was all. Raises TimeoutError."""
        # Not asyncio.wait_for, which makes a task of each wait: half of what an event would cost.
        watch = self._loop.call_later(seconds, self._give_up)
        self._silent = False
        try:
            while True:
                await self._ready.wait()
                self._ready.clear()
                with self._lock:
                    if self._woken:
                        self._woken = False
                        data = b"".join(self._parts)
                        self._parts.clear()
                        self._size = 0
                        self._room.notify()
                        return self._head if self._live else None, data, self._ended
                if self._silent:
                    raise TimeoutError
        finally:
            watch.cancel()

    def _give_up(self) -> None:
        self._silent = True
        self._ready.set()

    def commit(self, *, patient: bool) -> StreamedReply | PendingReply | None:
        """The head of what has been silent for long: its status cannot wait for the first part any more.

        A pending answer waits while whoever stands between is `patient`, since it may still become a problem.
        """
        with self._lock:
            head = self._head
            if head is None or isinstance(head, Reply) or not head.ping:
                return None
            if isinstance(head, PendingReply) and patient and not self._live:
                return None
            self._live = True
            return head

    def drop(self) -> None:
        """Nobody listens any more."""
        with self._lock:
            self._dropping = True
            self._parts.clear()
            self._size = 0
            self._room.notify()

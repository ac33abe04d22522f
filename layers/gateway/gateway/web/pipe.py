"""The bounded buffer between the thread that makes a stream and its connection; either may end first."""

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

KEEP_ALIVE = 15.0  # seconds of silence after which a stream sends a keep-alive
PATIENCE = 45.0  # seconds after which a pending answer begins; with a cold start still below CloudFront's 60
SETTLING = 5.0  # a stream is aborted this many seconds before Lambda's timeout
MOST_WAITING = 1 << 20  # bytes; beyond this backlog of a slow client, the gateway stops reading the model


class Pipe:
    """Passes bytes from a handler's thread to the event loop; it joins waiting parts, up to a bound.

    A head is `live` once its status must be sent: with the first part, or after too long a silence.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, deadline: float):
        self._loop = loop
        self._deadline = deadline
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._parts: deque[bytes] = deque()
        self._size = 0
        self._ready = asyncio.Event()
        self._woken = False  # the loop was notified of waiting parts
        self._silent = False
        self._head: Reply | StreamedReply | PendingReply | None = None
        self._live = False
        self._ended = False
        self._dropping = False

    # ------------------------------------------------------------------------------------------- the handler's thread
    def offer(self, head: Reply | StreamedReply | PendingReply) -> None:
        with self._lock:
            if self._live and isinstance(head, Reply):
                self._parts.append(head.body)  # the pending answer has begun already
            else:
                self._head = head
                self._live = self._live or isinstance(head, Reply)
            wake = self._must_wake()
        self._wake(wake)

    def fail(self, problem: Reply, last: bytes) -> None:
        """End with a problem: as its own status, or as the last part if another status was sent already."""
        with self._lock:
            if self._live:
                self._parts.append(last)
            else:
                self._head = problem
                self._live = True
            wake = self._must_wake()
        self._wake(wake)

    def put(self, part: bytes) -> None:
        """Pass a part on; wait while the buffer is full, but not beyond the time at which the call must settle."""
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
            with suppress(RuntimeError):  # the loop has ended, and with it the client
                self._loop.call_soon_threadsafe(self._ready.set)

    # ------------------------------------------------------------------------------------------------- the event loop
    async def take(self, seconds: float) -> tuple[Reply | StreamedReply | PendingReply | None, bytes, bool]:
        """The head if it is live, the waiting bytes, and whether they are the last. Raises TimeoutError."""
        # Not asyncio.wait_for: it makes a task for each wait, which is half the cost of an event.
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
        """The head of a silent answer, whose status cannot wait for the first part any longer.

        A pending answer waits while `patient`, since it may still become a problem with its own status.
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
        """Drop all bytes from now on: the client has disconnected."""
        with self._lock:
            self._dropping = True
            self._parts.clear()
            self._size = 0
            self._room.notify()

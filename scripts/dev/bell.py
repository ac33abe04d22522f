"""A bell that rings once and is safe in a signal handler: there an Event could wait for a lock held below it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable


class Bell:
    """Once rung, it stays rung. A poll over several descriptors can include its `fileno`."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()
        os.set_blocking(self._in, False)

    def ring_at(self, *signals: signal.Signals, then: Callable[[], None] = lambda: None) -> None:
        """Make these signals ring it, whichever thread they interrupt. Call it in the process's main thread."""

        def heard(*_: object) -> None:
            self.ring()
            then()

        signal.set_wakeup_fd(self._in, warn_on_full_buffer=False)
        for each in signals:
            signal.signal(each, heard)

    def ring(self) -> None:
        with contextlib.suppress(OSError):  # the pipe is full of earlier rings
            os.write(self._in, b"!")

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for at most `seconds`; returns whether it has rung."""
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        return bool(poll.poll(None if seconds is None else seconds * 1000))

    def fileno(self) -> int:
        return self._out

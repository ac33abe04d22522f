"""A bell that rings once, and may be rung in a signal handler: an Event would wait for a lock that is held below it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable


class Bell:
    """Rung, it stays so. Whoever polls other things as well polls `fileno`, too."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()
        os.set_blocking(self._in, False)

    def ring_at(self, *signals: signal.Signals, then: Callable[[], None] = lambda: None) -> None:
        """Have these signals ring it, whichever thread they interrupt. For the main thread of a process."""

        def heard(*_: object) -> None:
            self.ring()
            then()

        signal.set_wakeup_fd(self._in, warn_on_full_buffer=False)
        for each in signals:
            signal.signal(each, heard)

    def ring(self) -> None:
        with contextlib.suppress(OSError):  # full of earlier rings
            os.write(self._in, b"!")

    def wait(self, seconds: float | None = None) -> bool:
        """Wait so long at most; has it been rung?"""
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        return bool(poll.poll(None if seconds is None else seconds * 1000))

    def fileno(self) -> int:
        return self._out

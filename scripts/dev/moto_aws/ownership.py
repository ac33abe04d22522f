"""One embedded AWS for each data folder: two would write over each other's journals."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from pathlib import Path
from typing import IO

_POLITE = 3.0  # seconds until a SIGKILL follows


def take(data: Path) -> IO[str]:
    """Become the owner for as long as the file is open. One that a dead supervisor left behind is asked to leave."""
    (data / "aws").mkdir(parents=True, exist_ok=True)
    file = (data / "aws" / "lock").open("a+")
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            owner = file.read().strip()
            if owner.isdigit():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(owner), signal.SIGTERM if time.monotonic() - began < _POLITE else signal.SIGKILL)
            time.sleep(0.05)
        else:
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()))
            file.flush()
            return file


def dismiss(data: Path) -> None:
    """Have no owner, so that its port is free for the next one."""
    with take(data) as file:
        file.truncate(0)

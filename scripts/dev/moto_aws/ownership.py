"""Allows one embedded AWS per data folder: two would overwrite each other's journals."""

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
    """Own the folder as long as the file is open. Terminates an owner that a dead supervisor left behind."""
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
    """Terminate the owner, so that its port is free for the next one."""
    with take(data) as file:
        file.truncate(0)

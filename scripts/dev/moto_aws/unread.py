"""Warns of unreadable journal lines at the end of `make dev`'s start, since few developers read logs unprompted."""

from __future__ import annotations

import sys
import time
from pathlib import Path

_BEGAN = time.time()


def repeat_warnings(data: Path) -> None:
    """Warn of the lines found by this start only: earlier starts reported theirs."""
    for path in sorted((data / "aws").glob("*.unread")):
        if path.stat().st_mtime >= _BEGAN:
            print(f"some stored data cannot be read and is left out: see {path}", file=sys.stderr, flush=True)

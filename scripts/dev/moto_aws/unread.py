"""Tells whoever typed `make dev` what its journals could not read: nobody looks into a log unasked."""

from __future__ import annotations

import sys
import time
from pathlib import Path

_BEGAN = time.time()


def repeat_warnings(data: Path) -> None:
    """Once: what an earlier start put aside was said then."""
    for path in sorted((data / "aws").glob("*.unread")):
        if path.stat().st_mtime >= _BEGAN:
            print(f"some of what was kept cannot be read, and is not there: see {path}", file=sys.stderr, flush=True)

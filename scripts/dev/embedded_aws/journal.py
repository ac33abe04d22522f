"""A dictionary with a memory: each change is a line of a file, written before it counts."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


class Journal:
    """Values by key; None means there is no longer any.

    A line is `[key, value]`. Lines reach the operating system at once, so the death of this process loses none; that of
    the machine may lose the last.
    """

    def __init__(self, path: Path):
        self._path = path
        self._file: Any = None

    def open(self, keep: Callable[[Any], bool] = lambda _: True) -> dict[str, Any]:
        """What was written so far. The file is rewritten with just that, as far as `keep` wants it."""
        values: dict[str, Any] = {}
        if self._path.exists():
            with self._path.open("rb") as file:
                for line in file:
                    try:
                        key, value = json.loads(line, object_hook=_from_json)
                    except ValueError:
                        break  # the process died in the middle of its last line, which nobody was told of
                    if value is None:
                        values.pop(key, None)
                    else:
                        values[key] = value
        values = {key: value for key, value in values.items() if keep(value)}
        fresh = self._path.with_suffix(".new")
        fresh.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("wb") as file:
            for entry in values.items():
                file.write(_line(entry))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        self._file = self._path.open("ab", buffering=0)
        return values

    def write(self, changes: Iterable[tuple[str, Any]]) -> None:
        lines = b"".join(map(_line, changes))
        while lines:
            lines = lines[self._file.write(lines) :]


def _line(entry: tuple[str, Any]) -> bytes:
    return json.dumps(entry, default=_to_json, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _to_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    raise TypeError(type(value).__name__)


def _from_json(values: dict[str, Any]) -> Any:
    return base64.b64decode(values["$bytes"]) if values.keys() == {"$bytes"} else values

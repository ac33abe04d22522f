"""A durable dictionary: each change is a line of a file, written before it takes effect."""

from __future__ import annotations

import base64
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

logger = logging.getLogger(__name__)
_PIECE = 1 << 20


class Journal:
    """Values by key; None means that the key was deleted.

    A line is `[key, value]`, or a list of such pairs that take effect together or not at all. Lines reach the operating
    system at once, so a crash of this process loses none; a crash of the machine may lose the last. An unreadable line
    loses its own changes only.
    """

    def __init__(self, path: Path):
        self._path = path
        self._file: Any = None
        self._torn = False  # the file ends within a line

    def open(self, restore: Callable[[str, Any], bool]) -> None:
        """Pass each stored value to `restore`, and compact the file to the values for which it returns True.

        If the disk has no room for a second file, the journal continues with the first.
        """
        newest, unread = self._read()
        fresh = self._path.with_suffix(".new")
        fresh.parent.mkdir(parents=True, exist_ok=True)
        room = self._put_aside(unread)
        held = bytearray()
        with fresh.open("wb", buffering=0) as file:
            for key, line in newest.items():
                value = json.loads(line, object_hook=from_json)
                if restore(key, value):
                    held += _line([(key, value)])
                if len(held) > _PIECE:
                    room = room and _written(file, held)
                    held.clear()
            room = room and _written(file, held, to_disk=True)
        if room:
            fresh.replace(self._path)
        else:
            fresh.unlink(missing_ok=True)
            logger.warning("%s: the disk has no room to compact it", self._path)
        self._file = self._path.open("ab", buffering=0)
        self._torn = self._ends_in_a_line()

    def write(self, changes: Iterable[tuple[str, Any]]) -> None:
        """Write all of the changes, or raise OSError and write none."""
        entries = list(changes)
        if not entries:
            return
        before = os.fstat(self._file.fileno()).st_size
        line = (b"\n" if self._torn else b"") + _line(entries)
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError:
            self._cut(before)
            raise
        self._torn = False

    def _cut(self, size: int) -> None:
        """Remove a partial line; if that fails, the next write first ends this line."""
        try:
            os.ftruncate(self._file.fileno(), size)
        except OSError:
            self._torn = True

    # -------------------------------------------------------------------------------------------------- reading
    def _read(self) -> tuple[dict[str, bytes], list[bytes]]:
        """The newest value of each key, as JSON, and the unreadable lines."""
        newest: dict[str, bytes] = {}
        unread: list[bytes] = []
        if not self._path.exists():
            return newest, unread
        with self._path.open("rb") as file:
            for line in file:
                try:
                    entries = list(_entries(line))
                except (ValueError, TypeError, RecursionError):
                    unread.append(line)
                    continue
                for key, value in entries:
                    newest.pop(key, None)
                    if value is not None:
                        newest[key] = _json(value)
        return newest, unread

    def _put_aside(self, unread: list[bytes]) -> bool:
        """Save the unreadable lines, and log a warning. False if the disk has no room for them."""
        # The last line's request was never answered: the process died, or the disk was full, within it.
        lines = [line for line in unread if line.strip() and line.endswith(b"\n")]
        if not lines:
            return True
        aside = self._path.with_suffix(".unread")
        logger.warning(
            "%s: %d lines cannot be read. The stack lacks their changes; the lines are saved in %s", self._path,
            len(lines), aside.name,
        )  # fmt: skip
        with aside.open("ab", buffering=0) as file:
            return _written(file, b"".join(lines))

    def _ends_in_a_line(self) -> bool:
        with self._path.open("rb") as file:
            if not file.seek(0, os.SEEK_END):
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"


def _written(file: IO[bytes], content: bytes | bytearray, *, to_disk: bool = False) -> bool:
    try:
        while content:
            content = content[file.write(content) :]
        if to_disk:
            os.fsync(file.fileno())
    except OSError:
        return False
    return True


def _entries(line: bytes) -> Iterator[tuple[str, Any]]:
    """Raises ValueError, TypeError or RecursionError."""
    read = json.loads(line, object_hook=from_json)
    if not isinstance(read, list):
        raise TypeError(type(read).__name__)
    for entry in [read] if read and isinstance(read[0], str) else read:
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)):
            raise TypeError(type(entry).__name__)
        yield entry[0], entry[1]


def _line(entries: list[tuple[str, Any]]) -> bytes:
    return _json(entries[0] if len(entries) == 1 else entries) + b"\n"


def _json(value: Any) -> bytes:
    return json.dumps(value, default=to_json, separators=(",", ":"), ensure_ascii=False).encode()


def to_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    raise TypeError(type(value).__name__)


def from_json(values: dict[str, Any]) -> Any:
    return base64.b64decode(values["$bytes"]) if values.keys() == {"$bytes"} else values

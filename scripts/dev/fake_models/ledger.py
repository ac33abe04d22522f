"""The stand-in's ledger: a file with one line for each model call.

A line is written before the last byte of its answer, so a client with a complete answer finds the line.
"""

import json
import os
import sys
import tempfile
import threading
from array import array
from bisect import bisect_right
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any


@dataclass(slots=True)
class Usage:
    """Disjoint token counts of one call: cached tokens are not part of `input_tokens`."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0

    @property
    def cache_write_tokens(self) -> int:
        return self.cache_write_5m_tokens + self.cache_write_1h_tokens

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens


@dataclass(slots=True)
class Served:
    """One model call. `billed`: a model ran; `completed`: the whole answer was sent."""

    request_id: str
    operation: str
    model_id: str
    region: str | None = None
    status: int = 200
    error_type: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    images: int = 0
    image_class: str | None = None
    input_images: int = 0
    service_tier: str = "default"
    request_metadata: dict[str, str] | None = None
    guardrail: str | None = None  # id:version
    inference_component: str | None = None
    completed: bool = True
    billed: bool = False


COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "images",
    "input_images",
)


class Ledger:
    """An append-only list of served calls; a restart with the same file continues where it ended.

    Only the file has the lines; without a path it is temporary. A line that cannot be written raises OSError and does
    not exist. A line that cannot be read affects no other.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self._lock = threading.Lock()
        self._file: IO[bytes] = (
            tempfile.TemporaryFile(buffering=0) if path is None else Path(path).open("ab+", buffering=0)  # noqa: SIM115
        )
        self._numbers, self._places = array("Q"), array("Q")  # each line's number and offset
        self._seq = 0
        self._end = 0  # number of the last line
        if unread := self._read():
            print(f"{path}: skipped {unread} unreadable lines", file=sys.stderr, flush=True)

    def _read(self) -> int:
        """Find the lines of the file; returns the number of unreadable ones."""
        unread, at = 0, 0
        with open(self._file.fileno(), "rb", closefd=False) as lines:
            lines.seek(0)
            for line in lines:
                if line.endswith(b"\n"):  # no client has the answer of a partial line: its writer died
                    unread += not self._noted(line, at) and bool(line.strip())
                at += len(line)
        self._end = at
        if at and not line.endswith(b"\n"):
            self._cut(at - len(line))
        return unread

    def _noted(self, line: bytes, at: int) -> bool:
        try:
            seq = int(json.loads(line)["seq"])
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        if seq <= self._seq:
            return False
        self._numbers.append(seq)
        self._places.append(at)
        self._seq = seq
        return True

    def _cut(self, size: int) -> None:
        """Remove a partial line; if that fails, terminate it."""
        try:
            self._file.truncate(size)
            self._file.seek(size)
            self._end = size
        except OSError:
            self._end += self._file.write(b"\n")

    def append(self, served: Served) -> dict[str, Any]:
        """Number a call, write it, and return its line. Raises OSError."""
        record: dict[str, Any] = {"seq": 0, "at": datetime.now(UTC).isoformat(timespec="milliseconds")}
        record.update(asdict(served))
        with self._lock:
            record["seq"] = self._seq + 1
            line = left = json.dumps(record).encode() + b"\n"
            try:
                while left:
                    left = left[self._file.write(left) :]
            except OSError:
                self._cut(self._end)
                raise
            self._seq += 1
            self._numbers.append(self._seq)
            self._places.append(self._end)
            self._end += len(line)
        return record

    def after(self, seq: int = 0) -> list[dict[str, Any]]:
        """The lines with a number above `seq`."""
        with self._lock:
            first = bisect_right(self._numbers, seq)
            places = self._places[first:]
            if not places:
                return []
            content = os.pread(self._file.fileno(), self._end - places[0], places[0])
        return [json.loads(content[place - places[0] : content.index(b"\n", place - places[0])]) for place in places]

    def summary(self) -> dict[str, dict[str, int]]:
        """The billed totals by model id, and the number of unbilled calls."""
        totals: dict[str, dict[str, int]] = {}
        for record in self.after():
            total = totals.setdefault(record["model_id"], dict.fromkeys(("calls", "billed", "refused", *COUNTS), 0))
            total["calls"] += 1
            total["billed"] += record["billed"]
            total["refused"] += record["status"] >= 400
            for count in COUNTS:
                total[count] += record[count] if record["billed"] else 0
        return totals

    def clear(self) -> None:
        """Delete every line; the numbering continues, so that a reader's `after` stays valid."""
        with self._lock:
            self._file.truncate(0)
            self._file.seek(0)
            self._end = 0
            del self._numbers[:], self._places[:]

    def close(self) -> None:
        """Close the file; every line was written before."""
        with self._lock:
            self._file.close()

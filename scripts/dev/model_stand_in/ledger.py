"""What the stand-in served: one line for each model call, kept in memory and appended to a file.

A line is written before the last byte of its answer, so a client that has its answer finds the line.
"""

import json
import threading
from bisect import bisect_right
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, TextIO


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
    """One model call as the stand-in saw it; `billed` says that a model ran, `completed` that its answer got away."""

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
    """An append-only list of served calls; a restart with the same file goes on where it ended."""

    def __init__(self, path: Path | str | None = None) -> None:
        self._lock = threading.Lock()
        self._records: list[dict[str, Any]] = []
        self._file: TextIO | None = None
        if path is not None:
            self._file = Path(path).open("a+", encoding="utf-8")  # noqa: SIM115 (open as long as the ledger)
            self._file.seek(0)
            self._records = [json.loads(line) for line in self._file if line.strip()]
        self._seq = self._records[-1]["seq"] if self._records else 0

    def append(self, served: Served) -> dict[str, Any]:
        """Number a call, write it down, and answer its line."""
        record: dict[str, Any] = {"seq": 0, "at": datetime.now(UTC).isoformat(timespec="milliseconds")}
        record.update(asdict(served))
        with self._lock:
            self._seq += 1
            record["seq"] = self._seq
            self._records.append(record)
            if self._file is not None:
                self._file.write(json.dumps(record) + "\n")
                self._file.flush()
        return record

    def after(self, seq: int = 0) -> list[dict[str, Any]]:
        """The lines with a higher number than `seq`."""
        with self._lock:
            return self._records[bisect_right(self._records, seq, key=itemgetter("seq")) :]

    def summary(self) -> dict[str, dict[str, int]]:
        """Totals by model id of what was billed, and how many calls were not."""
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
        """Forget every line; numbers go on, so that a reader's `after` stays right."""
        with self._lock:
            self._records.clear()
            if self._file is not None:
                self._file.truncate(0)

    def close(self) -> None:
        """Close the file; nothing is lost, every line was flushed."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

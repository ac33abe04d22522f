"""The usage files of the lake: how an hour is divided into files, their keys, and their digests."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from gateway.core.times import hour_of
from gateway.costs.cost_lines import CostsDoNotMatch
from gateway.costs.periods import HOUR, start_of
from gateway.usage.ledger import SHARDS, Partition

# Athena reads files of 64 to 256 MB best: a larger hour is divided into several files.
LARGEST_FILE = 256 * 10**6


@dataclass(frozen=True)
class UsageFile:
    """A file with the usage of an hour, or of every `parts`-th shard of that hour, starting with shard `part`."""

    hour: str
    part: int = 0
    parts: int = 1

    @property
    def place(self) -> str:
        return f"dt={self.hour[:10]}/hour={self.hour[11:]}/part-{self.part:02}-of-{self.parts:02}.parquet"

    @property
    def key(self) -> str:
        return f"usage/{self.place}"

    @classmethod
    def at(cls, key: str) -> UsageFile | None:
        """The file with this key; None if the key is not that of a usage file."""
        found = _USAGE_KEY.fullmatch(key)
        return cls(f"{found[1]}T{found[2]}", int(found[3]), int(found[4])) if found else None

    def partitions(self) -> Iterator[Partition]:
        return (Partition(self.hour, shard) for shard in range(self.part, SHARDS, self.parts))


_USAGE_KEY = re.compile(r"usage/dt=([0-9-]{10})/hour=([01][0-9]|2[0-3])/part-([0-9]{2})-of-([0-9]{2})\.parquet")
# Until 2026-11-25 each shard of an hour had its own file, named by the shard's number alone.
_OLDER_KEY = re.compile(r"usage/dt=([0-9-]{10})/hour=([01][0-9]|2[0-3])/part-([0-9]{2})\.parquet")


def older_hour(key: str) -> str | None:
    """The hour of a usage file of the older layout; None for any other key."""
    found = _OLDER_KEY.fullmatch(key)
    return f"{found[1]}T{found[2]}" if found else None


NOTHING = "-"  # the digest of an hour, or a day, without files


def file_digest(key: str, etag: str) -> str:
    """The digest of one version of a file of the lake."""
    return hashlib.sha256(f"{key} {etag.strip(chr(34))}".encode()).hexdigest()[:16]


def digest_of(files: Mapping[str, str]) -> str:
    """One digest of several files, from their keys and ETags."""
    return joined(file_digest(key, etag) for key, etag in files.items())


def joined(digests: Iterable[str]) -> str:
    """One digest of several files, from the digest of each."""
    some = sorted(digest for digest in digests if digest != NOTHING)
    if len(some) < 2:
        return some[0] if some else NOTHING
    return hashlib.sha256(" ".join(some).encode()).hexdigest()[:16]


class Layout(Protocol):
    """The record of how each hour is divided into files. Implemented by `gateway.aws.dynamodb.periods`."""

    def files(self, hour: str, wanted: int) -> int:
        """The number of files of an hour. The first `wanted` is final: under another division a row would be in two."""


def usage_files(hours: Iterable[str], layout: Layout, sizes: Callable[[str], Mapping[str, int]]) -> list[UsageFile]:
    """The files of these hours, none much larger than LARGEST_FILE.

    An hour's size is estimated from the hour before it and the same hour of the day before. An hour that is already in
    the lake keeps its division. `sizes` returns the bytes of a day's files, by key.
    """
    days: dict[str, dict[str, dict[UsageFile, int]]] = {}

    def files_of(hour: str) -> dict[UsageFile, int]:
        day = hour[:10]
        if day not in days:
            days[day] = defaultdict(dict)
            for key, size in sizes(day).items():
                if file := UsageFile.at(key):
                    days[day][file.hour][file] = size
        return days[day].get(hour, {})

    files = []
    for hour in hours:
        similar_hours = [hour_of(start_of(hour) - ago) for ago in (HOUR, timedelta(days=1))]
        largest = max(sum(files_of(other).values()) for other in similar_hours)
        parts = layout.files(hour, min((file.parts for file in files_of(hour)), default=_parts(largest)))
        files += [UsageFile(hour, part, parts) for part in range(parts)]
    return files


def check_division(day: str, keys: Iterable[str]) -> None:
    """Check that all usage files of an hour belong to one division; otherwise rows would be summed twice.

    Raises CostsDoNotMatch.
    """
    parts: dict[str, int] = {}  # of each hour, from its first file
    mismatches = []
    for key in sorted(keys):
        hour, of = older_hour(key), 0
        if file := UsageFile.at(key):
            hour, of = file.hour, file.parts
        if hour is None or parts.setdefault(hour, of) != of:
            mismatches.append(f"{key} does not match the layout of the hour's other usage files")
    if mismatches:
        raise CostsDoNotMatch(day, mismatches)


def _parts(size: int) -> int:
    parts = 1
    while size > parts * LARGEST_FILE and parts < SHARDS:
        parts *= 2
    return parts

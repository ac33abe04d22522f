"""S3: objects are plain files, so that every Parquet reader can read the lake."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote
from xml.etree import ElementTree

from moto.s3.models import FakeKey, S3Backend, s3_backends

from scripts.project import template

_LAKE = "LakeBucket"
_SAFE = "=+-_.~@,:;!()'& "
_EMPTY = "%"  # the file name for an empty part of a key, as in `a//b`


class Objects:
    """The objects of all buckets, each in its file."""

    def __init__(self, data: Path):
        self.lock = threading.RLock()
        self._data = data
        self._unfinished = data / "aws" / "unfinished"
        self._backend: S3Backend = s3_backends[template.ACCOUNT]["aws"]
        self._folders: dict[str, Path] = {}

    def load(self, buckets: list[template.Bucket], region: str) -> None:
        """Create the buckets and load the files of their folders into them."""
        self._unfinished.mkdir(parents=True, exist_ok=True)
        for left_over in self._unfinished.iterdir():
            left_over.unlink()
        for bucket in buckets:
            folder = self._data / "lake" if bucket.logical_id == _LAKE else self._data / "s3" / bucket.name
            folder.mkdir(parents=True, exist_ok=True)
            self._folders[bucket.name] = folder
            self._backend.create_bucket(bucket.name, region)
            if bucket.versioned:
                self._backend.put_bucket_versioning(bucket.name, "Enabled")
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    key = self._backend.put_object(bucket.name, _key(path.relative_to(folder)), path.read_bytes())
                    key.last_modified = datetime.fromtimestamp(path.stat().st_mtime, UTC).replace(tzinfo=None)

    @contextlib.contextmanager
    def request(self, method: str, path: str, query: str, body: bytes) -> Iterator[None]:
        """Hold the lock on the objects. A request whose files cannot be written is rolled back."""
        with self.lock:
            try:
                yield
            except BaseException:
                bucket, names = _named(method, path, query, body)
                for name in names:
                    self._take_back(bucket, name)
                raise

    def _take_back(self, bucket: str, name: str) -> None:
        """Load an object from its file."""
        if (folder := self._folders.get(bucket)) is None:
            return
        path, keys = folder / _path(name), self._backend.buckets[bucket].keys
        if path.is_file():
            self._backend.put_object(bucket, name, path.read_bytes())
        elif name in keys:
            keys.pop(name)

    def written(self, method: str, path: str, query: str, body: bytes) -> None:
        """Write the objects that a successful request changed. Called within `request`. Raises OSError."""
        bucket, names = _named(method, path, query, body)
        if (folder := self._folders.get(bucket)) is not None:
            for name in names:
                self._match(folder, bucket, name)

    def _match(self, folder: Path, bucket: str, name: str) -> None:
        path = folder / _path(name)
        found = self._backend.buckets[bucket].keys.get(name)
        if not isinstance(found, FakeKey):
            path.unlink(missing_ok=True)
            return
        # A concurrent reader sees the old file or the new one.
        unfinished = self._unfinished / uuid.uuid4().hex
        try:
            unfinished.write_bytes(found.value)
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(unfinished, path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise


def _named(method: str, path: str, query: str, body: bytes) -> tuple[str, list[str]]:
    """The bucket of a request, and the objects that the request may change."""
    bucket, _, key = unquote(path.lstrip("/")).partition("/")
    if "partNumber=" in query:
        return bucket, []
    if key:
        return bucket, [key]
    return bucket, list(_named_in(body)) if method == "POST" and re.match(r"(.*&)?delete\b", query) else []


def _path(key: str) -> Path:
    """A path for a key: unchanged if a file system allows it, else escaped."""
    return Path(*(_segment(part) for part in key.split("/")))


def _segment(part: str) -> str:
    if not part:
        return _EMPTY
    return part.replace(".", "%2E") if part in {".", ".."} else quote(part, safe=_SAFE)


def _key(path: Path) -> str:
    return "/".join("" if part == _EMPTY else unquote(part) for part in path.parts)


def _named_in(body: bytes) -> Iterator[str]:
    """The keys of a DeleteObjects request."""
    for element in ElementTree.fromstring(body).iter():
        if element.tag.rpartition("}")[2] == "Key" and element.text:
            yield element.text

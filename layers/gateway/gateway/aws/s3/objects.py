"""A store of files: lists them, reads ranges, and replaces a file only if it is unchanged since it was read."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any, BinaryIO, Protocol, cast

from botocore.exceptions import ClientError

from gateway.aws.clients import client

ATTEMPTS = 5
AT_ONCE = 32 * 2**20  # bytes of an object that one request reads


class Overtaken(Exception):
    """Other runs keep writing the same file; retry later."""

    def __init__(self, key: str):
        super().__init__(f"{key} is being written by another run")


class Unreachable(Exception):
    """A file could not be fetched; its content may be fine."""


class Objects(Protocol):
    """The store of files that the lake needs."""

    def list(self, prefix: str) -> dict[str, str]:
        """Keys and their ETags, sorted by key."""

    def open(self, key: str) -> BinaryIO:
        """Open a file for reading; a large one is fetched in ranges, as it is read."""

    def put(self, key: str, parts: Iterable[bytes], replaces: str | None) -> bool:
        """Write a file, replacing the version with this ETag (None: a new file); False if there is another by now."""

    def delete(self, key: str) -> None: ...


class S3Objects:
    """A bucket."""

    def __init__(self, bucket: str):
        self._bucket = bucket
        self._s3 = client("s3")

    def list(self, prefix: str) -> dict[str, str]:
        return {entry["Key"]: entry["ETag"] for entry in self._entries(prefix)}

    def sizes(self, prefix: str) -> dict[str, int]:
        """Keys and their files' sizes in bytes."""
        return {entry["Key"]: entry["Size"] for entry in self._entries(prefix)}

    def _entries(self, prefix: str) -> Iterator[dict[str, Any]]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        return (entry for page in pages for entry in page.get("Contents", ()))

    def open(self, key: str) -> BinaryIO:
        found = self._s3.get_object(Bucket=self._bucket, Key=key)
        if found["ContentLength"] <= AT_ONCE:
            return io.BytesIO(found["Body"].read())
        found["Body"].close()
        return cast(BinaryIO, _Ranges(self._s3, self._bucket, key, found["ETag"], found["ContentLength"]))

    def put(self, key: str, parts: Iterable[bytes], replaces: str | None) -> bool:
        condition = {"IfMatch": replaces} if replaces else {"IfNoneMatch": "*"}
        place = {"Bucket": self._bucket, "Key": key}
        coming = iter(parts)
        first = next(coming)
        second = next(coming, None)
        try:
            if second is None:
                self._s3.put_object(**place, Body=first, **condition)
            else:
                self._upload(place, chain([first, second], coming), condition)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}:
                return False
            raise
        return True

    def delete(self, key: str) -> None:
        self._s3.delete_object(Bucket=self._bucket, Key=key)

    def _upload(self, place: dict[str, str], parts: Iterable[bytes], condition: dict[str, str]) -> None:
        """Upload a file too large for memory in parts; S3 shows nothing of it before the last request."""
        upload = place | {"UploadId": self._s3.create_multipart_upload(**place)["UploadId"]}
        try:
            done = [
                {"PartNumber": n, "ETag": self._s3.upload_part(**upload, PartNumber=n, Body=part)["ETag"]}
                for n, part in enumerate(parts, start=1)
            ]
            self._s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": done}, **condition)
        except BaseException:
            self._s3.abort_multipart_upload(**upload)
            raise


class _Ranges(io.RawIOBase):
    """A large object, read in ranges; a range of another version raises an error."""

    def __init__(self, s3: Any, bucket: str, key: str, etag: str, size: int):
        self._get = partial(s3.get_object, Bucket=bucket, Key=key, IfMatch=etag)
        self._size, self._at = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._at + size, self._size)
        if end <= self._at:
            return b""
        try:
            content: bytes = self._get(Range=f"bytes={self._at}-{end - 1}")["Body"].read()
        except OSError as error:
            raise Unreachable(str(error)) from error
        self._at = end
        return content


def replace_file(objects: Objects, key: str, make: Callable[[bytes], bytes]) -> None:
    """Replace a small file by `make` of its content (empty if there is no file); an unchanged file is not written."""
    for _ in range(ATTEMPTS):
        replaces = objects.list(key).get(key)
        held = b""
        if replaces:
            with objects.open(key) as file:
                held = file.read()
        content = make(held)
        if content in (b"", held) or objects.put(key, [content], replaces):
            return
    raise Overtaken(key)

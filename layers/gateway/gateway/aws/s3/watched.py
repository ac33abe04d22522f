"""An S3 object that operators may replace: read again from time to time; the last good version stays in use."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from gateway.aws.clients import client
from gateway.core.telemetry import logger

FRESH = 300.0  # seconds before a call checks again
T = TypeVar("T")


class Unreadable(Exception):
    """The object cannot be read, and no earlier version may replace it; the message has its URI and the reason."""

    def __init__(self, uri: str, reason: str):
        super().__init__(f"{uri} cannot be read: {reason}")


class Watched(Generic[T]):
    """One object of S3, parsed again only if its ETag has changed.

    `read` parses its text, or raises ValueError. `complaint` is the name of the log event if that fails.
    """

    def __init__(self, uri: str, read: Callable[[str], T], complaint: str):
        self.uri = uri
        parts = urlsplit(uri)
        self._bucket, self._key = parts.netloc, parts.path.lstrip("/")
        self._read, self._complaint = read, complaint
        self._etag = ""
        self._asked = float("-inf")
        self._held: list[T] = []  # at most one

    def get(self, max_age: float = FRESH) -> T:
        """The object's parsed content, at most `max_age` seconds old; 0 reads it now.

        If reading fails: raises Unreadable if it was never read, or if `max_age` is 0. Otherwise the last good version
        stays in use until the object can be read again.
        """
        now = time.monotonic()
        if not self._held or now - self._asked >= max_age:
            try:
                self._refresh()
            except (ClientError, BotoCoreError, ValueError) as error:
                # The reason may quote the object, which only its owners may see: log it, never return it to a caller.
                logger().error(self._complaint, extra={"reason": str(error)})
                if not self._held or max_age <= 0:
                    raise Unreadable(self.uri, str(error)) from error
            self._asked = now
        return self._held[0]

    def _refresh(self) -> None:
        condition = {"IfNoneMatch": self._etag} if self._etag else {}
        try:
            found = client("s3").get_object(Bucket=self._bucket, Key=self._key, **condition)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 304:
                return
            raise
        self._held = [self._read(found["Body"].read().decode("utf-8-sig"))]
        self._etag = found["ETag"]

"""An object of S3 that operators replace: read again from time to time, and what was good stays while it is not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from gateway.aws.clients import client
from gateway.core.telemetry import logger

FRESH = 300.0  # seconds for which a call need not ask again
T = TypeVar("T")


class Unreadable(Exception):
    """The object cannot be read, and nothing that was read before may stand in for it; which, and why."""

    def __init__(self, uri: str, reason: str):
        super().__init__(f"{uri} cannot be read: {reason}")


class Watched(Generic[T]):
    """One object of S3, parsed again only when its ETag is another.

    `read` makes of its text what it says, or raises ValueError. `complaint` names the fault in the log.
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
        """What the object says, or said at most `max_age` seconds ago; 0 asks for it as it is now.

        Raises Unreadable where it was never read, or where `max_age` is 0. Otherwise what was read before goes on to
        count until the object can be read again.
        """
        now = time.monotonic()
        if not self._held or now - self._asked >= max_age:
            try:
                self._refresh()
            except (ClientError, BotoCoreError, ValueError) as error:
                # What the object says is for its owners alone: it goes to the log, never to a caller.
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

"""The price book in force: the shipped list, and over it the private overlay, an object in S3."""

from __future__ import annotations

import time
from functools import cache
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from gateway.aws.clients import client
from gateway.errors import GatewayError
from gateway.pricing import PriceBook, price_book, read_overlay
from gateway.settings import settings
from gateway.telemetry import logger

FRESH = 300.0  # seconds for which a call need not ask again


class PricesUnavailable(GatewayError):
    """The overlay is configured, and cannot be read: no price is right without it."""

    status = 503
    code = "prices_unavailable"


def current_book(max_age: float = FRESH) -> PriceBook:
    """The book to price with. Nothing is read from S3 where no overlay is configured.

    `max_age` is in seconds. 0 asks for the overlay as it is now, and raises PricesUnavailable where that cannot be had:
    for what finance reads. Otherwise what was read before goes on to count until the overlay can be read again.
    """
    where = settings().price_overlay
    return _overlay(where).book(max_age) if where else price_book()


class Overlay:
    """One object of S3, parsed again only when its ETag is another."""

    def __init__(self, uri: str):
        parts = urlsplit(uri)
        self._bucket, self._key = parts.netloc, parts.path.lstrip("/")
        self._etag = ""
        self._asked = float("-inf")
        self._book: PriceBook | None = None

    def book(self, max_age: float) -> PriceBook:
        now = time.monotonic()
        if self._book is None or now - self._asked >= max_age:
            try:
                self._refresh()
            except (ClientError, BotoCoreError, ValueError) as error:
                # What the overlay says is for its owners alone: it goes to the log, never to a caller.
                logger().error("price_overlay_unreadable", extra={"reason": str(error)})
                if self._book is None or max_age <= 0:
                    raise PricesUnavailable("The prices cannot be read at the moment. Try again later.") from error
            self._asked = now
        return self._book or price_book()

    def _refresh(self) -> None:
        condition = {"IfNoneMatch": self._etag} if self._etag else {}
        try:
            found = client("s3").get_object(Bucket=self._bucket, Key=self._key, **condition)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 304:
                return
            raise
        text = found["Body"].read().decode("utf-8-sig")
        self._book = price_book().with_overlay(read_overlay(text.splitlines()))
        self._etag = found["ETag"]


@cache
def _overlay(uri: str) -> Overlay:
    return Overlay(uri)

"""The current price book: the shipped list, overridden by the private overlay, an object in S3."""

from __future__ import annotations

from functools import cache

from gateway.aws.s3.watched import FRESH, Unreadable, Watched
from gateway.core.errors import GatewayError
from gateway.core.settings import settings
from gateway.pricing.price_book import PriceBook
from gateway.pricing.price_csv import price_book, read_overlay


class PricesUnavailable(GatewayError):
    """The configured overlay cannot be read, and without it prices would be wrong.

    `str()` gives the object and the reason, for the operators of a failed run; the client's message has neither.
    """

    status = 503
    code = "prices_unavailable"

    def __init__(self, why: str):
        super().__init__("The prices cannot be read at the moment. Try again later.")
        self.why = why

    def __str__(self) -> str:
        return f"{self.why}. Prices would be wrong without it: correct it, and the next run continues."


def current_book(max_age: float = FRESH) -> PriceBook:
    """The book to price with. Without a configured overlay, nothing is read from S3.

    `max_age` is in seconds. With 0, for finance's figures, the overlay is read now, and PricesUnavailable is raised if
    that fails. Otherwise the last readable version stays in use until the overlay can be read again.
    """
    where = settings().price_overlay
    if not where:
        return price_book()
    try:
        return _overlay(where).get(max_age)
    except Unreadable as error:
        raise PricesUnavailable(str(error)) from error


@cache
def _overlay(uri: str) -> Watched[PriceBook]:
    return Watched(uri, _over_the_list, "price_overlay_unreadable")


def _over_the_list(text: str) -> PriceBook:
    return price_book().with_overlay(read_overlay(text.splitlines()))

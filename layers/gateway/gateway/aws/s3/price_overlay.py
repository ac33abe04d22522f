"""The price book in force: the shipped list, and over it the private overlay, an object in S3."""

from __future__ import annotations

from functools import cache

from gateway.aws.s3.watched import FRESH, Unreadable, Watched
from gateway.core.errors import GatewayError
from gateway.core.settings import settings
from gateway.pricing.price_book import PriceBook
from gateway.pricing.price_csv import price_book, read_overlay


class PricesUnavailable(GatewayError):
    """The overlay is configured, and cannot be read: no price is right without it.

    As text it names the object and the reason, for the operators of a run that fails by it; a client is told neither.
    """

    status = 503
    code = "prices_unavailable"

    def __init__(self, why: str):
        super().__init__("The prices cannot be read at the moment. Try again later.")
        self.why = why

    def __str__(self) -> str:
        return f"{self.why}. No price is right without it: correct it, and the next run goes on."


def current_book(max_age: float = FRESH) -> PriceBook:
    """The book to price with. Nothing is read from S3 where no overlay is configured.

    `max_age` is in seconds. 0 asks for the overlay as it is now, and raises PricesUnavailable where that cannot be had:
    for what finance reads. Otherwise what was read before goes on to count until the overlay can be read again.
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

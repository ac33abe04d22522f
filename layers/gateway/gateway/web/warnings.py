"""The header that names what of a request was ignored or adapted, and changed neither its price nor its safety."""

from __future__ import annotations

from collections.abc import Iterable

HEADER = "x-gateway-warning"
_LONGEST = 2000  # characters; API Gateway takes 10,240 of headers in all


def warned(warnings: Iterable[str]) -> dict[str, str]:
    """The header, in plain ASCII, since a warning may repeat a name that a client chose; nothing for no warning."""
    told = "; ".join(dict.fromkeys(warnings))[:_LONGEST]
    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in told)
    return {HEADER: plain} if plain else {}

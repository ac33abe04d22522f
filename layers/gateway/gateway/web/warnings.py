"""The header for ignored or adapted parts of a request, which changed neither its price nor its safety."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

HEADER = "x-gateway-warning"
_LONGEST = 2000  # characters; API Gateway accepts 10,240 for all headers


def also_warned(headers: Mapping[str, str], warnings: Iterable[str]) -> dict[str, str]:
    """The headers of an answer, with more warnings beside those that they have."""
    return {**headers, **warned([*filter(None, [headers.get(HEADER)]), *warnings])}


def warned(warnings: Iterable[str]) -> dict[str, str]:
    """The header, in plain ASCII, since a warning may repeat a client's name; empty without warnings."""
    told = "; ".join(dict.fromkeys(warnings))[:_LONGEST]
    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in told)
    return {HEADER: plain} if plain else {}

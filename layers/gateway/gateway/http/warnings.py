"""The header that names what of a request was ignored or adapted, and changed neither its price nor its safety."""

from __future__ import annotations

from collections.abc import Iterable

WARNING = "x-gateway-warning"
_MOST = 2000  # letters; API Gateway takes 10,240 of headers in all


def warning(warnings: Iterable[str]) -> str:
    """The header's text, each warning once; empty where there are none. Names that a client sent may be in it."""
    said = "; ".join(dict.fromkeys(warnings))[:_MOST]
    return "".join(letter if " " <= letter <= "~" else "?" for letter in said)

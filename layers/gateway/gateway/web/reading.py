"""Parses client input in one place for every route: the JSON body, and headers that have two spellings.

Python's parser accepts more than JSON, and deeper nesting than its serializer can write. This module accepts JSON that
every service accepts, and refuses anything else with a 400 that states the reason:

    bytes         UTF-8, with or without a byte order mark
    depth         at most MOST_LEVELS nested arrays and objects
    numbers       no NaN, no Infinity, and no number that overflows to one
    text          no unpaired surrogate: it is not Unicode, and UTF-8 cannot encode it
    double names  the last one counts, here and for the model, since the gateway serializes the body again
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from math import isfinite
from typing import Any, NoReturn

from gateway.core.errors import BadRequestError

MOST_LEVELS = 128  # a handwritten schema has ten or twenty; code that walks a body makes three calls a level
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
# A bracket, or a string, complete or not: the pattern never backtracks, however malformed the text is.
_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{\]}]', re.DOTALL)


def read_json(sent: bytes | str) -> Any:
    """A body as plain JSON values. Raises BadRequestError."""
    try:
        text = (sent.encode() if isinstance(sent, str) else sent).decode("utf-8-sig")
    except UnicodeError as error:
        raise BadRequestError("The body must be JSON in UTF-8.", code="invalid_body") from error
    if _is_deep(text):
        raise BadRequestError(
            f"The body nests arrays and objects more than {MOST_LEVELS} levels deep. Send fewer levels.",
            code="body_too_deep",
        )
    try:
        read = json.loads(text, parse_constant=_no_number, parse_float=_number)
        if _HALF_PAIR.search(text):
            json.dumps(read, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BadRequestError(
            "The body has an unpaired surrogate, which is not valid Unicode.", code="invalid_body"
        ) from error
    except ValueError as error:
        raise BadRequestError("The body must be JSON.", code="invalid_body") from error
    return read


def _is_deep(text: str) -> bool:
    """Is it nested too deeply? It scans only a text with that many brackets."""
    if text.count("[") + text.count("{") <= MOST_LEVELS:
        return False
    level = 0
    for match in _BRACKETS.finditer(text):
        first = match[0][0]
        if first in "[{":
            level += 1
            if level > MOST_LEVELS:
                return True
        elif first in "]}":
            level -= 1
    return False


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _number(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError("number out of range")
    return number


def either_form(header: Callable[[str], str | None], name: str) -> str | None:
    """A header by its name, with `_` or with `-`, since some proxies drop names with `_`.

    Raises BadRequestError if both came with different values: neither may win silently.
    """
    hyphened = name.replace("_", "-")
    plain, other = header(name), header(hyphened)
    if plain and other and plain != other:
        message = f"The headers {name} and {hyphened} have different values. Send only one of them."
        raise BadRequestError(message, code="headers_disagree")
    return plain or other

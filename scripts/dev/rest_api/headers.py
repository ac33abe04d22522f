"""Headers between a client and a Lambda function: passed on, dropped or renamed.

The rules are from the API Gateway Developer Guide, *Amazon API Gateway important notes*, REST APIs. Its table has a
rule for each header, direction and kind of integration; this module has Lambda's column.
"""

from __future__ import annotations

from collections.abc import Iterable

Headers = list[tuple[str, str]]

REMAPPED = "X-Amzn-Remapped-"
CHUNKED = "transfer-encoding"  # to a function: raises an exception
NOT_TO_A_FUNCTION = {
    "connection", "content-md5", "expect", "max-forwards", "proxy-authenticate", "server", "te", "trailer", "upgrade",
    "www-authenticate",
}  # fmt: skip
NOT_FROM_A_FUNCTION = {
    "expect", "host", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade", "via",
}  # fmt: skip
RENAMED_FROM_A_FUNCTION = {
    "authorization", "connection", "content-md5", "date", "max-forwards", "server", "user-agent", "www-authenticate",
}  # fmt: skip
_SIGNATURE = "AWS4-HMAC-SHA256"


def to_function(headers: Iterable[tuple[str, str]], by_iam: bool) -> Headers:
    """The headers of a request that reach a function. `by_iam`: its method has the authorization AWS_IAM."""

    def passes(name: str, value: str) -> bool:
        if name == "authorization":
            return not by_iam and not value.startswith(_SIGNATURE)
        return name not in NOT_TO_A_FUNCTION

    return [(name, value) for name, value in headers if passes(name.lower(), value)]


def from_function(headers: Iterable[tuple[str, str]]) -> Headers:
    """The headers of a function's response as a client gets them. API Gateway adds its own length and date."""
    return [
        (f"{REMAPPED}{name}" if name.lower() in RENAMED_FROM_A_FUNCTION else name, value)
        for name, value in headers
        if name.lower() not in NOT_FROM_A_FUNCTION
    ]

"""Who may call: the authorizers of the spec, and the usage plans that throttle.

A kind of authorizer is one entry of `AUTHORIZERS`: it gets the call and either fills in what the function will see of
the caller, or refuses with the name of a gateway response.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from scripts.dev.events import Call, authorizer_event
from scripts.dev.routes import Authorizer
from scripts.dev.template import UsagePlanKey
from scripts.dev.workers import FunctionHost, StillRunning

_PATIENCE = 29.0  # API Gateway's, for an authorizer


class Refused(Exception):
    """The gateway answers by itself, with the gateway response of this kind."""

    def __init__(self, kind: str):
        super().__init__(kind)
        self.kind = kind


Authorize = Callable[[Call, Authorizer, FunctionHost], "str | None"]


def ask_function(call: Call, authorizer: Authorizer, functions: FunctionHost) -> str | None:
    """A Lambda authorizer of type REQUEST. Gives the usage identifier key, if there is one.

    Results are not cached, whatever the spec's TTL says.
    """
    for source in authorizer.identity_sources:
        if source.startswith("method.request.header.") and not call.request.header(source.rpartition(".")[2]):
            raise Refused("UNAUTHORIZED")
    if authorizer.function is None:
        raise Refused("AUTHORIZER_CONFIGURATION_ERROR")
    began = time.monotonic()
    try:
        outcome = functions.invoke(authorizer.function, authorizer_event(call), _PATIENCE)
    except (StillRunning, KeyError):
        raise Refused("AUTHORIZER_FAILURE") from None
    answer = json.loads(outcome.payload)
    if outcome.failed:
        raise Refused("UNAUTHORIZED" if answer.get("errorMessage") == "Unauthorized" else "AUTHORIZER_FAILURE")
    try:
        principal, statements = answer["principalId"], answer["policyDocument"]["Statement"]
        context = {name: _flat(value) for name, value in (answer.get("context") or {}).items()}
        allowed = allows(statements if isinstance(statements, list) else [statements], call.method_arn)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Refused("AUTHORIZER_CONFIGURATION_ERROR") from None
    latency = int((time.monotonic() - began) * 1000)
    call.authorizer = context | {"principalId": principal, "integrationLatency": latency}
    if not allowed:
        raise Refused("ACCESS_DENIED")
    usage_key: str | None = answer.get("usageIdentifierKey")
    return usage_key


AUTHORIZERS: dict[str, Authorize] = {"request": ask_function}


def _flat(value: Any) -> str:
    """API Gateway hands on texts, numbers and booleans, all of them as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise TypeError("a value of the context is neither text nor number nor boolean")


def allows(statements: list[Mapping[str, Any]], method_arn: str) -> bool:
    """Does a policy let this method be called? A deny wins; silence denies."""
    effects = {
        statement["Effect"]
        for statement in statements
        if _matches(statement["Action"], "execute-api:Invoke") and _matches(statement["Resource"], method_arn)
    }
    return "Allow" in effects and "Deny" not in effects


def _matches(patterns: str | list[str], text: str) -> bool:
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        expression = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)
        if re.fullmatch(expression, text):
            return True
    return False


class TokenBucket:
    """So many requests a second, so many at once."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic):
        self._rate, self._burst, self._clock = rate, burst, clock
        self._tokens, self._at = float(burst), clock()
        self._lock = threading.Lock()

    def take(self) -> bool:
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
            self._at = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


class UsagePlans:
    """The API keys of the template, and how fast each may call."""

    def __init__(self, keys: list[UsagePlanKey]):
        self._keys = {key.value: key for key in keys}
        self._buckets = {key.key_id: TokenBucket(key.rate, key.burst) for key in keys if key.rate is not None}

    def identify(self, call: Call, value: str | None) -> None:
        """Note whose plan the call counts for. Raises Refused for a key that is in none."""
        key = self._keys.get(value or "")
        if key is None:
            raise Refused("INVALID_API_KEY")
        call.api_key_id, call.api_key = key.key_id, key.value

    def throttle(self, call: Call) -> None:
        bucket = self._buckets.get(call.api_key_id or "")
        if bucket is not None and not bucket.take():
            raise Refused("THROTTLED")

"""The authorizers of the spec, and the usage plans that throttle.

Each kind of authorizer is one entry of `authorizers`. It gets the call, and either sets the function's view of the
caller or refuses with the name of a gateway response.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import string
import threading
import time
from calendar import timegm
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from scripts.dev.api_gateway.events import Call, authorizer_event
from scripts.dev.api_gateway.routes import Authorizer
from scripts.dev.lambda_runtime.pool import FunctionHost, StillRunning
from scripts.project.template import ACCOUNT, PARTITION, UsagePlanKey

_PATIENCE = 29.0  # API Gateway's limit for an authorizer
_SKEW = 300  # seconds; the tolerance for a signature's time
_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,\s]+)/(?P<day>\d{8})/(?P<region>[^/,\s]+)/(?P<service>[^/,\s]+)"
    r"/aws4_request,\s*SignedHeaders=(?P<headers>[^,\s]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)


class Refused(Exception):
    """The gateway itself answers, with the gateway response of this kind."""

    def __init__(self, kind: str):
        super().__init__(kind)
        self.kind = kind


Authorize = Callable[[Call, Authorizer, FunctionHost], "str | None"]


def ask_function(call: Call, authorizer: Authorizer, functions: FunctionHost) -> str | None:
    """A Lambda authorizer of type REQUEST. Returns the usage identifier key, if any.

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


@dataclass(frozen=True)
class Credentials:
    """The access key of the local account's only principal."""

    access_key_id: str
    secret_access_key: str

    @classmethod
    def make(cls) -> Credentials:
        letters = string.ascii_uppercase + "234567"
        access_key_id = "AKIALOCAL" + "".join(secrets.choice(letters) for _ in range(11))
        return cls(access_key_id, secrets.token_urlsafe(30))

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id})"


class SignedBy:
    """AWS_IAM with one principal: Signature Version 4 for the service execute-api, over the unchanged request."""

    def __init__(self, credentials: Credentials):
        self._credentials = credentials

    def __call__(self, call: Call, _: Authorizer, __: FunctionHost) -> None:
        sent = call.request.header("authorization")
        if sent is None:
            raise Refused("MISSING_AUTHENTICATION_TOKEN")
        said = _SIGNED.fullmatch(sent.strip())
        known, at = self._credentials, call.request.header("x-amz-date") or ""
        if said is None or said["key"] != known.access_key_id or not _is_recent(at, call.received):
            raise Refused("INVALID_SIGNATURE")
        scope, names = (said["day"], said["region"], said["service"]), said["headers"].split(";")
        if scope != (at[:8], call.region, "execute-api") or "host" not in names:
            raise Refused("INVALID_SIGNATURE")
        if not hmac.compare_digest(_signature(call, known, names, at), said["signature"]):
            raise Refused("INVALID_SIGNATURE")
        user = f"AIDA{known.access_key_id[4:]}"
        call.identity = {
            "accessKey": known.access_key_id,
            "accountId": ACCOUNT,
            "caller": user,
            "user": user,
            "userArn": f"arn:{PARTITION}:iam::{ACCOUNT}:user/local-operator",
        }


def _signature(call: Call, credentials: Credentials, names: list[str], at: str) -> str:
    """botocore's signature, as the reference, for the request and the signed headers."""
    from botocore import credentials as of_botocore
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.compat import HTTPHeaders

    known = of_botocore.Credentials(credentials.access_key_id, credentials.secret_access_key)
    signer = SigV4Auth(known, "execute-api", call.region)
    url = f"http://{call.request.header('host')}{call.request.target}"
    request = AWSRequest(call.request.method, url, data=call.request.body)
    request.context["timestamp"] = at
    signed = HTTPHeaders()
    for name, value in call.request.headers:
        if name.lower() in names:
            signed.add_header(name.lower(), value)
    canonical = "\n".join(
        (
            call.request.method,
            signer._normalize_url_path(urlsplit(url).path),
            signer.canonical_query_string(request),
            signer.canonical_headers(signed) + "\n",
            ";".join(names),
            hashlib.sha256(call.request.body).hexdigest(),
        )
    )
    return str(signer.signature(signer.string_to_sign(request, canonical), request))


def _is_recent(at: str, now: float) -> bool:
    try:
        return abs(timegm(time.strptime(at, "%Y%m%dT%H%M%SZ")) - now) <= _SKEW
    except ValueError:
        return False


def authorizers(operator: Credentials) -> dict[str, Authorize]:
    return {"request": ask_function, "awsSigv4": SignedBy(operator)}


def _flat(value: Any) -> str:
    """API Gateway passes on texts, numbers and booleans, all as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise TypeError("a value of the context is neither text nor number nor boolean")


def allows(statements: list[Mapping[str, Any]], method_arn: str) -> bool:
    """Does the policy allow this method? An explicit deny wins; no match denies."""
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
    """A token bucket: a rate per second, and a burst."""

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
    """The API keys of the template, and their rate limits."""

    def __init__(self, keys: list[UsagePlanKey]):
        self._keys = {key.value: key for key in keys}
        self._buckets = {key.key_id: TokenBucket(key.rate, key.burst) for key in keys if key.rate is not None}

    def identify(self, call: Call, value: str | None) -> None:
        """Set the plan that the call counts for. Raises Refused for a key without a plan."""
        key = self._keys.get(value or "")
        if key is None:
            raise Refused("INVALID_API_KEY")
        call.api_key_id, call.api_key = key.key_id, key.value

    def throttle(self, call: Call) -> None:
        bucket = self._buckets.get(call.api_key_id or "")
        if bucket is not None and not bucket.take():
            raise Refused("THROTTLED")

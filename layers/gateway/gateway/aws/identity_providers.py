"""The requests to identity providers: their discovery documents and their public keys.

The operators chose the addresses. Still a provider may be slow or hostile: a request has one deadline for all its parts
and a largest size, follows no redirect, and sends no credentials.
"""

from __future__ import annotations

import json
from dataclasses import replace
from http.client import HTTPConnection, HTTPSConnection
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from gateway.aws.clients import USER_AGENT, trust
from gateway.core.errors import BadRequestError
from gateway.tenancy.issuer_keys import KeySet, ProviderError
from gateway.tenancy.issuers import LARGEST_KEYS, Issuer, WrongKeysError, must_be_address, public_keys

DISCOVERY = "/.well-known/openid-configuration"
SECONDS = 2.5  # for one request, from the name's lookup to the last byte
REDISCOVER = 86400  # seconds for which a discovered address is used


def fetch(issuer: Issuer, known: KeySet, now: float, *, loopback: bool = False) -> KeySet:
    """The issuer's keys from its provider. Raises ProviderError.

    A known address costs one request. An address that failed is discovered again the next time.
    """
    uri, discovered_at = issuer.jwks_uri, known.discovered_at
    if not uri:
        uri = known.jwks_uri
        if not uri or now >= discovered_at + REDISCOVER or known.claimed_at > known.fetched_at:
            uri, discovered_at = discover(issuer, loopback=loopback), now
    try:
        keys = public_keys(get(uri))
    except WrongKeysError as error:
        raise ProviderError("keys_malformed") from error
    if not keys:
        raise ProviderError("keys_unusable")
    return replace(known, keys=keys, fetched_at=now, claimed_at=now, jwks_uri=uri, discovered_at=discovered_at)


def discover(issuer: Issuer, *, loopback: bool) -> str:
    """The address of the issuer's keys. Raises ProviderError."""
    said = get(issuer.issuer.rstrip("/") + DISCOVERY)
    if not isinstance(said, dict) or said.get("issuer") != issuer.issuer:
        raise ProviderError("discovery_names_another_issuer")
    uri = said.get("jwks_uri")
    try:
        must_be_address("jwks_uri", uri if isinstance(uri, str) else "", loopback=loopback)
    except BadRequestError as error:
        raise ProviderError("discovery_names_no_keys") from error
    return str(uri)


def get(url: str) -> Any:
    """The JSON at an address. Raises ProviderError."""
    answers: SimpleQueue[bytes | Exception] = SimpleQueue()
    # A socket's timeout covers neither the name's lookup nor an answer that drips in.
    Thread(target=_answer, args=(url, answers), daemon=True).start()
    try:
        answer = answers.get(timeout=SECONDS)
    except Empty:
        raise ProviderError("too_slow") from None
    if isinstance(answer, ProviderError):
        raise answer
    if isinstance(answer, Exception):
        raise ProviderError("unreachable") from answer
    try:
        return json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise ProviderError("not_json") from error


def _answer(url: str, answers: SimpleQueue[bytes | Exception]) -> None:
    try:
        answers.put(_get(url))
    except Exception as error:  # for the thread that waits
        answers.put(error)


def _get(url: str) -> bytes:
    parts = urlsplit(url)
    if parts.scheme == "https":
        connection: HTTPConnection = HTTPSConnection(parts.netloc, timeout=SECONDS, context=trust())
    else:
        connection = HTTPConnection(parts.netloc, timeout=SECONDS)
    try:
        connection.request("GET", parts.path or "/", headers={"accept": "application/json", "user-agent": USER_AGENT})
        response = connection.getresponse()
        if response.status != 200:  # a redirect, too: it could lead anywhere
            raise ProviderError(f"status_{response.status}")
        content = response.read(LARGEST_KEYS + 1)
    finally:
        connection.close()
    if len(content) > LARGEST_KEYS:
        raise ProviderError("too_large")
    return content

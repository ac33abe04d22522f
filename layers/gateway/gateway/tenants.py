"""Tenants (who pays) and their keys (how they show who they are). A key itself is never kept, only its sha256."""

from __future__ import annotations

import hashlib
import secrets
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from gateway.errors import Forbidden
from gateway.usage import KeyId, TenantId

KEY_PREFIX = "mgw_"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Tenant:
    """A team of the company. Its first cost centre is charged where a call names none."""

    tenant_id: TenantId
    name: str
    cost_centres: tuple[str, ...]
    suspended: bool = False


@dataclass(frozen=True)
class Key:
    """One key of a tenant, known by the sha256 of its text."""

    key_id: KeyId
    tenant_id: TenantId
    digest: str
    label: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked: bool = False

    def works(self, now: datetime) -> bool:
        return not self.revoked and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True)
class Caller:
    """Who calls, as the authorizer found: the only source of identity."""

    tenant_id: TenantId
    key_id: KeyId
    cost_centres: tuple[str, ...]

    def cost_centre(self, named: str | None) -> str:
        """The cost centre to charge. One that the tenant does not own is refused, not ignored."""
        if named is None or named == "":
            return self.cost_centres[0] if self.cost_centres else self.tenant_id
        if named not in self.cost_centres:
            raise Forbidden("team_id must name a cost centre of your tenant.", code="cost_centre_not_owned")
        return named

    def charging(self, cost_centre: str) -> Caller:
        """The same caller, whose every call is charged to this cost centre."""
        return replace(self, cost_centres=(cost_centre,))


class Tenants(Protocol):
    """Where tenants and keys are kept."""

    def key(self, digest: str) -> Key | None: ...

    def tenant(self, tenant_id: TenantId) -> Tenant | None: ...


def digest_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _base62(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits = _ALPHABET[digit] + digits
    return digits


def new_key() -> str:
    """A fresh key: prefix, 40 random base-62 digits (238 bits), and a checksum that a secret scanner can verify."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(40))
    return KEY_PREFIX + body + _base62(zlib.crc32(body.encode()), 6)


def looks_like_key(text: str) -> bool:
    """Is `text` formed as `new_key` forms keys, its checksum included?"""
    body, check = text[len(KEY_PREFIX) : -6], text[-6:]
    return text.startswith(KEY_PREFIX) and len(body) == 40 and check == _base62(zlib.crc32(body.encode()), 6)


def presented_key(headers: Mapping[str, str]) -> str:
    """The key in `x-api-key` or, without that, in `Authorization: Bearer`; empty where there is none."""
    sent = {name.lower(): text for name, text in headers.items()}
    if key := sent.get("x-api-key"):
        return key.strip()
    scheme, _, token = sent.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


class KeyCache:
    """Keys and tenants as they were at most `seconds` ago: how long a revoked key may still work."""

    MAX_KEYS = 10_000

    def __init__(self, tenants: Tenants, seconds: float, clock: Callable[[], float]):
        self._tenants = tenants
        self._seconds = seconds
        self._clock = clock
        self._known: dict[str, tuple[float, tuple[Key, Tenant] | None]] = {}

    def find(self, digest: str) -> tuple[Key, Tenant] | None:
        now = self._clock()
        if (kept := self._known.get(digest)) and now < kept[0]:
            return kept[1]
        key = self._tenants.key(digest)
        tenant = self._tenants.tenant(key.tenant_id) if key else None
        found = (key, tenant) if key and tenant else None
        if self._seconds > 0:
            if len(self._known) >= self.MAX_KEYS:
                self._known.clear()
            self._known[digest] = (now + self._seconds, found)
        return found


def authenticate(key: str, known: KeyCache, now: datetime) -> tuple[Key, Tenant] | None:
    """Whose key this is; None for one that is not known, no longer valid, or not even formed as a key."""
    found = known.find(digest_of(key)) if looks_like_key(key) else None
    if found is None or not found[0].works(now) or found[1].suspended:
        return None
    return found

"""API keys: generation, storage as digests, presentation, and lookup."""

from __future__ import annotations

import hashlib
import secrets
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Protocol

from gateway.tenancy.caller import Role
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import KeyId, TenantId

KEY_PREFIX = "mgw_"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Key:
    """One key of a tenant, known by the sha256 of its text. A decoy belongs to no tenant: its user stole it."""

    key_id: KeyId
    tenant_id: TenantId
    digest: str
    label: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked: bool = False
    decoy: bool = False
    last_used: date | None = None
    user_id: str = ""  # its owner
    role: Role = Role.MEMBER
    cost_centres: tuple[str, ...] = ()  # the only ones that it may charge, if any

    def works(self, now: datetime) -> bool:
        return not self.revoked and not self.decoy and (self.expires_at is None or now < self.expires_at)


class Tenants(Protocol):
    """Stores tenants and keys."""

    def key(self, digest: str) -> Key | None: ...

    def tenant(self, tenant_id: TenantId) -> Tenant | None: ...

    def is_active(self, tenant_id: TenantId, user_id: str) -> bool: ...

    def note_use(self, key: Key, day: date) -> None: ...


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
    """Does `text` have the format of `new_key`, including the checksum?"""
    body, check = text[len(KEY_PREFIX) : -6], text[-6:]
    return text.startswith(KEY_PREFIX) and len(body) == 40 and check == _base62(zlib.crc32(body.encode()), 6)


def looks_like_token(text: str) -> bool:
    """Is it a JWT by its looks? Its first part is a JSON object in base64url, so it begins with `eyJ`."""
    return text.startswith("eyJ") and text.count(".") == 2


def presented_key(headers: Mapping[str, str]) -> str:
    """The key or token in `x-api-key` or, without that, in `Authorization: Bearer`; empty without either."""
    sent = {name.lower(): text for name, text in headers.items()}
    if key := sent.get("x-api-key"):
        return key.strip()
    scheme, _, token = sent.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


class KeyCache:
    """Caches keys, tenants and users for `seconds`, so a revoked key may still work for that long."""

    MAX_KEYS = 10_000

    def __init__(self, tenants: Tenants, seconds: float, clock: Callable[[], float]):
        self._tenants = tenants
        self._seconds = seconds
        self._clock = clock
        self._known: dict[str, tuple[float, tuple[Key, Tenant | None] | None]] = {}
        self._users: dict[tuple[TenantId, str], tuple[float, bool]] = {}

    def find(self, digest: str) -> tuple[Key, Tenant | None] | None:
        """A key and its tenant. A decoy has no tenant, and neither has the key of a deleted one."""
        now = self._clock()
        if (kept := self._known.get(digest)) and now < kept[0]:
            return kept[1]
        key = self._tenants.key(digest)
        found = (key, None if key.decoy else self._tenants.tenant(key.tenant_id)) if key else None
        if self._seconds > 0:
            if len(self._known) >= self.MAX_KEYS:
                self._known.clear()
            self._known[digest] = (now + self._seconds, found)
        return found

    def is_active(self, tenant_id: TenantId, user_id: str) -> bool:
        """Is the user switched on? One read per user in `seconds`."""
        now, name = self._clock(), (tenant_id, user_id)
        if (kept := self._users.get(name)) and now < kept[0]:
            return kept[1]
        active = self._tenants.is_active(tenant_id, user_id)
        if self._seconds > 0:
            if len(self._users) >= self.MAX_KEYS:
                self._users.clear()
            self._users[name] = (now + self._seconds, active)
        return active

    def note_use(self, key: Key, day: date) -> None:
        """Record the day on which a key was used: one write a day, since the cache remembers the day as well."""
        if key.last_used is not None and key.last_used >= day:
            return
        if kept := self._known.get(key.digest):
            until, found = kept
            self._known[key.digest] = (until, (replace(key, last_used=day), found[1] if found else None))
        self._tenants.note_use(key, day)


class DecoyUsedError(Exception):
    """A request presented a decoy key."""

    def __init__(self, key: Key):
        super().__init__(key.key_id)
        self.key = key


class TenantSuspendedError(Exception):
    """The key is valid, but its tenant is suspended."""

    def __init__(self, key: Key, tenant: Tenant):
        super().__init__(tenant.tenant_id)
        self.key, self.tenant = key, tenant


def authenticate(key: str, known: KeyCache, now: datetime) -> tuple[Key, Tenant] | None:
    """The key and its tenant; None for a key that is unknown, expired, revoked or malformed.

    Raises DecoyUsedError and TenantSuspendedError.
    """
    found = known.find(digest_of(key)) if looks_like_key(key) else None
    if found is None:
        return None
    record, tenant = found
    if record.decoy:
        raise DecoyUsedError(record)
    if tenant is None or not record.works(now):
        return None
    if tenant.suspended:
        raise TenantSuspendedError(record, tenant)
    return record, tenant

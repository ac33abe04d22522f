"""Issuers of tokens: whose tokens the gateway accepts, for which tenants, and how their claims are read."""

from __future__ import annotations

import json
import re
import secrets
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from typing import Any, NewType, Protocol
from urllib.parse import urlsplit

from gateway.core.errors import BadRequestError, NotFoundError
from gateway.tenancy.administration import Actor, AuditRecord, Changed, Conflict, Page, VersionConflict
from gateway.tenancy.caller import TOKEN_KEY, Role
from gateway.usage.records import KeyId, TenantId

IssuerId = NewType("IssuerId", str)

# Asymmetric only: with a symmetric one, everybody who can verify a token can also make one.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
ALL_TENANTS = "*"
MOST_TENANTS = 90  # of one issuer; each is a part of one transaction, which has at most 100
MOST_KEYS = 50  # of one issuer
LARGEST_KEYS = 64 * 1024  # bytes of a JWKS document
LARGEST_RECORD = 48 * 1024
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_PUBLIC = ("kty", "kid", "alg", "use", "crv", "n", "e", "x", "y")
_CURVES = {"EC": {"P-256", "P-384", "P-521"}, "OKP": {"Ed25519", "Ed448"}}
_BITS = range(2048, 8193)  # of an RSA modulus; verification with a longer one costs too much
_TRIES = 4


class IssuerUsedError(Conflict):
    code = "issuer_used"


class WrongKeysError(ValueError):
    """A document is not a usable set of public keys."""


@dataclass(frozen=True)
class ClaimMap:
    """The names of the claims that say tenant, cost centre, user and role. Empty: the issuer's tokens do not say it."""

    tenant: str = ""
    cost_centre: str = ""
    user: str = "sub"
    role: str = ""


@dataclass(frozen=True)
class Issuer:
    """An identity provider, or a client of one, whose tokens identify callers of `tenants`.

    `issuer` is the exact `iss` of its tokens. Its keys are in `jwks`, or at `jwks_uri`, or at the address that the
    provider's discovery document names. `roles` maps values of the role claim to roles.
    """

    issuer_id: IssuerId
    issuer: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...]
    tenants: tuple[str, ...]
    jwks: Mapping[str, Any] | None = None
    jwks_uri: str = ""
    claims: ClaimMap = ClaimMap()
    roles: Mapping[str, Role] = field(default_factory=dict)
    version: int = 0

    @property
    def names_all(self) -> bool:
        return ALL_TENANTS in self.tenants

    def may_name(self, tenant_id: str) -> bool:
        return self.names_all or tenant_id in self.tenants

    @property
    def key_id(self) -> KeyId:
        """The key id of the callers with its tokens."""
        return KeyId(TOKEN_KEY + self.issuer_id)

    @cached_property
    def keys_name(self) -> str:
        """The name under which its keys are kept: another one after each change of the record."""
        source = json.dumps([self.version, self.issuer, self.jwks_uri, self.jwks], sort_keys=True)
        return f"{self.issuer_id}#{sha256(source.encode()).hexdigest()[:16]}"


def issuer_of(key_id: KeyId) -> IssuerId:
    """The issuer of a token's caller."""
    return IssuerId(key_id.removeprefix(TOKEN_KEY))


def issuer_to_json(issuer: Issuer) -> dict[str, Any]:
    """An issuer as the admin API shows it, without unset settings."""
    values: dict[str, Any] = {
        "issuer_id": issuer.issuer_id,
        "issuer": issuer.issuer,
        "audiences": list(issuer.audiences),
        "algorithms": list(issuer.algorithms),
        "tenants": list(issuer.tenants),
        "jwks": issuer.jwks,
        "jwks_uri": issuer.jwks_uri,
        "claims": {name: claim for name, claim in vars(issuer.claims).items() if claim},
        "roles": {name: role.value for name, role in issuer.roles.items()},
        "version": issuer.version,
    }
    return {name: value for name, value in values.items() if value not in (None, "", {})}


def issuer_from_json(values: Mapping[str, Any]) -> Issuer:
    claims = values.get("claims") or {}
    return Issuer(
        IssuerId(values["issuer_id"]),
        values["issuer"],
        tuple(values["audiences"]),
        tuple(values["algorithms"]),
        tuple(values["tenants"]),
        values.get("jwks"),
        values.get("jwks_uri") or "",
        ClaimMap(**{name: claim for name, claim in claims.items() if name in vars(ClaimMap()) and claim}),
        {name: Role(role) for name, role in (values.get("roles") or {}).items()},
        int(values.get("version") or 0),
    )


# ---------------------------------------------------------------------------------------------------------- public keys
def public_keys(document: Any) -> list[dict[str, str]]:
    """The usable keys of a JWKS document, each with its public members only.

    Symmetric keys, keys for encryption, unknown kinds and weak keys are left out. Raises WrongKeysError.
    """
    keys = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(keys, Sequence) or isinstance(keys, str):
        raise WrongKeysError("must be a JSON object with a list `keys`")
    if len(keys) > MOST_KEYS:
        raise WrongKeysError(f"must have at most {MOST_KEYS} keys")
    return [
        {name: key[name] for name in _PUBLIC if isinstance(key.get(name), str)}
        for key in keys
        if isinstance(key, Mapping) and _usable(key)
    ]


def _usable(key: Mapping[str, Any]) -> bool:
    if key.get("use", "sig") != "sig" or ("alg" in key and key["alg"] not in (*ALGORITHMS, "Ed25519", "Ed448")):
        return False
    if not isinstance(key.get("kid", ""), str) or len(key.get("kid", "")) > 256:
        return False
    match key.get("kty"):
        case "RSA":
            return _bits(key.get("n")) in _BITS and 1 < _bits(key.get("e")) <= 33
        case "EC":
            return key.get("crv") in _CURVES["EC"] and 0 < _bits(key.get("x")) <= 521 and 0 < _bits(key.get("y")) <= 521
        case "OKP":
            return key.get("crv") in _CURVES["OKP"] and isinstance(key.get("x"), str) and len(key["x"]) <= 80
    return False


def _bits(number: Any) -> int:
    """The length of a base64url number; 0 for anything else."""
    if not isinstance(number, str) or len(number) > 2048:
        return 0
    try:
        return int.from_bytes(urlsafe_b64decode(number + "=" * (-len(number) % 4)), "big").bit_length()
    except ValueError:
        return 0


# -------------------------------------------------------------------------------------------------------------- records
def must_be_sound(issuer: Issuer, *, loopback: bool = False) -> None:
    """Raises BadRequestError for a record that is unsafe or contradicts itself. `loopback` allows http to this host."""
    if not _ID.fullmatch(issuer.issuer_id):
        raise _invalid("issuer_id: must begin with a letter or digit and have at most 64 letters, digits, _.-")
    must_be_address("issuer", issuer.issuer, loopback=loopback)
    if issuer.jwks_uri:
        must_be_address("jwks_uri", issuer.jwks_uri, loopback=loopback)
    if strange := [name for name in issuer.algorithms if name not in ALGORITHMS]:
        raise _invalid(f"algorithms: {strange[0]!r} is not allowed. Use {', '.join(ALGORITHMS)}.")
    lists = {"audiences": issuer.audiences, "algorithms": issuer.algorithms, "tenants": issuer.tenants}
    for name, listed in lists.items():
        if not listed or len(set(listed)) != len(listed):
            raise _invalid(f"{name}: must have at least one entry, and each once.")
    if len(issuer.tenants) > MOST_TENANTS:
        raise _invalid(f"tenants: must have at most {MOST_TENANTS} entries.")
    if issuer.names_all and len(issuer.tenants) > 1:
        raise _invalid('tenants: ["*"] names all tenants and must stand alone.')
    if not issuer.claims.tenant and (issuer.names_all or len(issuer.tenants) > 1):
        raise _invalid("claims.tenant: name the claim that says the tenant, or give the issuer exactly one tenant.")
    if issuer.jwks is not None and issuer.jwks_uri:
        raise _invalid("jwks: send either jwks or jwks_uri, or neither to discover the keys.")
    if issuer.jwks is not None:
        _must_be_keys(issuer.jwks)
    if len(json.dumps(issuer_to_json(issuer))) > LARGEST_RECORD:
        raise _invalid(f"The record exceeds {LARGEST_RECORD} bytes. Leave out certificates and unused keys.")


def must_be_address(name: str, url: str, *, loopback: bool) -> None:
    """Raises BadRequestError unless the address is an https URL without credentials, query and fragment."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise _invalid(f"{name}: is not a URL.") from None
    if not host or parts.username or parts.password or parts.query or parts.fragment or not url.isascii():
        raise _invalid(f"{name}: must be an https URL without credentials, query and fragment.")
    if parts.scheme != "https" and not (loopback and parts.scheme == "http" and host in LOOPBACK):
        raise _invalid(f"{name}: must begin with https://.")


def _must_be_keys(document: Mapping[str, Any]) -> None:
    try:
        keys = public_keys(document)
    except WrongKeysError as error:
        raise _invalid(f"jwks: {error}.") from None
    if any(isinstance(key, Mapping) and {"d", "k", "p", "q"} & key.keys() for key in document["keys"]):
        raise _invalid("jwks: contains a private or symmetric key. Send only public keys, and replace that one.")
    if not keys:
        raise _invalid("jwks: has no usable key: RSA of 2048 to 8192 bits, EC or OKP, for signatures.")


def _invalid(sentence: str) -> BadRequestError:
    return BadRequestError(sentence, code="invalid_issuer")


# ------------------------------------------------------------------------------------------------------- administration
class IssuerRegister(Protocol):
    """Stores issuers with their audit records. A write is atomic; it raises Changed where it wrote nothing."""

    def issuer(self, issuer_id: IssuerId) -> Issuer | None: ...

    def issuers(self, limit: int, start: str | None) -> Page: ...

    def is_used(self, issuer: str, issuer_id: IssuerId) -> bool:
        """Has another record the same `issuer`?"""

    def put_issuer(self, after: Issuer, before: Issuer | None, record: AuditRecord) -> None: ...

    def remove_issuer(self, before: Issuer, record: AuditRecord) -> None: ...


@dataclass(frozen=True)
class IssuerAdministration:
    """Operators' operations on issuers."""

    register: IssuerRegister
    loopback: bool = False
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def issuer(self, issuer_id: IssuerId) -> Issuer:
        """Raises NotFoundError."""
        found = self.register.issuer(issuer_id)
        if found is None:
            raise NotFoundError("Issuer not found.", code="issuer_not_found")
        return found

    def put(self, wanted: Issuer, actor: Actor, expected: int | None = None) -> tuple[Issuer, bool]:
        """Create or change an issuer. Returns it, and whether it is new; one without changes keeps its version.

        `expected` is the version that the change is based on. Raises BadRequestError, VersionConflict, Conflict.
        """
        must_be_sound(wanted, loopback=self.loopback)
        for _ in range(_TRIES):
            before = self.register.issuer(wanted.issuer_id)
            found = before.version if before else 0
            if expected is not None and expected != found:
                raise VersionConflict(f"The issuer is at version {found}. Fetch it again and retry.")
            after = replace(wanted, version=found + 1)
            if before and replace(after, version=found) == before:
                return before, False
            if self.register.is_used(wanted.issuer, wanted.issuer_id):
                raise IssuerUsedError("Another record has this issuer. Change that record, or delete it first.")
            try:
                self.register.put_issuer(after, before, self._record(actor, before, after))
            except Changed:
                continue
            return after, before is None
        raise Conflict("The issuer was modified concurrently. Fetch it again and retry.")

    def delete(self, issuer_id: IssuerId, actor: Actor) -> None:
        """Raises NotFoundError, Conflict."""
        for _ in range(_TRIES):
            before = self.issuer(issuer_id)
            try:
                self.register.remove_issuer(before, self._record(actor, before, None))
            except Changed:
                continue
            return
        raise Conflict("The issuer was modified concurrently. Fetch it again and retry.")

    def _record(self, actor: Actor, before: Issuer | None, after: Issuer | None) -> AuditRecord:
        action = "create_issuer" if before is None else "delete_issuer" if after is None else "change_issuer"
        shown = [issuer_to_json(each) if each else None for each in (before, after)]
        name = f"audit_{secrets.token_hex(8)}"
        return AuditRecord(name, self.clock(), action, actor, TenantId(""), KeyId(""), *shown)

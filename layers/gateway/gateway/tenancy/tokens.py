"""Verification of an identity provider's token (JWT), and what its claims say of the caller.

Imported only when a token comes: an API key must not pay for it. Nothing of a token is trusted before its signature.
Most bad tokens are refused without it: by size, form, issuer, algorithm, times and audience.
"""

from __future__ import annotations

import json
import math
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol, TypeVar

from gateway.tenancy.caller import Caller, Role
from gateway.tenancy.issuer_keys import KeysUnavailableError
from gateway.tenancy.issuers import ALGORITHMS, Issuer
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import TenantId, UserSource

LARGEST = 8 * 1024  # bytes; API Gateway takes 10 KB of headers
LONGEST_ISSUER = 512  # characters; openapi.yaml, IssuerSettings
SKEW = 60  # seconds that the clocks of provider and gateway may differ
# Types of a JWT that is an access or an id token. A logout token, for one, has the same issuer and signature.
_TYPES = {"jwt", "at+jwt", "application/jwt", "application/at+jwt"}
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@|/+=-]{0,127}")  # openapi.yaml, UserId
_ENCODED = "sha256:"
_SEGMENT = re.compile(r"[A-Za-z0-9_-]+")
_STRENGTH = (Role.OPERATOR, Role.TENANT_ADMIN, Role.AUDITOR, Role.MEMBER)
_TRIED_KEYS = 4  # of one `kid`
T = TypeVar("T")
_KINDS = {"R": "RSA", "P": "RSA", "E": "EC"}


class TokenRefusedError(Exception):
    """A token that identifies nobody. The reason is for the log; it has no part of the token."""

    def __init__(self, reason: str, issuer_id: str = ""):
        super().__init__(reason)
        self.reason, self.issuer_id = reason, issuer_id


class Known(Protocol):
    """The records that tokens are judged by."""

    def issuer(self, issuer: str) -> Issuer | None:
        """The record of an `iss`."""

    def tenant(self, tenant_id: TenantId) -> Tenant | None: ...


class Keys(Protocol):
    """The public keys of issuers."""

    def find(self, issuer: Issuer, kid: str | None) -> Sequence[Mapping[str, str]]:
        """The keys of this id, as JWKs; without an id, all keys. Raises KeysUnavailableError."""


@dataclass(frozen=True)
class Token:
    """A token taken apart; not verified."""

    text: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]


def authenticate_token(text: str, known: Known, keys: Keys, now: float) -> Caller:
    """The caller that a token names, whose tenant may be suspended; `now` in seconds since the epoch.

    Raises TokenRefusedError.
    """
    token = read(text)
    issuer = known.issuer(_text(token.claims, "iss"))
    if issuer is None:
        raise TokenRefusedError("unknown_issuer")
    try:
        _judge_header(token.header, issuer)
        _judge_times(token.claims, now)
        _judge_audience(token.claims, issuer)
        verify(token, issuer, keys)
        tenant = _tenant(token.claims, issuer, known)
        return _caller(token.claims, issuer, tenant)
    except TokenRefusedError as error:
        raise TokenRefusedError(error.reason, issuer.issuer_id) from None


# ----------------------------------------------------------------------------------------------------------------- form
def read(text: str) -> Token:
    """Take a token apart. Raises TokenRefusedError."""
    if len(text) > LARGEST:
        raise TokenRefusedError("too_large")
    parts = text.split(".")
    if len(parts) != 3:
        raise TokenRefusedError("malformed")
    header, claims = (_object(part) for part in parts[:2])
    return Token(text, header, claims)


def _object(part: str) -> dict[str, Any]:
    """A JSON object in base64url. Raises TokenRefusedError, also for a name that comes twice."""
    try:
        if not _SEGMENT.fullmatch(part):
            raise TokenRefusedError("malformed")
        content = urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()
        found = json.loads(content, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise TokenRefusedError("malformed") from None
    if not isinstance(found, dict):
        raise TokenRefusedError("malformed")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise TokenRefusedError("duplicate_name")
    return found


def _no_number(_: str) -> float:
    raise TokenRefusedError("malformed")


def _text(claims: Mapping[str, Any], name: str) -> str:
    found = claims.get(name)
    if not isinstance(found, str) or not found:
        raise TokenRefusedError(f"no_{name}")
    return found


# ------------------------------------------------------------------------------------------------------------ judgement
def _judge_header(header: Mapping[str, Any], issuer: Issuer) -> None:
    """`jku`, `jwk`, `x5u` and `x5c` name keys; they are ignored, since only the issuer's record says where keys are."""
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS or algorithm not in issuer.algorithms:
        raise TokenRefusedError("algorithm_not_allowed")
    if "crit" in header or "b64" in header:
        raise TokenRefusedError("critical_header")
    if "typ" in header and str(header["typ"]).lower() not in _TYPES:
        raise TokenRefusedError("wrong_type")
    if not isinstance(header.get("kid", ""), str):
        raise TokenRefusedError("malformed")


def _judge_times(claims: Mapping[str, Any], now: float) -> None:
    expires, begins, issued = (_moment(claims, name) for name in ("exp", "nbf", "iat"))
    if expires is None:
        raise TokenRefusedError("no_exp")
    if now >= expires + SKEW:
        raise TokenRefusedError("expired")
    if begins is not None and now < begins - SKEW:
        raise TokenRefusedError("not_yet_valid")
    if issued is not None and (now < issued - SKEW or issued > expires):
        raise TokenRefusedError("wrong_iat")


def _moment(claims: Mapping[str, Any], name: str) -> float | None:
    found = claims.get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < 1e12 or math.isnan(found):
        raise TokenRefusedError(f"wrong_{name}")
    return float(found)


def _judge_audience(claims: Mapping[str, Any], issuer: Issuer) -> None:
    use = claims.get("token_use")  # of Cognito, whose refresh tokens have others
    if use not in (None, "access", "id"):
        raise TokenRefusedError("wrong_token_use")
    if "cnf" in claims:  # the proof of possession, which a bearer does not send
        raise TokenRefusedError("sender_constrained")
    audience = claims.get("aud")
    if audience is None and use == "access":
        audience = claims.get("client_id")  # Cognito's access tokens have no `aud`
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list) or not named or not all(isinstance(each, str) for each in named):
        raise TokenRefusedError("no_aud")
    if not set(named) & set(issuer.audiences):
        raise TokenRefusedError("wrong_audience")
    if len(set(named)) > 1 and claims.get("azp") not in issuer.audiences:
        raise TokenRefusedError("wrong_azp")


def verify(token: Token, issuer: Issuer, keys: Keys) -> None:
    """Check the signature. Raises TokenRefusedError."""
    algorithm, kid = token.header["alg"], token.header.get("kid")
    kind = _KINDS.get(algorithm[0], "OKP") if algorithm != "EdDSA" else "OKP"
    try:
        found = keys.find(issuer, kid)
    except KeysUnavailableError:
        raise TokenRefusedError("keys_unavailable") from None
    fitting = [key for key in found if key["kty"] == kind and key.get("alg", algorithm) in (algorithm, key.get("crv"))]
    if not fitting:
        raise TokenRefusedError("unknown_key")
    if kid is None and len(fitting) > 1:
        raise TokenRefusedError("no_kid")
    from gateway.tenancy.signatures import is_signed  # noqa: PLC0415  # joserfc and cryptography, for good tokens only

    if not any(is_signed(token.text, algorithm, key, LARGEST) for key in fitting[:_TRIED_KEYS]):
        raise TokenRefusedError("wrong_signature")


# --------------------------------------------------------------------------------------------------------------- caller
def claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name; a name with dots that is no claim is the path into nested claims."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found


def _listed(claims: Mapping[str, Any], name: str) -> list[str]:
    """A claim of text, or of a list of texts; what else is in the list is left out."""
    found = claim(claims, name)
    if isinstance(found, str):
        return [found] if found else []
    return [each for each in found if isinstance(each, str) and each] if isinstance(found, list) else []


def _tenant(claims: Mapping[str, Any], issuer: Issuer, known: Known) -> Tenant:
    """The tenant that the token names, of those that its issuer may name."""
    if issuer.claims.tenant:
        named = {each for each in _listed(claims, issuer.claims.tenant) if issuer.may_name(each)}
    else:
        named = set(issuer.tenants)
    if len(named) != 1:
        raise TokenRefusedError("tenant_not_allowed" if not named else "several_tenants")
    tenant = known.tenant(TenantId(named.pop()))
    if tenant is None:
        raise TokenRefusedError("unknown_tenant")
    return tenant


def _caller(claims: Mapping[str, Any], issuer: Issuer, tenant: Tenant) -> Caller:
    centres: tuple[str, ...] = ()
    if issuer.claims.cost_centre:
        centres = tuple(dict.fromkeys(c for c in _listed(claims, issuer.claims.cost_centre) if tenant.owns(c)))
        if not centres:  # no cost centre would mean all of them
            raise TokenRefusedError("cost_centre_not_owned")
    user = user_of(claim(claims, issuer.claims.user))
    return Caller(tenant, issuer.key_id, user, UserSource.TOKEN, _role(claims, issuer), centres)


def user_of(subject: Any) -> str:
    """A user's id in the gateway. A subject that cannot be one, such as one that begins with `-`, becomes its sha256.

    Raises TokenRefusedError.
    """
    if not isinstance(subject, str) or not subject:
        raise TokenRefusedError("no_user")
    if _USER.fullmatch(subject) and not subject.startswith(_ENCODED):
        return subject
    return _ENCODED + sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()


def _role(claims: Mapping[str, Any], issuer: Issuer) -> Role:
    """The strongest role of the token. An operator has all tenants, so only an issuer of all tenants makes one."""
    named = _listed(claims, issuer.claims.role) if issuer.claims.role else []
    roles = set(_roles(named, issuer.roles))
    if not issuer.names_all:
        roles.discard(Role.OPERATOR)
    return next((role for role in _STRENGTH if role in roles), Role.MEMBER)


def _roles(named: Iterable[str], mapped: Mapping[str, Role]) -> Iterable[Role]:
    for name in named:
        if name in mapped:
            yield mapped[name]
        elif not mapped and name in set(Role):
            yield Role(name)


# -------------------------------------------------------------------------------------------------------------- records
class Records:
    """`Known`, each record for some seconds: a deleted issuer and a suspended tenant may still work for that long.

    Unknown names are remembered as well. The number of both is bounded, so that no flood of names fills the memory.
    """

    MOST = 10_000

    def __init__(
        self,
        issuer: Callable[[str], Issuer | None],
        tenant: Callable[[TenantId], Tenant | None],
        seconds: float,
        clock: Callable[[], float],
    ):
        self._find_issuer, self._find_tenant = issuer, tenant
        self._seconds, self._clock = seconds, clock
        self._issuers: dict[str, tuple[float, Issuer | None]] = {}
        self._tenants: dict[str, tuple[float, Tenant | None]] = {}

    def issuer(self, issuer: str) -> Issuer | None:
        if len(issuer) > LONGEST_ISSUER or not issuer.isascii():  # no record has it; the memory of names stays small
            return None
        return self._kept(self._issuers, issuer, lambda: self._find_issuer(issuer))

    def tenant(self, tenant_id: TenantId) -> Tenant | None:
        return self._kept(self._tenants, tenant_id, lambda: self._find_tenant(tenant_id))

    def _kept(self, kept: dict[str, tuple[float, T]], name: str, find: Callable[[], T]) -> T:
        now = self._clock()
        if (known := kept.get(name)) and now < known[0]:
            return known[1]
        found = find()
        if self._seconds > 0:
            if len(kept) >= self.MOST:
                kept.clear()
            kept[name] = (now + self._seconds, found)
        return found

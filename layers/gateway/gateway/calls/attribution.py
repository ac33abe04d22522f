"""The attribution of a call: a verified user, else a claimed one, and the claimed tags, in the form its tenant keeps.

    order      the token's subject, the key's owner, the client's claim. A claim beside a verified user is left out, so
               no client can write to another user's account, and a warning says so
    privacy    `hash` and `none` of the tenant's record apply here, once, to every source. So the row, the lake, the
               budgets and the service's own tags all have the same id
    distinct   a tenant has at most MOST_DISTINCT claimed users and as many pairs of tags a day (UTC); beyond them the
               value is `other`. A process reads the day's values once, and writes only for a value that is new to all

No failure here fails a call: a value that cannot be hashed or admitted is `other`.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Protocol

from gateway.calls.claims import Claim, read_claim
from gateway.core.telemetry import logger
from gateway.tenancy.caller import Caller
from gateway.tenancy.tenant import Kept, Tenant
from gateway.usage.records import NOBODY, Attribution, TenantId, UserSource

OTHER = "other"
HASHED = "h_"
MOST_DISTINCT = 1_000
USERS, PAIRS, NAMES = "users", "pairs", "names"  # the kinds of values; each new name comes with a new pair
_MOST_DAYS = 64  # tenants and days in memory, some 300 KB each at most
_MOST_NAMED = 4_096  # hashes of a day whose names this process has stored
_PAUSE = timedelta(seconds=10)  # after a failure of the store
_TRIES = 3
_TOO_MANY = (
    f"some of the claimed attribution is counted as {OTHER}: a tenant may claim {MOST_DISTINCT} users and as many tags "
    "a day"
)
_UNCHECKED = f"some of the claimed attribution is counted as {OTHER}: the gateway could not check it now"

Digests = Mapping[str, frozenset[str]]


class DistinctValues(Protocol):
    """Digests of the values that a tenant may claim today. Implemented by `gateway.aws.dynamodb.attribution`."""

    def known(self, tenant_id: TenantId, day: date) -> Digests:
        """The day's digests, by their kind."""

    def admit(self, tenant_id: TenantId, day: date, new: Digests, most: int) -> Digests | None:
        """Add all of `new` and return None; or, if that made more than `most` of a kind, return the day's digests."""


class KnownNames(Protocol):
    """The names behind hashes, each for a time. Implemented by `gateway.aws.dynamodb.attribution`."""

    def keep(self, tenant_id: TenantId, hashed: str, name: str, until: datetime) -> None: ...

    def names(self, tenant_id: TenantId, hashes: Sequence[str], now: datetime) -> dict[str, str]:
        """The names that are kept (still), by their hashes."""


class Secret(Protocol):
    """The deployment's secret of all hashes, made once. Implemented by `gateway.aws.dynamodb.attribution`."""

    def __call__(self) -> bytes: ...


@dataclass(frozen=True)
class Attributed:
    """The attribution that the row of a call carries, and warnings of what it lacks."""

    attribution: Attribution = NOBODY
    warnings: tuple[str, ...] = ()


@dataclass
class _Day:
    """The values of one tenant and day that this process knows."""

    digests: dict[str, set[str]] = field(default_factory=lambda: {USERS: set(), PAIRS: set(), NAMES: set()})
    loaded: bool = False
    paused_until: datetime | None = None
    named: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def learn(self, found: Digests) -> None:
        for kind, digests in found.items():
            self.digests.setdefault(kind, set()).update(digests)

    def unknown(self, wanted: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
        """What may be new, as far as there is room for it."""
        found = {}
        for kind, digests in wanted.items():
            known = self.digests[kind]
            room = MOST_DISTINCT - len(known)
            if room > 0 and (new := [digest for digest in dict.fromkeys(digests) if digest not in known]):
                found[kind] = frozenset(new[:room])
        return found

    def is_paused(self, now: datetime) -> bool:
        return self.paused_until is not None and now < self.paused_until


class Attributor:
    """Attributes calls. One of these per process; its memory is bounded, and threads share it."""

    def __init__(self, values: DistinctValues, names: KnownNames, secret: Secret):
        self._values = values
        self._names = names
        self._secret = secret
        self._days: OrderedDict[tuple[TenantId, date], _Day] = OrderedDict()
        self._lock = threading.Lock()

    def attribute(self, caller: Caller, claim: Claim, now: datetime) -> Attributed:
        """The attribution of one call. It costs no request for a call without claims, or with known ones."""
        tenant, verified = caller.tenant, caller.attribution
        if claim.is_empty and (not verified.user_id or tenant.attribution.users is Kept.CLEAR):
            return Attributed(verified)
        said, warnings = read_claim(claim), []
        if verified.user_id and said.user_id not in ("", verified.user_id):
            warnings.append("the claimed user was left out of the attribution: the key or the token names the user")
        source = verified.user_source if verified.user_id else UserSource.CLAIMED
        form = _Form(self, tenant)
        user_id, tags = form.user(verified.user_id or said.user_id), form.tags(said.tags)
        claimed = user_id if source is UserSource.CLAIMED else ""
        if claimed or tags:
            admitted_user, admitted_tags = self._admitted(tenant.tenant_id, now, claimed, tags)
            if (admitted_user, admitted_tags) != (claimed, tags):
                failed = self._day(tenant.tenant_id, now.date()).is_paused(now)
                warnings.append(_UNCHECKED if failed else _TOO_MANY)
            user_id, tags = (admitted_user or user_id), admitted_tags
        if tenant.attribution.names_kept_days > 0:
            for value in (user_id, *tags.values()):
                if value in form.clear:
                    self._keep(tenant, now, value, form.clear[value])
        made = Attribution(user_id, source if user_id else UserSource.NONE, tuple(sorted(tags.items())))
        return Attributed(made, (*said.warnings, *warnings))

    def kept(self, caller: Caller) -> Caller:
        """The caller with its user in the form that the tenant's rows have: for readers, such as its own usage."""
        user_id = _Form(self, caller.tenant).user(caller.user_id)
        return replace(caller, user_id=user_id, user_source=caller.user_source if user_id else UserSource.NONE)

    def known_names(self, tenant_id: TenantId, hashes: Sequence[str], now: datetime) -> dict[str, str]:
        """The names behind hashes, as far as the tenant keeps them (`names_kept_days`)."""
        return self._names.names(tenant_id, [one for one in hashes if one.startswith(HASHED)], now)

    # ------------------------------------------------------------------------------------------------------------------
    def hashed(self, tenant_id: TenantId, kind: str, value: str) -> str:
        """A keyed hash, 128 bits: the same for a name of one tenant, and another for each tenant and each tag."""
        context = "\0".join((tenant_id, kind, value))
        return HASHED + hmac.new(self._secret(), context.encode(), hashlib.sha256).hexdigest()[:32]

    def _day(self, tenant_id: TenantId, day: date) -> _Day:
        key = (tenant_id, day)
        with self._lock:
            if (found := self._days.get(key)) is None:
                found = self._days[key] = _Day()
            self._days.move_to_end(key)
            if len(self._days) > _MOST_DAYS:
                self._days.popitem(last=False)
        return found

    def _admitted(
        self, tenant_id: TenantId, now: datetime, user_id: str, tags: Mapping[str, str]
    ) -> tuple[str, dict[str, str]]:
        """The claims as they are admitted today. One beyond the limit is `other`; a tag of a new name is left out."""
        user = _digest(user_id)
        pairs = {name: _digest(f"{name}\0{value}") for name, value in tags.items() if value != OTHER}
        names = {name: _digest(name) for name in tags}
        wanted = {USERS: [user] if user_id not in ("", OTHER) else [], PAIRS: pairs.values(), NAMES: names.values()}
        known = self._admit(tenant_id, now, wanted)
        kept = {
            name: value if value != OTHER and pairs[name] in known[PAIRS] else OTHER
            for name, value in tags.items()
            if names[name] in known[NAMES]
        }
        return (user_id if not user_id or user in known[USERS] else OTHER), kept

    def _admit(self, tenant_id: TenantId, now: datetime, wanted: Mapping[str, Iterable[str]]) -> Mapping[str, set[str]]:
        """The day's digests, with the wanted ones that had room. A failure adds nothing, and is logged."""
        day = self._day(tenant_id, now.date())
        if day.is_paused(now):
            return day.digests
        try:
            if not day.loaded and day.unknown(wanted):
                with day.lock:
                    if not day.loaded:
                        day.learn(self._values.known(tenant_id, now.date()))
                        day.loaded = True
            for _ in range(_TRIES):
                if not (new := day.unknown(wanted)):
                    break
                others = self._values.admit(tenant_id, now.date(), new, MOST_DISTINCT)
                day.learn(new if others is None else others)
        except Exception as error:
            day.paused_until = now + _PAUSE
            logger().error("claims_not_admitted", extra={"error_type": type(error).__name__})
        return day.digests

    def _keep(self, tenant: Tenant, now: datetime, hashed: str, name: str) -> None:
        """Store the name of a hash, once for each process and day, so that it outlives its last use by the set time."""
        day = self._day(tenant.tenant_id, now.date())
        if hashed in day.named or day.is_paused(now):
            return
        if len(day.named) >= _MOST_NAMED:
            day.named.clear()
        try:
            until = now + timedelta(days=tenant.attribution.names_kept_days)
            self._names.keep(tenant.tenant_id, hashed, name, until)
            day.named.add(hashed)
        except Exception as error:
            day.paused_until = now + _PAUSE
            logger().error("name_not_kept", extra={"error_type": type(error).__name__})


class _Form:
    """The values of one call in the form that its tenant keeps; `clear` has the names behind the hashes."""

    def __init__(self, attributor: Attributor, tenant: Tenant):
        self._attributor = attributor
        self._tenant = tenant
        self.clear: dict[str, str] = {}

    def user(self, user_id: str) -> str:
        return self._kept(self._tenant.attribution.users, "user", user_id)

    def tags(self, tags: Mapping[str, str]) -> dict[str, str]:
        how = self._tenant.attribution.tags
        kept = {name: self._kept(how, f"tag:{name}", value) for name, value in tags.items()}
        return {name: value for name, value in kept.items() if value}

    def _kept(self, how: Kept, kind: str, value: str) -> str:
        """The value; `other` where no hash can be made, since the clear name must not be kept."""
        if how is Kept.CLEAR or not value:
            return value
        if how is Kept.NONE:
            return ""
        try:
            hashed = self._attributor.hashed(self._tenant.tenant_id, kind, value)
        except Exception as error:
            logger().error("name_not_hashed", extra={"error_type": type(error).__name__})
            return OTHER
        self.clear[hashed] = value
        return hashed


def _digest(value: str) -> str:
    """72 bits as text: as short as the item of a day allows, and no clear name in it."""
    return urlsafe_b64encode(hashlib.sha256(value.encode()).digest()[:9]).decode()

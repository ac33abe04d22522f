"""The operations of operators on tenants and keys. Each change writes its audit record in the same transaction."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from gateway.core.errors import BadRequestError, GatewayError, NotFoundError
from gateway.core.times import next_month, zone
from gateway.tenancy.budgets import EACH, repeated, scope_to_json
from gateway.tenancy.caller import Role
from gateway.tenancy.keys import Key, digest_of, new_key
from gateway.tenancy.rights import Rights
from gateway.tenancy.tenant import Kept, Tenant, tenant_to_json
from gateway.tenancy.users import User, UserExistsError, name_of, user_to_json
from gateway.tenancy.users import must_be_sound as must_be_sound_user
from gateway.usage.records import KeyId, TenantId, is_label

if TYPE_CHECKING:
    from gateway.core.error_codes import ErrorCode

MOST_USD = Decimal(10**9)
# The authorizer passes the tenant's record to the function with every request.
LARGEST_RECORD = 6 * 1024
# The prefix of a stack as an actor. Its ARN follows, which ends in an id that is unique for each creation of the stack.
STACK = "cloudformation:"
# The action in the history of each tenant that an issuer of tokens may newly name, and the history of all tenants.
ALLOW_ISSUER = "allow_issuer"
EVERY_TENANT = TenantId("*")
OPERATOR = Rights()
LAST_EXPIRY = datetime(9000, 1, 1, tzinfo=UTC)
MOST_FORMER_NAMES = 40  # each is one item of a transaction
_TRIES = 4
MOST_MODEL_SCOPES = 16  # one call may count in all of them, in one DynamoDB expression of 4 KB


class Conflict(GatewayError):
    status = 409
    code: ErrorCode = "conflict"


class TenantIdUsed(Conflict):
    """The id keeps the deleted tenant's usage, costs and statements, so a new owner would see them as its own."""

    code = "tenant_id_used"

    def __init__(self, tenant_id: TenantId):
        super().__init__(
            f"The tenant {tenant_id} was deleted, and its usage is retained under this id. Choose another id. "
            "To pause a tenant, suspend it instead of deleting it."
        )


class VersionConflict(GatewayError):
    status = 412
    code = "version_conflict"


class Changed(Exception):
    """A concurrent write changed the expected state; nothing was written."""


@dataclass(frozen=True)
class Actor:
    """The actor of an operation, as the service that verified its signature or its key reports it.

    `arn` is that of the AWS principal; `key:TENANT/KEY_ID` or `user:TENANT/USER_ID` for a caller with a key or a token,
    whose `role` and `user_id` follow.
    """

    arn: str
    access_key_id: str = ""
    source_ip: str = ""
    user_id: str = ""
    role: str = ""

    def to_json(self) -> dict[str, str]:
        return {name: value for name, value in vars(self).items() if value}


@dataclass(frozen=True)
class AuditRecord:
    """One change of a tenant or key: its actor, and the states before and after. It never contains a key's text."""

    audit_id: str
    at: datetime
    action: str
    actor: Actor
    tenant_id: TenantId
    key_id: KeyId
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        values: dict[str, Any] = {
            "audit_id": self.audit_id,
            "at": at_json(self.at),
            "action": self.action,
            "actor": self.actor.to_json(),
            "tenant_id": self.tenant_id,
            "key_id": self.key_id,
            "before": self.before,
            "after": self.after,
        }
        return {name: value for name, value in values.items() if value not in (None, "")}


@dataclass(frozen=True)
class Page:
    """One page of a list, and the position of the next page."""

    items: Sequence[Any]
    next: str | None = None


class Register(Protocol):
    """Stores tenants, keys and audit records. A write is atomic; it raises Changed where it wrote nothing."""

    def tenant(self, tenant_id: TenantId) -> Tenant | None: ...

    def tenants(self, limit: int, start: str | None) -> Page: ...

    def keys_of(self, tenant_id: TenantId) -> Sequence[Key]: ...

    def key_of(self, tenant_id: TenantId, key_id: KeyId) -> Key | None: ...

    def put_tenant(self, after: Tenant, before: Tenant | None, record: AuditRecord) -> None: ...

    def remove_tenant(self, before: Tenant, record: AuditRecord) -> None: ...

    def remove_keys(self, tenant_id: TenantId) -> None: ...

    def remove_users(self, tenant_id: TenantId) -> None: ...

    def add_key(self, key: Key, record: AuditRecord) -> None: ...

    def change_key(self, after: Key, before: Key, record: AuditRecord, *, successor: Key | None = None) -> None: ...

    def user_named(self, tenant_id: TenantId, name: str) -> User | None:
        """The user with this id, user name or external id, also a deleted one."""
        ...

    def users(self, tenant_id: TenantId, limit: int, start: str | None) -> Page: ...

    def put_user(self, after: User, before: User | None, record: AuditRecord) -> None: ...

    def audit(self, tenant_id: TenantId | None, limit: int, start: str | None, now: datetime) -> Page: ...


def at_json(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def key_to_json(key: Key) -> dict[str, Any]:
    """A key as the admin API shows it: everything but its text."""
    values: dict[str, Any] = {
        "key_id": key.key_id,
        "label": key.label,
        "created_at": at_json(key.created_at),
        "expires_at": at_json(key.expires_at) if key.expires_at else None,
        "last_used": key.last_used.isoformat() if key.last_used else None,
        "revoked": key.revoked,
        "decoy": key.decoy or None,
        "user_id": key.user_id or None,
        "role": None if key.role is Role.MEMBER else key.role.value,
        "cost_centres": list(key.cost_centres) or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def must_be_sound(tenant: Tenant) -> None:
    """Raises BadRequestError for a record that contradicts itself, or whose names a ledger row does not accept."""
    for what, label in (("tenant_id", tenant.tenant_id), *(("cost_centres", centre) for centre in tenant.cost_centres)):
        if not is_label(label):
            raise _invalid(f"{what}: must begin with a letter or digit and have at most 128 letters, digits, _.:@ -")
    if len(set(tenant.cost_centres)) != len(tenant.cost_centres):
        raise _invalid("cost_centres: names must be unique.")
    if strange := [centre for centre in tenant.cost_centre_budgets if not tenant.owns(centre)]:
        raise _invalid(f"cost_centre_budgets: {strange[0]!r} is not one of the tenant's cost_centres.")
    must_have_sound_budgets(tenant)
    if len(json.dumps(tenant_to_json(tenant))) > LARGEST_RECORD:
        raise _invalid(f"The tenant record exceeds {LARGEST_RECORD} bytes. Use fewer or broader budgets and patterns.")


def must_have_sound_budgets(tenant: Tenant) -> None:
    """Raises BadRequestError."""
    if not all(budget.limit_usd.is_finite() and 0 <= budget.limit_usd <= MOST_USD for budget in tenant.all_budgets):
        raise _invalid(f"monthly_usd, limit_usd: must be from 0 to {MOST_USD}.")
    for budget in repeated(tenant.all_budgets):
        twice = json.dumps(scope_to_json(budget.scope))
        raise _invalid(f"budgets: the scope {twice} has more than one budget of the window {budget.window}.")
    if len({budget.time_zone for budget in tenant.all_budgets if budget.is_of_the_month}) > 1:
        raise _invalid(
            "budgets: the monthly budgets of the tenant and its cost centres must have the same time_zone; it is UTC"
            " for `budget` and `cost_centre_budgets`."
        )
    for name in {budget.time_zone for budget in tenant.budgets}:
        try:
            zone(name)
        except (KeyError, ValueError, OSError):
            raise _invalid(
                f"budgets: {name!r} is not a time zone of the IANA database, such as Europe/Berlin."
            ) from None
    scopes = tenant.limited_scopes
    if tenant.attribution.users is Kept.NONE and any(scope.user for scope in scopes):
        raise _invalid(
            "attribution.users: none keeps no user, so no budget or rate limit may have a user in its scope."
        )
    if sum(bool(scope.model) for scope in scopes) > MOST_MODEL_SCOPES:
        raise _invalid(f"budgets, rate_limits: at most {MOST_MODEL_SCOPES} scopes may name models.")
    if any(scope.cost_centre == scope.model == EACH and not scope.is_personal for scope in scopes):
        raise _invalid("scope: a tenant has no budget for each cost centre and model. Name one of the two.")
    for scope in scopes:
        if scope.cost_centre not in ("", EACH) and not tenant.owns(scope.cost_centre):
            raise _invalid(f"scope: {scope.cost_centre!r} is not one of the tenant's cost_centres.")


def _invalid(sentence: str) -> BadRequestError:
    return BadRequestError(sentence, code="invalid_tenant")


@dataclass(frozen=True)
class Administration:
    """The operations of operators, and of the callers to whom they delegated some (`rights`)."""

    register: Register
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    # ----------------------------------------------------------------------------------------------------- tenants
    def tenant(self, tenant_id: TenantId) -> Tenant:
        """Raises NotFoundError."""
        tenant = self.register.tenant(tenant_id)
        if tenant is None:
            raise NotFoundError("Tenant not found.", code="tenant_not_found")
        return tenant

    def exists(self, tenant_id: TenantId) -> bool:
        return self.register.tenant(tenant_id) is not None

    def was_made_by(self, tenant_id: TenantId, actor: Actor) -> bool:
        """Did this principal create the current tenant of this id?"""
        made = next((record for record in self._history(tenant_id) if record.action == "create_tenant"), None)
        return made is not None and made.actor.arn == actor.arn

    def _history(self, tenant_id: TenantId) -> Iterator[AuditRecord]:
        """The audit records of this tenant id, newest first."""
        start: str | None = None
        while True:
            page = self.register.audit(tenant_id, 100, start, self.clock())
            yield from page.items
            if page.next is None:
                return
            start = page.next

    def _must_be_new(self, tenant_id: TenantId, actor: Actor) -> None:
        """Raises TenantIdUsed for the id of a deleted tenant that had a key or an issuer: it may have used something.

        A tenant that never had one used nothing, so a stack that was rolled back leaves the id free. A stack may
        also recreate the tenant of an earlier stack with the same name: it is the same tenant.
        """
        had_callers, maker = False, ""
        for record in self._history(tenant_id):
            had_callers = had_callers or record.action in ("make_key", "rotate_key", ALLOW_ISSUER)
            if record.action == "create_tenant" and not maker:
                maker = record.actor.arn
        if maker and not had_callers:  # an issuer of all tenants may have named it
            had_callers = next(self._history(EVERY_TENANT), None) is not None
        if maker and had_callers and not (_stack_of(actor.arn) and _stack_of(actor.arn) == _stack_of(maker)):
            raise TenantIdUsed(tenant_id)

    def put_tenant(
        self, wanted: Tenant, actor: Actor, expected: int | None = None, rights: Rights = OPERATOR
    ) -> tuple[Tenant, bool]:
        """Create or change the tenant. Returns it, and whether it is new; a tenant without changes keeps its version.

        `expected` is the version that the change is based on, 0 for a tenant that must be new. Raises VersionConflict,
        Conflict, BadRequestError, TenantIdUsed for the id of a deleted tenant, and ForbiddenError by the rights.
        """
        must_be_sound(wanted)
        for _ in range(_TRIES):
            before = self.register.tenant(wanted.tenant_id)
            found = before.version if before else 0
            if expected is not None and expected != found:
                raise VersionConflict(f"The tenant is at version {found}. Fetch it again and retry.")
            after = replace(wanted, version=found + 1)
            if before:
                after = self._with_kept(after, before)
                must_be_sound(after)
            rights.judge_change(before, after)
            if before and replace(after, version=before.version) == before:
                return before, False
            if before is None:
                self._must_be_new(wanted.tenant_id, actor)
                self.register.remove_keys(wanted.tenant_id)  # a deleted tenant's keys must not become valid again
                self.register.remove_users(wanted.tenant_id)
            try:
                self.register.put_tenant(after, before, self._tenant_record(actor, before, after))
            except Changed:
                continue
            return after, before is None
        raise Conflict("The tenant was modified concurrently. Fetch it again and retry.")

    def _with_kept(self, after: Tenant, before: Tenant) -> Tenant:
        """The record with what the gateway keeps in it: loans and resets, and when the budget's shards changed."""
        now = self.clock()
        loans = tuple(loan for loan in before.loans if loan.until > now)
        since, shards = before.shards_since, before.shards_before
        if after.budget_shards != before.budget_shards:
            at = now.astimezone(zone(after.month_zone))
            since, shards = f"{next_month(at.replace(tzinfo=UTC)):%Y-%m}", before.shards_at(f"{at:%Y-%m}")
        return replace(after, loans=loans, resets=before.resets, shards_since=since, shards_before=shards)

    def change_tenant(
        self,
        tenant_id: TenantId,
        actor: Actor,
        action: str,
        change: Callable[[Tenant], Tenant],
        rights: Rights = OPERATOR,
    ) -> Tenant:
        """Change the current tenant. Raises NotFoundError, Conflict, and the errors of `change`."""
        for _ in range(_TRIES):
            before = self.tenant(tenant_id)
            after = replace(change(before), version=before.version + 1)
            must_be_sound(after)
            rights.judge_change(before, after)
            try:
                self.register.put_tenant(after, before, self._tenant_record(actor, before, after, action))
            except Changed:
                continue
            return after
        raise Conflict("The tenant was modified concurrently. Fetch it again and retry.")

    def delete_tenant(self, tenant_id: TenantId, actor: Actor) -> None:
        """Delete the tenant and all its keys. Raises NotFoundError, Conflict."""
        for _ in range(_TRIES):
            before = self.tenant(tenant_id)
            try:
                self.register.remove_tenant(before, self._tenant_record(actor, before, None))
            except Changed:
                continue
            self.register.remove_keys(tenant_id)
            self.register.remove_users(tenant_id)
            return
        raise Conflict("The tenant was modified concurrently. Fetch it again and retry.")

    # -------------------------------------------------------------------------------------------------------- keys
    def keys(self, tenant_id: TenantId) -> Sequence[Key]:
        """Raises NotFoundError for an unknown tenant."""
        keys = self.register.keys_of(tenant_id)
        if not keys:
            self.tenant(tenant_id)
        return keys

    def make_key(
        self,
        tenant_id: TenantId,
        actor: Actor,
        label: str = "",
        expires_at: datetime | None = None,
        user_id: str = "",
        role: Role = Role.MEMBER,
        cost_centres: tuple[str, ...] = (),
    ) -> tuple[Key, str]:
        """A new key and its text, which is never stored. Raises NotFoundError, BadRequestError."""
        now = self.clock()
        if cost_centres:
            self._must_be_owned(tenant_id, cost_centres)
        if expires_at is not None and not now < expires_at < LAST_EXPIRY:
            raise BadRequestError("expires_at must be in the future.", code="invalid_expiry")
        key, text = _fresh(tenant_id, label, now, expires_at)
        key = replace(key, user_id=user_id, role=role, cost_centres=cost_centres)
        try:
            self.register.add_key(key, self._key_record("make_key", actor, None, key))
        except Changed:
            raise NotFoundError("Tenant not found.", code="tenant_not_found") from None
        return key, text

    def _must_be_owned(self, tenant_id: TenantId, cost_centres: tuple[str, ...]) -> None:
        """Raises NotFoundError, BadRequestError."""
        tenant = self.tenant(tenant_id)
        if strange := [centre for centre in cost_centres if not tenant.owns(centre)]:
            raise BadRequestError(
                f"cost_centres: {strange[0]!r} is not one of the tenant's cost centres.", code="invalid_key"
            )

    def make_decoy(self, actor: Actor, label: str = "") -> tuple[Key, str]:
        """A key without access, to be placed where only a thief finds it: its use raises an alarm."""
        key, text = _fresh(TenantId(""), label, self.clock(), None)
        decoy = replace(key, decoy=True)
        self.register.add_key(decoy, self._key_record("make_decoy", actor, None, decoy))
        return decoy, text

    def revoke_key(self, tenant_id: TenantId, key_id: KeyId, actor: Actor) -> None:
        """Revoke a key; a key that is revoked already stays unchanged. Raises NotFoundError, Conflict."""
        for _ in range(_TRIES):
            before = self.key(tenant_id, key_id)
            if before.revoked:
                return
            after = replace(before, revoked=True)
            try:
                self.register.change_key(after, before, self._key_record("revoke_key", actor, before, after))
            except Changed:
                continue
            return
        raise Conflict("The key was modified concurrently. Retry.")

    def rotate_key(
        self, tenant_id: TenantId, key_id: KeyId, overlap: timedelta, actor: Actor, until: datetime | None = None
    ) -> tuple[Key, str]:
        """Create a new key, which expires at `until`; the old one expires after the overlap.

        Raises NotFoundError, Conflict.
        """
        now = self.clock()
        before = self.key(tenant_id, key_id)
        if any(scope.key == key_id for scope in self.tenant(tenant_id).limited_scopes):
            raise Conflict("A budget or limit names this key, and its successor would have none. Change that first.")
        if not before.works(now):
            raise Conflict("This key has expired or been revoked. Create a new one.", code="key_not_active")
        end = now + overlap
        after = replace(before, expires_at=min(end, before.expires_at) if before.expires_at else end)
        key, text = _fresh(tenant_id, before.label, now, until)
        key = replace(key, user_id=before.user_id, role=before.role, cost_centres=before.cost_centres)
        record = self._key_record("rotate_key", actor, before, after, {"successor": key_to_json(key)})
        try:
            self.register.change_key(after, before, record, successor=key)
        except Changed:
            raise Conflict("The key was modified concurrently. Retry.") from None
        return key, text

    def key(self, tenant_id: TenantId, key_id: KeyId) -> Key:
        """Raises NotFoundError."""
        key = self.register.key_of(tenant_id, key_id)
        if key is None:
            raise NotFoundError("Key not found.", code="key_not_found")
        return key

    # ------------------------------------------------------------------------------------------------------- users
    def user(self, tenant_id: TenantId, user_id: str) -> User:
        """The user of this id. Raises NotFoundError."""
        found = self.register.user_named(tenant_id, user_id)
        if found is None or found.deleted or name_of(found.user_id) != name_of(user_id):
            raise NotFoundError("User not found.", code="user_not_found")
        return found

    def user_named(self, tenant_id: TenantId, name: str) -> User | None:
        """The user with this id, user name or external id."""
        found = self.register.user_named(tenant_id, name)
        return None if found is None or found.deleted else found

    def users(self, tenant_id: TenantId, limit: int, start: str | None) -> Page:
        """Raises NotFoundError for an unknown tenant."""
        page = self.register.users(tenant_id, limit, start)
        if not page.items and start is None:
            self.tenant(tenant_id)
        return page

    def put_user(
        self, wanted: User, actor: Actor, *, new: bool = False, version: int | None = None
    ) -> tuple[User, bool]:
        """Create or change the user of this id. Returns it, and whether it is new. `new`: there must be none yet.

        `version` is that of the record on which the change is based. Raises BadRequestError, UserExistsError,
        NotFoundError for an unknown tenant, Changed for another version, and Conflict.
        """
        must_be_sound_user(wanted)
        for _ in range(_TRIES):
            before = self._user_before(wanted, new=new)
            if version is not None and version != (before.version if before else 0):
                raise Changed
            is_new = before is None or before.deleted
            since = self.clock() if before is None or is_new else before.created_at
            found = before.version if before else 0
            user_id = before.user_id if before else wanted.user_id
            after = replace(
                wanted, user_id=user_id, user_name=wanted.user_name or user_id, created_at=since,
                changed_at=self.clock(), deleted=False, version=found + 1,
            )  # fmt: skip
            if before:
                # Keys and tokens may still name it by these, so these must say whether it is switched off.
                after = replace(after, former=tuple(sorted(before.names - after.names)))
            if len(after.former) > MOST_FORMER_NAMES:
                raise BadRequestError(f"A user may have {MOST_FORMER_NAMES} former names.", code="invalid_user")
            if before and replace(after, changed_at=before.changed_at, version=before.version) == before:
                return before, False
            try:
                self.register.put_user(after, before, self._user_record(actor, before, after))
            except Changed:
                self.tenant(wanted.tenant_id)
                continue
            return after, is_new
        raise Conflict("The user was modified concurrently. Fetch it again and retry.")

    def change_user(self, tenant_id: TenantId, user_id: str, actor: Actor, change: Callable[[User], User]) -> User:
        """Change the current user; a concurrent change is never lost. Raises the errors of `user` and `put_user`."""
        for _ in range(_TRIES):
            before = self.user(tenant_id, user_id)
            try:
                return self.put_user(change(before), actor, version=before.version)[0]
            except Changed:
                continue
        raise Conflict("The user was modified concurrently. Fetch it again and retry.")

    def _user_before(self, wanted: User, *, new: bool) -> User | None:
        """The record that the change replaces. Raises UserExistsError if a name is another user's."""
        own = None
        for name in wanted.names:
            found = self.register.user_named(wanted.tenant_id, name)
            if found is None:
                continue
            if name_of(found.user_id) == name_of(wanted.user_id):
                own = found
            elif not found.deleted:
                raise UserExistsError(name)
        if new and own is not None and not own.deleted:
            raise UserExistsError(wanted.user_id)
        return own

    def delete_user(self, tenant_id: TenantId, user_id: str, actor: Actor) -> None:
        """Switch the user off for good, until it is created again. Raises NotFoundError, Conflict."""
        for _ in range(_TRIES):
            before = self.user(tenant_id, user_id)
            after = replace(
                before, active=False, deleted=True, changed_at=self.clock(), version=before.version + 1,
                display_name="", email="",
            )  # fmt: skip
            try:
                self.register.put_user(after, before, self._user_record(actor, before, None))
            except Changed:
                continue
            return
        raise Conflict("The user was modified concurrently. Fetch it again and retry.")

    # ------------------------------------------------------------------------------------------------------- audit
    def _user_record(self, actor: Actor, before: User | None, after: User | None) -> AuditRecord:
        there = before if before and not before.deleted else None
        action = "create_user" if there is None else "delete_user" if after is None else "change_user"
        if there and after and after.active != there.active:
            action = "switch_on_user" if after.active else "switch_off_user"
        user = after or before
        assert user is not None  # noqa: S101  (one of both is there)
        shown = [user_to_json(each) if each else None for each in (there, after)]
        return self._record(action, actor, user.tenant_id, KeyId(""), *shown)

    def _tenant_record(
        self, actor: Actor, before: Tenant | None, after: Tenant | None, action: str = "change_tenant"
    ) -> AuditRecord:
        action = "create_tenant" if before is None else "delete_tenant" if after is None else action
        tenant = after or before
        assert tenant is not None  # noqa: S101  (one of both is there)
        if before and after and after.suspended != before.suspended:
            action = "suspend_tenant" if after.suspended else "resume_tenant"
        shown = [tenant_to_json(each) if each else None for each in (before, after)]
        return self._record(action, actor, tenant.tenant_id, KeyId(""), *shown)

    def _key_record(
        self, action: str, actor: Actor, before: Key | None, after: Key, more: Mapping[str, Any] | None = None
    ) -> AuditRecord:
        shown = key_to_json(before) if before else None
        return self._record(action, actor, after.tenant_id, after.key_id, shown, {**key_to_json(after), **(more or {})})

    def _record(self, action: str, actor: Actor, tenant_id: TenantId, key_id: KeyId, *states: Any) -> AuditRecord:
        before, after = states
        return AuditRecord(
            f"audit_{secrets.token_hex(8)}", self.clock(), action, actor, tenant_id, key_id, before, after
        )


def _stack_of(arn: str) -> str:
    """The account, region and name of an actor that is a CloudFormation stack; empty for any other actor."""
    return arn.rpartition("/")[0] if arn.startswith(STACK) else ""


def _fresh(tenant_id: TenantId, label: str, now: datetime, expires_at: datetime | None) -> tuple[Key, str]:
    text = new_key()
    return Key(KeyId(f"key_{secrets.token_hex(6)}"), tenant_id, digest_of(text), label, now, expires_at), text

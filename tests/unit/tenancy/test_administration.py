"""Operators' changes, on a register in memory and in DynamoDB: all or nothing, and never without a record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3
import pytest

from gateway.aws.dynamodb.tenant_register import TenantRegister
from gateway.aws.dynamodb.tenants import TenantTable
from gateway.core.errors import BadRequestError, NotFoundError
from gateway.tenancy.administration import (
    Actor,
    Administration,
    AuditRecord,
    Changed,
    Conflict,
    Page,
    Register,
    TenantIdUsed,
    VersionConflict,
    key_to_json,
)
from gateway.tenancy.budgets import Budget
from gateway.tenancy.keys import Key, digest_of, looks_like_key
from gateway.tenancy.tenant import Tenant
from gateway.tenancy.users import User, UserExistsError, name_of
from gateway.usage.records import KeyId, TenantId

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
ANN = Actor("arn:aws:iam::111122223333:user/ann", "AKIAEXAMPLE", "203.0.113.7")
STACK_ONE = Actor("cloudformation:arn:aws:cloudformation:us-east-1:111122223333:stack/team/1")
ACME = Tenant(TenantId("acme"), "Acme", ("research", "ops"))
ID = ACME.tenant_id


@dataclass
class MemoryRegister:
    held: dict[str, Tenant] = field(default_factory=dict)
    held_keys: dict[str, Key] = field(default_factory=dict)
    held_users: dict[tuple[str, str], User] = field(default_factory=dict)
    records: list[AuditRecord] = field(default_factory=list)

    def tenant(self, tenant_id: TenantId) -> Tenant | None:
        return self.held.get(tenant_id)

    def tenants(self, limit: int, start: str | None) -> Page:
        names = [name for name in sorted(self.held) if start is None or name > start]
        return Page([self.held[name] for name in names[:limit]], names[limit - 1] if len(names) > limit else None)

    def keys_of(self, tenant_id: TenantId) -> Sequence[Key]:
        return [key for key in self.held_keys.values() if key.tenant_id == tenant_id and not key.decoy]

    def key_of(self, tenant_id: TenantId, key_id: KeyId) -> Key | None:
        return next((key for key in self.keys_of(tenant_id) if key.key_id == key_id), None)

    def put_tenant(self, after: Tenant, before: Tenant | None, record: AuditRecord) -> None:
        if self.held.get(after.tenant_id) != before:
            raise Changed
        self.held[after.tenant_id] = after
        self.records.append(record)

    def remove_tenant(self, before: Tenant, record: AuditRecord) -> None:
        if self.held.get(before.tenant_id) != before:
            raise Changed
        del self.held[before.tenant_id]
        self.records.append(record)

    def remove_keys(self, tenant_id: TenantId) -> None:
        self.held_keys = {name: key for name, key in self.held_keys.items() if key.tenant_id != tenant_id}

    def remove_users(self, tenant_id: TenantId) -> None:
        self.held_users = {name: user for name, user in self.held_users.items() if name[0] != tenant_id}

    def user_named(self, tenant_id: TenantId, name: str) -> User | None:
        return self.held_users.get((tenant_id, name_of(name)))

    def users(self, tenant_id: TenantId, limit: int, start: str | None) -> Page:
        found = [
            user for (tenant, name), user in sorted(self.held_users.items(), key=lambda item: item[0])
            if tenant == tenant_id and name == name_of(user.user_id) and not user.deleted and (start is None or name > start)
        ]  # fmt: skip
        return Page(found[:limit], name_of(found[limit - 1].user_id) if len(found) > limit else None)

    def put_user(self, after: User, before: User | None, record: AuditRecord) -> None:
        if self.held_users.get((after.tenant_id, name_of(after.user_id))) != before or after.tenant_id not in self.held:
            raise Changed
        for name in before.names if before else ():
            del self.held_users[after.tenant_id, name]
        self.held_users |= {(after.tenant_id, name): after for name in after.names}
        self.records.append(record)

    def add_key(self, key: Key, record: AuditRecord) -> None:
        if not key.decoy and key.tenant_id not in self.held:
            raise Changed
        self.held_keys[key.digest] = key
        self.records.append(record)

    def change_key(self, after: Key, before: Key, record: AuditRecord, *, successor: Key | None = None) -> None:
        if self.held_keys.get(before.digest) != before:
            raise Changed
        self.held_keys |= {key.digest: key for key in (after, successor) if key}
        self.records.append(record)

    def audit(self, tenant_id: TenantId | None, limit: int, start: str | None, now: datetime) -> Page:
        newest = [r for r in reversed(self.records) if tenant_id is None or r.tenant_id == tenant_id]
        first = int(start or 0)
        return Page(newest[first : first + limit], str(first + limit) if len(newest) > first + limit else None)


class Clock:
    now = START

    def __call__(self) -> datetime:
        Clock.now += timedelta(milliseconds=1)
        return Clock.now


@pytest.fixture(params=["memory", "dynamodb"])
def register(request: pytest.FixtureRequest) -> Register:
    Clock.now = START
    if request.param == "memory":
        return MemoryRegister()
    request.getfixturevalue("aws")
    return TenantRegister("tenants")


@pytest.fixture
def admin(register: Register) -> Administration:
    return Administration(register, Clock())


def records(admin: Administration, tenant_id: TenantId | None = None) -> list[AuditRecord]:
    found: list[AuditRecord] = []
    start: str | None = None
    while True:
        page = admin.register.audit(tenant_id, 2, start, Clock.now)
        found += page.items
        if page.next is None:
            return found
        start = page.next


def test_a_tenant_is_made_once_and_changed_by_versions(admin: Administration) -> None:
    first, is_new = admin.put_tenant(ACME, ANN)
    assert (first, is_new) == (replace(ACME, version=1), True)
    assert admin.put_tenant(ACME, ANN) == (first, False)  # as it is already: nothing is written
    second, is_new = admin.put_tenant(replace(ACME, budget=Budget(Decimal("0.12"), hard=True)), ANN, expected=1)
    assert (second.version, is_new) == (2, False)
    assert admin.tenant(ID) == second
    with pytest.raises(VersionConflict, match="version 2"):
        admin.put_tenant(ACME, ANN, expected=1)
    assert [record.action for record in records(admin)] == ["change_tenant", "create_tenant"]


def test_a_record_says_who_did_what_before_and_after(admin: Administration) -> None:
    admin.put_tenant(ACME, ANN)
    admin.put_tenant(replace(ACME, suspended=True), ANN)
    newest, oldest = records(admin, ID)
    assert (newest.action, newest.actor, newest.tenant_id) == ("suspend_tenant", ANN, "acme")
    assert newest.before is not None
    assert newest.after is not None
    assert (newest.before["suspended"], newest.after["suspended"]) == (False, True)
    assert (oldest.before, oldest.after) == (None, newest.before)
    assert newest.at > oldest.at


def test_a_change_under_ones_hands_is_seen(admin: Administration, monkeypatch: pytest.MonkeyPatch) -> None:
    admin.put_tenant(ACME, ANN)
    read, stale = admin.register.tenant, admin.register.tenant(ID)
    admin.put_tenant(replace(ACME, name="by another"), ANN)
    answers = iter([stale])
    monkeypatch.setattr(type(admin.register), "tenant", lambda _, tenant_id: next(answers, None) or read(tenant_id))
    after, _ = admin.put_tenant(replace(ACME, name="mine"), ANN)
    assert (after.name, after.version) == ("mine", 3)
    monkeypatch.setattr(type(admin.register), "tenant", lambda *_: stale)
    with pytest.raises(Conflict):
        admin.put_tenant(replace(ACME, name="never"), ANN)
    assert len(records(admin)) == 3  # and what did not happen is not on record


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tenant_id": "a#b"}, "tenant_id"),
        ({"cost_centres": ("../x",)}, "cost_centres"),
        ({"cost_centres": ("a", "a")}, "unique"),
        ({"cost_centre_budgets": {"sales": Budget(Decimal(1))}}, "'sales' is not one"),
        ({"budget": Budget(Decimal(-1))}, "monthly_usd"),
        ({"budget": Budget(Decimal("NaN"))}, "monthly_usd"),
        ({"budget": Budget(Decimal("1e12"))}, "monthly_usd"),
        ({"allowed_models": ("x" * 200,) * 50}, "exceeds"),
    ],
)
def test_what_contradicts_itself_is_refused(admin: Administration, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequestError, match=said) as refused:
        admin.put_tenant(replace(ACME, **wrong), ANN)
    assert refused.value.code == "invalid_tenant"
    assert records(admin) == []


def test_a_key_is_shown_once_and_nowhere_kept(admin: Administration) -> None:
    admin.put_tenant(ACME, ANN)
    key, text = admin.make_key(ID, ANN, "ci", START + timedelta(days=1))
    assert looks_like_key(text)
    assert admin.keys(ID) == [key]
    assert key.digest == digest_of(text)
    kept = json.dumps([record.to_json() for record in records(admin)] + [key_to_json(key)])
    assert text not in kept
    assert key.digest not in kept
    with pytest.raises(BadRequestError, match="future"):
        admin.make_key(ID, ANN, "late", START)
    with pytest.raises(NotFoundError):
        admin.make_key(TenantId("nobody"), ANN)


def test_revoking_twice_is_one_act(admin: Administration) -> None:
    admin.put_tenant(ACME, ANN)
    key, _ = admin.make_key(ID, ANN)
    for _ in range(2):
        admin.revoke_key(ID, key.key_id, ANN)
    assert not admin.keys(ID)[0].works(START)
    assert [record.action for record in records(admin, ID)] == ["revoke_key", "make_key", "create_tenant"]
    with pytest.raises(NotFoundError):
        admin.revoke_key(TenantId("rival"), key.key_id, ANN)
    with pytest.raises(Conflict, match="expired or been revoked"):
        admin.rotate_key(ID, key.key_id, timedelta(0), ANN)


def test_a_rotated_key_works_beside_its_successor_for_the_overlap(admin: Administration) -> None:
    admin.put_tenant(ACME, ANN)
    soon = START + timedelta(hours=1)
    for expires_at, end in ((None, START + timedelta(days=1)), (soon, soon)):
        old, _ = admin.make_key(ID, ANN, "ci", expires_at)
        new, _ = admin.rotate_key(ID, old.key_id, timedelta(days=1), ANN)
        ended = next(key for key in admin.keys(ID) if key.key_id == old.key_id)
        assert ended.works(end - timedelta(seconds=1))
        assert not ended.works(end + timedelta(seconds=1))
        assert (new.label, new.expires_at) == ("ci", None)
        newest = records(admin, ID)[0]
        assert newest.after is not None
        assert newest.after["successor"]["key_id"] == new.key_id


def test_the_keys_of_a_deleted_tenant_die_and_do_not_revive(admin: Administration) -> None:
    admin.put_tenant(ACME, STACK_ONE)
    for _ in range(60):  # more than one transaction holds
        admin.make_key(ID, ANN)
    admin.delete_tenant(ID, ANN)
    for act in (lambda: admin.tenant(ID), lambda: admin.keys(ID), lambda: admin.delete_tenant(ID, ANN)):
        with pytest.raises(NotFoundError):
            act()
    admin.put_tenant(ACME, STACK_ONE)
    assert admin.keys(ID) == []
    assert admin.was_made_by(ID, STACK_ONE)
    assert not admin.was_made_by(ID, Actor("somebody else"))


def test_the_id_of_a_deleted_tenant_is_not_given_again(admin: Administration) -> None:
    """Its new owner would see what the old one used."""
    admin.put_tenant(ACME, ANN)
    key, _ = admin.make_key(ID, ANN)
    admin.revoke_key(ID, key.key_id, ANN)
    admin.delete_tenant(ID, ANN)
    for actor in (ANN, STACK_ONE):
        with pytest.raises(TenantIdUsed, match="Choose another id") as refused:
            admin.put_tenant(replace(ACME, name="Another"), actor)
        assert (refused.value.code, refused.value.status) == ("tenant_id_used", 409)
    with pytest.raises(NotFoundError):
        admin.tenant(ID)
    assert records(admin, ID)[0].action == "delete_tenant"  # a refusal leaves none


def test_a_tenant_that_never_had_a_key_leaves_its_id_free(admin: Administration) -> None:
    """As one whose stack was rolled back: nobody can have used anything."""
    admin.put_tenant(ACME, STACK_ONE)
    admin.delete_tenant(ID, STACK_ONE)
    assert admin.put_tenant(ACME, ANN)[1]


def test_a_stack_may_make_again_what_a_stack_of_its_name_had_made(admin: Administration) -> None:
    admin.put_tenant(ACME, STACK_ONE)
    admin.make_key(ID, ANN)
    admin.delete_tenant(ID, STACK_ONE)
    for stranger in (
        Actor(STACK_ONE.arn.replace("/team/", "/other/")),
        Actor(STACK_ONE.arn.replace("111", "999")),
        ANN,
    ):
        with pytest.raises(TenantIdUsed):
            admin.put_tenant(ACME, stranger)
    assert admin.put_tenant(ACME, Actor(STACK_ONE.arn + "-second-life"))[1]


def test_tenants_are_listed_by_pages(admin: Administration) -> None:
    names = [f"team-{number}" for number in range(5)]
    for name in names:
        admin.put_tenant(replace(ACME, tenant_id=TenantId(name)), ANN)
    start, seen = None, []
    while True:
        page = admin.register.tenants(2, start)
        seen += [tenant.tenant_id for tenant in page.items]
        if (start := page.next) is None:
            break
    assert seen == names


def test_a_decoy_belongs_to_nobody(admin: Administration) -> None:
    decoy, text = admin.make_decoy(ANN, "the old wiki")
    assert looks_like_key(text)
    assert not decoy.works(START)
    (record,) = records(admin)
    assert (record.action, record.tenant_id, record.key_id) == ("make_decoy", "", decoy.key_id)


def test_the_audit_goes_back_over_the_months(aws: None) -> None:
    clock: list[datetime] = []
    admin = Administration(TenantRegister("tenants"), lambda: clock[-1])
    for month in (1, 2, 5, 11):
        clock.append(datetime(2026, month, 3, tzinfo=UTC))
        admin.make_decoy(ANN, str(month))
    Clock.now = START
    assert [record.at.month for record in records(admin)] == [11, 5, 2, 1]
    for word in ("x", "WzEsMl0", "WyJ0ZW5hbnRzIiwgIngiXQ", "WyJhdWRpdCN4IiwgIngiXQ"):
        with pytest.raises(BadRequestError, match="next"):
            admin.register.audit(None, 5, word, START)


def test_a_use_that_is_noted_meanwhile_is_kept(aws: None) -> None:
    admin = Administration(TenantRegister("tenants"), Clock())
    admin.put_tenant(ACME, ANN)
    key, text = admin.make_key(ID, ANN)
    TenantTable("tenants").note_use(key, START.date())
    admin.revoke_key(ID, key.key_id, ANN)
    TenantTable("tenants").note_use(key, START.date() - timedelta(days=1))
    assert admin.keys(ID) == [replace(key, revoked=True, last_used=START.date())]
    admin.delete_tenant(ID, ANN)
    TenantTable("tenants").note_use(key, START.date())  # a key that is gone stays gone
    items = boto3.client("dynamodb").scan(TableName="tenants")["Items"]
    assert {item["pk"]["S"].partition("#")[0] for item in items} == {"tenant", "audit"}
    assert text not in json.dumps(items)


# ------------------------------------------------------------------------------------------------------------- users
def user(user_id: str, **more: Any) -> User:
    return User(ID, user_id, START, START, **more)


def test_a_user_is_made_changed_and_deleted_with_a_record_of_each(admin: Administration) -> None:
    admin.put_tenant(ACME, ANN)
    made, is_new = admin.put_user(user("Ann@acme.example", display_name="Ann"), ANN)
    assert (is_new, made.active) == (True, True)
    assert admin.put_user(made, ANN) == (made, False)
    assert admin.put_user(replace(made, active=False), ANN)[0].created_at == made.created_at
    assert admin.user(ID, "ann@acme.example").active is False
    admin.put_user(made, ANN)
    admin.delete_user(ID, "ann@acme.example", ANN)
    with pytest.raises(NotFoundError):
        admin.user(ID, "ann@acme.example")
    with pytest.raises(NotFoundError):
        admin.delete_user(ID, "ann@acme.example", ANN)
    actions = [record.action for record in records(admin, ID)]
    assert actions == ["delete_user", "switch_on_user", "switch_off_user", "create_user", "create_tenant"]


def test_a_deleted_user_stays_off_under_each_name_until_it_is_made_again(admin: Administration) -> None:
    """A user without a record is switched on, so the record outlives the user."""
    admin.put_tenant(ACME, ANN)
    admin.put_user(user("ann", user_name="ann@acme.example", external_id="0a1b"), ANN)
    admin.delete_user(ID, "ann", ANN)
    for name in ("ann", "ANN@acme.example", "0a1b"):
        kept = admin.register.user_named(ID, name)
        assert kept is not None
        assert (kept.active, kept.deleted, kept.display_name) == (False, True, "")
    assert admin.users(ID, 10, None).items == []
    again, is_new = admin.put_user(user("ann"), ANN, new=True)
    assert (is_new, again.active) == (True, True)


def test_a_name_is_one_users_alone(admin: Administration) -> None:
    admin.put_tenant(ACME, ANN)
    admin.put_user(user("ann", external_id="0a1b"), ANN)
    for wanted in (user("0A1B"), user("bob", external_id="ann"), user("bob", user_name="ANN")):
        with pytest.raises(UserExistsError):
            admin.put_user(wanted, ANN)
    with pytest.raises(UserExistsError):
        admin.put_user(user("ann"), ANN, new=True)
    assert [each.user_id for each in admin.users(ID, 10, None).items] == ["ann"]


@pytest.mark.parametrize("wrong", ["", "a b", "-a", "a#b", "a" * 129, "ä"])
def test_a_user_has_a_name_that_a_row_of_the_ledger_takes(admin: Administration, wrong: str) -> None:
    admin.put_tenant(ACME, ANN)
    with pytest.raises(BadRequestError):
        admin.put_user(user(wrong), ANN)


def test_users_are_paged_and_go_with_their_tenant(admin: Administration) -> None:
    admin.put_tenant(ACME, ANN)
    for number in range(5):
        admin.put_user(user(f"u{number}", external_id=f"x{number}"), ANN)
    admin.delete_user(ID, "u3", ANN)
    found: list[str] = []
    start: str | None = None
    while True:
        page = admin.users(ID, 2, start)
        found += [each.user_id for each in page.items]
        if (start := page.next) is None:
            break
    assert found == ["u0", "u1", "u2", "u4"]
    admin.delete_tenant(ID, ANN)
    assert admin.register.user_named(ID, "x0") is None
    for act in (lambda: admin.users(ID, 2, None), lambda: admin.put_user(user("ann"), ANN)):
        with pytest.raises(NotFoundError):
            act()

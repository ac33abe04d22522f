"""The attribution of a call: who wins, what is kept, and how many values there may be."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.aws.dynamodb.attribution import ClaimTable, HashSecret
from gateway.calls.attribution import MOST_DISTINCT, NAMES, OTHER, PAIRS, USERS, Attributed, Attributor
from gateway.calls.claims import NO_CLAIM, Claim, claim_of_headers, claimed_labels, claimed_user
from gateway.tenancy.caller import Caller
from gateway.tenancy.tenant import AttributionSettings, Kept, Tenant, tenant_from_json, tenant_to_json
from gateway.usage.records import NOBODY, Attribution, KeyId, TenantId, UserSource

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
ACME, HASHES = Tenant(TenantId("acme"), "Acme", ()), AttributionSettings(Kept.HASH, Kept.HASH)
ANYONE = Caller(ACME, KeyId("k"))
OWNED = replace(ANYONE, user_id="alice", user_source=UserSource.KEY)
SIGNED_IN = replace(ANYONE, user_id="alice", user_source=UserSource.TOKEN)


class Values:
    """Distinct values and names in memory, which count their requests."""

    def __init__(self) -> None:
        self.days: dict[tuple[TenantId, date], dict[str, set[str]]] = {}
        self.kept: dict[tuple[TenantId, str], tuple[str, datetime]] = {}
        self.reads = self.writes = self.names_kept = 0
        self.fails = False

    def known(self, tenant_id: TenantId, day: date) -> Mapping[str, frozenset[str]]:
        self.reads += 1
        self._may_fail()
        return {kind: frozenset(found) for kind, found in self.days.get((tenant_id, day), {}).items()}

    def admit(
        self, tenant_id: TenantId, day: date, new: Mapping[str, frozenset[str]], most: int
    ) -> Mapping[str, frozenset[str]] | None:
        self.writes += 1
        self._may_fail()
        found = self.days.setdefault((tenant_id, day), {})
        if any(len(found.get(kind, ())) > most - len(digests) for kind, digests in new.items()):
            return {kind: frozenset(known) for kind, known in found.items()}
        for kind, digests in new.items():
            found.setdefault(kind, set()).update(digests)
        return None

    def keep(self, tenant_id: TenantId, hashed: str, name: str, until: datetime) -> None:
        self.names_kept += 1
        self._may_fail()
        self.kept[tenant_id, hashed] = (name, until)

    def names(self, tenant_id: TenantId, hashes: Sequence[str], now: datetime) -> dict[str, str]:
        found = {one: self.kept[tenant_id, one] for one in hashes if (tenant_id, one) in self.kept}
        return {one: name for one, (name, until) in found.items() if until > now}

    def _may_fail(self) -> None:
        if self.fails:
            raise OSError("the store is away")


def attributor(values: Any = None, secret: bytes = b"secret") -> Attributor:
    found = values or Values()
    return Attributor(found, found, lambda: secret)


def claim(user: str = "", tags: str = "") -> Claim:
    return claim_of_headers({"x-gateway-user": user, "x-gateway-tags": tags})


def with_settings(caller: Caller, settings: AttributionSettings) -> Caller:
    return replace(caller, tenant=replace(caller.tenant, attribution=settings))


# --------------------------------------------------------------------------------------------------------- who it is
@pytest.mark.parametrize("verified", [OWNED, SIGNED_IN])
@pytest.mark.parametrize(
    "body", [claimed_user("user", "bob"), claimed_labels("metadata", {"user_id": "bob"}), claim("bob")]
)
def test_a_forged_user_changes_nothing_for_an_owned_key_or_a_token(verified: Caller, body: Claim) -> None:
    made = attributor().attribute(verified, body, NOON)
    assert made.attribution == Attribution("alice", verified.user_source)
    assert "the claimed user was left out" in made.warnings[0]


def test_a_claim_of_ones_own_name_is_no_reason_to_warn() -> None:
    assert attributor().attribute(OWNED, claim("alice"), NOON) == Attributed(OWNED.attribution)


def test_a_claimed_user_is_marked_as_claimed() -> None:
    made = attributor().attribute(ANYONE, claim("bob", "stage=test,project=apollo"), NOON)
    tags = (("project", "apollo"), ("stage", "test"))
    assert made == Attributed(Attribution("bob", UserSource.CLAIMED, tags))


def test_tags_go_beside_a_verified_user() -> None:
    made = attributor().attribute(SIGNED_IN, claim(tags="project=apollo"), NOON)
    assert made == Attributed(Attribution("alice", UserSource.TOKEN, (("project", "apollo"),)))


def test_a_call_that_says_nothing_costs_no_request() -> None:
    values = Values()
    for caller in (ANYONE, OWNED, SIGNED_IN, with_settings(OWNED, AttributionSettings(users=Kept.HASH))):
        attributor(values).attribute(caller, NO_CLAIM, NOON)
    assert (values.reads, values.writes, values.names_kept) == (0, 0, 0)


# ------------------------------------------------------------------------------------------------------------ privacy
def test_a_name_is_kept_as_the_same_hash_whatever_named_it() -> None:
    ours, hashed = attributor(), []
    for caller, said in ((OWNED, NO_CLAIM), (SIGNED_IN, NO_CLAIM), (ANYONE, claim("alice"))):
        made = ours.attribute(with_settings(caller, HASHES), said, NOON).attribution
        assert made.user_source is (caller.user_source or UserSource.CLAIMED)
        hashed.append(made.user_id)
    assert len(set(hashed)) == 1
    assert len(hashed[0]) == len("h_") + 32
    assert hashed[0] == ours.kept(with_settings(OWNED, HASHES)).user_id


def test_a_hash_tells_neither_the_name_nor_that_two_tenants_share_it() -> None:
    other = replace(OWNED, tenant=replace(ACME, tenant_id=TenantId("other")))
    said = claim(tags="project=apollo,alias=apollo")
    first = attributor().attribute(with_settings(OWNED, HASHES), said, NOON).attribution
    second = attributor().attribute(with_settings(other, HASHES), said, NOON).attribution
    rekeyed = attributor(secret=b"another").attribute(with_settings(OWNED, HASHES), said, NOON).attribution
    values = [value for made in (first, second, rekeyed) for value in (made.user_id, *dict(made.tags).values())]
    assert len(set(values)) == 9
    assert not any(name in "".join(values) for name in ("alice", "apollo"))
    assert dict(first.tags).keys() == {"alias", "project"}


def test_what_a_tenant_does_not_keep_is_nowhere() -> None:
    values, nothing = Values(), AttributionSettings(Kept.NONE, Kept.NONE)
    for caller in (ANYONE, OWNED, SIGNED_IN):
        made = attributor(values).attribute(with_settings(caller, nothing), claim("bob", "project=apollo"), NOON)
        assert made.attribution == NOBODY
    assert values.days == {}


def test_the_name_behind_a_hash_is_known_for_a_time_and_forgotten() -> None:
    values, kept = Values(), AttributionSettings(Kept.HASH, Kept.HASH, names_kept_days=30)
    ours = attributor(values)
    made = ours.attribute(with_settings(OWNED, kept), claim(tags="project=apollo"), NOON).attribution
    hashes = [made.user_id, dict(made.tags)["project"]]
    assert list(ours.known_names(ACME.tenant_id, [*hashes, "h_unknown"], NOON).values()) == ["alice", "apollo"]
    assert ours.known_names(TenantId("other"), hashes, NOON) == {}
    assert ours.known_names(ACME.tenant_id, hashes, NOON + timedelta(days=31)) == {}
    for _ in range(5):
        ours.attribute(with_settings(OWNED, kept), claim(tags="project=apollo"), NOON)
    assert values.names_kept == 2
    ours.attribute(with_settings(OWNED, kept), NO_CLAIM, NOON + timedelta(days=1))
    assert ours.known_names(ACME.tenant_id, hashes[:1], NOON + timedelta(days=30, hours=1))


def test_no_name_is_kept_unless_the_tenant_says_so() -> None:
    values = Values()
    attributor(values).attribute(with_settings(OWNED, HASHES), claim("", "project=apollo"), NOON)
    assert values.kept == {}


def test_without_the_secret_the_row_has_no_clear_name() -> None:
    def away() -> bytes:
        raise OSError

    values = Values()
    made = Attributor(values, values, away).attribute(
        with_settings(SIGNED_IN, HASHES), claim(tags="project=apollo"), NOON
    )
    assert made.attribution == Attribution(OTHER, UserSource.TOKEN, (("project", OTHER),))


@pytest.mark.parametrize("settings", [AttributionSettings(), HASHES, AttributionSettings(Kept.NONE, Kept.HASH, 30)])
def test_the_settings_of_a_tenant_survive_json(settings: AttributionSettings) -> None:
    tenant = replace(ACME, attribution=settings)
    assert tenant_from_json(tenant_to_json(tenant)) == tenant
    assert ("attribution" in tenant_to_json(tenant)) is (settings != AttributionSettings())


# ------------------------------------------------------------------------------------------------------------- bounds
def test_a_known_value_costs_no_request_and_a_new_one_a_single_write() -> None:
    values = Values()
    ours = attributor(values)
    for _ in range(10):
        ours.attribute(ANYONE, claim("bob", "project=apollo,stage=test"), NOON)
    assert (values.reads, values.writes) == (1, 1)
    ours.attribute(ANYONE, claim("bob", "project=gemini"), NOON)
    assert (values.reads, values.writes) == (1, 2)
    attributor(values).attribute(ANYONE, claim("bob", "project=gemini"), NOON)
    assert (values.reads, values.writes) == (2, 2)


def test_a_hundred_thousand_users_and_tags_stay_bounded_in_rows_items_and_memory() -> None:
    values = Values()
    ours = attributor(values)
    users: set[str] = set()
    pairs: set[tuple[str, str]] = set()
    told = 0
    for number in range(100_000):
        made = ours.attribute(ANYONE, claim(f"user-{number}", f"run=r{number}"), NOON)
        assert made.attribution.user_source is UserSource.CLAIMED
        users.add(made.attribution.user_id)
        pairs.update(made.attribution.tags)
        told += bool(made.warnings)
    assert len(users) == len(pairs) == MOST_DISTINCT + 1
    assert OTHER in users
    assert ("run", OTHER) in pairs
    assert told == 100_000 - MOST_DISTINCT
    (day,) = values.days.values()
    assert {kind: len(found) for kind, found in day.items()} == {USERS: MOST_DISTINCT, PAIRS: MOST_DISTINCT, NAMES: 1}
    assert (values.reads, values.writes) == (1, MOST_DISTINCT)
    (known,) = ours._days.values()
    assert sum(len(found) for found in known.digests.values()) == 2 * MOST_DISTINCT + 1


def test_names_of_tags_are_bounded_as_well() -> None:
    ours = attributor()
    pairs: set[tuple[str, str]] = set()
    for number in range(5_000):
        pairs.update(ours.attribute(ANYONE, claim(tags=f"name{number}=v"), NOON).attribution.tags)
    assert len(pairs) == MOST_DISTINCT


def test_a_known_user_stays_known_when_the_day_is_full_and_the_next_day_begins_anew() -> None:
    ours = attributor()
    for number in range(MOST_DISTINCT + 5):
        ours.attribute(ANYONE, claim(f"user-{number}"), NOON)
    assert ours.attribute(ANYONE, claim("user-0"), NOON).attribution.user_id == "user-0"
    assert ours.attribute(ANYONE, claim("new"), NOON).attribution.user_id == OTHER
    assert ours.attribute(ANYONE, claim("new"), NOON + timedelta(days=1)).attribution.user_id == "new"


def test_one_tenants_flood_leaves_the_others_alone() -> None:
    ours = attributor()
    for number in range(MOST_DISTINCT + 5):
        ours.attribute(ANYONE, claim(f"user-{number}"), NOON)
    other = replace(ANYONE, tenant=replace(ACME, tenant_id=TenantId("other")))
    assert ours.attribute(other, claim("new"), NOON).attribution.user_id == "new"


def test_verified_users_are_never_counted() -> None:
    ours = attributor()
    for number in range(MOST_DISTINCT + 5):
        made = ours.attribute(replace(SIGNED_IN, user_id=f"user-{number}"), NO_CLAIM, NOON)
        assert made.attribution.user_id == f"user-{number}"


def test_many_tenants_stay_bounded_in_memory() -> None:
    ours = attributor()
    for number in range(500):
        caller = replace(ANYONE, tenant=replace(ACME, tenant_id=TenantId(f"t{number}")))
        assert ours.attribute(caller, claim("bob"), NOON).attribution.user_id == "bob"
    assert len(ours._days) <= 64


def test_a_failing_store_makes_the_value_other_and_is_left_alone_for_a_while() -> None:
    values = Values()
    ours = attributor(values)
    values.fails = True
    for _ in range(100):
        made = ours.attribute(ANYONE, claim("bob", "project=apollo"), NOON)
        assert made.attribution == Attribution(OTHER, UserSource.CLAIMED)
        assert "could not check it now" in made.warnings[0]
    assert values.reads + values.writes == 1
    values.fails = False
    made = ours.attribute(ANYONE, claim("bob", "project=apollo"), NOON + timedelta(seconds=11))
    assert made == Attributed(Attribution("bob", UserSource.CLAIMED, (("project", "apollo"),)))


SETTINGS = st.builds(AttributionSettings, st.sampled_from(Kept), st.sampled_from(Kept), st.sampled_from([0, 30]))


@given(
    st.sampled_from([ANYONE, OWNED, SIGNED_IN]), SETTINGS,
    st.lists(st.tuples(st.text(max_size=200), st.dictionaries(st.text(), st.text(), max_size=20)), max_size=5),
)  # fmt: skip
def test_no_claim_makes_an_attribution_beyond_the_bounds_or_changes_a_verified_user(
    caller: Caller, settings: AttributionSettings, said: list[tuple[str, dict[str, str]]]
) -> None:
    ours, who = attributor(), with_settings(caller, settings)
    alone = ours.attribute(who, NO_CLAIM, NOON).attribution
    for user, labels in said:
        made = ours.attribute(who, claimed_user("user", user) | claimed_labels("metadata", labels), NOON).attribution
        assert len(made.tags) <= 10
        assert list(made.tags) == sorted(made.tags)
        assert all(len(name) <= 64 and len(value) <= 128 for name, value in made.tags)
        assert (made.user_id == "") is (made.user_source is UserSource.NONE)
        if caller.user_id:
            assert (made.user_id, made.user_source) == (alone.user_id, alone.user_source)
        if settings.users is Kept.HASH and made.user_id:
            assert made.user_id.startswith("h_")


# ------------------------------------------------------------------------------------------------------- on DynamoDB
@pytest.fixture
def table(aws: None) -> ClaimTable:
    return ClaimTable("idempotency")


class OneByOne(ClaimTable):
    """moto is not atomic under threads, so its writes are made one by one; their interleaving is what is tried."""

    turn = threading.Lock()

    def known(self, *args: Any) -> dict[str, frozenset[str]]:
        with self.turn:
            return super().known(*args)

    def admit(self, *args: Any) -> dict[str, frozenset[str]] | None:
        with self.turn:
            return super().admit(*args)


def test_processes_that_admit_at_the_same_time_never_pass_the_bound(table: ClaimTable) -> None:
    made: list[set[str]] = []
    there = frozenset(f"{number:012}" for number in range(MOST_DISTINCT - 100))
    assert table.admit(ACME.tenant_id, NOON.date(), {USERS: there}, MOST_DISTINCT) is None

    def process(first: int) -> None:
        ours, users = attributor(OneByOne("idempotency")), set()
        for number in range(first, first + 50):
            users.add(ours.attribute(ANYONE, claim(f"user-{number}"), NOON).attribution.user_id)
        made.append(users)

    threads = [threading.Thread(target=process, args=(first,)) for first in (0, 30, 60, 90)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert len(set().union(*made) - {OTHER}) == 100
    assert OTHER in set().union(*made)
    assert len(table.known(ACME.tenant_id, NOON.date())[USERS]) == MOST_DISTINCT


def test_a_batch_that_has_no_room_is_admitted_as_far_as_it_has(table: ClaimTable) -> None:
    day = NOON.date()
    assert table.admit(ACME.tenant_id, day, {PAIRS: frozenset({"a", "b"})}, 3) is None
    assert table.admit(ACME.tenant_id, day, {PAIRS: frozenset({"c", "d"})}, 3) == {PAIRS: frozenset({"a", "b"})}
    assert table.admit(ACME.tenant_id, day, {PAIRS: frozenset({"c"}), USERS: frozenset({"u"})}, 3) is None
    assert table.known(ACME.tenant_id, day) == {PAIRS: frozenset({"a", "b", "c"}), USERS: frozenset({"u"})}


def test_the_item_of_a_full_day_is_small_has_no_clear_name_and_expires(table: ClaimTable) -> None:
    full = {
        kind: frozenset(f"{kind[0]}{number:011}" for number in range(MOST_DISTINCT)) for kind in (USERS, PAIRS, NAMES)
    }
    assert table.admit(ACME.tenant_id, NOON.date(), full, MOST_DISTINCT) is None
    attributor(table).attribute(ANYONE, claim("bob"), NOON + timedelta(days=1))
    items = boto3.client("dynamodb").scan(TableName="idempotency")["Items"]
    assert max(len(str(item)) for item in items) < 60_000
    assert "bob" not in str(items)
    assert {int(item["expires_at"]["N"]) for item in items} == {
        int(datetime(2026, 11, day, tzinfo=UTC).timestamp()) for day in (26, 27)
    }


def test_names_are_found_by_their_hashes_until_they_expire(table: ClaimTable) -> None:
    for number in range(120):
        table.keep(ACME.tenant_id, f"h_{number}", f"name {number}", NOON + timedelta(days=number))
    found = table.names(ACME.tenant_id, [f"h_{number}" for number in range(120)], NOON + timedelta(days=60))
    assert found == {f"h_{number}": f"name {number}" for number in range(61, 120)}


def test_the_secret_is_made_once_by_the_first_to_need_it(aws: None) -> None:
    first, second = HashSecret("tenants"), HashSecret("tenants")
    assert first._read() == second._read() == b""
    made = second._make()
    assert len(made) == 32
    assert first._make() == made  # it lost, and takes the other's
    assert first() == second() == HashSecret("tenants")() == made

"""Keys come from the process, then from what all environments share, and from the provider at most once in an interval."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.aws.dynamodb.issuers import IssuerTable
from gateway.tenancy.issuer_keys import (
    FRESH,
    INTERVAL,
    OUTAGE,
    REREAD,
    IssuerKeys,
    KeySet,
    KeysUnavailableError,
    ProviderError,
    SharedKeys,
)
from gateway.tenancy.issuers import Issuer, IssuerId, public_keys
from tests.tokens import AUDIENCE, ISSUER, jwks, signing_key

OURS = Issuer(IssuerId("idp"), ISSUER, (AUDIENCE,), ("RS256",), ("acme",), version=1)
START = 1_800_000_000.0


@dataclass
class MemoryShared:
    held: dict[str, KeySet] = field(default_factory=dict)
    reads: int = 0

    def read(self, name: str) -> KeySet:
        self.reads += 1
        return self.held.get(name, KeySet())

    def claim(self, name: str, now: float, interval: float) -> bool:
        known = self.held.get(name, KeySet())
        if now - interval < known.claimed_at <= now + interval:
            return False
        self.held[name] = replace(known, claimed_at=now)
        return True

    def keep(self, name: str, fetched: KeySet) -> None:
        self.held[name] = replace(fetched, claimed_at=self.held[name].claimed_at)


@dataclass
class World:
    """A provider with the keys `kids`, a clock, and any number of environments."""

    shared: SharedKeys
    kids: tuple[str, ...] = ("k1",)
    now: float = START
    fetches: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    up: bool = True

    def environment(self) -> IssuerKeys:
        return IssuerKeys(
            self.shared, self.fetch, lambda: self.now, lambda reason, _: self.failures.append(reason), self.sleep
        )

    def fetch(self, _: Issuer, known: KeySet, now: float) -> KeySet:
        self.fetches.append(now)
        if not self.up:
            raise ProviderError("unreachable")
        return replace(known, keys=[{"kid": kid, "kty": "RSA"} for kid in self.kids], fetched_at=now, claimed_at=now)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(params=["memory", "DynamoDB"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "memory":
        return World(MemoryShared())
    request.getfixturevalue("aws")
    return World(IssuerTable("tenants"))


def kids(keys: IssuerKeys, kid: str | None = "k1", issuer: Issuer = OURS) -> list[str]:
    return [key["kid"] for key in keys.find(issuer, kid)]


def test_a_cold_start_finds_the_keys_of_another_environment(world: World) -> None:
    assert kids(world.environment()) == ["k1"]
    world.up = False
    for _ in range(5):
        assert kids(world.environment()) == ["k1"]
    assert len(world.fetches) == 1


def test_the_warm_path_reads_nothing() -> None:
    shared = MemoryShared()
    world = World(shared)
    keys = world.environment()
    for _ in range(100):
        world.now += REREAD / 200
        assert kids(keys) == ["k1"]
    assert (shared.reads, len(world.fetches)) == (1, 1)


def test_a_new_key_of_the_provider_is_fetched_once(world: World) -> None:
    first, second = world.environment(), world.environment()
    assert kids(first) == kids(second) == ["k1"]
    world.now += INTERVAL + 1
    world.kids = ("k1", "k2")
    assert kids(first, "k2") == ["k2"]
    assert kids(second, "k2") == ["k2"]
    assert len(world.fetches) == 2


def test_a_key_that_the_provider_withdrew_ends_with_the_next_fetch(world: World) -> None:
    first, second = world.environment(), world.environment()
    assert kids(first) == kids(second) == ["k1"]
    world.kids = ("k2",)
    world.now += FRESH
    assert kids(first) == []
    world.now += REREAD  # the other one looks at what is shared
    assert kids(second) == []


def test_a_flood_of_unknown_keys_reaches_the_provider_once_an_interval(world: World) -> None:
    environments = [world.environment() for _ in range(5)]
    for round_ in range(3):
        for number in range(200):
            world.now += INTERVAL / 200
            assert kids(environments[number % 5], f"x{round_}-{number}") == []
    assert len(world.fetches) <= 4
    assert all(later - earlier >= INTERVAL for earlier, later in zip(world.fetches, world.fetches[1:], strict=False))
    assert kids(environments[0]) == ["k1"]


def test_a_flood_reads_what_is_shared_once_a_second() -> None:
    shared = MemoryShared()
    world = World(shared)
    keys = world.environment()
    kids(keys)
    shared.reads = 0
    for number in range(1000):
        world.now += 0.01
        assert kids(keys, f"x{number}") == []
    assert shared.reads <= 11


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["k1", "k2", "x"]), st.floats(0, 90), st.booleans())))
def test_no_history_asks_the_provider_twice_in_an_interval(steps: list[tuple[int, str, float, bool]]) -> None:
    world = World(MemoryShared())
    environments = [world.environment() for _ in range(4)]
    for which, kid, pause, up in steps:
        world.now += pause
        world.up = up
        world.kids = ("k1", "k2") if up else ("k1",)
        try:
            kids(environments[which], kid)
        except KeysUnavailableError:
            assert not world.shared.read(OURS.keys_name).keys
    assert all(later - earlier >= INTERVAL for earlier, later in zip(world.fetches, world.fetches[1:], strict=False))


def test_an_outage_serves_what_is_known_for_a_day(world: World) -> None:
    keys = world.environment()
    kids(keys)
    world.up = False
    world.now += FRESH
    assert kids(keys) == ["k1"]
    assert world.failures == ["unreachable"]
    world.now = START + OUTAGE - 1
    assert kids(keys) == kids(world.environment()) == ["k1"]
    world.now = START + OUTAGE
    for environment in (keys, world.environment()):
        with pytest.raises(KeysUnavailableError):
            kids(environment)
    world.up = True
    world.now += INTERVAL
    assert kids(keys) == ["k1"]


def test_a_provider_that_never_answered_is_asked_once_an_interval(world: World) -> None:
    world.up = False
    for _ in range(4):
        with pytest.raises(KeysUnavailableError):
            kids(world.environment())
    assert len(world.fetches) == 1
    world.up = True
    world.now += INTERVAL
    assert kids(world.environment()) == ["k1"]


def test_an_environment_waits_for_the_first_fetch_of_another(world: World) -> None:
    assert world.shared.claim(OURS.keys_name, world.now, INTERVAL)
    fetched = KeySet([{"kid": "k1", "kty": "RSA"}], world.now)
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            world.shared.keep(OURS.keys_name, fetched)

    keys = IssuerKeys(world.shared, world.fetch, lambda: world.now, sleep=sleep)
    assert kids(keys) == ["k1"]
    assert (len(slept), world.fetches) == (3, [])


def test_a_claim_of_a_wrong_clock_does_not_last(world: World) -> None:
    assert world.shared.claim(OURS.keys_name, world.now + 10**6, INTERVAL)
    assert world.shared.claim(OURS.keys_name, world.now, INTERVAL)
    assert not world.shared.claim(OURS.keys_name, world.now + INTERVAL - 1, INTERVAL)


def test_a_changed_record_does_not_use_the_keys_of_the_former_one(world: World) -> None:
    keys = world.environment()
    kids(keys)
    changed = replace(OURS, version=2, jwks_uri="https://other.example.com/keys")
    world.kids = ("k9",)
    assert kids(keys, "k1", changed) == []
    assert kids(keys, "k9", changed) == ["k9"]


def test_a_document_in_the_record_needs_no_provider_and_no_store() -> None:
    shared = MemoryShared()
    world = World(shared, up=False)
    keys = world.environment()
    given_keys = replace(OURS, jwks=jwks(signing_key()))
    assert kids(keys, "k1", given_keys) == ["k1"]
    assert kids(keys, "x", given_keys) == []
    other = replace(OURS, jwks=jwks(signing_key("RSA", "k2")))
    assert kids(keys, "k1", other) == []  # of the same version
    assert (shared.reads, world.fetches) == (0, [])


def test_what_is_shared_has_public_members_only(aws: None) -> None:
    private: dict[str, Any] = signing_key().as_dict(private=True)
    table = IssuerTable("tenants")
    keys = public_keys({"keys": [private | {"x5c": ["MIIB"], "use": "sig"}]})
    table.keep("x", KeySet(keys, START, START, "https://a/keys", START))
    assert table.read("x") == KeySet(tuple(keys), START, 0, "https://a/keys", START)
    kept = str(boto3.client("dynamodb").scan(TableName="tenants")["Items"])
    assert private["d"] not in kept
    assert "x5c" not in kept

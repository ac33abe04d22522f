"""The authorizer: the key alone says who calls, and everything else is a 401."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from gateway.aws.tenant_table import TenantTable
from gateway.tenants import Key, Tenant, digest_of, new_key
from gateway.usage import KeyId, TenantId
from scripts.tenants import add_key, add_tenant

from .conftest import ROOT, context

Load = Callable[[str], Any]
ACME = Tenant(TenantId("acme"), "Acme", ("research", "ops"))


def asking(**headers: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((ROOT / "events/authorize_tenant/key.json").read_text())
    return event | {"headers": headers}


@pytest.fixture
def authorizer(load: Load) -> Any:
    add_tenant("tenants", ACME)
    return load("authorize_tenant")


@pytest.mark.parametrize("present", ["x-api-key", "X-API-Key", "Authorization", "authorization"])
def test_a_key_is_taken_from_either_header(authorizer: Any, present: str) -> None:
    key = add_key("tenants", "acme", "ci")
    sent = f"Bearer {key}" if present.lower() == "authorization" else key
    said = authorizer.handler(asking(**{present: sent}), context())
    assert said["context"]["tenant_id"] == said["principalId"] == "acme"
    assert json.loads(said["context"]["tenant"])["cost_centres"] == ["research", "ops"]
    assert said["usageIdentifierKey"] == "0123456789abcdef0123456789abcdef"
    (statement,) = said["policyDocument"]["Statement"]
    assert statement["Resource"] == "arn:aws:execute-api:us-east-1:111122223333:a1b2c3d4e5/v1/*"
    assert key not in json.dumps(said)


@pytest.mark.parametrize("headers", [{}, {"x-api-key": ""}, {"x-api-key": "guess"}, {"Authorization": "Basic eDp5"}])
def test_no_key_and_a_wrong_key_are_unauthorized(authorizer: Any, headers: dict[str, str]) -> None:
    with pytest.raises(Exception, match="^Unauthorized$"):
        authorizer.handler(asking(**headers), context())


def test_a_well_formed_key_that_was_never_made_is_unauthorized(authorizer: Any) -> None:
    with pytest.raises(Exception, match="^Unauthorized$"):
        authorizer.handler(asking(**{"x-api-key": new_key()}), context())


@pytest.mark.parametrize("state", ["revoked", "expired", "suspended", "deleted"])
def test_a_key_that_is_no_longer_good_is_unauthorized(load: Load, state: str) -> None:
    table, key, now = TenantTable("tenants"), new_key(), datetime.now(UTC)
    if state != "deleted":
        table.put_tenant(Tenant(TenantId("acme"), "Acme", (), suspended=state == "suspended"))
    expiry = now - timedelta(seconds=1) if state == "expired" else None
    table.put_key(Key(KeyId("k1"), TenantId("acme"), digest_of(key), "ci", now, expiry, revoked=state == "revoked"))
    with pytest.raises(Exception, match="^Unauthorized$"):
        load("authorize_tenant").handler(asking(**{"x-api-key": key}), context())


def test_a_revoked_key_stops_working_when_the_cache_has_passed(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    add_tenant("tenants", ACME)
    table, key, now = TenantTable("tenants"), new_key(), datetime.now(UTC)
    good = Key(KeyId("k1"), TenantId("acme"), digest_of(key), "ci", now)
    table.put_key(good)
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    authorizer = load("authorize_tenant")
    asked = asking(**{"x-api-key": key})
    assert authorizer.handler(asked, None)
    table.put_key(Key(good.key_id, good.tenant_id, good.digest, "ci", now, revoked=True))
    clock[0] += 4.9
    assert authorizer.handler(asked, None)
    clock[0] += 0.2
    with pytest.raises(Exception, match="^Unauthorized$"):
        authorizer.handler(asked, None)


def test_the_table_never_holds_a_key(authorizer: Any) -> None:
    key = add_key("tenants", "acme", "ci")
    assert key not in json.dumps(boto3.client("dynamodb").scan(TableName="tenants")["Items"])

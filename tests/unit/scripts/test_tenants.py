"""`gateway tenants add` and `key`, which write to the table without the API."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.aws.dynamodb.tenant_register import TenantRegister
from gateway.tenancy.administration import Actor, Administration
from gateway.tenancy.keys import digest_of
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import TenantId
from scripts.operate.tenants import add, another_key
from scripts.project.command import WrongUse

ID = TenantId("acme")


@pytest.fixture
def register(aws: None) -> TenantRegister:
    return TenantRegister("tenants")


def test_a_tenant_that_is_added_is_in_the_audit_with_the_principal_of_the_credentials(register: TenantRegister) -> None:
    key = add("tenants", "acme", "", ["research"], "first")
    second = another_key("tenants", "acme", "ci")
    assert register.tenant(ID) == Tenant(ID, "acme", ("research",), version=1)
    assert {each.digest: each.label for each in register.keys_of(ID)} == {
        digest_of(key): "first",
        digest_of(second): "ci",
    }
    history = register.audit(ID, 100, None, datetime.now(UTC)).items
    assert [record.action for record in history] == ["make_key", "make_key", "create_tenant"]
    assert {record.actor.arn for record in history} == {"arn:aws:sts::123456789012:user/moto"}


def test_a_tenant_that_exists_is_not_replaced(register: TenantRegister) -> None:
    """Its limits, its budget and its suspension would be gone."""
    add("tenants", "acme", "", ["research"], "first")
    known = register.tenant(ID)
    assert known is not None
    suspended, _ = Administration(register).put_tenant(replace(known, suspended=True), Actor("ann"))
    with pytest.raises(WrongUse, match=r"the tenant acme exists: .*tenants apply.*tenants key"):
        add("tenants", "acme", "", ["other"], "second")
    assert (register.tenant(ID), len(register.keys_of(ID))) == (suspended, 1)


def test_a_key_of_no_tenant_is_refused(register: TenantRegister) -> None:
    with pytest.raises(WrongUse, match="no tenant acme exists"):
        another_key("tenants", "acme", "ci")

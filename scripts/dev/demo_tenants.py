"""Creates two demo tenants, and the issuer of their tokens. Keys stay the same as long as the tables exist."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gateway.aws.dynamodb.tenants import TenantTable, add_key, add_tenant
from gateway.tenancy.keys import digest_of
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import TenantId

DEMO = {"demo-research": ("research", "ops"), "demo-marketing": ("marketing",)}


def seed(table: str, path: Path) -> list[dict[str, Any]]:
    """Create the demo tenants that do not exist yet. Returns them with their keys, as written in `path`."""
    known = TenantTable(table)
    shown = _keys(path)
    tenants = []
    for tenant_id, cost_centres in DEMO.items():
        if known.tenant(TenantId(tenant_id)) is None:
            add_tenant(table, Tenant(TenantId(tenant_id), tenant_id, cost_centres, allowed_model_arns=("*",)))
        key = shown.get(tenant_id)
        record = known.key(digest_of(key)) if key else None
        if key is None or record is None or record.tenant_id != tenant_id or record.revoked:
            key = add_key(table, tenant_id, "local stack")
        tenants.append({"tenant_id": tenant_id, "key": key, "cost_centres": list(cost_centres)})
    return tenants


def seed_issuer(table: str, url: str) -> None:
    """Register the stack's identity provider, whose address may have changed since the last start."""
    from gateway.aws.dynamodb.issuer_register import IssuerRegister
    from gateway.aws.dynamodb.tenant_register import TenantRegister
    from gateway.tenancy.administration import Actor
    from gateway.tenancy.caller import Role
    from gateway.tenancy.issuers import ClaimMap, Issuer, IssuerAdministration, IssuerId
    from scripts.dev.identity_provider.people import AUDIENCE, ROLES
    from scripts.dev.identity_provider.signing import ALGORITHM

    claims = ClaimMap(tenant="tenant", role="groups")
    roles = {group: Role(role) for group, role in ROLES.items()}
    local = Issuer(IssuerId("local"), url, (AUDIENCE,), (ALGORITHM,), tuple(DEMO), claims=claims, roles=roles)
    register = IssuerRegister(TenantRegister(table))
    IssuerAdministration(register, loopback=True).put(local, Actor("local stack"))


def _keys(path: Path) -> dict[str, str]:
    try:
        return {tenant["tenant_id"]: tenant["key"] for tenant in json.loads(path.read_text())["tenants"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}

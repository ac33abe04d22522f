"""Creates two demo tenants. Their keys stay the same as long as the tables exist."""

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


def _keys(path: Path) -> dict[str, str]:
    try:
        return {tenant["tenant_id"]: tenant["key"] for tenant in json.loads(path.read_text())["tenants"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}

"""Adds a tenant with one key to a gateway: `python -m scripts.tenants TENANT_ID --cost-centre research`.

Prints the key once; the table keeps only its sha256. Reaches the table that TENANTS_TABLE (or --table) names, with the
AWS credentials and endpoint of the environment.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from datetime import UTC, datetime

from gateway.aws.tenant_table import TenantTable
from gateway.tenants import Key, Tenant, digest_of, new_key
from gateway.usage import KeyId, TenantId, is_label


def add_tenant(table: str, tenant: Tenant) -> None:
    """Write a tenant, or change the one of that id."""
    for label in (tenant.tenant_id, *tenant.cost_centres):
        if not is_label(label):
            raise ValueError(f"{label!r} cannot name a tenant or a cost centre: use letters, digits and _.:@ -")
    TenantTable(table).put_tenant(tenant)


def add_key(table: str, tenant_id: str, label: str) -> str:
    """Make a key for a tenant and return it: it is shown this once."""
    key = new_key()
    record = Key(KeyId(f"key_{secrets.token_hex(6)}"), TenantId(tenant_id), digest_of(key), label, datetime.now(UTC))
    TenantTable(table).put_key(record)
    return key


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tenant_id")
    parser.add_argument("--name", default="")
    parser.add_argument("--cost-centre", action="append", default=[], help="may be repeated; the first is the default")
    parser.add_argument("--label", default="first key")
    parser.add_argument("--table", default=os.environ.get("TENANTS_TABLE"))
    arguments = parser.parse_args()
    if not arguments.table:
        parser.error("name the tenants table with --table or TENANTS_TABLE")
    tenant = Tenant(TenantId(arguments.tenant_id), arguments.name or arguments.tenant_id, tuple(arguments.cost_centre))
    try:
        add_tenant(arguments.table, tenant)
    except ValueError as error:
        parser.error(str(error))
    print(add_key(arguments.table, arguments.tenant_id, arguments.label))
    return 0


if __name__ == "__main__":
    sys.exit(main())

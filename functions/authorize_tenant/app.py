"""The API's authorizer: the key alone says who calls."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

from gateway.aws.tenant_table import TenantTable
from gateway.settings import settings
from gateway.tenants import Key, KeyCache, Tenant, authenticate, presented_key, tenant_to_json

tenants = KeyCache(TenantTable(settings().tenants_table), settings().key_cache_seconds, time.monotonic)


def handler(event: dict[str, Any], _: Any) -> dict[str, Any]:
    known = authenticate(presented_key(event.get("headers") or {}), tenants, datetime.now(UTC))
    if known is None:
        # This very text makes API Gateway answer its UNAUTHORIZED response.
        raise Exception("Unauthorized")  # noqa: TRY002
    return policy(*known, event["methodArn"])


def policy(key: Key, tenant: Tenant, method_arn: str) -> dict[str, Any]:
    """Allows the whole stage: what a tenant may do is decided where the request is understood."""
    api, stage, *_ = method_arn.split("/")
    return {
        "principalId": tenant.tenant_id,
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": f"{api}/{stage}/*"}],
        },
        "context": {
            "tenant_id": tenant.tenant_id,
            "key_id": key.key_id,
            "tenant": json.dumps(tenant_to_json(tenant), separators=(",", ":")),
        },
        "usageIdentifierKey": settings().usage_plan_key,
    }

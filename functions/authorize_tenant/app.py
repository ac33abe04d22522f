"""The API's authorizer: only the API key, or the token of an identity provider, identifies the caller.

What tokens need is imported when the first one comes.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from gateway.aws.decoys import alarm
from gateway.aws.dynamodb.tenants import TenantTable
from gateway.core.settings import settings
from gateway.core.telemetry import AUTHORIZER_FAILED, count, logger
from gateway.tenancy.caller import Caller, caller_to_context
from gateway.tenancy.keys import (
    DecoyUsedError,
    Key,
    KeyCache,
    TenantSuspendedError,
    authenticate,
    looks_like_token,
    presented_key,
)
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import UserSource

if TYPE_CHECKING:
    from gateway.aws.token_callers import TokenCallers

SUSPENDED = "Your tenant is suspended. Ask the gateway's operators."
SWITCHED_OFF = "Your user is switched off. Ask an administrator of your tenant."

tenants = KeyCache(TenantTable(settings().tenants_table), settings().key_cache_seconds, time.monotonic)


def handler(event: dict[str, Any], _: Any) -> dict[str, Any]:
    try:
        answer = decide(event)
    except Exception as error:
        # A separate metric: any client with a wrong key raises Lambda's own error count.
        logger().error("authorizer_failed", extra={"error_type": type(error).__name__})
        count(AUTHORIZER_FAILED)
        raise
    if answer is None:
        # API Gateway sends its UNAUTHORIZED response for exactly this text.
        raise Exception("Unauthorized")  # noqa: TRY002
    return answer


def decide(event: dict[str, Any]) -> dict[str, Any] | None:
    """The policy for the caller; None for an unknown key or a bad token."""
    now = datetime.now(UTC)
    presented = presented_key(event.get("headers") or {})
    if looks_like_token(presented):
        caller = token_callers().find(presented, now.timestamp())
        if caller is not None and caller.tenant.suspended:
            return denied(caller.tenant, event["methodArn"], SUSPENDED)
        return allowed(caller, event["methodArn"]) if caller else None
    try:
        known = authenticate(presented, tenants, now)
    except TenantSuspendedError as suspended:
        return denied(suspended.tenant, event["methodArn"], SUSPENDED)
    except DecoyUsedError as decoy:
        known = None
        alarm(decoy.key, str(event.get("requestContext", {}).get("identity", {}).get("sourceIp", "")))
    if known is None:
        return None
    key, tenant = known
    note_use(key, now)
    source = UserSource.KEY if key.user_id else UserSource.NONE
    return allowed(Caller(tenant, key.key_id, key.user_id, source, key.role, key.cost_centres), event["methodArn"])


@cache
def token_callers() -> TokenCallers:
    from gateway.aws.token_callers import TokenCallers  # noqa: PLC0415

    return TokenCallers(settings().tenants_table, settings().key_cache_seconds, loopback=settings().loopback_issuers)


def allowed(caller: Caller, method_arn: str) -> dict[str, Any]:
    """The policy, with the caller's context for the functions, and the usage plan that throttles the caller.

    A user who is switched off is denied, by whatever key or token.
    """
    if caller.user_id and not tenants.is_active(caller.tenant_id, caller.user_id):
        return denied(caller.tenant, method_arn, SWITCHED_OFF)
    plan = {"usageIdentifierKey": caller.tenant.usage_plan_key or settings().usage_plan_key}
    return policy(caller.tenant, method_arn, "Allow") | {"context": caller_to_context(caller)} | plan


def denied(tenant: Tenant, method_arn: str, reason: str) -> dict[str, Any]:
    return policy(tenant, method_arn, "Deny") | {"context": {"reason": reason}}


def policy(tenant: Tenant, method_arn: str, effect: str) -> dict[str, Any]:
    """A policy for the whole stage: the functions, which parse the request, decide its permissions."""
    api, stage, *_ = method_arn.split("/")
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": f"{api}/{stage}/*"}
    return {
        "principalId": tenant.tenant_id,
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
    }


def note_use(key: Key, now: datetime) -> None:
    """Record the use of a key, once a day. An error does not fail the call."""
    try:
        tenants.note_use(key, now.date())
    except Exception as error:
        logger().error("use_not_noted", extra={"error_type": type(error).__name__, "key_id": key.key_id})

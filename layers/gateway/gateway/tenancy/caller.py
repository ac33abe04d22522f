"""The caller that the authorizer identified, and its form in the context for the functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.core.errors import ForbiddenError
from gateway.tenancy.tenant import Tenant, tenant_from_json, tenant_to_json
from gateway.usage.records import Attribution, KeyId, TenantId, UserSource

TOKEN_KEY = "token:"  # noqa: S105  # begins the key id of a caller with a token; the id of the token's issuer follows


class Role(StrEnum):
    """What a caller may do beside calling models."""

    MEMBER = "member"  # sees itself
    AUDITOR = "auditor"  # reads everything of its tenants, and changes nothing
    TENANT_ADMIN = "tenant-admin"  # keys, members and budgets, within the tenant's own limits
    OPERATOR = "operator"  # everything, for every tenant


@dataclass(frozen=True)
class Caller:
    """The caller of a request, by its key or its token.

    `user_id` is the subject of the token or the owner of the key, and empty for a key without an owner. A caller with
    `cost_centres` may charge only these.
    """

    tenant: Tenant
    key_id: KeyId
    user_id: str = ""
    user_source: UserSource = UserSource.NONE
    role: Role = Role.MEMBER
    cost_centres: tuple[str, ...] = ()

    @property
    def tenant_id(self) -> TenantId:
        return self.tenant.tenant_id

    @property
    def is_by_token(self) -> bool:
        """Did a token identify the caller? Its key id then names the issuer."""
        return self.user_source is UserSource.TOKEN or self.key_id.startswith(TOKEN_KEY)

    @property
    def sees_tenant(self) -> bool:
        """May the caller see the usage of the whole tenant? A member with a name of its own sees only itself."""
        return self.role is not Role.MEMBER or not self.user_id

    @property
    def attribution(self) -> Attribution:
        return Attribution(self.user_id, self.user_source)

    def cost_centre(self, named: str | None) -> str:
        """The cost centre to charge. The gateway refuses one that the caller may not charge, and never ignores it."""
        if named is None or named == "":
            named = next(iter(self.cost_centres or self.tenant.cost_centres), self.tenant_id)
        if not self.tenant.owns(named) or (self.cost_centres and named not in self.cost_centres):
            raise ForbiddenError(
                "team_id must name a cost centre of your tenant that you may charge.", code="cost_centre_not_owned"
            )
        return named


def caller_to_context(caller: Caller) -> dict[str, str]:
    """The caller as the authorizer's context, whose values API Gateway passes on as text."""
    return {
        "tenant_id": caller.tenant_id,
        "tenant": caller.tenant.text,
        **_identity(caller),
    }


def caller_from_context(context: Mapping[str, Any]) -> Caller:
    return caller_from_json({**context, "tenant": json.loads(context["tenant"])})


def caller_to_json(caller: Caller) -> dict[str, Any]:
    return {"tenant": tenant_to_json(caller.tenant), **_identity(caller)}


def _identity(caller: Caller) -> dict[str, str]:
    """All but the tenant; what equals its default is left out."""
    values = {
        "user_id": caller.user_id,
        "user_source": caller.user_source.value,
        "role": "" if caller.role is Role.MEMBER else caller.role.value,
        "cost_centres": json.dumps(caller.cost_centres) if caller.cost_centres else "",
    }
    return {"key_id": caller.key_id} | {name: text for name, text in values.items() if text}


def caller_from_json(values: Mapping[str, Any]) -> Caller:
    return Caller(
        tenant_from_json(values["tenant"]),
        KeyId(values["key_id"]),
        values.get("user_id", ""),
        UserSource(values.get("user_source", "")),
        Role(values.get("role") or Role.MEMBER),
        tuple(json.loads(values.get("cost_centres") or "[]")),
    )

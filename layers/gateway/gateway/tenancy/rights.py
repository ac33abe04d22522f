"""The rights of each role, by operation. An operation that the table lacks is nobody's but the operators'.

A caller outside the operators knows its own tenant only: any other tenant id answers as one that does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from gateway.core.errors import ForbiddenError, NotFoundError
from gateway.tenancy.budgets import EACH, TENANT, Budget, ScopedBudget
from gateway.tenancy.caller import Caller, Role
from gateway.tenancy.tenant import Tenant, budget_from_json, tenant_to_json
from gateway.usage.records import TenantId

if TYPE_CHECKING:
    from gateway.tenancy.keys import Key

READERS = frozenset({Role.AUDITOR, Role.TENANT_ADMIN, Role.OPERATOR})
MANAGERS = frozenset({Role.TENANT_ADMIN, Role.OPERATOR})
EVERYBODY = frozenset(Role)
# An auditor changes nothing, not even a key of its own.
HOLDERS = EVERYBODY - {Role.AUDITOR}
OPERATORS = frozenset({Role.OPERATOR})

# By the operationId of openapi.yaml.
RIGHTS: Mapping[str, frozenset[Role]] = {
    "listTenants": READERS,  # which has one tenant, the caller's own
    "getTenant": READERS,
    "putTenant": MANAGERS,  # the fields of `judge_change` only
    "listKeys": READERS,
    "makeKey": MANAGERS,
    "revokeKey": MANAGERS,
    "rotateKey": MANAGERS,
    "listAudit": READERS,
    "listUsers": READERS,
    "getUser": READERS,
    "putUser": MANAGERS,
    "deleteUser": MANAGERS,
    "listOwnKeys": EVERYBODY,
    "makeOwnKey": HOLDERS,
    "revokeOwnKey": HOLDERS,
    "rotateOwnKey": HOLDERS,
    "listScimUsers": READERS,
    "getScimUser": READERS,
    "createScimUser": MANAGERS,
    "putScimUser": MANAGERS,
    "patchScimUser": MANAGERS,
    "deleteScimUser": MANAGERS,
    "getScimServiceProviderConfig": READERS,
    "listScimResourceTypes": READERS,
    "listScimSchemas": READERS,
    "lendBudget": MANAGERS,  # to budgets below the tenant's own
    "resetBudget": MANAGERS,
    "listIssuers": OPERATORS,
    "getIssuer": OPERATORS,
    "putIssuer": OPERATORS,
    "deleteIssuer": OPERATORS,
    "deleteTenant": OPERATORS,
    "makeDecoy": OPERATORS,
}
# The roles that each role may give to a key, and whose keys it may therefore rotate and revoke.
GIVES: Mapping[Role, frozenset[Role]] = {
    Role.MEMBER: frozenset({Role.MEMBER}),
    Role.AUDITOR: frozenset(),
    Role.TENANT_ADMIN: EVERYBODY - OPERATORS,
    Role.OPERATOR: EVERYBODY,
}


class FieldNotAllowedError(ForbiddenError):
    """The caller may change the tenant's record, but not this field of it."""

    code = "field_not_allowed"

    def __init__(self, field: str, sentence: str):
        super().__init__(f"{field}: {sentence}")
        self.field = field


@dataclass(frozen=True)
class Rights:
    """The rights of a request's caller. None is an AWS principal whose signature API Gateway verified: an operator."""

    caller: Caller | None = None

    @property
    def role(self) -> Role:
        return self.caller.role if self.caller else Role.OPERATOR

    @property
    def is_operator(self) -> bool:
        return self.role is Role.OPERATOR

    @property
    def own_tenant(self) -> TenantId | None:
        """The only tenant that the caller knows; None for an operator, who knows all."""
        return None if self.is_operator or self.caller is None else self.caller.tenant_id

    @property
    def cost_centres(self) -> tuple[str, ...]:
        """The only cost centres that the caller may charge, and may let a key charge; empty for all."""
        return () if self.is_operator or self.caller is None else self.caller.cost_centres

    def must_allow(self, operation: str, tenant_id: TenantId | None) -> None:
        """Raises NotFoundError for a tenant of others, else ForbiddenError for an operation that the role lacks."""
        self.must_know(tenant_id)
        if self.role not in RIGHTS.get(operation, OPERATORS):
            raise ForbiddenError(f"Your role ({self.role.value}) does not allow this.", code="role_not_allowed")

    def must_know(self, tenant_id: TenantId | None) -> None:
        """Raises NotFoundError for a tenant of others, whether it exists or not."""
        if tenant_id is not None and self.own_tenant is not None and tenant_id != self.own_tenant:
            raise NotFoundError("Tenant not found.", code="tenant_not_found")

    def must_give(self, role: Role, cost_centres: tuple[str, ...]) -> None:
        """Raises ForbiddenError for a key that could do more than its maker."""
        if role not in GIVES[self.role]:
            raise ForbiddenError(
                f"Your role ({self.role.value}) does not allow keys with the role {role.value}.",
                code="role_not_allowed",
            )
        if self.cost_centres and not (cost_centres and set(self.cost_centres).issuperset(cost_centres)):
            raise ForbiddenError(
                "cost_centres must name some that you may charge yourself.", code="cost_centre_not_owned"
            )

    def must_manage(self, key: Key) -> None:
        """Raises ForbiddenError for a key that the caller could not have made."""
        self.must_give(key.role, key.cost_centres)

    def must_own(self, key: Key | None) -> None:
        """Raises NotFoundError unless the key is one of the caller's own."""
        user_id = self.caller.user_id if self.caller else ""
        if key is None or not user_id or key.user_id != user_id:
            raise NotFoundError("Key not found.", code="key_not_found")

    def judge_change(self, before: Tenant | None, after: Tenant) -> None:
        """Raises FieldNotAllowedError for a change of a tenant's record that only operators make.

        A tenant-admin may add cost centres, and set budgets below the tenant's own. While the tenant's own budget is
        hard, it holds whatever these say. Otherwise they may be the operators' only limits, so the tenant-admin may add
        budgets and tighten them, and not loosen or remove them.
        """
        if self.is_operator:
            return
        if before is None:
            raise NotFoundError("Tenant not found.", code="tenant_not_found")
        was, becomes = tenant_to_json(before), tenant_to_json(after)
        bounded = any(budget.hard and budget.scope == TENANT for budget in before.all_budgets)
        for field in sorted(was.keys() | becomes.keys()):
            if field == "version" or was.get(field) == becomes.get(field):
                continue
            if field not in _JUDGES:
                raise FieldNotAllowedError(field, "only the gateway's operators may change this.")
            if sentence := _JUDGES[field](was.get(field), becomes.get(field), bounded):
                raise FieldNotAllowedError(field, sentence)
        if not bounded:
            _must_replace_no_default(before, after)
        if any(limit.scope.cost_centre not in ("", EACH) for limit in before.rate_limits) and (
            after.cost_centres != before.cost_centres
        ):
            raise FieldNotAllowedError("cost_centres", "some have limits of their own, so only operators add others.")
        if not bounded and _is_capped(before) and after.cost_centres != before.cost_centres:
            raise FieldNotAllowedError(
                "cost_centres", "each has a hard budget and your tenant has none, so only operators add some."
            )


def _must_replace_no_default(before: Tenant, after: Tenant) -> None:
    """Raises FieldNotAllowedError for a new budget that would replace the `*` of an older one and be looser."""
    for new in after.all_budgets:
        for old in before.all_budgets:
            replaces = new.window is old.window and new not in before.all_budgets
            if replaces and old.scope.is_default_for(new.scope) and not _is_tighter(new, old):
                raise FieldNotAllowedError("budgets", "your tenant has no hard budget of its own, so " + _LOOSER)


_LOOSER = "only operators set a budget that replaces one of * and is looser."


def _is_capped(tenant: Tenant) -> bool:
    """Has every cost centre a hard budget of its own? Then a new one would be without."""
    capped = {budget.scope.cost_centre for budget in tenant.all_budgets if budget.hard} - {""}
    return EACH not in capped and capped.issuperset((tenant.tenant_id, *tenant.cost_centres))


def _judge_cost_centres(was: Any, becomes: Any, _bounded: bool) -> str:
    """The first one is charged by default, so the order of the old ones stays too."""
    kept = list(becomes or ())[: len(was or ())]
    return "" if kept == list(was or ()) else "you may add some after those that are there; operators remove them."


def _judge_cost_centre_budgets(was: Any, becomes: Any, bounded: bool) -> str:
    if bounded:
        return ""
    for centre, old in (was or {}).items():
        new = (becomes or {}).get(centre)
        if new is None or not _is_tighter(budget_from_json(new), budget_from_json(old)):
            return f"{centre}: your tenant has no hard budget of its own, so only operators loosen or remove this one."
    return ""


def _judge_budgets(was: Any, becomes: Any, bounded: bool) -> str:
    """Budgets by scope. One that spans the whole tenant is the operators'."""
    old, new = list(was or ()), list(becomes or ())
    if [one for one in old if _is_whole(one)] != [one for one in new if _is_whole(one)]:
        return "a budget of the whole tenant is set by operators; name a user, a key or a cost centre in its scope."
    if not bounded and [one for one in old if one not in new]:
        return "your tenant has no hard budget of its own, so only operators change or remove one that is there."
    return ""


def _is_whole(budget: Mapping[str, Any]) -> bool:
    return not {"user", "key", "cost_centre"} & set(budget.get("scope") or ())


def _judge_actions(was: Any, becomes: Any, bounded: bool) -> str:
    """Loans and resets of budgets."""
    if not bounded:
        return "your tenant has no hard budget of its own, so only operators lend to a budget or reset it."
    return (
        "only operators lend to a budget of the whole tenant, or reset it."
        if any(_is_whole(one) for one in becomes or () if one not in (was or ()))
        else ""
    )


def _is_tighter(new: Budget | ScopedBudget, old: Budget | ScopedBudget) -> bool:
    return (
        _limit(new) <= _limit(old)
        and (new.hard or not old.hard)
        and set(old.thresholds) <= set(new.thresholds)
        and all(getattr(new, name, "") == getattr(old, name, "") for name in ("time_zone", "week_begins"))
    )


def _limit(budget: Budget | ScopedBudget) -> Decimal:
    return budget.monthly_usd if isinstance(budget, Budget) else budget.limit_usd


# The fields of a tenant's record that a tenant-admin may change, each with the fault of a change, if any.
_JUDGES = {
    "cost_centres": _judge_cost_centres,
    "cost_centre_budgets": _judge_cost_centre_budgets,
    "budgets": _judge_budgets,
    "loans": _judge_actions,
    "resets": _judge_actions,
}

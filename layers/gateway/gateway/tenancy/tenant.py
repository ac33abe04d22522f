"""Tenants, which pay for calls, with their budgets and permissions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from gateway.core.errors import ForbiddenError
from gateway.tenancy.budgets import (
    EACH,
    THRESHOLDS,
    Budget,
    Loan,
    RateLimit,
    Reset,
    Scope,
    ScopedBudget,
    Window,
    loan_from_json,
    loan_to_json,
    rate_limit_from_json,
    rate_limit_to_json,
    reset_from_json,
    reset_to_json,
    scoped_budget_from_json,
    scoped_budget_to_json,
)
from gateway.usage.records import TenantId


class Unpriced(StrEnum):
    """The policy for a call whose model, tier or part has no price."""

    BLOCK = "block"  # refused
    PARK = "park"  # made; its budget reserves the cost at the highest known prices
    ALLOW = "allow"  # made, and listed as unpriced; no budget counts it


@dataclass(frozen=True)
class Guardrail:
    """One version of an Amazon Bedrock guardrail."""

    id: str
    version: str


class Kept(StrEnum):
    """The form in which the gateway keeps the names of people and tags."""

    CLEAR = "clear"
    HASH = "hash"  # a keyed hash: one value for one name, and no way back
    NONE = "none"  # not at all


@dataclass(frozen=True)
class AttributionSettings:
    """What is kept of a call's user and tags. For `names_kept_days`, reports can resolve a hash to its name."""

    users: Kept = Kept.CLEAR
    tags: Kept = Kept.CLEAR
    names_kept_days: int = 0


@dataclass(frozen=True)
class Tenant:
    """A team of the company, with its permissions and limits. A call that names no cost centre is charged to the first.

    The tenant's own id is one of its cost centres as well, listed or not.

    Patterns (`anthropic.*`) match the whole name that a call sends. None means no limit; for `allowed_models` it means
    the gateway's default. `budget_shards` is the number of items that a busy tenant's budget is spread over. The
    gateway adds `guardrail` to every Bedrock call. A call may refer only to files in `s3_buckets`. `version` counts
    the changes.
    """

    tenant_id: TenantId
    name: str
    cost_centres: tuple[str, ...]
    suspended: bool = False
    allowed_models: tuple[str, ...] | None = None
    allowed_model_arns: tuple[str, ...] = ()
    allowed_operations: tuple[str, ...] | None = None
    max_output_tokens: int | None = None
    tokens_per_minute: int | None = None
    concurrent_invocations: int | None = None
    budget: Budget | None = None
    cost_centre_budgets: Mapping[str, Budget] = field(default_factory=dict)
    budget_shards: int = 1
    shards_since: str = ""  # the month from which `budget_shards` holds; before it there are `shards_before`
    shards_before: int = 0
    unpriced: Unpriced | None = None
    idempotency_seconds: int = 0
    usage_plan_key: str = ""
    guardrail: Guardrail | None = None
    s3_buckets: tuple[str, ...] = ()
    attribution: AttributionSettings = AttributionSettings()
    version: int = 0
    budgets: tuple[ScopedBudget, ...] = ()
    rate_limits: tuple[RateLimit, ...] = ()
    loans: tuple[Loan, ...] = ()
    resets: tuple[Reset, ...] = ()

    @property
    def on_unpriced(self) -> Unpriced:
        """The policy in force. By default a hard budget blocks calls without a price, which would bypass it."""
        return self.unpriced or (Unpriced.BLOCK if self.has_hard_budget else Unpriced.ALLOW)

    @property
    def has_hard_budget(self) -> bool:
        return any(budget.hard for budget in self.all_budgets)

    @cached_property
    def text(self) -> str:
        """The record as JSON, which the authorizer passes on with each request: made once while it is cached."""
        return json.dumps(tenant_to_json(self), separators=(",", ":"))

    def owns(self, cost_centre: str) -> bool:
        return cost_centre == self.tenant_id or cost_centre in self.cost_centres

    @property
    def is_limited(self) -> bool:
        """Must the gateway reserve room for a call of this tenant before the call?"""
        return bool(self.rate_limits or self.budgets) or self.has_account_of_the_month

    @property
    def limits_keys(self) -> bool:
        return any(scope.key for scope in self.limited_scopes)

    @property
    def limited_scopes(self) -> list[Scope]:
        return [*(budget.scope for budget in self.budgets), *(limit.scope for limit in self.rate_limits)]

    def shards_at(self, month: str) -> int:
        """The shards of the account of a month. A new number waits for a new month: spent amounts do not move."""
        return max(self.budget_shards if month >= self.shards_since else self.shards_before, 1)

    @property
    def has_account_of_the_month(self) -> bool:
        """Does every call count in the tenant's account of the month?"""
        limits = (self.budget, self.tokens_per_minute, self.concurrent_invocations)
        return (
            bool(self.cost_centre_budgets)
            or any(limit is not None for limit in limits)
            or any(budget.is_of_the_month for budget in self.budgets)
        )

    @cached_property
    def all_budgets(self) -> tuple[ScopedBudget, ...]:
        """Every budget, with those that the record states in short: `budget` and `cost_centre_budgets`."""
        short = {Scope(): self.budget} if self.budget else {}
        short |= {Scope(cost_centre=centre): budget for centre, budget in sorted(self.cost_centre_budgets.items())}
        return (
            *(ScopedBudget(at, Window.MONTH, b.monthly_usd, b.hard, b.thresholds) for at, b in short.items()),
            *self.budgets,
        )

    @cached_property
    def month_zone(self) -> str:
        """The time zone of the months of the tenant and its cost centres, which share one account."""
        return next((budget.time_zone for budget in self.budgets if budget.is_of_the_month), "UTC")

    @cached_property
    def _of_the_month(self) -> dict[str, ScopedBudget]:
        return {budget.scope.cost_centre: budget for budget in self.all_budgets if budget.is_of_the_month}

    def budget_of_the_month(self, cost_centre: str = "") -> ScopedBudget | None:
        """The monthly budget of the tenant, or of one of its cost centres."""
        known = self._of_the_month
        return known.get(cost_centre) or (known.get(EACH) if cost_centre else None)

    def must_allow(self, operation: str, model_id: str, model_arn: str | None, *, by_default: bool) -> None:
        """Raises ForbiddenError for an operation or model that this record does not allow."""
        self.must_allow_operation(operation)
        self.must_allow_model(model_id, by_default=by_default)
        if model_arn:
            self.must_allow_arn(model_arn)

    def must_allow_model(self, model_id: str, *, by_default: bool) -> None:
        """Raises ForbiddenError for a model that the record, or without a list the default, does not allow."""
        if not self.allows_model(model_id, by_default=by_default):
            raise ForbiddenError(
                "Your tenant may not use this model. See /list_foundation_models.", code="model_not_allowed"
            )

    def allows_model(self, model_id: str, *, by_default: bool) -> bool:
        if self.allowed_models is None:
            return by_default
        return any(fnmatchcase(model_id, pattern) for pattern in self.allowed_models)

    def must_allow_arn(self, arn: str) -> None:
        """An ARN can name any model and bill any account, so only ARNs of the record are allowed."""
        if not self.allows_arn(arn):
            raise ForbiddenError(
                "Your tenant may not use this model_arn. Ask the gateway's operators.", code="model_arn_not_allowed"
            )

    def allows_arn(self, arn: str) -> bool:
        return any(fnmatchcase(arn, pattern) for pattern in self.allowed_model_arns)

    def must_allow_operation(self, operation: str) -> None:
        if self.allowed_operations is not None and operation not in self.allowed_operations:
            allowed = ", ".join(self.allowed_operations) or "none"
            raise ForbiddenError(
                f"Your tenant may not make {operation} calls; allowed: {allowed}.", code="operation_not_allowed"
            )


def tenant_to_json(tenant: Tenant) -> dict[str, Any]:
    """A tenant as the admin API shows it: without unset settings, and with money as decimal strings."""
    values = {
        "tenant_id": tenant.tenant_id,
        "name": tenant.name,
        "cost_centres": list(tenant.cost_centres),
        "suspended": tenant.suspended,
        "allowed_models": None if tenant.allowed_models is None else list(tenant.allowed_models),
        "allowed_model_arns": list(tenant.allowed_model_arns),
        "allowed_operations": None if tenant.allowed_operations is None else list(tenant.allowed_operations),
        "max_output_tokens": tenant.max_output_tokens,
        "tokens_per_minute": tenant.tokens_per_minute,
        "concurrent_invocations": tenant.concurrent_invocations,
        "budget": budget_to_json(tenant.budget) if tenant.budget else None,
        "cost_centre_budgets": {centre: budget_to_json(b) for centre, b in tenant.cost_centre_budgets.items()},
        "budget_shards": tenant.budget_shards,
        "shards_since": tenant.shards_since,
        "shards_before": tenant.shards_before,
        "unpriced": tenant.unpriced and tenant.unpriced.value,
        "idempotency_seconds": tenant.idempotency_seconds,
        "usage_plan_key": tenant.usage_plan_key,
        "guardrail": vars(tenant.guardrail) if tenant.guardrail else None,
        "s3_buckets": list(tenant.s3_buckets) or None,
        "attribution": attribution_to_json(tenant.attribution),
        "version": tenant.version,
        "budgets": [scoped_budget_to_json(budget) for budget in tenant.budgets] or None,
        "rate_limits": [rate_limit_to_json(limit) for limit in tenant.rate_limits] or None,
        "loans": [loan_to_json(loan) for loan in tenant.loans] or None,
        "resets": [reset_to_json(reset) for reset in tenant.resets] or None,
    }
    return {name: value for name, value in values.items() if value not in (None, "", {}, 0) or name == "version"} | {
        "suspended": tenant.suspended
    }


def attribution_to_json(kept: AttributionSettings) -> dict[str, Any] | None:
    """None for the defaults."""
    if kept == AttributionSettings():
        return None
    return {"users": kept.users.value, "tags": kept.tags.value, "names_kept_days": kept.names_kept_days}


def budget_to_json(budget: Budget) -> dict[str, Any]:
    return {"monthly_usd": f"{budget.monthly_usd:f}", "hard": budget.hard, "thresholds": list(budget.thresholds)}


def tenant_from_json(values: Mapping[str, Any]) -> Tenant:
    """The tenant of JSON from `tenant_to_json` or an operator. The caller has validated it against the spec."""

    def several(name: str) -> tuple[str, ...] | None:
        return None if values.get(name) is None else tuple(values[name])

    return Tenant(
        tenant_id=TenantId(values["tenant_id"]),
        name=values.get("name") or values["tenant_id"],
        cost_centres=several("cost_centres") or (),
        suspended=bool(values.get("suspended", False)),
        allowed_models=several("allowed_models"),
        allowed_model_arns=several("allowed_model_arns") or (),
        allowed_operations=several("allowed_operations"),
        max_output_tokens=values.get("max_output_tokens"),
        tokens_per_minute=values.get("tokens_per_minute"),
        concurrent_invocations=values.get("concurrent_invocations"),
        budget=budget_from_json(values["budget"]) if values.get("budget") else None,
        cost_centre_budgets={c: budget_from_json(b) for c, b in (values.get("cost_centre_budgets") or {}).items()},
        budget_shards=values.get("budget_shards") or 1,
        shards_since=values.get("shards_since") or "",
        shards_before=values.get("shards_before") or 0,
        unpriced=Unpriced(values["unpriced"]) if values.get("unpriced") else None,
        idempotency_seconds=values.get("idempotency_seconds") or 0,
        usage_plan_key=values.get("usage_plan_key") or "",
        guardrail=Guardrail(**values["guardrail"]) if values.get("guardrail") else None,
        s3_buckets=several("s3_buckets") or (),
        attribution=attribution_from_json(values.get("attribution") or {}),
        version=values.get("version") or 0,
        budgets=tuple(map(scoped_budget_from_json, values.get("budgets") or ())),
        rate_limits=tuple(map(rate_limit_from_json, values.get("rate_limits") or ())),
        loans=tuple(map(loan_from_json, values.get("loans") or ())),
        resets=tuple(map(reset_from_json, values.get("resets") or ())),
    )


def attribution_from_json(values: Mapping[str, Any]) -> AttributionSettings:
    users, tags = Kept(values.get("users") or Kept.CLEAR), Kept(values.get("tags") or Kept.CLEAR)
    return AttributionSettings(users, tags, values.get("names_kept_days") or 0)


def budget_from_json(values: Mapping[str, Any]) -> Budget:
    thresholds = values.get("thresholds")
    return Budget(
        Decimal(str(values["monthly_usd"])),
        bool(values.get("hard", False)),
        THRESHOLDS if thresholds is None else tuple(sorted(thresholds)),
    )

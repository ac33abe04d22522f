"""Quotes: the maximum cost of a request, and whether it would be accepted now. It reserves and calls nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from gateway.budgets.accounts import Accounts, Limits
from gateway.calls.call import ModelCall
from gateway.calls.metering import hold_for, quote
from gateway.calls.policy import enforce_output_limit
from gateway.core.errors import GatewayError
from gateway.pricing.price_book import ZERO, PriceBook
from gateway.tenancy.tenant import Tenant
from gateway.usage.records import KeyId, RequestId, TokenUsage, UsageRecord


@dataclass(frozen=True)
class Quote:
    """The maximum cost and usage of a request; `refusal` is the error that it would get now."""

    most_usd: Decimal | None
    input_tokens: int
    output_tokens: int
    images: int
    refusal: GatewayError | None = None


def quoted(
    calls: Sequence[ModelCall],
    tenant: Tenant,
    cost_centre: str,
    region: str,
    book: PriceBook,
    accounts: Accounts,
    now: datetime,
) -> Quote:
    """The quote of a request's calls. Raises ForbiddenError for a request that the tenant may never make."""
    allowed = [enforce_output_limit(call, tenant) for call in calls]
    bounds = [call.bound for call in allowed]
    names = [book.name_of(call.model.counted_as, call.model.target, region) for call in allowed]
    costs = [quote(book, tenant, name, region, call.bound, now) for name, call in zip(names, allowed, strict=True)]
    used = [bound.usage for bound in bounds]
    priced = None if None in costs else sum((cost for cost in costs if cost is not None), ZERO)
    together = TokenUsage(sum(usage.input_tokens for usage in used), sum(usage.output_tokens for usage in used))
    refusal = None
    if tenant.is_limited:
        row = UsageRecord(
            RequestId("quote"), 1, tenant.tenant_id, cost_centre, KeyId(""), allowed[0].operation, allowed[0].model.id,
            "", region, now, now,
        )  # fmt: skip
        hold = hold_for(tenant, row, priced or ZERO, together)
        refusal = accounts.account(hold.account).refusal(hold, Limits.of(tenant, cost_centre))
    images = sum(usage.images for usage in used)
    return Quote(priced, together.input_tokens, together.output_tokens, images, refusal)

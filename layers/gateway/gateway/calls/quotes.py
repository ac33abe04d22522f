"""Quotes: the maximum cost of a request, and whether it would be accepted now. It reserves and calls nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from gateway.budgets.accounts import Accounts
from gateway.budgets.scopes import holds_of
from gateway.calls.call import ModelCall
from gateway.calls.metering import quote
from gateway.calls.policy import enforce_output_limit
from gateway.core.errors import GatewayError
from gateway.pricing.price_book import ZERO, PriceBook
from gateway.tenancy.caller import Caller
from gateway.usage.records import RequestId, TokenUsage, UsageRecord


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
    caller: Caller,
    cost_centre: str,
    region: str,
    book: PriceBook,
    accounts: Accounts,
    now: datetime,
) -> Quote:
    """The quote of a request's calls. Raises ForbiddenError for a request that the tenant may never make."""
    tenant = caller.tenant
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
            RequestId("quote"), 1, tenant.tenant_id, cost_centre, caller.key_id, allowed[0].operation,
            allowed[0].model.id, "", region, now, now, attribution=caller.attribution,
        )  # fmt: skip
        wanted = holds_of(tenant, row, priced or ZERO, together)
        refusals = (accounts.account(hold.account).refusal(hold, limits) for hold, limits in wanted)
        refusal = next(filter(None, refusals), None)
    images = sum(usage.images for usage in used)
    return Quote(priced, together.input_tokens, together.output_tokens, images, refusal)

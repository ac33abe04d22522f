"""What a call used, in disjoint counts, and the row of the ledger that keeps it.

Every provider counts in its own way. Here each token is in exactly one bucket: `input`, `output`, `cache_read`,
`cache_write_5m`, `cache_write_1h`. The provider's own JSON stays in the row, so that a count can be checked later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import NewType

from gateway.core.times import hour_of

TenantId = NewType("TenantId", str)
KeyId = NewType("KeyId", str)
RequestId = NewType("RequestId", str)
ModelId = NewType("ModelId", str)

# Where a usage's counts come from; else it is `estimated:<how>`.
PROVIDER = "provider"
UNKNOWN = "unknown"


class Outcome(StrEnum):
    OPEN = "open"  # reserved; the call may still run
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # the service refused or failed: nothing was used
    INTERRUPTED = "interrupted"  # the answer broke off: what is known was used
    UNSETTLED = "unsettled"  # nobody came back to settle it: usage unknown


class PriceStatus(StrEnum):
    """Can a row have a price?"""

    FREE = "free"  # nothing was used
    OPEN = "open"  # the call may still run
    UNSETTLED = "unsettled"  # usage unknown
    PRICEABLE = "priceable"  # by the prices of its day, if there are any


def price_status(outcome: Outcome, source: str) -> PriceStatus:
    """`source` is that of the row's usage."""
    if outcome is Outcome.OPEN:
        return PriceStatus.OPEN
    if outcome is Outcome.FAILED:
        return PriceStatus.FREE
    return PriceStatus.UNSETTLED if source == UNKNOWN else PriceStatus.PRICEABLE


@dataclass(frozen=True)
class TokenUsage:
    """Disjoint counts of one call. `input_images` are pictures embedded, `images` pictures made."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    images: int = 0
    image_class: str = ""  # size and quality of the images made, e.g. `512x512:standard`
    input_images: int = 0
    service_tier: str = "default"  # as the service echoed it
    source: str = PROVIDER
    raw: str = ""  # the provider's own usage JSON

    @property
    def context_tokens(self) -> int:
        """All tokens that the model read: what long-context prices go by."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_5m_tokens + self.cache_write_1h_tokens


@dataclass(frozen=True)
class UsageRecord:
    """One row of the ledger: one attempt of one call."""

    request_id: RequestId
    attempt: int
    tenant_id: TenantId
    cost_centre: str
    key_id: KeyId
    operation: str
    model_id: ModelId  # asked for; it picks the price
    model_used: str  # sent to the service: an ARN or an endpoint may stand for the model
    region: str
    started_at: datetime
    lease_until: datetime  # after this nobody can settle the row any more but the sweep
    outcome: Outcome = Outcome.OPEN
    settled_at: datetime | None = None
    usage: TokenUsage = field(default_factory=TokenUsage)
    error_code: str = ""
    asked_model: str = ""  # what the caller named, where that is another name than `model_id`
    routing: str = ""  # why this attempt was made: `retry:model_throttled`, `fallback:model_unavailable`

    @property
    def hour(self) -> str:
        """The hour (UTC) that this row belongs to, `2026-11-24T01`."""
        return hour_of(self.started_at)

    @property
    def is_open(self) -> bool:
        return self.outcome is Outcome.OPEN

    @property
    def price_status(self) -> PriceStatus:
        return price_status(self.outcome, self.usage.source)

    def settle(self, outcome: Outcome, usage: TokenUsage, at: datetime, error_code: str = "") -> UsageRecord:
        return replace(self, outcome=outcome, usage=usage, settled_at=at, error_code=error_code)


def image_class(width: int, height: int, premium: bool) -> str:
    """The price class of an image call: up to 512x512 or larger; standard or premium."""
    size = "512x512" if width <= 512 and height <= 512 else "larger"
    return f"{size}:{'premium' if premium else 'standard'}"


_SAFE_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@ -]{0,127}\Z")


def is_label(text: str) -> bool:
    """May `text` name a tenant or a cost centre?"""
    return bool(_SAFE_LABEL.match(text))

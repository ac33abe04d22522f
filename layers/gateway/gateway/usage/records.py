"""The usage of a call, in disjoint counts, and the ledger row that records it.

Every provider counts in its own way. Here each token is in exactly one bucket: `input`, `output`, `cache_read`,
`cache_write_5m`, `cache_write_1h`. The row stores the provider's own JSON, so that a count can be checked later.
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

# Sources of a usage's counts; `estimated:<how>` is the third.
PROVIDER = "provider"
UNKNOWN = "unknown"


class Outcome(StrEnum):
    OPEN = "open"  # reserved; the call may still run
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # the service refused or failed: nothing was used
    INTERRUPTED = "interrupted"  # the response broke off: its usage is the counts so far
    UNSETTLED = "unsettled"  # no process settled it: usage unknown


class UserSource(StrEnum):
    """How the gateway knows a call's user, from the strongest to the weakest. Only a claim can be forged."""

    TOKEN = "token"  # the subject of a verified token  # noqa: S105
    KEY = "key"  # the owner of the API key
    CLAIMED = "claimed"  # named by the client
    NONE = ""


@dataclass(frozen=True)
class Attribution:
    """The user of a call and the tags of the client, beside the tenant and the cost centre that pay for it."""

    user_id: str = ""
    user_source: UserSource = UserSource.NONE
    tags: tuple[tuple[str, str], ...] = ()  # sorted by name


NOBODY = Attribution()


class PriceStatus(StrEnum):
    """Whether a row can be priced, and why not."""

    FREE = "free"  # nothing was used
    OPEN = "open"  # the call may still run
    UNSETTLED = "unsettled"  # usage unknown
    PRICEABLE = "priceable"  # at the prices of its day, if the book has them


def price_status(outcome: Outcome, source: str) -> PriceStatus:
    """`source` is the source of the row's usage."""
    if outcome is Outcome.OPEN:
        return PriceStatus.OPEN
    if outcome is Outcome.FAILED:
        return PriceStatus.FREE
    return PriceStatus.UNSETTLED if source == UNKNOWN else PriceStatus.PRICEABLE


@dataclass(frozen=True)
class TokenUsage:
    """Disjoint counts of one call. `input_images` counts embedded images, `images` generated ones."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    images: int = 0
    image_class: str = ""  # size and quality of the generated images, e.g. `512x512:standard`
    input_images: int = 0
    service_tier: str = "default"  # as the service echoed it
    source: str = PROVIDER
    raw: str = ""  # the provider's own usage JSON

    @property
    def context_tokens(self) -> int:
        """All tokens that the model read; they select the long-context price."""
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
    model_id: ModelId  # requested; it determines the price
    model_used: str  # sent to the service: may be an ARN or an endpoint
    region: str
    started_at: datetime
    lease_until: datetime  # after this only the sweep can settle the row
    outcome: Outcome = Outcome.OPEN
    settled_at: datetime | None = None
    usage: TokenUsage = field(default_factory=TokenUsage)
    error_code: str = ""
    asked_model: str = ""  # the caller's name for the model, if not `model_id`
    attribution: Attribution = NOBODY
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

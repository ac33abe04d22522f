"""Costs of a day by tenant, cost centre and model, in whole units of 10^-12 USD."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

ORIGINAL = "original"
RESTATEMENT = "restatement"  # a difference found after its day was closed

RowKey = tuple[str, int]
Group = tuple[str, str, str]


class CostsDoNotMatch(Exception):
    """Two of ledger, usage and costs disagree about a period."""

    def __init__(self, period: str, differences: Sequence[str]):
        shown = "; ".join(differences[:5])
        more = f"; and {len(differences) - 5} more" if len(differences) > 5 else ""
        super().__init__(f"costs of {period} do not match: {shown}{more}")
        self.period = period
        self.differences = differences


# ---------------------------------------------------------------------------------------------------------------- lake
@dataclass(frozen=True)
class CostLine:
    """The usage of a model by a tenant's cost centre, and its cost.

    `invocations` are calls that succeeded or were interrupted; `failed_invocations` used nothing. Calls without a cost
    are in one of the other counts: `open` (may still settle), `unsettled` (usage unknown; an interrupted call may be
    one) and `unpriced` (the book lacks a price). Money is None, not 0, if no row has a cost.
    """

    tenant_id: str
    cost_centre: str
    model_id: str
    invocations: int = 0
    failed_invocations: int = 0
    open_invocations: int = 0
    unsettled_invocations: int = 0
    unpriced_invocations: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    images: int = 0
    input_images: int = 0
    input_cost: Decimal | None = None
    output_cost: Decimal | None = None
    cost: Decimal | None = None
    list_cost: Decimal | None = None
    price_version: str = field(default="", compare=False)
    line_kind: str = field(default=ORIGINAL, compare=False)
    restated_at: datetime | None = field(default=None, compare=False)

    @property
    def group(self) -> Group:
        return (self.tenant_id, self.cost_centre, self.model_id)

    def __add__(self, other: CostLine) -> CostLine:
        """The sum of two lines of the same group."""
        sums: dict[str, Any] = {name: getattr(self, name) + getattr(other, name) for name in COUNTS}
        sums |= {name: _add(getattr(self, name), getattr(other, name)) for name in MONEY}
        versions = {version for line in (self, other) for version in line.price_version.split("+") if version}
        return replace(self, **sums, price_version="+".join(sorted(versions)))

    def __neg__(self) -> CostLine:
        """The line that cancels this one."""
        taken: dict[str, Any] = {name: -getattr(self, name) for name in COUNTS}
        taken |= {name: -amount for name in MONEY if (amount := getattr(self, name)) is not None}
        return replace(self, **taken)

    def __bool__(self) -> bool:
        """Does it have any count or cost other than 0?"""
        return any(getattr(self, name) for name in (*COUNTS, *MONEY))


COUNTS = tuple(f.name for f in fields(CostLine) if f.type == "int")
MONEY = tuple(f.name for f in fields(CostLine) if f.type == "Decimal | None")
TOKENS = COUNTS[5:]
LISTED = ("list_cost",)
CHARGED = ("input_cost", "output_cost", "cost")


def _add(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return one + other if one is not None and other is not None else one if other is None else other


@dataclass(frozen=True)
class DayCosts:
    """The costs of a day. Once closed, it only gains lines; the sum of all lines is the day's cost."""

    lines: tuple[CostLine, ...] = ()
    closed: bool = False


def lines_by_group(lines: Iterable[CostLine]) -> dict[Group, CostLine]:
    sums: dict[Group, CostLine] = {}
    for line in lines:
        sums[line.group] = sums[line.group] + line if line.group in sums else line
    return sums

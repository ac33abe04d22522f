"""What each day has cost, as a metric: in all, and by the models that cost most.

It is what the aggregation has proven so far. A run says it again, of the same day and a larger sum, so the largest
value of a day is what it cost, but for what was restated downwards; it lies at the day's beginning, whenever it is
found. A metric is paid for by its names: no tenant is one, nor what a caller made up and nothing was charged for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

from gateway.core.telemetry import DAY_COST, SERVICE, write_metrics
from gateway.costs.cost_lines import CostLine
from gateway.pricing.price_book import ZERO

MODELS = 20
OTHER = "other"


def by_model(lines: Iterable[CostLine]) -> dict[str, Decimal]:
    """USD by model, dearest first; beyond the first 20 they are `other`. What costs nothing is in none."""
    sums: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for line in lines:
        sums[line.model_id] += line.cost or ZERO
    ordered = sorted(((name, usd) for name, usd in sums.items() if usd), key=lambda item: (-item[1], item[0]))
    rest = sum((usd for _, usd in ordered[MODELS:]), ZERO)
    return {**dict(ordered[:MODELS]), **({OTHER: rest} if rest else {})}


def tell_cost(day: str, lines: Iterable[CostLine]) -> None:
    """Write what a day costs; CloudWatch takes no value that is older than two weeks."""
    costs, at = by_model(lines), datetime.fromisoformat(day).replace(tzinfo=UTC)
    write_metrics({DAY_COST: float(sum(costs.values(), ZERO))}, ("service", SERVICE), at)
    for model_id, usd in costs.items():
        write_metrics({DAY_COST: float(usd)}, ("model_id", model_id), at)

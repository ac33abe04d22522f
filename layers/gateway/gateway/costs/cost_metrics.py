"""The cost of each day as a metric: in total, and by the most expensive models.

The value is the cost that the aggregation has proven so far. Later runs write the same day again with a larger sum, so
the largest value of a day is its cost, apart from downward restatements. Its timestamp is always the day's beginning.
CloudWatch charges per metric name: no dimension is a tenant, or a model name that a caller invented and nobody paid
for.
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
    """USD by model, most expensive first; all after the first 20 are summed as `other`. Zero costs are left out."""
    sums: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for line in lines:
        sums[line.model_id] += line.cost or ZERO
    ordered = sorted(((name, usd) for name, usd in sums.items() if usd), key=lambda item: (-item[1], item[0]))
    rest = sum((usd for _, usd in ordered[MODELS:]), ZERO)
    return {**dict(ordered[:MODELS]), **({OTHER: rest} if rest else {})}


def tell_cost(day: str, lines: Iterable[CostLine]) -> None:
    """Write the cost of a day; CloudWatch accepts no value older than two weeks."""
    costs, at = by_model(lines), datetime.fromisoformat(day).replace(tzinfo=UTC)
    write_metrics({DAY_COST: float(sum(costs.values(), ZERO))}, ("service", SERVICE), at)
    for model_id, usd in costs.items():
        write_metrics({DAY_COST: float(usd)}, ("model_id", model_id), at)

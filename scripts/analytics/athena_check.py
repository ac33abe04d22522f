"""`make athena-check`: run every Athena statement on a lake of known figures and compare the results.

The check writes a lake of real Parquet files, translates each statement's exact text to DuckDB and runs it. It compares
the result, row by row and to the last decimal, with one computed in Python from the same rows. It rejects statements
that the two engines interpret differently. It exits with 1 and lists the differences if there are any.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from gateway.costs.cost_lines import RESTATEMENT, TOKENS, CostLine
from gateway.costs.pricer import PRICED, UNPRICED
from gateway.reconciliation.records import REASONS
from gateway.usage.records import Outcome
from gateway.usage.tags import tags_to_text
from scripts.analytics import views as generated
from scripts.analytics.duckdb_athena import open_lake, queries, rows, views
from scripts.analytics.synthetic_lake import (
    BOOK,
    FINDINGS,
    FORECASTS,
    LISTED,
    REGION,
    STRANGE_DAYS,
    TODAY,
    ZERO,
    Row,
    newest,
    write,
)
from scripts.analytics.synthetic_lake import rows as made_up_rows
from scripts.project.command import run

Answer = Iterable[tuple[Any, ...]]
T = TypeVar("T")
THIS_MONTH, LAST_MONTH, ONE_MONTH_AGO = "2026-11", "2026-10", "2026-10-24"


@dataclass(frozen=True)
class Known:
    """The lake's content: the attempts, and the cost lines with their days."""

    rows: list[Row]
    lines: list[tuple[str, CostLine]]

    def of(self, status: str) -> list[Row]:
        return [row for row in self.rows if row.status == status]

    def lines_of(self, month: str) -> list[CostLine]:
        return [line for day, line in self.lines if day[:7] == month]


def total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """The sum of the known values; None if there are none."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known, ZERO) if known else None


def grouped(items: Iterable[T], key: Callable[[T], Any]) -> dict[Any, list[T]]:
    groups: dict[Any, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups


def sums(lines: Iterable[CostLine], *names: str) -> tuple[Any, ...]:
    """The sums of the given cost columns."""
    members = list(lines)
    return tuple(
        total(getattr(line, name) for line in members)
        if name.endswith("cost")
        else sum(getattr(line, name) for line in members)
        for name in names
    )


# ------------------------------------------------------------------------------------------------------------ the views
def daily_cost(known: Known) -> Answer:
    for (day, *group), members in grouped(known.lines, lambda pair: (pair[0], *pair[1].group)).items():
        lines = [line for _, line in members]
        written = sum(line.cache_write_5m_tokens + line.cache_write_1h_tokens for line in lines)
        counts = "invocations", "failed_invocations", "unpriced_invocations", "input_tokens", "output_tokens"
        money = "input_cost", "output_cost", "cost", "list_cost"
        yield (
            day, *group, *sums(lines, *counts, "cache_read_tokens"), written, *sums(lines, "images", *money),
        )  # fmt: skip


def month_to_date(known: Known) -> Answer:
    running: dict[tuple[str, str], list[Decimal]] = defaultdict(lambda: [ZERO, ZERO])
    for (day, tenant), members in sorted(grouped(known.lines, lambda pair: (pair[0], pair[1].tenant_id)).items()):
        cost, list_cost = (amount or ZERO for amount in sums((line for _, line in members), "cost", "list_cost"))
        so_far = running[tenant, day[:7]]
        so_far[0] += cost
        so_far[1] += list_cost
        yield (day[:7], day, tenant, cost, *so_far)


def top_models(known: Known) -> Answer:
    for month, members in grouped(known.lines, lambda pair: pair[0][:7]).items():
        models = grouped((line for _, line in members), lambda line: line.model_id)
        costs = {model: sums(lines, "cost")[0] for model, lines in models.items()}
        of_month = total(costs.values()) or ZERO
        for model, lines in models.items():
            cost = costs[model]
            dearer = [other for other in costs.values() if other is not None and (cost is None or other > cost)]
            share = None if cost is None else 100.0 * float(cost) / float(of_month)
            read = sums(lines, "input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
            counts = sums(lines, "output_tokens", "unpriced_invocations")
            yield (month, len(dearer) + 1, model, cost, share, *sums(lines, "invocations"), sum(read), *counts)


def cost_centre_chargeback(known: Known) -> Answer:
    groups = grouped(known.lines, lambda pair: (pair[0][:7], pair[1].tenant_id, pair[1].cost_centre))
    for group, members in groups.items():
        lines = [line for _, line in members]
        later = [line for line in lines if line.line_kind == RESTATEMENT]
        first = [line for line in lines if line.line_kind != RESTATEMENT]
        all_of = sums(lines, "invocations", "unpriced_invocations", "cost", "list_cost")
        yield (*group, *all_of, *sums(first, "cost"), *sums(later, "cost"))


def unpriced_usage(known: Known) -> Answer:
    groups = grouped(known.of(UNPRICED), lambda row: (*row.group, REGION, row.record.usage.service_tier))
    for group, members in groups.items():
        used = [row.record.usage for row in members]
        yield (
            *group,
            len(members),
            sum(usage.input_tokens for usage in used),
            sum(usage.output_tokens for usage in used),
            sum(usage.cache_read_tokens for usage in used),
            sum(usage.cache_write_5m_tokens + usage.cache_write_1h_tokens for usage in used),
            sum(usage.images for usage in used),
            sum(usage.input_images for usage in used),
            BOOK.version,
        )


def price_restatements(known: Known) -> Answer:
    for day, line in known.lines:
        if line.restated_at:
            after = line.restated_at.strftime("%Y-%m") > day[:7]
            yield (
                day,
                day[:7],
                line.restated_at.replace(tzinfo=None),
                "after the month" if after else "within the month",
                # Among the invented restatements, only the price restatement changes no usage.
                "usage" if line.invocations or line.failed_invocations or line.unsettled_invocations else "price",
                *line.group,
                line.invocations,
                line.input_tokens,
                line.output_tokens,
                line.cost or ZERO,
                line.list_cost or ZERO,
                line.price_version,
            )


def price_periods(known: Known) -> Answer:
    for (model, tier, unit), prices in grouped(LISTED, lambda price: (price.model_id, price.tier, price.unit)).items():
        ordered = sorted(prices, key=lambda price: price.effective_from)
        ends = [price.effective_from for price in ordered[1:]] + [date(9999, 12, 31)]
        for price, end in zip(ordered, ends, strict=True):
            each = price.usd / price.per if price.stated else None
            yield (model, REGION, tier, unit, each, price.effective_from, end, price.name)


def user_cost(known: Known) -> Answer:
    def group(row: Row) -> tuple[str, ...]:
        by = row.record.attribution
        return (row.day, row.record.tenant_id, by.user_id, by.user_source.value)

    for user, members in grouped(known.rows, group).items():
        yield (*user, *_attributed(members))


def key_cost(known: Known) -> Answer:
    for key, members in grouped(known.rows, lambda row: (row.day, row.record.tenant_id, row.record.key_id)).items():
        yield (*key, *_attributed(members))


def tag_cost(known: Known) -> Answer:
    for day, rows_of_day in grouped(known.rows, lambda row: (row.day, row.record.tenant_id)).items():
        names = {name for row in rows_of_day for name, _ in row.record.attribution.tags}
        for name in names:
            values = grouped(rows_of_day, lambda row, name=name: dict(row.record.attribution.tags).get(name, ""))  # type: ignore[misc]
            for value, members in values.items():
                *counts, cost, list_cost = _attributed(members)
                yield (*day, name, value, *counts[:5], cost, list_cost)


def _attributed(rows: Sequence[Row]) -> tuple[Any, ...]:
    used = [row.record.usage for row in rows]
    outcomes = Counter(row.record.outcome for row in rows)
    outputs = (
        row.cost - row.input_cost if row.cost is not None and row.input_cost is not None else None for row in rows
    )
    return (
        outcomes[Outcome.SUCCEEDED] + outcomes[Outcome.INTERRUPTED],
        outcomes[Outcome.FAILED],
        sum(row.status == UNPRICED for row in rows),
        sum(usage.input_tokens for usage in used),
        sum(usage.output_tokens for usage in used),
        sum(usage.cache_read_tokens for usage in used),
        sum(usage.cache_write_5m_tokens + usage.cache_write_1h_tokens for usage in used),
        sum(usage.images for usage in used),
        total(row.input_cost for row in rows),
        total(outputs),
        total(row.cost for row in rows),
        total(row.list_cost for row in rows),
    )


def by_whom(row: Row) -> tuple[str, str, str, str]:
    by = row.record.attribution
    return (row.record.key_id, by.user_id, by.user_source.value, tags_to_text(by.tags))


def usage_by_price(known: Known) -> Answer:
    parts = ((row, part) for row in known.of(PRICED) for part in row.parts)
    groups = grouped(
        parts, lambda pair: (*pair[0].group, pair[1].price.name, pair[1].each, pair[1].list_each, by_whom(pair[0]))
    )
    for (*group, name, each, list_each, whom), members in groups.items():
        price = members[0][1].price
        quantity = sum(part.quantity for _, part in members)
        model = price.model_id
        in_force = name.partition("*")[0]
        yield (
            *group, REGION, price.tier, price.unit, model, REGION, in_force, quantity, each, list_each, each * quantity,
            *whom,
        )  # fmt: skip


def savings(known: Known) -> Answer:
    standard = [row for row in known.of(PRICED) if row.parts and row.parts[0].price.tier == "default"]
    for (day, tenant, _, model), members in _by_tenant_and_model(standard).items():
        parts = [part for row in members for part in row.parts]
        cached = newest(LISTED, model, "default", "cache_read_tokens", date.fromisoformat(day))
        plain = sum(part.quantity for part in parts if part.price.unit == "input_tokens")
        list_input = newest(LISTED, model, "default", "input_tokens", date.fromisoformat(day))
        by_cache = ZERO
        if cached and list_input:
            by_cache = plain * (list_input.usd / list_input.per - cached.usd / cached.per)
        tiers = []
        for tier in ("batch", "flex"):
            others = [newest(LISTED, model, tier, part.price.unit, date.fromisoformat(day)) for part in parts]
            pairs = zip(parts, others, strict=True)
            saved = [(part.list_each - other.usd / other.per) * part.quantity for part, other in pairs if other]
            tiers.append(sum(saved, ZERO) if len(saved) == len(parts) else None)
        yield (day, tenant, model, sum((part.list_cost for part in parts), ZERO), by_cache, *tiers)


def _by_tenant_and_model(rows: Iterable[Row]) -> dict[Any, list[Row]]:
    return grouped(rows, lambda row: (row.day, row.record.tenant_id, "", row.record.model_id))


def what_if(known: Known) -> Answer:
    models = sorted({price.model_id for price in LISTED})
    texts = [row for row in known.of(PRICED) if not row.record.usage.images]
    for (day, tenant, _, model), members in _by_tenant_and_model(texts).items():
        used = [row.record.usage for row in members]
        for other in models:
            priced = {p.unit: p.usd / p.per for p in _in_force(other, date.fromisoformat(day))}
            if other == model or not {"input_tokens", "output_tokens"} <= priced.keys():
                continue
            cost = ZERO
            for unit in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens",
                         "cache_write_1h_tokens"):  # fmt: skip
                each = priced.get(unit, priced["input_tokens"])
                cost += each * sum(getattr(usage, unit) for usage in used)
            money = total(row.cost for row in members), total(row.list_cost for row in members)
            yield (day, tenant, model, REGION, other, *money, cost)


def _in_force(model: str, on: date) -> Iterator[Any]:
    for unit in {price.unit for price in LISTED if price.model_id == model}:
        if price := newest(LISTED, model, "default", unit, on):
            yield price


def focus(known: Known) -> Answer:
    """The lines grouped by billing key: (period, day, tenant, cost centre, model, category, class, SKU, …)."""
    for (day, *group), members in grouped(known.lines, lambda pair: (pair[0], *pair[1].group)).items():
        metered = [
            (part, row) for row in known.of(PRICED) if row.group == (day, *group) for part in row.parts if part.quantity
        ]
        for (name, each, list_each, whom), of_price in grouped(
            metered,
            lambda pair: (pair[0].price.name.partition("*")[0], pair[0].each, pair[0].list_each, by_whom(pair[1])),
        ).items():
            parts = [part for part, _ in of_price]
            quantity = Decimal(sum(part.quantity for part in parts))
            yield (
                day[:7], day, *group, "Usage", None, f"{parts[0].price.model_id}/{parts[0].price.unit}", name, quantity,
                each, list_each, each * quantity, list_each * quantity, *_in_focus(group[1], *whom),
            )  # fmt: skip
        yield from _unpriced_lines(known, day, group)
        lines = [line for _, line in members]
        late = [line for line in lines if line.restated_at and line.restated_at.strftime("%Y-%m") > day[:7]]
        for month, corrections in grouped(late, lambda line: f"{line.restated_at:%Y-%m}").items():
            money = (amount or ZERO for amount in sums(corrections, "cost", "list_cost"))
            yield (
                month,
                day,
                *group,
                "Usage",
                "Correction",
                None,
                None,
                None,
                None,
                None,
                *money,
                *_in_focus(group[1]),
            )
        in_time = [line for line in lines if line not in late]
        known_then = [amount or ZERO for amount in sums(in_time, "cost", "list_cost")]
        now = sum((part.cost for part, _ in metered), ZERO), sum((part.list_cost for part, _ in metered), ZERO)
        rest = known_then[0] - now[0], known_then[1] - now[1]
        if any(rest):
            yield (day[:7], day, *group, "Adjustment", None, None, None, None, None, None, *rest, *_in_focus(group[1]))


def _in_focus(
    cost_centre: str, key: str | None = None, user: str = "", source: str = "", tags: str = "{}"
) -> tuple[str | None, str | None, str]:
    """The key, the user and `Tags` of a line: the gateway's own, then the client's, which cannot replace them."""
    own = {"cost_centre": cost_centre} | ({"user_id": user, "user_source": source} if user else {})
    reserved = ("cost_centre", "user_id", "user_source")
    others = {f"tag_{name}" if name in reserved else name: value for name, value in json.loads(tags).items()}
    return key, user or None, json.dumps(own | others, ensure_ascii=False, separators=(",", ":"))


def _unpriced_lines(known: Known, day: str, group: Sequence[str]) -> Answer:
    """Usage without a price yet: its quantity, at 0."""
    unpriced = [row for row in known.of(UNPRICED) if row.group == (day, *group)]
    for (region, tier, whom), members in grouped(
        unpriced, lambda row: (row.record.region, row.record.usage.service_tier, by_whom(row))
    ).items():
        alike = [row.record for row in members]
        for unit in TOKENS:
            name = {"images": "image", "input_images": "input_image"}.get(unit, unit)
            if quantity := sum(getattr(one.usage, unit) for one in alike):
                price = f"{group[-1]}/{region}/{tier}/{name}@unpriced"
                yield (
                    day[:7], day, *group, "Usage", None, f"{group[-1]}/{name}", price, Decimal(quantity), ZERO, ZERO,
                    ZERO, ZERO, *_in_focus(group[1], *whom),
                )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- the queries
def bill_of_last_month(known: Known) -> Answer:
    for tenant, lines in grouped(known.lines_of(LAST_MONTH), lambda line: line.tenant_id).items():
        yield (tenant, *sums(lines, "cost", "list_cost", "unpriced_invocations"))


def chargeback_of_last_month(known: Known) -> Answer:
    groups = grouped(known.lines_of(LAST_MONTH), lambda line: (line.tenant_id, line.cost_centre))
    for group, lines in groups.items():
        cost, list_cost = sums(lines, "cost", "list_cost")
        restated = sums((line for line in lines if line.restated_at), "cost")
        yield (*group, cost, list_cost - cost, *restated, *sums(lines, "invocations", "unpriced_invocations"))


def spent_this_month(known: Known) -> Answer:
    lines = [pair for pair in known.lines if pair[0][:7] in {THIS_MONTH, LAST_MONTH}]
    for tenant, members in grouped(lines, lambda pair: pair[1].tenant_id).items():
        now = total(line.cost for day, line in members if day[:7] == THIS_MONTH)
        then = total(line.cost for day, line in members if day[:7] == LAST_MONTH and day <= ONE_MONTH_AGO)
        yield (tenant, now, then)


def last_thirty_days(known: Known) -> Answer:
    since = (TODAY - timedelta(days=30)).isoformat()
    for day, members in grouped((pair for pair in known.lines if pair[0] >= since), lambda pair: pair[0]).items():
        yield (day, *sums((line for _, line in members), "invocations", "cost"))


def top_ten_models(known: Known) -> Answer:
    for month, place, model, cost, share, calls, read, written, _ in top_models(known):
        if month == THIS_MONTH and place <= 10:
            yield (place, model, cost, share, calls, read, written)


def unpriced_last_month(known: Known) -> Answer:
    lately = [row for row in known.of(UNPRICED) if row.day >= f"{LAST_MONTH}-01"]
    for (model, tier), members in grouped(
        lately, lambda row: (row.record.model_id, row.record.usage.service_tier)
    ).items():
        days = [row.day for row in members]
        used = [row.record.usage for row in members]
        counts = (sum(getattr(usage, name) for usage in used) for name in ("input_tokens", "output_tokens", "images"))
        yield (model, REGION, tier, min(days), max(days), len(members), *counts)


def restated_lately(known: Known) -> Answer:
    since = datetime(TODAY.year, TODAY.month, TODAY.day) - timedelta(days=90)  # noqa: DTZ001 - as SQL reads it: UTC
    lately = [row for row in price_restatements(known) if row[2] >= since]
    for (month, moment, cause, *group), members in grouped(lately, lambda row: (row[1], *row[3:8])).items():
        yield (month, moment, cause, *group, total(row[11] for row in members), max(row[2] for row in members))


def saved_by_tier_or_cache(known: Known) -> Answer:
    of_month = [row for row in savings(known) if row[0][:7] == LAST_MONTH]
    for group, members in grouped(of_month, lambda row: row[1:3]).items():
        yield (*group, *(total(row[column] for row in members) for column in range(3, 7)))


def last_month_on_another_model(known: Known) -> Answer:
    of_month = [row for row in what_if(known) if row[0][:7] == LAST_MONTH]
    for tenant, mine in grouped(of_month, lambda row: row[1]).items():
        others = grouped(mine, lambda row: (row[2], row[4]))
        costs = {pair: total(row[6] for row in members) or ZERO for pair, members in others.items()}
        dearest = max(costs, key=lambda pair: costs[pair])[0]
        days = {pair: len(members) for pair, members in others.items() if pair[0] == dearest}
        whole = [pair for pair in days if days[pair] == max(days.values())]
        there = {pair: total(row[7] for row in others[pair]) or ZERO for pair in whole}
        for pair in sorted(there, key=lambda pair: (there[pair], pair))[:5]:
            yield (tenant, dearest, costs[pair], pair[1], there[pair], costs[pair] - there[pair])


def failed_or_unsettled(known: Known) -> Answer:
    since = (TODAY - timedelta(days=7)).isoformat()
    lately = [row for row in known.rows if row.day >= since]
    for group, members in grouped(lately, lambda row: (row.record.tenant_id, row.record.model_id)).items():
        outcomes = Counter(row.record.outcome for row in members)
        counts = [outcomes[kind] for kind in (Outcome.FAILED, Outcome.INTERRUPTED, Outcome.UNSETTLED)]
        if any(counts):
            yield (*group, *counts, len(members), total(row.cost for row in members))


def disagreement(_known: Known) -> Answer:
    for day, findings in FINDINGS.items():
        billed = [finding for finding in findings if finding.measure == "usd"]
        for (model, principal), members in grouped(
            billed, lambda finding: (finding.model_id, finding.principal)
        ).items():
            money = [sum((getattr(line, name) for line in members), ZERO) for name in ("ledger", "aws", "difference")]
            reasons = [sum((line.reasons[name] for line in members), ZERO) for name in REASONS]
            off, unmapped = sum(line.above_tolerance for line in members), sum(not line.mapped for line in members)
            yield (day, model, principal, *money, *reasons, off, unmapped)


def month_forecast(_known: Known) -> Answer:
    for on in (date(2026, 10, 31), date(2026, 11, 23)):
        for made in FORECASTS[on]:
            days = [found for found in STRANGE_DAYS if (found.tenant_id, found.day.month) == (made.tenant_id, on.month)]
            yield (
                made.month, on.isoformat(), made.tenant_id, made.cost_centre, made.month_to_date, made.expected,
                made.low, made.high, made.budget, made.is_above_budget, None if made.cost_centre else len(days),
            )  # fmt: skip


def users_of_last_month(known: Known) -> Answer:
    of_month = [row for row in user_cost(known) if row[0][:7] == LAST_MONTH]
    for user, members in grouped(of_month, lambda row: row[1:4]).items():
        counts = (sum(row[column] for row in members) for column in (4, 7, 8))
        yield (*user, *counts, total(row[14] for row in members))


def tags_of_last_month(known: Known) -> Answer:
    of_month = [row for row in tag_cost(known) if row[0][:7] == LAST_MONTH]
    for tag, members in grouped(of_month, lambda row: row[1:4]).items():
        yield (*tag, sum(row[4] for row in members), total(row[9] for row in members), len(members))


WORKED_OUT: dict[str, Callable[[Known], Answer]] = {
    answer.__name__: answer
    for answer in (
        daily_cost, month_to_date, top_models, cost_centre_chargeback, unpriced_usage, price_restatements,
        price_periods, usage_by_price, savings, what_if, focus, bill_of_last_month, chargeback_of_last_month,
        spent_this_month, last_thirty_days, top_ten_models, unpriced_last_month, restated_lately,
        saved_by_tier_or_cache, last_month_on_another_model, failed_or_unsettled,
        disagreement, month_forecast, user_cost, key_cost, tag_cost, users_of_last_month, tags_of_last_month,
    )
}  # fmt: skip
# The query for each view that is not read whole.
ASKED = {
    "focus": """
        SELECT date_format(BillingPeriodStart, '%Y-%m') AS period, date_format(ChargePeriodStart, '%Y-%m-%d') AS dt,
          SubAccountId, x_CostCentre, x_ModelId, ChargeCategory, ChargeClass, SkuId, SkuPriceId, PricingQuantity,
          ContractedUnitPrice, ListUnitPrice, BilledCost, ListCost, x_KeyId, x_UserId, Tags
        FROM focus
    """,
}


# ------------------------------------------------------------------------------------------------------------ the check
def differences(folder: Path, instead: Mapping[str, str] | None = None) -> Iterator[str]:
    """Write a lake into a folder and return the differences between Athena's results and the expected ones.

    `instead` maps statement names to replacement texts.
    """
    yield from generated.wrong()
    statements = {name: ASKED.get(name, f"SELECT * FROM {name}") for name in views()} | queries() | dict(instead or {})
    yield from (f"{name} has no expected result" for name in statements.keys() - WORKED_OUT.keys())
    made_up = made_up_rows()
    known = Known(made_up, write(folder, made_up))
    with open_lake(folder) as engine:
        for name, text in statements.items():
            if name in WORKED_OUT:
                there = Counter(map(_comparable, (row.values() for row in rows(engine, text, TODAY))))
                expected = Counter(map(_comparable, WORKED_OUT[name](known)))
                yield from (f"{name} lacks {_shown(row)}" for row in list(expected - there)[:3])
                yield from (f"{name} should not have {_shown(row)}" for row in list(there - expected)[:3])
                if not expected:
                    yield f"{name} was not checked: the lake has no rows for it"


def _comparable(row: Iterable[Any]) -> tuple[Any, ...]:
    # Only shares are floats.
    return tuple(round(value, 9) if isinstance(value, float) else value for value in row)


def _shown(row: Iterable[Any]) -> str:
    return ", ".join("null" if value is None else str(value) for value in row)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        found = list(differences(Path(folder)))
    for difference in found:
        print(difference, file=sys.stderr)
    if not found:
        print(f"{len(views())} views and {len(queries())} queries return the expected results, to the last decimal")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(run(main))

"""Does the ledger agree with AWS's own record? Every difference of a day is named, and the names add up to it exactly.

Two records of AWS are asked. CloudWatch's metrics of Bedrock, by model: calls and tokens, there the next morning.
The bill (CUR 2.0), by model and usage type: tokens and USD, some days later. A difference is AWS's figure less ours:

    unpriced      the ledger has the tokens, but no price for them
    late          the call began on one day and ended on the next: AWS counts it where it ended; or it is still open
    interrupted   the call broke off and nobody knows what it used: for each, up to the largest call that is known
    out_of_band   spent by a principal that is not one of the gateway's roles; each is a line of its own
    discount      what AWS charges, less AWS's public price
    adjustment    tax, credits, refunds, fees: no usage
    price         the same quantity, at another public price than that of the price book
    rounding      up to a millionth of a USD for each line of the bill
    unexplained   the rest

`price` and `unexplained` above the tolerance are what somebody must look at. A line of the bill whose name is not known
and usage of the ledger that the bill does not name are likely one and the same: only what is left of both, held
against each other, wakes somebody. Each stays listed, the line as not `mapped`.

The ledger counts at the list price here (`list_cost`): what a tenant is charged is the gateway's own affair. Calls to
SageMaker are not compared: it is billed by the hour.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any, NamedTuple

from gateway.costs.usage_prices import OPEN, UNPRICED, UNSETTLED
from gateway.pricing.price_book import SCALE, ZERO, PriceBook, money
from gateway.usage.records import UNKNOWN, Outcome
from gateway.usage_types import Kind, billed_model, billed_tier, kind_of, units_per

CUR, CLOUDWATCH = "cur", "cloudwatch"
USD, COUNT = "usd", "count"
GATEWAY = "gateway"  # stands for all of its roles
NOBODY = "(none)"  # the bill names principals, but none for this line
BILL_LAG = timedelta(days=4)  # AWS writes a day's usage into the bill within a day, and corrects it for some more
ROUNDED = Decimal("0.000001")  # USD, for each line of the bill
LARGEST_CALL = 200_000  # tokens
LEAST_USD = Decimal("0.01")  # less than a cent alarms nobody
CALLS = "Invocations"
REASONS = (
    "unpriced", "late", "interrupted", "out_of_band", "discount", "adjustment", "price", "rounding", "unexplained",
)  # fmt: skip
UNITS = (
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "images",
    "input_images",
)  # fmt: skip
METRICS = {
    "InputTokenCount": ("input_tokens",),
    "OutputTokenCount": ("output_tokens",),
    "CacheReadInputTokenCount": ("cache_read_tokens",),
    "CacheWriteInputTokenCount": ("cache_write_5m_tokens", "cache_write_1h_tokens"),
    "OutputImageCount": ("images",),
}
_DISCOUNTS = {"EdpDiscount", "PrivateRateDiscount", "BundledDiscount", "SppDiscount", "Discount"}
_NUMBER = Decimal(1).scaleb(-SCALE)


# ----------------------------------------------------------------------------------------------------- the two records
class Metered(NamedTuple):
    """Rows of the ledger that are alike, summed. `largest` is the most that one of them used of each unit."""

    model_id: str
    model_used: str
    region: str
    tier: str
    operation: str
    outcome: str
    price_status: str
    usage_source: str
    price_rows: str
    started_on: str
    settled_on: str  # empty where it is open
    rows: int
    used: Mapping[str, int]
    largest: Mapping[str, int]
    list_cost: Decimal | None = None

    @property
    def is_known(self) -> bool:
        """Is it known what was used?"""
        return self.price_status not in (OPEN, UNSETTLED) and self.usage_source != UNKNOWN


class BillLine(NamedTuple):
    """A line of CUR 2.0, or several that are alike. Amounts in USD; `amount` in the bill's own unit."""

    usage_type: str
    product: str
    region: str
    line_type: str
    principal: str  # the ARN as the bill has it; empty where it has none
    pricing_unit: str
    amount: Decimal
    list_cost: Decimal  # at AWS's public price
    net_cost: Decimal  # what AWS charges
    lines: int = 1


class Measured(NamedTuple):
    """The day's sum of one of CloudWatch's metrics, for one model in one region."""

    model: str  # as the call named it: a model, a profile, or the last part of an ARN
    region: str
    metric: str
    value: Decimal


@dataclass(frozen=True)
class Finding:
    """One line of the reconciliation: what the ledger says, what AWS says, and why they differ, as `measure`."""

    source: str
    measure: str
    model_id: str
    region: str
    tier: str
    unit: str
    usage_type: str
    principal: str
    mapped: bool
    ledger_quantity: Decimal
    aws_quantity: Decimal
    ledger: Decimal
    aws: Decimal
    reasons: Mapping[str, Decimal]
    above_tolerance: bool = False
    open_rows: int = 0
    unsettled_rows: int = 0
    unpriced_rows: int = 0

    @property
    def difference(self) -> Decimal:
        return self.aws - self.ledger


# --------------------------------------------------------------------------------------------------------- the ledger
@dataclass
class _Side:
    """What the ledger says of one kind. `quantity` has a price, and costs `cost`; all else is beside it."""

    quantity: int = 0
    cost: Decimal = ZERO
    unpriced: int = 0
    ends_later: int = 0  # of `quantity`: AWS counts it on the next day
    began_before: int = 0  # of the day before: AWS counts it on this one
    largest: int = 0
    open_rows: int = 0
    unsettled_rows: int = 0
    unpriced_rows: int = 0


@dataclass
class _Unknown:
    """Rows of a model whose usage nobody knows."""

    open_rows: int = 0
    unsettled_rows: int = 0
    unpriced_rows: int = 0


@dataclass
class _Books:
    sides: dict[Kind, _Side] = field(default_factory=lambda: defaultdict(_Side))
    unknown: dict[tuple[str, str], _Unknown] = field(default_factory=lambda: defaultdict(_Unknown))
    recorded: dict[tuple[str, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))

    def side(self, kind: Kind) -> _Side:
        """With the rows of the model that nobody knows: each may have used any unit, at any tier."""
        unknown = self.unknown[kind.model_id, kind.region]
        return replace(
            self.sides[kind],
            largest=self.sides[kind].largest or _largest_call(kind.unit),
            open_rows=unknown.open_rows,
            unsettled_rows=unknown.unsettled_rows,
            unpriced_rows=unknown.unpriced_rows,
        )


def _largest_call(unit: str) -> int:
    """What a call that nobody knows may have used, where no other call tells how large they are."""
    return LARGEST_CALL if "token" in unit.lower() else 1


def _of_bedrock(rows: Iterable[Metered]) -> list[Metered]:
    return [row for row in rows if not row.operation.startswith("InvokeEndpoint")]


def _billed_units(used: Mapping[str, int]) -> dict[str, int]:
    """Quantities by the names of the price book."""
    names = {"images": "image", "input_images": "input_image"}
    return {names.get(unit, unit): quantity for unit, quantity in used.items()}


def _books(day: str, rows: Sequence[Metered], listed: PriceBook) -> _Books:
    """The ledger's side of a day, by kind, each unit at the list price of its day."""
    books, on = _Books(), date.fromisoformat(day)
    for row in rows:
        model, tiers = billed_model(row.model_id), _tiers(row)
        mine = row.started_on == day
        unknown = books.unknown[model, row.region]
        if not row.is_known:
            if mine:
                unknown.open_rows += row.rows * (row.price_status == OPEN)
                unknown.unsettled_rows += row.rows * (row.price_status != OPEN)
            continue
        if mine:
            unknown.unpriced_rows += row.rows * (row.price_status == UNPRICED)
            books.recorded[model, row.region] += row.list_cost or ZERO
        for unit, quantity in _billed_units(row.used).items():
            if not quantity:
                continue
            tier = tiers.get(unit, row.tier)
            side = books.sides[Kind(model, row.region, billed_tier(tier), unit)]
            side.largest = max(side.largest, _billed_units(row.largest)[unit])
            if not mine:
                side.began_before += quantity * (row.settled_on == day)
                continue
            price = listed.price(row.model_id, row.region, tier, unit, on) if row.price_status != UNPRICED else None
            if price is None:
                side.unpriced += quantity
                continue
            side.quantity += quantity
            side.cost += price.of(quantity)
            side.ends_later += quantity * (row.settled_on > day)
    return books


def _tiers(row: Metered) -> dict[str, str]:
    """The tier of each unit, as the names of the prices say that the row was priced with."""
    tiers = {}
    for name in row.price_rows.split():
        parts = name.partition("@")[0].rsplit("/", 3)
        if len(parts) == 4:
            tiers[parts[3].partition(":")[0]] = parts[2]
    return tiers


# -------------------------------------------------------------------------------------------------------- the reasons
def _between(value: Decimal, low: int, high: int) -> Decimal:
    return min(max(value, Decimal(low)), Decimal(high))


def _named(gap: Decimal, side: _Side, unpriced: int) -> tuple[dict[str, Decimal], Decimal]:
    """A difference in quantity by its reasons, each as far as it can reach, and what is left."""
    named = {"unpriced": _between(gap, 0, unpriced)}
    gap -= named["unpriced"]
    named["late"] = _between(gap, -side.ends_later, side.began_before)
    gap -= named["late"]
    still_open = _between(gap, 0, side.open_rows * side.largest)
    named["late"] += still_open
    gap -= still_open
    named["interrupted"] = _between(gap, 0, side.unsettled_rows * side.largest)
    return named, gap - named["interrupted"]


def _share(total: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """The part of a cost; to 12 decimals, since what is cut off stays in the rest."""
    with localcontext(prec=60):
        return (total * part / whole).quantize(_NUMBER) if whole else ZERO


def _all(reasons: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {reason: reasons.get(reason, ZERO) for reason in REASONS}


def _is_off(reasons: Mapping[str, Decimal], ledger: Decimal, aws: Decimal, percent: Decimal, least: Decimal) -> bool:
    off = abs(reasons["price"] + reasons["unexplained"])
    return off >= least and off * 100 > percent * max(abs(ledger), abs(aws))


# ----------------------------------------------------------------------------------------------------------- the bill
@dataclass
class _Billed:
    quantity: Decimal = ZERO
    list_cost: Decimal = ZERO
    net_cost: Decimal = ZERO
    lines: int = 0
    usage_types: set[str] = field(default_factory=set)

    def add(self, line: BillLine, each: int) -> None:
        self.quantity += line.amount * each
        self.list_cost += line.list_cost
        self.net_cost += line.net_cost
        self.lines += line.lines
        self.usage_types.add(line.usage_type)


def principal_of(arn: str) -> str:
    """Who it is, without the session: `arn:aws:sts::123456789012:assumed-role/app`."""
    head, slash, rest = arn.partition(":assumed-role/")
    return f"{head}{slash}{rest.partition('/')[0]}"


def _is_gateway(arn: str, roles: frozenset[tuple[str, str]]) -> bool:
    return role_of(arn) in roles


def role_of(arn: str) -> tuple[str, str]:
    """(account, name) of a role, from its own ARN or that of one of its sessions; empty for anything else."""
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return ("", "")
    kind, _, rest = parts[5].partition("/")
    if kind == "role":
        return (parts[4], rest.rpartition("/")[2])
    return (parts[4], rest.partition("/")[0]) if kind == "assumed-role" else ("", "")


def against_bill(
    day: str,
    metered: Iterable[Metered],
    bill: Iterable[BillLine],
    listed: PriceBook,
    roles: Iterable[str],
    percent: Decimal,
) -> list[Finding]:
    """A day's ledger against the bill's lines of that day. `metered` has the rows of the day before as well.

    `roles` are the ARNs of the gateway's own. A bill that names no principal at all is taken for the gateway's whole.
    The sum of all `ledger` is the day's list_cost, the sum of all `aws` what the lines cost, to the last decimal.
    """
    books, ours = _books(day, _of_bedrock(metered), listed), frozenset(map(role_of, roles)) - {("", "")}
    bill = list(bill)
    names_principals = any(line.principal for line in bill)
    billed: dict[Kind, _Billed] = defaultdict(_Billed)
    findings = []
    beside: dict[tuple[str, str, str, Kind | None], _Billed] = defaultdict(_Billed)
    for line in bill:
        kind = kind_of(line.usage_type, line.product, line.region)
        each = units_per(line.pricing_unit, line.usage_type, kind.unit) if kind else None
        if kind is None or each is None:
            kind, each = None, 1
        who = GATEWAY if not names_principals or _is_gateway(line.principal, ours) else principal_of(line.principal)
        if line.line_type != "Usage":
            what = "discount" if line.line_type in _DISCOUNTS else "adjustment"
            beside[what, who or NOBODY, f"{line.line_type} {line.usage_type}".strip(), kind].add(line, each)
        elif who != GATEWAY:
            beside["out_of_band", who or NOBODY, line.usage_type, kind].add(line, each)
        elif kind is None:
            beside["unexplained", who, line.usage_type, kind].add(line, each)
        else:
            billed[kind].add(line, each)
    for kind in sorted(books.sides.keys() | billed.keys()):
        findings.append(_billed_finding(kind, books.side(kind), billed[kind], percent))
    for (reason, who, usage_type, kind), sums in sorted(beside.items(), key=lambda item: str(item[0])):
        findings.append(_beside(reason, who, usage_type, kind, sums, percent))
    return [*_netted(findings, percent), *_priced_otherwise(books, percent)]


def _netted(findings: Sequence[Finding], percent: Decimal) -> list[Finding]:
    """Lines of the bill that are not mapped, and usage that no line is of, alarm by what is left of them together."""
    unnamed = [finding for finding in findings if not finding.mapped and finding.reasons["unexplained"]]
    unbilled = [f for f in findings if f.mapped and not f.aws_quantity and f.ledger and f.reasons["unexplained"]]
    billed, recorded = (
        sum((abs(finding.reasons["unexplained"]) for finding in side), ZERO) for side in (unnamed, unbilled)
    )
    together = _all({"unexplained": billed - recorded})
    if not (unnamed and unbilled) or _is_off(together, recorded, billed, percent, LEAST_USD):
        return list(findings)
    alike = [*unnamed, *unbilled]
    return [replace(f, above_tolerance=False) if any(f is one for one in alike) else f for f in findings]


def _billed_finding(kind: Kind, side: _Side, billed: _Billed, percent: Decimal) -> Finding:
    named, rest = _named(billed.quantity - side.quantity, side, side.unpriced)
    total, whole = (billed.list_cost, billed.quantity) if billed.quantity else (side.cost, Decimal(side.quantity))
    reasons = _all({reason: _share(total, quantity, whole) for reason, quantity in named.items()})
    left = billed.list_cost - side.cost - sum(reasons.values())
    if abs(left) <= ROUNDED * max(billed.lines, 1):
        reasons["rounding"] = left
    else:
        reasons["unexplained" if rest else "price"] = left
    reasons["discount"] = billed.net_cost - billed.list_cost
    return Finding(
        CUR, USD, *kind, "+".join(sorted(billed.usage_types)), GATEWAY, True,
        Decimal(side.quantity + side.unpriced), billed.quantity, side.cost, billed.net_cost, reasons,
        _is_off(reasons, side.cost, billed.list_cost, percent, LEAST_USD),
        side.open_rows, side.unsettled_rows, side.unpriced_rows,
    )  # fmt: skip


def _beside(reason: str, who: str, usage_type: str, kind: Kind | None, sums: _Billed, percent: Decimal) -> Finding:
    """What is on the bill and cannot be in the ledger."""
    unmapped = reason == "unexplained"
    reasons = _all({reason: sums.list_cost if unmapped else sums.net_cost})
    if unmapped:
        reasons["discount"] = sums.net_cost - sums.list_cost
    place = kind or Kind("", "", "", "")
    off = _is_off(reasons, ZERO, sums.list_cost, percent, LEAST_USD)
    return Finding(
        CUR, USD, *place, usage_type, who, kind is not None, ZERO, sums.quantity, ZERO, sums.net_cost, reasons, off
    )


def _priced_otherwise(books: _Books, percent: Decimal) -> list[Finding]:
    """Where the rows were priced by another list than the one in force: the book has changed since."""
    valued: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for kind, side in books.sides.items():
        valued[kind.model_id, kind.region] += side.cost
    found = []
    for (model_id, region), recorded in sorted(books.recorded.items()):
        if rest := recorded - valued[model_id, region]:
            reasons = _all({"price": -rest})
            line = Finding(
                CUR,
                USD,
                model_id,
                region,
                "",
                "",
                "",
                GATEWAY,
                True,
                ZERO,
                ZERO,
                rest,
                ZERO,
                reasons,
                _is_off(reasons, recorded, recorded, percent, LEAST_USD),
            )  # fmt: skip
            found.append(line)
    return found


# --------------------------------------------------------------------------------------------------------- CloudWatch
def against_metrics(
    day: str, metered: Iterable[Metered], measured: Iterable[Measured], percent: Decimal
) -> list[Finding]:
    """A day's ledger against CloudWatch's counts. `metered` has the rows of the day before as well.

    A call that failed may be counted by CloudWatch or not, by how far it came. CloudWatch does not say who called: what
    it counts for a model that the gateway did not call is out of band, what it counts beyond the gateway's calls to a
    model is unexplained until the bill names who it was.
    """
    rows = _of_bedrock(metered)
    sides: dict[tuple[str, str, str], _Side] = defaultdict(_Side)
    names: dict[tuple[str, str], str] = {}
    unknown: dict[tuple[str, str], _Unknown] = defaultdict(_Unknown)
    for row in rows:
        place = (row.model_used.rpartition("/")[2], row.region)
        mine = row.started_on == day
        if mine or row.settled_on == day:
            names.setdefault(place, row.model_id)
        if mine and not row.is_known:
            unknown[place].open_rows += row.rows * (row.price_status == OPEN)
            unknown[place].unsettled_rows += row.rows * (row.price_status != OPEN)
        for metric, quantity, largest in _counted(row):
            side = sides[(*place, metric)]
            side.largest = max(side.largest, largest)
            if mine:
                side.quantity += quantity
                side.ends_later += quantity * (row.settled_on > day)
            else:
                side.began_before += quantity * (row.settled_on == day)
        if mine and row.outcome in (Outcome.FAILED, Outcome.UNSETTLED):
            sides[(*place, CALLS)].unsettled_rows += row.rows
    for (model, region, metric), side in sides.items():
        side.open_rows = unknown[model, region].open_rows
        side.largest = side.largest or _largest_call(metric)
        if metric != CALLS:
            side.unsettled_rows = unknown[model, region].unsettled_rows
    values = {(m.model.rpartition("/")[2], m.region, m.metric): m.value for m in measured}
    findings = []
    for key in sorted(sides.keys() | values.keys()):
        model, region, metric = key
        side, value = sides[key], values.get(key, ZERO)
        if not value and not side.quantity:
            continue
        named, rest = _named(value - side.quantity, side, 0)
        called = (model, region) in names
        reasons = _all({**named, "unexplained" if called else "out_of_band": rest})
        ledger = Decimal(side.quantity)
        finding = Finding(
            CLOUDWATCH,
            COUNT,
            billed_model(names.get((model, region), model)),
            region,
            "",
            metric,
            model,
            GATEWAY if called else NOBODY,
            called,
            ledger,
            value,
            ledger,
            value,
            reasons,
            _is_off(reasons, ledger, value, percent, Decimal(1)),
            side.open_rows,
            side.unsettled_rows,
        )  # fmt: skip
        findings.append(finding)
    return findings


def _counted(row: Metered) -> Iterable[tuple[str, int, int]]:
    """What CloudWatch should count of a row: (metric, quantity, the most of one call)."""
    if row.outcome in (Outcome.SUCCEEDED, Outcome.INTERRUPTED):
        yield CALLS, row.rows, 1
    if row.is_known:
        for metric, units in METRICS.items():
            quantity = sum(row.used.get(unit, 0) for unit in units)
            if quantity:
                yield metric, quantity, sum(row.largest.get(unit, 0) for unit in units)


# ----------------------------------------------------------------------------------------------------------- the night
class DayToReconcile(NamedTuple):
    day: str
    bill: bool  # is the bill of that day to be there?


def days_to_reconcile(scheduled: datetime, bill: bool) -> list[DayToReconcile]:
    """The day before against the metrics, and one that is some days back against the bill as well."""
    today = scheduled.astimezone(UTC).date()
    days = [DayToReconcile((today - timedelta(days=1)).isoformat(), False)]
    if bill:
        days.append(DayToReconcile((today - BILL_LAG).isoformat(), True))
    return days


def day_before(day: str) -> str:
    return (date.fromisoformat(day) - timedelta(days=1)).isoformat()


def summary(findings: Sequence[Finding]) -> dict[str, Any]:
    """What a run says of a day: how many lines, how many above the tolerance, and the USD by reason."""
    usd = {reason: sum((f.reasons[reason] for f in findings if f.measure == USD), ZERO) for reason in REASONS}
    return {
        "lines": len(findings),
        "aboveTolerance": sum(finding.above_tolerance for finding in findings),
        "unmapped": sum(not finding.mapped and finding.source == CUR for finding in findings),
        "differenceUsd": {reason: money(amount) for reason, amount in usd.items() if amount},
    }

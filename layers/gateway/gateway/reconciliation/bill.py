"""Compares the ledger with AWS's bill."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from gateway.pricing.price_book import ZERO, PriceBook
from gateway.reconciliation.bill_usage_types import Kind, kind_of, units_per
from gateway.reconciliation.ledger_side import (
    LedgerIndex,
    LedgerTotals,
    all_reasons,
    index_ledger,
    is_off,
    named_differences,
    of_bedrock,
    share_of,
)
from gateway.reconciliation.records import CUR, GATEWAY, LEAST_USD, NOBODY, ROUNDED, USD, BillLine, Finding, UsageGroup

_DISCOUNTS = {"EdpDiscount", "PrivateRateDiscount", "BundledDiscount", "SppDiscount", "Discount"}


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
    """The principal without its session: `arn:aws:sts::123456789012:assumed-role/app`."""
    head, slash, rest = arn.partition(":assumed-role/")
    return f"{head}{slash}{rest.partition('/')[0]}"


def _is_gateway(arn: str, roles: frozenset[tuple[str, str]]) -> bool:
    return role_of(arn) in roles


def role_of(arn: str) -> tuple[str, str]:
    """(account, name) of a role, from its own ARN or from the ARN of a session; empty strings for anything else."""
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return ("", "")
    kind, _, rest = parts[5].partition("/")
    if kind == "role":
        return (parts[4], rest.rpartition("/")[2])
    return (parts[4], rest.partition("/")[0]) if kind == "assumed-role" else ("", "")


def against_bill(
    day: str,
    metered: Iterable[UsageGroup],
    bill: Iterable[BillLine],
    listed: PriceBook,
    roles: Iterable[str],
    percent: Decimal,
) -> list[Finding]:
    """Compare a day's ledger with the bill's lines of that day. `metered` has the rows of the day before as well.

    `roles` are the ARNs of the gateway's roles. If no line names a principal, all lines count as the gateway's.
    The `ledger` figures sum to the day's list_cost, the `aws` figures to the cost of the lines, to the last decimal.
    """
    index, ours = index_ledger(day, of_bedrock(metered), listed), frozenset(map(role_of, roles)) - {("", "")}
    bill = list(bill)
    names_principals = any(line.principal for line in bill)
    billed: dict[Kind, _Billed] = defaultdict(_Billed)
    findings = []
    unmatched: dict[tuple[str, str, str, Kind | None], _Billed] = defaultdict(_Billed)
    for line in bill:
        kind = kind_of(line.usage_type, line.product, line.region)
        each = units_per(line.pricing_unit, line.usage_type, kind.unit) if kind else None
        if kind is None or each is None:
            kind, each = None, 1
        principal = (
            GATEWAY if not names_principals or _is_gateway(line.principal, ours) else principal_of(line.principal)
        )
        if line.line_type != "Usage":
            reason = "discount" if line.line_type in _DISCOUNTS else "adjustment"
            unmatched[reason, principal or NOBODY, f"{line.line_type} {line.usage_type}".strip(), kind].add(line, each)
        elif principal != GATEWAY:
            unmatched["out_of_band", principal or NOBODY, line.usage_type, kind].add(line, each)
        elif kind is None:
            unmatched["unexplained", principal, line.usage_type, kind].add(line, each)
        else:
            billed[kind].add(line, each)
    for kind in sorted(index.sides.keys() | billed.keys()):
        findings.append(_billed_finding(kind, index.side(kind), billed[kind], percent))
    for (reason, principal, usage_type, kind), sums in sorted(unmatched.items(), key=lambda item: str(item[0])):
        findings.append(_unmatched_finding(reason, principal, usage_type, kind, sums, percent))
    return [*_offset_alarms(findings, percent), *_priced_otherwise(index, percent)]


def _offset_alarms(findings: Sequence[Finding], percent: Decimal) -> list[Finding]:
    """Clear the alarms of unmapped bill lines and of unbilled usage, if the two offset each other."""
    unnamed = [finding for finding in findings if not finding.mapped and finding.reasons["unexplained"]]
    unbilled = [f for f in findings if f.mapped and not f.aws_quantity and f.ledger and f.reasons["unexplained"]]
    billed, recorded = (
        sum((abs(finding.reasons["unexplained"]) for finding in side), ZERO) for side in (unnamed, unbilled)
    )
    net = all_reasons({"unexplained": billed - recorded})
    if not (unnamed and unbilled) or is_off(net, recorded, billed, percent, LEAST_USD):
        return list(findings)
    offsetting = [*unnamed, *unbilled]
    return [replace(f, above_tolerance=False) if any(f is one for one in offsetting) else f for f in findings]


def _billed_finding(kind: Kind, side: LedgerTotals, billed: _Billed, percent: Decimal) -> Finding:
    named, rest = named_differences(billed.quantity - side.quantity, side, side.unpriced)
    total, whole = (billed.list_cost, billed.quantity) if billed.quantity else (side.cost, Decimal(side.quantity))
    reasons = all_reasons({reason: share_of(total, quantity, whole) for reason, quantity in named.items()})
    left = billed.list_cost - side.cost - sum(reasons.values())
    if abs(left) <= ROUNDED * max(billed.lines, 1):
        reasons["rounding"] = left
    else:
        reasons["unexplained" if rest else "price"] = left
    reasons["discount"] = billed.net_cost - billed.list_cost
    return Finding(
        CUR, USD, *kind, "+".join(sorted(billed.usage_types)), GATEWAY, True,
        Decimal(side.quantity + side.unpriced), billed.quantity, side.cost, billed.net_cost, reasons,
        is_off(reasons, side.cost, billed.list_cost, percent, LEAST_USD),
        side.open_rows, side.unsettled_rows, side.unpriced_rows,
    )  # fmt: skip


def _unmatched_finding(
    reason: str, principal: str, usage_type: str, kind: Kind | None, sums: _Billed, percent: Decimal
) -> Finding:
    """A finding for bill lines that have no counterpart in the ledger."""
    unmapped = reason == "unexplained"
    reasons = all_reasons({reason: sums.list_cost if unmapped else sums.net_cost})
    if unmapped:
        reasons["discount"] = sums.net_cost - sums.list_cost
    place = kind or Kind("", "", "", "")
    off = is_off(reasons, ZERO, sums.list_cost, percent, LEAST_USD)
    return Finding(
        CUR,
        USD,
        *place,
        usage_type,
        principal,
        kind is not None,
        ZERO,
        sums.quantity,
        ZERO,
        sums.net_cost,
        reasons,
        off,
    )


def _priced_otherwise(index: LedgerIndex, percent: Decimal) -> list[Finding]:
    """Findings for rows that an older list priced: the price book has changed since."""
    valued: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for kind, side in index.sides.items():
        valued[kind.model_id, kind.region] += side.cost
    found = []
    for (model_id, region), recorded in sorted(index.recorded.items()):
        if rest := recorded - valued[model_id, region]:
            reasons = all_reasons({"price": -rest})
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
                is_off(reasons, recorded, recorded, percent, LEAST_USD),
            )  # fmt: skip
            found.append(line)
    return found

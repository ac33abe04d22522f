"""The files of statements, and the hash chain that detects any later change to them.

    statements/month=2026-10/tenant=acme/statement.csv      every line
                                         statement.html     the page
                                         manifest.json      their hashes and sums, and the previous manifest's hash
    statements/month=2026-10/manifest.json                  the hash of each tenant's manifest and of the month before

A month is closed once its own manifest exists.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, Protocol

from gateway.costs.cost_lines import COUNTS, MONEY, CostLine
from gateway.statements.statement import (
    DatedLine,
    Statement,
    StatementError,
    closes_at,
    exact_money,
    from_csv,
    month_after,
    month_of_day,
    timestamp,
    total,
)

FORMAT = 1
ROOT = "statements/"
CSV, PAGE, MANIFEST = "statement.csv", "statement.html", "manifest.json"
LATE = "late_lines"  # of a manifest, by day: usage from before the chain's first month. Omitted if there is none.


class ChainBroken(StatementError):
    """A file, link or sum of the chain is wrong; the first one found."""

    def __init__(self, where: str, what: str):
        super().__init__(f"{where}: {what}")


class Costs(Protocol):
    """The costs of each day. Implemented by `gateway.aws.lake.statements`."""

    def days(self) -> list[str]:
        """The days with costs, oldest first."""

    def counts(self, day: str) -> Mapping[tuple[str, str], int]:
        """The number of lines by tenant and kind."""

    def lines(self, day: str, first: str = "", last: str | None = None) -> Iterator[CostLine]:
        """The lines of all tenants from `first` to `last`."""

    def is_closed(self, day: str) -> bool:
        """Is the day closed, so that every later change adds a line?"""


class Files(Protocol):
    """The store of statements. Implemented by `gateway.aws.lake.statements`."""

    def names(self, prefix: str) -> list[str]: ...

    def read(self, name: str) -> bytes: ...

    def add(self, name: str, content: bytes) -> bool:
        """Write a file; False, and no change, if it already exists."""


# ----------------------------------------------------------------------------------------------------------- manifests
@dataclass(frozen=True)
class Link:
    """A manifest's reference to the one before it."""

    month: str
    sha256: str

    @property
    def json(self) -> dict[str, str]:
        return {"month": self.month, "sha256": self.sha256}


def tenant_manifest(statement: Statement, csv: bytes, page: bytes, previous: Link | None) -> bytes:
    return as_json(
        {
            "format": FORMAT,
            "tenant_id": statement.tenant_id,
            "month": statement.month,
            "closes_at": timestamp(statement.closes_at),
            "files": {CSV: _file(csv), PAGE: _file(page)},
            **_sums(statement.usage, statement.restatements),
            "lines": len(statement.lines),
            "restatement_lines": _restatement_lines(statement.lines),
            **_late_lines(statement),
            "price_versions": statement.price_versions,
            "previous": previous.json if previous else None,
        }
    )


def month_manifest(month: str, closes: datetime, tenants: Mapping[str, bytes], previous: Link | None) -> bytes:
    """The manifest of a month, which sums up those of its tenants."""
    recorded = {tenant: json.loads(content) for tenant, content in sorted(tenants.items())}
    usage, restatements = (
        _added(manifest[name] for manifest in recorded.values()) for name in ("usage", "restatements")
    )
    restated = sum((Counter(manifest["restatement_lines"]) for manifest in recorded.values()), Counter[str]())
    late = sum((Counter(manifest.get(LATE, {})) for manifest in recorded.values()), Counter[str]())
    return as_json(
        {
            "format": FORMAT,
            "month": month,
            "closes_at": timestamp(closes),
            "tenants": {
                tenant: {
                    "sha256": digest(tenants[tenant]),
                    "lines": manifest["lines"],
                    "cost": manifest["total"]["cost"],
                }
                for tenant, manifest in recorded.items()
            },
            **_sums(usage, restatements),
            "lines": sum(manifest["lines"] for manifest in recorded.values()),
            "restatement_lines": dict(sorted(restated.items())),
            **({LATE: dict(sorted(late.items()))} if late else {}),
            "price_versions": sorted({version for m in recorded.values() for version in m["price_versions"]}),
            "previous": previous.json if previous else None,
        }
    )


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def _file(content: bytes) -> dict[str, Any]:
    return {"sha256": digest(content), "bytes": len(content)}


def _sums(usage: CostLine, restatements: CostLine) -> dict[str, Any]:
    parts = {"usage": usage, "restatements": restatements, "total": total((usage, restatements))}
    return {name: _amounts(line) for name, line in parts.items()}


def _amounts(line: CostLine) -> dict[str, Any]:
    return {name: getattr(line, name) for name in COUNTS} | {name: exact_money(getattr(line, name)) for name in MONEY}


def _added(amounts: Iterable[Mapping[str, Any]]) -> CostLine:
    return total(
        CostLine("", "", "", **{name: _number(name, each[name]) for name in (*COUNTS, *MONEY)}) for each in amounts
    )


def _number(name: str, value: Any) -> Any:
    return Decimal(value) if name in MONEY and value is not None else value


def _restatement_lines(lines: Iterable[DatedLine]) -> dict[str, int]:
    """The number of restatement lines by restated day."""
    return dict(sorted(Counter(dated.day for dated in lines if dated.is_restatement).items()))


def _late_lines(statement: Statement) -> dict[str, dict[str, int]]:
    found = Counter(dated.day for dated in statement.restated if not dated.is_restatement)
    return {LATE: dict(sorted(found.items()))} if found else {}


def as_json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def folder(month: str, tenant_id: str = "") -> str:
    return f"{ROOT}month={month}/tenant={tenant_id}/" if tenant_id else f"{ROOT}month={month}/"


# --------------------------------------------------------------------------------------------------------------- chain
@dataclass
class Chain:
    """The closed months, oldest first, and the last link of each tenant's chain."""

    months: dict[str, dict[str, Any]] = field(default_factory=dict)
    last: Link | None = None
    tenants: dict[str, Link] = field(default_factory=dict)

    @classmethod
    def read(cls, files: Files, before: str | None = None) -> Chain:
        """Read every closed month, or those before one, without verifying them (see `verify`)."""
        chain = cls()
        for month in closed_months(files):
            if before is None or month < before:
                chain.append(month, files.read(folder(month) + MANIFEST))
        return chain

    def append(self, month: str, content: bytes) -> None:
        self.months[month] = recorded = json.loads(content)
        self.last = Link(month, digest(content))
        self.tenants |= {tenant: Link(month, one["sha256"]) for tenant, one in recorded["tenants"].items()}

    def closing(self, delay_days: int) -> Callable[[str], datetime]:
        """When a month closes, or closed: for a closed month its manifest decides, whatever the delay is today."""
        return lambda month: (
            datetime.fromisoformat(self.months[month]["closes_at"])
            if month in self.months
            else closes_at(month, delay_days)
        )

    def restatement_lines(self, day: str) -> int:
        return sum(manifest["restatement_lines"].get(day, 0) for manifest in self.months.values())

    def late_lines(self, day: str) -> int:
        return sum(manifest.get(LATE, {}).get(day, 0) for manifest in self.months.values())


def closed_months(files: Files) -> list[str]:
    names = (name.removeprefix(ROOT).split("/") for name in files.names(ROOT))
    return sorted(parts[0].removeprefix("month=") for parts in names if len(parts) == 2 and parts[1] == MANIFEST)


# ------------------------------------------------------------------------------------------------------------ verifying
@dataclass
class _DayOfTenant:
    """A tenant's day in the statements or in the costs. The sum of hashes ignores the order of lines."""

    lines: int = 0
    cost: Decimal = Decimal(0)
    hashes: int = 0

    def add(self, dated: DatedLine) -> None:
        self.lines += 1
        self.cost += dated.line.cost or 0
        self.hashes += int.from_bytes(sha256(repr(_plain(dated)).encode()).digest(), "big")

    def __str__(self) -> str:
        return f"{self.lines} lines, {exact_money(self.cost)} USD"


def _plain(dated: DatedLine) -> list[str]:
    """A line as text, identical whether it was read from a statement or from the costs."""
    values = (value.normalize() if isinstance(value, Decimal) else value for value in dated.identity)
    return [timestamp(value) if isinstance(value, datetime) else str(value) for value in values]


@dataclass(frozen=True)
class Verified:
    """The verified months and totals. `waiting` lines, of closed or earlier months, belong in the next statement."""

    months: tuple[str, ...]
    statements: int
    lines: int
    waiting: int


def verify(costs: Costs, files: Files) -> Verified:
    """Prove every file, link and sum of the whole chain, and every line against the costs. Raises ChainBroken."""
    months = closed_months(files)
    present: dict[str, set[str]] = defaultdict(set)
    for name in files.names(ROOT):
        present[name.removeprefix(ROOT).split("/")[0].removeprefix("month=")].add(name)
    chain = Chain()
    originals: dict[tuple[str, str], _DayOfTenant] = defaultdict(_DayOfTenant)
    restated: Counter[tuple[Any, ...]] = Counter()
    statements = lines = 0
    for month in months:
        for dated in _verified_month(month, chain, files, present[month]):
            lines += 1
            if dated.is_restatement or month_of_day(dated.day) != month:
                restated[dated.identity] += 1
            else:
                originals[dated.day, dated.line.tenant_id].add(dated)
        statements += len(chain.months[month]["tenants"])
    waiting = _match_costs(months, originals, restated, costs)
    return Verified(tuple(months), statements, lines, waiting)


def _verified_month(month: str, chain: Chain, files: Files, present: set[str]) -> Iterator[DatedLine]:
    """Verify the files, links and sums of the chain's next month, and yield its lines."""
    where = folder(month) + MANIFEST
    content = files.read(where)
    recorded = parsed(content, where)
    if chain.last and month_after(chain.last.month) != month:
        raise ChainBroken(folder(month_after(chain.last.month)) + MANIFEST, "it is missing, but later months exist")
    if recorded["previous"] != (chain.last.json if chain.last else None):
        raise ChainBroken(where, f"its link does not match {chain.last.month if chain.last else 'the first month'}")
    expected = {where} | {folder(month, t) + name for t in recorded["tenants"] for name in (CSV, PAGE, MANIFEST)}
    if lost := sorted(expected - present):
        raise ChainBroken(lost[0], "it is missing")
    if unexpected := sorted(present - expected):
        raise ChainBroken(unexpected[0], "no manifest names it")
    manifests = {}
    for tenant, one in recorded["tenants"].items():
        csv, _, manifest = sealed(month, tenant, one["sha256"], files, ChainBroken)
        manifests[tenant] = manifest
        place, own = folder(month, tenant), json.loads(manifest)
        link = chain.tenants.get(tenant)
        if own["previous"] != (link.json if link else None):
            raise ChainBroken(place + MANIFEST, f"its link does not match {link.month if link else 'the first month'}")
        try:
            lines = from_csv(csv)
        except StatementError as error:
            raise ChainBroken(place + CSV, str(error)) from error
        statement = Statement.of(tenant, month, datetime.fromisoformat(own["closes_at"]), lines)
        computed = json.loads(tenant_manifest(statement, csv, b"", link))
        _must_match(place + MANIFEST, own, computed | {"files": own["files"]})
        yield from lines
    computed = json.loads(month_manifest(month, datetime.fromisoformat(recorded["closes_at"]), manifests, chain.last))
    _must_match(where, recorded, computed)
    chain.append(month, content)


def _must_match(where: str, recorded: Mapping[str, Any], computed: Mapping[str, Any]) -> None:
    for name in computed:
        if recorded.get(name) != computed[name]:
            raise ChainBroken(
                where, f"its {name} is {recorded.get(name)!r}, but its contents add up to {computed[name]!r}"
            )


def sealed(
    month: str, tenant: str, sha: str | None, files: Files, error: Callable[[str, str], StatementError]
) -> tuple[bytes, bytes, bytes]:
    """A tenant's files (CSV, page, manifest), after checking their hashes against the manifests."""
    place = folder(month, tenant)
    manifest = files.read(place + MANIFEST)
    if sha and digest(manifest) != sha:
        raise error(place + MANIFEST, f"its hash differs from the one in {folder(month)}{MANIFEST}")
    recorded = parsed(manifest, place + MANIFEST).get("files", {})
    contents = []
    for name in (CSV, PAGE):
        contents.append(files.read(place + name))
        if _file(contents[-1]) != recorded.get(name):
            raise error(place + name, "its hash differs from the one in its manifest")
    return contents[0], contents[1], manifest


def parsed(content: bytes, where: str) -> dict[str, Any]:
    try:
        recorded: dict[str, Any] = json.loads(content)
    except ValueError as error:
        raise ChainBroken(where, "it is not valid JSON") from error
    return recorded


def _match_costs(
    months: Sequence[str],
    originals: Mapping[tuple[str, str], _DayOfTenant],
    restated: Counter[tuple[Any, ...]],
    costs: Costs,
) -> int:
    """Check that statements and costs have the same lines; return how many lines wait for a later statement.

    Each statement line must match one line of the costs; each original line of these months must be in a statement.
    """
    waiting = 0
    left = set(originals)
    for day in costs.days():
        if month_of_day(day) not in months and not (months and month_of_day(day) < months[0]):
            continue
        found: dict[tuple[str, str], _DayOfTenant] = defaultdict(_DayOfTenant)
        for dated in (DatedLine(day, line) for line in costs.lines(day)):
            if not dated.is_restatement and month_of_day(day) in months:
                found[day, dated.line.tenant_id].add(dated)
            elif restated[dated.identity]:
                restated[dated.identity] -= 1
            else:
                waiting += 1
        for key in sorted(found.keys() | {key for key in left if key[0] == day}):
            if (stated := originals.get(key, _DayOfTenant())) != found[key]:
                raise ChainBroken(
                    f"costs of {day}", f"{key[1]} has {found[key]} there, but {stated} in the statement of {day[:7]}"
                )
            left.discard(key)
    if left:
        day, tenant = min(left)
        raise ChainBroken(
            f"costs of {day}", f"they are missing, but {tenant} has {originals[day, tenant]} in a statement"
        )
    if extra := +restated:
        day, tenant = min(identity[:2] for identity in extra)
        raise ChainBroken(f"costs of {day}", f"they lack a restatement of {tenant} that is in a statement")
    return waiting

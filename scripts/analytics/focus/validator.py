"""Runs `focus-validator`, in its own environment, on the export of a synthetic lake.

Its package includes the rules of FOCUS 1.2, so it needs no network. It always exits with 0, so only its output counts.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb

from scripts.analytics.duckdb_athena import quoted
from scripts.analytics.synthetic_lake import rows, write
from scripts.project.command import CommandFailedError
from scripts.project.sam import NONE_FOUND, find_python
from scripts.project.template import ROOT
from scripts.project.words import counted

ENVIRONMENT = ROOT / ".venv-focus"
LOCK = ROOT / "scripts/analytics/focus/requirements.lock"
# The gateway's features, in the specification's terms: the validator skips rules about other features.
APPLIES = (
    "ACCOUNT_NAMING_SUPPORTED", "MULTIPLE_PRICING_CATEGORIES_SUPPORTED", "NEGOTIATED_PRICING_SUPPORTED",
    "PUBLIC_PRICE_LIST_SUPPORTED", "REGION_SUPPORTED", "SUB_ACCOUNT_SUPPORTED", "TAGGING_SUPPORTED",
    "UNIT_PRICING_SUPPORTED", "USAGE_MEASUREMENT_SUPPORTED",
)  # fmt: skip


class Allowed(NamedTuple):
    """Why a failing rule is not a fault of the export, and the export that proves that no data can pass."""

    reason: str
    otherwise: str  # the export in the form that the rule requires, a SELECT from `export`
    then_fails: str  # the rule that fails instead


ALLOWED = {
    "InvoiceId-C-004-C": Allowed(
        "It and C-005 are the two sides of C-003, of which one holds: it is null, or it is not. The validator counts "
        "each alone as well, so no data passes both. Here every line names its statement.",
        "SELECT * REPLACE (CAST(NULL AS varchar) AS InvoiceId) FROM export",
        "InvoiceId-C-005-C",
    )
}
_STDERR = 2  # its notices accompany the result
_TOTAL = re.compile(r"^Total: (\d+) \| Pass: (\d+) \| Fail: (\d+) \| Skipped: (\d+)", re.MULTILINE)
_FAILED = re.compile(r"^- (\S+): (violations=.*)$", re.MULTILINE)


def check(export: Callable[[Path, Path], int], tell: Callable[[str], None]) -> list[str]:
    """Export a synthetic lake as CSV and as Parquet; return the validator's findings. Raises CommandFailedError."""
    set_up()
    with tempfile.TemporaryDirectory() as folder:
        lake = Path(folder) / "lake"
        write(lake, rows())
        found = []
        for kind in ("csv", "parquet"):
            out = Path(folder) / f"focus.{kind}"
            lines = export(lake, out)
            said = validate(out)
            found += [f"{kind}: {fault}" for fault in faults(said)]
            result = _TOTAL.search(said)
            tell(f"{kind}: {counted(lines, 'line')}. {result[0] if result else 'no result'}")
        for rule, allowed in ALLOWED.items():
            other = Path(folder) / "otherwise.parquet"
            with duckdb.connect() as engine:
                engine.execute(f"CREATE VIEW export AS SELECT * FROM '{quoted(out)}'")
                engine.execute(f"COPY ({allowed.otherwise}) TO '{quoted(other)}' (FORMAT parquet)")
            found += unfounded(rule, allowed, validate(other))
    return found


def set_up() -> None:
    """The validator's environment, created once per version of its lock. Raises CommandFailedError."""
    ready = ENVIRONMENT / "ready"
    if ready.exists() and ready.stat().st_mtime >= LOCK.stat().st_mtime:
        return
    python = find_python()
    if python is None:
        raise CommandFailedError(NONE_FOUND)
    command = [python, ROOT / "scripts/project/set_up.py", ENVIRONMENT, LOCK]
    if subprocess.run(command, stdout=_STDERR, check=False).returncode:
        raise CommandFailedError(f"The validator's environment could not be created in {ENVIRONMENT}.")


def validate(out: Path) -> str:
    """The validator's output for an export."""
    python = ENVIRONMENT / "bin/python"
    where = "import focus_validator, pathlib; print(pathlib.Path(focus_validator.__file__).parents[1])"
    packages = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    command: list[str | Path] = [
        python, "-m", "focus_validator.main", "--data-file", out, "--validate-version", "1.2", "--block-download",
        "--applicability-criteria", ",".join(APPLIES), "--show-violations",
    ]  # fmt: skip
    # The validator looks for its list of currencies below its working directory.
    ran = subprocess.run(command, cwd=packages, capture_output=True, text=True, check=False)
    return f"{ran.stdout}\n{ran.stderr}"


def faults(said: str) -> Iterator[str]:
    """The validator's findings on an export, without the allowed ones; a run without a result is a finding too."""
    total = _TOTAL.search(said)
    if total is None:
        yield f"the validator returned no result:\n{said[-2000:]}"
        return
    failed = failures(said)
    if len(failed) != int(total[3]) or not int(total[2]):
        yield f"the validator's output cannot be parsed: {total[0]}, but it names {len(failed)} failures"
    yield from (f"{rule}: {message}" for rule, message in failed.items() if rule not in ALLOWED)
    yield from (f"{rule} no longer fails: remove it from the list" for rule in ALLOWED.keys() - failed.keys())


def unfounded(rule: str, allowed: Allowed, said: str) -> Iterator[str]:
    """Reasons not to allow a rule to fail, from the validator's output for data made to pass it."""
    if failures(said).keys() != {allowed.then_fails}:
        yield f"{rule} need not fail: only {allowed.then_fails} should fail instead, and does not\n{said[-2000:]}"


def failures(said: str) -> dict[str, str]:
    return dict(_FAILED.findall(said))

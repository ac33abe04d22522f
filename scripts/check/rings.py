"""Runs the tests in rings, the fast ones first: `python -m scripts.check.rings [PYTEST'S ARGUMENTS]`, or `make test`.

It prints the results so far after each ring. A failing ring does not stop the next. Paths among the arguments select
tests, in the rings that they belong to; all other arguments go to each run of pytest.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
WORKERS = ("-n", "3", "--dist", "loadfile")
NOTHING_COLLECTED = 5  # pytest's exit code


@dataclass(frozen=True)
class Ring:
    name: str
    folders: tuple[str, ...]

    def chosen(self, paths: Sequence[str]) -> tuple[str, ...]:
        """The given paths (in pytest's form) that belong to this ring; without any, the whole ring."""
        if not paths:
            return self.folders
        within = [path for path in paths if any(_inside(path, folder) for folder in self.folders)]
        below = [folder for folder in self.folders if any(_inside(folder, path) for path in paths)]
        return tuple(dict.fromkeys([*within, *below]))


# These read generated files, start processes, or try hundreds of histories.
_LONG = ("tests/unit/costs", "tests/unit/scripts")
_DOMAIN = sorted(
    str(folder.relative_to(ROOT)) for folder in (ROOT / "tests/unit").iterdir() if any(folder.glob("test_*.py"))
)
RINGS = (
    Ring("the domain", tuple(folder for folder in _DOMAIN if folder not in _LONG)),
    Ring("costs and commands", _LONG),
    Ring("functions and contracts", ("tests/functions", "tests/contract")),
    Ring("workflows", ("tests/workflow",)),
    # Tests in tests/e2e also run those of tests/sdks and tests/generations.
    Ring("the whole stack", ("tests/e2e",)),
    Ring("clients", ("tests/clients",)),
)


def _inside(path: str, folder: str) -> bool:
    file, whole = ((ROOT / each.partition("::")[0]).resolve() for each in (path, folder))
    return file.is_relative_to(whole)


def run(ring: Ring, paths: Sequence[str], arguments: Sequence[str], report: Path) -> tuple[int, Counter[str]]:
    """pytest's exit code, and the numbers of tests that passed, failed and were skipped."""
    command = [sys.executable, "-m", "pytest", *WORKERS, "-q", f"--junitxml={report}", *arguments, *paths]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    return code, _counted(report)


def _counted(report: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    if not report.exists():
        return counts
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        said = {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
        failed = said["failures"] + said["errors"]
        counts += Counter(
            passed=said["tests"] - failed - said["skipped"], failed=failed, skipped=said["skipped"]
        )  # fmt: skip
    return counts


def told(counts: Counter[str]) -> str:
    """`12 passed, 1 failed, 2 skipped`, in pytest's format: counts of 0 are left out."""
    kinds = ("passed", "failed", "skipped")
    return ", ".join(f"{counts[kind]} {kind}" for kind in kinds if counts[kind]) or "no tests ran"


def main(arguments: Sequence[str]) -> int:
    began = time.monotonic()
    paths = [each for each in arguments if not each.startswith("-") and (ROOT / each.partition("::")[0]).exists()]
    others = [each for each in arguments if each not in paths]
    total: Counter[str] = Counter()
    codes: set[int] = set()
    with tempfile.TemporaryDirectory(prefix="rings-") as folder:
        for number, ring in enumerate(RINGS):
            if not (chosen := ring.chosen(paths)):
                continue
            print(f"{ring.name}:", flush=True)
            begun = time.monotonic()
            try:
                code, counts = run(ring, chosen, others, Path(folder) / f"{number}.xml")
            except KeyboardInterrupt:
                print(f"\n{told(total)}, then interrupted", flush=True)
                return 130
            total += counts
            codes.add(code)
            print(f"-- {ring.name}: {told(counts)} in {time.monotonic() - begun:.0f}s\n", flush=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"CPU {used.ru_utime + used.ru_stime:.0f}s, the largest process {used.ru_maxrss / 1024:.0f} MB", flush=True)
    print(f"{told(total)} in {time.monotonic() - began:.2f}s", flush=True)
    ran = codes - {NOTHING_COLLECTED}
    return max(ran, default=NOTHING_COLLECTED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

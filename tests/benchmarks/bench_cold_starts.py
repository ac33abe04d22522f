"""CPU of each function's cold start compared with a bare Python: the deployed artefact with and without bytecode.

It imports the output of `sam build` with Lambda's Python version and the layers of wheels for this machine's CPU.
Lambda's folders are read-only, so without bytecode every cold start compiles all of its imports.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.deploy.sam_local import overlay as sam_local_overlay
from scripts.project import sam
from scripts.project.template import FUNCTION, ROOT, load, of_type

ROUNDS = 3
BARE = "bare Python"
Way = tuple[list[Path], dict[str, str]]


def cpu(python: Path, folders: list[Path], variables: dict[str, str]) -> float:
    """CPU milliseconds of a fresh process that imports a function's module, or nothing."""
    code = f"import sys; sys.path[:0] = {[*map(str, folders)]}; import app" if folders else "pass"
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **variables}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([python, "-P", "-c", code], env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def without_bytecode(folder: Path, under: Path) -> Path:
    bare = under / folder.relative_to(folder.anchor)
    if not bare.exists():
        shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("__pycache__"))
    return bare


def main() -> int:
    python = sam.find_python()
    if python is None or sam.run("build"):
        print(
            f"cold starts are not measured: {sam.NONE_FOUND if python is None else 'sam build failed'}", file=sys.stderr
        )
        return 1
    template = load(sam_local_overlay.TARGET)
    with tempfile.TemporaryDirectory(dir=ROOT / ".aws-sam") as folder:
        ways: dict[str, list[Way]] = {BARE: [([], {}), ([], {})]}
        for name in sorted(of_type(template, FUNCTION)):
            folders, variables = sam_local_overlay.mounted(template, name)
            deployed = [path.resolve() for path in folders]
            ways[name] = [
                (deployed, variables),
                ([without_bytecode(path, Path(folder)) for path in deployed], variables),
            ]
        taken: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in ways}
        for _ in range(ROUNDS):
            for name, both in ways.items():
                for way, values in zip(both, taken[name], strict=True):
                    values.append(cpu(python, *way))
    base = statistics.median([*taken[BARE][0], *taken[BARE][1]])
    print(f"\nCPU of a cold start (median of {ROUNDS} fresh processes), as deployed and without bytecode")
    for name, (first, second) in taken.items():
        as_deployed, bare = statistics.median(first), statistics.median(second)
        print(
            f"  {name:28} {as_deployed:6.0f} ms  x {as_deployed / base:5.1f}   {bare:6.0f} ms  x {bare / base:5.1f}   "
            f"{bare / as_deployed:4.2f} times as much"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

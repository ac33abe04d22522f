"""Compiles requirements.lock from pyproject.toml, then the requirements of layers and functions, and separate locks.

`python -m scripts.generate.locks` needs a package index; `--upgrade` also moves to the newest versions. `--check` needs
no index: it proves that pyproject.toml, the lock and the requirements of the builds agree.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = Path("requirements.lock")
OLDEST_PYTHON = "3.11"

# Separate environments, by the folder of their requirements.in and .lock, with the oldest Python of each.
ALONE = {
    Path("scripts/check"): OLDEST_PYTHON,
    Path("scripts/generate/clients"): OLDEST_PYTHON,
    Path("scripts/generate/site"): OLDEST_PYTHON,
    Path("scripts/deploy/ministack"): "3.13",
    Path("scripts/analytics/focus"): "3.13",
    Path("tests/clients/python/instructor"): OLDEST_PYTHON,
    Path("tests/clients/python/litellm"): OLDEST_PYTHON,
    Path("tests/clients/python/llama_index"): OLDEST_PYTHON,
    Path("tests/clients/python/openai_agents"): OLDEST_PYTHON,
    Path("tests/clients/python/pydantic_ai"): OLDEST_PYTHON,
    Path("tests/clients/python/strands"): OLDEST_PYTHON,
    Path("tests/sdks"): OLDEST_PYTHON,
}
OVERRIDES = "overrides.in"  # beside them, if a dependency requires more than it needs

# The runtime of the layers, as its Python reports itself. The script evaluates markers once, here, so that every pip
# builds the same layer from the file.
LAMBDA = {
    "python_version": "3.13",
    "python_full_version": "3.13.0",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "aarch64",
    "os_name": "posix",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "extra": "",
}
HEADER = "# Exact part of {lock}, made by `make lock`; do not edit.\n"


@dataclass(frozen=True)
class Pin:
    """One pinned package of a lock, with its hashes."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    @property
    def in_lambda(self) -> bool:
        return not self.marker or Marker(self.marker).evaluate(LAMBDA)

    def __str__(self) -> str:
        return " \\\n    ".join([f"{self.name}=={self.version}", *self.hashes]) + "\n"


def pins(lock: str) -> Iterator[Pin]:
    for line in lock.replace("\\\n", " ").splitlines():
        if not line or line.startswith("#"):
            continue
        requirement, *hashes = line.split(" --hash=")
        package, _, marker = requirement.partition(" ;")
        name, _, version = package.strip().partition("==")
        yield Pin(canonicalize_name(name), version, marker.strip(), tuple(f"--hash={part.strip()}" for part in hashes))


def compile_lock(source: Path, lock: Path, *options: str) -> None:
    """Compiles `source` to `lock`: for every platform, with hashes, and without a trace of this machine."""
    told = ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--generate-hashes"]
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", *told, *options, str(source), "-o", str(lock)]
    subprocess.run(command, cwd=ROOT, check=True)


# ----------------------------------------------------------------------------------------------- layers and functions
def declared() -> dict[str, list[str]]:
    """The direct requirements of the project by their user: the key `` is for every function."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {"": project["dependencies"], **project["optional-dependencies"]}


def shipped() -> dict[Path, set[str]]:
    """The packages that each layer, and each function beyond its layers, ships."""
    needed = declared()
    common = closure(needed[""])
    return {
        Path("layers/dependencies/requirements.txt"): common,
        Path("layers/parquet/requirements.txt"): closure(needed["parquet"]),
        Path("functions/authorize_tenant/requirements.txt"): closure(needed["tokens"]) - common,
        Path("functions/close_month/requirements.txt"): closure(needed["statements"]) - common,
        Path("functions/stream_model/requirements.txt"): closure(needed["stream"]) - common,
    }


def closure(requirements: Iterable[str]) -> set[str]:
    """The requirements and all their dependencies in Lambda, as the installed packages declare them."""
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) in found:
                continue
            found.add((name, extra))
            needs = map(Requirement, metadata.requires(name) or ())
            waiting += [n for n in needs if not n.marker or n.marker.evaluate(LAMBDA | {"extra": extra})]
    return {name for name, _ in found}


def part_of_lock(names: set[str], locked: Iterable[Pin]) -> str:
    """The part of the lock that pins these packages."""
    pinned = {pin.name: str(pin) for pin in locked if pin.name in names and pin.in_lambda}
    if missing := names - pinned.keys():
        raise SystemExit(f"requirements.lock lacks {', '.join(sorted(missing))}: run `make lock`")
    return HEADER.format(lock=LOCK) + "".join(pinned[name] for name in sorted(pinned))


def lock_faults(source: Path, asked: Iterable[str], lock: Path) -> Iterator[str]:
    text = (ROOT / lock).read_text()
    locked = list(pins(text))
    for requirement in map(Requirement, asked):
        versions = [pin.version for pin in locked if pin.name == canonicalize_name(requirement.name)]
        if not any(requirement.specifier.contains(version) for version in versions):
            yield f"{lock} lacks {requirement}, which {source} requires"
    for pin in locked:
        if not pin.hashes:
            yield f"{lock} pins {pin.name} without a hash"
    if "://" in text or str(Path.home()) in text:
        yield f"{lock} names an index or a folder of a machine"


def faults() -> Iterator[str]:
    """The differences from the locks, one sentence each."""
    yield from lock_faults(Path("pyproject.toml"), (text for group in declared().values() for text in group), LOCK)
    for folder in ALONE:
        source = folder / "requirements.in"
        asked = [line for line in (ROOT / source).read_text().splitlines() if line and not line.startswith("#")]
        yield from lock_faults(source, asked, folder / "requirements.lock")
    locked = list(pins((ROOT / LOCK).read_text()))
    try:
        for path, names in shipped().items():
            kept = (ROOT / path).read_text() if (ROOT / path).exists() else ""
            if kept != part_of_lock(names, locked):
                yield f"{path} does not match {LOCK}"
    except metadata.PackageNotFoundError as absent:
        yield f"{absent.name} is not installed, so this environment does not match {LOCK}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if the files disagree")
    parser.add_argument("--upgrade", action="store_true", help="move to the newest versions")
    arguments = parser.parse_args()
    if not arguments.check:
        upgrade = ["--upgrade"] if arguments.upgrade else []
        everyone = ["--universal", "--python-version", OLDEST_PYTHON]
        compile_lock(Path("pyproject.toml"), LOCK, *everyone, "--all-extras", *upgrade)
        for folder, oldest in ALONE.items():
            options = ["--universal", "--python-version", oldest, *upgrade]
            if (ROOT / folder / OVERRIDES).exists():
                options += ["--override", str(folder / OVERRIDES)]
            compile_lock(folder / "requirements.in", folder / "requirements.lock", *options)
        locked = list(pins((ROOT / LOCK).read_text()))
        try:
            made = {path: part_of_lock(names, locked) for path, names in shipped().items()}
        except metadata.PackageNotFoundError as absent:
            # The next make installs the lock that was just compiled.
            print(f"{LOCK} is compiled; {absent.name} is new in it: run `make lock` again", file=sys.stderr)
            return 1
        for path, text in made.items():
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(text)
    wrong = list(faults())
    for fault in wrong:
        print(f"{fault}: run `make lock`", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

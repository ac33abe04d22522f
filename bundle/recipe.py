"""What a function or a layer ships: its own files, its wheels for Lambda's CPU, and the bytecode of both.

`recipe.py function|layer LOGICAL_ID TARGET`, in the folder that CodeUri or ContentUri names. `sam build` runs it
through the Makefile beside it. It needs the Python that Lambda runs, with pip, and nothing of this project.

Lambda's folders cannot be written to, so a module without bytecode is compiled at each cold start. A .pyc with an
unchecked hash is imported without a look at its source (docs.python.org/3.13, import system, "Cached bytecode
invalidation"). Bytecode has no CPU; one of another Python, which Lambda's guide warns of, would only be ignored.
The same sources give the same bytes: otherwise each `sam deploy` would replace every layer.

A layer of wheels is made twice: for Lambda, and for this machine's CPU, where `sam local` finds it.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

LAMBDA = (3, 13)
ARCHITECTURE = "arm64"  # template.yaml's
VARIABLE = "BUNDLE_ARCHITECTURE"  # for a template of another one: SAM tells a Makefile no architecture
MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
# Amazon Linux 2023, which Lambda's Python 3.13 runs on, has glibc 2.34 (its user guide: "Comparing AL2 and AL2023").
PLATFORMS = {
    architecture: (*(f"manylinux_2_{minor}_{wheel}" for minor in (34, 28, 17)), f"manylinux2014_{wheel}")
    for architecture, wheel in (("arm64", "aarch64"), ("x86_64", "x86_64"))
}
REQUIREMENTS = "requirements.txt"
NOT_SHIPPED = shutil.ignore_patterns(REQUIREMENTS, "__pycache__", "*.pyc", ".*")
TESTS = "tests"  # of a package in a wheel: pyarrow's are 3 MB
MOUNTED = {"function": "/var/task", "layer": "/opt"}

ROOT = Path(__file__).resolve().parents[1]
LOCAL = ROOT / ".aws-sam/local"
MACHINE = LOCAL / "written-by-sam-build.yaml"  # SAM CLI names this file where it is missing


class BundleError(Exception):
    """Why something could not be bundled."""


def bundle(kind: str, source: Path, target: Path, architecture: str) -> None:
    """Fill `target` with what Lambda mounts. Raises BundleError."""
    inner = target / "python" if kind == "layer" else target
    inner.mkdir(parents=True, exist_ok=True)
    if (source / REQUIREMENTS).exists():
        install(source / REQUIREMENTS, inner, architecture)
    shutil.copytree(source, inner, ignore=NOT_SHIPPED, dirs_exist_ok=True)
    compile_all(target, MOUNTED[kind])


def install(requirements: Path, target: Path, architecture: str) -> None:
    """Unpack the locked wheels. `pip install` would add files that name this machine's Python. Raises BundleError."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", folder]
        locked = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", str(requirements)]
        version = ["--implementation", "cp", "--python-version", ".".join(map(str, LAMBDA))]
        run(*pip, *locked, *version, *(f"--platform={name}" for name in PLATFORMS[architecture]))
        for wheel in sorted(Path(folder).iterdir()):
            unpack(wheel, target)


def unpack(wheel: Path, target: Path) -> None:
    """Extract a wheel's packages and metadata. Its scripts, headers and tests stay away."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            parts = Path(member.filename).parts
            if parts[0].endswith(".data"):
                if parts[1] not in {"purelib", "platlib"}:
                    continue
                parts = parts[2:]
            if parts[1:2] == (TESTS,) or member.is_dir():
                continue
            member.filename = "/".join(parts)
            archive.extract(member, target)


def compile_all(folder: Path, mounted: str) -> None:
    """Write the bytecode beside each source, with the source's path in Lambda. Raises BundleError."""
    paths = ["-s", str(folder), "-p", mounted]
    run(sys.executable, "-m", "compileall", "-q", *paths, "--invalidation-mode", "unchecked-hash", str(folder))


def run(*command: str) -> None:
    """Run a command. Raises BundleError."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONHASHSEED": "0"}
    )
    if done.returncode:
        raise BundleError(f"{' '.join(command[1:4])} failed:\n{(done.stdout + done.stderr)[-2000:]}")


def this_machine() -> str:
    """The architecture of this machine's CPU, as Lambda calls it."""
    return MACHINES[platform.machine().lower()]


def bundle_for_this_machine(logical_id: str, source: Path) -> None:
    """Make the layer that `sam local` mounts, and say of which CPU it is. Raises BundleError."""
    architecture = this_machine()
    LOCAL.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=LOCAL) as folder:
        made, target = Path(folder) / logical_id, LOCAL / logical_id
        bundle("layer", source, made, architecture)
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)
        written = Path(folder) / MACHINE.name
        written.write_text(f"Machine: {architecture}\n")
        written.replace(MACHINE)


def main(kind: str, logical_id: str, target: str) -> int:
    if sys.version_info[:2] != LAMBDA or sys.implementation.name != "cpython":
        print(f"{sys.executable} is no CPython {'.'.join(map(str, LAMBDA))}, which Lambda runs", file=sys.stderr)
        return 1
    source = Path.cwd()
    try:
        bundle(kind, source, Path(target), os.environ.get(VARIABLE, ARCHITECTURE))
        # `sam build --use-container` shows this folder to the container, and not the project's.
        in_project = (ROOT / "template.yaml").exists()
        if kind == "layer" and (source / REQUIREMENTS).exists() and in_project and VARIABLE not in os.environ:
            bundle_for_this_machine(logical_id, source)
    except BundleError as error:
        print(f"{logical_id}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

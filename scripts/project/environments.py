"""Environments beside .venv for packages that cannot or must not be in it, each from its own lock."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


class NotSetUp(RuntimeError):
    """An environment could not be created; carries the reason."""

    def __init__(self, lock: Path, said: str):
        super().__init__(f"the environment of {lock.relative_to(ROOT)} could not be created:\n{said[-2000:]}")


def set_up(environment: Path, lock: Path, python: Path = Path(sys.executable)) -> None:
    """Create an environment once per lock, even with concurrent callers. Raises NotSetUp."""
    ready = environment / "ready"
    with lock.open() as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        if ready.exists() and ready.stat().st_mtime >= lock.stat().st_mtime:
            return
        command = [str(python), str(ROOT / "scripts/project/set_up.py"), str(environment), str(lock)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotSetUp(lock, done.stdout + done.stderr)


def set_up_quickly(environment: Path, lock: Path) -> None:
    """The same with uv, in a tenth of the time, for environments without later installs. Raises NotSetUp.

    Falls back to pip if uv cannot reach the index that pip is configured for.
    """
    uv, ready = [sys.executable, "-m", "uv"], environment / "ready"
    with lock.open() as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        if ready.exists() and ready.stat().st_mtime >= lock.stat().st_mtime:
            return
        options = ("--quiet", "--system-certs", "--require-hashes", "--python", str(environment / "bin/python"))
        commands = (
            [*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(environment)],
            [*uv, "pip", "sync", *options, str(lock)],
        )
        if all(subprocess.run(command, capture_output=True, check=False).returncode == 0 for command in commands):
            ready.touch()
            return
    set_up(environment, lock)


def has_node() -> bool:
    """Does the path have a recent enough Node, with npm?"""
    if not (shutil.which("node") and shutil.which("npm")):
        return False
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
    if not (found := re.match(r"v(\d+)\.(\d+)\.", said)):
        return False
    version = (int(found[1]), int(found[2]))
    return (20, 19) <= version < (21, 0) or version >= (22, 12)  # Redocly's requirement


def set_up_node(home: Path, folder: Path) -> Path:
    """Install the lock in `home` into `folder`, once per lock; returns the folder of its programs. Raises NotSetUp."""
    folder.mkdir(parents=True, exist_ok=True)
    lock, installed = home / "package-lock.json", folder / "node_modules/of.lock"
    for name in ("package.json", lock.name, ".npmrc"):
        shutil.copyfile(home / name, folder / name)
    if not installed.exists() or installed.read_bytes() != lock.read_bytes():
        command = ["npm", "ci", "--ignore-scripts"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotSetUp(lock, done.stdout + done.stderr)
        shutil.copyfile(lock, installed)
    return folder / "node_modules/.bin"

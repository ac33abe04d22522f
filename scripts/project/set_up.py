"""Makes a virtual environment from a lock, with nothing but a bare Python: `set_up.py FOLDER LOCK`."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

OLDEST = (3, 11)


def main(folder: Path, lock: Path) -> int:
    if sys.version_info < OLDEST:
        print(f"Python {'.'.join(map(str, OLDEST))} or newer is needed; this is {sys.version.split()[0]}. "
              "Name one: make PYTHON=python3.13 …", file=sys.stderr)  # fmt: skip
        return 1
    if folder.is_symlink():
        print(f"{folder} is a link, and what it leads to would be emptied. Take it away first.", file=sys.stderr)
        return 1
    print(f"setting up {folder} from {lock} (once; about a minute)", flush=True)
    venv.create(folder, with_pip=True, clear=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    # The lock is whole and hashed: nothing is resolved, and nothing else gets in.
    done = subprocess.run([*pip, "--no-deps", "--require-hashes", "--requirement", str(lock)], check=False)
    if done.returncode == 0:
        (folder / "ready").touch()
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))

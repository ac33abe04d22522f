"""Creates a virtual environment from a lock, and the command `gateway` in it; needs only a bare Python.

set_up.py FOLDER LOCK       create the environment
set_up.py --command FILE    write the operator's command, a file such as .venv/bin/gateway
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

OLDEST = (3, 11)
# The script finds its folder from its own path: worktrees may share one environment by a link, and a checkout may move.
# -P keeps the caller's folder, which may contain its own `scripts`, off the front of Python's path.
COMMAND = """\
#!/bin/sh
# The operator's command: `gateway --help`. Written by scripts/project/set_up.py; do not edit.
bin=$(dirname -- "$0")
[ -x "$bin/python" ] && [ -d "$bin/../../scripts/operate" ] || bin=$(dirname -- "$(readlink -f -- "$0")")
root=$(CDPATH='' cd -- "$bin/../.." && pwd) || exit
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "$bin/python" -P -m scripts.operate.cli "$@"
"""


def main(arguments: list[str]) -> int:
    if arguments[0] == "--command":
        write_command(Path(arguments[1]))
        return 0
    return make_environment(Path(arguments[0]), Path(arguments[1]))


def make_environment(folder: Path, lock: Path) -> int:
    if sys.version_info < OLDEST:
        print(f"Python {'.'.join(map(str, OLDEST))} or newer is needed; this is {sys.version.split()[0]}. "
              "Name one: make PYTHON=python3.13 …", file=sys.stderr)  # fmt: skip
        return 1
    if folder.is_symlink():
        print(f"{folder} is a link, and its target would be emptied. Remove the link first.", file=sys.stderr)
        return 1
    print(f"setting up {folder} from {lock} (once; about a minute)", flush=True)
    venv.create(folder, with_pip=True, clear=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    # The lock is complete and hashed: pip resolves nothing and installs nothing else.
    done = subprocess.run([*pip, "--no-deps", "--require-hashes", "--requirement", str(lock)], check=False)
    if done.returncode == 0:
        (folder / "ready").touch()
    return done.returncode


def write_command(file: Path) -> None:
    """Replace it atomically: other worktrees may be starting it."""
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(COMMAND, encoding="utf-8")
    fresh.chmod(0o755)
    fresh.replace(file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

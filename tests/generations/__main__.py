"""Makes the present code write a generation; see the package."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from tests.conftest import ENVIRONMENT
from tests.generations import KEPT
from tests.generations.writing import write


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.generations", description=__doc__)
    parser.add_argument("name", help="of the generation: the day of its release, such as 2026-12-01")
    parser.add_argument("--into", type=Path, default=KEPT, help="the folder that it is put into")
    given = parser.parse_args()
    folder = given.into / given.name
    if folder.exists():
        print(f"{folder} is there already; what a release wrote is never written again", file=sys.stderr)
        return 2
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        write(folder, patch)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder}: {size // 1000} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

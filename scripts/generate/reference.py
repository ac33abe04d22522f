"""Every generated page of docs/reference at once: `python -m scripts.generate.reference [--check]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Protocol

from scripts.generate import api, errors, events_and_metrics, lake_tables, parameters, views
from scripts.generate.pages import write_or_check


class Generator(Protocol):
    """A module that generates files, and also runs on its own."""

    __name__: str

    def files(self) -> dict[Path, str]: ...


MODULES: tuple[Generator, ...] = (errors, api, parameters, lake_tables, views, events_and_metrics)


def main() -> int:
    return max(write_or_check(module.files(), "its source", sys.argv[1:]) for module in MODULES)


if __name__ == "__main__":
    sys.exit(main())

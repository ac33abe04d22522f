"""Plays the matrix, prints the failures, and writes docs/call/clients.md: `make client-matrix`, or `ARGS="PART_OF_A_NAME …"`.

With parts of clients' names it plays only those clients, and writes no page.
"""

from __future__ import annotations

import os
import sys
import tempfile

from scripts.dev.stack import LocalStack
from scripts.project.environments import has_node

from . import page
from .matrix import CELLS
from .playing import Players, command_of
from .tap import Tap


def main(*parts: str) -> int:
    if not has_node():
        print("There is no Node 20.19, or 22.12 or newer, here.", file=sys.stderr)
        return 1
    cells = [cell for cell in CELLS if not parts or any(part in cell.client.name for part in parts)]
    for client in {cell.client for cell in cells}:
        command_of(client)
    begun = sum(os.times()[:4])
    with tempfile.TemporaryDirectory() as folder, LocalStack(folder) as stack, Tap(stack.url) as tap:
        results = Players(stack, tap).play(cells)
    for cell, result in results.items():
        for line in (*result.faults, *(f"warned: {warning}" for warning in result.warnings)):
            print(f"{cell.id}: {line}")
    spent = sum(os.times()[:4]) - begun
    works = sum(not result.faults for result in results.values())
    print(f"{works} of {len(results)} cells work; {spent:.0f} s of CPU")
    if not parts:
        page.PAGE.write_text(page.written(results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

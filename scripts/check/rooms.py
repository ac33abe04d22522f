"""Reads rooms, floors and arrows of the code from its imports: `python -m scripts.check.rooms`.

A room is a package, or a module beside packages. An arrow leads from a room to a room it imports. A room's floor is one
above the highest room it imports. Rooms in an import cycle have no floor, and the command fails.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOUSES = {"gateway": ROOT / "layers/gateway/gateway", "scripts": ROOT / "scripts", "scripts.dev": ROOT / "scripts/dev"}
MOST_ARROWS = {"gateway": 50}


@dataclass(frozen=True)
class House:
    """The imports of each room."""

    arrows: Mapping[str, frozenset[str]]

    def floors(self) -> dict[str, int]:
        """The floor of each room, 0 the lowest. Raises CycleError where rooms import each other."""
        floors: dict[str, int] = {}
        for room in TopologicalSorter(self.arrows).static_order():
            floors[room] = max((floors[below] + 1 for below in self.arrows[room]), default=0)
        return floors


def house(name: str, folder: Path) -> House:
    """The rooms of a package in a folder."""
    rooms = {room.stem: room for room in folder.iterdir() if _is_room(room)}
    arrows = {room: frozenset(_imports(path, name) & rooms.keys() - {room}) for room, path in rooms.items()}
    return House(arrows)


def _is_room(path: Path) -> bool:
    if path.is_dir():
        return any(path.rglob("*.py"))
    return path.suffix == ".py" and not path.stem.startswith("__")


def _imports(room: Path, house: str) -> set[str]:
    """The names below the house's own package in a room's imports."""
    files = room.rglob("*.py") if room.is_dir() else [room]
    prefix = f"{house}."
    return {
        module.removeprefix(prefix).split(".")[0]
        for file in files
        for module in _modules(ast.parse(file.read_text(encoding="utf-8")))
        if module.startswith(prefix)
    }


def _modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def main() -> int:
    failed = 0
    for name, folder in HOUSES.items():
        drawn = house(name, folder)
        count = sum(map(len, drawn.arrows.values()))
        try:
            floors = drawn.floors()
        except CycleError as error:
            print(f"{name}: an import cycle: {' -> '.join(error.args[1])}")
            failed = 1
            continue
        print(f"{name}: {len(floors)} rooms on {max(floors.values()) + 1} floors, {count} arrows, no cycle")
        for floor in range(max(floors.values()), -1, -1):
            print(f"  {floor}  {'  '.join(sorted(room for room, on in floors.items() if on == floor))}")
        if count > MOST_ARROWS.get(name, count):
            print(f"{name}: {count} arrows exceed the limit of {MOST_ARROWS[name]}")
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())

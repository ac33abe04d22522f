"""Numbers with their nouns: `1 row`, `2 rows`."""

from __future__ import annotations


def counted(number: int, one: str, several: str = "") -> str:
    """A number and what it counts; `several` is the plural where it is not `one` with an s."""
    return f"{number} {one if number == 1 else several or f'{one}s'}"

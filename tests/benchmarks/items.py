"""The size of a DynamoDB item, which determines the cost of reading or writing it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def weight(attribute: Mapping[str, Any]) -> int:
    """Bytes of a value, by "DynamoDB item sizes and formats" in its developer guide."""
    ((kind, value),) = attribute.items()
    if kind == "M":
        return 3 + sum(1 + len(name.encode()) + weight(inner) for name, inner in value.items())
    if kind == "N":
        digits = str(value).lstrip("-").replace(".", "").strip("0")
        return 1 + -(-len(digits) // 2) + str(value).startswith("-")
    return len(value if kind == "B" else str(value).encode())

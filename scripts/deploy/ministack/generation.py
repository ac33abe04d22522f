"""The data that an earlier release wrote, as files made by tests/generations."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

KEPT = Path(__file__).parents[3] / "tests/data/written-by"
TABLES = ("usage", "tenants", "results", "budgets", "idempotency")
BUCKETS = ("lake", "payloads")

Item = dict[str, Any]


@dataclass(frozen=True)
class Generation:
    """The folder of one generation, and its content."""

    folder: Path

    @property
    def manifest(self) -> Any:
        return json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))

    @property
    def items(self) -> dict[str, list[Item]]:
        found: dict[str, list[Item]] = json.loads(
            (self.folder / "items.json").read_text(encoding="utf-8"), object_hook=_as_bytes
        )
        return found

    @property
    def messages(self) -> list[str]:
        found: list[str] = json.loads((self.folder / "queue.json").read_text(encoding="utf-8"))
        return found

    def files(self, bucket: str) -> dict[str, bytes]:
        root = self.folder / bucket
        return {file.relative_to(root).as_posix(): file.read_bytes() for file in root.rglob("*") if file.is_file()}

    def load(self, dynamodb: Any, s3: Any, names: Mapping[str, str], until: datetime | None = None) -> None:
        """Put all of it into the tables and buckets of these names. `until`: no item expires before."""
        later = {"expires_at": {"N": str(int(until.timestamp()))}} if until else {}
        for table, items in self.items.items():
            for item in items:
                is_over = "N" in item.get("expires_at", {})  # a key's expiry is a text and deletes nothing
                dynamodb.put_item(TableName=names[table], Item=item | (later if is_over else {}))
        for bucket in BUCKETS:
            for key, content in self.files(bucket).items():
                s3.put_object(Bucket=names[bucket], Key=key, Body=content)


def kept() -> list[Generation]:
    return [Generation(folder) for folder in sorted(KEPT.iterdir()) if folder.is_dir()]


def _as_bytes(value: dict[str, Any]) -> dict[str, Any]:
    return {"B": base64.b64decode(value["B"])} if set(value) == {"B"} and isinstance(value["B"], str) else value

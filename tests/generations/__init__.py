"""What a release has written, kept as files, so that every later one is held to reading it.

    python -m tests.generations 2026-12-01      lets the code of today write a generation of that name

A generation lies in tests/data/written-by/<name>: `items.json` has the items of every table, `queue.json` the messages
of the queue, `lake/` and `payloads/` the files of the buckets as they are, and `manifest.json` what that release itself
says of all of it. A generation that was released is never made again: a new one is put beside it.

2026-11-24 was written by 3d1e42a, which knew neither quarantine nor closed months and gave each shard of an hour a
file of its own; 2026-11-25 by 3a82e4b.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEPT = Path(__file__).parents[1] / "data/written-by"
TABLES = ("usage", "tenants", "results", "budgets", "idempotency")
BUCKETS = ("lake", "payloads")
KEY_OF = {"results": "request_id", "budgets": "pk", "idempotency": "id"}  # the others have `pk` and `sk`

Item = dict[str, Any]


@dataclass(frozen=True)
class Generation:
    """The folder of one, and what is in it."""

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

    def load(self, dynamodb: Any, s3: Any, names: Mapping[str, str]) -> None:
        """Put all of it into tables and buckets, which have these names; what is not named is left out."""
        for table, items in self.items.items():
            for item in items if table in names else ():
                dynamodb.put_item(TableName=names[table], Item=item)
        for bucket in BUCKETS:
            for key, content in self.files(bucket).items() if bucket in names else ():
                s3.put_object(Bucket=names[bucket], Key=key, Body=content)


def kept() -> list[Generation]:
    return [Generation(folder) for folder in sorted(KEPT.iterdir()) if folder.is_dir()]


def _as_bytes(value: dict[str, Any]) -> dict[str, Any]:
    return {"B": base64.b64decode(value["B"])} if set(value) == {"B"} and isinstance(value["B"], str) else value

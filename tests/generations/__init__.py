"""What a release has written, kept as files, so that every later one is held to reading it.

    python -m tests.generations 2026-12-01      lets the code of today write a generation of that name

A generation lies in tests/data/written-by/<name>: `items.json` has the items of every table, `queue.json` the messages
of the queue, `lake/` and `payloads/` the files of the buckets as they are, and `manifest.json` what that release itself
says of all of it. A generation that was released is never made again: a new one is put beside it.

2026-11-24 was written by 3d1e42a, which knew neither quarantine nor closed months and gave each shard of an hour a
file of its own; 2026-11-25 by 3a82e4b.
"""

from scripts.deploy.ministack.generation import BUCKETS, KEPT, TABLES, Generation, kept

__all__ = ["BUCKETS", "KEPT", "TABLES", "Generation", "kept"]

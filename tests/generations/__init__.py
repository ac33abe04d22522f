"""The data that a release wrote, stored as files, so that every later release must read it.

    python -m tests.generations 2026-12-01      makes today's code write a generation of that name

A generation is in tests/data/written-by/<name>: `items.json` has the items of every table, `queue.json` the messages of
the queue, `lake/` and `payloads/` the buckets' files, and `manifest.json` the release's own summary of this data. A
released generation is never regenerated: a new one is added.

2026-11-24 was written by 3d1e42a, which knew neither quarantine nor closed months and gave each shard of an hour a
file of its own; 2026-11-25 by 3a82e4b.
"""

from scripts.deploy.ministack.generation import BUCKETS, KEPT, TABLES, Generation, kept

__all__ = ["BUCKETS", "KEPT", "TABLES", "Generation", "kept"]

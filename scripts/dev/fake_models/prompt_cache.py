"""Splits a prompt's tokens into cache reads, cache writes and the rest."""

import hashlib
import threading
import time

from scripts.dev.fake_models.generation import Prompt
from scripts.dev.fake_models.ledger import Usage

_SECONDS = {"5m": 300.0, "1h": 3600.0}


class PromptCache:
    """Known prefixes by model. Reading a prefix renews its time to live."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._expires: dict[bytes, float] = {}

    def split(self, model_id: str, prompt: Prompt) -> Usage:
        """Count disjoint buckets: the longest known prefix is read, the rest up to a cache point is written."""
        if not prompt.cache_points:
            return Usage(input_tokens=prompt.tokens)
        usage = Usage()
        digest = hashlib.blake2b(model_id.encode(), digest_size=16)
        points, done, tokens = [], 0, 0
        for end, ttl in prompt.cache_points:
            for part in prompt.parts[done:end]:
                digest.update(part.content.encode() + b"\0")
                tokens += part.tokens
            done = end
            points.append((digest.digest(), ttl, tokens))
        now = time.monotonic()
        with self._lock:
            for key, _, upto in points:
                if self._expires.get(key, 0.0) > now:
                    usage.cache_read_tokens = upto
            known = usage.cache_read_tokens
            for key, ttl, upto in points:
                written = max(0, upto - known)
                if ttl == "1h":
                    usage.cache_write_1h_tokens += written
                else:
                    usage.cache_write_5m_tokens += written
                known = max(known, upto)
                self._expires[key] = now + _SECONDS[ttl]
        usage.input_tokens = prompt.tokens - known
        return usage

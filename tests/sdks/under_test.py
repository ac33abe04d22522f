"""The gateway under test, from the environment that tests/e2e/test_sdks.py sets."""

from __future__ import annotations

import base64
import json
import os
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Answered in Anthropic's own words; by Converse; by InvokeModel.
CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
NOVA = "amazon.nova-lite-v1:0"
LLAMA = "meta.llama3-8b-instruct-v1:0"
TITAN_EMBED = "amazon.titan-embed-text-v2:0"
COHERE_EMBED = "cohere.embed-english-v3"
ALIAS = "fast"  # of CLAUDE
UNKNOWN = "anthropic.claude-99-v1:0"
CLAUDE_ARN = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{CLAUDE}"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Gateway:
    """Its URL, the keys of its tenants, and the requests so far to it and to the models behind it."""

    url: str = field(default_factory=lambda: os.environ["GATEWAY_URL"])
    tls_url: str = field(default_factory=lambda: os.environ["GATEWAY_TLS_URL"])
    ca: str = field(default_factory=lambda: os.environ["GATEWAY_CA"])
    key: str = field(default_factory=lambda: os.environ["GATEWAY_KEY"])
    narrow_key: str = field(default_factory=lambda: os.environ["GATEWAY_NARROW_KEY"])  # may use NOVA only
    poor_key: str = field(default_factory=lambda: os.environ["GATEWAY_POOR_KEY"])  # has next to no budget
    models_url: str = field(default_factory=lambda: os.environ["MODELS_URL"])
    access_log: Path = field(default_factory=lambda: Path(os.environ["GATEWAY_ACCESS_LOG"]))

    def served(self, after: int = 0) -> list[dict[str, Any]]:
        """The models' own ledger, without unbilled calls."""
        with urllib.request.urlopen(f"{self.models_url}/_ledger?after={after}") as answer:
            records: list[dict[str, Any]] = json.load(answer)["records"]
        return [record for record in records if record["operation"] not in ("ListFoundationModels", "CountTokens")]

    def requests(self) -> int:
        return len(self.access_log.read_text().splitlines())

    @contextmanager
    def asked(self, *, requests: int = 1, models: int = 1) -> Iterator[None]:
        """The SDK makes so many requests, and they so many calls to models: no retry that nobody wanted."""
        seq = max((record["seq"] for record in self.served()), default=0)
        before = self.requests()
        yield
        deadline = time.monotonic() + 5  # a stream is noted once its last byte went out
        while self.requests() - before < requests and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.requests() - before == requests
        assert len(self.served(seq)) == models

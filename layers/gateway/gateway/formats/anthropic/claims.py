"""The user that a message of Anthropic's format names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.calls.claims import NO_CLAIM, Claim, claimed_user


def claim_of_message(body: Mapping[str, Any]) -> Claim:
    metadata = body.get("metadata")
    if not isinstance(metadata, Mapping):
        return NO_CLAIM
    return claimed_user("metadata.user_id", metadata.get("user_id"))

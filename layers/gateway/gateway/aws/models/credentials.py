"""Credentials for model calls: the function's own, or those of an STS session with the tenant's tags.

With a role for tenants, each tenant and cost centre has its own session, so that AWS's bill can be split by its tags.
Sessions are cached until shortly before they end.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import boto3
from botocore.credentials import Credentials

from gateway.aws.clients import client

_EARLY = timedelta(minutes=5)
_MOST = 1000  # cached sessions
_TAGGED = ("tenant_id", "cost_centre")
_NOT_IN_A_NAME = re.compile(r"[^\w+=,.@-]")


class Sessions:
    """Credentials for a call's tags."""

    def __init__(self, role_arn: str = ""):
        self._role_arn = role_arn
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, ...], tuple[datetime, Credentials]] = {}

    @cached_property
    def _own(self) -> Any:
        session = boto3.DEFAULT_SESSION or boto3.Session()
        return session.get_credentials()

    def credentials(self, tags: Mapping[str, str]) -> Any:
        """Frozen credentials. Raises ClientError if the role cannot be assumed."""
        if not self._role_arn or not tags.get("tenant_id"):
            return self._own.get_frozen_credentials()
        key = tuple(tags.get(name, "") for name in _TAGGED)
        now = datetime.now(UTC)
        kept = self._kept.get(key)
        if kept and now < kept[0] - _EARLY:
            return kept[1]
        with self._lock:
            kept = self._kept.get(key)
            if not kept or now >= kept[0] - _EARLY:
                if len(self._kept) >= _MOST:
                    self._kept.clear()
                self._kept[key] = kept = self._assume(key)
        return kept[1]

    def _assume(self, key: tuple[str, ...]) -> tuple[datetime, Credentials]:
        taken = client("sts").assume_role(
            RoleArn=self._role_arn,
            RoleSessionName=_NOT_IN_A_NAME.sub("-", key[0])[:64].ljust(2, "-"),
            Tags=[{"Key": name, "Value": value} for name, value in zip(_TAGGED, key, strict=True) if value],
        )["Credentials"]
        credentials = Credentials(taken["AccessKeyId"], taken["SecretAccessKey"], taken["SessionToken"])
        return taken["Expiration"], credentials

"""Credentials for model calls: the function's own, or those of an STS session with the tenant's tags.

With a role for tenants, each tenant, cost centre and verified user has its own session, so that AWS's bill can be split
by its tags. A user that a client only claims has none: clients could make the gateway open any number of sessions.
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
from botocore.exceptions import ClientError

from gateway.aws.clients import client
from gateway.core.telemetry import logger
from gateway.usage.records import UserSource

_EARLY = timedelta(minutes=5)
_MOST = 1000  # cached sessions; the oldest gives way
_TAGGED = ("tenant_id", "cost_centre", "user_id")
_VERIFIED = frozenset({UserSource.TOKEN.value, UserSource.KEY.value})
# From the service's model: `tagValueType`, where \w has the letters and numbers of any script.
_NOT_IN_A_TAG = re.compile(r"[^\w .:/=+@-]")
_LONGEST_TAG = 256
_NOT_IN_A_NAME = re.compile(r"[^\w+=,.@-]")


class Sessions:
    """Credentials for a call's tags."""

    def __init__(self, role_arn: str = ""):
        self._role_arn = role_arn
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, ...], tuple[datetime, Credentials]] = {}
        self._without_users = False

    @cached_property
    def _own(self) -> Any:
        session = boto3.DEFAULT_SESSION or boto3.Session()
        return session.get_credentials()

    def credentials(self, tags: Mapping[str, str]) -> Any:
        """Frozen credentials. Raises ClientError if the role cannot be assumed."""
        if not self._role_arn or not tags.get("tenant_id"):
            return self._own.get_frozen_credentials()
        key = self._key(tags)
        now = datetime.now(UTC)
        kept = self._kept.get(key)
        if kept and now < kept[0] - _EARLY:
            return kept[1]
        with self._lock:
            kept = self._kept.get(key)
            if not kept or now >= kept[0] - _EARLY:
                self._kept.pop(key, None)
                if len(self._kept) >= _MOST:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = kept = self._session(key)
        return kept[1]

    def _key(self, tags: Mapping[str, str]) -> tuple[str, ...]:
        """The values of _TAGGED. Only a verified user has one."""
        named = [tags.get(name, "") for name in _TAGGED]
        if self._without_users or tags.get("user_source") not in _VERIFIED:
            named[-1] = ""
        return tuple(_NOT_IN_A_TAG.sub("_", value)[:_LONGEST_TAG] for value in named)

    def _session(self, key: tuple[str, ...]) -> tuple[datetime, Credentials]:
        """A new session. The role of an earlier deployment may allow only the tags of that time: then without users."""
        try:
            return self._assume(key)
        except ClientError as error:
            if not key[-1] or error.response["Error"]["Code"] != "AccessDenied":
                raise
        taken = self._assume((*key[:-1], ""))
        self._without_users = True
        logger().warning("The tenants' role refuses sessions with the tag user_id, so AWS's bill has no users.")
        return taken

    def _assume(self, key: tuple[str, ...]) -> tuple[datetime, Credentials]:
        taken = client("sts").assume_role(
            RoleArn=self._role_arn,
            RoleSessionName=_NOT_IN_A_NAME.sub("-", key[0])[:64].ljust(2, "-"),
            Tags=[{"Key": name, "Value": value} for name, value in zip(_TAGGED, key, strict=True) if value],
        )["Credentials"]
        credentials = Credentials(taken["AccessKeyId"], taken["SecretAccessKey"], taken["SessionToken"])
        return taken["Expiration"], credentials

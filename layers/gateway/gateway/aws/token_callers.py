"""The callers of tokens, for the authorizer: the records and keys that judge a token, and the log of refusals."""

from __future__ import annotations

import time
from functools import partial

from gateway.aws.dynamodb.issuers import IssuerTable
from gateway.aws.dynamodb.tenants import TenantTable
from gateway.aws.identity_providers import fetch
from gateway.core.telemetry import logger
from gateway.tenancy.caller import Caller
from gateway.tenancy.issuer_keys import IssuerKeys
from gateway.tenancy.tokens import Records, TokenRefusedError, authenticate_token


class TokenCallers:
    """Finds the caller that a token names."""

    def __init__(self, table: str, seconds: float, *, loopback: bool):
        issuers, tenants = IssuerTable(table), TenantTable(table)
        self._records = Records(issuers.named, tenants.tenant, seconds, time.monotonic)
        self._keys = IssuerKeys(issuers, partial(fetch, loopback=loopback), note=_note_failure)

    def find(self, token: str, now: float) -> Caller | None:
        """None for a token that identifies nobody; its tenant may be suspended. `now` in seconds since the epoch."""
        try:
            return authenticate_token(token, self._records, self._keys, now)
        except TokenRefusedError as refused:
            logger().info("token_refused", extra={"reason": refused.reason, "issuer_id": refused.issuer_id})
            return None


def _note_failure(reason: str, issuer_id: str) -> None:
    logger().warning("issuer_keys_not_fetched", extra={"reason": reason, "issuer_id": issuer_id})

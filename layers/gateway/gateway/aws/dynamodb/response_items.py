"""The output items of responses, stored for a while in the table of idempotency keys; large ones in S3.

One entry has the output items of one response, and nothing of its request. Its key is a digest of the tenant and the
response, so that no tenant finds another's entry, and the table shows neither id.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gateway.aws.clients import client
from gateway.aws.dynamodb.items import attributes, value
from gateway.aws.s3.payloads import Payloads
from gateway.core.telemetry import logger
from gateway.usage.records import TenantId

MOST = 7 * 86_400  # seconds; the bucket of large answers deletes its objects after eight days
_AT_ONCE = 8


class ItemTable:
    """Stores items for `seconds`; 0 stores none."""

    def __init__(self, table: str, payloads: Payloads, seconds: int):
        self.table = table
        self.seconds = min(seconds, MOST)
        self._payloads = payloads
        self._dynamodb = client("dynamodb")

    def keep(self, tenant: TenantId, response: str, items: Sequence[Mapping[str, Any]]) -> None:
        """Store the output items of a response. If that fails, the client still gets its response."""
        if not items or self.seconds <= 0:
            return
        key = _key(tenant, response)
        try:
            kept = self._payloads.pack(f"answers/items-{key}.json", {str(item["id"]): item for item in items})
            item = {"id": key, "items": kept, "expires_at": int(time.time()) + self.seconds}
            self._dynamodb.put_item(TableName=self.table, Item=attributes(item))
        except Exception as error:
            logger().error("items_not_kept", extra={"error_type": type(error).__name__})

    def find(self, tenant: TenantId, responses: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The output items of these responses, by id; none for a response that is not stored (any more)."""
        if len(responses) <= 1:
            pages = [self._read(_key(tenant, response)) for response in responses]
        else:
            with ThreadPoolExecutor(min(len(responses), _AT_ONCE)) as threads:
                pages = list(threads.map(self._read, [_key(tenant, response) for response in responses]))
        return {name: item for page in pages for name, item in page.items()}

    def _read(self, key: str) -> dict[str, Any]:
        found = self._dynamodb.get_item(TableName=self.table, Key=attributes({"id": key}), ConsistentRead=True)
        plain = {name: value(attribute) for name, attribute in found.get("Item", {}).items()}
        # DynamoDB deletes expired items late.
        if not plain or plain["expires_at"] <= time.time():
            return {}
        items: dict[str, Any] = self._payloads.unpack(plain["items"])
        return items


def _key(tenant: TenantId, response: str) -> str:
    return hashlib.sha256(f"items\0{tenant}\0{response}".encode(errors="surrogatepass")).hexdigest()

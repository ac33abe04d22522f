"""The row and several holds of one call in one transaction: for a call that counts in three accounts or more.

Each hold and each booking is one request, and so is the row. The transaction takes the row and the holds of a user and
a key, so that these cost two requests more than a tenant's budget alone. The tenant's own accounts stay out of it: all
of its calls write there, and transactions on one item conflict.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import ClientError

from gateway.aws.dynamodb.accounts import AccountTable
from gateway.aws.dynamodb.items import conditional
from gateway.aws.dynamodb.ledger import DynamoLedger
from gateway.aws.dynamodb.usage_rows import from_item
from gateway.aws.dynamodb.writes import Writes
from gateway.budgets.accounts import Hold, Limits
from gateway.usage.ledger import AlreadyReservedError
from gateway.usage.records import UsageRecord

TRIES = 5


class Reservations:
    """`gateway.calls.metering.Reservations` in the tables of the accounts and the ledger."""

    def __init__(self, accounts: AccountTable, ledger: DynamoLedger, sleep: Callable[[float], None] = time.sleep):
        self._accounts = accounts
        self._ledger = ledger
        self._sleep = sleep
        self._writes = Writes()

    def reserve(self, wanted: Sequence[tuple[Hold, Limits]], row: UsageRecord) -> bool:
        for number in range(TRIES):
            reasons = self._written(wanted, row)
            if reasons is None:
                return True
            for (hold, limits), reason in zip(wanted, reasons, strict=False):
                if reason.get("Code") == "ConditionalCheckFailed":
                    self._accounts.make_room(hold, limits, reason.get("Item") or {})
            kept = reasons[-1]
            if kept.get("Code") == "ConditionalCheckFailed":
                # After a lost response, the retried transaction finds its own row.
                if "Item" not in kept or from_item(kept["Item"]) != row:
                    raise AlreadyReservedError(row.request_id, row.attempt)
                return True
            if any(reason.get("Code") == "TransactionConflict" for reason in reasons):
                self._sleep(random.random() * 0.02 * 2**number)
        return False

    def _written(self, wanted: Sequence[tuple[Hold, Limits]], row: UsageRecord) -> list[dict[str, Any]] | None:
        """Write everything, or return why not, hold by hold and at last for the row."""
        try:
            self._writes.transact_write_items(
                TransactItems=[
                    *({"Update": self._accounts.taking(hold, limits)} for hold, limits in wanted),
                    {"Put": self._ledger.reserving(row)},
                ]
            )
        except ClientError as error:
            reasons: list[dict[str, Any]] = error.response.get("CancellationReasons") or []
            codes = {reason.get("Code") for reason in reasons}
            if not conditional(error) and not codes & {"ConditionalCheckFailed", "TransactionConflict"}:
                raise
            return reasons
        return None
